"""numpy's names for arguments, which torch takes beside its own: axis for dim, keepdims for keepdim, x for input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Source: numpy_compatibility_arg_names in PyTorch's torch/csrc/utils/python_arg_parser.cpp.
_OURS = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}
_THEIRS = frozenset(_OURS)


def numpy_names(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, taking numpy's names too. TypeError where an argument is given by both."""

    @functools.wraps(function)
    def called(*args: P.args, **named: P.kwargs) -> R:
        if named and not _THEIRS.isdisjoint(named):
            return function(*args, **_translated(function.__name__, named))
        return function(*args, **named)

    return called


def _translated(name: str, named: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in named.items():
        ours = _OURS.get(key, key)
        if ours in found:
            raise TypeError(f"{name}() got multiple values for argument '{ours}', once as '{key}'")
        found[ours] = value
    return found
