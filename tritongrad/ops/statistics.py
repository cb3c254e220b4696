"""Statistics: variances and covariances, order statistics, histograms."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from tritongrad.ops import return_types
from tritongrad.ops.along import take_along
from tritongrad.ops.arithmetic import floor, round, square
from tritongrad.ops.comparison import clamp, isnan, logical_and, where
from tritongrad.ops.gather import gather, index_add
from tritongrad.ops.linalg import matmul
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into, refuse
from tritongrad.ops.placement import into_each
from tritongrad.ops.reduce import Dim, amax, amin, argmax, axes_of, count_over, mean, require_choice, sum
from tritongrad.ops.scan import cummax
from tritongrad.ops.slicing import diagonal, narrow
from tritongrad.ops.sort import picked, sort
from tritongrad.ops.transcendental import sqrt
from tritongrad.ops.views import expand, movedim, reshape, squeeze, unsqueeze
from tritongrad.tensor import Tensor, get_default_dtype, record
from tritongrad_kernels import dtypes, elementwise

# ----------------------------------------------------------------------------------------------------------- deviations


def _require_floating(name: str, input: Tensor) -> None:
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"{name} only support floating point dtypes, got {input.dtype.name}")


def _is_half(input: Tensor) -> bool:
    return dtypes.compute(input.dtype) is not input.dtype


@numpy_names
def var(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The variance over `dim`: squared deviations from the mean, summed, over n - correction (default 1)."""
    _require_floating("std and var", input)
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    if _is_half(input):  # whose squares do not fit
        return into(
            out, "var", var(input.to(dtypes.float32), dim, unbiased, keepdim, correction=correction).to(input.dtype)
        )
    axes = axes_of(input, dim)
    correction = (1 if unbiased else 0) if correction is None else correction
    deviation = input - mean(input, axes or None, keepdim=True)
    freedom = count_over(input, axes) - correction
    return into(out, "var", sum(square(deviation), axes or None, keepdim) / (freedom if freedom > 0 else 0.0))


