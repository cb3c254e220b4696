"""Python's multiprocessing, under torch's name. Tensors sent to another process are copied."""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403

__all__ = [*multiprocessing.__all__, "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy"]

_STRATEGIES = {"file_descriptor", "file_system"}
_chosen = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names that `set_sharing_strategy` takes."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The name given last."""
    return _chosen


def set_sharing_strategy(new_strategy: str) -> None:
    """Remembered, and changes nothing: no memory is shared. AssertionError for another name."""
    global _chosen
    assert new_strategy in _STRATEGIES, f"set_sharing_strategy: expected one of {sorted(_STRATEGIES)}"
    _chosen = new_strategy
