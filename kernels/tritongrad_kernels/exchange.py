"""Bytes that other libraries made, and those that they are shown: numpy's arrays, DLPack, and torch's `.pth` files."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from typing import IO, Any

import numpy as np

from tritongrad_kernels import driver, dtypes
from tritongrad_kernels.driver import Device
from tritongrad_kernels.memory import Memory


def lend(values: np.ndarray) -> Memory | None:
    """The memory of a numpy array itself, which it keeps alive; None where kernels could not read and write it there.

    That is a read-only array, one whose elements do not lie at multiples of their size, and, on a machine with a GPU,
    any: its host memory is not pinned.
    """
    flags, span = (
        values.flags,
        1 + sum((n - 1) * s // values.itemsize for n, s in zip(values.shape, values.strides, strict=True)),
    )
    if not (flags.writeable and flags.aligned and values.size) or driver.DEFAULT_DEVICE.type == "cuda":
        return None
    flat = np.lib.stride_tricks.as_strided(values, (span,), (values.itemsize,))
    return _unaccounted(Memory(driver.borrow(flat.view(np.uint8)), Device("cpu")))


def _unaccounted(lent: Memory) -> Memory:
    lent.defined, lent.lent = None, True  # its owner wrote what is there
    return lent


def to_dlpack(source: Memory, kind: dtypes.dtype, shape: Any, strides: Any, offset: int, **options: Any) -> Any:
    """A DLPack capsule of a strided array in this memory, which it keeps alive (dmlc.github.io/dlpack)."""
    source.exposed = True
    source.defined = None  # whoever has the capsule may write to it
    whole = source.storage[: source.nbytes // kind.itemsize * kind.itemsize]
    return driver.to_dlpack(whole, kind, shape, strides, offset, **options)


def from_dlpack(exporter: Any, **options: Any) -> tuple[Memory, dtypes.dtype, tuple[int, ...], tuple[int, ...], int]:
    """The memory behind another library's array, shared, with the dtype, shape, strides and offset of the array.

    On a machine with a GPU an array on the host is copied, as kernels only reach pinned memory there.
    """
    storage, device, kind, shape, strides, offset = driver.from_dlpack(exporter, **options)
    return _unaccounted(Memory(storage, device)), kind, shape, strides, offset


def load_pth(source: str | os.PathLike[str] | IO[bytes]) -> Any:
    """Read what `torch.save` wrote, refusing anything but plain data; tensors come as numpy arrays.

    Tensors that shared memory still do. Dicts, lists, tuples, sets and what they hold come as themselves, torch.Size as
    a tuple, torch's dtypes and devices as ours. Raises ValueError naming the file if it is no such file, is damaged,
    holds code (which is never run) or a tensor that numpy has no array for.
    """
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return load_pth(file)
    name = str(getattr(source, "name", "the given file object"))
    try:
        _verify_records(source)
        value = driver.saved(source)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{name} cannot be read as a torch checkpoint: {_reason(error)}") from error
    return _to_numpy(value, name, ())


def _verify_records(source: IO[bytes]) -> None:
    """Raise BadZipFile if bytes of a checkpoint's records have changed: `torch.load` does not look at their CRC-32."""
    start = source.tell()
    zipped = source.read(4) == b"PK\x03\x04"
    source.seek(start)
    if zipped:
        with zipfile.ZipFile(source) as archive:
            records = archive.infolist()
            written = any(record.CRC for record in records)  # torch can be told to write none
            for record in records:
                if record.external_attr & 0x10 and not record.is_dir():  # torch would leave its tensor uninitialised
                    raise zipfile.BadZipFile(f"record {record.filename!r} is marked as a folder")
                if written:
                    with archive.open(record) as file:
                        while file.read(1 << 20):
                            pass
    source.seek(start)


def _reason(error: Exception) -> str:
    """torch's paragraphs of advice as one clause."""
    text = str(error)
    code = re.search(r"GLOBAL ([\w.]+)", text)
    if code:
        return f"it asks to run {code[1]}, and only plain tensors and containers are read"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something other than plain tensors and containers, or is damaged"
    if isinstance(error, EOFError):
        return "it ends too early"
    return text.split("\n")[0].split(". ")[0][:200] or type(error).__name__


def _to_numpy(value: Any, file: str, path: tuple[Any, ...]) -> Any:
    if isinstance(value, driver.Tensor):
        where = ".".join(map(str, path)) or "the tensor"
        try:
            return driver.values(value)
        except TypeError as error:
            raise ValueError(f"{file}: {where} {error}, which cannot be read") from error
    if isinstance(value, dict):
        items = {k: _to_numpy(v, file, (*path, k)) for k, v in value.items()}
        return items if type(value) is dict else type(value)(items)
    if isinstance(value, driver.Size):
        return tuple(value)
    if isinstance(value, list | tuple):
        return type(value)(_to_numpy(v, file, (*path, i)) for i, v in enumerate(value))
    if isinstance(value, driver.DType | driver.Place):
        try:
            return (
                Device(str(value)) if isinstance(value, driver.Place) else dtypes.by_name(str(value)[len("torch.") :])
            )
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
    return value
