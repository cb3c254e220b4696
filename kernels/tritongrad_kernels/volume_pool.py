"""Pooling of volumes [N, C, D, H, W], of which images and sequences are those of depth, or depth and height, 1.

Which elements a window reads is said for each axis alone, in whole numbers: `Windows`. Windows that slide and windows
that cover an axis evenly differ only in these numbers, so they share kernels. Gradients are gathers: an element walks
over the windows that may read it.

A volume lies channels-last in memory; one whose every channel lies by itself (C-ordered) is pooled as it is, as N C
volumes of one channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, channels_last_strides, contiguous_strides, empty
from tritongrad_kernels.elementwise import TRITON_TYPE, in_order
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.pool import _pixels
from tritongrad_kernels.windows import Volume


@triton.jit
def _voxels(voxels, depth, height, width, C, BP: tl.constexpr, BC: tl.constexpr):
    """This program's voxels as (n, layer, row, column), and the rest as `_pixels` has it."""
    layer, h, w, voxel, inside, c, c_in = _pixels(voxels, width, height, C, BP, BC)
    n = layer // depth
    return n, layer - n * depth, h, w, voxel, inside, c, c_in


@triton.jit
def _span(p, rule):
    """Where window p starts and ends, padding included."""
    return (p * rule[0] + rule[1]) // rule[3], (p * rule[0] + rule[2]) // rule[3]


@triton.jit
def _first_reader(h, readers):
    """The first of the windows that may read element h."""
    return tl.maximum(h * readers[0] + readers[1], 0) // readers[2]


@triton.jit
def _larger(X, best, where, start, place, ok, c, c_in):
    """best and the place of it, after x at `start`, which is the element `place` of its channel. The first of equals
    stays, NaN counts as largest."""
    x = tl.load(X + start[:, None] + c[None, :], mask=ok[:, None] & c_in[None, :], other=0)
    # NaN compares unequal to itself; once it is the best, only another NaN may replace it.
    better = ok[:, None] & ((x > best) | (x != x) | (where < 0))
    return tl.where(better, x, best), tl.where(better, place[:, None], where)


@triton.jit
def _max_windows(
    X, Y, INDEX, D, H, W, O, P, Q, C: tl.int64, voxels, depth, height, width, BP: tl.constexpr, BC: tl.constexpr
):
    """y[n,o,p,q,c] = the largest x in window (o, p, q); index = (d H + h) W + w of it, -1 where all taps are padding.

    Shapes  x [N,D,H,W,C], y and index [N,O,P,Q,C]; depth, height, width are `Windows.rule`.
    Grid    one program per BP windows x BC channels.
    Bytes   read x (window overlap hits L2), write y and index.
    """
    n, o, p, q, voxel, inside, c, c_in = _voxels(voxels, O, P, Q, C, BP, BC)
    front, back = _span(o, depth)
    top, bottom = _span(p, height)
    left, right = _span(q, width)
    best = tl.zeros((BP, BC), X.dtype.element_ty)
    where = tl.full((BP, BC), -1, tl.int64)
    for i in range(0, depth[4]):
        d = front + i * depth[5]
        for j in range(0, height[4]):
            h = top + j * height[5]
            in_row = inside & (d >= 0) & (d < D) & (d < back) & (h >= 0) & (h < H) & (h < bottom)
            for k in range(0, width[4]):
                w = left + k * width[5]
                ok = in_row & (w >= 0) & (w < W) & (w < right)
                place = (d * H + h) * W + w
                start = tl.where(ok, (n * D * H * W + place) * C, 0)
                best, where = _larger(X, best, where, start, place, ok, c, c_in)
    if X.dtype.element_ty.is_floating():
        best = tl.where(where < 0, -float("inf"), best).to(X.dtype.element_ty)
    mask = inside[:, None] & c_in[None, :]
    target = (voxel * C)[:, None] + c[None, :]
    tl.store(Y + target, best, mask=mask)
    tl.store(INDEX + target, where.to(INDEX.dtype.element_ty), mask=mask)


