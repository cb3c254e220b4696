"""Stable sorting along an axis, and what is done with an order: taking along it and searching in it.

Values become signed integers that order as they do. Short rows are sorted by counting, for each key, those before it;
long ones by radix, the lowest digit first: count each block's digits, scan the counts, and write every key to the place
that its digit, block and rank within both determine (Knuth, The Art of Computer Programming 3, 5.2.5; Satish, Harris
and Garland 2009). Places are distinct, so nothing depends on the order of programs.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE, _offsets, merge_axes
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.scan import cumsum

_DIGIT_BITS = 4
_RADIX = 1 << _DIGIT_BITS


@triton.jit
def _rising(x):
    """A signed integer that orders as x does; NaN is above all, -0 equals 0. Integers are their own."""
    if x.dtype.is_floating():
        if x.dtype.primitive_bitwidth == 64:
            bits = x.to(tl.int64, bitcast=True)
            key = bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)
            largest = 0x7FFFFFFFFFFFFFFF
        elif x.dtype.primitive_bitwidth == 32:
            bits = x.to(tl.int32, bitcast=True)
            key = bits ^ ((bits >> 31) & 0x7FFFFFFF)
            largest = 0x7FFFFFFF
        else:
            bits = x.to(tl.int16, bitcast=True).to(tl.int32)
            key = bits ^ ((bits >> 31) & 0x7FFF)
            largest = 0x7FFF
        return tl.where(x != x, largest, tl.where(x == 0, 0, key)).to(key.dtype)
    else:
        return x


@triton.jit
def _falling(x):
    """A signed integer that orders as -x does; NaN is below all."""
    return ~_rising(x)


@triton.jit
def _order_by_counting(KEYS, OUT, rows, n, KEEP: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):
    """out[r, how many keys of row r come before key i] = i: those that are smaller, and equal ones further left.

    Shapes  keys and out [rows, n] contiguous, n <= N.
    Grid    one program per KEEP rows.
    Bytes   read keys once, write out once.
    """
    r = tl.program_id(0).to(tl.int64) * KEEP + tl.arange(0, KEEP)
    i = tl.arange(0, N)
    mask = (r < rows)[:, None] & (i < n)[None, :]
    keys = tl.load(KEYS + (r * n)[:, None] + i[None, :], mask=mask, other=0)
    rank = tl.zeros((KEEP, N), tl.int32)
    for first in range(0, n, STEP):
        j = first + tl.arange(0, STEP)
        inside = (r < rows)[:, None] & (j < n)[None, :]
        others = tl.load(KEYS + (r * n)[:, None] + j[None, :], mask=inside, other=0)[:, None, :]
        equal = (others == keys[:, :, None]) & (j[None, :] < i[:, None])[None, :, :]
        before = ((others < keys[:, :, None]) | equal) & (j < n)[None, None, :]
        rank += tl.sum(before.to(tl.int32), 2)
    tl.store(OUT + (r * n)[:, None] + rank, tl.zeros((KEEP, N), tl.int64) + i[None, :], mask=mask)


@triton.jit
def _one_hot(KEYS, r, i, rows, n, shift, flip, RADIX: tl.constexpr):
    """The keys at [r, i] and, for each, a row of RADIX counters with 1 at its digit, all 0 outside the array."""
    mask = (r < rows)[:, None] & (i < n)[None, :]
    keys = tl.load(KEYS + (r * n)[:, None] + i[None, :], mask=mask, other=0)
    digit = tl.where(mask, ((keys >> shift) & (RADIX - 1)).to(tl.int32) ^ flip, RADIX)
    return keys, mask, (digit[:, :, None] == tl.arange(0, RADIX)[None, None, :]).to(tl.int32)


@triton.jit
def _count_digits(
    KEYS, COUNTS, rows, n: tl.int64, shift, flip, KEEP: tl.constexpr, SPAN: tl.constexpr, RADIX: tl.constexpr
):  # fmt: skip
    """counts[r, d, b] = how many keys in block b of row r have the digit d at bit `shift`, xor `flip`.

    Shapes  keys [rows, n] contiguous, counts [rows, RADIX, blocks].
    Grid    one program per KEEP rows and block of SPAN keys.
    Bytes   read keys once, write counts once.
    """
    blocks = tl.cdiv(n, SPAN)
    pid = tl.program_id(0).to(tl.int64)
    block = pid % blocks
    r = (pid // blocks) * KEEP + tl.arange(0, KEEP)
    i = block * SPAN + tl.arange(0, SPAN)
    _, _, hot = _one_hot(KEYS, r, i, rows, n, shift, flip, RADIX)
    d = tl.arange(0, RADIX)
    tl.store(COUNTS + ((r * RADIX)[:, None] + d[None, :]) * blocks + block, tl.sum(hot, 1), mask=(r < rows)[:, None])


@triton.jit
def _move_by_digit(
    KEYS, INDEX, ENDS, OUT_KEYS, OUT, rows, n: tl.int64, shift, flip,
    KEEP: tl.constexpr, SPAN: tl.constexpr, RADIX: tl.constexpr,
):  # fmt: skip
    """Move each key of a row, and its index, behind all of its row with a smaller digit or the same further left.

    Shapes  keys, index and both outputs [rows, n] contiguous, ends [rows, RADIX, blocks]: where the keys of a digit and
            block end. INDEX is None where a key's index is its position, ENDS where a row is one block, OUT_KEYS where
            the keys are wanted no longer.
    Grid    one program per KEEP rows and block of SPAN keys.
    Bytes   read keys, index and ends once, write the outputs once.
    """
    blocks = tl.cdiv(n, SPAN)
    pid = tl.program_id(0).to(tl.int64)
    block = pid % blocks
    r = (pid // blocks) * KEEP + tl.arange(0, KEEP)
    i = block * SPAN + tl.arange(0, SPAN)
    keys, mask, hot = _one_hot(KEYS, r, i, rows, n, shift, flip, RADIX)
    counts = tl.sum(hot, 1)
    if ENDS is None:
        ends = tl.cumsum(counts, 1)
    else:
        d = tl.arange(0, RADIX)
        ends = tl.load(ENDS + ((r * RADIX)[:, None] + d[None, :]) * blocks + block, mask=(r < rows)[:, None], other=0)
    places = tl.cumsum(hot, 1) + (ends - counts - 1)[:, None, :]
    place = (r * n)[:, None] + tl.sum(tl.where(hot != 0, places, 0), 2)
    if INDEX is None:
        index = tl.zeros((KEEP, SPAN), tl.int64) + i[None, :]
    else:
        index = tl.load(INDEX + (r * n)[:, None] + i[None, :], mask=mask, other=0)
    tl.store(OUT + place, index, mask=mask)
    if OUT_KEYS is not None:
        tl.store(OUT_KEYS + place, keys, mask=mask)


@triton.jit
def _take_along(X, INDEX, OUT, shape, xs, indices, outs, n, step, BLOCK: tl.constexpr):
    """out[..., i, ...] = x[..., index[..., i, ...], ...].

    Shapes  index and out alike; xs are the strides of x, 0 for the axis taken along, whose own is `step`.
    Grid    one program per BLOCK elements.
    Bytes   read index once and the elements of x that it names, write out once.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    index = tl.load(INDEX + _offsets(i, shape, indices), mask=mask, other=0)
    x = tl.load(X + _offsets(i, shape, xs) + index * step, mask=mask, other=0)
    tl.store(OUT + _offsets(i, shape, outs), x, mask=mask)


