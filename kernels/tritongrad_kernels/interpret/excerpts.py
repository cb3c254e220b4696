"""Launches too large to run, run at their ends: the first and last programs, and the first and last turns of loops.

That is where indices are largest. With memory that nothing was written to, which costs nothing until it is touched, a
launch over more than 2^31 elements takes no longer than a small one. What it computes is right as far as what was left
out has no part in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

programs: int | None = None
turns: int | None = None


@contextlib.contextmanager
def excerpt(of_programs: int, of_turns: int) -> Iterator[None]:
    """Run no more than this many programs from either end of each grid, and this many turns from either end of loops.

    Loops of `tl.static_range` and `while` turn as often as ever, and so do shorter ones, as those of a bisection.
    """
    global programs, turns
    before, (programs, turns) = (programs, turns), (of_programs, of_turns)
    try:
        yield
    finally:
        programs, turns = before


def ends(values: Sequence[T], most: int | None) -> Sequence[T]:
    """The first and the last `most` of some values; all where there are no more, or `most` is None."""
    if most is None or len(values) <= 2 * most:
        return values
    return [*values[:most], *values[len(values) - most :]]
