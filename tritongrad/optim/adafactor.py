"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritongrad.ops.describe import finfo
from tritongrad.optim.fused import count, require
from tritongrad.optim.optimizer import Group, Optimizer
from tritongrad.tensor import Tensor

ROW, COLUMN, WHOLE = "row_var", "col_var", "variance"


class Adafactor(Optimizer):
    """Adam without momentum, whose second moments of a matrix are the product of a row's and a column's.

    With u = g / sqrt(v), p -= max(eps[1], rms(p)) min(lr, 1/sqrt(t)) u / max(1, rms(u) / d), after p *= 1 - lr
    weight_decay; v is an average that gives t^beta2_decay to the newest. It is kept for the last two axes, [..., n, 1]
    and [..., 1, m], of parameters with two or more. eps[0], by default what the parameter's dtype resolves, is the
    least v, squared. `foreach` changes nothing. Source: Shazeer and Stern 2018.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        require("Adafactor", lr, epsilon1=0.0 if eps[0] is None else eps[0], epsilon2=eps[1], weight_decay=weight_decay)
        if not beta2_decay <= 0.0:
            raise ValueError(f"Adafactor: beta2_decay should be <= 0 but is: {beta2_decay}")
        if not d >= 1.0:
            raise ValueError(f"Adafactor: clipping threshold d should be >= 1 but is: {d}")
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, entries: list[tuple[Group, Tensor]]) -> None:
        for group, p in entries:
            if p.grad is None or p.grad.shape != p.shape:
                raise RuntimeError(f"Adafactor: a parameter of shape {list(p.shape)} needs a gradient of that shape")
            value, state = self._moved(group, p, -p.grad if group["maximize"] else p.grad, self.state[p])
            p.copy_(value)
            self.state[p].update(state)

    def _moved(self, group: Group, p: Tensor, g: Tensor, before: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """A parameter and its state after a step."""
        lr, (eps1, eps2) = float(group["lr"]), group["eps"]
        least = finfo(p.dtype).eps if eps1 is None else eps1
        step = float(before.get("step", 0.0)) + 1
        share = step ** group["beta2_decay"]
        if g.ndim > 1:
            state = {ROW: _average(before, ROW, g, -1, share), COLUMN: _average(before, COLUMN, g, -2, share)}
            rows, columns = state[ROW], state[COLUMN]
            v = rows @ columns / rows.mean(-2, keepdim=True).clamp(min=least)
        else:
            state = {WHOLE: _average(before, WHOLE, g, None, share)}
            v = state[WHOLE]
        u = v.clamp(min=least * least).rsqrt() * g
        rate = _rms(p).clamp(min=eps2) * min(lr, 1 / step**0.5) / (_rms(u) / group["d"]).clamp(min=1.0)
        value = p * (1 - lr * group["weight_decay"]) if group["weight_decay"] else p
        return value - u * rate, {"step": count(step), **state}


def _average(before: dict[str, Any], name: str, g: Tensor, axis: int | None, share: float) -> Tensor:
    """The average of mean squares along an axis, or of squares, after g had its share."""
    squares = g * g if axis is None else (g * g).mean(axis, keepdim=True)
    return squares * share if name not in before else before[name].lerp(squares, share)


def _rms(x: Tensor) -> Tensor:
    return x.norm(2) / max(x.numel(), 1) ** 0.5
