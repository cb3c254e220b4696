"""Switches of each thread: whether operations are recorded, and whether they may choose their precision."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any


class _Mode(threading.local):
    enabled = True
    inference = False
    casting = False  # whether `autocast` is on somewhere and no listed operation is running


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations of this thread are being recorded."""
    return _mode.enabled


def is_casting() -> bool:
    """Whether operations of this thread may choose their precision now; see `tritongrad.precision`."""
    return _mode.casting


def set_casting(on: bool) -> bool:
    """Let operations choose their precision, or not; what was before."""
    before, _mode.casting = _mode.casting, on
    return before


class as_is:
    """Inside, operations take the dtypes of their operands, whatever autocast says."""

    def __enter__(self) -> None:
        self._before = set_casting(False)

    def __exit__(self, *exc: object) -> None:
        set_casting(self._before)


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return _mode.inference


class set_grad_enabled:
    """Switch recording on or off: at once when called, and back on leaving when used with `with`; or a decorator."""

    def __init__(self, mode: bool) -> None:
        self._before, self.mode = _mode.enabled, bool(mode)
        _mode.enabled = self.mode

    def __call__(self, function: Callable) -> Callable:
        _mode.enabled = self._before  # as a decorator it is about the function, not about what follows here
        return (enable_grad if self.mode else no_grad)()(function)

    def __enter__(self) -> None:
        _mode.enabled = self.mode

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before


class _Recording:
    """A context manager and decorator under which recording is on or off."""

    mode: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and callable(args[0]):  # used as a bare decorator: @no_grad
            return cls()(args[0])
        return super().__new__(cls)

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_mode.enabled)
        _mode.enabled = self.mode

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before.pop()

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self.fresh():
                return function(*args, **kwargs)

        return inside

    def fresh(self) -> _Recording:
        """Another one like this, for another thread or a nested call."""
        return type(self)()


class no_grad(_Recording):
    """Nothing is recorded inside: `with no_grad(): ...`, `@no_grad()` or `@no_grad`."""

    mode = False


class enable_grad(_Recording):
    """Recording is on inside, also within `no_grad`."""

    mode = True


class inference_mode(_Recording):
    """As `no_grad`; `inference_mode(False)` records."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = not mode
        self._outer: list[bool] = []

    def fresh(self) -> inference_mode:
        return inference_mode(not self.mode)

    def __enter__(self) -> None:
        super().__enter__()
        self._outer.append(_mode.inference)
        _mode.inference = not self.mode

    def __exit__(self, *exc: object) -> None:
        _mode.inference = self._outer.pop()
        super().__exit__(*exc)
