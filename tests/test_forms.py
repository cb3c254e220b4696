"""The forms of operations that other tests reach by their operators: as function, and as method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import check, randn

FORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "Tensor.mul": lambda m, x, y: x.mul(y),
    "mul": lambda m, x, y: m.mul(x, y),
    "Tensor.pow": lambda m, x, y: x.pow(3),
    "pow": lambda m, x, y: m.pow(x, 3),
    "Tensor.matmul": lambda m, x, y: x.matmul(y.t()),
    "matmul": lambda m, x, y: m.matmul(x, y.t()),
    "as_strided": lambda m, x, y: m.as_strided(x, (2, 3), (4, 1), 1),
    "swapaxes": lambda m, x, y: m.swapaxes(x, 0, 1) * m.swapaxes(y, 0, 1),
    "Tensor.swapaxes": lambda m, x, y: x.swapaxes(0, 1) * y.swapaxes(0, 1),
}


@pytest.mark.parametrize("name", FORMS)
def test_gradients(name: str) -> None:
    form = FORMS[name]
    check(
        lambda x, y: form(tg, x, y) + y.sum() * 0,
        lambda x, y: form(torch, x, y) + y.sum() * 0,
        randn(3, 4, seed=1), randn(3, 4, seed=2), terms=4, second=True,
    )  # fmt: skip


def test_normal_() -> None:
    x = tg.zeros(4000)
    assert x.normal_(3.0, 0.5) is x
    assert abs(x.mean().item() - 3.0) < 0.05 and abs(x.std().item() - 0.5) < 0.05
