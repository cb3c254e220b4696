"""Printing, against torch's own text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import tritongrad as tg

NUMBERS = [
    0.0, 1.0, -2.5, [1.0, 2.0], [1.5, -2.25, 1000.0], [1.0, 1e4], [1e-5, 1.0], [1.0, 2e8], [0.00001234], [1e8, 1e8 + 8],
    [float("nan"), 1.0, float("inf"), -float("inf")], [float("nan")] * 2, [0.0, -0.0], [123456.0, 7.0], [[1.0], [-3.5]],
    1, -5, [1, 20, -300], [[True], [False]], True, [], [[]], list(range(40)), [[[1.5, 2.0]], [[3.0, 4.0]]],
    [[i * 0.37 + j for j in range(30)] for i in range(3)], [1e-3, 0.5], [1e-4, 0.05], [9.99e-5], [0.1, 100.0, 100.5],
]  # fmt: skip


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    tg.set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


def same(ours: tg.Tensor, theirs: torch.Tensor) -> None:
    """Equal but for the name of the dtype, whose length decides whether it goes to the next line."""
    texts = [re.sub(r",\s+dtype=\w+\.", ", dtype=", repr(t)) for t in (ours, theirs)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("data", NUMBERS, ids=lambda d: str(d)[:25])
def test_numbers(data) -> None:
    same(tg.tensor(data, device="cpu"), torch.tensor(data))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "uint8", "int32", "bool"])
def test_dtypes(dtype: str) -> None:
    for data in ([1, 0, 2], [[0.1, 3.0]], [], 7):
        same(tg.tensor(data, dtype=getattr(tg, dtype), device="cpu"), torch.tensor(data, dtype=getattr(torch, dtype)))


SHAPES = [(1001,), (2, 3000), (30, 40, 2), (7, 200), (1, 1, 1001), (3, 0), (0, 2), (2, 2, 2, 2), (1200, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_summaries(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    same(tg.tensor(values, device="cpu"), torch.tensor(values))
    whole = (values * 100).astype(np.int64)
    same(tg.tensor(whole, device="cpu"), torch.tensor(whole))
    same(tg.tensor(values, device="cpu").permute(*reversed(range(len(shape)))), torch.tensor(values.T))


OPTIONS = [
    {"precision": 2}, {"precision": 0}, {"threshold": 5, "edgeitems": 1}, {"linewidth": 30}, {"sci_mode": True},
    {"sci_mode": False}, {"profile": "short"}, {"profile": "full"}, {"threshold": 3, "edgeitems": 0},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options: dict) -> None:
    tg.set_printoptions(**options)
    torch.set_printoptions(**options)
    for data in ([1.5, 2e5, -3.25], list(range(12)), [[0.5] * 9] * 4, np.ones((40, 30)), [1e-6, 1.0], [1.0, 3.0]):
        if options.get("edgeitems") != 0:
            same(tg.tensor(data, device="cpu"), torch.tensor(data))
    with pytest.raises(ValueError, match="set_printoptions: unknown profile 'wide'"):
        tg.set_printoptions(profile="wide")


def test_notes_about_gradients() -> None:
    same(tg.ones(2, device="cpu", requires_grad=True), torch.ones(2, requires_grad=True))
    wide = torch.ones(16).double().requires_grad_()
    same(tg.ones(16, dtype=tg.float64, device="cpu", requires_grad=True), wide)  # notes on a line of their own
    assert repr(tg.ones(2, device="cpu", requires_grad=True) * 2).startswith("tensor([2., 2.], grad_fn=<")
    parameter = repr(tg.nn.Parameter(tg.ones(2, device="cpu")))
    assert parameter == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert f"{tg.ones(2, device='cpu')}" == "tensor([1., 1.])"
