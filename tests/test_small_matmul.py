"""Products of many small matrices: edges of a tile and of the batch, layouts, dtypes, and when they are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed
from tritongrad_kernels import interpret, launch, memory

CASES = [
    pytest.param((2, 3, 5), (2, 5, 4), id="below 16"),
    pytest.param((7, 16, 16), (7, 16, 16), id="exactly a tile, an odd number of them"),
    pytest.param((5, 1, 1), (5, 1, 1), id="ones"),
    pytest.param((3, 2, 5, 7), (3, 2, 7, 4), id="two batch axes"),
    pytest.param((4, 1, 3, 5), (2, 5, 4), id="batches that stretch"),
    pytest.param((2, 3, 5), (5, 4), id="a matrix for all"),
    pytest.param((3, 2, 0), (3, 0, 4), id="no inner extent"),
    pytest.param((3, 0, 2), (3, 2, 4), id="no rows"),
    pytest.param((3, 17, 40), (3, 40, 9), id="longer than a tiny tile takes"),
]


@pytest.mark.parametrize(("a", "b"), CASES)
def test_small_products(a: tuple[int, ...], b: tuple[int, ...], tiles: str) -> None:
    terms = 2 * max(a[-1], *a, *b)
    check(tg.matmul, torch.matmul, randn(*a, seed=1), randn(*b, seed=2), terms=terms, second=True)
    check(tg.matmul, torch.matmul, randn(*a, seed=1), randn(*b, seed=2), terms=terms, wrap=transposed)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str, tiles: str) -> None:
    check(tg.matmul, torch.matmul, randn(3, 9, 12, seed=1), randn(3, 12, 5, seed=2), dtype=dtype, terms=12)


def test_which_products_are_small() -> None:
    """Many of them, and no side longer than the table says; a single one is a product like any other."""
    longest = launch.tile("small_matmul")["LONGEST"]
    for a, b, name in (
        ((2, 3, 4), (2, 4, 5), "_small_matmul"),
        ((1, 3, 4), (1, 4, 5), "_matmul"),
        ((2, 3, longest + 1), (2, longest + 1, 5), "_matmul"),
    ):
        with launch.recording() as log:
            tg.zeros(*a) @ tg.zeros(*b)
        assert name in [one.kernel for one in log]
    with memory.dry_run(), launch.column("interpret"), launch.recording() as log:
        tg.zeros(300, 17, 12) @ tg.zeros(300, 12, 17)
    assert max(one.grid[0] for one in log if one.kernel == "_small_matmul") == 2


def test_masked_lanes_do_not_reach_the_sum(tiles: str) -> None:
    a, b = randn(3, 5, 5), randn(3, 5, 5, seed=1)
    a[0, 0], b[2, 0, 3] = np.nan, np.inf
    check(tg.matmul, torch.matmul, a, b, terms=5, grads=False)


def test_the_same_bits_whatever_the_strides_and_the_order(tiles: str) -> None:
    a, b = tg.tensor(randn(5, 9, 11).astype(np.float32)), tg.tensor(randn(5, 11, 6, seed=1).astype(np.float32))
    expected = (a @ b).numpy().tobytes()
    assert (transposed(a) @ transposed(b)).numpy().tobytes() == expected
    with interpret.order("reverse"):
        assert (a @ b).numpy().tobytes() == expected
