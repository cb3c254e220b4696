"""Scans: sums, products and extremes of each element and all before it; differences, which undo the sums.

Integers and bools are summed and multiplied in int64 unless a `dtype` is given. A number is a scan of itself.
"""

from __future__ import annotations

from typing import Any

from tritongrad.ops import return_types
from tritongrad.ops.arithmetic import sub
from tritongrad.ops.comparison import ne, where
from tritongrad.ops.gather import scatter_add
from tritongrad.ops.joining import cat, flip
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into, overwrite, refuse
from tritongrad.ops.slicing import narrow
from tritongrad.ops.transcendental import exp
from tritongrad.precision import raised
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise, scan as kernel
from tritongrad_kernels.array import Array
from tritongrad_kernels.dtypes import dtype


def _kind(name: str, input: Tensor, dtype: dtype | None) -> dtype:
    dtype = dtypes.of(dtype, name)
    if dtype is not None:
        refuse(name, dtype, "b")
    return dtype or (input.dtype if input.dtype.is_floating_point else dtypes.int64)


def _turned(a: Array, axis: int) -> Array:
    """A view with one axis turned around."""
    return a.slice(axis, a.shape[axis] - 1, -1, -1) if a.ndim else a


@numpy_names
@raised
def cumsum(input: Tensor, dim: int, *, dtype: dtype | None = None, out: Tensor | None = None) -> Tensor:
    """input[0] + ... + input[i] along `dim`."""
    return into(out, "cumsum", _sums(input, input.axis(dim), _kind("cumsum", input, dtype), False))


def _sums(x: Tensor, axis: int, kind: dtype, backwards: bool) -> Tensor:
    array = kernel.cumsum(_turned(x.array, axis) if backwards else x.array, axis, kind)
    y = elementwise.contiguous(_turned(array, axis)) if backwards else array
    return record(y, (x, lambda dy: _sums(dy, axis, dy.dtype, not backwards)))


@numpy_names
@raised
def cumprod(input: Tensor, dim: int, *, dtype: dtype | None = None, out: Tensor | None = None) -> Tensor:
    """input[0] times ... times input[i] along `dim`. The gradient is right where factors are 0."""
    axis, kind = input.axis(dim), _kind("cumprod", input, dtype)
    x = input if input.dtype is kind else input.to(kind)
    y = kernel.cumprod(x.array, axis, kind)
    return into(out, "cumprod", record(y, (x, lambda dy: _cumprod_gradient(x, dy, axis))))


def _cumprod_gradient(x: Tensor, dy: Tensor, axis: int) -> Tensor:
    """dx[i] = x[0] .. x[i-1] (dy[i] + x[i+1] (dy[i+1] + x[i+2] (...)))."""
    if not x.ndim:
        return dy
    return _before(cumprod(x, axis), axis, 1) * _recurrence(_after(x, axis), dy, axis, True)


def product_of_others(x: Tensor, axis: int) -> Tensor:
    """For each element along `axis`, the product of all others."""
    backwards = flip(cumprod(flip(x, axis), axis), axis)
    return _before(cumprod(x, axis), axis, 1) * _after(backwards, axis)


def _before(x: Tensor, axis: int, first: int) -> Tensor:
    """x moved one up along `axis`, `first` at its start."""
    if not x.size(axis):
        return x
    head = narrow(x, axis, 0, 1)
    start = Tensor(elementwise.full(head.array.shape, first, x.dtype, x.device))
    return cat([start, narrow(x, axis, 0, x.size(axis) - 1)], axis)


def _after(x: Tensor, axis: int) -> Tensor:
    """x moved one down along `axis`, 1 at its end."""
    return flip(_before(flip(x, axis), axis, 1), axis)


def _recurrence(a: Tensor, b: Tensor, axis: int, backwards: bool) -> Tensor:
    """h[i] = a[i] h[i-1] + b[i] along `axis`, or, backwards, a[i] h[i+1] + b[i]; what lies outside is 0."""
    if backwards:
        h = elementwise.contiguous(
            _turned(kernel.recurrence(_turned(a.array, axis), _turned(b.array, axis), axis), axis)
        )
    else:
        h = kernel.recurrence(a.array, b.array, axis)

    def of_terms(dy: Tensor) -> Tensor:
        shifted = flip(_before(flip(a, axis), axis, 0), axis) if not backwards else _before(a, axis, 0)
        return _recurrence(shifted, dy, axis, not backwards)

    def of_factors(dy: Tensor, h: Tensor) -> Tensor:
        neighbour = flip(_before(flip(h, axis), axis, 0), axis) if backwards else _before(h, axis, 0)
        return of_terms(dy) * neighbour

    return record(h, (a, lambda dy, h: of_factors(dy, h)), (b, lambda dy: of_terms(dy)))


