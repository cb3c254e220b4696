"""Copies of a tensor with another in place of a view of it, and the diagonal filled in place."""

from __future__ import annotations

from collections.abc import Callable

from tritongrad.ops.assignment import fill_
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.slicing import as_strided, diagonal, erase, narrow, part, select
from tritongrad.tensor import Tensor, duplicate, record
from tritongrad_kernels import elementwise
from tritongrad_kernels.array import Array


def _replaced(name: str, x: Tensor, src: Tensor, place: Callable[[Array], Array]) -> Tensor:
    """x with src where `place` shows it."""
    shown = place(x.array).shape
    if src.array.shape != shown:
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self, {list(shown)}, got {list(src.shape)}"
        )
    whole = duplicate(x.array)
    elementwise.copy_into(src.array, place(whole))
    return record(whole, (x, lambda dy: erase(dy, place)), (src, lambda dy: part(dy, place).to(src.dtype)))


@numpy_names
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with `src` in place of `select(input, dim, index)`."""
    select(input.detach(), dim, index)  # says what is wrong with either
    axis, position = input.axis(dim), index % input.size(dim)
    return _replaced("select_scatter", input, src, lambda a: a.select(axis, position))


@numpy_names
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """input with `src` in place of the slice start:end:step of one axis."""
    if step <= 0:
        raise RuntimeError(f"slice_scatter: slice step must be positive, got {step}")
    axis = input.axis(dim)
    first, last, _ = slice(start, end, step).indices(input.size(dim))
    return _replaced("slice_scatter", input, src, lambda a: a.slice(axis, first, last, step))


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """input with `src` in place of `diagonal(input, offset, dim1, dim2)`."""
    return _replaced("diagonal_scatter", input, src, lambda a: diagonal(Tensor(a), offset, dim1, dim2).array)


def fill_diagonal_(x: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Set the main diagonal of a matrix, or of a tensor of more axes of one extent, in place.

    With `wrap` a tall matrix gets it again below each square, a row apart.
    """
    if x.ndim < 2:
        raise RuntimeError(f"fill_diagonal_: dimensions must be larger than 1, got shape {list(x.shape)}")
    shape, strides = x.array.shape, x.array.strides
    if x.ndim > 2 and len(set(shape)) > 1:
        raise RuntimeError(f"fill_diagonal_: all dimensions of input must be of equal length, got {list(shape)}")
    count, step = min(shape), sum(strides)
    fill_(as_strided(x, (count,), (step,)), fill_value)
    if wrap and x.ndim == 2 and shape[0] > shape[1] + 1:
        offset = shape[1] + 1
        while offset < shape[0]:
            rows = narrow(x, 0, offset, shape[0] - offset)
            fill_(as_strided(rows, (min(rows.array.shape),), (step,), rows.array.offset), fill_value)
            offset += shape[1] + 1
    return x
