"""L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from tritongrad.autograd import enable_grad, no_grad
from tritongrad.ops.filled import zeros_like
from tritongrad.ops.joining import cat
from tritongrad.optim.fused import require
from tritongrad.optim.optimizer import Optimizer
from tritongrad.tensor import Tensor

SUFFICIENT, CURVATURE = 1e-4, 0.9  # the constants of Wolfe's conditions


class LBFGS(Optimizer):
    """Newton's method with an inverse Hessian made of the last `history_size` steps and changes of the gradient.

    `step(closure)` makes up to `max_iter` iterations; the closure, which clears gradients, computes the loss, calls
    backward and returns the loss, is called up to `max_eval` times (default 5/4 max_iter). A step ends where no
    gradient is larger than `tolerance_grad` or neither loss nor parameters change by `tolerance_change`. The length of
    an iteration is `lr`, or with `line_search_fn="strong_wolfe"` searched for. There is one group of parameters, and
    their state is the first one's. Source: Nocedal and Wright 2006, algorithms 7.4, 3.5 and 3.6.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        require("LBFGS", lr)
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: options by parameter group are not offered; give one group")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def step(self, closure: Callable[[], Any]) -> Any:
        """Some iterations; the loss before them is returned. RuntimeError for an unknown `line_search_fn`."""
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"LBFGS: line_search_fn must be 'strong_wolfe' or None, not {group['line_search_fn']!r}")
        with no_grad():
            return self._iterations(enable_grad()(closure), group, self.state[self._params[0]])

    def _iterations(self, closure: Callable[[], Any], group: dict[str, Any], state: dict[str, Any]) -> Any:
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = closure()
        loss, g = float(first), self._gradient()
        state["func_evals"] += 1
        evaluations, tolerance = 1, group["tolerance_change"]
        for iteration in range(1, group["max_iter"] + 1):
            if _largest(g) <= group["tolerance_grad"]:
                break
            state["n_iter"] += 1
            d = self._direction(state, g, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"], before = g.clone(), loss, loss
            lr = float(group["lr"])
            t = min(1.0, 1.0 / float(g.abs().sum())) * lr if state["n_iter"] == 1 else lr
            state["d"], state["t"], slope = d, t, float(g.dot(d))
            if slope > -tolerance:
                break
            used = 0
            if group["line_search_fn"] is None:
                self._move(t, d)
                if iteration != group["max_iter"]:  # else nobody would use it
                    loss, g, used = float(closure()), self._gradient(), 1
            else:
                search = _Search(partial(self._at, closure, d), Point(0.0, loss, g, slope))
                found = search(t, _largest(d), tolerance, group["max_eval"] - evaluations)
                loss, g, t, used = found.loss, found.gradient, found.t, search.evaluations
                state["t"] = t
                self._move(t, d)
            evaluations += used
            state["func_evals"] += used
            if evaluations >= group["max_eval"] or _largest(d) * abs(t) <= tolerance or abs(loss - before) < tolerance:
                break
        return first

    @staticmethod
    def _direction(state: dict[str, Any], g: Tensor, most: int) -> Tensor:
        """Minus the inverse Hessian, as far as it is known, times the gradient."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -g
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        change, step = g - state["prev_flat_grad"], state["d"] * state["t"]
        product = change.dot(step)
        if float(product) > 1e-10:
            if len(changes) == most:
                del changes[0], steps[0], ro[0]
            changes.append(change)
            steps.append(step)
            ro.append(1.0 / product)
            state["H_diag"] = product / change.dot(change)
        q, shares = -g, []
        for s, y, r in zip(reversed(steps), reversed(changes), reversed(ro), strict=True):
            shares.append(s.dot(q) * r)
            q = q - y * shares[-1]
        q = q * state["H_diag"]
        for s, y, r, share in zip(steps, changes, ro, reversed(shares), strict=True):
            q = q + s * (share - y.dot(q) * r)
        state["al"] = [*reversed(shares), *[None] * (most - len(shares))]
        return q

    def _gradient(self) -> Tensor:
        """All gradients one after the other."""
        return cat([(zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self._params])

    def _move(self, t: float, d: Tensor) -> None:
        at = 0
        for p in self._params:
            p.add_(d[at : at + p.numel()].reshape(p.shape), alpha=t)
            at += p.numel()

    def _at(self, closure: Callable[[], Any], d: Tensor, t: float) -> Point:
        """Loss and gradient t times d from here, where the parameters are left."""
        here = [p.clone() for p in self._params]
        self._move(t, d)
        loss, g = float(closure()), self._gradient()
        for p, value in zip(self._params, here, strict=True):
            p.copy_(value)
        return Point(t, loss, g, float(g.dot(d)))


class Point(NamedTuple):
    """What is known at t along a line: the loss, the gradient, and the loss's derivative by t."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


class _Search:
    """The search for a length that fulfils Wolfe's strong conditions: the loss falls enough, and its slope flattens."""

    def __init__(self, evaluate: Callable[[float], Point], start: Point) -> None:
        self.evaluate, self.start, self.evaluations = evaluate, start, 0

    def __call__(self, t: float, size: float, tolerance: float, most: int) -> Point:
        """From the length t; `size` is the largest element of the direction, `most` how many points to try."""
        last, new = self.start, self._try(t)
        bracket = [self.start, new]
        while self.evaluations <= most:
            rises = self._too_high(new) or (self.evaluations > 2 and new.loss >= last.loss)
            if not rises and self._flat(new):
                return new
            if rises or new.slope >= 0:
                bracket = [last, new]
                break
            further = _minimum(last, new, new.t + 0.01 * (new.t - last.t), new.t * 10)
            last, new = new, self._try(further)
            bracket = [self.start, new]
        return self._zoom(bracket, size, tolerance, most)

    def _zoom(self, bracket: list[Point], size: float, tolerance: float, most: int) -> Point:
        """A point between two that are known to have one."""
        low, stuck = int(bracket[0].loss > bracket[1].loss), False
        while self.evaluations <= most and abs(bracket[1].t - bracket[0].t) * size >= tolerance:
            least, largest = sorted(point.t for point in bracket)
            t, margin = _minimum(bracket[0], bracket[1], least, largest), 0.1 * (largest - least)
            near = min(largest - t, t - least) < margin
            if near and (stuck or t >= largest or t <= least):
                t = largest - margin if abs(t - largest) < abs(t - least) else least + margin
                near = False
            stuck = near
            new = self._try(t)
            if self._too_high(new) or new.loss >= bracket[low].loss:
                bracket[1 - low] = new
                low = int(bracket[0].loss > bracket[1].loss)
                continue
            if self._flat(new):
                return new
            if new.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
                bracket[1 - low] = bracket[low]
            bracket[low] = new
        return bracket[low]

    def _try(self, t: float) -> Point:
        self.evaluations += 1
        return self.evaluate(t)

    def _too_high(self, point: Point) -> bool:
        return point.loss > self.start.loss + SUFFICIENT * point.t * self.start.slope

    def _flat(self, point: Point) -> bool:
        return abs(point.slope) <= -CURVATURE * self.start.slope


def _minimum(a: Point, b: Point, least: float, most: float) -> float:
    """Where the cubic through two points with their slopes is least, between two bounds; their middle if nowhere."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    if a.t != b.t:
        bend = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
        square = bend * bend - a.slope * b.slope
        if square >= 0:
            root = math.sqrt(square)
            below = b.slope - a.slope + 2 * root
            if below:
                return min(max(b.t - (b.t - a.t) * ((b.slope + root - bend) / below), least), most)
    return (least + most) / 2


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0
