"""Matrix products: every rank, edge sizes, dtypes, precision, gradients, split inner extents, bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad_kernels import interpret, launch, matmul as kernel

CASES = [
    pytest.param((3, 5), (5, 4), id="below 16"),
    pytest.param((17, 33), (33, 18), id="ragged over tiny tiles"),
    pytest.param((16, 16), (16, 16), id="exactly a tile"),
    pytest.param((1, 1), (1, 1), id="one"),
    pytest.param((150, 20), (20, 3), id="more than a group of 8 row tiles"),
    pytest.param((2, 100), (100, 2), id="split inner extent"),
    pytest.param((5,), (5,), id="vectors"),
    pytest.param((5,), (5, 3), id="row vector"),
    pytest.param((3, 5), (5,), id="column vector"),
    pytest.param((5,), (2, 5, 3), id="row vector, batch"),
    pytest.param((2, 3, 5), (5,), id="batch, column vector"),
    pytest.param((2, 3, 5), (5, 4), id="batch, matrix"),
    pytest.param((3, 5), (2, 5, 4), id="matrix, batch"),
    pytest.param((2, 3, 5), (2, 5, 4), id="batches"),
    pytest.param((4, 1, 3, 5), (2, 5, 4), id="batches that stretch"),
    pytest.param((1, 3, 5), (2, 5, 4), id="batch of one that stretches"),
    pytest.param((0, 5), (5, 4), id="no rows"),
    pytest.param((3, 0), (0, 4), id="no inner extent"),
    pytest.param((2, 3, 0), (0, 4), id="batch without inner extent"),
    pytest.param((0, 3, 5), (0, 5, 4), id="no batch"),
    pytest.param((0, 3, 5), (5, 4), id="no batch, matrix"),
]


@pytest.mark.parametrize(("a", "b"), CASES)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...], tiles: str) -> None:
    terms = 2 * max(a[-1], *a, *b)
    check(tg.matmul, torch.matmul, randn(*a, seed=1), randn(*b, seed=2), terms=terms, second=True)
    check(tg.matmul, torch.matmul, randn(*a, seed=1), randn(*b, seed=2), terms=terms, wrap=transposed)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str, tiles: str) -> None:
    check(tg.matmul, torch.matmul, randn(2, 17, 40, seed=1), randn(40, 9, seed=2), dtype=dtype, terms=40)


def test_names() -> None:
    a, b, c, v = randn(4, 5, seed=1), randn(5, 3, seed=2), randn(4, 3, seed=3), randn(5, seed=4)
    check(lambda x, y: x @ y, lambda x, y: x @ y, a, b, terms=5)
    check(tg.mm, torch.mm, a, b, terms=5)
    check(tg.mv, torch.mv, a, v, terms=5)
    check(tg.dot, torch.dot, v, v * 2, terms=5)
    check(tg.outer, torch.outer, v, a[0], second=True)
    check(tg.bmm, torch.bmm, randn(3, 4, 5, seed=1), randn(3, 5, 2, seed=2), terms=5)
    options = {"beta": 0.5, "alpha": -2}
    check(lambda *t: tg.addmm(*t, **options), lambda *t: torch.addmm(*t, **options), c, a, b, terms=5)
    check(tg.addmm, torch.addmm, c[0], a, b, terms=5)


@pytest.mark.parametrize("shape", [(4, 5), (5,), (2, 3, 5), (0, 5), (2, 0, 5), (17, 70)], ids=str)
def test_linear(shape: tuple[int, ...], tiles: str) -> None:
    k = shape[-1]
    x, w, b = randn(*shape, seed=1), randn(3, k, seed=2), randn(3, seed=3)
    check(F.linear, torch.nn.functional.linear, x, w, b, terms=max(k, 70), second=True)
    check(F.linear, torch.nn.functional.linear, x, w, b, terms=max(k, 70), wrap=transposed)  # a bias with gaps as well
    check(F.linear, torch.nn.functional.linear, x, w, terms=max(k, 70))


def test_linear_in_half_adds_the_bias_before_rounding(tiles: str) -> None:
    x, w, b = randn(6, 50, seed=1), randn(4, 50, seed=2), randn(4, seed=3)
    for dtype in ("float16", "bfloat16", "float64"):
        check(F.linear, torch.nn.functional.linear, x, w, b, terms=50, dtype=dtype)


def test_linear_of_one_output_and_no_input() -> None:
    check(F.linear, torch.nn.functional.linear, randn(4, 5), randn(5, seed=1), terms=5)
    check(F.linear, torch.nn.functional.linear, np.zeros((2, 3, 0)), np.zeros((4, 0)), randn(4))


def test_stride_zero_gradients(tiles: str) -> None:
    check(lambda a, b: (a @ b).sum(), lambda a, b: (a @ b).sum(), randn(20, 7), randn(7, 5, seed=1), terms=140)
    f, g = F.linear, torch.nn.functional.linear
    check(lambda *t: f(*t).mean(), lambda *t: g(*t).mean(), randn(20, 7), randn(5, 7), randn(5), terms=140)
    check(lambda a, b: a.expand(3, 4, 5) @ b, lambda a, b: a.expand(3, 4, 5) @ b, randn(4, 1), randn(5, 2), terms=60)


def test_integers_are_exact() -> None:
    rng = np.random.default_rng(0)
    for dtype in ("int64", "int32", "int16", "int8", "uint8"):
        a, b = rng.integers(0, 100, (2, 5, 37)).astype(dtype), rng.integers(0, 100, (37, 3)).astype(dtype)
        got = tg.tensor(a) @ tg.tensor(b)
        assert got.dtype.name == dtype and got.tolist() == (torch.tensor(a) @ torch.tensor(b)).tolist()
    big = tg.tensor([[2**40 + 1]])
    assert (big @ tg.tensor([[3]])).item() == 3 * (2**40 + 1)


def test_float32_products_are_ieee_unless_asked_otherwise() -> None:
    assert kernel.precision == "highest"
    x = np.full((4, 4), 1 + 2.0**-20)  # lost with the 10-bit mantissas of tf32
    assert (tg.tensor(x).float() @ tg.eye(4)).tolist() == x.tolist()


def test_nan_and_infinity_propagate_and_masked_lanes_do_not(tiles: str) -> None:
    a, b = randn(20, 5), randn(5, 20, seed=1)
    a[0, 0], b[0, 3] = np.nan, np.inf  # rows and columns past the end read row 0 and column 0
    check(tg.matmul, torch.matmul, a, b, terms=5, grads=False)


def test_the_same_bits_whatever_the_strides_and_the_order(tiles: str) -> None:
    a, b = tg.tensor(randn(19, 70).astype(np.float32)), tg.tensor(randn(70, 5, seed=1).astype(np.float32))
    expected = (a @ b).numpy().tobytes()
    assert (a @ b).numpy().tobytes() == (transposed(a) @ transposed(b)).numpy().tobytes() == expected
    with interpret.order("reverse"):
        assert (a @ b).numpy().tobytes() == expected


def test_a_long_inner_extent_is_split_and_summed_in_order() -> None:
    a, b = tg.ones(2, 100), tg.ones(100, 2)
    with launch.tiles(matmul={"BM": 16, "BN": 16, "BK": 16, "SPLIT": 32}), launch.recording() as log:
        assert (a @ b).tolist() == [[100, 100], [100, 100]]
    assert [(r.kernel, r.grid) for r in log] == [("_matmul", (4,)), ("_sum", (1,))] and log[0].flops == 2 * 2 * 2 * 100


ERRORS = [
    (lambda a, b: a @ b, RuntimeError, r"matmul: the inner extents of float32\[2, 3\] and float32\[4, 5\] differ"),
    (lambda a, b: a @ b.double().t()[:3], RuntimeError, r"matmul: .* same dtype, got float32\[2, 3\] and float64"),
    (lambda a, b: a @ tg.tensor(1.0), RuntimeError, "matmul: both arguments need at least one dimension"),
    (lambda a, b: a @ tg.ones(4), RuntimeError, r"matmul: the inner extents of float32\[2, 3\] and float32\[4\]"),
    (lambda a, b: a.expand(2, 2, 3) @ tg.ones(3, 3, 1), RuntimeError, "matmul: the batch dimensions of .* do not"),
    (lambda a, b: tg.mm(tg.ones(1, 2, 3), b), RuntimeError, r"mm: expected two matrices, got shapes \[1, 2, 3\]"),
    (lambda a, b: tg.mv(a, b), RuntimeError, "mv: expected a matrix and a vector"),
    (lambda a, b: tg.dot(a, b), RuntimeError, "dot: expected two vectors"),
    (lambda a, b: tg.bmm(a, b), RuntimeError, r"bmm: expected \[B, M, K\]"),
    (lambda a, b: F.linear(a, b), RuntimeError, r"linear: an input .*\[2, 3\] does not go with a weight .*\[4, 5\]"),
    (lambda a, b: F.linear(a, b[:, :3], tg.ones(3)), RuntimeError, r"linear: expected a bias of shape \[4\]"),
    (lambda a, b: F.linear(a, b[:, :3].half()), RuntimeError, "linear: .* float16"),
    (lambda a, b: a @ 3, TypeError, "matmul: expected tensors, got Tensor and int"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(tg.ones(2, 3), tg.ones(4, 5))
