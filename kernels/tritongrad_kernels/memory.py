"""Memory: blocks of bytes with a device, a version, and perhaps a promise that somebody has yet to keep.

Every allocation of the project goes through `allocate`, and every look of the host through `Memory.host` or `read`. So
this is also where it is known that there is nothing to see: in a dry run, and while launches are only taken down.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tritongrad_kernels import driver
from tritongrad_kernels.driver import Device, Storage

POISON = False  # tests fill fresh memory with 0xFF: NaN in every float type, -1 or 255 in integers
ACCOUNT = 0  # the largest block, in bytes, of which the sanitizer is told what was written to


def use_gpu(index: int) -> None:
    """Make this GPU the one where tensors are made unless a device is named."""
    driver.DEFAULT_DEVICE = check_device(Device("cuda", index))


def check_device(device: Device) -> Device:
    """`device` if memory can be had there; RuntimeError in one sentence otherwise."""
    usable = driver.DEFAULT_DEVICE.type == "cuda"
    if device.type == "cuda" and _dry_run.get() is None and not (usable and (device.index or 0) < driver.gpu_count()):
        why = f"{driver.gpu_count()} GPU(s) found" if usable else "kernels run in the CPU interpreter"
        raise RuntimeError(f"device {device} was asked for but is not available: {why}")
    return device


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

    def __init__(self, storage: Storage, device: Device) -> None:
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
        with driver.lock:
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
        return self.device.type == "cpu" and driver.DEFAULT_DEVICE.type == "cuda"

    @property
    def host(self) -> np.ndarray:
        """The bytes as a numpy view; only for memory the CPU can reach. Waits for kernels that may be at work there."""
        if capture is not None and capturing():
            capture.require_known(self)
            return self.storage.numpy()
        self.defined = None  # whoever has the view may write to it
        driver.settle_host()
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
    device = driver.DEFAULT_DEVICE if device is None else device if device.type == "cpu" else check_device(device)
    nbytes = nbytes if nbytes > 16 else 16  # an empty array still has an address
    run = _dry_run.get()
    if run is not None:
        return DryMemory(nbytes, device, run)
    storage = driver.take(nbytes, device)
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
    driver.settle()
    run = DryRun()
    token = _dry_run.set(run)
    try:
        yield run
    finally:
        driver.settle()
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
        staged = driver.borrow(raw)
        if raw.size <= STAGED:
            staged = staged.pin_memory()  # which torch gives to nobody before it has been read
        destination.storage[offset : offset + raw.size].copy_(staged, non_blocking=raw.size <= STAGED)


def written(source: np.ndarray, device: Device | None = None) -> Memory:
    """New memory with a host array's bytes. In a capture, part of what is brought to the device before each replay."""
    global uploaded
    now = capturing() if capture is not None else None
    if now is not None and (device or driver.DEFAULT_DEVICE) == now.device and not now.aside:
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
    driver.settle_host()
    check_device(device)
    with driver.beside(device.index or 0) as kernels:
        result = allocate(nbytes, device)
        result.storage[:nbytes].copy_(source.storage[offset : offset + nbytes], non_blocking=True)
    result.storage.record_stream(kernels)  # not to be used again for a copy before these kernels are done
    return result
