"""Optimisers whose step is one launch for all parameters of a dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tritongrad.ops.creation import tensor
from tritongrad.optim.optimizer import Group, Optimizer
from tritongrad.optim.replayed import Entry, Update
from tritongrad.precision import current_copy, wrote
from tritongrad.tensor import Tensor, get_default_dtype
from tritongrad_kernels import capture, dtypes, elementwise, optim as kernel
from tritongrad_kernels.array import Array, empty_like

# The options of the kernel, the arrays [state ...] and numbers of a parameter, and its state after the step.
Row = tuple[tuple[Any, ...], list[Array | None], list[float], dict[str, Any]]


class FusedOptimizer(Optimizer):
    """An optimiser whose step is one launch for all parameters of a dtype, and changes all of them or none.

    The launch also writes the copies in half precision that `autocast` keeps of parameters. A subclass says with
    `_begin` what state a parameter has at first, and with `_next` by what formula and numbers it moves.
    """

    kernel: Callable[..., None] = staticmethod(kernel.update)
    columns = 0  # arrays of state that the kernel's table has room for; 0: as many as there are
    unless: Array | None = None  # where a step is captured: a number on the device that forbids it unless it is 0

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        """The numbers kept for each parameter, and the number that each of its arrays of state is filled with."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates parameters")

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        """Options of the kernel and numbers for a step, whose count is in `kept`; other numbers there are moved on."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates parameters")

    def _row(self, group: Group, work: Array, before: dict[str, Any]) -> Row:
        """What a step does to the parameter in `work` whose state is `before`."""
        kept, filled = self._begin(group)
        kept = {name: number(before[name]) if name in before else rounded(v) for name, v in kept.items()}
        kept["step"] += 1
        flags, numbers = self._next(group, kept)
        arrays = {name: self._array(work, name, before, value) for name, value in filled.items()}
        row: list[Array | None] = [a.array for a in arrays.values()]
        row += [None] * (self.columns - len(row))
        return flags, row, numbers, {**{name: rounded(v) for name, v in kept.items()}, **arrays}

    def lasting(self, group: Group, state: dict[str, Any]) -> list[Any]:
        """What stays of a parameter's state from step to step: which numbers it has, and its arrays."""
        numbers = self._begin(group)[0]
        return [name if name in numbers else (name, value) for name, value in state.items()]

    @staticmethod
    def _array(work: Array, name: str, before: dict[str, Any], initial: float = 0.0) -> Tensor:
        """The state `name`, which is an array of `initial` at first."""
        if before.get(name) is None:
            return Tensor(elementwise.fill(empty_like(work), initial))
        return placed(work, name, before[name], work.dtype)

    def _update(self, entries: list[tuple[Group, Tensor]]) -> None:
        same: dict[tuple[Any, ...], list[tuple[list[Array | None], list[float], int]]] = {}
        fresh = []
        update = self._captured(entries)
        for number, (group, p) in enumerate(entries):
            work, copy = dense(p), current_copy(p)
            gradient = placed(work, "the gradient", p.grad)
            with capture.beside():
                flags, arrays, numbers, state = self._row(group, work, self.state.get(p, {}))
                state = {name: v if isinstance(v, Tensor) else count(v) for name, v in state.items()}
            if update is not None:
                update.rows.append((flags, arrays))
            kind = p.device, p.dtype, gradient.dtype, *flags, None if copy is None else copy.dtype
            same.setdefault(kind, []).append(([work, gradient.array, *arrays, copy], numbers, number))
            fresh.append((p, work, state, copy))
        launches = []
        for kind, rows in same.items():
            source = (
                None
                if update is None
                else update.numbers([k for row, _, k in rows if row[0] is not None and row[0].size])
            )
            columns = [row for row, _, _ in rows], [numbers for _, numbers, _ in rows]
            launches.append((kernel.table(*columns, source, self.unless), kind))
        # Everything that can fail has been done: now all parameters and all state change, or none has.
        for tables, kind in launches:
            type(self).kernel(tables, *kind[1:])
        for p, work, state, copy in fresh:
            if work is not p.array:
                elementwise.copy_into(work, p.array)
            self.state[p].update(state)
            for t in (p, *state.values()):
                t.array.memory.version += 1  # so that stale uses in a graph are refused
            if copy is not None:
                wrote(p, copy)

    counted = staticmethod(lambda number: count(number))

    def _captured(self, entries: list[Entry]) -> Update | None:
        """What moves this update on at each replay, if it is being captured."""
        recording = capture.current()
        if recording is None:
            return None
        for group, p in entries:
            names = {*self._begin(group)[0], *self._begin(group)[1]}
            if not names <= self.state.get(p, {}).keys():
                raise capture.Uncapturable("an optimizer has yet to make its state, in a step that is not left out")
            if p.array.dense_order() is None or p.array.offset:
                raise capture.Uncapturable("an optimizer's parameter does not fill its memory")
        known = recording.notes.setdefault(("updates", id(self)), [])
        known.append(Update(self, entries, known[-1] if known else None, self.unless))
        return known[-1]

    def _require_state(self, p: Tensor, values: dict[str, Any]) -> None:
        for name, v in values.items():
            if isinstance(v, Tensor) and v.shape != p.shape and name not in self._counts:
                raise ValueError(f"loaded {name} has shape {list(v.shape)}, but its parameter {list(p.shape)}")


