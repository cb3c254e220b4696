"""Triton's language, patched once: stock, the interpreter does so for each launch and each nested call."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import triton.language as tl
import triton.runtime.interpreter as stock

from tritongrad_kernels.interpret.patches import Patches


class _AlreadyPatched:
    """Returned to Triton code that asks for the language to be patched for one launch."""

    def restore(self) -> None:
        pass


def patch_language(patches: Patches) -> None:
    """Replace the language's functions by the interpreter's once, where Triton does so for each launch and call."""
    temporary = Patches()
    temporary.set_attr(stock, "_LangPatchScope", lambda: patches)
    temporary.set_attr(stock, "_patch_attr", _patch_builtin)
    stock._patch_lang(types.SimpleNamespace(__globals__={"tl": tl, "core": tl.core}))
    temporary.restore()
    patches.set_attr(tl.block_type, "__init__", _remember_block_types(tl.block_type.__init__))
    patches.set_attr(tl.tensor, "__init__", _remember_tensor_shapes(tl.tensor.__init__))
    patches.set_attr(tl.tensor, "__index__", lambda self: int(self.handle.data.item()))
    patches.set_attr(stock, "_patch_lang", lambda fn: _AlreadyPatched())
    patches.set_attr(tl.core, "_unwrap_if_constexpr", _unwrap(tl.core._unwrap_if_constexpr))


def _unwrap(original: Callable) -> Callable:
    """Nearly everything Triton unwraps is plain."""
    plain = {tl.tensor, int, float, bool, type(None)}

    def unwrap(value: Any) -> Any:
        return value if type(value) in plain else original(value)

    return unwrap


def _remember_block_types(original: Callable) -> Callable:
    """Block types are made for every operation and never change: compute each once."""
    known: dict[Any, dict[str, Any]] = {}

    def __init__(self: Any, element_ty: tl.dtype, shape: Any) -> None:
        key = (element_ty.name, *(getattr(n, "value", n) for n in shape))
        state = known.get(key)
        if state is None:
            original(self, element_ty, shape)
            known[key] = dict(vars(self))
        else:
            vars(self).update(state)

    return __init__


def _remember_tensor_shapes(original: Callable) -> Callable:
    """What a tensor derives from its type, computed once for each type."""
    known: dict[str, dict[str, Any]] = {}

    def __init__(self: Any, handle: Any, type: tl.dtype) -> None:
        state = known.get(type.name)
        if state is None:
            original(self, handle, type)
            known[type.name] = {name: value for name, value in vars(self).items() if name not in ("handle", "type")}
        else:
            attributes = vars(self)
            attributes.update(state)
            attributes["handle"], attributes["type"] = handle, type

    return __init__


def _patch_builtin(owner: Any, name: str, member: Callable, builder: Any, patches: Patches) -> None:
    semantic = stock.interpreter_semantic

    @functools.wraps(member)
    def builtin(*values: Any, **named: Any) -> Any:
        named["_semantic"] = semantic
        return member(*values, **named)

    vars(builtin).pop(tl.core.TRITON_BUILTIN)  # the mark of what is still to be patched
    patches.set_attr(owner, name, builtin)
