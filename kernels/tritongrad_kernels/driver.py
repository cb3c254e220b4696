"""The one door to torch, and through it to the GPU's driver.

torch allocates and frees bytes, copies them between host and device, gives streams, events and graphs, and reads `.pth`
files. It never computes a value here. What the bytes are to us is said in `memory.py`, and how kernels are started in
`launch.py`. Launches may be held back (`pending.py`): whoever waits for the GPU here, takes its time or changes its
streams starts them first.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from typing import IO, Any, TypeAlias

import ml_dtypes
import numpy as np
import torch

from tritongrad_kernels import dtypes

# -------------------------------------------------------------------------------------------------------------- devices


class Device:
    """Where memory lives: `Device("cpu")`, `Device("cuda", 0)`, `Device("cuda:0")` or `Device(0)`. Compares by value.

    RuntimeError for words that name no kind of device known here.
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __init__(self, type: str | int | Device, index: int | None = None) -> None:
        if isinstance(type, Device):
            self.type, self.index = type.type, type.index
            return
        if isinstance(type, int):
            type = f"cuda:{type}"
        if not isinstance(type, str):
            raise TypeError(f"device: expected a string, an index or a device, got {type.__class__.__name__}")
        name, colon, number = type.partition(":")
        if not type:
            raise RuntimeError("Device string must not be empty")
        if name not in ("cpu", "cuda"):
            raise RuntimeError(f"Expected one of cpu, cuda device type at start of device string: {type}")
        if (colon and not number.isdigit()) or (number and index is not None):
            raise RuntimeError(f"Invalid device string: {type!r}")
        if index is not None and index < 0:
            raise RuntimeError(f"Device index must not be negative, got {index}")
        self.type = name
        self.index = int(number) if number else index
        if name == "cuda" and self.index is None:
            self.index = DEFAULT_DEVICE.index or 0

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and (self.type, self.index or 0) == (other.type, other.index or 0)

    def __hash__(self) -> int:
        return hash((self.type, self.index or 0))


DEFAULT_DEVICE = Device("cpu")  # set by the package's __init__, and by `use_gpu`


def gpu_is_usable() -> bool:
    """Whether a CUDA device with a working driver is present."""
    return torch.cuda.is_available()


def gpu_count() -> int:
    return torch.cuda.device_count() if gpu_is_usable() else 0


def gpu_capability(index: int = 0) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


def gpu_name(index: int = 0) -> str:
    return torch.cuda.get_device_name(index)


def gpu_properties(index: int = 0) -> Any:
    """What the driver says of a GPU: name, major, minor, total_memory, multi_processor_count and more."""
    return torch.cuda.get_device_properties(index)


def cuda_version() -> str | None:
    """The version of CUDA that memory comes from; None where no GPU is used."""
    return torch.version.cuda if DEFAULT_DEVICE.type == "cuda" else None


def on_device(device: Device) -> contextlib.AbstractContextManager[Any]:
    """Make `device` the current GPU inside the block; nothing to do for one GPU or none."""
    if device.type == "cpu" or device.index == 0:
        return _HERE
    return torch.cuda.device(device.index)


_HERE = contextlib.nullcontext()


# ---------------------------------------------------------------------------------------------------------------- bytes


Storage: TypeAlias = torch.Tensor
"""Bytes, as torch holds them: a tensor of uint8 with one axis."""


class OutOfMemoryError(MemoryError, RuntimeError):
    """There is no room for a tensor. A RuntimeError as well, because torch's is."""


def take(nbytes: int, device: Device) -> Storage:
    """`nbytes` of uninitialised memory. On a machine with a GPU, host memory is pinned so that kernels reach it too."""
    try:
        if device.type == "cuda":
            return torch.empty(nbytes, dtype=torch.uint8, device=f"cuda:{device.index}")
        if DEFAULT_DEVICE.type == "cuda":
            return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
        return torch.empty(nbytes, dtype=torch.uint8)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        where = "CUDA out of memory" if device.type == "cuda" else "out of memory"
        raise OutOfMemoryError(f"{where}: could not allocate {nbytes:,} bytes on {device}") from error


