"""The input gradient of a two-dimensional convolution: see `conv`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import epilogue
from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.conv import arithmetic, check_filters, empty_image, in_channels_last, parts
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.windows import Pair, positions_reading, touched


@triton.jit
def _first_tap(phase, STRIDE: tl.constexpr, DILATION: tl.constexpr, STEP: tl.constexpr):
    """The first window position r in 0 .. STEP-1 with r DILATION = phase (mod STRIDE); -1 where there is none."""
    first = phase * 0 - 1
    for t in tl.static_range(STEP):
        r = STEP - 1 - t
        first = tl.where((phase - r * DILATION) % STRIDE == 0, r, first)
    return first


@triton.jit
def _conv2d_input_grad(
    DY, W, ADDEND, BITS, DX, N, H, WIDTH, C, O, P, Q, pixels,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,h,w,g C + c] = sum_{r,s,o} dy[n, (h + PH - r DH) / SH, (w + PW - s DW) / SW, o] w[o,r,s,c].

    Plus an addend of the same shape unless that is None, and with BITS only where its bit is on.

    A gather, so no two programs write one element: pixels are taken phase by phase, (h mod SH, w mod SW), because
    within one phase the taps r = first, first + STEP_H, ... are exactly those whose division leaves no remainder.
    Shapes  as `_conv2d`; STEP = stride / gcd(stride, dilation); `pixels` bounds the pixels of a phase.
    Grid    one program per phase, BP input pixels of it, and BC input channels of one group.
    Bytes   read dy and w, and addend and bits if there are any, write dx.
    Source  implicit GEMM of the transposed convolution, Chetlur et al. 2014; phases as in Dumoulin and Visin 2016,
            "A guide to convolution arithmetic", section 4.
    """
    blocks_c = tl.cdiv(C, BC)
    blocks_p = tl.cdiv(pixels, BP)
    pid = tl.program_id(0).to(tl.int64)
    c0 = ((pid % blocks_c) * BC).to(tl.int32)
    c = c0 + tl.arange(0, BC)
    g = ((pid // blocks_c) % GROUPS).to(tl.int32)
    pixel = (((pid // (blocks_c * GROUPS)) % blocks_p) * BP).to(tl.int32) + tl.arange(0, BP)
    phase = (pid // (blocks_c * GROUPS * blocks_p)).to(tl.int32)
    h_phase = phase // SW
    w_phase = phase % SW
    rows = (H - h_phase + SH - 1) // SH
    columns = (WIDTH - w_phase + SW - 1) // SW
    inside = pixel < N * rows * columns
    n = pixel // tl.maximum(rows * columns, 1)
    h = ((pixel // tl.maximum(columns, 1)) - n * rows) * SH + h_phase
    w = (pixel % tl.maximum(columns, 1)) * SW + w_phase
    r0 = _first_tap(h_phase + PH, SH, DH, STEP_H)
    s0 = _first_tap(w_phase + PW, SW, DW, STEP_W)
    taps_r = tl.where(r0 < 0, 0, (R - r0 + STEP_H - 1) // STEP_H)
    taps_s = tl.where(s0 < 0, 0, (S - s0 + STEP_W - 1) // STEP_W)
    # With valid taps the divisions are exact; moving on one tap moves the output row by a whole number of rows.
    p0 = (h + PH - r0 * DH) // SH
    q0 = (w + PW - s0 * DW) // SW
    # A negative numerator only occurs with exact division, where truncation and floor agree.
    c_in = c < C
    c = clamped(c, C, EVEN_C)
    blocks_o = tl.cdiv(O, BO)
    acc = tl.zeros((BC, BP), ACC)
    for i in range(0, taps_r * taps_s * blocks_o):
        tap = i // blocks_o
        a = tap // taps_s
        b = tap - a * taps_s
        o = (i - tap * blocks_o) * BO + tl.arange(0, BO)
        p = p0 - a * (STEP_H * DH // SH)
        q = q0 - b * (STEP_W * DW // SW)
        ok = inside & (p >= 0) & (p < P) & (q >= 0) & (q < Q)
        # Clamped by coordinate: Triton 3.6 fails to lay out a value used both as the mask and in the address.
        p = tl.minimum(tl.maximum(p, 0), P - 1)
        q = tl.minimum(tl.maximum(q, 0), Q - 1)
        start = ((tl.minimum(n, N - 1) * P + p) * Q + q).to(tl.int64) * (O * GROUPS) + g * O
        rs = (r0 + a * STEP_H) * S + s0 + b * STEP_W
        place = W + ((g * O + clamped(o, O, EVEN_O)) * (R * S) + rs).to(tl.int64)[:, None] * C + c[None, :]
        if EVEN_O:
            dy = tl.load(DY + start[:, None] + o[None, :], mask=ok[:, None], other=0.0)
            weight = tl.load(place)
        else:
            o_in = o < O
            o = clamped(o, O, EVEN_O)
            dy = tl.load(DY + start[:, None] + o[None, :], mask=ok[:, None] & o_in[None, :], other=0.0)
            weight = tl.load(place, mask=o_in[:, None], other=0.0)
        acc = tl.dot(weight.T, dy.T, acc, input_precision=PRECISION, out_dtype=ACC)
    row = ((n * H + h) * WIDTH + w).to(tl.int64)
    dx = epilogue._with_addend(acc.T, ADDEND, BITS, row, inside, g * C + c0, g * C + C, C * GROUPS, BC)
    place = DX + (row * (C * GROUPS) + g * C)[:, None] + c[None, :]
    tl.store(place, dx.to(DX.dtype.element_ty), mask=inside[:, None] & c_in[None, :])


def conv2d_input_grad(
    dy: Array,
    weight: Array,
    x_shape: Sequence[int],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    addend: Array | None = None,
    bits: Array | None = None,
) -> Array:
    """The gradient of `conv2d` for its input: dy [N,O,P,Q], weight [O,C/groups,R,S] -> channels-last [N,C,H,W].

    addend  [N,C,H,W], added before the one rounding; with `bits`, uint8 [N H W, C / 8], only where its bit is on: then
            8 divides C / groups
    """
    dy, weight = in_channels_last(dy), in_channels_last(weight)
    addend = None if addend is None else in_channels_last(addend)
    (n, _, h, w), (p, q) = x_shape, dy.shape[2:]
    check_filters("conv2d", weight.shape)
    dx = empty_image(x_shape, dy)
    for some in parts("conv2d", n, h * w, p * q):
        images = None if addend is None else addend.slice(0, *some)
        rows = None if bits is None else bits.slice(0, some[0] * h * w, some[1] * h * w)
        into = dx.slice(0, *some)
        _launch_input_grad(dy.slice(0, *some), weight, images, rows, into, stride, padding, dilation, groups)
    return dx


def _launch_input_grad(
    dy: Array,
    weight: Array,
    addend: Array | None,
    bits: Array | None,
    dx: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> None:
    (n, _, h, w), (o, c, r, s), (p, q) = dx.shape, weight.shape, dy.shape[2:]
    pixels = n * cdiv(h, stride[0]) * cdiv(w, stride[1])
    per_group = o // groups
    config = tile("conv2d_input_grad", least=16, itemsize=dy.dtype.itemsize, BO=per_group, BP=pixels, BC=c)
    steps = [st // math.gcd(st, d) for st, d in zip(stride, dilation, strict=True)]
    launch(
        _conv2d_input_grad,
        cdiv(c, config["BC"]) * groups * cdiv(pixels, config["BP"]) * stride[0] * stride[1],
        dy,
        weight,
        addend,
        bits,
        dx,
        n, h, w, c, per_group, p, q, pixels,
        r, s, *stride, *padding, *dilation, *steps, groups,
        c % config["BC"] == 0,
        per_group % config["BO"] == 0,
        *arithmetic(dy),
        flops=2 * dy.size * c * r * s,
        bytes=touched(positions_reading, dy, (h, w), (p, q), (r, s), stride, padding, dilation)
        + footprint(weight, addend, bits, dx),
        **config,
    )  # fmt: skip
