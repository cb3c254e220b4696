"""CUDA's libdevice in numpy, for the functions that kernels call most; the others and inline assembly are refused.

Results are computed in float64 and rounded once: closer than libdevice, whose functions are off by an ulp or two.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.language.extra import libdevice as declared
from triton.language.extra.cuda import libdevice as cuda
from triton.runtime.interpreter import TensorHandle as Handle

from tritongrad_kernels.interpret.numbers import numpy_type
from tritongrad_kernels.interpret.patches import Patches

_each = functools.partial(np.vectorize, otypes=[np.float64])


def _round(x: np.ndarray) -> np.ndarray:
    """To the nearest integer, halves away from zero."""
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0)


_FUNCTIONS: dict[str, Callable] = {
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2")},
    **{name: getattr(np, name) for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p")},
    **{name: getattr(np, name) for name in ("sqrt", "cbrt", "floor", "ceil", "trunc", "rint", "fabs")},
    **{name: getattr(np, name) for name in ("fmod", "hypot", "copysign")},
    "exp10": functools.partial(np.power, 10.0),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "nearbyint": np.rint,
    "round": _round,
    "pow": np.power,
    "powi": np.power,
    "erf": _each(math.erf),
    "erfc": _each(math.erfc),
    "isnan": np.isnan,
    "isnand": np.isnan,
    "isinf": np.isinf,
    "isinfd": np.isinf,
}
"""By the name in libdevice's symbol: `__nv_tanhf` and `__nv_tanh` are tanh. `fma` is apart: it rounds otherwise."""


class Extern:
    """Each method here replaces the one of the same name of Triton's InterpreterBuilder."""

    def create_extern_elementwise(
        self: Any, library: str, path: str, symbol: str, arguments: list[Handle], result: Any, is_pure: bool
    ) -> Handle:
        name = symbol.removeprefix("__nv_").removeprefix("fast_")
        dtype = result.scalar
        if name.removesuffix("f") == "fma":
            return self.create_fma(*arguments)
        function = _FUNCTIONS.get(name) or _FUNCTIONS.get(name.removesuffix("f"))
        if function is None:
            raise NotImplementedError(f"{symbol} is a GPU function that the interpreter does not have")
        out = function(*(argument.data.astype(np.float64) for argument in arguments))
        return Handle(out.astype(numpy_type(dtype)), dtype)

    def create_inline_asm(self: Any, assembly: str, *details: Any) -> Handle:
        raise NotImplementedError(
            f"inline assembly ({assembly.strip()}) runs on a GPU only: keep it in a branch on a constexpr"
        )


def patch_libdevice(patches: Patches) -> None:
    """Let kernels call libdevice's functions: under CUDA's names, and the ones that stand for any vendor's."""
    for name, function in inspect.getmembers(cuda, tl.core.is_builtin):
        patches.set_attr(cuda, name, _callable(name, function))
    for name, _ in inspect.getmembers(declared, inspect.isfunction):
        patches.set_attr(declared, name, getattr(cuda, name, None) or _missing(name))


def _callable(name: str, function: Callable) -> Callable:
    @functools.wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        named["_semantic"] = stock.interpreter_semantic
        try:
            return function(*values, **named)
        except KeyError:  # Triton looks the types up among those the function is declared for
            given = ", ".join(str(getattr(value, "dtype", value)) for value in values)
            raise TypeError(f"libdevice.{name} does not take ({given})") from None

    vars(call).pop(tl.core.TRITON_BUILTIN, None)
    return call


def _missing(name: str) -> Callable:
    def call(*values: Any, **named: Any) -> None:
        raise NotImplementedError(f"libdevice.{name} is a GPU function that the interpreter does not have")

    return call
