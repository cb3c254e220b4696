"""Views: the same elements under another shape. A copy is made only where memory allows no view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tritongrad.aliasing import View
from tritongrad.ops.layout import contiguous
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.tensor import Size, Tensor, record
from tritongrad_kernels import dtypes, elementwise, reduce
from tritongrad_kernels.array import Array


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


# --------------------------------------------------------------------------------------------------------- other shapes


def _resolve(x: Tensor, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """`shape` with its -1, if any, worked out."""
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known and x.numel() % known == 0:
        shape = tuple(x.numel() // known if n == -1 else n for n in shape)
    if any(n < 0 for n in shape) or math.prod(shape) != x.numel():
        raise RuntimeError(f"{name}: shape {list(shape)} is invalid for a tensor of shape {list(x.shape)}")
    return shape


def reshape(input: Tensor, *sizes: Any, shape: Sequence[int] | None = None) -> Tensor:
    """The elements in the same order under another shape; one extent may be -1. A view where memory allows."""
    new = _resolve(input, shape_of(sizes if shape is None else (tuple(shape),)), "reshape")
    old = input.array.shape
    return _view(input, elementwise.reshape(input.array, new), lambda dy: reshape(dy, old))


def view(x: Tensor, *sizes: Any, size: Sequence[int] | None = None, dtype: dtypes.dtype | None = None) -> Tensor:
    """As `reshape`, or the bytes read as another dtype.

    Images are kept channels-last, so where torch could view a contiguous image this may copy.
    """
    if dtype is None and len(sizes) == 1 and isinstance(sizes[0], dtypes.dtype):
        dtype = sizes[0]
    return _reinterpreted(x, dtype) if dtype is not None else reshape(x, *sizes, shape=size)


def _reinterpreted(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    """The bytes of x as elements of `dtype`; where those have another size, the last axis grows or shrinks."""
    a, old, new = x.array, x.dtype.itemsize, dtype.itemsize
    if old == new:
        return Tensor(a.view(a.shape, a.strides, dtype=dtype))
    if not a.ndim or (a.shape[-1] > 1 and a.strides[-1] != 1):
        raise RuntimeError(
            f"view: reading {x.dtype.name} as {dtype.name} needs a last dimension of stride 1, got shape "
            f"{list(a.shape)} with strides {list(a.strides)}"
        )
    lengths = (a.offset, a.shape[-1], *a.strides[:-1])
    if any(n * old % new for n in lengths):
        raise RuntimeError(
            f"view: the offset {a.offset}, the last extent and the strides of shape {list(a.shape)} must be divisible "
            f"by {new // old} to read {x.dtype.name} as {dtype.name}"
        )
    offset, last, *strides = (n * old // new for n in lengths)
    return Tensor(a.view((*a.shape[:-1], last), (*strides, 1), offset, dtype))


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of `other`."""
    return reshape(x, other.shape)


def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of `other`."""
    return reshape(x, other.shape)


def ravel(input: Tensor) -> Tensor:
    """input as one axis."""
    return reshape(contiguous(input), (input.numel(),))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim joined into one."""
    start, end = input.axis(start_dim), input.axis(end_dim)
    if input.ndim == 0:
        return reshape(input, 1)
    if start == end:
        return input
    if start > end:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = input.array.shape
    return reshape(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@numpy_names
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis taken apart into several of `sizes`, one of which may be -1."""
    axis, shape, wanted = input.axis(dim), input.array.shape, shape_of((sizes,))
    known, extent = math.prod(n for n in wanted if n != -1), input.size(dim) if input.ndim else 1
    fits = extent % known == 0 if wanted.count(-1) == 1 and known else known == extent and -1 not in wanted
    if not wanted or not input.ndim or not fits:
        raise RuntimeError(
            f"unflatten: sizes {list(wanted)} don't multiply up to {extent}, the size of dimension {axis} of "
            f"{list(shape)}"
        )
    parts = tuple(extent // known if n == -1 else n for n in wanted)
    return reshape(input, (*shape[:axis], *parts, *shape[axis + 1 :]))


@numpy_names
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without its axes of extent 1, or without those of `dim` that have it."""
    axes = (
        range(input.ndim) if dim is None else [input.axis(d) for d in (dim if isinstance(dim, list | tuple) else [dim])]
    )
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"squeeze: {dim} names a dimension of {list(input.shape)} more than once")
    array, shape = input.array, input.array.shape
    for a in sorted((a for a in axes if input.ndim and shape[a] == 1), reverse=True):
        array = array.squeeze(a)
    return _view(input, array, lambda dy: reshape(dy, shape))


