"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, decays, require, require_betas, require_fusable, rounded
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim_formulas as formulas


class NAdam(FusedOptimizer):
    """Adam with Nesterov's momentum: p -= lr (mu_{t+1} m / (1 - mu_1 ... mu_{t+1}) + (1-mu_t) g / (1 - mu_1 ... mu_t))
    / (sqrt(v / (1-b2^t)) + eps), mu_t = b1 (1 - 0.96^(t momentum_decay) / 2).

    `weight_decay` is added to the gradient, or with `decoupled_weight_decay` taken from the parameter. One launch
    updates all parameters of a dtype; `foreach` and `capturable` change nothing. Source: Dozat 2016.
    """

    _counts = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        require("NAdam", lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        require_betas("NAdam", betas)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        require_fusable("NAdam", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {"step": 0.0, "mu_product": 1.0}, {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        step, lr, (b1, b2) = kept["step"], float(group["lr"]), group["betas"]
        mu, following = (b1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
        kept["mu_product"] = product = rounded(kept["mu_product"] * rounded(mu))
        rates = [lr * (1 - mu) / (1 - product), lr * following / (1 - product * following)]
        averages = [1 - b1, b2, 1 - b2, 1 - b2**step, group["eps"]]
        return (formulas._nadam,), [*decays(group), *rates, *averages]
