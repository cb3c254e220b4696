"""The input gradient of a two-dimensional convolution: see `conv`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import conv_grads_tma, conv_input_grad_tma
from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.conv import arithmetic, check_filters, empty_image, in_channels_last, parts
from tritongrad_kernels.conv_grads_tma import Beside
from tritongrad_kernels.conv_input_grad_tma import _first_tap
from tritongrad_kernels.epilogue import Epilogue, _store, _store_sums
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.windows import Pair, positions_reading, touched


@triton.jit
def _input_grad_tile(
    DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, tile, g, first,
    N, H, WIDTH, C, O, P, Q, pixels,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the pixels of `tile` for the channels of group g from `first` on; their part of the sums, as `_store`."""
    blocks_p = tl.cdiv(pixels, BP)
    c = first + tl.arange(0, BC)
    pixel = ((tile % blocks_p) * BP).to(tl.int32) + tl.arange(0, BP)
    phase = (tile // blocks_p).to(tl.int32)
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
    return _store(
        acc.T, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, row, inside,
        g * C + first, g * C + C, C * GROUPS, RELU, BP, BC,
    )  # fmt: skip


@triton.jit
def _conv2d_input_grad(
    DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, SUMS,
    runs, N, H, WIDTH, C, O, P, Q, pixels,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,h,w,g C + c] = sum_{r,s,o} dy[n, (h + PH - r DH) / SH, (w + PW - s DW) / SW, o] w[o,r,s,c].

    A gather, so no two programs write one element: pixels are taken phase by phase, (h mod SH, w mod SW), because
    within one phase the taps r = first, first + STEP_H, ... are exactly those whose division leaves no remainder.
    What `epilogue` tells of happens before dx is stored, as far as its arguments are not None.
    Shapes  as `_conv2d`; STEP = stride / gcd(stride, dilation); `pixels` bounds the pixels of a phase.
    Grid    one program per tile, which is BP input pixels of a phase, and BC input channels of one group; for sums, one
            per run: the tiles run, run + runs, ...
    Bytes   read dy, w and what the epilogue needs, write dx and sums.
    Source  implicit GEMM of the transposed convolution, Chetlur et al. 2014; phases as in Dumoulin and Visin 2016,
            "A guide to convolution arithmetic", section 4.
    """
    blocks_c = tl.cdiv(C, BC)
    pid = tl.program_id(0).to(tl.int64)
    first = ((pid % blocks_c) * BC).to(tl.int32)
    g = ((pid // blocks_c) % GROUPS).to(tl.int32)
    run = pid // (blocks_c * GROUPS)
    if SUMS is None:
        _input_grad_tile(
            DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, run, g, first,
            N, H, WIDTH, C, O, P, Q, pixels, R, S, SH, SW, PH, PW, DH, DW, STEP_H, STEP_W, GROUPS, EVEN_C, EVEN_O, RELU,
            PRECISION, ACC, BO, BP, BC,
        )  # fmt: skip
    else:
        plain = tl.zeros((BC,), ACC)
        product = tl.zeros((BC,), ACC)
        product2 = tl.zeros((BC,), ACC)
        for tile in tl.range(run, tl.cdiv(pixels, BP) * SH * SW, runs, disable_licm=True):
            a, b, b2 = _input_grad_tile(
                DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, tile, g, first,
                N, H, WIDTH, C, O, P, Q, pixels, R, S, SH, SW, PH, PW, DH, DW, STEP_H, STEP_W, GROUPS, EVEN_C, EVEN_O,
                RELU, PRECISION, ACC, BO, BP, BC,
            )  # fmt: skip
            plain += a
            product += b
            product2 += b2
        _store_sums(SUMS, RSTD, RSTD2, plain, product, product2, run, g * C + first, g * C + C, C * GROUPS, BC)


def conv2d_input_grad(
    dy: Array, weight: Array, x_shape: Sequence[int], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """The gradient of `conv2d` for its input: dy [N,O,P,Q], weight [O,C/groups,R,S] -> channels-last [N,C,H,W]."""
    dy, weight = in_channels_last(dy), in_channels_last(weight)
    check_filters("conv2d", weight.shape)
    dx = empty_image(x_shape, dy)
    for some in _launches(dy, x_shape):
        images = dy.slice(0, *some), weight, dx.slice(0, *some)
        _launch_input_grad(*images, stride, padding, dilation, groups, Epilogue())
    return dx


def conv2d_input_grad_with(
    after: Epilogue,
    dy: Array,
    weight: Array,
    x_shape: Sequence[int],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    *,
    beside: Beside | None = None,
) -> tuple[Array, Array | None]:
    """`conv2d_input_grad`, and what comes `after` it, in one launch: see `epilogue.finish`. `runs_epilogue` says if.

    With it goes what is `beside` it, if it can.
    """
    dy, weight = in_channels_last(dy), in_channels_last(weight)
    check_filters("conv2d", weight.shape)
    dx = empty_image(x_shape, dy)
    return dx, _launch_input_grad(dy, weight, dx, stride, padding, dilation, groups, after, beside)


def runs_epilogue(dy: Array, weight: Array, x_shape: Sequence[int], after: Epilogue) -> bool:
    """Whether one launch does it: bits of a group's channels are whole bytes, and all pixels can be counted."""
    return (weight.shape[1] % 8 == 0 or not after.has_bits) and len(_launches(dy, x_shape)) == 1


def _launches(dy: Array, x_shape: Sequence[int]) -> list[tuple[int, int]]:
    return list(parts("conv2d", x_shape[0], math.prod(x_shape[2:]), math.prod(dy.shape[2:])))


def _launch_input_grad(
    dy: Array,
    weight: Array,
    dx: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    after: Epilogue,
    beside: Beside | None = None,
) -> Array | None:
    if conv_input_grad_tma.suits(dy, weight, groups):
        job = conv_input_grad_tma.job(dy, weight, dx, stride, padding, dilation, after, *arithmetic(dy))
        conv_grads_tma.run(job, beside)
        return job.sums
    (n, _, h, w), (o, c, r, s), (p, q) = dx.shape, weight.shape, dy.shape[2:]
    pixels = n * cdiv(h, stride[0]) * cdiv(w, stride[1])
    per_group = o // groups
    config = tile("conv2d_input_grad", least=16, itemsize=dy.dtype.itemsize, BO=per_group, BP=pixels, BC=c)
    steps = [st // math.gcd(st, d) for st, d in zip(stride, dilation, strict=True)]
    tiles, blocks = cdiv(pixels, config["BP"]) * stride[0] * stride[1], cdiv(c, config["BC"]) * groups
    runs, sums = after.runs_and_sums(tiles, blocks, dx)
    launch(
        _conv2d_input_grad,
        blocks * runs,
        dy,
        weight,
        *after.arrays,
        dx,
        sums,
        1 if sums is None else runs,
        n, h, w, c, per_group, p, q, pixels,
        r, s, *stride, *padding, *dilation, *steps, groups,
        c % config["BC"] == 0,
        per_group % config["BO"] == 0,
        after.relu,
        *arithmetic(dy),
        flops=2 * dy.size * c * r * s,
        bytes=touched(positions_reading, dy, (h, w), (p, q), (r, s), stride, padding, dilation)
        + footprint(weight, *after.arrays, dx, sums),
        **config,
    )  # fmt: skip
    return sums
