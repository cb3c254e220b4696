"""Checkpoints: `save` writes one safetensors file, `load` reads it back, and reads torch's files too.

A saved object is its tensors, under names that say where they lie ("optimizer.state.0.exp_avg"; in a state_dict the
very keys), and a manifest in the file's `__metadata__`. `tritongrad` is JSON of {"version", "tensors", "structure"}:
[dtype, shape, sha256, device] of each tensor by name, and the object with {"tensor": [name, requires_grad]} in the
tensors' places. `tritongrad_sha256` is the digest of that text. Any safetensors reader can read the tensors. Nothing
is pickled, and nothing read from a file is run.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import math
import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from tritongrad.tensor import Size, Tensor, as_device
from tritongrad.tensor_file import (
    CODES,
    Entry,
    TensorFile,
    from_json,
    header,
    opened,
    to_json,
    write,
    write_atomically as write_atomically,
)
from tritongrad_kernels import driver, dtypes, elementwise, exchange, index, memory
from tritongrad_kernels.array import Array, empty, from_host, to_device

_VERSION = 1
_MAX_DEPTH = 100  # containers inside containers: far below where Python's own recursion ends
_CPU = driver.Device("cpu")

_SEQUENCES: dict[str, type] = {"tuple": tuple, "Size": Size, "set": set, "frozenset": frozenset}
_MAPPINGS: dict[str, type] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_TAGS = {kind: tag for tag, kind in (*_SEQUENCES.items(), *_MAPPINGS.items())}


# ----------------------------------------------------------------------------------------------------------- saving


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Store `obj` in a file, atomically (see `write_atomically`), or in a file open for writing bytes.

    `obj` is any nesting, up to 100 deep, of dict, OrderedDict, Counter, list, tuple, set, Size, None, bool, int, float,
    str, bytes, dtypes, devices, numpy arrays and scalars, and tensors. Numbers and tensors come back bit for bit, a
    Parameter as a Tensor that requires a gradient. Non-contiguous tensors are stored in C order. Tensors with the same
    memory, offset, shape and strides are stored once, under the first name, and share memory again when loaded; other
    views are stored apart.

    TypeError says where in `obj` something else was found; RuntimeError that a tensor changed while it was being saved.
    """
    index.settle()
    encoder = _Encoder()
    structure = encoder.encode(obj, ())
    # Largest elements first: each then lies at a multiple of its size, which readers that map the file count on.
    blobs = dict(sorted(encoder.blobs.items(), key=lambda item: -item[1].dtype.itemsize))
    tensors = {name: _description(blob) for name, blob in blobs.items()}
    manifest = to_json({"version": _VERSION, "tensors": tensors, "structure": structure})
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    metadata = {"format": "pt", "tritongrad": manifest, "tritongrad_sha256": digest}  # "pt": torch's names and layouts
    first = header(((name, code, blobs[name].shape) for name, (code, *_) in tensors.items()), metadata)
    write(f, itertools.chain([first], _data(blobs, tensors)))


