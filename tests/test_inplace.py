"""In-place forms and operators: the values and gradients of the functions, in x's own memory and dtype, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn
from tritongrad.ops import inplace, inplace_transcendental

X = np.abs(randn(4, 5, seed=1)) * 0.3 + 0.1  # in the domain of every function but acosh
Y = np.abs(randn(5, seed=2)) + 0.5
UNARY = [
    "abs", "acos", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg2rad", "digamma", "erf", "erfc",
    "erfinv", "exp", "exp2", "expm1", "fix", "floor", "frac", "lgamma", "log", "log10", "log1p", "log2", "logit",
    "nan_to_num", "neg", "rad2deg", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinc", "sinh", "sqrt",
    "square", "tan", "tanh", "trunc",
]  # fmt: skip
BINARY = ["add", "sub", "mul", "div", "remainder", "fmod", "copysign", "hypot", "pow", "atan2", "xlogy", "true_divide"]


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    theirs = getattr(torch, name)
    check(lambda x: getattr(x * 1, f"{name}_")() * x, lambda x: theirs(x) * x, X, slack=32)
    x = tg.tensor(X)
    assert getattr(x, f"{name}_")() is x and x._version == 1
    assert x.tolist() == getattr(tg.tensor(X), name)().tolist()


def test_of_a_larger_domain() -> None:
    check(lambda x: (x + 1).acosh_(), lambda x: (x + 1).acosh(), X, slack=32)
    check(lambda x: (x + 1).polygamma_(1), lambda x: torch.polygamma(1, x + 1), X, slack=32)
    check(lambda x: (x * 1).logit_(0.25), lambda x: torch.logit(x, 0.25), X, slack=32)
    check(lambda x: (x * 9).round_(decimals=1), lambda x: (x * 9).round(decimals=1), X)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    form = f"{name}_"
    check(lambda x, y: getattr(x * 1, form)(y), lambda x, y: getattr(x * 1, name)(y), X, Y, terms=4, slack=16)
    check(
        lambda x, y: getattr(x.detach() * 1, form)(y) + x, lambda x, y: getattr(x.detach(), name)(y) + x, X, Y, terms=4
    )
    if name not in ("atan2", "hypot"):
        check(lambda x: getattr(x * 1, form)(1.75), lambda x: getattr(x * 1, name)(1.75), X)


def test_with_options() -> None:
    for f in (
        lambda x, y: (x * 1).add_(y, alpha=2), lambda x, y: (x * 1).sub_(y, alpha=0.5),
        lambda x, y: x * (x * 1).div_(y, rounding_mode="trunc"),
        lambda x, y: x * (x * 1).div_(y, rounding_mode="floor"),
        lambda x, y: (x * 1).addcmul_(x, y, value=-2), lambda x, y: (x * 1).addcdiv_(x, y, value=3),
        lambda x, y: (x * 1).lerp_(y.expand(4, 5), 0.3), lambda x, y: (x * 1).lerp_(y.expand(4, 5), x),
        lambda x, y: (x * 1).clamp_(0.2, 0.4), lambda x, y: (x * 1).clamp_(y * 0.2, y),
        lambda x, y: (x * 1).clamp_min_(0.3),
        lambda x, y: (x * 1).clamp_max_(y * 0.3), lambda x, y: (x * 1).nan_to_num_(0.0),
        lambda x, y: (x * 1).relu_() * y,
    ):  # fmt: skip
        check(lambda x, y, f=f: f(x, y) + 0 * y, lambda x, y, f=f: f(x, y) + 0 * y, X, Y, terms=4)


def test_what_has_no_gradient() -> None:
    a, b = [0.0, 1.5, -2.5, 3.0], [1.0, 1.5, 0.0, -3.0]
    for name in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor",
                 "heaviside",
                 "floor_divide", "greater", "greater_equal",
                 "less", "less_equal", "not_equal"):  # fmt: skip
        x, y = tg.tensor(a), torch.tensor(a)
        divisor = [1.0, 1.5, 2.0, -3.0] if name == "floor_divide" else b
        got, want = getattr(x, f"{name}_")(tg.tensor(divisor)), getattr(y, f"{name}_")(torch.tensor(divisor))
        assert got is x and x.dtype is tg.float32 and x.tolist() == want.tolist()
    assert tg.tensor(a).logical_not_().tolist() == [1.0, 0.0, 0.0, 0.0]
    x = tg.ones(2, dtype=tg.float64).float_power_(3)
    assert x.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["gcd", "lcm", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift",
                                  "bitwise_right_shift", "floor_divide", "remainder", "fmod", "pow"])  # fmt: skip
def test_integers(name: str) -> None:
    a, b = [12, -7, 3], [2, 3, 1]
    x, y = tg.tensor(a), torch.tensor(a)
    assert getattr(x, f"{name}_")(tg.tensor(b)).tolist() == getattr(y, f"{name}_")(torch.tensor(b)).tolist()
    assert tg.tensor(a).bitwise_not_().tolist() == [-13, 6, -4]


def test_augmented_operators() -> None:
    def all_of(x: Any, i: Any, j: Any) -> list[Any]:
        x += 2
        x -= 0.5
        x *= 3
        x /= 4
        x //= 0.25
        x %= 4
        x **= 2
        i <<= 3
        i >>= 1
        i &= 0x7C
        i |= j
        i ^= 5
        i **= 2
        i //= j
        i %= 17
        return [x.tolist(), i.tolist()]

    ours = all_of(tg.tensor([1.0, -2.5]), tg.tensor([5, 9]), tg.tensor([1, 2]))
    assert ours == all_of(torch.tensor([1.0, -2.5]), torch.tensor([5, 9]), torch.tensor([1, 2]))
    x = y = tg.tensor([1, 2])
    x <<= 1
    assert x is y
    b = tg.tensor([True, False])
    b &= True
    b |= tg.tensor([False, True])
    b ^= True
    assert b.tolist() == [False, False]


def test_reflected_operators_and_numpy_scalars() -> None:
    for f in (
        lambda t, x: 2 + x, lambda t, x: 2 - x, lambda t, x: 2 * x, lambda t, x: 2 / x, lambda t, x: 7 // x,
        lambda t, x: 7 % x, lambda t, x: 2**x, lambda t, x: np.float64(2.5) * x, lambda t, x: x * np.float32(2.5),
        lambda t, x: x + np.int64(3), lambda t, x: np.int64(3) - x, lambda t, x: x > np.float32(1.5),
    ):  # fmt: skip
        got, want = f(tg, tg.tensor([1.0, 2.0, 3.0])), f(torch, torch.tensor([1.0, 2.0, 3.0]))
        assert got.dtype.name == str(want.dtype).removeprefix("torch.") and got.tolist() == want.tolist()
    for f in (lambda x: x + None, lambda x: None * x, lambda x: x < "a", lambda x: x // [], lambda x: x << {}):
        with pytest.raises(TypeError, match=r"unsupported operand|not supported between"):
            f(tg.ones(2))
    assert (tg.ones(1) == None) is False and (tg.ones(1) != "a") is True  # noqa: E711


def test_the_dtype_is_kept_or_refused() -> None:
    assert tg.ones(2, dtype=tg.float16).add_(tg.ones(2, dtype=tg.float64)).dtype is tg.float16
    assert tg.tensor([1.5]).mul_(tg.tensor([2])).tolist() == [3.0]
    floats = ["exp", "sqrt", "log1p", "atan", "sigmoid", "reciprocal", "deg2rad", "erf", "lgamma", "true_divide", "div"]
    for name in floats:
        arguments = (2,) if name in ("true_divide", "div") else ()
        with pytest.raises(
            RuntimeError, match=r"\w+_: result type float32 can't be cast to the desired output type int64"
        ):
            getattr(tg.tensor([1, 2]), f"{name}_")(*arguments)
    for f in (
        lambda: tg.tensor([1]).add_(0.5), lambda: tg.tensor([1]).pow_(0.5), lambda: tg.tensor([1]).clamp_(0.5),
        lambda: tg.tensor([True]).add_(1), lambda: tg.tensor([True]).mul_(tg.tensor([2])),
        lambda: tg.tensor([1]).fmod_(1.5),
        lambda: tg.tensor([1]).copysign_(1), lambda: tg.tensor([1]).addcmul_(tg.ones(1), tg.ones(1)),
        lambda: tg.tensor([1]).atan2_(tg.tensor([1])), lambda: tg.tensor([True]).bitwise_and_(3),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"\w+_: result type \w+ can't be cast to the desired output type"):
            f()
    with pytest.raises(
        RuntimeError, match="float_power_: the result is float64, but the tensor written in place float32"
    ):
        tg.ones(1).float_power_(2)


def test_the_shape_is_kept_and_memory_written_once() -> None:
    for f in (lambda x: x.add_(tg.ones(3, 2)), lambda x: x.atan2_(tg.ones(3, 2)), lambda x: x.eq_(tg.ones(3, 2))):
        with pytest.raises(RuntimeError, match=r"\[2\] and \[3, 2\] does not fit the shape"):
            f(tg.ones(2))
    with pytest.raises(RuntimeError, match="several times: clone"):
        tg.ones(1).expand(3).exp_()
    leaf = tg.ones(2, requires_grad=True)
    for f in (lambda: leaf.exp_(), lambda: leaf.clamp_(0, 1), lambda: leaf.add_(1), lambda: leaf.relu_()):
        with pytest.raises(
            RuntimeError, match=r"a leaf Variable that requires grad is being used in an in-place operation"
        ):
            f()
    with tg.no_grad():
        assert leaf.exp_().requires_grad


def test_views_are_written_through() -> None:
    x, y = tg.arange(12.0).reshape(3, 4), torch.arange(12.0).reshape(3, 4)
    x[1:, ::2].sqrt_(), y[1:, ::2].sqrt_()
    x[:, 1].pow_(2), y[:, 1].pow_(2)
    np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-6)

    def through(t: Any, v: Any) -> Any:
        whole = v * 1
        whole[1:].sin_()
        whole[:, 0].mul_(v[:, 1])
        return whole

    check(lambda v: through(tg, v), lambda v: through(torch, v), randn(3, 4))


def test_a_result_written_over_is_refused_in_backward() -> None:
    x = tg.ones(3, requires_grad=True)
    y = x * 2
    z = y.exp()
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_every_form_is_a_method_and_its_function_exists() -> None:
    for module in (inplace, inplace_transcendental):
        for name, function in vars(module).items():
            if name.endswith("_") and not name.startswith("_") and callable(function):
                assert getattr(tg.Tensor, name) is function and function.__doc__
                assert hasattr(torch.Tensor, name) and hasattr(tg, name) == hasattr(torch, name), name


@pytest.mark.parametrize(
    "change", ["mul_(w)", "mul_(2)", "exp_()", "zero_()", "clamp_(min=0.5)", "copy_(w)", "scatter_(0, i, 9.0)", "t_()"]
)
def test_a_result_that_no_gradient_needs_may_be_overwritten(change: str) -> None:
    """As torch: quotients, sums and products save their operands and not themselves."""
    firsts = (
        "x / w",
        "x * w",
        "x + w",
        "x - w",
        "(x * 1).div_(w)",
        "(x * 1).mul_(w)",
        "(x * 1).add_(w)",
        "x / 3",
        "3 / w",
    )
    for first in firsts:
        for part in ("y", "y[:]", "y[1:]"):
            found = []
            for m in (tg, torch):
                x, w = (m.tensor(v, requires_grad=True) for v in ([1.0, 2, 3], [2.0, 3, 4]))
                y = eval(first, {"x": x, "w": w})
                names = {"y": y, "w": w[1:] if part == "y[1:]" and "(w)" in change else w, "i": m.tensor([1])}
                eval(f"({part}).{change}", names)
                g = m.autograd.grad(y.sum(), (x, w), allow_unused=True)
                found.append([v.tolist() if v is not None else [0.0] * 3 for v in g])
            np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["add", "sub", "addcmul", "addcdiv"])
@pytest.mark.filterwarnings("ignore:This overload of")  # torch, of its own
def test_factors_in_front_as_torch(name: str) -> None:
    """As published optimizers of before 2020 have them: p.data.add_(-lr, grad), avg.addcmul_(1 - beta, grad, grad)."""
    operands = 1 if name in ("add", "sub") else 2

    def results(m: Any) -> list:
        x, others = m.tensor([1.0, 2.0]), [m.tensor([3.0, 4.0]), m.tensor([0.5, 2.0])][:operands]
        made = [getattr(x, name)(0.5, *others), getattr(m, name)(x, 0.5, *others)]
        return [t.tolist() for t in (*made, getattr(x, name + "_")(0.5, *others))]

    with pytest.warns(UserWarning, match="the factor in front is deprecated"):
        ours = results(tg)
    assert ours == results(torch)


@pytest.mark.filterwarnings("ignore:This overload of")  # torch, of its own
def test_factors_of_products_in_front_as_torch() -> None:
    """As published metric learning has them: distances.addmm_(1, -2, x, x.t())."""

    def results(m: Any) -> list:
        x = m.tensor([[1.0, 2.0], [3.0, 4.0]])
        return [t.tolist() for t in (x.addmm(2, -2, x, x), m.addmm(2, x, 3, x, x), x.clone().addmm_(1, -2, x, x.t()))]

    with pytest.warns(UserWarning, match="factors in front are deprecated"):
        ours = results(tg)
    assert ours == results(torch)
