"""Elements and slices named by index tensors: gathered, scattered, added up.

Where several values go to one place, sums are taken in the order of the index, first to last, and of values that
overwrite each other the last stays: results are the same bits on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.ops.comparison import where
from tritongrad.ops.layout import to_same_device
from tritongrad.ops.masking import masked_fill, masked_fill_
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into
from tritongrad.ops.rows import add, pick, put as put_rows, write
from tritongrad.ops.slicing import narrow
from tritongrad.ops.views import expand, movedim, ravel, reshape
from tritongrad.precision import widest
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes, elementwise, formulas, gather as kernel, index as indices
from tritongrad_kernels.array import contiguous_strides
from tritongrad_kernels.gather import Keys

_INDEX = (dtypes.int64, dtypes.int32)

# -------------------------------------------------------------------------------------- one position for each element


def require_index(name: str, index: Tensor) -> None:
    if not isinstance(index, Tensor) or index.dtype not in _INDEX:
        found = index.dtype.name if isinstance(index, Tensor) else type(index).__name__
        raise RuntimeError(f"{name}: expected an int64 or int32 tensor as index, got {found}")


def _out_of_bounds(axis: int, extent: int, kind: type[Exception] = RuntimeError) -> Callable[[int], Exception]:
    return lambda i: kind(f"index {i} is out of bounds for dimension {axis} with size {extent}")


def keys_along(name: str, x: Tensor, dim: int, index: Tensor) -> tuple[Tensor, Keys]:
    """x with at least one axis, and, as flat positions in it, [.., index[.., i, ..], ..] for every element."""
    require_index(name, index)
    axis = x.axis(dim)
    x, index = (t if t.ndim else reshape(t, 1) for t in (x, to_same_device(index, x)))
    if x.ndim != index.ndim and index.numel():
        raise RuntimeError(
            f"{name}: the index must have as many dimensions as the tensor, got {list(index.shape)} for {list(x.shape)}"
        )
    if index.numel() and any(m > n for a, (m, n) in enumerate(zip(index.shape, x.shape, strict=True)) if a != axis):
        raise RuntimeError(
            f"{name}: the index {list(index.shape)} exceeds the tensor {list(x.shape)} apart from dimension {axis}"
        )
    extent, strides = x.size(axis), contiguous_strides(x.array.shape)
    steps = [0 if a == axis else s for a, s in enumerate(strides)]
    positions = indices.positions(
        index.array,
        extent,
        _out_of_bounds(axis, extent),
        step=strides[axis],
        steps=steps if index.ndim == x.ndim else None,
        negative=False,
    )
    return x, Keys(positions, max(x.numel(), 1))


@numpy_names
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None) -> Tensor:
    """out[.., i, ..] = input[.., index[.., i, ..], ..] along one axis, in the shape of the index.

    The index has as many dimensions as input and, apart from `dim`, is nowhere longer.
    """
    whole, keys = keys_along("gather", input, dim, index)
    return into(out, "gather", reshape(pick(whole, tuple(range(whole.ndim)), keys), index.shape))


@numpy_names
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """`gather` with an index that broadcasts with input apart from `dim` and may count from the end.

    Without `dim`, of the flattened tensor by the flattened index.
    """
    if not isinstance(indices, Tensor) or indices.dtype is not dtypes.int64:
        found = indices.dtype.name if isinstance(indices, Tensor) else type(indices).__name__
        raise RuntimeError(f"take_along_dim: expected an int64 tensor as indices, got {found}")
    if dim is None:
        return into(out, "take_along_dim", gather(ravel(input), 0, ravel(indices)))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            f"take_along_dim: the index must have as many dimensions as the tensor, got {list(indices.shape)} for "
            f"{list(input.shape)}"
        )
    if not input.ndim:
        raise IndexError(f"take_along_dim: Dimension specified as {dim} but tensor has no dimensions")
    axis = input.axis(dim)
    apart = [tuple(1 if a == axis else n for a, n in enumerate(t.shape)) for t in (input, indices)]
    try:
        common = list(elementwise.broadcast_shapes(*apart))
    except ValueError:
        raise RuntimeError(
            f"take_along_dim: the shapes {list(input.shape)} and {list(indices.shape)} do not broadcast together apart "
            f"from dimension {axis}"
        ) from None
    positive = where(indices < 0, indices + (input.size(axis) if input.ndim else 1), indices)
    shapes = [[t.size(axis) if a == axis else n for a, n in enumerate(common)] for t in (input, indices)]
    return into(out, "take_along_dim", gather(expand(input, shapes[0]), axis, expand(positive, shapes[1])))


@numpy_names
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """input with out[.., index[.., i, ..], ..] = src[.., i, ..] along one axis, for the shape of the index.

    `src`, or `value`, is a number or a tensor that is nowhere shorter than the index. With `reduce` "add" or
    "multiply", what was there is added to or multiplied.
    """
    return into(out, "scatter", _scattered("scatter", input, dim, index, value if src is None else src, reduce, False))


@numpy_names
def scatter_(
    x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """`scatter` in place."""
    return _scattered("scatter_", x, dim, index, value if src is None else src, reduce, True)


@numpy_names
@widest
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input with src[.., i, ..] added at [.., index[.., i, ..], ..] along one axis: the transpose of `gather`."""
    return into(out, "scatter_add", _scattered("scatter_add", input, dim, index, src, "add", False))


