"""Matrix products: batched, any transposes through strides, fused bias."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise, matmul_tma, reduce, small_matmul
from tritongrad_kernels.array import Array, contiguous_strides, empty, footprint
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import TRITON_TYPE, _offsets, broadcast_shapes
from tritongrad_kernels.launch import cdiv, has_tma, launch, tile
from tritongrad_kernels.matmul_tma import Fused, Pages, pages

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
def clamped(index, extent, EVEN: tl.constexpr, DIVISOR: tl.constexpr = 1):
    """Positions past the end moved to the start, where they may be read but are never stored; EVEN says there are none.

    Triton knows that neighbouring lanes read neighbouring memory where there is no clamp, and up to DIVISOR of them
    where there is: it has to divide the extent.
    """
    if EVEN:
        return index
    else:
        return tl.where(index < extent, index, index % DIVISOR)


@triton.jit
def _matmul(
    A, B, BIAS, RESIDUAL, OUT, batch_shape, a_batch, b_batch, M: tl.int64, N: tl.int64, K: tl.int64, am, ak, bk, bn,
    split, batches,
    EVEN_M: tl.constexpr, EVEN_N: tl.constexpr, EVEN_K: tl.constexpr, DIVISORS: tl.constexpr,
    ACTIVATION: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[z, b, m, n] = f(sum over k in slab z of a[b, m, k] b[b, k, n] + bias[n]) + residual[b, m, n].

    Shapes  a [..., M, K] and b [..., K, N] through any strides, out [slabs, batch, M, N] contiguous. Bias, residual
            and the function f may be None.
    Grid    one program per slab, batch element and BM x BN tile of the output; tiles walk down 8 rows of tiles before
            the next column, so that neighbours share operands in the L2 cache.
    Bytes   read a, b, bias and residual, write out; re-reads of a row or column of tiles hit L2.
            EVEN_* say that tiles divide M, N and every slab of K: without clamps and masks, loads are 16 bytes wide.
            DIVISORS divide M, N, K, am, ak, bk and bn, of which the compiler only knows whether 16 does: rows of 1000
            classes are read and written 8 at a time.
    Source  the tiled product of the Triton tutorials, "Matrix Multiplication".
    """
    N = N // DIVISORS[1] * DIVISORS[1]
    split = split // DIVISORS[2] * DIVISORS[2]
    am, ak = am // DIVISORS[3] * DIVISORS[3], ak // DIVISORS[4] * DIVISORS[4]
    bk, bn = bk // DIVISORS[5] * DIVISORS[5], bn // DIVISORS[6] * DIVISORS[6]
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
    rows = tl.minimum(M - top, BM).to(tl.int32) // DIVISORS[0] * DIVISORS[0]
    columns = tl.minimum(N - left, BN).to(tl.int32) // DIVISORS[1] * DIVISORS[1]
    end = tl.minimum(split, K - begin).to(tl.int32) // DIVISORS[2] * DIVISORS[2]
    a_row = A + _offsets(batch, batch_shape, a_batch) + begin * ak + top * am
    a_row += clamped(m, rows, EVEN_M, DIVISORS[0]).to(tl.int64)[:, None] * am
    b_column = B + _offsets(batch, batch_shape, b_batch) + begin * bk + left * bn
    b_column += clamped(n, columns, EVEN_N, DIVISORS[1]).to(tl.int64)[None, :] * bn
    acc = tl.zeros((BM, BN), ACC)
    for start in range(0, end, BK):
        inside = start + tl.arange(0, BK) < end
        if EVEN_K:
            k = (start + tl.arange(0, BK)).to(tl.int64)
            a = tl.load(a_row + k[None, :] * ak)
            b = tl.load(b_column + k[:, None] * bk)
        else:
            k = clamped(start + tl.arange(0, BK), end, EVEN_K, DIVISORS[2]).to(tl.int64)
            a = tl.load(a_row + k[None, :] * ak, mask=inside[None, :], other=0.0)
            b = tl.load(b_column + k[:, None] * bk, mask=inside[:, None], other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=ACC)
    if BIAS is not None:
        acc += tl.load(BIAS + left + n, mask=n < columns, other=0.0)[None, :].to(ACC)
    if ACTIVATION is not None:
        acc = ACTIVATION(acc)
    place = ((z * batches + batch) * M + top) * N + left + m.to(tl.int64)[:, None] * N + n[None, :]
    inside = (m < rows)[:, None] & (n < columns)[None, :]
    if RESIDUAL is not None:
        acc += tl.load(RESIDUAL + place, mask=inside, other=0.0).to(ACC)
    tl.store(OUT + place, acc.to(OUT.dtype.element_ty), mask=inside)


