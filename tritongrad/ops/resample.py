"""Interpolation of sequences, images and volumes to another size. Each is linear, so second derivatives are its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tritongrad.ops.antialias import antialiased
from tritongrad.ops.pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, resample as kernel
from tritongrad_kernels.resample import Axis, Taps

_LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4, "lanczos": 4}
_AREA: dict[int, Callable[[Tensor, Any], Tensor]] = {
    3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d
}  # fmt: skip


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Input [N, C, L], [N, C, H, W] or [N, C, D, H, W] with other extents after C: `size`, or `scale_factor` times.

    mode           "nearest": the element floor(p in / out), as OpenCV has it, or with "nearest-exact"
                   floor((p + 1/2) in / out); "linear", "bilinear", "trilinear": between the neighbours along 1, 2, 3
                   axes; "bicubic": cubic convolution of 4 x 4 elements (A = -0.75); "area": means, as adaptive pooling
    align_corners  the middles of the first and last elements stay where they are, instead of their outer edges
    recompute_scale_factor  steps are in / out even where a scale factor that gave `out` was a little more
    antialias      where an image becomes smaller, "bilinear" and "bicubic" (A = -0.5) take the mean of all that an
                   output covers, as Pillow does; so does "lanczos" (3 lobes), for which it must be set
    The one or more numbers of `size` and `scale_factor` are for the axes after C. Linear and cubic modes have steps of
    1 / scale_factor where that is given and not recomputed.
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(f"interpolate: align_corners goes with {', '.join(_LINEAR)}, not with mode {mode!r}")
    out, factors = _target(input, size, scale_factor, mode == "area" or bool(recompute_scale_factor), mode)
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor has no meaning where size is given")
    if antialias and (mode not in ("bilinear", "bicubic", "lanczos") or input.ndim != 4):
        raise ValueError("interpolate: antialias goes with bilinear, bicubic and lanczos of images [N, C, H, W]")
    _check(input, out, mode)
    if mode == "area":
        return _AREA[input.ndim](input, out)
    corners = bool(align_corners)
    if mode == "lanczos" and (corners or not antialias):
        raise ValueError("interpolate: mode 'lanczos' goes with antialias=True and without align_corners")
    if antialias:
        given = zip(input.shape[2:], out, factors, strict=True)
        return antialiased(input, [_step(n, p, f, corners, np.float64) for n, p, f in given], out, mode)
    how = _taps(mode, corners)
    kind = np.float64 if input.dtype is dtypes.float64 and how.kind is None else np.float32
    sizes = input.shape[2:]
    axes = [Axis(n, p, _step(n, p, f, corners, kind)) for n, p, f in zip(sizes, out, factors, strict=True)]
    return _resample(input, axes, how)


def _target(
    x: Tensor, size: Any, scale_factor: Any, recompute: bool, mode: str
) -> tuple[tuple[int, ...], Sequence[float | None]]:
    """The extents of the result, and the scale factors that steps follow."""
    count = max(x.ndim - 2, 0)
    if size is not None and scale_factor is not None:
        raise ValueError("interpolate: expected one of size and scale_factor, got both")
    if size is None and scale_factor is None:
        raise ValueError("interpolate: expected one of size and scale_factor, got none")
    given = size if scale_factor is None else scale_factor
    values = tuple(given) if isinstance(given, list | tuple) else (given,) * count
    if len(values) != count:
        what = "size" if scale_factor is None else "scale_factor"
        raise ValueError(f"interpolate: {what} {given!r} does not go with the {count} axes after C of {list(x.shape)}")
    if scale_factor is None:
        if not all(isinstance(v, int | np.integer) for v in values):
            raise TypeError(f"interpolate: size must be of integers, got {size!r}")
        return tuple(int(v) for v in values), (None,) * count
    out = tuple(int(n * f) for n, f in zip(x.shape[2:], values, strict=True))
    return out, (None,) * count if recompute else values


def _check(x: Tensor, out: tuple[int, ...], mode: str) -> None:
    wanted = _LINEAR.get(mode)
    if wanted is not None and x.ndim != wanted and x.ndim in (3, 4, 5):
        raise NotImplementedError(f"interpolate: mode {mode!r} is for {wanted} dimensions, got {list(x.shape)}")
    if x.ndim not in (3, 4, 5) or mode not in ("nearest", "nearest-exact", "area", *_LINEAR):
        modes = ", ".join(("nearest", "nearest-exact", "area", *_LINEAR))
        raise NotImplementedError(
            f"interpolate: expected 3, 4 or 5 dimensions and one of the modes {modes}; got {list(x.shape)} and {mode!r}"
        )
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"interpolate: expected a floating-point tensor, got {x.dtype.name}{list(x.shape)}")
    if 0 in x.shape[1:] or min(out) < 1:
        raise RuntimeError(f"interpolate: cannot bring {list(x.shape)} to {list(out)}: only the batch may be empty")


def _taps(mode: str, corners: bool) -> Taps:
    if mode.startswith("nearest"):
        return kernel.nearest(mode == "nearest-exact")
    return kernel.cubic(corners) if mode == "bicubic" else kernel.linear(corners)


def _step(size: int, positions: int, factor: float | None, corners: bool, kind: Any) -> float:
    """Elements between two outputs, rounded as torch rounds them."""
    if corners:
        return float(kind(size - 1) / kind(positions - 1)) if positions > 1 else 0.0
    return float(kind(1.0 / factor)) if factor is not None and factor > 0 else float(kind(size) / kind(positions))


def _resample(x: Tensor, axes: Sequence[Axis], how: Taps) -> Tensor:
    x_shape = x.array.shape
    return record(kernel.resample(x.array, axes, how), (x, lambda dy: _input_grad(dy, x_shape, axes, how)))


def _input_grad(dy: Tensor, x_shape: tuple[int, ...], axes: Sequence[Axis], how: Taps) -> Tensor:
    dx = kernel.resample_input_grad(dy.array, x_shape, axes, how)
    return record(dx, (dy, lambda g: _resample(g, axes, how)))


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """`interpolate`, by its old name."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode "nearest", by an old name."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode "bilinear" and aligned corners, by an old name."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
