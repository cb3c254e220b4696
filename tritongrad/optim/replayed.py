"""An optimizer's update within a captured step: what the host does for it at each replay."""

from __future__ import annotations

from typing import Any

import numpy as np

from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels.array import Array
from tritongrad_kernels.capture import Varying, kept

Entry = tuple[Group, Tensor]


class Update:
    """One update of some parameters by an optimizer, the launches of which are replayed.

    rows    for each parameter, the options and arrays of state of its launch, which a replay cannot change
    before  the update of the same optimizer that comes before it in the captured step, if any
    unless  the number on the device that says whether the step was left out; the host waits for it, as without a
            capture, because it counts steps
    """

    def __init__(self, optimizer: Any, entries: list[Entry], before: Update | None, unless: Array | None) -> None:
        self.optimizer, self.entries, self._before = optimizer, entries, before
        self.rows: list[tuple[tuple[Any, ...], list[Array | None]]] = []
        self._numbers: list[list[float]] = []
        self._states: dict[Tensor, dict[str, Any]] = {}
        self._old = {p: dict(optimizer.state.get(p, {})) for _, p in entries}
        self._unless = None if unless is None else kept(unless)
        self._parts = 0

    def numbers(self, which: list[int]) -> Varying:
        """The numbers of some of the parameters, as one launch finds them at each replay."""
        self._parts += 1
        return _Numbers(self, which, self._parts == 1)

    def ready(self) -> bool:
        """Work out the next step; whether these launches do it. Changes nothing."""
        optimizer = self.optimizer
        known: dict[int, float] = {}

        def read(value: Any) -> float:
            number = known.get(id(value))
            if number is None:
                number = known[id(value)] = float(value)
            return number

        self._numbers, self._states = [], {}
        for (group, p), (flags, arrays) in zip(self.entries, self.rows, strict=True):
            state = self._before._states[p] if self._before is not None else optimizer.state.get(p, {})
            if any(a is not None for a in arrays) and not state:
                return False
            now, row, numbers, after = optimizer._row(group, p.array, state, read)
            if now != flags or any(a is not b for a, b in zip(row, arrays, strict=True)):
                return False
            self._numbers.append(numbers)
            self._states[p] = after
        return True

    def commit(self) -> None:
        """Count the step that `ready` worked out."""
        counts: dict[float, Tensor] = {}
        self._old = {}
        for p, after in self._states.items():
            state = self.optimizer.state[p]
            self._old[p] = dict(state)
            for name, value in after.items():
                if isinstance(value, Tensor):
                    value.array.memory.version += 1
                    continue
                found = counts.get(value)
                state[name] = found if found is not None else counts.setdefault(value, self.optimizer.counted(value))

    def settle(self) -> None:
        """Take the count back if the step was left out."""
        if self._unless is not None and self._unless.numpy().any():
            for p, state in self._old.items():
                self.optimizer.state[p].update(state)


class _Numbers(Varying):
    """The numbers of one launch of an update."""

    def __init__(self, update: Update, which: list[int], first: bool) -> None:
        self.update, self._which, self._first = update, which, first

    def ready(self) -> bool:
        return not self._first or self.update.ready()

    def move(self) -> np.ndarray:
        if self._first:
            self.update.commit()
        return np.array([self.update._numbers[k] for k in self._which], np.float64)

    def settle(self) -> None:
        if self._first:
            self.update.settle()
