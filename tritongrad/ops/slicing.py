"""Parts of a tensor: views of some of its elements, and an axis taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into, refuse
from tritongrad.ops.rows import spread
from tritongrad.ops.views import _view, movedim, reshape, shape_of
from tritongrad.tensor import Tensor, duplicate, record
from tritongrad_kernels import elementwise
from tritongrad_kernels.array import Array
from tritongrad_kernels.gather import Keys


def embed(dy: Tensor, shape: tuple[int, ...], place: Any) -> Tensor:
    """Zeros of `shape` with dy at the view `place` gives: the transpose of taking that view."""
    whole = elementwise.full(shape, 0, dy.dtype, dy.device)
    elementwise.copy_into(dy.array, place(whole))
    return record(whole, (dy, lambda g: part(g, place)))


def part(x: Tensor, place: Any) -> Tensor:
    """The view `place` gives of x. No element may be in it twice."""
    shape = x.array.shape
    return _view(x, place(x.array), lambda dy: embed(dy, shape, place))


def erase(x: Tensor, place: Any) -> Tensor:
    """x with zeros at the view `place` gives."""
    erased = duplicate(x.array)
    elementwise.fill(place(erased), 0)
    return record(erased, (x, lambda dy: erase(dy, place)))


@numpy_names
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The sub-tensor at one position of an axis, which disappears."""
    if not input.ndim:
        raise IndexError("select: a tensor of no dimensions has none to select from")
    axis, extent, position = input.axis(dim), input.size(dim), int(index)
    if not -extent <= position < extent:
        raise IndexError(f"index {position} is out of bounds for dimension {axis} with size {extent}")
    return part(input, lambda a: a.select(axis, position % extent))


