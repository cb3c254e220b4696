"""Who is told of what a program is at: modules as they are called, nodes as they are made and run, steps of its own.

While nobody is, each of these costs one look at `observer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol


class Observer(Protocol):
    """Somebody who watches a program: `tritongrad.profiler`."""

    def module_called(self, module: Any) -> AbstractContextManager[None]:
        """Entered around a call of a module, its hooks included."""

    def node_made(self, node: Any) -> None:
        """An operation has been recorded."""

    def node_running(self, node: Any) -> AbstractContextManager[None]:
        """Entered around the computation of a node's gradients."""

    def labelled(self, name: str) -> AbstractContextManager[None]:
        """Entered around what goes by this name."""


observer: Observer | None = None
_ALONE = nullcontext()


def labelled(name: str) -> AbstractContextManager[None]:
    """Around what is to be shown under this name to whoever watches."""
    watching = observer
    return _ALONE if watching is None else watching.labelled(name)


def each(name: str, items: Iterator[Any]) -> Iterator[Any]:
    """`items`, the making of each of which is to be shown under this name."""
    while True:
        with labelled(name):
            item = next(items, _NONE)
        if item is _NONE:
            return
        yield item


_NONE = object()
