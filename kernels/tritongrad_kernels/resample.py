"""Interpolation of volumes [N, C, D, H, W], of which images and sequences are those of depth, or depth and height, 1.

An output reads a few elements along each axis, its taps, with weights that are functions of its own position; the
product over the axes weighs an element. As a function of x this is linear, and its transpose is a gather as well: an
element walks over the outputs that may read it and asks each for the weight it gives. So nothing is added atomically.

Positions are computed as torch computes them: in float32 for all dtypes but float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, from_host
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.pool import _pixels
from tritongrad_kernels.volume_pool import _empty, _laid_out, _voxels


@dataclass(frozen=True)
class Axis:
    """Resampling along one axis.

    size, positions  elements and outputs
    scale            elements a step between outputs
    """

    size: int
    positions: int
    scale: float = 1.0


@dataclass(frozen=True)
class Taps:
    """What outputs read along every axis.

    taps    a device function: element and weight of tap k of output p
    count   how many taps
    offset  output p lies at (p + offset) scale, less the offset of elements, which `taps` knows
    below   no output before (h + below) / scale - offset reads element h, nor any after count / scale more
    kind    positions are computed in this dtype, or (None) in that of sums
    """

    taps: Any
    count: int
    offset: float
    below: float
    kind: tl.dtype | None = None


@triton.jit
def _nearest(p, k, scale, offset, size):
    """The element below (p + offset) scale."""
    index = tl.floor((p.to(scale.dtype) + offset) * scale).to(tl.int64)
    return tl.minimum(index, size - 1), tl.full(p.shape, 1.0, scale.dtype)


@triton.jit
def _linear(p, k, scale, offset, size):
    """The elements before and after, by nearness; before the first is the first."""
    at = tl.maximum((p.to(scale.dtype) + offset) * scale - offset, 0.0)
    first = tl.minimum(tl.floor(at).to(tl.int64), size - 1)
    nearness = tl.minimum(at - first.to(scale.dtype), 1.0)
    return tl.minimum(first + k, size - 1), (1 - k) + nearness * (2 * k - 1)


@triton.jit
def _cubic(p, k, scale, offset, size):
    """The two elements before and after, by the cubic convolution with A = -0.75; beyond the ends are the end ones.

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing".
    """
    at = (p.to(scale.dtype) + offset) * scale - offset
    first = tl.floor(at)
    t = tl.abs(at - first - (k - 1))
    near = ((1.25 * t - 2.25) * t) * t + 1.0
    far = ((-0.75 * t + 3.75) * t - 6.0) * t + 3.0
    index = first.to(tl.int64) + (k - 1)
    return tl.minimum(tl.maximum(index, 0), size - 1), tl.where(t <= 1.0, near, far)


@triton.jit
def _tap(p, k, scale, offset, size, taps: tl.constexpr, K: tl.constexpr, MOST: tl.constexpr):
    """Element and weight of tap k of output p; along an axis that is not there, all of the only element."""
    if K < MOST:
        return p, tl.full(p.shape, 1.0, scale.dtype)
    else:
        return taps(p, k, scale, offset, size)


@triton.jit
def _resample(
    X, Y, D, H, W, O, P, Q, C: tl.int64, voxels, scale_d: tl.float64, scale_h: tl.float64, scale_w: tl.float64,
    offset: tl.float64, taps: tl.constexpr, K: tl.constexpr, R: tl.constexpr, S: tl.constexpr, POSITION: tl.constexpr,
    ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y[n,o,p,q,c] = the sum over taps (i, j, k) of their weights' product times the element they name.

    Shapes  x [N,D,H,W,C], y [N,O,P,Q,C]; K x R x S taps, 1 along axes that are not there.
    Grid    one program per BP outputs x BC channels.
    Bytes   read x, as far as taps reach it, and write y.
    """
    n, o, p, q, voxel, inside, c, c_in = _voxels(voxels, O, P, Q, C, BP, BC)
    sd, sh, sw, at = scale_d.to(POSITION), scale_h.to(POSITION), scale_w.to(POSITION), offset.to(POSITION)
    mask = inside[:, None] & c_in[None, :]
    acc = tl.zeros((BP, BC), ACC)
    for i in tl.static_range(K):
        d, weight_d = _tap(o, i, sd, at, D, taps, K, S)
        for j in tl.static_range(R):
            h, weight_h = _tap(p, j, sh, at, H, taps, R, S)
            for k in tl.static_range(S):
                w, weight_w = _tap(q, k, sw, at, W, taps, S, S)
                start = (((n * D + d) * H + h) * W + w) * C
                x = tl.load(X + start[:, None] + c[None, :], mask=mask, other=0.0).to(ACC)
                acc += x * (weight_d * weight_h * weight_w).to(ACC)[:, None]
    tl.store(Y + (voxel * C)[:, None] + c[None, :], acc.to(Y.dtype.element_ty), mask=mask)