@numpy_names
def logcumsumexp(input: Tensor, dim: int, *, out: Tensor | None = None) -> Tensor:
    """log(exp(input[0]) + ... + exp(input[i])) along `dim`, without overflow."""
    refuse("logcumsumexp", input.dtype, "bi")
    axis = input.axis(dim)
    y = kernel.logcumsumexp(input.array, axis)
    result = record(y, (input, lambda dy, y: _logcumsumexp_gradient(input, dy, y, axis)))
    return into(out, "logcumsumexp", result)


def _logcumsumexp_gradient(x: Tensor, dy: Tensor, y: Tensor, axis: int) -> Tensor:
    """dx[i] = sum of dy[k] exp(x[i] - y[k]) over k >= i, in steps of exp(y[i] - y[i+1]), which are at most 1."""
    if not x.ndim:
        return dy
    following = flip(_before(flip(y, axis), axis, 0), axis)
    step = exp(where(y == following, 0.0, y - following))  # equal infinities are no step
    total = _recurrence(step, dy, axis, True)
    return exp(x - y) * total


@numpy_names
def cummax(input: Tensor, dim: int, *, out: Any = None) -> return_types.cummax:
    """The largest of input[0 .. i] along `dim` and its index: NaN wins, the last of equals."""
    return return_types.cummax(*_extremes("cummax", kernel.cummax, input, dim, out))


@numpy_names
def cummin(input: Tensor, dim: int, *, out: Any = None) -> return_types.cummin:
    """The smallest of input[0 .. i] along `dim` and its index: NaN wins, the last of equals."""
    return return_types.cummin(*_extremes("cummin", kernel.cummin, input, dim, out))


def _extremes(name: str, scan: Any, x: Tensor, dim: int, out: Any) -> tuple[Tensor, Tensor]:
    axis = x.axis(dim)
    values, where_ = scan(x.array, axis)
    indices = Tensor(where_)
    result = record(values, (x, lambda dy: scatter_add(dy.zeros_like(), axis, indices, dy)))
    return (result, indices) if out is None else (into(out[0], name, result), into(out[1], name, indices))


@numpy_names
def cumsum_(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """`cumsum` in place."""
    refuse("cumsum_", input.dtype, "b")
    return overwrite("cumsum_", input.dtype, cumsum, input, dim=dim, dtype=dtype or input.dtype)


@numpy_names
def cumprod_(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """`cumprod` in place."""
    refuse("cumprod_", input.dtype, "b")
    return overwrite("cumprod_", input.dtype, cumprod, input, dim=dim, dtype=dtype or input.dtype)


@numpy_names
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None,
    *, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Differences of neighbours along `dim`, taken n times, with tensors put before and after first. Bools differ."""
    if not input.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    axis = input.axis(dim)
    parts = [t for t in (prepend, input, append) if t is not None]
    y = cat(parts, axis) if len(parts) > 1 else input
    if n == 0:
        y = y.clone()
    for _ in range(min(n, y.size(axis))):
        m = max(y.size(axis) - 1, 0)
        later, earlier = narrow(y, axis, y.size(axis) - m, m), narrow(y, axis, 0, m)
        y = ne(later, earlier) if y.dtype is dtypes.bool_ else sub(later, earlier)
    return into(out, "diff", y)


def _areas(y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    """The area of each trapezoid, times two."""
    axis = y.axis(dim)
    m = max(y.size(axis) - 1, 0)
    heights = narrow(y, axis, y.size(axis) - m, m) + narrow(y, axis, 0, m)
    if x is None:
        return heights * dx
    widths = diff(x, dim=0 if x.ndim == 1 else dim)
    return heights * (widths.reshape([m if a == axis else 1 for a in range(y.ndim)]) if x.ndim == 1 else widths)


@numpy_names
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of y along `dim` by the trapezoidal rule, over points x or points `dx` apart."""
    if y.dtype is dtypes.bool_:
        raise RuntimeError("trapezoid: not defined for bool tensors")
    return _areas(y, x, dx, dim).sum(dim) / 2


@numpy_names
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integrals of y along `dim` up to each point after the first, as `trapezoid`."""
    return cumsum(_areas(y, x, dx, dim), dim) / 2


trapz = trapezoid
