"""Index values: checked, which on a GPU only a kernel can do, and turned into positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise, formulas, memory
from tritongrad_kernels.array import Array, contiguous_strides, empty, footprint
from tritongrad_kernels.capture import Varying, current, kept
from tritongrad_kernels.elementwise import _offsets, merge_axes
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.scan import cumsum


@triton.jit
def _count_outside(INDEX, COUNT, n, extent, ignore, BLOCK: tl.constexpr):
    """count[b] = how many of index[i] in block b are neither `ignore` nor in 0 .. extent-1.

    Grid one program per BLOCK elements. Bytes: read index once.
    """
    block = tl.program_id(0).to(tl.int64)
    i = block * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(INDEX + i, mask=i < n, other=0)
    outside = (i < n) & ((index < 0) | (index >= extent)) & (index != ignore)
    tl.store(COUNT + block, tl.sum(outside.to(tl.int32), 0))


@triton.jit
def _positions(
    INDEX, BEFORE, OUT, WRONG, shape, outs, indices, steps, n, least, extent, step, BLOCK: tl.constexpr
):  # fmt: skip
    """out[i] = before[i] + i . steps + step index[i], where an index below 0 counts from the end.

    wrong[b] is an index of block b that is not in least .. extent-1, or 0 if there is none; such indices are moved to
    the nearest that exists.

    Shapes  index broadcast to out by its strides; before and out contiguous, before None for 0; i . steps is the sum
            of the coordinates of element i times `steps`.
    Grid    one program per BLOCK elements.
    Bytes   read index and before once, write out and wrong once.
    """
    block = tl.program_id(0).to(tl.int64)
    i = block * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    index = tl.load(INDEX + _offsets(i, shape, indices), mask=mask, other=0).to(tl.int64)
    outside = mask & ((index < least) | (index >= extent))
    highest = tl.max(tl.where(outside, index, 0), 0)
    lowest = tl.min(tl.where(outside, index, 0), 0)
    tl.store(WRONG + block, tl.where(highest > 0, highest, lowest))
    index = tl.where(outside, tl.where(index < 0, 0, extent - 1), tl.where(index < 0, index + extent, index))
    position = _offsets(i, shape, steps) + index * step
    if BEFORE is not None:
        position += tl.load(BEFORE + _offsets(i, shape, outs), mask=mask, other=0)
    tl.store(OUT + _offsets(i, shape, outs), position, mask=mask)


@triton.jit
def _place_marked(MARKED, ENDS, OUT, n, BLOCK: tl.constexpr):
    """out[ends[i] - 1] = i where marked[i]: the positions that are marked, in order.

    Shapes  all contiguous, of one axis; ends is the cumulative sum of marked.
    Grid    one program per BLOCK elements.
    Bytes   read marked and the ends of those marked once, write out once.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    marked = tl.load(MARKED + i, mask=i < n, other=0) != 0
    end = tl.load(ENDS + i, mask=marked, other=1)
    tl.store(OUT + end - 1, i, mask=marked)


