"""Elementwise operations: values, gradients and second gradients, promotion at work, specials, in-place, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn, transposed
from tritongrad_kernels import interpret

X = np.concatenate([randn(30, seed=1) * 2, [0.5, -0.5, 1.0, -1.0, 3.0, -8.0, 0.1]])  # 37: more than two tiny tiles
POSITIVE = np.abs(X) + 0.05
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 100.0, -100.0, 1e-8, -1e-8, 1e4]

UNARY = {
    "neg": X, "abs": X, "sign": X, "floor": X, "exp": X, "log": POSITIVE, "sqrt": POSITIVE, "rsqrt": POSITIVE,
    "square": X, "sin": X, "cos": X, "tanh": X, "sigmoid": X, "erf": X, "relu": X,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, tiles: str) -> None:
    theirs = getattr(torch, name) if name != "abs" else lambda x: torch.where(x < 0, -x, x)  # no lazy zeros
    check(getattr(tg, name), theirs, UNARY[name], second=True)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", UNARY)
def test_unary_in_other_dtypes(name: str, dtype: str) -> None:
    check(getattr(tg, name), getattr(torch, name), UNARY[name] / 2, dtype=dtype)


@pytest.mark.parametrize("name", UNARY)
def test_unary_specials_are_torchs(name: str) -> None:
    ours, theirs = getattr(tg, name)(tg.tensor(SPECIAL)), getattr(torch, name)(torch.tensor(SPECIAL))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-6, atol=2e-7)


BINARY = {
    "add": (tg.add, torch.add),
    "add_alpha": (lambda x, y: tg.add(x, y, alpha=-1.5), lambda x, y: torch.add(x, y, alpha=-1.5)),
    "sub": (tg.sub, torch.sub),
    "sub_alpha": (lambda x, y: tg.sub(x, y, alpha=3), lambda x, y: torch.sub(x, y, alpha=3)),
    "mul": (tg.mul, torch.mul),
    "div": (tg.div, torch.div),
    "maximum": (tg.maximum, torch.maximum),
    "minimum": (tg.minimum, torch.minimum),
    "remainder": (tg.remainder, torch.remainder),
    "where": (lambda x, y: tg.where(x > 0.2, x, y), lambda x, y: torch.where(x > 0.2, x, y)),
    "masked_fill": (lambda x, y: (x * y).masked_fill(y > 0, 7.0), lambda x, y: (x * y).masked_fill(y > 0, 7.0)),
    "trunc": (lambda x, y: tg.div(x, y, rounding_mode="trunc"), lambda x, y: torch.div(x, y, rounding_mode="trunc")),
}  # fmt: skip
SHAPES = [
    pytest.param((3, 17), (3, 17), id="same"),
    pytest.param((3, 17), (17,), id="row"),
    pytest.param((3, 1, 5), (7, 1), id="both-stretch"),
    pytest.param((), (4, 3), id="zero-dimensional"),
    pytest.param((0, 3), (1, 3), id="empty"),
    pytest.param((1,), (1,), id="one"),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_broadcasting(a: tuple[int, ...], b: tuple[int, ...], tiles: str) -> None:
    for ours, theirs in (BINARY["add_alpha"], BINARY["mul"], BINARY["div"]):
        check(ours, theirs, randn(*a, seed=1), randn(*b, seed=2) + 3, second=True, terms=51)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    y = randn(3, 17, seed=2)
    y = np.where(np.abs(y) < 0.3, 0.7, y)  # quotients near an integer would be a matter of rounding
    grads = name != "trunc"
    check(*BINARY[name], randn(3, 17, seed=1), y, second=grads, grads=grads)
    check(*BINARY[name], randn(3, 17, seed=1), y, wrap=transposed, grads=grads)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "where"])
def test_binary_in_other_dtypes(name: str, dtype: str) -> None:
    check(*BINARY[name], randn(5, 7, seed=1), np.abs(randn(5, 7, seed=2)) + 0.5, dtype=dtype)


@pytest.mark.parametrize("number", [2.5, -3, 0.1])
def test_numbers_on_either_side(number: float) -> None:
    for f in (
        lambda x: x + number, lambda x: number - x, lambda x: number * x, lambda x: x / number, lambda x: number / x,
        lambda x: x - number, lambda x: x % number,
    ):  # fmt: skip
        check(f, f, POSITIVE, second=True)
        check(f, f, POSITIVE, dtype="float64")


INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]
NUMBERS = np.array([7, -7, 1, -1, 2, -2, 0, 100, -100, 3])
DIVISORS = np.array([2, 2, -3, 3, 7, -7, 5, -9, 11, 1])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic_is_torchs(dtype: str) -> None:
    with np.errstate(over="ignore"):
        a, b = NUMBERS.astype(dtype), DIVISORS.astype(dtype)
    ours, theirs = (tg.tensor(a), tg.tensor(b)), (torch.tensor(a), torch.tensor(b))
    for f in (
        lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x // y,
        lambda x, y: x % y, lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x,
        lambda x, y: abs(x), lambda x, y: -x, lambda x, y: x**3, lambda x, y: 2 ** abs(y), lambda x, y: x // 3,
        lambda x, y: x % 3, lambda x, y: 100 // y, lambda x, y: 100 % y, lambda x, y: 1 - x, lambda x, y: x / 4,
        lambda x, y: x.clamp(0, 5), lambda x, y: x.clamp(0.5, 5), lambda x, y: x.sign(), lambda x, y: x < y,
        lambda x, y: x >= 2, lambda x, y: x.relu(), lambda x, y: x.square(),
        lambda x, y: x.div(y, rounding_mode="trunc"), lambda x, y: x.div(y, rounding_mode="floor"),
        lambda x, y: x.maximum(y), lambda x, y: x.minimum(y), lambda x, y: x.exp(), lambda x, y: x.floor(),
        lambda x, y: x == y, lambda x, y: x != 7, lambda x, y: x.isfinite(),
    ):  # fmt: skip
        got, want = f(*ours), f(*theirs)
        assert got.dtype.name == str(want.dtype).removeprefix("torch.")
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-7)


def test_large_integers_keep_every_digit() -> None:
    big = 2**60 + 1
    x = tg.tensor([big, -big, 3])
    assert (x + 1 - 1).tolist() == [big, -big, 3]
    assert (x // 1).tolist() == x.div(1, rounding_mode="trunc").tolist() == [big, -big, 3]
    assert x.div(2, rounding_mode="trunc").tolist() == [big // 2, -(big // 2), 1]
    assert x.masked_fill(tg.tensor([False, False, True]), 1.0).tolist() == [big, -big, 1]
    assert tg.where(tg.tensor([True, False, True]), x, 0).tolist() == [big, 0, 3]
    assert (tg.tensor([3, -3]) ** 39).tolist() == [3**39, -(3**39)]


def test_division_by_zero() -> None:
    x = tg.tensor([3, -3, 0])
    z = tg.tensor([1, 0, 2])
    for f in (
        lambda: x // 0, lambda: x % 0, lambda: x // z, lambda: 5 % z, lambda: tg.fmod(x, z), lambda: tg.fmod(x, 0),
        lambda: x.div(z, rounding_mode="trunc"), lambda: x.clone().floor_divide_(z),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"ZeroDivisionError: \w+: integer division by zero"):
            f()
    y = torch.tensor([3.0, -3.0, 0.0, -0.0, math.inf, math.nan])
    for f in (lambda v: v / 0, lambda v: v // 0, lambda v: v % 0, lambda v: 1 / v, lambda v: 1 // v):
        np.testing.assert_array_equal(f(tg.tensor(y.tolist())).numpy(), f(y).numpy())


def test_float_floor_divide_and_remainder_are_torchs() -> None:
    edge = [5.0, -5.0, 0.0, 7.5, -7.5, 0.3, 1e30, math.inf, -math.inf, math.nan]
    by = [2.0, -2.0, 0.1, math.inf, -math.inf, 3.0]
    a, b = (v.reshape(-1).astype(np.float32) for v in np.meshgrid(edge, by))
    for name in ("floor_divide", "remainder"):
        got = getattr(tg, name)(tg.tensor(a), tg.tensor(b)).numpy()
        np.testing.assert_array_equal(got, getattr(torch, name)(torch.tensor(a), torch.tensor(b)).numpy(), name)


def test_bools_are_torchs() -> None:
    a, b = [True, True, False, False], [True, False, True, False]
    ours, theirs = (tg.tensor(a), tg.tensor(b)), (torch.tensor(a), torch.tensor(b))
    for f in (
        lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y,
        lambda x, y: ~x, lambda x, y: x / y, lambda x, y: x + 1, lambda x, y: x * 2.5, lambda x, y: x == y,
        lambda x, y: x < y, lambda x, y: x.logical_and(y), lambda x, y: x.logical_or(y), lambda x, y: x.logical_xor(y),
        lambda x, y: x.logical_not(), lambda x, y: x**2, lambda x, y: x.maximum(y), lambda x, y: x.float() * y,
        lambda x, y: x.exp(), lambda x, y: x.clone().add_(y), lambda x, y: x.clone().mul_(y),
    ):  # fmt: skip
        got, want = f(*ours), f(*theirs)
        assert got.dtype.name == str(want.dtype).removeprefix("torch.")
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-7)
    for f, name in ((lambda x, y: x - y, "sub"), (lambda x, y: -x, "neg"), (lambda x, y: x.clone().sub_(y), "sub_")):
        with pytest.raises(RuntimeError, match=f"{name}: .* bool"):
            f(*ours)
    for f in (lambda x, y: x // y, lambda x, y: x % y, lambda x, y: x**y):
        with pytest.raises(RuntimeError, match="bool"):
            f(*ours)


def test_logic_on_numbers() -> None:
    a, b = [0.0, 1.5, math.nan, 0.0], [0.0, 0.0, 2.0, -1.0]
    for name in ("logical_and", "logical_or", "logical_xor"):
        got = getattr(tg, name)(tg.tensor(a), tg.tensor(b))
        assert got.tolist() == getattr(torch, name)(torch.tensor(a), torch.tensor(b)).tolist()
    for name in ("logical_not", "isnan", "isinf", "isfinite"):
        for values in (SPECIAL, [1, 0, 5]):
            assert getattr(tg, name)(tg.tensor(values)).tolist() == getattr(torch, name)(torch.tensor(values)).tolist()


def test_casts_are_torchs() -> None:
    floats = [0.0, -0.0, 0.5, -1.7, 2.5, 100.9, math.nan]
    for name in ("int64", "int32", "int16", "int8"):
        assert (
            tg.tensor(floats[:6]).to(getattr(tg, name)).tolist()
            == torch.tensor(floats[:6]).to(getattr(torch, name)).tolist()
        )
    assert tg.tensor(floats).bool().tolist() == torch.tensor(floats).bool().tolist()
    ints = [256, 2, 0, -1, 300, 2**40 + 1]
    for name in ("int8", "uint8", "int16", "int32", "bool", "float16", "bfloat16", "float32", "float64"):
        assert tg.tensor(ints).to(getattr(tg, name)).tolist() == torch.tensor(ints).to(getattr(torch, name)).tolist()
    check(lambda x: x.double().half().float() * 2, lambda x: x.double() * 2, randn(17), slack=2.0**13)  # eps of half


def test_bfloat16_rounds_to_nearest_even() -> None:
    x = np.float32([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, 3.4e38, -(1 + 2.0**-9)])
    assert tg.tensor(x).bfloat16().tolist() == torch.tensor(x).bfloat16().tolist()


INPLACE = {
    "add_": lambda x, y: (x * 1).add_(y, alpha=2),
    "sub_": lambda x, y: (x * 1).sub_(y, alpha=0.5),
    "mul_": lambda x, y: (x * 1).mul_(y.exp()),
    "div_": lambda x, y: (x * 1).div_(y.exp()),
    "clamp_": lambda x, y: (x * 1).clamp_(-0.5, 0.7) * y,
    "relu_": lambda x, y: (x * 1).relu_() * y,
    "copy_": lambda x, y: x * (x * 1).copy_(y),
    "fill_": lambda x, y: (x * 1).fill_(3.0) * y,
    "zero_": lambda x, y: (x * 1).zero_() + y,
}


@pytest.mark.parametrize("name", INPLACE)
def test_in_place(name: str) -> None:
    check(INPLACE[name], INPLACE[name], randn(4, 5, seed=1), randn(4, 5, seed=2))
    if name in ("add_", "mul_", "copy_"):
        check(INPLACE[name], INPLACE[name], randn(4, 5, seed=1), randn(5, seed=2), terms=4)


def test_in_place_through_a_strided_view_touches_nothing_else() -> None:
    for write in (lambda v: v.fill_(7), lambda v: v.add_(v.t()[:1].sum()), lambda v: v.copy_(v.flip(0))):
        x, y = tg.arange(24).reshape(4, 6).float(), torch.arange(24).reshape(4, 6).float()
        write(x[::2, 1:6:2]), write(y[::2, 1:6:2])
        assert x.tolist() == y.tolist()


def test_in_place_reads_its_overlapping_operand_before_writing(tiles: str) -> None:
    x, y = tg.arange(40.0), np.arange(40.0)
    x[1:].add_(x[:-1])
    assert x.tolist() == [0, *(y[1:] + y[:-1])]
    m = tg.arange(36.0).reshape(6, 6)
    m.add_(m.t())
    assert m.tolist() == (np.arange(36.0).reshape(6, 6) + np.arange(36.0).reshape(6, 6).T).tolist()


def test_in_place_keeps_the_dtype_or_refuses() -> None:
    assert tg.ones(2, dtype=tg.float16).add_(tg.ones(2, dtype=tg.float64)).dtype is tg.float16
    for f, name in (
        (lambda: tg.ones(2, dtype=tg.int64).add_(0.5), "add_"),
        (lambda: tg.ones(2, dtype=tg.int64).div_(2), "div_"),
        (lambda: tg.tensor([True]).add_(1), "add_"),
        (lambda: tg.tensor([True]).mul_(tg.tensor([2])), "mul_"),
    ):
        with pytest.raises(RuntimeError, match=f"{name}: result type .* can't be cast"):
            f()
    with pytest.raises(RuntimeError, match=r"add_: the result of \[2\] and \[3, 2\] does not fit"):
        tg.ones(2).add_(tg.ones(3, 2))
    with pytest.raises(RuntimeError, match="several times: clone"):
        tg.ones(1).expand(3).add_(1)


def test_errors_name_the_operation_and_the_shapes() -> None:
    a, b = tg.ones(2, 3), tg.ones(4)
    for name in ("add", "sub", "mul", "div", "pow", "maximum", "floor_divide", "remainder", "eq", "logical_and"):
        with pytest.raises(RuntimeError, match=rf"{name}: .*\[2, 3\].*\[4\].* do not broadcast"):
            getattr(tg, name)(a, b)
    with pytest.raises(RuntimeError, match=r"where: .*\[2, 3\].*\[4\]"):
        tg.where(a > 0, a, b)
    with pytest.raises(RuntimeError, match=r"copy_: a source of shape \[2, 3\] does not fit shape \[4\]"):
        b.copy_(a)
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \+: 'Tensor' and 'str'"):
        a + "x"
    with pytest.raises(TypeError, match="add: expected tensors or numbers, got str"):
        a.add("x")
    with pytest.raises(TypeError, match="where: expected a bool tensor as condition, got bool"):
        tg.where(True, a, a)
    with pytest.raises((RuntimeError, TypeError), match="where: expected a bool tensor as condition, got int64"):
        tg.where(tg.tensor([256, 0]), a[0, :2], a[0, :2])
    with pytest.raises(RuntimeError, match="masked_fill: the mask must be a bool tensor, got float32"):
        a.masked_fill(a, 0)
    with pytest.raises(RuntimeError, match="bitwise_and: not implemented for float32 tensors"):
        a & a
    with pytest.raises(RuntimeError, match=r"div: rounding_mode must be .* got 'up'"):
        tg.div(a, a, rounding_mode="up")


def test_numbers_from_steps() -> None:
    assert tg.arange(5).tolist() == [0, 1, 2, 3, 4] and tg.arange(5).dtype is tg.int64
    assert tg.arange(2**53, 2**53 + 3).tolist() == [2**53, 2**53 + 1, 2**53 + 2]
    for arguments in ((1, 2, 0.1), (5, 0, -1), (0.5, 3), (3, 3), (-2, 2, 3)):
        got, want = tg.arange(*arguments), torch.arange(*arguments)
        assert got.shape == tuple(want.shape)
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-7)
    with pytest.raises(RuntimeError, match="arange: from 0 to 3 there is no way by steps of -1"):
        tg.arange(0, 3, -1)
    for steps in (0, 1, 2, 7):
        np.testing.assert_allclose(tg.linspace(-1, 3, steps).numpy(), torch.linspace(-1, 3, steps).numpy(), rtol=2e-7)
    assert (
        tg.eye(3, 5).tolist() == torch.eye(3, 5).tolist()
        and tg.eye(4, dtype=tg.bool).tolist() == torch.eye(4).bool().tolist()
    )


def test_creation_fills_every_dtype() -> None:
    for name in ("float64", "float32", "float16", "bfloat16", *INTEGERS, "bool"):
        like = tg.empty(3, 2, dtype=getattr(tg, name))
        made = [tg.zeros_like(like), tg.ones_like(like), tg.full_like(like, 3), tg.full((3, 2), 3, dtype=like.dtype)]
        for ours, value in zip(made, (0, 1, 3, 3), strict=True):
            assert ours.dtype is like.dtype
            assert ours.tolist() == torch.full((3, 2), value).to(getattr(torch, name)).tolist()
    for value, kind in ((1.5, tg.float32), (2, tg.int64), (True, tg.bool)):
        assert tg.full((2,), value).dtype is kind
    assert tg.full((1,), 0.1, dtype=tg.float64).item() == 0.1


def test_expanded_gradients_and_repeated_inputs() -> None:
    check(lambda x: (x * x * x).sum(), lambda x: (x * x * x).sum(), randn(5, 7), terms=35, second=True)
    check(lambda x: (x + x.sum()) * x, lambda x: (x + x.sum()) * x, randn(5, 7), terms=35, second=True)


def bits(t: tg.Tensor) -> bytes:
    return t.detach().contiguous().numpy().tobytes()


@pytest.mark.parametrize("name", ["exp", "tanh", "erf", "sin", "log", "sigmoid", "relu", "floor"])
def test_the_same_bits_whatever_the_strides_and_the_order(name: str, tiles: str) -> None:
    x = tg.tensor(np.abs(randn(7, 11)))
    f = getattr(tg, name)
    expected = bits(f(x))
    assert bits(f(x)) == bits(f(transposed(x))) == bits(f(x.t().contiguous().t())) == expected
    with interpret.order("reverse"):
        assert bits(f(x)) == expected


def test_results_keep_the_memory_order_of_their_input() -> None:
    x = tg.ones(2, 3, 4, 5).contiguous(memory_format=tg.channels_last)
    assert (x + 1).is_contiguous(memory_format=tg.channels_last)
    assert tg.relu(x * tg.ones(3, 1, 1)).is_contiguous(memory_format=tg.channels_last)
    compare("sum", x + tg.arange(5), torch.ones(2, 3, 4, 5) + torch.arange(5), 0.0)
