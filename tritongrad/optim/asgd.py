"""Averaged SGD."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, require, require_fusable, rounded
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim_formulas as formulas


class ASGD(FusedOptimizer):
    """p = (1 - lambd eta) p - eta g, and state "ax" is the mean of p from step `t0` on.

    eta = lr / (1 + lambd lr t)^alpha; g has `weight_decay` p added. One launch updates all parameters of a dtype;
    `foreach` and `capturable` change nothing. Source: Polyak and Juditsky 1992.
    """

    _counts = ("step", "eta", "mu")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        require("ASGD", lr, weight_decay=weight_decay)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        require_fusable("ASGD", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {"step": 0.0, "eta": float(group["lr"]), "mu": 1.0}, {"ax": 0.0}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        step, lr, eta = kept["step"], float(group["lr"]), kept["eta"]
        sign = -1.0 if group["maximize"] else 1.0
        numbers = [sign, group["weight_decay"], 1 - group["lambd"] * eta, eta, kept["mu"]]
        kept["eta"] = rounded(lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        kept["mu"] = rounded(1 / max(1, step - group["t0"]))
        return (formulas._asgd,), numbers
