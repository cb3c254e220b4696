"""RAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, decays, require, require_betas, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim_formulas as formulas


class RAdam(FusedOptimizer):
    """Adam whose step is multiplied by how much its variance is known of; p -= lr m / (1-b1^t) while it is unbounded.

    `weight_decay` is added to the gradient, or with `decoupled_weight_decay` taken from the parameter. One launch
    updates all parameters of a dtype; `foreach` and `capturable` change nothing. Source: Liu et al. 2020.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        require("RAdam", lr, eps=eps, weight_decay=weight_decay)
        require_betas("RAdam", betas)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }  # fmt: skip
        require_fusable("RAdam", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {"step": 0.0}, {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        step, (b1, b2) = kept["step"], group["betas"]
        rate, formula = float(group["lr"]) / (1 - b1**step), formulas._radam_at_first
        longest = 2 / (1 - b2) - 1
        length = longest - 2 * step * b2**step / (1 - b2**step)  # of the average that v is; rho in the paper
        if length > 5:
            known = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            rate, formula = rate * math.sqrt(known * (1 - b2**step)), formulas._radam
        return (formula,), [*decays(group), rate, 1 - b1, b2, 1 - b2, group["eps"]]
