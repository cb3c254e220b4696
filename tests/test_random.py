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
    "exponential": lambda *shape: tg.empty(*shape).exponential_(),
    "geometric": lambda *shape: tg.empty(*shape).geometric_(0.3),
    "cauchy": lambda *shape: tg.empty(*shape).cauchy_(),
    "log_normal": lambda *shape: tg.empty(*shape).log_normal_(),
    "random_": lambda *shape: tg.empty(*shape).random_(100),
    "normal": lambda *shape: tg.normal(tg.zeros(*shape), 2.0),
    "poisson": lambda *shape: tg.poisson(tg.full(shape, 4.0)),
    "multinomial": lambda *shape: tg.multinomial(tg.ones(5), math.prod(shape) or 1, True)[: math.prod(shape)].reshape(
        shape
    ),
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


def within(drawn: tg.Tensor, mean: float, variance: float) -> None:
    """Mean within five deviations of a mean of so many."""
    values = drawn.double().numpy()
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / values.size) + 1e-9


def test_other_distributions() -> None:
    e = tg.empty(N).exponential_(2.0)
    within(e, 0.5, 0.25)
    within(e * e, 0.5, 1.25)
    assert e.min().item() > 0
    for p in (0.1, 0.9):
        g = tg.empty(N, dtype=tg.int64).geometric_(p)
        within(g, 1 / p, (1 - p) / p**2)
        assert g.min().item() == 1
    c = tg.empty(N, dtype=tg.float64).cauchy_(1.0, 2.0).numpy()
    quartiles = np.quantile(c, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [-1.0, 1.0, 3.0], atol=0.1)
    within(tg.empty(N).log_normal_(0.5, 0.25).log(), 0.5, 0.0625)
    for dtype in (tg.float16, tg.bfloat16, tg.float64):
        assert tg.empty(N, dtype=dtype).exponential_().double().numpy().min() > 0
    within(tg.normal(tg.full((N,), 3.0), tg.full((N,), 0.5)), 3.0, 0.25)
    within(tg.normal(3.0, 0.5, (N,)), 3.0, 0.25)
    assert (
        tg.normal(tg.zeros(2, 1), tg.ones(3)).shape == (2, 3)
        and tg.normal(0, 1, (2,), dtype=tg.float64).dtype is tg.float64
    )
    assert tg.normal(2.0, tg.zeros(3)).tolist() == [2.0] * 3 and tg.normal(tg.ones(2)).shape == (2,)


