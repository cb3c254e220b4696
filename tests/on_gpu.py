"""What tests do differently on a GPU: whose tiles they may take, and when a process is of no more use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tritongrad_kernels import driver, launch, memory

Column = Callable[[str], AbstractContextManager[None]]


def own_columns_only(column: Column) -> Column:
    """`launch.column`, but a test that launches with tiles of the interpreter or of a newer GPU is skipped.

    The interpreter's are too large to be compiled, a newer GPU's may not fit. In a dry run nothing is launched.
    """

    def guarded(name: str) -> AbstractContextManager[None]:
        own = launch.arch()
        if not memory.in_dry_run() and (name == "interpret" or _number(name) > _number(own)):
            pytest.skip(f"tiles of {name}, which are not for this GPU ({own})")
        return column(name)

    return guarded


def _number(column: str) -> int:
    return int(column.partition("_")[2] or 0)


def check_health() -> None:
    """End the session if a test's kernel has ended this process' use of the GPU: every other test would fail of it."""
    try:
        driver.synchronize()
    except Exception as error:
        pytest.exit(f"the GPU is of no more use to this process: {error}", returncode=3)
