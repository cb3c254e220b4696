"""Matrix products on GPUs with TMA: operands reach shared memory a block at a time, and no thread computes an address.

`matmul` comes here where `operands` finds that descriptors can follow both (see `descriptors.fits`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from tritongrad_kernels import descriptors, driver
from tritongrad_kernels.array import Array, contiguous_strides, footprint
from tritongrad_kernels.descriptors import Descriptor, descriptor
from tritongrad_kernels.launch import cdiv, launch, tile


@triton.jit(do_not_specialize=["M", "N", "K", "split", "batches", "pages"])
def _matmul_tma(
    A, B, BIAS, RESIDUAL, OUT, M, N, K, split, batches, pages,
    A_TRANSPOSED: tl.constexpr, B_TRANSPOSED: tl.constexpr, A_BATCHED: tl.constexpr, B_BATCHED: tl.constexpr,
    ACTIVATION: tl.constexpr, PERSISTENT: tl.constexpr, PARTS: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[z, b, m, n] = f(sum over k in slab z of a[b, m, k] b[b, k, n] + bias[n]) + residual[b, m, n].

    Shapes  descriptors of a [batch, M, K] or, transposed, [batch, K, M]; b [batch, K, N] or [batch, N, K]; bias [N];
            residual and out [slabs * batch, M, N]. Bias, residual and the function f may be None. An operand that is
            not batched is the same for all of the batch.
    Grid    one program per slab, batch element and BM x BN tile of the output, `pages` slabs of all the batch; or, if
            PERSISTENT, fewer programs, each of which takes every so many'th tile and loads its next while it stores
            one. Tiles walk down 8 rows of tiles before the next column, so that neighbours share operands in the L2
            cache.
    Bytes   read a, b, bias and residual, write out; re-reads of a row or column of tiles hit L2. What lies outside an
            array reads as 0 and is not stored.
    Source  the tiled product of the Triton tutorials, "Persistent Matmul".
    """
    tiles = tl.cdiv(M, BM) * tl.cdiv(N, BN) * pages
    if PERSISTENT:
        for tile_id in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=True):
            _tile(
                A, B, BIAS, RESIDUAL, OUT, tile_id, M, N, K, split, batches, A_TRANSPOSED, B_TRANSPOSED,
                A_BATCHED, B_BATCHED, ACTIVATION, PARTS, PRECISION, BM, BN, BK,
            )  # fmt: skip
    else:
        _tile(
            A, B, BIAS, RESIDUAL, OUT, tl.program_id(0), M, N, K, split, batches, A_TRANSPOSED, B_TRANSPOSED,
            A_BATCHED, B_BATCHED, ACTIVATION, PARTS, PRECISION, BM, BN, BK,
        )  # fmt: skip


