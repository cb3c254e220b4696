"""Gradients of batch normalisation over [rows, channels], through the ReLU after it.

With g the gradient dy where the ReLU let its input pass, and z = (x - mean) rstd:

    dbias = sum g,   dweight = sum g z,   dx = weight rstd (g - dbias / M - z dweight / M),   dresidual = g

The two sums are taken in runs of rows, by `grad_sums` or by whoever wrote dy; each program of `input_grad` folds those
of its own channels, in order. Two norms that were added before the ReLU have the same g, which is read once for both:
then there is a third sum, of g z2. Source: Ioffe and Szegedy 2015, section 3.

Which elements the ReLU let pass is known in one of three ways, RELU:

    "recompute"   y is computed from x once more: where nothing was added to the norm
    "bits"        PASSED is uint8 [M, C / 8], as `norm.apply` left them
    "output"      PASSED is y [M, C]
"""

from __future__ import annotations

from typing import Literal

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, empty_like, footprint
from tritongrad_kernels.channels import _load, _parameter, _stride, _tile, fold_rows, walk, width
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.epilogue import _flags
from tritongrad_kernels.launch import launch
from tritongrad_kernels.norm import Site, _normalised, _passes
from tritongrad_kernels.norm_statistics import Statistics

Relu = Literal["recompute"] | Array | None
"""How a gradient knows what the ReLU let pass: see the head of this file. An array is bits if its type is uint8."""


