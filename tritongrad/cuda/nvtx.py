"""torch.cuda.nvtx: ranges for NVIDIA's profilers. They are labels of `tritongrad.profiler`, and not passed on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tritongrad.profiler import record_function

_open: list[record_function] = []


def range_push(msg: str) -> int:
    """Begin a range; gives how many it is in."""
    _open.append(record_function(msg).__enter__())
    return len(_open) - 1


def range_pop() -> int:
    """End the innermost range; gives how many are left."""
    if _open:
        _open.pop().__exit__()
    return len(_open)


def range_start(msg: str) -> int:
    return 0


def range_end(range_id: int) -> None:
    """End a range of `range_start`."""


def mark(msg: str) -> None:
    """Mark a moment."""


@contextlib.contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A range around a block or a function."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
