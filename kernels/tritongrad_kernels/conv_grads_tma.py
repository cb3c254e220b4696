"""Both gradients of a two-dimensional convolution in one launch, on GPUs with TMA.

Neither needs the other, and each alone leaves multiprocessors idle at its end. Programs of the two take turns, and both
walk the pixels in the order in which they lie, so that what one has read of dy (and of the x that a norm and a ReLU
before the convolution have read) is in L2 when the other needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import triton
import triton.language as tl

from tritongrad_kernels import conv_input_grad_tma, conv_weight_grad_tma
from tritongrad_kernels.array import Array, footprint
from tritongrad_kernels.conv_input_grad_tma import _input_grad_program
from tritongrad_kernels.conv_weight_grad_tma import _weight_grad_program
from tritongrad_kernels.launch import launch

SHARED = 227 << 10
"""Bytes of shared memory that the programs of a multiprocessor have between them. Source: CUDA programming guide,
technical specifications of compute capability 9.0 and 10.0."""
WARPS = 8
"""Of programs with so many warps one fits on a multiprocessor, when each thread has as many registers as it can have,
as it does in the epilogue of an input gradient."""
LEAST_STAGES = 3
"""Fewer do not hide how long a copy takes."""


@triton.jit
def _conv2d_grads_tma(
    DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, SUMS,
    runs, N, H, WIDTH, C, O,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr,
    RELU: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
    programs, DY_BOX, X_BOX, DW_OUT, X_MEAN, X_RSTD, X_SCALE, X_SHIFT, n, p, q, c, o, slabs,
    WINDOW: tl.constexpr, BOX: tl.constexpr, STAGES: tl.constexpr,
    BO: tl.constexpr, BC: tl.constexpr, QUARTERS: tl.constexpr,
):  # fmt: skip
    """dx and its epilogue as `_conv2d_input_grad_tma` has them, and dw as `_conv2d_weight_grad_tma`.

    Shapes  as there: from `programs` on, the operands of the weight gradient, whose constants are WINDOW (R to WHOLE)
            and BOX (TN to BC).
    Grid    `programs` of the input gradient and those of the weight gradient, in turn while there are both.
    Bytes   read what both read, what both read once; write dx, sums and dw.
    Source  as there.
    """
    pid = tl.program_id(0)
    others = tl.num_programs(0) - programs
    pairs = tl.minimum(programs, others)
    in_turn = pid < 2 * pairs
    index = tl.where(in_turn, pid // 2, pid - pairs)
    if tl.where(in_turn, pid % 2 == 0, programs > others):
        _input_grad_program(
            index, DY, W, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, SUMS,
            runs, N, H, WIDTH, C, O, R, S, SH, SW, PH, PW, DH, DW, STEP_H, STEP_W, RELU, PRECISION, ACC,
            TN, TH, TW, BO, BC, QUARTERS,
        )  # fmt: skip
    else:
        _weight_grad_program(
            index, DY_BOX, X_BOX, DW_OUT, X_MEAN, X_RSTD, X_SCALE, X_SHIFT, n, p, q, c, o, slabs,
            WINDOW[0], WINDOW[1], WINDOW[2], WINDOW[3], WINDOW[4], WINDOW[5], WINDOW[6], WINDOW[7],
            WINDOW[8], WINDOW[9], WINDOW[10], PRECISION, ACC, BOX[0], BOX[1], BOX[2], BOX[3], BOX[4], STAGES,
        )  # fmt: skip


@dataclass
class Beside:
    """A weight gradient that may join the input gradient of the same convolution.

    room  allocates what it gives
    out   what it gave, if it has joined
    """

    job: conv_weight_grad_tma.Job
    room: Callable[[], Array]
    out: Array | None = None


def run(grad: conv_input_grad_tma.Job, beside: Beside | None) -> None:
    """Launch the input gradient, and with it what is beside it, if neither is the slower for it."""
    stages = 0 if beside is None else _stages(grad, beside.job)
    if beside is None or not stages:
        conv_input_grad_tma.run(grad)
        return
    job, out = beside.job, beside.room()
    launch(
        _conv2d_grads_tma,
        grad.programs + job.tiles * job.slabs,
        *grad.arguments,
        grad.programs,
        job.dy, job.x, out, *job.norm, *job.geometry, job.slabs,
        job.window, (*job.box, job.config["BO"], job.config["BC"]), stages,
        flops=grad.flops + job.flops,
        bytes=grad.bytes + job.bytes(out) - _read_by_both(grad, job),
        **grad.config,
    )  # fmt: skip
    beside.out = out


def _stages(grad: conv_input_grad_tma.Job, job: conv_weight_grad_tma.Job) -> int:
    """How many steps ahead the copies for the weight gradient are, 0 where it had better be alone.

    As many as it has alone, or as the input gradient's shared memory holds, but so that as many programs as of the
    input gradient are on a multiprocessor.
    """
    if grad.config["num_warps"] != job.config["num_warps"]:
        return 0
    *box, bo = grad.arguments[0].block
    there = 2 * bo * (math.prod(box) + grad.config["BC"]) * grad.config["num_stages"]
    step = 2 * math.prod(job.box) * (job.config["BO"] + job.config["BC"])
    room = SHARED * grad.config["num_warps"] // WARPS
    stages = min(max(job.config["num_stages"], there // step), room // step)
    return stages if stages >= LEAST_STAGES else 0


def _read_by_both(grad: conv_input_grad_tma.Job, job: conv_weight_grad_tma.Job) -> int:
    """Bytes of dy, and of what the epilogue and the prologue read of the same norm."""
    shared = grad.dy_bytes if _same(grad.arguments[0].array, job.dy.array) else 0
    through = grad.after.through
    if through is None or job.norm[0] is None or not _same(through.x, job.x.array):
        return shared
    known = [a for a in grad.after.arrays if a is not None]
    norm = [a for a in job.norm if a is not None and any(_same(a, b) for b in known)]
    return shared + job.x_bytes + footprint(*norm)


def _same(a: Array, b: Array) -> bool:
    return a.memory is b.memory and a.offset == b.offset
