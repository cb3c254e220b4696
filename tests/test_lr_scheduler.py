"""Schedules beside torch's: 50 steps of every kind, resumed half way, combined, and used wrongly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import tritongrad as tg

Make = Callable[[Any, Any], Any]  # (module lr_scheduler, optimizer) -> schedule


class Half:
    """A callable object, whose state is saved."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, epoch: int) -> float:
        self.calls += 1
        return 0.9**epoch


SCHEDULES: dict[str, Make] = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda e: 0.95**e),
    "lambda by group": lambda s, o: s.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: 0.9**e]),
    "lambda object": lambda s, o: s.LambdaLR(o, [Half(), Half()]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95 + 0.001 * e),
    "step": lambda s, o: s.StepLR(o, 7, gamma=0.3),
    "multi step": lambda s, o: s.MultiStepLR(o, [30, 5, 5, 12], gamma=0.5),
    "constant": lambda s, o: s.ConstantLR(o, factor=0.2, total_iters=9),
    "linear": lambda s, o: s.LinearLR(o, start_factor=0.1, end_factor=0.8, total_iters=13),
    "linear down": lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=20),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.93),
    "polynomial": lambda s, o: s.PolynomialLR(o, total_iters=31, power=1.7),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, T_max=50, eta_min=1e-4),
    "cosine up again": lambda s, o: s.CosineAnnealingLR(o, T_max=11, eta_min=0.01),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=6, eta_min=0.001),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=2),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, 0.3, step_size_up=5),
    "cyclic uneven": lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.3, 0.2], 4, 9, mode="triangular2"),
    "cyclic exponential": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 6, mode="exp_range", gamma=0.97),
    "cyclic function": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 6, scale_fn=lambda x: 1 / (5**(x * 0.0001))),
    "cyclic by iteration": lambda s, o: s.CyclicLR(
        o, 0.01, 0.3, 6, scale_fn=lambda x: 0.99**x, scale_mode="iterations", cycle_momentum=False
    ),
    "one cycle": lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=51),
    "one cycle linear": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.3], epochs=5, steps_per_epoch=11, anneal_strategy="linear"
    ),
    "one cycle in three": lambda s, o: s.OneCycleLR(o, 0.5, 60, three_phase=True, pct_start=0.25, cycle_momentum=False),
    "sequential": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 20), s.ExponentialLR(o, 0.9)], [5, 25]
    ),
    "sequential of chains": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 100), s.StepLR(o, 4), s.PolynomialLR(o, 30)], [3, 20]
    ),
    "chained": lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.2, total_iters=4), s.ExponentialLR(o, 0.95)]),
}  # fmt: skip


def optimizers(adam: bool = False) -> tuple[Any, Any]:
    """Ours and torch's, with two groups."""
    found = []
    for m in (tg, torch):
        groups = [
            {"params": [m.zeros(2, requires_grad=True)]},
            {"params": [m.zeros(1, requires_grad=True)], "lr": 0.02},
        ]
        found.append(m.optim.Adam(groups, lr=0.1) if adam else m.optim.SGD(groups, lr=0.1, momentum=0.9))
    return found[0], found[1]


def settings(optimizer: Any) -> list[tuple[Any, ...]]:
    return [(g["lr"], g.get("momentum"), g.get("betas")) for g in optimizer.param_groups]


