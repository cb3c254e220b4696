"""Checkpoints: what is stored comes back, bit for bit; everything else is refused in one sentence."""

from __future__ import annotations

import io
import json
import os
import struct
from collections import Counter, OrderedDict, defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch

import tritongrad as tg
from tritongrad import tensor_file
from tritongrad.io import load_safetensors
from tritongrad_kernels import driver, dtypes


def same(a: Any, b: Any) -> bool:
    """Equal in type, in structure, and in every bit of every number."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tg.Tensor):
        if (a.dtype, a.shape, a.device, a.requires_grad) != (b.dtype, b.shape, b.device, b.requires_grad):
            return False
        return bits(a) == bits(b)
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(i, j) for i, j in zip(a.items(), b.items(), strict=True))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(i, j) for i, j in zip(a, b, strict=True))
    return struct.pack("d", a) == struct.pack("d", b) if isinstance(a, float) else a == b


def bits(t: tg.Tensor) -> bytes:
    return np.ascontiguousarray(t.detach().cpu().array.numpy()).tobytes()


def stored(obj: Any) -> bytes:
    buffer = io.BytesIO()
    tg.save(obj, buffer)
    return buffer.getvalue()


def again(obj: Any, **options: Any) -> Any:
    return tg.load(io.BytesIO(stored(obj)), **options)


def checkpoint() -> dict[str, Any]:
    """A little of everything."""
    weight = tg.tensor([[1.5, -0.0, float("nan")], [float("inf"), 1e-45, 3.0]])
    return {
        "epoch": 3,
        "state_dict": OrderedDict([("fc.weight", weight), ("fc.bias", tg.tensor([1.0]).bfloat16())]),
        "optimizer": {
            "state": {0: {"step": 7, "exp_avg": tg.ones(2, 3).requires_grad_()}},
            "param_groups": [{"lr": 0.1}],
        },
        "scheduler": {
            "milestones": Counter({30: 1, 60: 2}),
            "last_lr": [0.1, float("-inf"), float("nan"), -0.0, 5e-324],
        },
        "rng": ("MT19937", np.arange(624, dtype=np.uint32), 624, 0, 0.0, 2**127, -(2**64)),
        "best": np.float64(0.75),
        "flags": (True, None, b"\x00\xff", "\u00e9\U0001f600\x00", set("abc"), frozenset({1, (2, "x")})),
        ("a", 1): {None: [], True: (), 2.5: {}},
        "kind": (dtypes.bfloat16, tg.device("cpu"), tg.Size([2, 3]), tg.tensor(True), tg.zeros(0, 4)),
    }


# --------------------------------------------------------------------------------------------------- what comes back


def test_everything_comes_back(tmp_path: Path) -> None:
    obj = checkpoint()
    assert same(again(obj), obj)
    tg.save(obj, tmp_path / "a.pt")
    assert same(tg.load(str(tmp_path / "a.pt")), obj)
    assert same(tg.load(tmp_path / "a.pt", weights_only=False, mmap=True), obj)
    with open(tmp_path / "raw", "wb", buffering=0) as f:
        tg.save(obj, f)
    assert (tmp_path / "raw").read_bytes() == (tmp_path / "a.pt").read_bytes() == stored(obj)
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "raw"]
    parameter = again(tg.nn.Parameter(tg.ones(2)))
    assert type(parameter) is tg.Tensor and parameter.requires_grad and parameter.is_leaf
    for alone in (tg.ones(2), 5, None, [], "text", np.int8(3)):
        assert same(again(alone), alone)


@pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)
def test_every_dtype_and_bit_pattern(d: dtypes.dtype) -> None:
    raw = np.arange(2**16 if d.itemsize == 2 else 512, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    host = (raw & 1).astype(np.bool_) if d is dtypes.bool_ else raw.astype(f"u{d.itemsize}").view(d.numpy)
    t = tg.from_numpy(host)
    assert bits(t) == host.tobytes() and same(again({"x": t}), {"x": t}) and same(again([host]), [host])


def test_strides_do_not_matter() -> None:
    base = tg.arange(24).reshape(2, 3, 4)
    views = [base.transpose(0, 2), base[:, 1:, ::2], base[:1].expand(5, 3, 4), base[1, 2, 3], base.permute(2, 0, 1)[1:]]
    for view, loaded in zip(views, again(views), strict=True):
        assert loaded.is_contiguous() and loaded.tolist() == view.tolist()
    host = np.arange(24, dtype=">i4").reshape(4, 6)[::-2, ::3]
    assert again(host).tolist() == host.tolist()


def test_what_shares_memory_is_stored_once_and_shares_it_again() -> None:
    weight, host = tg.zeros(1000), np.zeros(1000)
    obj = {"embed": weight, "head": weight.detach(), "part": weight[:10], "a": host, "b": [host]}
    assert len(stored(obj)) < 4000 + 40 + 8000 + 2500
    loaded = again(obj)
    assert loaded["embed"].data_ptr() == loaded["head"].data_ptr() != loaded["part"].data_ptr()
    loaded["embed"].fill_(2.0)
    assert loaded["head"].sum().item() == 2000.0
    assert loaded["a"] is loaded["b"][0]


def test_a_state_dict_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.BatchNorm2d(4))
    state = model.state_dict() | {"half": tg.ones(3).bfloat16(), "__metadata__": tg.zeros(1)}
    tg.save(state, tmp_path / "m")
    theirs = safetensors.torch.load_file(tmp_path / "m")
    assert theirs.keys() == state.keys() - {"__metadata__"} | {"__metadata__#2"}
    assert all(theirs[k].tolist() == v.tolist() for k, v in state.items() if k != "__metadata__")
    assert theirs["half"].dtype == torch.bfloat16
    assert same(tg.load(tmp_path / "m"), state)
    assert load_safetensors(tmp_path / "m")["half"].dtype == ml_dtypes.bfloat16


def test_plain_safetensors_files(tmp_path: Path) -> None:
    theirs = {
        "b": torch.randn(3, 4).bfloat16(),
        "a": torch.tensor(3),
        "e": torch.zeros(0, 2),
        "t": torch.tensor([True]),
    }
    safetensors.torch.save_file(theirs, tmp_path / "p.bin", metadata={"x": "y"})
    ours = tg.load(tmp_path / "p.bin")
    assert {k: (v.tolist(), str(v.dtype)[-5:]) for k, v in ours.items()} == {
        k: (v.tolist(), str(v.dtype)[-5:]) for k, v in theirs.items()
    }
    assert load_safetensors(tmp_path / "p.bin")["e"].shape == (0, 2)
    safetensors.torch.save_file({"n": torch.zeros(2, dtype=torch.uint16)}, tmp_path / "u")
    assert load_safetensors(tmp_path / "u")["n"].dtype == np.uint16
    with pytest.raises(ValueError, match=r"/u: tensor 'n' has dtype uint16, which no tensor here can have"):
        tg.load(tmp_path / "u")
    for kind, code in ((torch.complex64, "C64"), (torch.float8_e4m3fn, "F8_E4M3")):
        safetensors.torch.save_file({"n": torch.zeros(2).to(kind)}, tmp_path / "u")
        with pytest.raises(ValueError, match=f"/u: tensor 'n' has dtype '{code}', which cannot be read"):
            tg.load(tmp_path / "u")


def test_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    def start() -> tuple[tg.nn.Module, tg.optim.Optimizer]:
        model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.ReLU(), tg.nn.Linear(4, 2))
        return model, tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(model: tg.nn.Module, optimizer: tg.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(tg.randn(5, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = start()
    step(model, optimizer)
    all_of_it = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": tg.get_rng_state()}
    tg.save(all_of_it, tmp_path / "c.pt")
    step(model, optimizer)
    expected = stored(model.state_dict())
    model, optimizer = start()
    loaded = tg.load(tmp_path / "c.pt", map_location=lambda storage, location: storage)
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    tg.set_rng_state(loaded["rng"])
    step(model, optimizer)
    assert stored(model.state_dict()) == expected


def test_map_location() -> None:
    obj = {"a": tg.ones(2), "b": np.ones(2)}
    asked: list[Any] = []

    def keep(storage: tg.Tensor, location: str) -> tg.Tensor:
        asked.append((storage.tolist(), location))
        return storage

    for where in ("cpu", tg.device("cpu"), keep, {"cpu": "cpu", "cuda:0": "cpu"}):
        assert str(again(obj, map_location=where)["a"].device) == "cpu"
    assert asked == [([1.0, 1.0], str(obj["a"].device))]
    for no_opinion in (None, {}, {"cuda:7": "cpu"}, lambda storage, location: None):
        assert again(obj, map_location=no_opinion)["a"].device == obj["a"].device
    elsewhere = {"tensors": {"a": ["F32", [2], sha256(bits(obj["a"])).hexdigest(), "cuda:77"]}}
    assert rewritten(stored({"a": obj["a"]}), lambda m: m | elsewhere)["a"].device == driver.DEFAULT_DEVICE
    with pytest.raises(RuntimeError, match="device cuda:99 was asked for but is not available"):
        again(obj, map_location="cuda:99")


# -------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"optimizer": {"foo": [0, 1, print]}}, r"cannot store optimizer\.foo\[2\], a builtin_function_or_method"),
        ({"a": {3: lambda: 0}}, r"cannot store a\[3\], a function"),
        ({"a": [defaultdict(list)]}, r"cannot store a\[0\], a defaultdict"),
        (tg.nn.Linear(1, 1), r"cannot store the object, a Linear; store its state_dict\(\) instead"),
        ([np.zeros(1, np.complex64)], r"cannot store \[0\], numpy data of dtype complex64"),
        ({"x": np.array([None])}, r"cannot store x, numpy data of dtype object"),
        ({"x": np.ma.zeros(2)}, r"cannot store x, a MaskedArray"),
        ({"x": OSError()}, r"cannot store x, an OSError"),
        ({"x": 1j}, r"cannot store x, a complex"),
    ],
)
def test_what_cannot_be_stored_is_named(obj: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"^save: {message}$"):
        tg.save(obj, tmp_path / "x")
    assert not os.listdir(tmp_path)


def test_objects_without_end_or_text(monkeypatch: pytest.MonkeyPatch) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="nested more than 100 deep, or contains itself"):
        stored({"x": loop})
    with pytest.raises(ValueError, match=r"x\[0\] is a string that UTF-8 cannot express"):
        stored({"x": ["\ud800"]})
    for f in (3, None):
        with pytest.raises(TypeError, match="save: expected a path or a file open for writing bytes, got"):
            tg.save({}, f)
        with pytest.raises(TypeError, match="load: expected a path or a file open for reading bytes, got"):
            tg.load(f)
    monkeypatch.setattr(tensor_file, "_MAX_HEADER", 1000)
    with pytest.raises(ValueError, match=r"what is not tensors comes to .* bytes, more than the 1,000 allowed"):
        stored("x" * 1000)


def test_a_tensor_that_changes_while_it_is_saved() -> None:
    values = np.zeros(10)

    class Sink(io.BytesIO):
        def write(self, chunk: Any) -> int:
            values[3] = 1.0  # as another thread would, after the digest was taken
            return super().write(chunk)

    with pytest.raises(RuntimeError, match=r"save: a\.b was changed, by another thread, while it was being saved"):
        tg.save({"a": {"b": values}}, Sink())


def rewritten(content: bytes, change: Any) -> Any:
    """What loads from a file whose manifest was changed by someone who also made its digest right."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    manifest = json.loads(header["__metadata__"]["tritongrad"])
    text = json.dumps(change(manifest) or manifest)
    header["__metadata__"] |= {"tritongrad": text, "tritongrad_sha256": sha256(text.encode()).hexdigest()}
    text = json.dumps(header).encode()
    return tg.load(io.BytesIO(struct.pack("<Q", len(text)) + text + content[8 + length :]))


