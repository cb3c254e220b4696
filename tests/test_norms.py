"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn

ORDERS = [1, 2, 3, 0.5, 1.5, -1, math.inf, -math.inf, 0]


def method(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """x -> x.name(*arguments, **options), for our tensors and torch's."""
    return lambda x: getattr(x, name)(*arguments, **options)


@pytest.mark.parametrize("p", ORDERS)
def test_norms(p: float) -> None:
    for options in ({"dim": None}, {"dim": 1}, {"dim": (0, 2), "keepdim": True}):
        f = method("norm", p, **options)
        # The second derivative of |x| is a zero that torch does not let anyone read.
        check(f, f, randn(3, 5, 4), terms=60, slack=32, second=p not in (0, 1) and math.isfinite(p))
    check(lambda x: x.norm(p), lambda x: x.norm(p), np.array(-2.0))


@pytest.mark.parametrize("p", ORDERS)
def test_gradients_at_zeros_and_ties(p: float) -> None:
    f = method("norm", p, dim=1)
    check(f, f, np.array([[0.0, 0, 0], [3, 0, 4]]), slack=32)
    check(f, f, np.array([[2.0, -2, 1], [3, 3, 3]]), slack=32)


@pytest.mark.parametrize("ord", ["fro", 1, -1, 2, -2, "nuc", math.inf, -math.inf])
def test_matrix_norms(ord: Any) -> None:
    for options in ({}, {"keepdim": True}, {"dim": (2, 0)}):
        ours, theirs = (partial(m.linalg.matrix_norm, ord=ord, **options) for m in (tg, torch))
        check(ours, theirs, randn(3, 4, 3), terms=12, slack=64)


def test_what_a_norm_is_of() -> None:
    x = randn(3, 4)
    for options in (
        {},
        {"ord": "fro"},
        {"ord": 1},
        {"ord": 3, "dim": 1},
        {"ord": 1, "dim": (1, 0)},
        {"ord": 2, "dim": [0]},
    ):
        check(
            lambda x, o=options: tg.linalg.norm(x, **o), lambda x, o=options: torch.linalg.norm(x, **o), x,
            terms=12, slack=32,
        )  # fmt: skip
    check(lambda x: tg.linalg.norm(x[0], 3), lambda x: torch.linalg.norm(x[0], 3), x, slack=32)
    for p in ("fro", "nuc", None):
        check(partial(tg.norm, p=p), partial(torch.norm, p=p), x, terms=12, slack=32)
    check(lambda x, y: tg.dist(x, y, 3), lambda x, y: torch.dist(x, y, 3), x, randn(4, seed=1), terms=12, slack=32)
    assert tg.linalg.vector_norm(tg.ones(3), dtype=tg.float64).dtype is tg.float64
    check(lambda x: x.norm(dim=1), lambda x: x.norm(dim=1), randn(3, 40), dtype="bfloat16", terms=40)


def test_norms_of_nothing_and_what_is_refused() -> None:
    empty = np.zeros((2, 0))
    for p in (0, 1, 2, 3, -1, math.inf, -math.inf):
        for dim in (None, 0, 1):
            try:
                want = torch.linalg.vector_norm(torch.tensor(empty), p, dim=dim)
            except RuntimeError:
                with pytest.raises(RuntimeError, match="does not have an identity"):
                    tg.linalg.vector_norm(tg.tensor(empty), p, dim=dim)
            else:
                compare("of nothing", tg.linalg.vector_norm(tg.tensor(empty), p, dim=dim), want, 0)
    ones = tg.ones(2, 2)
    refused = (
        lambda: tg.linalg.vector_norm(tg.tensor([1])), lambda: tg.linalg.vector_norm(ones, dtype=tg.int64),
        lambda: tg.linalg.matrix_norm(tg.ones(3)), lambda: tg.linalg.matrix_norm(ones, dim=0),
        lambda: tg.linalg.matrix_norm(ones, 7), lambda: tg.linalg.matrix_norm(ones.long(), 1),
        lambda: tg.linalg.matrix_norm(ones, 1, dim=(0, -2)), lambda: tg.linalg.norm(tg.ones(2, 2, 2), 2),
        lambda: tg.norm(ones, "max"),
    )  # fmt: skip
    for call in refused:
        with pytest.raises(RuntimeError):
            call()
