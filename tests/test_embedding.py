"""Rows of a table named by numbers: values, gradients, renormalised tables and errors as torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn
from tritongrad.nn import functional as F

RNG = np.random.default_rng(5)


def test_embedding(tiles: str) -> None:
    weight, words = randn(7, 3), RNG.integers(0, 7, (3, 5))
    f, g = F.embedding, torch.nn.functional.embedding
    check(lambda w, i: f(i, w), lambda w, i: g(i, w), weight, words, second=True, terms=10)
    check(lambda w, i: f(i, w), lambda w, i: g(i, w), weight, words, dtype="bfloat16", terms=10)
    for row in (3, -1):
        check(lambda w, i, r=row: f(i, w, r), lambda w, i, r=row: g(i, w, r), weight, words, second=True, terms=10)
    check(lambda w, i: f(i[0, 0], w), lambda w, i: g(i[0, 0], w), weight, words)
    assert f(tg.zeros(0, 2).long(), tg.tensor(weight)).shape == (0, 2, 3)


def test_one_hot() -> None:
    for values in ([1, 0, 3], [[2], [2]], 4):
        for classes in (-1, 6):
            got, want = (
                F.one_hot(tg.tensor(values), classes),
                torch.nn.functional.one_hot(torch.tensor(values), classes),
            )
            assert got.tolist() == want.tolist() and got.dtype is tg.int64
    assert F.one_hot(tg.zeros(0).long(), 3).shape == (0, 3)


@pytest.mark.parametrize("order", [2.0, 1.0, float("inf")])
def test_rows_that_are_named_are_scaled_down(order: float, tiles: str) -> None:
    words = [[0, 3, 3], [5, 0, 6]]
    found = []
    for m in (tg, torch):
        weight = m.tensor(randn(7, 3).tolist(), requires_grad=True)
        before = weight._version
        y = m.nn.functional.embedding(m.tensor(words), weight, max_norm=0.9, norm_type=order)
        (y * m.arange(3.0)).sum().backward()
        assert weight.is_leaf and weight._version > before
        found.append([weight.tolist(), y.tolist(), weight.grad.tolist()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_gradients_divided_by_how_often_a_row_is_named(tiles: str) -> None:
    words = np.array([[0, 3, 3], [5, 0, 3]])
    f, g = F.embedding, torch.nn.functional.embedding
    for row in (None, 3):
        check(
            lambda w, i, r=row: f(i, w, r, scale_grad_by_freq=True),
            lambda w, i, r=row: g(i, w, r, scale_grad_by_freq=True),
            randn(7, 4), words, terms=4,
        )  # fmt: skip
    w = tg.tensor(randn(7, 4), requires_grad=True)
    assert tg.autograd.gradgradcheck(lambda w: f(tg.tensor(words), w, scale_grad_by_freq=True), (w,))


def test_all_at_once_and_nothing() -> None:
    options: Any = dict(padding_idx=1, max_norm=1.0, scale_grad_by_freq=True)
    for m in (tg, torch):
        weight = m.ones(3, 2, requires_grad=True)
        y = m.nn.functional.embedding(m.zeros(0, 2, dtype=m.int64), weight, **options)
        y.sum().backward()
        assert y.shape == (0, 2, 2) and weight.grad.tolist() == [[0, 0]] * 3 and weight.tolist() == [[1, 1]] * 3
    with pytest.raises(NotImplementedError, match="sparse gradients are not offered"):
        F.embedding(tg.tensor([0]), tg.ones(2, 2), sparse=True)
