"""Tensors joined, repeated and turned around: copies that move elements and compute nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from tritongrad.ops.layout import clone
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into
from tritongrad.ops.rows import pick
from tritongrad.ops.slicing import narrow, part
from tritongrad.ops.views import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    expand,
    movedim,
    ravel,
    reshape,
    shape_of,
    transpose,
    unsqueeze,
)
from tritongrad.tensor import Tensor, empty, record
from tritongrad_kernels import dtypes, elementwise, formulas, gather, scan
from tritongrad_kernels.formats import contiguous_format
from tritongrad_kernels.gather import Keys

# ------------------------------------------------------------------------------------------------------------ joining


def _list_of(name: str, tensors: Any) -> list[Tensor]:
    if isinstance(tensors, Tensor):
        raise TypeError(f"{name}: expected a list or tuple of tensors, got one tensor")
    listed = list(tensors)
    for i, x in enumerate(listed):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: expected a tensor as element {i}, got {type(x).__name__}")
    if not listed:
        raise RuntimeError(f"{name}: expected a non-empty list of tensors")
    return listed


@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors one after the other along an existing axis, in the dtype all promote to."""
    listed = _list_of("cat", tensors)
    kind = listed[0].dtype
    for t in listed[1:]:
        kind = dtypes.promote(kind, t.dtype)
    used = [t for t in listed if t.array.shape != (0,)] or listed[:1]  # torch lets empty vectors through
    along = used[0].axis(dim)
    shapes = [t.array.shape for t in used]
    if () in shapes:
        raise RuntimeError("cat: a tensor of no dimensions has no axis to join along; use stack")
    if any(
        len(s) != len(shapes[0]) or s[:along] != shapes[0][:along] or s[along + 1 :] != shapes[0][along + 1 :]
        for s in shapes
    ):
        raise RuntimeError(f"cat: shapes {', '.join(str(list(s)) for s in shapes)} differ outside dimension {along}")
    ends = list(itertools.accumulate(s[along] for s in shapes))
    whole = empty((*shapes[0][:along], ends[-1], *shapes[0][along + 1 :]), kind, used[0].device)
    edges = []
    for t, start, end in zip(used, [0, *ends], ends, strict=False):
        elementwise.copy_into(t.array, whole.slice(along, start, end))
        edges.append((t, _narrowing(along, start, end - start)))
    return into(out, "cat", record(whole, *edges))


def _narrowing(axis: int, start: int, length: int) -> Any:
    return lambda dy: narrow(dy, axis, start, length)


@numpy_names
def concat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """`cat` by another name."""
    return into(out, "concat", cat(tensors, dim))


