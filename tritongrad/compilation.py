"""torch.compile's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool | None = None,
    shapes_spec: Any = None,
    name: str | None = None,
) -> Any:
    """The function or module itself: its kernels are compiled and fused already, so there is nothing to trace.

    Also a decorator, with or without options. All options are accepted and change nothing; neither do the results,
    which are bitwise those of the function. TypeError for what cannot be called.
    """
    if model is None:
        return compile
    if not callable(model):
        raise TypeError(f"compile: expected a function or a module, got {type(model).__name__}")
    return model
