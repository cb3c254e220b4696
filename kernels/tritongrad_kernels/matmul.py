"""Matrix products: batched, any transposes through strides, fused bias."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise, formulas, reduce, small_matmul
from tritongrad_kernels.array import Array, contiguous_strides, empty, footprint
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import TRITON_TYPE, _offsets, broadcast_shapes
from tritongrad_kernels.launch import cdiv, launch, tile

# How float32 products are formed: "ieee" exactly as float32 arithmetic does, "tf32x3" nearly so on the tensor cores,
# "tf32" with 10-bit mantissas. Never left to Triton's default, which is tf32.
PRECISION = {"highest": "ieee", "high": "tf32x3", "medium": "tf32"}
precision = "highest"
convolutions: str | None = None  # the same for convolutions; None for that of products

# Split the inner extent only while there are fewer tiles than this. A property of the shape, never of the GPU at hand,
# so that the same product has the same bits everywhere.
FEW_TILES = 128
MOST_INNER = (1 << 31) - (1 << 16)  # of a slab, counted in 32 bits


@triton.jit
def clamped(index, extent, EVEN: tl.constexpr):
    """Positions past the end moved to 0, where they may be read but are never stored; EVEN says there are none.

    Without the clamp Triton knows that neighbouring lanes read neighbouring memory.
    """
    if EVEN:
        return index
    else:
        return tl.where(index < extent, index, 0)


@triton.jit
def _matmul(
    A, B, BIAS, OUT, batch_shape, a_batch, b_batch, M: tl.int64, N: tl.int64, K: tl.int64, am, ak, bk, bn,
    split, batches,
    EVEN_M: tl.constexpr, EVEN_N: tl.constexpr, EVEN_K: tl.constexpr, DIVISOR_N: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[z, b, m, n] = sum over k in slab z of a[b, m, k] b[b, k, n], plus bias[n] unless that is None.

    Shapes  a [..., M, K] and b [..., K, N] through any strides, out [slabs, batch, M, N] contiguous.
    Grid    one program per slab, batch element and BM x BN tile of the output; tiles walk down 8 rows of tiles before
            the next column, so that neighbours share operands in the L2 cache.
    Bytes   read a and b, write out; re-reads of a row or column of tiles hit L2.
            EVEN_* say that tiles divide M, N and every slab of K: without clamps and masks, loads are 16 bytes wide.
            DIVISOR_N divides N, of which the compiler only knows whether 16 does: 1000 classes are stored 8 at a time.
    Source  the tiled product of the Triton tutorials, "Matrix Multiplication".
    """
    N = N // DIVISOR_N * DIVISOR_N
    tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
    pid = tl.program_id(0).to(tl.int64)
    tile_id = pid % (tiles_m * tiles_n)
    batch = (pid // (tiles_m * tiles_n)) % batches
    z = pid // (tiles_m * tiles_n * batches)
    group = tile_id // (8 * tiles_n)
    height = tl.minimum(tiles_m - group * 8, 8)
    top = (group * 8 + (tile_id % (8 * tiles_n)) % height) * BM
    left = ((tile_id % (8 * tiles_n)) // height) * BN
    begin = z * split
    # What is inside the tile is counted from its corner: 32 bits spare registers.
    m, n = tl.arange(0, BM), tl.arange(0, BN)
    rows, columns = tl.minimum(M - top, BM).to(tl.int32), tl.minimum(N - left, BN).to(tl.int32)
    end = tl.minimum(split, K - begin).to(tl.int32)
    a_row = A + _offsets(batch, batch_shape, a_batch) + begin * ak + top * am
    a_row += clamped(m, rows, EVEN_M).to(tl.int64)[:, None] * am
    b_column = B + _offsets(batch, batch_shape, b_batch) + begin * bk + left * bn
    b_column += clamped(n, columns, EVEN_N).to(tl.int64)[None, :] * bn
    acc = tl.zeros((BM, BN), ACC)
    for start in range(0, end, BK):
        inside = start + tl.arange(0, BK) < end
        if EVEN_K:
            k = (start + tl.arange(0, BK)).to(tl.int64)
            a = tl.load(a_row + k[None, :] * ak)
            b = tl.load(b_column + k[:, None] * bk)
        else:
            k = tl.where(inside, start + tl.arange(0, BK), 0).to(tl.int64)
            a = tl.load(a_row + k[None, :] * ak, mask=inside[None, :], other=0.0)
            b = tl.load(b_column + k[:, None] * bk, mask=inside[:, None], other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=ACC)
    if BIAS is not None:
        acc += tl.load(BIAS + left + n, mask=n < columns, other=0.0)[None, :].to(ACC)
    place = OUT + ((z * batches + batch) * M + top) * N + left + m.to(tl.int64)[:, None] * N + n[None, :]
    tl.store(place, acc.to(OUT.dtype.element_ty), mask=(m < rows)[:, None] & (n < columns)[None, :])


def matmul(a: Array, b: Array, bias: Array | None = None, dtype: dtype | None = None) -> Array:
    """a [..., M, K] times b [..., K, N], batch axes broadcast, plus bias [N]: contiguous [..., M, N].

    Accumulates in float32 (float64 for float64). `dtype` of the result defaults to that of `a`. Integers, which have
    no tensor-core product, are multiplied and summed in int64.
    """
    dtype = dtype or a.dtype
    (m, k), n = a.shape[-2:], b.shape[-1]
    batch_shape = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if not a.dtype.is_floating_point:
        return _integer_matmul(a, b, dtype)
    a, b = a.expand((*batch_shape, m, k)), b.expand((*batch_shape, k, n))
    batches = math.prod(batch_shape)
    if bias is None and small_matmul.fits(batches, m, n, k, a.dtype.itemsize):
        return small_matmul.small_matmul(a, b, dtype, PRECISION[precision])
    bias = None if bias is None else elementwise.contiguous(bias)
    acc = dtypes.accumulator(a.dtype)
    config = tile("matmul", least=16, itemsize=a.dtype.itemsize, BM=m, BN=n, BK=k)
    split = config.pop("SPLIT")
    tiles = cdiv(m, config["BM"]) * cdiv(n, config["BN"]) * batches
    if tiles >= FEW_TILES:
        split = MOST_INNER
    slabs = cdiv(k, split) or 1
    if slabs == 1:
        split = max(k, 1)
    shape = (*batch_shape, m, n)
    out = empty(shape if slabs == 1 else (slabs, *shape), dtype if slabs == 1 else acc, a.device)
    order = contiguous_strides(batch_shape)
    merged, strides = elementwise.merge_axes(batch_shape, order, a.strides[:-2], b.strides[:-2])
    a_batch, b_batch = strides[1:] if batches > 1 else ((0,), (0,))
    launch(
        _matmul,
        tiles * slabs,
        a,
        b,
        bias if slabs == 1 else None,
        out,
        merged,
        a_batch,
        b_batch,
        m,
        n,
        k,
        *a.strides[-2:],
        *b.strides[-2:],
        split,
        batches,
        m % config["BM"] == 0,
        n % config["BN"] == 0,
        k % config["BK"] == 0 and split % config["BK"] == 0,
        math.gcd(n, 8),
        PRECISION[precision],
        TRITON_TYPE[acc],
        flops=2 * batches * m * n * k,
        bytes=footprint(a, b, bias if slabs == 1 else None, out),
        **config,
    )
    if slabs == 1:
        return out
    total = reduce.sum(out, (0,), dtype=acc if bias is not None else dtype)
    return total if bias is None else elementwise.map(formulas._add, total, bias, dtype=dtype, compute=acc)


@triton.jit
def _matmul_integers(
    A, B, OUT, batch_shape, a_batch, b_batch, M: tl.int64, N: tl.int64, K: tl.int64, am, ak, bk, bn,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[b, m, n] = sum over k of a[b, m, k] b[b, k, n] modulo 2^64: tensor cores have no such product.

    Shapes  a [..., M, K] and b [..., K, N] through any strides, out [batch, M, N] contiguous.
    Grid    one program per batch element and BM x BN tile of the output.
    Bytes   read a and b, write out.
    """
    tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
    pid = tl.program_id(0).to(tl.int64)
    batch = pid // (tiles_m * tiles_n)
    m = ((pid % (tiles_m * tiles_n)) // tiles_n) * BM + tl.arange(0, BM)
    n = (pid % tiles_n) * BN + tl.arange(0, BN)
    a_row = A + _offsets(batch, batch_shape, a_batch) + m[:, None] * am
    b_column = B + _offsets(batch, batch_shape, b_batch) + n[None, :] * bn
    acc = tl.zeros((BM, BN), tl.int64)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        a = tl.load(a_row + k[None, :] * ak, mask=(m < M)[:, None] & (k < K)[None, :], other=0).to(tl.int64)
        b = tl.load(b_column + k[:, None] * bk, mask=(k < K)[:, None] & (n < N)[None, :], other=0).to(tl.int64)
        products = tl.mul(a[:, :, None], b[None, :, :], sanitize_overflow=False)
        acc = tl.add(acc, tl.sum(products, 1), sanitize_overflow=False)
    place = OUT + (batch * M + m[:, None]) * N + n[None, :]
    tl.store(place, acc.to(OUT.dtype.element_ty), mask=(m < M)[:, None] & (n < N)[None, :])


def _integer_matmul(a: Array, b: Array, dtype: dtype) -> Array:
    (m, k), n = a.shape[-2:], b.shape[-1]
    batch_shape = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = a.expand((*batch_shape, m, k)), b.expand((*batch_shape, k, n))
    out, batches = empty((*batch_shape, m, n), dtype, a.device), math.prod(batch_shape)
    config = tile("matmul_integers", BM=m, BN=n, BK=k)
    merged, strides = elementwise.merge_axes(
        batch_shape, contiguous_strides(batch_shape), a.strides[:-2], b.strides[:-2]
    )
    a_batch, b_batch = strides[1:] if batches > 1 else ((0,), (0,))
    launch(
        _matmul_integers,
        cdiv(m, config["BM"]) * cdiv(n, config["BN"]) * batches,
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
        flops=2 * batches * m * n * k,
        bytes=footprint(a, b, out),
        **config,
    )
    return out