@triton.jit
def _first_of(h, scale, below, offset, positions, count):
    """The first of `count` outputs among which is what reads element h; float32 may place the millionth by one off."""
    first = tl.floor((h.to(tl.float64) + below) / scale - offset).to(tl.int64) - (positions >> 22)
    return tl.maximum(tl.minimum(first, positions - count), 0)


@triton.jit
def _weight_of(p, h, scale, offset, size, taps: tl.constexpr, K: tl.constexpr, MOST: tl.constexpr):
    """The weight that output p gives element h: the sum of those of its taps there."""
    total = tl.zeros_like(p).to(scale.dtype)
    for k in tl.static_range(K):
        index, weight = _tap(p, k, scale, offset, size, taps, K, MOST)
        total += tl.where(index == h, weight, 0.0)
    return total


@triton.jit
def _resample_input_grad(
    DY, DX, D, H, W, O, P, Q, C: tl.int64, voxels, scale_d: tl.float64, scale_h: tl.float64, scale_w: tl.float64,
    offset: tl.float64, below: tl.float64, count_d, count_h, count_w, taps: tl.constexpr, K: tl.constexpr,
    R: tl.constexpr, S: tl.constexpr, POSITION: tl.constexpr, ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,d,h,w,c] = the sum over outputs of the weight they give (d, h, w) times dy.

    Shapes  as `_resample`; among count_d x count_h x count_w outputs is all that reads an element.
    Grid    one program per BP elements x BC channels.
    Bytes   read dy, write dx.
    """
    n, d, h, w, voxel, inside, c, c_in = _voxels(voxels, D, H, W, C, BP, BC)
    sd, sh, sw, at = scale_d.to(POSITION), scale_h.to(POSITION), scale_w.to(POSITION), offset.to(POSITION)
    first_o = _first_of(d, scale_d, below, offset, O, count_d)
    first_p = _first_of(h, scale_h, below, offset, P, count_h)
    first_q = _first_of(w, scale_w, below, offset, Q, count_w)
    acc = tl.zeros((BP, BC), ACC)
    for i in range(0, count_d):
        o = first_o + i
        weight_d = _weight_of(o, d, sd, at, D, taps, K, S)
        for j in range(0, count_h):
            p = first_p + j
            weight_dh = weight_d * _weight_of(p, h, sh, at, H, taps, R, S)
            for k in range(0, count_w):
                q = first_q + k
                weight = weight_dh * _weight_of(q, w, sw, at, W, taps, S, S)
                start = (((n * O + o) * P + p) * Q + q) * C
                mask = (inside & (weight != 0.0))[:, None] & c_in[None, :]
                dy = tl.load(DY + start[:, None] + c[None, :], mask=mask, other=0.0).to(ACC)
                acc += dy * weight.to(ACC)[:, None]
    mask = inside[:, None] & c_in[None, :]
    tl.store(DX + (voxel * C)[:, None] + c[None, :], acc.to(DX.dtype.element_ty), mask=mask)


@triton.jit
def _banded(
    X,
    FIRST,
    WEIGHTS,
    Y,
    S,
    P: tl.int64,
    C: tl.int64,
    rows,
    COUNT,
    ACC: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    """y[n,p,c] = the sum over k < COUNT of weights[k,p] x[n, first[p] + k, c]: a band of a matrix along one axis.

    Shapes  x [N,S,C], y [N,P,C], first [P], weights [COUNT,P]; where a weight is 0, nothing is read.
    Grid    one program per BP of the N P rows x BC columns.
    Bytes   read x, first and weights, write y.
    """
    n, _, p, row, inside, c, c_in = _pixels(rows, P, 1, C, BP, BC)
    first = tl.load(FIRST + p, mask=inside, other=0)
    acc = tl.zeros((BP, BC), ACC)
    for k in range(0, COUNT):
        weight = tl.load(WEIGHTS + k * P + p, mask=inside, other=0.0)
        mask = (inside & (weight != 0.0))[:, None] & c_in[None, :]
        x = tl.load(X + ((n * S + first + k) * C)[:, None] + c[None, :], mask=mask, other=0.0).to(ACC)
        acc += x * weight.to(ACC)[:, None]
    mask = inside[:, None] & c_in[None, :]
    tl.store(Y + (row * C)[:, None] + c[None, :], acc.to(Y.dtype.element_ty), mask=mask)


# ---------------------------------------------------------------------------------------------------------- launchers


def nearest(exact: bool) -> Taps:
    """The element that the start of an output lies in, or its middle if `exact`."""
    return Taps(_nearest, 1, 0.5 if exact else 0.0, 0.0, tl.float32)


def linear(corners: bool) -> Taps:
    """The two elements that the middle of an output lies between; with `corners`, the end ones meet the end ones."""
    return Taps(_linear, 2, 0.0 if corners else 0.5, -1.0 if corners else -0.5)


def cubic(corners: bool) -> Taps:
    """The four elements around the middle of an output."""
    return Taps(_cubic, 4, 0.0 if corners else 0.5, -2.0 if corners else -1.5)


def resample(x: Array, axes: Sequence[Axis], how: Taps) -> Array:
    """x [N,C,*] at the outputs of each of its axes."""
    planes, x = _laid_out(x)
    y = _empty((*x.shape[:2], *(a.positions for a in axes)), x, planes)
    grid, numbers, config = _setup(x, axes, planes, y.size)
    scales, counts, kinds = _numbers(x, axes, how)
    launch(
        _resample, grid, x, y, *numbers, *scales, how.offset, how.taps, *counts, *kinds, bytes=x.nbytes + y.nbytes,
        at_most=True, **config,
    )  # fmt: skip
    return y


def resample_input_grad(dy: Array, x_shape: Sequence[int], axes: Sequence[Axis], how: Taps) -> Array:
    """The transpose of `resample`: dy [N,C,*] carried to the elements [N,C,*] it was computed from."""
    planes, dy = _laid_out(dy)
    dx = _empty(x_shape, dy, planes)
    grid, numbers, config = _setup(dx, axes, planes, dx.size)
    scales, counts, kinds = _numbers(dy, axes, how)
    launch(
        _resample_input_grad, grid, dy, dx, *numbers, *(s or 1e-9 for s in scales), how.offset, how.below,
        *(_readers(a, how) for a in _three(axes)), how.taps, *counts, *kinds, bytes=dy.nbytes + dx.nbytes, at_most=True,
        **config,
    )  # fmt: skip
    return dx


@dataclass(frozen=True)
class Band:
    """A matrix with few numbers a row, side by side: weights[k, p] is that of row p and column first[p] + k."""

    first: np.ndarray
    weights: np.ndarray


def banded(x: Array, axis: int, band: Band, kind: dtypes.dtype) -> Array:
    """The images x [N,C,H,W] times a band along their rows (axis 2) or columns (3), in the dtype `kind`."""
    planes, x = _laid_out(x)
    shape = list(x.shape)
    count, positions = band.weights.shape
    before, after = (shape[0] * shape[1], 1) if planes else (shape[0], shape[1])
    outer, inner = (before * shape[2], after) if axis == 3 else (before, shape[3] * after)
    shape[axis] = positions
    y = _empty(shape, x, planes, kind)
    first, weights = from_host(band.first, x.device), from_host(band.weights, x.device)
    config = tile("volume_pool", BP=outer * positions, BC=inner)
    launch(
        _banded, cdiv(outer * positions, config["BP"]) * cdiv(inner, config["BC"]), x, first, weights, y, x.shape[axis],
        positions, inner, outer * positions, count, TRITON_TYPE[dtypes.accumulator(x.dtype)],
        bytes=x.nbytes + first.nbytes + weights.nbytes + y.nbytes, at_most=True, **config,
    )  # fmt: skip
    return y


def _readers(axis: Axis, how: Taps) -> int:
    """How many outputs have to be looked at for one element; all of them where all read the first element."""
    if not axis.scale:
        return axis.positions
    return min(axis.positions, math.ceil(how.count / axis.scale) + 2 + 2 * (axis.positions >> 22))


def _three(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    return (*(Axis(1, 1),) * (3 - len(axes)), *axes)


def _numbers(x: Array, axes: Sequence[Axis], how: Taps) -> tuple[tuple[float, ...], tuple[int, ...], tuple]:
    """The scale and how many taps along each axis; the dtypes of positions and of sums."""
    sums = TRITON_TYPE[dtypes.accumulator(x.dtype)]
    counts = (*(1,) * (3 - len(axes)), *(how.count,) * len(axes))
    return tuple(a.scale for a in _three(axes)), counts, (how.kind or sums, sums)


def _setup(x: Array, axes: Sequence[Axis], planes: bool, walked: int) -> tuple[int, tuple[int, ...], dict[str, int]]:
    """Grid, the kernels' common size arguments, and tiles for a walk over `walked` elements."""
    c = 1 if planes else x.shape[1]
    voxels = walked // c if c else 0
    config = tile("volume_pool", BP=voxels, BC=c)
    three = _three(axes)
    numbers = (*(a.size for a in three), *(a.positions for a in three), c, voxels)
    return cdiv(voxels, config["BP"]) * cdiv(c, config["BC"]), numbers, config
