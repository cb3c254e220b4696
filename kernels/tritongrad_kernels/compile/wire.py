"""Launches as JSON, so that another process can compile them.

A kernel goes by its module's name and its own: what cannot be imported under a name cannot be compiled elsewhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import triton.language as tl

from tritongrad_kernels import descriptors, dtypes
from tritongrad_kernels.descriptors import Described
from tritongrad_kernels.launch import Launch, Pointer


class CompileError(RuntimeError):
    """A launch that cannot be compiled. One sentence: kernel, arguments, architecture, reason, source line."""


def encode(launch: Launch) -> dict[str, Any]:
    """A launch without its grid, which compiling ignores. CompileError if its kernel cannot be imported by name."""
    return {
        "function": _name(launch.function),
        "arguments": [_encode(value) for value in launch.arguments],
        "options": {name: _encode(value) for name, value in launch.options.items()},
    }


def decode(message: Mapping[str, Any]) -> tuple[Any, list[Any], dict[str, Any]]:
    """The jit function, arguments and options that `encode` was given."""
    options = {name: _decode(value) for name, value in message["options"].items()}
    return _find(message["function"]), [_decode(value) for value in message["arguments"]], options


def _encode(value: Any) -> Any:
    if isinstance(value, Pointer):
        return {"pointer": value.dtype.name, "aligned": value.aligned}
    if isinstance(value, Described):
        return {"descriptor": value.dtype.name, "block": list(value.block)}
    if isinstance(value, tl.dtype):
        return {"dtype": str(value)}
    if isinstance(value, tl.constexpr):
        return {"constexpr": _encode(value.value)}
    if isinstance(value, tuple | list):
        return {"tuple": [_encode(v) for v in value]}
    if hasattr(value, "fn"):
        return {"function": _name(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CompileError(f"an argument of type {type(value).__name__} cannot be sent to another process for compiling")


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "pointer" in value:
        return Pointer(dtypes.by_name(value["pointer"]), value["aligned"])
    if "descriptor" in value:
        return descriptors.stand_in(Described(dtypes.by_name(value["descriptor"]), tuple(value["block"])))
    if "dtype" in value:
        return tl.dtype(value["dtype"])
    if "constexpr" in value:
        return tl.constexpr(_decode(value["constexpr"]))
    if "tuple" in value:
        return tuple(_decode(v) for v in value["tuple"])
    return _find(value["function"])


def _name(function: Any) -> str:
    module, name = function.fn.__module__, function.fn.__qualname__
    if module == "__main__" or "<locals>" in name:
        where = "the program's main file" if module == "__main__" else f"a function of {module}"
        raise CompileError(
            f"{name.split('.')[-1]} is defined in {where}: to be compiled in another process, "
            "a kernel must be at the top level of a module that can be imported"
        )
    return f"{module}:{name}"


def _find(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CompileError(f"{attribute} cannot be imported from {module}: {error}") from error
