"""Views, layout, joining and splitting: operations that move elements and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tritongrad.aliasing import View
from tritongrad.tensor import Tensor, as_device, duplicate, empty, record, record_inplace, to_device
from tritongrad_kernels import dtypes, elementwise, reduce
from tritongrad_kernels.array import Array, channels_last_strides, contiguous_strides
from tritongrad_kernels.memory import Device


def shape_of(sizes: tuple) -> tuple[int, ...]:
    """A shape from `f(2, 3)` or `f((2, 3))`."""
    if len(sizes) == 1 and isinstance(sizes[0], list | tuple):
        sizes = tuple(sizes[0])
    return tuple(int(n) for n in sizes)


def _view(x: Tensor, array: Array, gradient: Any) -> Tensor:
    """`array`, which shares the memory of x, recorded as a view of it."""
    result = record(array, (x, gradient))
    if array.memory is x.array.memory:
        result.aliasing = View(x, gradient)
    return result


# --------------------------------------------------------------------------------------------------------------- shape


def _resolve(x: Tensor, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """`shape` with its -1, if any, worked out."""
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known and x.numel() % known == 0:
        shape = tuple(x.numel() // known if n == -1 else n for n in shape)
    if any(n < 0 for n in shape) or math.prod(shape) != x.numel():
        raise RuntimeError(f"{name}: shape {list(shape)} is invalid for a tensor of shape {list(x.shape)}")
    return shape


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The elements in the same order under another shape; one extent may be -1. A view where memory allows."""
    new, old = _resolve(x, shape_of(shape), "reshape"), x.array.shape
    return _view(x, elementwise.reshape(x.array, new), lambda dy: reshape(dy, old))


