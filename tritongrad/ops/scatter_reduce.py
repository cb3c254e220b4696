"""Values folded into the places that an index names: sums, products, means and extremes.

Folded are, in the order of the index, what was there (unless told otherwise) and all that goes to one place; halves are
carried in float32. Equal extremes share the gradient, as torch has it, and so they do where what was there is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.arithmetic import floor_divide
from tritongrad.ops.comparison import eq, logical_and, where
from tritongrad.ops.gather import keys_along, slices_for, source_for
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into
from tritongrad.ops.rows import clear, pick, spread
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, duplicate, record, record_inplace
from tritongrad_kernels import dtypes, elementwise, formulas, gather as kernel
from tritongrad_kernels.array import Array
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.gather import Keys

_FORMULAS: dict[str, Any] = {
    "sum": formulas._add,
    "mean": formulas._add,
    "prod": formulas._mul,
    "amax": formulas._maximum,
    "amin": formulas._minimum,
}


def _identity(reduce: str, kind: dtype) -> Any:
    """What folding into changes nothing."""
    if reduce in ("sum", "mean", "prod"):
        return 1 if reduce == "prod" else 0
    if kind.is_floating_point:
        return -np.inf if reduce == "amax" else np.inf
    limits = np.iinfo(np.int64)
    return int(limits.min if reduce == "amax" else limits.max)


class Places:
    """Where values go: the axes of a tensor that count its rows, keys that name some, and whether they keep theirs."""

    def __init__(self, axes: Sequence[int], keys: Keys, include_self: bool) -> None:
        self.axes, self.keys, self.include_self = axes, keys, include_self

    def folded(self, reduce: str, x: Array, v: Array) -> Array:
        """x with v folded in, in the dtype sums over x are carried in."""
        wide = dtypes.accumulator(x.dtype)
        y = duplicate(x) if x.dtype is wide else elementwise.cast(x, wide)
        if not self.include_self:
            identity = elementwise.full((), _identity(reduce, x.dtype), wide, x.device).expand(v.shape)
            kernel.put(y, self.axes, self.keys, identity)
        return kernel.fold(_FORMULAS[reduce], y, self.axes, self.keys, v)

    def read(self, x: Tensor) -> Tensor:
        return pick(x, self.axes, self.keys)

    def kept(self, dy: Tensor) -> Tensor:
        """The gradient of what was there: none where it was left out."""
        return dy if self.include_self else clear(dy, self.axes, self.keys)

    def added(self, v: Tensor, shape: tuple[int, ...]) -> Tensor:
        return spread(v, shape, self.axes, self.keys)


def _reduced(name: str, x: Tensor, v: Tensor, places: Places, reduce: str) -> Tensor:
    """x with v folded in."""
    if reduce == "mean":
        return _mean(name, x, v, places)
    y = elementwise.cast(places.folded(reduce, x.array, v.array), x.dtype)
    if reduce == "sum":
        return record(y, (x, lambda dy: places.kept(dy)), (v, lambda dy: places.read(dy)))
    if reduce == "prod":
        return record(
            y,
            (x, lambda dy: places.kept(_product_beside(x, v, places) * dy)),
            (v, lambda dy, y: _product_of_others(x, v, places, dy, y)),
        )
    return record(
        y,
        (x, lambda dy, y: places.kept(eq(x, y) * _shared(x, v, places, dy, y))),
        (v, lambda dy, y: eq(v, places.read(y)) * places.read(_shared(x, v, places, dy, y))),
    )


def _mean(name: str, x: Tensor, v: Tensor, places: Places) -> Tensor:
    if x.dtype is dtypes.bool_:
        raise NotImplementedError(f"{name}: a mean is not defined for bool tensors")
    total = Tensor(places.folded("mean", x.array, v.array))
    ones = Tensor(elementwise.full((), 1, total.dtype, x.device).expand(v.array.shape))
    count = places.added(ones, x.array.shape) + int(places.include_self)
    count = where(eq(count, 0), 1, count)
    y = (total / count if x.dtype.is_floating_point else floor_divide(total, count)).to(x.dtype)
    share = count.to(x.dtype)
    return record(y.array, (x, lambda dy: places.kept(dy / share)), (v, lambda dy: places.read(dy / share)))


def _product_beside(x: Tensor, v: Tensor, places: Places) -> Tensor:
    """The product of all that was folded into each element of x, apart from itself."""
    factor = where(eq(x, 0), 1.0, x)
    return _reduced("scatter_reduce", factor, v, places, "prod") / factor


def _product_of_others(x: Tensor, v: Tensor, places: Places, dy: Tensor, y: Tensor) -> Tensor:
    """dy times the product of all that went to the place of each element of v, apart from itself.

    As in torch that is y / v, and where a single 0 made y 0, the product without it; for several it is taken as 0.
    """
    zero = eq(v, 0)
    alone = logical_and(zero, eq(places.read(places.added(zero.to(v.dtype), x.array.shape)), 1))
    without = _reduced("scatter_reduce", x, where(alone, 1.0, v), places, "prod")
    return where(alone, places.read(dy * without), places.read(dy * y) / where(zero, 1.0, v))


def _shared(x: Tensor, v: Tensor, places: Places, dy: Tensor, y: Tensor) -> Tensor:
    """dy over how many of the values, that of x among them, equal the extreme y."""
    winners = eq(v, places.read(y)).to(dtypes.accumulator(x.dtype))
    return (dy / (places.added(winners, x.array.shape) + eq(x, y))).to(dy.dtype)


def _in_place(x: Tensor, v: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    recorded = is_grad_enabled() and (x.requires_grad or v.requires_grad)
    y = function(x.clone() if recorded else x)
    return record_inplace(x, lambda: elementwise.copy_into(y.array, x.array), (y, lambda dy: dy))


def _scattered(name: str, x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool) -> Tensor:
    if reduce not in _FORMULAS:
        raise RuntimeError(f"{name}: reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if not isinstance(src, Tensor):
        raise TypeError(f"{name}(): argument 'src' must be Tensor, not {type(src).__name__}")
    whole, keys = keys_along(name, x, dim, index)
    values = source_for(name, x, keys, src)
    return reshape(_reduced(name, whole, values, Places(tuple(range(whole.ndim)), keys, include_self), reduce), x.shape)


@numpy_names
def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:
    """input with src[.., i, ..] folded in at [.., index[.., i, ..], ..] along one axis.

    `reduce` is "sum", "prod", "mean", "amax" or "amin"; what was there is left out unless `include_self`.
    """
    return into(out, "scatter_reduce", _scattered("scatter_reduce", input, dim, index, src, reduce, include_self))


@numpy_names
def scatter_reduce_(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`scatter_reduce` in place."""
    return _in_place(input, src, lambda x: _scattered("scatter_reduce_", x, dim, index, src, reduce, include_self))


def _index_reduced(name: str, x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, own: bool) -> Tensor:
    if reduce not in _FORMULAS or reduce == "sum":
        raise RuntimeError(f"{name}(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    whole, axis, keys, values = slices_for(name, x, dim, index, source, IndexError)
    return reshape(_reduced(name, whole, values, Places((axis,), keys, own), reduce), x.shape)


@numpy_names
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:
    """input with slices of `source` folded into those that a vector of positions names.

    `reduce` is "prod", "mean", "amax" or "amin"; what was there is left out unless `include_self`.
    """
    return into(out, "index_reduce", _index_reduced("index_reduce", input, dim, index, source, reduce, include_self))


@numpy_names
def index_reduce_(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`index_reduce` in place."""
    return _in_place(
        input, source, lambda x: _index_reduced("index_reduce_", x, dim, index, source, reduce, include_self)
    )
