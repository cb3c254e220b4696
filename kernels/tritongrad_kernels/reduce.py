"""Reductions over any axes, in an order fixed by the shape alone.

Every reduction is [kept, folded] -> [kept]: a program folds one chunk of the folded extent into two-dimensional
accumulators and reduces them once; where there are several chunks, the same kernel folds the chunk results in order.
Axes are walked in logical order, so strides never change a bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise, formulas
from tritongrad_kernels.array import Array, contiguous_strides, empty
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import TRITON_TYPE, _offsets
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.walk import _divisible, known_divisor


@triton.jit
def _tile_position(n_keep, n_fold, chunk, KEEP: tl.constexpr):
    """What this program does: its kept elements, and the start and end of its chunk of the folded extent."""
    chunks = tl.maximum(tl.cdiv(n_fold, chunk), 1)
    pid = tl.program_id(0).to(tl.int64)
    z = pid % chunks
    keep = (pid // chunks) * KEEP + tl.arange(0, KEEP)
    return keep, z, z * chunk, tl.minimum(z * chunk + chunk, n_fold)


@triton.jit
def _sum(
    X, OUT, keep_shape, keep_strides, fold_shape, fold_strides, n_keep, n_fold: tl.int64, chunk,
    divisor, ACC: tl.constexpr, BY: tl.constexpr, KEEP: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """out[z, k] = sum over f in chunk z of x[k, f], divided by `divisor` unless that is None.

    Shapes  x [kept, folded] through two lists of strides, out [chunks, kept] contiguous. FOLD divides chunk, if there
            are several; BY divides n_fold.
    Grid    one program per KEEP kept elements and chunk.
    Bytes   read x once, write out once.
    """
    n_fold = _divisible(n_fold, BY)
    keep, z, start, end = _tile_position(n_keep, n_fold, chunk, KEEP)
    rows = _offsets(keep, keep_shape, keep_strides)  # masked, not clamped, so that neighbours are loaded together
    acc = tl.zeros((KEEP, FOLD), ACC)
    for first in range(start, end, FOLD):
        fold = first + tl.arange(0, FOLD)
        columns = _offsets(fold, fold_shape, fold_strides)
        mask = (keep < n_keep)[:, None] & (fold < n_fold)[None, :]
        acc += tl.load(X + rows[:, None] + columns[None, :], mask=mask, other=0).to(ACC)
    total = tl.sum(acc, 1)
    if divisor is not None:
        total = total / divisor
    tl.store(OUT + z * n_keep + keep, total.to(OUT.dtype.element_ty), mask=keep < n_keep)


@triton.jit
def _prod(
    X, OUT, keep_shape, keep_strides, fold_shape, fold_strides, n_keep, n_fold: tl.int64, chunk,
    ACC: tl.constexpr, BY: tl.constexpr, KEEP: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """out[z, k] = product over f in chunk z of x[k, f]; shapes, grid and bytes as `_sum`."""
    n_fold = _divisible(n_fold, BY)
    keep, z, start, end = _tile_position(n_keep, n_fold, chunk, KEEP)
    rows = _offsets(keep, keep_shape, keep_strides)
    acc = tl.full((KEEP, FOLD), 1, ACC)
    for first in range(start, end, FOLD):
        fold = first + tl.arange(0, FOLD)
        columns = _offsets(fold, fold_shape, fold_strides)
        mask = (keep < n_keep)[:, None] & (fold < n_fold)[None, :]
        x = tl.load(X + rows[:, None] + columns[None, :], mask=mask, other=1).to(ACC)
        acc = formulas._mul(acc, x)
    total = tl.reduce(acc, 1, formulas._mul)
    tl.store(OUT + z * n_keep + keep, total.to(OUT.dtype.element_ty), mask=keep < n_keep)


@triton.jit
def _larger(x, i, y, j):
    """The larger of two values with its index: NaN outranks numbers, the earlier index wins a tie."""
    x_nan, y_nan = x != x, y != y
    second = (y > x) | (y_nan & (x == x)) | (((y == x) | (x_nan & y_nan)) & (j < i))
    return tl.where(second, y, x), tl.where(second, j, i)


@triton.jit
def _smaller(x, i, y, j):
    """The smaller of two values with its index: NaN outranks numbers, the earlier index wins a tie."""
    x_nan, y_nan = x != x, y != y
    second = (y < x) | (y_nan & (x == x)) | (((y == x) | (x_nan & y_nan)) & (j < i))
    return tl.where(second, y, x), tl.where(second, j, i)


@triton.jit
def _extreme(
    X, INDEX, OUT, WHERE, keep_shape, keep_strides, fold_shape, fold_strides, n_keep, n_fold: tl.int64,
    chunk, LARGEST: tl.constexpr, ACC: tl.constexpr, KEEP: tl.constexpr, FOLD: tl.constexpr,
):  # fmt: skip
    """out[z, k] = the largest (or smallest) of x[k, f] over f in chunk z, where[z, k] = its f.

    Shapes  x [kept, folded] through two lists of strides; INDEX, of the same layout, holds each element's own index,
            or is None where that is f itself; out and where [chunks, kept] contiguous.
    Grid    one program per KEEP kept elements and chunk.
    Bytes   read x (and INDEX) once, write out and where once.
    """
    keep, z, start, end = _tile_position(n_keep, n_fold, chunk, KEEP)
    rows = _offsets(tl.where(keep < n_keep, keep, 0), keep_shape, keep_strides)
    # Lanes past the end repeat the chunk's first element, which can neither win nor lose anything.
    first_column = _offsets(tl.zeros((FOLD,), tl.int64) + start, fold_shape, fold_strides)
    best = tl.load(X + rows[:, None] + first_column[None, :]).to(ACC)
    where = tl.zeros((KEEP, FOLD), tl.int64) + start
    if INDEX is not None:
        where = tl.load(INDEX + rows[:, None] + first_column[None, :])
    for first in range(start, end, FOLD):
        fold = first + tl.arange(0, FOLD)
        fold = tl.where(fold < end, fold, start)
        columns = _offsets(fold, fold_shape, fold_strides)
        x = tl.load(X + rows[:, None] + columns[None, :]).to(ACC)
        index = tl.zeros((KEEP, FOLD), tl.int64) + fold[None, :]
        if INDEX is not None:
            index = tl.load(INDEX + rows[:, None] + columns[None, :])
        if LARGEST:
            best, where = _larger(best, where, x, index)
        else:
            best, where = _smaller(best, where, x, index)
    if LARGEST:
        best, where = tl.reduce((best, where), 1, _larger)
    else:
        best, where = tl.reduce((best, where), 1, _smaller)
    tl.store(OUT + z * n_keep + keep, best.to(OUT.dtype.element_ty), mask=keep < n_keep)
    tl.store(WHERE + z * n_keep + keep, where, mask=keep < n_keep)


def sum(x: Array, axes: Sequence[int], *, dtype: dtype | None = None, mean: bool = False) -> Array:
    """Sum (or mean) over `axes`, which disappear. Carried in float32, float64 for float64, int64 into integers."""
    dtype = dtype or x.dtype
    acc = dtypes.accumulator(dtypes.promote(x.dtype, dtype) if dtype.is_floating_point else dtype)
    kept, plan, n_keep, n_fold = _plan(x, axes)
    divisor = n_fold if mean else None
    config = tile("reduce", KEEP=n_keep, FOLD=n_fold)
    chunk = cdiv(config.pop("CHUNK"), config["FOLD"]) * config["FOLD"]
    chunks = cdiv(n_fold, chunk) or 1
    out = empty(kept if chunks == 1 else (chunks, *kept), dtype if chunks == 1 else acc, x.device)
    launch(
        _sum,
        cdiv(n_keep, config["KEEP"]) * chunks,
        x,
        out,
        *plan,
        n_keep,
        n_fold,
        chunk,
        divisor if chunks == 1 else None,
        TRITON_TYPE[acc],
        known_divisor(n_fold),
        flops=x.size,
        bytes=x.footprint + out.nbytes,
        **config,
    )
    if chunks == 1:
        return out
    total = sum(out, (0,), dtype=acc if mean else dtype)
    return elementwise.map(formulas._div, total, n_fold, dtype=dtype, compute=acc) if mean else total


def prod(x: Array, axes: Sequence[int], *, dtype: dtype | None = None) -> Array:
    """Product over `axes`, which disappear; carried as `sum` is, integers wrapping around."""
    dtype = dtype or x.dtype
    acc = dtypes.accumulator(dtypes.promote(x.dtype, dtype) if dtype.is_floating_point else dtype)
    kept, plan, n_keep, n_fold = _plan(x, axes)
    config = tile("reduce", KEEP=n_keep, FOLD=n_fold)
    chunk = cdiv(config.pop("CHUNK"), config["FOLD"]) * config["FOLD"]
    chunks = cdiv(n_fold, chunk) or 1
    out = empty(kept if chunks == 1 else (chunks, *kept), dtype if chunks == 1 else acc, x.device)
    grid = cdiv(n_keep, config["KEEP"]) * chunks
    sizes = (n_keep, n_fold, chunk)
    nbytes = x.footprint + out.nbytes
    given = (*plan, *sizes, TRITON_TYPE[acc], known_divisor(n_fold))
    launch(_prod, grid, x, out, *given, flops=x.size, bytes=nbytes, **config)
    return out if chunks == 1 else prod(out, (0,), dtype=dtype)


def _best(x: Array, axes: Sequence[int], largest: bool) -> tuple[Array, Array]:
    """The largest or smallest value over `axes`, and its int64 index in the folded extent."""
    kept, plan, n_keep, n_fold = _plan(x, axes)
    config = tile("reduce", KEEP=n_keep, FOLD=n_fold)
    chunk = config.pop("CHUNK")
    chunks = cdiv(n_fold, chunk)
    out = empty((chunks, *kept), x.dtype, x.device)
    where = empty((chunks, *kept), dtypes.int64, x.device)
    acc = TRITON_TYPE[dtypes.int32 if x.dtype is dtypes.bool_ else dtypes.compute(x.dtype)]
    grid = cdiv(n_keep, config["KEEP"]) * chunks
    nbytes = x.footprint + out.nbytes + where.nbytes
    launch(_extreme, grid, x, None, out, where, *plan, n_keep, n_fold, chunk, largest, acc, bytes=nbytes, **config)
    if chunks > 1:
        partial, index = out, where
        kept, plan, n_keep, n_fold = _plan(partial, (0,))
        out, where = empty((1, *kept), x.dtype, x.device), empty((1, *kept), dtypes.int64, x.device)
        config = tile("reduce", KEEP=n_keep, FOLD=n_fold)
        del config["CHUNK"]
        grid = cdiv(n_keep, config["KEEP"])
        nbytes = partial.nbytes + index.nbytes + out.nbytes + where.nbytes
        sizes = (n_keep, n_fold, n_fold)
        launch(_extreme, grid, partial, index, out, where, *plan, *sizes, largest, acc, bytes=nbytes, **config)
    return out.squeeze(0), where.squeeze(0)


def max(x: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    """Largest value over `axes` and its index; NaN wins, the earliest index of equals."""
    return _best(x, axes, True)


def min(x: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    """Smallest value over `axes` and its index; NaN wins, the earliest index of equals."""
    return _best(x, axes, False)


def _plan(x: Array, axes: Sequence[int]) -> tuple[tuple[int, ...], tuple, int, int]:
    """The kept shape; merged shapes and strides of the kept and the folded extent; their sizes."""
    kept = [a for a in range(x.ndim) if a not in axes]
    shape = tuple(x.shape[a] for a in kept)
    keep = _in_logical_order(shape, [x.strides[a] for a in kept], contiguous_strides(shape))
    folded = [x.shape[a] for a in sorted(axes)]
    strides = [x.strides[a] for a in sorted(axes)]
    fold = _in_logical_order(folded, strides, strides)
    n_keep = n_fold = 1
    for n in shape:
        n_keep *= n
    for n in folded:
        n_fold *= n
    return shape, (*keep, *fold), n_keep, n_fold


def _in_logical_order(
    shape: Sequence[int], strides: Sequence[int], also: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides with neighbouring axes joined where they form one run in both lists of strides."""
    dims: list[int] = []
    steps: list[int] = []
    last = 0
    for n, stride, other in zip(shape, strides, also, strict=True):
        if n == 1:
            continue
        if dims and steps[-1] == stride * n and last == other * n:
            dims[-1], steps[-1], last = dims[-1] * n, stride, other
        else:
            dims.append(n)
            steps.append(stride)
            last = other
    # A step of 0 is one that 16 divides: with no axis to keep, what is folded is then loaded 16 bytes at a time.
    return (tuple(dims), tuple(steps)) if dims else ((1,), (0,))
