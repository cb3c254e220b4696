"""The input gradient of a two-dimensional convolution of half precisions on GPUs with TMA: see `conv_tma`.

Both operands are copied as boxes. The result is stored through pointers, because what happens to it before, in
`epilogue`, reads arrays of its shape the same way, and because pixels of a phase then need not fill the image evenly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.conv_tma import LONG, _corner, box_sides
from tritongrad_kernels.descriptors import descriptor, fits
from tritongrad_kernels.epilogue import Epilogue, _store, _store_sums
from tritongrad_kernels.launch import cdiv, has_tma, launch, tile
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
def _store_pixels(
    grad, start, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
    n, i, j, h_phase, w_phase, first, N, H, WIDTH, C, SH: tl.constexpr, SW: tl.constexpr, RELU: tl.constexpr,
    TH: tl.constexpr, TW: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store grad [BC, BP], pixels `start`, ... of the box at (n, i, j) of a phase."""
    lane = start + tl.arange(0, BP)
    n += lane // (TH * TW)
    h = (i + lane // TW % TH) * SH + h_phase
    w = (j + lane % TW) * SW + w_phase
    inside = (n < N) & (h < H) & (w < WIDTH)
    row = (n * H + h).to(tl.int64) * WIDTH + w
    return _store(
        grad.T.to(tl.float32), DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
        row, inside, first, C, C, RELU, BP, BC,
    )  # fmt: skip


@triton.jit
def _halves(a, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The first and the last columns of a [ROWS, COLUMNS]."""
    return tl.split(tl.permute(tl.reshape(a, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))


@triton.jit
def _store_halves(
    grad, start, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
    n, i, j, h_phase, w_phase, first, N, H, WIDTH, C, SH: tl.constexpr, SW: tl.constexpr, RELU: tl.constexpr,
    TH: tl.constexpr, TW: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """As `_store_pixels`, one half after the other, which takes half the registers."""
    left, right = _halves(grad, BC, BP)
    a, b, b2 = _store_pixels(
        left, start, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
        n, i, j, h_phase, w_phase, first, N, H, WIDTH, C, SH, SW, RELU, TH, TW, BP // 2, BC,
    )  # fmt: skip
    plain, product, product2 = _store_pixels(
        right, start + BP // 2, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
        n, i, j, h_phase, w_phase, first, N, H, WIDTH, C, SH, SW, RELU, TH, TW, BP // 2, BC,
    )  # fmt: skip
    return plain + a, product + b, product2 + b2


@triton.jit
def _input_grad_box(
    DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, tile, first,
    N, H, WIDTH, C, O, boxes,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr,
    RELU: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr, QUARTERS: tl.constexpr,
):  # fmt: skip
    """Store the pixels of a box of a phase for the channels from `first` on; their part of the sums, as `_store`."""
    phase = tile // boxes
    n, i, j = _corner(tile - phase * boxes, tl.cdiv(H, SH), tl.cdiv(WIDTH, SW), TN, TH, TW)
    h_phase = phase // SW
    w_phase = phase - h_phase * SW
    r0 = _first_tap(h_phase + PH, SH, DH, STEP_H)
    s0 = _first_tap(w_phase + PW, SW, DW, STEP_W)
    taps_r = tl.where(r0 < 0, 0, (R - r0 + STEP_H - 1) // STEP_H)
    taps_s = tl.where(s0 < 0, 0, (S - s0 + STEP_W - 1) // STEP_W)
    # Where there are taps the divisions are exact, and so right for negative numbers, too.
    p = i + (h_phase + PH - r0 * DH) // SH
    q = j + (w_phase + PW - s0 * DW) // SW
    blocks_o = tl.cdiv(O, BO)
    acc = tl.zeros((BC, TN * TH * TW), ACC)
    for k in range(0, taps_r * taps_s * blocks_o):
        tap = k // blocks_o
        a = tap // taps_s
        b = tap - a * taps_s
        o = (k - tap * blocks_o) * BO
        rs = (r0 + a * STEP_H) * S + s0 + b * STEP_W
        dy = DY.load([n, p - a * (STEP_H * DH // SH), q - b * (STEP_W * DW // SW), o]).reshape(TN * TH * TW, BO)
        acc = tl.dot(W.load([o, rs * C + first]).T, dy.T, acc, input_precision=PRECISION, out_dtype=ACC)
    if QUARTERS:
        if X2 is not None:  # rounded now, what waits to be stored takes half the registers
            acc = acc.to(DX.dtype.element_ty)
        left, right = _halves(acc, BC, TN * TH * TW)
        a, b, b2 = _store_halves(
            left, 0, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
            n, i, j, h_phase, w_phase, first, N, H, WIDTH, C, SH, SW, RELU, TH, TW, TN * TH * TW // 2, BC,
        )  # fmt: skip
        plain, product, product2 = _store_halves(
            right, TN * TH * TW // 2, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
            n, i, j, h_phase, w_phase, first, N, H, WIDTH, C, SH, SW, RELU, TH, TW, TN * TH * TW // 2, BC,
        )  # fmt: skip
        plain += a
        product += b
        product2 += b2
    else:
        plain, product, product2 = _store_pixels(
            acc, 0, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
            n, i, j, h_phase, w_phase, first, N, H, WIDTH, C, SH, SW, RELU, TH, TW, TN * TH * TW, BC,
        )  # fmt: skip
    return plain, product, product2


@triton.jit
def _input_grad_program(
    pid, DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, SUMS,
    runs, N, H, WIDTH, C, O,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr,
    RELU: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr, QUARTERS: tl.constexpr,
):  # fmt: skip
    """What program `pid` of `_conv2d_input_grad_tma` does."""
    blocks_c = tl.cdiv(C, BC)
    first = (pid % blocks_c) * BC
    run = pid // blocks_c
    boxes = tl.cdiv(N, TN) * tl.cdiv(tl.cdiv(H, SH), TH) * tl.cdiv(tl.cdiv(WIDTH, SW), TW)
    if SUMS is None:
        _input_grad_box(
            DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, run, first,
            N, H, WIDTH, C, O, boxes, R, S, SH, SW, PH, PW, DH, DW, STEP_H, STEP_W, RELU, PRECISION, ACC,
            TN, TH, TW, BO, BC, QUARTERS,
        )  # fmt: skip
    else:
        plain = tl.zeros((BC,), ACC)
        product = tl.zeros((BC,), ACC)
        product2 = tl.zeros((BC,), ACC)
        for tile in tl.range(run, boxes * SH * SW, runs, disable_licm=True):
            a, b, b2 = _input_grad_box(
                DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, tile, first,
                N, H, WIDTH, C, O, boxes, R, S, SH, SW, PH, PW, DH, DW, STEP_H, STEP_W, RELU, PRECISION, ACC,
                TN, TH, TW, BO, BC, QUARTERS,
            )  # fmt: skip
            plain += a
            product += b
            product2 += b2
        _store_sums(SUMS, RSTD, RSTD2, plain, product, product2, run, first, C, C, BC)


@triton.jit
def _conv2d_input_grad_tma(
    DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, SUMS,
    runs, N, H, WIDTH, C, O,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr,
    RELU: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BO: tl.constexpr, BC: tl.constexpr, QUARTERS: tl.constexpr,
):  # fmt: skip
    """dx[n,h,w,c] = sum_{r,s,o} dy[n, (h + PH - r DH) / SH, (w + PW - s DW) / SW, o] w[o,r,s,c].

    Pixels are taken phase by phase, and what happens before they are stored is in `epilogue`: see `_conv2d_input_grad`.
    Within a phase one tap of the window is one box of dy.
    Shapes  dy [N, P, Q, O] by [TN, TH, TW, BO] and w [O, R S C] by [BO, BC], both descriptors; dx [N, H, WIDTH, C].
    Grid    one program per box of a phase's pixels x BC input channels; for sums, one per run: the boxes run,
            run + runs, ... of all phases.
    Bytes   read dy, w and what the epilogue needs, write dx and sums.
    Source  as `_conv2d_input_grad` and `_conv2d_tma`.
    """
    _input_grad_program(
        tl.program_id(0), DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, SUMS,
        runs, N, H, WIDTH, C, O, R, S, SH, SW, PH, PW, DH, DW, STEP_H, STEP_W, RELU, PRECISION, ACC,
        TN, TH, TW, BO, BC, QUARTERS,
    )  # fmt: skip


def suits(dy: Array, weight: Array, groups: int) -> bool:
    """Whether `input_grad` can do it: half precisions on a GPU with TMA, whole units of 16 bytes."""
    if groups > 1 or dy.dtype.itemsize != 2 or dy.size == 0 or not has_tma():
        return False
    o, c = weight.shape[:2]
    terms = math.prod(weight.shape[1:])
    (n, _, p, q) = dy.shape
    return c % 8 == 0 and fits(dy, None, *_pixels(n, p, q, o)) and fits(weight, None, (o, terms), (terms, 1))


def _pixels(n: int, p: int, q: int, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of images with channels innermost."""
    return (n, p, q, channels), (p * q * channels, q * channels, channels, 1)


@dataclass(frozen=True)
class Job:
    """A launch of `_conv2d_input_grad_tma` before it is made.

    dy_bytes  of `bytes`, those of dy
    after     what comes after it, and `sums` [runs, 2, C] of that, or None
    """

    programs: int
    arguments: tuple[Any, ...]
    config: dict[str, int]
    flops: int
    bytes: int
    dy_bytes: int
    after: Epilogue
    sums: Array | None


def job(
    dy: Array,
    weight: Array,
    dx: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    after: Epilogue,
    precision: str,
    acc: tl.dtype,
) -> Job:
    """What stores into dx [N,C,H,W] the gradient and what comes `after` it.

    dy [N,O,P,Q] and weight [O,C,R,S] are channels-last, too.
    """
    (n, c, h, w), (o, _, r, s), (p, q) = dx.shape, weight.shape, dy.shape[2:]
    if (r, s, *stride, *padding) == (1, 1, 1, 1, 0, 0):  # one row of all pixels
        n, h, w, p, q = 1, 1, n * h * w, 1, n * h * w
    rows, columns = cdiv(h, stride[0]), cdiv(w, stride[1])
    terms = o * r * s // math.prod(stride)
    narrow = c <= 64 or (terms < LONG and (after.through is not None or after.has_bits))
    row = "conv2d_input_grad_tma" + ("_narrow" if narrow else "" if terms < LONG else "_long")
    config = tile(row, least=16, itemsize=2, BO=o, BP=n * rows * columns, BC=c)
    box = box_sides(n, rows, columns, config.pop("BP"))
    bo, bc = config["BO"], config["BC"]
    boxes, blocks = math.prod(map(cdiv, (n, rows, columns), box)) * math.prod(stride), cdiv(c, bc)
    runs, sums = after.runs_and_sums(boxes, blocks, dx)
    # Boxes that reach beyond the image read what windows there would.
    sizes = [cdiv(k, b) * b * st for k, b, st in zip((rows, columns), box[1:], stride, strict=True)]
    seen = dy.view((n, o, p, q), dy.strides)
    dy_bytes = touched(positions_reading, seen, sizes, (p, q), (r, s), stride, padding, dilation)
    arguments = (
        descriptor(dy, (*box, bo), *_pixels(n, p, q, o)),
        descriptor(weight, (bo, bc), (o, r * s * c), (r * s * c, 1)),
        *after.arrays,
        dx,
        sums,
        1 if sums is None else runs,
        n, h, w, c, o,
        r, s, *stride, *padding, *dilation,
        *(st // math.gcd(st, d) for st, d in zip(stride, dilation, strict=True)),
        after.relu,
        precision, acc, *box,
    )  # fmt: skip
    return Job(
        blocks * runs, arguments, config, 2 * dy.size * c * r * s,
        dy_bytes + footprint(weight, *after.arrays, dx, sums), dy_bytes, after, sums,
    )  # fmt: skip


def run(job: Job) -> None:
    """Make the launch."""
    launch(_conv2d_input_grad_tma, job.programs, *job.arguments, flops=job.flops, bytes=job.bytes, **job.config)
