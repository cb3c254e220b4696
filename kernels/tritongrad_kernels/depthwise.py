"""Convolution whose groups have few channels, in one to three dimensions, channels innermost.

A product of matrices would be mostly padding here, since tensor cores take sixteen channels at least. What counts is
that every byte is moved once, in long runs: a program therefore takes neighbouring channels of many groups at a time,
and multiplies and adds them one by one. The channels of a group and the window's taps are the inner loop, of one turn a
tap where the convolution is depthwise; then, with one output a channel too, lanes next to each other read elements next
to each other.
Images of fewer than three dimensions have extents of 1 before the others. Pixels are counted in 32 bits, as in `conv`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, reduce
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.conv import empty_image, in_channels_last, over_parts, parts
from tritongrad_kernels.elementwise import TRITON_TYPE, contiguous
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.windows import Triple, output_sizes, positions_reading, rows_read, touched

MOST_CHANNELS = 15
"""Of a group, in and out alike, for these kernels to be worth it: a product of matrices takes 16 without padding."""


def fits(weight_shape: Sequence[int], groups: int) -> bool:
    """Whether a weight [O, C/groups, *window] belongs here rather than to products of matrices."""
    outputs, channels = weight_shape[0] // groups, weight_shape[1]
    return groups > 1 and channels <= MOST_CHANNELS and (channels == 1 or outputs <= MOST_CHANNELS)


@triton.jit
def _place(pixel, D, H, WIDTH):
    """(n, d, h, w) of a pixel in images of D x H x WIDTH."""
    row = pixel // WIDTH
    plane = row // H
    n = plane // D
    return n, plane - n * D, row - plane * H, pixel - row * WIDTH


@triton.jit
def _depthwise(
    X, W, BIAS, Y, N, D, H, WIDTH, channels, outputs, E, P, Q,
    C: tl.constexpr, O: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DD: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr, ACC: tl.constexpr, BP: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """y[n,e,p,q,o] = bias[o] + sum_{t,r,s,c} x[n, e SD + t DD - PD, p SH + r DH - PH, ..., o/O C + c] w[o,t,r,s,c].

    Shapes  x [N,D,H,WIDTH,channels], w [outputs,T,R,S,C], y [N,E,P,Q,outputs]; C and O are a group's channels.
    Grid    one program per BP output pixels x BO outputs, of any number of groups.
    Bytes   read x and w, write y (re-reads of the window's halo hit L1 and L2).
    Source  the direct sum, as in Howard et al. 2017, "MobileNets", equation 3.
    """
    blocks = tl.cdiv(outputs, BO)
    pid = tl.program_id(0).to(tl.int64)
    o = ((pid % blocks) * BO).to(tl.int32) + tl.arange(0, BO)
    pixel = ((pid // blocks) * BP).to(tl.int32) + tl.arange(0, BP)
    inside = pixel < N * E * P * Q
    n, e, p, q = _place(pixel, E, P, Q)
    first = (o // O) * C
    row = o.to(tl.int64) * (T * R * S * C)
    acc = tl.zeros((BP, BO), ACC)
    for i in range(0, T * R * S * C):
        tap = i // C
        d = e * SD + (tap // (R * S)) * DD - PD
        h = p * SH + (tap // S % R) * DH - PH
        w = q * SW + (tap % S) * DW - PW
        ok = inside & (d >= 0) & (d < D) & (h >= 0) & (h < H) & (w >= 0) & (w < WIDTH)
        start = tl.where(ok, ((n * D + d) * H + h) * WIDTH + w, 0).to(tl.int64) * channels + i % C
        x = tl.load(X + start[:, None] + first[None, :], mask=ok[:, None] & (o < outputs)[None, :], other=0.0)
        weight = tl.load(W + row + i, mask=o < outputs, other=0.0)
        acc += x.to(ACC) * weight.to(ACC)[None, :]
    if BIAS is not None:
        acc += tl.load(BIAS + o, mask=o < outputs, other=0.0).to(ACC)[None, :]
    place = Y + (pixel.to(tl.int64) * outputs)[:, None] + o[None, :]
    tl.store(place, acc.to(Y.dtype.element_ty), mask=inside[:, None] & (o < outputs)[None, :])


@triton.jit
def _depthwise_input_grad(
    DY, W, DX, N, D, H, WIDTH, channels, outputs, E, P, Q,
    C: tl.constexpr, O: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DD: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr, ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,d,h,w,c] = sum_{t,r,s,m} dy[n, (d + PD - t DD) / SD, ..., c/C O + m] w[c/C O + m, t, r, s, c mod C].

    A gather: of the taps, those whose division leaves a remainder are masked off, so that they move no bytes.
    Shapes  as `_depthwise`.
    Grid    one program per BP input pixels x BC input channels, of any number of groups.
    Bytes   read dy and w, write dx.
    """
    blocks = tl.cdiv(channels, BC)
    pid = tl.program_id(0).to(tl.int64)
    c = ((pid % blocks) * BC).to(tl.int32) + tl.arange(0, BC)
    pixel = ((pid // blocks) * BP).to(tl.int32) + tl.arange(0, BP)
    inside = pixel < N * D * H * WIDTH
    n, d, h, w = _place(pixel, D, H, WIDTH)
    first = (c // C) * O
    row = first.to(tl.int64) * (T * R * S * C) + c % C
    acc = tl.zeros((BP, BC), ACC)
    for i in range(0, T * R * S * O):
        tap = i // O
        m = i % O
        e = d + PD - (tap // (R * S)) * DD
        p = h + PH - (tap // S % R) * DH
        q = w + PW - (tap % S) * DW
        ok = inside & (e >= 0) & (p >= 0) & (q >= 0) & (e % SD == 0) & (p % SH == 0) & (q % SW == 0)
        ok = ok & (e // SD < E) & (p // SH < P) & (q // SW < Q)
        start = tl.where(ok, ((n * E + e // SD) * P + p // SH) * Q + q // SW, 0).to(tl.int64) * outputs + m
        dy = tl.load(DY + start[:, None] + first[None, :], mask=ok[:, None] & (c < channels)[None, :], other=0.0)
        weight = tl.load(W + row + (m * (T * R * S) + tap) * C, mask=c < channels, other=0.0)
        acc += dy.to(ACC) * weight.to(ACC)[None, :]
    place = DX + (pixel.to(tl.int64) * channels)[:, None] + c[None, :]
    tl.store(place, acc.to(DX.dtype.element_ty), mask=inside[:, None] & (c < channels)[None, :])


@triton.jit
def _depthwise_weight_grad(
    DY, X, DW_OUT, N, D, H, WIDTH, channels, outputs, E, P, Q, split,
    C: tl.constexpr, O: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DD: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr,
    ACC: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, BO: tl.constexpr,
):  # fmt: skip
    """dw[z,o,t,r,s,c] = sum over output pixels (n,e,p,q) in slab z of dy[n,e,p,q,o] x[n, e SD + t DD - PD, ...].

    Shapes  as `_depthwise`; dw [slabs,outputs,T,R,S,C]; slabs are summed in order by a second launch.
    Grid    one program per slab of `split` pixels, BO outputs, and BK of an output's weights, which share what they
            read of dy. Every lane sums its own pixels, and lanes are summed at the end.
    Bytes   read dy and x, write dw once a slab.
    """
    blocks_o, blocks_k = tl.cdiv(outputs, BO), tl.cdiv(T * R * S * C, BK)
    pid = tl.program_id(0).to(tl.int64)
    o = ((pid % blocks_o) * BO).to(tl.int32) + tl.arange(0, BO)
    pid = pid // blocks_o
    k = ((pid % blocks_k) * BK).to(tl.int32) + tl.arange(0, BK)
    z = pid // blocks_k
    tap = k // C
    d_shift = ((tap // (R * S)) * DD - PD)[:, None]
    h_shift = ((tap // S % R) * DH - PH)[:, None]
    w_shift = ((tap % S) * DW - PW)[:, None]
    first = (o // O) * C
    begin = (z * split).to(tl.int32)
    end = begin + tl.minimum(split, N * E * P * Q - begin)
    acc = tl.zeros((BK, BP, BO), ACC)
    for start in range(begin, end, BP):
        pixel = start + tl.arange(0, BP)
        n, e, p, q = _place(pixel, E, P, Q)
        d = (e * SD)[None, :] + d_shift
        h = (p * SH)[None, :] + h_shift
        w = (q * SW)[None, :] + w_shift
        ok = (pixel < end)[None, :] & (k < T * R * S * C)[:, None]
        ok = ok & (d >= 0) & (d < D) & (h >= 0) & (h < H) & (w >= 0) & (w < WIDTH)
        source = tl.where(ok, ((n[None, :] * D + d) * H + h) * WIDTH + w, 0).to(tl.int64) * channels
        source += (k % C)[:, None]
        mask = ok[:, :, None] & (o < outputs)[None, None, :]
        x = tl.load(X + source[:, :, None] + first[None, None, :], mask=mask, other=0.0)
        place = (pixel.to(tl.int64) * outputs)[:, None] + o[None, :]
        dy = tl.load(DY + place, mask=(pixel < end)[:, None] & (o < outputs)[None, :], other=0.0)
        acc += x.to(ACC) * dy.to(ACC)[None, :, :]
    total = tl.sum(acc, 1)
    place = ((z * outputs + o) * (T * R * S * C))[None, :] + k[:, None]
    mask = (k < T * R * S * C)[:, None] & (o < outputs)[None, :]
    tl.store(DW_OUT + place, total.to(DW_OUT.dtype.element_ty), mask=mask)


def _group(weight_shape: Sequence[int], groups: int) -> tuple[int, ...]:
    """A group's channels, its outputs, and the window."""
    o, c, *window = weight_shape
    return c, o // groups, *window


def depthwise(
    x: Array, weight: Array, bias: Array | None, stride: Triple, padding: Triple, dilation: Triple, groups: int
) -> Array:
    """Cross-correlate x [N,C,D,H,W] with weight [O,C/groups,T,R,S] (+ bias [O]) into channels-last [N,O,E,P,Q]."""
    x, weight = in_channels_last(x), in_channels_last(weight)
    bias = None if bias is None else contiguous(bias)
    sizes = output_sizes(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    y = empty_image((x.shape[0], weight.shape[0], *sizes), x)
    acc = TRITON_TYPE[dtypes.accumulator(x.dtype)]
    for start, end in parts("depthwise convolution", x.shape[0], math.prod(x.shape[2:]), math.prod(sizes)):
        some, into = x.slice(0, start, end), y.slice(0, start, end)
        pixels = (end - start) * math.prod(sizes)
        config = tile("depthwise", itemsize=x.dtype.itemsize, BP=pixels, BC=y.shape[1])
        block = config.pop("BC")
        launch(
            _depthwise,
            cdiv(y.shape[1], block) * cdiv(pixels, config["BP"]),
            some,
            weight,
            bias,
            into,
            end - start, *x.shape[2:], x.shape[1], *y.shape[1:],
            *_group(weight.shape, groups), *stride, *padding, *dilation,
            acc,
            flops=2 * into.size * math.prod(weight.shape[1:]),
            bytes=touched(rows_read, some, x.shape[2:], sizes, weight.shape[2:], stride, padding, dilation)
            + footprint(weight, bias, into),
            BO=block,
            **config,
        )  # fmt: skip
    return y


def depthwise_input_grad(
    dy: Array, weight: Array, x_shape: Sequence[int], stride: Triple, padding: Triple, dilation: Triple, groups: int
) -> Array:
    """The gradient of `depthwise` for its input: dy [N,O,E,P,Q], weight [O,C/groups,T,R,S] -> [N,C,D,H,W]."""
    dy, weight = in_channels_last(dy), in_channels_last(weight)
    sizes, outputs = x_shape[2:], dy.shape[2:]
    dx = empty_image(x_shape, dy)
    acc = TRITON_TYPE[dtypes.accumulator(dy.dtype)]
    for start, end in parts("depthwise convolution", x_shape[0], math.prod(sizes), math.prod(outputs)):
        some, into = dy.slice(0, start, end), dx.slice(0, start, end)
        pixels = (end - start) * math.prod(sizes)
        config = tile("depthwise", itemsize=dy.dtype.itemsize, BP=pixels, BC=x_shape[1])
        launch(
            _depthwise_input_grad,
            cdiv(x_shape[1], config["BC"]) * cdiv(pixels, config["BP"]),
            some,
            weight,
            into,
            end - start, *sizes, x_shape[1], *dy.shape[1:],
            *_group(weight.shape, groups), *stride, *padding, *dilation,
            acc,
            flops=2 * some.size * math.prod(weight.shape[1:]),
            bytes=touched(positions_reading, some, sizes, outputs, weight.shape[2:], stride, padding, dilation)
            + footprint(weight, into),
            **config,
        )  # fmt: skip
    return dx


def depthwise_weight_grad(
    dy: Array, x: Array, weight_shape: Sequence[int], stride: Triple, padding: Triple, dilation: Triple, groups: int
) -> Array:
    """The gradient of `depthwise` for its weight: dy [N,O,E,P,Q], x [N,C,D,H,W] -> [O,C/groups,T,R,S]."""
    acc = dtypes.accumulator(x.dtype)
    o, weights = weight_shape[0], math.prod(weight_shape[1:])

    def part(dy: Array, x: Array, dtype: dtypes.dtype) -> Array:
        pixels = dy.shape[0] * math.prod(dy.shape[2:])
        config = tile("depthwise_weight_grad", itemsize=x.dtype.itemsize, BK=weights, BP=pixels, BO=o)
        split = config.pop("SPLIT")
        slabs = max(cdiv(pixels, split), 1)
        out = empty((slabs, o, *weight_shape[2:], weight_shape[1]), acc if slabs > 1 else dtype, x.device)
        launch(
            _depthwise_weight_grad,
            cdiv(o, config["BO"]) * cdiv(weights, config["BK"]) * slabs,
            dy,
            x,
            out,
            dy.shape[0], *x.shape[2:], x.shape[1], *dy.shape[1:], split,
            *_group(weight_shape, groups), *stride, *padding, *dilation,
            TRITON_TYPE[acc],
            flops=2 * dy.size * weights,
            bytes=touched(rows_read, x, x.shape[2:], dy.shape[2:], weight_shape[2:], stride, padding, dilation)
            + footprint(dy, out),
            **config,
        )  # fmt: skip
        total = reduce.sum(out, (0,), dtype=dtype) if slabs > 1 else out.squeeze(0)
        return total.permute((0, 4, 1, 2, 3))

    return over_parts("depthwise convolution", part, in_channels_last(dy), in_channels_last(x))
