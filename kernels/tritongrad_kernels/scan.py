"""Scans: each element combined with all before it along one axis, in an order fixed by the shape alone.

Every scan is [rows, n] -> [rows, n]. Sums and products of long rows are split over programs: the totals of blocks are
had first and scanned themselves, and each block starts from the total before it. The other scans walk a row in one
program.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import TRITON_TYPE, _offsets, merge_axes
from tritongrad_kernels.formulas import _add, _mul
from tritongrad_kernels.launch import cdiv, launch, tile


@triton.jit
def _product(x, axis):
    return tl.reduce(x, axis, _mul)


@triton.jit
def _block_totals(
    X, OUT, shape, xs, rows, blocks, x_step,
    fold: tl.constexpr, ACC: tl.constexpr, KEEP: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """out[r, b] = the elements of block b of row r, folded into one. Every block is whole.

    Shapes  x [rows, blocks SPAN], rows through a list of strides, elements x_step apart; out [rows, blocks].
    Grid    one program per KEEP rows and block.
    Bytes   read x once, write out once.
    """
    pid = tl.program_id(0).to(tl.int64)
    block = pid % blocks
    r = (pid // blocks) * KEEP + tl.arange(0, KEEP)
    i = block * SPAN + tl.arange(0, SPAN)
    x = tl.load(X + _offsets(r, shape, xs)[:, None] + (i * x_step)[None, :], mask=(r < rows)[:, None], other=0)
    tl.store(OUT + r * blocks + block, fold(x.to(ACC), 1), mask=r < rows)


@triton.jit
def _scan(
    X, BEFORE, OUT, shape, xs, outs, rows, n: tl.int64, x_step, out_step,
    scan: tl.constexpr, f: tl.constexpr,
    ACC: tl.constexpr, KEEP: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """out[r, i] = x[r, 0] f x[r, 1] f ... f x[r, i], where `scan` does so within a block.

    Shapes  x and out [rows, n], rows through lists of strides, elements x_step and out_step apart; before
            [rows, blocks-1] holds each block's total and those before it, or is None for a single block.
    Grid    one program per KEEP rows and block of SPAN elements.
    Bytes   read x and before once, write out once.
    """
    blocks = tl.cdiv(n, SPAN)
    pid = tl.program_id(0).to(tl.int64)
    block = pid % blocks
    r = (pid // blocks) * KEEP + tl.arange(0, KEEP)
    i = block * SPAN + tl.arange(0, SPAN)
    mask = (r < rows)[:, None] & (i < n)[None, :]
    x = tl.load(X + _offsets(r, shape, xs)[:, None] + (i * x_step)[None, :], mask=mask, other=0)
    y = scan(x.to(ACC), 1)
    if BEFORE is not None:
        before = tl.load(BEFORE + r * (blocks - 1) + (block - 1), mask=(r < rows) & (block > 0), other=0)
        y = tl.where(block > 0, f(before[:, None], y), y)
    target = OUT + _offsets(r, shape, outs)[:, None] + (i * out_step)[None, :]
    tl.store(target, y.to(OUT.dtype.element_ty), mask=mask)


@triton.jit
def _last_larger(x, i, y, j):
    """The larger of two values with its index: NaN outranks numbers, the later index wins a tie."""
    x_nan, y_nan = x != x, y != y
    second = (y > x) | (y_nan & (x == x)) | (((y == x) | (x_nan & y_nan)) & (j > i))
    return tl.where(second, y, x), tl.where(second, j, i)


@triton.jit
def _last_smaller(x, i, y, j):
    """The smaller of two values with its index: NaN outranks numbers, the later index wins a tie."""
    x_nan, y_nan = x != x, y != y
    second = (y < x) | (y_nan & (x == x)) | (((y == x) | (x_nan & y_nan)) & (j > i))
    return tl.where(second, y, x), tl.where(second, j, i)


@triton.jit
def _scan_extreme(
    X, OUT, WHERE, shape, xs, outs, rows, n: tl.int64, x_step, out_step,
    LARGEST: tl.constexpr, ACC: tl.constexpr, KEEP: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """out[r, i] = the largest (or smallest) of x[r, 0 .. i], where[r, i] = its position.

    Shapes  x, out and where [rows, n], rows through lists of strides (where as out), elements x_step and out_step
            apart; n > 0.
    Grid    one program per KEEP rows.
    Bytes   read x once, write out and where once.
    """
    r = tl.program_id(0).to(tl.int64) * KEEP + tl.arange(0, KEEP)
    row = X + _offsets(r, shape, xs)
    best = tl.load(row, mask=r < rows, other=0).to(ACC)
    where = tl.zeros((KEEP,), tl.int64)
    target = _offsets(r, shape, outs)
    for first in range(0, n, SPAN):
        i = first + tl.arange(0, SPAN)
        inside = tl.minimum(i, n - 1)  # lanes past the end repeat the last element
        x = tl.load(row[:, None] + (inside * x_step)[None, :], mask=(r < rows)[:, None], other=0).to(ACC)
        index = tl.zeros((KEEP, SPAN), tl.int64) + inside[None, :]
        if LARGEST:
            y, at = tl.associative_scan((x, index), 1, _last_larger)
            y, at = _last_larger(best[:, None], where[:, None], y, at)
        else:
            y, at = tl.associative_scan((x, index), 1, _last_smaller)
            y, at = _last_smaller(best[:, None], where[:, None], y, at)
        mask = (r < rows)[:, None] & (i < n)[None, :]
        offset = target[:, None] + (i * out_step)[None, :]
        tl.store(OUT + offset, y.to(OUT.dtype.element_ty), mask=mask)
        tl.store(WHERE + offset, at, mask=mask)
        if LARGEST:
            best, where = tl.reduce((y, at), 1, _last_larger)
        else:
            best, where = tl.reduce((y, at), 1, _last_smaller)


@triton.jit
def _join_exponentials(m, s, k, t):
    """The sum of s e^m and t e^k as the larger exponent and a factor; infinite exponents meet without NaN."""
    top = tl.maximum(m, k, propagate_nan=tl.PropagateNan.ALL)
    return top, s * tl.where(m == top, 1.0, tl.exp(m - top)) + t * tl.where(k == top, 1.0, tl.exp(k - top))


@triton.jit
def _scan_logsumexp(
    X, OUT, shape, xs, outs, rows, n: tl.int64, x_step, out_step,
    ACC: tl.constexpr, KEEP: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """out[r, i] = log(e^x[r, 0] + ... + e^x[r, i]), kept as the largest exponent and a factor.

    Shapes  x and out [rows, n], rows through lists of strides, elements x_step and out_step apart.
    Grid    one program per KEEP rows.
    Bytes   read x once, write out once.
    """
    r = tl.program_id(0).to(tl.int64) * KEEP + tl.arange(0, KEEP)
    row, target = X + _offsets(r, shape, xs), OUT + _offsets(r, shape, outs)
    m = tl.full((KEEP,), -float("inf"), ACC)
    s = tl.zeros((KEEP,), ACC)
    for first in range(0, n, SPAN):
        i = first + tl.arange(0, SPAN)
        mask = (r < rows)[:, None] & (i < n)[None, :]
        x = tl.load(row[:, None] + (i * x_step)[None, :], mask=mask, other=-float("inf")).to(ACC)
        one = tl.zeros((KEEP, SPAN), ACC) + (i < n).to(ACC)[None, :]
        top, factor = tl.associative_scan((x, one), 1, _join_exponentials)
        top, factor = _join_exponentials(m[:, None], s[:, None], top, factor)
        tl.store(target[:, None] + (i * out_step)[None, :], (top + tl.log(factor)).to(OUT.dtype.element_ty), mask=mask)
        total, parts = tl.reduce((x, one), 1, _join_exponentials)
        m, s = _join_exponentials(m, s, total, parts)


@triton.jit
def _compose(a, b, c, d):
    """The map h -> a h + b followed by h -> c h + d."""
    return a * c, b * c + d


@triton.jit
def _recurrence(
    A, B, OUT, shape, xs, ys, outs, rows, n: tl.int64, x_step, y_step, out_step,
    ACC: tl.constexpr, KEEP: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """out[r, i] = a[r, i] out[r, i-1] + b[r, i], out[r, -1] being 0: a scan of maps (Blelloch 1990, 1.4.1).

    Shapes  a, b and out [rows, n], rows through lists of strides, elements a step apart.
    Grid    one program per KEEP rows.
    Bytes   read a and b once, write out once.
    """
    r = tl.program_id(0).to(tl.int64) * KEEP + tl.arange(0, KEEP)
    first_a, first_b = A + _offsets(r, shape, xs), B + _offsets(r, shape, ys)
    target = OUT + _offsets(r, shape, outs)
    h = tl.zeros((KEEP,), ACC)
    for first in range(0, n, SPAN):
        i = first + tl.arange(0, SPAN)
        inside = tl.minimum(i, n - 1)
        here = (r < rows)[:, None]
        a = tl.load(first_a[:, None] + (inside * x_step)[None, :], mask=here, other=0).to(ACC)
        b = tl.load(first_b[:, None] + (inside * y_step)[None, :], mask=here, other=0).to(ACC)
        factor, term = tl.associative_scan(
            (tl.where((i < n)[None, :], a, 1), tl.where((i < n)[None, :], b, 0)), 1, _compose
        )
        y = tl.where(h[:, None] == 0, 0, factor * h[:, None]) + term
        tl.store(target[:, None] + (i * out_step)[None, :], y.to(OUT.dtype.element_ty), mask=here & (i < n)[None, :])
        h = tl.sum(tl.where(tl.arange(0, SPAN)[None, :] == SPAN - 1, y, 0), 1)


def cumsum(x: Array, axis: int, dtype: dtype | None = None) -> Array:
    """x[0] + ... + x[i] along `axis`, into `dtype` (default: that of x). Carried in float32, float64 for float64,
    int64 into integers, which wrap around. C-ordered."""
    return _accumulate(x, axis, dtype or x.dtype, tl.cumsum, tl.sum, _add)


def cumprod(x: Array, axis: int, dtype: dtype | None = None) -> Array:
    """x[0] times ... times x[i] along `axis`; dtypes as `cumsum`."""
    return _accumulate(x, axis, dtype or x.dtype, tl.cumprod, _product, _mul)


def _accumulate(x: Array, axis: int, dtype: dtype, scan: Any, fold: Any, f: Any) -> Array:
    acc = dtypes.accumulator(dtypes.promote(x.dtype, dtype) if dtype.is_floating_point else dtype)
    out = empty(x.shape, dtype, x.device)
    rows, n, shape, xs, outs, x_step, out_step = _rows(x, out, axis)
    config = tile("scan", KEEP=rows, SPAN=n, itemsize=acc.itemsize)
    blocks = cdiv(n, config["SPAN"])
    programs = cdiv(rows, config["KEEP"])
    before = None
    if blocks > 1:
        whole = x.slice(axis, 0, (blocks - 1) * config["SPAN"]) if x.ndim else x
        totals = empty((rows, blocks - 1), acc, x.device)
        launch(
            _block_totals, programs * (blocks - 1), whole, totals, shape, xs, rows, blocks - 1, x_step, fold,
            TRITON_TYPE[acc], flops=whole.size, bytes=whole.footprint + totals.nbytes, **config,
        )  # fmt: skip
        before = _accumulate(totals, 1, acc, scan, fold, f)
    launch(
        _scan, programs * blocks, x, before, out, shape, xs, outs, rows, n, x_step, out_step, scan, f,
        TRITON_TYPE[acc], flops=x.size, bytes=x.footprint + out.nbytes + (before.nbytes if before else 0), **config,
    )  # fmt: skip
    return out


def cummax(x: Array, axis: int) -> tuple[Array, Array]:
    """The largest of x[0 .. i] along `axis` and its int64 position; NaN wins, the last of equals."""
    return _extreme(x, axis, True)


def cummin(x: Array, axis: int) -> tuple[Array, Array]:
    """The smallest of x[0 .. i] along `axis` and its int64 position; NaN wins, the last of equals."""
    return _extreme(x, axis, False)


def _extreme(x: Array, axis: int, largest: bool) -> tuple[Array, Array]:
    out, where = empty(x.shape, x.dtype, x.device), empty(x.shape, dtypes.int64, x.device)
    acc = TRITON_TYPE[dtypes.int32 if x.dtype is dtypes.bool_ else dtypes.compute(x.dtype)]
    rows, n, *plan = _rows(x, out, axis)
    config = tile("scan", KEEP=rows, SPAN=n, itemsize=8)
    nbytes = x.footprint + out.nbytes + where.nbytes
    grid = cdiv(rows, config["KEEP"]) if n else 0
    launch(_scan_extreme, grid, x, out, where, *plan[:3], rows, n, *plan[3:], largest, acc, bytes=nbytes, **config)
    return out, where


def logcumsumexp(x: Array, axis: int) -> Array:
    """log(e^x[0] + ... + e^x[i]) along `axis` of a floating-point array."""
    out = empty(x.shape, x.dtype, x.device)
    acc = dtypes.accumulator(x.dtype)
    rows, n, *plan = _rows(x, out, axis)
    config = tile("scan", KEEP=rows, SPAN=n, itemsize=8)
    launch(
        _scan_logsumexp, cdiv(rows, config["KEEP"]) if n else 0, x, out, *plan[:3], rows, n, *plan[3:],
        TRITON_TYPE[acc], flops=x.size, bytes=x.footprint + out.nbytes, **config,
    )  # fmt: skip
    return out


def recurrence(a: Array, b: Array, axis: int) -> Array:
    """h[i] = a[i] h[i-1] + b[i] along `axis`, h[-1] being 0; a and b are floating, of one shape and dtype."""
    out = empty(b.shape, b.dtype, b.device)
    acc = dtypes.accumulator(b.dtype)
    if not b.ndim:
        a, b = a.view((1,), (1,)), b.view((1,), (1,))
    flat = out.view(b.shape, out.strides or (1,))
    kept = [k for k in range(b.ndim) if k != axis]
    shape, (outs, xs, ys) = merge_axes(
        [b.shape[k] for k in kept], *([v.strides[k] for k in kept] for v in (flat, a, b))
    )
    n = b.shape[axis]
    rows = b.size // n if n else 0
    config = tile("scan", KEEP=rows, SPAN=n, itemsize=8)
    launch(
        _recurrence, cdiv(rows, config["KEEP"]), a, b, flat, shape, xs, ys, outs, rows, n, a.strides[axis],
        b.strides[axis], flat.strides[axis], TRITON_TYPE[acc], flops=2 * b.size, bytes=footprint(a, b, flat), **config,
    )  # fmt: skip
    return out


def _rows(x: Array, out: Array, axis: int) -> tuple[int, int, tuple, tuple, tuple, int, int]:
    """How a scan sees x and out: the numbers of rows and of elements in one, the rows' shape and their strides in x and
    out, and how far apart the elements of a row lie in each. An array without axes is one row of one element."""
    if not x.ndim:
        return 1, 1, (1,), (1,), (1,), 1, 1
    kept = [a for a in range(x.ndim) if a != axis]
    shape, (outs, xs) = merge_axes(
        [x.shape[a] for a in kept], [out.strides[a] for a in kept], [x.strides[a] for a in kept]
    )
    rows = x.size // x.shape[axis] if x.size else 0
    return rows, x.shape[axis], shape, xs, outs, x.strides[axis], out.strides[axis]
