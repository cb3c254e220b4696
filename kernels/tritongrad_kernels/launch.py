"""The one way a kernel is started, and how tile sizes are chosen for it (`tile_table.py` has them).

`launch` skips empty grids, checks grid limits and devices, turns Triton's errors into one sentence, and reports each
launch with its declared flops and bytes to whoever listens (`recording`). Where nobody does, launches that were seen
before go past Triton (`direct`).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import tritongrad_kernels
from tritongrad_kernels import direct, driver, memory
from tritongrad_kernels.array import Array
from tritongrad_kernels.descriptors import Described, Descriptor, interpreted, native
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.tile_cells import GPUS, TILES as TILES, cell, replaced

_WITH_TMA = ("sm_90", "sm_100")
_overrides: list[Mapping[str, Mapping[str, int]]] = []
_columns: list[str] = []
generation = 0
"""Another number whenever `tile` may answer differently than before."""
_listeners: list[Listener] = []
_asked: list[set[tuple[str, bool]]] = []
_ALONE = contextlib.nullcontext()


around: Callable[[Launch, Sequence[Array]], AbstractContextManager[None]] | None = None
"""Entered around the run of each launch, with the arrays it reaches indirectly: where a checking tool comes in."""


graphs: Callable[[Sequence[Launch]], AbstractContextManager[None]] | None = None
"""Entered around each replay of a captured graph, with the launches that are in it."""


class KernelError(RuntimeError):
    """A kernel could not be compiled or run. Names the kernel and its arguments."""


class Listener(Protocol):
    """Is told of each launch before it starts: a list is one."""

    def append(self, told: Launch, /) -> None: ...


@dataclass(frozen=True)
class Pointer:
    """What compiling needs to know of an array: its dtype, and whether it starts on a 16-byte boundary."""

    dtype: dtype
    aligned: bool = True

    def data_ptr(self) -> int:
        return 16 if self.aligned else self.dtype.itemsize


@dataclass(frozen=True)
class Launch:
    """One kernel start as declared by its launcher.

    function   the jit function behind `kernel`, its name
    arguments  its positional arguments, with a Pointer for each array and a Described for each descriptor; `options`
               are the others, by name
    at_most    whether `bytes` is a bound, the exact number depending on values
    """

    kernel: str
    grid: tuple[int, ...]
    flops: int
    bytes: int
    function: Any = field(repr=False)
    arguments: tuple[Any, ...] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    at_most: bool = False


@functools.cache
def arch() -> str:
    """The column of the tile table in use: "interpret", or the newest known one the GPU can run."""
    if tritongrad_kernels.INTERPRETED:
        return "interpret"
    if tritongrad_kernels.COMPILE_FOR:
        return column_for(tritongrad_kernels.COMPILE_FOR)
    major, minor = driver.gpu_capability()
    return column_for(f"sm_{major}{minor}")


def column_for(architecture: str) -> str:
    """The newest column of the tile table that a GPU of `architecture`, like "sm_86" or "gfx942", can run."""
    vendor, _, number = architecture.partition("_")
    known = [int(name.partition("_")[2]) for name in GPUS]
    return f"{vendor}_{max((k for k in known if k <= int(number)), default=known[0])}" if number else GPUS[0]


def has_tma() -> bool:
    """Whether the column in use is one of GPUs that follow descriptors (see `descriptors`)."""
    return (_columns[-1] if _columns else arch()) in _WITH_TMA


def tile(name: str, *, least: int = 1, itemsize: int = 4, **extents: int) -> dict[str, int]:
    """Tile sizes for kernel `name`: each block the table's, cut down to the power of two that covers its extent.

    `extents` gives, by block name, how far the kernel has to go along that axis; blocks never fall below `least` (16
    for the operands of a matrix product). Elements of 8 bytes get blocks half as long as those of 4, or they would not
    fit shared memory. A row's LEAST is how many elements a tile should have: where one extent is short, the blocks of
    the others grow, so that a thread still has 16 bytes to load at once. Options of the launch (num_warps, num_stages)
    come along.
    """
    chosen = dict(cell(name, _columns[-1] if _columns else arch(), itemsize))
    for asked in _asked:
        asked.add((name, itemsize >= 4))
    for override in _overrides:
        chosen.update(override.get(name, {}))
    room = chosen.pop("LEAST", 1)
    for block, extent in extents.items():
        most = chosen[block] // 2 if itemsize == 8 else chosen[block]
        chosen[block] = max(least, min(most, next_power_of_2(extent)))
    for block, extent in extents.items():
        others = math.prod(chosen[b] for b in extents if b != block)
        chosen[block] = max(chosen[block], min(next_power_of_2(extent), room // others))
    return chosen


def next_power_of_2(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


@contextlib.contextmanager
def tiles(**rows: Mapping[str, int]) -> Iterator[None]:
    """Replace entries of the tile table by kernel name: `with tiles(matmul=dict(BM=16, BN=16)): ...`."""
    with _pushed(_overrides, rows):
        yield


@contextlib.contextmanager
def column(name: str) -> Iterator[None]:
    """Take tiles from another architecture's column, e.g. to run a GPU's production tiles in the interpreter."""
    with _pushed(_columns, name):
        yield


@contextlib.contextmanager
def asking() -> Iterator[set[tuple[str, bool]]]:
    """Collect which rows of the tile table are asked for, and whether for elements of 4 bytes and more."""
    found: set[tuple[str, bool]] = set()
    with _pushed(_asked, found):
        yield found


def replace_cells(name: str, cells: Mapping[str, Mapping[str, int]]) -> None:
    """From here on row `name` of the table has these tiles in these columns."""
    global generation
    TILES[name] = replaced(TILES[name], cells)
    generation += 1


@contextlib.contextmanager
def with_cells(name: str, cells: Mapping[str, Mapping[str, int]]) -> Iterator[None]:
    """The same, inside the block."""
    global generation
    before = TILES[name]
    replace_cells(name, cells)
    try:
        yield
    finally:
        TILES[name] = before
        generation += 1


@contextlib.contextmanager
def _pushed(stack: list, entry: Any) -> Iterator[None]:
    global generation
    stack.append(entry)
    generation += 1
    try:
        yield
    finally:
        stack.pop()
        generation += 1


@contextlib.contextmanager
def recording() -> Iterator[list[Launch]]:
    """Collect every launch inside the block, with its declared flops and bytes."""
    log: list[Launch] = []
    driver.settle()
    listen(log)
    try:
        yield log
        driver.settle()
    finally:
        unlisten(log)


def listen(listener: Listener) -> None:
    """Tell it of every launch from now on."""
    _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """Tell it no more: it, and not another list that happens to hold the same."""
    _listeners[:] = [other for other in _listeners if other is not listener]


def replaying(parts: Sequence[Launch]) -> AbstractContextManager[None]:
    """To be entered around the replay of a captured graph of these launches."""
    watching = graphs
    return _ALONE if watching is None else watching(parts)


def launch(
    kernel: Any,
    grid: int | tuple[int, ...],
    *args: Any,
    flops: int = 0,
    bytes: int = 0,
    indirect: Any = (),
    at_most: Any = False,
    **options: Any,
) -> None:
    """Start `kernel` on `grid` programs, with arrays as pointers and a Descriptor as Triton's; all share one device.

    `flops` and `bytes` are what the launch has to do and move at least: reads and writes of each distinct byte; 0 bytes
    stand for a launch that does not say.
    With `at_most` they are a bound, because how many bytes are touched depends on values. `indirect` lists the arrays
    that the kernel reaches through addresses it finds in memory.
    """
    grid = (grid,) if isinstance(grid, int) else grid
    if 0 in grid:
        return
    if grid[0] >= 2**31 or (len(grid) > 1 and max(grid[1:]) > 65535):
        raise KernelError(f"{_name(kernel)}: grid {grid} exceeds the GPU's limits of (2^31-1, 65535, 65535) programs")
    with driver.lock:  # before the interpreter's, or two threads could wait for each other
        if memory.capture is not None:  # of this thread, which has the lock
            declared = {"flops": flops, "bytes": bytes, "at_most": at_most}
            if memory.capture.launched(kernel, grid, args, declared | options, indirect):
                return
        try:
            if direct.available and not (_listeners or around) and direct.start(kernel, grid, args, options):
                return
        except KernelError:  # of what was settled
            raise
        except Exception as error:
            raise _failed(kernel, grid, args, error) from error
        device: driver.Device | None = None
        described = False
        for a in args:
            kind = type(a)
            if kind is Descriptor:
                described, a, kind = True, a.array, Array
            if kind is Array:
                if a.memory.pending is not None:
                    a.memory.settle()
                if device is None:
                    device = a.memory.device
                elif a.memory.device is not device and a.memory.device != device:
                    where = _places(args)
                    raise RuntimeError(f"{_name(kernel)}: expected all tensors on one device, but they are on {where}")
        if device is not None and device.type == "cpu":
            driver.host_given_to_kernel()
        told: Launch | None = None
        if _listeners or around:
            told = Launch(_name(kernel), grid, flops, bytes, kernel, tuple(map(_spec, args)), options, at_most)
            for log in _listeners:
                log.append(told)
        if memory.in_dry_run():
            return
        if tritongrad_kernels.INTERPRETED:
            options = {k: v for k, v in options.items() if k not in ("num_warps", "num_stages", "maxnreg")}
        given: Sequence[Any] = args
        try:
            if described:
                convert = interpreted if tritongrad_kernels.INTERPRETED else native
                given = [convert(a) if type(a) is Descriptor else a for a in args]
            with (
                driver.on_device(device or driver.DEFAULT_DEVICE),
                around(told, indirect) if around and told else _ALONE,
            ):
                if told and direct.available and direct.start(kernel, grid, args, options):
                    return  # as it would be if nobody were told, so that what is taken is its time
                compiled = kernel[grid](*given, **options)
        except Exception as error:
            raise _failed(kernel, grid, args, error) from error
        if direct.available:
            direct.learn(kernel, args, options, compiled)


def load(kernel: Any, grid: tuple[int, ...], args: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Compile a kernel for these arguments and load it on the GPU, without starting it."""
    try:
        given = [native(a) if type(a) is Descriptor else a for a in args]
        compiled = kernel.warmup(*given, grid=grid, **options)
        if hasattr(compiled, "_init_handles"):  # of Triton 3.6 to 3.9: the module is loaded, which a capture forbids
            compiled._init_handles()
    except Exception as error:
        raise _failed(kernel, grid, args, error) from error


