"""Resilient backpropagation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, require, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim_formulas as formulas


class Rprop(FusedOptimizer):
    """p -= sign(g) s, where s grows by `etas[1]` while g keeps its sign and shrinks by `etas[0]` where it turns.

    s begins as `lr` and stays between the two `step_sizes`; where g has turned, no step is made. For gradients of the
    whole data set. One launch updates all parameters of a dtype; `foreach` and `capturable` change nothing.
    Source: Riedmiller and Braun 1993.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        require("Rprop", lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Rprop: invalid eta values, which must be in (0, 1) and above 1: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        require_fusable("Rprop", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {"step": 0.0}, {"prev": 0.0, "step_size": float(group["lr"])}

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        return (formulas._rprop,), [-1.0 if group["maximize"] else 1.0, *group["etas"], *group["step_sizes"]]
