"""Walks over arrays of several axes: what each layout is taken as, and that every element is reached once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.check import randn
from tritongrad_kernels import dtypes, elementwise, formulas, launch
from tritongrad_kernels.array import Array, channels_last_strides, empty, from_host
from tritongrad_kernels.walk import Walk, walk


def array(*shape: int) -> Array:
    return from_host(randn(*shape, seed=len(shape)).astype(np.float32))


IMAGES = [(2, 3, 5, 7), (2, 20, 5, 7), (3, 33, 4, 12), (1, 48, 6, 6), (2, 17, 3, 6)]
"""Few channels, channels and pixels that 16 divides or does not, images of one batch."""


@pytest.mark.parametrize("shape", IMAGES)
def test_copies_between_layouts(shape: tuple[int, ...], tiles: str) -> None:
    x, last = array(*shape), channels_last_strides(shape)
    there = elementwise.copy_into(x, empty(shape, dtypes.float32, strides=last))
    back = elementwise.contiguous(there, always=True)
    assert np.array_equal(there.numpy(), x.numpy()) and np.array_equal(back.numpy(), x.numpy())
    half = elementwise.copy_into(there, empty(shape, dtypes.float64))
    assert np.array_equal(half.numpy(), x.numpy().astype(np.float64))


BROADCASTS = [
    ((40, 48), (48,)),
    ((40, 48), (40, 1)),
    ((3, 5, 48), (5, 1)),
    ((3, 5, 48), (3, 1, 48)),
    ((6, 5, 7), (5, 1)),
    ((40, 3, 5, 2), (3, 1, 2)),
    ((3, 40, 16), (3, 1, 1)),
    ((3, 2, 5, 48), (2, 1, 48)),
]
"""Along columns and rows, within and across batches, of short rows, of more axes than a program takes, in tiles too."""


@pytest.mark.parametrize(("shape", "other"), BROADCASTS)
def test_operands_that_broadcast(shape: tuple[int, ...], other: tuple[int, ...], tiles: str) -> None:
    x, y = array(*shape), array(*other)
    with launch.column("sm_90") if tiles == "tiles" else launch.tiles():
        found = elementwise.map(formulas._add, x, y)
    assert np.array_equal(found.numpy(), x.numpy() + y.numpy())


def on_a_gpu(shape: tuple[int, ...], *strides: tuple[int, ...]) -> Walk:
    with launch.column("sm_90"):
        return walk(shape, strides, launch.tile("walk"))


def test_long_rows_are_walked_in_tiles() -> None:
    bias = on_a_gpu((4096, 512), (512, 1), (512, 1), (0, 1))
    assert (bias.rows, bias.block, bias.programs) == (8, 2048, 1024)
    assert bias.strides == [(512, 1), (512, 1), (None, 1)]
    batches = on_a_gpu((10, 40, 64), (2560, 64, 1), (64, 0, 1))
    assert (batches.rows, batches.block, batches.programs) == (32, 2048, 20)


def test_a_transposition_is_walked_in_squares() -> None:
    images = on_a_gpu((256, 64, 3136), (200704, 1, 64), (200704, 3136, 1))
    assert images.shape == (256, 3136, 64) and images.strides == [(200704, 64, 1), (200704, 1, 3136)]
    assert (images.rows, images.block, images.programs) == (64, 4096, 256 * 49)


def test_short_rows_are_walked_in_one_run() -> None:
    images = on_a_gpu((256, 3, 50176), (150528, 1, 3), (150528, 50176, 1))
    assert (images.rows, images.last, images.n, images.programs) == (0, 2, 150528, 256 * 74)
    assert images.strides == [(150528, 1), (150528, 1, 50176)]  # what is written lies in one run
    same = on_a_gpu((7, 1000), (1000, 1), (1000, 1))
    assert (same.shape, same.n, same.by, same.last) == ((7000,), 7000, 8, 1)
    assert on_a_gpu((5, 7), (7, 1)).by == 1 and not on_a_gpu((5, 7), (7, 1)).wide
    assert on_a_gpu((2**30, 2), (1, 2**30), (2, 1)).wide
    assert on_a_gpu((0, 16, 1024), (16384, 1024, 1), (0, 0, 1)).programs == 0