@numpy_names
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` positions of an axis, from `start`, which is counted from the end if it is below 0."""
    if not input.ndim:
        raise RuntimeError("narrow: a tensor of no dimensions has none to narrow")
    axis, extent, begin = input.axis(dim), input.size(dim), int(start)
    if not -extent <= begin <= extent:
        raise IndexError(f"narrow: start {begin} exceeds dimension {axis} of {list(input.shape)}")
    first = begin + extent if begin < 0 else begin
    if length < 0 or first + length > extent:
        raise RuntimeError(f"narrow: start {start} and length {length} exceed dimension {axis} of {list(input.shape)}")
    return part(input, lambda a: a.slice(axis, first, first + length))


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Elements [i, i + offset] of two axes, which disappear for a new last one. A view."""
    return part(input, _diagonal_of(input.array.shape, offset, *_two_axes("diagonal", input.ndim, dim1, dim2)))


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Zeros in two new axes with the last axis of input on a diagonal of them: the transpose of `diagonal`."""
    a, b = _two_axes("diag_embed", input.ndim + 1, dim1, dim2)
    extent = input.size(-1) + abs(offset)
    shape = list(input.array.shape[:-1])
    for axis in sorted((a, b)):
        shape.insert(axis, extent)
    return embed(input, tuple(shape), _diagonal_of(tuple(shape), offset, a, b))


def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The diagonal of a matrix, as a copy, or a matrix with a vector on its diagonal."""
    if input.ndim not in (1, 2):
        raise RuntimeError(f"diag: expected a vector or a matrix, got a tensor of {input.ndim} dimensions")
    return into(out, "diag", diag_embed(input, diagonal) if input.ndim == 1 else input.diagonal(diagonal).clone())


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with the flattened tensor on a diagonal."""
    return diag_embed(reshape(input, input.numel()), offset)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's main diagonal; integers add up in int64."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, got a tensor of {input.ndim} dimensions")
    refuse("trace", input.dtype, "b")
    return diagonal(input).sum()


def _two_axes(name: str, ndim: int, dim1: int, dim2: int) -> tuple[int, int]:
    for dim in (dim1, dim2):
        if not -ndim <= dim < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim})"
            )
    if dim1 % ndim == dim2 % ndim:
        raise RuntimeError(f"{name}: the dimensions {dim1} and {dim2} must not be the same")
    return dim1 % ndim, dim2 % ndim


def _diagonal_of(shape: tuple[int, ...], offset: int, a: int, b: int) -> Any:
    """A function that gives the view of a diagonal of an array of `shape`."""
    down, right = max(-offset, 0), max(offset, 0)
    length = max(min(shape[a] - down, shape[b] - right), 0)
    others = [i for i in range(len(shape)) if i not in (a, b)]

    def place(x: Array) -> Array:
        start = x.offset + (down * x.strides[a] + right * x.strides[b] if length else 0)
        strides = (*(x.strides[i] for i in others), x.strides[a] + x.strides[b])
        return x.view((*(shape[i] for i in others), length), strides, start)

    return place


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of `size` positions of an axis, `step` apart, the positions within one on a new last axis. A view."""
    axis, extent = x.axis(dimension), x.size(dimension) if x.ndim else 1
    if size < 0 or size > extent:
        raise RuntimeError(
            f"unfold: size {size} is not in 0 .. {extent}, the size of dimension {axis} of {list(x.shape)}"
        )
    if step <= 0:
        raise RuntimeError(f"unfold: step is {step} but must be greater than 0")
    a, shape, count = x.array, x.array.shape, (extent - size) // step + 1
    if not a.ndim:
        return _view(x, a.view((size,), (1,)), lambda dy: dy.sum())
    array = a.view(
        (*shape[:axis], count, *shape[axis + 1 :], size),
        (*a.strides[:axis], a.strides[axis] * step, *a.strides[axis + 1 :], a.strides[axis]),
    )
    starts = elementwise.iota(extent, a.device).view((count, size), (step, 1))
    keys = Keys(elementwise.contiguous(starts), extent)
    return _view(x, array, lambda dy: spread(movedim(dy, (axis, -1), (0, 1)), shape, (axis,), keys))


def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """The memory behind input through any shape, strides and offset, counted in elements.

    An element in it several times gets the sum of the gradients; memory that input does not show gets none.
    """
    a, shape, strides = input.array, shape_of((size,)), shape_of((stride,))
    offset = a.offset if storage_offset is None else int(storage_offset)
    if len(shape) != len(strides) or min(shape + strides, default=0) < 0 or offset < 0:
        raise RuntimeError(f"as_strided: invalid sizes {list(shape)}, strides {list(strides)} or offset {offset}")
    reach, held = _reach(shape, strides, offset), a.memory.nbytes // a.dtype.itemsize
    if reach > held:
        raise RuntimeError(
            f"as_strided: sizes {list(shape)}, strides {list(strides)} and offset {offset} need memory of {reach} "
            f"elements, but that of the tensor of shape {list(a.shape)} holds {held}"
        )
    return _view(input, a.view(shape, strides, offset), _transpose_of_as_strided(a, shape, strides, offset))


def _transpose_of_as_strided(a: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """The gradient of an array from that of its memory under another shape.

    The gradient is summed in an image of the memory and read from there as the array is. Where the array itself shows
    an element several times, each showing gets an equal part, so that broadcasting backwards adds up to the whole.
    """
    device, repeats = a.device, a.footprint != a.nbytes
    shown, seen, start = a.shape, a.strides, a.offset
    length = max(_reach(shape, strides, offset), _reach(shown, seen, start))

    def keys(of: tuple[int, ...], by: tuple[int, ...], at: int) -> Keys:
        numbers = elementwise.iota(length, device).view(of, by, at)
        return Keys(elementwise.contiguous(numbers), length)

    def gradient(dy: Tensor) -> Tensor:
        image = spread(dy, (length,), (0,), keys(shape, strides, offset))
        if repeats:
            ones = Tensor(elementwise.full(shown, 1, dy.dtype, device))
            image = image / spread(ones, (length,), (0,), keys(shown, seen, start))
        return as_strided(image, shown, seen, start)

    return gradient


def _reach(shape: Sequence[int], strides: Sequence[int], offset: int) -> int:
    """How many elements of memory an array of this geometry reaches to; 0 for one without elements."""
    return 0 if 0 in shape else offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


# ------------------------------------------------------------------------------------------------------------ splitting


def _pieces(x: Tensor, dim: int, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(narrow(x, dim, a, n) for a, n in zip(starts, sizes, strict=True))


def _splittable(name: str, x: Tensor, dim: int) -> tuple[int, int]:
    """The axis and its extent."""
    if not x.ndim:
        raise RuntimeError(f"{name}: expected a tensor of at least 1 dimension")
    return x.axis(dim), x.size(dim)


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in pieces of one size, the last one smaller, or of the listed sizes."""
    axis, extent = _splittable("split", tensor, dim)
    if isinstance(split_size_or_sections, list | tuple):
        sizes = shape_of((split_size_or_sections,))
        if sum(sizes) != extent or min(sizes, default=0) < 0:
            raise RuntimeError(f"split: sizes {list(sizes)} do not add up to {extent}, the extent of dimension {axis}")
        return _pieces(tensor, axis, sizes)
    size = int(split_size_or_sections)
    if size < 0 or (size == 0 and extent):
        raise RuntimeError(f"split: the size of a piece must be greater than 0, got {size} for an extent of {extent}")
    return _pieces(tensor, axis, [min(size, extent - i) for i in range(0, extent, size or 1)] or [0])


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in pieces of the listed sizes."""
    return split(input, tuple(split_sizes), dim)


@numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis in at most `chunks` equal pieces, the last one smaller."""
    _, extent = _splittable("chunk", input, dim)
    if chunks < 1:
        raise RuntimeError(f"chunk: expected at least 1 chunk, got {chunks}")
    return split(input, -(-extent // chunks), dim) if extent else tuple(narrow(input, dim, 0, 0) for _ in range(chunks))


@numpy_names
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of an axis: so many as equal as can be, larger ones first, or cut at the listed positions."""
    axis, extent = _splittable("tensor_split", input, dim)
    cuts = indices_or_sections.tolist() if isinstance(indices_or_sections, Tensor) else indices_or_sections
    if isinstance(cuts, int):
        if cuts < 1:
            raise RuntimeError(f"tensor_split: expected at least 1 section, got {cuts}")
        return _pieces(input, axis, [extent // cuts + (i < extent % cuts) for i in range(cuts)])
    edges = [0, *(slice(None, c).indices(extent)[1] for c in cuts)]
    stops = [*edges[1:], extent]
    return tuple(narrow(input, axis, a, max(b - a, 0)) for a, b in zip(edges, stops, strict=True))


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the second axis, or the only one."""
    _splittable("hsplit", input, 0)
    return _evenly("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the first of at least two axes."""
    return _evenly("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the third axis."""
    return _evenly("dsplit", input, indices_or_sections, 2, 3)


def _evenly(name: str, x: Tensor, indices_or_sections: Any, axis: int, least: int = 1) -> tuple[Tensor, ...]:
    if x.ndim < least:
        raise RuntimeError(f"{name}: expected a tensor of at least {least} dimensions, got shape {list(x.shape)}")
    sections = indices_or_sections
    if isinstance(sections, int) and (sections < 1 or x.size(axis) % sections):
        raise RuntimeError(f"{name}: dimension {axis} of {list(x.shape)} does not split into {sections} equal sections")
    return tensor_split(x, sections, axis)


@numpy_names
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The sub-tensors along an axis."""
    if not input.ndim:
        raise IndexError("unbind: a tensor of no dimensions has none to take apart")
    return tuple(select(input, dim, i) for i in range(input.size(dim)))
