"""x[key] and x[key] = value, by torch's rules.

Integers, slices, None and Ellipsis are dealt with first and give a view. Index tensors, masks, and lists and arrays
that mean either then pick rows of that view: index tensors broadcast together, a mask stands for the positions at which
it is True, along as many axes as it has. Their common shape comes where the first of them stood if they stand side by
side, else in front.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tritongrad.ops.layout import to_same_device
from tritongrad.ops.masking import masked_fill_
from tritongrad.ops.rows import clear, pick
from tritongrad.ops.slicing import erase, part
from tritongrad.ops.views import expand, movedim, reshape
from tritongrad.precision import widest
from tritongrad.tensor import Tensor, record, record_inplace
from tritongrad_kernels import dtypes, elementwise, formulas, gather, index
from tritongrad_kernels.array import Array, contiguous_strides, from_host
from tritongrad_kernels.gather import Keys

# ---------------------------------------------------------------------------------------------------- reading the key


@dataclass(frozen=True)
class Choice:
    """What a key says of a tensor.

    steps     methods of Array with their arguments that take a view
    reverses  whether one of them turns an axis around
    picks     (axis of that view, how many axes, index or mask) for each tensor in the key
    """

    steps: tuple[tuple, ...]
    reverses: bool
    picks: tuple[tuple[int, int, Tensor], ...]

    def place(self, a: Array) -> Array:
        for method, *arguments in self.steps:
            a = getattr(a, method)(*arguments)
        return a

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(axis + i for axis, count, _ in self.picks for i in range(count))

    @property
    def front(self) -> int:
        """Where the picked axes go: to that of the first if they are neighbours, else to the front."""
        axes = self.axes
        return axes[0] if axes == tuple(range(axes[0], axes[0] + len(axes))) else 0


def _choice(x: Tensor, key: Any) -> Choice:
    items = [_item(k, x) for k in _items(key)]
    consumed = sum(_consumes(k) for k in items)
    if consumed > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}: {consumed}")
    if not any(k is Ellipsis for k in items):
        items.append(Ellipsis)
    steps: list[tuple] = []
    picks: list[tuple[int, int, Tensor]] = []
    axis, source, reverses, skipped = 0, 0, False, x.ndim - consumed
    for k in items:
        if k is Ellipsis:  # a second one stands for nothing
            axis, source, skipped = axis + skipped, source + skipped, 0
        elif k is None:
            steps.append(("unsqueeze", axis))
            axis += 1
        elif isinstance(k, slice):
            start, stop, step = k.indices(x.array.shape[source])
            steps.append(("slice", axis, start, stop, step))
            reverses |= step < 0
            axis, source = axis + 1, source + 1
        elif isinstance(k, int):
            steps.append(("select", axis, _within(k, x, source)))
            source += 1
        else:
            if k.dtype is dtypes.bool_:
                _require_mask_fits(k, x, source)
            if not _consumes(k):  # a single True or False picks along a new axis of extent 1
                steps.append(("unsqueeze", axis))
            picks.append((axis, _consumes(k) or 1, k))
            axis, source = axis + (_consumes(k) or 1), source + _consumes(k)
    return Choice(tuple(steps), reverses, tuple(picks))


def _items(key: Any) -> Sequence[Any]:
    """The key as one item per place. A list that holds anything but numbers and lists of them is meant as a tuple."""
    if isinstance(key, tuple):
        return key
    if isinstance(key, list) and any(k is None or k is Ellipsis or isinstance(k, slice | Tensor) for k in key):
        return key
    return (key,)


def _item(k: Any, x: Tensor) -> Any:
    """None, Ellipsis, a slice, an int, or a tensor of int64, int32 or bool."""
    if k is None or k is Ellipsis or isinstance(k, slice):
        return k
    if isinstance(k, bool | np.bool_):
        return _constant(np.array(k), x)
    if isinstance(k, list | tuple | range | np.ndarray):
        values = np.asarray(k)
        k = _constant(values if values.size else values.astype(values.dtype if values.dtype == bool else np.int64), x)
    if isinstance(k, Tensor):
        if k.dtype is dtypes.uint8:
            warnings.warn("indexing with dtype uint8 is deprecated, use a bool tensor instead", stacklevel=4)
            k = k != 0
        if k.dtype not in (dtypes.int64, dtypes.int32, dtypes.bool_):
            raise IndexError(f"tensors used as indices must be int64, int32, uint8 or bool tensors, got {k.dtype.name}")
        return int(k) if k.ndim == 0 and k.dtype is not dtypes.bool_ else to_same_device(k, x)
    if hasattr(k, "__index__"):
        return k.__index__()
    raise IndexError(
        f"only integers, slices (`:`), ellipsis (`...`), None and tensors of integers or bools are valid indices (got "
        f"{type(k).__name__})"
    )


def _constant(values: np.ndarray, x: Tensor) -> Tensor:
    return Tensor(from_host(values, x.device))


def _consumes(k: Any) -> int:
    """How many axes of the tensor an item speaks of."""
    if k is None or k is Ellipsis:
        return 0
    return k.ndim if isinstance(k, Tensor) and k.dtype is dtypes.bool_ else 1


def _within(position: int, x: Tensor, axis: int) -> int:
    extent = x.array.shape[axis]
    if not -extent <= position < extent:
        raise IndexError(f"index {position} is out of bounds for dimension {axis} with size {extent}")
    return position % extent


def _require_mask_fits(mask: Tensor, x: Tensor, axis: int) -> None:
    if mask.array.shape != x.array.shape[axis : axis + mask.ndim]:
        raise IndexError(
            f"the shape of the mask {list(mask.shape)} does not match the shape of the indexed tensor {list(x.shape)} "
            f"at dimension {axis}"
        )


# ----------------------------------------------------------------------------------------------------- from key to rows


def _keys(shape: Sequence[int], choice: Choice) -> Keys:
    """The rows of a view of `shape` that its picks name together."""
    if len(choice.picks) == 1 and choice.picks[0][2].dtype is dtypes.bool_:
        mask = choice.picks[0][2]
        return Keys(index.nonzero(mask.array), max(mask.numel(), 1), rising=True)
    extents = [math.prod(shape[axis : axis + count]) for axis, count, _ in choice.picks]
    indices = [index.nonzero(k.array) if k.dtype is dtypes.bool_ else k.array for _, _, k in choice.picks]
    try:
        common = elementwise.broadcast_shapes(*(i.shape for i in indices))
    except ValueError:
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes "
            f"{', '.join(str(list(i.shape)) for i in indices)}"
        ) from None
    keys: Array | None = None
    for (axis, _, _), found, extent, step in zip(
        choice.picks, indices, extents, contiguous_strides(extents), strict=True
    ):
        keys = index.positions(found.expand(common), extent, _out_of_bounds(axis, extent), step=step, before=keys)
    assert keys is not None
    return Keys(keys, math.prod(extents))


def _out_of_bounds(axis: int, extent: int) -> Any:
    return lambda i: IndexError(f"index {i} is out of bounds for dimension {axis} with size {extent}")


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key]: a view for integers, slices, None and Ellipsis, else a copy. A negative step copies."""
    choice = _choice(x, key)
    shown = part(x, choice.place)
    if not choice.picks:
        return _contiguous_copy(shown) if choice.reverses else shown
    keys = _keys(shown.array.shape, choice)
    return _settled(pick(shown, choice.axes, keys), keys.array.ndim, choice.front)