@numpy_names
def concatenate(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """`cat` by the name numpy gives it."""
    return into(out, "concatenate", cat(tensors, dim))


@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape along a new axis."""
    listed = _list_of("stack", tensors)
    if any(t.shape != listed[0].shape for t in listed):
        raise RuntimeError(f"stack: shapes {', '.join(str(list(t.shape)) for t in listed)} differ")
    return into(out, "stack", cat([unsqueeze(t, dim) for t in listed], dim if dim >= 0 else dim + listed[0].ndim + 1))


def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors side by side: along the second axis, or the only one; numbers count as vectors."""
    listed = [atleast_1d(t) for t in _list_of("hstack", tensors)]
    return into(out, "hstack", cat(listed, 0 if listed[0].ndim == 1 else 1))


def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors below one another: along the first axis; vectors count as rows."""
    return into(out, "vstack", cat([atleast_2d(t) for t in _list_of("vstack", tensors)], 0))


def row_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """`vstack` by another name."""
    return into(out, "row_stack", vstack(tensors))


def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors behind one another: along the third axis."""
    return into(out, "dstack", cat([atleast_3d(t) for t in _list_of("dstack", tensors)], 2))


def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Tensors side by side; numbers and vectors count as columns."""
    return into(
        out,
        "column_stack",
        cat([t if t.ndim > 1 else reshape(t, t.numel(), 1) for t in _list_of("column_stack", tensors)], 1),
    )


# ---------------------------------------------------------------------------------------------------------- repeating


def repeat(x: Tensor, *sizes: Any, repeats: Sequence[int] | None = None) -> Tensor:
    """The tensor laid beside itself so many times along each axis; more numbers than axes make new ones in front."""
    times = shape_of(sizes if repeats is None else (tuple(repeats),))
    if len(times) < x.ndim or min(times, default=0) < 0:
        raise RuntimeError(
            f"repeat: expected at least {x.ndim} numbers, none below 0, for shape {list(x.shape)}, got {list(times)}"
        )
    shape = (*(1 for _ in range(len(times) - x.ndim)), *x.array.shape)
    apart = reshape(x, tuple(m for n in shape for m in (1, n)))
    many = expand(apart, tuple(m for k, n in zip(times, shape, strict=True) for m in (k, n)))
    copied = clone(many, memory_format=contiguous_format)  # never a view, whatever is repeated
    return reshape(copied, tuple(k * n for k, n in zip(times, shape, strict=True)))


def tile(input: Tensor, *sizes: Any, dims: Sequence[int] | None = None) -> Tensor:
    """As `repeat`; fewer numbers than axes speak of the last ones."""
    times = shape_of(sizes if dims is None else (tuple(dims),))
    return repeat(input, (*(1 for _ in range(input.ndim - len(times))), *times))


@numpy_names
def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each element along an axis (default: of the flattened tensor) so many times in a row.

    `repeats` is a number, or a tensor of one for each position; the host then reads how many these are together, unless
    `output_size` says it.
    """
    input = ravel(input) if dim is None else input if input.ndim else reshape(input, 1)
    axis, extent = input.axis(dim or 0), input.size(dim or 0)
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        return movedim(pick(input, (axis,), _repeated(repeats, extent, output_size)), 0, axis)
    times = int(repeats)
    if times < 0:
        raise RuntimeError(f"repeat_interleave: repeats must not be negative, got {times}")
    many = unsqueeze(input, axis + 1)
    many = expand(many, (*many.shape[: axis + 1], times, *many.shape[axis + 2 :]))
    copied = clone(many, memory_format=contiguous_format)  # never a view, whatever is repeated
    return reshape(copied, (*input.shape[:axis], extent * times, *input.shape[axis + 1 :]))


def _repeated(repeats: Tensor, extent: int, output_size: int | None) -> Keys:
    """0 .. extent-1, each as often as `repeats` says."""
    if repeats.dtype not in (dtypes.int64, dtypes.int32) or repeats.array.shape != (extent,):
        raise RuntimeError(
            f"repeat_interleave: expected an int64 or int32 tensor of {extent} repeats, got {repeats.dtype.name}"
            f"{list(repeats.shape)}"
        )
    ends = scan.cumsum(repeats.array, 0, dtypes.int64)
    if bool((repeats < 0).any()):
        raise RuntimeError("repeat_interleave: repeats must not be negative")
    total = int(Tensor(ends)[-1]) if extent else 0
    if output_size is not None and output_size != total:
        raise RuntimeError(f"repeat_interleave: output_size is {output_size}, but repeats add up to {total}")
    # Position j belongs to the element that as many others end at or before j: count ends, then add up.
    marks = elementwise.full((total + 1,), 0, dtypes.int64, repeats.device)
    ones = elementwise.full((), 1, dtypes.int64, repeats.device).expand(ends.shape)
    gather.fold(formulas._add, marks, (0,), Keys(ends, total + 1), ones)
    return Keys(elementwise.contiguous(scan.cumsum(marks, 0).slice(0, 0, total)), extent)


# ----------------------------------------------------------------------------------------------------------- reordering


def _axes(name: str, x: Tensor, dims: Sequence[int]) -> tuple[int, ...]:
    axes = tuple(x.axis(d) for d in dims)
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"{name}: {list(dims)} names an axis of {list(x.shape)} more than once")
    return axes


