"""The gradients of attention, without its scores: see `attention`.

The gradient of queries and those of keys and values are had by two kernels, in each of which a program owns what it
writes: no atomics, the same bits on every run. Source: Dao, "FlashAttention-2", 2023, algorithm 2.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.attention_problem import Problem, geometry, lie_like, of_first_head, settings, tiles_for
from tritongrad_kernels.attention_tiles import (
    _corner,
    _kept,
    _lead,
    _offset,
    _reach,
    _rows,
    _scores,
    _seen_keys,
    _store,
)
from tritongrad_kernels.elementwise import _offsets
from tritongrad_kernels.launch import cdiv, launch
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.random import _key

# ---------------------------------------------------------------------------------------------- gradient of queries


@triton.jit
def _attend_grad(
    dq, q, dy, lse, delta, K, V, MASK, begin, end, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
    scale, groups, seed, stream, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, DROP: tl.constexpr, CUT: tl.constexpr,
    EDGE: tl.constexpr, DIVISOR: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Add what the keys from `begin` to `end` contribute to dq / scale of BM queries."""
    n = tl.arange(0, BN)
    for start in range(begin, end, BN):
        keys = tl.minimum(S - start, BN).to(tl.int32)
        key = clamped(n, keys, not EDGE)
        k = _rows(K, start, n, keys, k_steps, E, BE, EDGE, DIVISOR, TMA)
        v = _rows(V, start, n, keys, v_steps, EV, BV, EDGE, DIVISOR, TMA)
        mask = None if MASK is None else MASK + start * mask_steps[1]
        seen = _seen_keys(m, n, _lead(top, start, BM, BN), keys, CUT, EDGE)
        s, unit = _scores(q, k, scale, mask, m_mask[:, None], key[None, :], mask_steps, seen, PRECISION)
        p = tl.exp2(s * unit - lse[:, None])
        dp = tl.dot(dy, tl.trans(v), input_precision=PRECISION)
        if DROP:
            dp = tl.where(_kept(row, start, groups, seed, stream, threshold, BM, BN), dp * rescale, 0.0)
        ds = p * (dp - delta[:, None])
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    return dq


