"""Variances, covariances, order statistics, histograms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn, transposed


def method(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """x -> x.name(*arguments, **options), for our tensors and torch's."""
    return lambda x: getattr(x, name)(*arguments, **options)


def part(k: int, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The k-th of what f gives."""
    return lambda x: f(x)[k]


def test_variance_far_from_zero() -> None:
    x = randn(50, 20) * 0.1 + 1000
    check(
        lambda x: x.var(0), lambda x: x.var(0), x, dtype="float64", slack=2e4
    )  # the mean's rounding, over the deviation
    x32 = x.astype(np.float32)
    np.testing.assert_allclose(tg.tensor(x32).var(0).numpy(), x32.astype(np.float64).var(0, ddof=1), rtol=1e-4)


VARIANCES = [{"unbiased": False}, {"correction": 0}, {"correction": 2}, {"dim": 0, "unbiased": False, "keepdim": True}]


@pytest.mark.parametrize("options", VARIANCES, ids=str)
def test_variances_by_any_freedom(options: dict) -> None:
    check(lambda x: x.var(**options), lambda x: x.var(**options), randn(6, 5), terms=30)


def test_variance_by_position_and_of_too_few() -> None:
    x = randn(4, 3).astype(np.float32)
    assert abs(tg.tensor(x).var(False).item() - torch.tensor(x).var(False).item()) < 1e-6
    assert abs(tg.tensor(x).std(False).item() - torch.tensor(x).std(False).item()) < 1e-6
    assert math.isnan(tg.ones(1).var().item()) and math.isnan(tg.zeros(0).var().item())
    constant = tg.ones(3, requires_grad=True)
    constant.std().backward()
    assert constant.grad.tolist() == [0.0, 0.0, 0.0]  # as torch


def _one(module: Any, name: str, options: dict, k: int, x: Any) -> Any:
    return getattr(module, name)(x, **options)[k]


def test_deviations_with_means() -> None:
    for options in ({"dim": 1}, {"dim": 0, "correction": 0, "keepdim": True}, {"dim": (0, 1)}, {"dim": False}):
        theirs = options if options != {"dim": False} else {"unbiased": False}
        for name, k in itertools.product(("var_mean", "std_mean"), (0, 1)):
            check(partial(_one, tg, name, options, k), partial(_one, torch, name, theirs, k), randn(3, 5), terms=15)
    for name in ("var", "std", "var_mean"):
        with pytest.raises(RuntimeError, match="only support floating point"):
            getattr(tg, name)(tg.tensor([1, 2]))


def _weighted(weights: np.ndarray, options: dict, x: Any, counts: Any) -> Any:
    return x.cov(fweights=counts, aweights=x.new_tensor(weights), **options)


def test_covariances() -> None:
    x, counts, weights = randn(3, 8), np.array([1, 2, 0, 3, 1, 1, 2, 1]), np.abs(randn(8, seed=1))
    for options in ({}, {"correction": 0}):
        f = method("cov", **options)
        check(f, f, x, terms=8, second=True)
        check(lambda x, w, o=options: x.cov(fweights=w, **o), lambda x, w, o=options: x.cov(fweights=w, **o), x, counts)
        weighted = partial(_weighted, weights, options)
        check(weighted, weighted, x, counts, terms=8)
    check(lambda x: x.cov(), lambda x: x.cov(), x[0], terms=8)
    for f in (lambda x: x.corrcoef(), lambda x: x[0].corrcoef()):
        check(f, f, x, terms=8, slack=16)
    for name in ("cov", "corrcoef"):
        with pytest.raises(RuntimeError, match="two or fewer dimensions"):
            getattr(tg.zeros(2, 2, 2), name)()
    with pytest.raises(RuntimeError, match="one weight for each"):
        tg.ones(2, 3).cov(fweights=tg.ones(2))


@pytest.mark.parametrize("name", ["median", "nanmedian"])
def test_medians(name: str, tiles: str) -> None:
    x = np.round(randn(4, 9))
    x[0, 4] = x[1, 1] = x[1, 3] = math.nan
    for dim in (0, 1):
        f = part(0, method(name, dim, keepdim=True))
        check(f, f, x, grads=False)
        check(f, f, randn(4, 9), second=True)
    check(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), randn(3, 4), second=True)


def test_the_edges_of_medians() -> None:
    assert tg.tensor([1.0, math.nan, math.nan]).median(0).indices.item() == 1
    assert tg.tensor([math.nan, math.nan]).nanmedian(0).indices.item() == 0
    assert tg.tensor([math.nan, 2.0, math.nan, 1.0]).nanmedian(0).indices.item() == 3
    for values in (
        np.array([3, 1, 2, 2], np.uint8),
        np.array(3.0),
        np.zeros(0),
        np.zeros(0, np.int64),
        np.zeros((0, 3)),
    ):
        for name in ("median", "nanmedian"):
            got, want = getattr(tg.tensor(values), name)(), getattr(torch.tensor(values), name)()
            compare(name, got, want, 0)
            assert got.dtype.name == str(want.dtype).removeprefix("torch.")
    assert tg.tensor(3.0).median(0).indices.item() == 0
    with pytest.raises(IndexError, match="non-zero size"):
        tg.zeros(2, 0).median(1)
    with pytest.raises(NotImplementedError):
        tg.tensor([True]).median()


@pytest.mark.parametrize("dim", [0, 1])
def test_modes(dim: int, tiles: str) -> None:
    x = np.random.default_rng(0).integers(0, 4, (5, 7))
    for values in (x, x.astype(np.float32), x % 2 == 0):
        got, want = tg.tensor(values).mode(dim), torch.tensor(values).mode(dim)
        assert got.values.tolist() == want.values.tolist() and got.indices.tolist() == want.indices.tolist()
    check(lambda x: x.mode(dim, True)[0], lambda x: x.mode(dim, True)[0], x.astype(np.float64))
    check(lambda x: x.mode()[0], lambda x: x.mode()[0], np.array(2.0))
    check(lambda x: x.mode(1)[0], lambda x: x.mode(1)[0], randn(3, 1))
    with pytest.raises(IndexError, match="non-zero size"):
        tg.zeros(2, 0).mode()


def _several(name: str, options: dict, x: Any) -> Any:
    return getattr(x, name)(x.new_tensor([0.1, 0.1, 0.8]), **options)


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name: str, interpolation: str) -> None:
    x = randn(4, 7)
    holes = x.copy()
    holes[0, 2] = holes[1, :] = math.nan
    for options in ({"dim": 0}, {"dim": -1, "keepdim": True}, {}, {"keepdim": True}):
        several = partial(_several, name, {**options, "interpolation": interpolation})
        for q in (0, 0.3, 1):
            f = method(name, q, **options, interpolation=interpolation)
            check(f, f, x, second=True)
            check(f, f, holes, grads=False)
        check(several, several, x, dtype="float64")
        check(several, several, holes, dtype="float64", grads=False)
    check(lambda x: getattr(x, name)(0.5, 0), lambda x: getattr(x, name)(0.5, 0), np.array(2.0))


def test_what_quantiles_refuse() -> None:
    x = tg.ones(3)
    cases: list[tuple[Any, ...]] = [
        (tg.zeros(0), 0.5, {}, "non-empty"), (x.half(), 0.5, {}, "float or double"), (x, 1.5, {}, "range"),
        (x, tg.tensor([0.5, 2.0]), {}, "range"), (x, tg.ones(1, 1), {}, "1D"),
        (x, tg.tensor(0.5).double(), {}, "same dtype"),
        (x, 0.5, {"interpolation": "cubic"}, "interpolation"),
    ]  # fmt: skip
    for values, q, options, message in cases:
        with pytest.raises(RuntimeError, match=message):
            values.quantile(q, **options)


def test_counts_of_integers() -> None:
    keys, weights = np.array([1, 5, 2, 1, 0, 5]), randn(6)
    assert tg.tensor(keys).bincount().tolist() == torch.tensor(keys).bincount().tolist()
    assert tg.tensor(keys.astype(np.uint8)).bincount(minlength=9).tolist() == [1, 2, 1, 0, 0, 2, 0, 0, 0]
    for w in (weights, weights.astype(np.float32), keys, weights.astype(np.float16)):
        got, want = tg.tensor(keys).bincount(tg.tensor(w)), torch.tensor(keys).bincount(torch.tensor(w))
        compare("weighted", got, want, 1e-6)
        assert got.dtype.name == str(want.dtype).removeprefix("torch.")
    nothing = tg.zeros(0, dtype=tg.int64)
    assert nothing.bincount().shape == (0,) and nothing.bincount(minlength=2).tolist() == [0, 0]
    for x, options, error in (
        (tg.tensor([-1, 2]), {}, RuntimeError), (tg.ones(2, 2).long(), {}, RuntimeError),
        (tg.ones(2), {}, NotImplementedError), (tg.ones(2).long(), {"minlength": -1}, RuntimeError),
        (tg.ones(2).long(), {"weights": tg.ones(3)}, RuntimeError),
    ):  # fmt: skip
        with pytest.raises(error, match=r"bincount|minlength"):
            x.bincount(**options)


def test_histograms() -> None:
    for x in (np.array([1.0, 2, 1, 5]), np.ones(3), np.zeros(0), randn(50), np.array([0.5, math.nan, 2])):
        for options in ((4, 0, 2), (5, 2, 2), (10, -1, 1), *([(4,)] if np.isfinite(x).all() else [])):
            if options[1:] == (2, 2) and not np.isfinite(x).all():
                continue
            f = method("histc", *options)
            check(f, f, x, grads=False)
    assert transposed(tg.tensor(randn(3, 5))).histc(4).sum().item() == 15
    for x, options in ((tg.ones(2), (0,)), (tg.ones(2), (3, 2, 1)), (tg.tensor([math.nan]), (3,))):
        with pytest.raises(RuntimeError, match=r"histc|bins"):
            x.histc(*options)
    with pytest.raises(NotImplementedError):
        tg.tensor([1]).histc()
