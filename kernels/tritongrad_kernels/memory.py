"""Raw memory, and the one door to torch.

torch allocates and frees bytes, copies them between host and device, gives streams and events, and reads `.pth`
files. It never computes a value here. Every allocation of the project goes through `allocate`.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import pickle
import re
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import ml_dtypes
import numpy as np
import torch

from tritongrad_kernels import dtypes


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
POISON = False  # tests fill fresh memory with 0xFF: NaN in every float type, -1 or 255 in integers
ACCOUNT = 0  # the largest block, in bytes, of which the sanitizer is told what was written to


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


def use_gpu(index: int) -> None:
    """Make this GPU the one where tensors are made unless a device is named."""
    global DEFAULT_DEVICE
    DEFAULT_DEVICE = check_device(Device("cuda", index))


def check_device(device: Device) -> Device:
    """`device` if memory can be had there; RuntimeError in one sentence otherwise."""
    if (
        device.type == "cuda"
        and _dry_run.get() is None
        and (DEFAULT_DEVICE.type != "cuda" or (device.index or 0) >= gpu_count())
    ):
        why = "kernels run in the CPU interpreter" if DEFAULT_DEVICE.type != "cuda" else f"{gpu_count()} GPU(s) found"
        raise RuntimeError(f"device {device} was asked for but is not available: {why}")
    return device


class OutOfMemoryError(MemoryError, RuntimeError):
    """There is no room for a tensor. A RuntimeError as well, because torch's is."""


lock = threading.RLock()
"""Held by who changes what is pending, and by every launch: so no thread takes an address that another withholds, and
none waits for what one that waits for it would compute."""


class Memory:
    """A block of bytes on one device.

    version  counts in-place writes, so that autograd can refuse stale values
    lent     whether somebody else's, so that it must stay where it is and as large as it is
    exposed  whether somebody outside was given its bytes or address, and may write to it at any time
    defined  for each byte whether anything was written to it; None where no account of that is kept
    origin   what gives these values, where it matters to who reads them next
    pending  why nobody may touch the bytes before `settle()`: see `pending.py`. `address` and `storage` are not there
             meanwhile, and asking for them settles.
    """

    __slots__ = (
        "__weakref__", "address", "defined", "device", "exposed", "lent", "nbytes", "origin", "pending", "storage",
        "version",
    )  # fmt: skip

    def __init__(self, storage: torch.Tensor, device: Device) -> None:
        self.storage = storage
        self.address = storage.data_ptr()
        self.nbytes = nbytes = storage.numel()
        self.device = device
        self.version = 0
        self.lent = self.exposed = False
        self.origin: Any = None
        self.pending: Any = None
        self.defined: np.ndarray | None = np.zeros(nbytes, bool) if nbytes <= ACCOUNT else None

    def __getattr__(self, name: str) -> Any:
        if name not in ("address", "storage"):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        with lock:
            self.settle()
            found = object.__getattribute__(self, name)
        return found

    def settle(self) -> None:
        """Let whatever is pending about these bytes happen now."""
        if self.pending is not None:
            self.pending.settle(self)

    @property
    def waiting(self) -> bool:
        """Whether the bytes have still to be computed."""
        return self.pending is not None and self.pending.work is not None

    def withhold(self) -> Any:
        """Keep everybody from the bytes; what `release` wants to give them back."""
        held = self.storage, self.address
        del self.storage, self.address
        return held

    def release(self, held: Any) -> None:
        """Give the bytes back that `withhold` took."""
        self.storage, self.address = held

    def adopt(self, other: Memory) -> None:
        """Have the bytes of another block, which nobody else has."""
        self.storage, self.address, self.defined = other.storage, other.address, other.defined

    def again(self) -> Memory:
        """The same bytes, as memory of its own."""
        other = Memory(self.storage, self.device)
        other.defined = None
        return other

    def part(self, start: int, nbytes: int) -> Memory:
        """Some of these bytes, as memory of its own."""
        other = Memory(self.storage[start : start + max(nbytes, 16)], self.device)
        other.defined = None
        return other

    def move(self) -> None:
        """Have other bytes of the same values, because those that were there will be written to."""
        elsewhere = allocate(self.nbytes, self.device)
        copy(elsewhere, self, 0, self.nbytes)
        self.storage, self.address, self.defined = elsewhere.storage, elsewhere.address, None

    @property
    def is_pinned(self) -> bool:
        """Whether this is host memory that a GPU reaches: all of it, where there is a GPU."""
        return self.device.type == "cpu" and DEFAULT_DEVICE.type == "cuda"

    @property
    def host(self) -> np.ndarray:
        """The bytes as a numpy view; only for memory the CPU can reach. Waits for kernels that may be at work there."""
        if capture is not None and capturing():
            capture.require_known(self)
            return self.storage.numpy()
        self.defined = None  # whoever has the view may write to it
        settle_host()
        return self.storage.numpy()

    def grow(self, nbytes: int) -> None:
        """Make this block larger, for all arrays in it: the bytes move to a new address, those added have no values."""
        if self.lent:
            raise RuntimeError("Trying to resize storage that is not resizable: it belongs to another library's array")
        looks("giving a tensor more memory")
        larger = allocate(nbytes, self.device)
        copy(larger, self, 0, self.nbytes)
        if larger.defined is not None and self.defined is not None:
            larger.defined[: self.nbytes] = self.defined
            self.defined = larger.defined
        else:
            self.defined = None
        self.storage, self.address, self.nbytes = larger.storage, larger.address, larger.nbytes


