"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.optim.optimizer import FusedOptimizer, Group, dense, matching, zeros
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
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        for name, value in (("learning rate", lr), ("momentum value", momentum), ("weight_decay value", weight_decay)):
            if value < 0.0:
                raise ValueError(f"SGD: invalid {name}: {value}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: Nesterov momentum requires a momentum and zero dampening")
        if differentiable:
            raise ValueError(
                "SGD: differentiable=True is not offered; write the update with tensors to differentiate it"
            )
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _flags(self, group: Group) -> tuple[bool, ...]:
        return group["momentum"] != 0, group["nesterov"]

    def _row(self, group: Group, p: Tensor) -> tuple[list[Array | None], list[float], dict[str, Tensor]]:
        assert p.grad is not None
        buffer, rate = self.state.get(p, {}).get("momentum_buffer"), 1.0 - group["dampening"]
        if group["momentum"] == 0:
            buffer = None
        elif buffer is None:
            buffer, rate = zeros(p), 1.0
        else:
            buffer = matching(buffer, p)
        row = [dense(p), matching(p.grad, p).array, None if buffer is None else buffer.array]
        sign = -1.0 if group["maximize"] else 1.0
        numbers = [float(group["lr"]), group["weight_decay"], group["momentum"], rate, sign]
        return row, numbers, {} if buffer is None else {"momentum_buffer": buffer}
