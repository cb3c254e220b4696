"""torch's forms from before 1.5, which it still takes: factors as numbers in front of what they multiply."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from tritongrad.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def factor_first(name: str, operands: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: f(input, number, *operands) is f(input, *operands, name=number), with a warning."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: Any, **named: Any) -> R:
            if len(args) != operands + 2 or isinstance(args[1], Tensor):
                return function(*args, **named)
            warnings.warn(f"{function.__name__}: the factor in front is deprecated; say {name}=", stacklevel=2)
            return function(args[0], *args[2:], **{name: args[1]}, **named)

        return cast(Callable[P, R], called)

    return decorated


def factors_between(function: Callable[P, R]) -> Callable[P, R]:
    """f(beta, input, alpha, mat1, mat2), or as a method input.f(beta, alpha, mat1, mat2), is f(input, mat1, mat2) with
    beta and alpha by name, with a warning."""

    @functools.wraps(function)
    def called(*args: Any, **named: Any) -> R:
        numbers = [a for a in args if not isinstance(a, Tensor)] if len(args) == 5 else ()
        if len(numbers) != 2:
            return function(*args, **named)
        warnings.warn(f"{function.__name__}: factors in front are deprecated; say beta= and alpha=", stacklevel=2)
        tensors: list[Any] = [a for a in args if isinstance(a, Tensor)]
        return function(*tensors, **dict(zip(("beta", "alpha"), numbers, strict=True)), **named)

    return cast(Callable[P, R], called)
