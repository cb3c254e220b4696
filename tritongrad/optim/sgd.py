"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tritongrad.optim.optimizer import Group, Optimizer, dense, matching, written, zeros
from tritongrad.tensor import Tensor
from tritongrad_kernels import optim as kernel


class SGD(Optimizer):
    """g = grad + weight_decay p;  b = momentum b + (1 - dampening) g (b = g at first);  p -= lr b.

    With `nesterov` p -= lr (g + momentum b); with `maximize` the gradient's sign is turned. One launch updates all
    parameters of a dtype. `working_copies` maps a parameter to a tensor of another floating dtype (a bf16 copy, say)
    that the same launch keeps equal to it. Source: Sutskever et al. 2013; the rule is torch.optim.SGD's, which differs
    from the paper in applying lr outside the momentum buffer.
    """

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
        self.working_copies: dict[Tensor, Tensor] = {}

    def _update(self, entries: list[tuple[Group, Tensor]]) -> None:
        launches, fresh = [], []
        for kind, same in groupby(sorted(entries, key=self._order), self._kind):
            rows = [self._row(group, p) for group, p in same]
            launches.append((kernel.table([row for row, _, _ in rows], [numbers for _, numbers, _ in rows]), kind))
            fresh += [state for _, _, state in rows]
        # Everything that can fail has been done: now all parameters and all state change, or none has.
        for tables, kind in launches:
            kernel.sgd(tables, *kind)
        for (p, state), copy in ((s, self.working_copies.get(s[0])) for s in fresh):
            self.state.setdefault(p, {}).update(state)
            written(p, *(v for v in state.values() if v.ndim), *([] if copy is None else [copy]))

    def _kind(self, entry: tuple[Group, Tensor]) -> tuple:
        """What one launch must have in common."""
        group, p = entry
        assert p.grad is not None
        copy = self.working_copies.get(p)
        return p.dtype, p.grad.dtype, group["momentum"] != 0, group["nesterov"], None if copy is None else copy.dtype

    def _order(self, entry: tuple[Group, Tensor]) -> tuple:
        return tuple(getattr(k, "name", str(k)) for k in self._kind(entry))

    def _row(self, group: Group, p: Tensor) -> tuple[list, list[float], tuple[Tensor, dict[str, Tensor]]]:
        """A parameter's row of the table, its numbers, and its state after the step."""
        assert p.grad is not None
        buffer, rate = self.state.get(p, {}).get("momentum_buffer"), 1.0 - group["dampening"]
        if group["momentum"] == 0:
            buffer = None
        elif buffer is None:
            buffer, rate = zeros(p), 1.0
        else:
            buffer = matching(buffer, p)
        copy = self.working_copies.get(p)
        array = dense(p)
        row = [
            array,
            matching(p.grad, p).array,
            None if buffer is None else buffer.array,
            None if copy is None else dense(copy),
        ]
        sign = -1.0 if group["maximize"] else 1.0
        numbers = [float(group["lr"]), group["weight_decay"], group["momentum"], rate, sign]
        return row, numbers, (p, {} if buffer is None else {"momentum_buffer": buffer})
