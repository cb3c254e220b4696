"""Dropout: what is dropped, by what the rest is scaled, gradients, layers, warnings and errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import randn
from tritongrad import nn

CHANNELS = [
    ("dropout1d", (30, 40, 3)),
    ("dropout1d", (300, 5)),
    ("dropout2d", (30, 40, 2, 3)),
    ("dropout3d", (30, 40, 1, 2, 3)),
    ("dropout3d", (300, 1, 2, 3)),
]


@pytest.mark.parametrize(("name", "shape"), CHANNELS)
def test_whole_channels(name: str, shape: tuple[int, ...]) -> None:
    unbatched = len(shape) == int(name[-2]) + 1
    x = tg.ones(*shape, requires_grad=True)
    y = getattr(F, name)(x, 0.25)
    y.sum().backward()
    flat = y.detach().reshape(*shape[: 1 if unbatched else 2], -1)
    assert tg.equal(flat.amin(-1), flat.amax(-1)) and set(flat.flatten().tolist()) == {0.0, y.max().item()}
    assert math.isclose(y.max().item(), 4 / 3, rel_tol=1e-6) and tg.equal(x.grad, y.detach())
    assert abs((flat == 0).float().mean().item() - 0.25) < 0.1
    assert getattr(F, name)(x, 0.25, training=False) is x and not getattr(F, name)(x, 1.0).abs().sum().item()


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    y = F.alpha_dropout(tg.randn(100, 100), 0.4, training=True).numpy()
    assert abs(y.mean()) < 0.05 and abs(y.std() - 1) < 0.05
    _, counts = np.unique(y, return_counts=True)
    assert abs(counts.max() / y.size - 0.4) < 0.03
    theirs = {round(v, 5) for v in torch.nn.functional.alpha_dropout(torch.ones(500), 0.3, training=True).tolist()}
    assert {round(v, 5) for v in F.alpha_dropout(tg.ones(500), 0.3, training=True).tolist()} == theirs
    channels = F.feature_alpha_dropout(tg.ones(9, 30, 2, 2), 0.3, True).reshape(9, 30, 4)
    assert tg.equal(channels.amin(-1), channels.amax(-1))
    assert {round(v, 5) for v in channels.flatten().tolist()} == theirs
    leaf = tg.ones(3, 40, requires_grad=True)
    F.alpha_dropout(leaf, 0.5, True).sum().backward()
    assert len(set(leaf.grad.flatten().tolist())) == 2
    assert F.alpha_dropout(leaf, 1.0, True).abs().sum().item() == 0 and F.alpha_dropout(leaf, 0.5) is leaf
    twin = tg.ones(500)
    assert F.alpha_dropout(twin, 0.3, True, inplace=True) is twin
    assert {round(v, 5) for v in twin.tolist()} == theirs


def test_the_seed_decides() -> None:
    x = tg.tensor(randn(4, 6, 3)).float()
    for f in (F.dropout1d, F.alpha_dropout, F.feature_alpha_dropout):
        found = []
        for _ in range(2):
            tg.manual_seed(3)
            found.append(f(x, 0.5, True))
        assert tg.equal(*found)


LAYERS = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    for args in ((), (0.25,), (0.0, True), (1.0,)):
        layer = getattr(nn, name)(*args)
        assert repr(layer) == repr(getattr(torch.nn, name)(*args)) and not layer.state_dict()
        x = tg.ones(2, 3, *(1 for _ in range(int(name[-2]) if name[-1] == "d" else 0)))
        assert layer(x).shape == x.shape and layer.eval()(x) is x
    for p in (-0.1, 1.1):
        for m in (tg, torch):
            with pytest.raises(ValueError, match=f"dropout probability has to be between 0 and 1, but got {p}"):
                getattr(m.nn, name)(p)


@pytest.mark.parametrize(("name", "shape"), [("dropout2d", (3, 2, 2)), ("dropout2d", (2, 2)), ("dropout3d", (3, 3, 3))])
def test_ranks_that_are_a_warning(name: str, shape: tuple[int, ...]) -> None:
    for m in (tg, torch):
        with pytest.warns(UserWarning, match=name):
            assert getattr(m.nn.functional, name)(m.ones(*shape), 0.5).shape == shape


WRONG: list[tuple[str, Any, float, type]] = [
    *((name, (2, 3, 4), p, ValueError) for name in ("dropout1d", "alpha_dropout") for p in (-0.1, 1.5)),
    ("dropout1d", (3,), 0.5, RuntimeError),
    ("dropout1d", (3, 3, 3, 3), 0.5, RuntimeError),
    ("feature_alpha_dropout", (3,), 0.5, RuntimeError),
]


@pytest.mark.parametrize(("name", "shape", "p", "kind"), WRONG)
def test_errors(name: str, shape: tuple[int, ...], p: float, kind: type) -> None:
    for m in (tg, torch):
        with pytest.raises(kind):
            getattr(m.nn.functional, name)(m.ones(*shape), p, True)
