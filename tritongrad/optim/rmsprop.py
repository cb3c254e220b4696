"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, require, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim_formulas as formulas


class RMSprop(FusedOptimizer):
    """v = alpha v + (1-alpha) g^2;  p -= lr g / (sqrt(v) + eps), where g has `weight_decay` p added.

    With `centered` the mean of g, squared, is taken from v; with `momentum` b = momentum b + g / (sqrt(v) + eps) and
    p -= lr b. One launch updates all parameters of a dtype; `foreach` and `capturable` change nothing.
    Source: Tieleman and Hinton 2012, lecture 6.5; Graves 2013.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        require("RMSprop", lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        }  # fmt: skip
        require_fusable("RMSprop", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        present = {"square_avg": True, "momentum_buffer": group["momentum"] > 0, "grad_avg": group["centered"]}
        return {"step": 0.0}, {name: 0.0 for name, there in present.items() if there}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        sign, alpha, momentum = -1.0 if group["maximize"] else 1.0, group["alpha"], group["momentum"]
        numbers = [sign, group["weight_decay"], float(group["lr"]), alpha, 1 - alpha, group["eps"]]
        if momentum > 0:
            formula = formulas._rmsprop_centered_momentum if group["centered"] else formulas._rmsprop_momentum
            return (formula,), [*numbers, momentum]
        return (formulas._rmsprop_centered if group["centered"] else formulas._rmsprop,), numbers
