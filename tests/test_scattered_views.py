"""Parts replaced, diagonals filled, blocks, choices, norms kept small: values and gradients as torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed

REPLACED: list[tuple[Callable, tuple, tuple]] = [
    (lambda m, x, s: m.select_scatter(x, s, 1, 2), (3, 4), (3,)),
    (lambda m, x, s: x.select_scatter(s, -1, -1), (2, 3, 2), (2, 3)),
    (lambda m, x, s: m.slice_scatter(x, s, 0, 1, 3), (4, 2), (2, 2)),
    (lambda m, x, s: x.slice_scatter(s, 1, -4, step=3), (2, 5), (2, 2)),
    (lambda m, x, s: m.slice_scatter(x, s), (3,), (3,)),
    (lambda m, x, s: m.slice_scatter(x, s, 0, 5), (3, 2), (0, 2)),
    (lambda m, x, s: m.diagonal_scatter(x, s), (3, 3), (3,)),
    (lambda m, x, s: x.diagonal_scatter(s, 1, 0, 2), (3, 2, 4), (2, 3)),
    (lambda m, x, s: m.block_diag(x, s), (2, 3), (1, 2)),
    (lambda m, x, s: m.block_diag(s, x, x), (0, 2), (3,)),
    (lambda m, x, s: m.block_diag(s, x), (2, 1), ()),
]


@pytest.mark.parametrize("case", range(len(REPLACED)))
def test_parts_replaced(case: int) -> None:
    f, shape, part = REPLACED[case]
    x, s = np.array(randn(*shape)), np.array(randn(*part, seed=1))
    for wrap in (None, transposed):
        check(lambda a, b: f(tg, a, b), lambda a, b: f(torch, a, b), x, s, second=True, wrap=wrap)


def test_diagonals_filled() -> None:
    for shape in ((3, 3), (2, 5), (7, 2), (3, 2), (4, 2), (0, 2), (2, 2, 2), (1, 1)):
        for wrap in (False, True):
            found = [m.zeros(shape).fill_diagonal_(5, wrap=wrap).tolist() for m in (tg, torch)]
            assert found[0] == found[1], shape
            turned = [m.zeros(tuple(reversed(shape))).permute(tuple(reversed(range(len(shape))))) for m in (tg, torch)]
            if not wrap:  # torch fails for turned matrices
                assert turned[0].fill_diagonal_(5).tolist() == turned[1].fill_diagonal_(5).tolist(), shape
    check(lambda t: (t * 2).fill_diagonal_(1.0) * t, lambda t: (t * 2).fill_diagonal_(1.0) * t, randn(4, 3))
    for wrong in (lambda m: m.zeros(3).fill_diagonal_(1), lambda m: m.zeros(2, 3, 2).fill_diagonal_(1)):
        for m in (tg, torch):
            with pytest.raises(RuntimeError):
                wrong(m)


def test_errors() -> None:
    for f in (
        lambda m: m.select_scatter(m.zeros(2, 2), m.zeros(3), 0, 0),
        lambda m: m.slice_scatter(m.zeros(4), m.zeros(1), 0, 1, 3),
        lambda m: m.slice_scatter(m.zeros(4), m.zeros(1), step=0),
        lambda m: m.diagonal_scatter(m.zeros(2, 2), m.zeros(2), 1),
        lambda m: m.block_diag(m.zeros(1, 1, 1)),
        lambda m: m.renorm(m.ones(2, 2), -1, 0, 1.0),
        lambda m: m.renorm(m.ones(2), 2, 0, 1.0),
        lambda m: m.renorm(m.ones(2, 2), 2, 0, -1.0),
        lambda m: m.combinations(m.ones(2, 2)),
        lambda m: m.combinations(m.ones(2), -1),
    ):
        for m in (tg, torch):
            with pytest.raises(RuntimeError):
                f(m)


def test_choices() -> None:
    for n in (0, 1, 4):
        for r in (0, 1, 2, 3):
            for again in (False, True):
                ours, theirs = (m.combinations(m.arange(n), r, again) for m in (tg, torch))
                assert ours.tolist() == theirs.tolist() and ours.shape == theirs.shape
    check(lambda t: tg.combinations(t, 2), lambda t: torch.combinations(t, 2), randn(4), second=True)
    for m in (tg, torch):
        assert [c.tolist() for c in m.unravel_index(m.tensor([[5, 3], [0, 1]]), (2, 3))] == [
            [[1, 1], [0, 0]],
            [[2, 0], [0, 1]],
        ]
        assert [c.tolist() for c in m.unravel_index(m.tensor(3), 7)] == [3]
        with pytest.raises(TypeError, match="integer dtype"):
            m.unravel_index(m.tensor([1.0]), (2,))
        with pytest.raises(ValueError, match="cannot have negative values"):
            m.unravel_index(m.tensor([1]), (-2,))


@pytest.mark.parametrize("p", [2.0, 1.0, float("inf"), 0.5])
def test_norms_kept_small(p: float) -> None:
    x = randn(3, 4, 2)
    for dim in (0, -2):
        check(
            lambda t, d=dim: tg.renorm(t, p, d, 1.0), lambda t, d=dim: torch.renorm(t, p, d, 1.0), x, terms=8, slack=16
        )
        check(lambda t, d=dim: t.renorm(p, d, 100.0), lambda t, d=dim: t.renorm(p, d, 100.0), x, terms=8, slack=16)
    check(lambda t: (t * 2).renorm_(p, 1, 1.0), lambda t: (t * 2).renorm_(p, 1, 1.0), x, terms=8, slack=16)


def test_sums_with_products_in_place() -> None:
    cases: list[tuple[str, tuple, tuple, tuple]] = [
        ("addmm_", (2, 3), (2, 4), (4, 3)), ("addmv_", (2,), (2, 3), (3,)), ("addr_", (2, 3), (2,), (3,)),
        ("baddbmm_", (2, 2, 2), (2, 2, 3), (2, 3, 2)), ("addbmm_", (2, 2), (3, 2, 1), (3, 1, 2)),
    ]  # fmt: skip
    for name, *shapes in cases:

        def f(t: Any, a: Any, b: Any, name: str = name) -> Any:
            y = t * 1
            assert getattr(y, name)(a, b, beta=0.5, alpha=2) is y
            return y

        check(f, f, *(randn(*s, seed=i) for i, s in enumerate(shapes)), terms=4, second=True)
    with pytest.raises(RuntimeError, match=r"does not fit|must match"):
        tg.zeros(1, 3).addmm_(tg.ones(2, 2), tg.ones(2, 3))


def test_copies_of_in_place_forms() -> None:
    for m in (tg, torch):
        x = m.zeros(3)
        assert (
            m.put(x, m.tensor([1]), m.ones(1)).tolist() == [0, 1, 0] and x.put(m.tensor([0]), m.ones(1), True)[0] == 1
        )
        assert m.fill(x, 3).tolist() == [3, 3, 3] and x.tolist() == [0, 0, 0]
        assert m.ones(2).diagflat(1).shape == (3, 3)
