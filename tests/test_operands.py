"""How operands meet: promotion over every pair of dtypes, numbers, and results written into `out`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad_kernels import dtypes, launch, memory

KINDS = [d.name for d in dtypes.ALL]
NUMBERS = [True, 3, 2.5]
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y, "div": lambda x, y: x / y, "lt": lambda x, y: x < y, "mul": lambda x, y: x * y,
}  # fmt: skip


def forms(kind: str) -> list[tuple[Any, Any]]:
    """A tensor of one axis and one without axes, ours and torch's."""
    return [(tg.ones(shape).to(getattr(tg, kind)), torch.ones(shape).to(getattr(torch, kind))) for shape in ((2,), ())]


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("first", KINDS)
def test_every_pair_of_dtypes(first: str) -> None:
    for second in KINDS:
        for x, a in forms(first):
            for y, b in forms(second):
                assert tg.result_type(x, y).name == name_of(torch.result_type(a, b)), (
                    f"{first} {second} {x.ndim} {y.ndim}"
                )
        one, other = getattr(tg, first), getattr(tg, second)
        assert tg.promote_types(one, other).name == name_of(
            torch.promote_types(getattr(torch, first), getattr(torch, second))
        )
        assert tg.can_cast(one, other) == torch.can_cast(getattr(torch, first), getattr(torch, second))


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_weak(kind: str) -> None:
    for x, a in forms(kind):
        for number in NUMBERS:
            assert tg.result_type(x, number).name == name_of(torch.result_type(a, number))
            for name, f in OPERATIONS.items():
                for got, want in ((f(x, number), f(a, number)), (f(number, x), f(number, a))):
                    assert got.dtype.name == name_of(want.dtype) and got.tolist() == want.tolist(), (
                        f"{name} {kind} {number}"
                    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_have_the_promoted_dtype(name: str) -> None:
    f = OPERATIONS[name]
    for first, second in (
        ("int8", "uint8"),
        ("bfloat16", "float16"),
        ("int64", "float16"),
        ("bool", "uint8"),
        ("float64", "int32"),
    ):
        for x, a in forms(first):
            for y, b in forms(second):
                got, want = f(x, y), f(a, b)
                assert got.dtype.name == name_of(want.dtype) and got.tolist() == want.tolist()


def test_the_default_dtype_is_what_floats_give_integers() -> None:
    tg.set_default_dtype(tg.float64)
    try:
        assert (tg.tensor([1]) + 0.5).dtype is tg.float64 and tg.exp(tg.tensor([1])).dtype is tg.float64
    finally:
        tg.set_default_dtype(tg.float32)


def test_numbers_beyond_the_dtype_wrap_around() -> None:
    x, a = tg.tensor([255, 3], dtype=tg.uint8), torch.tensor([255, 3], dtype=torch.uint8)
    for f in (lambda v: v + 300, lambda v: v * -1, lambda v: v - 1000):
        assert f(x).tolist() == f(a).tolist()


OUT = {
    "add": 2, "sub": 2, "mul": 2, "div": 2, "pow": 2, "remainder": 2, "fmod": 2, "maximum": 2, "minimum": 2, "atan2": 2,
    "eq": 2, "lt": 2, "logical_and": 2, "copysign": 2, "hypot": 2, "xlogy": 2, "logaddexp": 2, "floor_divide": 2,
    "exp": 1, "log": 1, "sqrt": 1, "abs": 1, "neg": 1, "floor": 1, "round": 1, "sigmoid": 1, "sign": 1, "square": 1,
    "isposinf": 1, "signbit": 1, "reciprocal": 1, "lgamma": 1, "logical_not": 1, "nan_to_num": 1, "logit": 1, "sinc": 1,
    "frac": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", OUT)
def test_results_are_written_into_out(name: str) -> None:
    arrays = [np.array([[0.25, 0.5, 0.75]]), np.array([[2.0], [3.0]])][: OUT[name]]
    ours, theirs = [tg.tensor(a) for a in arrays], [torch.tensor(a) for a in arrays]
    want = getattr(torch, name)(*theirs)
    out = tg.zeros(*want.shape, dtype=tg.float64).t().contiguous().t()
    assert getattr(tg, name)(*ours, out=out) is out and out._version == 1
    np.testing.assert_allclose(out.numpy(), want.numpy(), rtol=1e-14)
    fresh = tg.empty(0)
    assert (
        getattr(tg, name)(*ours, out=fresh) is fresh and fresh.shape == tuple(want.shape) and fresh.dtype is tg.float32
    )


def test_out_of_choices_and_bounds() -> None:
    x = tg.tensor([1.0, -2.0])
    for f in (
        lambda o: tg.clamp(x, 0.0, out=o), lambda o: tg.clamp_max(x, 0.0, out=o),
        lambda o: tg.where(x > 0, x, 0.0, out=o),
        lambda o: tg.addcmul(x, x, x, out=o), lambda o: tg.lerp(x, x, 0.5, out=o), lambda o: tg.addcdiv(x, x, x, out=o),
    ):  # fmt: skip
        out = tg.zeros(2)
        assert f(out) is out and out.tolist() == f(None).tolist()


def test_what_out_refuses() -> None:
    x = tg.ones(2)
    with pytest.raises(RuntimeError, match="exp: result type float32 can't be cast to the desired output type int64"):
        tg.exp(x, out=tg.zeros(2, dtype=tg.int64))
    with pytest.raises(RuntimeError, match=r"exp: the result has shape \[2\], but out is \[3\]"):
        tg.exp(x, out=tg.zeros(3))
    for a, out in ((tg.ones(2, requires_grad=True), tg.zeros(2)), (x, tg.zeros(2, requires_grad=True))):
        with pytest.raises(RuntimeError, match=r"exp\(\): functions with out=... arguments don't support automatic"):
            tg.exp(a, out=out)
    with tg.no_grad():
        assert tg.exp(tg.zeros(2, requires_grad=True), out=tg.zeros(2)).tolist() == [1.0, 1.0]


def test_what_is_no_operand() -> None:
    x = tg.ones(2)
    with pytest.raises(TypeError, match="mul: expected tensors or numbers, got str"):
        tg.mul(x, "a")
    with pytest.raises(TypeError, match="mul: expected tensors or numbers, got complex"):
        tg.mul(x, 1j)
    with pytest.raises(TypeError, match="pow: expected a tensor, got int and float"):
        tg.pow(2, 3.0)


def test_recording_an_operation_takes_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "around", None)  # the sanitizer, which looks at every launch of the tests
    x, w = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True)
    calls: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    with memory.dry_run():
        x * w  # plans are made once
        sys.setprofile(note)
        try:
            x * w
        finally:
            sys.setprofile(None)
    assert len(calls) <= 45, calls
