"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tritongrad.ops.creation import tensor
from tritongrad.optim.optimizer import FusedOptimizer, Group, dense, matching, zeros
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim as kernel
from tritongrad_kernels.array import Array


class Adam(FusedOptimizer):
    """m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps).

    `weight_decay` is added to the gradient as an L2 penalty; with `amsgrad` v is the largest so far. One launch updates
    all parameters of a dtype, and the copies in half precision that `autocast` keeps of them.
    Source: Kingma and Ba 2015; Reddi et al. 2018.
    """

    kernel = staticmethod(kernel.adam)
    decoupled = False  # whether weight decay bypasses the gradient, as in AdamW

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        name = type(self).__name__
        if lr < 0 or eps < 0 or weight_decay < 0:
            raise ValueError(f"{name}: lr {lr}, eps {eps} and weight_decay {weight_decay} must not be negative")
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1):
            raise ValueError(f"{name}: betas must be in [0, 1), got {betas}")
        if differentiable:
            raise ValueError(f"{name}: differentiable=True is not offered; write the update with tensors instead")
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _flags(self, group: Group) -> tuple[bool, ...]:
        return (group["amsgrad"],)

    def _row(self, group: Group, p: Tensor) -> tuple[list[Array | None], list[float], dict[str, Tensor]]:
        assert p.grad is not None
        before = self.state.get(p, {})
        # The step count is a host number in a tensor, as in torch's state.
        step = int(before["step"].item()) + 1 if "step" in before else 1
        names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if group["amsgrad"] else [])
        moments = {name: matching(before[name], p) if name in before else zeros(p) for name in names}
        row: list[Array | None] = [dense(p), matching(p.grad, p).array, *(m.array for m in moments.values())]
        row += [None] * (5 - len(row))
        (b1, b2), decay = group["betas"], group["weight_decay"]
        sign = -1.0 if group["maximize"] else 1.0
        coupled, decoupled = (0.0, decay) if self.decoupled else (decay, 0.0)
        corrections = [1 - b1**step, math.sqrt(1 - b2**step)]
        numbers = [float(group["lr"]), coupled, decoupled, b1, b2, group["eps"], *corrections, sign]
        return row, numbers, {"step": tensor(float(step)), **moments}


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p *= 1 - lr weight_decay (Loshchilov and Hutter 2019)."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)
