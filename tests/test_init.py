"""Initial values: distributions, exact patterns, seeds, names of old, warnings and errors as torch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad.nn import init

theirs = torch.nn.init


@pytest.mark.parametrize(("mean", "std", "a", "b"), [(0, 1, -2, 2), (0.0, 0.02, -0.04, 0.02), (1, 2, 0, 1.5)])
def test_trunc_normal(mean: float, std: float, a: float, b: float) -> None:
    x = init.trunc_normal_(tg.nn.Parameter(tg.empty(20000)), mean, std, a, b).detach().numpy()
    assert x.min() >= a and x.max() <= b

    def below(v: Any) -> Any:
        return np.vectorize(math.erf)((v - mean) / std / math.sqrt(2)) / 2 + 0.5

    grid = np.linspace(a, b, 21)[1:-1]
    want = (below(grid) - below(a)) / (below(b) - below(a))
    assert np.abs((x[:, None] <= grid).mean(0) - want).max() < 0.015  # Kolmogorov's statistic: 1.6 / sqrt(n) is 0.011
    half = init.trunc_normal_(tg.empty(50, dtype=tg.bfloat16), mean, std, a, b)
    assert half.min().item() >= a - 0.01 and half.dtype is tg.bfloat16


def test_trunc_normal_far_away_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="mean is more than 2 std from"):
        assert init.trunc_normal_(tg.empty(3), 10.0).tolist() == [-2.0] * 3  # all that float64 has of the left tail


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (2, 3, 2), (1, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    for dtype in (tg.float32, tg.float64):
        w = init.orthogonal_(tg.nn.Parameter(tg.empty(*shape, dtype=dtype)), 2.0).detach().numpy().reshape(shape[0], -1)
        gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)
    signs = {init.orthogonal_(tg.empty(1, 1)).item() for _ in range(12)}
    assert signs == {-1.0, 1.0}


def test_patterns() -> None:
    for shape in ((3, 3), (2, 5), (0, 2)):
        assert init.eye_(tg.empty(*shape)).tolist() == theirs.eye_(torch.empty(shape)).tolist()
    for shape, groups in (((4, 2, 3), 1), ((4, 2, 3, 4), 2), ((2, 4, 1, 2, 3), 1), ((6, 2, 2), 3), ((2, 0, 3), 1)):
        w = tg.nn.Parameter(tg.empty(*shape))
        assert init.dirac_(w, groups).tolist() == theirs.dirac_(torch.empty(shape), groups).tolist()


def test_sparse() -> None:
    w = init.sparse_(tg.empty(11, 40), 0.3, std=2.0)
    assert (w == 0).sum(0).tolist() == [4] * 40 and 1.7 < w[w != 0].std().item() < 2.3
    assert len({tuple(c) for c in (w == 0).t().tolist()}) > 20


DRAWS: dict[str, tuple] = {
    "uniform_": (), "normal_": (), "trunc_normal_": (), "xavier_uniform_": (), "xavier_normal_": (),
    "kaiming_uniform_": (), "kaiming_normal_": (), "orthogonal_": (), "sparse_": (0.5,),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_decides(name: str) -> None:
    f, args = getattr(init, name), DRAWS[name]
    found = [f(tg.empty(4, 3), *args, generator=tg.Generator().manual_seed(5)).tolist() for _ in range(2)]
    assert found[0] == found[1] != f(tg.empty(4, 3), *args).tolist()


OLD = "uniform normal constant eye dirac xavier_uniform xavier_normal kaiming_uniform kaiming_normal orthogonal sparse"


@pytest.mark.parametrize("name", OLD.split())
def test_names_of_old(name: str) -> None:
    args = {"constant": (2.0,), "sparse": (0.5,)}.get(name, ())
    for m in (tg, torch):
        w = m.empty(3, 3, 3) if name == "dirac" else m.empty(3, 3)
        words = f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`."
        with pytest.warns(FutureWarning) as warned:
            assert getattr(m.nn.init, name)(w, *args) is w
        assert str(warned[0].message) == words


def test_nothing_to_fill_is_a_warning() -> None:
    for m in (tg, torch):
        for name in ("kaiming_uniform_", "kaiming_normal_"):
            with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
                getattr(m.nn.init, name)(m.empty(0, 3))
        assert m.nn.init.orthogonal_(m.empty(0, 3)).shape == (0, 3)


WRONG: list[Any] = [
    lambda m: m.nn.init.calculate_gain("leaky_relu", True),
    lambda m: m.nn.init.calculate_gain("leaky_relu", "a"),
    lambda m: m.nn.init.calculate_gain("softmax"),
    lambda m: m.nn.init.eye_(m.ones(3)),
    lambda m: m.nn.init.sparse_(m.ones(3), 0.5),
    lambda m: m.nn.init.dirac_(m.ones(3, 3)),
    lambda m: m.nn.init.dirac_(m.ones(3, 3, 3), 2),
    lambda m: m.nn.init.orthogonal_(m.ones(3)),
    lambda m: m.nn.init._calculate_correct_fan(m.ones(3, 3), "fan"),
]


@pytest.mark.parametrize("k", range(len(WRONG)))
def test_errors(k: int) -> None:
    words = []
    for m in (tg, torch):
        with pytest.raises(ValueError) as found:
            WRONG[k](m)
        words.append(str(found.value))
    assert words[0] == words[1]
    assert init._calculate_correct_fan(tg.ones(2, 3, 4), "FAN_OUT") == 8
