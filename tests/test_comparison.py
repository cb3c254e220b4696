"""Comparison, logic, bits, classes of numbers, choice and bounds: values, gradients, dtypes and errors, as torch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed

X = np.concatenate([randn(30, seed=1) * 2, [0.5, -0.5, 1.0, -1.0, 3.0, -8.0, 0.1, 0.0]])
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, 1e-40, -1e-40, 3e38]


def same(got: Any, want: Any, what: str = "") -> None:
    """Equal in dtype and, NaN counting as itself, in every element."""
    assert got.dtype.name == str(want.dtype).removeprefix("torch."), what
    np.testing.assert_array_equal(got.numpy(), want.numpy(), what)


COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]
ALIASES = {"not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "clip": "clamp"}


@pytest.mark.parametrize("name", [*COMPARISONS, "maximum", "minimum", "fmax", "fmin"])
def test_at_the_edges(name: str, tiles: str) -> None:
    a, b = (v.reshape(-1) for v in np.meshgrid(SPECIAL, SPECIAL))
    for kind in ("float32", "float64"):
        x, y = a.astype(kind), b.astype(kind)
        same(
            getattr(tg, name)(tg.tensor(x), tg.tensor(y)), getattr(torch, name)(torch.tensor(x), torch.tensor(y)), name
        )


@pytest.mark.parametrize("name", COMPARISONS)
def test_numbers_and_integers(name: str) -> None:
    for kind in ("int64", "uint8", "int8", "bool", "float16", "bfloat16"):
        x, y = tg.tensor([0, 1, 5, 3]).to(getattr(tg, kind)), torch.tensor([0, 1, 5, 3]).to(getattr(torch, kind))
        for number in (1, 2.5, True):
            same(getattr(x, name)(number), getattr(y, name)(number), f"{kind} {number}")
        same(getattr(tg, name)(x, x[0]), getattr(torch, name)(y, y[0]), kind)
    big = [2**60 + 1, 2**60]
    same(getattr(tg.tensor(big), name)(2**60), getattr(torch.tensor(big), name)(2**60))


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    assert getattr(tg, alias) is getattr(tg, ALIASES[alias])
    assert getattr(tg.Tensor, alias) is getattr(tg.Tensor, ALIASES[alias])


def test_a_number_cannot_come_first() -> None:
    for name in (*COMPARISONS, "maximum", "minimum", "fmax", "rsub"):
        with pytest.raises(TypeError, match=rf"{name}\(\): argument 'input' \(position 1\) must be Tensor, not int"):
            getattr(tg, name)(1, tg.ones(2))


def test_classes_of_numbers() -> None:
    for name in ("isnan", "isinf", "isposinf", "isneginf", "isfinite", "isreal", "signbit", "logical_not"):
        for kind in ("float64", "float32", "float16", "bfloat16"):
            x, y = tg.tensor(SPECIAL, dtype=getattr(tg, kind)), torch.tensor(SPECIAL, dtype=getattr(torch, kind))
            same(getattr(tg, name)(x), getattr(torch, name)(y), f"{name} {kind}")
        for values in ([1, 0, -5], [True, False]):
            same(getattr(tg, name)(tg.tensor(values)), getattr(torch, name)(torch.tensor(values)), name)


def test_logic() -> None:
    for a in ([0.0, 1.5, math.nan, 0.0], [0, 3, -1, 0], [True, True, False, False]):
        for b in ([0.0, 0.0, 2.0, -1.0], [256, 0, 2, 0], [True, False, True, False]):
            for name in ("logical_and", "logical_or", "logical_xor"):
                x, y = (tg.tensor(a), tg.tensor(b)), (torch.tensor(a), torch.tensor(b))
                same(getattr(tg, name)(*x), getattr(torch, name)(*y), name)
    with pytest.raises(TypeError, match=r"logical_and\(\): argument 'other' \(position 2\) must be Tensor, not int"):
        tg.logical_and(tg.ones(1), 1)


INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]


@pytest.mark.parametrize("kind", INTEGERS)
def test_bits_and_shifts(kind: str) -> None:
    a, b = np.array([7, -7, 1, -1, 100, -100, 0]).astype(kind), np.array([1, 2, 0, 5, 3, 7, 6]).astype(kind)
    wide = np.array([-1, 8, 63, 64, 31, 1, 100]).astype(kind)
    for f in (
        lambda t, x, y, w: x << y, lambda t, x, y, w: x >> y, lambda t, x, y, w: x << 1, lambda t, x, y, w: x >> 2,
        lambda t, x, y, w: 3 << y, lambda t, x, y, w: 100 >> y, lambda t, x, y, w: x >> w, lambda t, x, y, w: x & 6,
        lambda t, x, y, w: 6 | x, lambda t, x, y, w: 6 ^ x, lambda t, x, y, w: 5 & x, lambda t, x, y, w: ~x,
        lambda t, x, y, w: t.bitwise_left_shift(x, y), lambda t, x, y, w: t.bitwise_right_shift(x, y),
        lambda t, x, y, w: t.bitwise_and(x, y), lambda t, x, y, w: t.bitwise_xor(x, 3),
    ):  # fmt: skip
        same(f(tg, tg.tensor(a), tg.tensor(b), tg.tensor(wide)), f(torch, *map(torch.tensor, (a, b, wide))))
    limit = tg.tensor(a) << tg.tensor(wide)  # what C leaves open, torch answers with 0
    inside = (wide >= 0) & (wide < a.itemsize * 8)
    assert not limit.numpy()[~inside].any()


def test_bits_of_bools_and_what_is_refused() -> None:
    x, y = tg.tensor([True, False]), torch.tensor([True, False])
    for f in (
        lambda v: v & True,
        lambda v: v | False,
        lambda v: v ^ v,
        lambda v: ~v,
        lambda v: v & 3,
        lambda v: v << 1,
    ):
        same(f(x), f(y))
    for f, name in (
        (lambda: tg.ones(1) & tg.ones(1), "bitwise_and"), (lambda: tg.tensor([1]) | 1.5, "bitwise_or"),
        (lambda: ~tg.ones(1), "bitwise_not"), (lambda: tg.ones(1) << 1, "bitwise_left_shift"),
        (lambda: x >> x, "bitwise_right_shift"), (lambda: 1.5 ^ tg.tensor([1]), "bitwise_xor"),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match=f"{name}: not implemented for"):
            f()


def test_where_takes_tensors_and_numbers() -> None:
    c = randn(4, 9) > 0
    ours, theirs = tg.tensor(c), torch.tensor(c)
    check(lambda x, y: tg.where(ours, x, y), lambda x, y: torch.where(theirs, x, y), randn(4, 9), randn(9), terms=4)
    check(lambda x: tg.where(ours, x, -1.5), lambda x: torch.where(theirs, x, -1.5), randn(4, 1), terms=9, second=True)
    check(lambda x: tg.where(ours, 2, x), lambda x: torch.where(theirs, 2, x), randn(4, 9), wrap=transposed)
    check(lambda x: x.where(ours, x * 2), lambda x: x.where(theirs, x * 2), randn(4, 9), dtype="bfloat16")
    for a, b in ((1, 2.5), (1, 2), (True, False), (True, 3)):
        same(tg.where(ours, a, b), torch.where(theirs, a, b))
    for kind in ("float16", "int8", "bool"):
        like, theirs_like = tg.ones(9).to(getattr(tg, kind)), torch.ones(9).to(getattr(torch, kind))
        for number in (3, 2.5, True):
            same(tg.where(ours, like, number), torch.where(theirs, theirs_like, number), f"{kind} {number}")
    same(tg.where(ours[:0], 1.0, tg.ones(0, 9)), torch.where(theirs[:0], 1.0, torch.ones(0, 9)))
    byte = torch.tensor([256 - 128, 0, 1], dtype=torch.uint8)
    assert tg.where(tg.tensor(byte.numpy()), 1, 2).tolist() == [1, 2, 1]


def test_ties_and_nan_share_the_gradient_as_in_torch() -> None:
    a, b = np.array([1.0, 2.0, 3.0, np.nan, 1.0, np.nan]), np.array([1.0, 5.0, 3.0, 1.0, np.nan, np.nan])
    for name in ("maximum", "minimum", "fmax", "fmin"):
        check(getattr(tg, name), getattr(torch, name), a, b)
        check(getattr(tg, name), getattr(torch, name), randn(4, 9), randn(9, seed=1), terms=4, second=True)
        same(getattr(tg, name)(tg.tensor([True, False]), tg.tensor([False, False])),
             getattr(torch, name)(torch.tensor([True, False]), torch.tensor([False, False])))  # fmt: skip


BOUNDS = [{"min": -0.5}, {"max": 0.5}, {"min": -0.5, "max": 1}, {"min": 1.0, "max": -1.0}]


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_clamp(bounds: dict[str, float]) -> None:
    x = np.concatenate([X, [math.nan]])
    check(lambda v: tg.clamp(v, **bounds), lambda v: torch.clamp(v, **bounds), x, second=True)
    check(lambda v: tg.clamp(v, **bounds), lambda v: torch.clamp(v, **bounds), X, dtype="bfloat16")


def test_clamp_from_one_side() -> None:
    check(lambda v: v.clamp_min(0.5), lambda v: v.clamp_min(0.5), X)
    check(lambda v: tg.clamp_max(v, 0.5), lambda v: torch.clamp_max(v, 0.5), X)
    check(tg.clamp_min, torch.clamp_min, X, np.roll(X, 1))


def test_clamp_by_tensors() -> None:
    low, high = randn(5, seed=3) - 1, randn(5, seed=4) + 1
    check(
        lambda x, a, b: x.clamp(a, b), lambda x, a, b: x.clamp(a, b), randn(6, 5) * 3, low, high, terms=6, second=True
    )
    nan = math.nan
    triples = [(1, 1, 2), (2, 1, 2), (0, 1, 2), (3, 1, 2), (1, 2, 1), (1.5, 2, 1), (3, 2, 1), (0, 2, 1), (1, 1, 1),
               (0, 2, 2), (nan, 1, 2), (1, nan, 2), (1, 0, nan)]  # fmt: skip
    x, a, b = (np.array(v, np.float64) for v in zip(*triples, strict=True))
    check(tg.clamp, torch.clamp, x, a, b)
    check(tg.clamp, torch.clamp, x, a)
    check(lambda v, w: tg.clamp(v, max=w), lambda v, w: torch.clamp(v, max=w), x, b)


def test_clamp_of_integers_and_what_it_refuses() -> None:
    for bounds in ({"min": 0, "max": 5}, {"min": 0.5}, {"max": 2.5}, {"min": True}):
        same(tg.tensor([7, -7, 1]).clamp(**bounds), torch.tensor([7, -7, 1]).clamp(**bounds), str(bounds))
    same(tg.clamp(tg.tensor([True, False]), 0, 1), torch.clamp(torch.tensor([True, False]), 0, 1))
    for name in ("clamp_min", "clamp_max"):
        ours, theirs = (
            (tg.tensor([True, False]), tg.tensor([False])),
            (torch.tensor([True, False]), torch.tensor([False])),
        )
        same(getattr(tg, name)(*ours), getattr(torch, name)(*theirs), name)
    x = tg.ones(2)
    for f, kind, message in (
        (lambda: tg.clamp(x), RuntimeError, "clamp: at least one of min and max must not be None"),
        (lambda: tg.clamp(x, x, 1.0), TypeError, "clamp: min and max must both be numbers or both be tensors"),
        (lambda: tg.clamp(tg.tensor([True]), True), NotImplementedError, "clamp: not implemented for bool"),
        (lambda: tg.clamp(1.0, 0.0), TypeError, r"clamp\(\): argument 'input'"),
        (lambda: tg.clamp(x, tg.ones(3)), RuntimeError, r"clamp: .*\[2\].*\[3\].* do not broadcast"),
    ):
        with pytest.raises(kind, match=message):
            f()


def test_clamp_blocks_an_infinite_gradient() -> None:
    x = tg.tensor([5.0, 0.5], requires_grad=True)
    tg.clamp(x, max=1.0).backward(tg.tensor([math.inf, math.inf]))
    assert x.grad is not None and x.grad.tolist() == [0.0, math.inf]


def test_heaviside() -> None:
    x, values = tg.tensor(SPECIAL), tg.tensor([0.5])
    same(tg.heaviside(x, values), torch.heaviside(torch.tensor(SPECIAL), torch.tensor([0.5])))
    same(
        tg.heaviside(tg.tensor([-1, 0, 2]), tg.tensor([7])),
        torch.heaviside(torch.tensor([-1, 0, 2]), torch.tensor([7])),
    )
    with pytest.raises(RuntimeError, match="heaviside: both tensors must be of one dtype, got float32 and int64"):
        tg.heaviside(x, tg.tensor([1]))


def test_agreement() -> None:
    a, b = [1.0, math.inf, math.nan, 100.0, 1.0], [1.0 + 1e-6, math.inf, math.nan, 101.0, math.inf]
    for options in ({}, {"equal_nan": True}, {"rtol": 0.1}, {"rtol": 0.0, "atol": 2.0}, {"rtol": math.inf}):
        same(
            tg.isclose(tg.tensor(a), tg.tensor(b), **options),
            torch.isclose(torch.tensor(a), torch.tensor(b), **options),
        )
        same(
            tg.isclose(tg.tensor(b), tg.tensor(a), **options),
            torch.isclose(torch.tensor(b), torch.tensor(a), **options),
        )
        assert tg.allclose(tg.tensor(a), tg.tensor(b), **options) == torch.allclose(
            *map(torch.tensor, (a, b)), **options
        )
    for values in ([1, 2], [True, False]):
        same(tg.isclose(tg.tensor(values), tg.tensor(values)), torch.isclose(*map(torch.tensor, (values, values))))
    assert tg.isclose(tg.tensor([10]), tg.tensor([11]), rtol=0.1).tolist() == [True]
    for f, message in (
        (lambda: tg.isclose(tg.ones(1), tg.tensor([1])), "isclose: float32 did not match int64"),
        (
            lambda: tg.isclose(tg.ones(1), tg.ones(1), rtol=-1.0),
            "isclose: rtol and atol must not be negative, got -1.0",
        ),
    ):
        with pytest.raises(RuntimeError, match=message):
            f()
    one = tg.tensor([1.0, 2.0])
    assert tg.equal(one, tg.tensor([1, 2])) and not tg.equal(one, one[:1]) and not tg.equal(one, one + 1)
    assert not tg.equal(tg.tensor([math.nan]), tg.tensor([math.nan])) and tg.equal(tg.ones(0), tg.zeros(0))
