"""The file itself: whole or not there after every kind of failure, and never believed without proof."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tests.properties import given, settings, st
from tests.test_io import checkpoint, same, stored
from tritongrad import tensor_file
from tritongrad.tensor_file import write_atomically

CALLS = ("stat", "open", "write", "fsync", "close", "replace")


class FailingOS:
    """The module os, whose n-th call of those that write a file fails; and all later ones if the process `dies`."""

    def __init__(self, n: int, dies: bool = False, error: int = errno.EIO) -> None:
        self.n, self.dies, self.error, self.count, self.failed = n, dies, error, 0, ""

    def __getattr__(self, name: str) -> Any:
        original = getattr(os, name)
        if name not in (*CALLS, "unlink"):
            return original

        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += name in CALLS
            if self.count < self.n or (self.count > self.n and not self.dies) or (name == "unlink" and not self.dies):
                return original(*args, **kwargs)
            self.failed = self.failed or name
            if name == "write" and args[1] and not self.dies:
                original(args[0], args[1][: len(args[1]) // 2])  # a full disk takes some of it
            if name == "close":  # Linux closes a file even when it reports an error
                original(*args)
            raise OSError(self.error, os.strerror(self.error))

        return call


# ---------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("dies", [False, True], ids=["fails", "dies"])
@pytest.mark.parametrize("before", [None, [1, "old"]], ids=["first", "replaced"])
def test_every_call_of_the_system_may_fail(
    dies: bool, before: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after, path, failed = checkpoint(), tmp_path / "c.pt", []
    for n in range(1, 100):
        path.unlink(missing_ok=True)
        if before is not None:
            tg.save(before, path)
        monkeypatch.setattr(tensor_file, "os", FailingOS(n, dies))
        try:
            tg.save(after, path)
            done = True
        except OSError as error:
            assert error.errno == errno.EIO
            done = False
        failed.append(tensor_file.os.failed)
        monkeypatch.undo()
        found = tg.load(path) if path.exists() else None
        assert same(found, after) or (not done and same(found, before)), f"call {n}, {failed[-1]}"
        assert dies or set(os.listdir(tmp_path)) <= {"c.pt"}, f"call {n}, {failed[-1]} left a temporary file"
        if done:
            break
    assert done and set(failed) == {*CALLS, ""} and failed.count("fsync") == 2 and failed.count("write") > 5


def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "os", failing := FailingOS(8, error=errno.EINVAL))
    write_atomically(tmp_path / "f", [b"x"])
    assert failing.failed == "fsync" and (tmp_path / "f").read_bytes() == b"x"


def test_data_that_fails_half_way(tmp_path: Path) -> None:
    def chunks(error: BaseException) -> Iterator[bytes]:
        yield b"some"
        raise error

    write_atomically(tmp_path / "f", [b"old", b"", memoryview(b" content")])
    for error in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write_atomically(tmp_path / "f", chunks(error))
    assert os.listdir(tmp_path) == ["f"] and (tmp_path / "f").read_bytes() == b"old content"


def test_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(tensor_file.os, "write", lambda file, data: real(file, data[:3]))
    write_atomically(tmp_path / "f", [b"0123456789"])
    monkeypatch.undo()
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_links_modes_and_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "f", tmp_path / "link"
    link.symlink_to(target)
    write_atomically(link, [b"1"])
    assert link.is_symlink() and target.read_bytes() == b"1"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    target.chmod(0o600)
    write_atomically(link, [b"2"])
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match=f"not a regular file, so it cannot be replaced: '{path}'"):
            write_atomically(path, [b"3"])
    with pytest.raises(FileNotFoundError, match=f"there is no such folder to write into: '{tmp_path}/no'"):
        write_atomically(tmp_path / "no" / "f", [b"4"])
    write_atomically(tmp_path / ("long" * 60), [b"5"])
    assert not list(tmp_path.rglob("*.tmp"))


CHILD = """
import itertools, sys
import tritongrad as tg
for n in itertools.count():
    tensors = [tg.full((200_000,), float(n)), tg.full((3,), float(n))]
    tg.save({"n": n, "tensors": tensors}, sys.argv[1])
    print(n, flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    draw = random.Random(0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for kill in range(3):  # the next child goes on over what the last one left
        path = str(tmp_path / "c.pt")
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE, env=environment, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(4):  # several looks at a file that is being replaced all the time
            time.sleep(draw.uniform(0.02, 0.1))
            whole(tg.load(path))
        process.send_signal(signal.SIGKILL)
        finished = process.stdout.read().split()
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert whole(tg.load(path)) >= int(finished[-1]), f"kill {kill}"


def whole(loaded: dict[str, Any]) -> int:
    n = loaded["n"]
    assert [set(t.tolist()) for t in loaded["tensors"]] == [{n}, {n}]
    return n


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = "import sys; from tests.test_io import *; tg.save(checkpoint(), sys.argv[1])"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], env=environment, check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_nothing_is_held_twice(tmp_path: Path) -> None:
    obj = {"tensor": tg.ones(4_000_000), "array": np.ones(2_000_000)}
    for action, limit in ((tg.save, 1e6), (lambda _, f: tg.load(f, map_location="cpu"), 16e6 + 1e6)):
        tracemalloc.start()  # which sees numpy's memory; tensors' own is not Python's
        action(obj, tmp_path / "big")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < limit


# ---------------------------------------------------------------------------------------------------------- reading


def plain(header: Any, data: bytes = b"", pad: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw + pad)) + raw + pad + data


