"""Random tensors: the same everywhere, independent of one another, distributed as they should be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import transposed
from tritongrad.random import normal_, uniform_
from tritongrad_kernels import dtypes, interpret, launch, random

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


def test_the_generator_is_philox_4x32_10() -> None:
    """The words for counter 0 under key 0 as published with the generator: 6627e8d5 e169c58d bc57ac4c 9b00dbd8."""
    drawn = random.integers((2,), 0, 2**63, dtypes.int64, None, seed=0, stream=0)
    assert drawn.numpy().tolist() == [0x6627E8D5E169C58D, 0xBC57AC4C9B00DBD8 & (2**63 - 1)]


def test_uniforms() -> None:
    u = tg.rand(N).numpy().astype(np.float64)
    assert u.min() >= 0 and u.max() < 1 and len(np.unique(u)) > 0.99 * N
    assert abs(u.mean() - 0.5) < 5 / math.sqrt(12 * N) and abs(u.var() - 1 / 12) < 0.002
    counts, _ = np.histogram(u, 100, (0, 1))
    assert ((counts - N / 100) ** 2 / (N / 100)).sum() < 99 + 5 * math.sqrt(2 * 99)  # chi squared, 5 deviations
    for lag in (1, 2, 3, 4):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 5 / math.sqrt(N)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_uniforms_of_other_dtypes_never_reach_one(dtype: str) -> None:
    u = tg.rand(N, dtype=getattr(tg, dtype)).double().numpy()
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 5 / math.sqrt(12 * N) + 2.0**-9


def test_normals() -> None:
    z = tg.randn(N).numpy().astype(np.float64)
    assert abs(z.mean()) < 5 / math.sqrt(N) and abs(z.var() - 1) < 5 * math.sqrt(2 / N)
    assert abs((z**3).mean()) < 5 * math.sqrt(15 / N) and abs((z**4).mean() - 3) < 5 * math.sqrt(96 / N)
    assert np.isfinite(z).all() and 3.5 < np.abs(z).max() < 5.8
    for lag in (1, 2, 3, 4):
        assert abs(np.corrcoef(z[:-lag], z[lag:])[0, 1]) < 5 / math.sqrt(N)
    shifted = normal_(tg.empty(N), 3.0, 0.5).numpy()
    assert abs(shifted.mean() - 3) < 5 * 0.5 / math.sqrt(N) and abs(shifted.std() - 0.5) < 0.01
    assert normal_(tg.empty(5), 2.0, 0.0).tolist() == [2.0] * 5


def test_integers() -> None:
    i = tg.randint(-3, 4, (N,)).numpy()
    assert i.dtype == np.int64 and set(i.tolist()) == set(range(-3, 4))
    counts = np.bincount(i + 3)
    assert ((counts - N / 7) ** 2 / (N / 7)).sum() < 6 + 5 * math.sqrt(12)
    assert tg.randint(5, (3, 2)).shape == (3, 2) and tg.randint(1, 2, (4,)).tolist() == [1] * 4
    wide = tg.randint(-(2**63), 2**63 - 1, (1000,)).numpy().astype(np.float64)
    assert abs(wide.mean()) < 2.0**60 and wide.min() < -(2.0**62) and wide.max() > 2.0**62
    assert tg.randint(0, 128, (N,), dtype=tg.int8).max().item() == 127
    assert tg.randint(0, 10, (4,), dtype=tg.float32).dtype is tg.float32


def test_streams_are_independent() -> None:
    """Different seeds, or draws under one seed, share nothing, whatever bits of the seed differ."""
    draws = []
    for seed in (0, 1, 2**31, 2**32, 2**62):
        tg.manual_seed(seed)
        draws += [tg.rand(N).numpy(), tg.rand(N).numpy()]
    far = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(far).max() < 5 / math.sqrt(N)


def test_counters_beyond_32_bits() -> None:
    """Element numbers and stream numbers keep their upper halves."""
    a, b = (random.uniform((8,), 0.0, 1.0, dtypes.float32, None, 7, stream).numpy() for stream in (1, 1 + 2**32))
    assert not np.intersect1d(a, b).size


def test_no_numbers_and_one() -> None:
    for name, draw in DRAWS.items():
        assert draw(0).tolist() == [] and draw(2, 0).shape == (2, 0) and draw(1).shape == (1,), name
    assert tg.rand(()).shape == () and tg.rand((2, 3)).shape == (2, 3) and tg.rand_like(tg.ones(2, 3)).shape == (2, 3)
    assert tg.randn_like(tg.ones(2, dtype=tg.float16)).dtype is tg.float16


def test_permutations() -> None:
    p = tg.randperm(1000)
    assert p.dtype is tg.int64 and sorted(p.tolist()) == list(range(1000)) != p.tolist()
    assert tg.randperm(0).tolist() == [] and tg.randperm(1).tolist() == [0]
    tg.manual_seed(3)
    again = tg.randperm(20).tolist()
    tg.manual_seed(3)
    assert tg.randperm(20).tolist() == again != tg.randperm(20).tolist()


def test_a_generator_is_a_seed_and_a_count() -> None:
    g = tg.Generator().manual_seed(11)
    assert g.initial_seed() == 11
    a = tg.rand(5, generator=g).tolist()
    state = g.get_state()
    b = tg.rand(5, generator=g).tolist()
    assert tg.rand(5, generator=g.set_state(state)).tolist() == b != a
    tg.manual_seed(11)  # the default generator is another, with the same numbers
    assert tg.rand(5).tolist() == a
    kept = tg.get_rng_state()
    c = tg.randn(3).tolist()
    tg.set_rng_state(kept)
    assert tg.randn(3).tolist() == c and tg.initial_seed() == 11
    assert tg.seed() == tg.initial_seed() != tg.seed()
    with pytest.raises(RuntimeError, match=r"set_state: expected a uint8 tensor of shape \[16\], got float32\[3\]"):
        g.set_state(tg.ones(3))
    with pytest.raises(RuntimeError, match="manual_seed: the seed must fit 64 bits"):
        g.manual_seed(2**64)


def test_overwriting_in_place_through_a_view() -> None:
    x = tg.zeros(6, 4)
    uniform_(x[::2], 2.0, 3.0)
    host = x.numpy()
    assert (host[1::2] == 0).all() and (host[::2] >= 2).all() and (host[::2] < 3).all()
    tg.manual_seed(4)
    a = normal_(tg.zeros(6, 4)).tolist()
    tg.manual_seed(4)
    assert normal_(transposed(tg.zeros(6, 4))).tolist() == a  # strides choose no numbers
    leaf = tg.ones(3, requires_grad=True)
    y = leaf * 2
    uniform_(y)
    y.sum().backward()
    assert leaf.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout(p: float) -> None:
    x = tg.full((N,), 2.0, requires_grad=True)
    y = F.dropout(x, p)
    kept = y.detach().numpy() != 0
    assert abs(kept.mean() - (1 - p)) <= 5 * math.sqrt(p * (1 - p) / N)
    np.testing.assert_allclose(y.detach().numpy()[kept], 2 / (1 - p) if p < 1 else 0, rtol=1e-6)
    y.sum().backward()  # through the very same mask
    np.testing.assert_allclose(x.grad.numpy() != 0, kept)
    assert F.dropout(x, p, training=False) is x


def test_dropout_in_place_and_in_half() -> None:
    x = tg.ones(1000) * 1
    assert F.dropout(x, 0.5, inplace=True) is x and set(x.tolist()) == {0.0, 2.0}
    half = F.dropout(tg.ones(N, dtype=tg.bfloat16), 0.5)
    assert half.dtype is tg.bfloat16 and abs(half.float().mean().item() - 1) < 0.02


def test_bernoulli() -> None:
    p = tg.tensor([0.0, 1.0, 0.25]).reshape(3, 1).expand(3, N)
    means = tg.bernoulli(p).mean(1).tolist()
    assert means[0] == 0 and means[1] == 1 and abs(means[2] - 0.25) < 5 * math.sqrt(0.1875 / N)
    x = tg.full((3,), 0.5, requires_grad=True)
    tg.bernoulli(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


ERRORS = [
    (lambda: tg.rand(2, dtype=tg.int64), RuntimeError, "rand: expected a floating-point dtype, got int64"),
    (lambda: tg.randn(2, dtype=tg.bool), RuntimeError, "randn: expected a floating-point dtype, got bool"),
    (lambda: tg.randint(5, 5, (2,)), RuntimeError, "randint: expected low < high, got low 5, high 5"),
    (lambda: tg.randint(0, (2,)), RuntimeError, "randint: expected low < high"),
    (lambda: tg.randint(5), TypeError, "randint: expected randint"),
    (lambda: tg.randint(0, 1000, (2,), dtype=tg.int8), RuntimeError, r"randint: .* 0 \.\. 999 .* int8"),
    (lambda: tg.randint(-1, 5, (2,), dtype=tg.uint8), RuntimeError, r"randint: .* -1 \.\. 4 .* uint8"),
    (lambda: normal_(tg.ones(2), 0, -1), RuntimeError, "normal_: expected std >= 0, got -1"),
    (lambda: F.dropout(tg.ones(2), 1.5), ValueError, "dropout: probability has to be between 0 and 1, but got 1.5"),
    (lambda: uniform_(tg.ones(2, requires_grad=True)), RuntimeError, "a leaf Variable that requires grad"),
]


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:30] for e in ERRORS])
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f()
