"""Batch normalisation: statistics far from 0 and 1, running statistics, ReLU and residual folded in, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import EPS, check, compare, randn, transposed
from tritongrad_kernels import interpret, launch

torch_batch_norm = torch.nn.functional.batch_norm
SHAPES = [
    pytest.param((9, 5), id="matrix"),
    pytest.param((4, 5, 7), id="sequence"),
    pytest.param((3, 5, 4, 6), id="image"),
    pytest.param((2, 3, 2, 3, 4), id="volume"),
    pytest.param((2, 1, 1, 1), id="two values"),
    pytest.param((70, 6), id="many chunks of rows"),
    pytest.param((3, 17, 3, 3), id="many tiles of channels"),
]


def ours(x: Any, w: Any = None, b: Any = None, r: Any = None, *, eps: float = 1e-5, relu: bool = False) -> Any:
    y = F.batch_norm(x, None, None, w, b, True, eps=eps)
    y = y if r is None else y + r
    return F.relu(y) if relu else y


def theirs(x: Any, w: Any = None, b: Any = None, r: Any = None, *, eps: float = 1e-5, relu: bool = False) -> Any:
    y = torch_batch_norm(x, None, None, w, b, True, eps=eps)
    y = y if r is None else y + r
    return torch.relu(y) if relu else y


def inputs(shape: tuple[int, ...], mean: float = 3.0, std: float = 5.0) -> tuple[np.ndarray, ...]:
    """x, weight, bias and residual; weights of both signs, nothing near 0 or 1."""
    c = shape[1]
    return (
        randn(*shape, seed=1, mean=mean, std=std),
        randn(c, seed=2, mean=0.5, std=2),
        randn(c, seed=3),
        randn(*shape, seed=4),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_training(shape: tuple[int, ...], tiles: str) -> None:
    x, w, b, r = inputs(shape)
    n = x.size // shape[1]
    check(ours, theirs, x, w, b, terms=n, slack=8)  # a gradient is the difference of three sums
    check(ours, theirs, x, terms=n, slack=8)
    check(lambda *t: ours(*t, relu=True), lambda *t: theirs(*t, relu=True), x, w, b, r, terms=n, slack=8)


@pytest.mark.parametrize("shape", [(9, 5), (3, 5, 4, 6)], ids=str)
def test_second_derivatives(shape: tuple[int, ...]) -> None:
    x, w, b, r = inputs(shape, std=2.0)
    check(ours, theirs, x, w, b, terms=72, second=True, slack=8)
    check(lambda *t: ours(*t, relu=True), lambda *t: theirs(*t, relu=True), x, w, b, r, terms=72, second=True, slack=8)
    check(lambda x, w: ours(x, w), lambda x, w: theirs(x, w), x, w, dtype="float64", terms=72, second=True, slack=8)


def test_the_composed_gradient_is_the_fused_one() -> None:
    arrays = [tg.tensor(a).float().requires_grad_() for a in inputs((3, 5, 4, 6))]
    y = ours(*arrays, relu=True)
    dy = tg.tensor(randn(*y.shape, seed=9)).float()
    fused = tg.autograd.grad(y, arrays, dy, retain_graph=True)
    for a, b in zip(fused, tg.autograd.grad(y, arrays, dy, create_graph=True), strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str, training: bool, tiles: str) -> None:
    x, w, b, _ = inputs((4, 5, 3, 3))
    mean, var = tg.tensor(randn(5)), tg.tensor(randn(5) ** 2 + 0.5)
    moving = [torch.tensor(t.tolist(), dtype=torch.float64) for t in (mean, var)]
    check(
        lambda *t: F.batch_norm(t[0], None if training else mean, None if training else var, *t[1:], training=training),
        lambda *t: torch_batch_norm(t[0], *([None, None] if training else moving), *t[1:], training=training),
        x, w, b, dtype=dtype, terms=36, slack=8,
    )  # fmt: skip


def test_half_images_with_float32_parameters_as_mixed_precision_has_them() -> None:
    x, w, b, _ = inputs((4, 5, 3, 3))
    leaves = [tg.tensor(x).bfloat16(), tg.tensor(w).float(), tg.tensor(b).float()]
    leaves = [t.requires_grad_() for t in leaves]
    mean, var = tg.zeros(5), tg.ones(5)
    y = F.batch_norm(leaves[0], mean, var, *leaves[1:], training=True)
    y.sum().backward()
    assert y.dtype is leaves[0].grad.dtype is tg.bfloat16 and leaves[1].grad.dtype is mean.dtype is tg.float32
    rounded = torch.tensor(leaves[0].tolist(), dtype=torch.float64)
    compare(
        "y",
        y.detach(),
        torch_batch_norm(rounded, None, None, torch.tensor(w), torch.tensor(b), True),
        4 * EPS["bfloat16"],
    )


FAR = [
    pytest.param(1000.0, 0.01, id="mean 1e5 deviations away"),
    pytest.param(-1e4, 1.0, id="large negative mean"),
    pytest.param(0.0, 1e-4, id="variance below eps"),
    pytest.param(0.0, 1e6, id="huge variance"),
]


@pytest.mark.parametrize(("mean", "std"), FAR)
def test_moments_far_from_zero_and_one(mean: float, std: float, tiles: str) -> None:
    x = randn(8, 3, 5, 5, seed=1, mean=mean, std=std).astype(np.float32)
    want = theirs(torch.tensor(x, dtype=torch.float64))
    # Each mean is rounded to float32, which moves y by |mean| eps / std.
    bound = 8 * EPS["float32"] * (2 + np.sqrt(200)) + 2 * EPS["float32"] * abs(mean) / std
    compare("y", ours(tg.tensor(x)), want, bound)


@pytest.mark.parametrize("where", [0, 100], ids=["in the first row", "later"])
def test_an_outlier_costs_no_precision(where: int) -> None:
    """A shift by the first row alone would lose as many digits as there are rows."""
    x = randn(4000, 1, seed=1)
    x[where] = 1e4
    check(ours, theirs, x, terms=4, grads=False)


def test_constant_channels_become_the_bias(tiles: str) -> None:
    x = np.broadcast_to(np.array([1e4, 0.1, -3.0])[None, :, None, None], (4, 3, 5, 5)).copy()
    check(ours, theirs, x.astype(np.float32).astype(np.float64), np.ones(3), randn(3), terms=100, grads=False)


def test_running_statistics_move(tiles: str) -> None:
    for dtype, bound in (("float32", 1e-6), ("float64", 1e-14)):
        x = randn(6, 5, 4, 3, mean=10, std=3)
        mine = [tg.tensor(a).to(getattr(tg, dtype)) for a in (x, randn(5), randn(5) ** 2)]
        yours = [torch.tensor(t.tolist(), dtype=torch.float64) for t in mine]
        for momentum in (0.1, 0.3, 1.0):
            version = mine[1]._version
            F.batch_norm(*mine, training=True, momentum=momentum)
            torch_batch_norm(*yours, training=True, momentum=momentum)
            assert mine[1]._version > version
            compare("running mean", mine[1], yours[1], bound)
            compare("running var", mine[2], yours[2], bound)


def test_no_program_reads_running_statistics_another_one_writes() -> None:
    """Five channels in tiles of four: the second program's spare lanes must keep away from the first one's channels.

    The sanitizer, under which every small launch of a test runs, would say so.
    """
    mean, var, x = tg.zeros(5), tg.ones(5), tg.tensor(randn(6, 5)).float()
    with launch.tiles(norm={"BM": 8, "BC": 4}):
        F.batch_norm(x, mean, var, training=True)
    compare("running mean", mean, torch.tensor(x.tolist()).mean(0) * 0.1, 1e-6)


def test_running_statistics_in_memory_with_gaps() -> None:
    mean, var = transposed(tg.zeros(5)), transposed(tg.ones(5))
    x = tg.tensor(randn(6, 5, mean=10, std=3)).float()
    F.batch_norm(x, mean, var, training=True)
    want = [torch.zeros(5), torch.ones(5)]
    torch_batch_norm(torch.tensor(x.tolist()), *want, training=True)
    compare("running mean", mean, want[0], 1e-6)
    compare("running var", var, want[1], 1e-6)


@pytest.mark.parametrize("relu", [False, True])
def test_evaluation(relu: bool, tiles: str) -> None:
    x, w, b, r = inputs((3, 5, 4, 6))
    mean, var = randn(5, seed=5) * 4, randn(5, seed=6) ** 2 * 3
    mine, yours = (
        [tg.tensor(a).float() for a in (mean, var)],
        [torch.tensor(np.float32(a)).double() for a in (mean, var)],
    )

    def evaluated(x: Any, w: Any, b: Any, r: Any) -> Any:
        y = torch_batch_norm(x, *yours, w, b) + r
        return torch.relu(y) if relu else y

    def ours(x: Any, w: Any, b: Any, r: Any) -> Any:
        y = F.batch_norm(x, *mine, w, b) + r
        return F.relu(y) if relu else y

    check(ours, evaluated, x, w, b, r, terms=72, slack=8, second=True)
    check(ours, evaluated, x, w, b, r, terms=72, slack=8, wrap=transposed)
    check(lambda x: F.batch_norm(x, *mine), lambda x: torch_batch_norm(x, *yours), x, terms=4)
    assert [t.tolist() for t in mine] == [t.tolist() for t in yours]


def test_any_memory_order_and_stride_zero_gradients(tiles: str) -> None:
    x, w, b, r = inputs((3, 5, 4, 6))
    for wrap in (transposed, lambda t: t.contiguous(memory_format=tg.channels_last) if t.ndim == 4 else t):
        f, g = (lambda *t: ours(*t, relu=True)), (lambda *t: theirs(*t, relu=True))
        check(f, g, x, w, b, r, terms=72, slack=8, wrap=wrap)
    check(lambda *t: ours(*t).sum(), lambda *t: theirs(*t).sum(), x, w, b, terms=360, slack=8)
    y = ours(tg.ones(2, 3, 4, 5) * tg.arange(5))
    assert y.is_contiguous(memory_format=tg.channels_last)


def test_only_the_gradients_that_are_wanted() -> None:
    for wanted in ([0], [1], [2], [3], [1, 3]):
        leaves = [tg.tensor(a).float().requires_grad_(k in wanted) for k, a in enumerate(inputs((3, 5, 4)))]
        ours(*leaves).sum().backward()
        assert [t.grad is not None for t in leaves] == [k in wanted for k in range(4)]


def test_eps_is_taken_exactly() -> None:
    check(
        lambda x: ours(x, eps=0.1), lambda x: theirs(x, eps=0.1), randn(9, 3) * 0.01, dtype="float64", terms=9, slack=8
    )
    var = np.full(3, 1e-6)
    mine, yours = (tg.zeros(3, dtype=tg.float64), tg.tensor(var)), (torch.zeros(3).double(), torch.tensor(var))
    f, g = (lambda x: F.batch_norm(x, *mine, eps=0.1)), (lambda x: torch_batch_norm(x, *yours, eps=0.1))
    check(f, g, randn(9, 3), dtype="float64")


def test_nan_stays_in_its_channel(tiles: str) -> None:
    x = randn(4, 5, 3, 3)
    x[1, 2, 0, 0], x[0, 4, 1, 1] = np.nan, np.inf
    check(lambda x: ours(x, relu=True), lambda x: theirs(x, relu=True), x, terms=36, grads=False)


def test_the_same_bits_whatever_the_strides_and_the_order(tiles: str) -> None:
    leaves = [tg.tensor(a).float() for a in inputs((5, 6, 4, 3))]

    def bits(leaves: list) -> list:
        leaves = [t.detach().requires_grad_() for t in leaves]
        y = ours(*leaves, relu=True)
        (y * y).sum().backward()
        return [y.tolist(), *(t.grad.tolist() for t in leaves)]

    expected = bits(leaves)
    assert bits(leaves) == bits([transposed(t) for t in leaves]) == expected
    with interpret.order("reverse"):
        assert bits(leaves) == expected


ERRORS = [
    (
        lambda x: F.batch_norm(x[0, 0], None, None, training=True),
        r"batch_norm: expected .* \[N, C, ...\], got float32\[3\]",
    ),
    (lambda x: F.batch_norm(x.long(), None, None, training=True), "batch_norm: expected a floating-point input"),
    (lambda x: F.batch_norm(x, None, None), "batch_norm: running_mean and running_var must be given"),
    (
        lambda x: F.batch_norm(x, tg.ones(3), tg.ones(2)),
        r"batch_norm: expected running_mean of shape \[2\] .* got \[3\]",
    ),
    (lambda x: F.batch_norm(x, tg.ones(2), tg.ones(2, 1)), "batch_norm: expected running_var"),
    (lambda x: ours(x, tg.ones(3)), r"batch_norm: expected weight of shape \[2\] for float32\[4, 2, 3\]"),
    (lambda x: ours(x, None, tg.ones(3)), r"batch_norm: expected bias of shape \[2\]"),
]


@pytest.mark.parametrize(("f", "message"), ERRORS, ids=[e[1][:45] for e in ERRORS])
def test_errors(f: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        f(tg.ones(4, 2, 3))
    with pytest.raises(ValueError, match="more than 1 value per channel when training, got input float32"):
        ours(tg.ones(1, 5))
