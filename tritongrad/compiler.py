"""torch.compiler's names. Functions are captured and not traced here; see `compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tritongrad.compilation import compile as compile, disable as disable, is_running, reset as reset

Function = TypeVar("Function", bound=Callable)


def allow_in_graph(fn: Function) -> Function:
    """The function itself."""
    return fn


def assume_constant_result(fn: Function) -> Function:
    """The function itself."""
    return fn


def is_compiling() -> bool:
    """Whether a compiled function is running as Python, to be captured now or in its next call."""
    return is_running()


def is_dynamo_compiling() -> bool:
    """As `is_compiling`."""
    return is_running()


def is_exporting() -> bool:
    """False."""
    return False


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """None: `compile` takes any name."""
    return []


def cudagraph_mark_step_begin() -> None:
    """Nothing to do: results are copied out of what is captured, and gradients that somebody keeps are moved."""
