"""Tensors from numbers, shapes and numpy arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tritongrad.ops.movement import shape_of
from tritongrad.tensor import Tensor, as_device, empty, get_default_dtype
from tritongrad_kernels import dtypes, elementwise, formulas
from tritongrad_kernels.array import Array, channels_last_strides, empty_like as empty_array_like, from_host
from tritongrad_kernels.dtypes import dtype


def _leaf(array: Array, requires_grad: bool) -> Tensor:
    result = Tensor(array)
    result.requires_grad = requires_grad
    return result


def tensor(
    data: Any, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A copy of numbers, nested lists, a numpy array or a tensor. Python floats take the default dtype."""
    if isinstance(data, Tensor):
        copied = data.detach().clone().to(device, dtype)
        return _leaf(copied.array, requires_grad)
    return _leaf(from_host(_host(data, dtype), as_device(device)), requires_grad)


def _host(data: Any, kind: dtype | None) -> np.ndarray:
    if isinstance(data, list | tuple) and _any_tensor(data):
        data = _lists(data)
    try:
        values = np.asarray(data)
        if kind is None and not isinstance(data, np.ndarray | np.generic):
            kind = get_default_dtype() if values.dtype.kind == "f" else None
            kind = get_default_dtype() if values.size == 0 and values.dtype == np.float64 else kind
        if kind is None:
            kind = dtypes.from_numpy(values.dtype)
        return np.array(values.astype(kind.numpy))
    except (TypeError, ValueError) as error:
        raise TypeError(f"tensor: cannot make a tensor of this {type(data).__name__}: {error}") from None


def _any_tensor(data: Any) -> bool:
    return isinstance(data, Tensor) or (isinstance(data, list | tuple) and any(_any_tensor(v) for v in data))


def _lists(data: Any) -> Any:
    return (
        data.tolist()
        if isinstance(data, Tensor)
        else [_lists(v) for v in data]
        if isinstance(data, list | tuple)
        else data
    )


def as_tensor(data: Any, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, without a copy if it already is one of that dtype and device."""
    if isinstance(data, Tensor):
        return data.to(device, dtype)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(values: np.ndarray) -> Tensor:
    """A tensor with the elements of a numpy array, copied: memory here is the framework's own."""
    if not isinstance(values, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy array, got {type(values).__name__}")
    return Tensor(from_host(values))


def full(
    size: Any, fill_value: float, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor filled with a number; its dtype is the number's unless given."""
    kind = dtype or dtypes.of_scalar(fill_value, get_default_dtype())
    return _leaf(elementwise.full(shape_of((tuple(size),)), fill_value, kind, as_device(device)), requires_grad)


def zeros(*size: Any, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return full(shape_of(size), 0, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)


def ones(*size: Any, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return full(shape_of(size), 1, dtype=dtype or get_default_dtype(), device=device, requires_grad=requires_grad)


def uninitialised(
    *size: Any,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`empty`: a tensor whose elements are whatever the memory held, in C order or in channels-last order."""
    shape = shape_of(size)
    strides = channels_last_strides(shape) if str(memory_format) == "channels_last" else None
    return _leaf(empty(shape, dtype or get_default_dtype(), as_device(device), strides), requires_grad)


def _like(x: Tensor, dtype: dtype | None, device: Any) -> Array:
    return empty_array_like(x.array, dtype) if device is None else empty(x.shape, dtype or x.dtype, as_device(device))


def zeros_like(x: Tensor, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, dtype and memory order of x."""
    return _leaf(elementwise.fill(_like(x, dtype, device), 0), requires_grad)


def ones_like(x: Tensor, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, dtype and memory order of x."""
    return _leaf(elementwise.fill(_like(x, dtype, device), 1), requires_grad)


def full_like(
    x: Tensor, fill_value: float, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A number throughout, in the shape, dtype and memory order of x."""
    return _leaf(elementwise.fill(_like(x, dtype, device), fill_value), requires_grad)


def empty_like(x: Tensor, *, dtype: dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uninitialised memory in the shape, dtype and memory order of x."""
    return _leaf(_like(x, dtype, device), requires_grad)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... before end; `arange(end)` starts at 0. int64 unless a bound is a float."""
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"arange: from {start} to {end} there is no way by steps of {step}")
    whole = all(isinstance(v, int) for v in (start, end, step))
    kind = dtype or (dtypes.int64 if whole else get_default_dtype())
    n = math.ceil((end - start) / step)
    steps = elementwise.iota(n, as_device(device))
    compute = dtypes.int64 if whole else dtypes.float64  # exact integers, or positions rounded once at the end
    values = elementwise.map(formulas._multiply_add, steps, step, start, dtype=kind, compute=compute)
    return _leaf(values, requires_grad)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included."""
    kind = dtype or get_default_dtype()
    gap = (end - start) / (steps - 1) if steps > 1 else 0.0
    ramp = elementwise.iota(steps, as_device(device))
    values = elementwise.map(
        formulas._multiply_add, ramp, float(gap), float(start), dtype=kind, compute=dtypes.float64
    )
    return _leaf(values, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """The n x m matrix with ones on its diagonal."""
    m = n if m is None else m
    place = as_device(device)
    rows, columns = elementwise.iota(n, place).unsqueeze(1), elementwise.iota(m, place).unsqueeze(0)
    return Tensor(
        elementwise.map(formulas._eq, rows, columns, dtype=dtype or get_default_dtype(), compute=dtypes.int64)
    )
