"""torch.jit's names, for model files written to be scripted as well as run: they are run.

A function or module is given back as it is: it computes what a script of it would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final as Final, TypeVar

from tritongrad.nn.module import Module

Function = TypeVar("Function", bound=Callable)


ScriptModule = Module
"""A base class of modules."""


def script(
    obj: Any,
    optimize: Any = None,
    _frames_up: int = 0,
    _rcb: Any = None,
    example_inputs: Any = None,
) -> Any:
    """`obj` itself: a function, a module or a class. Also a decorator. Options are accepted and change nothing."""
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **options: Any) -> Any:
    """`func` itself, a function or a module, after one call with the example inputs, as torch makes it."""
    if example_inputs is not None:
        func(*(example_inputs if isinstance(example_inputs, tuple | list) else (example_inputs,)))
    return func


def ignore(drop: Any = False, **options: Any) -> Any:
    """A decorator that changes nothing, with or without options."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn: Function) -> Function:
    """A decorator that changes nothing."""
    return fn


def export(fn: Function) -> Function:
    """A decorator that changes nothing."""
    return fn


def script_method(fn: Function) -> Function:
    """A decorator that changes nothing."""
    return fn


def script_if_tracing(fn: Function) -> Function:
    """A decorator that changes nothing."""
    return fn


def _overload(func: Function) -> Function:
    """A decorator of declarations without a body, which the function of the same name below them replaces."""
    return func


def _overload_method(func: Function) -> Function:
    """As `_overload`, of methods."""
    return func


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value: its type is declared for scripts alone."""
    return the_value


def is_scripting() -> bool:
    """False: nothing is ever a script here."""
    return False


def is_tracing() -> bool:
    """False: nothing is ever traced here."""
    return False
