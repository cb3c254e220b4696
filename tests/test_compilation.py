"""compile: what scripts do with torch's."""

from __future__ import annotations

import pytest

import tritongrad as tg


def test_functions_and_modules_come_back() -> None:
    model = tg.nn.Linear(3, 2)
    assert tg.compile(model, mode="max-autotune", fullgraph=True) is model

    @tg.compile
    def double(x: tg.Tensor) -> tg.Tensor:
        return x * 2

    @tg.compile(dynamic=True)
    def triple(x: tg.Tensor) -> tg.Tensor:
        return x * 3

    assert double(tg.ones(2)).tolist() == [2.0, 2.0] and triple(tg.ones(2)).tolist() == [3.0, 3.0]
    with pytest.raises(TypeError, match="expected a function or a module, got int"):
        tg.compile(3)