@triton.jit
def _tile(
    A, B, BIAS, RESIDUAL, OUT, pid, M, N, K, split, batches,
    A_TRANSPOSED: tl.constexpr, B_TRANSPOSED: tl.constexpr, A_BATCHED: tl.constexpr, B_BATCHED: tl.constexpr,
    ACTIVATION: tl.constexpr, PARTS: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Tile `pid` of the output. The loop goes past the end of K, to zeros, rather than to an end that differs between
    tiles: the compiler joins it with one over tiles."""
    tiles_m, tiles_n = tl.cdiv(M, BM), tl.cdiv(N, BN)
    tile_id = pid % (tiles_m * tiles_n)
    page = pid // (tiles_m * tiles_n)
    group = tile_id // (8 * tiles_n)
    height = tl.minimum(tiles_m - group * 8, 8)
    top = (group * 8 + (tile_id % (8 * tiles_n)) % height) * BM
    left = ((tile_id % (8 * tiles_n)) // height) * BN
    begin = (page // batches) * split
    a_page = page % batches if A_BATCHED else 0
    b_page = page % batches if B_BATCHED else 0
    acc = tl.zeros((BM, BN), tl.float32)
    for step in range(0, tl.cdiv(split, BK)):
        k = begin + step * BK
        if A_TRANSPOSED:
            a = A.load([a_page, k, top]).reshape(BK, BM).T
        else:
            a = A.load([a_page, top, k]).reshape(BM, BK)
        if B_TRANSPOSED:
            b = B.load([b_page, left, k]).reshape(BN, BK).T
        else:
            b = B.load([b_page, k, left]).reshape(BK, BN)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)
    _finish(acc, BIAS, RESIDUAL, OUT, page, top, left, ACTIVATION, PARTS, BM, BN)


@triton.jit
def _finish(
    acc, BIAS, RESIDUAL, OUT, page, top, left,
    ACTIVATION: tl.constexpr, PARTS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Store f(acc + bias) + residual in PARTS blocks of columns, one after the other: they share registers."""
    if PARTS > 1:
        left_half, right_half = tl.split(tl.permute(tl.reshape(acc, (BM, 2, BN // 2)), (0, 2, 1)))
        _finish(left_half, BIAS, RESIDUAL, OUT, page, top, left, ACTIVATION, PARTS // 2, BM, BN // 2)
        _finish(right_half, BIAS, RESIDUAL, OUT, page, top, left + BN // 2, ACTIVATION, PARTS // 2, BM, BN // 2)
    else:
        if BIAS is not None:
            acc += BIAS.load([left]).to(tl.float32)[None, :]
        if ACTIVATION is not None:
            acc = ACTIVATION(acc)
        if RESIDUAL is not None:
            acc += RESIDUAL.load([page, top, left]).to(tl.float32).reshape(BM, BN)
        OUT.store([page, top, left], acc.to(OUT.dtype).reshape(1, BM, BN))


class Pages(NamedTuple):
    """Matrices [R, C] of a batch as descriptors follow them: page by page, by rows or, transposed, by columns."""

    array: Array
    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    transposed: bool

    def by(self, rows: int, columns: int) -> Descriptor:
        """In blocks of [rows, columns] of the matrix, whichever way it is stored."""
        block = (1, columns, rows) if self.transposed else (1, rows, columns)
        return descriptor(self.array, block, self.shape, self.strides)


def pages(x: Array, batch: int = 1, step: int = 0) -> Pages | None:
    """x [..., R, C], with a step from one of `batch` matrices to the next (0: all are one); None if that cannot be."""
    (r, c), (down, right) = x.shape[-2:], x.strides[-2:]
    batch = batch if step else 1
    for transposed, extents, (row, one) in ((False, (r, c), (down, right)), (True, (c, r), (right, down))):
        line = row if extents[0] > 1 else cdiv(extents[1], 16) * 16  # the step between lines, if there are several
        shape, strides = (batch, *extents), (step if batch > 1 else line, line, one)
        if descriptors.fits(x, None, shape, strides):
            return Pages(x, shape, strides, transposed)
    return None


class Fused(NamedTuple):
    """What becomes of a product before it is stored: activation(product + bias) + residual, each of which may be None.

    bias        [N], contiguous
    activation  a jit function of the accumulator
    residual    of the product's shape, contiguous
    """

    bias: Array | None = None
    activation: Any = None
    residual: Array | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in self)

    def can_be_followed(self) -> bool:
        """Whether descriptors follow the arrays."""
        bias, _, residual = self
        rows_fit = residual is None or (
            residual.data_ptr() % 16 == 0 == residual.shape[-1] * residual.dtype.itemsize % 16
        )
        return rows_fit and (bias is None or descriptors.fits(bias))


def blocks(m: int, n: int, k: int, batches: int, itemsize: int) -> dict[str, int]:
    """Tile sizes: the largest of three that make enough tiles to occupy a GPU, or the smallest."""
    for row in ("matmul_tma_wide", "matmul_tma", "matmul_tma_small"):
        # Fewer than 64 rows would not go to Hopper's tensor cores; shorter blocks would only be kernels of their own.
        config = tile(row, least=16, itemsize=itemsize, BM=max(m, 64), BN=n, BK=max(k, 64))
        if cdiv(m, config["BM"]) * cdiv(n, config["BN"]) * batches >= config.pop("TILES"):
            break
    return config


def product(
    a: Pages, b: Pages, out: Array, fused: Fused, split: int, batches: int, precision: str, config: dict[str, int]
) -> None:
    """Launch it, to write out [..., M, N] or [slabs, ..., M, N]; `split` is how much of K one program takes."""
    (m, k), n = a.array.shape[-2:], b.array.shape[-1]
    count = batches * cdiv(k, split)
    bm, bn, bk = config["BM"], config["BN"], config["BK"]
    tiles = cdiv(m, bm) * cdiv(n, bn) * count
    programs = _programs(tiles, config.pop("RESIDENT", 0))
    # The accumulator is in the registers of a program that finishes it, and the room to store it from is beside the
    # operands of the next tile: it does so by 64 columns.
    parts = cdiv(bn, 64) if fused or programs else 1
    bias, activation, residual = fused
    launch(
        _matmul_tma,
        programs or tiles,
        a.by(bm, bk),
        b.by(bk, bn),
        None if bias is None else descriptor(bias, (bn // parts,)),
        None if residual is None else _by_rows(residual, (count, m, n), bm, bn // parts),
        _by_rows(out, (count, m, n), bm, bn // parts),
        m,
        n,
        k,
        split,
        batches,
        count,
        a.transposed,
        b.transposed,
        a.shape[0] > 1,
        b.shape[0] > 1,
        activation,
        programs > 0,
        parts,
        precision,
        flops=2 * batches * m * n * k,
        bytes=footprint(a.array, b.array, bias, residual, out),
        **config,
    )


def _programs(tiles: int, usual: int) -> int:
    """How many programs share the tiles: as many as the GPU runs at once, or a `usual` one. 0 where each has its own.

    Which program forms a tile does not show in the result.
    """
    held = driver.gpu_properties().multi_processor_count if usual and driver.gpu_is_usable() else usual
    return held if tiles > held else 0


def _by_rows(x: Array, shape: tuple[int, ...], rows: int, columns: int) -> Descriptor:
    """A contiguous array, seen as pages of rows."""
    return descriptor(x, (1, rows, columns), shape, contiguous_strides(shape))
