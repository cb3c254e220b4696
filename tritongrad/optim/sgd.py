"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import FusedOptimizer, Row, require_fusable
from tritongrad.optim.optimizer import Group
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim as kernel
from tritongrad_kernels.array import Array


class SGD(FusedOptimizer):
    """g = grad + weight_decay p;  b = momentum b + (1 - dampening) g (b = g at first);  p -= lr b.

    With `nesterov` p -= lr (g + momentum b); with `maximize` the gradient's sign is turned. One launch updates all
    parameters of a dtype, and the copies in half precision that `autocast` keeps of them. Source: Sutskever et al.
    2013; the rule is torch.optim.SGD's, which differs from the paper in applying lr outside the momentum buffer.
    """

    kernel = staticmethod(kernel.sgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"SGD: Tensor lr must be 1-element, got shape {list(lr.shape)}")
        for name, value in (("learning rate", lr), ("momentum value", momentum), ("weight_decay value", weight_decay)):
            if value < 0.0:
                raise ValueError(f"SGD: invalid {name}: {value}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        require_fusable("SGD", defaults)
        super().__init__(params, defaults)

    def _begin(self, group: Group) -> tuple[dict[str, float], dict[str, float]]:
        return {}, {"momentum_buffer": 0.0} if group["momentum"] != 0 else {}

    def _row(self, group: Group, work: Array, before: dict[str, Any]) -> Row:
        has_momentum, rate = group["momentum"] != 0, 1.0 - group["dampening"]
        if before.get("momentum_buffer") is None:
            rate = 1.0
        state = {"momentum_buffer": self._array(work, "momentum_buffer", before)} if has_momentum else {}
        sign = -1.0 if group["maximize"] else 1.0
        numbers = [float(group["lr"]), float(group["weight_decay"]), group["momentum"], rate, sign]
        buffer = state["momentum_buffer"].array if has_momentum else None
        return (has_momentum, group["nesterov"]), [buffer], numbers, state
