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

from tritongrad_kernels import conv_stem, conv_tma, dtypes, elementwise, formulas, matmul
from tritongrad_kernels.array import Array, channels_last_strides, empty, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE, cast, contiguous, in_order
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.moments import empty_moments, no_moments, rounded, runs_of, store_moments, with_tile
from tritongrad_kernels.prologue import NOTHING, Prologue, prepared
from tritongrad_kernels.windows import Pair as Pair, output_size as output_size, rows_read, touched


@triton.jit
def _conv2d_tile(
    X, W, BIAS, Y, MEAN, RSTD, SCALE, SHIFT, tile, g, o, N, H, WIDTH, C, O, P, Q,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, GROUPS: tl.constexpr,
    RELU: tl.constexpr, EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the pixels of `tile` for channels o [BO] of group g; what was stored [BO, BP], and which are pixels."""
    pixel = (tile * BP).to(tl.int32) + tl.arange(0, BP)
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
        if MEAN is not None:
            x = prepared(x, MEAN, RSTD, SCALE, SHIFT, c, (i - rs * blocks_c) * BC + tl.arange(0, BC) < C, RELU, ACC, BC)
        acc = tl.dot(weight, x.T, acc, input_precision=PRECISION, out_dtype=ACC)
    y = rounded(acc, BIAS, g * O + clamped(o, O, EVEN_O), Y.dtype.element_ty, ACC)
    place = Y + (pixel.to(tl.int64) * (O * GROUPS) + g * O)[:, None] + o[None, :]
    tl.store(place, y.T, mask=inside[:, None] & (o < O)[None, :])
    return y, inside


@triton.jit
def _conv2d(
    X, W, BIAS, Y, MOMENTS, MEAN, RSTD, SCALE, SHIFT, runs, N, H, WIDTH, C, O, P, Q,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, GROUPS: tl.constexpr,
    RELU: tl.constexpr, EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y[n,p,q,o] = bias[o] + sum_{r,s,c} x[n, p SH + r DH - PH, q SW + s DW - PW, g C + c] w[o,r,s,c].

    Shapes  x [N,H,WIDTH,GROUPS C], w [GROUPS O,R,S,C], y [N,P,Q,GROUPS O], channels innermost; C and O per group g;
            moments [runs, 3, GROUPS O] of y, or None; mean, rstd, scale, shift [C] of a `prologue`, or None.
    Grid    one program per tile of BP output pixels x BO output channels of one group; for moments, one per run: the
            tiles run, run + runs, ...
    Bytes   read x and w, write y (re-reads of the window's halo hit L2) and moments.
    Source  implicit GEMM, Chetlur et al. 2014 (cuDNN), section 3; moments as in `moments`.
    """
    blocks_o = tl.cdiv(O, BO)
    pid = tl.program_id(0).to(tl.int64)
    g = ((pid // blocks_o) % GROUPS).to(tl.int32)
    o = ((pid % blocks_o) * BO).to(tl.int32) + tl.arange(0, BO)
    run = pid // (blocks_o * GROUPS)
    if MOMENTS is None:
        _conv2d_tile(
            X, W, BIAS, Y, MEAN, RSTD, SCALE, SHIFT, run, g, o, N, H, WIDTH, C, O, P, Q,
            R, S, SH, SW, PH, PW, DH, DW, GROUPS, RELU, EVEN_C, EVEN_O, PRECISION, ACC, BO, BP, BC,
        )  # fmt: skip
    else:
        count, mean, squares = no_moments(BO, ACC)
        # What does not change from tile to tile is worked out again in each: to keep it takes a quarter more registers.
        for tile in tl.range(run, tl.cdiv(N * P * Q, BP), runs, disable_licm=True):
            y, inside = _conv2d_tile(
                X, W, BIAS, Y, MEAN, RSTD, SCALE, SHIFT, tile, g, o, N, H, WIDTH, C, O, P, Q,
                R, S, SH, SW, PH, PW, DH, DW, GROUPS, RELU, EVEN_C, EVEN_O, PRECISION, ACC, BO, BP, BC,
            )  # fmt: skip
            count, mean, squares = with_tile(
                count, mean, squares, y, inside, tl.minimum(N * P * Q - tile * BP, BP), ACC
            )
        store_moments(MOMENTS, count, mean, squares, run, g * O + o, O * GROUPS, o < O)


MOST_PIXELS = (1 << 31) - (1 << 16)
"""Of one launch: pixels are counted in 32 bits, and past the last one up to the end of a tile."""


def conv2d(
    x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Cross-correlate x [N,C,H,W] with weight [O,C/groups,R,S] (+ bias [O]) into channels-last [N,O,P,Q]."""
    return _conv2d_of(x, weight, bias, stride, padding, dilation, groups, False)[0]


def conv2d_with_moments(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> tuple[Array, Array | None]:
    """`conv2d`, and the `moments` [runs, 3, O] of its result; None where that takes more launches than one.

    `image` is a `conv_stem.stem_image` of x, where there is one already; `prologue` the norm x goes through first.
    """
    return _conv2d_of(x, weight, bias, stride, padding, dilation, groups, True, image, prologue)


def takes_prologue(weight_shape: Sequence[int], kind: dtypes.dtype, padding: Sequence[int], groups: int) -> bool:
    """Whether `conv2d_with_moments` can put the norm before it into a `prologue`: not in dtypes whose operands pass
    through registers, which would spill."""
    return kind.itemsize == 2 and groups == 1 and math.prod(weight_shape[2:]) == 1 and not any(padding)


def _conv2d_of(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    want_moments: bool,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> tuple[Array, Array | None]:
    assert prologue is None or takes_prologue(weight.shape, weight.dtype, padding, groups)
    bias = None if bias is None else contiguous(bias)
    (n, _, h, w), (o, _, r, s) = x.shape, weight.shape
    check_filters("conv2d", weight.shape)
    p = output_size(h, r, stride[0], padding[0], dilation[0])
    q = output_size(w, s, stride[1], padding[1], dilation[1])
    y = empty_image((n, o, p, q), weight)
    geometry = (stride, padding, dilation, groups)
    if prologue is None and conv_stem.suits(x, weight.shape, weight.dtype, *geometry):
        image = image or conv_stem.stem_image(x, weight.shape, weight.dtype, stride, padding, dilation)
        return y, conv_stem.stem(image, weight, bias, y, stride, dilation, want_moments, *arithmetic(weight))
    x, weight = in_channels_last(x), in_channels_last(weight)
    ranges = list(parts("conv2d", n, h * w, p * q))
    if len(ranges) == 1:
        return y, _launch_conv2d(x, weight, bias, y, *geometry, want_moments, prologue)
    for some in ranges:
        _launch_conv2d(x.slice(0, *some), weight, bias, y.slice(0, *some), *geometry, False, prologue)
    return y, None


def _launch_conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    y: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    want_moments: bool,
    prologue: Prologue | None,
) -> Array | None:
    (n, _, h, w), (o, c, r, s), (p, q) = x.shape, weight.shape, y.shape[2:]
    seen = conv_tma.view(x, y, (r, s), stride, padding, dilation)
    if seen is not None and conv_tma.suits(x, weight, y, seen, groups):
        return conv_tma.forward(x, weight, bias, y, seen, want_moments, prologue, *arithmetic(x))
    *norm, relu = prologue or NOTHING
    per_group = o // groups
    config = tile("conv2d", least=16, itemsize=x.dtype.itemsize, BO=per_group, BP=n * p * q, BC=c)
    tiles, blocks = cdiv(n * p * q, config["BP"]), cdiv(per_group, config["BO"]) * groups
    runs = runs_of(tiles, blocks) if want_moments else tiles
    moments = empty_moments(runs, y) if want_moments else None
    launch(
        _conv2d,
        blocks * runs,
        x,
        weight,
        bias,
        y,
        moments,
        *norm,
        runs if want_moments else 1,
        n, h, w, c, per_group, p, q,
        r, s, *stride, *padding, *dilation, groups,
        relu,
        c % config["BC"] == 0,
        per_group % config["BO"] == 0,
        *arithmetic(x),
        flops=2 * y.size * c * r * s,
        bytes=touched(rows_read, x, (h, w), (p, q), (r, s), stride, padding, dilation)
        + footprint(weight, bias, y, moments, *norm),
        **config,
    )  # fmt: skip
    return moments


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
