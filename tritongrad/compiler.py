"""torch.compiler's names. Nothing is traced here (see `compile`), so that there is nothing to leave out of a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tritongrad.compilation import compile as compile

Function = TypeVar("Function", bound=Callable)


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function itself. Also a decorator, with or without options."""
    return fn if fn is not None else lambda function: function


def allow_in_graph(fn: Function) -> Function:
    """The function itself."""
    return fn


def assume_constant_result(fn: Function) -> Function:
    """The function itself."""
    return fn


def is_compiling() -> bool:
    """False."""
    return False


def is_dynamo_compiling() -> bool:
    """False."""
    return False


def is_exporting() -> bool:
    """False."""
    return False


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """None: `compile` takes any name."""
    return []


def reset() -> None:
    """Nothing is remembered of what was compiled."""


def cudagraph_mark_step_begin() -> None:
    """No memory is reused between steps without its owner's leave."""
