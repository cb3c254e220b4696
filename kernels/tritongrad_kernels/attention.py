"""Attention: softmax(scale q k^T + mask) v, no score of which is ever stored, and its gradients.

Source: Dao, "FlashAttention-2: Faster attention with better parallelism and work partitioning", 2023. The forward pass
goes over the keys once, with a running maximum and sum (online softmax), and keeps one number a row: the logarithm of
that sum, from which the backward passes form the probabilities again. The gradient of queries and those of keys and
values are had by two kernels, in each of which a program owns what it writes: no atomics, the same bits on every run.

Scores are in units of log 2 (exp2 is what GPUs have), sums are float32. A row that may attend to nothing gives 0, and
so are its gradients.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.attention_problem import Problem, geometry, lie_like, of_first_head, settings, tiles_for
from tritongrad_kernels.elementwise import _offsets
from tritongrad_kernels.launch import cdiv, launch
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.random import _words

LOG2E = tl.constexpr(1.4426950408889634)

# ------------------------------------------------------------------------------------------------------------- tiles


@triton.jit
def _rows(X, index, extent, steps, E: tl.constexpr, BE: tl.constexpr, EDGE: tl.constexpr):
    """Rows `index` of x [extent, E] as a block of BE columns, 0 where nothing is; without EDGE all rows are there."""
    e = tl.arange(0, BE)
    if E < BE:
        e = tl.where(e < E, e, 0)
        if E % 8 == 0:  # so it is wherever something is read, 16 bytes at a time
            e = tl.max_contiguous(tl.multiple_of(e, 8), 8)
    place = X + clamped(index, extent, not EDGE).to(tl.int64)[:, None] * steps[0] + e.to(tl.int64)[None, :] * steps[1]
    inside = (tl.arange(0, BE) < E)[None, :]
    if EDGE:
        return tl.load(place, mask=(index < extent)[:, None] & inside, other=0.0)
    elif E < BE:
        return tl.load(place, mask=inside, other=0.0)
    else:
        return tl.load(place)


@triton.jit
def _store(X, value, index, extent, steps, E: tl.constexpr, BE: tl.constexpr):
    """Write to x what `_rows` would read."""
    e = tl.arange(0, BE)
    place = X + index.to(tl.int64)[:, None] * steps[0] + e.to(tl.int64)[None, :] * steps[1]
    tl.store(place, value.to(X.dtype.element_ty), mask=(index < extent)[:, None] & (e < E)[None, :])


@triton.jit
def _scores(
    a, b, scale, MASK, query, key, lead, steps, CAUSAL: tl.constexpr, EDGE: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """The scores a b^T of a tile, -inf where the mask forbids, and what they are yet to be multiplied by.

    query, key  their numbers in the tile, in blocks that broadcast: a is of the one and b of the other
    lead        how far the tile's first query is ahead of its first key
    EDGE        whether the tile may hold pairs that causal order forbids
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
    if CAUSAL and EDGE:
        s = tl.where(key <= query + lead, s, -float("inf"))
    return s, unit


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
def _seen(top, S, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """Of BM queries from `top`: how many keys, in whole tiles, all of them see, and how many any of them sees."""
    if CAUSAL:
        return tl.minimum(top + 1, S) // BN * BN, tl.minimum(top + BM, S)
    else:
        return S // BN * BN, S


@triton.jit
def _lead(query, key, BM: tl.constexpr, BN: tl.constexpr):
    """query - key in 32 bits, moved to where it makes no difference to a tile."""
    return tl.maximum(tl.minimum(query - key, BN), -BM).to(tl.int32)


# ----------------------------------------------------------------------------------------------------------- forward


@triton.jit
def _attend(
    acc, largest, total, q, K, V, MASK, begin, end, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
    scale, groups, seed, stream, threshold,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EDGE: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Take the keys from `begin` to `end` into the maximum, the sum and the weighted values of BM queries."""
    n = tl.arange(0, BN)
    for start in range(begin, end, BN):
        keys = tl.minimum(S - start, BN).to(tl.int32)
        key = clamped(n, keys, not EDGE)
        k = _rows(K + start * k_steps[0], n, keys, k_steps, E, BE, EDGE)
        mask = None if MASK is None else MASK + start * mask_steps[1]
        lead = _lead(top, start, BM, BN)
        s, unit = _scores(q, k, scale, mask, m_mask[:, None], key[None, :], lead, mask_steps, CAUSAL, EDGE, PRECISION)
        if EDGE:
            s = tl.where((n < keys)[None, :], s, -float("inf"))
        new = tl.maximum(largest, tl.max(s, 1) * unit)
        base = tl.where(new == -float("inf"), 0.0, new)
        p = tl.exp2(s * unit - base[:, None])
        shrink = tl.exp2(largest - base)
        total = total * shrink + tl.sum(p, 1)
        if DROP:
            p = tl.where(_kept(row, start, groups, seed, stream, threshold, BM, BN), p, 0.0)
        v = _rows(V + start * v_steps[0], n, keys, v_steps, EV, BV, EDGE)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision=PRECISION)
        largest = new
    return acc, largest, total


@triton.jit(do_not_specialize=["seed", "stream", "threshold"])
def _attention(
    Q, K, V, MASK, OUT, LSE, batch_shape, q_batch, k_batch, v_batch, mask_batch, out_batch,
    q_steps, k_steps, v_steps, mask_steps, out_steps, L: tl.int64, S: tl.int64, scale,
    groups, seed: tl.int64, stream: tl.int64, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EVEN_L: tl.constexpr, EVEN_S: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """out = dropout(softmax(scale q k^T + mask)) v, and the log (base 2) of each row's sum of exponentials.

    Shapes  q [batch, L, E], k [batch, S, E], v [batch, S, EV], mask [batch, L, S] and out [batch, L, EV] through any
            strides, those of `batch` 0 where an operand is shared; lse [batch, L] contiguous.
    Grid    one program per batch element and BM queries, which goes over the keys BN at a time. Those of causal order
            that have most to do come first.
    Bytes   read q, k, v and mask, write out and lse. The programs of a batch element read k and v again from the L2
            cache.
    Source  Dao 2023, algorithm 1. EVEN_L and EVEN_S say that tiles divide L and S.
    """
    tiles = tl.cdiv(L, BM)
    pid = tl.program_id(0).to(tl.int64)
    batch, top = pid // tiles, (tiles - 1 - pid % tiles) * BM
    m = tl.arange(0, BM)
    rows = tl.minimum(L - top, BM).to(tl.int32)
    m_mask = clamped(m, rows, EVEN_L)
    K += _offsets(batch, batch_shape, k_batch)
    V += _offsets(batch, batch_shape, v_batch)
    if MASK is not None:
        MASK += _offsets(batch, batch_shape, mask_batch) + top * mask_steps[0]
    q = _rows(Q + _offsets(batch, batch_shape, q_batch) + top * q_steps[0], m, rows, q_steps, E, BE, not EVEN_L)
    row = batch * L + top + m
    acc = tl.zeros((BM, BV), tl.float32)
    largest = tl.full((BM,), -float("inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    every, some = _seen(top, S, CAUSAL, BM, BN)
    acc, largest, total = _attend(
        acc, largest, total, q, K, V, MASK, 0, every, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
        scale, groups, seed, stream, threshold, E, EV, BE, BV, CAUSAL, DROP, False, PRECISION, BM, BN,
    )  # fmt: skip
    if CAUSAL or not EVEN_S:
        acc, largest, total = _attend(
            acc, largest, total, q, K, V, MASK, every, some, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
            scale, groups, seed, stream, threshold, E, EV, BE, BV, CAUSAL, DROP, True, PRECISION, BM, BN,
        )  # fmt: skip
    sees = total != 0
    total = tl.where(sees, total, 1.0)
    tl.store(LSE + row, tl.where(sees, largest + tl.log2(total), float("inf")), mask=m < rows)
    OUT += _offsets(batch, batch_shape, out_batch) + top * out_steps[0]
    _store(OUT, acc * (rescale / total)[:, None], m, rows, out_steps, EV, BV)


# ---------------------------------------------------------------------------------------------- gradient of queries


@triton.jit
def _attend_grad(
    dq, q, dy, lse, delta, K, V, MASK, begin, end, m_mask, row, top, S, k_steps, v_steps, mask_steps,
    scale, groups, seed, stream, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EDGE: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Add what the keys from `begin` to `end` contribute to dq / scale of BM queries."""
    n = tl.arange(0, BN)
    for start in range(begin, end, BN):
        keys = tl.minimum(S - start, BN).to(tl.int32)
        key = clamped(n, keys, not EDGE)
        k = _rows(K + start * k_steps[0], n, keys, k_steps, E, BE, EDGE)
        v = _rows(V + start * v_steps[0], n, keys, v_steps, EV, BV, EDGE)
        mask = None if MASK is None else MASK + start * mask_steps[1]
        lead = _lead(top, start, BM, BN)
        s, unit = _scores(q, k, scale, mask, m_mask[:, None], key[None, :], lead, mask_steps, CAUSAL, EDGE, PRECISION)
        if EDGE:
            s = tl.where((n < keys)[None, :], s, -float("inf"))
        p = tl.exp2(s * unit - lse[:, None])
        dp = tl.dot(dy, tl.trans(v), input_precision=PRECISION)
        if DROP:
            dp = tl.where(_kept(row, start, groups, seed, stream, threshold, BM, BN), dp * rescale, 0.0)
        ds = p * (dp - delta[:, None])
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    return dq


@triton.jit(do_not_specialize=["seed", "stream", "threshold"])
def _attention_query_grad(
    Q, K, V, MASK, OUT, LSE, DY, DQ, DELTA,
    batch_shape, q_batch, k_batch, v_batch, mask_batch, out_batch, dy_batch, dq_batch,
    q_steps, k_steps, v_steps, mask_steps, out_steps, dy_steps, dq_steps, L: tl.int64, S: tl.int64, scale,
    groups, seed: tl.int64, stream: tl.int64, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EVEN_L: tl.constexpr, EVEN_S: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dq = scale ds k, where ds = p (dp - delta), dp = dropout(dy v^T), delta = the sum of dy out over each row.

    Shapes  as of `_attention`; dy and dq those of out and q through any strides, delta [batch, L] contiguous.
    Grid    one program per batch element and BM queries, which goes over the keys BN at a time.
    Bytes   read q, k, v, mask, out, lse and dy, write dq and delta.
    Source  Dao 2023, algorithm 2.
    """
    tiles = tl.cdiv(L, BM)
    pid = tl.program_id(0).to(tl.int64)
    batch, top = pid // tiles, (tiles - 1 - pid % tiles) * BM
    m = tl.arange(0, BM)
    rows = tl.minimum(L - top, BM).to(tl.int32)
    m_mask = clamped(m, rows, EVEN_L)
    K += _offsets(batch, batch_shape, k_batch)
    V += _offsets(batch, batch_shape, v_batch)
    OUT += _offsets(batch, batch_shape, out_batch) + top * out_steps[0]
    DY += _offsets(batch, batch_shape, dy_batch) + top * dy_steps[0]
    if MASK is not None:
        MASK += _offsets(batch, batch_shape, mask_batch) + top * mask_steps[0]
    row = batch * L + top + m
    dy = _rows(DY, m, rows, dy_steps, EV, BV, not EVEN_L)
    out = _rows(OUT, m, rows, out_steps, EV, BV, not EVEN_L)
    delta = tl.sum(dy.to(tl.float32) * out.to(tl.float32), 1)
    tl.store(DELTA + row, delta, mask=m < rows)
    lse = tl.load(LSE + row, mask=m < rows, other=float("inf"))
    q = _rows(Q + _offsets(batch, batch_shape, q_batch) + top * q_steps[0], m, rows, q_steps, E, BE, not EVEN_L)
    dq = tl.zeros((BM, BE), tl.float32)
    every, some = _seen(top, S, CAUSAL, BM, BN)
    dq = _attend_grad(
        dq, q, dy, lse, delta, K, V, MASK, 0, every, m_mask, row, top, S, k_steps, v_steps, mask_steps,
        scale, groups, seed, stream, threshold, rescale, E, EV, BE, BV, CAUSAL, DROP, False, PRECISION, BM, BN,
    )  # fmt: skip
    if CAUSAL or not EVEN_S:
        dq = _attend_grad(
            dq, q, dy, lse, delta, K, V, MASK, every, some, m_mask, row, top, S, k_steps, v_steps, mask_steps,
            scale, groups, seed, stream, threshold, rescale, E, EV, BE, BV, CAUSAL, DROP, True, PRECISION, BM, BN,
        )  # fmt: skip
    DQ += _offsets(batch, batch_shape, dq_batch) + top * dq_steps[0]
    _store(DQ, dq * scale, m, rows, dq_steps, E, BE)


# --------------------------------------------------------------------------------------- gradients of keys and values


@triton.jit
def _attended_grad(
    dk, dv, k, v, Q, DY, LSE, DELTA, MASK, begin, end, n_mask, row, left, L, q_steps, dy_steps, mask_steps,
    scale, groups, seed, stream, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EDGE: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Add what the queries from `begin` to `end` contribute to dk / scale and dv / rescale of BN keys."""
    m = tl.arange(0, BM)
    for start in range(begin, end, BM):
        rows = tl.minimum(L - start, BM).to(tl.int32)
        query = clamped(m, rows, not EDGE)
        q = _rows(Q + start * q_steps[0], m, rows, q_steps, E, BE, EDGE)
        dy = _rows(DY + start * dy_steps[0], m, rows, dy_steps, EV, BV, EDGE)
        mask = None if MASK is None else MASK + start * mask_steps[0]
        lead = _lead(start, left, BM, BN)
        s, unit = _scores(k, q, scale, mask, query[None, :], n_mask[:, None], lead, mask_steps, CAUSAL, EDGE, PRECISION)
        if EDGE:
            lse = tl.load(LSE + row + start + m, mask=m < rows, other=float("inf"))
            delta = tl.load(DELTA + row + start + m, mask=m < rows, other=0.0)
        else:
            lse = tl.load(LSE + row + start + m)
            delta = tl.load(DELTA + row + start + m)
        p = tl.exp2(s * unit - lse[None, :])
        dp = tl.dot(v, tl.trans(dy), input_precision=PRECISION)
        left_over = p
        if DROP:
            kept = tl.trans(_kept(row + start + m, left, groups, seed, stream, threshold, BM, BN))
            left_over = tl.where(kept, p, 0.0)
            dp = tl.where(kept, dp * rescale, 0.0)
        dv = tl.dot(left_over.to(dy.dtype), dy, dv, input_precision=PRECISION)
        ds = p * (dp - delta[None, :])
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)
    return dk, dv


@triton.jit(do_not_specialize=["seed", "stream", "threshold"])
def _attention_key_grad(
    Q, K, V, MASK, LSE, DELTA, DY, DK, DV,
    batch_shape, q_batch, k_batch, v_batch, mask_batch, dy_batch, dk_batch, dv_batch,
    q_steps, k_steps, v_steps, mask_steps, dy_steps, dk_steps, dv_steps, sharing, q_share, mask_share, dy_share,
    L: tl.int64, S: tl.int64, scale, groups, seed: tl.int64, stream: tl.int64, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EVEN_L: tl.constexpr, EVEN_S: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dk = scale ds^T q and dv = dropout(p)^T dy, summed over the `sharing` queries' heads that share keys and values.

    Shapes  k [batch, S, E] and v [batch, S, EV] as dk and dv; q [batch, sharing, L, E], dy [batch, sharing, L, EV] and
            mask [batch, sharing, L, S], all through any strides; lse and delta [batch, sharing, L] contiguous.
    Grid    one program per batch element and BN keys, which goes over the queries of each head BM at a time: tiles that
            causal order cuts, whole tiles, and what is left.
    Bytes   read q, k, v, mask, lse, delta and dy, write dk and dv.
    Source  Dao 2023, algorithm 2.
    """
    tiles = tl.cdiv(S, BN)
    pid = tl.program_id(0).to(tl.int64)
    batch, left = pid // tiles, (pid % tiles) * BN
    n = tl.arange(0, BN)
    keys = tl.minimum(S - left, BN).to(tl.int32)
    n_mask = clamped(n, keys, EVEN_S)
    Q += _offsets(batch, batch_shape, q_batch)
    DY += _offsets(batch, batch_shape, dy_batch)
    if MASK is not None:
        MASK += _offsets(batch, batch_shape, mask_batch) + left * mask_steps[1]
    k = _rows(K + _offsets(batch, batch_shape, k_batch) + left * k_steps[0], n, keys, k_steps, E, BE, not EVEN_S)
    v = _rows(V + _offsets(batch, batch_shape, v_batch) + left * v_steps[0], n, keys, v_steps, EV, BV, not EVEN_S)
    dk = tl.zeros((BN, BE), tl.float32)
    dv = tl.zeros((BN, BV), tl.float32)
    whole = left * 0
    if CAUSAL:
        whole = tl.minimum(tl.cdiv(left + BN - 1, BM), tl.cdiv(L, BM)) * BM
    for share in range(sharing):
        row = (batch * sharing + share) * L
        if CAUSAL:
            dk, dv = _attended_grad(
                dk, dv, k, v, Q, DY, LSE, DELTA, MASK, left // BM * BM, whole, n_mask, row, left, L,
                q_steps, dy_steps, mask_steps, scale, groups, seed, stream, threshold, rescale,
                E, EV, BE, BV, CAUSAL, DROP, True, PRECISION, BM, BN,
            )  # fmt: skip
        dk, dv = _attended_grad(
            dk, dv, k, v, Q, DY, LSE, DELTA, MASK, whole, L // BM * BM, n_mask, row, left, L,
            q_steps, dy_steps, mask_steps, scale, groups, seed, stream, threshold, rescale,
            E, EV, BE, BV, CAUSAL, DROP, False, PRECISION, BM, BN,
        )  # fmt: skip
        if not EVEN_L:
            dk, dv = _attended_grad(
                dk, dv, k, v, Q, DY, LSE, DELTA, MASK, tl.maximum(whole, L // BM * BM), L, n_mask, row, left, L,
                q_steps, dy_steps, mask_steps, scale, groups, seed, stream, threshold, rescale,
                E, EV, BE, BV, CAUSAL, DROP, True, PRECISION, BM, BN,
            )  # fmt: skip
        Q += q_share
        DY += dy_share
        if MASK is not None:
            MASK += mask_share
    DK += _offsets(batch, batch_shape, dk_batch) + left * dk_steps[0]
    DV += _offsets(batch, batch_shape, dv_batch) + left * dv_steps[0]
    _store(DK, dk * scale, n, keys, dk_steps, E, BE)
    _store(DV, dv * rescale, n, keys, dv_steps, EV, BV)


# --------------------------------------------------------------------------------------------------------- launchers


def attention(problem: Problem) -> tuple[Array, Array]:
    """The result [..., L, EV], whose memory runs through the axes as that of q does, and [..., L] for the gradients."""
    p, (k, v) = problem, problem.keys_seen()
    out = lie_like(p.q, (*p.leading, p.q.shape[-2], v.shape[-1]))
    lse = empty((*p.batch, p.q.shape[-2]), dtypes.float32, out.device)
    config = tiles_for("attention", p, k.shape[-2])
    launch(
        _attention,
        math.prod(p.batch) * cdiv(p.q.shape[-2], config["BM"]),
        p.q, k, v, p.mask, out, lse,
        *geometry(p.batch, p.q, k, v, p.mask, out),
        *settings(p, k.shape[-2], config),
        flops=2 * p.pairs * (p.q.shape[-1] + v.shape[-1]),
        bytes=footprint(p.q, k, v, p.mask, out, lse),
        **config,
    )  # fmt: skip
    return out, lse


def attention_query_grad(problem: Problem, out: Array, lse: Array, dy: Array) -> tuple[Array, Array]:
    """The gradient [..., L, E] of q, and [..., L] for that of keys and values."""
    p, (k, v) = problem, problem.keys_seen()
    dq = lie_like(p.q, (*p.leading, *p.q.shape[-2:]))
    delta = empty(lse.shape, lse.dtype, lse.device)
    config = tiles_for("attention_query_grad", p, k.shape[-2])
    launch(
        _attention_query_grad,
        math.prod(p.batch) * cdiv(p.q.shape[-2], config["BM"]),
        p.q, k, v, p.mask, out, lse, dy, dq, delta,
        *geometry(p.batch, p.q, k, v, p.mask, out, dy, dq),
        *settings(p, k.shape[-2], config),
        flops=2 * p.pairs * (2 * p.q.shape[-1] + v.shape[-1]),
        bytes=footprint(p.q, k, v, p.mask, out, lse, dy, dq, delta),
        **config,
    )  # fmt: skip
    return dq, delta


def attention_key_grad(problem: Problem, lse: Array, delta: Array, dy: Array) -> tuple[Array, Array]:
    """The gradients [..., S, E] of k and [..., S, EV] of v, the last leading axis 1 where all of it shares them."""
    p, (k, v) = problem, (problem.k, problem.v)
    sharing = p.batch[-1] if p.shares else 1
    leading = (*p.leading[:-1], 1) if p.shares else p.leading
    dk, dv = (lie_like(a, (*leading, *a.shape[-2:])) for a in (k, v))
    config = tiles_for("attention_key_grad", p, k.shape[-2])
    first = [a if a is None else of_first_head(p, a) for a in (p.q, p.mask, dy)]
    launch(
        _attention_key_grad,
        math.prod(p.batch) // sharing * cdiv(k.shape[-2], config["BN"]),
        p.q, k, v, p.mask, lse, delta, dy, dk, dv,
        *geometry(leading or (1,), first[0], k, v, *first[1:], dk, dv),
        sharing,
        *(0 if a is None else a.strides[-3] for a in first),
        *settings(p, k.shape[-2], config),
        flops=4 * p.pairs * (p.q.shape[-1] + v.shape[-1]),
        bytes=footprint(p.q, k, v, p.mask, lse, delta, dy, dk, dv),
        **config,
    )  # fmt: skip
    return dk, dv
