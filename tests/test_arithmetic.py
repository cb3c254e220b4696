"""Arithmetic and rounding: values, gradients, integers, bools, edges and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn, transposed
from tests.properties import given, settings, st

X = np.concatenate([randn(30, seed=1) * 2, [0.5, -0.5, 1.0, -1.0, 3.0, -8.0, 0.1, 0.0]])
Y = np.where(np.abs(randn(38, seed=2)) < 0.3, 0.7, randn(38, seed=2))

UNARY = [
    "abs",
    "ceil",
    "deg2rad",
    "floor",
    "neg",
    "positive",
    "rad2deg",
    "reciprocal",
    "round",
    "sign",
    "square",
    "trunc",
]


@pytest.mark.parametrize("name", [*UNARY, "frac", "nan_to_num"])
def test_unary(name: str, tiles: str) -> None:
    x = X[:-1] if name == "reciprocal" else X
    theirs = getattr(torch, name) if name != "abs" else lambda x: torch.where(x < 0, -x, x) * (x != 0)  # no lazy zeros
    check(getattr(tg, name), theirs, x, second=True)
    for dtype in ("float64", "bfloat16"):
        check(getattr(tg, name), getattr(torch, name), x, dtype=dtype)


def test_signs_of_zero_and_halves_are_torchs() -> None:
    x = torch.tensor([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 8388609.0, 4503599627370497.0, -0.3, 1e-40])
    x = torch.cat([x, torch.tensor([math.inf, -math.inf, math.nan, -1e30])])
    for name in ("neg", "ceil", "floor", "trunc", "round", "frac", "abs", "sign", "reciprocal", "positive"):
        for kind in (torch.float32, torch.float64):
            got, want = (
                getattr(tg, name)(tg.tensor(x.to(kind).numpy())).numpy(),
                getattr(torch, name)(x.to(kind)).numpy(),
            )
            np.testing.assert_array_equal(got, want, name)
            np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]), name)


@pytest.mark.parametrize("decimals", [-2, -1, 1, 2, 3])
def test_rounding_to_decimals(decimals: int) -> None:
    x = np.array([0.125, 0.375, 2.345, -12.345, 149.9, 150.0, 250.0, -0.05, 0.0])
    for kind in ("float32", "float64"):
        want = torch.round(torch.tensor(x.astype(kind)), decimals=decimals)
        np.testing.assert_allclose(tg.tensor(x.astype(kind)).round(decimals=decimals).numpy(), want.numpy(), rtol=2e-7)
    check(lambda v: v.round(decimals=decimals), lambda v: torch.round(v, decimals=decimals), X * 10)


def test_nan_to_num_replaces_what_it_is_told() -> None:
    x = [math.nan, math.inf, -math.inf, 1.5]
    for options in ({}, {"nan": 2.0}, {"nan": 1.0, "posinf": 7.0, "neginf": -9.0}, {"posinf": 3}):
        for kind in ("float64", "float32", "float16", "bfloat16"):
            got = tg.nan_to_num(tg.tensor(x, dtype=getattr(tg, kind)), **options)
            assert got.tolist() == torch.nan_to_num(torch.tensor(x, dtype=getattr(torch, kind)), **options).tolist()
        if "neginf" in options:  # the largest numbers of two dtypes differ
            check(
                lambda v: tg.nan_to_num(v, 1.0, 7.0, -9.0), lambda v: torch.nan_to_num(v, 1.0, 7.0, -9.0), np.array(x)
            )
    assert tg.nan_to_num(tg.tensor([3, 4])).tolist() == [3, 4]


BINARY: dict[str, tuple[Callable, Callable]] = {
    name: (getattr(tg, name), getattr(torch, name))
    for name in ("subtract", "multiply", "divide", "true_divide", "rsub", "fmod", "copysign", "hypot")
} | {
    "rsub_alpha": (lambda x, y: tg.rsub(x, y, alpha=2), lambda x, y: torch.rsub(x, y, alpha=2)),
    "sub_alpha": (lambda x, y: x.sub(y, alpha=-1.5), lambda x, y: x.sub(y, alpha=-1.5)),
    "lerp": (lambda x, y: tg.lerp(x, y, 0.3), lambda x, y: torch.lerp(x, y, 0.3)),
    "lerp_far": (lambda x, y: tg.lerp(x, y, 1.7), lambda x, y: torch.lerp(x, y, 1.7)),
    "div_trunc": (
        lambda x, y: x * tg.div(x, y, rounding_mode="trunc"), lambda x, y: x * torch.div(x, y, rounding_mode="trunc"),
    ),
    "div_floor": (
        lambda x, y: x * tg.div(x, y, rounding_mode="floor"), lambda x, y: x * torch.div(x, y, rounding_mode="floor"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    x, y = X[:36].reshape(4, 9), Y[:36].reshape(4, 9)
    check(*BINARY[name], x, y, second=True, slack=16)
    check(*BINARY[name], x, y[:1], wrap=transposed, terms=4)
    check(*BINARY[name], x, y, dtype="float64")
    if name not in ("fmod", "div_trunc", "div_floor"):  # quotients near an integer are a matter of rounding
        check(*BINARY[name], x, y, dtype="float16")


def test_three_operands() -> None:
    a, b, c = randn(4, 9, seed=1), randn(9, seed=2), np.abs(randn(4, 1, seed=3)) + 0.5
    for value in (1, -2.5):
        for name in ("addcmul", "addcdiv"):
            ours = lambda x, y, z, name=name, value=value: getattr(tg, name)(x, y, z, value=value)  # noqa: E731
            theirs = lambda x, y, z, name=name, value=value: getattr(torch, name)(x, y, z, value=value)  # noqa: E731
            check(ours, theirs, a, b, c, second=True, terms=9, slack=16)
            check(ours, theirs, a, b, c, dtype="bfloat16", terms=9)
    check(tg.lerp, torch.lerp, a, b, c, second=True, terms=9, slack=16)
    check(tg.lerp, torch.lerp, a, b, np.array(0.25), dtype="float64", terms=36)


def test_lerp_ends_where_it_should() -> None:
    a, b = tg.tensor([1.0, 1e8, -3.3]), tg.tensor([1e-8, 1.1, 7.7])
    assert tg.lerp(a, b, 0.0).tolist() == a.tolist() and tg.lerp(a, b, 1.0).tolist() == b.tolist()


def test_fmod_copysign_and_hypot_at_the_edges() -> None:
    edge = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 100.0, 1e-8, 3e38]
    a, b = (v.reshape(-1) for v in np.meshgrid(edge, edge))
    for name in ("fmod", "copysign", "hypot", "floor_divide", "remainder"):
        got, want = (
            getattr(tg, name)(tg.tensor(a), tg.tensor(b)).numpy(),
            getattr(torch, name)(torch.tensor(a), torch.tensor(b)),
        )
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-15, err_msg=name)
        number = ~np.isnan(got)
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want.numpy()[number]), name)
    assert tg.copysign(tg.tensor([1, -2]), -0.0).tolist() == [-1.0, -2.0]
    check(lambda x: tg.copysign(x, -1.0), lambda x: torch.copysign(x, -1.0), X)
    check(tg.hypot, torch.hypot, np.array([3e19, 1e-30]), np.array([4e19, 1e-30]))


INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_torchs(dtype: str) -> None:
    with np.errstate(over="ignore"):
        a = np.array([7, -7, 1, -1, 2, -2, 0, 100, -100, 3, 48, 0]).astype(dtype)
        b = np.array([2, 2, -3, 3, 7, -7, 5, -9, 11, 1, 36, 1]).astype(dtype)
    for f in (
        lambda t, x, y: t.fmod(x, y), lambda t, x, y: t.fmod(x, 3), lambda t, x, y: t.gcd(x, y),
        lambda t, x, y: t.lcm(x, y), lambda t, x, y: t.add(x, y, alpha=3), lambda t, x, y: t.sub(x, y, alpha=2),
        lambda t, x, y: t.addcmul(x, x, y, value=2), lambda t, x, y: t.div(x, y, rounding_mode="trunc"),
        lambda t, x, y: t.sign(x), lambda t, x, y: t.neg(x), lambda t, x, y: t.abs(x), lambda t, x, y: t.round(x),
        lambda t, x, y: t.ceil(x), lambda t, x, y: t.trunc(x), lambda t, x, y: t.reciprocal(y),
        lambda t, x, y: t.copysign(x, y), lambda t, x, y: t.deg2rad(x), lambda t, x, y: x + 300, lambda t, x, y: x * -1,
        lambda t, x, y: 2.5 - x, lambda t, x, y: x / 7, lambda t, x, y: t.rsub(x, 1), lambda t, x, y: +x,
        lambda t, x, y: t.addcmul(x, x, y, value=0.5),
    ):  # fmt: skip
        got, want = f(tg, tg.tensor(a), tg.tensor(b)), f(torch, torch.tensor(a), torch.tensor(b))
        assert got.dtype.name == str(want.dtype).removeprefix("torch.")
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=3e-7)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)), min_size=1, max_size=8))
def test_large_integers(pairs: list[tuple[int, int]]) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    assert tg.gcd(tg.tensor(a), tg.tensor(b)).tolist() == [math.gcd(*p) for p in pairs]
    nonzero = [v or 1 for v in b]
    assert (tg.tensor(a) // tg.tensor(nonzero)).tolist() == [p // q for p, q in zip(a, nonzero, strict=True)]
    assert (tg.tensor(a) % tg.tensor(nonzero)).tolist() == [p % q for p, q in zip(a, nonzero, strict=True)]
    assert (
        tg.fmod(tg.tensor(a), tg.tensor(nonzero)).tolist()
        == torch.fmod(torch.tensor(a), torch.tensor(nonzero)).tolist()
    )


def test_bools() -> None:
    x, y = tg.tensor([True, False]), tg.tensor([True, True])
    assert tg.add(x, y, alpha=False).tolist() == [True, False] and tg.add(x, y, alpha=2).tolist() == [True, True]
    assert tg.sign(x).tolist() == [True, False] and tg.square(x).dtype is tg.int64
    refused: list[Callable[[], Any]] = [lambda: x - y, lambda: x - 1, lambda: 1 - x, lambda: tg.ones(2) - x,
                                        lambda: tg.ones(2) - True, lambda: tg.rsub(x, 1), lambda: -x]  # fmt: skip
    for f in refused:
        with pytest.raises(RuntimeError, match=r"(sub|neg): .* bool"):
            f()
    with pytest.raises(RuntimeError, match="positive: not defined for bool"):
        tg.positive(x)
    with pytest.raises(RuntimeError, match="positive: not defined for bool"):
        _ = +x
    for name in ("abs", "floor", "ceil", "trunc", "round", "frac"):
        with pytest.raises(NotImplementedError, match=f"{name}: not implemented for bool"):
            getattr(tg, name)(x)
    for name in ("floor_divide", "remainder", "fmod", "gcd"):
        with pytest.raises(NotImplementedError, match=f"{name}: not implemented for bool"):
            getattr(tg, name)(x, y)


def test_what_is_refused() -> None:
    i, f = tg.tensor([1, 2]), tg.tensor([1.0, 2.0])
    for call, kind, message in (
        (lambda: tg.add(i, i, alpha=0.5), RuntimeError, "add: for integral tensors alpha must not be a floating point"),
        (lambda: tg.sub(f, f, alpha=True), RuntimeError, "sub: a bool alpha is only for bool results"),
        (lambda: tg.frac(i), NotImplementedError, "frac: not implemented for int64"),
        (lambda: tg.round(i, decimals=1), NotImplementedError, "round: not implemented for int64"),
        (lambda: tg.hypot(i, i), NotImplementedError, "hypot: not implemented for int64"),
        (lambda: tg.gcd(f, f), NotImplementedError, "gcd: not implemented for float32"),
        (lambda: tg.lcm(f, f), NotImplementedError, "lcm: not implemented for float32"),
        (lambda: tg.lerp(i, i, 0.5), NotImplementedError, "lerp: not implemented for int64"),
        (lambda: tg.lerp(f, i, 0.5), RuntimeError, "lerp: expected dtype float32 for `end` but got int64"),
        (lambda: tg.lerp(f, f, i), RuntimeError, "lerp: expected dtype float32 for `weight` but got int64"),
        (lambda: tg.addcdiv(f, i, i), RuntimeError, "addcdiv: integer division is not supported, got int64 and int64"),
        (lambda: tg.add(1, 2), TypeError, "add: expected a tensor, got int and int"),
        (lambda: tg.div(f, f, rounding_mode="up"), RuntimeError, "div: rounding_mode must be .* got 'up'"),
        (lambda: tg.fmod(2.0, f), TypeError, r"fmod\(\): argument 'input' \(position 1\) must be Tensor, not float"),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_alpha_is_applied_in_the_dtype_of_the_result() -> None:
    x, y = tg.zeros(1, dtype=tg.float64), tg.tensor([3])
    assert tg.add(x, y, alpha=0.1).item() == 3 * 0.1 and tg.sub(x, y, alpha=0.1).item() == -(3 * 0.1)
    compare(
        "half",
        tg.add(tg.ones(1).half(), tg.ones(1).half(), alpha=1 / 3),
        torch.ones(1).half().add(torch.ones(1).half(), alpha=1 / 3),
        0,
    )
