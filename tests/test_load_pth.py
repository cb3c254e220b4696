"""Files that `torch.save` wrote: their numbers come, and what else may be in them does not."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

import tritongrad as tg


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_torch(zipped: bool, tmp_path: Path) -> None:
    tied = torch.randn(4, 3)
    theirs = {
        "epoch": 3,
        "state_dict": OrderedDict(a=tied, b=tied, t=tied.T, h=torch.ones(2).bfloat16(), s=torch.tensor(True)),
        "list": [torch.zeros(0, 2), (1.5, None, "x"), torch.Size([2, 3])],
        "kind": torch.float16,
        "place": torch.device("cuda:1"),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save(theirs, tmp_path / "x.safetensors", _use_new_zipfile_serialization=zipped)
    for f in (tmp_path / "x.safetensors", io.BytesIO((tmp_path / "x.safetensors").read_bytes())):
        ours = tg.load(f)
        assert ours["epoch"] == 3 and ours["list"][1:] == [(1.5, None, "x"), (2, 3)]
        assert (ours["kind"], ours["place"]) == (tg.float16, tg.device("cuda:1"))
        state = ours["state_dict"]
        assert type(state) is OrderedDict and list(state) == list(theirs["state_dict"])
        assert all(
            state[k].tolist() == v.tolist() and state[k].shape == v.shape for k, v in theirs["state_dict"].items()
        )
        assert state["h"].dtype is tg.bfloat16 and state["s"].shape == () and ours["list"][0].shape == (0, 2)
        assert state["a"].data_ptr() == state["b"].data_ptr() != state["t"].data_ptr()
        assert ours["parameter"].tolist() == [1.0, 1.0]


class Payload:
    """What unpickling this would do is the damage."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("options", [{}, {"weights_only": False}], ids=["", "weights_only=False"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_is_never_run(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    evil = {"w": torch.ones(2), "x": Payload(tmp_path / "ran")}
    path = tmp_path / "evil.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(evil["x"], protocol=2))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ValueError, match=f"^{path} cannot be read as a torch checkpoint: [^\n]*$"):
        tg.load(path, **options)
    if kind != "pickle":
        with pytest.raises(ValueError, match=r"it asks to run posix\.system, and only plain tensors"):
            tg.load(path, **options)
    assert os.listdir(tmp_path) == ["evil.safetensors"]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"a": {"z": torch.zeros(2, dtype=torch.complex64)}}, "tensor 'a.z' has dtype complex64, which no tensor here"),
        ({"a": [torch.zeros(2, dtype=torch.uint16)]}, "tensor 'a.0' has dtype uint16, which no tensor here"),
        ({"f": torch.zeros(2).to(torch.float8_e5m2)}, "f has dtype torch.float8_e5m2, which cannot be read"),
        ({"s": torch.eye(2).to_sparse()}, "s is a sparse or quantized tensor"),
        ({"k": torch.complex64}, "unknown dtype 'complex64'"),
    ],
)
def test_tensors_of_torch_that_are_not_ours(obj: Any, message: str, tmp_path: Path) -> None:
    torch.save(obj, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=f"^{tmp_path}/x.pth: {message}"):
        tg.load(tmp_path / "x.pth")


def test_damaged_files_of_torch(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1000)}, buffer)
    good = buffer.getvalue()
    flipped = bytearray(good)
    flipped[good.index(struct.pack("5f", *[1.0] * 5)) + 2000] ^= 1  # torch.load gives the wrong number
    folder = bytearray(good)
    folder[good.rindex(b"archive/data/0") - 8] |= 0x10  # torch.load gives uninitialised memory
    for damaged in (
        bytes(flipped),
        bytes(folder),
        good[:-30],
        good[:1000],
        good[:20],
        b"\x80\x02",
        b"PK\x03\x04" + bytes(100),
    ):
        (tmp_path / "x.pth").write_bytes(damaged)
        with pytest.raises(ValueError, match=f"^{tmp_path}/x.pth cannot be read as a torch checkpoint: [^\n]*$"):
            tg.load(tmp_path / "x.pth")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        tg.load(tmp_path / "nowhere.pth")
    with pytest.raises(IsADirectoryError):
        tg.load(tmp_path)


def test_files_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(1000)}, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert tg.load(tmp_path / "x.pth")["a"].tolist() == [1.0] * 1000
