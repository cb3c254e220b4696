"""Model files written for torch.jit run as they are, and compute what they do with torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import compare


def net(m: Any) -> Any:
    """A module with every decorator, as torchvision's DenseNet and the fused activations of others have them."""

    @m.jit.script
    def fused(x, y):
        return x * m.sigmoid(y)

    class Net(m.nn.Module):
        scale: m.jit.Final[float]

        def __init__(self) -> None:
            super().__init__()
            self.scale, self.linear = 2.0, m.nn.Linear(3, 3)

        @m.jit.unused
        def unused(self, x):
            return x

        @m.jit.ignore
        def ignored(self, x):
            return x.tolist()

        @m.jit.ignore(drop=True)
        def dropped(self, x):
            return None

        @m.jit.export
        def other(self, x):
            return x

        def forward(self, x):
            if not m.jit.is_scripting() and not m.jit.is_tracing():
                x = self.unused(x)
            return fused(self.linear(x), m.jit.annotate(Any, x)) * self.scale

    return Net()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="torch does not script there")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch of its own decorators
def test_decorated_modules_compute() -> None:
    theirs, ours = net(torch), net(tg)
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    compare("result", ours(tg.tensor(x)).detach(), theirs(torch.tensor(x)).detach(), 1e-6)
    assert tg.jit.script(ours) is ours and repr(ours) == repr(theirs)


def test_tracing_calls_once() -> None:
    seen = []
    f = tg.jit.trace(seen.append, 3)
    assert seen == [3] and f == seen.append
    assert tg.jit.trace(f, (4,)) == f and seen == [3, 4] and tg.jit.trace(f) == f

    class Old(tg.jit.ScriptModule):
        @tg.jit.script_method
        def forward(self, x):
            return tg.jit.script_if_tracing(abs)(x)

    assert Old()(-2) == 2
