"""Activation checkpointing: the same gradients, less memory, the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest

import tritongrad as tg
from tritongrad import nn
from tritongrad.utils.checkpoint import checkpoint, checkpoint_sequential
from tritongrad_kernels import memory


def gradients(loss: tg.Tensor, *tensors: tg.Tensor) -> list:
    return [g.tolist() for g in tg.autograd.grad(loss, list(tensors))]


def test_gradients_of_arguments_and_parameters() -> None:
    layer = nn.Linear(4, 3)
    x, scale = tg.randn(5, 4, requires_grad=True), tg.randn(3, requires_grad=True)

    def segment(x: tg.Tensor, factor: float, scale: tg.Tensor) -> tuple:
        h = layer(x).tanh() * scale
        return h * factor, h.sum()

    found = []
    for kept in (True, False):
        inputs = x * 2, 3.0
        a, b = segment(*inputs, scale=scale) if kept else checkpoint(segment, *inputs, scale=scale)
        found.append(gradients((a * a).sum() + b, x, scale, layer.weight, layer.bias))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_backward_reaches_parameters_when_no_argument_wants_a_gradient() -> None:
    layer = nn.Linear(4, 3)
    checkpoint(lambda x: layer(x).relu(), tg.ones(2, 4), use_reentrant=False).sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None


def test_second_derivatives() -> None:
    found = []
    for kept in (True, False):
        x = tg.tensor([0.3, -1.2, 2.0], dtype=tg.float64, requires_grad=True)
        f = lambda t: (t * t).sin() * t  # noqa: E731
        y = f(x * 1) if kept else checkpoint(f, x * 1)
        (g,) = tg.autograd.grad(y.sum(), x, create_graph=True)
        found.append(gradients((g * g).sum(), x))
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_a_parameter_that_made_the_argument_too() -> None:
    """Its gradient is that of both ways, once each, first and second."""
    found = []
    for kept in (True, False):
        w = tg.tensor([2.0, 3.0], dtype=tg.float64, requires_grad=True)
        x = tg.tensor([1.5, -1.0], dtype=tg.float64, requires_grad=True)
        f = lambda t: (w * t**3).sum()  # noqa: E731, B023
        for create_graph in (False, True):
            y = f(w * x) if kept else checkpoint(f, w * x)
            first = tg.autograd.grad(y, [w, x], create_graph=create_graph)
            found.append([g.tolist() for g in first])
        found.append(gradients(first[0].sum() + first[1].sum(), w, x))
    np.testing.assert_allclose(found[:3], found[3:], rtol=1e-12)
    assert found[0] == found[1]


def test_dropout_draws_the_same_mask_again() -> None:
    x = tg.ones(64, requires_grad=True)
    drop = nn.Dropout(0.5)
    y = checkpoint(drop, x)
    after = tg.get_rng_state().tolist()
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == y.tolist()
    assert tg.get_rng_state().tolist() == after  # the backward draws from a state of its own


def test_less_is_kept() -> None:
    def peak(kept: bool) -> int:
        with memory.dry_run() as run:
            model = [nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh()) for _ in range(48)]
            x = tg.zeros(4096, 256)
            for block in model:
                x = block(x) if kept else checkpoint(block, x)
            x.sum().backward()
        return run.peak

    assert peak(False) < 0.6 * peak(True)


def test_sequential_parts() -> None:
    layers = [nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)]
    x = tg.randn(3, 4, requires_grad=True)
    want = nn.Sequential(*layers)(x)
    got = checkpoint_sequential(layers, 2, x)
    assert got.tolist() == want.tolist()
    assert gradients(got.sum(), x) == gradients(want.sum(), x)
    with pytest.raises(ValueError, match="6 segments of 5 functions"):
        checkpoint_sequential(layers, 6, x)


def test_nothing_is_recorded_without_a_graph() -> None:
    with tg.no_grad():
        assert not checkpoint(lambda x: x * 2, tg.ones(2, requires_grad=True)).requires_grad


def test_a_hidden_history_is_refused() -> None:
    h = tg.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="uses a result of mul that is not among its arguments"):
        checkpoint(lambda x: x * h, tg.ones(2, requires_grad=True))


def test_an_input_overwritten_meanwhile_is_refused() -> None:
    x = tg.ones(2, requires_grad=True) * 2
    y = checkpoint(lambda t: t.exp(), x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="saved by checkpoint is at version 1"):
        y.sum().backward()


def test_a_module_that_made_the_input_too() -> None:
    """The gradient of this call ends at its arguments, whatever they come from."""
    layer, x = nn.Linear(4, 4), tg.randn(3, 4)
    layer(layer(layer(x))).sum().backward()
    want, layer.weight.grad = layer.weight.grad.tolist(), None
    checkpoint(layer, checkpoint(layer, layer(x))).sum().backward()
    assert layer.weight.grad.tolist() == want
