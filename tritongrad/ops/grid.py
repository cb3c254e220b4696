"""Images and volumes read at positions that a tensor gives: spatial transformers.

An output is a weighted sum of a few pixels. Pixels are rows of channels, picked by number, so their gradient is summed
in the order of outputs and is the same bits on every run; weights are differentiable functions of the positions.
Source: Jaderberg et al. 2015, "Spatial Transformer Networks".
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

from tritongrad.ops.arithmetic import abs, floor, round
from tritongrad.ops.comparison import clamp
from tritongrad.ops.filled import zeros, zeros_like
from tritongrad.ops.joining import cat
from tritongrad.ops.layout import cast
from tritongrad.ops.linalg import matmul
from tritongrad.ops.masking import where
from tritongrad.ops.ranges import arange, linspace
from tritongrad.ops.rows import pick
from tritongrad.ops.views import expand, permute, reshape
from tritongrad.precision import widest
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes
from tritongrad_kernels.gather import Keys

_CHANGED = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
    "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details."
)

Taps = list[tuple[Tensor, Tensor]]
"""Along one axis: which pixels, as floating-point numbers that are whole and may lie outside, and their weights."""


@widest
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Input [N, C, H, W] at the positions (x, y) of grid [N, P, Q, 2]: [N, C, P, Q].

    input [N, C, D, H, W] is read at (x, y, z) of grid [N, O, P, Q, 3]. Positions are -1 at one end of an axis and 1 at
    the other: the outer edges of the end pixels, or their middles with `align_corners` (False, with a warning, if not
    said).

    mode          "bilinear": between the neighbours along each axis; "nearest"; "bicubic": of 4 x 4 pixels, images only
    padding_mode  what lies outside: "zeros", the pixels at the "border", or the image mirrored, "reflection"
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"grid_sample: mode must be 'bilinear', 'nearest' or 'bicubic', got {mode!r}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: padding_mode must be 'zeros', 'border' or 'reflection', got {padding_mode!r}")
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=3)
    corners = bool(align_corners)
    _check(input, grid, mode)
    at = cast(grid.detach() if mode == "nearest" else grid, dtypes.accumulator(grid.dtype))
    sizes = tuple(input.shape[2:])
    along = [_along(at[..., a], n, mode, padding_mode, corners) for a, n in enumerate(reversed(sizes))]
    y = _weighted(input, along[::-1], sizes)
    # What is nearest does not change with small changes of the position.
    return y if mode != "nearest" else record(y.array, (y, lambda dy: dy), (grid, lambda dy: zeros_like(grid)))


def _check(x: Tensor, grid: Tensor, mode: str) -> None:
    described = f"input {x.dtype.name}{list(x.shape)} and grid {grid.dtype.name}{list(grid.shape)}"
    if not x.dtype.is_floating_point or x.dtype is not grid.dtype:
        raise RuntimeError(f"grid_sample: expected one floating-point dtype, got {described}")
    if x.ndim not in (4, 5) or grid.ndim != x.ndim or grid.shape[0] != x.shape[0] or grid.shape[-1] != x.ndim - 2:
        raise RuntimeError(
            f"grid_sample: expected input [N, C, H, W] with grid [N, P, Q, 2], or input [N, C, D, H, W] with grid "
            f"[N, O, P, Q, 3], got {described}"
        )
    if x.ndim == 5 and mode == "bicubic":
        raise RuntimeError(f"grid_sample: mode 'bicubic' is for images [N, C, H, W], got {described}")
    if 0 in x.shape[2:]:
        raise RuntimeError(f"grid_sample: there are no pixels to read in {described}")


def _along(at: Tensor, size: int, mode: str, padding_mode: str, corners: bool) -> Taps:
    """The taps along an axis of `size` pixels for positions -1 .. 1."""
    x = (at + 1) * ((size - 1) / 2) if corners else ((at + 1) * size - 1) / 2
    if mode == "bicubic":
        first = floor(x).detach()
        t = x - first
        places = [_brought_in(first + (k - 1), size, padding_mode, corners) for k in range(4)]
        weights = [_far(t + 1), _near(t), _near(1 - t), _far(2 - t)]
        return list(zip(places, weights, strict=True))
    x = _brought_in(x, size, padding_mode, corners)
    if mode == "nearest":
        return [(round(x), zeros_like(x) + 1)]
    first = floor(x).detach()
    return [(first, first + 1 - x), (first + 1, x - first)]


def _near(t: Tensor) -> Tensor:
    """The cubic convolution with A = -0.75 of a distance up to 1. Source: Keys 1981."""
    return (1.25 * t - 2.25) * t * t + 1


def _far(t: Tensor) -> Tensor:
    """The same of a distance from 1 to 2."""
    return ((-0.75 * t + 3.75) * t - 6) * t + 3


def _brought_in(x: Tensor, size: int, padding_mode: str, corners: bool) -> Tensor:
    """x, mirrored or held at the ends of an axis of `size` pixels."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if corners else (-0.5, float(size))
        if span == 0:
            return x * 0
        distance = abs(x - low)
        turns = floor(distance / span).detach()
        rest = distance - turns * span
        x = where(turns % 2 == 0, rest, span - rest) + low
    inside = (x > 0) & (x < size - 1)  # at the ends there is no gradient, as in torch
    return where(inside, x, clamp(x.detach(), 0, size - 1))


