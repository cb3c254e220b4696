"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tritongrad.optim.fused import require
from tritongrad.optim.optimizer import Group, Optimizer
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


class Muon(Optimizer):
    """b = momentum b + (1-momentum) g;  p = (1 - lr weight_decay) p - lr s orthogonal(b), for matrices.

    With `nesterov` momentum b + (1-momentum) g is made orthogonal. That is done by `ns_steps` steps of Newton and
    Schulz in bfloat16, with the coefficients of X = a X + b (X X^T) X + c (X X^T)^2 X. `adjust_lr_fn` says what s is:
    "original" (or None) sqrt(max(1, rows / columns)), "match_rms_adamw" 0.2 sqrt(max(rows, columns)).
    ValueError for parameters that are no matrices. Source: Jordan 2024; Liu et al. 2025.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        require("Muon", lr, momentum=momentum, weight_decay=weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Muon: adjust_lr_fn must be 'original' or 'match_rms_adamw', not {adjust_lr_fn!r}")
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.ndim != 2:
                raise ValueError(f"Muon: only matrices can be optimized, but a parameter has shape {list(p.shape)}")

    def _update(self, entries: list[tuple[Group, Tensor]]) -> None:
        for group, p in entries:
            if p.grad is None or p.grad.shape != p.shape:
                raise RuntimeError(f"Muon: a parameter of shape {list(p.shape)} needs a gradient of that shape")
            lr, momentum = float(group["lr"]), group["momentum"]
            before = self.state[p].get("momentum_buffer")
            buffer = p.grad * (1 - momentum) if before is None else before.lerp(p.grad, 1 - momentum)
            update = p.grad.lerp(buffer, momentum) if group["nesterov"] else buffer
            update = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
            rate = lr * _scale(group["adjust_lr_fn"], *p.shape)
            p.copy_((p * (1 - lr * group["weight_decay"])).sub(update.to(p.dtype), alpha=rate))
            self.state[p]["momentum_buffer"] = buffer


def orthogonal(x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """About U V^T for x = U S V^T, in bfloat16: its singular values come near 1, not to it."""
    if steps >= 100:
        raise ValueError(f"Muon: ns_steps must be less than 100, got {steps}")
    if len(coefficients) != 3:
        raise ValueError(f"Muon: ns_coefficients must be three numbers, got {len(coefficients)}")
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    y = x.to(dtypes.bfloat16).t() if tall else x.to(dtypes.bfloat16)
    y = y / y.norm().clamp(min=eps)
    for _ in range(steps):
        gram = y @ y.t()
        y = y.addmm(gram.addmm(gram, gram, beta=b, alpha=c), y, beta=a)
    return y.t() if tall else y


def _scale(rule: str | None, rows: int, columns: int) -> float:
    if rule == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns)) if columns else 1.0
