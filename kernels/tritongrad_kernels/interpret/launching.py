"""Launches: arguments bound as a compiled launch would, then handed to `state.run_grid`."""

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
from triton.backends.nvidia.compiler import CUDAOptions
from triton.runtime.jit import _normalize_ty

from tritongrad_kernels.interpret import state
from tritongrad_kernels.interpret.programs import Kernel
from tritongrad_kernels.interpret.rewrite import rewrite

_lock = threading.RLock()
_kernels: dict[Callable, Kernel] = {}


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
        state.run_grid(kernel, bound, (x, y, z))


def call(self: Any, *values: Any, **named: Any) -> Any:
    """A jit function called inside a kernel, in place of InterpretedFunction.__call__."""
    return _kernel(self.fn).body(*values, **named)