def entry(begin: Any, end: Any, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither a safetensors file nor a torch checkpoint"),
        (b"\x10\0\0\0\0\0\0\0", "neither"),
        (b"hello, I am no checkpoint at all", "neither"),
        (struct.pack("<Q", 2**62) + b"{}", r"a header of 4,611,686,018,427,387,904 bytes is announced, but 2 follow"),
        (plain(b"{" + b"[" * 100_000), "its header is damaged"),
        (plain(b'{"a":' + b"[" * 100_000), "its header is damaged: it is nested too deep"),
        (plain(b'{"a":\xff}'), "its header is damaged: 'utf-8' codec can't decode"),
        (plain(b"{} x"), "its header is damaged: Extra data"),
        (plain(TWICE, bytes(16)), "its header is damaged: 'a' appears twice"),
        (plain({"a": entry(0, 8) | {"x": 1}}, bytes(8)), "'a' is not described by dtype, shape and data_offsets"),
        (plain({"a": 3}), "'a' is not described"),
        (plain({"__metadata__": {"x": 3}}), "__metadata__ is not a dict of strings"),
        (plain({"__metadata__": "x"}), "__metadata__ is not a dict of strings"),
        (
            plain({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
            "'b' begins at byte 4 of the data instead of 8: it overlaps",
        ),
        (plain({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)), "instead of 8: it overlaps"),
        (plain({"a": entry(0, 8), "b": entry(12, 20)}, bytes(20)), "'b' begins at byte 12 .* it leaves a hole"),
        (plain({"a": entry(0, 8)}, bytes(7)), "its tensors have 8 bytes, but 7 are there: the file was truncated"),
        (plain({"a": entry(0, 8)}, bytes(9)), "but 9 are there: the file has a tail that belongs to none"),
        (
            plain({"a": entry(0, 8, [3])}, bytes(8)),
            r"'a' of dtype F32 and shape \[3\] has 12 bytes, but data_offsets \[0, 8\]",
        ),
        (plain({"a": entry(8, 0)}, bytes(8)), "has 8 bytes, but data_offsets"),
        (plain({"a": entry(0, 8, [-2])}, bytes(8)), "not lists of sizes"),
        (plain({"a": entry(0, 8, [2.0])}, bytes(8)), "not lists of sizes"),
        (plain({"a": entry(0, 4, [True])}, bytes(4)), "not lists of sizes"),
        (plain({"a": entry(0, 8, 2)}, bytes(8)), "not lists of sizes"),
        (plain({"a": entry(0, 8, [2], ["F32"])}, bytes(8)), r"'a' has dtype \['F32'\], which cannot be read"),
        (plain({"a": entry(0, 8, [2], "F33")}, bytes(8)), "'a' has dtype 'F33', which cannot be read; known are BF16"),
        (plain({"a": entry(0, 0, [2**62, 0])}), "'a' has a shape that no array can have"),
        (plain({"a": entry(0, 0, [0] * 65)}), "'a' has a shape that no array can have"),
        (plain(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', bytes(8)), "NaN is not a finite number"),
        (plain(b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}', bytes(8)), "1e999 is not a finite"),
        (plain({"a": entry(0, 2, [2], "BOOL")}, b"\x01\x02"), "'a' of dtype BOOL has bytes other than 0 and 1"),
    ],
)
def test_damaged_files(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "f.pt").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{tmp_path}/f.pt: .*{message}") as caught:
        tg.load(tmp_path / "f.pt")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))
    assert same(tg.load(io.BytesIO(plain({"a": entry(0, 8)}, bytes(8), b" \n\t"))), {"a": tg.zeros(2)})


EXAMPLE = {"step": 3, "w": tg.arange(6).reshape(2, 3).float(), "h": [tg.ones(1).bfloat16(), np.arange(2), {"lr": 0.5}]}
CONTENT = stored(EXAMPLE)


def check_damaged(content: bytes) -> None:
    """Either it is refused, in words, or it is what was saved all the same."""
    try:
        found = tg.load(io.BytesIO(content))
    except ValueError as error:
        assert str(error).startswith("the given file object") and "\n" not in str(error)
    else:
        assert same(found, EXAMPLE)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_bytes_that_changed(changes: list[tuple[int, int]]) -> None:
    content = bytearray(CONTENT)
    for position, value in changes:
        content[position] = value
    check_damaged(bytes(content))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(CONTENT)), st.integers(0, len(CONTENT)), st.binary(max_size=20))
def test_bytes_that_were_lost_or_added(a: int, b: int, between: bytes) -> None:
    check_damaged(CONTENT[: min(a, b)] + between + CONTENT[max(a, b) :])
    check_damaged(CONTENT[: max(a, b)] + between + CONTENT[min(a, b) :])


def test_every_bit_and_every_length() -> None:
    for i in range(len(CONTENT)):
        check_damaged(CONTENT[:i] + bytes([CONTENT[i] ^ 1 << i % 8]) + CONTENT[i + 1 :])
        with pytest.raises(ValueError, match="the given file object"):
            tg.load(io.BytesIO(CONTENT[:i]))
    for i in range(len(CONTENT) - 30, len(CONTENT)):  # the data: no bit of it may change
        with pytest.raises(ValueError, match="its bytes have changed since it was saved"):
            tg.load(io.BytesIO(CONTENT[:i] + bytes([CONTENT[i] ^ 1]) + CONTENT[i + 1 :]))
