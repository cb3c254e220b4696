"""Tensors from numbers, nested lists, numpy arrays and other tensors, and tensors filled with one number.

Ranges, grids and index tables are in `ranges`. `layout` and `pin_memory` are taken because torch takes them: memory is
always strided, and host memory is always pinned where there is a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.ops.layout import cast, clone, to
from tritongrad.tensor import Tensor, as_device, empty, get_default_dtype
from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import (
    Array,
    channels_last_strides,
    contiguous_strides,
    empty_like as empty_array_like,
    from_dlpack as array_from_dlpack,
    from_host,
    lent,
)
from tritongrad_kernels.dtypes import dtype

STORAGE_ORDER = "preserve_format"


def leaf(array: Array, requires_grad: bool) -> Tensor:
    """A tensor without a history; RuntimeError if it should want a gradient and is not floating point."""
    result = Tensor(array)
    result.requires_grad = requires_grad
    return result


def extents(name: str, size: tuple[Any, ...], keyword: Any = None) -> tuple[int, ...]:
    """A shape from `f(2, 3)`, `f((2, 3))` or `f(size=(2, 3))`."""
    given = keyword if keyword is not None else size
    if len(given) == 1 and isinstance(given[0], list | tuple):
        given = given[0]
    try:
        shape = tuple(_whole(n) for n in given)
    except TypeError:
        raise TypeError(f"{name}: expected a size of whole numbers, got {list(given)}") from None
    if min(shape, default=0) < 0:
        raise RuntimeError(f"{name}: extents must not be negative, got {list(shape)}")
    return shape


def _whole(n: Any) -> int:
    if isinstance(n, bool | float):
        raise TypeError
    return n.__index__()


# ----------------------------------------------------------------------------------------------------------- from data


def tensor(
    data: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A copy of a number, nested sequences, a numpy array or a tensor. Python floats take the default dtype.

    Numbers may be Python's, numpy's or tensors of one element; without `dtype` theirs are promoted. ValueError where
    sequences are of unequal lengths, TypeError for strings and complex numbers, RuntimeError for other things and for
    integers that do not fit the dtype.
    """
    if isinstance(data, Tensor):
        return leaf(to(clone(data.detach()), device, dtype).array, requires_grad)
    return leaf(from_host(_host(data, dtype), as_device(device)), requires_grad)


def _host(data: Any, kind: dtype | None) -> np.ndarray:
    """The values of `data` in a numpy array of its own."""
    if isinstance(data, np.ndarray | np.generic):
        kind = kind or dtypes.from_numpy(data.dtype)
        return np.array(data, kind.numpy)
    kinds: set[dtype] = set()
    plain = _plain(data, kinds, ())
    if kind is None:
        ranked = sorted(kinds, key=lambda d: d.name)
        kind = ranked[0] if ranked else get_default_dtype()
        for other in ranked[1:]:
            kind = dtypes.promote(kind, other)
    try:
        values = np.array(plain)
    except ValueError:
        raise ValueError(f"tensor: sequences of unequal lengths in {_short(data)}") from None
    if values.dtype == object or values.dtype == np.uint64:
        raise ValueError(f"tensor: an integer of {_short(data)} does not fit 64 bits")
    _require_fit(values, kind)
    with np.errstate(over="ignore"):
        return values.astype(kind.numpy)


def _plain(data: Any, kinds: set[dtype], path: tuple[int, ...]) -> Any:
    """Nested lists of numbers and numpy arrays; notes the dtype of everything met in `kinds`."""
    if isinstance(data, bool | int | float) and not isinstance(data, np.generic):
        kinds.add(dtypes.of_scalar(data, get_default_dtype()))
        return data
    if isinstance(data, list | tuple | range):
        return [_plain(v, kinds, (*path, i)) for i, v in enumerate(data)]
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise ValueError(
                "tensor: only one element tensors can be converted to Python scalars; stack() joins others"
            )
        kinds.add(data.dtype)
        return data.item()
    if isinstance(data, np.ndarray | np.generic):
        kinds.add(dtypes.from_numpy(data.dtype))
        return data.astype(np.float32) if data.dtype == dtypes.bfloat16.numpy else data
    where = "".join(f"[{i}]" for i in path)
    if isinstance(data, str | bytes | complex):
        raise TypeError(f"tensor: cannot make a tensor of a {type(data).__name__}: data{where} is {_short(data)}")
    if hasattr(data, "__array__"):
        return _plain(np.asarray(data), kinds, path)
    raise RuntimeError(f"tensor: could not infer dtype of {type(data).__name__} at data{where}")


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _require_fit(values: np.ndarray, kind: dtype) -> None:
    """RuntimeError if a number has no place in an integer dtype. As in torch, unsigned ones take negatives modulo."""
    if kind.is_floating_point or kind is dtypes.bool_ or values.dtype.kind == "b" or not values.size:
        return
    most = np.iinfo(kind.numpy).max
    least = -most if kind.kind == "u" else np.iinfo(kind.numpy).min
    low, high = values.min(), values.max()
    if not (low >= least and high <= most) or (values.dtype.kind == "f" and high >= 2.0**63):
        raise RuntimeError(f"tensor: values from {low} to {high} cannot be converted to {kind.name} without overflow")


