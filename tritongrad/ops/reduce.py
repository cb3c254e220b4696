"""Reductions over axes."""

from __future__ import annotations

from typing import Any

from tritongrad.ops import elementwise as ew
from tritongrad.ops.views import expand, reshape
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise as kernel_map, reduce as kernel
from tritongrad_kernels.dtypes import dtype

Dim = Any  # None, an int, or a sequence of ints


def axes_of(x: Tensor, dim: Dim) -> tuple[int, ...]:
    """The axes `dim` names, all of them for None or ()."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(x.ndim))
    axes = [x.axis(d) for d in (dim if isinstance(dim, list | tuple) else (dim,))]
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {list(dim)} names an axis of shape {list(x.shape)} more than once")
    return tuple(sorted(axes)) if x.ndim else ()


def _kept(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with reduced axes kept at extent 1."""
    return tuple(1 if a in axes else n for a, n in enumerate(x.array.shape))


def sum(x: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The sum over `dim` (all axes if None). Integers and bools are summed in int64."""
    axes, kept, full = axes_of(x, dim), _kept(x, axes_of(x, dim)), x.array.shape
    kind = dtype or (x.dtype if x.dtype.is_floating_point else dtypes.int64)
    y = record(kernel.sum(x.array, axes, dtype=kind), (x, lambda dy: expand(reshape(dy, kept), full)))
    return reshape(y, kept) if keepdim else y


def mean(x: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The mean over `dim` (all axes if None), of a floating-point tensor or into a floating-point `dtype`."""
    kind = dtype or x.dtype
    if not kind.is_floating_point:
        raise RuntimeError(f"mean: the result must be floating point, but the tensor is {x.dtype.name}; pass a dtype")
    axes, kept, full = axes_of(x, dim), _kept(x, axes_of(x, dim)), x.array.shape
    count = 1
    for a in axes:
        count *= full[a]
    y = record(
        kernel.sum(x.array, axes, dtype=kind, mean=True),
        (x, lambda dy: expand(reshape(dy / count if count else dy, kept), full)),
    )
    return reshape(y, kept) if keepdim else y


def _is_half(x: Tensor) -> bool:
    return x.dtype in (dtypes.float16, dtypes.bfloat16)


def _widened(x: Tensor) -> Tensor:
    """A half in float32, where its squares fit."""
    return x.to(dtypes.float32)


def var(
    x: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The variance over `dim`: squared deviations from the mean, summed, over n - correction (default 1)."""
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    if _is_half(x):
        return var(_widened(x), dim, unbiased, keepdim, correction=correction).to(x.dtype)
    axes, n = axes_of(x, dim), 1
    for a in axes:
        n *= x.array.shape[a]
    correction = (1 if unbiased else 0) if correction is None else correction
    deviation = x - mean(x, axes or None, keepdim=True)
    freedom = n - correction
    return sum(ew.square(deviation), axes or None, keepdim) / (freedom if freedom > 0 else 0.0)


def std(
    x: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The square root of `var`; its gradient at 0 is 0."""
    if _is_half(x):
        return std(_widened(x), dim, unbiased, keepdim, correction=correction).to(x.dtype)
    v = var(x, dim, unbiased, keepdim, correction=correction)
    return record(ew.sqrt(v.detach()).array, (v, lambda dy, y: ew.where(y == 0, 0.0, dy / (2 * y))))


class ValuesAndIndices(tuple):
    """The pair that max and min over one axis give."""

    @property
    def values(self) -> Tensor:
        return self[0]

    @property
    def indices(self) -> Tensor:
        return self[1]


def _extreme(name: str, x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Values and indices with reduced axes kept; ties give the first index. The value carries no gradient yet."""
    if 0 in [x.array.shape[a] for a in axes] or (not axes and x.numel() == 0):
        raise IndexError(f"{name}: nothing to choose from over dims {list(axes)} of shape {list(x.shape)}")
    values, indices = (kernel.max if "max" in name else kernel.min)(x.array, axes)
    kept = _kept(x, axes)
    return Tensor(kernel_map.reshape(values, kept)), Tensor(kernel_map.reshape(indices, kept))


def _along(name: str, x: Tensor, dim: int, keepdim: bool) -> ValuesAndIndices:
    """Extremes over one axis: the gradient goes to the element chosen."""
    axis, full = x.axis(dim), x.array.shape
    values, indices = _extreme(name, x, (axis,) if x.ndim else ())
    shape = values.array.shape if keepdim else tuple(n for a, n in enumerate(full) if a != axis)

    def gradient(dy: Tensor) -> Tensor:
        here = _positions(full, axis, dy) == indices
        return ew.where(here, reshape(dy, indices.shape), 0.0)

    return ValuesAndIndices(
        (record(kernel_map.reshape(values.array, shape), (x, lambda dy: gradient(dy))), reshape(indices, shape))
    )


def _positions(shape: tuple[int, ...], axis: int, like: Tensor) -> Tensor:
    """Each element's position along `axis`, to be broadcast to `shape`."""
    if not shape:
        return Tensor(kernel_map.full((), 0, dtypes.int64, like.device))
    return reshape(
        Tensor(kernel_map.iota(shape[axis], like.device)), [-1 if a == axis else 1 for a in range(len(shape))]
    )


def _evenly(name: str, x: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """Extremes over any axes: the gradient is shared evenly among equals."""
    axes, full = axes_of(x, dim), x.array.shape
    values, _ = _extreme(name, x, axes)
    kept = values.array.shape

    def gradient(dy: Tensor) -> Tensor:
        ties = (x == values) | (ew.isnan(x) & ew.isnan(values))
        ties = ties.to(dtypes.accumulator(dy.dtype))
        return (ties / sum(ties, axes, keepdim=True)).to(dy.dtype) * expand(reshape(dy, kept), full)

    shape = kept if keepdim else tuple(n for a, n in enumerate(full) if a not in axes)
    return record(kernel_map.reshape(values.array, shape), (x, lambda dy: gradient(dy)))


def max(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with `dim`, (values, indices) along it; with a tensor, the elementwise maximum."""
    if isinstance(dim, Tensor):
        return ew.maximum(x, dim)
    return _evenly("max", x, None, False) if dim is None else _along("max", x, dim, keepdim)


def min(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with `dim`, (values, indices) along it; with a tensor, the elementwise minimum."""
    if isinstance(dim, Tensor):
        return ew.minimum(x, dim)
    return _evenly("min", x, None, False) if dim is None else _along("min", x, dim, keepdim)


def amax(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The largest element over `dim`; equals share the gradient."""
    return _evenly("amax", x, dim, keepdim)


def amin(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The smallest element over `dim`; equals share the gradient."""
    return _evenly("amin", x, dim, keepdim)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest element along `dim`, or in the flattened tensor; the first of equals."""
    return _arg("argmax", x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element along `dim`, or in the flattened tensor; the first of equals."""
    return _arg("argmin", x, dim, keepdim)


def _arg(name: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    axes = axes_of(x, dim)
    _, indices = _extreme(name, x, axes)
    return indices if keepdim else reshape(indices, tuple(n for a, n in enumerate(x.array.shape) if a not in axes))


def any(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether some element over `dim` is nonzero."""
    return sum(x != 0, dim, keepdim) > 0


def all(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether every element over `dim` is nonzero."""
    return sum(x == 0, dim, keepdim) == 0


def norm(x: Tensor, p: float = 2.0, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """(sum |x|^p)^(1/p) over `dim`; the largest |x| for p = inf, the smallest for -inf, the number of nonzeros for 0.
    The gradient at 0 is 0."""
    if p == float("inf"):
        return amax(ew.abs(x), dim, keepdim)
    if p == -float("inf"):
        return amin(ew.abs(x), dim, keepdim)
    if p == 0:
        return sum(ew.abs(ew.sign(x)), dim, keepdim)
    if _is_half(x):
        return norm(_widened(x), p, dim, keepdim).to(x.dtype)
    if p == 1:
        return sum(ew.abs(x), dim, keepdim)
    if p != 2:
        return ew.pow(sum(ew.pow(ew.abs(x), p), dim, keepdim), 1 / p)
    axes = axes_of(x, dim)
    kept = _kept(x, axes)
    y = ew.sqrt(sum(ew.square(x.detach()), axes or None, keepdim))

    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        return ew.where(reshape(y, kept) == 0, 0.0, x * reshape(dy / y, kept))

    return record(y.array, (x, lambda dy, y: gradient(dy, y)))
