"""Batch norm's kernels: moments in runs, folded by who applies them; two norms in a pass; what a ReLU let pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import NUMPY, randn
from tritongrad.tensor import Tensor
from tritongrad_kernels import (
    activations,
    channels,
    dtypes,
    elementwise,
    formulas,
    interpret,
    launch,
    memory,
    norm,
    norm_grad,
)
from tritongrad_kernels.array import Array, empty

HALVES = ["bfloat16", "float16"]
SHAPES = [
    pytest.param((70, 6), id="several runs, a ragged one"),
    pytest.param((2, 1), id="two values"),
    pytest.param((13, 17), id="many blocks of channels"),
]


def array(a: Any, dtype: str = "float32") -> Array:
    return tg.tensor(np.asarray(a).astype(NUMPY[dtype])).array


def values(a: Array | None) -> np.ndarray:
    assert a is not None
    return np.asarray(Tensor(a).tolist(), np.float64)


def batch(x: Array, **options: Any) -> norm.Statistics:
    """The statistics of x, not folded yet."""
    return norm.Statistics(1e-5, norm.moments(x), **options)


def channel_parameters(c: int) -> tuple[Array, Array]:
    return array(randn(c, seed=2, mean=0.5, std=2)), array(randn(c, seed=3))


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_of_runs(shape: tuple[int, int], tiles: str) -> None:
    x = randn(*shape, mean=1e3)
    found = values(norm.moments(array(x, "float64")))
    # Elements of 8 bytes have tiles half as large: 4 rows, 2 channels.
    runs = 1 if tiles == "tiles" else min(-(-shape[0] // 4), max(1, 6 // -(-shape[1] // 2)))
    assert found.shape == (runs, 3, shape[1])
    count, mean, squares = found[:, 0], found[:, 1], found[:, 2]
    for z in range(runs):
        rows = x if runs == 1 else np.concatenate([x[m : m + 4] for m in range(4 * z, shape[0], 4 * runs)])
        assert (count[z] == len(rows)).all()
        np.testing.assert_allclose(mean[z], rows.mean(0), rtol=1e-14)
        np.testing.assert_allclose(squares[z], ((rows - rows.mean(0)) ** 2).sum(0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("settled", [False, True], ids=["by the pass that applies them", "alone"])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_what_folding_leaves(momentum: float | None, settled: bool, tiles: str) -> None:
    """Mean and rstd, running statistics that moved and one batch more: torch's layer has the same after each batch."""
    theirs = torch.nn.BatchNorm1d(6, momentum=momentum).double()
    mean, var, count = array(np.zeros(6), "float64"), array(np.ones(6), "float64"), tg.tensor(0).array
    for seed in range(3):
        x = randn(70, 6, seed=seed, mean=10 * seed, std=1 + seed)
        theirs(torch.tensor(x))
        statistics = batch(
            array(x, "float64"), momentum=momentum, running_mean=mean, running_var=var, batches=count
        )  # fmt: skip
        assert not statistics.folded
        if settled:
            statistics.settle()
        else:
            norm.apply(array(x, "float64"), statistics, None, None)
        with launch.recording() as log:
            statistics.settle()
        assert statistics.folded and not log
        np.testing.assert_allclose(values(statistics.mean), x.mean(0), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(values(statistics.rstd), 1 / np.sqrt(x.var(0) + 1e-5), rtol=1e-13)
    np.testing.assert_allclose(values(mean), theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(values(var), theirs.running_var.numpy(), rtol=1e-12)
    assert values(count) == theirs.num_batches_tracked.item() == 3


def test_given_statistics_settle_as_well() -> None:
    given = norm.Statistics(0.5, running_mean=array(randn(5)), running_var=array(np.arange(5.0)))
    given.settle()
    np.testing.assert_allclose(values(given.rstd), (np.arange(5) + 0.5) ** -0.5, rtol=1e-6)
    assert values(given.mean).tolist() == values(given.running_mean).tolist()


def test_runs_count_for_as_many_rows_as_they_have(tiles: str) -> None:
    """Moments come from convolutions, too, whose runs may differ in length and in what they see."""
    lengths = [1, 0, 5, 2, 7, 0, 0, 3, 1, 4, 6]
    parts = [randn(n, 3, seed=z, mean=10 * z) for z, n in enumerate(lengths)]
    zeros = np.zeros((1, 3))
    rows = [[np.full(3, len(p)), (p if len(p) else zeros).mean(0), (p if len(p) else zeros).var(0) * len(p)]
            for p in parts]  # fmt: skip
    statistics = norm.Statistics(0.0, array(rows, "float64"))
    statistics.settle()
    x = np.concatenate(parts)
    np.testing.assert_allclose(values(statistics.mean), x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(values(statistics.rstd), x.std(0) ** -1, rtol=1e-13)


@pytest.mark.parametrize("dtype", HALVES)
def test_what_is_added_makes_no_bit_of_difference(dtype: str, tiles: str) -> None:
    """As if the norm's result had been stored, then added to, then put through a ReLU."""
    x, x2, r = (array(randn(37, 16, seed=k, mean=2, std=3), dtype) for k in range(3))
    w, b = channel_parameters(16)
    y, y2 = norm.apply(x, batch(x), w, b)[0], norm.apply(x2, batch(x2), None, b)[0]
    for other, residual in ((y2, None), (r, r)):
        site = None if residual is not None else (x2, batch(x2), None, b)
        for relu in (False, True):
            got, _ = norm.apply(x, batch(x), w, b, residual=residual, other=site, relu=relu)
            want = elementwise.map(formulas._add, y, other)
            want = elementwise.map(activations._relu, want) if relu else want
            assert np.array_equal(values(got), values(want))
    got, _ = norm.apply(x, batch(x), w, b, relu=True)
    assert np.array_equal(values(got), values(elementwise.map(activations._relu, y)))


@pytest.mark.parametrize("shape", [(37, 16), (3, 24), (70, 8)], ids=str)
def test_bits_say_what_a_relu_lets_pass(shape: tuple[int, int], tiles: str) -> None:
    x, r = randn(*shape), randn(*shape, seed=1)
    r[0, 1], r[1, 7] = np.nan, np.inf
    statistics = norm.Statistics(0.0, running_mean=array(np.zeros(shape[1])), running_var=array(np.ones(shape[1])))
    y, bits = norm.apply(array(x), statistics, None, None, residual=array(r), relu=True, bits=True)
    positive = ~(values(y) <= 0)
    assert positive.any() and not positive.all() and positive[0, 1]
    assert np.array_equal(values(bits).astype(np.uint8), np.packbits(positive, axis=1, bitorder="little"))
    ragged = norm.Statistics(0.0, running_mean=array(np.zeros(7)), running_var=array(np.ones(7)))
    assert norm.apply(array(x[:, :7]), ragged, None, None, bits=True)[1] is None


@pytest.mark.parametrize("dtype", [*HALVES, "float64"])
def test_however_a_gradient_knows_what_the_relu_let_pass(dtype: str, tiles: str) -> None:
    """Recomputed, from bits, or from the output: the same to the bit, even where rounding makes y zero."""
    x, dy = array(randn(37, 16) * 1e-3, dtype), array(randn(37, 16, seed=1), dtype)
    w, b = array(randn(16, seed=2) * 1e-6), array(np.zeros(16))  # some y vanish in float16
    statistics = batch(x)
    y, bits = norm.apply(x, statistics, w, b, relu=True, bits=True)
    assert bits is not None
    found = []
    for relu in ("recompute", y, bits):
        sums = norm_grad.grad_sums(dy, x, statistics, w, b, relu=relu)
        dx = norm_grad.input_grad(dy, x, statistics, w, b, sums, relu=relu)
        given = norm_grad.input_grad(dy, x, statistics, w, b, None, relu=relu)
        found.append([values(a) for a in (sums, dx, given)])
    for sums, dx, given in found:
        assert np.array_equal(given != 0, (values(y) > 0) & (found[0][2] != 0))
        assert np.array_equal(given, found[0][2])
        np.testing.assert_allclose(sums.sum(0), found[0][0].sum(0), rtol=1e-4, atol=1e-4)  # bits have wider tiles
        np.testing.assert_allclose(dx, found[0][1], rtol=0.02, atol=1e-6)


@pytest.mark.parametrize(("dtype", "how"), [("bfloat16", "bits"), ("float64", "output"), ("float32", None)])
def test_the_gradients_of_two_norms_that_were_added(dtype: str, how: str | None, tiles: str) -> None:
    """In one launch the very numbers of two."""
    dy, x, x2 = (array(randn(37, 16, seed=k, mean=1), dtype) for k in range(3))
    first = norm.Site(x, batch(x), array(randn(16, seed=4), dtype), None)
    second = norm.Site(x2, batch(x2))
    y, bits = norm.apply(*first, other=second, relu=True, bits=True)
    relu: Any = {"bits": bits, "output": y, None: None}[how]
    sums = norm_grad.grad_sums(dy, *first, relu=relu, other=second)
    with launch.recording() as log:
        both = norm_grad.input_grads(dy, first, second, sums, relu=relu)
    assert [one.kernel for one in log] == ["_input_grad"]
    for site, dx, own in ((first, both[0], sums.slice(1, 0, 2)), (second, both[1], sums.slice(1, 0, 3, 2))):
        alone = norm_grad.grad_sums(dy, *site, relu=relu)
        assert np.array_equal(values(own), values(alone))
        assert np.array_equal(values(dx), values(norm_grad.input_grad(dy, *site, alone, relu=relu)))


def test_the_order_of_programs_does_not_matter(tiles: str) -> None:
    x = array(randn(70, 17, mean=100))

    def found() -> list[np.ndarray]:
        mean, var, count = array(np.zeros(17)), array(np.ones(17)), tg.tensor(0).array
        s = batch(x, momentum=0.1, running_mean=mean, running_var=var, batches=count)
        y, _ = norm.apply(x, s, None, None, relu=True)
        sums = norm_grad.grad_sums(y, x, s, None, None, relu="recompute")
        dx = norm_grad.input_grad(y, x, s, None, None, sums, relu="recompute")
        return [values(a) for a in (y, mean, var, count, dx, sums)]

    expected = found()
    with interpret.order("reverse"):
        assert all(np.array_equal(a, b) for a, b in zip(found(), expected, strict=True))


RESNET50 = [
    (56, 64, 264), (56, 256, 132), (28, 128, 264), (28, 512, 66), (14, 256, 132), (14, 1024, 33), (7, 512, 66),
    (7, 2048, 16),
]  # fmt: skip


@pytest.mark.parametrize("side, c, runs", RESNET50, ids=str)
def test_folding_costs_little_beside_applying(side: int, c: int, runs: int) -> None:
    """Partial sums that all programs read together, over the bytes of x and y, for the norms of ResNet-50."""
    with memory.dry_run(), launch.column("sm_90"):
        x = empty((256 * side**2, c), dtypes.bfloat16)
        config, rows, grid = channels.walk(x, width=channels.width(x, runs))
        partials = grid * runs * 2 * config["BC"] * 4
        assert partials <= 0.18 * 2 * x.nbytes
        assert 200 <= grid <= 256 and config["BM"] * config["BC"] == 4096 and rows * config["BM"] <= x.shape[0]
        _, runs, _ = channels.walk(x, "norm_sums")
        assert runs * c <= 34_000