@triton.jit(do_not_specialize=["seed", "stream", "threshold"])
def _attention_query_grad(
    Q, K, V, OUT, DY, MASK, LSE, DQ, DELTA,
    batch_shape, q_batch, k_batch, v_batch, out_batch, dy_batch, dq_batch, mask_batch,
    q_steps, k_steps, v_steps, out_steps, dy_steps, dq_steps, mask_steps, L: tl.int64, S: tl.int64, scale,
    groups, STATE, seed: tl.int64, stream: tl.int64, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EVEN_L: tl.constexpr, EVEN_S: tl.constexpr, DIVISOR: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dq = scale ds k, where ds = p (dp - delta), dp = dropout(dy v^T), delta = the sum of dy out over each row.

    Shapes  as of `_attention`; dy and dq those of out and q through any strides, delta [batch, L] contiguous.
    Grid    one program per batch element and BM queries, which goes over the keys BN at a time.
    Bytes   read q, k, v, mask, out, lse and dy, write dq and delta.
    Source  Dao 2023, algorithm 2.
    """
    seed, stream = _key(STATE, seed, stream)
    tiles = tl.cdiv(L, BM)
    pid = tl.program_id(0).to(tl.int64)
    batch, top = pid // tiles, (tiles - 1 - pid % tiles) * BM
    m = tl.arange(0, BM)
    rows = tl.minimum(L - top, BM).to(tl.int32)
    m_mask = clamped(m, rows, EVEN_L)
    if TMA:
        q_steps = _corner(batch, batch_shape, q_batch)
        k_steps = _corner(batch, batch_shape, k_batch)
        v_steps = _corner(batch, batch_shape, v_batch)
        out_steps = _corner(batch, batch_shape, out_batch)
        dy_steps = _corner(batch, batch_shape, dy_batch)
    else:
        Q += _offset(batch, batch_shape, q_batch, DIVISOR)
        K += _offset(batch, batch_shape, k_batch, DIVISOR)
        V += _offset(batch, batch_shape, v_batch, DIVISOR)
        OUT += _offset(batch, batch_shape, out_batch, DIVISOR)
        DY += _offset(batch, batch_shape, dy_batch, DIVISOR)
    if MASK is not None:
        MASK += _offsets(batch, batch_shape, mask_batch) + top * mask_steps[0]
    row = batch * L + top + m
    dy = _rows(DY, top, m, rows, dy_steps, EV, BV, not EVEN_L, DIVISOR, TMA)
    out = _rows(OUT, top, m, rows, out_steps, EV, BV, not EVEN_L, DIVISOR, TMA)
    delta = tl.sum(dy.to(tl.float32) * out.to(tl.float32), 1)
    tl.store(DELTA + row, delta, mask=m < rows)
    lse = tl.load(LSE + row, mask=m < rows, other=float("inf"))
    q = _rows(Q, top, m, rows, q_steps, E, BE, not EVEN_L, DIVISOR, TMA)
    dq = tl.zeros((BM, BE), tl.float32)
    every, some = _reach(top, S, CAUSAL, BM, BN)
    dq = _attend_grad(
        dq, q, dy, lse, delta, K, V, MASK, 0, every, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
        scale, groups, seed, stream, threshold, rescale,
        E, EV, BE, BV, DROP, False, False, DIVISOR, TMA, PRECISION, BM, BN,
    )  # fmt: skip
    if CAUSAL or not EVEN_S:
        dq = _attend_grad(
            dq, q, dy, lse, delta, K, V, MASK, every, some, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
            scale, groups, seed, stream, threshold, rescale,
            E, EV, BE, BV, DROP, CAUSAL, not EVEN_S, DIVISOR, TMA, PRECISION, BM, BN,
        )  # fmt: skip
    DQ += _offset(batch, batch_shape, dq_batch, DIVISOR)
    _store(DQ, dq * scale, top, m, rows, dq_steps, E, BE, DIVISOR)


# --------------------------------------------------------------------------------------- gradients of keys and values


@triton.jit
def _attended_grad(
    dk, dv, k, v, Q, DY, LSE, DELTA, MASK, begin, end, n, n_mask, row, share, left, L, q_steps, dy_steps, mask_steps,
    scale, groups, seed, stream, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, DROP: tl.constexpr, CUT: tl.constexpr,
    EDGE: tl.constexpr, DIVISOR: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Add what the queries from `begin` to `end` contribute to dk / scale and dv / rescale of BN keys."""
    m = tl.arange(0, BM)
    for start in range(begin, end, BM):
        rows = tl.minimum(L - start, BM).to(tl.int32)
        query = clamped(m, rows, not EDGE)
        q = _rows(Q, start, m, rows, q_steps, E, BE, EDGE, DIVISOR, TMA, share)
        dy = _rows(DY, start, m, rows, dy_steps, EV, BV, EDGE, DIVISOR, TMA, share)
        mask = None if MASK is None else MASK + start * mask_steps[0]
        s, unit = _scores(k, q, scale, mask, query[None, :], n_mask[:, None], mask_steps, None, PRECISION)
        if EDGE:
            lse = tl.load(LSE + row + start + m, mask=m < rows, other=float("inf"))
            delta = tl.load(DELTA + row + start + m, mask=m < rows, other=0.0)
        else:
            lse = tl.load(LSE + row + start + m)
            delta = tl.load(DELTA + row + start + m)
        p = tl.exp2(s * unit - lse[None, :])
        if CUT:
            p = tl.where(m[None, :] >= (n - _lead(start, left, BM, BN))[:, None], p, 0.0)
        kept = None
        left_over = p
        if DROP:
            kept = tl.trans(_kept(row + start + m, left, groups, seed, stream, threshold, BM, BN))
            left_over = tl.where(kept, p, 0.0)
        dv = tl.dot(left_over.to(dy.dtype), dy, dv, input_precision=PRECISION)
        dp = tl.dot(v, tl.trans(dy), input_precision=PRECISION)
        if DROP:
            dp = tl.where(kept, dp * rescale, 0.0)
        ds = p * (dp - delta[None, :])
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)
    return dk, dv


