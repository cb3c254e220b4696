"""The one way a kernel is started, and the one table of tile sizes.

`launch` skips empty grids, checks grid limits and devices, turns Triton's errors into one sentence, and reports each
launch with its declared flops and bytes to whoever listens (`recording`).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import tritongrad_kernels
from tritongrad_kernels import memory
from tritongrad_kernels.array import Array
from tritongrad_kernels.dtypes import dtype

# Rows are kernels, columns are architectures, and the interpreter is one of them. An entry of upper case is a block
# size: the most a program takes of one extent, rounded to a power of two (see `tile`). The interpreter pays ~50 us for
# an operation of a program and ~10 ns for an element, so its tiles are few and fat, up to Triton's 2^20 elements.
#
# Products of 2-byte elements are formed by tensor cores from shared memory. Those of float32 are sums of products
# whose operands all pass through registers: where that spills them, "sm_90 float32" stands beside the column "sm_90".
# The compile gate (`make gate`) finds out.
TILES: dict[str, dict[str, dict[str, int]]] = {
    "map": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=1024, num_warps=4),
    },
    "random": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=1024, num_warps=4),
    },
    # Draws x categories.
    "choose": {
        "interpret": dict(BLOCK=1 << 9, KB=1 << 11),
        "sm_80": dict(BLOCK=16, KB=256, num_warps=4),
    },
    # Kept elements x reduced elements; CHUNK bounds how much of the reduced extent one program folds.
    "reduce": {
        "interpret": dict(KEEP=1 << 9, FOLD=1 << 11, CHUNK=1 << 20, LEAST=1),
        "sm_80": dict(KEEP=32, FOLD=128, CHUNK=8192, LEAST=1024, num_warps=4),
    },
    # Rows x elements of a row that one program scans.
    "scan": {
        "interpret": dict(KEEP=4, SPAN=1 << 16, LEAST=1 << 18),
        "sm_80": dict(KEEP=2, SPAN=1024, LEAST=1024, num_warps=4),
    },
    # Rows of at most N keys, of which STEP at a time are compared with all.
    "order": {
        "interpret": dict(KEEP=16, N=256, STEP=256, LEAST=1 << 20),
        "sm_80": dict(KEEP=1, N=256, STEP=16, LEAST=4096, num_warps=4),
    },
    # Rows x keys; a program holds 16 counters for each key.
    "radix": {
        "interpret": dict(KEEP=1, SPAN=1 << 14, LEAST=1 << 14),
        "sm_80": dict(KEEP=1, SPAN=512, LEAST=512, num_warps=4),
    },
    "matmul": {
        "interpret": dict(BM=1024, BN=1024, BK=1024, SPLIT=1 << 20),
        "sm_80": dict(BM=128, BN=64, BK=32, SPLIT=4096, num_warps=8, num_stages=3),
        "sm_80 float32": dict(BM=64, BN=64, BK=32, SPLIT=4096, num_warps=4, num_stages=3),
        "sm_90": dict(BM=128, BN=128, BK=64, SPLIT=4096, num_warps=8, num_stages=3),
        "sm_90 float32": dict(BM=64, BN=64, BK=32, SPLIT=4096, num_warps=4, num_stages=3),
        # Left alone, ptxas spills four registers of products whose first operand lies column by column.
        "sm_100": dict(BM=128, BN=128, BK=64, SPLIT=4096, num_warps=8, num_stages=3),
        "sm_100 float32": dict(BM=64, BN=64, BK=32, SPLIT=4096, num_warps=4, num_stages=3, maxnreg=168),
    },
    # Matrices with no side longer than LONGEST, so many in a program that operands and result have ELEMENTS in all.
    "small_matmul": {
        "interpret": dict(LONGEST=128, ELEMENTS=1 << 19),
        "sm_80": dict(LONGEST=32, ELEMENTS=1 << 12, num_warps=4),
    },
    "matmul_integers": {
        "interpret": dict(BM=64, BN=64, BK=64),
        "sm_80": dict(BM=16, BN=16, BK=8, num_warps=4),
    },
    # Output channels x output pixels x input channels. Pointer convolutions with a kernel window stay at 4 warps:
    # eight are reported to miscompile (pytorch issue 173068).
    "conv2d": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=64, BP=64, BC=32, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=64, BP=64, BC=32, num_warps=4, num_stages=3),
    },
    "conv2d_input_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3),
        # Left alone, ptxas spills two registers to fit a fifth block that shared memory has no room for.
        "sm_100": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3, maxnreg=128),
        "sm_100 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3),
    },
    # SPLIT is the number of pixels one slab sums over.
    "conv2d_weight_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512, SPLIT=1 << 20),
        "sm_80": dict(BO=64, BP=32, BC=64, SPLIT=4096, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=64, BC=64, SPLIT=4096, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=64, BP=32, BC=64, SPLIT=4096, num_warps=4, num_stages=3),
    },
    # Pixels x channels of any number of groups.
    "depthwise": {
        "interpret": dict(BP=1 << 11, BC=1 << 9),
        # A thread takes several pixels, so that the weights of its channels, which lie apart, are loaded once for all.
        "sm_80": dict(BP=64, BC=64, LEAST=4096, num_warps=4),
    },
    # Weights of an output channel x pixels x output channels; SPLIT is the number of pixels one slab sums over.
    "depthwise_weight_grad": {
        "interpret": dict(BK=1 << 5, BP=1 << 9, BO=1 << 6, SPLIT=1 << 20),
        "sm_80": dict(BK=4, BP=16, BO=64, SPLIT=2048, LEAST=4096, num_warps=4),
    },
    # As conv2d_input_grad, with the registers that one more axis takes.
    "conv3d_input_grad": {
        "interpret": dict(BO=512, BP=2048, BC=512),
        "sm_80": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3),
        "sm_90": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3),
        "sm_90 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3, maxnreg=128),
        "sm_100": dict(BO=64, BP=128, BC=64, num_warps=4, num_stages=3, maxnreg=168),
        "sm_100 float32": dict(BO=32, BP=64, BC=64, num_warps=4, num_stages=3, maxnreg=128),
    },
    # Planes (batch and channels) or taps of them x pixels.
    "fold": {
        "interpret": dict(BK=1 << 9, BP=1 << 11),
        "sm_80": dict(BK=1, BP=512, LEAST=512, num_warps=4),
    },
    # Rows (batch and pixels) x channels; CHUNK is the number of rows one program folds.
    "norm": {
        "interpret": dict(BM=1 << 11, BC=1 << 9, CHUNK=1 << 20),
        "sm_80": dict(BM=32, BC=64, CHUNK=1024, num_warps=4),
    },
    # Rows x elements of a row.
    "layernorm": {
        "interpret": dict(BM=1 << 9, BN=1 << 11),
        "sm_80": dict(BM=1, BN=2048, LEAST=1024, num_warps=4),
        # Left alone, ptxas spills a register or two of float64 images to fit one more block.
        "sm_100": dict(BM=1, BN=2048, LEAST=1024, num_warps=4, maxnreg=192),
    },
    # Keys x the elements of a row each names. Left alone, ptxas spills a register or two to fit one more block.
    "rows": {
        "interpret": dict(KEYS=1 << 9, REST=1 << 9, LEAST=1 << 18),
        "sm_80": dict(KEYS=1, REST=256, LEAST=256, num_warps=4, maxnreg=128),
    },
    # Rows x units.
    "recurrent": {
        "interpret": dict(BM=1 << 9, BC=1 << 7),
        "sm_80": dict(BM=4, BC=128, LEAST=256, num_warps=4),
    },
    # Output pixels x channels.
    "pool": {
        "interpret": dict(BP=1 << 11, BC=1 << 9),
        "sm_80": dict(BP=16, BC=64, num_warps=4),
    },
    # The most scores a head for which attention is a composition of products and a softmax. Each program of the fused
    # kernels serves one head; the interpreter runs them one after the other, whatever they do in some milliseconds.
    "short_attention": {"interpret": dict(SCORES=1 << 14), "sm_80": dict(SCORES=0)},
    # Queries x keys; heads wider than 128 have rows of their own.
    "attention": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=128, BN=64, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
        "sm_90": dict(BM=128, BN=64, num_warps=8, num_stages=3),
        "sm_90 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_wide": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=64, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=16, num_warps=8, num_stages=2),
    },
    "attention_query_grad": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=128, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_query_grad_wide": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=64, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=16, BN=16, num_warps=8, num_stages=2),
    },
    "attention_key_grad": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=32, BN=128, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    # What is drawn again needs the registers of half the keys.
    "attention_key_grad_dropout": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=32, BN=64, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=32, BN=32, num_warps=8, num_stages=2),
    },
    "attention_key_grad_wide": {
        "interpret": dict(BM=256, BN=256),
        "sm_80": dict(BM=32, BN=32, num_warps=8, num_stages=2),
        "sm_80 float32": dict(BM=16, BN=16, num_warps=8, num_stages=2),
    },
    # Windows or elements x channels. With one channel, more than two windows a thread spill: each has 64-bit places.
    "volume_pool": {
        "interpret": dict(BP=1 << 11, BC=1 << 9, LEAST=1 << 16),
        "sm_80": dict(BP=16, BC=64, LEAST=256, num_warps=4, maxnreg=128),
        "sm_100": dict(BP=16, BC=64, LEAST=256, num_warps=4, maxnreg=208),
    },
    # Rows x classes.
    "softmax": {
        "interpret": dict(BM=1 << 9, BN=1 << 11),
        "sm_80": dict(BM=1, BN=4096, LEAST=1024, num_warps=4),
    },
    # Elements of one parameter that one program updates.
    "optim": {
        "interpret": dict(BLOCK=1 << 18),
        "sm_80": dict(BLOCK=4096, num_warps=8),
    },
}

_GPUS = ("sm_80", "sm_90", "sm_100")
_overrides: list[Mapping[str, Mapping[str, int]]] = []
_columns: list[str] = []
generation = 0
"""Another number whenever `tile` may answer differently than before."""
_listeners: list[list[Launch]] = []
_ALONE = contextlib.nullcontext()


around: Callable[[Launch, Sequence[Array]], AbstractContextManager[None]] | None = None
"""Entered around the run of each launch, with the arrays it reaches indirectly: where a checking tool comes in."""


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
    major, minor = memory.gpu_capability()
    return column_for(f"sm_{major}{minor}")


def column_for(architecture: str) -> str:
    """The newest column of the tile table that a GPU of `architecture`, like "sm_86" or "gfx942", can run."""
    vendor, _, number = architecture.partition("_")
    known = [int(name.partition("_")[2]) for name in _GPUS]
    return f"{vendor}_{max((k for k in known if k <= int(number)), default=known[0])}" if number else _GPUS[0]


def _row(name: str, itemsize: int) -> Mapping[str, int]:
    column = _columns[-1] if _columns else arch()
    row = TILES[name]
    if column not in row:  # a row lists only what differs from the architecture before
        older = _GPUS[: _GPUS.index(column)] if column in _GPUS else _GPUS
        column = next(c for c in reversed(older) if c in row)
    return row.get(f"{column} float32", row[column]) if itemsize >= 4 else row[column]


def tile(name: str, *, least: int = 1, itemsize: int = 4, **extents: int) -> dict[str, int]:
    """Tile sizes for kernel `name`: each block the table's, cut down to the power of two that covers its extent.

    `extents` gives, by block name, how far the kernel has to go along that axis; blocks never fall below `least` (16
    for the operands of a matrix product). Elements of 8 bytes get blocks half as long as those of 4, or they would not
    fit shared memory. A row's LEAST is how many elements a tile should have: where one extent is short, the blocks of
    the others grow, so that a thread still has 16 bytes to load at once. Options of the launch (num_warps, num_stages)
    come along.
    """
    chosen = dict(_row(name, itemsize))
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
    at_most: Any = False,
    **options: Any,
) -> None:
    """Start `kernel` on `grid` programs. Arrays among `args` go as pointers and must share one device.

    `flops` and `bytes` are what the launch has to do and move at least: reads and writes of each distinct byte; 0 bytes
    stand for a launch that does not say.
    With `at_most` they are a bound, because how many bytes are touched depends on values. `indirect` lists the arrays
    that the kernel reaches through addresses it finds in memory.
    """
    grid = (grid,) if isinstance(grid, int) else grid
    if 0 in grid:
        return
    name = kernel.fn.__name__
    if grid[0] >= 2**31 or any(n > 65535 for n in grid[1:]):
        raise KernelError(f"{name}: grid {grid} exceeds the GPU's limits of (2^31-1, 65535, 65535) programs")
    device: memory.Device | None = None
    for a in args:
        if type(a) is Array:
            if device is None:
                device = a.memory.device
            elif a.memory.device is not device and a.memory.device != device:
                where = sorted({str(b.device) for b in args if isinstance(b, Array)})
                raise RuntimeError(f"{name}: expected all tensors on one device, but they are on {' and '.join(where)}")
    if device is not None and device.type == "cpu":
        memory.host_given_to_kernel()
    if _listeners or around:
        specs = tuple(Pointer(a.dtype, a.data_ptr() % 16 == 0) if isinstance(a, Array) else a for a in args)
        told = Launch(name, grid, flops, bytes, kernel, specs, options, at_most)
        for log in _listeners:
            log.append(told)
    if memory.in_dry_run():
        return
    if tritongrad_kernels.INTERPRETED:
        options = {k: v for k, v in options.items() if k not in ("num_warps", "num_stages", "maxnreg")}
    try:
        with memory.on_device(device or memory.DEFAULT_DEVICE), around(told, indirect) if around else _ALONE:
            kernel[grid](*args, **options)
    except Exception as error:
        described = ", ".join(map(_describe, args))
        raise KernelError(f"{name}[{grid}]({described}) failed: {_root(error)}") from error


def _describe(value: Any) -> str:
    return f"{value.dtype.name}{list(value.shape)}" if isinstance(value, Array) else repr(value)


def _root(error: BaseException) -> str:
    """The error at the root of it, or what the interpreter says of that: it knows the program."""
    while error.__cause__ is not None and type(error).__name__ != "InterpreterError":
        error = error.__cause__
    return str(error) if type(error).__name__ == "InterpreterError" else f"{type(error).__name__}: {error}"
