"""Losses of numbers beside torch's: values, gradients of both sides, reductions old and new, weights, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn

T = torch.nn.functional
CASES: list[tuple[str, dict[str, Any]]] = [
    ("l1_loss", {}),
    ("mse_loss", {}),
    ("smooth_l1_loss", {}),
    ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}),
    ("huber_loss", {}),
    ("huber_loss", {"delta": 0.4}),
    ("poisson_nll_loss", {}),
    ("gaussian_nll_loss", {"var": 0.7}),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, options", CASES, ids=[f"{n} {o}" for n, o in CASES])
def test_values_and_gradients(name: str, options: dict[str, Any], reduction: str) -> None:
    ours, theirs = getattr(F, name), getattr(T, name)
    for shape in ((5, 7), (), (0, 3)):
        x, y = (np.asarray(randn(*shape, seed=i)) for i in (1, 2))
        o, smooth = {**options, "reduction": reduction}, name in ("mse_loss", "poisson_nll_loss", "gaussian_nll_loss")
        check(lambda a, b, o=o: ours(a, b, **o), lambda a, b, o=o: theirs(a, b, **o), x, y, terms=35, second=smooth)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_dtypes(dtype: str) -> None:
    for name in ("l1_loss", "smooth_l1_loss", "huber_loss"):
        ours, theirs = getattr(F, name), getattr(T, name)
        check(ours, theirs, randn(6, 5, seed=1), randn(6, 5, seed=2), dtype=dtype, terms=30)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["l1_loss", "mse_loss", "huber_loss"])
def test_weights(name: str, reduction: str) -> None:
    weight = np.abs(randn(4, 3, seed=3)).astype(np.float32)
    ours, theirs = getattr(F, name), getattr(T, name)
    check(
        lambda x, y: ours(x, y, weight=tg.tensor(weight), reduction=reduction),
        lambda x, y: theirs(x, y, weight=torch.tensor(weight, dtype=torch.float64), reduction=reduction),
        randn(4, 3, seed=1), randn(4, 3, seed=2), terms=12, slack=8,
    )  # fmt: skip
    for m, f in ((tg, ours), (torch, theirs)):
        with pytest.raises(ValueError, match="must have the same size"):
            f(m.zeros(4, 3), m.zeros(4, 3), weight=m.zeros(3))


@pytest.mark.parametrize("log_input", [True, False])
def test_poisson(log_input: bool) -> None:
    target = np.array([0.0, 1.0, 2.5, 7.0, 0.5])
    check(
        lambda x: F.poisson_nll_loss(x, tg.tensor(target, dtype=x.dtype), log_input=log_input, full=True),
        lambda x: T.poisson_nll_loss(x, torch.tensor(target), log_input=log_input, full=True),
        np.abs(randn(5)) + 0.1, terms=5, second=True,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3), (2, 1, 4), (2, 3, 1)])
def test_gaussian(shape: tuple[int, ...]) -> None:
    var = np.abs(randn(*shape, seed=3))
    var.flat[0] = 1e-9  # less than eps
    check(
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=True),
        lambda x, y, v: T.gaussian_nll_loss(x, y, v, full=True),
        randn(2, 3, 4, seed=1), randn(2, 3, 4, seed=2), var, terms=24, dtype="float64",
    )  # fmt: skip


def test_older_arguments() -> None:
    for f, g in ((F.l1_loss, T.l1_loss), (F.mse_loss, T.mse_loss), (F.smooth_l1_loss, T.smooth_l1_loss)):
        for old in ({"size_average": False}, {"reduce": False}, {"size_average": True}, {"reduce": True}):
            with pytest.warns(UserWarning, match="size_average and reduce"):
                mine = f(tg.ones(3), tg.zeros(3), **old)
            with pytest.warns(UserWarning):
                other = g(torch.ones(3), torch.zeros(3), **old)
            assert mine.tolist() == other.tolist()


def test_shapes_that_differ() -> None:
    for f in (F.l1_loss, F.mse_loss, F.huber_loss, F.smooth_l1_loss):
        with pytest.warns(UserWarning, match=r"float32\[3\] and target float32\[3, 1\]"):
            assert f(tg.ones(3), tg.zeros(3, 1), reduction="none").shape == (3, 3)
        with pytest.raises(RuntimeError, match="do not broadcast"):
            f(tg.ones(3), tg.ones(2))


def test_what_cannot_be() -> None:
    x = tg.ones(3)
    for error, message, call in (
        (ValueError, "reduction must be", lambda: F.l1_loss(x, x, reduction="product")),
        (RuntimeError, "beta", lambda: F.smooth_l1_loss(x, x, beta=-1.0)),
        (RuntimeError, "delta", lambda: F.huber_loss(x, x, delta=0.0)),
        (ValueError, "negative", lambda: F.gaussian_nll_loss(x, x, -x)),
        (ValueError, "incorrect size", lambda: F.gaussian_nll_loss(x, x, tg.ones(2))),
    ):
        with pytest.raises(error, match=message):
            call()