def deep(n: int) -> Any:
    return [deep(n - 1)] if n else []


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"tensor": ["b", False]}, "names a tensor that is not there"),
        ({"tensor": ["a", 1]}, "no kind of value"),
        ({"tensor": ["i", True]}, "tensor 'i' of integers requires a gradient"),
        ({"array": "a"}, "no kind of value"),
        ({"array": ["n"]}, "no kind of value"),
        ({"tensor": ["n", False]}, "no kind of value"),
        ({"tuple": "abc"}, "no kind of value"),
        ({}, "no kind of value"),
        ({"tuple": [], "set": []}, "no kind of value"),
        ({"eval": "1"}, "no kind of value"),
        ({"dict": [[1, 2], [1, 3]]}, "a dict with one key twice"),
        ({"dict": [[1]]}, "not enough values"),
        ({"dict": [[[], 1]]}, "unhashable"),
        ({"int": "z"}, "invalid literal"),
        ({"float": "1.0"}, "no kind of value"),
        ({"bytes": "?"}, "Only base64 data"),
        ({"dtype": "float7"}, "unknown dtype 'float7'"),
        ({"device": "tpu"}, "no kind of value"),
        (deep(101), "nested more than 100 deep"),
    ],
)
def test_manifests_that_describe_no_object(structure: Any, message: str) -> None:
    content = stored([tg.zeros(2), {"n": np.zeros(2)}])
    obj = {"a": tg.zeros(2), "i": tg.zeros(2).long(), "n": np.zeros(2)}
    with pytest.raises(ValueError, match=f"^the given file object: its manifest describes no object.*{message}"):
        rewritten(stored(obj), lambda manifest: manifest | {"structure": structure})
    assert same(rewritten(content, lambda manifest: None), [tg.zeros(2), {"n": np.zeros(2)}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m | {"version": 2}, "version 2; this program reads version 1"),
        (lambda m: m | {"extra": 2}, "not made of version, tensors and structure"),
        (lambda m: m | {"tensors": []}, "not made of version, tensors and structure"),
        (lambda m: m | {"tensors": {}}, "tensor 'a' is in its header or in its manifest, but not in both"),
        (lambda m: m | {"tensors": {"a": ["F32", [2], 3, "cpu"]}}, "'a' is described differently"),
        (lambda m: m | {"tensors": {"a": ["I32", [2], "x", "cpu"]}}, "'a' is described differently"),
        (lambda m: m | {"tensors": {"a": ["F32", [1, 2], "x", "cpu"]}}, "'a' is described differently"),
        (lambda m: m | {"tensors": {"a": ["F32", [2], "x", "tpu"]}}, "'a' is described differently"),
        (lambda m: m | {"tensors": {"a": ["F32", [2], "x", "cpu"]}}, "'a' does not match its sha256"),
        (lambda m: [m], "its manifest is damaged: it is not an object"),
    ],
)
def test_manifests_that_do_not_fit_their_file(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rewritten(stored({"a": tg.zeros(2)}), change)
