"""Attention: softmax(scale q k^T + mask) v, no score of which is ever stored. Its gradients: `attention_grad`.

Source: Dao, "FlashAttention-2: Faster attention with better parallelism and work partitioning", 2023. The forward pass
goes over the keys once, with a running maximum and sum (online softmax), and keeps one number a row: the logarithm of
that sum, from which the backward passes form the probabilities again. Where few queries have many keys, programs take a
part of the keys each, and another kernel puts the parts together in their order.

Scores are in units of log 2 (exp2 is what GPUs have), sums are float32. A row that may attend to nothing gives 0, and
so are its gradients.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.attention_problem import (
    Problem,
    geometry,
    heads_swapped,
    keys_of_part,
    lie_like,
    settings,
    tiles_for,
)
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
from tritongrad_kernels.launch import cdiv, launch, next_power_of_2, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.random import _key


@triton.jit
def _attend(
    acc, largest, total, q, K, V, MASK, begin, end, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
    scale, groups, seed, stream, threshold,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, DROP: tl.constexpr, CUT: tl.constexpr,
    EDGE: tl.constexpr, DIVISOR: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Take the keys from `begin` to `end` into the maximum, the sum and the weighted values of BM queries."""
    n = tl.arange(0, BN)
    for start in range(begin, end, BN):
        keys = tl.minimum(S - start, BN).to(tl.int32)
        key = clamped(n, keys, not EDGE)
        k = _rows(K, start, n, keys, k_steps, E, BE, EDGE, DIVISOR, TMA)
        mask = None if MASK is None else MASK + start * mask_steps[1]
        seen = _seen_keys(m, n, _lead(top, start, BM, BN), keys, CUT, EDGE)
        s, unit = _scores(q, k, scale, mask, m_mask[:, None], key[None, :], mask_steps, seen, PRECISION)
        new = tl.maximum(largest, tl.max(s, 1) * unit)
        base = tl.where(new == -float("inf"), 0.0, new)
        p = tl.exp2(s * unit - base[:, None])
        shrink = tl.exp2(largest - base)
        total = total * shrink + tl.sum(p, 1)
        if DROP:
            p = tl.where(_kept(row, start, groups, seed, stream, threshold, BM, BN), p, 0.0)
        v = _rows(V, start, n, keys, v_steps, EV, BV, EDGE, DIVISOR, TMA)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision=PRECISION)
        largest = new
    return acc, largest, total


