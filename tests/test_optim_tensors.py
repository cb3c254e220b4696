"""Optimisers written with tensors, beside torch's: Adafactor, Muon, L-BFGS; and SparseAdam, which is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.test_optim_formulas import assert_close, assert_same_state, give_gradients, other_side, parameters


@pytest.mark.parametrize(
    "options",
    [{}, {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "d": 2.0, "weight_decay": 0.1, "maximize": True}],
)
def test_adafactor(options: dict[str, Any]) -> None:
    ours, theirs = (p[:2] + p[3:] for p in parameters())  # torch divides by zero where there are no elements
    mine, other = tg.optim.Adafactor(ours, **options), torch.optim.Adafactor(theirs, **options)
    assert repr(mine) == repr(other)
    for step in range(20):
        give_gradients(ours, theirs, step)
        if step == 6:
            state = mine.state_dict()
            mine.load_state_dict(other_side(other.state_dict(), tg))
            other.load_state_dict(other_side(state, torch))
        mine.step()
        other.step()
    assert_close(ours, theirs, 5e-5)
    assert_same_state(mine.state_dict(), other.state_dict(), 5e-5)


def test_adafactor_of_nothing_and_of_halves() -> None:
    p, q = tg.zeros(2, 0, requires_grad=True), tg.ones(3, 4, dtype=tg.bfloat16, requires_grad=True)
    p.grad, q.grad = tg.zeros(2, 0), tg.ones(3, 4, dtype=tg.bfloat16)
    tg.optim.Adafactor([p, q], lr=0.1).step()
    assert q.detach().unique().tolist() == [0.8984375]  # 1 - 0.1 in bfloat16
    q.grad = tg.ones(2)
    with pytest.raises(RuntimeError, match=r"shape \[3, 4\] needs a gradient of that shape"):
        tg.optim.Adafactor([q]).step()


@pytest.mark.parametrize(
    "options",
    [{}, {"lr": 0.1, "weight_decay": 0.3, "momentum": 0.5, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}],
)
def test_muon(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s).astype(np.float32) for s in ((5, 3), (3, 7))]
    ours, theirs = (
        [tg.tensor(v, requires_grad=True) for v in values],
        [torch.tensor(v, requires_grad=True) for v in values],
    )
    mine, other = tg.optim.Muon(ours, **options), torch.optim.Muon(theirs, **options)
    assert repr(mine) == repr(other)
    for step in range(3):
        give_gradients(ours, theirs, step)
        mine.step()
        other.step()
    assert_close(ours, theirs, 0.02 * options.get("lr", 1e-3) * 3)  # made orthogonal in bfloat16
    assert_same_state(mine.state_dict(), other.state_dict(), 1e-6)


def rosenbrock(m: Any, options: dict[str, Any], steps: int) -> tuple[list[float], list[Any], Any]:
    """Losses, parameters and the optimizer after minimising a curved valley."""
    x, y = (m.tensor(v, dtype=m.float64, requires_grad=True) for v in ([-1.5, 0.5], [2.0, -1.0]))
    unused = m.zeros(2, dtype=m.float64, requires_grad=True)
    optimizer = m.optim.LBFGS([x, y, unused], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((1 - x) ** 2 + 20 * (y - x * x) ** 2).sum()
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)], [x, y], optimizer


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"lr": 0.05, "max_iter": 5, "history_size": 2}, 2),
        ({"line_search_fn": "strong_wolfe", "max_iter": 4}, 2),
        ({"line_search_fn": "strong_wolfe", "lr": 1e-3, "max_eval": 6}, 2),
        ({"line_search_fn": "strong_wolfe", "lr": 50, "max_iter": 3, "tolerance_grad": 1e-2}, 1),
    ],
)
def test_lbfgs(options: dict[str, Any], steps: int) -> None:
    losses, ours, mine = rosenbrock(tg, options, steps)
    their_losses, theirs, other = rosenbrock(torch, options, steps)
    assert losses == pytest.approx(their_losses, rel=1e-6, abs=1e-9)
    assert_close(ours, theirs, 1e-6)
    state, their_state = mine.state[ours[0]], other.state[theirs[0]]
    assert set(state) == set(their_state)
    assert (state["n_iter"], state["func_evals"]) == (their_state["n_iter"], their_state["func_evals"])
    other.load_state_dict(other_side(mine.state_dict(), torch))
    mine.load_state_dict(other_side(other.state_dict(), tg))
    assert mine.state[ours[0]]["n_iter"] == state["n_iter"]


def test_wrong_arguments() -> None:
    p, q = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    for make, error in (
        (lambda m, p, q: m.optim.LBFGS([{"params": [p]}, {"params": [q]}]), ValueError),
        (lambda m, p, q: m.optim.LBFGS([p], lr=-1), ValueError),
        (
            lambda m, p, q: m.optim.LBFGS([p], line_search_fn="other").step(lambda: (p * p).sum().backward() or 1),
            RuntimeError,
        ),
        (lambda m, p, q: m.optim.Muon([p]), ValueError),
        (lambda m, p, q: m.optim.Muon([p], adjust_lr_fn="other"), ValueError),
        (lambda m, p, q: m.optim.Adafactor([p], d=0.5), ValueError),
        (lambda m, p, q: m.optim.Adafactor([p], beta2_decay=0.5), ValueError),
        (lambda m, p, q: m.optim.Adafactor([p], eps=(-1.0, 1.0)), ValueError),
        (lambda m, p, q: m.optim.SparseAdam([p], lr=float("nan")), ValueError),
    ):
        for m in (tg, torch):
            with pytest.raises(error):
                make(m, *(m.ones(2, requires_grad=True) for _ in (p, q)))
    with pytest.raises(RuntimeError, match="never sparse"):
        tg.optim.SparseAdam([p])