@triton.jit
def _fold_slabs(
    SLABS, BIAS, RESIDUAL, OUT, slabs, M: tl.int64, N: tl.int64, DIVISOR_N: tl.constexpr, ACTIVATION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """out[m, n] = f(sum over z of slabs[z, m, n] + bias[n]) + residual[m, n], summed in order.

    Shapes  slabs [slabs, M, N], residual and out [M, N], all contiguous, rows of all the batch; bias [N]. Bias,
            residual and the function f may be None.
    Grid    one program per BM x BN tile of the output.
    Bytes   read everything once, write out.
    """
    N = N // DIVISOR_N * DIVISOR_N
    pid = tl.program_id(0).to(tl.int64)
    m = pid // tl.cdiv(N, BN) * BM + tl.arange(0, BM)
    n = pid % tl.cdiv(N, BN) * BN + tl.arange(0, BN)
    inside = (m < M)[:, None] & (n < N)[None, :]
    place = m[:, None] * N + n[None, :]
    acc = tl.load(SLABS + place, mask=inside, other=0.0)
    for z in range(1, slabs):
        acc += tl.load(SLABS + z * (M * N) + place, mask=inside, other=0.0)
    if BIAS is not None:
        acc += tl.load(BIAS + n, mask=n < N, other=0.0).to(acc.dtype)[None, :]
    if ACTIVATION is not None:
        acc = ACTIVATION(acc)
    if RESIDUAL is not None:
        acc += tl.load(RESIDUAL + place, mask=inside, other=0.0).to(acc.dtype)
    tl.store(OUT + place, acc.to(OUT.dtype.element_ty), mask=inside)


def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    dtype: dtype | None = None,
    *,
    activation: Any = None,
    residual: Array | None = None,
) -> Array:
    """activation(a b + bias) + residual: contiguous [..., M, N].

    a [..., M, K] and b [..., K, N], whose batch axes broadcast; bias [N]; residual, which expands to the product's
    shape; activation, a jit function of one block such as `activations._relu`. The last three may be None. Everything
    is done in the accumulator, float32 (float64 for float64), and rounded once. `dtype` of the result defaults to that
    of `a`. Integers, which have no tensor-core product, are multiplied and summed in int64, without the rest.
    """
    dtype = dtype or a.dtype
    (m, k), n = a.shape[-2:], b.shape[-1]
    batch_shape = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if not a.dtype.is_floating_point:
        return _integer_matmul(a, b, dtype)
    a, b = a.expand((*batch_shape, m, k)), b.expand((*batch_shape, k, n))
    batches = math.prod(batch_shape)
    shape = (*batch_shape, m, n)
    fused = Fused(
        None if bias is None else elementwise.contiguous(bias),
        activation,
        None if residual is None else elementwise.contiguous(residual.expand(shape)),
    )
    if not fused and small_matmul.fits(batches, m, n, k, a.dtype.itemsize):
        return small_matmul.small_matmul(a, b, dtype, how(a.dtype))
    order = contiguous_strides(batch_shape)
    merged, strides = elementwise.merge_axes(batch_shape, order, a.strides[:-2], b.strides[:-2])
    steps = strides[1:] if batches > 1 else [(0,), (0,)]
    sources = _followed(a, b, batches, steps, fused, dtype)
    config = _blocks(m, n, k, batches, a.dtype.itemsize, sources is not None)
    slabs, split = _slabs(k, cdiv(m, config["BM"]) * cdiv(n, config["BN"]) * batches, config)
    acc = dtypes.accumulator(a.dtype)
    out = empty(shape if slabs == 1 else (slabs, *shape), dtype if slabs == 1 else acc, a.device)
    now = fused if slabs == 1 else Fused()
    if sources is not None:
        matmul_tma.product(*sources, out, now, split, batches, how(a.dtype), config)
    else:
        _product(a, b, out, now, merged, steps, split, batches, config)
    if slabs == 1:
        return out
    return _folded(out, fused, dtype) if fused else reduce.sum(out, (0,), dtype=dtype)