@triton.jit(do_not_specialize=["seed", "stream", "threshold"])
def _attention(
    Q, K, V, MASK, OUT, LSE, batch_shape, q_batch, k_batch, v_batch, out_batch, mask_batch,
    q_steps, k_steps, v_steps, out_steps, mask_steps, batches, span: tl.int64, L: tl.int64, S: tl.int64, scale,
    groups, STATE, seed: tl.int64, stream: tl.int64, threshold, rescale,
    E: tl.constexpr, EV: tl.constexpr, BE: tl.constexpr, BV: tl.constexpr, CAUSAL: tl.constexpr, DROP: tl.constexpr,
    EVEN_L: tl.constexpr, EVEN_S: tl.constexpr, DIVISOR: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
    PARTS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """out = dropout(softmax(scale q k^T + mask)) v, and the log (base 2) of each row's sum of exponentials.

    Shapes  q [batch, L, E], k [batch, S, E], v [batch, S, EV], mask [batch, L, S] and out [batch, L, EV] through any
            strides, those of `batch` 0 where an operand is shared; lse [batch, L] contiguous. With TMA q, k and v are
            descriptors of [B0, B1, rows, E] with batch_shape (B0, B1), or 1 where shared, which q_batch etc. tell by 0.
            With PARTS, program z of a row of tiles sees only `span` keys, and out and lse, contiguous, have another
            axis in front: what attention to those keys alone would give.
    Grid    one program per batch element and BM queries, which goes over the keys BN at a time. Those of causal order
            that have most to do come first.
    Bytes   read q, k, v and mask, write out and lse. The programs of a batch element read k and v again from the L2
            cache. DIVISOR divides all strides but those along rows, and E and EV.
    Source  Dao 2023, algorithm 1. EVEN_L and EVEN_S say that tiles divide L and S.
    """
    seed, stream = _key(STATE, seed, stream)
    tiles = tl.cdiv(L, BM)
    pid = tl.program_id(0).to(tl.int64)
    begin, limit = pid * 0, S
    if PARTS:
        z = pid // (tiles * batches)
        pid = pid % (tiles * batches)
        begin, limit = z * span, tl.minimum(z * span + span, S)
        OUT += z * batches * L * EV
        LSE += z * batches * L
    batch, top = pid // tiles, (tiles - 1 - pid % tiles) * BM
    m = tl.arange(0, BM)
    rows = tl.minimum(L - top, BM).to(tl.int32)
    m_mask = clamped(m, rows, EVEN_L)
    if TMA:
        q_steps = _corner(batch, batch_shape, q_batch)
        k_steps = _corner(batch, batch_shape, k_batch)
        v_steps = _corner(batch, batch_shape, v_batch)
    else:
        Q += _offset(batch, batch_shape, q_batch, DIVISOR)
        K += _offset(batch, batch_shape, k_batch, DIVISOR)
        V += _offset(batch, batch_shape, v_batch, DIVISOR)
    if MASK is not None:
        MASK += _offsets(batch, batch_shape, mask_batch) + top * mask_steps[0]
    q = _rows(Q, top, m, rows, q_steps, E, BE, not EVEN_L, DIVISOR, TMA)
    row = batch * L + top + m
    acc = tl.zeros((BM, BV), tl.float32)
    largest = tl.full((BM,), -float("inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    every, some = _reach(top, limit, CAUSAL, BM, BN)
    acc, largest, total = _attend(
        acc, largest, total, q, K, V, MASK, begin, every, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
        scale, groups, seed, stream, threshold, E, EV, BE, BV, DROP, False, False, DIVISOR, TMA, PRECISION, BM, BN,
    )  # fmt: skip
    if CAUSAL or not EVEN_S:
        acc, largest, total = _attend(
            acc, largest, total, q, K, V, MASK, every, some, m, m_mask, row, top, S, k_steps, v_steps, mask_steps,
            scale, groups, seed, stream, threshold,
            E, EV, BE, BV, DROP, CAUSAL, not EVEN_S, DIVISOR, TMA, PRECISION, BM, BN,
        )  # fmt: skip
    sees = total != 0
    total = tl.where(sees, total, 1.0)
    tl.store(LSE + row, tl.where(sees, largest + tl.log2(total), float("inf")), mask=m < rows)
    OUT += _offset(batch, batch_shape, out_batch, DIVISOR)
    _store(OUT, acc * (rescale / total)[:, None], top, m, rows, out_steps, EV, BV, DIVISOR)


@triton.jit
def _attention_parts(
    PARTS, PARTS_LSE, OUT, LSE, batch_shape, out_batch, out_steps, parts, batches, L: tl.int64,
    EV: tl.constexpr, BV: tl.constexpr, DIVISOR: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """out = sum over z of 2^(lse_z - lse) out_z, and lse = log2 of the sum of 2^lse_z: what all keys together give.

    Shapes  out_z [parts, batch, L, EV] and lse_z [parts, batch, L], contiguous; out and lse as of `_attention`.
    Grid    one program per BM rows of any batch elements, which goes over the parts in their order.
    Bytes   read out_z and lse_z, write out and lse.
    Source  Dao, Haziza, Massa and Sizov, "Flash-Decoding for long-context inference", 2023.
    """
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    inside = row < batches * L
    row = tl.where(inside, row, 0)
    e = tl.arange(0, BV)
    here = inside[:, None] & (e < EV)[None, :]
    acc = tl.zeros((BM, BV), tl.float32)
    largest = tl.full((BM,), -float("inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    for z in range(parts):
        part = row + z * (batches * L)
        lse = tl.load(PARTS_LSE + part, mask=inside, other=float("inf"))
        lse = tl.where(lse == float("inf"), -float("inf"), lse)  # sees nothing
        new = tl.maximum(largest, lse)
        base = tl.where(new == -float("inf"), 0.0, new)
        shrink, weight = tl.exp2(largest - base), tl.exp2(lse - base)
        out = tl.load(PARTS + part[:, None] * EV + e[None, :], mask=here, other=0.0)
        acc = acc * shrink[:, None] + out * weight[:, None]
        total = total * shrink + weight
        largest = new
    sees = total != 0
    total = tl.where(sees, total, 1.0)
    tl.store(LSE + row, tl.where(sees, largest + tl.log2(total), float("inf")), mask=inside)
    place = _offsets(row // L, batch_shape, out_batch) // DIVISOR * DIVISOR
    place += row % L * (out_steps[0] // DIVISOR * DIVISOR)
    place = OUT + place[:, None] + e.to(tl.int64)[None, :] * out_steps[1]
    tl.store(place, (acc / total[:, None]).to(OUT.dtype.element_ty), mask=here)


def attention(problem: Problem) -> tuple[Array, Array]:
    """The result [..., L, EV], whose memory runs through the axes as that of q does, and [..., L] for the gradients."""
    if problem.shares and problem.q.shape[-2] == 1 and not problem.causal:
        out, lse = attention(problem.heads_as_queries())
        return heads_swapped(out), lse.T
    p, keys = problem, problem.keys_seen()[0].shape[-2]
    out = lie_like(p.q, (*p.leading, p.q.shape[-2], p.v.shape[-1]))
    lse = empty((*p.batch, p.q.shape[-2]), dtypes.float32, out.device)
    config = tiles_for("attention", p, keys)
    span = keys_of_part(p, keys, config)
    parts = cdiv(keys, span)
    if parts <= 1:
        _attend_to_keys(p, out, lse, 1, span, config)
        return out, lse
    part = empty((parts, *p.batch, *out.shape[-2:]), dtypes.float32, out.device)
    part_lse = empty((parts, *lse.shape), dtypes.float32, out.device)
    _attend_to_keys(p, part, part_lse, parts, span, config)
    _put_together(p, part, part_lse, out, lse)
    return out, lse


def _attend_to_keys(p: Problem, out: Array, lse: Array, parts: int, span: int, config: dict[str, int]) -> None:
    """Fill out and lse; in several parts, each from `span` keys, those have an axis of parts in front."""
    k, v = p.keys_seen()
    first = out.select(0, 0) if parts > 1 else out
    where = geometry(p, p.batch, [(p.q, config["BM"]), (k, config["BN"]), (v, config["BN"])], [first])
    batches = math.prod(p.batch)
    launch(
        _attention,
        parts * batches * cdiv(p.q.shape[-2], config["BM"]),
        *where.given, p.mask, out, lse,
        *where.places,
        batches,
        span,
        *settings(p, k.shape[-2], config, where),
        parts > 1,
        flops=2 * p.pairs * (p.q.shape[-1] + v.shape[-1]),
        bytes=footprint(p.q, k, v, p.mask, p.seed, out, lse),
        **config,
    )  # fmt: skip


def _put_together(p: Problem, part: Array, part_lse: Array, out: Array, lse: Array) -> None:
    batches, (rows, width) = math.prod(p.batch), out.shape[-2:]
    config = tile("attention_parts", BM=batches * rows)
    where = geometry(p, p.batch, [], [out])
    launch(
        _attention_parts,
        cdiv(batches * rows, config["BM"]),
        part, part_lse, out, lse,
        *where.places[:2],
        where.places[3],
        part.shape[0],
        batches,
        rows,
        width,
        max(16, next_power_of_2(width)),
        where.divisor,
        flops=2 * part.size,
        bytes=footprint(part, part_lse, out, lse),
        **config,
    )  # fmt: skip
