"""Device functions that the kernels of attention share: tiles of operands, scores, dropout, causal order."""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels.elementwise import _offsets
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.random import _words

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _offset(batch, shape, strides, DIVISOR: tl.constexpr):
    """How far into memory a batch element is: DIVISOR divides that, of which the compiler cannot know."""
    return _offsets(batch, shape, strides) // DIVISOR * DIVISOR


@triton.jit
def _corner(batch, shape, along):
    """Where along the first two axes of a descriptor a batch element is, `along` being 0 for those that are shared."""
    return (batch // shape[1] * along[0]).to(tl.int32), (batch % shape[1] * along[1]).to(tl.int32)


@triton.jit
def _rows(X, start, index, extent, steps, E: tl.constexpr, BE: tl.constexpr, EDGE: tl.constexpr,
          DIVISOR: tl.constexpr, TMA: tl.constexpr, head=None):  # fmt: skip
    """Rows start + `index` of x [.., E] as a block of BE columns, 0 where nothing is.

    extent  how many rows there are from `start` on; without EDGE, as many as the block has
    steps   the strides of rows and numbers, the first a multiple of DIVISOR; of a descriptor (TMA), where the batch
            element is along its first two axes; `head` is where along a third, if it has that
    """
    if TMA:
        row = start.to(tl.int32)
        if head is None:
            block = X.load([steps[0], steps[1], row, 0])
        else:
            block = X.load([steps[0], steps[1], head, row, 0])
        return tl.reshape(block, (index.shape[0], BE))
    else:
        step = steps[0] // DIVISOR * DIVISOR
        e = tl.arange(0, BE)
        if E < BE:
            e = tl.where(e < E, e, 0)
            if DIVISOR > 1:  # so it is wherever something is read: so many numbers at a time
                e = tl.max_contiguous(tl.multiple_of(e, DIVISOR), DIVISOR)
        place = X + start * step + clamped(index, extent, not EDGE).to(tl.int64)[:, None] * step
        place += e.to(tl.int64)[None, :] * steps[1]
        inside = (tl.arange(0, BE) < E)[None, :]
        if EDGE:
            return tl.load(place, mask=(index < extent)[:, None] & inside, other=0.0)
        elif E < BE:
            return tl.load(place, mask=inside, other=0.0)
        else:
            return tl.load(place)


@triton.jit
def _store(X, value, start, index, extent, steps, E: tl.constexpr, BE: tl.constexpr, DIVISOR: tl.constexpr):
    """Write to x what `_rows` would read from its strides."""
    step = steps[0] // DIVISOR * DIVISOR
    e = tl.arange(0, BE)
    place = X + start * step + index.to(tl.int64)[:, None] * step + e.to(tl.int64)[None, :] * steps[1]
    tl.store(place, value.to(X.dtype.element_ty), mask=(index < extent)[:, None] & (e < E)[None, :])


@triton.jit
def _scores(a, b, scale, MASK, query, key, steps, seen, PRECISION: tl.constexpr):
    """The scores a b^T of a tile, -inf where the mask or `seen` forbids, and what they are yet to be multiplied by.

    query, key  their numbers in the tile, in blocks that broadcast: a is of the one and b of the other
    seen        a block of bools, or None
    """
    s = tl.dot(a, tl.trans(b), input_precision=PRECISION)
    unit = scale * LOG2E
    if MASK is not None:
        bias = tl.load(MASK + query.to(tl.int64) * steps[0] + key.to(tl.int64) * steps[1])
        if MASK.dtype.element_ty == tl.int1:
            s = tl.where(bias, s, -float("inf"))
        else:
            s = s * unit + bias.to(tl.float32) * LOG2E
            unit = unit * 0.0 + 1.0
    if seen is not None:
        s = tl.where(seen, s, -float("inf"))
    return s, unit


@triton.jit
def _seen_keys(m, n, lead, keys, CUT: tl.constexpr, EDGE: tl.constexpr):
    """Which of `keys` keys n each query m sees, `lead` ahead of them: one comparison with a bound of each row."""
    if CUT:
        bound = m + lead + 1
        if EDGE:
            bound = tl.minimum(bound, keys)
        return n[None, :] < bound[:, None]
    elif EDGE:
        return n[None, :] < keys
    else:
        return None


@triton.jit
def _kept(row, key, groups, seed, stream, threshold, ROWS: tl.constexpr, KEYS: tl.constexpr):
    """Which of the KEYS probabilities from `key` on, a multiple of 4, dropout leaves of each of ROWS rows.

    Element s of a row is word s % 4 of counter row groups + s / 4: what `random.uniform` gives an array whose rows have
    4 groups elements, compared with `threshold` units of 2^-24. So tiles change nothing, and every pass sees the same.
    """
    counter = (row * groups + key // 4)[:, None] + tl.arange(0, KEYS // 4)[None, :]
    a, b, c, d = _words(counter, seed, stream)
    words = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (ROWS, KEYS))
    return (words >> 8).to(tl.int32) >= threshold


@triton.jit
def _reach(top, S, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """Of BM queries from `top`: how many keys, in whole tiles, all of them see, and how many any of them sees."""
    if CAUSAL:
        return tl.minimum(top + 1, S) // BN * BN, tl.minimum(top + BM, S)
    else:
        return S // BN * BN, S


@triton.jit
def _lead(query, key, BM: tl.constexpr, BN: tl.constexpr):
    """query - key in 32 bits, moved to where it makes no difference to a tile."""
    return tl.maximum(tl.minimum(query - key, BN), -BM).to(tl.int32)
