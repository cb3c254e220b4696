"""Two-dimensional convolution as implicit matrix products, channels innermost.

Output channels take the M side of the product and pixels the N side: both operands then reach Hopper's tensor cores
straight from shared memory, and anything per channel in an epilogue reduces along N.
Every loaded address is valid: masked lanes are clamped to element 0, because a pipelined load forms its address even
where the mask is off.
Pixels are counted in 32 bits, offsets in 64: address arithmetic stays out of the way of the products, which need the
registers. Where a batch has more pixels than that, its images are taken in several launches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise, formulas, matmul, reduce
from tritongrad_kernels.array import Array, channels_last_strides, empty, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE, cast, contiguous, in_order
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.windows import Pair as Pair, output_size as output_size, positions_reading, rows_read, touched


@triton.jit
def _conv2d(
    X, W, BIAS, Y, N, H, WIDTH, C, O, P, Q,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y[n,p,q,o] = bias[o] + sum_{r,s,c} x[n, p SH + r DH - PH, q SW + s DW - PW, g C + c] w[o,r,s,c].

    Shapes  x [N,H,WIDTH,GROUPS C], w [GROUPS O,R,S,C], y [N,P,Q,GROUPS O], channels innermost; C and O per group g.
    Grid    one program per BP output pixels x BO output channels of one group.
    Bytes   read x and w, write y (re-reads of the window's halo hit L2).
    Source  implicit GEMM, Chetlur et al. 2014 (cuDNN), section 3.
    """
    blocks_o = tl.cdiv(O, BO)
    pid = tl.program_id(0).to(tl.int64)
    g = ((pid // blocks_o) % GROUPS).to(tl.int32)
    o = ((pid % blocks_o) * BO).to(tl.int32) + tl.arange(0, BO)
    pixel = ((pid // (blocks_o * GROUPS)) * BP).to(tl.int32) + tl.arange(0, BP)
    inside = pixel < N * P * Q
    n = pixel // (P * Q)
    h0 = (pixel // Q - n * P) * SH - PH
    w0 = (pixel % Q) * SW - PW
    o_row = (g * O + clamped(o, O, EVEN_O)).to(tl.int64) * (R * S * C)
    blocks_c = tl.cdiv(C, BC)
    acc = tl.zeros((BO, BP), ACC)
    for i in range(0, R * S * blocks_c):
        rs = i // blocks_c
        r = rs // S
        s = rs - r * S
        c = (i - rs * blocks_c) * BC + tl.arange(0, BC)
        h = h0 + r * DH
        w = w0 + s * DW
        ok = inside & (h >= 0) & (h < H) & (w >= 0) & (w < WIDTH)
        start = tl.where(ok, (n * H + h) * WIDTH + w, 0).to(tl.int64) * (C * GROUPS) + g * C
        place = W + o_row[:, None] + (rs * C + clamped(c, C, EVEN_C))[None, :]
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
def _first_tap(phase, STRIDE: tl.constexpr, DILATION: tl.constexpr, STEP: tl.constexpr):
    """The first window position r in 0 .. STEP-1 with r DILATION = phase (mod STRIDE); -1 where there is none."""
    first = phase * 0 - 1
    for t in tl.static_range(STEP):
        r = STEP - 1 - t
        first = tl.where((phase - r * DILATION) % STRIDE == 0, r, first)
    return first


@triton.jit
def _conv2d_input_grad(
    DY, W, DX, N, H, WIDTH, C, O, P, Q, pixels,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,h,w,g C + c] = sum_{r,s,o} dy[n, (h + PH - r DH) / SH, (w + PW - s DW) / SW, o] w[o,r,s,c].

    A gather, so no two programs write one element: pixels are taken phase by phase, (h mod SH, w mod SW), because
    within one phase the taps r = first, first + STEP_H, ... are exactly those whose division leaves no remainder.
    Shapes  as `_conv2d`; STEP = stride / gcd(stride, dilation); `pixels` bounds the pixels of a phase.
    Grid    one program per phase, BP input pixels of it, and BC input channels of one group.
    Bytes   read dy and w, write dx.
    Source  implicit GEMM of the transposed convolution, Chetlur et al. 2014; phases as in Dumoulin and Visin 2016,
            "A guide to convolution arithmetic", section 4.
    """
    blocks_c = tl.cdiv(C, BC)
    blocks_p = tl.cdiv(pixels, BP)
    pid = tl.program_id(0).to(tl.int64)
    c = ((pid % blocks_c) * BC).to(tl.int32) + tl.arange(0, BC)
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
    place = DX + (((n * H + h) * WIDTH + w).to(tl.int64) * (C * GROUPS) + g * C)[:, None] + c[None, :]
    tl.store(place, acc.T.to(DX.dtype.element_ty), mask=inside[:, None] & c_in[None, :])


@triton.jit
def _conv2d_weight_grad(
    DY, X, DW_OUT, N, H, WIDTH, C, O, P, Q, split,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, GROUPS: tl.constexpr,
    EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dw[z,o,r,s,c] = sum over output pixels (n,p,q) in slab z of dy[n,p,q,o] x[n, p SH + r DH - PH, ..., g C + c].

    Shapes  as `_conv2d`; dw [slabs, GROUPS O, R, S, C]; slabs are summed in order by a second launch.
    Grid    one program per slab of `split` pixels, window position, BO output x BC input channels of one group.
    Bytes   read dy and x, write dw once a slab.
    """
    blocks_o, blocks_c = tl.cdiv(O, BO), tl.cdiv(C, BC)
    pid = tl.program_id(0).to(tl.int64)
    o = ((pid % blocks_o) * BO).to(tl.int32) + tl.arange(0, BO)
    pid = pid // blocks_o
    c = ((pid % blocks_c) * BC).to(tl.int32) + tl.arange(0, BC)
    pid = pid // blocks_c
    rs = (pid % (R * S)).to(tl.int32)
    pid = pid // (R * S)
    g = (pid % GROUPS).to(tl.int32)
    z = pid // GROUPS
    h_shift = (rs // S) * DH - PH
    w_shift = (rs % S) * DW - PW
    o_in = o < O
    c_in = c < C
    o_clamped = g * O + clamped(o, O, EVEN_O)
    c_clamped = g * C + clamped(c, C, EVEN_C)
    begin = (z * split).to(tl.int32)
    end = begin + tl.minimum(split, N * P * Q - begin)
    acc = tl.zeros((BO, BC), ACC)
    for first in range(begin, end, BP):
        pixel = first + tl.arange(0, BP)
        inside = pixel < end
        pixel = tl.where(inside, pixel, 0)
        n = pixel // (P * Q)
        h = (pixel // Q - n * P) * SH + h_shift
        w = (pixel % Q) * SW + w_shift
        ok = inside & (h >= 0) & (h < H) & (w >= 0) & (w < WIDTH)
        start = tl.where(ok, (n * H + h) * WIDTH + w, 0).to(tl.int64) * (C * GROUPS)
        dy_place = DY + (pixel.to(tl.int64) * (O * GROUPS))[:, None] + o_clamped[None, :]
        # Channels past the end repeat channel 0 and are not stored; pixels past the end must count as zero.
        dy = tl.load(dy_place, mask=inside[:, None], other=0.0)
        x = tl.load(X + start[:, None] + c_clamped[None, :], mask=ok[:, None], other=0.0)
        acc = tl.dot(dy.T, x, acc, input_precision=PRECISION, out_dtype=ACC)
    row = z * (O * GROUPS) + g * O + o
    place = DW_OUT + ((row * (R * S) + rs) * C)[:, None] + c[None, :]
    tl.store(place, acc.to(DW_OUT.dtype.element_ty), mask=o_in[:, None] & c_in[None, :])


MOST_PIXELS = (1 << 31) - (1 << 16)
"""Of one launch: pixels are counted in 32 bits, and past the last one up to the end of a tile."""


def conv2d(
    x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Cross-correlate x [N,C,H,W] with weight [O,C/groups,R,S] (+ bias [O]) into channels-last [N,O,P,Q]."""
    x, weight = in_channels_last(x), in_channels_last(weight)
    bias = None if bias is None else contiguous(bias)
    (n, _, h, w), (o, _, r, s) = x.shape, weight.shape
    check_filters("conv2d", weight.shape)
    p = output_size(h, r, stride[0], padding[0], dilation[0])
    q = output_size(w, s, stride[1], padding[1], dilation[1])
    y = empty_image((n, o, p, q), x)
    for some in parts("conv2d", n, h * w, p * q):
        _launch_conv2d(x.slice(0, *some), weight, bias, y.slice(0, *some), stride, padding, dilation, groups)
    return y


def _launch_conv2d(
    x: Array, weight: Array, bias: Array | None, y: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> None:
    (n, _, h, w), (o, c, r, s), (p, q) = x.shape, weight.shape, y.shape[2:]
    per_group = o // groups
    config = tile("conv2d", least=16, itemsize=x.dtype.itemsize, BO=per_group, BP=n * p * q, BC=c)
    launch(
        _conv2d,
        cdiv(per_group, config["BO"]) * groups * cdiv(n * p * q, config["BP"]),
        x,
        weight,
        bias,
        y,
        n, h, w, c, per_group, p, q,
        r, s, *stride, *padding, *dilation, groups,
        c % config["BC"] == 0,
        per_group % config["BO"] == 0,
        *arithmetic(x),
        flops=2 * y.size * c * r * s,
        bytes=touched(rows_read, x, (h, w), (p, q), (r, s), stride, padding, dilation) + footprint(weight, bias, y),
        **config,
    )  # fmt: skip


def conv2d_input_grad(
    dy: Array, weight: Array, x_shape: Sequence[int], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """The gradient of `conv2d` for its input: dy [N,O,P,Q], weight [O,C/groups,R,S] -> channels-last [N,C,H,W]."""
    dy, weight = in_channels_last(dy), in_channels_last(weight)
    (n, _, h, w), (p, q) = x_shape, dy.shape[2:]
    check_filters("conv2d", weight.shape)
    dx = empty_image(x_shape, dy)
    for some in parts("conv2d", n, h * w, p * q):
        _launch_input_grad(dy.slice(0, *some), weight, dx.slice(0, *some), stride, padding, dilation, groups)
    return dx


def _launch_input_grad(
    dy: Array, weight: Array, dx: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
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
        dx,
        n, h, w, c, per_group, p, q, pixels,
        r, s, *stride, *padding, *dilation, *steps, groups,
        c % config["BC"] == 0,
        per_group % config["BO"] == 0,
        *arithmetic(dy),
        flops=2 * dy.size * c * r * s,
        bytes=touched(positions_reading, dy, (h, w), (p, q), (r, s), stride, padding, dilation)
        + footprint(weight, dx),
        **config,
    )  # fmt: skip


def conv2d_weight_grad(
    dy: Array, x: Array, weight_shape: Sequence[int], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """The gradient of `conv2d` for its weight: dy [N,O,P,Q], x [N,C,H,W] -> channels-last [O,C/groups,R,S]."""

    def part(dy: Array, x: Array, dtype: dtypes.dtype) -> Array:
        return _part_of_weight_grad(dy, x, weight_shape, dtype, stride, padding, dilation, groups)

    return over_parts("conv2d", part, in_channels_last(dy), in_channels_last(x))


def _part_of_weight_grad(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    dtype: dtypes.dtype,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """`conv2d_weight_grad` for as many images as one launch can take, in `dtype`."""
    (n, _, h, w), (o, c, r, s), (p, q) = x.shape, weight_shape, dy.shape[2:]
    per_group = o // groups
    pixels = n * p * q
    config = tile("conv2d_weight_grad", least=16, itemsize=x.dtype.itemsize, BO=per_group, BP=pixels, BC=c)
    tiles = cdiv(per_group, config["BO"]) * cdiv(c, config["BC"]) * r * s * groups
    split = config.pop("SPLIT")
    slabs = cdiv(pixels, split) if tiles < matmul.FEW_TILES else 1
    if slabs <= 1:
        slabs, split = 1, max(pixels, 1)
        out = empty(weight_shape, dtype, x.device, channels_last_strides(weight_shape))
    else:
        # Slabs lie one after the other, each in the channels-last order of the result.
        out = empty((slabs, o, r, s, c), dtypes.accumulator(x.dtype), x.device)
    launch(
        _conv2d_weight_grad,
        tiles * slabs,
        dy,
        x,
        out,
        n, h, w, c, per_group, p, q, split,
        r, s, *stride, *padding, *dilation, groups,
        c % config["BC"] == 0,
        per_group % config["BO"] == 0,
        *arithmetic(x),
        flops=2 * dy.size * c * r * s,
        bytes=touched(rows_read, x, (h, w), (p, q), (r, s), stride, padding, dilation) + footprint(dy, out),
        **config,
    )  # fmt: skip
    return out if slabs == 1 else reduce.sum(out, (0,), dtype=dtype).permute((0, 3, 1, 2))


def over_parts(name: str, part: Callable[[Array, Array, dtypes.dtype], Array], dy: Array, x: Array) -> Array:
    """The sum of what `part` gives, in the dtype asked of it, of as many images of dy and x as one launch can take."""
    ranges = list(parts(name, x.shape[0], math.prod(x.shape[2:]), math.prod(dy.shape[2:])))
    partial = x.dtype if len(ranges) == 1 else dtypes.accumulator(x.dtype)
    total, *others = (part(dy.slice(0, *some), x.slice(0, *some), partial) for some in ranges)
    for other in others:
        total = elementwise.map(formulas._add, total, other)
    return cast(total, x.dtype)


def check_filters(name: str, shape: Sequence[int]) -> None:
    """Within a filter, and over all filters for one of its channels, weights are counted in 32 bits."""
    o, c, *window = shape
    if max(o, c) * math.prod(window) >= 1 << 31:
        raise ValueError(f"{name}: a weight of shape {list(shape)}; one channel's must be fewer than 2^31")


def parts(name: str, images: int, *pixels: int) -> Iterator[tuple[int, int]]:
    """Which images each of several launches takes, first to last: so many that their pixels can be counted.

    `pixels` are those of one image, in and out. ValueError if it alone has too many.
    """
    if max(pixels) > MOST_PIXELS:
        raise ValueError(f"{name}: {max(pixels):,} pixels in an image; at most {MOST_PIXELS:,} can be counted")
    step = cdiv(images, cdiv(images * max(pixels), MOST_PIXELS) or 1) or 1
    for start in range(0, images or 1, step):
        yield start, min(start + step, images)


def in_channels_last(a: Array) -> Array:
    return in_order(a, channels_last_strides(a.shape))


def empty_image(shape: Sequence[int], like: Array) -> Array:
    return empty(shape, like.dtype, like.device, channels_last_strides(shape))


def arithmetic(x: Array) -> tuple[str, tl.dtype]:
    return matmul.PRECISION[matmul.convolutions or matmul.precision], TRITON_TYPE[dtypes.accumulator(x.dtype)]
