"""Elements chosen by a condition: filled, selected, found."""

from __future__ import annotations

import math
from typing import Any

from tritongrad.ops.comparison import where as _where
from tritongrad.ops.operands import into
from tritongrad.ops.rows import pick, put
from tritongrad.ops.views import expand, reshape
from tritongrad.tensor import Tensor, record, record_inplace
from tritongrad_kernels import dtypes, elementwise, formulas, index
from tritongrad_kernels.array import Array
from tritongrad_kernels.gather import Keys


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """input where the condition holds, else other; alone, the coordinates where it does, as `nonzero`."""
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    return _where(condition, input, other, out=out)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input, broadcast with the mask, with `value` where the mask is True, in input's dtype."""
    chosen, number = _filling("masked_fill", input, mask, value)
    whole = expand(input, _common("masked_fill", input, mask))
    filled = elementwise.map(formulas._where, chosen, number.array, whole.array, dtype=input.dtype, compute=input.dtype)
    return record(filled, *_filling_edges(whole, chosen, number))


def masked_fill_(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Write `value`, a number or a tensor of no dimensions, where the mask is True."""
    chosen, number = _filling("masked_fill_", x, mask, value)
    if _common("masked_fill_", x, mask) != x.array.shape:
        raise RuntimeError(f"masked_fill_: the mask of shape {list(mask.shape)} does not fit the shape {list(x.shape)}")

    def write() -> None:
        elementwise.map(formulas._where, chosen, number.array, x.array, out=x.array, compute=x.dtype)

    return record_inplace(x, write, *_filling_edges(x, chosen, number))


def _filling(name: str, x: Tensor, mask: Tensor, value: Any) -> tuple[Array, Tensor]:
    """The mask, and the value as a tensor of no dimensions."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"{name}: the mask must be a bool tensor, got {mask.dtype.name}")
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"{name}: the value must be a number or a 0-d tensor, got shape {list(value.shape)}")
    if isinstance(value, Tensor):
        return mask.array, value.to(x.device, x.dtype)
    dtypes.require_fit(value, x.dtype)
    return mask.array, Tensor(elementwise.full((), value, x.dtype, x.device))


def _filling_edges(x: Tensor, chosen: Array, number: Tensor) -> tuple:
    return (
        (x, lambda dy: _where(Tensor(chosen), 0.0, dy)),
        (number, lambda dy: _where(Tensor(chosen), dy, 0.0)),
    )


def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements, of input and the mask broadcast together, at which the mask is True: a vector, in C order."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_select: the mask must be a bool tensor, got {mask.dtype.name}")
    shape = _common("masked_select", input, mask)
    return into(out, "masked_select", pick(expand(input, shape), tuple(range(len(shape))), _marked(mask, shape)))


def masked_scatter_(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Write the first elements of `source`, in C order, to the places of x at which the mask is True."""
    shape = _common("masked_scatter_", x, mask)
    if shape != x.array.shape:
        raise RuntimeError(
            f"masked_scatter_: the mask of shape {list(mask.shape)} does not fit the shape {list(x.shape)}"
        )
    return _masked_scatter(x, mask, source, True)


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input, broadcast with the mask, with the first elements of `source` where the mask is True."""
    return _masked_scatter(expand(input, _common("masked_scatter", input, mask)), mask, source, False)


def _masked_scatter(x: Tensor, mask: Tensor, source: Tensor, inplace: bool) -> Tensor:
    if mask.dtype is not dtypes.bool_ or source.dtype is not x.dtype:
        raise RuntimeError(
            f"masked_scatter: expected a bool mask and a source of dtype {x.dtype.name}, got {mask.dtype.name} and "
            f"{source.dtype.name}"
        )
    keys = _marked(mask, x.array.shape)
    count = keys.array.size
    if source.numel() < count:
        raise RuntimeError(f"masked_scatter: {source.numel()} elements are too few for {count} places of the mask")
    values = reshape(source, source.numel())[:count]
    return put(x, tuple(range(x.ndim)), keys, values, inplace)


def _common(name: str, x: Tensor, mask: Tensor) -> tuple[int, ...]:
    try:
        return elementwise.broadcast_shapes(x.array.shape, mask.array.shape)
    except ValueError:
        raise RuntimeError(
            f"{name}: the shapes {list(x.shape)} and, of the mask, {list(mask.shape)} do not broadcast together"
        ) from None


def _marked(mask: Tensor, shape: tuple[int, ...]) -> Keys:
    return Keys(index.nonzero(mask.array.expand(shape)), max(math.prod(shape), 1), rising=True)


def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False) -> Any:
    """The coordinates [count, axes] of the elements that are not 0, in C order; or a tuple of one tensor per axis.

    As a tuple, a tensor of no dimensions counts as one of one element.
    """
    a = input.array.view((1,), (1,)) if as_tuple and not input.ndim else input.array
    found = Tensor(index.coordinates(index.nonzero(a), a.shape))
    return found.unbind(1) if as_tuple else into(out, "nonzero", found)


def argwhere(input: Tensor) -> Tensor:
    """The coordinates [count, axes] of the elements that are not 0, in C order."""
    return nonzero(input)


# ------------------------------------------------------------------------------------------------------------ triangles


def tril(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The lower triangle of matrices, up to and with a diagonal counted from the main one; zeros above it."""
    return into(out, "tril", _triangle("tril", input, diagonal, True))


def triu(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The upper triangle of matrices, from a diagonal counted from the main one; zeros below it."""
    return into(out, "triu", _triangle("triu", input, diagonal, False))


def tril_(x: Tensor, diagonal: int = 0) -> Tensor:
    """`tril` in place."""
    return masked_fill_(x, ~_band("tril_", x, diagonal, True), 0)


def triu_(x: Tensor, diagonal: int = 0) -> Tensor:
    """`triu` in place."""
    return masked_fill_(x, ~_band("triu_", x, diagonal, False), 0)


def _triangle(name: str, x: Tensor, diagonal: int, lower: bool) -> Tensor:
    band = _band(name, x, diagonal, lower).array
    zero = elementwise.full((), 0, x.dtype, x.device)
    kept = elementwise.map(formulas._where, band, x.array, zero, dtype=x.dtype, compute=x.dtype)
    return record(kept, (x, lambda dy: _triangle(name, dy, diagonal, lower)))


def _band(name: str, x: Tensor, diagonal: int, lower: bool) -> Tensor:
    """Where a matrix of the extents of x lies on the wanted side of a diagonal, as bools."""
    if x.ndim < 2:
        raise RuntimeError(f"{name}: expected a tensor of at least 2 dimensions, got shape {list(x.shape)}")
    rows, columns = x.array.shape[-2:]
    i = elementwise.iota(rows, x.device).view((rows, 1), (1, 1))
    j = elementwise.iota(columns, x.device).view((1, columns), (1, 1))
    shifted = elementwise.map(formulas._add, i, diagonal, compute=dtypes.int64)
    operands: tuple[Array, Array] = (j, shifted) if lower else (shifted, j)
    return Tensor(elementwise.map(formulas._le, *operands, dtype=dtypes.bool_, compute=dtypes.int64))
