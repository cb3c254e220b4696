"""torch allocates, copies and describes memory; it computes nothing."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tritongrad as tg
from tritongrad_kernels import memory

# Every torch operator a training step may reach, and what it does.
ALLOWED = {
    "aten.empty.memory_format": "allocate",
    "aten.slice.Tensor": "take a range of a block of bytes",
    "aten.copy_.default": "copy bytes",
    "aten._to_copy.default": "copy bytes to the host",
    "aten.lift_fresh.default": "borrow a numpy array's bytes",
    "aten.detach.default": "an alias, for numpy",
    "aten.alias.default": "an alias, for numpy",
}


class Watch(TorchDispatchMode):
    """Notes the name of every operator torch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


def test_a_training_step_runs_no_torch_operator() -> None:
    """Model, random input, forward, loss, backward, both optimisers, and reading the loss."""
    memory.POISON = False  # poisoning fills memory through torch, in tests only
    with Watch() as watch:
        tg.manual_seed(1)
        model = tg.nn.Sequential(
            tg.nn.Conv2d(3, 8, 3, 2, 1),
            tg.nn.BatchNorm2d(8),
            tg.nn.ReLU(inplace=True),
            tg.nn.MaxPool2d(2),
            tg.nn.AdaptiveAvgPool2d((2, 2)),
            tg.nn.Flatten(),
            tg.nn.Dropout(0.1),
            tg.nn.Linear(32, 10),
        )
        x, y = tg.randn(4, 3, 16, 16), tg.tensor(np.array([1, 2, 3, 4]))
        for optim in (tg.optim.SGD(model.parameters(), 0.1, 0.9), tg.optim.Adam(model.parameters())):
            loss = tg.nn.functional.cross_entropy(model(x), y)
            optim.zero_grad()
            loss.backward()
            optim.step()
            assert loss.item() > 0
        model.eval()
        model(x).argmax(1).tolist()
    assert watch.seen <= set(ALLOWED), f"torch computed something: {sorted(watch.seen - set(ALLOWED))}"
    assert "aten.empty.memory_format" in watch.seen


def test_the_watch_would_notice() -> None:
    with Watch() as watch:
        torch.ones(3) + 1
    assert not watch.seen <= set(ALLOWED)
