"""Products of many matrices so small that a program takes several: the heads of attention over a few tokens."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import Array, contiguous_strides, empty, footprint
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import TRITON_TYPE, _offsets
from tritongrad_kernels.launch import cdiv, launch, next_power_of_2, tile


@triton.jit
def _small_matmul(
    A, B, OUT, batch_shape, a_batch, b_batch, M, N, K, am, ak, bk, bn, batches,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BB: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr,
):  # fmt: skip
    """out[b, m, n] = sum over k of a[b, m, k] b[b, k, n], for M, N and K no larger than a tile.

    Shapes  a [..., M, K] and b [..., K, N] through any strides, out [batch, M, N] contiguous.
    Grid    one program per BB batch elements.
    Bytes   read a and b, write out.
    """
    batch = tl.program_id(0).to(tl.int64) * BB + tl.arange(0, BB)
    inside = (batch < batches)[:, None, None]
    batch = tl.where(batch < batches, batch, 0)
    m, n, k = tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    a_place = A + _offsets(batch, batch_shape, a_batch)[:, None, None]
    a_place += (m.to(tl.int64)[:, None] * am + k.to(tl.int64)[None, :] * ak)[None, :, :]
    b_place = B + _offsets(batch, batch_shape, b_batch)[:, None, None]
    b_place += (k.to(tl.int64)[:, None] * bk + n.to(tl.int64)[None, :] * bn)[None, :, :]
    a = tl.load(a_place, mask=inside & ((m < M)[:, None] & (k < K)[None, :])[None, :, :], other=0.0)
    b = tl.load(b_place, mask=inside & ((k < K)[:, None] & (n < N)[None, :])[None, :, :], other=0.0)
    acc = tl.dot(a, b, input_precision=PRECISION, out_dtype=ACC)
    place = OUT + (batch * M * N)[:, None, None] + (m[:, None] * N + n[None, :])[None, :, :]
    tl.store(place, acc.to(OUT.dtype.element_ty), mask=inside & ((m < M)[:, None] & (n < N)[None, :])[None, :, :])


def fits(batches: int, m: int, n: int, k: int, itemsize: int) -> bool:
    """Whether products belong here rather than each to a program of its own, or to several."""
    return batches > 1 and max(m, n, k) <= tile("small_matmul", itemsize=itemsize)["LONGEST"]


def small_matmul(a: Array, b: Array, dtype: dtype, precision: str) -> Array:
    """a [..., M, K] times b [..., K, N], of the same batch axes: contiguous [..., M, N] of `dtype`."""
    batch_shape, (m, k), n = a.shape[:-2], a.shape[-2:], b.shape[-1]
    batches = math.prod(batch_shape)
    out = empty((*batch_shape, m, n), dtype, a.device)
    config = tile("small_matmul", itemsize=a.dtype.itemsize)
    del config["LONGEST"]
    bm, bn, bk = (max(16, next_power_of_2(extent)) for extent in (m, n, k))
    several = max(1, config.pop("ELEMENTS") // (bm * bk + bk * bn + bm * bn))
    block = min(next_power_of_2(several + 1) // 2, next_power_of_2(batches))
    order = contiguous_strides(batch_shape)
    merged, (_, a_batch, b_batch) = elementwise.merge_axes(batch_shape, order, a.strides[:-2], b.strides[:-2])
    launch(
        _small_matmul,
        cdiv(batches, block),
        a,
        b,
        out,
        merged,
        a_batch,
        b_batch,
        m,
        n,
        k,
        *a.strides[-2:],
        *b.strides[-2:],
        batches,
        precision,
        TRITON_TYPE[dtypes.accumulator(a.dtype)],
        flops=2 * batches * m * n * k,
        bytes=footprint(a, b, out),
        BB=block,
        BM=bm,
        BN=bn,
        BK=bk,
        **config,
    )
    return out
