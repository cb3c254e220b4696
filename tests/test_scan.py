"""Scans: values, positions, gradients with zeros and infinities, long rows, strides, order."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn, transposed
from tritongrad_kernels import interpret

SMOOTH = ["cumsum", "cumprod", "logcumsumexp"]


def method(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """x -> x.name(*arguments, **options), for our tensors and torch's."""
    return lambda x: getattr(x, name)(*arguments, **options)


def part(k: int, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The k-th of what f gives."""
    return lambda x: f(x)[k]


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_values_and_gradients(name: str, dim: int, tiles: str) -> None:
    f = method(name, dim)
    check(f, f, randn(3, 5, 4), terms=15, second=True)
    check(f, f, randn(3, 5, 4), terms=15, wrap=transposed)


@pytest.mark.parametrize("name", SMOOTH)
def test_rows_longer_than_a_block(name: str, tiles: str) -> None:
    f = method(name, 1)
    check(f, f, randn(2, 75) * 0.3 + 1, terms=75, slack=16)
    check(f, f, randn(1, 75), dtype="float64", terms=75, slack=64)  # exp is within some units of the last place


@pytest.mark.parametrize("name", SMOOTH)
def test_edges(name: str) -> None:
    for x, dim in ((np.array(2.0), 0), (np.zeros((2, 0, 3)), 1), (np.zeros((0, 3)), 1), (randn(4, 1), 1)):
        f = method(name, dim)
        check(f, f, x, second=x.size > 0)
    f = method(name, 0)
    for dtype in ("float16", "bfloat16"):
        check(f, f, randn(40) * 0.1 + 1, dtype=dtype, terms=40)
    check(lambda x: f(x.expand(3, 4)), lambda x: f(x.expand(3, 4)), randn(4))
    with pytest.raises(IndexError, match="Dimension out of range"):
        getattr(tg.zeros(2, 3), name)(2)


def test_products_with_zeros() -> None:
    x = randn(4, 6)
    x[0, 1] = x[1, 1] = x[1, 3] = 0
    x[2] = 0
    check(lambda x: x.cumprod(1), lambda x: x.cumprod(1), x, second=True, terms=6)


def test_integers_are_carried_in_int64(tiles: str) -> None:
    for dtype in ("int64", "int32", "uint8", "bool"):
        x = np.random.default_rng(0).integers(0, 3, (3, 37)).astype(dtype)
        a, b = tg.tensor(x), torch.tensor(x)
        for name in ("cumsum", "cumprod"):
            got, want = getattr(a, name)(1), getattr(b, name)(1)
            assert got.dtype is tg.int64 and got.tolist() == want.tolist()
            assert getattr(a, name)(0, dtype=tg.float32).tolist() == getattr(b, name)(0, dtype=torch.float32).tolist()
    assert tg.tensor([2**63 - 1, 1]).cumsum(0).tolist() == [2**63 - 1, -(2**63)]
    assert tg.tensor([0.5, 1.5]).cumsum(0, dtype=tg.int64).tolist() == [0, 1]
    with pytest.raises(NotImplementedError):
        tg.tensor([1, 2]).logcumsumexp(0)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_extremes(name: str, tiles: str) -> None:
    x = np.round(randn(3, 41) * 1.5)
    x[1, 5] = x[1, 9] = math.nan
    x[2, :2] = -math.inf
    for values in (x.astype(np.float32), x, np.nan_to_num(x, neginf=-9).astype(np.int32), x > 0):
        for dim in (0, 1):
            got, want = getattr(tg.tensor(values), name)(dim), getattr(torch.tensor(values), name)(dim)
            compare(name, got.values, want.values, 0)
            assert got.indices.tolist() == want.indices.tolist() and type(got).__name__ == name
    f = part(0, method(name, 1))
    check(f, f, np.round(randn(3, 41)), second=True, terms=41)
    check(f, f, randn(2, 30), dtype="bfloat16", terms=30)
    check(lambda x: getattr(x, name)(0)[0], lambda x: getattr(x, name)(0)[0], np.array(2.0))
    assert getattr(tg.zeros(0), name)(0)[1].tolist() == []


def test_infinite_exponents() -> None:
    inf = math.inf
    x = np.array([[1, inf, 2, math.nan], [-inf, -inf, 0, 1], [inf, inf, 1, -inf]])
    check(lambda x: x.logcumsumexp(1), lambda x: x.logcumsumexp(1), x, grads=False)
    check(lambda x: x.logcumsumexp(0), lambda x: x.logcumsumexp(0), randn(9) * 300, terms=9)


def _on_a_copy(name: str, x: Any) -> Any:
    return getattr(x * 1, name)(1)


def test_in_place() -> None:
    for name in ("cumsum_", "cumprod_"):
        check(partial(_on_a_copy, name), partial(_on_a_copy, name), randn(3, 4))
        x = tg.tensor([[1, 2], [3, 4]], dtype=tg.int32)
        assert getattr(x, name)(0) is x and x.dtype is tg.int32
        with pytest.raises(NotImplementedError):
            getattr(tg.tensor([True]), name)(0)
    out = tg.empty(3)
    assert tg.cumsum(tg.ones(3), 0, out=out) is out and out.tolist() == [1, 2, 3]
    pair = (tg.empty(2), tg.empty(2, dtype=tg.int64))
    tg.cummax(tg.tensor([2.0, 1.0]), 0, out=pair)
    assert pair[0].tolist() == [2, 2] and pair[1].tolist() == [0, 0]


@pytest.mark.parametrize("name", [*SMOOTH, "cummax"])
def test_the_same_bits_in_any_order(name: str, tiles: str) -> None:
    x = tg.tensor(randn(5, 37).astype(np.float32))
    found = []
    for order in (contextlib.nullcontext(), interpret.order("reverse")):
        with order:
            y = getattr(x, name)(1)
            found.append((y[0] if isinstance(y, tuple) else y).numpy().tobytes())
    assert found[0] == found[1]


def test_differences() -> None:
    x, p = randn(4, 5), randn(4, 2)
    for f in (lambda x: x.diff(), lambda x: x.diff(n=2, dim=0), lambda x: x.diff(n=0), lambda x: x.diff(n=9)):
        check(f, f, x, second=True)
    check(lambda x, p: tg.diff(x, prepend=p, append=p), lambda x, p: torch.diff(x, prepend=p, append=p), x, p)
    assert tg.tensor([True, False, False]).diff().tolist() == [True, False]
    assert tg.tensor([1, 4, 2]).diff().tolist() == [3, -2]
    with pytest.raises(RuntimeError, match="at least one-dimensional"):
        tg.tensor(1.0).diff()
    with pytest.raises(RuntimeError, match="non-negative"):
        tg.ones(3).diff(n=-1)


@pytest.mark.parametrize("dim", [0, 1])
def test_trapezoids(dim: int) -> None:
    y, x = randn(5, 5), np.arange(5.0) ** 2
    for name in ("trapezoid", "cumulative_trapezoid"):
        ours, theirs = getattr(tg, name), getattr(torch, name)
        for given in (x, randn(5, 5, seed=1)):
            check(partial(ours, dim=dim), partial(theirs, dim=dim), y, given)
        check(partial(ours, dx=2, dim=dim), partial(theirs, dx=2, dim=dim), y)
