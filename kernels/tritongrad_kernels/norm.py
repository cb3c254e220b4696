"""Batch normalisation over [rows, channels]: images as stored channels-last, or plain matrices.

    y = relu((x - mean) rstd weight + bias + residual),     rstd = 1 / sqrt(var + eps)

`apply` computes it in one pass over x, whatever is added; `norm_statistics.py` has the mean and variance, and
`norm_grad.py` the gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, empty_like, footprint
from tritongrad_kernels.channels import _load, _parameter, _stride, _tile, fold_rows, walk, width
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import launch
from tritongrad_kernels.norm_statistics import Statistics as Statistics, _statistics, folding, moments as moments


@triton.jit
def _normalised(x, mean, scale, bias, dtype: tl.constexpr):
    """(x - mean) scale + bias, rounded to `dtype` and back: what a norm stores. `scale` is rstd weight.

    Operands come broadcast against each other, in any orientation. Whatever must know the sign of y again asks this
    very function of the very same numbers.
    """
    return ((x - mean) * scale + bias).to(dtype).to(x.dtype)


@triton.jit
def _passes(y):
    """Whether a ReLU's gradient passes, given its input or output y: 0 does not, NaN does."""
    return (y > 0) | (y != y)


@triton.jit
def _packed(flags, BM: tl.constexpr, BC: tl.constexpr):
    """flags [BM, BC] as bits [BM, BC // 8] of uint8: bit j of byte i is flag 8 i + j."""
    weights = (1 << tl.arange(0, 8))[None, None, :]
    return tl.sum(tl.reshape(flags.to(tl.int32), (BM, BC // 8, 8)) * weights, 2).to(tl.uint8)


@triton.jit
def _normalize(
    X, MOMENTS, MEAN, RSTD, RUNNING_MEAN, RUNNING_VAR, BATCHES, WEIGHT, BIAS, runs, eps: tl.float64,
    momentum: tl.float64, CUMULATIVE: tl.constexpr,
    X2, MOMENTS2, MEAN2, RSTD2, RUNNING_MEAN2, RUNNING_VAR2, BATCHES2, WEIGHT2, BIAS2, runs2, eps2: tl.float64,
    momentum2: tl.float64, CUMULATIVE2: tl.constexpr,
    RESIDUAL, Y, BITS, M: tl.int64, C: tl.int64,
    RELU: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, BR: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) rstd weight + bias + the same of x2 + residual, through a ReLU if RELU; None drops a term.

    Each term is rounded to the type of x before they are added, as it would be if it had been stored.

    Shapes  x, x2, residual, y [M, C]; bits [M, C // 8], which outputs a gradient passes; moments [runs, 3, C]; the
            others [C]. See `_statistics` for what is read and what is written of them.
    Grid    row blocks x channel blocks; a program folds the moments of BC channels and takes every so-many-th tile
            of BM rows.
    Bytes   read x, x2 and residual once, write y and bits once.
    Source  Ioffe and Szegedy 2015, algorithm 1.
    """
    block, c, c_in = _tile(M, C, BM, BC)
    mean, rstd = _statistics(
        MOMENTS, MEAN, RSTD, RUNNING_MEAN, RUNNING_VAR, BATCHES, C, runs, eps, momentum, block, c, c_in,
        CUMULATIVE, ACC, BR, BC, STAGES,
    )  # fmt: skip
    scale = rstd * _parameter(WEIGHT, c, c_in, 1.0, ACC, BC)
    bias = _parameter(BIAS, c, c_in, 0.0, ACC, BC)
    if X2 is not None:
        mean2, rstd2 = _statistics(
            MOMENTS2, MEAN2, RSTD2, RUNNING_MEAN2, RUNNING_VAR2, BATCHES2, C, runs2, eps2, momentum2, block, c, c_in,
            CUMULATIVE2, ACC, BR, BC, STAGES,
        )  # fmt: skip
        scale2 = rstd2 * _parameter(WEIGHT2, c, c_in, 1.0, ACC, BC)
        bias2 = _parameter(BIAS2, c, c_in, 0.0, ACC, BC)
    dtype: tl.constexpr = Y.dtype.element_ty
    for first in tl.range(block * BM, M, _stride(C, BM, BC), num_stages=STAGES):
        m = first + tl.arange(0, BM)
        mask = (m < M)[:, None] & c_in[None, :]
        place = m[:, None] * C + c[None, :]
        y = _normalised(_load(X, place, mask, ACC), mean[None, :], scale[None, :], bias[None, :], dtype)
        if X2 is not None:
            x2 = _load(X2, place, mask, ACC)
            y = (y + _normalised(x2, mean2[None, :], scale2[None, :], bias2[None, :], dtype)).to(dtype).to(ACC)
        if RESIDUAL is not None:
            y = (y + _load(RESIDUAL, place, mask, ACC)).to(dtype).to(ACC)
        if RELU:
            y = tl.where(y < 0, 0.0, y)
        tl.store(Y + place, y.to(dtype), mask=mask)
        if BITS is not None:
            byte = tl.program_id(0).to(tl.int64) % tl.cdiv(C, BC) * (BC // 8) + tl.arange(0, BC // 8)
            place = m[:, None] * (C // 8) + byte[None, :]
            mask = (m < M)[:, None] & (byte < C // 8)[None, :]
            tl.store(BITS + place, _packed(_passes(y), BM, BC), mask=mask)


class Pending(NamedTuple):
    """A norm that is still to be applied to what a kernel reads, and the ReLU after it if `relu`."""

    statistics: Statistics
    weight: Array | None = None
    bias: Array | None = None
    relu: bool = False


class Site(NamedTuple):
    """What is normalised: x [M, C], by what, and the weight and bias [C] it is given, unless None."""

    x: Array
    statistics: Statistics
    weight: Array | None = None
    bias: Array | None = None


def apply(
    x: Array,
    statistics: Statistics,
    weight: Array | None,
    bias: Array | None,
    *,
    residual: Array | None = None,
    other: Site | tuple[Array, Statistics, Array | None, Array | None] | None = None,
    relu: bool = False,
    bits: bool = False,
) -> tuple[Array, Array | None]:
    """y = (x - mean) rstd weight + bias + residual + the same of `other`, through a ReLU where wanted; x is [M, C].

    The result is that of separate operations to the bit: a normalised value is rounded to the type of x before anything
    is added to it. With `bits`, where C is a multiple of 8, there are also uint8 [M, C / 8], of which bit j of byte
    [m, i] is 1 where y[m, 8 i + j] > 0 or NaN. Statistics that are not folded yet are folded by this launch.
    """
    (m, c), y = x.shape, empty_like(x)
    kept = empty((m, c // 8), dtypes.uint8, x.device) if bits and c % 8 == 0 else None
    x2, statistics2, weight2, bias2 = other or (None, None, None, None)
    acc = dtypes.accumulator(x.dtype)
    nbytes = footprint(x, weight, bias, x2, weight2, bias2, residual, y, kept)
    with folding(statistics, c, acc, x.device) as first, folding(statistics2, c, acc, x.device) as second:
        runs = max(first[1], second[1])
        config, _, grid = walk(x, width=width(x, runs), least=1 if kept is None else 8)
        sites: list = []
        for (arrays, runs_of, numbers, read), w, b in ((first, weight, bias), (second, weight2, bias2)):
            sites.append((*arrays, w, b, runs_of, *numbers))
            nbytes += read
        launch(
            _normalize, grid, x, *sites[0], x2, *sites[1], residual, y, kept, m, c, relu, TRITON_TYPE[acc],
            BR=fold_rows(runs, config["BC"], acc.itemsize), bytes=nbytes, **config,
        )  # fmt: skip
    return y, kept
