"""The arguments and the result of a call, taken apart into tensors and the structure they stand in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tritongrad.compilation.reach import PLAIN
from tritongrad.tensor import Tensor


@dataclass(frozen=True)
class Place:
    """Where tensor number `index` stands."""

    index: int


class Parts:
    """A value made of tuples, lists and dicts.

    tensors    the tensors in it, each once
    plain      numbers, strings and the like, with their types: what has to be equal
    others     all other objects
    structure  the value with a Place for each tensor
    """

    def __init__(self, value: Any) -> None:
        self.tensors: list[Tensor] = []
        self.plain: list[Any] = []
        self.others: list[Any] = []
        self.structure = self._taken(value)

    def _taken(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, Tensor):
            index = next((i for i, t in enumerate(self.tensors) if t is value), len(self.tensors))
            self.tensors[index:] = self.tensors[index:] or [value]
            self.plain.append(index)
            return Place(index)
        if kind in (list, tuple) or (isinstance(value, tuple) and hasattr(kind, "_make")):
            self.plain += [kind, len(value)]
            items = [self._taken(v) for v in value]
            return kind._make(items) if hasattr(kind, "_make") else kind(items)
        if kind is dict:
            self.plain += [dict, *value]
            return {k: self._taken(v) for k, v in value.items()}
        if isinstance(value, PLAIN):
            self.plain += [kind, value]
        else:
            self.others.append(value)
        return value


def rebuilt(structure: Any, tensors: Sequence[Any]) -> Any:
    """The value again, with these in the places of tensors."""
    return mapped(structure, lambda place: tensors[place.index])


def mapped(structure: Any, fill: Callable[[Place], Any]) -> Any:
    if type(structure) is Place:
        return fill(structure)
    if isinstance(structure, tuple):
        items = [mapped(v, fill) for v in structure]
        return type(structure)._make(items) if hasattr(structure, "_make") else tuple(items)
    if type(structure) is list:
        return [mapped(v, fill) for v in structure]
    return {k: mapped(v, fill) for k, v in structure.items()} if type(structure) is dict else structure


class Call(Parts):
    """The arguments of a call. `signature` tells calls apart that a captured run cannot serve both."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__((args, kwargs))
        layouts = [
            (t.array.shape, t.array.strides, t.array.data_ptr() % 16, t.dtype, t.device, t.requires_grad)
            for t in self.tensors
        ]
        self.signature = (*self.plain, *layouts)

    def with_tensors(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with these in the places of tensors."""
        return rebuilt(self.structure, tensors)

    def same(self, other: Call) -> bool:
        """Whether the other call has the same signature, and the very same objects that are no tensors."""
        if self.signature != other.signature or len(self.others) != len(other.others):
            return False
        return all(a is b for a, b in zip(self.others, other.others, strict=True))
