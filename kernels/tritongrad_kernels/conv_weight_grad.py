"""The weight gradient of a two-dimensional convolution: see `conv`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import conv_stem, conv_weight_grad_tma, dtypes, reduce
from tritongrad_kernels.array import Array, channels_last_strides, contiguous_strides, empty, footprint
from tritongrad_kernels.conv import arithmetic, in_channels_last, parts, takes_prologue
from tritongrad_kernels.conv_weight_grad_tma import Work, split
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import cast
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.prologue import NOTHING, Prologue, prepared
from tritongrad_kernels.windows import Pair, rows_read, touched


@triton.jit
def _conv2d_weight_grad(
    DY, X, DW_OUT, MEAN, RSTD, SCALE, SHIFT, N, H, WIDTH, C, O, P, Q, split,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, GROUPS: tl.constexpr,
    RELU: tl.constexpr, EVEN_C: tl.constexpr, EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BO: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dw[z,o,r,s,c] = sum over output pixels (n,p,q) in slab z of dy[n,p,q,o] x[n, p SH + r DH - PH, ..., g C + c].

    Shapes  as `_conv2d`; dw [slabs, GROUPS O, R, S, C]; slabs are summed in order by a second launch. With mean, rstd,
            scale, shift [C] of a `prologue`, x goes through that norm first.
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
        if MEAN is not None:
            x = prepared(x, MEAN, RSTD, SCALE, SHIFT, c_clamped, c_in, RELU, ACC, BC)
            # Past the end dy is 0, but what the norm makes of nothing may overflow, and 0 times that is NaN.
            x = tl.where(ok[:, None], x, 0.0).to(x.dtype)
        acc = tl.dot(dy.T, x, acc, input_precision=PRECISION, out_dtype=ACC)
    row = z * (O * GROUPS) + g * O + o
    place = DW_OUT + ((row * (R * S) + rs) * C)[:, None] + c[None, :]
    tl.store(place, acc.to(DW_OUT.dtype.element_ty), mask=o_in[:, None] & c_in[None, :])


def conv2d_weight_grad(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> Array:
    """The gradient of `conv2d` for its weight: dy [N,O,P,Q], x [N,C,H,W] -> channels-last [O,C/groups,R,S]."""
    slabs = conv2d_weight_slabs(dy, x, weight_shape, stride, padding, dilation, groups, image, prologue)
    return slabs if slabs.ndim == 4 else reduce.sum(slabs, (0,), dtype=dy.dtype).permute((0, 3, 1, 2))


def conv2d_weight_slabs(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> Array:
    """What `conv2d_weight_grad` is the sum of: slabs [slabs,O,R,S,C/groups] in the accumulator's dtype.

    Where one slab is all there is, the gradient itself, as `conv2d_weight_grad` gives it: 4 axes and not 5.
    `image` is a `conv_stem.stem_image` of x, where there is one already; `prologue` the norm x goes through first.
    """
    return run_works(
        weight_works(dy, x, weight_shape, stride, padding, dilation, groups, image, prologue), dy, weight_shape
    )


def weight_works(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> list[Work]:
    """How `conv2d_weight_slabs` computes them: some slabs each."""
    dy = in_channels_last(dy)
    assert prologue is None or takes_prologue(weight_shape, x.dtype, padding, groups)
    if prologue is None and conv_stem.suits(x, weight_shape, dy.dtype, stride, padding, dilation, groups):
        stem = _stem_work(dy, x, weight_shape, stride, padding, dilation, image)
        if stem is not None:
            return [stem]
    window = (weight_shape[2], weight_shape[3])
    return _works(dy, x, window, stride, padding, dilation, groups, prologue)


def run_works(works: Sequence[Work], dy: Array, weight_shape: Sequence[int]) -> Array:
    """The slabs, or the gradient, that works give."""
    kind, shape, strides = slabs_of(sum(work.slabs for work in works), weight_shape, dy.dtype)
    out, first = empty(shape, kind, dy.device, strides), 0
    if out.ndim == 4:
        works[0].run(out)
        return out
    for work in works:
        work.run(out.slice(0, first, first + work.slabs))
        first += work.slabs
    return out


def slabs_of(slabs: int, weight_shape: Sequence[int], kind: dtype) -> tuple[dtype, tuple[int, ...], tuple[int, ...]]:
    """dtype, shape and strides of so many slabs of a gradient of dtype `kind`; of one, of the gradient itself."""
    o, c, r, s = weight_shape
    if slabs == 1:
        return kind, (o, c, r, s), channels_last_strides(weight_shape)
    # Slabs lie one after the other, each in the channels-last order of the result.
    shape = slabs, o, r, s, c
    return dtypes.accumulator(kind), shape, contiguous_strides(shape)


def _stem_work(
    dy: Array, x: Array, weight_shape: Sequence[int], stride: Pair, padding: Pair, dilation: Pair, image: Array | None
) -> Work | None:
    """By a `stem_image` of x."""
    image = image or conv_stem.stem_image(x, weight_shape, dy.dtype, stride, padding, dilation)
    seen = conv_stem.stem_view(image, weight_shape, (dy.shape[2], dy.shape[3]), stride, dilation)
    piece = weight_shape[3], image.shape[1], weight_shape[1]
    return conv_weight_grad_tma.work_as_seen(dy, image, seen, piece, None, *arithmetic(dy))


def _works(
    dy: Array,
    x: Array,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    prologue: Prologue | None,
) -> list[Work]:
    """By one launch or several, each of as many images as it can take."""
    x, works = in_channels_last(cast(x, dy.dtype)), []
    for some in parts("conv2d", x.shape[0], math.prod(x.shape[2:]), math.prod(dy.shape[2:])):
        pair, how = (dy.slice(0, *some), x.slice(0, *some)), arithmetic(x)
        work = conv_weight_grad_tma.work(*pair, window, stride, padding, dilation, groups, prologue, *how)
        works.append(work or _work(*pair, window, stride, padding, dilation, groups, prologue, *how))
    return works


def _work(
    dy: Array,
    x: Array,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    prologue: Prologue | None,
    precision: str,
    acc: tl.dtype,
) -> Work:
    """How `_conv2d_weight_grad` gives the weight gradient of as many images as one launch can take."""
    (n, channels, h, w), (r, s), (p, q) = x.shape, window, dy.shape[2:]
    c, o = channels // groups, dy.shape[1] // groups
    config = tile("conv2d_weight_grad", least=16, itemsize=x.dtype.itemsize, BO=o, BP=n * p * q, BC=c)
    tiles = cdiv(o, config["BO"]) * cdiv(c, config["BC"]) * r * s * groups
    steps, slabs = split(n * p * q, tiles, config)
    *norm, relu = prologue or NOTHING

    def run(out: Array) -> None:
        launch(
            _conv2d_weight_grad,
            tiles * slabs,
            dy,
            x,
            out,
            *norm,
            n, h, w, c, o, p, q, steps * config["BP"],
            r, s, *stride, *padding, *dilation, groups,
            relu,
            c % config["BC"] == 0,
            o % config["BO"] == 0,
            precision, acc,
            flops=2 * dy.size * c * r * s,
            bytes=touched(rows_read, x, (h, w), (p, q), (r, s), stride, padding, dilation)
            + footprint(dy, out, *norm),
            **config,
        )  # fmt: skip

    return Work(slabs, run)
