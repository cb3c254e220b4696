"""What all schedules share: the learning rates a group began with, the count of steps, and state to resume from."""

from __future__ import annotations

import types
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.optim.optimizer import Optimizer
from tritongrad.tensor import Tensor


class LRScheduler:
    """Base class of schedules: after each `step()` the groups' "lr" are what `get_lr()` says of `last_epoch`.

    base_lrs    the "initial_lr" of each group, set from its "lr" by the first schedule of an optimizer
    last_epoch  how often `step` was called after construction, from 0; a schedule made with another `last_epoch` than
                -1 goes on from there, and then needs groups that have an "initial_lr"

    A schedule changes what it finds in the groups by a factor wherever it can, so that several act together.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = require_optimizer(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _value(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming a scheduler with "
                    f"last_epoch {last_epoch}: load the optimizer's state first"
                )
        self.base_lrs = [_value(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        _watch(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[float]:
        """The learning rate of each group at `last_epoch`, given those of the step before."""
        raise NotImplementedError(f"{type(self).__name__} does not say what the learning rates are")

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch; or, as torch still allows, to the given one."""
        if self._step_count == 1 and not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(): the first value of the schedule is skipped. "
                "Call optimizer.step() first.",
                stacklevel=2,
            )
        self._step_count += 1
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = getattr(self, "_get_closed_form_lr", None)
        self._set(self.get_lr() if epoch is None or closed is None else closed())

    def _set(self, rates: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_lr(group, lr)
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [_value(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.__dict__.update(state_dict)


class _LRScheduler(LRScheduler):
    """The name that older code derives its schedules from."""


class Factor(LRScheduler):
    """A schedule that multiplies each learning rate by a number, whatever it was."""

    def factor_now(self) -> float:
        """What the learning rates change by on coming to `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what the learning rates change by")

    def get_lr(self) -> list[float]:
        factor = self.factor_now()
        return [lr * factor for lr in self._rates()]

    def share(self) -> float:
        """The part of `base_lrs` that is left at `last_epoch`, where no other schedule is at work."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form")

    def _get_closed_form_lr(self) -> list[float]:
        share = self.share()
        return [base * share for base in self.base_lrs]


def require_optimizer(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group; ValueError for a list of another length."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name} has {len(value)} values, but the optimizer has {groups} param_groups")
    return list(value)


def set_lr(group: dict[str, Any], lr: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(float(lr))
    else:
        group["lr"] = lr


def _value(lr: Any) -> Any:
    return lr.clone() if isinstance(lr, Tensor) else lr


def function_state(function: Any) -> dict[str, Any] | None:
    """What a callable object holds, to be saved; a function or lambda has nothing that could be."""
    return None if function is None or isinstance(function, types.FunctionType) else function.__dict__.copy()


def _watch(optimizer: Optimizer) -> None:
    """Have the optimizer note that its `step` was called."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    own, this = type(optimizer).step, weakref.ref(optimizer)  # the optimizer must not hold itself

    def step(*args: Any, **kwargs: Any) -> Any:
        optimizer = this()
        assert optimizer is not None
        optimizer._opt_called = True  # type: ignore[attr-defined]
        return own(optimizer, *args, **kwargs)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = step  # type: ignore[method-assign]


Functions = Callable[[int], float] | Sequence[Callable[[int], float]]