class _Encoder:
    """An object as JSON, and its tensors by name."""

    def __init__(self) -> None:
        self.blobs: dict[str, Array | np.ndarray] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def encode(self, value: Any, path: tuple[Any, ...]) -> Any:
        kind = type(value)
        if len(path) > _MAX_DEPTH:
            raise ValueError(f"save: {_where(path[:3])} is nested more than {_MAX_DEPTH} deep, or contains itself")
        if value is None or kind is bool:
            return value
        if kind is int:  # Python reads decimal digits only up to a limit
            return value if value.bit_length() < 64 else {"int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is str:
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"save: {_where(path)} is a string that UTF-8 cannot express: {error.reason}"
                ) from None
            return value
        if kind is bytes:
            return {"bytes": base64.b64encode(value).decode()}
        if kind is dtypes.dtype:
            return {"dtype": value.name}
        if kind is driver.Device:
            return {"device": str(value)}
        if kind in _MAPPINGS.values():
            return {_TAGS[kind]: [[self.encode(k, (*path, k)), self.encode(v, (*path, k))] for k, v in value.items()]}
        if kind is list or kind in _SEQUENCES.values():
            items = [self.encode(v, (*path, i)) for i, v in enumerate(value)]
            if kind in (set, frozenset):  # Python's order of them differs from process to process
                items.sort(key=json.dumps)
            return items if kind is list else {_TAGS[kind]: items}
        return self._encode_numbers(value, path)

    def _encode_numbers(self, value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, Tensor):
            a = value.array
            key: tuple[Any, ...] = (id(a.memory), a.offset, a.dtype, a.shape, a.strides)
            return {"tensor": [self._name(a, key, path), value.requires_grad]}
        if isinstance(value, np.generic):
            return {"scalar": self._name(np.asarray(value), (object(),), path)}
        if type(value) in (np.ndarray, np.memmap):
            key = (value.ctypes.data, value.dtype, value.shape, value.strides)
            return {"array": self._name(value, key, path)}
        hint = "; store its state_dict() instead" if hasattr(value, "state_dict") else ""
        article = "an" if type(value).__name__[0] in "AEIOUaeiou" else "a"
        raise TypeError(f"save: cannot store {_where(path)}, {article} {type(value).__name__}{hint}")

    def _name(self, blob: Array | np.ndarray, key: tuple[Any, ...], path: tuple[Any, ...]) -> str:
        """The name under which a tensor is stored; the same for the same `key`."""
        if key not in self._names:
            if isinstance(blob, np.ndarray):
                native = blob.dtype.newbyteorder("=")
                if native not in CODES:
                    raise TypeError(f"save: cannot store {_where(path)}, numpy data of dtype {blob.dtype}")
                blob = np.asarray(blob, native)
            plain = name = ".".join(map(str, path)) or "tensor"
            numbers = itertools.count(2)
            while name in self.blobs or name == "__metadata__":
                name = f"{plain}#{next(numbers)}"
            self.blobs[name] = blob
            self._names[key] = name
        return self._names[key]


def _where(path: tuple[Any, ...]) -> str:
    text = "".join(f".{k}" if isinstance(k, str) else f"[{k!r}]" for k in path)
    return text.removeprefix(".") or "the object"


def _raw(blob: Array | np.ndarray) -> memoryview:
    """The bytes of the elements in C order: without a copy where they lie so on the host."""
    if isinstance(blob, Array):
        if blob.device.type == "cuda":
            blob = to_device(blob if blob.dense_order() is not None else elementwise.contiguous(blob), _CPU)
        blob = blob.numpy()
    return np.ascontiguousarray(blob).reshape(-1).view(np.uint8).data


def _description(blob: Array | np.ndarray) -> tuple[str, tuple[int, ...], str, str]:
    kind, device = (blob.dtype.numpy, str(blob.device)) if isinstance(blob, Array) else (blob.dtype, "numpy")
    return CODES[kind], blob.shape, hashlib.sha256(_raw(blob)).hexdigest(), device


def _data(
    blobs: dict[str, Array | np.ndarray], tensors: dict[str, tuple[str, tuple[int, ...], str, str]]
) -> Iterator[memoryview]:
    """Every tensor's bytes, one at a time. Their digests stand before them in the file, so this is a second look."""
    for name, blob in blobs.items():
        raw = _raw(blob)
        if hashlib.sha256(raw).hexdigest() != tensors[name][2]:
            raise RuntimeError(f"save: {name} was changed, by another thread, while it was being saved")
        yield raw


# ---------------------------------------------------------------------------------------------------------- loading


