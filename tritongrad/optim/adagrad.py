"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, count, require, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import elementwise, optim_formulas as formulas
from tritongrad_kernels.array import empty_like


class Adagrad(FusedOptimizer):
    """s += g^2;  p -= lr / (1 + (t-1) lr_decay) g / (sqrt(s) + eps), where g has `weight_decay` p added.

    s begins as `initial_accumulator_value`; it is there, as torch's, before the first step. One launch updates all
    parameters of a dtype; `foreach` and `fused` change nothing.
    Source: Duchi et al. 2011.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        require(
            "Adagrad", lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, eps=eps,
        )  # fmt: skip
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        require_fusable("Adagrad", defaults)
        super().__init__(params, defaults)
        for p in (p for group in self.param_groups for p in group["params"]):
            total = elementwise.fill(empty_like(p.array), initial_accumulator_value)
            self.state[p] = {"step": count(0.0), "sum": Tensor(total)}

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {"step": 0.0}, {"sum": self.defaults["initial_accumulator_value"]}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        sign = -1.0 if group["maximize"] else 1.0
        rate = float(group["lr"]) / (1 + (kept["step"] - 1) * group["lr_decay"])
        return (formulas._adagrad,), [sign, group["weight_decay"], rate, group["eps"]]