waiting: weakref.WeakSet[Memory] = weakref.WeakSet()
"""Memory with something pending that has to happen some day."""


capture: Any = None
"""What takes down the launches of one thread, to start them again, while a capture is going on: see `capture.py`."""
uploaded = 0
"""Bytes that were brought from the host so far: what a capture makes room for."""


def capturing() -> Any:
    """The capture that this thread is in, or None."""
    return capture if capture is not None and capture.thread == threading.get_ident() else None


_refusal: contextvars.ContextVar[Callable[[str], Exception] | None] = contextvars.ContextVar("refusal", default=None)


@contextlib.contextmanager
def refusing(error: Callable[[str], Exception] | None) -> Iterator[None]:
    """Inside the block the host must not look at values: who would is told error(what it is doing)."""
    token = _refusal.set(error)
    try:
        yield
    finally:
        _refusal.reset(token)


def refused() -> bool:
    """Whether the host must not look at values now."""
    return _refusal.get() is not None


def looks(what: str) -> None:
    """Said before the host looks at values, or at anything else that a captured step would not look at again."""
    error = _refusal.get()
    if error is not None:
        raise error(what)


def settle() -> None:
    """Launch everything that waits: before time is taken, streams change, or a dry run begins or ends."""
    while True:
        try:
            block = waiting.pop()
        except KeyError:  # none is left
            return
        block.settle()


def promised(nbytes: int, device: Device) -> Memory:
    """Memory without bytes; it will `adopt` some."""
    kind = Memory if _dry_run.get() is None else DryMemory
    memory: Memory = object.__new__(kind)
    memory.nbytes, memory.device, memory.version = max(nbytes, 16), device, 0
    memory.lent = memory.exposed = False
    memory.origin = memory.pending = memory.defined = None
    if isinstance(memory, DryMemory):
        memory.await_bytes()
    if capture is not None and capturing():
        capture.made(memory)
    return memory


watch: Callable[[Any, int, Device], None] | None = None
"""Told of bytes as they are taken: the object that goes when they are given back, how many, where. A dry run has no
such object, and tells of bytes given back as of less than none. Other threads may set it at any time."""


def allocate(nbytes: int, device: Device | None = None) -> Memory:
    """`nbytes` of uninitialised memory. On a machine with a GPU, host memory is pinned so that kernels reach it too."""
    device = DEFAULT_DEVICE if device is None else device if device.type == "cpu" else check_device(device)
    nbytes = nbytes if nbytes > 16 else 16  # an empty array still has an address
    run = _dry_run.get()
    if run is not None:
        return DryMemory(nbytes, device, run)
    try:
        if device.type == "cuda":
            storage = torch.empty(nbytes, dtype=torch.uint8, device=f"cuda:{device.index}")
        elif DEFAULT_DEVICE.type == "cuda":
            storage = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
        else:
            storage = torch.empty(nbytes, dtype=torch.uint8)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        where = "CUDA out of memory" if device.type == "cuda" else "out of memory"
        raise OutOfMemoryError(f"{where}: could not allocate {nbytes:,} bytes on {device}") from error
    if POISON:
        storage.fill_(0xFF)
    if (told := watch) is not None:
        told(storage, nbytes, device)
    result = Memory(storage, device)
    if capture is not None and capturing():
        capture.made(result)
    return result


class DryRun:
    """What a dry run would have allocated: `live` bytes now, and `peak`, the most at once."""

    def __init__(self) -> None:
        self.live = self.peak = 0
        self.next_address = 1 << 48  # beyond any address of this process


_dry_run: contextvars.ContextVar[DryRun | None] = contextvars.ContextVar("dry_run", default=None)


