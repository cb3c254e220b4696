"""The one way a kernel is started, and the one table of tile sizes.

`launch` skips empty grids, checks grid limits and devices, turns Triton's errors into one sentence, and reports each
launch with its declared flops and bytes to whoever listens (`recording`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tritongrad_kernels
from tritongrad_kernels import memory
from tritongrad_kernels.array import Array
from tritongrad_kernels.dtypes import dtype

# Rows are kernels, columns are architectures, and the interpreter is one of them. An entry of upper case is a block
# size: the most a program takes of one extent, rounded to a power of two (see `tile`). The interpreter pays ~50 us for
# an operation of a program and ~10 ns for an element, so its tiles are few and fat, up to Triton's 2^20 elements.
TILES: dict[str, dict[str, dict[str, int]]] = {
    "map": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=1024, num_warps=4),
    },
    "random": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=1024, num_warps=4),
    },
    # Kept elements x reduced elements; CHUNK bounds how much of the reduced extent one program folds.
    "reduce": {
        "interpret": dict(KEEP=1 << 9, FOLD=1 << 11, CHUNK=1 << 20),
        "sm_80": dict(KEEP=32, FOLD=128, CHUNK=8192, num_warps=4),
    },
    "matmul": {
        "interpret": dict(BM=1024, BN=1024, BK=1024, SPLIT=1 << 20),
        "sm_80": dict(BM=128, BN=64, BK=32, SPLIT=4096, num_warps=8, num_stages=3),
        "sm_90": dict(BM=128, BN=128, BK=64, SPLIT=4096, num_warps=8, num_stages=3),
    },
    # Output channels x output pixels x input channels. Pointer convolutions with a kernel window stay at 4 warps:
    # eight are reported to miscompile (pytorch issue 173068).
    "conv2d": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=64, BP=64, BC=32, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
    },
    "conv2d_input_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
    },
    # SPLIT is the number of pixels one slab sums over.
    "conv2d_weight_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512, SPLIT=1 << 20),
        "sm_80": dict(BO=64, BP=32, BC=64, SPLIT=4096, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=64, BC=64, SPLIT=4096, num_warps=4, num_stages=3),
    },
    # Rows (batch and pixels) x channels; CHUNK is the number of rows one program folds.
    "norm": {
        "interpret": dict(BM=1 << 11, BC=1 << 9, CHUNK=1 << 20),
        "sm_80": dict(BM=32, BC=64, CHUNK=1024, num_warps=4),
    },
    # Output pixels x channels.
    "pool": {
        "interpret": dict(BP=1 << 11, BC=1 << 9),
        "sm_80": dict(BP=16, BC=64, num_warps=4),
    },
    # Rows x classes.
    "softmax": {
        "interpret": dict(BM=1 << 9, BN=1 << 11),
        "sm_80": dict(BM=1, BN=4096, num_warps=4),
    },
    # Elements of one parameter that one program updates.
    "optim": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=4096, num_warps=4),
    },
}

_GPUS = ("sm_80", "sm_90", "sm_100")
_overrides: list[Mapping[str, Mapping[str, int]]] = []
_columns: list[str] = []
_listeners: list[list[Launch]] = []


class KernelError(RuntimeError):
    """A kernel could not be compiled or run. Names the kernel and its arguments."""


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
    arguments  its positional arguments, with a Pointer for each array; `options` are the others, by name
    """

    kernel: str
    grid: tuple[int, ...]
    flops: int
    bytes: int
    function: Any = field(repr=False)
    arguments: tuple[Any, ...] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)


@functools.cache
def arch() -> str:
    """The column of the tile table in use: "interpret", or the newest known one the GPU can run."""
    if tritongrad_kernels.INTERPRETED:
        return "interpret"
    major, _ = memory.gpu_capability()
    return "sm_100" if major >= 10 else "sm_90" if major == 9 else "sm_80"


