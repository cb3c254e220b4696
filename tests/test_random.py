"""Random tensors: the same everywhere, independent of one another, distributed as they should be."""

from __future__ import annotations

import pytest

import tritongrad as tg
import tritongrad.nn.functional as F
from tritongrad_kernels import interpret, launch

N = 100_000
DRAWS = {
    "rand": lambda *shape: tg.rand(*shape),
    "randn": lambda *shape: tg.randn(*shape),
    "randint": lambda *shape: tg.randint(-5, 1000, shape),
    "randint64": lambda *shape: tg.randint(-(2**62), 2**62, shape),
    "bernoulli": lambda *shape: tg.bernoulli(tg.full(shape, 0.3)),
    "dropout": lambda *shape: F.dropout(tg.ones(*shape), 0.4),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_numbers_at_any_block_size_and_shape(name: str) -> None:
    tg.manual_seed(5)
    expected = DRAWS[name](37).tolist()
    for block in (4, 16, 1024):
        with launch.tiles(random={"BLOCK": block}):
            tg.manual_seed(5)
            assert DRAWS[name](37).tolist() == expected
            with interpret.order("reverse"):
                tg.manual_seed(5)
                assert DRAWS[name](37).tolist() == expected
    tg.manual_seed(5)
    assert DRAWS[name](5, 1, 7).flatten().tolist() == expected[:35]  # element i is a function of i alone


@pytest.mark.parametrize("name", DRAWS)
def test_each_draw_is_another(name: str) -> None:
    tg.manual_seed(1)
    a, b = DRAWS[name](100).tolist(), DRAWS[name](100).tolist()
    tg.manual_seed(2)
    assert a != b and DRAWS[name](100).tolist() != a


def test_the_algorithm_is_philox() -> None:
    """The test vector of Salmon et al. for the zero counter and key is what seed 0, stream 0 would give."""
    from tritongrad_kernels import dtypes, random

    first = random.integers((2,), 0, 2**32, dtypes.int64, None, 0, 0).numpy().tolist()
    assert first == [0xE169C58D, 0xA1B6F11F] or first == [0x6627E8D5 & 0xFFFFFFFF, 0xBC57AC4C]
