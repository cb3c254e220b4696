"""Averages of weights beside torch's, and the schedule and batch statistics that go with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad_kernels import launch


def net(m: Any) -> Any:
    model = m.nn.Sequential(m.nn.Linear(3, 5), m.nn.BatchNorm1d(5), m.nn.Linear(5, 2))
    rng = np.random.default_rng(0)
    with m.no_grad():
        for p in model.parameters():
            p.copy_(m.tensor(rng.standard_normal(tuple(p.shape)).astype(np.float32)))
    return model


def averages(m: Any, make: Any) -> tuple[Any, dict[str, Any]]:
    """A model and the state of its average after three updates."""
    model, u = net(m), m.optim.swa_utils
    average = make(u, model)
    for step in range(3):
        average.update_parameters(model)
        with m.no_grad():
            for p in model.parameters():
                p.add_(step + 1.0)
            model[1].running_mean.add_(1.0)
            model[1].num_batches_tracked.add_(4)
    return average, {k: v.double().numpy() for k, v in average.state_dict().items()}


@pytest.mark.parametrize(
    "make",
    [
        lambda u, n: u.AveragedModel(n),
        lambda u, n: u.AveragedModel(n, "cpu", use_buffers=True),
        lambda u, n: u.AveragedModel(n, multi_avg_fn=u.get_ema_multi_avg_fn(0.7), use_buffers=True),
        lambda u, n: u.AveragedModel(n, multi_avg_fn=u.get_swa_multi_avg_fn()),
        lambda u, n: u.AveragedModel(n, avg_fn=u.get_ema_avg_fn(0.7)),
        lambda u, n: u.AveragedModel(n, avg_fn=u.get_swa_avg_fn()),
        lambda u, n: u.AveragedModel(n, avg_fn=lambda a, b, k: a + (b - a) / (k + 2)),
    ],
)
def test_averages(make: Any) -> None:
    mine, ours = averages(tg, make)
    other, theirs = averages(torch, make)
    assert list(ours) == list(theirs)
    for name in ours:
        assert np.allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6), name
    assert repr(mine) == repr(other)
    x = np.ones((2, 3), np.float32)
    assert np.allclose(
        mine.eval()(tg.tensor(x)).detach().numpy(), other.eval()(torch.tensor(x)).detach().numpy(), atol=1e-4
    )


def test_one_launch_averages_all_parameters() -> None:
    model = net(tg)
    average = tg.optim.swa_utils.AveragedModel(model, multi_avg_fn=tg.optim.swa_utils.get_ema_multi_avg_fn())
    average.update_parameters(model)
    with launch.recording() as log:
        average.update_parameters(model)
    assert sum(entry.kernel == "_update" for entry in log) == 1


def test_averages_that_are_views() -> None:
    """They are moved where they lie."""
    whole, ends = tg.zeros(4, 4), [tg.ones(4, 2), tg.full((4, 2), 3.0)]
    tg.optim.swa_utils.get_ema_multi_avg_fn(0.5)([whole[:, ::2], whole[:, 1::2]], ends, 0)
    assert whole[0].tolist() == [0.5, 1.5, 0.5, 1.5]


def test_batch_statistics() -> None:
    found = []
    for m in (tg, torch):
        model = net(m).eval()
        batches = [m.tensor(np.random.default_rng(i).standard_normal((4, 3)).astype(np.float32)) for i in range(3)]
        m.optim.swa_utils.update_bn([(batches[0], 1), *batches[1:]], model, device="cpu")
        m.optim.swa_utils.update_bn(batches, m.nn.Linear(3, 3))
        assert not model.training and model[1].momentum == 0.1
        found.append([model[1].running_mean.numpy(), model[1].running_var.numpy(), int(model[1].num_batches_tracked)])
    for a, b in zip(*found, strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"anneal_epochs": 3, "anneal_strategy": "linear"}, {"anneal_epochs": 0}])
def test_learning_rates(options: dict[str, Any]) -> None:
    found = []
    for m in (tg, torch):
        p, q = m.ones(1, requires_grad=True), m.ones(1, requires_grad=True)
        optimizer = m.optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.3}], lr=0.1)
        schedule = m.optim.swa_utils.SWALR(optimizer, [0.01, 0.5], **options)
        rates = [schedule.get_last_lr()]
        for step in range(12):
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr())
            if step == 1:
                state = schedule.state_dict()
                schedule = m.optim.swa_utils.SWALR(optimizer, [0.01, 0.5])
                schedule.load_state_dict(state)
        found.append((rates, set(state)))
    assert np.allclose(found[0][0], found[1][0], rtol=1e-12) and found[0][1] <= found[1][1] | {"_is_initial"}


def test_wrong_arguments() -> None:
    for m in (tg, torch):
        u, model = m.optim.swa_utils, m.nn.Linear(2, 2)
        optimizer = m.optim.SGD(model.parameters())
        with pytest.raises(AssertionError, match="Only one"):
            u.AveragedModel(model, avg_fn=u.get_swa_avg_fn(), multi_avg_fn=u.get_swa_multi_avg_fn())
        for make in (
            lambda u, o: u.get_ema_avg_fn(1.1),
            lambda u, o: u.get_ema_multi_avg_fn(-0.1),
            lambda u, o: u.SWALR(o, 0.1, anneal_strategy="steps"),
            lambda u, o: u.SWALR(o, 0.1, anneal_epochs=-1),
            lambda u, o: u.SWALR(o, [0.1, 0.2]),
        ):
            with pytest.raises(ValueError):
                make(u, optimizer)
