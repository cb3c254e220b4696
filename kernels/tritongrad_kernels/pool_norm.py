"""Gradients of a batch norm and the ReLU after it, of which a max pooling is the only reader.

The pooling applied them as it read (`pool.max_pool2d` with a prologue), so that what comes of them was never stored.
Nor is its gradient: either launch gathers it from dy through the indices for the pixels it has at hand, as
`pool._max_pool2d_input_grad` would, and goes on with it as `norm_grad` does. With x [N,H,W,C] what the norm read, and
g the gathered gradient, rounded to the type of dy, where the ReLU let its input pass:

    sums = (sum g, sum g (x - mean) rstd),   dx = weight rstd (g - sums[0] / M - (x - mean) rstd sums[1] / M)

Both are those of the three launches, to the bit, but for the runs in which sums are taken. Windows overlap, and rows of
windows are seen from neighbouring rows of pixels: dy and the indices are read from memory once and then hit L2.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.channels import _load, _parameter, _stride, _tile, fold_rows, walk, width
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import launch
from tritongrad_kernels.norm_grad import _folded_sums, _through_relu
from tritongrad_kernels.norm_statistics import Statistics
from tritongrad_kernels.pool import _channels_last, _empty_image, _gathered, _located
from tritongrad_kernels.windows import Pair, positions_reading, touched

AT_ONCE: tl.constexpr = tl.constexpr(4)
"""Windows read at once: all that can cover a pixel where windows of up to 4 x 4 pixels move by half their size."""

SHORT = 1 << 30
"""Fewer pixels and windows than this are divided among images and rows in 32 bits, which is several times faster."""


@triton.jit
def _arriving(
    DY, INDEX, X, m, place, mask, mean, scale, bias, c, c_in, M, H, W, C, P, Q,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, RELU: tl.constexpr, PLACE: tl.constexpr, ACC: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """g and x [BM, BC] of pixels m: what windows pass back to them, through the ReLU."""
    n, h, w = _located(m.to(PLACE), H, W)
    dy = _gathered(
        DY, INDEX, n, h, w, m < M, c, c_in, C, P, Q, R, S, SH, SW, PH, PW, DH, DW, ACC, BM, BC, AT_ONCE
    )  # fmt: skip
    dy = dy.to(DY.dtype.element_ty).to(ACC)
    x = dy  # not needed
    if X is not None:
        x = _load(X, place, mask, ACC)
    dtype: tl.constexpr = DY.dtype.element_ty
    return _through_relu(dy, x, None, m, c, mask, mean, scale, bias, M, C, dtype, RELU, BM, BC), x


@triton.jit
def _pooled_grad_sums(
    DY, INDEX, X, MEAN, RSTD, WEIGHT, BIAS, SUMS, M: tl.int64, H, W, C: tl.int64, P, Q,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, RELU: tl.constexpr, PLACE: tl.constexpr, ACC: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """sums[z, 0, c] = sum of g over run z, sums[z, 1, c] = sum of g (x - mean) rstd.

    Shapes  dy, index [N,P,Q,C]; x [N,H,W,C], M = N H W pixels; mean, rstd, weight, bias [C]; sums [runs, 2, C].
    Grid    one program per run and BC channels: it takes every so-many-th tile of BM pixels.
    Bytes   read dy, index and x once.
    """
    z, c, c_in = _tile(M, C, BM, BC)
    mean, rstd = _load(MEAN, c, c_in, ACC), _load(RSTD, c, c_in, ACC)
    scale = rstd * _parameter(WEIGHT, c, c_in, 1.0, ACC, BC)
    bias = _parameter(BIAS, c, c_in, 0.0, ACC, BC)
    plain = tl.zeros((BM, BC), ACC)
    product = tl.zeros((BM, BC), ACC)
    for first in tl.range(z * BM, M, _stride(C, BM, BC), num_stages=STAGES):
        m = first + tl.arange(0, BM)
        mask = (m < M)[:, None] & c_in[None, :]
        place = m[:, None] * C + c[None, :]
        g, x = _arriving(
            DY, INDEX, X, m, place, mask, mean, scale, bias, c, c_in, M, H, W, C, P, Q, R, S, SH, SW, PH, PW, DH, DW,
            RELU, PLACE, ACC, BM, BC,
        )  # fmt: skip
        plain += g
        product += g * (x - mean[None, :])
    tl.store(SUMS + z * 2 * C + c, tl.sum(plain, 0), mask=c_in)
    tl.store(SUMS + (z * 2 + 1) * C + c, tl.sum(product, 0) * rstd, mask=c_in)


@triton.jit
def _pooled_input_grad(
    DY, INDEX, X, MEAN, RSTD, WEIGHT, BIAS, SUMS, DX, M: tl.int64, H, W, C: tl.int64, P, Q,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, RELU: tl.constexpr, PLACE: tl.constexpr, ACC: tl.constexpr, runs,
    BM: tl.constexpr, BC: tl.constexpr, BR: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """dx = weight rstd (g - sums[0] / M - (x - mean) rstd sums[1] / M); dx = weight rstd g where SUMS is None.

    Shapes  dx [N,H,W,C]; x and mean None where neither SUMS nor the ReLU needs them; the others as above.
    Grid    pixel blocks x channel blocks; a program folds the sums of BC channels and takes every so-many-th tile of
            BM pixels.
    Bytes   read dy, index and x once, write dx.
    """
    block, c, c_in = _tile(M, C, BM, BC)
    mean, rstd = _parameter(MEAN, c, c_in, 0.0, ACC, BC), _load(RSTD, c, c_in, ACC)
    scale = rstd * _parameter(WEIGHT, c, c_in, 1.0, ACC, BC)
    bias = _parameter(BIAS, c, c_in, 0.0, ACC, BC)
    if SUMS is not None:
        plain, product, _ = _folded_sums(SUMS, C, runs, c, c_in, 2, ACC, BR, BC, STAGES)
        offset, slope = plain / M, rstd * product / M
    for first in tl.range(block * BM, M, _stride(C, BM, BC), num_stages=STAGES):
        m = first + tl.arange(0, BM)
        mask = (m < M)[:, None] & c_in[None, :]
        place = m[:, None] * C + c[None, :]
        g, x = _arriving(
            DY, INDEX, X, m, place, mask, mean, scale, bias, c, c_in, M, H, W, C, P, Q, R, S, SH, SW, PH, PW, DH, DW,
            RELU, PLACE, ACC, BM, BC,
        )  # fmt: skip
        dx = g
        if SUMS is not None:
            dx = g - offset[None, :] - (x - mean[None, :]) * slope[None, :]
        tl.store(DX + place, (dx * scale[None, :]).to(DX.dtype.element_ty), mask=mask)


def grad_sums(
    dy: Array,
    index: Array,
    x: Array,
    statistics: Statistics,
    weight: Array | None,
    bias: Array | None,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    *,
    relu: bool,
) -> Array:
    """[runs, 2, C]: the sums over runs of pixels of g and of g (x - mean) rstd, for dy and index [N,C,P,Q].

    The statistics must be folded.
    """
    dy, x = _channels_last(dy), _channels_last(x)
    pixels, acc = _pixels_of(x), dtypes.accumulator(x.dtype)
    config, runs, grid = walk(pixels, "pool_norm")
    sums = empty((runs, 2, x.shape[1]), acc, x.device)
    arrays = (x, statistics.mean, statistics.rstd, weight if relu else None, bias if relu else None, sums)
    numbers, nbytes = _numbers(dy, index, x, window, stride, padding, dilation, relu)
    launch(_pooled_grad_sums, grid, dy, index, *arrays, *numbers, bytes=nbytes + footprint(*arrays), **config)
    return sums


def input_grad(
    dy: Array,
    index: Array,
    x: Array,
    statistics: Statistics,
    weight: Array | None,
    bias: Array | None,
    sums: Array | None,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    *,
    relu: bool,
) -> Array:
    """The gradient of x [N,C,H,W], channels-last. The statistics must be folded.

    `sums` [runs, 2, C] is None where the statistics were given and not taken from x.
    """
    dy, x = _channels_last(dy), _channels_last(x)
    pixels, acc = _pixels_of(x), dtypes.accumulator(x.dtype)
    dx = _empty_image(x.shape, x)
    runs = 1 if sums is None else sums.shape[0]
    config, _, grid = walk(pixels, "pool_norm", width=width(pixels, runs))
    needs_x = sums is not None or relu
    arrays = (
        x if needs_x else None, statistics.mean if needs_x else None, statistics.rstd, weight, bias if relu else None,
        sums, dx,
    )  # fmt: skip
    numbers, nbytes = _numbers(dy, index, x, window, stride, padding, dilation, relu)
    launch(
        _pooled_input_grad, grid, dy, index, *arrays, *numbers, runs, bytes=nbytes + footprint(*arrays),
        BR=fold_rows(runs, config["BC"], acc.itemsize), **config,
    )  # fmt: skip
    return dx


def _pixels_of(x: Array) -> Array:
    """A channels-last x [N,C,H,W] as [N H W, C]."""
    n, c, h, w = x.shape
    return x.view((n * h * w, c), (c, 1))


def _numbers(
    dy: Array, index: Array, x: Array, window: Pair, stride: Pair, padding: Pair, dilation: Pair, relu: bool
) -> tuple[tuple[Any, ...], int]:
    """The numbers either kernel is given, and the bytes of dy and index that it reads."""
    (n, c, h, w), (p, q) = x.shape, dy.shape[2:]
    place = tl.int32 if max(n * h * w, n * p * q) < SHORT else tl.int64
    seen = ((h, w), (p, q), window, stride, padding, dilation)
    nbytes = sum(touched(positions_reading, a, *seen) for a in (dy, index))
    how = ("recompute" if relu else None, place, TRITON_TYPE[dtypes.accumulator(x.dtype)])
    return (n * h * w, h, w, c, p, q, *window, *stride, *padding, *dilation, *how), nbytes
