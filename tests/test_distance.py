"""Distances of all pairs beside torch's: orders, products or differences, equal rows, batches, empty ones, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import check, randn


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, float("inf")])
def test_orders(p: float) -> None:
    a, b = randn(3, 5), randn(4, 5, seed=1)
    check(lambda x, y: tg.cdist(x, y, p), lambda x, y: torch.cdist(x, y, p), a, b, dtype="float64", terms=20)
    check(lambda x: tg.pdist(x, p), lambda x: torch.pdist(x, p), a, dtype="float64", terms=20)


@pytest.mark.parametrize(
    ("first", "second"), [((2, 1, 3, 4), (3, 2, 4)), ((30, 3), (2, 3)), ((2, 0, 3), (2, 2, 3)), ((2, 0), (3, 0))]
)
def test_shapes(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    for mode in ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        check(
            lambda x, y, m=mode: tg.cdist(x, y, compute_mode=m),
            lambda x, y, m=mode: torch.cdist(x, y, compute_mode=m),
            randn(*first), randn(*second, seed=1), dtype="float64", terms=60, slack=100,
        )  # fmt: skip


def test_second_derivatives() -> None:
    def plain(x: Any, y: Any) -> Any:
        return (x[:, None] - y[None]).norm(dim=-1)

    for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        ours = lambda x, y, m=mode: tg.cdist(x, y, compute_mode=m)  # noqa: E731
        check(ours, plain, randn(3, 4), randn(2, 4, seed=1), dtype="float64", slack=100, second=True)


def test_equal_rows() -> None:
    for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        grads = []
        for m in (tg, torch):
            x = m.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
            m.cdist(x, x.detach(), compute_mode=mode).sum().backward()
            grads.append(x.grad.tolist())
        assert torch.allclose(*map(torch.tensor, grads))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows(n: int) -> None:
    check(tg.pdist, torch.pdist, randn(n, 3), dtype="float64", terms=3, grads=n > 1)  # torch's own crashes


def test_errors() -> None:
    x = tg.ones(2, 3)
    for call, error in (
        (lambda: tg.cdist(x, x, compute_mode="fast"), ValueError),
        (lambda: tg.cdist(x, tg.ones(2, 2)), RuntimeError),
        (lambda: tg.cdist(x[0], x), RuntimeError),
        (lambda: tg.cdist(x.long(), x), RuntimeError),
        (lambda: tg.cdist(x, x, -1), RuntimeError),
        (lambda: tg.pdist(x[0]), RuntimeError),
        (lambda: tg.pdist(x.long()), RuntimeError),
        (lambda: tg.pdist(x, -1), RuntimeError),
    ):
        with pytest.raises(error, match=r"dist|mode"):
            call()