@numpy_names
def scatter_add_(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`scatter_add` in place."""
    return _scattered("scatter_add_", x, dim, index, src, "add", True)


def _scattered(name: str, x: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None, inplace: bool) -> Tensor:
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError(f"{name}: reduce must be 'add' or 'multiply', got {reduce!r}")
    whole, keys = keys_along(name, x, dim, index)
    axes, values = tuple(range(whole.ndim)), source_for(name, x, keys, src)
    result = {None: put_rows, "add": add, "multiply": _multiply}[reduce](whole, axes, keys, values, inplace)
    return x if inplace else reshape(result, x.shape)


def source_for(name: str, x: Tensor, keys: Keys, src: Any) -> Tensor:
    """A number everywhere, or as much of a tensor as there are keys."""
    shape = keys.array.shape
    if not isinstance(src, Tensor):
        dtypes.require_fit(src, x.dtype)
        return Tensor(elementwise.full((), src, x.dtype, x.device).expand(shape))
    if src.dtype is not x.dtype:
        raise RuntimeError(f"{name}: expected a source of dtype {x.dtype.name}, as the tensor, got {src.dtype.name}")
    values = src if src.ndim else reshape(src, 1)
    if values.ndim != len(shape) or any(n > m for n, m in zip(shape, values.shape, strict=True)):
        if 0 in shape:
            return Tensor(elementwise.full(shape, 0, x.dtype, x.device))
        raise RuntimeError(f"{name}: the index {list(shape)} exceeds the source {list(src.shape)}")
    for axis, extent in enumerate(shape):
        values = narrow(values, axis, 0, extent)
    return values


def _multiply(x: Tensor, axes: Sequence[int], keys: Keys, v: Tensor, inplace: bool) -> Tensor:
    def refuse(dy: Tensor) -> Tensor:
        raise RuntimeError("the derivative of scatter with reduce='multiply' is not implemented")

    factors = v.array
    return write(
        x,
        inplace,
        lambda a: kernel.fold(formulas._mul, a, axes, keys, factors),
        (x, lambda dy: refuse(dy)),
        (v, lambda dy: refuse(dy)),
    )


# ------------------------------------------------------------------------------------------ one position for each slice


def _rows(name: str, x: Tensor, dim: int, index: Tensor, kind: type[Exception], negative: bool = False) -> tuple:
    """x with at least one axis, the axis, and the keys of a vector of positions along it."""
    require_index(name, index)
    if index.ndim > 1:
        raise IndexError(f"{name}: the index must be a vector, got shape {list(index.shape)}")
    axis = x.axis(dim)
    whole, listed = (t if t.ndim else reshape(t, 1) for t in (x, to_same_device(index, x)))
    extent = whole.size(axis)
    positions = indices.positions(listed.array, extent, _out_of_bounds(axis, extent, kind), negative=negative)
    return whole, axis, Keys(positions, max(extent, 1))


@numpy_names
def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices of an axis that a vector of positions names, in its order."""
    whole, axis, keys = _rows("index_select", input, dim, index, IndexError)
    if input.ndim == 0 and index.numel() != 1:
        raise RuntimeError(
            f"index_select: a tensor of no dimensions has one element to select, got {index.numel()} indices"
        )
    return into(
        out,
        "index_select",
        reshape(
            _inner(pick(whole, (axis,), keys), axis),
            input.shape if input.ndim == 0 else (*input.shape[:axis], index.numel(), *input.shape[axis + 1 :]),
        ),
    )


def _inner(x: Tensor, axis: int) -> Tensor:
    """x with its first axis moved to `axis`."""
    return movedim(x, 0, axis) if axis else x


def slices_for(name: str, x: Tensor, dim: int, index: Tensor, source: Tensor, kind: type[Exception]) -> tuple:
    """What an operation that puts slices needs: x, its axis, keys, and the source with the axis in front."""
    if source.dtype is not x.dtype:
        raise RuntimeError(f"{name}: expected a source of dtype {x.dtype.name}, as the tensor, got {source.dtype.name}")
    whole, axis, keys = _rows(name, x, dim, index, kind)
    values = source if source.ndim else reshape(source, 1)
    expected = (*whole.shape[:axis], index.numel(), *whole.shape[axis + 1 :])
    if tuple(values.shape) != expected:
        raise RuntimeError(f"{name}: expected a source of shape {list(expected)}, got {list(source.shape)}")
    return whole, axis, keys, movedim(values, axis, 0) if axis else values


def _index_add(name: str, x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float, inplace: bool) -> Tensor:
    whole, axis, keys, values = slices_for(name, x, dim, index, source, RuntimeError)
    result = add(whole, (axis,), keys, values if alpha == 1 else values * alpha, inplace)
    return x if inplace else reshape(result, x.shape)


@numpy_names
def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1, out: Tensor | None = None
) -> Tensor:
    """input with alpha times the slices of `source` added to those that a vector of positions names."""
    return into(out, "index_add", _index_add("index_add", input, dim, index, source, alpha, False))


