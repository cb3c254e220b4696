"""Launches: arguments bound and converted as a compiled launch would, then handed to `state.run_grid`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.backends.nvidia.compiler import CUDAOptions
from triton.runtime.interpreter import TensorHandle as Handle
from triton.runtime.jit import _normalize_ty, mangle_type
from triton.tools.tensor_descriptor import TensorDescriptor

from tritongrad_kernels.interpret import state
from tritongrad_kernels.interpret.numbers import narrow, numpy_type
from tritongrad_kernels.interpret.programs import Kernel
from tritongrad_kernels.interpret.rewrite import rewrite

_lock = threading.RLock()
_kernels: dict[Callable, Kernel] = {}
_pointer_types: dict[Any, tl.dtype] = {}


def _kernel(function: types.FunctionType) -> Kernel:
    known = _kernels.get(function)
    if known is None:
        known = _kernels[function] = _inspect(function)
    return known


def _inspect(function: types.FunctionType) -> Kernel:
    signature = inspect.signature(function).parameters
    types_of = {name: _normalize_ty(p.annotation) for name, p in signature.items() if p.annotation is not p.empty}
    return Kernel(
        body=rewrite(function),
        parameters=tuple(signature),
        defaults={name: p.default for name, p in signature.items() if p.default is not p.empty},
        constants=frozenset(name for name, text in types_of.items() if "constexpr" in text),
        scalar_types={name: tl.str_to_ty(text, None) for name, text in types_of.items() if text in _SCALARS},
    )


_SCALARS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "fp16", "bf16", "fp32", "fp64")


def _argument(value: Any, dtype: tl.dtype | None = None) -> Any:
    """A launch argument as the kernel sees it: numbers and addresses become scalar tensors."""
    if hasattr(value, "data_ptr"):
        pointer = _pointer_types.get(value.dtype)
        if pointer is None:
            pointer = _pointer_types[value.dtype] = tl.str_to_ty(mangle_type(value), None)
        return tl.tensor(Handle(np.array([value.data_ptr()], np.uint64), pointer), pointer)
    if isinstance(value, bool | int | float):
        dtype = dtype or _scalar_type(value)
        data = narrow(np.array([value], np.float64)) if dtype == tl.bfloat16 else np.array([value], numpy_type(dtype))
        return tl.tensor(Handle(data, dtype), dtype)
    if isinstance(value, tuple):
        parts = [_argument(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, TensorDescriptor):
        return _descriptor(value)
    return value


def _scalar_type(value: bool | int | float) -> tl.dtype:
    if isinstance(value, bool):
        return tl.int1
    if isinstance(value, float):
        return tl.float32
    if -(2**31) <= value < 2**31:
        return tl.int32
    return tl.uint64 if value >= 2**63 else tl.int64


def _descriptor(value: TensorDescriptor) -> Any:
    made = stock.interpreter_semantic.make_tensor_descriptor(
        base=_argument(value.base),
        shape=[_argument(n) for n in value.shape],
        strides=[*(_argument(n) for n in value.strides[:-1]), tl.constexpr(1)],
        block_shape=[tl.constexpr(n) for n in value.block_shape],
        padding_option=value.padding,
    )
    made.handle.round_f32_to_tf32 = getattr(value, "round_f32_to_tf32", False)
    return made


@functools.cache
def _launch_options() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(CUDAOptions))


def _bind(kernel: Kernel, values: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Values by parameter name. Refuses what a compiled launch would refuse."""
    name = kernel.body.__name__
    if len(values) > len(kernel.parameters):
        raise TypeError(f"{name}() takes {len(kernel.parameters)} arguments, {len(values)} were given")
    bound = kernel.defaults | dict(zip(kernel.parameters, values, strict=False))
    for key, value in named.items():
        if key in kernel.parameters:
            bound[key] = value
        elif key not in _launch_options():
            raise TypeError(f"{name}() has no parameter, and Triton no launch option, named {key!r}")
    missing = [parameter for parameter in kernel.parameters if parameter not in bound]
    if missing:
        raise TypeError(f"{name}() is missing {', '.join(missing)}")
    return bound


def run(self: Any, *values: Any, grid: Any, warmup: bool, **named: Any) -> None:
    """What `kernel[grid](...)` does, in place of InterpretedFunction.run."""
    if warmup:
        return
    kernel = _kernel(self.fn)
    bound = _bind(kernel, values, named)
    for hook in self.pre_run_hooks:
        hook(*values, **named)
    size = tuple(grid(bound) if callable(grid) else grid)
    x, y, z = size + (1,) * (3 - len(size))
    with _lock, np.errstate(all="ignore"):  # the interpreter's state is global; a GPU does not warn
        arguments = {
            name: value if name in kernel.constants else _argument(value, kernel.scalar_types.get(name))
            for name, value in bound.items()
        }
        state.run_grid(kernel, arguments, (x, y, z))


def call(self: Any, *values: Any, **named: Any) -> Any:
    """A jit function called inside a kernel, in place of InterpretedFunction.__call__."""
    return _kernel(self.fn).body(*values, **named)