@pytest.mark.parametrize("rate", [0.0, 0.3, 4.0, 50.0, 1e4])
def test_poisson(rate: float) -> None:
    n = 20_000
    counts = tg.poisson(tg.full((n,), rate))
    within(counts, rate, rate)
    values = counts.double().numpy()
    assert (values == np.floor(values)).all() and abs(values.var() - rate) <= 5 * math.sqrt((rate + 2 * rate**2) / n)
    if rate == 4.0:
        expected = n * np.exp(-4.0) * np.cumprod([1.0, *(4.0 / k for k in range(1, 12))])
        found = np.bincount(values.astype(int), minlength=12)[:12]
        assert ((found - expected) ** 2 / expected).sum() < 12 + 5 * math.sqrt(24)
    x = tg.full((2,), 3.0, requires_grad=True)
    tg.poisson(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_random_fills_dtypes() -> None:
    for name, most in {
        "int8": 127,
        "uint8": 255,
        "int16": 2**15 - 1,
        "bool": 1,
        "float16": 2**11,
        "bfloat16": 2**8,
    }.items():
        x = tg.zeros(N, dtype=getattr(tg, name)).random_().double().numpy()
        assert x.min() == 0 and x.max() <= most and x.max() > 0.99 * most, name
    assert tg.zeros(N, dtype=tg.int64).random_().double().numpy().max() > 2.0**62
    assert (
        set(tg.zeros(N).random_(3, 6).tolist())
        == {3.0, 4.0, 5.0}
        == set(tg.zeros(N).random_(**{"from": 3, "to": 6}).tolist())
    )
    assert set(tg.zeros(N).random_(2).tolist()) == {0.0, 1.0}


def test_bernoulli_in_place_and_by_number() -> None:
    within(tg.empty(N).bernoulli_(0.3), 0.3, 0.21)
    within(tg.empty(N, dtype=tg.int64).bernoulli_(0.3), 0.3, 0.21)
    within(tg.bernoulli(tg.empty(N), 0.7), 0.7, 0.21)
    assert tg.zeros(2, 3).bernoulli_(tg.tensor([0.0, 1.0, 1.0])).tolist() == [[0.0, 1.0, 1.0]] * 2
    assert tg.zeros(N, dtype=tg.bool).bernoulli_().dtype is tg.bool


def test_multinomial_with_replacement(tiles: str) -> None:
    weights = tg.tensor(
        [[0.0, 1.0, 2.0, 0.0, 5.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 3.0]]
    )
    n = 400
    drawn = tg.multinomial(weights, n, True)
    assert drawn.shape == (3, n) and drawn.dtype is tg.int64
    counts = np.bincount(drawn[0].numpy(), minlength=6) / n
    np.testing.assert_allclose(counts, [0, 1 / 8, 2 / 8, 0, 5 / 8, 0], atol=5 * 0.5 / math.sqrt(n))
    assert counts[0] == counts[3] == counts[5] == 0
    assert set(drawn[1].tolist()) == {0} and set(drawn[2].tolist()) == {5}
    assert tg.multinomial(weights[0].half(), 3, True).shape == (3,) and tg.multinomial(
        tg.ones(0, 3), 2, True
    ).shape == (0, 2)


def test_multinomial_without_replacement() -> None:
    weights = tg.tensor([0.0, 1.0, 2.0, 5.0]).expand(4000, 4)
    drawn = tg.multinomial(weights, 3).numpy()
    assert (np.sort(drawn, 1) == [1, 2, 3]).all()
    first = np.bincount(drawn[:, 0], minlength=4) / 4000
    np.testing.assert_allclose(first, [0, 1 / 8, 2 / 8, 5 / 8], atol=5 * 0.5 / math.sqrt(4000))
    second = np.bincount(drawn[drawn[:, 0] == 3][:, 1], minlength=4) / (drawn[:, 0] == 3).sum()
    np.testing.assert_allclose(second, [0, 1 / 3, 2 / 3, 0], atol=0.06)
    one = tg.multinomial(weights, 1)
    assert one.shape == (4000, 1)
    np.testing.assert_allclose(np.bincount(one.numpy()[:, 0], minlength=4) / 4000, first, atol=0.06)
    assert tg.multinomial(tg.tensor([0.0, 3.0]), 2).tolist() == [1, 0]
    assert tg.multinomial(tg.tensor([1.0, 3.0]), 1).shape == (1,) == tg.tensor([1.0]).multinomial(1).shape


def test_like_another() -> None:
    x = tg.ones(2, 3, dtype=tg.float64).t()
    for made in (tg.rand_like(x), tg.randn_like(x), tg.randint_like(x, 5)):
        assert made.shape == (3, 2) and made.stride() == (1, 3) and made.dtype is tg.float64
    tg.manual_seed(2)
    a = tg.rand_like(x, dtype=tg.float32).tolist()
    tg.manual_seed(2)
    assert tg.rand(3, 2).tolist() == a
    assert tg.rand_like(x, requires_grad=True).requires_grad and tg.randint_like(x, 2, 3).tolist() == [[2.0] * 2] * 3
    assert tg.rand(size=(2,)).shape == (2,) and tg.randint(high=3, size=(2,)).shape == tg.randint(1, 3, size=(2,)).shape
    assert tg.randint(low=1, high=2, size=(2,)).tolist() == [1, 1] and tg.randn(2, requires_grad=True).requires_grad
    assert tg.randperm(256, dtype=tg.uint8).max().item() == 255


def test_generators_of_torchs_kind() -> None:
    g = tg.Generator(device="cpu")
    assert g.device == tg.device("cpu") and g.initial_seed() == 67280421310721
    assert tg.manual_seed(-1).initial_seed() == 2**64 - 1 == tg.initial_seed()
    a = tg.rand(3).tolist()
    assert tg.manual_seed(2**64 - 1) and tg.rand(3).tolist() == a and tg.randperm(3).shape == (3,)
    state = tg.get_rng_state()
    assert state.dtype is tg.uint8 and not state.is_cuda
    with tg.random.fork_rng():
        b = tg.rand(3).tolist()
    assert tg.rand(3).tolist() == b
    tg.random.set_rng_state(state)
    assert tg.rand(3).tolist() == b
    twin = g.clone_state()
    assert tg.rand(2, generator=g).tolist() == tg.rand(2, generator=twin).tolist()
    with tg.random.fork_rng(enabled=False):
        tg.rand(1)
    if not tg.cuda.is_available():  # nothing to seed
        tg.cuda.manual_seed(5)
        tg.cuda.manual_seed_all(5)
        tg.cuda.seed()
        tg.cuda.seed_all()
        assert tg.cuda.initial_seed() == tg.initial_seed() == 2**64 - 1 and tg.cuda.get_rng_state_all() == []
    kept = tg.cuda.get_rng_state()
    tg.cuda.set_rng_state_all([kept])
    tg.cuda.set_rng_state(kept)


ERRORS = [
    (lambda: tg.rand(2, dtype=tg.int64), RuntimeError, "rand: expected a floating-point dtype, got int64"),
    (lambda: tg.randn(2, dtype=tg.bool), RuntimeError, "randn: expected a floating-point dtype, got bool"),
    (lambda: tg.randint(5, 5, (2,)), RuntimeError, "randint: expected low < high, got low 5, high 5"),
    (lambda: tg.randint(0, (2,)), RuntimeError, "randint: expected low < high"),
    (lambda: tg.randint(5), TypeError, "randint: expected randint"),
    (lambda: tg.randint(0, 1000, (2,), dtype=tg.int8), RuntimeError, r"randint: .* 0 \.\. 999 .* int8"),
    (lambda: tg.randint(-1, 5, (2,), dtype=tg.uint8), RuntimeError, r"randint: .* -1 \.\. 4 .* uint8"),
    (lambda: normal_(tg.ones(2), 0, -1), RuntimeError, "normal_: expected std >= 0, got -1"),
    (lambda: tg.normal(0.0, -1.0, (2,)), RuntimeError, "normal: expected std >= 0, got -1.0"),
    (lambda: tg.normal(tg.zeros(2), -tg.ones(2)), RuntimeError, "normal: expected all elements of std >= 0"),
    (lambda: tg.normal(tg.zeros(2), tg.ones(3)), RuntimeError, "normal: shapes .* do not broadcast"),
    (lambda: tg.normal(tg.zeros(2).long(), 1.0), NotImplementedError, "normal: expected a floating-point dtype"),
    (lambda: tg.normal(0.0, 1.0), TypeError, "normal: two numbers need a size"),
    (lambda: tg.normal(tg.zeros(2), 1.0, (2,)), TypeError, "normal: a size goes with two numbers"),
    (lambda: tg.bernoulli(tg.tensor([2.0])), RuntimeError, r"bernoulli: expected all probabilities to be in \[0, 1\]"),
    (lambda: tg.bernoulli(tg.ones(3).long()), NotImplementedError, "bernoulli: expected a floating-point dtype"),
    (lambda: tg.bernoulli(tg.ones(3), 1.5), RuntimeError, r"bernoulli: expected p to be in \[0, 1\], but got 1.5"),
    (lambda: tg.zeros(3).bernoulli_(tg.ones(3).long()), NotImplementedError, "bernoulli_: expected a floating-point"),
    (lambda: tg.multinomial(tg.ones(3), 4), RuntimeError, "multinomial: cannot draw 4 of 3 categories without"),
    (lambda: tg.multinomial(tg.ones(3), 0), RuntimeError, "multinomial: cannot sample 0 times"),
    (lambda: tg.multinomial(tg.ones(0), 1, True), RuntimeError, "multinomial: cannot draw 1 of 0 categories"),
    (lambda: tg.multinomial(tg.zeros(2), 1), RuntimeError, "multinomial: the weights of a row sum to 0"),
    (
        lambda: tg.multinomial(tg.tensor([-1.0, 2.0]), 1),
        RuntimeError,
        "multinomial: weights contain infinity, NaN or a",
    ),
    (lambda: tg.multinomial(tg.tensor([math.inf, 2.0]), 1), RuntimeError, "multinomial: weights contain infinity"),
    (lambda: tg.multinomial(tg.ones(3).long(), 1), RuntimeError, "multinomial: expected floating-point weights"),
    (lambda: tg.multinomial(tg.ones(1, 2, 3), 1), RuntimeError, "multinomial: expected weights of 1 or 2 dimensions"),
    (lambda: tg.poisson(tg.tensor([-1.0])), RuntimeError, "poisson: expected rates >= 0"),
    (lambda: tg.zeros(3).long().uniform_(), NotImplementedError, "uniform_: expected a floating-point dtype"),
    (lambda: tg.zeros(3).uniform_(2, 1), RuntimeError, "uniform_: expected from <= to, got from 2, to 1"),
    (lambda: tg.zeros(3).random_(5, 3), RuntimeError, "random_: expected low < high"),
    (lambda: tg.zeros(3, dtype=tg.int8).random_(1000), RuntimeError, "random_: the numbers .* do not all fit int8"),
    (lambda: tg.zeros(3).exponential_(-1), RuntimeError, "exponential_: expected lambd > 0, got -1"),
    (lambda: tg.zeros(3).long().exponential_(), RuntimeError, "exponential_: expected a floating-point dtype"),
    (lambda: tg.zeros(3).geometric_(1.0), RuntimeError, r"geometric_: expected p to be in \(0, 1\), but got 1.0"),
    (lambda: tg.zeros(3).cauchy_(0, -1), RuntimeError, "cauchy_: expected sigma > 0"),
    (lambda: tg.zeros(3).long().cauchy_(), RuntimeError, "cauchy_: expected a floating-point dtype"),
    (lambda: tg.zeros(3).log_normal_(0, -1), RuntimeError, "log_normal_: expected std > 0"),
    (lambda: tg.randperm(-1), RuntimeError, "randperm: expected a length from 0"),
    (lambda: tg.randperm(300, dtype=tg.uint8), RuntimeError, "randperm: expected a length from 0 to what uint8"),
    (lambda: tg.rand(2, generator=3), TypeError, "rand: expected a Generator, got int"),
    (lambda: F.dropout(tg.ones(2), 1.5), ValueError, "dropout: probability has to be between 0 and 1, but got 1.5"),
    (lambda: uniform_(tg.ones(2, requires_grad=True)), RuntimeError, "a leaf Variable that requires grad"),
]


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:30] for e in ERRORS])
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f()
