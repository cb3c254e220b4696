"""The programs of a launch, and the order in which they run."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import types
from collections.abc import Iterable, Iterator
from typing import Any

import triton.language as tl
import triton.runtime.interpreter as stock
from triton.runtime.errors import InterpreterError

from tritongrad_kernels.interpret import excerpts
from tritongrad_kernels.interpret.arguments import AddressOf, converted, real_address

_program_order: str | int = "forward"


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What a launch needs to know of a kernel, found once."""

    body: types.FunctionType
    parameters: tuple[str, ...]
    defaults: dict[str, Any]
    constants: frozenset[str]
    scalar_types: dict[str, tl.dtype]

    def arguments(self, bound: dict[str, Any], address: AddressOf = real_address) -> dict[str, Any]:
        """What the body is called with, from what the launch was given by parameter name."""
        return {
            name: value if name in self.constants else converted(value, name, self.scalar_types.get(name), address)
            for name, value in bound.items()
        }


def run_grid(
    kernel: Kernel, bound: dict[str, Any], grid: tuple[int, int, int], address: AddressOf = real_address
) -> None:
    """Run every program of a launch, one after another, in the current `order`."""
    arguments = kernel.arguments(bound, address)
    builder = stock.interpreter_builder
    before = builder.__dict__.get("grid_dim"), builder.__dict__.get("grid_idx")
    builder.grid_dim = grid
    try:
        for builder.grid_idx in _programs(grid):
            kernel.body(**arguments)
    except Exception as error:
        where = f"{kernel.body.__name__}, program {builder.grid_idx}"
        raise InterpreterError(f"{where}: {type(error).__name__}: {error}") from error
    finally:
        builder.grid_dim, builder.grid_idx = before


def _programs(grid: tuple[int, int, int]) -> Iterable[tuple[int, ...]]:
    if excerpts.programs is None and _program_order == "forward":
        return itertools.product(*map(range, grid))
    x, y, z = grid
    listed = [(k // z // y, k // z % y, k % z) for k in excerpts.ends(range(x * y * z), excerpts.programs)]
    if _program_order == "forward":
        return listed
    if _program_order == "reverse":
        return listed[::-1]
    random.Random(_program_order).shuffle(listed)
    return listed


@contextlib.contextmanager
def order(which: str | int) -> Iterator[None]:
    """Run the programs of each launch "forward", in "reverse", or shuffled by an integer seed."""
    global _program_order
    if which not in ("forward", "reverse") and not isinstance(which, int):
        raise ValueError(f'order is "forward", "reverse" or an integer seed, not {which!r}')
    before, _program_order = _program_order, which
    try:
        yield
    finally:
        _program_order = before