def assert_same(mine: Any, theirs: Any) -> None:
    for ours, want in zip(settings(mine), settings(theirs), strict=True):
        for a, b in zip(ours, want, strict=True):
            assert a == b if a is None else a == pytest.approx(b, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("adam", [False, True], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_fifty_steps(name: str, adam: bool) -> None:
    mine, theirs = optimizers(adam)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = SCHEDULES[name](tg.optim.lr_scheduler, mine)
        other = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
        assert_same(mine, theirs)
        for _ in range(50):
            mine.step()
            theirs.step()
            ours.step()
            other.step()
            assert_same(mine, theirs)
            assert ours.get_last_lr() == [g["lr"] for g in mine.param_groups]


@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_after_any_step(name: str) -> None:
    """A schedule made anew, over an optimizer made anew, goes on where another's state was taken, bit for bit."""
    mine, _ = optimizers()
    schedule = SCHEDULES[name](tg.optim.lr_scheduler, mine)
    for steps in range(20):
        mine.step()
        schedule.step()
        if steps % 7 == 0:
            again, _ = optimizers()
            resumed = SCHEDULES[name](tg.optim.lr_scheduler, again)
            again.load_state_dict(mine.state_dict())
            resumed.load_state_dict(schedule.state_dict())
            assert settings(again) == settings(mine)
            for _ in range(5):
                for thing in (mine, schedule, again, resumed):
                    thing.step()
                assert settings(again) == settings(mine)


def test_state_is_torch_s() -> None:
    for name in ("step", "cosine", "linear", "restarts"):
        mine, theirs = optimizers()
        ours, other = SCHEDULES[name](tg.optim.lr_scheduler, mine), SCHEDULES[name](torch.optim.lr_scheduler, theirs)
        for _ in range(8):
            mine.step()
            theirs.step()
            ours.step()
            other.step()
        mine_again, _ = optimizers()
        again = SCHEDULES[name](tg.optim.lr_scheduler, mine_again)
        mine_again.load_state_dict(theirs.state_dict())
        again.load_state_dict(other.state_dict())
        for _ in range(20):
            mine_again.step()
            theirs.step()
            again.step()
            other.step()
            assert_same(mine_again, theirs)


def test_callable_objects_are_saved() -> None:
    mine, _ = optimizers()
    schedule = SCHEDULES["lambda object"](tg.optim.lr_scheduler, mine)
    assert schedule.state_dict()["lr_lambdas"] == [{"calls": 1}, {"calls": 1}]
    other = SCHEDULES["lambda object"](tg.optim.lr_scheduler, optimizers()[0])
    mine.step()
    schedule.step()
    other.load_state_dict(schedule.state_dict())
    assert other.lr_lambdas[0].calls == 2
    assert SCHEDULES["lambda"](tg.optim.lr_scheduler, mine).state_dict()["lr_lambdas"] == [None, None]


@pytest.mark.parametrize("name", ["step", "multi step", "constant", "linear", "exponential", "polynomial", "cosine"])
def test_a_given_epoch(name: str) -> None:
    mine, theirs = optimizers()
    ours, other = SCHEDULES[name](tg.optim.lr_scheduler, mine), SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    for epoch in (3, 17, 0, 49):
        mine.step()
        theirs.step()
        ours.step(epoch)
        with pytest.warns(UserWarning, match="epoch parameter"):
            other.step(epoch)
        assert_same(mine, theirs)


def test_restarts_at_fractions_of_epochs() -> None:
    for name in ("restarts", "longer restarts"):
        mine, theirs = optimizers()
        ours, other = SCHEDULES[name](tg.optim.lr_scheduler, mine), SCHEDULES[name](torch.optim.lr_scheduler, theirs)
        for epoch in (0.25, 3.5, 4.0, 7.75, 30.1, 2.0):
            ours.step(epoch)
            other.step(epoch)
            assert_same(mine, theirs)


def test_going_on_from_an_epoch() -> None:
    mine, theirs = optimizers()
    for optimizer in (mine, theirs):
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    ours = tg.optim.lr_scheduler.StepLR(mine, 3, last_epoch=4)
    other = torch.optim.lr_scheduler.StepLR(theirs, 3, last_epoch=4)
    for _ in range(10):
        assert_same(mine, theirs)
        for thing in (mine, theirs, ours, other):
            thing.step()
    with pytest.raises(KeyError, match="initial_lr"):
        tg.optim.lr_scheduler.StepLR(optimizers()[0], 3, last_epoch=4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2, "factor": 0.5},
        {"mode": "max", "patience": 1, "threshold": 0.05},
        {"patience": 1, "threshold_mode": "abs", "threshold": 0.1, "cooldown": 3},
        {"mode": "max", "patience": 0, "threshold_mode": "abs", "min_lr": [0.01, 0.001], "eps": 1e-3},
    ],
)
def test_plateau(options: dict[str, Any]) -> None:
    mine, theirs = optimizers()
    ours = tg.optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for k in range(50):
        measure = math.nan if k == 20 else 1 / (1 + k % 9) + 0.03 * (k // 9)
        ours.step(tg.tensor(measure))
        other.step(torch.tensor(measure))
        assert_same(mine, theirs)
        assert (ours.best, ours.num_bad_epochs, ours.in_cooldown) == (
            other.best,
            other.num_bad_epochs,
            other.in_cooldown,
        )
        if k == 25:
            state = ours.state_dict()
            ours = tg.optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
            ours.load_state_dict(state)


def test_a_schedule_of_the_user_s() -> None:
    class Sqrt(tg.optim.lr_scheduler._LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / math.sqrt(1 + self.last_epoch) for base in self.base_lrs]

    mine, _ = optimizers()
    schedule = Sqrt(mine)
    for _ in range(3):
        mine.step()
        schedule.step()
    assert schedule.get_last_lr() == [0.1 / 2, 0.02 / 2]


def test_a_learning_rate_in_a_tensor() -> None:
    mine, _ = optimizers()
    rate = tg.tensor(0.5)
    mine.param_groups[0]["lr"] = rate
    schedule = tg.optim.lr_scheduler.ExponentialLR(mine, 0.5)
    mine.step()
    schedule.step()
    assert rate.item() == 0.25 and mine.param_groups[0]["lr"] is rate


def test_stepping_before_the_optimizer_is_warned_of() -> None:
    mine, _ = optimizers()
    schedule = tg.optim.lr_scheduler.StepLR(mine, 3)
    with pytest.warns(UserWarning, match="before optimizer.step"):
        schedule.step()


def test_what_cannot_be() -> None:
    s = tg.optim.lr_scheduler
    mine, other = optimizers()[0], optimizers()[0]
    plain = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=0.1)
    plain.defaults.pop("momentum")
    wrong: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (TypeError, "int is not an Optimizer", lambda: s.StepLR(3, 1)),
        (TypeError, "is not an Optimizer", lambda: s.ReduceLROnPlateau(None)),
        (ValueError, "expected 2 lr_lambdas, but got 1", lambda: s.LambdaLR(mine, [abs])),
        (TypeError, "should be a function", lambda: s.MultiplicativeLR(mine, [1, 2])),
        (ValueError, "between 0 and 1", lambda: s.ConstantLR(mine, 2.0)),
        (ValueError, "start_factor", lambda: s.LinearLR(mine, 0.0)),
        (ValueError, "end_factor", lambda: s.LinearLR(mine, 1.0, 2.0)),
        (ValueError, "T_0", lambda: s.CosineAnnealingWarmRestarts(mine, 0)),
        (ValueError, "T_mult", lambda: s.CosineAnnealingWarmRestarts(mine, 1, 0)),
        (ValueError, "eta_min", lambda: s.CosineAnnealingWarmRestarts(mine, 1, 1, "0")),
        (ValueError, "non-negative", lambda: s.CosineAnnealingWarmRestarts(mine, 3).step(-1)),
        (ValueError, "mode 'square' is invalid", lambda: s.CyclicLR(mine, 0.1, 0.2, mode="square")),
        (ValueError, "max_lr has 3 values", lambda: s.CyclicLR(mine, 0.1, [0.2] * 3)),
        (ValueError, "must support momentum", lambda: s.CyclicLR(plain, 0.1, 0.2)),
        (ValueError, "You must define", lambda: s.OneCycleLR(mine, 0.1, epochs=3)),
        (ValueError, "total_steps, but got 0", lambda: s.OneCycleLR(mine, 0.1, 0)),
        (ValueError, "epochs, but got -1", lambda: s.OneCycleLR(mine, 0.1, epochs=-1, steps_per_epoch=3)),
        (ValueError, "pct_start", lambda: s.OneCycleLR(mine, 0.1, 10, pct_start=1.5)),
        (ValueError, "anneal_strategy", lambda: s.OneCycleLR(mine, 0.1, 10, anneal_strategy="exp")),
        (ValueError, "at least one scheduler", lambda: s.SequentialLR(mine, [], [])),
        (ValueError, "one scheduler more", lambda: s.SequentialLR(mine, [s.StepLR(mine, 1)], [3])),
        (ValueError, "same optimizer", lambda: s.ChainedScheduler([s.StepLR(mine, 1), s.StepLR(other, 1)])),
        (ValueError, "ReduceLROnPlateau", lambda: s.ChainedScheduler([s.ReduceLROnPlateau(mine)])),
        (TypeError, "optimizer", lambda: s.SequentialLR(mine, [3], [])),
        (ValueError, "Factor", lambda: s.ReduceLROnPlateau(mine, factor=1.0)),
        (ValueError, "mode", lambda: s.ReduceLROnPlateau(mine, mode="least")),
        (ValueError, "threshold mode", lambda: s.ReduceLROnPlateau(mine, threshold_mode="of")),
        (ValueError, "expected 2 min_lrs", lambda: s.ReduceLROnPlateau(mine, min_lr=[0.1])),
        (NotImplementedError, "LRScheduler does not say", lambda: s.LRScheduler(mine)),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()
    schedule = s.OneCycleLR(mine, 0.1, 2)
    mine.step()
    schedule.step()
    schedule.step()
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        schedule.step()
