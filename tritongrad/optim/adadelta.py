"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, require, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim_formulas as formulas


class Adadelta(FusedOptimizer):
    """v = rho v + (1-rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1-rho) d^2;  p -= lr d.

    g has `weight_decay` p added. One launch updates all parameters of a dtype; `foreach` and `capturable` change
    nothing. Source: Zeiler 2012.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        require("Adadelta", lr, eps=eps, weight_decay=weight_decay)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Adadelta: invalid rho, which must be in [0, 1]: {rho}")
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        require_fusable("Adadelta", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {"step": 0.0}, {"square_avg": 0.0, "acc_delta": 0.0}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        sign, rho = -1.0 if group["maximize"] else 1.0, group["rho"]
        return (formulas._adadelta,), [sign, group["weight_decay"], float(group["lr"]), rho, 1 - rho, group["eps"]]
