"""The sanitizer, switched on: every launch of this process is checked as it runs in the interpreter.

`TRITONGRAD_SANITIZE=1` in the environment does this from the start. What is found is described in
`interpret.sanitizer`; besides, what each launch declares to move is held against the bytes it touched, and memory knows
which of its bytes were ever written to. An error says which kernel, which program, which argument, which byte of it and
which line of source. Expect launches to take several times as long.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence

from tritongrad_kernels import launch, memory
from tritongrad_kernels.array import Array
from tritongrad_kernels.interpret import state
from tritongrad_kernels.interpret.memory import Memory
from tritongrad_kernels.interpret.programs import run_grid
from tritongrad_kernels.interpret.sanitizer import Sanitizer, SanitizerError, Traffic, reachable

_current: Sanitizer | None = None


def start(limit: int | None = None) -> Sanitizer:
    """Check every launch from now on, or those whose arrays hold at most `limit` bytes."""
    global _current
    _current = sanitizer = Sanitizer(limit)
    state.memory, state.run_grid, state.check_integers = sanitizer, sanitizer.run_grid, sanitizer.check_integers
    memory.POISON, memory.ACCOUNT = True, sys.maxsize if limit is None else limit
    launch.around = _supervise
    return sanitizer


def stop() -> None:
    """Check no further launch."""
    global _current
    _current = None
    state.memory, state.run_grid, state.check_integers = Memory(), run_grid, None
    memory.POISON, memory.ACCOUNT = False, 0
    launch.around = None


@contextlib.contextmanager
def sanitized(limit: int | None = None) -> Iterator[Sanitizer]:
    """Check the launches inside the block."""
    try:
        yield start(limit)
    finally:
        stop()


@contextlib.contextmanager
def _supervise(told: launch.Launch, indirect: Sequence[Array]) -> Iterator[None]:
    assert _current is not None
    with reachable(*indirect):
        yield
    moved = _current.traffic
    if moved is None or not told.bytes or moved.total == told.bytes or (told.at_most and moved.total < told.bytes):
        return
    distinct = _current.distinct_traffic
    assert distinct is not None
    if distinct.total != told.bytes:
        raise SanitizerError(
            f"{told.kernel} declares {told.bytes:,} bytes moved, but reads {moved.read:,} and writes {moved.written:,}"
        )


__all__ = ["Sanitizer", "SanitizerError", "Traffic", "reachable", "sanitized", "start", "stop"]