@numpy_names
def std(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The square root of `var`; its gradient at 0 is 0."""
    _require_floating("std and var", input)
    if _is_half(input):
        return into(
            out, "std", std(input.to(dtypes.float32), dim, unbiased, keepdim, correction=correction).to(input.dtype)
        )
    v = var(input, dim, unbiased, keepdim, correction=correction)
    return into(out, "std", record(sqrt(v.detach()).array, (v, lambda dy, y: where(y == 0, 0.0, dy / (2 * y)))))


def _mean_beside(input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    return mean(input, None if isinstance(dim, bool) else dim, keepdim)


@numpy_names
def var_mean(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """`var` and `mean`."""
    return var(input, dim, unbiased, keepdim, correction=correction), _mean_beside(input, dim, keepdim)


@numpy_names
def std_mean(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """`std` and `mean`."""
    return std(input, dim, unbiased, keepdim, correction=correction), _mean_beside(input, dim, keepdim)


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of the rows of a matrix, whose columns are observations, counted or weighted by the weights."""
    if input.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got {input.ndim}")
    if input.dtype is dtypes.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = reshape(input, (1, -1)) if input.ndim < 2 else input
    x = x if x.dtype.is_floating_point else x.to(get_default_dtype())
    weights = None
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is not None and w.array.shape != (x.size(1),):
            raise RuntimeError(f"cov(): expected {name} to have one weight for each of {x.size(1)} observations")
        weights = w if weights is None else weights if w is None else weights * w
    total: Any = x.size(1) if weights is None else sum(weights)
    center = mean(x, 1, keepdim=True) if weights is None else sum(x * weights, 1, keepdim=True) / total
    if aweights is not None and correction != 0:
        freedom = total - correction * sum(weights * aweights) / total
    else:
        freedom = total - correction
    freedom = clamp(freedom, min=0) if isinstance(freedom, Tensor) else builtins.max(freedom, 0)
    deviation = x - center
    weighted = deviation if weights is None else deviation * weights
    return squeeze(matmul(weighted, deviation.transpose(0, 1)) / freedom)


def corrcoef(input: Tensor) -> Tensor:
    """The correlations of the rows of a matrix: covariances over the standard deviations, kept within -1 and 1."""
    if input.ndim > 2:
        raise RuntimeError(f"corrcoef(): expected input to have two or fewer dimensions but got {input.ndim}")
    c = cov(input)
    if not c.ndim:
        return c / c
    deviation = sqrt(diagonal(c))
    return clamp(c / unsqueeze(deviation, 1) / unsqueeze(deviation, 0), -1, 1)


# ----------------------------------------------------------------------------------------------------- order statistics


def _median(name: str, kind: Any, input: Tensor, dim: Any, keepdim: bool, skip: bool) -> Any:
    refuse(name, input.dtype, "b")
    if dim is None:
        if input.numel() == 0:
            floating, size = input.dtype.is_floating_point, input.dtype.itemsize
            nothing = math.nan if floating else -(2 ** (8 * size - 1)) if size >= 4 else 0  # torch: NaN, as integers go
            return Tensor(elementwise.full((), nothing, input.dtype, input.device)) + sum(input, dtype=input.dtype)
        return _median(name, kind, reshape(input, (input.numel(),)), 0, False, skip)[0]
    axis = input.axis(dim)
    require_choice(name, input, axis)
    order = sort(input.detach(), axis)[1]
    n = input.size(axis) if input.ndim else 1
    if not input.ndim or not input.dtype.is_floating_point:
        return picked(kind, name, input, order, (n - 1) // 2, axis, keepdim)
    nans = sum(isnan(input), axis, keepdim=True)
    if skip:
        position = clamp((n - 1 - nans) // 2, min=0)
    else:
        position = where(nans > 0, n - nans, (n - 1) // 2)  # the first NaN
    return picked(kind, name, input, order, position, axis, keepdim)


@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Sequence[Tensor] | None = None) -> Any:
    """The lower median of all elements, or (values, indices) along `dim`; NaN if there is one."""
    return into_each(out, "median", _median("median", return_types.median, input, dim, keepdim, False))


@numpy_names
def nanmedian(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Sequence[Tensor] | None = None
) -> Any:
    """`median` of what is not NaN."""
    return into_each(out, "nanmedian", _median("nanmedian", return_types.nanmedian, input, dim, keepdim, True))


@numpy_names
def mode(
    input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Sequence[Tensor] | None = None
) -> return_types.mode:
    """(values, indices) of the most frequent along `dim`, the smallest of those, at its last index."""
    axis = input.axis(dim)
    require_choice("mode", input, axis)
    values, order = sort(input.detach(), axis)
    if not input.ndim:
        return into_each(out, "mode", picked(return_types.mode, "mode", input, order, 0, axis, keepdim))
    n = input.size(axis)
    place = reshape(Tensor(elementwise.iota(n, input.device)), [-1 if a == axis else 1 for a in range(input.ndim)])
    before = take_along(values, expand(clamp(place - 1, min=0), values.shape), axis) if n > 1 else values
    start = where((values != before) & (place > 0), expand(place, values.shape), 0)
    length = place - cummax(start, axis)[0]
    return into_each(
        out, "mode", picked(return_types.mode, "mode", input, order, argmax(length, axis, keepdim=True), axis, keepdim)
    )


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@numpy_names
def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:
    """The values below which a share q of the elements along `dim` (or of all) lies, between neighbours interpolated.

    A list of q, as a tensor, becomes the first axis of the result. NaN where there is one.
    """
    return into(out, "quantile", _quantile("quantile", input, q, dim, keepdim, interpolation, False))


@numpy_names
def nanquantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:
    """`quantile` of what is not NaN."""
    return into(out, "nanquantile", _quantile("nanquantile", input, q, dim, keepdim, interpolation, True))


def _quantile(name: str, input: Tensor, q: Any, dim: Any, keepdim: bool, interpolation: str, skip: bool) -> Tensor:
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of {', '.join(_INTERPOLATIONS)}, but got {interpolation}"
        )
    if isinstance(q, Tensor):
        if q.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype is not input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    elif not 0 <= q <= 1:
        raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
    scalar = not isinstance(q, Tensor) or q.ndim == 0
    shares = q if isinstance(q, Tensor) else Tensor(elementwise.full((), q, input.dtype, input.device))
    if isinstance(q, Tensor) and not builtins.bool(((q >= 0) & (q <= 1)).numpy().all()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    axis = 0 if dim is None else input.axis(dim)
    flat = dim is None or not input.ndim
    x = reshape(input, (input.numel(),)) if flat else movedim(input, axis, -1)
    shares = reshape(shares, (-1,))
    values = sort(x, -1)[0]
    n = x.size(-1)
    nans = sum(isnan(x), -1, keepdim=True)
    rank = clamp(shares * (n - nans - 1).to(x.dtype), min=0) if skip else where(nans > 0, n - 1.0, shares * (n - 1))
    rank = rank.to(x.dtype)
    if interpolation in ("lower", "higher", "nearest"):
        rank = {"lower": floor, "higher": lambda r: -floor(-r), "nearest": round}[interpolation](rank)
    below = floor(rank)
    weight = rank - below
    if interpolation == "midpoint":
        weight = where(weight == 0, 0.0, 0.5).to(x.dtype)
    low = gather(values, -1, below.detach().to(dtypes.int64))
    result = low
    if interpolation in ("linear", "midpoint"):
        high = gather(values, -1, (-floor(-rank.detach())).to(dtypes.int64))
        result = low + weight * (high - low)
    result = movedim(result, -1, 0)
    if keepdim and input.ndim:
        result = reshape(result, (-1, *([1] * input.ndim))) if flat else unsqueeze(result, axis + 1)
    return squeeze(result, 0) if scalar else result


# ----------------------------------------------------------------------------------------------------------- histograms


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, ... occurs in a vector of integers, or the sum of its weights, at least to minlength-1.

    Sums are taken in the order of the input. A GPU is waited for: the largest number decides the length.
    """
    refuse("bincount", input.dtype, "fb")
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, got {minlength}")
    if input.ndim != 1 or (input.numel() and amin(input).item() < 0):
        raise RuntimeError(f"bincount only supports 1-d non-negative integral inputs, got shape {list(input.shape)}")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(f"bincount: weights should have the shape of the input {list(input.shape)}")
    length = builtins.max(int(amax(input).item()) + 1 if input.numel() else 0, minlength)
    if weights is None or not input.numel():
        ones = Tensor(elementwise.full(input.array.shape, 1, dtypes.int64, input.device))
        kind = dtypes.int64
    else:
        kind = weights.dtype if weights.dtype is dtypes.float32 else dtypes.float64
        ones = weights.detach().to(kind)
    bins = Tensor(elementwise.full((length,), 0, kind, input.device))
    return index_add(bins, 0, input.to(dtypes.int64), ones)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0, *, out: Tensor | None = None) -> Tensor:
    """How many elements lie in each of `bins` equal parts of [min, max], or, both being 0, of their own range."""
    refuse("histc", input.dtype, "bi")
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    x = reshape(input.detach(), (input.numel(),))
    low, high = builtins.float(min), builtins.float(max)
    if low == high and x.numel():
        low, high = amin(x).item(), amax(x).item()
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    inside = logical_and(x >= low, x <= high)
    place = clamp(floor((x - low) * bins / (high - low)), max=bins - 1)
    place = where(inside, place, bins).to(dtypes.int64)
    counts = Tensor(elementwise.full((bins + 1,), 0, dtypes.int64, x.device))
    ones = Tensor(elementwise.full(x.array.shape, 1, dtypes.int64, x.device))
    return into(out, "histc", narrow(index_add(counts, 0, place, ones), 0, 0, bins).to(input.dtype))