def from_numpy(values: np.ndarray) -> Tensor:
    """A tensor in the memory of a numpy array: a change of one is seen in the other. The array is kept alive.

    A read-only array is copied, and so is any where tensors are made on a GPU by default. ValueError for strides that
    are negative or count no whole elements, TypeError for dtypes that are not ours.
    """
    if not isinstance(values, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy array, got {type(values).__name__}")
    if min(values.strides, default=0) < 0:
        raise ValueError("from_numpy: an array with a negative stride has no tensor; pass array.copy()")
    if any(s % values.itemsize for s in values.strides):
        raise ValueError(f"from_numpy: strides of {list(values.strides)} bytes are no multiples of {values.itemsize}")
    return Tensor(lent(values) or from_host(values))


def frombuffer(buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A one-dimensional tensor in the memory of a Python buffer, from byte `offset`; read-only ones are copied."""
    values = np.frombuffer(buffer, dtype.numpy, count, offset)
    return leaf((lent(values) if values.size else None) or from_host(values), requires_grad)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor in the memory of another library's array (anything with `__dlpack__`, or a capsule)."""
    if isinstance(ext_tensor, Tensor):
        return as_tensor(clone(ext_tensor.detach()) if copy else ext_tensor.detach(), device=device)
    result = Tensor(array_from_dlpack(ext_tensor))
    moved = result if device is None else to(result, device)
    return clone(moved) if copy and moved is result else moved


def as_tensor(data: Any, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor: without a copy where it is one, or a numpy array, of that dtype and device."""
    if isinstance(data, Tensor):
        return to(data, device, dtype)
    if isinstance(data, np.ndarray) and min(data.strides, default=0) >= 0:
        return to(from_numpy(data), device, dtype)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any, *, dtype: dtype | None = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """As `as_tensor`, for arrays of other libraries too; `copy` True forces one, False refuses where one is needed."""
    shares = isinstance(obj, Tensor | np.ndarray) or hasattr(obj, "__dlpack__")
    source = as_tensor(obj) if isinstance(obj, Tensor | np.ndarray) else from_dlpack(obj) if shares else tensor(obj)
    if isinstance(obj, Tensor) and not requires_grad:
        source = source.detach()
    result = to(source, device, dtype)
    if copy is False and (not shares or result is not source):
        raise ValueError(f"asarray: a tensor of this {type(obj).__name__} needs a copy, which copy=False refuses")
    if copy and shares and result is source:
        result = clone(result)
    return result.requires_grad_() if requires_grad else result


def scalar_tensor(s: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A number as a tensor of no dimensions, of the default dtype unless given."""
    return tensor(s, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)


# --------------------------------------------------------------------------------------------------------------- filled


def full(
    size: Sequence[int],
    fill_value: Any,
    *,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor filled with a number; its dtype is the number's unless given."""
    if not isinstance(size, list | tuple):
        raise TypeError(f"full: expected a size of whole numbers in a tuple, got {size!r}")
    if isinstance(fill_value, Tensor):
        dtype, fill_value = dtype or fill_value.dtype, fill_value.item()
    if isinstance(fill_value, complex):
        raise TypeError("full: complex numbers are not supported")
    kind = dtype or dtypes.of_scalar(fill_value, get_default_dtype())
    _require_fit(np.array(fill_value), kind)
    return leaf(elementwise.full(extents("full", tuple(size)), fill_value, kind, as_device(device)), requires_grad)


def zeros(
    *size: Any,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """A tensor of zeros."""
    shape = extents("zeros", size, size_of(named, "zeros"))
    return leaf(elementwise.full(shape, 0, dtype or get_default_dtype(), as_device(device)), requires_grad)


def ones(
    *size: Any,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """A tensor of ones."""
    shape = extents("ones", size, size_of(named, "ones"))
    return leaf(elementwise.full(shape, 1, dtype or get_default_dtype(), as_device(device)), requires_grad)


def uninitialised(
    *size: Any,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
    **named: Any,
) -> Tensor:
    """`empty`: a tensor whose elements are whatever the memory held, in C order or in channels-last order."""
    shape = extents("empty", size, size_of(named, "empty"))
    strides = channels_last_strides(shape) if str(memory_format) == "channels_last" else None
    return leaf(empty(shape, dtype or get_default_dtype(), as_device(device), strides), requires_grad)


def size_of(named: dict[str, Any], name: str) -> Any:
    """The keyword `size`, which cannot stand beside positional extents; TypeError for any other."""
    others = set(named) - {"size"}
    if others:
        raise TypeError(f"{name}: got an unexpected keyword argument {min(others)!r}")
    return named.get("size")


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uninitialised memory in which neighbours along each axis lie `stride` elements apart, and none beyond."""
    shape, strides = extents("empty_strided", tuple(size)), extents("empty_strided", tuple(stride))
    if len(shape) != len(strides):
        raise RuntimeError(f"empty_strided: a size of {len(shape)} dimensions with {len(strides)} strides")
    span = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    block = empty((span,), dtype or get_default_dtype(), as_device(device))
    return leaf(block.view(shape, strides), requires_grad)


def like(name: str, x: Tensor, kind: dtype | None, device: Any, memory_format: Any = STORAGE_ORDER) -> Array:
    """Uninitialised memory in the shape of x and, unless told otherwise, its memory order."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(x).__name__}")
    shape, form = x.array.shape, str(memory_format)
    if form == "channels_last":
        strides: Sequence[int] = channels_last_strides(shape)
    elif form == "contiguous_format":
        strides = contiguous_strides(shape)
    elif device is None:
        return empty_array_like(x.array, kind)
    else:
        strides = empty_array_like(x.array.view(shape, x.array.strides), kind).strides
    return empty(shape, kind or x.dtype, as_device(device) or x.device, strides)


def zeros_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = STORAGE_ORDER,
) -> Tensor:
    """Zeros in the shape, dtype, device and memory order of `input`."""
    return leaf(elementwise.fill(like("zeros_like", input, dtype, device, memory_format), 0), requires_grad)


def ones_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = STORAGE_ORDER,
) -> Tensor:
    """Ones in the shape, dtype, device and memory order of `input`."""
    return leaf(elementwise.fill(like("ones_like", input, dtype, device, memory_format), 1), requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = STORAGE_ORDER,
) -> Tensor:
    """A number throughout, in the shape, dtype, device and memory order of `input`."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    array = like("full_like", input, dtype, device, memory_format)
    _require_fit(np.array(value), array.dtype)
    return leaf(elementwise.fill(array, value), requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = STORAGE_ORDER,
) -> Tensor:
    """Uninitialised memory in the shape, dtype, device and memory order of `input`."""
    return leaf(like("empty_like", input, dtype, device, memory_format), requires_grad)


# ----------------------------------------------------------------------------------------- in the manner of a tensor


def new_tensor(
    x: Tensor, data: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """As `tensor`, of the dtype and on the device of x unless given."""
    return tensor(data, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


def new_zeros(x: Tensor, *size: Any, dtype: dtype | None = None, device: Any = None, **options: Any) -> Tensor:
    """As `zeros`, of the dtype and on the device of x unless given."""
    return zeros(*size, dtype=dtype or x.dtype, device=device or x.device, **options)


def new_ones(x: Tensor, *size: Any, dtype: dtype | None = None, device: Any = None, **options: Any) -> Tensor:
    """As `ones`, of the dtype and on the device of x unless given."""
    return ones(*size, dtype=dtype or x.dtype, device=device or x.device, **options)


def new_empty(x: Tensor, *size: Any, dtype: dtype | None = None, device: Any = None, **options: Any) -> Tensor:
    """As `empty`, of the dtype and on the device of x unless given."""
    return uninitialised(*size, dtype=dtype or x.dtype, device=device or x.device, **options)


def new_full(
    x: Tensor, size: Sequence[int], fill_value: Any, *, dtype: dtype | None = None, device: Any = None, **options: Any
) -> Tensor:
    """As `full`, of the dtype and on the device of x unless given."""
    return full(size, fill_value, dtype=dtype or x.dtype, device=device or x.device, **options)


def new(x: Tensor, *data: Any, device: Any = None) -> Tensor:
    """The constructor of old: sizes of uninitialised memory, or a sequence, in the dtype of x."""
    made = cast(Tensor(*data), x.dtype) if data and not isinstance(data[0], int) else new_empty(x, *(data or (0,)))
    return to(made, device or x.device)
