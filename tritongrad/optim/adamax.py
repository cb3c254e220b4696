"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, require, require_betas, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim_formulas as formulas


class Adamax(FusedOptimizer):
    """m = b1 m + (1-b1) g;  u = max(b2 u, |g| + eps);  p -= lr / (1-b1^t) m / u, where g has `weight_decay` p added.

    One launch updates all parameters of a dtype; `foreach` and `capturable` change nothing.
    Source: Kingma and Ba 2015, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        require("Adamax", lr, eps=eps, weight_decay=weight_decay)
        require_betas("Adamax", betas)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        require_fusable("Adamax", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {"step": 0.0}, {"exp_avg": 0.0, "exp_inf": 0.0}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        sign, (b1, b2) = -1.0 if group["maximize"] else 1.0, group["betas"]
        rate = float(group["lr"]) / (1 - b1 ** kept["step"])
        return (formulas._adamax,), [sign, group["weight_decay"], rate, 1 - b1, b2, group["eps"]]