def _name(kernel: Any) -> str:
    return kernel.fn.__name__


def _failed(kernel: Any, grid: tuple[int, ...], args: Sequence[Any], error: Exception) -> KernelError:
    return KernelError(f"{_name(kernel)}[{grid}]({', '.join(map(_describe, args))}) failed: {_root(error)}")


def _spec(value: Any) -> Any:
    """An argument as `Launch` tells of it."""
    if isinstance(value, Array):
        return Pointer(value.dtype, value.data_ptr() % 16 == 0)
    return Described(value.array.dtype, value.block) if isinstance(value, Descriptor) else value


def _places(args: Sequence[Any]) -> str:
    arrays = (a.array if isinstance(a, Descriptor) else a for a in args)
    return " and ".join(sorted({str(a.device) for a in arrays if isinstance(a, Array)}))


def _describe(value: Any) -> str:
    return f"{value.dtype.name}{list(value.shape)}" if isinstance(value, Array) else repr(value)


def _root(error: BaseException) -> str:
    """The error at the root of it, or what the interpreter says of that: it knows the program."""
    while error.__cause__ is not None and type(error).__name__ != "InterpreterError":
        error = error.__cause__
    return str(error) if type(error).__name__ == "InterpreterError" else f"{type(error).__name__}: {error}"