@contextlib.contextmanager
def dry_run() -> Iterator[DryRun]:
    """Inside the block this thread allocates no memory and starts no kernel: only shapes are real.

    Whatever is read back is zero, and nothing that was there before is written. Tensors made inside have no values:
    using one after the block raises RuntimeError.
    """
    settle()
    run = DryRun()
    token = _dry_run.set(run)
    try:
        yield run
    finally:
        settle()
        _dry_run.reset(token)


def in_dry_run() -> bool:
    return _dry_run.get() is not None


@contextlib.contextmanager
def no_dry_run() -> Iterator[None]:
    """Inside the block of a dry run there is none: for what was begun before it."""
    token = _dry_run.set(None)
    try:
        yield
    finally:
        _dry_run.reset(token)


_NO_VALUES = "this tensor was made in a dry run (tritongrad.plan) and has no values"


class DryMemory(Memory):
    """Memory of a dry run: an address nobody else has and a size, but no bytes."""

    __slots__ = ("_address", "_run", "_taken")

    def __init__(self, nbytes: int, device: Device, run: DryRun) -> None:
        self.nbytes, self.device, self.version = nbytes, device, 0
        self.lent = self.exposed = False
        self.origin = self.pending = self.defined = None
        self._address, self._run = run.next_address, run
        self._taken = -(-nbytes // 512) * 512  # as torch's CUDA allocator rounds
        run.next_address += self._taken
        run.live += self._taken
        run.peak = max(run.peak, run.live)
        if (told := watch) is not None:
            told(None, self._taken, device)

    def await_bytes(self) -> None:
        """Take nothing yet."""
        self._taken = 0

    def adopt(self, other: Memory) -> None:
        if not isinstance(other, DryMemory):
            raise RuntimeError(_NO_VALUES)
        self._address, self._run, self._taken, other._taken = other._address, other._run, other._taken, 0

    def withhold(self) -> None:
        """Nothing to keep anybody from."""

    def release(self, held: None) -> None:
        """Nothing to give back."""

    def __del__(self) -> None:
        if self._taken:
            self._run.live -= self._taken
            if (told := watch) is not None:
                told(None, -self._taken, self.device)

    @property
    def address(self) -> int:
        self._check()
        return self._address

    @property
    def host(self) -> np.ndarray:
        self._check()
        return np.zeros(self.nbytes, np.uint8)

    def _check(self) -> None:
        if _dry_run.get() is None:
            raise RuntimeError(_NO_VALUES)
        self.settle()


def lend(values: np.ndarray) -> Memory | None:
    """The memory of a numpy array itself, which it keeps alive; None where kernels could not read and write it there.

    That is a read-only array, one whose elements do not lie at multiples of their size, and, on a machine with a GPU,
    any: its host memory is not pinned.
    """
    flags, span = (
        values.flags,
        1 + sum((n - 1) * s // values.itemsize for n, s in zip(values.shape, values.strides, strict=True)),
    )
    if not (flags.writeable and flags.aligned and values.size) or DEFAULT_DEVICE.type == "cuda":
        return None
    flat = np.lib.stride_tricks.as_strided(values, (span,), (values.itemsize,))
    return _unaccounted(Memory(torch.from_numpy(flat.view(np.uint8)), Device("cpu")))


def _unaccounted(lent: Memory) -> Memory:
    lent.defined, lent.lent = None, True  # its owner wrote what is there
    return lent


def to_dlpack(source: Memory, kind: dtypes.dtype, shape: Any, strides: Any, offset: int, **options: Any) -> Any:
    """A DLPack capsule of a strided array in this memory, which it keeps alive (dmlc.github.io/dlpack)."""
    source.exposed = True
    source.defined = None  # whoever has the capsule may write to it
    elements = source.storage[: source.nbytes // kind.itemsize * kind.itemsize].view(getattr(torch, kind.name))
    return elements.as_strided(shape, strides, offset).__dlpack__(**options)


def from_dlpack(exporter: Any, **options: Any) -> tuple[Memory, dtypes.dtype, tuple[int, ...], tuple[int, ...], int]:
    """The memory behind another library's array, shared, with the dtype, shape, strides and offset of the array.

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
    lent = _unaccounted(Memory(storage, Device(str(found.device))))
    return lent, kind, tuple(found.shape), tuple(found.stride()), found.storage_offset()


STAGED = 1 << 20
"""Up to so many bytes are written to a GPU from a pinned copy, so that the host does not wait for the kernels before:
an optimizer's table must not drain the queue at every step."""


def write(destination: Memory, source: np.ndarray, offset: int = 0) -> None:
    """Copy a C-contiguous host array's bytes into `destination` at byte `offset`."""
    if in_dry_run():
        return
    raw = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
    if destination.device.type == "cpu":
        defined = destination.defined
        destination.host[offset : offset + raw.size] = raw
        if defined is not None:
            defined[offset : offset + raw.size] = True
            destination.defined = defined
    elif raw.size:
        raw = raw if raw.flags.writeable else raw.copy()  # torch refuses to borrow read-only memory
        staged = torch.from_numpy(raw)
        if raw.size <= STAGED:
            staged = staged.pin_memory()  # which torch gives to nobody before it has been read
        destination.storage[offset : offset + raw.size].copy_(staged, non_blocking=raw.size <= STAGED)


def written(source: np.ndarray, device: Device | None = None) -> Memory:
    """New memory with a host array's bytes. In a capture, part of what is brought to the device before each replay."""
    global uploaded
    now = capturing() if capture is not None else None
    if now is not None and (device or DEFAULT_DEVICE) == now.device and not now.aside:
        return now.constant(source)
    uploaded += source.nbytes + 512
    result = allocate(source.nbytes, device)
    write(result, source)
    return result


def copy(destination: Memory, source: Memory, offset: int, nbytes: int) -> None:
    """Copy `nbytes` from byte `offset` of `source` to the start of `destination`, on any two devices."""
    if capture is not None and capturing() and capture.copied(destination, source, offset, nbytes):
        return
    if not in_dry_run():
        destination.storage[:nbytes].copy_(source.storage[offset : offset + nbytes])


def read(source: Memory) -> np.ndarray:
    """All bytes as a host array: a view of host memory, a copy of device memory."""
    if capture is not None and capturing():
        capture.require_known(source)
    on_host = source.device.type == "cpu" or isinstance(source, DryMemory)
    return source.host if on_host else source.storage.cpu().numpy()


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


_beside: dict[int, Any] = {}  # for each GPU the stream that host memory is copied to it on


def upload(source: Memory, offset: int, nbytes: int, device: Device) -> Memory:
    """`nbytes` of host memory from byte `offset` on in new memory of a GPU, copied while kernels run there.

    The host does not wait. Kernels launched from now on do; those launched before are not waited for, unless they work
    on host memory. So the new block comes from a supply of the copying stream's own: in a block that this stream's
    kernels gave back, some of them may still be at work. Whoever writes to `source` before the copy is done changes
    what arrives, as in torch; freeing it is safe.
    """
    if in_dry_run():
        return allocate(nbytes, device)
    looks("a copy from the host to a GPU")
    settle_host()
    check_device(device)
    index = device.index or 0
    if index not in _beside:
        _beside[index] = torch.cuda.Stream(index)
    kernels = torch.cuda.current_stream(index)
    with torch.cuda.stream(_beside[index]):
        result = allocate(nbytes, device)
        result.storage[:nbytes].copy_(source.storage[offset : offset + nbytes], non_blocking=True)
    kernels.wait_stream(_beside[index])
    result.storage.record_stream(kernels)  # not to be used again for a copy before these kernels are done
    return result


def on_device(device: Device) -> contextlib.AbstractContextManager[Any]:
    """Make `device` the current GPU inside the block; nothing to do for one GPU or none."""
    if device.type == "cpu" or device.index == 0:
        return _HERE
    return torch.cuda.device(device.index)


_HERE = contextlib.nullcontext()


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
        # weights_only never runs code from the file.
        value = torch.load(source, map_location="cpu", weights_only=True)
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
    if isinstance(value, torch.Tensor):
        where = ".".join(map(str, path)) or "the tensor"
        if value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"{file}: {where} is a sparse or quantized tensor, which cannot be read")
        value = value.detach().contiguous()
        if value.dtype == torch.bfloat16:
            return value.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        try:
            return value.numpy()
        except (TypeError, RuntimeError) as error:
            raise ValueError(f"{file}: {where} has dtype {value.dtype}, which cannot be read") from error
    if isinstance(value, dict):
        items = {k: _to_numpy(v, file, (*path, k)) for k, v in value.items()}
        return items if type(value) is dict else type(value)(items)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, list | tuple):
        return type(value)(_to_numpy(v, file, (*path, i)) for i, v in enumerate(value))
    if isinstance(value, torch.dtype | torch.device):
        try:
            return (
                Device(str(value)) if isinstance(value, torch.device) else dtypes.by_name(str(value)[len("torch.") :])
            )
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
    return value