def _contiguous_copy(x: Tensor) -> Tensor:
    return record(elementwise.contiguous(x.array, always=True), (x, lambda dy: dy))


def _settled(x: Tensor, count: int, front: int) -> Tensor:
    """x with its first `count` axes moved behind the `front` ones that follow."""
    return movedim(x, tuple(range(count)), tuple(range(front, front + count))) if front else x


def _unsettled(x: Tensor, count: int, front: int) -> Tensor:
    """The reverse of `_settled`."""
    return movedim(x, tuple(range(front, front + count)), tuple(range(count))) if front else x


# ---------------------------------------------------------------------------------------------------------- assignment


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, a number or a tensor that broadcasts to x[key]."""
    if not isinstance(value, Tensor | bool | int | float | np.number | np.bool_):
        raise TypeError(f"can't assign a {type(value).__name__} to a tensor")
    choice = _choice(x, key)
    if choice.picks:
        _set_rows(x, choice, value)
    else:
        _set_part(x, choice, value)


def _set_part(x: Tensor, choice: Choice, value: Any) -> None:
    place = choice.place
    target = place(x.array)
    if isinstance(value, Tensor):
        value = _fitting(value, x, target.shape)
        source = value.array
    else:
        dtypes.require_fit(value, x.dtype)

    def write() -> None:
        if isinstance(value, Tensor):
            elementwise.copy_into(source, target)
        else:
            elementwise.fill(target, value)

    record_inplace(x, write, (x, lambda dy: erase(dy, place)), (value, lambda dy: part(dy, place)))


def _set_rows(x: Tensor, choice: Choice, value: Any) -> None:
    target = choice.place(x.array)
    axis, count, mask = choice.picks[0]
    single = reshape(value, ()) if isinstance(value, Tensor) and value.numel() == 1 else value
    everything = target.shape == x.array.shape and not choice.reverses and len(choice.picks) == 1
    if everything and mask.dtype is dtypes.bool_ and not (isinstance(single, Tensor) and single.ndim):
        # One value wherever the mask is True: the host need not know where that is.
        masked_fill_(x, reshape(mask, (*(1,) * axis, *mask.shape, *(1,) * (x.ndim - axis - count))), single)
        return
    keys = _keys(target.shape, choice)
    _put_rows(x, choice, keys, target, _row_values(x, choice, keys, target, value), False)


def _row_values(x: Tensor, choice: Choice, keys: Keys, target: Array, value: Any) -> Tensor:
    """The value as [*shape of keys, *other axes]."""
    if not isinstance(value, Tensor):
        dtypes.require_fit(value, x.dtype)
        value = Tensor(elementwise.full((), value, x.dtype, x.device))
    if value.dtype is not x.dtype:
        raise RuntimeError(
            f"index_put: the value must have the dtype of the tensor it is put into, got {value.dtype.name} for "
            f"{x.dtype.name}"
        )
    rest = [n for a, n in enumerate(target.shape) if a not in choice.axes]
    shape = (*rest[: choice.front], *keys.array.shape, *rest[choice.front :])
    return _unsettled(_fitting(value, x, shape), keys.array.ndim, choice.front)


def _put_rows(x: Tensor, choice: Choice, keys: Keys, target: Array, value: Tensor, accumulate: bool) -> Tensor:
    axes, place, source = choice.axes, choice.place, value.array

    def write() -> None:
        if accumulate:
            gather.fold(formulas._add, target, axes, keys, source)
        else:
            gather.put(target, axes, keys, source)

    return record_inplace(
        x,
        write,
        (x, lambda dy: dy if accumulate else clear(dy, axes, keys, place)),
        (value, lambda dy: pick(part(dy, place), axes, keys)),
    )


def _fitting(value: Tensor, x: Tensor, shape: Sequence[int]) -> Tensor:
    """The value on x's device, broadcast to `shape`; as torch lets it, with more axes in front if they are 1."""
    here = to_same_device(value, x)
    if set(value.shape[: max(value.ndim - len(shape), 0)]) == {1}:
        here = reshape(here, value.shape[value.ndim - len(shape) :])
    try:
        return expand(here, tuple(shape))
    except RuntimeError:
        raise RuntimeError(
            f"setitem: a value of shape {list(value.shape)} does not fit the indexed shape {list(shape)}"
        ) from None


# ----------------------------------------------------------------------------------------------------------- index_put


def index_put_(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """input[indices] = values, or with `accumulate` += values, where one place may be named many times."""
    for i, k in enumerate(indices):
        if not isinstance(k, Tensor):
            raise TypeError(f"index_put_: expected a tensor as element {i} of indices, got {type(k).__name__}")
    choice = _choice(input, tuple(k if k.ndim else reshape(k, 1) for k in indices))
    if not choice.picks:
        raise RuntimeError("index_put_: expected at least one index")
    target = choice.place(input.array)
    keys = _keys(target.shape, choice)
    return _put_rows(input, choice, keys, target, _row_values(input, choice, keys, target, values), accumulate)


@widest
def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """`index_put_` on a copy of input."""
    return index_put_(input.clone(), indices, values, accumulate)
