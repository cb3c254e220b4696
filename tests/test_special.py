"""Special functions and neighbours of numbers: values at every edge and gradients as torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn

EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, 1e-30, -1e-30, 1e30, np.inf, -np.inf, np.nan, 0.999, -0.999])
SAME = (
    "digamma", "psi", "gammaln", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "log1p", "logit", "sinc", "round",
    "entr", "ndtr",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("name", SAME)
def test_of_one_number(name: str) -> None:
    f, g = getattr(tg.special, name), getattr(torch.special, name)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(f(tg.tensor(EDGES)).tolist(), g(torch.tensor(EDGES)).tolist(), rtol=1e-9, atol=1e-12)
        if name != "round":
            np.testing.assert_allclose(f(tg.tensor([1, 2])).tolist(), g(torch.tensor([1, 2])).tolist(), atol=1e-6)
    x = np.abs(randn(3, 4)) * 0.2 + 0.1
    if name != "round":
        check(f, g, x, second=True, slack=16)
    for dtype in ("float16", "bfloat16"):
        check(f, g, x, dtype=dtype, grads=False)


def test_entropy_at_its_edges() -> None:
    check(tg.special.entr, torch.special.entr, np.array([0.5, 1.0, 2.0, 0.0]), second=False)
    for shape in ((0,), (), (2, 0)):
        assert tg.special.entr(tg.zeros(shape)).shape == shape


def test_of_two_numbers(tiles: str) -> None:
    x, y = randn(3, 4), np.abs(randn(4, seed=1))
    check(tg.special.xlog1py, torch.special.xlog1py, x, y, second=True)
    check(lambda t: tg.special.xlog1py(t, 2.0), lambda t: torch.special.xlog1py(t, 2.0), x, second=True)
    check(lambda t: tg.special.xlog1py(2, t), lambda t: torch.special.xlog1py(2, t), y, second=True)
    pairs = [(a, b) for a in (0.0, 1.0, -2.0, np.nan) for b in (-1.0, -2.0, 0.0, 1e-20, np.inf, np.nan)]
    a, b = (np.array(v) for v in zip(*pairs, strict=True))
    for name in ("xlog1py", "xlogy"):
        ours, theirs = (getattr(m.special, name)(m.tensor(a), m.tensor(b)).tolist() for m in (tg, torch))
        np.testing.assert_allclose(ours, theirs)
    check(lambda t: tg.special.softmax(t, 1), lambda t: torch.special.softmax(t, 1), x, terms=4)
    check(lambda t: tg.special.log_softmax(t, 1), lambda t: torch.special.log_softmax(t, 1), x, terms=4)
    check(lambda t: tg.special.logsumexp(t, 1), lambda t: torch.special.logsumexp(t, 1), x, terms=4)
    check(lambda t: tg.special.polygamma(1, t), lambda t: torch.special.polygamma(1, t), np.abs(x) + 0.5, slack=16)


def test_multigammaln() -> None:
    for p in (1, 2, 4):
        check(
            lambda t, p=p: tg.mvlgamma(t, p),
            lambda t, p=p: torch.mvlgamma(t, p),
            np.abs(randn(5)) + 2,
            slack=16,
            second=True,
        )
    assert tg.special.multigammaln(tg.tensor([3]), 2).dtype is tg.float32
    for m in (tg, torch):
        x = m.tensor([3.0, 4.0])
        assert abs(x.mvlgamma(2)[0].item() - 1.5502) < 1e-3 and x.mvlgamma_(2) is x
        with pytest.raises(RuntimeError):
            m.mvlgamma(x, 0)


def test_ldexp() -> None:
    exponents = np.array([0.0, 1, -3, 2.5])
    check(tg.ldexp, torch.ldexp, randn(3, 4), exponents, second=True)
    for dtype in ("float32", "float64", "float16", "bfloat16", "int64"):
        found = []
        for m in (tg, torch):
            x = m.tensor([1, -3, 0, 5]).to(getattr(m, dtype))
            y = m.ldexp(x, m.tensor([3, -2, 5, 0]))
            found.append((str(y.dtype).split(".")[1], y.tolist()))
        assert found[0] == found[1]
    for m in (tg, torch):
        assert m.ldexp(m.ones(2), m.tensor([-140, 200])).tolist() == [2.0**-140, float("inf")]
        x = m.ones(2)
        assert x.ldexp_(m.tensor([1, 2])) is x and x.tolist() == [2, 4] and m.ldexp_(x, m.tensor(1)).tolist() == [4, 8]
        with pytest.raises(TypeError, match="must be Tensor"):
            m.ldexp(x, 2)


def test_neighbours(tiles: str) -> None:
    low, inf, nan = 1e-45, float("inf"), float("nan")
    values = [0.0, -0.0, 1.0, -1.0, low, -low, 3e38, inf, -inf, nan, 1.5, -2.5]
    for dtype in ("float64", "float32", "bfloat16"):
        found = []
        for m in (tg, torch):
            x = m.tensor(values, dtype=m.float64).to(getattr(m, dtype))
            y = m.nextafter(x.unsqueeze(1), x)
            assert y.dtype is x.dtype
            found.append(np.array(y.double().tolist()))
        np.testing.assert_array_equal(found[0], found[1])
        assert (np.signbit(found[0]) == np.signbit(found[1]))[~np.isnan(found[1])].all()
    assert tg.nextafter(tg.tensor([1.0], dtype=tg.float16), tg.tensor([2.0], dtype=tg.float16)).item() == 1 + 2.0**-10
    for m in (tg, torch):
        x, y = m.tensor([1.0, 2.0], requires_grad=True), m.tensor([3.0, 2.0], requires_grad=True)
        z = m.nextafter(x, y)
        assert [g.tolist() for g in m.autograd.grad(z.sum(), (x, y))] == [[1, 0], [0, 0]]
        w = m.ones(1)
        assert w.nextafter_(m.zeros(1)) is w and w.item() < 1 and m.nextafter(w, w.double()).dtype is m.float64
        with pytest.raises(NotImplementedError):
            m.nextafter(m.tensor([1]), m.tensor([2]))
        with pytest.raises(TypeError):
            m.nextafter(w, 1.0)


def test_rectifiers_of_random_slope() -> None:
    x = randn(64)
    for m in (tg, torch):
        F: Any = m.nn.functional
        t = m.tensor(x, requires_grad=True)
        y = F.rrelu(t, 0.1, 0.3, training=True)
        slope = (y / t).detach()
        (g,) = m.autograd.grad(y.sum(), t)
        assert ((t > 0) | ((slope >= 0.1 - 1e-9) & (slope <= 0.3 + 1e-9))).all() and (y[t > 0] == t[t > 0]).all()
        assert m.allclose(g, slope) and slope[t <= 0].std() > 0.01
        z = t.detach().clone()
        assert F.rrelu_(z, 0.2, 0.2, True) is z and m.rrelu_(z, training=False) is z
        assert m.nn.RReLU(0.1, 0.2).eval()(m.tensor([-1.0])).item() == pytest.approx(-0.15)
        with pytest.raises(RuntimeError, match=r"(?i)lower bound"):
            F.rrelu(z, 0.5, 0.1)
    check(lambda t: tg.rrelu(t), lambda t: torch.rrelu(t), x)
    assert repr(tg.nn.RReLU(0.1, 0.2)) == repr(torch.nn.RReLU(0.1, 0.2))
