"""Parametrized tensors against torch's: names, values, gradients, removal, assignment, copies, errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn

# (layer, its arguments, what wraps it), with x of shape [5, 3] or [2, 3, 4]
CASES: dict[str, tuple[str, tuple, Any]] = {
    "weight_norm": ("Linear", (3, 4), lambda p, m: p.weight_norm(m)),
    "weight_norm all": ("Linear", (3, 4), lambda p, m: p.weight_norm(m, "weight", None)),
    "weight_norm conv": ("ConvTranspose1d", (3, 4, 2), lambda p, m: p.weight_norm(m, dim=1)),
    "spectral_norm": ("Linear", (3, 4), lambda p, m: p.spectral_norm(m)),
    "spectral_norm conv": ("ConvTranspose1d", (3, 2, 2), lambda p, m: p.spectral_norm(m, n_power_iterations=2)),
    "spectral_norm bias": ("Linear", (3, 4), lambda p, m: p.spectral_norm(m, "bias")),
    "exp": ("Linear", (3, 3), lambda p, m: p.orthogonal(m)),
    "exp wide": ("Linear", (3, 2), lambda p, m: p.orthogonal(m, orthogonal_map="matrix_exp")),
    "cayley": ("Linear", (3, 5), lambda p, m: p.orthogonal(m, orthogonal_map="cayley", use_trivialization=False)),
    "householder": ("Linear", (3, 4), lambda p, m: p.orthogonal(m)),
    "reflections": ("Linear", (3, 2), lambda p, m: p.orthogonal(m, use_trivialization=False)),
}


@pytest.mark.parametrize("case", CASES)
def test_layers(case: str) -> None:
    name, args, wrap = CASES[case]
    ours, theirs = (wrap(m.nn.utils.parametrizations, getattr(m.nn, name)(*args).to(m.float64)) for m in (tg, torch))
    assert repr(ours) == repr(theirs)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in state.items()})
    for step in range(3):
        if step == 2:
            _ = ours.eval(), theirs.eval()
        x = randn(5, 3, seed=step) if name == "Linear" else randn(2, 3, 4, seed=step)
        y, z = ours(tg.tensor(x)), theirs(torch.tensor(x))
        compare("y", y.detach(), z.detach(), 1e-11)
        (y * y).sum().backward()
        (z * z).sum().backward()
    for (n, p), (k, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert n == k
        compare(n, p.grad, torch.zeros_like(q) if q.grad is None else q.grad, 1e-9)
    tensor = "bias" if "bias" in case else "weight"
    for m, layer in ((tg, ours), (torch, theirs)):
        p = m.nn.utils.parametrize
        assert p.is_parametrized(layer) and p.is_parametrized(layer, tensor) and not p.is_parametrized(layer, "x")
        assert p.type_before_parametrizations(layer) is getattr(m.nn, name)
        p.remove_parametrizations(layer, tensor)
        assert type(layer) is getattr(m.nn, name) and not p.is_parametrized(layer)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    compare(tensor, getattr(ours, tensor).detach(), getattr(theirs, tensor).detach(), 1e-11)


def made(m: Any) -> Any:
    class Skew(m.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.triu(1) - x.triu(1).transpose(-1, -2)

        def right_inverse(self, a: Any) -> Any:
            return a.triu(1)

    class Twice(m.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2

    class Pair(m.nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return x + y

        def right_inverse(self, z: Any) -> Any:
            return z - 1, z * 0 + 1

    class Wrong(m.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.sum()

    return Skew(), Twice(), Pair(), Wrong(), m.nn.utils.parametrize


def test_chains_assignment_and_buffers() -> None:
    results: list[list[Any]] = []
    for m in (tg, torch):
        skew, twice, pair, _, p = made(m)
        layer = m.nn.Linear(3, 3).to(m.float64)
        before = layer.weight
        p.register_parametrization(layer, "weight", skew)
        layer.weight = m.tensor(randn(3, 3)).triu(1) - m.tensor(randn(3, 3)).triu(1).t()
        assert layer.parametrizations.weight.original is before
        p.register_parametrization(layer, "weight", twice)
        result = [layer.weight, layer.parametrizations.weight.original]
        with pytest.raises(RuntimeError, match="right_inverse"):
            layer.weight = layer.weight.detach()
        with pytest.raises(KeyError, match="weight"):
            layer.weight = m.nn.Parameter(layer.weight.detach())
        norm = m.nn.BatchNorm1d(3).to(m.float64)
        p.register_parametrization(norm, "running_var", pair)
        with p.cached():
            assert norm.running_var is norm.running_var
        assert norm.running_var is not norm.running_var
        norm.running_var = m.tensor([1.0, 2.0, 3.0], dtype=m.float64)
        result += norm.state_dict().values()
        assert not list(norm.parameters(recurse=True))[2:]
        twin = copy.deepcopy(layer)
        assert type(twin) is type(layer) and twin.parametrizations.weight.original is not before
        result.append(twin.weight)
        other = p.transfer_parametrizations_and_params(layer, m.nn.Linear(3, 3))
        assert other.parametrizations.weight.original is before
        result.append(other.weight)
        p.remove_parametrizations(layer, "weight", leave_parametrized=False)
        assert layer.weight is before and "parametrizations" not in layer._modules
        p.remove_parametrizations(norm, "running_var")
        assert "running_var" in norm._buffers
        results.append([*result, layer.weight, norm.running_var, m.tensor(len(norm.state_dict()))])
    for k, (a, b) in enumerate(zip(*results, strict=True)):
        compare(str(k), a.detach(), b.detach(), 1e-14)


def test_errors() -> None:
    for m in (tg, torch):
        skew, _, pair, wrong, p = made(m)
        q = m.nn.utils.parametrizations
        layer = m.nn.Linear(3, 3)
        for call, kind in (
            (lambda p=p, layer=layer, s=skew: p.register_parametrization(layer, "nothing", s), ValueError),
            (lambda p=p, layer=layer, w=wrong: p.register_parametrization(layer, "weight", w), ValueError),
            (lambda p=p, layer=layer: p.remove_parametrizations(layer, "weight"), ValueError),
            (lambda q=q, layer=layer: q.orthogonal(layer, "bias"), ValueError),
            (lambda q=q, layer=layer: q.orthogonal(layer, "nothing"), ValueError),
            (lambda q=q, layer=layer: q.orthogonal(layer, orthogonal_map="qr"), ValueError),
            (lambda q=q, layer=layer: q.spectral_norm(layer, n_power_iterations=0), ValueError),
            (lambda q=q, layer=layer: q.spectral_norm(layer, dim=2), IndexError),
            (lambda p=p: p.ParametrizationList([], None), ValueError),
        ):
            with pytest.raises(kind):
                call()
        assert type(layer) is m.nn.Linear
        p.register_parametrization(layer, "weight", pair)
        with pytest.raises(ValueError):
            p.register_parametrization(layer, "weight", wrong)
        with pytest.raises(ValueError, match="sequence of tensors"):
            p.remove_parametrizations(layer, "weight", leave_parametrized=False)
        with pytest.raises(RuntimeError, match="state_dict"):
            pickle.dumps(layer)


def test_states_of_hooks_load() -> None:
    old = tg.nn.utils.weight_norm(tg.nn.Linear(3, 2))
    new = tg.nn.utils.parametrizations.weight_norm(tg.nn.Linear(3, 2))
    new.load_state_dict(old.state_dict())
    compare("weight", new.weight.detach(), torch.tensor(old.weight.tolist()), 1e-6)


@pytest.mark.parametrize(("m", "n", "k"), [(5, 3, 3), (3, 3, 2), (2, 2, 2), (3, 1, 1), (2, 0, 0)])
def test_householder_product(m: int, n: int, k: int) -> None:
    check(
        tg.linalg.householder_product, torch.linalg.householder_product, randn(2, m, n), randn(2, k, seed=1),
        dtype="float64", slack=1e3, second=k == n,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (2, 3, 3), (0, 3)])
def test_geqrf(shape: tuple[int, ...]) -> None:
    x = randn(*shape)
    for a, b in zip(tg.geqrf(tg.tensor(x)), torch.geqrf(torch.tensor(x)), strict=True):
        compare("factors", a, b, 1e-13)


def test_householder_errors() -> None:
    for m in (tg, torch):
        for a, tau in (((2, 3), (2,)), ((3, 2), (3,)), ((2, 3, 2), (3, 2))):
            with pytest.raises(RuntimeError):
                m.orgqr(m.ones(a), m.ones(tau))