@triton.jit
def _random_start(U, u_at, mask, p, size, positions, window, ACC: tl.constexpr):
    """Where window p starts: floor((p + u) a) - floor(u a) with a = (size - window) / (positions - 1); the last ends
    with the axis."""
    u = tl.load(U + u_at, mask=mask, other=0.0).to(ACC)
    alpha = (tl.zeros_like(u) + (size - window)) / tl.maximum(positions - 1, 1)
    start = ((p[:, None].to(ACC) + u) * alpha).to(tl.int64) - (u * alpha).to(tl.int64)
    return tl.where((p == positions - 1)[:, None], size - window, start)


@triton.jit
def _fractional_max(
    X, U, Y, INDEX, D, H, W, O, P, Q, C: tl.int64, voxels, T, R, S, AXES: tl.constexpr, ACC: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """As `_max_windows`, of T x R x S windows whose starts along each axis are drawn for each channel.

    Shapes  u [N,C,AXES] contiguous, in the order depth, height, width, or (AXES 2) width, height.
    Grid    one program per BP windows x BC channels.
    Bytes   read x and u, write y and index.
    Source  Graham 2014, "Fractional Max-Pooling".
    """
    n, o, p, q, voxel, inside, c, c_in = _voxels(voxels, O, P, Q, C, BP, BC)
    mask = inside[:, None] & c_in[None, :]
    u_at = (n[:, None] * C + c[None, :]) * AXES
    top = _random_start(U, u_at + 1, mask, p, H, P, R, ACC)
    if AXES == 3:
        front = _random_start(U, u_at, mask, o, D, O, T, ACC)
        left = _random_start(U, u_at + 2, mask, q, W, Q, S, ACC)
    else:
        front = tl.zeros_like(top)
        left = _random_start(U, u_at, mask, q, W, Q, S, ACC)
    best = tl.full((BP, BC), -float("inf"), X.dtype.element_ty)
    where = tl.full((BP, BC), -1, tl.int64)
    for i in range(0, T):
        for j in range(0, R):
            for k in range(0, S):
                place = ((front + i) * H + top + j) * W + left + k
                start = (n[:, None] * D * H * W + place) * C + c[None, :]
                x = tl.load(X + start, mask=mask, other=0)
                better = (x > best) | (x != x) | (where < 0)
                best = tl.where(better, x, best)
                where = tl.where(better, place, where)
    target = (voxel * C)[:, None] + c[None, :]
    tl.store(Y + target, best, mask=mask)
    tl.store(INDEX + target, where.to(INDEX.dtype.element_ty), mask=mask)


@triton.jit
def _max_windows_input_grad(
    DY, INDEX, DX, D, H, W, O, P, Q, C: tl.int64, voxels, depth, height, width,
    ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,d,h,w,c] = sum of dy over the windows whose index is (d H + h) W + w.

    Shapes  as `_max_windows`; depth, height, width are `Windows.readers`.
    Grid    one program per BP elements x BC channels.
    Bytes   read dy and index, write dx.
    """
    n, d, h, w, voxel, inside, c, c_in = _voxels(voxels, D, H, W, C, BP, BC)
    place = ((d * H + h) * W + w)[:, None]
    first_o, first_p, first_q = _first_reader(d, depth), _first_reader(h, height), _first_reader(w, width)
    acc = tl.zeros((BP, BC), ACC)
    for i in range(0, depth[3]):
        o = first_o + i
        for j in range(0, height[3]):
            p = first_p + j
            for k in range(0, width[3]):
                q = first_q + k
                ok = inside & (o < O) & (p < P) & (q < Q)
                start = tl.where(ok, (((n * O + o) * P + p) * Q + q) * C, 0)[:, None] + c[None, :]
                mask = ok[:, None] & c_in[None, :]
                index = tl.load(INDEX + start, mask=mask, other=-1)
                # All of dy is read, though few of it count: where the mask is the same for neighbours, loads are wide.
                dy = tl.load(DY + start, mask=mask, other=0.0).to(ACC)
                acc += tl.where(index == place, dy, 0.0)
    tl.store(DX + (voxel * C)[:, None] + c[None, :], acc.to(DX.dtype.element_ty), mask=inside[:, None] & c_in[None, :])


@triton.jit
def _at_places(X, INDEX, Y, size, positions, C: tl.int64, voxels, BP: tl.constexpr, BC: tl.constexpr):
    """y[n,i,c] = x[n, index[n,i,c], c], 0 where index is negative: the derivative of max pooling along x.

    Shapes  x [N,size,C], y and index [N,positions,C].
    Grid    one program per BP positions x BC channels.
    Bytes   read index and one x each, write y.
    """
    n, _, _, _, voxel, inside, c, c_in = _voxels(voxels, positions, 1, 1, C, BP, BC)
    mask = inside[:, None] & c_in[None, :]
    target = (voxel * C)[:, None] + c[None, :]
    index = tl.load(INDEX + target, mask=mask, other=-1).to(tl.int64)
    x = tl.load(X + ((n * size)[:, None] + index) * C + c[None, :], mask=index >= 0, other=0)
    tl.store(Y + target, x, mask=mask)


@triton.jit
def _counted(start, end, counted):
    """How many elements of a window an average counts."""
    return tl.minimum(end, counted[1]) - tl.maximum(start, counted[0])


@triton.jit
def _mean_windows(
    X, Y, D, H, W, O, P, Q, C: tl.int64, voxels, depth, height, width, counted, divisor,
    ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y[n,o,p,q,c] = the sum of x over window (o, p, q), by `divisor` or how many elements it counts.

    Shapes  x [N,D,H,W,C], y [N,O,P,Q,C]; depth, height, width are `Windows.rule`, counted is `Windows.counted` of each.
    Grid    one program per BP windows x BC channels.
    Bytes   read x (window overlap hits L2), write y.
    """
    n, o, p, q, voxel, inside, c, c_in = _voxels(voxels, O, P, Q, C, BP, BC)
    front, back = _span(o, depth)
    top, bottom = _span(p, height)
    left, right = _span(q, width)
    acc = tl.zeros((BP, BC), ACC)
    for i in range(0, depth[4]):
        d = front + i
        for j in range(0, height[4]):
            h = top + j
            in_row = inside & (d >= 0) & (d < D) & (d < back) & (h >= 0) & (h < H) & (h < bottom)
            for k in range(0, width[4]):
                w = left + k
                ok = in_row & (w >= 0) & (w < W) & (w < right)
                start = tl.where(ok, (((n * D + d) * H + h) * W + w) * C, 0)
                acc += tl.load(X + start[:, None] + c[None, :], mask=ok[:, None] & c_in[None, :], other=0.0).to(ACC)
    if divisor is None:
        count = (
            _counted(front, back, counted[0]) * _counted(top, bottom, counted[1]) * _counted(left, right, counted[2])
        )
    else:
        count = tl.zeros_like(front) + divisor
    y = acc / count.to(ACC)[:, None]
    tl.store(Y + (voxel * C)[:, None] + c[None, :], y.to(Y.dtype.element_ty), mask=inside[:, None] & c_in[None, :])


@triton.jit
def _mean_windows_input_grad(
    DY, DX, D, H, W, O, P, Q, C: tl.int64, voxels, depth, height, width, readers, counted, divisor,
    ACC: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx[n,d,h,w,c] = the sum over windows that read (d, h, w) of dy / what they divide by.

    Shapes  as `_mean_windows`; readers is `Windows.readers` of each axis.
    Grid    one program per BP elements x BC channels.
    Bytes   read dy, write dx.
    """
    n, d, h, w, voxel, inside, c, c_in = _voxels(voxels, D, H, W, C, BP, BC)
    first_o, first_p, first_q = _first_reader(d, readers[0]), _first_reader(h, readers[1]), _first_reader(w, readers[2])
    acc = tl.zeros((BP, BC), ACC)
    for i in range(0, readers[0][3]):
        o = first_o + i
        front, back = _span(o, depth)
        for j in range(0, readers[1][3]):
            p = first_p + j
            top, bottom = _span(p, height)
            in_row = inside & (o < O) & (p < P) & (front <= d) & (d < back) & (top <= h) & (h < bottom)
            for k in range(0, readers[2][3]):
                q = first_q + k
                left, right = _span(q, width)
                ok = in_row & (q < Q) & (left <= w) & (w < right)
                start = tl.where(ok, (((n * O + o) * P + p) * Q + q) * C, 0)
                dy = tl.load(DY + start[:, None] + c[None, :], mask=ok[:, None] & c_in[None, :], other=0.0).to(ACC)
                if divisor is None:
                    high = _counted(front, back, counted[0]) * _counted(top, bottom, counted[1])
                    count = high * _counted(left, right, counted[2])
                else:
                    count = tl.zeros_like(d) + divisor
                acc += dy / tl.where(ok, count, 1).to(ACC)[:, None]
    tl.store(DX + (voxel * C)[:, None] + c[None, :], acc.to(DX.dtype.element_ty), mask=inside[:, None] & c_in[None, :])


# ---------------------------------------------------------------------------------------------------------- launchers


def max_pool(x: Array, axes: Volume, wide: bool = False) -> tuple[Array, Array]:
    """Maxima of x [N,C,*] over the windows, and where each was found: its place in the flattened axes.

    Places are int64 if `wide`, otherwise int32 where that is enough.
    """
    planes, x = _laid_out(x)
    y, index = _results(x, axes, planes, wide)
    grid, numbers, config = _setup(x.shape, axes, planes, y.size)
    nbytes = _read(x, axes) + y.nbytes + index.nbytes
    launch(_max_windows, grid, x, y, index, *numbers, *(a.rule for a in axes), bytes=nbytes, **config)
    return y, index


def fractional_max_pool(x: Array, samples: Array, axes: Volume, wide: bool = False) -> tuple[Array, Array]:
    """As `max_pool`, of `fractional` windows; samples [N,C,2 or 3] contiguous, in [0, 1)."""
    planes, x = _laid_out(x)
    y, index = _results(x, axes, planes, wide)
    grid, numbers, config = _setup(x.shape, axes, planes, y.size)
    launch(
        _fractional_max, grid, x, samples, y, index, *numbers, *(a.rule[4] for a in axes), samples.shape[2],
        _accumulator(x), bytes=x.nbytes + samples.nbytes + y.nbytes + index.nbytes, at_most=True, **config,
    )  # fmt: skip
    return y, index


def max_pool_input_grad(dy: Array, index: Array, x_shape: Sequence[int], axes: Volume) -> Array:
    """dy [N,C,*] carried back to where `index` says each maximum came from."""
    planes, index = _laid_out(index)
    dy = in_order(dy, index.strides)
    dx = _empty(x_shape, dy, planes)
    grid, numbers, config = _setup(x_shape, axes, planes, dx.size)
    launch(
        _max_windows_input_grad, grid, dy, index, dx, *numbers, *(a.readers for a in axes), _accumulator(dy),
        bytes=dy.nbytes + index.nbytes + dx.nbytes, at_most=True, **config,
    )  # fmt: skip
    return dx


def at_places(x: Array, index: Array) -> Array:
    """The elements of x [N,C,*] that `index` [N,C,*] names, 0 where that is negative."""
    planes, index = _laid_out(index)
    x = in_order(x, _strides(x.shape, planes))
    y = _empty(index.shape, x, planes)
    n, c = (x.shape[0] * x.shape[1], 1) if planes else x.shape[:2]
    size, positions = math.prod(x.shape[2:]), math.prod(index.shape[2:])
    config = tile("volume_pool", BP=n * positions, BC=c)
    grid = cdiv(n * positions, config["BP"]) * cdiv(c, config["BC"])
    nbytes = index.nbytes + 2 * y.nbytes
    launch(_at_places, grid, x, index, y, size, positions, c, n * positions, bytes=nbytes, at_most=True, **config)
    return y


def mean_pool(x: Array, axes: Volume, divisor: int | None = None) -> Array:
    """Means of x [N,C,*] over the windows, or their sums by `divisor`."""
    planes, x = _laid_out(x)
    y = _empty((*x.shape[:2], *_positions(x.shape, axes)), x, planes)
    grid, numbers, config = _setup(x.shape, axes, planes, y.size)
    rules, counted = tuple(a.rule for a in axes), tuple(a.counted for a in axes)
    nbytes = _read(x, axes) + y.nbytes
    launch(_mean_windows, grid, x, y, *numbers, *rules, counted, divisor, _accumulator(x), bytes=nbytes, **config)
    return y


def mean_pool_input_grad(dy: Array, x_shape: Sequence[int], axes: Volume, divisor: int | None = None) -> Array:
    """dy [N,C,*] spread evenly over the windows it was averaged from."""
    planes, dy = _laid_out(dy)
    dx = _empty(x_shape, dy, planes)
    grid, numbers, config = _setup(x_shape, axes, planes, dx.size)
    rules, readers, counted = (tuple(t) for t in zip(*((a.rule, a.readers, a.counted) for a in axes), strict=True))
    nbytes = math.prod(x_shape[:2]) * math.prod(a.reading for a in axes) * dy.dtype.itemsize + dx.nbytes
    launch(
        _mean_windows_input_grad, grid, dy, dx, *numbers, *rules, readers, counted, divisor, _accumulator(dy),
        bytes=nbytes, **config,
    )  # fmt: skip
    return dx


def _laid_out(a: Array) -> tuple[bool, Array]:
    """Whether `a` is taken as planes, and `a` as it then lies. Images are kept channels-last."""
    planes = a.ndim != 4 and a.is_contiguous and not a.is_channels_last
    return planes, in_order(a, _strides(a.shape, planes))


def _strides(shape: Sequence[int], planes: bool) -> tuple[int, ...]:
    return contiguous_strides(shape) if planes else channels_last_strides(shape)


def _empty(shape: Sequence[int], like: Array, planes: bool, dtype: dtypes.dtype | None = None) -> Array:
    return empty(shape, dtype or like.dtype, like.device, _strides(shape, planes))


def _results(x: Array, axes: Volume, planes: bool, wide: bool) -> tuple[Array, Array]:
    shape = (*x.shape[:2], *_positions(x.shape, axes))
    small = not wide and math.prod(x.shape[2:]) < 2**31
    return _empty(shape, x, planes), _empty(shape, x, planes, dtypes.int32 if small else dtypes.int64)


def _positions(x_shape: Sequence[int], axes: Volume) -> tuple[int, ...]:
    return tuple(a.positions for a in axes[5 - len(x_shape) :])


def _read(x: Array, axes: Volume) -> int:
    return x.shape[0] * x.shape[1] * math.prod(a.read for a in axes) * x.dtype.itemsize


def _setup(
    x_shape: Sequence[int], axes: Volume, planes: bool, walked: int
) -> tuple[int, tuple[int, ...], dict[str, int]]:
    """Grid, the kernels' common size arguments, and tiles for a walk over `walked` elements."""
    c = 1 if planes else x_shape[1]
    voxels = walked // c if c else 0
    config = tile("volume_pool", BP=voxels, BC=c)
    numbers = (*(a.size for a in axes), *(a.positions for a in axes), c, voxels)
    return cdiv(voxels, config["BP"]) * cdiv(c, config["BC"]), numbers, config


def _accumulator(a: Array) -> tl.dtype:
    return TRITON_TYPE[dtypes.accumulator(a.dtype)]
