"""Index values checked and turned into positions; the positions of what is not zero."""

from __future__ import annotations

import numpy as np
import pytest

import tritongrad as tg
from tritongrad_kernels import index, memory

RNG = np.random.default_rng(0)


def test_positions_of_several_indices(tiles: str) -> None:
    """Each adds its own step, counts from its own end and broadcasts through strides."""
    i, j = RNG.integers(-4, 4, (6, 1)), RNG.integers(-5, 5, (1, 7)).astype(np.int32)
    first = index.positions(tg.tensor(i).array.expand((6, 7)), 4, IndexError, step=5)
    got = index.positions(tg.tensor(j).array.expand((6, 7)), 5, IndexError, before=first)
    assert np.array_equal(got.numpy(), i % 4 * 5 + j % 5)


def test_positions_along_an_axis(tiles: str) -> None:
    i = RNG.integers(0, 3, (4, 2, 5))
    got = index.positions(tg.tensor(i).array, 3, IndexError, step=5, steps=(15, 0, 1), negative=False)
    assert np.array_equal(got.numpy(), np.arange(4)[:, None, None] * 15 + i * 5 + np.arange(5))


@pytest.mark.parametrize("wrong", [3, -4, 2**40, -(2**40)])
def test_an_index_that_is_not_there_is_reported_and_never_followed(wrong: int, tiles: str) -> None:
    values = RNG.integers(-3, 3, 50)
    values[41] = wrong
    with pytest.raises(IndexError, match=f"^{wrong}$"):
        index.positions(tg.tensor(values).array, 3, IndexError)
    index._unsettled.clear()


def test_negative_indices_may_be_refused() -> None:
    with pytest.raises(RuntimeError, match=r"^-1$"):
        index.positions(tg.tensor([0, -1]).array, 3, RuntimeError, negative=False)
    with pytest.raises(IndexError, match=r"^0$"):
        index.positions(tg.tensor([0]).array, 0, IndexError)
    assert index.positions(tg.zeros(0, 2).long().array, 0, IndexError).shape == (0, 2)


def test_require_range(tiles: str) -> None:
    index.require_range(tg.tensor([0, 2, -1] * 20).array, 3, "no", ignore=-1)
    with pytest.raises(IndexError, match="no"):
        index.require_range(tg.tensor([0] * 40 + [3]).array, 3, "no")


def test_nonzero_and_coordinates(tiles: str) -> None:
    for shape in ((50,), (3, 1, 17), (2, 3, 4, 5), (0,), (2, 0), ()):
        x = (RNG.random(shape) < 0.3).astype(np.float32)
        flat = index.nonzero(tg.tensor(x).array)
        assert np.array_equal(flat.numpy(), np.flatnonzero(x))
        assert np.array_equal(index.coordinates(flat, shape).numpy(), np.argwhere(x))
    assert index.nonzero(tg.zeros(40).array).shape == (0,)
    assert index.nonzero(tg.tensor(np.eye(7)).array.T.slice(0, 1, 7, 2)).numpy().tolist() == [1, 10, 19]


def test_a_dry_run_has_no_count() -> None:
    with memory.dry_run(), pytest.raises(RuntimeError, match="not known in a dry run"):
        index.nonzero(tg.zeros(4).array)
