"""Reductions over axes: sums, products, extremes, questions.

`dim` is an axis, several, or None for all; the reduced axes disappear unless `keepdim`. Every one takes `out`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.ops import return_types
from tritongrad.ops.along import put_along
from tritongrad.ops.arithmetic import abs
from tritongrad.ops.comparison import isnan, logical_not, maximum, minimum, where
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into
from tritongrad.ops.placement import into_each
from tritongrad.ops.scan import product_of_others
from tritongrad.ops.transcendental import exp, log
from tritongrad.ops.views import expand, reshape
from tritongrad.precision import raised
from tritongrad.tensor import Tensor, get_default_dtype, record
from tritongrad_kernels import dtypes, elementwise as kernel_map, reduce as kernel
from tritongrad_kernels.dtypes import dtype

Dim = Any  # None, an int, or a sequence of ints


def axes_of(input: Tensor, dim: Dim) -> tuple[int, ...]:
    """The axes `dim` names, all of them for None or ()."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(input.ndim))
    axes = [input.axis(d) for d in (dim if isinstance(dim, list | tuple) else (dim,))]
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {list(dim)} names an axis of shape {list(input.shape)} more than once")
    return tuple(sorted(axes)) if input.ndim else ()


def kept_shape(input: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with reduced axes kept at extent 1."""
    return tuple(1 if a in axes else n for a, n in enumerate(input.array.shape))


def count_over(input: Tensor, axes: tuple[int, ...]) -> int:
    """How many elements one result is made of."""
    return math.prod(input.array.shape[a] for a in axes)


# --------------------------------------------------------------------------------------------------- sums and products


@numpy_names
@raised
def sum(
    input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None, out: Tensor | None = None
) -> Tensor:
    """The sum over `dim` (all axes if None). Integers and bools are summed in int64."""
    axes, full = axes_of(input, dim), input.array.shape
    kept = kept_shape(input, axes)
    kind = dtypes.of(dtype) or (input.dtype if input.dtype.is_floating_point else dtypes.int64)
    y = record(kernel.sum(input.array, axes, dtype=kind), (input, lambda dy: expand(reshape(dy, kept), full)))
    return into(out, "sum", reshape(y, kept) if keepdim else y)


@numpy_names
def mean(
    input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None, out: Tensor | None = None
) -> Tensor:
    """The mean over `dim` (all axes if None), of a floating-point tensor or into a floating-point `dtype`."""
    kind = dtypes.of(dtype) or input.dtype
    if not kind.is_floating_point:
        raise RuntimeError(
            f"mean: the result must be floating point, but the tensor is {input.dtype.name}; pass a dtype"
        )
    axes, full = axes_of(input, dim), input.array.shape
    kept, count = kept_shape(input, axes), count_over(input, axes)
    y = record(
        kernel.sum(input.array, axes, dtype=kind, mean=True),
        (input, lambda dy: expand(reshape(dy / count if count else dy, kept), full)),
    )
    return into(out, "mean", reshape(y, kept) if keepdim else y)


@numpy_names
def nansum(
    input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None, out: Tensor | None = None
) -> Tensor:
    """The sum of what is not NaN."""
    if not input.dtype.is_floating_point:
        return sum(input, dim, keepdim, dtype=dtype, out=out)
    axes = axes_of(input, dim)
    kept = kept_shape(input, axes)
    y = sum(where(isnan(input), 0.0, input.detach()), dim, keepdim, dtype=dtype)
    return into(out, "nansum", record(y.array, (input, lambda dy: reshape(dy, kept) * logical_not(isnan(input)))))


@numpy_names
def nanmean(
    input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None, out: Tensor | None = None
) -> Tensor:
    """The mean of what is not NaN; NaN where nothing is left."""
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"nanmean(): expected input to have floating point dtype but got {input.dtype.name}")
    total = nansum(input, dim, keepdim, dtype=dtype)
    return into(out, "nanmean", total / sum(logical_not(isnan(input)), dim, keepdim))


@numpy_names
@raised
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The product over one axis, or all. Integers and bools are multiplied in int64.

    The gradient of each factor is the product of the others, also where some are 0.
    """
    if isinstance(dim, list | tuple):
        raise TypeError(f"prod(): dim must be an int, not {type(dim).__name__}")
    kind = dtypes.of(dtype) or (input.dtype if input.dtype.is_floating_point else dtypes.int64)
    axes, full = axes_of(input, dim), input.array.shape
    kept = kept_shape(input, axes)

    def others(x: Tensor) -> Tensor:
        flat, axis = (reshape(x, (x.numel(),)), 0) if dim is None or not axes else (x, axes[0])
        return reshape(product_of_others(flat, axis), full)

    x = input.to(kind) if kind is not input.dtype else input
    y = record(kernel.prod(x.array, axes, dtype=kind), (x, lambda dy: reshape(dy, kept) * others(x)))
    return into(out, "prod", reshape(y, kept) if keepdim else y)


@numpy_names
def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """log(sum(exp(input))) over `dim`, without overflow; -inf for nothing."""
    x = input if input.dtype.is_floating_point else input.to(get_default_dtype())
    if dtypes.compute(x.dtype) is not x.dtype:
        return into(out, "logsumexp", logsumexp(x.to(dtypes.compute(x.dtype)), dim, keepdim).to(x.dtype))
    axes = axes_of(x, dim)
    kept = kept_shape(x, axes)
    plain = x.detach()
    if count_over(x, axes) == 0 or not x.numel():
        y = log(sum(plain, axes or None, True))
    else:
        top = _extreme("logsumexp", plain, axes)[0]
        top = where(abs(top) == math.inf, 0.0, top)
        y = log(sum(exp(plain - top), axes or None, True)) + top
    y = record(y.array, (x, lambda dy, y: dy * exp(x - y)))
    shape = kept if keepdim else tuple(n for a, n in enumerate(x.array.shape) if a not in axes)
    return into(out, "logsumexp", reshape(y, shape))


# ----------------------------------------------------------------------------------------------------------- questions


@numpy_names
def any(input: Tensor, dim: Dim = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """Whether some element over `dim` is nonzero: a bool, for uint8 a uint8. dim=() asks every element by itself."""
    return into(out, "any", _asked(input, dim, sum(input != 0, dim, keepdim) > 0 if dim != () else input != 0))


@numpy_names
def all(input: Tensor, dim: Dim = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """Whether every element over `dim` is nonzero: a bool, for uint8 a uint8. dim=() asks every element by itself."""
    return into(out, "all", _asked(input, dim, sum(input == 0, dim, keepdim) == 0 if dim != () else input != 0))


def _asked(input: Tensor, dim: Dim, answer: Tensor) -> Tensor:
    return answer.to(dtypes.uint8) if input.dtype is dtypes.uint8 else answer


@numpy_names
def count_nonzero(input: Tensor, dim: Dim = None) -> Tensor:
    """How many elements over `dim` are not 0, in int64."""
    return sum(input != 0, dim)


# ------------------------------------------------------------------------------------------------------------ extremes


def require_choice(name: str, input: Tensor, dim: Dim) -> None:
    """IndexError, or RuntimeError without `dim`, where there would be nothing to choose from."""
    if dim is None or dim == ():
        if input.numel() == 0:
            error = IndexError if name in ("argmax", "argmin") else RuntimeError
            raise error(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                f"with the 'dim' argument."
            )
        return
    for a in axes_of(input, dim):
        if input.array.shape[a] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {a} to have non-zero size.")


def _extreme(name: str, input: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Values and indices with reduced axes kept; ties give the first index. The value carries no gradient yet."""
    values, indices = (kernel.min if "min" in name else kernel.max)(input.array, axes)
    kept = kept_shape(input, axes)
    return Tensor(kernel_map.reshape(values, kept)), Tensor(kernel_map.reshape(indices, kept))


def _along(name: str, input: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """Extremes over one axis: the gradient goes to the element chosen."""
    axis, full = input.axis(dim), input.array.shape
    require_choice(name, input, axis)
    values, indices = _extreme(name, input, (axis,) if input.ndim else ())
    kept = indices.array.shape
    shape = kept if keepdim else tuple(n for a, n in enumerate(full) if a != axis)
    y = record(
        kernel_map.reshape(values.array, shape),
        (input, lambda dy: put_along(reshape(dy, kept), indices, axis, full[axis] if full else 1)),
    )
    return y, reshape(indices, shape)


def _evenly(name: str, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """Extremes over any axes: the gradient is shared evenly among equals."""
    require_choice(name, input, dim)
    axes, full = axes_of(input, dim), input.array.shape
    values, _ = _extreme(name, input, axes)
    kept = values.array.shape

    def gradient(dy: Tensor) -> Tensor:
        ties = (input == values) | (isnan(input) & isnan(values))
        ties = ties.to(dtypes.accumulator(dy.dtype))
        return (ties / sum(ties, axes, keepdim=True)).to(dy.dtype) * expand(reshape(dy, kept), full)

    shape = kept if keepdim else tuple(n for a, n in enumerate(full) if a not in axes)
    return record(kernel_map.reshape(values.array, shape), (input, lambda dy: gradient(dy)))


def _any_form(
    name: str, input: Tensor, dim: Any, keepdim: bool, other: Tensor | None, out: Any, binary: Callable, pair: type
) -> Any:
    if isinstance(dim, Tensor) or other is not None:
        return binary(input, dim if other is None else other, out=out)
    if dim is None:
        return into(out, name, _evenly(name, input, None, False))
    values, indices = _along(name, input, dim, keepdim)
    if out is not None:
        values, indices = into(out[0], name, values), into(out[1], name, indices)
    return pair(values, indices)


@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None, out: Any = None) -> Any:
    """The largest element; with `dim`, (values, indices) along it; with a tensor, the elementwise maximum.

    NaN is larger than all, equals give their first index. Without `dim`, equals share the gradient.
    """
    return _any_form("max", input, dim, keepdim, other, out, maximum, return_types.max)


@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None, out: Any = None) -> Any:
    """The smallest element; with `dim`, (values, indices) along it; with a tensor, the elementwise minimum.

    NaN is smaller than all, equals give their first index. Without `dim`, equals share the gradient.
    """
    return _any_form("min", input, dim, keepdim, other, out, minimum, return_types.min)


@numpy_names
def amax(input: Tensor, dim: Dim = (), keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The largest element over `dim`; equals share the gradient."""
    return into(out, "amax", _evenly("amax", input, dim, keepdim))


@numpy_names
def amin(input: Tensor, dim: Dim = (), keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The smallest element over `dim`; equals share the gradient."""
    return into(out, "amin", _evenly("amin", input, dim, keepdim))


@numpy_names
def aminmax(
    input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Sequence[Tensor] | None = None
) -> return_types.aminmax:
    """The smallest and the largest element over `dim`, as (min, max); equals share the gradient."""
    if dim is None and not input.numel():
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    require_choice("aminmax", input, dim)
    return into_each(
        out, "aminmax", return_types.aminmax(_evenly("amin", input, dim, keepdim), _evenly("amax", input, dim, keepdim))
    )


@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The index of the largest element along `dim`, or in the flattened tensor; the first of equals."""
    return into(out, "argmax", _arg("argmax", input, dim, keepdim))


@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The index of the smallest element along `dim`, or in the flattened tensor; the first of equals."""
    return into(out, "argmin", _arg("argmin", input, dim, keepdim))


def _arg(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if input.dtype is dtypes.bool_:
        raise RuntimeError(f"{name}(): does not support bool input")
    require_choice(name, input, dim)
    axes = axes_of(input, dim)
    _, indices = _extreme(name, input, axes)
    return indices if keepdim else reshape(indices, tuple(n for a, n in enumerate(input.array.shape) if a not in axes))