def number(value: Any) -> float:
    """A number of state. It is the host's own: to read it nothing is waited for, and no wrong index comes to light."""
    if isinstance(value, Tensor) and value.device.type == "cpu" and value.numel() == 1:
        return float(value.array.numpy().reshape(-1)[0])
    return float(value)


def rounded(number: float) -> float:
    """A number as state keeps it: in float32, or in float64 where that is the default dtype."""
    return float(_kind().numpy.type(number))


def count(number: float) -> Tensor:
    """A number of state, on the host: the host computes with it, and must not wait for a GPU."""
    return tensor(number, dtype=_kind(), device="cpu")


def _kind() -> dtypes.dtype:
    return dtypes.float64 if get_default_dtype() is dtypes.float64 else dtypes.float32


def decays(group: Group) -> list[float]:
    """sign, L2 penalty, and what the parameter is multiplied by, where weight decay may be decoupled."""
    sign, decay = -1.0 if group["maximize"] else 1.0, group["weight_decay"]
    return [sign, 0.0, 1 - float(group["lr"]) * decay] if group["decoupled_weight_decay"] else [sign, decay, 1.0]


def placed(work: Array, name: str, t: Any, kind: dtypes.dtype | None = None) -> Tensor:
    """`t` as a kernel takes it that walks it and `work` through memory: in the memory order of `work`, owning all that
    it spans, and of dtype `kind` if one is given. RuntimeError if it is of another shape or device."""
    if t.shape != work.shape or t.device != work.device:
        raise RuntimeError(
            f"optimizer: {name} has shape {list(t.shape)} on {t.device}, "
            f"but its parameter {list(work.shape)} on {work.device}"
        )
    kind = kind or t.dtype
    if t.dtype is kind and t.array.has_strides(work.strides) and t.array.offset == 0:
        return t
    return Tensor(elementwise.copy_into(t.array, empty_like(work, kind)))


def dense(p: Tensor) -> Array:
    """The array of a parameter if it owns every element of the memory it spans, else a copy that does."""
    a = p.array
    if any(n > 1 and s == 0 for n, s in zip(a.shape, a.strides, strict=True)):
        raise RuntimeError(f"optimizer: elements of a parameter of shape {list(p.shape)} share memory; clone() it")
    return a if a.dense_order() is not None and a.offset == 0 else elementwise.copy_into(a, empty_like(a))


# ------------------------------------------------------------------------------------------------------------- options


def require(optimizer: str, lr: Any, **settings: Any) -> None:
    """ValueError for a learning rate of several elements, and for settings that are negative or NaN."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"{optimizer}: Tensor lr must be 1-element, got shape {list(lr.shape)}")
    for name, value in {"learning_rate": lr, **settings}.items():
        if not value >= 0.0:  # NaN too
            raise ValueError(f"{optimizer}: invalid {name.replace('_', ' ')}: {value}")


def require_betas(optimizer: str, betas: Any) -> None:
    """ValueError for coefficients of running averages outside [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"{optimizer}: betas must be in [0, 1): invalid beta parameter at index {i}: {betas[i]}")


def require_fusable(optimizer: str, options: dict[str, Any]) -> None:
    """RuntimeError for `fused` with what excludes it; ValueError for `differentiable`, which is not offered."""
    fused, differentiable = options.get("fused"), options.get("differentiable")
    if fused and differentiable:
        raise RuntimeError(f"{optimizer}: `fused` does not support `differentiable`")
    if fused and options.get("foreach"):
        raise RuntimeError(f"{optimizer}: `fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise ValueError(
            f"{optimizer}: differentiable=True is not offered; write the update with tensors to differentiate it"
        )
