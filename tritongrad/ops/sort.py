"""Sorting along an axis, the order it gives, and what follows from an order.

Every sort is stable, and NaN is the largest. Indices are int64 positions along the axis.
"""

from __future__ import annotations

from typing import Any

from tritongrad.ops import return_types
from tritongrad.ops.along import take_along, without
from tritongrad.ops.comparison import logical_and, logical_not, ne
from tritongrad.ops.gather import gather
from tritongrad.ops.joining import cat
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into, refuse, require_tensor, result_type
from tritongrad.ops.reduce import any, require_choice
from tritongrad.ops.scan import cumsum
from tritongrad.ops.slicing import narrow
from tritongrad.ops.views import movedim, reshape
from tritongrad.tensor import Tensor, get_default_dtype
from tritongrad_kernels import dtypes, elementwise, sort as kernel


def _order(input: Tensor, axis: int, descending: bool) -> Tensor:
    return Tensor(kernel.argsort(input.array, axis, descending))


@numpy_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None
) -> return_types.sort:
    """(values, indices) along `dim` in rising order, or falling. Always stable."""
    axis = input.axis(dim)
    indices = _order(input, axis, descending)
    return _pair(return_types.sort, "sort", take_along(input, indices, axis), indices, out)


def _pair(kind: Any, name: str, values: Tensor, indices: Tensor, out: Any) -> Any:
    if out is not None:
        values, indices = into(out[0], name, values), into(out[1], name, indices)
    return kind(values, indices)


@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along `dim`. Always stable."""
    return _order(input, input.axis(dim), descending)


def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The values sorted along the first axis."""
    return into(out, "msort", sort(input, 0)[0])


@numpy_names
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None
) -> return_types.topk:
    """(values, indices) of the k largest (or smallest) along `dim`, always sorted; of equals the first."""
    axis = input.axis(dim)
    extent = input.size(axis) if input.ndim else 1
    if input.dtype is dtypes.bool_:
        raise RuntimeError("topk does not support bool dtypes")
    if not 0 <= k <= extent:
        raise RuntimeError(f"topk: selected index k out of range: {k} of the {extent} along dimension {axis}")
    indices = _order(input, axis, largest)
    if input.ndim:
        indices = Tensor(elementwise.contiguous(indices.array.slice(axis, 0, k)))
    return _pair(return_types.topk, "topk", take_along(input, indices, axis), indices, out)


def picked(kind: Any, name: str, x: Tensor, order: Tensor, position: int | Tensor, axis: int, keepdim: bool) -> Any:
    """The pair of the element at one position (for all rows, or one each, `axis` kept) of the order along an axis."""
    if not x.ndim:
        return kind(take_along(x, order, axis), order)
    if isinstance(position, Tensor):
        index = take_along(order, position, axis)
    else:
        index = Tensor(elementwise.contiguous(order.array.slice(axis, position, position + 1)))
    return kind(without(take_along(x, index, axis), axis, keepdim), without(index, axis, keepdim))


