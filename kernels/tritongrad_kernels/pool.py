"""Maxima of windows of channels-last images. Gradients are gathers: a pixel collects from the windows that cover it.

A batch norm and the ReLU after it may be applied as the image is read, so that nobody has to write what comes of them.

Every other pooling is in `volume_pool.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, channels_last_strides, empty, footprint
from tritongrad_kernels.channels import _parameter
from tritongrad_kernels.elementwise import TRITON_TYPE, in_order
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.norm import Pending, _normalised
from tritongrad_kernels.windows import Pair, positions_reading, rows_read, touched


@triton.jit
def _located(pixel, height, width):
    """The image, row and column of pixels of images that follow each other."""
    n = pixel // width // height
    return n, pixel // width - n * height, pixel % width


@triton.jit
def _pixels(pixels, width, height, C, BP: tl.constexpr, BC: tl.constexpr):
    """This program's pixels as (n, row, column), whether they exist, and its channels with their mask.

    Pixels that do not exist are clamped to pixel 0; channels are not, which would keep them from being loaded together.
    """
    blocks = tl.cdiv(C, BC)
    pid = tl.program_id(0).to(tl.int64)
    pixel = (pid // blocks) * BP + tl.arange(0, BP)
    inside = pixel < pixels
    pixel = tl.where(inside, pixel, 0)
    c = (pid % blocks) * BC + tl.arange(0, BC)
    n, row, column = _located(pixel, height, width)
    return n, row, column, pixel, inside, c, c < C


@triton.jit
def _max_pool2d(
    X, MEAN, RSTD, WEIGHT, BIAS, Y, INDEX, H, W, C: tl.int64, P, Q, pixels, R, S, SH, SW, PH, PW, DH, DW,
    RELU: tl.constexpr, ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y[n,p,q,c] = the largest x in the window of (p, q), NaN counting as largest; index = its place in the window.

    Unless MEAN is None, x is what a norm makes of it first, and a ReLU if RELU, to the bit as `norm.apply` would.

    Shapes  x [N,H,W,C], y and index [N,P,Q,C]; index r S + s in uint8 or int32. The first of equals wins. Others [C].
    Grid    one program per BP output pixels x BC channels.
    Bytes   read x (window overlap hits L2), write y and index.
    """
    n, p, q, pixel, inside, c, c_in = _pixels(pixels, Q, P, C, BP, BC)
    mean = _parameter(MEAN, c, c_in, 0.0, ACC, BC)
    scale = _parameter(RSTD, c, c_in, 1.0, ACC, BC) * _parameter(WEIGHT, c, c_in, 1.0, ACC, BC)
    bias = _parameter(BIAS, c, c_in, 0.0, ACC, BC)
    dtype: tl.constexpr = X.dtype.element_ty
    best = tl.full((BP, BC), -float("inf"), dtype)  # stays, with index -1, where all taps are padding
    where = tl.full((BP, BC), -1, tl.int32)
    for rs in range(0, R * S):
        h = p * SH - PH + (rs // S) * DH
        w = q * SW - PW + (rs % S) * DW
        ok = inside & (h >= 0) & (h < H) & (w >= 0) & (w < W)
        start = tl.where(ok, ((n * H + h) * W + w) * C, 0)
        x = tl.load(X + start[:, None] + c[None, :], mask=ok[:, None] & c_in[None, :], other=0)
        if MEAN is not None:
            y = _normalised(x.to(ACC), mean[None, :], scale[None, :], bias[None, :], dtype)
            if RELU:
                y = tl.where(y < 0, 0.0, y)
            x = y.to(dtype)
        # NaN compares unequal to itself; once it is the best, only another NaN may replace it.
        better = ok[:, None] & ((x > best) | (x != x) | (where < 0))
        best = tl.where(better, x, best)
        where = tl.where(better, rs, where)
    mask = inside[:, None] & c_in[None, :]
    place = (pixel * C)[:, None] + c[None, :]
    tl.store(Y + place, best, mask=mask)
    tl.store(INDEX + place, where.to(INDEX.dtype.element_ty), mask=mask)


@triton.jit
def _gathered(
    DY, INDEX, n, h, w, inside, c, c_in, C, P, Q, R, S, SH, SW, PH, PW, DH, DW,
    ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, UNROLL: tl.constexpr = 1,
):  # fmt: skip
    """The sum [BP, BC] of dy over the windows whose index points at pixels (n, h, w), 0 where these are not `inside`.

    Only windows that may cover the pixel are looked at, from the last to the first: as many a side as a window is
    strides long. UNROLL of them are read at once.
    """
    acc = tl.zeros((BP, BC), ACC)
    covering = ((S - 1) * DW + SW) // SW
    below, right = (h + PH) // SH, (w + PW) // SW
    last = ((n * P + below) * Q + right) * C
    for k in tl.range(0, ((R - 1) * DH + SH) // SH * covering, loop_unroll_factor=UNROLL):
        p, q = below - k // covering, right - k % covering
        r, s = h + PH - p * SH, w + PW - q * SW  # how far into the window; not negative
        tap = (r % DH == 0) & (s % DW == 0) & (r // DH < R) & (s // DW < S)
        ok = inside & tap & (p >= 0) & (q >= 0) & (p < P) & (q < Q)
        start = tl.where(ok, last - (k // covering * Q + k % covering) * C, 0)[:, None] + c[None, :]
        index = tl.load(INDEX + start, mask=ok[:, None] & c_in[None, :], other=0)
        # All of dy is read, though few of it count: where the mask is the same for neighbours, loads are wide.
        dy = tl.load(DY + start, mask=ok[:, None] & c_in[None, :], other=0.0).to(ACC)
        chosen = index.to(tl.int32) == (r // DH * S + s // DW).to(tl.int32)[:, None]
        acc = tl.where(chosen, acc + dy, acc)
    return acc


@triton.jit
def _max_pool2d_input_grad(
    DY, INDEX, DX, H, W, C: tl.int64, P, Q, pixels, R, S, SH, SW, PH, PW, DH, DW,
    ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,h,w,c] = sum of dy over the windows whose index points at (h, w).

    Grid one program per BP input pixels x BC channels. Bytes: read dy and index, write dx.
    """
    n, h, w, pixel, inside, c, c_in = _pixels(pixels, W, H, C, BP, BC)
    dx = _gathered(DY, INDEX, n, h, w, inside, c, c_in, C, P, Q, R, S, SH, SW, PH, PW, DH, DW, ACC, BP, BC)
    tl.store(DX + (pixel * C)[:, None] + c[None, :], dx.to(DX.dtype.element_ty), mask=inside[:, None] & c_in[None, :])


@triton.jit
def _max_pool2d_gather(
    X, INDEX, Y, H, W, C: tl.int64, P, Q, pixels, S, SH, SW, PH, PW, DH, DW, BP: tl.constexpr, BC: tl.constexpr
):
    """y[n,p,q,c] = x at the place in the window of (p, q) that index names: the derivative of max pooling along x.

    Grid one program per BP output pixels x BC channels. Bytes: read index and one x each, write y.
    """
    n, p, q, pixel, inside, c, c_in = _pixels(pixels, Q, P, C, BP, BC)
    place = (pixel * C)[:, None] + c[None, :]
    mask = inside[:, None] & c_in[None, :]
    rs = tl.load(INDEX + place, mask=c_in[None, :], other=0).to(tl.int64)
    h = (p * SH - PH)[:, None] + (rs // S) * DH
    w = (q * SW - PW)[:, None] + (rs % S) * DW
    ok = (h >= 0) & (h < H) & (w >= 0) & (w < W)
    x = tl.load(X + tl.where(ok, ((n[:, None] * H + h) * W + w) * C, 0) + c[None, :], mask=c_in[None, :], other=0)
    x = tl.where(ok, x, 0)
    tl.store(Y + place, x, mask=mask)


def pooled_size(size: int, window: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """Windows along one axis; rounding up never starts a window in the padding after the image, as torch has it."""
    span = size + 2 * padding - dilation * (window - 1) - 1
    count = (-(-span // stride) if ceil else span // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + padding else count


def max_pool2d(
    x: Array, size: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair, *, prologue: Pending | None = None
) -> tuple[Array, Array]:
    """Maxima of x [N,C,H,W] over `size` windows, and each one's place in its window; of what a norm and a ReLU make of
    x if `prologue` says so. Statistics that are not folded yet are folded by a launch of their own.
    """
    x = _channels_last(x)
    shape = (*x.shape[:2], *size)
    y = _empty_image(shape, x)
    index = _empty_image(shape, x, dtypes.uint8 if window[0] * window[1] < 256 else dtypes.int32)
    grid, numbers, config = _setup(x.shape, shape, shape)
    norm: tuple[Array | None, ...] = (None,) * 4
    if prologue is not None:
        prologue.statistics.settle()
        norm = (prologue.statistics.mean, prologue.statistics.rstd, prologue.weight, prologue.bias)
    nbytes = touched(rows_read, x, x.shape[2:], size, window, stride, padding, dilation) + footprint(*norm, y, index)
    geometry = (*window, *stride, *padding, *dilation, prologue is not None and prologue.relu, _accumulator(x))
    launch(_max_pool2d, grid, x, *norm, y, index, *numbers, *geometry, bytes=nbytes, **config)
    return y, index


def max_pool2d_input_grad(
    dy: Array, index: Array, x_shape: Sequence[int], window: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """dy [N,C,P,Q] carried back to where `index` says each maximum came from: [N,C,H,W]."""
    dy, dx = _channels_last(dy), _empty_image(x_shape, dy)
    grid, numbers, config = _setup(x_shape, dy.shape, x_shape)
    seen = (x_shape[2:], dy.shape[2:], window, stride, padding, dilation)
    nbytes = sum(touched(positions_reading, a, *seen) for a in (dy, index)) + dx.nbytes
    geometry = (*window, *stride, *padding, *dilation, _accumulator(dy))
    launch(_max_pool2d_input_grad, grid, dy, index, dx, *numbers, *geometry, bytes=nbytes, **config)
    return dx


def max_pool2d_gather(x: Array, index: Array, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """The elements of x [N,C,H,W] that `index` names: [N,C,P,Q]."""
    x, y = _channels_last(x), _empty_image(index.shape, x)
    grid, numbers, config = _setup(x.shape, index.shape, index.shape)
    nbytes = index.nbytes + 2 * y.nbytes  # less where two windows share their maximum
    geometry = (window[1], *stride, *padding, *dilation)
    launch(_max_pool2d_gather, grid, x, index, y, *numbers, *geometry, bytes=nbytes, at_most=True, **config)
    return y


def _setup(
    x_shape: Sequence[int], y_shape: Sequence[int], walked: Sequence[int]
) -> tuple[int, tuple[int, ...], dict[str, int]]:
    """Grid, the kernels' common size arguments, and tiles for a walk over the pixels of `walked`."""
    (_, c, h, w), (p, q) = x_shape, y_shape[2:]
    pixels = walked[0] * walked[2] * walked[3]
    config = tile("pool", BP=pixels, BC=c)
    return cdiv(pixels, config["BP"]) * cdiv(c, config["BC"]), (h, w, c, p, q, pixels), config


def _channels_last(a: Array) -> Array:
    return in_order(a, channels_last_strides(a.shape))


def _empty_image(shape: Sequence[int], like: Array, dtype: dtypes.dtype | None = None) -> Array:
    return empty(shape, dtype or like.dtype, like.device, channels_last_strides(shape))


def _accumulator(a: Array) -> tl.dtype:
    return TRITON_TYPE[dtypes.accumulator(a.dtype)]