@numpy_names
def index_add_(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """`index_add` in place."""
    return _index_add("index_add_", x, dim, index, source, alpha, True)


def _index_copy(name: str, x: Tensor, dim: int, index: Tensor, source: Tensor, inplace: bool) -> Tensor:
    whole, axis, keys, values = slices_for(name, x, dim, index, source, IndexError)
    result = put_rows(whole, (axis,), keys, values, inplace)
    return x if inplace else reshape(result, x.shape)


@numpy_names
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input with the slices of `source` in place of those that a vector of positions names."""
    return into(out, "index_copy", _index_copy("index_copy", input, dim, index, source, False))


@numpy_names
def index_copy_(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`index_copy` in place."""
    return _index_copy("index_copy_", x, dim, index, source, True)


def _line(name: str, x: Tensor, dim: int, index: Tensor) -> Tensor:
    """A mask, broadcasting with x, of the slices that a vector of positions names, which may count from the end."""
    if isinstance(index, Tensor) and index.dtype is not dtypes.int64:
        raise IndexError(f"{name}: expected an int64 tensor as index, got {index.dtype.name}")
    whole, axis, keys = _rows(name, x, dim, index, IndexError, negative=True)
    chosen = elementwise.full((whole.size(axis),), 0, dtypes.bool_, x.device)
    kernel.put(chosen, (0,), keys, elementwise.full((), 1, dtypes.bool_, x.device).expand(keys.array.shape))
    return reshape(Tensor(chosen), (chosen.size, *(1,) * (x.ndim - axis - 1)) if x.ndim else ())


@numpy_names
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with one value in the slices that a vector of positions names, which may count from the end."""
    return masked_fill(input, _line("index_fill", input, dim, index), value)


@numpy_names
def index_fill_(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """`index_fill` in place."""
    return masked_fill_(x, _line("index_fill_", x, dim, index), value)


# ----------------------------------------------------------------------------------------------------- flat positions


def _flat(name: str, x: Tensor, index: Tensor) -> Keys:
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: expected an int64 tensor as index, got {index.dtype.name}")

    def error(i: int) -> Exception:
        return IndexError(f"{name}: index {i} is out of range for a tensor of {x.numel()} elements")

    return Keys(indices.positions(to_same_device(index, x).array, x.numel(), error), max(x.numel(), 1))


def take(input: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements at flat positions in C order, which may count from the end, in the shape of the index."""
    return into(out, "take", pick(input, tuple(range(input.ndim)), _flat("take", input, index)))


def put_(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Write (with `accumulate`, add) the elements of `source` at flat positions of x, in C order."""
    if source.dtype is not x.dtype:
        raise RuntimeError(f"put_: expected a source of dtype {x.dtype.name}, as the tensor, got {source.dtype.name}")
    if source.numel() != index.numel():
        raise IndexError(f"put_: expected as many elements as indices, got {source.numel()} for {index.numel()}")
    return (add if accumulate else put_rows)(
        x, tuple(range(x.ndim)), _flat("put_", x, index), reshape(source, index.shape), True
    )


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """`put_` on a copy."""
    return put_(input.clone(), index, source, accumulate)
