"""Stretches of a program under names of the user's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tritongrad.profiler.recorder import Recorder, Span
from tritongrad.profiler.recording import begin_label


class record_function:
    """What runs inside the block, or inside each call of a decorated function, appears under `name` in profiles.

        with record_function("augment"): ...

        @record_function("loss")
        def loss(...): ...

    While nobody profiles, it does nothing.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._begun: list[tuple[Recorder, Span] | None] = []

    def __enter__(self) -> record_function:
        self._begun.append(begin_label(self.name, self.args or ""))
        return self

    def __exit__(self, *exc: object) -> None:
        begun = self._begun.pop()
        if begun is not None:
            recorder, span = begun
            recorder.end_span(span)

    def __call__(self, function: Callable) -> Any:
        @functools.wraps(function)
        def labelled(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return labelled
