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
        self._counts: list[dict[str, float]] = []  # for each parameter the numbers of its state after the step
        self._old = [dict(optimizer.state.get(p, {})) for _, p in entries]
        self._kept = [self._of_state(state) for state in self._old]
        self._unless = None if unless is None else kept(unless)
        self._parts = 0

    def _of_state(self, state: dict[str, Any]) -> tuple[list[tuple[str, Array]], list[str]]:
        """The arrays of a parameter's state, which stay, and the names of its numbers."""
        numbers = {name for group in self.optimizer.param_groups for name in self.optimizer._begin(group)[0]}
        arrays = [(name, v.array) for name, v in state.items() if isinstance(v, Tensor) and name not in numbers]
        return arrays, [name for name in state if name in numbers]

    def numbers(self, which: list[int]) -> Varying:
        """The numbers of some of the parameters, as one launch finds them at each replay."""
        self._parts += 1
        return _Numbers(self, which, self._parts == 1)

    def ready(self) -> bool:
        """Work out the next step; whether these launches do it. Changes nothing.

        Parameters of one group that have counted the same steps get the same numbers, which are worked out once.
        """
        state = self.optimizer.state
        known: dict[Any, tuple[tuple[Any, ...], list[float], dict[str, float]]] = {}
        self._numbers, self._counts = [], []
        for k, ((group, p), (flags, arrays)) in enumerate(zip(self.entries, self.rows, strict=True)):
            before = state.get(p, {})
            stays, names = self._kept[k]
            if len(before) != len(stays) + len(names):
                return False
            for name, array in stays:
                if name not in before or before[name].array is not array:
                    return False
            if self._before is not None:
                before = {**before, **self._before._counts[k]} if names else before
            key = (id(group), *[v if isinstance(v, float) else id(v) for v in map(before.get, names)])
            found = known.get(key)
            if found is None:
                now, row, numbers, after = self.optimizer._row(group, p.array, before)
                if any(a is not b for a, b in zip(row, arrays, strict=True)):
                    return False
                found = known[key] = now, numbers, {name: after[name] for name in names}
            if found[0] != flags:
                return False
            self._numbers.append(found[1])
            self._counts.append(found[2])
        return True

    def commit(self) -> None:
        """Count the step that `ready` worked out."""
        made: dict[float, Tensor] = {}
        if self._unless is not None:
            self._old = [dict(self.optimizer.state[p]) for _, p in self.entries]
        for (_, p), counts in zip(self.entries, self._counts, strict=True):
            for name, value in counts.items():
                if value not in made:
                    made[value] = self.optimizer.counted(value)
                self.optimizer.state[p][name] = made[value]

    def settle(self) -> None:
        """Take the count back if the step was left out."""
        if self._unless is not None and self._unless.numpy().any():
            for (_, p), state in zip(self.entries, self._old, strict=True):
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