@triton.jit
def _put_along(X, INDEX, OUT, shape, xs, indices, outs, n, step, BLOCK: tl.constexpr):
    """out[..., index[..., i, ...], ...] = x[..., i, ...], no place twice.

    Shapes  index and x alike; outs are the strides of out, 0 for the axis put along, whose own is `step`.
    Grid    one program per BLOCK elements.
    Bytes   read x and index once, write as many elements of out.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    index = tl.load(INDEX + _offsets(i, shape, indices), mask=mask, other=0)
    x = tl.load(X + _offsets(i, shape, xs), mask=mask, other=0)
    tl.store(OUT + _offsets(i, shape, outs) + index * step, x, mask=mask)


@triton.jit
def _search(EDGES, VALUES, OUT, n, m, per_row, steps, RIGHT: tl.constexpr, COMPUTE: tl.constexpr, BLOCK: tl.constexpr):
    """out[i] = how many of the m rising edges of its row are below values[i], or (RIGHT) not above it, by bisection.

    Shapes  values and out [n], edges [n / per_row, m] contiguous. `steps` halvings leave nothing of m.
    Grid    one program per BLOCK values.
    Bytes   read values and the edges on their way once, write out once.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    value = tl.load(VALUES + i, mask=mask, other=0).to(COMPUTE)
    low = tl.zeros((BLOCK,), tl.int64)
    high = low + m
    for _ in range(steps):
        middle = (low + high) // 2
        open = low < high
        edge = tl.load(EDGES + (i // per_row) * m + middle, mask=mask & open, other=0).to(COMPUTE)
        if RIGHT:
            below = (edge > value) == 0  # so that NaN, which compares with nothing, comes last
        else:
            below = (edge >= value) == 0
        low = tl.where(open & below, middle + 1, low)
        high = tl.where(open & (below == 0), middle, high)
    tl.store(OUT + i, low, mask=mask)


def argsort_stable(keys: Array, bound: int) -> Array:
    """The int64 positions of a one-dimensional int64 `keys`, all in 0 .. bound-1, by rising key.

    Equals keep their order. Costs a pass for each four bits of bound-1; keys out of range go by their lower bits.
    """
    n = keys.shape[0]
    if n < 2 or bound < 2:
        return elementwise.iota(n, keys.device)
    keys = elementwise.contiguous(keys).view((1, n), (n, 1))
    return _order(keys, (bound - 1).bit_length(), False).view((n,), (1,))


def ordered(x: Array, descending: bool = False) -> Array:
    """int32 keys (int64 for 8-byte elements), C-ordered, that order as the elements do, or the other way round.

    Equal elements have equal keys, and so have all NaN, the largest.
    """
    keys = empty(x.shape, dtypes.int64 if x.dtype.itemsize == 8 else dtypes.int32, x.device)
    return elementwise.map(_falling if descending else _rising, x, out=keys, compute=x.dtype)


def argsort(x: Array, axis: int, descending: bool = False) -> Array:
    """The int64 positions along `axis` in rising order of value (falling if `descending`), C-ordered.

    Equals keep their order, NaN counts as the largest, -0 equals 0. Any dtype, any strides.
    """
    if not x.ndim:
        return elementwise.full((), 0, dtypes.int64, x.device)
    last = x.permute([*(a for a in range(x.ndim) if a != axis), axis])
    n = x.shape[axis]
    rows = x.size // n if n else 0
    keys = ordered(last, descending)
    bits = 1 if x.dtype is dtypes.bool_ else 8 * x.dtype.itemsize
    order = _order(keys.view((rows, n), (n, 1)), bits, x.dtype.is_signed)
    back = list(range(x.ndim - 1))
    back.insert(axis, x.ndim - 1)
    return elementwise.contiguous(elementwise.reshape(order, last.shape).permute(back))


def sort(x: Array, axis: int, descending: bool = False) -> tuple[Array, Array]:
    """The values along `axis` in order, and the positions they came from; see `argsort`."""
    order = argsort(x, axis, descending)
    return take_along(x, order, axis), order


def _order(keys: Array, bits: int, signed: bool) -> Array:
    """The int64 positions in each row of [rows, n] contiguous keys by rising key, which has `bits` bits that count."""
    rows, n = keys.shape
    out = empty((rows, n), dtypes.int64, keys.device)
    few = tile("order", KEEP=rows, N=n, STEP=n)
    if n <= few["N"]:
        launch(_order_by_counting, cdiv(rows, few["KEEP"]), keys, out, rows, n, bytes=footprint(keys, out), **few)
        return out
    config = tile("radix", KEEP=rows, SPAN=n)
    blocks = cdiv(n, config["SPAN"])
    grid = cdiv(rows, config["KEEP"]) * blocks
    passes = cdiv(bits, _DIGIT_BITS)
    index: Array | None = None
    for p in range(passes):
        shift, last = p * _DIGIT_BITS, p == passes - 1
        # The top bit of a signed key is worth less than nothing: turned over, keys order as unsigned ones do.
        digit = (rows, n, shift, 1 << (bits - 1 - shift) if signed and last else 0)
        ends = None
        if blocks > 1:
            counts = empty((rows, _RADIX * blocks), dtypes.int32, keys.device)
            launch(_count_digits, grid, keys, counts, *digit, RADIX=_RADIX, bytes=footprint(keys, counts), **config)
            ends = cumsum(counts, 1, dtypes.int32 if n < 2**31 else dtypes.int64)
        out = empty((rows, n), dtypes.int64, keys.device)
        moved = None if last else empty((rows, n), keys.dtype, keys.device)
        launch(
            _move_by_digit, grid, keys, index, ends, moved, out, *digit, RADIX=_RADIX,
            bytes=footprint(keys, index, ends, moved, out), **config,
        )  # fmt: skip
        index, keys = out, keys if moved is None else moved
    return out


def take_along(x: Array, index: Array, axis: int) -> Array:
    """x[..., index[..., i, ...], ...] for an int64 index of any extent along `axis` and x's elsewhere; indices are
    positions that must exist."""
    out = empty(index.shape, x.dtype, x.device)
    dims, (outs, xs, indices) = merge_axes(index.shape, out.strides, _without_axis(x, axis), index.strides)
    config = tile("map", BLOCK=out.size)
    launch(
        _take_along, cdiv(out.size, config["BLOCK"]), x, index, out, dims, xs, indices, outs, out.size,
        x.strides[axis] if x.ndim else 1,
        bytes=min(x.footprint, out.nbytes) + footprint(index, out), at_most=True, **config,
    )  # fmt: skip
    return out


def put_along(x: Array, index: Array, axis: int, extent: int) -> Array:
    """Zeros with x[..., i, ...] at position index[..., i, ...] of `axis`, whose new extent is `extent`.

    The transpose of `take_along` where no position is named twice, which nobody checks.
    """
    shape = (*x.shape[:axis], extent, *x.shape[axis + 1 :]) if x.ndim else ()
    out = elementwise.full(shape, 0, x.dtype, x.device)
    dims, (indices, xs, outs) = merge_axes(index.shape, index.strides, x.strides, _without_axis(out, axis))
    config = tile("map", BLOCK=x.size)
    launch(
        _put_along, cdiv(x.size, config["BLOCK"]), x, index, out, dims, xs, indices, outs, x.size,
        out.strides[axis] if out.ndim else 1, bytes=footprint(x, index) + x.size * x.dtype.itemsize, **config,
    )  # fmt: skip
    return out


def search(edges: Array, values: Array, right: bool) -> Array:
    """Where along the last axis of `edges`, which rises, values would be inserted: before equals, or after (`right`).

    `edges` has one axis, or the shape of `values` up to the last; dtypes are alike. int64, C-ordered.
    """
    out = empty(values.shape, dtypes.int64, values.device)
    edges, values = elementwise.contiguous(edges), elementwise.contiguous(values)
    m, n = edges.shape[-1], values.size
    per_row = n if edges.ndim == 1 else values.shape[-1]
    kind = TRITON_TYPE[dtypes.int32 if values.dtype is dtypes.bool_ else dtypes.compute(values.dtype)]
    config = tile("map", BLOCK=n)
    launch(
        _search, cdiv(n, config["BLOCK"]), edges, values, out, n, m, per_row, m.bit_length(), right, kind,
        bytes=footprint(edges, values, out), at_most=True, **config,
    )  # fmt: skip
    return out


def _without_axis(x: Array, axis: int) -> tuple[int, ...]:
    """The strides of x, 0 for one axis."""
    return tuple(0 if a == axis else s for a, s in enumerate(x.strides))
