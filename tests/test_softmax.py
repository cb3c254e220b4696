"""Softmax and log-softmax: any axis, long rows, infinities, huge logits, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed
from tritongrad_kernels import interpret

NAMES = ["softmax", "log_softmax"]
SHAPES = [
    pytest.param((5, 7), -1, id="rows"),
    pytest.param((3, 37), 1, id="rows longer than a tiny tile"),
    pytest.param((7, 5), 0, id="columns"),
    pytest.param((2, 5, 3, 4), 1, id="an inner axis"),
    pytest.param((6,), 0, id="a vector"),
    pytest.param((4, 1), 1, id="rows of one"),
    pytest.param((), 0, id="a number"),
    pytest.param((0, 3), 1, id="no rows"),
    pytest.param((3, 0), 1, id="empty rows"),
    pytest.param((2, 0, 3), 2, id="no rows of many axes"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_shapes(name: str, shape: tuple[int, ...], dim: int, tiles: str) -> None:
    ours, theirs = (lambda x: getattr(tg, name)(x, dim)), (lambda x: getattr(torch, name)(x, dim))
    x = np.asarray(randn(*shape) * 3)
    check(ours, theirs, x, terms=37, second=True)
    check(ours, theirs, x, terms=37, wrap=transposed)


@pytest.mark.parametrize("name", NAMES)
def test_rows_beyond_the_largest_block(name: str) -> None:
    ours, theirs = (lambda x: getattr(x, name)(-1)), (lambda x: getattr(x, name)(-1))
    check(ours, theirs, randn(3, 5000) * 3, terms=5000)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_other_dtypes(name: str, dtype: str) -> None:
    ours, theirs = (lambda x: getattr(tg, name)(x, 1)), (lambda x: getattr(torch, name)(x, 1))
    check(ours, theirs, randn(5, 37) * 3, terms=37, dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
def test_huge_and_infinite_logits(name: str, tiles: str) -> None:
    ours, theirs = (lambda x: getattr(tg, name)(x, 1)), (lambda x: getattr(torch, name)(x, 1))
    x = randn(6, 20)
    x[0] += 1e4
    x[1] -= 3e38
    x[2, :18] = -math.inf  # all but the last tile
    x[3, 2:] = -math.inf  # all but the first
    x[4, 3] = 1e30
    check(ours, theirs, x, terms=20, slack=8)
    x[5] = -math.inf
    x[0, 1], x[1, 2] = math.inf, math.nan
    check(ours, theirs, x, terms=20, grads=False)  # rows of -inf, with inf or NaN: all NaN


@pytest.mark.parametrize("name", NAMES)
def test_a_dtype_to_compute_in(name: str) -> None:
    got = getattr(tg, name)(tg.tensor([1, 2, 3]), 0, dtype=tg.float64)
    want = getattr(torch, name)(torch.tensor([1, 2, 3]), 0, dtype=torch.float64)
    assert got.dtype is tg.float64
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_stride_zero_gradients_and_inputs(name: str) -> None:
    ours, theirs = (lambda x: getattr(tg, name)(x, 1)), (lambda x: getattr(torch, name)(x, 1))
    check(lambda x: ours(x).sum(), lambda x: theirs(x).sum(), randn(5, 7), terms=35)
    check(lambda x: ours(x.expand(5, 7)), lambda x: theirs(x.expand(5, 7)), randn(1, 7), terms=35, second=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_whatever_the_strides_and_the_order(name: str, tiles: str) -> None:
    x = tg.tensor(randn(7, 37).astype(np.float32))

    def bits(x: tg.Tensor) -> list:
        x = x.detach().requires_grad_()
        y = getattr(tg, name)(x, 1)
        (y * y).sum().backward()
        return [y.tolist(), x.grad.tolist()]

    expected = bits(x)
    assert bits(x) == bits(transposed(x)) == bits(x.t().contiguous().t()) == expected
    with interpret.order("reverse"):
        assert bits(x) == expected


@pytest.mark.parametrize("name", NAMES)
def test_errors(name: str) -> None:
    with pytest.raises(RuntimeError, match=rf"{name}: expected a floating-point tensor, got int64\[3\]"):
        getattr(tg, name)(tg.tensor([1, 2, 3]), 0)
    with pytest.raises(IndexError, match="but got 2"):
        getattr(tg, name)(tg.ones(2, 3), 2)