@triton.jit
def _coordinates(FLAT, OUT, shape, strides, n, BLOCK: tl.constexpr):
    """out[i, d] = the coordinate along axis d of the element with flat index flat[i] in C order of `shape`.

    Grid one program per BLOCK elements. Bytes: read flat once, write out once.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    flat = tl.load(FLAT + i, mask=i < n, other=0)
    for d in tl.static_range(len(shape)):
        tl.store(OUT + i * len(shape) + d, (flat // strides[d]) % shape[d], mask=i < n)


_unsettled: list[tuple[Array, Callable[[int], Exception]]] = []


def require_range(index: Array, extent: int, message: str, ignore: int = -1) -> None:
    """Raise IndexError(message) if a value of a contiguous `index` is neither `ignore` nor in 0 .. extent-1.

    On the CPU at once. On a GPU, where looking would stall the queue, at the next read of any result by the host
    (`settle`); until then kernels must not trust the values.
    """
    config = tile("map", BLOCK=index.size)
    count = empty((cdiv(index.size, config["BLOCK"]),), dtypes.int32, index.device)
    launch(
        _count_outside, count.size, index, count, index.size, extent, ignore, bytes=footprint(index, count), **config
    )
    expect_zero(count, lambda _: IndexError(message))


def positions(
    index: Array,
    extent: int,
    error: Callable[[int], Exception],
    *,
    step: int = 1,
    steps: Sequence[int] | None = None,
    before: Array | None = None,
    negative: bool = True,
) -> Array:
    """int64 positions before + i . steps + step index for an integer `index` of any strides, i its coordinates.

    An index must be below `extent` and not below 0, or, where `negative` ones count from the end, -extent. Others raise
    `error(index)`, when `require_range` would, and give a position that exists.
    """
    out = empty(index.shape, dtypes.int64, index.device)
    if out.size and not extent:
        raise error(0)
    config = tile("map", itemsize=8, BLOCK=out.size)
    wrong = empty((cdiv(out.size, config["BLOCK"]),), dtypes.int64, index.device)
    dims, (outs, indices, coordinates) = merge_axes(index.shape, out.strides, index.strides, steps or (0,) * out.ndim)
    launch(
        _positions, wrong.size, index, before, out, wrong, dims, outs, indices, coordinates, out.size,
        -extent if negative else 0, extent, step, bytes=footprint(index, before, out, wrong), **config,
    )  # fmt: skip
    expect_zero(wrong, error)
    return out


def nonzero(x: Array) -> Array:
    """The flat positions, in C order, of the elements that are not 0. The host reads how many they are."""
    if memory.in_dry_run():
        raise RuntimeError("nonzero: how many elements are not 0 is not known in a dry run, where there are no values")
    memory.looks("nonzero")
    x = elementwise.contiguous(x)
    marked = elementwise.map(formulas._ne, x, 0, dtype=dtypes.bool_, compute=dtypes.compute(x.dtype))
    marked = marked.view((x.size,), (1,))
    ends = cumsum(marked, 0, dtypes.int64)
    count = int(ends.slice(0, x.size - 1, x.size).numpy()[0]) if x.size else 0
    out = empty((count,), dtypes.int64, x.device)
    if count:
        config = tile("map", itemsize=8, BLOCK=x.size)
        launch(
            _place_marked, cdiv(x.size, config["BLOCK"]), marked, ends, out, x.size,
            bytes=marked.nbytes + 2 * out.nbytes, **config,
        )  # fmt: skip
    return out


def coordinates(flat: Array, shape: Sequence[int]) -> Array:
    """The coordinates [n, len(shape)] of the elements with n flat positions in C order of `shape`."""
    out = empty((flat.size, len(shape)), dtypes.int64, flat.device)
    config = tile("map", itemsize=8, BLOCK=flat.size)
    strides = contiguous_strides(shape)
    launch(
        _coordinates, cdiv(flat.size, config["BLOCK"]) if shape else 0, flat, out, tuple(shape), strides, flat.size,
        bytes=footprint(flat, out), **config,
    )  # fmt: skip
    return out


def settle() -> None:
    """Raise what was found wrong since the last call."""
    pending, _unsettled[:] = _unsettled[:], []
    for found, error in pending:
        wrong = found.numpy()
        if wrong.any():
            raise error(int(wrong[wrong != 0][0]))


class _Check(Varying):
    """What a captured launch finds wrong, as it is looked at by whoever next looks at values."""

    def __init__(self, found: Array, error: Callable[[int], Exception]) -> None:
        self.found, self.error = found, error

    def move(self) -> np.ndarray:
        return np.zeros(1, np.int64)

    def settle(self) -> None:
        if not any(found is self.found for found, _ in _unsettled):
            _unsettled.append((self.found, self.error))
        if self.found.device.type == "cpu":
            settle()


def expect_zero(found: Array, error: Callable[[int], Exception]) -> None:
    """Raise error(value) for a value that is not 0, now or at the next `settle`."""
    if memory.in_dry_run():
        return  # nothing was looked at
    recording = current()
    if recording is not None:
        recording.varying(_Check(kept(found), error), np.zeros(1, np.int64))
        return
    _unsettled.append((found, error))
    if found.device.type == "cpu":
        settle()