def _row(name: str) -> Mapping[str, int]:
    column = _columns[-1] if _columns else arch()
    row = TILES[name]
    if column not in row:  # a row lists only what differs from the architecture before
        older = _GPUS[: _GPUS.index(column)] if column in _GPUS else _GPUS
        column = next(c for c in reversed(older) if c in row)
    return row[column]


def tile(name: str, *, least: int = 1, itemsize: int = 4, **extents: int) -> dict[str, int]:
    """Tile sizes for kernel `name`: each block the table's, cut down to the power of two that covers its extent.

    `extents` gives, by block name, how far the kernel has to go along that axis; blocks never fall below `least` (16
    for the operands of a matrix product). The table is made for elements of up to 4 bytes; those of 8 get blocks half
    as long, or they would not fit shared memory. Options of the launch (num_warps, num_stages) come along.
    """
    chosen = dict(_row(name))
    for override in _overrides:
        chosen.update(override.get(name, {}))
    for block, extent in extents.items():
        most = chosen[block] // 2 if itemsize == 8 else chosen[block]
        chosen[block] = max(least, min(most, next_power_of_2(extent)))
    return chosen


def next_power_of_2(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


@contextlib.contextmanager
def tiles(**rows: Mapping[str, int]) -> Iterator[None]:
    """Replace entries of the tile table by kernel name: `with tiles(matmul=dict(BM=16, BN=16)): ...`."""
    _overrides.append(rows)
    try:
        yield
    finally:
        _overrides.pop()


@contextlib.contextmanager
def column(name: str) -> Iterator[None]:
    """Take tiles from another architecture's column, e.g. to run a GPU's production tiles in the interpreter."""
    _columns.append(name)
    try:
        yield
    finally:
        _columns.pop()


@contextlib.contextmanager
def recording() -> Iterator[list[Launch]]:
    """Collect every launch inside the block, with its declared flops and bytes."""
    log: list[Launch] = []
    _listeners.append(log)
    try:
        yield log
    finally:
        _listeners.remove(log)


def launch(
    kernel: Any,
    grid: int | tuple[int, ...],
    *args: Any,
    flops: int = 0,
    bytes: int = 0,
    indirect: Any = (),
    **options: Any,
) -> None:
    """Start `kernel` on `grid` programs. Arrays among `args` go as pointers and must share one device.

    `flops` and `bytes` are what the launch has to do and move at least: reads and writes of each distinct byte.
    `indirect` lists the arrays that the kernel reaches through addresses it finds in memory.
    """
    grid = (grid,) if isinstance(grid, int) else grid
    if 0 in grid:
        return
    name = kernel.fn.__name__
    if grid[0] >= 2**31 or any(n > 65535 for n in grid[1:]):
        raise KernelError(f"{name}: grid {grid} exceeds the GPU's limits of (2^31-1, 65535, 65535) programs")
    devices = {a.device for a in _arrays(args)}
    if len(devices) > 1:
        raise RuntimeError(
            f"{name}: expected all tensors on one device, but they are on {' and '.join(sorted(map(str, devices)))}"
        )
    if _listeners:
        specs = tuple(Pointer(a.dtype, a.data_ptr() % 16 == 0) if isinstance(a, Array) else a for a in args)
        for log in _listeners:
            log.append(Launch(name, grid, flops, bytes, kernel, specs, options))
    if memory.in_dry_run():
        return
    if tritongrad_kernels.INTERPRETED:
        options = {k: v for k, v in options.items() if k not in ("num_warps", "num_stages")}
    try:
        with memory.on_device(next(iter(devices))):
            kernel[grid](*args, **options)
    except Exception as error:
        described = ", ".join(map(_describe, args))
        raise KernelError(f"{name}[{grid}]({described}) failed: {_root(error)}") from error


def _arrays(args: Iterable[Any]) -> Iterator[Array]:
    for a in args:
        if isinstance(a, Array):
            yield a


def _describe(value: Any) -> str:
    return f"{value.dtype.name}{list(value.shape)}" if isinstance(value, Array) else repr(value)


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
