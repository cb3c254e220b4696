"""Every optimiser beside torch's for twenty steps, with every option; its state in torch's optimiser and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad import precision
from tritongrad_kernels import launch

SHAPES: list[tuple[int, ...]] = [(), (3, 5), (2, 0), (19,)]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.02, "amsgrad": True, "maximize": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "momentum": 0.8}),
    ("RMSprop", {"lr": 0.01, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "maximize": True, "foreach": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 0.01, "fused": True}),
    ("Adagrad", {"maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 3, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.2), "maximize": True}),
]
FORMULAS = ["RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop"]


def parameters(dtype: str = "float32") -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s) for s in SHAPES]
    ours = [tg.tensor(v, dtype=getattr(tg, dtype), requires_grad=True) for v in values]
    return ours, [torch.tensor(v, dtype=getattr(torch, dtype), requires_grad=True) for v in values]


def give_gradients(ours: list[Any], theirs: list[Any], step: int) -> None:
    rng = np.random.default_rng(100 + step)
    for p, q in zip(ours, theirs, strict=True):
        g = rng.standard_normal(tuple(q.shape))
        p.grad, q.grad = tg.tensor(g, dtype=p.dtype), torch.tensor(g, dtype=q.dtype)
    if step == 3:  # what has no gradient is left alone, and its step count behind
        ours[1].grad = theirs[1].grad = None


def assert_close(ours: list[Any], theirs: list[Any], bound: float) -> None:
    for p, q in zip(ours, theirs, strict=True):
        assert tuple(p.shape) == tuple(q.shape)
        a, b = p.detach().double().numpy(), q.detach().double().numpy()
        assert np.allclose(a, b, rtol=bound, atol=bound), (p.shape, np.abs(a - b).max())


def assert_same_state(mine: dict[str, Any], other: dict[str, Any], bound: float) -> None:
    assert mine["param_groups"] == other["param_groups"]
    assert list(mine["state"]) == list(other["state"])
    for i, state in mine["state"].items():
        assert list(state) == list(other["state"][i])
        for name, v in state.items():
            w = other["state"][i][name]
            assert str(v.dtype).split(".")[1] == str(w.dtype).split(".")[1] and tuple(v.shape) == tuple(w.shape), name
            assert np.allclose(v.double().numpy(), w.double().numpy(), rtol=bound, atol=bound), name


def other_side(state: Any, m: Any) -> Any:
    """A state dict with its tensors made anew by module m."""
    if isinstance(state, dict):
        return {k: other_side(v, m) for k, v in state.items()}
    if isinstance(state, list):
        return [other_side(v, m) for v in state]
    return m.tensor(state.numpy()) if isinstance(state, tg.Tensor | torch.Tensor) else state


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else ",".join(v))
def test_twenty_steps_and_state(name: str, options: dict[str, Any]) -> None:
    """Then each goes on from the other's state."""
    bound = 2e-5
    ours, theirs = parameters()
    mine, other = getattr(tg.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    assert repr(mine) == repr(other)
    assert_same_state(mine.state_dict(), other.state_dict(), 0)
    for step in range(20):
        give_gradients(ours, theirs, step)
        mine.step()
        other.step()
        if step in (0, 4, 19):
            assert_close(ours, theirs, bound)
    state, their_state = mine.state_dict(), other.state_dict()
    assert_same_state(state, their_state, bound)
    mine, other = getattr(tg.optim, name)(ours), getattr(torch.optim, name)(theirs)
    mine.load_state_dict(other_side(their_state, tg))
    other.load_state_dict(other_side(state, torch))
    assert_same_state(mine.state_dict(), other.state_dict(), bound)
    give_gradients(ours, theirs, 20)
    mine.step()
    other.step()
    assert_close(ours, theirs, 2 * bound)


@pytest.mark.parametrize("name", FORMULAS)
def test_doubles_blocks_and_resuming(name: str) -> None:
    """In float64 to the last bits but few, in blocks smaller than a parameter; resumed with the same bits."""
    options = {"RMSprop": {"momentum": 0.9, "centered": True}, "RAdam": {"betas": (0.9, 0.9)}}.get(name, {})
    ours, theirs = parameters("float64")
    mine, other = getattr(tg.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    again = [p.detach().clone().requires_grad_() for p in ours]
    with launch.tiles(optim={"BLOCK": 16}):
        for step in range(7):
            give_gradients(ours, theirs, step)
            if step == 5:
                resumed = getattr(tg.optim, name)(again)
                resumed.load_state_dict(mine.state_dict())
                for p, q in zip(again, ours, strict=True):
                    p.data = q.detach().clone()
            if step >= 5:
                for p, q in zip(again, ours, strict=True):
                    p.grad = q.grad
                resumed.step()
            mine.step()
            other.step()
    assert_close(ours, theirs, 1e-13)
    assert all(tg.equal(p.detach(), q.detach()) for p, q in zip(again, ours, strict=True))


def test_one_launch_whatever_the_options() -> None:
    ours, theirs = parameters()
    groups = [{"params": ours[:2]}, {"params": ours[2:], "lr": 0.5, "rho": 0.5, "weight_decay": 0.1, "maximize": True}]
    optimizer = tg.optim.Adadelta(groups)
    give_gradients(ours, theirs, 0)
    optimizer.step()
    with launch.recording() as log:
        optimizer.step()
    assert [entry.kernel for entry in log] == ["_update"]


@pytest.mark.parametrize("name", FORMULAS)
def test_halves_and_working_copies(name: str) -> None:
    """Parameters in bfloat16 are updated in float32; the copy that autocast keeps of a float32 one is written along."""
    half = tg.tensor([1.0, -2.0, 3.0], dtype=tg.bfloat16, requires_grad=True)
    p = tg.tensor([1.0, -2.0, 3.0], requires_grad=True)
    copy = precision.working_copy(p, tg.bfloat16)
    optimizer = getattr(tg.optim, name)([half, p], lr=0.1)
    half.grad, p.grad = tg.ones(3, dtype=tg.bfloat16), tg.ones(3)
    optimizer.step()
    assert precision.current_copy(p) is copy and tg.equal(tg.Tensor(copy), p.detach().to(tg.bfloat16))
    assert tg.equal(half.detach(), p.detach().to(tg.bfloat16)) and p.tolist() != [1.0, -2.0, 3.0]


def test_nan_shows_in_every_state() -> None:
    """A gradient that is NaN does not hide: torch's states are NaN in the same places."""
    for name in FORMULAS:
        found = []
        for m in (tg, torch):
            p = m.ones(3, requires_grad=True)
            optimizer = getattr(m.optim, name)([p])
            for bad in (1.0, float("nan"), 1.0):
                p.grad = m.tensor([1.0, bad, 2.0])
                optimizer.step()
            found.append([p, *(v for v in optimizer.state[p].values() if v.ndim)])
        for a, b in zip(*found, strict=True):
            assert np.allclose(a.detach().numpy(), b.detach().numpy(), equal_nan=True), name