def borrow(values: np.ndarray) -> Storage:
    """The bytes of a writeable numpy array of uint8 themselves, which this keeps alive."""
    return torch.from_numpy(values)


def to_dlpack(storage: Storage, kind: dtypes.dtype, shape: Any, strides: Any, offset: int, **options: Any) -> Any:
    """A DLPack capsule of a strided array in these bytes, which it keeps alive (dmlc.github.io/dlpack)."""
    return storage.view(getattr(torch, kind.name)).as_strided(shape, strides, offset).__dlpack__(**options)


def from_dlpack(
    exporter: Any, **options: Any
) -> tuple[Storage, Device, dtypes.dtype, tuple[int, ...], tuple[int, ...], int]:
    """The bytes behind another library's array, where they are, with the array's dtype, shape, strides and offset.

    On a machine with a GPU an array on the host is copied, as kernels only reach pinned memory there.
    """
    found = torch.from_dlpack(exporter, **options)
    try:
        kind = dtypes.by_name(str(found.dtype)[len("torch.") :])
    except ValueError as error:
        raise TypeError(f"from_dlpack: {error}") from None
    storage = torch.empty(0, dtype=torch.uint8, device=found.device).set_(found.untyped_storage())
    if found.device.type == "cpu" and DEFAULT_DEVICE.type == "cuda":
        storage = storage.pin_memory()
    device = Device(str(found.device))
    return storage, device, kind, tuple(found.shape), tuple(found.stride()), found.storage_offset()


# ----------------------------------------------------------------------------------------------------------- what waits


lock = threading.RLock()
"""Held by who changes what is pending, and by every launch: so no thread takes an address that another withholds, and
none waits for what one that waits for it would compute."""


waiting: weakref.WeakSet[Any] = weakref.WeakSet()
"""Memory with something pending that has to happen some day."""


def settle() -> None:
    """Launch everything that waits: before time is taken, streams change, or a dry run begins or ends."""
    while True:
        try:
            block = waiting.pop()
        except KeyError:  # none is left
            return
        block.settle()


def synchronize() -> None:
    """Wait until everything launched so far has finished. Nothing to wait for in the interpreter."""
    settle()
    if DEFAULT_DEVICE.type == "cuda":
        torch.cuda.synchronize()


_host_busy = False  # whether a GPU was given host memory to work on since we last waited for it


def host_given_to_kernel() -> None:
    """Said by `launch` of every kernel on host memory, before it starts."""
    global _host_busy
    _host_busy = DEFAULT_DEVICE.type == "cuda"


def settle_host() -> None:
    """Wait until no kernel is at work on host memory: for the GPU, if one was started there since the last time."""
    global _host_busy
    if _host_busy:
        _host_busy = False
        synchronize()


# --------------------------------------------------------------------------------------------------- streams and events


def new_event(timing: bool, blocking: bool) -> Any:
    """A mark that can be put into a GPU's stream, after everything called so far."""
    settle()
    return torch.cuda.Event(enable_timing=timing, blocking=blocking)


def new_stream(index: int, priority: int = 0) -> Any:
    """Another queue of launches of a GPU."""
    return torch.cuda.Stream(index, priority=priority)


def current_stream(index: int, default: bool = False) -> Any:
    """The stream that a GPU's launches go to, or the one that they go to by default."""
    return torch.cuda.default_stream(index) if default else torch.cuda.current_stream(index)


def use_stream(stream: Any) -> None:
    """Send the launches of the stream's GPU there."""
    settle()
    torch.cuda.set_stream(stream)


@contextlib.contextmanager
def beside(index: int) -> Iterator[Any]:
    """Inside the block copies to a GPU run beside its kernels; what is launched after it waits for them.

    Gives the stream of the kernels.
    """
    if index not in _beside:
        _beside[index] = torch.cuda.Stream(index)
    kernels = torch.cuda.current_stream(index)
    with torch.cuda.stream(_beside[index]):
        yield kernels
    kernels.wait_stream(_beside[index])


_beside: dict[int, Any] = {}  # for each GPU the stream that host memory is copied to it on