def view(x: Tensor, *shape: Any) -> Tensor:
    """As `reshape`. Images are kept channels-last, so where torch could view a contiguous image this may copy."""
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        raise TypeError("view: reinterpreting the bytes as another dtype is not offered; use to(dtype) to convert")
    return reshape(x, *shape)


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of `other`."""
    return reshape(x, other.shape)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim joined into one."""
    if x.ndim == 0:
        return reshape(x, 1)
    start, end = x.axis(start_dim), x.axis(end_dim)
    if start > end:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = x.array.shape
    return reshape(x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


def squeeze(x: Tensor, dim: Any = None) -> Tensor:
    """Without its axes of extent 1, or without those of `dim` that have it."""
    axes = range(x.ndim) if dim is None else [x.axis(d) for d in (dim if isinstance(dim, list | tuple) else [dim])]
    gone = {a for a in axes if x.ndim and x.array.shape[a] == 1}
    array, shape = x.array, x.array.shape
    for a in sorted(gone, reverse=True):
        array = array.squeeze(a)
    return _view(x, array, lambda dy: reshape(dy, shape))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With an axis of extent 1 put in at `dim`."""
    if not -x.ndim - 1 <= dim <= x.ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-x.ndim - 1}, {x.ndim}], but got {dim})"
        )
    axis = dim % (x.ndim + 1)
    return _view(x, x.array.unsqueeze(axis), lambda dy: squeeze(dy, axis))


def permute(x: Tensor, *dims: Any) -> Tensor:
    """Axes in another order."""
    axes = tuple(x.axis(d) for d in shape_of(dims))
    if sorted(axes) != list(range(x.ndim)):
        raise RuntimeError(f"permute: {list(shape_of(dims))} is not an order of the {x.ndim} axes of {list(x.shape)}")
    back = tuple(axes.index(a) for a in range(x.ndim))
    return _view(x, x.array.permute(axes), lambda dy: permute(dy, back))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped."""
    axes = list(range(x.ndim))
    a, b = x.axis(dim0), x.axis(dim1)
    if x.ndim:
        axes[a], axes[b] = axes[b], axes[a]
    return permute(x, axes)


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or number as it is."""
    if x.ndim > 2:
        raise RuntimeError(f"t: expected a tensor of at most 2 dimensions, got shape {list(x.shape)}")
    return transpose(x, 0, 1) if x.ndim == 2 else x


def expand(x: Tensor, *shape: Any) -> Tensor:
    """Broadcast to a larger shape without copying; -1 keeps an extent."""
    wanted, old = shape_of(shape), x.array.shape
    lead = len(wanted) - len(old)
    new = tuple(old[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(wanted))
    try:
        if min(new, default=0) < 0:
            raise ValueError
        array = x.array.expand(new)
    except ValueError:
        raise RuntimeError(f"expand: a tensor of shape {list(old)} does not expand to {list(wanted)}") from None
    return _view(x, array, lambda dy: dy)  # the graph sums it down


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x broadcast to the shape of `other`."""
    return expand(x, other.shape)


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """x broadcast to `shape`."""
    return expand(x, tuple(shape))


def sum_to_size(x: Tensor, *shape: Any) -> Tensor:
    """x summed over the axes along which a tensor of `shape` would be broadcast to it: the transpose of `expand`."""
    target, full = shape_of(shape), x.array.shape
    try:
        fits = elementwise.broadcast_shapes(target, full) == full
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(f"sum_to_size: a tensor of shape {list(target)} does not broadcast to {list(full)}")
    lead = len(full) - len(target)
    axes = [a for a in range(len(full)) if a < lead or (target[a - lead] == 1 and full[a] != 1)]
    total = reduce.sum(x.array, axes) if axes else x.array
    return record(elementwise.reshape(total, target), (x, lambda dy: expand(dy, full)))


# ------------------------------------------------------------------------------------------------------------- indexing


def embed(dy: Tensor, shape: tuple[int, ...], place: Any) -> Tensor:
    """Zeros of `shape` with dy at the view `place` gives: the transpose of taking that view."""
    whole = elementwise.full(shape, 0, dy.dtype, dy.device)
    elementwise.copy_into(dy.array, place(whole))
    return record(whole, (dy, lambda g: _take(g, place)))


def _take(x: Tensor, place: Any) -> Tensor:
    shape = x.array.shape
    return _view(x, place(x.array), lambda dy: embed(dy, shape, place))


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """The sub-tensor at one position of an axis, which disappears."""
    axis = x.axis(dim)
    extent = x.size(dim) if x.ndim else 0
    if not -extent <= index < extent:
        raise IndexError(f"index {index} is out of bounds for dimension {axis} with size {extent}")
    return _take(x, lambda a: a.select(axis, index % extent))


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` positions of an axis, from `start`."""
    axis, extent = x.axis(dim), x.size(dim)
    first = start + extent if start < 0 else start
    if length < 0 or first < 0 or first + length > extent:
        raise RuntimeError(f"narrow: start {start} and length {length} exceed dimension {axis} of {list(x.shape)}")
    return _take(x, lambda a: a.slice(axis, first, first + length))


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key] for integers, slices, None and Ellipsis, each in place of an axis. A view; a negative step copies."""
    place, reverses = _place(x, key)
    taken = _take(x, place)
    return _contiguous_copy(taken) if reverses else taken


def _contiguous_copy(x: Tensor) -> Tensor:
    return record(elementwise.contiguous(x.array, always=True), (x, lambda dy: dy))


def _place(x: Tensor, key: Any) -> tuple[Any, bool]:
    """What indexing by `key` does to an array, as a function; whether it turns an axis around."""
    keys = list(key) if isinstance(key, tuple) else [key]
    consumed = sum(k is not None and k is not Ellipsis for k in keys)
    if consumed > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}: {consumed}")
    if Ellipsis not in [k for k in keys if not isinstance(k, Tensor)]:
        keys.append(Ellipsis)
    steps: list[tuple] = []  # methods of Array with their arguments
    axis, source, reverses = 0, 0, False
    for k in keys:
        if k is Ellipsis:
            axis, source = axis + x.ndim - consumed, source + x.ndim - consumed
        elif k is None:
            steps.append(("unsqueeze", axis))
            axis += 1
        elif isinstance(k, slice):
            start, stop, step = k.indices(x.array.shape[source])
            steps.append(("slice", axis, start, stop, step))
            reverses |= step < 0
            axis, source = axis + 1, source + 1
        elif isinstance(k, bool) or not hasattr(k, "__index__") or (isinstance(k, Tensor) and k.ndim):
            raise TypeError(f"indexing: expected integers, slices, None or Ellipsis, got {type(k).__name__}")
        else:
            index, extent = k.__index__(), x.array.shape[source]
            if not -extent <= index < extent:
                raise IndexError(f"index {index} is out of bounds for dimension {source} with size {extent}")
            steps.append(("select", axis, index % extent))
            source += 1

    def place(a: Array) -> Array:
        for method, *arguments in steps:
            a = getattr(a, method)(*arguments)
        return a

    return place, reverses


def erase(x: Tensor, place: Any) -> Tensor:
    """x with zeros at the view `place` gives."""
    erased = duplicate(x.array)
    elementwise.fill(place(erased), 0)
    return record(erased, (x, lambda dy: erase(dy, place)))


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value."""
    place, _ = _place(x, key)
    target = place(x.array)
    if isinstance(value, Tensor) and set(value.shape[: max(value.ndim - target.ndim, 0)]) == {1}:
        value = reshape(value, value.shape[value.ndim - target.ndim :])  # as torch, more axes in front if they are 1
    source: Any = value
    if isinstance(value, Tensor):
        try:
            source = to_same_device(value, x).array.expand(target.shape)
        except ValueError:
            raise RuntimeError(
                f"setitem: a value of shape {list(value.shape)} does not fit the indexed shape {list(target.shape)}"
            ) from None

    def write() -> None:
        if isinstance(source, Array):
            elementwise.copy_into(source, target)
        else:
            elementwise.fill(target, source)

    record_inplace(
        x,
        write,
        (x, lambda dy: erase(dy, place)),
        (value, lambda dy: _take(dy, place)),
    )


# --------------------------------------------------------------------------------------------------- joining, splitting


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along an existing axis."""
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("cat: expected a non-empty list of tensors")
    used = [t for t in tensors if t.array.shape != (0,)] or tensors[:1]  # torch lets empty vectors through
    axis = used[0].axis(dim)
    shapes = [t.array.shape for t in used]
    if () in shapes:
        raise RuntimeError("cat: a tensor of no dimensions has no axis to join along; use stack")
    if any(
        len(s) != len(shapes[0]) or s[:axis] != shapes[0][:axis] or s[axis + 1 :] != shapes[0][axis + 1 :]
        for s in shapes
    ):
        raise RuntimeError(f"cat: shapes {', '.join(str(list(s)) for s in shapes)} differ outside dimension {axis}")
    kind = used[0].dtype
    for t in used[1:]:
        kind = dtypes.promote(kind, t.dtype)
    total = sum(s[axis] for s in shapes)
    whole = empty((*shapes[0][:axis], total, *shapes[0][axis + 1 :]), kind, used[0].device)
    edges, start = [], 0
    for t in used:
        extent = t.array.shape[axis]
        elementwise.copy_into(t.array, whole.slice(axis, start, start + extent))
        edges.append((t, _narrowing(axis, start, extent)))
        start += extent
    return record(whole, *edges)


def _narrowing(axis: int, start: int, length: int) -> Any:
    return lambda dy: narrow(dy, axis, start, length)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    if not tensors:
        raise RuntimeError("stack: expected a non-empty list of tensors")
    if any(t.shape != tensors[0].shape for t in tensors):
        raise RuntimeError(f"stack: shapes {', '.join(str(list(t.shape)) for t in tensors)} differ")
    return cat([unsqueeze(t, dim) for t in tensors], dim)


def split(x: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in pieces of `split_size`, or of the listed sizes."""
    axis, extent = x.axis(dim), x.size(dim)
    if isinstance(split_size, int):
        sizes = [min(split_size, extent - i) for i in range(0, extent, split_size)] or [0]
    else:
        sizes = list(split_size)
        if sum(sizes) != extent:
            raise RuntimeError(f"split: sizes {sizes} do not add up to {extent}, the extent of dimension {axis}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(narrow(x, axis, a, n) for a, n in zip(starts, sizes, strict=True))


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in at most `chunks` equal pieces, the last one smaller."""
    return split(x, max(-(-x.size(dim) // chunks), 1), dim)


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The sub-tensors along an axis."""
    return tuple(select(x, dim, i) for i in range(x.size(dim)))


def flip(x: Tensor, *dims: Any) -> Tensor:
    """A copy with the order of elements along some axes reversed."""
    axes = tuple(x.axis(d) for d in shape_of(dims))
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"flip: {list(shape_of(dims))} names an axis of {list(x.shape)} more than once")
    return record(elementwise.flip(x.array, axes), (x, lambda dy: flip(dy, axes)))


# --------------------------------------------------------------------------------------------------- copies and layouts


def clone(x: Tensor, memory_format: Any = None) -> Tensor:
    """A copy in memory of its own."""
    return record(duplicate(x.array), (x, lambda dy: dy))


def contiguous(x: Tensor, memory_format: Any = None) -> Tensor:
    """x in C order, or channels-last if asked for; x itself where it already is."""
    shape = x.array.shape
    last = str(memory_format) == "channels_last"
    strides = channels_last_strides(shape) if last else contiguous_strides(shape)
    if x.array.has_strides(strides):
        return x
    return record(elementwise.in_order(x.array, strides), (x, lambda dy: dy))


def to_same_device(x: Tensor, like: Tensor) -> Tensor:
    """x on the device of `like`."""
    return move(x, like.device)


def move(x: Tensor, device: Device) -> Tensor:
    """x on another device; x itself if it is there."""
    if x.device == device:
        return x
    source = x.device
    dense = x.array if x.array.dense_order() is not None else elementwise.contiguous(x.array)
    return record(to_device(dense, device), (x, lambda dy: move(dy, source)))


def cast(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    """x in another dtype; x itself if it has it."""
    if x.dtype is dtype:
        return x
    return record(elementwise.cast(x.array, dtype), (x, lambda dy: dy))


def to(
    x: Tensor,
    *args: Any,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """x with another dtype, device or memory format, or those of another tensor; itself if nothing changes.

    `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`, or by keyword.
    """
    for a in args:
        if isinstance(a, dtypes.dtype):
            dtype = a
        elif isinstance(a, Tensor):
            dtype, device = a.dtype, a.device
        elif a is not None and not isinstance(a, bool):
            device = a
    y = x if device is None else move(x, as_device(device) or x.device)
    y = y if dtype is None else cast(y, dtype)
    y = y if memory_format is None else contiguous(y, memory_format)
    return clone(y) if copy and y is x else y
