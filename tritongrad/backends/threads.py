"""How many threads of the CPU scripts ask for: remembered, and nothing depends on it."""

from __future__ import annotations

import os

_threads = {"num": os.cpu_count() or 1, "num_interop": os.cpu_count() or 1}


def _set(what: str, count: int) -> None:
    if not isinstance(count, int):
        raise RuntimeError(f"set_{what}_threads expects an int, but got {type(count).__name__}")
    if count <= 0:
        raise RuntimeError(f"set_{what}_threads: expected a positive number, got {count}")
    _threads[what] = count


def set_num_threads(count: int) -> None:
    """Say how many threads one operation may use."""
    _set("num", count)


def get_num_threads() -> int:
    """What `set_num_threads` was given; at first, the number of processors."""
    return _threads["num"]


def set_num_interop_threads(count: int) -> None:
    """Say how many threads operations may be spread over."""
    _set("num_interop", count)


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` was given; at first, the number of processors."""
    return _threads["num_interop"]
