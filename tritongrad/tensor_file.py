"""A safetensors file of named arrays: written whole or not at all, and read with nothing in it taken on trust.

Layout: the header's length in 8 bytes, little-endian; the header, JSON of {"dtype", "shape", "data_offsets"} by name
and of a dict of strings, `__metadata__`; then the elements, in C order. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, NoReturn

import numpy as np

from tritongrad_kernels import dtypes

TYPES: dict[str, np.dtype[Any]] = {
    "BF16": dtypes.bfloat16.numpy,
    "BOOL": np.dtype(np.bool_),
    **{f"F{8 * n}": np.dtype(f"f{n}") for n in (8, 4, 2)},
    **{f"I{8 * n}": np.dtype(f"i{n}") for n in (8, 4, 2, 1)},
    **{f"U{8 * n}": np.dtype(f"u{n}") for n in (8, 4, 2, 1)},
}
CODES = {kind: code for code, kind in TYPES.items()}

_MAX_HEADER = 100_000_000  # bytes; the safetensors library refuses longer ones as well
_STEP = 1 << 22  # bytes read at once: whoever looks at them next finds them in the processor's cache


# ---------------------------------------------------------------------------------------------------------- writing


def write_atomically(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Make `path` a file of these bytes: at every moment it is what it was before, or all of the new file.

    The bytes go to `.NAME.*.tmp` beside it, reach the disk, and then take the name; links are followed. Whatever fails,
    an error raised by `chunks` included, removes that file; only a killed process leaves it, to be deleted at will.
    Raises OSError if the disk or folder refuses, or if `path` is something other than a regular file.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    mode = 0o666
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(path).st_mode
        if not stat.S_ISREG(found):
            raise OSError(errno.EINVAL, "not a regular file, so it cannot be replaced", path)
        mode = found & 0o777  # what was private stays so
    temporary = os.path.join(folder, f".{name[:50]}.{secrets.token_hex(8)}.tmp")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to write into", folder) from None
    try:
        try:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make a new name in `folder` survive a power cut."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing
            raise
    finally:
        os.close(file)


def write(f: str | os.PathLike[str] | IO[bytes], chunks: Iterable[bytes | memoryview]) -> None:
    """Write bytes to a path, atomically, or to a file open for writing bytes, where it stands."""
    if isinstance(f, str | os.PathLike):
        write_atomically(f, chunks)
    elif hasattr(f, "write"):
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:  # an unbuffered file may take a part
                written = f.write(rest)
                rest = rest[len(rest) if written is None else written :]
    else:
        raise TypeError(f"save: expected a path or a file open for writing bytes, got {type(f).__name__}")


def header(arrays: Iterable[tuple[str, str, tuple[int, ...]]], metadata: dict[str, str]) -> bytes:
    """The bytes before the data, which is the elements of these arrays (name, dtype's code, shape) one after another.

    Raises ValueError if that is more than readers accept.
    """
    described: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for name, code, shape in arrays:
        end = position + math.prod(shape) * TYPES[code].itemsize
        described[name] = {"dtype": code, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = to_json(described).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(
            f"save: what is not tensors comes to {len(text):,} bytes, more than the {_MAX_HEADER:,} allowed"
        )
    return len(text).to_bytes(8, "little") + text


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# ---------------------------------------------------------------------------------------------------------- reading


def from_json(text: bytes) -> dict[str, Any]:
    """An object in strict JSON; ValueError for anything else, a name that comes twice, NaN and infinities included."""
    try:
        result = json.loads(text.decode(), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(result, dict):
        raise ValueError("it is not an object")
    return result


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice[:100]!r} appears twice")
    return result


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{number[:100]} is not a finite number")
    return float(number)


@contextlib.contextmanager
def opened(f: str | os.PathLike[str] | IO[bytes]) -> Iterator[tuple[IO[bytes], str]]:
    """A path, or a file open for reading bytes, as a file that can seek, and what to call it in an error."""
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as stream:
            yield stream, os.fspath(f)
    elif hasattr(f, "read"):
        able = all(hasattr(f, name) for name in ("readinto", "seek", "tell"))
        yield f if able else BytesIO(f.read()), str(getattr(f, "name", "the given file object"))
    else:
        raise TypeError(f"load: expected a path or a file open for reading bytes, got {type(f).__name__}")


@dataclass(frozen=True)
class Entry:
    """One array of a file: bytes `begin` to `end` of its data."""

    name: str
    code: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return TYPES[self.code]


class TensorFile:
    """A file from its present position to its end, once the header is found to give each byte to one array.

    The safetensors library would do for that, but takes the last of two arrays of one name, and reads no bfloat16.
    Whatever is wrong raises ValueError naming the file.
    """

    def __init__(self, stream: IO[bytes], source: str) -> None:
        self.source = source
        self._stream = stream
        start = stream.tell()
        stream.seek(0, os.SEEK_END)
        present = max(stream.tell() - start - 8, 0)
        stream.seek(start)
        length = int.from_bytes(stream.read(8), "little")
        if length > min(present, _MAX_HEADER):
            self.refuse(
                f"a header of {length:,} bytes is announced, but {present:,} follow and {_MAX_HEADER:,} are allowed"
            )
        try:
            described = from_json(stream.read(length))
        except ValueError as error:
            self.refuse(f"its header is damaged: {error}")
        self.metadata: dict[str, str] = described.pop("__metadata__", {})
        if not isinstance(self.metadata, dict) or not all(isinstance(v, str) for v in self.metadata.values()):
            self.refuse("its __metadata__ is not a dict of strings")
        self._data = start + 8 + length
        self.entries = {name: self._entry(name, fields) for name, fields in described.items()}
        self._in_file_order = sorted(self.entries.values(), key=lambda e: (e.begin, e.end))
        self._require_gapless(present - length)

    def refuse(self, problem: str) -> NoReturn:
        raise ValueError(f"{self.source}: {problem}")

    def _entry(self, name: str, fields: Any) -> Entry:
        if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
            self.refuse(f"tensor {name!r} is not described by dtype, shape and data_offsets")
        code, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
        if not isinstance(code, str) or code not in TYPES:
            self.refuse(f"tensor {name!r} has dtype {code!r}, which cannot be read; known are {', '.join(TYPES)}")
        for numbers in (shape, offsets):
            if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
                self.refuse(f"tensor {name!r} has a shape or data_offsets that are not lists of sizes")
        nbytes = math.prod(shape) * TYPES[code].itemsize
        if len(offsets) != 2 or offsets[1] - offsets[0] != nbytes:
            self.refuse(
                f"tensor {name!r} of dtype {code} and shape {shape} has {nbytes} bytes, but data_offsets {offsets}"
            )
        # Extents around a 0 can be absurd without a byte of data; strides of 64 bits and numpy's 64 axes are the limit.
        if len(shape) > 64 or math.prod(max(n, 1) for n in shape) >= 2**59:
            self.refuse(f"tensor {name!r} has a shape that no array can have")
        return Entry(name, code, tuple(shape), *offsets)

    def _require_gapless(self, size: int) -> None:
        position = 0
        for e in self._in_file_order:
            if e.begin != position:
                what = "overlaps the tensor before it" if e.begin < position else "leaves a hole before it"
                self.refuse(f"tensor {e.name!r} begins at byte {e.begin} of the data instead of {position}: it {what}")
            position = e.end
        if position != size:
            what = "was truncated" if size < position else "has a tail that belongs to none"
            self.refuse(f"its tensors have {position:,} bytes, but {size:,} are there: the file {what}")

    def read(self, into: Callable[[Entry], Any]) -> dict[str, Any]:
        """`into(entry)` for every entry by name, called in the order of the data, so that it is read in one go."""
        found = {e.name: into(e) for e in self._in_file_order}
        return {name: found[name] for name in self.entries}

    def read_into(self, e: Entry, target: memoryview, seen: Callable[[memoryview], Any]) -> None:
        """Fill the bytes `target` with an array's, and show each part to `seen`."""
        self._stream.seek(self._data + e.begin)
        position = 0
        while position < len(target):
            part = target[position : position + _STEP]
            count = self._stream.readinto(part)  # type: ignore[attr-defined]
            if not count:
                self.refuse(f"it became shorter while tensor {e.name!r} was being read")
            seen(part[:count])
            position += count
        if e.code == "BOOL" and len(target) and np.frombuffer(target, np.uint8).max() > 1:
            self.refuse(f"tensor {e.name!r} of dtype BOOL has bytes other than 0 and 1")
