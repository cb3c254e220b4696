"""The weight gradient of a two-dimensional convolution of half precisions on GPUs with TMA: see `conv_tma`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import triton
import triton.language as tl

from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.conv_tma import _corner, _result, box_sides, view
from tritongrad_kernels.descriptors import descriptor, fits
from tritongrad_kernels.launch import cdiv, has_tma, launch, tile
from tritongrad_kernels.windows import Pair


@triton.jit
def _conv2d_weight_grad_tma(
    DY, X, DW_OUT, N, P, Q, C, O, split,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dw[z,o,r,s,c] = sum over the output pixels (n,p,q) of slab z of dy[n,p,q,o] x[n, p SH + r DH - PH, ..., c].

    Shapes  dy [N, P, Q, O] by [TN, TH, TW, BO] and x as `_conv2d_tma` has it by [TN, TH, 1, TW, BC], descriptors; BC
            divides C. dw [slabs, O, R, S, C]; slabs are summed in order by another launch.
    Grid    one program per slab of `split` boxes, window position, BO output x BC input channels.
    Bytes   read dy and x, write dw once a slab.
    Source  as `_conv2d_tma`.
    """
    # As in `_conv2d_box`: no coordinate divided is negative.
    LIFT_H: tl.constexpr = (PH + SH - 1) // SH
    LIFT_W: tl.constexpr = (PW + SW - 1) // SW
    blocks_o, blocks_c = tl.cdiv(O, BO), C // BC
    pid = tl.program_id(0)
    o = (pid % blocks_o) * BO
    pid = pid // blocks_o
    c = (pid % blocks_c) * BC
    pid = pid // blocks_c
    rs = pid % (R * S)
    z = pid // (R * S)
    h = (rs // S) * DH + LIFT_H * SH - PH
    w = (rs % S) * DW + LIFT_W * SW - PW
    boxes = tl.cdiv(N, TN) * tl.cdiv(P, TH) * tl.cdiv(Q, TW)
    acc = tl.zeros((BO, BC), ACC)
    for box in range(z * split, tl.minimum(z * split + split, boxes)):
        n, p, q = _corner(box, P, Q, TN, TH, TW)
        dy = DY.load([n, p, q, o]).reshape(TN * TH * TW, BO)
        x = X.load([n, p + h // SH - LIFT_H, h % SH, q + w // SW - LIFT_W, (w % SW) * C + c])
        acc = tl.dot(dy.T, x.reshape(TN * TH * TW, BC), acc, input_precision=PRECISION, out_dtype=ACC)
    o += tl.arange(0, BO)
    place = ((z.to(tl.int64) * O + o) * (R * S) + rs) * C
    place = DW_OUT + place[:, None] + (c + tl.arange(0, BC))[None, :]
    tl.store(place, acc.to(DW_OUT.dtype.element_ty), mask=(o < O)[:, None])


@dataclass(frozen=True)
class Work:
    """A weight gradient as a kernel can give it, as long as it is open into how many slabs it goes.

    steps   of the sum over pixels; a slab has `least` of them or more, unless it is the only one
    tiles   programs of one slab
    most    programs that are enough
    run     run(steps of a slab, slabs, out) stores slabs [slabs,O,R,S,C], or, of one, the weight's gradient
    """

    steps: int
    least: int
    tiles: int
    most: int
    run: Callable[[int, int, Array], None]

    def split(self) -> tuple[int, int]:
        """Steps of a slab, and slabs: as many as give every multiprocessor work, and no more, since each is written and
        read once more. It is a function of the shape alone, like every order of summation."""
        slabs = max(1, min(self.most // self.tiles, self.steps // self.least))
        steps = max(1, cdiv(self.steps, slabs))
        return steps, max(1, cdiv(self.steps, steps))


def work(
    dy: Array,
    x: Array,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    precision: str,
    acc: tl.dtype,
) -> Work | None:
    """How boxes give the weight gradient of channels-last dy [N,O,P,Q] and x; None where `conv_weight_grad` must.

    Half precisions on a GPU with TMA, channels that fill whole blocks, and what `descriptors.fits` asks. And boxes may
    reach beyond the result only where that reads no pixel that no window reads: it counts 0 times, but may be NaN.
    """
    if groups > 1 or x.dtype.itemsize != 2 or dy.size == 0 or x.shape[1] % 16 or not has_tma():
        return None
    seen, o = view(x, dy, window, stride, padding, dilation), dy.shape[1]
    if seen is None or not fits(x, None, seen.shape, seen.strides) or not fits(dy, None, *_result(seen, o)):
        return None
    row = "conv2d_weight_grad_tma" + ("_narrow" if min(o, seen.channels) <= 64 else "")
    config = tile(row, least=16, itemsize=2, BO=o, BP=math.prod(seen.pixels), BC=math.gcd(seen.channels, 1 << 10))
    least, most = cdiv(config.pop("SPLIT"), config["BP"]), config.pop("PROGRAMS")
    box = box_sides(*seen.pixels, config.pop("BP"))
    nbytes = seen.bytes_read(box, x.dtype.itemsize)
    if nbytes > seen.bytes_read((1, 1, 1), x.dtype.itemsize):
        return None
    tiles = cdiv(o, config["BO"]) * (seen.channels // config["BC"]) * math.prod(window)

    def run(steps: int, slabs: int, out: Array) -> None:
        launch(
            _conv2d_weight_grad_tma,
            tiles * slabs,
            descriptor(dy, (*box, config["BO"]), *_result(seen, o)),
            descriptor(x, (box[0], box[1], 1, box[2], config["BC"]), seen.shape, seen.strides),
            out,
            *seen.pixels, seen.channels, o, steps,
            *seen.window, *seen.stride, *seen.padding, *seen.dilation,
            precision, acc, *box,
            flops=2 * dy.size * seen.channels * math.prod(window),
            bytes=nbytes + footprint(dy, out),
            **config,
        )  # fmt: skip

    return Work(math.prod(map(cdiv, seen.pixels, box)), least, tiles, most, run)
