"""Two-dimensional convolution of half precisions on GPUs with TMA: operands are copied, and results stored, as boxes of
pixels, so that no address is computed, and what a copy fills in beyond the image is its padding.

A box has images, rows and columns. One tap of the window moves it; with stride s, rows and columns are phases,
h = s h' + phase, of a view with an axis for each, so that there, too, one tap is one box.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import triton
import triton.language as tl

from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.descriptors import descriptor, fits
from tritongrad_kernels.launch import cdiv, has_tma, launch, next_power_of_2, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.moments import empty_moments, no_moments, rounded, runs_of, store_moments, with_tile
from tritongrad_kernels.prologue import NOTHING, Prologue, prepared
from tritongrad_kernels.windows import Pair, rows_read


@triton.jit
def _corner(box, P, Q, TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr):
    """The first image, row and column of a box: columns fastest, images last."""
    across = tl.cdiv(Q, TW)
    row = box // across
    down = tl.cdiv(P, TH)
    n = row // down
    return n * TN, (row - n * down) * TH, (box - row * across) * TW


@triton.jit
def _in_image(lane, n, p, q, N, P, Q, TH: tl.constexpr, TW: tl.constexpr):
    """Which of the pixels `lane` of the box at (n, p, q) there are."""
    return (n + lane // (TH * TW) < N) & (p + lane // TW % TH < P) & (q + lane % TW < Q)


@triton.jit
def _conv2d_box(
    X, W, BIAS, Y, MEAN, RSTD, SCALE, SHIFT, n, p, q, o, C, O,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, RELU: tl.constexpr,
    EVEN_O: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the box of pixels at (n, p, q) for the channels from o on; what was stored [BO, TN TH TW]."""
    # Rows and columns are counted from this many strides before the image: no coordinate divided is negative.
    LIFT_H: tl.constexpr = (PH + SH - 1) // SH
    LIFT_W: tl.constexpr = (PW + SW - 1) // SW
    blocks_c = C // BC
    acc = tl.zeros((BO, TN * TH * TW), ACC)
    for i in range(0, R * S * blocks_c):
        rs = i // blocks_c
        r = rs // S
        h = r * DH + LIFT_H * SH - PH
        w = (rs - r * S) * DW + LIFT_W * SW - PW
        c = (w % SW) * C + (i - rs * blocks_c) * BC
        x = X.load([n, p + h // SH - LIFT_H, h % SH, q + w // SW - LIFT_W, c]).reshape(TN * TH * TW, BC)
        if MEAN is not None:
            channel = i * BC + tl.arange(0, BC)
            x = prepared(x, MEAN, RSTD, SCALE, SHIFT, channel, channel < C, RELU, ACC, BC)
        acc = tl.dot(W.load([o, i * BC]), x.T, acc, input_precision=PRECISION, out_dtype=ACC)
    y = rounded(acc, BIAS, clamped(o + tl.arange(0, BO), O, EVEN_O), Y.dtype, ACC)
    Y.store([n, p, q, o], y.T.reshape(TN, TH, TW, BO))
    return y


@triton.jit
def _conv2d_tma(
    X, W, BIAS, Y, MOMENTS, MEAN, RSTD, SCALE, SHIFT, runs, N, P, Q, C, O,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, RELU: tl.constexpr,
    EVEN_O: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr, FLAT: tl.constexpr,
):  # fmt: skip
    """y[n,p,q,o] = bias[o] + sum_{r,s,c} x[n, p SH + r DH - PH, q SW + s DW - PW, c] w[o,r,s,c].

    Shapes  x [N, rows / SH, SH, columns / SW, SW C] by [TN, TH, 1, TW, BC], w [O, R S C] by [BO, BC] and
            y [N, P, Q, O] by [TN, TH, TW, BO], all descriptors; BC divides C. moments [runs, 3, O] of y, or None;
            mean, rstd, scale, shift [C] of a `prologue`, or None.
    Grid    one program per box of output pixels x BO output channels; for moments, one per run: the boxes run,
            run + runs, ... If FLAT, their loops are one for the compiler, so that the copies for a box begin before
            the last one is stored.
    Bytes   read x and w, write y (the taps of a box hit L2) and moments.
    Source  implicit GEMM, Chetlur et al. 2014 (cuDNN), section 3, fed as in CUTLASS 3's `im2col` copies, by boxes.
    """
    blocks_o = tl.cdiv(O, BO)
    pid = tl.program_id(0)
    o = (pid % blocks_o) * BO
    run = pid // blocks_o
    if MOMENTS is None:
        n, p, q = _corner(run, P, Q, TN, TH, TW)
        _conv2d_box(
            X, W, BIAS, Y, MEAN, RSTD, SCALE, SHIFT, n, p, q, o, C, O,
            R, S, SH, SW, PH, PW, DH, DW, RELU, EVEN_O, PRECISION, ACC, TN, TH, TW, BO, BC,
        )  # fmt: skip
    else:
        count, mean, squares = no_moments(BO, ACC)
        lane = tl.arange(0, TN * TH * TW)
        boxes = tl.cdiv(N, TN) * tl.cdiv(P, TH) * tl.cdiv(Q, TW)
        for box in tl.range(run, boxes, runs, flatten=FLAT == 1, disable_licm=FLAT == 0):
            n, p, q = _corner(box, P, Q, TN, TH, TW)
            y = _conv2d_box(
                X, W, BIAS, Y, MEAN, RSTD, SCALE, SHIFT, n, p, q, o, C, O,
                R, S, SH, SW, PH, PW, DH, DW, RELU, EVEN_O, PRECISION, ACC, TN, TH, TW, BO, BC,
            )  # fmt: skip
            inside = _in_image(lane, n, p, q, N, P, Q, TH, TW)
            pixels = tl.minimum(N - n, TN) * tl.minimum(P - p, TH) * tl.minimum(Q - q, TW)
            count, mean, squares = with_tile(count, mean, squares, y, inside, pixels, ACC)
        channel = o + tl.arange(0, BO)
        store_moments(MOMENTS, count, mean, squares, run, channel, O, channel < O)


@dataclass(frozen=True)
class View:
    """An image as boxes are copied from it, and the convolution that is left to do.

    shape, strides  [images, rows, phases of a row, columns, phases of a column and channels]
    pixels          images, rows and columns of the result
    channels        of one pixel
    window, stride, padding, dilation  of rows and columns
    zeros           of the terms of each sum, so many are zero in every filter
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    pixels: tuple[int, int, int]
    channels: int
    window: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    zeros: int = 0

    def bytes_read(self, box: tuple[int, int, int], itemsize: int) -> int:
        """Boxes that reach beyond the result read what windows there would."""
        (_, p, q), (_, rows, columns) = self.pixels, box
        images, tall, row_phases, wide, piece = self.shape
        sizes = tall * row_phases, wide * piece // self.channels
        positions = cdiv(p, rows) * rows, cdiv(q, columns) * columns
        read = list(map(rows_read, sizes, positions, self.window, self.stride, self.padding, self.dilation))
        overlap = (read[1] - 1) * max(piece - self.strides[3], 0)
        return images * read[0] * (read[1] * self.channels - overlap) * itemsize


def view(x: Array, y: Array, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> View | None:
    """Channels-last x [N,C,H,W] as boxes are copied from it, for a result y; None where a stride leaves a rest."""
    (n, c, h, w), (sh, sw), (p, q) = x.shape, stride, y.shape[2:]
    if window == (1, 1) and padding == (0, 0):
        if stride == (1, 1):  # one row of all pixels
            pixels = n * h * w
            return View((1, 1, 1, pixels, c), (pixels * c, pixels * c, pixels * c, c, 1), (1, 1, pixels), c)
        return View((n, p, 1, q, c), (h * w * c, sh * w * c, w * c, sw * c, 1), (n, p, q), c)
    if h % sh or w % sw:
        return None
    strides = (h * w * c, sh * w * c, w * c, sw * c, 1)
    return View((n, h // sh, sh, w // sw, sw * c), strides, (n, p, q), c, window, stride, padding, dilation)


def suits(x: Array, weight: Array, y: Array, seen: View | None, groups: int) -> bool:
    """Whether `forward` can do it; the kernel of `conv` can do everything.

    Half precisions on a GPU with TMA, channels that fill whole blocks, and what `descriptors.fits` asks.
    """
    if seen is None or groups > 1 or x.dtype.itemsize != 2 or x.size == 0 or seen.channels % 16 or not has_tma():
        return False
    o, terms = weight.shape[0], math.prod(weight.shape[1:])
    return (
        fits(x, None, seen.shape, seen.strides)
        and fits(weight, None, (o, terms), (terms, 1))
        and fits(y, None, *_result(seen, o))
    )


def _result(seen: View, o: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The result's shape [N, P, Q, O] and strides."""
    n, p, q = seen.pixels
    return (n, p, q, o), (p * q * o, q * o, o, 1)


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    y: Array,
    seen: View,
    want_moments: bool,
    prologue: Prologue | None,
    precision: str,
    acc: tl.dtype,
) -> Array | None:
    """Store into y [N,O,P,Q] what x, `seen` as it is, and weight [O,C,R,S] give; the moments of y, if wanted.

    All are channels-last; a `prologue` goes before a window of one pixel without padding.
    """
    o, terms = weight.shape[0], seen.channels * math.prod(seen.window)
    row = "conv2d_tma_narrow" if o <= 64 else "conv2d_tma" if terms < LONG else "conv2d_tma_long"
    config = tile(row, least=16, itemsize=2, BO=o, BP=math.prod(seen.pixels), BC=math.gcd(seen.channels, 1 << 10))
    box = box_sides(*seen.pixels, config.pop("BP"))
    bo, bc = config["BO"], config["BC"]
    boxes, blocks = math.prod(map(cdiv, seen.pixels, box)), cdiv(o, bo)
    runs = runs_of(boxes, blocks) if want_moments else boxes
    moments = empty_moments(runs, y) if want_moments else None
    rows, columns = box[1:]
    *norm, relu = prologue or NOTHING
    launch(
        _conv2d_tma,
        blocks * runs,
        descriptor(x, (box[0], rows, 1, columns, bc), seen.shape, seen.strides),
        descriptor(weight, (bo, bc), (o, terms), (terms, 1)),
        bias,
        descriptor(y, (*box, bo), *_result(seen, o)),
        moments,
        *norm,
        runs if want_moments else 1,
        *seen.pixels, seen.channels, o,
        *seen.window, *seen.stride, *seen.padding, *seen.dilation,
        relu,
        o % bo == 0,
        precision, acc, *box,
        flops=2 * y.size * (terms - seen.zeros),
        bytes=seen.bytes_read(box, x.dtype.itemsize) + footprint(weight, bias, y, moments, *norm),
        **config,
    )  # fmt: skip
    return moments


LONG = 1024
"""Products of so many terms and more are bound by the tensor cores, not by memory."""


@functools.cache
def box_sides(n: int, p: int, q: int, area: int) -> tuple[int, int, int]:
    """Images, rows and columns of a box of `area` pixels, so that few boxes cover [n, p, q]; all powers of two.

    Of equals, the one with the shortest edge, because neighbouring taps then read most of what one of them has read.
    """
    found = []
    for rows in _powers(min(area, next_power_of_2(p))):
        for columns in _powers(min(area // rows, next_power_of_2(q))):
            images = area // (rows * columns)
            boxes = cdiv(n, images) * cdiv(p, rows) * cdiv(q, columns)
            found.append((boxes, images * (rows + columns), (images, rows, columns)))
    return min(found)[-1]


def _powers(most: int) -> list[int]:
    return [1 << k for k in range(most.bit_length())]
