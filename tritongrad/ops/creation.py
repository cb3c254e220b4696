"""Tensors from numbers, nested lists, numpy arrays and other tensors.

Filled ones are in `filled`; ranges, grids and index tables in `ranges`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tritongrad.ops.layout import clone, to
from tritongrad.ops.placement import leaf, require_fit
from tritongrad.tensor import Tensor, as_device, get_default_dtype
from tritongrad_kernels import dtypes
from tritongrad_kernels.array import from_dlpack as array_from_dlpack, from_host, lent
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.formats import layout, require_strided


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
    kind = dtypes.of(kind, "tensor")
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
    require_fit("tensor", values, kind)
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


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor in the memory of a numpy array: a change of one is seen in the other. The array is kept alive.

    A read-only array is copied, and so is any where tensors are made on a GPU by default. ValueError for strides that
    are negative or count no whole elements, TypeError for dtypes that are not ours.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy array, got {type(ndarray).__name__}")
    if min(ndarray.strides, default=0) < 0:
        raise ValueError("from_numpy: an array with a negative stride has no tensor; pass array.copy()")
    if any(s % ndarray.itemsize for s in ndarray.strides):
        raise ValueError(f"from_numpy: strides of {list(ndarray.strides)} bytes are no multiples of {ndarray.itemsize}")
    return Tensor(lent(ndarray) or from_host(ndarray))


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


def scalar_tensor(
    s: Any,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A number as a tensor of no dimensions, of the default dtype unless given."""
    require_strided("scalar_tensor", layout)
    return tensor(s, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)
