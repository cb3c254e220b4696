"""Triton's errors, which can be pages of dumps, as a reason and the line of source it is about."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

from triton.compiler.errors import CompilationError
from triton.runtime.jit import JITFunction


def explain(error: BaseException, dump: str, function: JITFunction) -> tuple[str, str]:
    """The reason, and where: "file.py:12: `the line`". `dump` is what the compiler wrote to stderr meanwhile.

    Where the error names no line, it is the kernel's first.
    """
    chain = list(_chain(error))
    located = [e for e in chain if isinstance(e, CompilationError) and hasattr(e.node, "lineno")]
    for e in reversed(located):
        place = _place(e)
        if place is not None:
            return _reason(chain[-1]), place
    diagnostic = re.search(r"^(\S+\.py):(\d+):\d+: error: (.*)$", dump, re.MULTILINE)
    if diagnostic:
        return diagnostic[3], f"{diagnostic[1]}:{diagnostic[2]}"
    file, line = _start(function)
    return _reason(chain[-1]), f"{file}:{line}"


def _start(function: JITFunction) -> tuple[str, int]:
    """The file of a kernel and the line of its `def`, where the source that Triton compiles begins."""
    lines, first = inspect.getsourcelines(function.fn)
    offset = next(i for i, line in enumerate(lines) if line.lstrip().startswith("def "))
    return function.fn.__code__.co_filename, first + offset


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, the innermost last."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _reason(error: BaseException) -> str:
    """What went wrong, without the repr of an exception around it and the source excerpt before it."""
    text = error.error_message if isinstance(error, CompilationError) else f"{type(error).__name__}: {error}"
    wrapped = re.fullmatch(r"(\w+)\((['\"])(.*)\2,?\)", text or "", re.DOTALL)
    if wrapped:
        text = (
            wrapped[3] if wrapped[1] in ("AssertionError", "ValueError", "TypeError") else f"{wrapped[1]}: {wrapped[3]}"
        )
    lines = [line.strip() for line in (text or "the compiler gives no reason").splitlines() if line.strip()]
    return " ".join(lines)[:300].rstrip(". ")


def _place(error: CompilationError) -> str | None:
    """File, line and text that a compilation error points at; None for source of no function that can be found."""
    for module in list(sys.modules.values()):
        for function in list(vars(module).values()) if hasattr(module, "__dict__") else ():
            if isinstance(function, JITFunction) and function.src == error.src:
                file, begin = _start(function)
                text = error.src.splitlines()[error.node.lineno - 1].strip()
                return f"{file}:{begin + error.node.lineno - 1}: `{text}`"
    return None