def load(
    f: str | os.PathLike[str] | IO[bytes], map_location: Any = None, weights_only: bool = True, mmap: bool | None = None
) -> Any:
    """What `save` stored, a plain safetensors file's tensors by name, or what is in a file `torch.save` wrote.

    The content tells which it is, not the name. Every digest and size is verified. Tensors go to the device they were
    on when saved if it is here; else, and from other programs' files, to the default device. `map_location` decides
    otherwise: a device; a dict from device name to device; or a function of a tensor on the CPU and a device name that
    gives the tensor to keep, or None for no opinion. `weights_only` and `mmap` are taken for the sake of torch scripts
    and change nothing: no code is ever run, and all bytes are read.

    Raises ValueError, naming the file and what is wrong, unless everything is whole and plain data.
    """
    with opened(f) as (stream, source):
        start = stream.tell()
        magic = stream.read(9)
        stream.seek(start)
        if magic[8:] == b"{":
            return _load_object(TensorFile(stream, source), map_location)
        if magic.startswith((b"PK\x03\x04", b"\x80")):
            return _as_tensors(exchange.load_pth(stream), source, map_location, {}, ())
        raise ValueError(f"{source}: neither a safetensors file nor a torch checkpoint")


def load_safetensors(f: str | os.PathLike[str] | IO[bytes]) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, whoever wrote it, as numpy arrays by the names they have in the file.

    Raises ValueError, naming the file and what is wrong, if the file is damaged.
    """
    with opened(f) as (stream, source):
        file = TensorFile(stream, source)
        manifest = _manifest(file)
        return file.read(lambda e: _read_numpy(file, e, manifest))


def _manifest(file: TensorFile) -> dict[str, Any] | None:
    """The manifest, if the file has one, once its digest is right and it describes the tensors as the header does."""
    ours = {key for key in file.metadata if "tritongrad" in key}
    if not ours:
        return None
    if ours != {"tritongrad", "tritongrad_sha256"}:
        file.refuse("its manifest is incomplete")
    text = file.metadata["tritongrad"].encode(errors="surrogatepass")
    if hashlib.sha256(text).hexdigest() != file.metadata["tritongrad_sha256"]:
        file.refuse("its manifest does not match its sha256")
    try:
        manifest = from_json(text)
    except ValueError as error:
        file.refuse(f"its manifest is damaged: {error}")
    if manifest.get("version") != _VERSION:
        file.refuse(f"its manifest has version {manifest.get('version')!r}; this program reads version {_VERSION}")
    listed = manifest.get("tensors")
    if manifest.keys() != {"version", "tensors", "structure"} or not isinstance(listed, dict):
        file.refuse("its manifest is not made of version, tensors and structure")
    if listed.keys() != file.entries.keys():
        file.refuse(
            f"tensor {min(listed.keys() ^ file.entries.keys())!r} is in its header or in its manifest, but not in both"
        )
    for name, e in file.entries.items():
        match listed[name]:
            case [e.code, [*shape], str(), str(device)] if tuple(shape) == e.shape and _is_device(device):
                continue
        file.refuse(f"tensor {name!r} is described differently in its header and in its manifest")
    return manifest


def _is_device(name: str) -> bool:
    with contextlib.suppress(RuntimeError):
        return name == "numpy" or name == str(driver.Device(name))
    return False


def _read(file: TensorFile, e: Entry, target: memoryview, manifest: dict[str, Any] | None) -> None:
    digest = hashlib.sha256()
    file.read_into(e, target, digest.update if manifest else lambda part: None)
    if manifest and digest.hexdigest() != manifest["tensors"][e.name][2]:
        file.refuse(f"tensor {e.name!r} does not match its sha256: its bytes have changed since it was saved")


def _read_numpy(file: TensorFile, e: Entry, manifest: dict[str, Any] | None) -> np.ndarray:
    values = np.empty(e.shape, e.dtype)
    _read(file, e, values.reshape(-1).view(np.uint8).data, manifest)
    return values


def _read_array(file: TensorFile, e: Entry, manifest: dict[str, Any] | None) -> Array:
    array = empty(e.shape, _our_dtype(e.dtype, e.name, file.source), _CPU)
    _read(file, e, array.memory.host[: array.nbytes].data, manifest)
    return array


def _our_dtype(kind: np.dtype, name: str, source: str) -> dtypes.dtype:
    try:
        return dtypes.from_numpy(kind)
    except TypeError:
        raise ValueError(f"{source}: tensor {name!r} has dtype {kind}, which no tensor here can have") from None


def _load_object(file: TensorFile, map_location: Any) -> Any:
    manifest = _manifest(file)
    if manifest is None:
        return file.read(lambda e: Tensor(_placed(_read_array(file, e, None), None, map_location)))

    def read(e: Entry) -> Array | np.ndarray:
        device = manifest["tensors"][e.name][3]
        if device == "numpy":
            return _read_numpy(file, e, manifest)
        return _placed(_read_array(file, e, manifest), device, map_location)

    loaded = file.read(read)
    try:
        return _decode(manifest["structure"], loaded, 0)
    except (TypeError, ValueError) as error:  # a manifest that is whole, but none that `save` would write
        raise ValueError(f"{file.source}: its manifest describes no object: {error}") from error


def _decode(node: Any, loaded: dict[str, Any], depth: int) -> Any:
    """The object that a node of the structure stands for."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    if isinstance(node, list):
        return [_decode(item, loaded, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    match list(node.items()):
        case [(tag, [*items])] if tag in _SEQUENCES:
            return _SEQUENCES[tag](_decode(item, loaded, depth + 1) for item in items)
        case [(tag, [*items])] if tag in _MAPPINGS:
            result = _MAPPINGS[tag]()
            for key, value in items:
                result[_decode(key, loaded, depth + 1)] = _decode(value, loaded, depth + 1)
            if len(result) < len(items):
                raise ValueError("it has a dict with one key twice")
            return result
        case [("tensor", [str(name), bool(requires_grad)])] if isinstance(loaded.get(name), Array):
            tensor = Tensor(loaded[name])
            if requires_grad and not tensor.is_floating_point():
                raise ValueError(f"tensor {name!r} of integers requires a gradient")
            tensor.requires_grad = requires_grad
            return tensor
        case [("array" | "scalar" as tag, str(name))] if isinstance(loaded.get(name), np.ndarray):
            return loaded[name] if tag == "array" else loaded[name][()]
        case [("int", str(digits))]:
            return int(digits, 16)
        case [("float", "nan" | "inf" | "-inf" as word)]:
            return float(word)
        case [("bytes", str(text))]:
            return base64.b64decode(text, validate=True)
        case [("dtype", str(name))]:
            return dtypes.by_name(name)
        case [("device", str(name))] if name != "numpy" and _is_device(name):
            return driver.Device(name)
    raise ValueError(f"it names a tensor that is not there, or is no kind of value: {json.dumps(node)[:100]}")


def _as_tensors(value: Any, source: str, map_location: Any, seen: dict[Any, Array], path: tuple[Any, ...]) -> Any:
    """torch's arrays as tensors in the same containers; those that share memory still do."""
    if isinstance(value, np.ndarray):
        key = (value.ctypes.data, value.dtype, value.shape, value.strides)
        if key not in seen:
            _our_dtype(value.dtype, ".".join(map(str, path)) or "tensor", source)
            seen[key] = _placed(from_host(value, _CPU), None, map_location)
        return Tensor(seen[key])
    if isinstance(value, dict):
        items = {k: _as_tensors(v, source, map_location, seen, (*path, k)) for k, v in value.items()}
        return items if type(value) is dict else type(value)(items)
    if isinstance(value, list | tuple):
        return type(value)(_as_tensors(v, source, map_location, seen, (*path, i)) for i, v in enumerate(value))
    return value


def _placed(array: Array, location: str | None, map_location: Any) -> Array:
    """An array on the host, moved to where `map_location`, or else its recorded location, wants it."""
    target = map_location
    if callable(map_location):
        target = map_location(Tensor(array), location or "cpu")
        if isinstance(target, Tensor):
            return target.array
    elif isinstance(map_location, Mapping):
        target = {str(key): value for key, value in map_location.items()}.get(location or "cpu")
    device = as_device(target)
    if device is None:
        device = driver.DEFAULT_DEVICE
        with contextlib.suppress(RuntimeError):  # saved on a GPU that is not here
            device = memory.check_device(driver.Device(location)) if location else device
    return array if device == array.device else to_device(array, device)
