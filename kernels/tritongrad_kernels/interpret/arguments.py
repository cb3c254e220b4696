"""A launch's arguments as its kernel sees them: numbers and addresses become scalar tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.runtime.interpreter import TensorHandle as Handle
from triton.runtime.jit import mangle_type
from triton.tools.tensor_descriptor import TensorDescriptor

from tritongrad_kernels.interpret.numbers import narrow, numpy_type

_pointer_types: dict[Any, tl.dtype] = {}

AddressOf = Callable[[Any, str], int]
"""From an array and the name of the parameter it is given to, to the address that the kernel gets."""


def real_address(array: Any, parameter: str) -> int:
    return array.data_ptr()


def converted(value: Any, parameter: str, dtype: tl.dtype | None = None, address: AddressOf = real_address) -> Any:
    """One argument; `dtype` is the type the kernel's signature asks for, if it does."""
    if hasattr(value, "data_ptr"):
        pointer = _pointer_types.get(value.dtype)
        if pointer is None:
            pointer = _pointer_types[value.dtype] = tl.str_to_ty(mangle_type(value), None)
        return tl.tensor(Handle(np.array([address(value, parameter)], np.uint64), pointer), pointer)
    if isinstance(value, bool | int | float):
        dtype = dtype or _scalar_type(value)
        data = narrow(np.array([value], np.float64)) if dtype == tl.bfloat16 else np.array([value], numpy_type(dtype))
        return tl.tensor(Handle(data, dtype), dtype)
    if isinstance(value, tuple):
        parts = [converted(part, f"{parameter}[{i}]", None, address) for i, part in enumerate(value)]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, TensorDescriptor):
        return _descriptor(value, parameter, address)
    return value


def _scalar_type(value: bool | int | float) -> tl.dtype:
    if isinstance(value, bool):
        return tl.int1
    if isinstance(value, float):
        return tl.float32
    if -(2**31) <= value < 2**31:
        return tl.int32
    return tl.uint64 if value >= 2**63 else tl.int64


def _descriptor(value: TensorDescriptor, parameter: str, address: AddressOf) -> Any:
    made = stock.interpreter_semantic.make_tensor_descriptor(
        base=converted(value.base, parameter, None, address),
        shape=[converted(n, parameter) for n in value.shape],
        strides=[*(converted(n, parameter) for n in value.strides[:-1]), tl.constexpr(1)],
        block_shape=[tl.constexpr(n) for n in value.block_shape],
        padding_option=value.padding,
    )
    made.handle.round_f32_to_tf32 = getattr(value, "round_f32_to_tf32", False)
    return made
