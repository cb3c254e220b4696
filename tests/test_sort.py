"""Sorting: order, stability, NaN, long rows, gradients; the k largest, distinct elements, searching."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn, transposed
from tests.properties import given, settings, st
from tritongrad_kernels import interpret, sort as kernel
from tritongrad_kernels.array import from_host

INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "bool"]


def same(name: str, *arguments: Any, **options: Any) -> None:
    """The function gives the same with tritongrad and with torch, arrays being tensors: values, indices, dtypes."""
    results = []
    for m in (tg, torch):
        given = [m.tensor(a) if isinstance(a, np.ndarray) else a for a in (*arguments, *options.values())]
        named = dict(zip(options, given[len(arguments) :], strict=True))
        result = getattr(m, name)(*given[: len(arguments)], **named)
        results.append(tuple(result) if isinstance(result, tuple) else (result,))
    assert len(results[0]) == len(results[1])
    for got, want in zip(*results, strict=True):
        assert got.dtype.name == str(want.dtype).removeprefix("torch.")
        compare(name, got, want, 0)


def every_sort(x: np.ndarray, dim: int) -> None:
    for descending in (False, True):
        same("sort", x, dim=dim, stable=True, descending=descending)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", *INTEGERS])
def test_orders_of_every_dtype(dtype: str, tiles: str) -> None:
    x = np.round(randn(2, 35) * 2)
    every_sort((x if x.dtype.kind == dtype[0] else np.abs(x)).astype(dtype), 1)
    every_sort(np.abs(np.round(randn(2, 2, 3) * 2)).astype(dtype), 0)


def test_bfloat16_and_strided() -> None:
    x = randn(3, 300)
    a, b = tg.tensor(x).to(tg.bfloat16), torch.tensor(x).to(torch.bfloat16)
    assert a.argsort(1).tolist() == b.argsort(dim=1, stable=True).tolist()
    assert transposed(tg.tensor(x)).argsort(0).tolist() == torch.tensor(x).argsort(dim=0, stable=True).tolist()
    assert tg.tensor(x[0]).expand(2, 300).argsort().tolist() == [np.argsort(x[0]).tolist()] * 2


def test_nan_infinities_and_zeros(tiles: str) -> None:
    x = randn(2, 34)
    x[0, [1, 7]] = math.nan, -math.nan
    x[0, [2, 9]] = math.inf, -math.inf
    x[1, [3, 4, 20]] = 0.0, -0.0, 0.0
    for dtype in ("float64", "float16") if tiles == "tiles" else ("float32",):
        every_sort(x.astype(dtype), 1)


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8"])
def test_extreme_integers(dtype: str) -> None:
    info = np.iinfo(dtype)
    few = np.array([info.min, info.max, 0, 1, info.max - 1], dtype)
    every_sort(np.random.default_rng(0).permutation(few.repeat(60)), 0)


@pytest.mark.parametrize("n, bound", [(0, 5), (1, 5), (7, 1), (40, 2), (100, 100), (130, 1000)])
def test_keys_below_a_bound(n: int, bound: int, tiles: str) -> None:
    keys = np.random.default_rng(0).integers(0, bound, n)
    expected = np.argsort(keys, kind="stable").tolist()
    for order in (contextlib.nullcontext(), interpret.order("reverse")):
        with order:
            assert kernel.argsort_stable(from_host(keys), bound).numpy().tolist() == expected


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(0, 2), st.booleans(), st.integers(0, 9))
def test_sorting_any_shape(shape: list[int], dim: int, descending: bool, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)
    axis = dim % len(shape)
    same("sort", x, dim=axis, descending=descending, stable=True)


def test_gradients_follow_the_order(tiles: str) -> None:
    x = np.round(randn(3, 10))
    for f in (
        lambda x: x.sort(1)[0], lambda x: x.sort(0, descending=True).values, lambda x: x.kthvalue(3, 1)[0],
        lambda x: x.kthvalue(2, 0, True)[0],
    ):  # fmt: skip
        check(f, f, randn(3, 10), second=True)
        check(f, f, x, grads=False)
    check(lambda x: x.topk(3)[0], lambda x: x.topk(3)[0], randn(3, 10), second=True)
    check(lambda x: x.sort(stable=True)[0], lambda x: x.sort(stable=True)[0], x)
    check(lambda x: tg.msort(x), lambda x: torch.msort(x), randn(5, 3), dtype="bfloat16")


def test_numbers_and_nothing() -> None:
    for f in (lambda x: x.sort(0)[0], lambda x: x.topk(1)[0], lambda x: x.kthvalue(1)[0], lambda x: x.msort()):
        check(f, f, np.array(3.0))
    every_sort(np.zeros((2, 0, 3)), 1)
    every_sort(np.zeros((2, 0, 3)), 0)
    assert tg.zeros(2, 3).topk(0).values.shape == (2, 0) and tg.tensor(1.0).argsort().item() == 0


def test_the_k_largest() -> None:
    x = randn(4, 9)
    for k, dim, largest in itertools.product((0, 1, 4), (0, 1), (True, False)):
        same("topk", x, k, dim, largest)
    out = (tg.empty(0), tg.empty(0, dtype=tg.int64))
    tg.topk(tg.tensor([1.0, 3.0, 2.0]), 2, out=out)
    assert out[0].tolist() == [3, 2] and out[1].tolist() == [1, 2]
    out = (tg.empty(()), tg.empty((), dtype=tg.int64))
    tg.kthvalue(tg.tensor([1.0, 3.0, 2.0]), 2, out=out)
    assert out[0].item() == 2 and out[1].item() == 2
    with pytest.raises(RuntimeError, match="index k out of range"):
        tg.zeros(2, 3).topk(4)
    with pytest.raises(RuntimeError, match="does not support bool"):
        tg.tensor([True]).topk(1)
    with pytest.raises(RuntimeError, match="out of range"):
        tg.zeros(2, 3).kthvalue(0)
    with pytest.raises(IndexError, match="non-zero size"):
        tg.zeros(2, 0).kthvalue(1)
    with pytest.raises(NotImplementedError):
        tg.tensor([True]).kthvalue(1)


DISTINCT = [
    np.array([[3, 1, 3, 1, 2], [0, 0, 5, 5, 5]]),
    np.round(randn(2, 9)).astype(np.float16),
    np.array([[True, False, True]]),
    np.zeros((2, 0)),
    np.array(3.0),
]


@pytest.mark.parametrize("x", DISTINCT, ids=lambda x: f"{x.dtype}{list(x.shape)}")
def test_distinct_elements(x: np.ndarray, tiles: str) -> None:
    for inverse, counts in itertools.product((False, True), (False, True)):
        same("unique", x, return_inverse=inverse, return_counts=counts)
        same("unique_consecutive", x, return_inverse=inverse, return_counts=counts)


def test_distinct_slices() -> None:
    x = np.array([[1, 2, 1, 1], [0, 2, 0, 0], [1, 2, 1, 1], [1, 2, 1, 0]])
    for dim in (0, 1):
        for a in (x, np.stack([x, x % 2], 2), np.zeros((0, 3) if dim == 0 else (3, 0))):
            same("unique", a, return_inverse=True, return_counts=True, dim=dim)
            same("unique_consecutive", a, return_inverse=True, return_counts=True, dim=dim)
    with pytest.raises(RuntimeError, match="0 sized dimensions"):
        tg.zeros(2, 0).unique(dim=0)
    assert tg.tensor([1.0, math.nan, math.nan]).unique().shape == (3,)  # NaN differs from NaN


EDGES, VALUES = np.array([1, 3, 3, 5, math.nan]), np.array([0, 1, 3, 4, math.nan, 6, math.inf])


@pytest.mark.parametrize("right", [False, True])
def test_searching(right: bool, tiles: str) -> None:
    rows, few = np.sort(randn(4, 9), 1), randn(4, 3, seed=1)
    for dtype in ("float64", "float32", "float16"):
        edges, values = EDGES.astype(dtype), VALUES.astype(dtype)
        same("searchsorted", edges, values, right=right)
        same("bucketize", values, edges, right=right, out_int32=True)
    same("searchsorted", rows, few, right=right)
    same("searchsorted", np.array([1, 3, 5]), VALUES, right=right)
    for edges, values in ((EDGES[:0], VALUES), (EDGES, VALUES[:0])):
        same("searchsorted", edges, values, right=right)
    same("searchsorted", EDGES, 3, right=right)
    same("bucketize", 3.5, EDGES, right=right)
    sorter = np.array([1, 2, 0])
    same("searchsorted", np.array([3.0, 1, 2]), VALUES, right=right, sorter=sorter)


def test_what_searching_refuses() -> None:
    edges = tg.tensor(EDGES)
    assert tg.searchsorted(edges, edges, side="right").tolist() == tg.searchsorted(edges, edges, right=True).tolist()
    for options, message in (
        ({"side": "up"}, "side can only be"),
        ({"side": "left", "right": True}, "opposites"),
        ({"sorter": tg.tensor([0])}, "sorter must be int64"),
    ):
        with pytest.raises(RuntimeError, match=message):
            tg.searchsorted(edges, edges, **options)
    with pytest.raises(RuntimeError, match="should be 1 dimension or the first N-1"):
        tg.searchsorted(tg.zeros(2, 3), tg.zeros(3, 2))
    with pytest.raises(RuntimeError, match="must be 1 dimension"):
        tg.bucketize(edges, tg.zeros(2, 3))
    with pytest.raises(TypeError, match="must be Tensor"):
        tg.searchsorted([1, 2], edges)


def test_membership() -> None:
    x = np.array([[1, 2], [5, 5]])
    for invert in (False, True):
        same("isin", x, np.array([5, 1]), invert=invert)
        same("isin", x, EDGES, invert=invert)
        same("isin", VALUES, EDGES, invert=invert)
        same("isin", VALUES, EDGES[:0], invert=invert)
        same("isin", x, 5, invert=invert)
        same("isin", 5, x, invert=invert)
    with pytest.raises(RuntimeError, match="at least one tensor"):
        tg.isin(1, 2)
