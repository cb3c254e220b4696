"""The main job: ResNet's forward, backward and SGD steps equal torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests import torch_resnet
from tritongrad.models import resnet18, resnet34, resnet50, resnet101, resnet152
from tritongrad.models.resnet import Bottleneck, conv1x1


def pair_of_models(dtype: tg.dtype = tg.float32) -> tuple[tg.nn.Module, torch.nn.Module]:
    """The same ResNet-18 weights in tritongrad and in torch's float64."""
    tg.manual_seed(0)
    ours = resnet18(weights=None).to(dtype)
    theirs = torch_resnet.ResNet(torch_resnet.BasicBlock, [2, 2, 2, 2]).double()
    theirs.load_state_dict(as_torch(ours.state_dict(), theirs))
    return ours, theirs


def as_torch(state: dict[str, tg.Tensor], like: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: torch.tensor(v.numpy()).to(like.state_dict()[k].dtype) for k, v in state.items()}


def test_three_training_steps_equal_torch() -> None:
    """In float64, where no rounding can flip a ReLU: logits, loss, every gradient, every parameter and buffer."""
    ours, theirs = pair_of_models(tg.float64)
    optim = tg.optim.SGD(ours.parameters(), lr=1e-2, momentum=0.9, weight_decay=1e-4)
    their_optim = torch.optim.SGD(theirs.parameters(), lr=1e-2, momentum=0.9, weight_decay=1e-4)
    rng = np.random.default_rng(0)
    for step in range(3):
        x, labels = rng.random((2, 3, 64, 64)), rng.random((2, 1000))
        prediction, their_prediction = ours(tg.tensor(x)), theirs(torch.tensor(x))
        close("logits", step, prediction, their_prediction, 1e-10)
        loss, their_loss = (prediction - tg.tensor(labels)).sum(), (their_prediction - torch.tensor(labels)).sum()
        close("loss", step, loss, their_loss, 1e-10)
        optim.zero_grad()
        their_optim.zero_grad()
        loss.backward()
        their_loss.backward()
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            close(f"gradient of {name}", step, p.grad, q.grad, 1e-9)
        optim.step()
        their_optim.step()
        for name, value in theirs.state_dict().items():
            close(name, step, ours.state_dict()[name], value, 1e-9)


def test_float32_steps_stay_within_rounding_of_float64() -> None:
    """From the same state, each of 3 float32 steps of the main job lands where float64 does.

    Gradients are compared as one vector: rounding may flip the ReLU of a value within 1e-6 of zero, which moves a few
    entries of a gradient a lot (torch's float32 does the same).
    """
    ours, theirs = pair_of_models()
    optim = tg.optim.SGD(ours.parameters(), lr=1e-3, momentum=0.9)
    their_optim = torch.optim.SGD(theirs.parameters(), lr=1e-3, momentum=0.9)
    rng = np.random.default_rng(1)
    for step in range(3):
        x, y = rng.random((4, 3, 64, 64), np.float32), rng.integers(0, 1000, 4)
        logits, their_logits = ours(tg.tensor(x)), theirs(torch.tensor(x).double())
        close("logits", step, logits, their_logits, 5e-5)
        optim.zero_grad()
        their_optim.zero_grad()
        tg.nn.functional.cross_entropy(logits, tg.tensor(y)).backward()
        torch.nn.functional.cross_entropy(their_logits, torch.tensor(y)).backward()
        pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
        assert distance([(p.grad, q.grad) for p, q in pairs]) <= 2e-2, f"step {step}: gradient"
        optim.step()
        their_optim.step()
        assert distance(pairs) <= 1e-5, f"step {step}: parameters"
        ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
        for state, q in zip(optim.state.values(), theirs.parameters(), strict=True):
            state["momentum_buffer"].copy_(tg.tensor(their_optim.state[q]["momentum_buffer"].numpy()))


def distance(pairs: list) -> float:
    """The length of the difference of two vectors given in pieces, as a share of the second one's."""
    apart = sum(float(((p.detach().numpy() - q.detach().numpy()) ** 2).sum()) for p, q in pairs)
    return (apart / sum(float((q.detach().numpy() ** 2).sum()) for _, q in pairs)) ** 0.5


def close(what: str, step: int, ours: tg.Tensor, theirs: torch.Tensor, bound: float) -> None:
    """Within `bound` of the largest magnitude."""
    a, b = ours.detach().numpy().astype(np.float64), theirs.detach().numpy()
    assert a.shape == b.shape, f"step {step}: {what} has shape {a.shape}, expected {b.shape}"
    error, scale = np.abs(a - b).max(), np.abs(b).max()
    assert error <= bound * max(scale, 1e-6), f"step {step}: {what} off by {error:.2e} of {scale:.2e}"


def test_evaluation_uses_running_statistics() -> None:
    ours, theirs = pair_of_models()
    ours.eval()
    theirs.eval()
    x = np.random.default_rng(1).random((2, 3, 32, 32), np.float32)
    with tg.no_grad():
        logits = ours(tg.tensor(x))
    assert not logits.requires_grad
    close("logits", 0, logits, theirs(torch.tensor(x).double()), 1e-5)


@pytest.mark.parametrize(
    ("build", "block", "layers"),
    [
        (resnet34, torch_resnet.BasicBlock, [3, 4, 6, 3]),
        (resnet50, torch_resnet.Bottleneck, [3, 4, 6, 3]),
        (resnet101, torch_resnet.Bottleneck, [3, 4, 23, 3]),
        (resnet152, torch_resnet.Bottleneck, [3, 8, 36, 3]),
    ],
)
def test_names_and_shapes_equal_torchvisions(build, block, layers, monkeypatch) -> None:
    """The state dict has torchvision's keys and shapes, in its order (initial values are not drawn: they take long)."""
    monkeypatch.setattr(tg.nn.init, "uniform_", lambda t, *a, **k: t)
    monkeypatch.setattr(tg.nn.init, "normal_", lambda t, *a, **k: t)
    with torch.device("meta"):
        expected = torch_resnet.ResNet(block, layers).state_dict()
    ours = build(weights=None).state_dict()
    assert sorted((k, tuple(v.shape)) for k, v in ours.items()) == sorted(
        (k, tuple(v.shape)) for k, v in expected.items()
    )


def test_bottleneck_forward_and_gradients_equal_torch() -> None:
    tg.manual_seed(0)
    down = tg.nn.Sequential(conv1x1(16, 32, 2), tg.nn.BatchNorm2d(32))
    ours, theirs = Bottleneck(16, 8, 2, down), torch_resnet.Bottleneck(16, 8, 2).double()
    theirs.load_state_dict(as_torch(ours.state_dict(), theirs))
    x = np.random.default_rng(2).standard_normal((3, 16, 9, 9)).astype(np.float32)
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x).double().requires_grad_()
    y, z = ours(a), theirs(b)
    close("output", 0, y, z, 1e-5)
    y.square().sum().backward()
    z.square().sum().backward()
    close("input gradient", 0, a.grad, b.grad, 1e-4)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        close(name, 0, p.grad, q.grad, 1e-4)