@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> return_types.kthvalue:
    """(values, indices) of the k-th smallest along `dim`, counted from 1."""
    axis = input.axis(dim)
    require_choice("kthvalue", input, axis)
    refuse("kthvalue", input.dtype, "b")
    if not 1 <= k <= (input.size(axis) if input.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
    found = picked(return_types.kthvalue, "kthvalue", input, _order(input, axis, False), k - 1, axis, keepdim)
    return found if out is None else _pair(return_types.kthvalue, "kthvalue", found[0], found[1], out)


# ------------------------------------------------------------------------------------------------------------ searching


def _search(name: str, edges: Tensor, values: Tensor, right: bool, out_int32: bool, out: Tensor | None) -> Tensor:
    kind = dtypes.promote(edges.dtype, values.dtype)
    found = Tensor(kernel.search(edges.to(kind).array, values.to(kind).array, right))
    return into(out, name, found.to(dtypes.int32) if out_int32 else found)


def _as_value(input: Any, like: Tensor) -> Tensor:
    if isinstance(input, Tensor):
        return input
    kind = dtypes.of_scalar(input, get_default_dtype())
    return Tensor(elementwise.full((), input, dtypes.float64 if kind.is_floating_point else kind, like.device))


def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where in the last axis of `sorted_sequence` the values would be inserted: before equals, or after (`right`).

    The sequence has one axis, or the axes of `input` up to the last; `sorter` holds the indices that sort it.
    """
    require_tensor("searchsorted", sorted_sequence=sorted_sequence)
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if right and side == "left":
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    values = _as_value(input, sorted_sequence)
    shape = sorted_sequence.array.shape
    if not shape or (len(shape) > 1 and (shape[:-1] != values.array.shape[:-1] or not values.ndim)):
        raise RuntimeError(
            f"torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(shape)} and input value "
            f"tensor {list(values.shape)}"
        )
    if sorter is not None:
        if sorter.array.shape != shape or sorter.dtype is not dtypes.int64:
            raise RuntimeError(
                f"torch.searchsorted(): sorter must be int64 and of the shape of the sequence {list(shape)}, got "
                f"{sorter.dtype.name}{list(sorter.shape)}"
            )
        sorted_sequence = gather(sorted_sequence.detach(), -1, sorter)
    return _search("searchsorted", sorted_sequence, values, right or side == "right", out_int32, out)


def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False, out: Tensor | None = None
) -> Tensor:
    """The bucket of each value between rising boundaries: how many are below it, or not above it (`right`)."""
    if boundaries.ndim != 1:
        raise RuntimeError(f"bucketize: boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return _search("bucketize", boundaries, _as_value(input, boundaries), right, out_int32, out)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False, out: Tensor | None = None
) -> Tensor:
    """Where elements are among `test_elements`; one of both may be a number. NaN is never."""
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise RuntimeError("isin: expected at least one tensor")
    for t in (elements, test_elements):
        if isinstance(t, Tensor) and t.dtype is dtypes.bool_:
            raise RuntimeError("isin: not defined for bool tensors")
    kind = result_type(elements, test_elements)
    like = elements if isinstance(elements, Tensor) else test_elements
    x, tests = _as_value(elements, like).detach().to(kind), _as_value(test_elements, like).detach().to(kind)
    edges = kernel.ordered(sort(reshape(tests, (tests.numel(),)))[0].array)
    keys = kernel.ordered(x.array)
    after, before = (Tensor(kernel.search(edges, keys, right)) for right in (True, False))
    found = logical_and(after != before, x == x)
    return into(out, "isin", logical_not(found) if invert else found)


# ------------------------------------------------------------------------------------------------------------- distinct


def _starts(differs: Tensor) -> Tensor:
    """True, then whether each element differs from the one before, for a non-empty row of comparisons."""
    first = Tensor(elementwise.full((1,), 1, dtypes.bool_, differs.device))
    return cat([first, differs])


def _groups(starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For flags that say where groups of neighbours start: each element's group, each group's start and its size."""
    number = cumsum(starts, 0)
    count = int(narrow(number, 0, number.numel() - 1, 1).item())
    edges = Tensor(elementwise.iota(count + 1, starts.device)) + 1
    bounds = Tensor(kernel.search(number.array, edges.array, False))
    first = narrow(bounds, 0, 0, count)
    return number - 1, first, narrow(bounds, 0, 1, count) - first


def _distinct(slices: Tensor, order: Tensor | None, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The first slice of each group of equal neighbours along axis 0, each slice's group, and each group's size.

    Where the slices are sorted, `order` says where each came from; the groups are in that order, in `shape`.
    """
    n = slices.size(0)
    if n == 0:
        none = Tensor(elementwise.full((0,), 0, dtypes.int64, slices.device))
        return slices, reshape(none, shape), none
    differs = ne(narrow(slices, 0, 1, n - 1), narrow(slices, 0, 0, n - 1))
    while differs.ndim > 1:
        differs = any(differs, -1)
    group, first, counts = _groups(_starts(differs))
    index = reshape(first, [first.numel()] + [1] * (slices.ndim - 1))
    values = take_along(slices, index.expand((first.numel(), *slices.shape[1:])), 0)
    inverse = group if order is None else Tensor(kernel.put_along(group.array, order.array, 0, n))
    return values, reshape(inverse, shape), counts


def _asked(values: Tensor, inverse: Tensor, counts: Tensor, return_inverse: bool, return_counts: bool) -> Any:
    given = [values, *([inverse] if return_inverse else []), *([counts] if return_counts else [])]
    return tuple(given) if len(given) > 1 else values


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements in rising order, or the distinct slices along `dim` in lexicographic order.

    With `return_inverse` also where each element went, with `return_counts` how often each came. NaN differs from NaN.
    How many there are is known only once they are counted: a GPU is waited for.
    """
    if dim is None:
        shape, x = input.array.shape, reshape(input.detach(), (input.numel(),))
        order = _order(x, 0, False)
        slices = take_along(x, order, 0)
        found = _distinct(slices, order, shape)
        return _asked(*found, return_inverse, return_counts)
    axis = input.axis(dim)
    x = movedim(input.detach(), axis, 0)
    if x.size(0) == 0:
        return _asked(input.detach(), *(_no_indices(x),) * 2, return_inverse, return_counts)
    columns = _slices(input, axis)
    order = Tensor(elementwise.iota(x.size(0), x.device))
    for c in reversed(range(columns.size(1))):  # the last column first: stable sorts keep what it decided
        key = take_along(Tensor(columns.array.select(1, c)), order, 0)
        order = take_along(order, _order(key, 0, False), 0)
    index = reshape(order, (-1, 1)).expand(columns.shape)
    values, inverse, counts = _distinct(take_along(columns, index, 0), order, (x.size(0),))
    values = movedim(reshape(values, (values.size(0), *x.shape[1:])), 0, axis)
    return _asked(values, inverse, counts, return_inverse, return_counts)


def _slices(input: Tensor, axis: int) -> Tensor:
    """The slices along an axis as the rows of a matrix."""
    if 0 in [n for a, n in enumerate(input.array.shape) if a != axis]:
        raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    x = movedim(input.detach(), axis, 0)
    return reshape(x, (x.size(0), x.numel() // x.size(0)))


def _no_indices(x: Tensor) -> Tensor:
    return Tensor(elementwise.full((0,), 0, dtypes.int64, x.device))


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or the slices along `dim`, that differ from the one before; otherwise as `unique`."""
    if dim is None:
        shape, x = input.array.shape, reshape(input.detach(), (input.numel(),))
        found = _distinct(x, None, shape)
        return _asked(*found, return_inverse, return_counts)
    axis = input.axis(dim)
    x = movedim(input.detach(), axis, 0)
    if x.size(0) == 0:
        return _asked(input.detach(), *(_no_indices(x),) * 2, return_inverse, return_counts)
    columns = _slices(input, axis)
    values, inverse, counts = _distinct(columns, None, (x.size(0),))
    values = movedim(reshape(values, (values.size(0), *x.shape[1:])), 0, axis)
    return _asked(values, inverse, counts, return_inverse, return_counts)
