"""The weight gradient of a two-dimensional convolution of half precisions on GPUs with TMA: see `conv_tma`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.conv_tma import View, _corner, _in_image, _result, box_sides, view
from tritongrad_kernels.descriptors import Descriptor, descriptor, fits
from tritongrad_kernels.launch import cdiv, has_tma, launch, tile
from tritongrad_kernels.prologue import NOTHING, Prologue, prepared
from tritongrad_kernels.windows import Pair


@triton.jit
def _weight_grad_program(
    pid, DY, X, DW_OUT, MEAN, RSTD, SCALE, SHIFT, N, P, Q, C, O, slabs,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, PIECE: tl.constexpr, RELU: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """What program `pid` of `_conv2d_weight_grad_tma` does, its copies STAGES steps ahead; None for the launch's."""
    # As in `_conv2d_box`: no coordinate divided is negative.
    LIFT_H: tl.constexpr = (PH + SH - 1) // SH
    LIFT_W: tl.constexpr = (PW + SW - 1) // SW
    blocks_o, blocks_c = tl.cdiv(O, BO), C // BC
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
    for box in tl.range(z, boxes, slabs, num_stages=STAGES):
        n, p, q = _corner(box, P, Q, TN, TH, TW)
        dy = DY.load([n, p, q, o]).reshape(TN * TH * TW, BO)
        x = X.load([n, p + h // SH - LIFT_H, h % SH, q + w // SW - LIFT_W, (w % SW) * C + c])
        x = x.reshape(TN * TH * TW, BC)
        if MEAN is not None:
            channel = c + tl.arange(0, BC)
            x = prepared(x, MEAN, RSTD, SCALE, SHIFT, channel, channel < C, RELU, ACC, BC)
            # Beyond the result dy is 0, but what the norm makes of nothing may overflow, and 0 times that is NaN.
            if not WHOLE:
                inside = _in_image(tl.arange(0, TN * TH * TW), n, p, q, N, P, Q, TH, TW)
                x = tl.where(inside[:, None], x, 0.0).to(x.dtype)
        acc = tl.dot(dy.T, x, acc, input_precision=PRECISION, out_dtype=ACC)
    o += tl.arange(0, BO)
    c += tl.arange(0, BC)
    row = (z.to(tl.int64) * O + o) * (R * S) + rs
    if PIECE is None:
        place = row[:, None] * C + c[None, :]
        mask = (o < O)[:, None]
    else:
        pixel, channel = c // PIECE[1], c % PIECE[1]
        place = row[:, None] * (PIECE[0] * PIECE[2]) + (pixel * PIECE[2] + channel)[None, :]
        mask = (o < O)[:, None] & ((pixel < PIECE[0]) & (channel < PIECE[2]))[None, :]
    tl.store(DW_OUT + place, acc.to(DW_OUT.dtype.element_ty), mask=mask)


@triton.jit
def _conv2d_weight_grad_tma(
    DY, X, DW_OUT, MEAN, RSTD, SCALE, SHIFT, N, P, Q, C, O, slabs,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, PIECE: tl.constexpr, RELU: tl.constexpr, WHOLE: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dw[z,o,r,s,c] = sum over the output pixels (n,p,q) of slab z of dy[n,p,q,o] x[n, p SH + r DH - PH, ..., c].

    Shapes  dy [N, P, Q, O] by [TN, TH, TW, BO] and x as `_conv2d_tma` has it by [TN, TH, 1, TW, BC], descriptors; BC
            divides C. dw [slabs, O, R, S, C]; slabs are summed in order by another launch. Where PIECE is not None but
            (S', PIXEL, C'), an x of `conv_stem`, C are S' pixels of PIXEL channels and more, of which S' x C' are
            wanted, and dw is [slabs, O, R, S', C']. mean, rstd, scale, shift [C] of a `prologue`, or None; WHOLE if
            no box reaches beyond the result.
    Grid    one program per slab, window position, BO output x BC input channels; slab z has the boxes z, z + slabs, ...
    Bytes   read dy and x, write dw once a slab.
    Source  as `_conv2d_tma`.
    """
    _weight_grad_program(
        tl.program_id(0), DY, X, DW_OUT, MEAN, RSTD, SCALE, SHIFT, N, P, Q, C, O, slabs,
        R, S, SH, SW, PH, PW, DH, DW, PIECE, RELU, WHOLE, PRECISION, ACC, TN, TH, TW, BO, BC, None,
    )  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A launch of `_conv2d_weight_grad_tma` before it is made, and before there is room for what it gives.

    x, dy           descriptors
    x_bytes         how much of x it reads
    norm            of the prologue, its mean, rstd, weight and bias, or None four times
    geometry        N, P, Q, C and O
    window          R, S, SH, SW, PH, PW, DH and DW; PIECE, RELU and WHOLE
    box             TN, TH and TW
    """

    dy: Descriptor
    x: Descriptor
    x_bytes: int
    norm: tuple[Array | None, ...]
    geometry: tuple[int, ...]
    window: tuple[Any, ...]
    how: tuple[str, tl.dtype]
    box: tuple[int, int, int]
    config: dict[str, int]
    tiles: int
    slabs: int
    flops: int

    def bytes(self, out: Array) -> int:
        return self.x_bytes + footprint(self.dy.array, out, *self.norm)

    def run(self, out: Array) -> None:
        """Make the launch."""
        launch(
            _conv2d_weight_grad_tma,
            self.tiles * self.slabs,
            self.dy, self.x, out, *self.norm, *self.geometry, self.slabs, *self.window, *self.how, *self.box,
            flops=self.flops,
            bytes=self.bytes(out),
            **self.config,
        )  # fmt: skip


@dataclass(frozen=True)
class Work:
    """A weight gradient as a kernel can give it, as long as there is no room for it yet.

    slabs   how many there are
    run     run(out) stores slabs [slabs,O,R,S,C], or, of one, the weight's gradient
    job     what that launches, if another launch can do it, too
    """

    slabs: int
    run: Callable[[Array], None]
    job: Job | None = None


def split(pixels: int, tiles: int, config: dict[str, int], steps: int | None = None) -> tuple[int, int]:
    """Steps of a slab, and slabs, where a slab takes `tiles` programs; takes what decides it out of `config`.

    There are as many as give every multiprocessor work, and no more, since each is written and read once more; and each
    is of SPLIT pixels at least. That is a function of the shape alone, as the order of every sum is.
    steps  of all pixels, unless these go as BP after BP
    """
    least, programs = cdiv(config.pop("SPLIT"), config["BP"]), config.pop("PROGRAMS")
    steps = cdiv(pixels, config["BP"]) if steps is None else steps
    slabs = max(1, min(programs // tiles, steps // least))
    of_one = max(1, cdiv(steps, slabs))
    return of_one, max(1, cdiv(steps, of_one))


def work(
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
) -> Work | None:
    """How boxes give the weight gradient of channels-last dy [N,O,P,Q] and x; None where `conv_weight_grad` must.

    Half precisions on a GPU with TMA, channels that fill whole blocks, and what `descriptors.fits` asks.
    """
    if groups > 1 or x.dtype.itemsize != 2 or x.shape[1] % 16 or not has_tma():
        return None
    seen = view(x, dy, window, stride, padding, dilation)
    return None if seen is None else work_as_seen(dy, x, seen, None, prologue, precision, acc)


def work_as_seen(
    dy: Array,
    x: Array,
    seen: View,
    piece: tuple[int, int, int] | None,
    prologue: Prologue | None,
    precision: str,
    acc: tl.dtype,
) -> Work | None:
    """`work` with x as it is `seen`; `piece` is what the kernel calls PIECE.

    None also where boxes would reach pixels beyond the result that no window reads: they count 0 times, but may be NaN.
    """
    o = dy.shape[1]
    if dy.size == 0 or not fits(x, None, seen.shape, seen.strides) or not fits(dy, None, *_result(seen, o)):
        return None
    row = "conv2d_weight_grad_tma" + ("_narrow" if min(o, seen.channels) <= 64 else "")
    config = tile(row, least=16, itemsize=2, BO=o, BP=math.prod(seen.pixels), BC=math.gcd(seen.channels, 1 << 10))
    box = box_sides(*seen.pixels, config["BP"])
    nbytes = seen.bytes_read(box, x.dtype.itemsize)
    if nbytes > seen.bytes_read((1, 1, 1), x.dtype.itemsize):
        return None
    *norm, relu = prologue or NOTHING
    whole = prologue is None or not any(extent % side for extent, side in zip(seen.pixels, box, strict=True))
    taps = math.prod(seen.window)
    tiles = cdiv(o, config["BO"]) * (seen.channels // config["BC"]) * taps
    slabs = split(math.prod(seen.pixels), tiles, config, math.prod(map(cdiv, seen.pixels, box)))[1]
    del config["BP"]
    job = Job(
        descriptor(dy, (*box, config["BO"]), *_result(seen, o)),
        descriptor(x, (box[0], box[1], 1, box[2], config["BC"]), seen.shape, seen.strides),
        nbytes,
        tuple(norm),
        (*seen.pixels, seen.channels, o),
        (*seen.window, *seen.stride, *seen.padding, *seen.dilation, piece, relu, whole),
        (precision, acc),
        box,
        config,
        tiles,
        slabs,
        2 * dy.size * (seen.channels * taps - seen.zeros),
    )
    return Work(slabs, job.run, job if piece is None else None)