@triton.jit
def _through_relu(
    dy, x, PASSED, m, c, mask, mean, scale, bias, M, C, dtype: tl.constexpr, RELU: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dy [BM, BC], set to zero where the ReLU did not let its input pass."""
    g = dy
    if RELU == "recompute":
        g = tl.where(_passes(_normalised(x, mean[None, :], scale[None, :], bias[None, :], dtype)), dy, 0.0)
    elif RELU == "output":
        g = tl.where(_passes(_load(PASSED, m[:, None] * C + c[None, :], mask, dy.dtype)), dy, 0.0)
    elif RELU == "bits":
        first = tl.program_id(0).to(tl.int64) % tl.cdiv(C, BC) * BC
        g = tl.where(_flags(PASSED, m, m < M, first, C, C, BM, BC), dy, 0.0)
    return g


@triton.jit
def _grad_sums(
    DY, PASSED, X, MEAN, RSTD, WEIGHT, BIAS, X2, MEAN2, RSTD2, SUMS, M: tl.int64, C: tl.int64,
    RELU: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """sums[z, 0, c] = sum of g over run z, sums[z, 1, c] = sum of g (x - mean) rstd; unless X2 is None, sums[z, 2, c]
    the same of x2.

    Shapes  dy, x, x2 [M, C]; mean, rstd, weight, bias [C]; sums [runs, 2 or 3, C]. Grid one program per run and BC
            channels.
    Bytes   read dy, x, x2 and PASSED once.
    """
    z, c, c_in = _tile(M, C, BM, BC)
    mean, rstd = _load(MEAN, c, c_in, ACC), _load(RSTD, c, c_in, ACC)
    scale = rstd * _parameter(WEIGHT, c, c_in, 1.0, ACC, BC)
    bias = _parameter(BIAS, c, c_in, 0.0, ACC, BC)
    plain = tl.zeros((BM, BC), ACC)
    product = tl.zeros((BM, BC), ACC)
    if X2 is not None:
        mean2 = _load(MEAN2, c, c_in, ACC)
        product2 = tl.zeros((BM, BC), ACC)
    for first in tl.range(z * BM, M, _stride(C, BM, BC), num_stages=STAGES):
        m = first + tl.arange(0, BM)
        mask = (m < M)[:, None] & c_in[None, :]
        place = m[:, None] * C + c[None, :]
        dy, x = _load(DY, place, mask, ACC), _load(X, place, mask, ACC)
        g = _through_relu(dy, x, PASSED, m, c, mask, mean, scale, bias, M, C, X.dtype.element_ty, RELU, BM, BC)
        plain += g
        product += g * (x - mean[None, :])
        if X2 is not None:
            product2 += g * (_load(X2, place, mask, ACC) - mean2[None, :])
    place = SUMS + z * (2 if X2 is None else 3) * C + c
    tl.store(place, tl.sum(plain, 0), mask=c_in)
    tl.store(place + C, tl.sum(product, 0) * rstd, mask=c_in)
    if X2 is not None:
        tl.store(place + 2 * C, tl.sum(product2, 0) * _load(RSTD2, c, c_in, ACC), mask=c_in)


@triton.jit
def _folded_sums(
    SUMS, C, runs, c, c_in, KINDS: tl.constexpr, ACC: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """The two sums, or three, of channels c over all runs, in order: [BC], [BC], [BC]."""
    plain = tl.zeros((BR, BC), ACC)
    product = tl.zeros((BR, BC), ACC)
    product2 = tl.zeros((BR, BC), ACC)
    for first in tl.range(0, runs, BR, num_stages=STAGES):
        z = first + tl.arange(0, BR).to(tl.int64)
        inside = (z < runs)[:, None] & c_in[None, :]
        place = SUMS + (z * KINDS * C)[:, None] + c[None, :]
        plain += tl.load(place, mask=inside, other=0.0)
        product += tl.load(place + C, mask=inside, other=0.0)
        if KINDS == 3:
            product2 += tl.load(place + 2 * C, mask=inside, other=0.0)
    return tl.sum(plain, 0), tl.sum(product, 0), tl.sum(product2, 0)


@triton.jit
def _input_grad(
    DY, PASSED, X, MEAN, RSTD, WEIGHT, BIAS, X2, MEAN2, RSTD2, WEIGHT2, SUMS, DX, DX2, M: tl.int64, C: tl.int64, runs,
    RELU: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, BR: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """dx = weight rstd (g - sums[0] / M - (x - mean) rstd sums[1] / M), and dx2 of x2 with sums[2] unless X2 is None.

    SUMS [runs, 2 or 3, C] is None where mean and rstd did not depend on x: dx = weight rstd g.
    Grid    row blocks x channel blocks; a program folds the sums of BC channels and takes every so-many-th tile of
            BM rows.
    Bytes   read dy, x, x2 and PASSED, write dx and dx2, each once.
    """
    block, c, c_in = _tile(M, C, BM, BC)
    mean, rstd = _parameter(MEAN, c, c_in, 0.0, ACC, BC), _load(RSTD, c, c_in, ACC)
    scale = rstd * _parameter(WEIGHT, c, c_in, 1.0, ACC, BC)
    bias = _parameter(BIAS, c, c_in, 0.0, ACC, BC)
    if SUMS is not None:
        plain, product, product2 = _folded_sums(SUMS, C, runs, c, c_in, 2 if X2 is None else 3, ACC, BR, BC, STAGES)
        offset, slope = plain / M, rstd * product / M
        if X2 is not None:
            mean2, rstd2 = _load(MEAN2, c, c_in, ACC), _load(RSTD2, c, c_in, ACC)
            scale2, slope2 = rstd2 * _parameter(WEIGHT2, c, c_in, 1.0, ACC, BC), rstd2 * product2 / M
    for first in tl.range(block * BM, M, _stride(C, BM, BC), num_stages=STAGES):
        m = first + tl.arange(0, BM)
        mask = (m < M)[:, None] & c_in[None, :]
        place = m[:, None] * C + c[None, :]
        dy = _load(DY, place, mask, ACC)
        x = dy  # not needed
        if SUMS is not None or RELU == "recompute":
            x = _load(X, place, mask, ACC)
        g = _through_relu(dy, x, PASSED, m, c, mask, mean, scale, bias, M, C, DX.dtype.element_ty, RELU, BM, BC)
        dx = g
        if SUMS is not None:
            dx = g - offset[None, :] - (x - mean[None, :]) * slope[None, :]
        tl.store(DX + place, (dx * scale[None, :]).to(DX.dtype.element_ty), mask=mask)
        if X2 is not None:
            dx2 = g - offset[None, :] - (_load(X2, place, mask, ACC) - mean2[None, :]) * slope2[None, :]
            tl.store(DX2 + place, (dx2 * scale2[None, :]).to(DX.dtype.element_ty), mask=mask)


def grad_sums(
    dy: Array,
    x: Array,
    statistics: Statistics,
    weight: Array | None,
    bias: Array | None,
    *,
    relu: Relu = None,
    other: Site | None = None,
) -> Array:
    """[runs, 2, C]: the sums over runs of rows of g and of g (x - mean) rstd, for dy and x [M, C]; [runs, 3, C] with
    that of g and what an `other` norm, which was added to the first, has normalised."""
    (m, c), acc = x.shape, dtypes.accumulator(x.dtype)
    how, passed = _relu(relu)
    if how != "recompute":
        weight = bias = None
    config, runs, grid = walk(x, "norm_sums", least=8 if how == "bits" else 1)
    sums = empty((runs, 2 if other is None else 3, c), acc, x.device)
    arrays = (dy, passed, x, statistics.mean, statistics.rstd, weight, bias, *_normalising(other)[:3], sums)
    launch(_grad_sums, grid, *arrays, m, c, how, TRITON_TYPE[acc], bytes=footprint(*arrays), **config)
    return sums


def input_grad(
    dy: Array,
    x: Array,
    statistics: Statistics,
    weight: Array | None,
    bias: Array | None,
    sums: Array | None,
    *,
    relu: Relu = None,
) -> Array:
    """The gradient of x.

    `sums` [runs, 2, C] is None where the statistics were given and not taken from x.
    """
    return _input_grads(dy, Site(x, statistics, weight, bias), None, sums, relu)[0]


def input_grads(dy: Array, first: Site, second: Site, sums: Array, *, relu: Relu = None) -> tuple[Array, Array]:
    """The gradients of both of two norms' inputs, the norms having been added; `sums` is [runs, 3, C].

    Each is to the bit that of `input_grad` with its own two of the sums.
    """
    dx, dx2 = _input_grads(dy, first, second, sums, relu)
    assert dx2 is not None
    return dx, dx2


def _input_grads(
    dy: Array, first: Site, second: Site | None, sums: Array | None, relu: Relu
) -> tuple[Array, Array | None]:
    x, statistics, weight, bias = first
    (m, c), acc = x.shape, dtypes.accumulator(x.dtype)
    how, passed = _relu(relu)
    dx, dx2 = empty_like(x), None if second is None else empty_like(second.x)
    runs = 1 if sums is None else sums.shape[0]
    config, _, grid = walk(x, width=width(x, runs), least=8 if how == "bits" else 1)
    needs_x = sums is not None or how == "recompute"
    arrays = (
        dy, passed, x if needs_x else None, statistics.mean if needs_x else None, statistics.rstd, weight,
        bias if how == "recompute" else None, *_normalising(second), sums, dx, dx2,
    )  # fmt: skip
    launch(
        _input_grad, grid, *arrays, m, c, runs, how, TRITON_TYPE[acc], BR=fold_rows(runs, config["BC"], acc.itemsize),
        bytes=footprint(*arrays), **config,
    )  # fmt: skip
    return dx, dx2


def _normalising(site: Site | None) -> tuple[Array | None, ...]:
    """X2, MEAN2, RSTD2 and WEIGHT2."""
    return (None,) * 4 if site is None else (site.x, site.statistics.mean, site.statistics.rstd, site.weight)


def _relu(relu: Relu) -> tuple[str | None, Array | None]:
    """RELU and PASSED."""
    if not isinstance(relu, Array):
        return relu, None
    return ("bits" if relu.dtype is dtypes.uint8 else "output"), relu
