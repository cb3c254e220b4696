"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, require, require_betas, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim as kernel

Betas = tuple[float | Tensor, float | Tensor]


class Adam(FusedOptimizer):
    """m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps).

    `weight_decay` is added to the gradient as an L2 penalty, or with `decoupled_weight_decay` taken from the parameter
    as AdamW does; with `amsgrad` v is the largest so far. One launch updates all parameters of a dtype, and the copies
    in half precision that `autocast` keeps of them.
    Source: Kingma and Ba 2015; Reddi et al. 2018.
    """

    kernel = staticmethod(kernel.adam)
    columns = 3

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        name = type(self).__name__
        require(name, lr, eps=eps, weight_decay=weight_decay)
        require_betas(name, betas)
        if not (all(isinstance(b, float) for b in betas) or all(isinstance(b, Tensor) for b in betas)):
            raise ValueError(f"{name}: betas must be either both floats or both Tensors, got {betas}")
        for what, value in (("lr", lr), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
            if isinstance(value, Tensor) and foreach and not capturable:
                raise ValueError(f"{name}: {what} as a Tensor is not supported for capturable=False and foreach=True")
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        require_fusable(name, defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if group["amsgrad"] else [])
        return {"step": 0.0}, dict.fromkeys(names, 0.0)

    def _next(self, group: Group, kept: dict[str, float]) -> tuple[tuple[Any, ...], list[float]]:
        step, (b1, b2), decay = kept["step"], map(float, group["betas"]), group["weight_decay"]
        sign = -1.0 if group["maximize"] else 1.0
        coupled, decoupled = (0.0, decay) if group["decoupled_weight_decay"] else (decay, 0.0)
        corrections = [1 - b1**step, math.sqrt(1 - b2**step)]
        numbers = [float(group["lr"]), coupled, decoupled, b1, b2, group["eps"], *corrections, sign]
        return (group["amsgrad"],), numbers


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p *= 1 - lr weight_decay (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # also where Adam's state was loaded
            group["decoupled_weight_decay"] = True