class Timer:
    """Elapsed device time between `start()` and `stop()`, in seconds; CUDA events on a GPU."""

    def __init__(self) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def start(self) -> None:
        settle()
        self._events[0].record()

    def stop(self) -> None:
        settle()
        self._events[1].record()

    def seconds(self) -> float:
        self._events[1].synchronize()
        return self._events[0].elapsed_time(self._events[1]) / 1e3


class Stamp:
    """The moment at which the current GPU gets here in its current stream, whose device and number it knows."""

    def __init__(self) -> None:
        stream = torch.cuda.current_stream()
        self.device, self.stream = stream.device_index, stream.cuda_stream
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record(stream)

    def seconds_to(self, later: Stamp) -> float:
        """The time between two moments of one GPU that it has got to."""
        return self._event.elapsed_time(later._event) / 1e3


def stamp() -> Stamp | None:
    """A Stamp; None without a GPU, and while a graph is captured, in which no time passes."""
    if DEFAULT_DEVICE.type != "cuda" or torch.cuda.is_current_stream_capturing():
        return None
    return Stamp()


class Graph:
    """What is launched on a GPU between `begin` and `end` is not run, but can be run again and again by `replay`.

    Its memory comes from a supply of its own, that of `beside` if one is given, and goes back when both the graph and
    whatever still lives there are gone. Everything launched must have been loaded before.
    """

    def __init__(self, device: Device, beside: Graph | None = None) -> None:
        self._index = device.index or 0
        self._graph = torch.cuda.CUDAGraph()
        self._supply: Any = torch.cuda.graph_pool_handle() if beside is None else beside._supply
        if self._index not in _capturing:  # one, because memory is only used again on the stream it was taken on
            _capturing[self._index] = torch.cuda.Stream(self._index)

    def begin(self) -> None:
        self._before = torch.cuda.current_stream(self._index)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # what the same launches took when they ran would stay beside what they take now
        torch.cuda.set_stream(_capturing[self._index])
        try:
            # Relaxed: the supply of pinned host memory, and other threads, may go on asking the driver for memory.
            self._graph.capture_begin(pool=self._supply, capture_error_mode="relaxed")
        except BaseException:
            torch.cuda.set_stream(self._before)
            raise

    def end(self) -> None:
        try:
            self._graph.capture_end()
        finally:
            torch.cuda.set_stream(self._before)

    def replay(self) -> None:
        self._graph.replay()


_capturing: dict[int, Any] = {}  # for each GPU the stream on which graphs are captured


# -------------------------------------------------------------------------------------------------------------- figures


def figures(index: int) -> dict[str, Any]:
    """What the allocator counts on a GPU, by torch's names; nothing where there is none."""
    return dict(torch.cuda.memory_stats(index)) if DEFAULT_DEVICE.type == "cuda" else {}


def gpu_memory(index: int) -> tuple[int, int]:
    """(free, all) bytes of a GPU."""
    return torch.cuda.mem_get_info(index)


def peak_bytes() -> int:
    """The most device memory in use at once since the last `reset_peak_bytes`; 0 without a GPU."""
    return torch.cuda.max_memory_allocated() if DEFAULT_DEVICE.type == "cuda" else 0


def reset_peak_bytes() -> None:
    if DEFAULT_DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def empty_cache() -> None:
    """Give memory that the allocator keeps for reuse back to the driver."""
    if DEFAULT_DEVICE.type == "cuda":
        torch.cuda.empty_cache()


# -------------------------------------------------------------------------------------------------------- torch's files

Tensor, Size, DType, Place = torch.Tensor, torch.Size, torch.dtype, torch.device
"""What `saved` gives beside plain containers and plain values."""


def saved(file: IO[bytes]) -> Any:
    """What `torch.save` wrote, in torch's own types. Code in the file is never run: whatever has any is refused."""
    return torch.load(file, map_location="cpu", weights_only=True)


def values(tensor: Any) -> np.ndarray:
    """The values of one of torch's tensors; TypeError, with what the tensor is or has, if numpy has no array for them.

    Tensors that share memory still do.
    """
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise TypeError("is a sparse or quantized tensor")
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"has dtype {tensor.dtype}") from error
