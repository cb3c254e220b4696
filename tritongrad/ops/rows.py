"""Reading and writing the rows of a tensor that keys name: what all indexing by values comes down to.

`axes` of the tensor count the rows, and a `Keys` names some; see `tritongrad_kernels.gather`. Each of these functions
is linear in its tensors, and the gradient of each is another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.tensor import Tensor, duplicate, record, record_inplace
from tritongrad_kernels import elementwise, formulas, gather
from tritongrad_kernels.array import Array
from tritongrad_kernels.gather import Keys

Place = Callable[[Array], Array]
"""What a view shows of an array."""


def whole(a: Array) -> Array:
    """The view that shows all of an array."""
    return a


def pick(x: Tensor, axes: Sequence[int], keys: Keys) -> Tensor:
    """The named rows, [*shape of keys, *other axes of x]."""
    shape = x.array.shape
    return record(gather.take(x.array, axes, keys), (x, lambda dy: spread(dy, shape, axes, keys)))


def spread(v: Tensor, shape: Sequence[int], axes: Sequence[int], keys: Keys) -> Tensor:
    """Zeros of `shape` with v added to the named rows, in order: the transpose of `pick`."""
    total = elementwise.full(shape, 0, v.dtype, v.device)
    gather.fold(formulas._add, total, axes, keys, v.array)
    return record(total, (v, lambda g: pick(g, axes, keys)))


def clear(x: Tensor, axes: Sequence[int], keys: Keys, place: Place = whole) -> Tensor:
    """x with zeros in the named rows of the part that `place` shows."""
    cleared = duplicate(x.array)
    _overwrite(place(cleared), axes, keys, elementwise.full((), 0, x.dtype, x.device))
    return record(cleared, (x, lambda dy: clear(dy, axes, keys, place)))


def put(x: Tensor, axes: Sequence[int], keys: Keys, v: Tensor, inplace: bool) -> Tensor:
    """x with v [*shape of keys, *other axes of x] in the named rows; the last of several stays."""
    return write(
        x,
        inplace,
        lambda a: gather.put(a, axes, keys, v.array),
        (x, lambda dy: clear(dy, axes, keys)),
        (v, lambda dy: pick(dy, axes, keys)),
    )


def add(x: Tensor, axes: Sequence[int], keys: Keys, v: Tensor, inplace: bool) -> Tensor:
    """x with v [*shape of keys, *other axes of x] added to the named rows, in order."""
    return write(
        x,
        inplace,
        lambda a: gather.fold(formulas._add, a, axes, keys, v.array),
        (x, lambda dy: dy),
        (v, lambda dy: pick(dy, axes, keys)),
    )


def write(x: Tensor, inplace: bool, function: Callable[[Array], Any], *edges: Any) -> Tensor:
    """The result of `function`, which writes to an array: x itself, or a copy of it."""
    if inplace:
        return record_inplace(x, lambda: function(x.array), *edges)
    written = duplicate(x.array)
    function(written)
    return record(written, *edges)


def _overwrite(x: Array, axes: Sequence[int], keys: Keys, value: Array) -> None:
    rest = [x.shape[a] for a in range(x.ndim) if a not in axes]
    gather.put(x, axes, keys, value.expand((*keys.array.shape, *rest)))
