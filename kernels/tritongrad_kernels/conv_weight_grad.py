"""The weight gradient of a two-dimensional convolution: see `conv`."""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, matmul, reduce
from tritongrad_kernels.array import Array, channels_last_strides, empty, footprint
from tritongrad_kernels.conv import arithmetic, in_channels_last, over_parts
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.matmul import clamped
from tritongrad_kernels.windows import Pair, rows_read, touched


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