def flip(input: Tensor, *order: Any, dims: Sequence[int] | None = None) -> Tensor:
    """A copy with the order of elements along some axes reversed."""
    axes = _axes("flip", input, shape_of(order if dims is None else (dims,)))
    array = elementwise.flip(input.array, axes if input.ndim else ())
    return record(array, (input, lambda dy: flip(dy, axes)))


def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order: flipped along the second axis."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: expected a tensor of at least 2 dimensions, got shape {list(input.shape)}")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order: flipped along the first axis."""
    if input.ndim < 1:
        raise RuntimeError("flipud: expected a tensor of at least 1 dimension")
    return flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k quarters from the first of two axes towards the second, as a copy."""
    if len(dims) != 2:
        raise RuntimeError(f"rot90: expected 2 dimensions to turn, got {list(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"rot90: expected a tensor of at least 2 dimensions, got shape {list(input.shape)}")
    a, b = _axes("rot90", input, dims)
    if k % 4 == 0:
        return input.clone()
    if k % 4 == 2:
        return flip(input, a, b)
    return transpose(flip(input, b), a, b) if k % 4 == 1 else transpose(flip(input, a), a, b)


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along axes by `shifts`, those pushed out coming in at the other end.

    Without `dims` the flattened tensor is rolled. Several shifts of one axis add up.
    """
    by = shape_of((shifts,))
    if dims is None or dims == ():
        if len(by) != 1:
            raise RuntimeError(f"roll: {len(by)} shifts need as many dims")
        return reshape(roll(ravel(input), by, (0,)), input.shape)
    along = shape_of((dims,))
    if len(by) != len(along):
        raise RuntimeError(f"roll: shifts {list(by)} and dims {list(along)} must be as many")
    if not input.ndim and along:
        raise IndexError(f"roll: Dimension specified as {along[0]} but tensor has no dimensions")
    axes = [input.axis(d) for d in along]
    array = input.array
    for shift, axis in zip(by, axes, strict=True):
        extent = array.shape[axis] if array.ndim else 0
        if not extent:
            continue
        cut, rolled = -shift % extent, empty(array.shape, array.dtype, array.device)
        elementwise.copy_into(array.slice(axis, cut, extent), rolled.slice(axis, 0, extent - cut))
        elementwise.copy_into(array.slice(axis, 0, cut), rolled.slice(axis, extent - cut, extent))
        array = rolled
    array = elementwise.contiguous(array, always=True) if array is input.array else array
    return record(array, (input, lambda dy: roll(dy, [-s for s in by], along)))


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices (numbers and vectors count as such of one row) along the diagonal of one that is 0 elsewhere."""
    blocks = [atleast_2d(t) for t in _list_of("block_diag", tensors)]
    if any(b.ndim != 2 for b in blocks):
        raise RuntimeError(
            f"block_diag: expected tensors of at most 2 dimensions, got {[list(b.shape) for b in blocks]}"
        )
    kind = blocks[0].dtype
    for b in blocks[1:]:
        kind = dtypes.promote(kind, b.dtype)
    rows, columns = (list(itertools.accumulate(b.shape[a] for b in blocks)) for a in (0, 1))
    whole = elementwise.full((rows[-1], columns[-1]), 0, kind, blocks[0].device)
    edges = []
    for block, row, column in zip(blocks, rows, columns, strict=True):
        place = _corner(row, column, *block.array.shape)
        elementwise.copy_into(block.array, place(whole))
        edges.append((block, _shown(place)))
    return record(whole, *edges)


def _corner(row: int, column: int, height: int, width: int) -> Any:
    return lambda a: a.slice(0, row - height, row).slice(1, column - width, column)


def _shown(place: Any) -> Any:
    return lambda dy: part(dy, place)