def how(kind: dtype) -> str:
    """The precision that a kernel multiplies elements of this dtype with: only float32 has a choice."""
    return PRECISION[precision] if kind is dtypes.float32 else "ieee"


def _followed(
    a: Array, b: Array, batches: int, steps: Sequence[tuple[int, ...]], fused: Fused, dtype: dtype
) -> tuple[Pages, Pages] | None:
    """The operands as TMA follows them; None where it does not, and for products that tensor cores do not form."""
    n = b.shape[-1]
    on_tensor_cores = a.dtype.itemsize == 2 or how(a.dtype) != "ieee"
    one_axis = len(steps[0]) == 1
    if not (has_tma() and on_tensor_cores and one_axis and n * dtype.itemsize % 16 == 0 and fused.can_be_followed()):
        return None
    first, second = (pages(x, batches, step) for x, (step,) in zip((a, b), steps, strict=True))
    return None if first is None or second is None else (first, second)


def _blocks(m: int, n: int, k: int, batches: int, itemsize: int, followed: bool) -> dict[str, int]:
    if followed:
        return matmul_tma.blocks(m, n, k, batches, itemsize)
    return tile("matmul", least=16, itemsize=itemsize, BM=m, BN=n, BK=k)


def _slabs(k: int, tiles: int, config: dict[str, int]) -> tuple[int, int]:
    """How many slabs the inner extent is cut into, and the length of one, from the SPLIT of a row that it takes out."""
    most = config.pop("SPLIT")
    wanted = min(cdiv(k, most), 2 * FEW_TILES // tiles) if 0 < tiles < FEW_TILES else 1
    wanted = max(wanted, cdiv(k, MOST_INNER), 1)
    if wanted == 1:
        return 1, max(k, 1)
    split = cdiv(cdiv(k, wanted), config["BK"]) * config["BK"]
    return cdiv(k, split), split


def _product(
    a: Array, b: Array, out: Array, fused: Fused, batch_shape: tuple[int, ...], steps: Sequence[tuple[int, ...]],
    split: int, batches: int, config: dict[str, int],
) -> None:  # fmt: skip
    """Launch it with pointers, to write out [..., M, N] or [slabs, ..., M, N]."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    launch(
        _matmul,
        cdiv(m, config["BM"]) * cdiv(n, config["BN"]) * batches * max(cdiv(k, split), 1),
        a,
        b,
        fused.bias,
        fused.residual,
        out,
        batch_shape,
        *steps,
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
        tuple(math.gcd(size, 8) for size in (m, n, math.gcd(k, split), *a.strides[-2:], *b.strides[-2:])),
        fused.activation,
        how(a.dtype),
        TRITON_TYPE[dtypes.accumulator(a.dtype)],
        flops=2 * batches * m * n * k,
        bytes=footprint(a, b, fused.bias, fused.residual, out),
        **config,
    )


def _folded(slabs: Array, fused: Fused, dtype: dtype) -> Array:
    """The sum of slabs [slabs, ..., M, N], finished."""
    out = empty(slabs.shape[1:], dtype, slabs.device)
    n = out.shape[-1]
    m = out.size // n
    config = tile("matmul_fold", BM=m, BN=n)
    launch(
        _fold_slabs,
        cdiv(m, config["BM"]) * cdiv(n, config["BN"]),
        slabs,
        fused.bias,
        fused.residual,
        out,
        slabs.shape[0],
        m,
        n,
        math.gcd(n, 8),
        fused.activation,
        flops=slabs.size,
        bytes=footprint(slabs, fused.bias, fused.residual, out),
        **config,
    )
    return out


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
