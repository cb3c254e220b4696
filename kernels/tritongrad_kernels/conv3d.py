"""Three-dimensional convolution as implicit matrix products: `conv` with one more axis, and with its tiles.

Kernels of their own, because the loop of two dimensions has no registers to spare, and because a sum of
two-dimensional convolutions, one a tap along the depth, would round and move each result once a tap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, reduce
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.conv import (
    arithmetic,
    check_filters,
    empty_image,
    in_channels_last,
    over_parts,
    parts,
)
from tritongrad_kernels.conv_input_grad_tma import _first_tap
from tritongrad_kernels.conv_weight_grad_tma import split
from tritongrad_kernels.elementwise import contiguous
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.windows import Triple, output_sizes, positions_reading, rows_read, touched


@triton.jit
def _conv3d(
    X, W, BIAS, Y, N, D, H, WIDTH, C, O, E, P, Q,
    T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DD: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y[n,e,p,q,o] = bias[o] + sum_{t,r,s,c} x[n, e SD + t DD - PD, p SH + r DH - PH, ..., g C + c] w[o,t,r,s,c].

    Shapes  x [N,D,H,WIDTH,GROUPS C], w [GROUPS O,T,R,S,C], y [N,E,P,Q,GROUPS O]; C and O per group g.
    Grid    one program per BP output pixels x BO output channels of one group.
    Bytes   read x and w, write y (re-reads of the window's halo hit L2).
    Source  implicit GEMM, Chetlur et al. 2014 (cuDNN), section 3.
    """
    blocks_o = tl.cdiv(O, BO)
    pid = tl.program_id(0).to(tl.int64)
    g = ((pid // blocks_o) % GROUPS).to(tl.int32)
    o = ((pid % blocks_o) * BO).to(tl.int32) + tl.arange(0, BO)
    pixel = ((pid // (blocks_o * GROUPS)) * BP).to(tl.int32) + tl.arange(0, BP)
    inside = pixel < N * E * P * Q
    row = pixel // Q
    plane = row // P
    n = plane // E
    d0 = (plane - n * E) * SD - PD
    h0 = (row - plane * P) * SH - PH
    w0 = (pixel - row * Q) * SW - PW
    o_row = (g * O + clamped(o, O, EVEN_O)).to(tl.int64) * (T * R * S * C)
    blocks_c = tl.cdiv(C, BC)
    acc = tl.zeros((BO, BP), ACC)
    for i in range(0, T * R * S * blocks_c):
        tap = i // blocks_c
        c = (i - tap * blocks_c) * BC + tl.arange(0, BC)
        d = d0 + (tap // (R * S)) * DD
        h = h0 + (tap // S % R) * DH
        w = w0 + (tap % S) * DW
        ok = inside & (d >= 0) & (d < D) & (h >= 0) & (h < H) & (w >= 0) & (w < WIDTH)
        start = tl.where(ok, ((n * D + d) * H + h) * WIDTH + w, 0).to(tl.int64) * (C * GROUPS) + g * C
        place = W + o_row[:, None] + (tap * C + clamped(c, C, EVEN_C))[None, :]
        if EVEN_C:
            x = tl.load(X + start[:, None] + c[None, :], mask=ok[:, None], other=0.0)
            weight = tl.load(place)
        else:
            c_in = (c < C)[None, :]
            c = clamped(c, C, EVEN_C)
            x = tl.load(X + start[:, None] + c[None, :], mask=ok[:, None] & c_in, other=0.0)
            weight = tl.load(place, mask=c_in, other=0.0)
        acc = tl.dot(weight, x.T, acc, input_precision=PRECISION, out_dtype=ACC)
    if BIAS is not None:
        acc += tl.load(BIAS + g * O + clamped(o, O, EVEN_O))[:, None].to(ACC)
    place = Y + (pixel.to(tl.int64) * (O * GROUPS) + g * O)[:, None] + o[None, :]
    tl.store(place, acc.T.to(Y.dtype.element_ty), mask=inside[:, None] & (o < O)[None, :])


@triton.jit
def _taps(phase, LENGTH: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr, STEP: tl.constexpr):
    """The first tap of a window that reaches pixels of this phase, and how many do, STEP apart."""
    first = _first_tap(phase, STRIDE, DILATION, STEP)
    return first, tl.where(first < 0, 0, (LENGTH - first + STEP - 1) // STEP)


@triton.jit
def _conv3d_input_grad(
    DY, W, DX, N, D, H, WIDTH, C, O, E, P, Q, pixels,
    T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DD: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr,
    STEP_D: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,d,h,w,g C + c] = sum_{t,r,s,o} dy[n, (d + PD - t DD) / SD, (h + PH - r DH) / SH, ..., o] w[o,t,r,s,c].

    A gather phase by phase, as `_conv2d_input_grad` in `conv`.
    Shapes  as `_conv3d`; STEP = stride / gcd(stride, dilation); `pixels` bounds the pixels of a phase.
    Grid    one program per phase, BP input pixels of it, and BC input channels of one group.
    Bytes   read dy and w, write dx.
    """
    blocks_c = tl.cdiv(C, BC)
    blocks_p = tl.cdiv(pixels, BP)
    pid = tl.program_id(0).to(tl.int64)
    c = ((pid % blocks_c) * BC).to(tl.int32) + tl.arange(0, BC)
    g = ((pid // blocks_c) % GROUPS).to(tl.int32)
    pixel = (((pid // (blocks_c * GROUPS)) % blocks_p) * BP).to(tl.int32) + tl.arange(0, BP)
    phase = (pid // (blocks_c * GROUPS * blocks_p)).to(tl.int32)
    d_phase, h_phase, w_phase = phase // (SH * SW), phase // SW % SH, phase % SW
    planes = (D - d_phase + SD - 1) // SD
    rows = (H - h_phase + SH - 1) // SH
    columns = (WIDTH - w_phase + SW - 1) // SW
    inside = pixel < N * planes * rows * columns
    row = pixel // tl.maximum(columns, 1)
    plane = row // tl.maximum(rows, 1)
    n = plane // tl.maximum(planes, 1)
    d = (plane - n * planes) * SD + d_phase
    h = (row - plane * rows) * SH + h_phase
    w = (pixel - row * columns) * SW + w_phase
    t0, taps_t = _taps(d_phase + PD, T, SD, DD, STEP_D)
    r0, taps_r = _taps(h_phase + PH, R, SH, DH, STEP_H)
    s0, taps_s = _taps(w_phase + PW, S, SW, DW, STEP_W)
    # With valid taps the divisions are exact; moving on one tap moves the output row by a whole number of rows.
    e0 = (d + PD - t0 * DD) // SD
    p0 = (h + PH - r0 * DH) // SH
    q0 = (w + PW - s0 * DW) // SW
    c_in = c < C
    c = clamped(c, C, EVEN_C)
    blocks_o = tl.cdiv(O, BO)
    acc = tl.zeros((BC, BP), ACC)
    for i in range(0, taps_t * taps_r * taps_s * blocks_o):
        tap = i // blocks_o
        b = tap % taps_s
        a = tap // taps_s % taps_r
        f = tap // taps_s // taps_r
        o = (i - tap * blocks_o) * BO + tl.arange(0, BO)
        e = e0 - f * (STEP_D * DD // SD)
        p = p0 - a * (STEP_H * DH // SH)
        q = q0 - b * (STEP_W * DW // SW)
        ok = inside & (e >= 0) & (e < E) & (p >= 0) & (p < P) & (q >= 0) & (q < Q)
        # Clamped by coordinate: Triton 3.6 fails to lay out a value used both as the mask and in the address.
        e = tl.minimum(tl.maximum(e, 0), E - 1)
        p = tl.minimum(tl.maximum(p, 0), P - 1)
        q = tl.minimum(tl.maximum(q, 0), Q - 1)
        start = (((tl.minimum(n, N - 1) * E + e) * P + p) * Q + q).to(tl.int64) * (O * GROUPS) + g * O
        place = ((t0 + f * STEP_D) * R + r0 + a * STEP_H) * S + s0 + b * STEP_W
        place = W + ((g * O + clamped(o, O, EVEN_O)) * (T * R * S) + place).to(tl.int64)[:, None] * C + c[None, :]
        if EVEN_O:
            dy = tl.load(DY + start[:, None] + o[None, :], mask=ok[:, None], other=0.0)
            weight = tl.load(place)
        else:
            o_in = o < O
            o = clamped(o, O, EVEN_O)
            dy = tl.load(DY + start[:, None] + o[None, :], mask=ok[:, None] & o_in[None, :], other=0.0)
            weight = tl.load(place, mask=o_in[:, None], other=0.0)
        acc = tl.dot(weight.T, dy.T, acc, input_precision=PRECISION, out_dtype=ACC)
    place = DX + ((((n * D + d) * H + h) * WIDTH + w).to(tl.int64) * (C * GROUPS) + g * C)[:, None] + c[None, :]
    tl.store(place, acc.T.to(DX.dtype.element_ty), mask=inside[:, None] & c_in[None, :])


@triton.jit
def _conv3d_weight_grad(
    DY, X, DW_OUT, N, D, H, WIDTH, C, O, E, P, Q, split,
    T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DD: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dw[z,o,t,r,s,c] = sum over output pixels (n,e,p,q) in slab z of dy[n,e,p,q,o] x[n, e SD + t DD - PD, ..., c].

    Shapes  as `_conv3d`; dw [slabs, GROUPS O, T, R, S, C]; slabs are summed in order by a second launch.
    Grid    one program per slab of `split` pixels, window position, BO output x BC input channels of one group.
    Bytes   read dy and x, write dw once a slab.
    """
    blocks_o, blocks_c = tl.cdiv(O, BO), tl.cdiv(C, BC)
    pid = tl.program_id(0).to(tl.int64)
    o = ((pid % blocks_o) * BO).to(tl.int32) + tl.arange(0, BO)
    pid = pid // blocks_o
    c = ((pid % blocks_c) * BC).to(tl.int32) + tl.arange(0, BC)
    pid = pid // blocks_c
    tap = (pid % (T * R * S)).to(tl.int32)
    pid = pid // (T * R * S)
    g = (pid % GROUPS).to(tl.int32)
    z = pid // GROUPS
    d_shift = (tap // (R * S)) * DD - PD
    h_shift = (tap // S % R) * DH - PH
    w_shift = (tap % S) * DW - PW
    o_in = o < O
    c_in = c < C
    o_clamped = g * O + clamped(o, O, EVEN_O)
    c_clamped = g * C + clamped(c, C, EVEN_C)
    begin = (z * split).to(tl.int32)
    end = begin + tl.minimum(split, N * E * P * Q - begin)
    acc = tl.zeros((BO, BC), ACC)
    for first in range(begin, end, BP):
        pixel = first + tl.arange(0, BP)
        inside = pixel < end
        pixel = tl.where(inside, pixel, 0)
        row = pixel // Q
        plane = row // P
        n = plane // E
        d = (plane - n * E) * SD + d_shift
        h = (row - plane * P) * SH + h_shift
        w = (pixel - row * Q) * SW + w_shift
        ok = inside & (d >= 0) & (d < D) & (h >= 0) & (h < H) & (w >= 0) & (w < WIDTH)
        start = tl.where(ok, ((n * D + d) * H + h) * WIDTH + w, 0).to(tl.int64) * (C * GROUPS)
        dy_place = DY + (pixel.to(tl.int64) * (O * GROUPS))[:, None] + o_clamped[None, :]
        # Channels past the end repeat channel 0 and are not stored; pixels past the end must count as zero.
        dy = tl.load(dy_place, mask=inside[:, None], other=0.0)
        x = tl.load(X + start[:, None] + c_clamped[None, :], mask=ok[:, None], other=0.0)
        acc = tl.dot(dy.T, x, acc, input_precision=PRECISION, out_dtype=ACC)
    row = z * (O * GROUPS) + g * O + o
    place = DW_OUT + ((row * (T * R * S) + tap) * C)[:, None] + c[None, :]
    tl.store(place, acc.to(DW_OUT.dtype.element_ty), mask=o_in[:, None] & c_in[None, :])


def conv3d(
    x: Array, weight: Array, bias: Array | None, stride: Triple, padding: Triple, dilation: Triple, groups: int
) -> Array:
    """Cross-correlate x [N,C,D,H,W] with weight [O,C/groups,T,R,S] (+ bias [O]) into channels-last [N,O,E,P,Q]."""
    x, weight = in_channels_last(x), in_channels_last(weight)
    bias = None if bias is None else contiguous(bias)
    o, c, *window = weight.shape
    check_filters("conv3d", weight.shape)
    sizes = output_sizes(x.shape[2:], window, stride, padding, dilation)
    y = empty_image((x.shape[0], o, *sizes), x)
    for start, end in parts("conv3d", x.shape[0], math.prod(x.shape[2:]), math.prod(sizes)):
        some, into = x.slice(0, start, end), y.slice(0, start, end)
        pixels = (end - start) * math.prod(sizes)
        config = tile("conv2d", least=16, itemsize=x.dtype.itemsize, BO=o // groups, BP=pixels, BC=c)
        launch(
            _conv3d,
            cdiv(o // groups, config["BO"]) * groups * cdiv(pixels, config["BP"]),
            some,
            weight,
            bias,
            into,
            end - start, *x.shape[2:], c, o // groups, *sizes,
            *window, *stride, *padding, *dilation, groups,
            c % config["BC"] == 0,
            o // groups % config["BO"] == 0,
            *arithmetic(x),
            flops=2 * into.size * math.prod(weight.shape[1:]),
            bytes=touched(rows_read, some, x.shape[2:], sizes, window, stride, padding, dilation)
            + footprint(weight, bias, into),
            **config,
        )  # fmt: skip
    return y


def conv3d_input_grad(
    dy: Array, weight: Array, x_shape: Sequence[int], stride: Triple, padding: Triple, dilation: Triple, groups: int
) -> Array:
    """The gradient of `conv3d` for its input: dy [N,O,E,P,Q], weight [O,C/groups,T,R,S] -> [N,C,D,H,W]."""
    dy, weight = in_channels_last(dy), in_channels_last(weight)
    o, c, *window = weight.shape
    check_filters("conv3d", weight.shape)
    sizes, outputs = x_shape[2:], dy.shape[2:]
    steps = [st // math.gcd(st, d) for st, d in zip(stride, dilation, strict=True)]
    dx = empty_image(x_shape, dy)
    for start, end in parts("conv3d", x_shape[0], math.prod(sizes), math.prod(outputs)):
        some, into = dy.slice(0, start, end), dx.slice(0, start, end)
        pixels = (end - start) * math.prod(map(cdiv, sizes, stride))
        config = tile("conv3d_input_grad", least=16, itemsize=dy.dtype.itemsize, BO=o // groups, BP=pixels, BC=c)
        launch(
            _conv3d_input_grad,
            cdiv(c, config["BC"]) * groups * cdiv(pixels, config["BP"]) * math.prod(stride),
            some,
            weight,
            into,
            end - start, *sizes, c, o // groups, *outputs, pixels,
            *window, *stride, *padding, *dilation, *steps, groups,
            c % config["BC"] == 0,
            o // groups % config["BO"] == 0,
            *arithmetic(dy),
            flops=2 * some.size * math.prod(weight.shape[1:]),
            bytes=touched(positions_reading, some, sizes, outputs, window, stride, padding, dilation)
            + footprint(weight, into),
            **config,
        )  # fmt: skip
    return dx


def conv3d_weight_grad(
    dy: Array, x: Array, weight_shape: Sequence[int], stride: Triple, padding: Triple, dilation: Triple, groups: int
) -> Array:
    """The gradient of `conv3d` for its weight: dy [N,O,E,P,Q], x [N,C,D,H,W] -> [O,C/groups,T,R,S]."""
    o, c, *window = weight_shape
    acc = dtypes.accumulator(x.dtype)

    def part(dy: Array, x: Array, dtype: dtypes.dtype) -> Array:
        pixels = dy.shape[0] * math.prod(dy.shape[2:])
        config = tile("conv2d_weight_grad", least=16, itemsize=x.dtype.itemsize, BO=o // groups, BP=pixels, BC=c)
        tiles = cdiv(o // groups, config["BO"]) * cdiv(c, config["BC"]) * math.prod(window) * groups
        steps, slabs = split(pixels, tiles, config)
        out = empty((slabs, o, *window, c), acc if slabs > 1 else dtype, x.device)
        launch(
            _conv3d_weight_grad,
            tiles * slabs,
            dy,
            x,
            out,
            dy.shape[0], *x.shape[2:], c, o // groups, *dy.shape[2:], steps * config["BP"],
            *window, *stride, *padding, *dilation, groups,
            c % config["BC"] == 0,
            o // groups % config["BO"] == 0,
            *arithmetic(x),
            flops=2 * dy.size * math.prod(weight_shape[1:]),
            bytes=touched(rows_read, x, x.shape[2:], dy.shape[2:], window, stride, padding, dilation)
            + footprint(dy, out),
            **config,
        )  # fmt: skip
        total = reduce.sum(out, (0,), dtype=dtype) if slabs > 1 else out.squeeze(0)
        return total.permute((0, 4, 1, 2, 3))

    return over_parts("conv3d", part, in_channels_last(dy), in_channels_last(x))
