"""Attributes replaced in Triton, and how to put them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MISSING = object()


class Patches:
    """Attributes replaced, and what they were. Has the interface of Triton's own _LangPatchScope."""

    def __init__(self) -> None:
        self.changes: list[tuple[Any, str, Any]] = []

    def set_attr(self, owner: Any, name: str, value: Any) -> None:
        self.changes.append((owner, name, vars(owner).get(name, _MISSING)))
        setattr(owner, name, value)

    def restore(self) -> None:
        while self.changes:
            owner, name, original = self.changes.pop()
            if original is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


originals: dict[Callable, Callable] = {}


def original_of(replacement: Callable) -> Callable:
    return originals[replacement]
