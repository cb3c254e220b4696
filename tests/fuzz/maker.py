"""Drawing programs: their operands' shapes, dtypes and layouts, numbers and axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.program import ALL, FLOATS, Operand, Program, Shape

Line = Callable[["Maker"], str]
"""Writes the line of a program."""


class Maker:
    """Draws the parts of a program; `program` puts them together. What it draws first is also what it shrinks to."""

    def __init__(self, draw: Callable) -> None:
        self.draw = draw
        self.operands: dict[str, Operand] = {}
        self.options: dict[str, Any] = {}

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def rarely(self, one_in: int = 8) -> bool:
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def shape(self, least: int = 0, most: int = 4, extents: Sequence[int] = (2, 3, 1, 5, 4, 0)) -> Shape:
        rank = self.pick(*(r for r in (2, 3, 1, 4, 0) if least <= r <= most))
        return tuple(self.draw(st.lists(st.sampled_from(extents), min_size=rank, max_size=rank)))

    def dtype(self, kinds: Sequence[str] = ALL) -> str:
        """Floating three times in four, where there is a choice."""
        floats, others = [k for k in kinds if k in FLOATS], [k for k in kinds if k not in FLOATS]
        return self.pick(*(others if others and (not floats or self.rarely(4)) else floats))

    def number(self) -> Any:
        """A Python number that every dtype holds exactly, if it holds its kind at all."""
        return self.pick(2, 0.5, -1, 0, -1.5, 3, 0.0, True, 1, False)

    def dim(self, rank: int) -> int:
        """An axis from either end; seldom one too many."""
        rank = max(rank, 1)
        return rank if self.rarely(40) else self.integer(-rank, rank - 1)

    def dims(self, rank: int, least: int = 0) -> Any:
        """None, an axis, or several, at least so many."""
        if self.rarely(3):
            return None
        if self.rarely(3):
            return self.dim(rank)
        if rank < max(least, 1):
            return None if least else ()
        axes = st.lists(st.integers(-rank, rank - 1), min_size=least, max_size=rank, unique_by=lambda d: d % rank)
        return tuple(self.draw(axes))

    def tensor(
        self,
        shape: Shape,
        kinds: Sequence[str] = ALL,
        values: Any = "eighths",
        dtype: str | None = None,
        written: bool = False,
        layouts: Sequence[str] = ("plain", "permuted", "gaps", "expanded", "cut", "flipped"),
    ) -> str:
        """The name of a new operand."""
        kind = dtype or self.dtype(kinds)
        layout = self.pick(*layouts) if shape else "plain"
        if layout == "expanded" and (values == "distinct" or (written and not self.rarely(20))):
            layout = "gaps"
        stored, view = self._lie(shape, layout)
        name = "abcdefgh"[len(self.operands)]
        self.operands[name] = Operand(stored, kind, view, values, self.integer(0, 2**16), written)
        return name

    def _lie(self, shape: Shape, layout: str) -> tuple[Shape, str]:
        rank = len(shape)
        if layout == "permuted":
            order = self.draw(st.permutations(range(rank)))
            stored = [0] * rank
            for axis, n in zip(order, shape, strict=True):
                stored[axis] = n
            return tuple(stored), f"base.permute({', '.join(map(str, order))})"
        if layout == "gaps":
            return tuple(2 * n + 1 for n in shape), f"base[{', '.join(['1::2'] * rank)}]"
        if layout == "expanded":
            axis = self.integer(0, rank - 1)
            return (*shape[:axis], 1, *shape[axis + 1 :]), f"base.expand({', '.join(map(str, shape))})"
        if layout == "cut":
            axis = self.integer(0, rank - 1)
            return (*shape[:axis], shape[axis] + 2, *shape[axis + 1 :]), f"base.narrow({axis}, 1, {shape[axis]})"
        if layout == "flipped":
            return shape, f"base.flip({self.integer(0, rank - 1)})"
        return shape, "base"

    def fitting(self, shape: Shape) -> Shape:
        """A shape that broadcasts with another one: less in front, 1 in places; seldom one that does not."""
        if self.rarely(30):
            return self.shape()
        keep = shape[self.integer(0, len(shape)) :] if self.rarely(3) else shape
        return tuple(1 if self.rarely(4) else n for n in keep)

    def other(self, shape: Shape, kinds: Sequence[str] = ALL, values: Any = "eighths") -> str:
        """A second operand: a tensor that broadcasts, or a number."""
        if self.rarely(4):
            return repr(self.number())
        return self.tensor(self.fitting(shape), kinds, values)

    def program(self, code: str) -> Program:
        return Program(code, dict(self.operands), **self.options)


@st.composite
def programs(draw: Callable, make: Line) -> Program:
    """Programs whose line `make` writes."""
    maker = Maker(draw)
    return maker.program(make(maker))
