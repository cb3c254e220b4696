"""Anomaly mode: which line of a program recorded the operation whose gradient is NaN, or fails."""

from __future__ import annotations

import linecache
import os
import sys
import threading
from typing import Any

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep


class _State(threading.local):
    enabled = False
    check_nan = True


_state = _State()


def is_anomaly_enabled() -> bool:
    """Whether operations of this thread note where they are recorded."""
    return _state.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether gradients are looked at for NaN, where anomaly mode is on."""
    return _state.check_nan


class set_detect_anomaly:
    """Switch anomaly mode on or off: at once when called, and back on leaving when used with `with`.

    While it is on, each operation notes the line that called it. A backward whose function raises, or gives NaN (unless
    `check_nan` is off), then raises with that line. Everything is slower: each gradient is read by the host.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = _state.enabled, _state.check_nan
        _state.enabled, _state.check_nan = bool(mode), check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _state.enabled, _state.check_nan = self._before


class detect_anomaly:
    """Anomaly mode inside the block; see `set_detect_anomaly`."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan

    def __enter__(self) -> None:
        self._set = set_detect_anomaly(True, self._check_nan)

    def __exit__(self, *exc: object) -> None:
        self._set.__exit__()


def calling_line() -> str | None:
    """`file:line: text` of the innermost line outside this package; None while anomaly mode is off."""
    if not _state.enabled:
        return None
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{line}: {linecache.getline(file, line).strip()}"


def check(name: str, line: str | None, gradients: Any) -> None:
    """Raise RuntimeError if one of the gradients that operation `name`, recorded at `line`, gave holds a NaN."""
    if not (_state.enabled and _state.check_nan):
        return
    for i, g in enumerate(gradients):
        if g is not None and g.is_floating_point() and g.detach().isnan().any().item():
            recorded = f"recorded at {line}" if line else "recorded while anomaly detection was off"
            raise RuntimeError(f"Function '{name}Backward' returned nan values in its {i}th output; it was {recorded}")
