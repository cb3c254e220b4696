"""Losses in all their forms: indices, probabilities, weights, smoothing, ignored targets, shapes, extremes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad_kernels import interpret, launch

torch_f = torch.nn.functional
CLASSES = np.array([3, 0, 36, 17, 5])
PROBABILITIES = np.exp(randn(5, 37, seed=5)) / np.exp(randn(5, 37, seed=5)).sum(1, keepdims=True)
WEIGHT = np.abs(randn(37, seed=6)) + 0.1
REDUCTIONS = ["mean", "sum", "none"]


def compared(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None, *, f: str = "cross_entropy", **o: Any
) -> None:
    """Against torch, with gradients for the logits alone."""
    terms, dtype = x.size, o.pop("dtype", "float32")
    extra = {k: o.pop(k) for k in ("second", "wrap", "slack", "grads") if k in o}
    wide = {k: torch.tensor(np.asarray(v, np.float64)) for k, v in (("weight", weight),) if v is not None}
    narrow = {k: tg.tensor(v.tolist(), dtype=getattr(tg, dtype)) for k, v in wide.items()}
    wide = {k: torch.tensor(v.tolist(), dtype=torch.float64) for k, v in narrow.items()}
    mine = tg.tensor(target) if target.dtype.kind != "f" else tg.tensor(target).to(getattr(tg, dtype))
    yours = torch.tensor(mine.tolist(), dtype=torch.float64 if target.dtype.kind == "f" else torch.int64)
    ours, theirs = getattr(F, f), getattr(torch_f, f)
    check(lambda x: ours(x, mine, **narrow, **o), lambda x: theirs(x, yours.reshape(target.shape), **wide, **o), x,
          terms=terms, dtype=dtype, **extra)  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_cross_entropy(reduction: str, smoothing: float, weight: np.ndarray | None, tiles: str) -> None:
    options = {"reduction": reduction, "label_smoothing": smoothing}
    second = tiles == "tiles"
    compared(randn(5, 37) * 3, CLASSES, weight, second=second, **options)
    compared(randn(5, 37) * 3, np.array([3, -100, 36, -100, 5]), weight, **options)
    compared(randn(5, 37) * 3, np.array([3, 2, 2, 17, 5]), weight, ignore_index=2, second=second, **options)
    compared(randn(5, 37) * 3, PROBABILITIES, weight, second=second, **options)


SHAPED = [
    pytest.param((37,), (), id="no batch"),
    pytest.param((4, 37), (4,), id="batch"),
    pytest.param((2, 37, 3), (2, 3), id="sequence"),
    pytest.param((2, 5, 3, 4), (2, 3, 4), id="image"),
    pytest.param((1, 1), (1,), id="one class"),
    pytest.param((0, 5), (0,), id="no rows"),
    pytest.param((2, 5, 0), (2, 0), id="no pixels"),
]


@pytest.mark.parametrize("dtype", ["int64", "float64"])
@pytest.mark.parametrize(("shape", "outer"), SHAPED)
def test_shapes(shape: tuple[int, ...], outer: tuple[int, ...], dtype: str, tiles: str) -> None:
    axis = 0 if len(shape) == 1 else 1
    if dtype == "int64":
        target = np.random.default_rng(0).integers(0, shape[axis], outer)
    else:
        target = np.abs(randn(*shape, seed=2))
    for reduction in REDUCTIONS:
        compared(randn(*shape), np.asarray(target), reduction=reduction)
    compared(randn(*shape), np.asarray(target), wrap=transposed, label_smoothing=0.2)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str, tiles: str) -> None:
    for reduction in REDUCTIONS:
        compared(randn(5, 37) * 3, CLASSES, WEIGHT, reduction=reduction, dtype=dtype, label_smoothing=0.1)
        compared(randn(5, 37) * 3, PROBABILITIES, reduction=reduction, dtype=dtype, label_smoothing=0.1)


def test_the_mean_of_halves_does_not_overflow() -> None:
    x = np.zeros((1000, 2))
    x[:, 0] = 100.0  # the losses sum to 100,000, above float16's largest
    compared(x, np.ones(1000, np.int64), dtype="float16")
    compared(x, np.ones(1000, np.int64), np.array([1.0, 2.0]), dtype="float16")
    compared(np.zeros((70000, 2)), np.zeros(70000, np.int64), dtype="float16")  # nor does the number of rows


def test_integer_targets_of_other_dtypes() -> None:
    x = tg.tensor(randn(5, 37))
    want = F.cross_entropy(x, tg.tensor(CLASSES)).item()
    for dtype in (tg.int32, tg.int16, tg.int8, tg.uint8):
        assert F.cross_entropy(x, tg.tensor(CLASSES).to(dtype)).item() == want


def test_everything_ignored() -> None:
    x = tg.tensor(randn(3, 4).astype(np.float32), requires_grad=True)
    target = tg.full((3,), -100)
    assert math.isnan(F.cross_entropy(x, target).item()) and F.cross_entropy(x, target, reduction="sum").item() == 0
    assert math.isnan(F.cross_entropy(x, target, tg.ones(4)).item()) and math.isnan(F.nll_loss(x, target).item())
    F.cross_entropy(x, target, reduction="sum").backward()
    assert x.grad.tolist() == np.zeros((3, 4)).tolist()


def test_an_ignored_row_gets_exact_zeros_whatever_its_logits() -> None:
    x = tg.tensor([[math.nan, math.inf, 0.0], [1.0, 2.0, 3.0]], requires_grad=True)
    loss = F.cross_entropy(x, tg.tensor([-100, 1]))
    loss.backward()
    assert abs(loss.item() - torch_f.cross_entropy(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1])).item()) < 1e-6
    assert x.grad[0].tolist() == [0, 0, 0]


def test_huge_and_masked_logits(tiles: str) -> None:
    x = randn(6, 37)
    x[0] += 1e4
    x[1, 3] = 1e30
    x[2, 4:] = -math.inf
    x[3, :36] = -math.inf
    compared(x, np.array([3, 3, 0, 36, 1, 2]), reduction="none", second=True, slack=8)
    x[4, 1], x[5, 0] = -math.inf, math.nan
    compared(x, np.array([3, 3, 0, 36, 1, 2]), reduction="none", grads=False)  # a target at -inf costs inf


def test_rows_beyond_the_largest_block() -> None:
    compared(randn(3, 5000), np.array([0, 4999, 2500]), label_smoothing=0.1)
    compared(randn(3, 5000), np.abs(randn(3, 5000, seed=1)))


def test_gradients_for_probability_targets() -> None:
    for options in ({}, {"reduction": "sum", "label_smoothing": 0.2}, {"reduction": "none"}):
        f, g = (lambda *t, o=options: F.cross_entropy(*t, **o)), (lambda *t, o=options: torch_f.cross_entropy(*t, **o))
        check(f, g, randn(5, 7), PROBABILITIES[:, :7], terms=35, second=True)
        check(f, g, randn(2, 7, 3), np.abs(randn(2, 7, 3, seed=1)), terms=42)


def test_the_composed_gradient_is_the_fused_one() -> None:
    x = tg.tensor(randn(5, 37).astype(np.float32), requires_grad=True)
    weight, ignored = tg.tensor(WEIGHT).float(), np.array([3, -100, 36, 17, 5])
    for target in (tg.tensor(ignored), tg.tensor(PROBABILITIES).float()):
        loss = F.cross_entropy(x, target, weight, label_smoothing=0.1)
        (fused,) = tg.autograd.grad(loss, x, retain_graph=True)
        (composed,) = tg.autograd.grad(loss, x, create_graph=True)
        np.testing.assert_allclose(fused.numpy(), composed.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_the_logits_are_not_written_to() -> None:
    x = tg.tensor(randn(5, 37).astype(np.float32), requires_grad=True)
    before = x.tolist()
    F.cross_entropy(x, tg.tensor(CLASSES)).backward()
    assert x.tolist() == before and x._version == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll(reduction: str) -> None:
    x = np.log(PROBABILITIES)
    for weight in (None, WEIGHT):
        compared(x, CLASSES, weight, f="nll_loss", reduction=reduction, second=True)
        compared(x, np.array([3, -100, 36, -100, 5]), weight, f="nll_loss", reduction=reduction)
        compared(x, np.array([3, 2, 2, 17, 5]), weight, f="nll_loss", reduction=reduction, ignore_index=2)
    compared(x, CLASSES, f="nll_loss", reduction=reduction, wrap=transposed)
    x[0, 5] = -math.inf  # not the target
    compared(x, CLASSES, f="nll_loss", reduction=reduction)


def test_nll_of_halves_does_not_overflow() -> None:
    compared(np.full((1000, 2), -100.0), np.ones(1000, np.int64), f="nll_loss", dtype="float16")


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_mse(reduction: str) -> None:
    f, g = (lambda *t: F.mse_loss(*t, reduction=reduction)), (lambda *t: torch_f.mse_loss(*t, reduction=reduction))
    check(f, g, randn(4, 5, seed=1), randn(4, 5, seed=2), terms=20, second=True)
    for dtype in ("float64", "float16", "bfloat16"):
        check(f, g, randn(4, 5, seed=1), randn(4, 5, seed=2), terms=20, dtype=dtype)
    check(f, g, np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.filterwarnings("ignore:.*target size")
def test_mse_broadcasts() -> None:
    want = torch_f.mse_loss(torch.arange(6.0).reshape(2, 3), torch.ones(2, 3)).item()
    assert F.mse_loss(tg.arange(6.0).reshape(2, 3), tg.ones(3)).item() == pytest.approx(want)


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_the_same_bits_whatever_the_strides_and_the_order(kind: str, tiles: str) -> None:
    x = tg.tensor(randn(5, 37).astype(np.float32))
    target = tg.tensor(CLASSES) if kind == "classes" else tg.tensor(PROBABILITIES).float()

    def bits(x: tg.Tensor, target: tg.Tensor) -> list:
        x = x.detach().requires_grad_()
        y = F.cross_entropy(x, target, label_smoothing=0.1)
        y.backward()
        return [y.item(), x.grad.tolist()]

    expected = bits(x, target)
    assert bits(x, target) == bits(transposed(x), transposed(target)) == expected
    with interpret.order("reverse"):
        assert bits(x, target) == expected


@pytest.mark.parametrize("bad", [-1, 4, 2**40, -101])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_a_class_out_of_range(name: str, bad: int, tiles: str) -> None:
    x, target = tg.ones(40, 4), [1] * 40
    target[37] = bad
    with pytest.raises(
        IndexError, match=f"{name}: a target class is out of range: expected 0 .. 3, or ignore_index -100"
    ):
        getattr(F, name)(x, tg.tensor(target))
    getattr(F, name)(x, tg.tensor(target), ignore_index=bad)
    getattr(F, name)(x, tg.tensor([1] * 40))  # nothing is left over from before


ERRORS = [
    (
        lambda x, t: F.cross_entropy(x, t[:2]),
        r"cross_entropy: expected a target of shape \[3\], got input float32\[3, 4\]",
    ),
    (lambda x, t: F.cross_entropy(x, t.float()), r"cross_entropy: expected a target of shape \[3, 4\]"),
    (lambda x, t: F.cross_entropy(x.long(), t), "cross_entropy: expected floating-point logits"),
    (lambda x, t: F.cross_entropy(tg.tensor(1.0), t), "cross_entropy: expected floating-point logits"),
    (
        lambda x, t: F.cross_entropy(x, t, tg.ones(3)),
        r"cross_entropy: expected a weight float32\[4\], got float32\[3\]",
    ),
    (lambda x, t: F.cross_entropy(x, t, tg.ones(4).double()), "cross_entropy: expected a weight .* got float64"),
    (lambda x, t: F.cross_entropy(x, t, label_smoothing=1.5), "cross_entropy: label_smoothing must be .* got 1.5"),
    (lambda x, t: F.nll_loss(x, t[:2]), r"nll_loss: expected input .* and target .*, got \[3, 4\] and \[2\]"),
    (lambda x, t: F.nll_loss(x, t.float()), "nll_loss: .* integer.* float32"),
    (
        lambda x, t: F.mse_loss(x, tg.ones(5)),
        r"mse_loss: input float32\[3, 4\] and target float32\[5\] do not broadcast",
    ),
]


@pytest.mark.parametrize(("f", "message"), ERRORS, ids=[e[1][:45] for e in ERRORS])
def test_errors(f: Any, message: str) -> None:
    x, t = tg.ones(3, 4), tg.tensor([0, 1, 2])
    with pytest.raises(RuntimeError, match=message):
        f(x, t)
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(ValueError, match=f"{loss.__name__}: reduction must be 'none', 'mean' or 'sum', got 'max'"):
            loss(x, t, reduction="max")


def test_a_mean_is_two_launches_and_one_back(tiles: str) -> None:
    x = tg.tensor(randn(9, 37).astype(np.float32), requires_grad=True)
    with launch.recording() as log:
        loss = F.cross_entropy(x, tg.tensor([3, -100, 36, 17, 5, 0, 1, 2, 9]))
    forward = [entry.kernel for entry in log]
    with launch.recording() as log:
        loss.backward()
    backward = [entry.kernel for entry in log]
    means = 1 if tiles == "tiles" else 2  # three programs' sums, and theirs
    assert forward == ["_cross_entropy", *["_mean_of_rows"] * means]
    assert backward[:2] == [
        "_map1",
        "_cross_entropy_grad",
    ]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_class_that_does_not_exist_is_refused(reduction: str, tiles: str) -> None:
    for wrong in (37, -1, -99):
        with pytest.raises(IndexError, match=r"out of range: expected 0 \.\. 36, or ignore_index -100"):
            F.cross_entropy(tg.zeros(9, 37), tg.tensor([0] * 8 + [wrong]), tg.ones(37), reduction=reduction)
