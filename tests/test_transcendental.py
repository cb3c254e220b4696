"""Powers, exponentials, logarithms, circles, hyperbolas, error and gamma functions: values, gradients, edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn, transposed

X = np.concatenate([randn(30, seed=1) * 2, [0.5, -0.5, 1.0, -1.0, 3.0, -8.0, 0.1]])  # 37: more than two tiny tiles
POSITIVE = np.abs(X) + 0.05
UNIT = np.tanh(X) * 0.95  # inside (-1, 1), on both sides of where formulas change

# What is not listed in X's domain: NaN is compared elsewhere.
UNARY = {
    "acos": UNIT, "acosh": POSITIVE + 1, "asin": UNIT, "asinh": X, "atan": X, "atanh": UNIT, "cos": X, "cosh": X,
    "digamma": POSITIVE, "erf": X, "erfc": X, "erfinv": UNIT, "exp": X, "exp2": X, "expm1": X, "lgamma": POSITIVE,
    "log": POSITIVE, "log10": POSITIVE, "log1p": POSITIVE - 0.9, "log2": POSITIVE, "logit": (UNIT + 1) / 2,
    "rsqrt": POSITIVE, "sigmoid": X, "sin": X, "sinc": X, "sinh": X / 2, "sqrt": POSITIVE, "tan": UNIT, "tanh": X,
}  # fmt: skip
ALIASES = {
    "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan", "arctanh": "atanh",
    "arctan2": "atan2",
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, tiles: str) -> None:
    # Derivatives near a pole magnify the rounding of the argument; second ones multiply several such factors.
    steep = name in ("digamma", "erfinv", "atanh", "logit", "acos", "asin", "lgamma", "tan", "acosh", "sinc")
    check(getattr(tg, name), getattr(torch, name), UNARY[name], second=True, slack=64 if steep else 4)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", UNARY)
def test_unary_in_other_dtypes(name: str, dtype: str) -> None:
    x = UNARY[name] if name in ("acosh", "lgamma", "digamma") else UNARY[name] / 2
    slack = 8.0 if dtype != "float64" else 2.0**27 if name == "digamma" else 64  # torch's trigamma has nine digits
    check(getattr(tg, name), getattr(torch, name), x, dtype=dtype, slack=slack)


def test_a_size_of_zero_and_strides() -> None:
    for name in ("erfc", "atan", "lgamma", "log1p"):
        check(getattr(tg, name), getattr(torch, name), np.zeros((0, 3)) + 0.5)
        check(getattr(tg, name), getattr(torch, name), np.abs(randn(3, 5)) + 0.1, wrap=transposed, slack=16)


SPECIAL = [
    math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 100.0, -100.0, 1e-8, -1e-8, 1e4, 0.5, -0.5, 1.5,
    -1.5, 1e-40, -1e-40, 3e38, -3e38, 87.0, -87.0, 1e-3, -3.0, 7.0, 30.0, -30.0, 1e9, 12345.678, 0.999, -0.999, 20.5,
    26.0, -12.3, 0.9999999, 4.0, 0.41, 2.42, 0.3,
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_values_at_the_edges(name: str) -> None:
    """float32 within a few units of the true value, signs of zero and what is not finite as torch has them."""
    x = np.array(SPECIAL, np.float32)
    got, want = getattr(tg, name)(tg.tensor(x)).numpy(), getattr(torch, name)(torch.tensor(x)).numpy()
    exact = getattr(torch, name)(torch.tensor(x.astype(np.float64))).numpy()
    finite = np.isfinite(want) & (np.abs(exact) < 1e38)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(got[np.isinf(want)], want[np.isinf(want)])
    zero = finite & (got == 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))
    argument = 2e-7 if name == "sinc" else 0  # sin of a rounded multiple of pi
    assert (np.abs(got[finite] - exact[finite]) <= 3e-7 * np.abs(exact[finite]) + 1e-38 + argument).all()


def reference(name: str, x: np.ndarray) -> np.ndarray:
    import mpmath

    with mpmath.workdps(40):
        of = {"erfc": mpmath.erfc, "erfinv": mpmath.erfinv, "lgamma": mpmath.loggamma, "digamma": mpmath.digamma}
        f = of.get(name) or getattr(mpmath, name)
        return np.array([float(mpmath.re(f(mpmath.mpf(float(v))))) for v in x])


DEEP = {
    "erfc": [0.49, 0.5, 0.51, 1, 2.5, 5, 10, 20, 26, -3], "erfinv": [1e-9, 0.3, 0.5, 0.7, 0.99, 1 - 1e-9, 1 - 1e-15],
    "lgamma": [1e-9, 0.3, 0.5, 1.5, 3.2, 7.9, 8.1, 50, 1e5, -0.5, -3.3, -20.7], "expm1": [1e-12, -1e-5, 0.1, -30, 700],
    "digamma": [1e-3, 0.3, 1.9, 7.9, 8.1, 50, 1e5, -0.7, -3.3, -20.7], "log1p": [1e-12, -1e-5, 0.1, -0.9, 1e9],
    "atan": [1e-9, 0.41, 0.42, 1, 2.41, 2.42, 1e9], "asinh": [1e-9, 0.5, 1e7, 1e9, 1e200], "acosh": [1.0001, 2, 1e9],
    "sinh": [1e-9, 0.3, 39, 41, 709.9, 710.2], "atanh": [1e-9, 0.5, 0.99], "acos": [-0.99, 0, 0.99], 
    "asin": [1e-9, 0.99],
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
def test_float64_has_its_digits(name: str) -> None:
    pytest.importorskip("mpmath")
    x = np.array(DEEP[name], np.float64)
    np.testing.assert_allclose(getattr(tg, name)(tg.tensor(x)).numpy(), reference(name, x), rtol=6e-15)


BINARY: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "atan2": (randn(4, 9, seed=1), randn(4, 9, seed=2)),
    "logaddexp": (randn(4, 9, seed=1) * 3, randn(9, seed=2) * 3),
    "logaddexp2": (randn(4, 9, seed=1) * 3, randn(9, seed=2) * 3),
    "xlogy": (randn(4, 9, seed=1), np.abs(randn(4, 1, seed=2)) + 0.1),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    ours, theirs = getattr(tg, name), getattr(torch, name)
    check(ours, theirs, *BINARY[name], second=True, terms=9, slack=16)
    check(ours, theirs, *BINARY[name], dtype="float64", terms=9)
    check(ours, theirs, *BINARY[name], dtype="bfloat16", terms=9)


@pytest.mark.parametrize("name", BINARY)
def test_binary_at_the_edges(name: str) -> None:
    edge = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 100.0, 1e-8, 3e38]
    a, b = (v.reshape(-1).astype(np.float32) for v in np.meshgrid(edge, edge))
    got, want = (
        getattr(tg, name)(tg.tensor(a), tg.tensor(b)).numpy(),
        getattr(torch, name)(torch.tensor(a), torch.tensor(b)),
    )
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-6, atol=1e-7)
    if name == "atan2":
        np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want.numpy()[got == 0]))


def test_gradients_where_formulas_have_no_value() -> None:
    """As torch has them: atan2 and sinc at the origin, x log y where x is 0."""
    zero = np.zeros(2)
    check(tg.atan2, torch.atan2, zero, zero)
    check(tg.sinc, torch.sinc, zero)
    check(tg.xlogy, torch.xlogy, np.array([0.0, 0.0, 2.0]), np.array([0.0, -1.0, 3.0]))
    check(lambda x: tg.xlogy(x, 2.5), lambda x: torch.xlogy(x, 2.5), POSITIVE, second=True)
    check(lambda x: tg.xlogy(x, 0), lambda x: torch.xlogy(x, 0), np.array([0.0, 0.0]))
    check(lambda y: tg.xlogy(2, y), lambda y: torch.xlogy(2, y), POSITIVE, second=True)


@pytest.mark.parametrize("eps", [None, 0.25])
def test_logit(eps: float | None) -> None:
    x = np.array([-0.5, 0.1, 0.25, 0.5, 0.75, 0.9, 1.5])
    check(lambda v: tg.logit(v, eps), lambda v: torch.logit(v, eps), x)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_polygamma(n: int) -> None:
    x = np.abs(randn(20)) + 0.4
    check(lambda v: tg.polygamma(n, v), lambda v: torch.polygamma(n, v), x, dtype="float64", slack=2.0**27)
    edge = torch.tensor([0.0, math.nan, 1.0, 8.0, 200.0, *([-0.5, -3.3] if n < 2 else [])])
    np.testing.assert_allclose(
        tg.tensor(edge.tolist()).polygamma(n).numpy(), torch.polygamma(n, edge).numpy(), rtol=1e-5, atol=1e-30
    )
    with pytest.raises(RuntimeError, match="polygamma: n must not be negative, got -1"):
        tg.polygamma(-1, tg.ones(1))


# log and exp2 magnify the rounding of an exponent by the size of y log x.
POWERS = [0, 1, 2, 3, 0.5, -1, -2, 1.7, -0.5, 4]


@pytest.mark.parametrize("y", POWERS)
def test_powers_by_numbers(y: float) -> None:
    check(lambda x: x**y, lambda x: x**y, POSITIVE, second=True, slack=8)
    if isinstance(y, int) and y >= 0:
        check(lambda x: x**y, lambda x: x**y, X, slack=8)


def test_powers_by_tensors() -> None:
    check(tg.pow, torch.pow, POSITIVE, X, second=True, slack=16)  # second derivatives multiply three rounded factors
    check(tg.pow, torch.pow, POSITIVE, X, dtype="float64", slack=32)  # no wider type to take the logarithm in
    check(lambda x: 2.5**x, lambda x: 2.5**x, X, second=True, slack=8)
    check(lambda x: 0.0**x, lambda x: 0.0**x, POSITIVE)


def test_powers_of_zero_have_the_gradients_torch_gives() -> None:
    y = np.array([0.0, 1.0, 2.0, 3.0])
    check(tg.pow, torch.pow, np.zeros(4), y)
    check(lambda v: 0.0**v, lambda v: 0.0**v, np.array([0.0, 1.0, -1.0]))
    check(lambda v: (-2.0) ** v, lambda v: (-2.0) ** v, y)


def test_powers_at_the_edges_are_cs() -> None:
    edge = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0]
    a, b = (v.reshape(-1).astype(np.float32) for v in np.meshgrid(edge, edge))
    got, want = tg.pow(tg.tensor(a), tg.tensor(b)).numpy(), torch.pow(torch.tensor(a), torch.tensor(b)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]))
    for y in (-1, 1, 2, 3, 0.5, -2, 0):
        np.testing.assert_allclose((tg.tensor(a) ** y).numpy(), (torch.tensor(a) ** y).numpy(), rtol=1e-6)
    assert np.signbit((tg.tensor([-0.0]) ** -1).numpy()) and (tg.tensor([-0.0]) ** -1).item() == -math.inf


def test_powers_of_integers() -> None:
    a, b = [2, 1, -1, 0, -2, -1], [-1, -5, -3, 0, 3, -2]
    assert (tg.tensor(a) ** tg.tensor(b)).tolist() == (torch.tensor(a) ** torch.tensor(b)).tolist()
    with pytest.raises(RuntimeError, match=r"pow: integers to negative integer powers .* int64 \*\* -1"):
        tg.tensor(a) ** -1
    assert (tg.tensor([True, False]) ** True).tolist() == [True, False]
    assert (tg.tensor([True, False]) ** False).tolist() == [True, True]
    assert (tg.tensor([True, False]) ** 2).dtype is tg.int64 and (2 ** tg.tensor([True, False])).tolist() == [2, 1]
    for f in (lambda: tg.tensor([True]) ** tg.tensor([True]), lambda: True ** tg.tensor([True])):
        with pytest.raises(NotImplementedError, match="pow: not implemented for bool"):
            f()


def test_float_power_is_in_float64() -> None:
    for x, y in (
        (torch.tensor([1, 2, 3]), 2),
        (torch.tensor([1.5, 2.5]), torch.tensor([3, -1])),
        (2, torch.tensor([1, 2])),
    ):
        want = torch.float_power(x, y)
        got = tg.float_power(*(tg.tensor(v.numpy()) if isinstance(v, torch.Tensor) else v for v in (x, y)))
        assert got.dtype is tg.float64
        compare("float_power", got, want, 1e-14)
    check(lambda x: tg.float_power(x, 1.5), lambda x: torch.float_power(x, 1.5), POSITIVE, dtype="float64", slack=16)


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    assert getattr(tg, alias) is getattr(tg, ALIASES[alias])
    assert getattr(tg.Tensor, alias) is getattr(tg.Tensor, ALIASES[alias])


def test_integers_and_bools_give_floats() -> None:
    for values in ([1, 2, 0], [True, False]):
        for name in ("exp", "sigmoid", "atan", "log1p", "erfc", "sinc", "lgamma"):
            got, want = getattr(tg, name)(tg.tensor(values)), getattr(torch, name)(torch.tensor(values))
            assert got.dtype is tg.float32
            compare(name, got, want, 1e-6)
    got = tg.atan2(tg.tensor([1, -1]), tg.tensor([2, 0]))
    compare("atan2", got, torch.atan2(torch.tensor([1, -1]), torch.tensor([2, 0])), 1e-6)
    for name in ("logaddexp", "logaddexp2"):
        with pytest.raises(NotImplementedError, match=f"{name}: not implemented for int64"):
            getattr(tg, name)(tg.tensor([1]), tg.tensor([1]))


@pytest.mark.parametrize("f", [tg.exp, tg.atan, tg.lgamma, tg.sqrt])
def test_what_is_no_tensor_is_refused(f: Callable) -> None:
    with pytest.raises(
        TypeError, match=rf"{f.__name__}\(\): argument 'input' \(position 1\) must be Tensor, not float"
    ):
        f(2.0)
