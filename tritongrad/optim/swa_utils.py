"""Averages of a model's weights over training: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.nn.batchnorm import _BatchNorm
from tritongrad.nn.module import Module
from tritongrad.ops.creation import tensor
from tritongrad.optim.fused import placed
from tritongrad.optim.lr_scheduler.base import LRScheduler, per_group
from tritongrad.optim.optimizer import Optimizer
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes, foreach as kernel

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """A function that makes each average decay average + (1 - decay) current: one launch for all of a dtype."""
    _require_decay(decay)

    @no_grad()
    def ema_update(ema_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], _: Any) -> None:
        _towards(ema_param_list, current_param_list, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> MultiAverage:
    """A function that makes each the mean of all there have been: one launch for all of a dtype."""

    @no_grad()
    def swa_update(
        averaged_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], num_averaged: Any
    ) -> None:
        _towards(averaged_param_list, current_param_list, 1 / (float(num_averaged) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """(average, current, count) -> decay average + (1 - decay) current."""
    _require_decay(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Average:
    """(average, current, count) -> average + (current - average) / (count + 1)."""

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def _require_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _towards(averages: Sequence[Tensor], current: Sequence[Tensor], weight: float) -> None:
    """Take each average the part `weight` of the way to what is current."""
    same: dict[Any, list[tuple[Tensor, Tensor]]] = {}
    for a, c in zip(averages, current, strict=True):
        if not a.is_floating_point():
            a.copy_(a * (1 - weight) + c * weight)
        elif a.array.dense_order() is None or a.array.offset:
            a.lerp_(c.to(a.dtype), weight)
        else:
            same.setdefault((a.device, a.dtype, c.dtype), []).append((a, placed(a.array, "what it goes towards", c)))
    for pairs in same.values():
        kernel.lerp([a.array for a, _ in pairs], [c.array for _, c in pairs], weight)
        for a, _ in pairs:
            a.array.memory.version += 1


class AveragedModel(Module):
    """A copy of a model, `module`, whose parameters are averages of those that `update_parameters` was given.

    device        where the copy lives
    avg_fn        (average, current, count) -> new average, for one parameter; default the mean of all
    multi_avg_fn  (averages, current, count) -> None, in place, for all parameters of a dtype at once
    use_buffers   whether buffers are averaged too; else they are copied

    `n_averaged` is a buffer that counts. AssertionError if both functions are given.
    Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=dtypes.int64, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Let the averages take in the parameters of `model`."""
        pairs = list(zip(self._averaged(self.module), self._averaged(model), strict=False))
        if self.n_averaged == 0:
            for average, current in pairs:
                average.copy_(current)
        elif self.avg_fn is not None:
            for average, current in pairs:
                average.copy_(self.avg_fn(average, current, self.n_averaged.to(average.device)))
        else:
            same: dict[Any, list[tuple[Tensor, Tensor]]] = {}
            for average, current in pairs:
                same.setdefault((average.device, average.dtype), []).append((average, current.to(average.device)))
            for (device, _), some in same.items():
                function = self.multi_avg_fn or get_swa_multi_avg_fn()
                function([a for a, _ in some], [c for _, c in some], self.n_averaged.to(device))
        if not self.use_buffers:
            for own, given in zip(self.module.buffers(), model.buffers(), strict=True):
                own.detach().copy_(given.detach())
        self.n_averaged += 1

    def _averaged(self, model: Module) -> Iterable[Tensor]:
        found = chain(model.parameters(), model.buffers()) if self.use_buffers else model.parameters()
        return (t.detach() for t in found)


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Give every batch norm of `model` the mean and variance over all batches of `loader`.

    A batch that is a list or tuple is its first element. The model runs in training mode, and is left in its own.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    momenta, was_training = [m.momentum for m in norms], model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    for batch in loader:
        x = batch[0] if isinstance(batch, list | tuple) else batch
        model(x if device is None else x.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Learning rates go over to `swa_lr`, one number or one for each group, in `anneal_epochs`, and stay there.

    `anneal_strategy` is "cos" or "linear". Source: Izmailov et al. 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How far the way to `swa_lr` is gone after so many steps."""
        part = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return part if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        step = max(1, step) if self.anneal_epochs == 0 else step
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group, lr in zip(self.optimizer.param_groups, self._rates(), strict=True):
            target = group["swa_lr"]
            start = target if before == 1 else (lr - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