def _weighted(x: Tensor, along: Sequence[Taps], sizes: tuple[int, ...]) -> Tensor:
    """The sum over one tap for each axis of the pixel they name times their weights; nothing where that is outside."""
    shape = tuple(along[0][0][0].shape)
    axes = len(sizes)
    pixels = reshape(permute(x, (0, *range(2, axes + 2), 1)), (-1, x.shape[1])) if x.numel() else x
    first = reshape(arange(x.shape[0], device=x.device), (-1, *(1,) * axes))
    total = None
    known = [[_inside(place, weight, n) for place, weight in taps] for taps, n in zip(along, sizes, strict=True)]
    for taps in itertools.product(*known):
        row, weight = expand(first, shape), taps[0][1]
        for (place, _), n in zip(taps, sizes, strict=True):
            row = row * n + place
        for _, other in taps[1:]:
            weight = weight * other
        if not x.numel():
            break
        term = cast(pick(pixels, (0,), Keys(row.contiguous().array, pixels.shape[0])), weight.dtype)
        term = term * reshape(weight, (*shape, 1))
        total = term if total is None else total + term
    if total is None:
        total = zeros(*shape, x.shape[1], dtype=x.dtype, device=x.device)
    return permute(cast(total, x.dtype), (0, axes + 1, *range(1, axes + 1)))


def _inside(place: Tensor, weight: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The place as an integer and its weight; place 0 with weight 0 where it is outside or NaN."""
    place = place.detach()
    there = (place >= 0) & (place <= size - 1)
    return cast(where(there, place, 0), dtypes.int64), where(there, weight, 0)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Where `grid_sample` reads for an affine map: theta [N, 2, 3] (x, y, 1), for results of `size` [N, C, H, W].

    The grid is [N, H, W, 2]; with theta [N, 3, 4] and `size` [N, C, D, H, W] it is [N, D, H, W, 3].
    """
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
    corners, size = bool(align_corners), tuple(size)
    if not theta.is_floating_point():
        raise ValueError(f"affine_grid: expected a floating-point theta, got {theta.dtype.name}")
    if len(size) not in (4, 5):
        raise NotImplementedError(f"affine_grid: size must be [N, C, H, W] or [N, C, D, H, W], got {list(size)}")
    axes = len(size) - 2
    if tuple(theta.shape[1:]) != (axes, axes + 1):
        raise ValueError(
            f"affine_grid: expected theta [N, {axes}, {axes + 1}] for size {list(size)}, got {theta.shape}"
        )
    if corners and min(size[2:]) == 1:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This "
            "is not an intended use case of affine_grid. See the documentation of affine_grid for details.",
            stacklevel=2,
        )
    elif min(size) <= 0:
        raise ValueError(f"affine_grid: expected a size without 0, got {list(size)}")
    if theta.shape[0] != size[0]:
        raise RuntimeError(f"affine_grid: expected theta for {size[0]} images, got {theta.shape[0]}")
    ends = zeros(*size[2:], 1, dtype=theta.dtype, device=theta.device) + 1
    parts = [_line(n, corners, theta).reshape(-1, *(1,) * k) for k, n in enumerate(reversed(size[2:]))]
    base = cat([*(expand(reshape(p, (*p.shape, 1)), ends.shape) for p in parts), ends], -1)
    points = expand(reshape(base, (1, -1, axes + 1)), (size[0], -1, axes + 1))
    return reshape(matmul(points, theta.transpose(1, 2)), (size[0], *size[2:], axes))


def _line(count: int, corners: bool, like: Tensor) -> Tensor:
    """The positions of `count` pixels between -1 and 1."""
    if count <= 1:
        return zeros(count, dtype=like.dtype, device=like.device)
    line = linspace(-1, 1, count, dtype=like.dtype, device=like.device)
    return line if corners else line * ((count - 1) / count)