@numpy_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With an axis of extent 1 put in at `dim`."""
    if not -input.ndim - 1 <= dim <= input.ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-input.ndim - 1}, {input.ndim}], but got {dim})"
        )
    axis = dim % (input.ndim + 1)
    return _view(input, input.array.unsqueeze(axis), lambda dy: squeeze(dy, axis))


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least 1 axis: one, or a tuple of several."""
    return _each(tensors, lambda x: x if x.ndim else reshape(x, 1))


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least 2 axes, new ones in front."""
    return _each(tensors, lambda x: x if x.ndim > 1 else unsqueeze(atleast_1d(x), 0))


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least 3 axes; a matrix gets its new one at the end."""
    return _each(tensors, lambda x: x if x.ndim > 2 else unsqueeze(atleast_2d(x), -1))


def _each(tensors: tuple, function: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return function(tensors[0])
    return tuple(function(t) for t in (tensors[0] if len(tensors) == 1 else tensors))


# -------------------------------------------------------------------------------------------------------- order of axes


def permute(input: Tensor, *order: Any, dims: Sequence[int] | None = None) -> Tensor:
    """Axes in another order."""
    wanted = shape_of(order if dims is None else (tuple(dims),))
    axes = tuple(input.axis(d) for d in wanted)
    if sorted(axes) != list(range(input.ndim)):
        raise RuntimeError(f"permute: {list(wanted)} is not an order of the {input.ndim} axes of {list(input.shape)}")
    back = tuple(axes.index(a) for a in range(input.ndim))
    return _view(input, input.array.permute(axes), lambda dy: permute(dy, back))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped."""
    axes = list(range(input.ndim))
    a, b = input.axis(dim0), input.axis(dim1)
    if input.ndim:
        axes[a], axes[b] = axes[b], axes[a]
    return permute(input, axes)


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two axes swapped: `transpose` by the name numpy gives it."""
    return transpose(input, axis0, axis1)


def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped: `transpose` by another name."""
    return transpose(input, dim0, dim1)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Axes `source` moved to the positions `destination`, the others keeping their order; numbers or lists of them."""
    if isinstance(source, int) != isinstance(destination, int):
        raise TypeError(f"movedim: expected two numbers or two lists of them, got {source} and {destination}")
    sources, targets = shape_of((source,)), shape_of((destination,))
    old, new = [input.axis(d) for d in sources], [input.axis(d) for d in targets]
    if len(old) != len(new) or len(set(old)) != len(old) or len(set(new)) != len(new):
        raise RuntimeError(
            f"movedim: source {list(sources)} and destination {list(targets)} must name as many dimensions, none twice"
        )
    axes = [a for a in range(input.ndim) if a not in old]
    for target, axis in sorted(zip(new, old, strict=True)):
        axes.insert(target, axis)
    return permute(input, axes[: input.ndim])


def moveaxis(input: Tensor, source: Any, destination: Any) -> Tensor:
    """`movedim` by the name numpy gives it."""
    return movedim(input, source, destination)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or number as it is."""
    if input.ndim > 2:
        raise RuntimeError(f"t: expected a tensor of at most 2 dimensions, got shape {list(input.shape)}")
    return transpose(input, 0, 1) if input.ndim == 2 else input


def adjoint(input: Tensor) -> Tensor:
    """The last two axes swapped: what `mT` and `mH` are."""
    if input.ndim == 1:
        raise RuntimeError("adjoint: expected a matrix or a batch of them, got a tensor of 1 dimension")
    return transpose(input, -2, -1) if input.ndim else input


# --------------------------------------------------------------------------------------------------------- broadcasting


def expand(x: Tensor, *sizes: Any, size: Sequence[int] | None = None, implicit: bool = False) -> Tensor:
    """Broadcast to a larger shape without copying; -1 keeps an extent."""
    wanted, old = shape_of(sizes if size is None else (tuple(size),)), x.array.shape
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


def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """input broadcast to `size`."""
    return expand(input, tuple(size))


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes (or vectors of these lengths) broadcast to."""
    try:
        return Size(elementwise.broadcast_shapes(*((s,) if isinstance(s, int) else tuple(s) for s in shapes)))
    except ValueError as error:
        raise RuntimeError(f"broadcast_shapes: {error}") from None


def broadcast_tensors(*tensors: Any) -> list[Tensor]:
    """Every tensor expanded to the shape all broadcast to."""
    used = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    shape = broadcast_shapes(*(x.shape for x in used))
    return [expand(x, shape) for x in used]


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
    kind = x.dtype if x.dtype.is_floating_point else dtypes.int64
    total = reduce.sum(x.array, axes, dtype=kind) if axes else x.array
    return record(elementwise.reshape(total, target), (x, lambda dy: expand(dy, full)))
