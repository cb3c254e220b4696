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


def test_compilers_decorators_change_nothing() -> None:
    from tritongrad import compiler

    def double(x: int) -> int:
        return 2 * x

    assert compiler.disable(double) is double and compiler.disable(recursive=False)(double) is double
    assert compiler.allow_in_graph(double) is double and compiler.assume_constant_result(double) is double
    assert compiler.compile(double) is double and compiler.list_backends() == []
    assert not (compiler.is_compiling() or compiler.is_dynamo_compiling() or compiler.is_exporting())
    compiler.reset()
    compiler.cudagraph_mark_step_begin()
