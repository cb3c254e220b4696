"""A callable that captures its function where it can, and runs it where it cannot."""

from __future__ import annotations

import functools
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any

from tritongrad.compilation.calls import Call
from tritongrad.compilation.captured import Captured
from tritongrad.compilation.guards import Guards, is_watched
from tritongrad.nn.module import Module
from tritongrad_kernels import INTERPRETED, memory
from tritongrad_kernels.capture import HostRead, Uncapturable

LIMIT = 8  # captures kept for a function; torch's number
_TIRED = (
    64  # captures made of a function, and calls in a row that found nothing as it was, after which it is left alone
)

_running: ContextVar[bool] = ContextVar("running", default=False)
_all: weakref.WeakSet[Compiled] = weakref.WeakSet()


def is_running() -> bool:
    """Whether a compiled function is running as Python: before it is captured, or while it is."""
    return _running.get()


@contextmanager
def _run() -> Iterator[None]:
    token = _running.set(True)
    try:
        with memory.refusing(HostRead):
            yield
    finally:
        _running.reset(token)


class _Warm:
    """A call that ran as Python: with what, what it found, and how many bytes it brought to the device."""

    def __init__(self, call: Call, guards: Guards) -> None:
        self.call, self.guards, self.room = call, guards, 0
        self.why: str | None = guards.python_hook


class Compiled:
    """What `compile` gives for a function; see there."""

    is_compiled = True  # of which others that can reach it look at the function only

    def __init__(
        self,
        function: Callable,
        fullgraph: bool = False,
        limit: int | None = None,
        replay: bool | None = None,
        name: str | None = None,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.settings = {"fullgraph": fullgraph, "limit": limit, "replay": replay, "name": name}
        self.function, self._fullgraph, self._limit = function, fullgraph, LIMIT if limit is None else limit
        self._name = name or getattr(function, "__name__", type(function).__name__)
        asked = os.environ.get("TRITONGRAD_REPLAY", "0") != "0" if replay is None else replay
        self._replays = asked or not INTERPRETED
        self._is_module = isinstance(getattr(function, "__self__", function), Module)
        self._lock = threading.RLock()
        self.forget()
        _all.add(self)

    def __reduce__(self) -> Any:
        return _from_settings, (self.function, self.settings)

    def forget(self) -> None:
        """Begin anew, with nothing captured."""
        self.captured: list[Captured] = []
        self._warm: list[_Warm] = []
        self._made, self._misses, self._told = 0, 0, False

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else MethodType(self, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _running.get() or is_watched() or memory.capturing() is not None or self._misses >= _TIRED:
            return self.function(*args, **kwargs)
        with self._lock:
            return self._call(Call(args, kwargs), args, kwargs)

    def _call(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for k, captured in enumerate(self.captured):
            if captured.fits(call):
                if captured.is_open():
                    return self.function(*args, **kwargs)
                self.captured.insert(0, self.captured.pop(k))
                self._misses = 0
                return captured.run(call)
        changed = None
        for k, warm in enumerate(self._warm):
            if warm.call.same(call):
                found = warm.guards.changed()
                changed = changed or found  # since the last call
                if found is None:
                    self._warm.insert(0, self._warm.pop(k))
                    return self._again(warm, call, args, kwargs)
        return self._first(call, args, kwargs, changed)

    def _first(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], changed: str | None) -> Any:
        """Run as Python, having looked at everything before."""
        self._misses += changed is not None
        if self._misses >= _TIRED:
            self._warn(f"{changed}, again and again")
            self.forget()
            self._misses = _TIRED
        try:
            warm = _Warm(call, Guards([self.function, *call.others], with_grads=not self._is_module))
        except Uncapturable as error:
            self._refuse(str(error))
            self._misses = _TIRED
            return self.function(*args, **kwargs)
        if warm.why is not None:
            self._refuse(warm.why)
            return self.function(*args, **kwargs)
        before = memory.uploaded
        with _run():
            result = self.function(*args, **kwargs)
        warm.room = memory.uploaded - before
        self._warm = [warm, *self._warm][: 2 * self._limit]
        return result

    def _again(self, warm: _Warm, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Capture what ran with the same arguments and found the same."""
        if warm.why is not None or self._made >= _TIRED or self._limit < 1:
            return self.function(*args, **kwargs)
        if not self._replays:
            with _run():
                return self.function(*args, **kwargs)
        try:
            with _run():
                captured = Captured(self.function, call, warm.guards, warm.room, tape=INTERPRETED)
        except Uncapturable as error:
            warm.why = str(error)
            self._refuse(warm.why)
            return self.function(*args, **kwargs)
        self._warm.remove(warm)
        self._made += 1
        self._misses = 0
        self.captured = [captured, *self.captured][: self._limit]
        return captured.run(call, first=True)

    def _refuse(self, why: str) -> None:
        if self._fullgraph:
            raise RuntimeError(f"{self._name} cannot be captured, as fullgraph=True wants: {why}")
        self._warn(why)

    def _warn(self, why: str) -> None:
        if not self._told:
            self._told = True
            warnings.warn(f"compile: {self._name} runs as it is and is not captured: {why}", stacklevel=5)


def _from_settings(function: Callable, settings: dict[str, Any]) -> Compiled:
    return Compiled(function, **settings)


def reset() -> None:
    """Forget everything captured, and give its memory back."""
    for compiled in list(_all):
        compiled.forget()


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """A function that is never captured: a compiled one that calls it runs as it is. Also a decorator."""
    if fn is None:
        return lambda function: disable(function, recursive, reason=reason)
    if isinstance(fn, Module):
        fn.forward = disable(fn.forward)  # type: ignore[method-assign]
        return fn
    if isinstance(fn, Compiled):
        fn = fn.function

    @functools.wraps(fn)
    def plain(*args: Any, **kwargs: Any) -> Any:
        if memory.capturing() is not None:
            raise Uncapturable(
                f"it calls {getattr(fn, '__name__', fn)}, which is not to be captured: {reason or 'disable'}"
            )
        with memory.refusing(None):
            return fn(*args, **kwargs)

    return plain
