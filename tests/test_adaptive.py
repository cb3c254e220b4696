"""The adaptive softmax beside torch's: outputs, loss, gradients, all log-probabilities, predictions, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn


def pair(*args: Any, **options: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    ours, theirs = (m.nn.AdaptiveLogSoftmaxWithLoss(*args, **options) for m in (tg, torch))
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours.double(), theirs.double()


@pytest.mark.parametrize("target", [[0, 2, 7, 4, 9, 8], [1, 0, 2], [6, 6], [], 8, 1])
def test_forward(target: Any) -> None:
    ours, theirs = pair(8, 10, [3, 6, 8], div_value=2.0, head_bias=True)
    x = randn(len(target), 8) if isinstance(target, list) else randn(8)
    y = ours(tg.tensor(x), tg.tensor(target, dtype=tg.int64))
    z = theirs(torch.tensor(x), torch.tensor(target, dtype=torch.int64))
    assert y._fields == z._fields == ("output", "loss")
    compare("output", y.output.detach(), z.output.detach(), 1e-13)
    compare("loss", y.loss.detach(), z.loss.detach(), 1e-13)
    if target != []:
        y.loss.backward()
        z.loss.backward()
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            a, b = p.detach() * 0 if p.grad is None else p.grad, torch.zeros_like(q) if q.grad is None else q.grad
            compare(name, a, b, 1e-12)


def test_all_classes() -> None:
    ours, theirs = pair(16, 9, [2, 5])
    x = randn(9, 16) * 3
    compare("log_prob", ours.log_prob(tg.tensor(x)).detach(), theirs.log_prob(torch.tensor(x)).detach(), 1e-13)
    best = ours.predict(tg.tensor(x)).tolist()
    assert best == theirs.predict(torch.tensor(x)).tolist() and min(best) < 2 <= max(best)
    head = next(i for i, c in enumerate(best) if c < 2)
    assert ours.predict(tg.tensor(x[head : head + 1])).tolist() == [best[head]]
    ours.reset_parameters()
    assert abs(ours.head.weight).max() <= 0.25


def test_errors() -> None:
    for m in (tg, torch):
        for cutoffs in ([], [0], [3, 2], [2, 2], [9], [1.5]):
            with pytest.raises(ValueError, match="cutoffs"):
                m.nn.AdaptiveLogSoftmaxWithLoss(4, 9, cutoffs)
        layer = m.nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3])
        for x, t in (((2, 4), [1]), ((4,), [1, 2, 3, 0]), ((1, 4), 1), ((1, 4), [[1]]), ((1, 4), [9]), ((1, 4), [-1])):
            with pytest.raises(RuntimeError):
                layer(m.ones(*x), m.tensor(t))