@triton.jit(do_not_specialize=["seed", "stream", "threshold"])
def _attention_key_grad(
    Q, K, V, DY, MASK, LSE, DELTA, DK, DV,
    batch_shape, q_batch, k_batch, v_batch, dy_batch, dk_batch, dv_batch, mask_batch,
    q_steps, k_steps, v_steps, dy_steps, dk_steps, dv_steps, mask_steps, sharing, q_share, dy_share, mask_share,
    L: tl.int64, S: tl.int64, scale, groups, STATE, seed: tl.int64, stream: tl.int64, threshold,
    rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EVEN_L: tl.constexpr, EVEN_S: tl.constexpr, DIVISOR: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dk = scale ds^T q and dv = dropout(p)^T dy, summed over the `sharing` queries' heads that share keys and values.

    Shapes  k [batch, S, E] and v [batch, S, EV] as dk and dv; q [batch, sharing, L, E], dy [batch, sharing, L, EV] and
            mask [batch, sharing, L, S], all through any strides; lse and delta [batch, sharing, L] contiguous.
    Grid    one program per batch element and BN keys, which goes over the queries of each head BM at a time: tiles that
            causal order cuts, whole tiles, and what is left.
    Bytes   read q, k, v, mask, lse, delta and dy, write dk and dv.
    Source  Dao 2023, algorithm 2.
    """
    seed, stream = _key(STATE, seed, stream)
    tiles = tl.cdiv(S, BN)
    pid = tl.program_id(0).to(tl.int64)
    batch, left = pid // tiles, (pid % tiles) * BN
    n = tl.arange(0, BN)
    keys = tl.minimum(S - left, BN).to(tl.int32)
    n_mask = clamped(n, keys, EVEN_S)
    if TMA:
        k_steps = _corner(batch, batch_shape, k_batch)
        v_steps = _corner(batch, batch_shape, v_batch)
        q_steps = _corner(batch, batch_shape, q_batch)
        dy_steps = _corner(batch, batch_shape, dy_batch)
    else:
        Q += _offset(batch, batch_shape, q_batch, DIVISOR)
        K += _offset(batch, batch_shape, k_batch, DIVISOR)
        V += _offset(batch, batch_shape, v_batch, DIVISOR)
        DY += _offset(batch, batch_shape, dy_batch, DIVISOR)
    if MASK is not None:
        MASK += _offsets(batch, batch_shape, mask_batch) + left * mask_steps[1]
    k = _rows(K, left, n, keys, k_steps, E, BE, not EVEN_S, DIVISOR, TMA)
    v = _rows(V, left, n, keys, v_steps, EV, BV, not EVEN_S, DIVISOR, TMA)
    dk = tl.zeros((BN, BE), tl.float32)
    dv = tl.zeros((BN, BV), tl.float32)
    whole = left * 0
    if CAUSAL:
        whole = tl.minimum(tl.cdiv(left + BN - 1, BM), tl.cdiv(L, BM)) * BM
    for share in range(sharing):
        row = (batch * sharing + share) * L
        if CAUSAL:
            dk, dv = _attended_grad(
                dk, dv, k, v, Q, DY, LSE, DELTA, MASK, left // BM * BM, whole, n, n_mask, row, share, left, L,
                q_steps, dy_steps, mask_steps, scale, groups, seed, stream, threshold, rescale,
                E, EV, BE, BV, DROP, CAUSAL, not EVEN_L, DIVISOR, TMA, PRECISION, BM, BN,
            )  # fmt: skip
        dk, dv = _attended_grad(
            dk, dv, k, v, Q, DY, LSE, DELTA, MASK, whole, L // BM * BM, n, n_mask, row, share, left, L,
            q_steps, dy_steps, mask_steps, scale, groups, seed, stream, threshold, rescale,
            E, EV, BE, BV, DROP, False, False, DIVISOR, TMA, PRECISION, BM, BN,
        )  # fmt: skip
        if not EVEN_L:
            dk, dv = _attended_grad(
                dk, dv, k, v, Q, DY, LSE, DELTA, MASK, tl.maximum(whole, L // BM * BM), L, n, n_mask, row, share,
                left, L, q_steps, dy_steps, mask_steps, scale, groups, seed, stream, threshold, rescale,
                E, EV, BE, BV, DROP, False, True, DIVISOR, TMA, PRECISION, BM, BN,
            )  # fmt: skip
        if not TMA:
            Q += q_share // DIVISOR * DIVISOR
            DY += dy_share // DIVISOR * DIVISOR
        if MASK is not None:
            MASK += mask_share
    DK += _offset(batch, batch_shape, dk_batch, DIVISOR)
    DV += _offset(batch, batch_shape, dv_batch, DIVISOR)
    _store(DK, dk * scale, left, n, keys, dk_steps, E, BE, DIVISOR)
    _store(DV, dv * rescale, left, n, keys, dv_steps, EV, BV, DIVISOR)


# -------------------------------------------------------------------------------------------------------- launchers


def attention_query_grad(problem: Problem, out: Array, lse: Array, dy: Array) -> tuple[Array, Array]:
    """The gradient [..., L, E] of q, and [..., L] for that of keys and values."""
    p, (k, v) = problem, problem.keys_seen()
    dq = lie_like(p.q, (*p.leading, *p.q.shape[-2:]))
    delta = empty(lse.shape, lse.dtype, lse.device)
    config = tiles_for("attention_query_grad", p, k.shape[-2])
    rows, keys = config["BM"], config["BN"]
    where = geometry(p, p.batch, [(p.q, rows), (k, keys), (v, keys), (out, rows), (dy, rows)], [dq])
    launch(
        _attention_query_grad,
        math.prod(p.batch) * cdiv(p.q.shape[-2], config["BM"]),
        *where.given, p.mask, lse, dq, delta,
        *where.places,
        *settings(p, k.shape[-2], config, where),
        flops=2 * p.pairs * (2 * p.q.shape[-1] + v.shape[-1]),
        bytes=footprint(p.q, k, v, p.mask, p.seed, out, lse, dy, dq, delta),
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
    rows, keys = config["BM"], config["BN"]
    read = [(p.q, rows), (k, keys), (v, keys), (dy, rows)]
    where = geometry(p, leading or (1,), read, [dk, dv], (p.q, dy), sharing)
    launch(
        _attention_key_grad,
        math.prod(p.batch) // sharing * cdiv(k.shape[-2], config["BN"]),
        *where.given, p.mask, lse, delta, dk, dv,
        *where.places,
        sharing,
        *(0 if a is None else of_first_head(p, a).strides[-3] for a in (p.q, dy, p.mask)),
        *settings(p, k.shape[-2], config, where),
        flops=4 * p.pairs * (p.q.shape[-1] + v.shape[-1]),
        bytes=footprint(p.q, k, v, p.mask, p.seed, lse, delta, dy, dk, dv),
        **config,
    )  # fmt: skip
    return dk, dv
