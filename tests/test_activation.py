"""Activation functions: values, gradients and second gradients, in place, at the edges, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, compare, randn, transposed

X = np.concatenate([randn(30, seed=1) * 2, [0.5, -0.5, 1.0, -1.0, 3.0, -3.0, -8.0, 0.1, 6.0, 25.0]])

# (name, options): defaults, and where options change the formula, others.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("relu", {}), ("relu6", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.2}), ("elu", {}),
    ("elu", {"alpha": 0.7}), ("celu", {"alpha": 2.0}), ("celu", {}), ("selu", {}), ("gelu", {}),
    ("gelu", {"approximate": "tanh"}), ("silu", {}), ("mish", {}), ("softsign", {}), ("hardtanh", {}),
    ("hardtanh", {"min_val": -0.3, "max_val": 2.0}), ("hardswish", {}), ("hardsigmoid", {}), ("tanhshrink", {}),
    ("softshrink", {}), ("softshrink", {"lambd": 1.25}), ("hardshrink", {}), ("hardshrink", {"lambd": 1.25}),
    ("threshold", {"threshold": 0.3, "value": -7.0}), ("logsigmoid", {}), ("softplus", {}),
    ("softplus", {"beta": 2.0, "threshold": 3.0}), ("sigmoid", {}), ("tanh", {}), ("glu", {}), ("glu", {"dim": 0}),
]  # fmt: skip
IDS = [f"{name}{''.join(f'-{v}' for v in options.values())}" for name, options in CASES]


def pair(name: str, options: dict[str, Any]) -> tuple[Callable, Callable]:
    return (
        lambda x: getattr(F, name)(x, **options),
        lambda x: getattr(torch.nn.functional, name)(x, **options),
    )


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_activations(name: str, options: dict[str, Any]) -> None:
    check(*pair(name, options), X, second=name != "hardsigmoid")  # for which torch has none
    check(*pair(name, options), X[:36], dtype="float64", slack=2.0**27 if name == "hardsigmoid" else 4)  # float's 1/6
    check(*pair(name, options), X.reshape(4, 10)[:, :6], wrap=transposed)
    check(*pair(name, options), np.zeros((0, 2)) if options.get("dim") == 0 else np.zeros((3, 0)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_activations_in_half_precision(name: str, options: dict[str, Any], dtype: str) -> None:
    check(*pair(name, options), X, dtype=dtype)


def test_with_tiny_tiles(tiles: str) -> None:
    for case in (("gelu", {}), ("elu", {"alpha": 0.7}), ("hardtanh", {})):
        check(*pair(*case), X)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gelu_of_halves_has_no_cancellation(dtype: str, approximate: str) -> None:
    x = torch.linspace(-4, 4, 41).to(getattr(torch, dtype))
    want = torch.nn.functional.gelu(x.double(), approximate=approximate).numpy()
    got = F.gelu(tg.tensor(x.float().numpy()).to(getattr(tg, dtype)), approximate).float().numpy()
    np.testing.assert_allclose(got, want, rtol=2.0**-7 if dtype == "bfloat16" else 2.0**-9, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_values_far_out(name: str, options: dict[str, Any]) -> None:
    """In float64, as torch leaves NaN to what vector unit it finds in float32."""
    far = torch.tensor([100.0, -100.0, 800.0, -800.0, 1e-300, -1e-9], dtype=torch.float64)
    ours, theirs = pair(name, options)
    np.testing.assert_allclose(ours(tg.tensor(far.numpy())).numpy(), theirs(far).numpy(), rtol=1e-14, atol=1e-300)
    nan = ours(tg.tensor([math.nan, math.nan]))
    assert all(map(math.isnan, nan.tolist()))


def test_infinite_gradients_do_not_leak_through_what_was_not_chosen() -> None:
    x = np.array([200.0, -200.0, 0.5])
    for name in ("elu", "celu", "selu", "softplus", "logsigmoid", "mish", "silu", "gelu"):
        check(*pair(name, {}), x, second=True)


INPLACE = [c for c in CASES if c[0] in (
    "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid",
    "threshold",
)]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), INPLACE, ids=[str(c) for c in INPLACE])
def test_in_place(name: str, options: dict[str, Any]) -> None:
    check(
        lambda x: getattr(F, name)(x * 1, **options, inplace=True),
        lambda x: getattr(torch.nn.functional, name)(x * 1, **options),
        X,
    )
    x = tg.tensor(X)
    assert getattr(F, name)(x, **options, inplace=True) is x
    if hasattr(F, f"{name}_"):
        y = tg.tensor(X)
        assert getattr(F, f"{name}_")(y, **options) is y
        assert x.tolist() == y.tolist() == getattr(F, name)(tg.tensor(X), **options).tolist()


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4), (7,), ()])
def test_prelu(shape: tuple[int, ...]) -> None:
    check(F.prelu, torch.nn.functional.prelu, np.array(randn(*shape)), np.array([0.25]), second=True, terms=60)
    if len(shape) > 1:
        check(F.prelu, torch.nn.functional.prelu, randn(*shape), randn(4, seed=3), second=True, terms=15)


def test_relu_on_integers() -> None:
    x = [3, -2, 7, 0]
    for name, options in (("relu", {}), ("relu6", {}), ("hardtanh", {}), ("threshold", {"threshold": 1, "value": -1})):
        ours, theirs = pair(name, options)
        got, want = ours(tg.tensor(x)), theirs(torch.tensor(x))
        assert got.tolist() == want.tolist() and got.dtype is tg.int64


def test_gradients_beside_nan() -> None:
    check(tg.relu, torch.relu, np.array([np.nan, -1.0, 2.0, np.nan]))


def test_what_is_refused() -> None:
    x = tg.ones(3, 5)
    for name in (
        "elu",
        "selu",
        "silu",
        "mish",
        "leaky_relu",
        "gelu",
        "hardswish",
        "softplus",
        "logsigmoid",
        "hardshrink",
    ):
        with pytest.raises(NotImplementedError, match=rf"{name}: not implemented for int64 tensors"):
            getattr(F, name)(tg.tensor([1]))
        with pytest.raises(TypeError, match=rf"{name}\(\): argument 'input' \(position 1\) must be Tensor, not list"):
            getattr(F, name)([1.0])
    with pytest.raises(NotImplementedError, match="relu: not implemented for bool"):
        F.relu(tg.tensor([True]))
    with pytest.raises(RuntimeError, match="gelu: approximate must be 'none' or 'tanh', got 'erf'"):
        F.gelu(x, "erf")
    with pytest.raises(RuntimeError, match="glu: halving dimension must be even, but dimension -1 is size 5"):
        F.glu(x)
    with pytest.raises(RuntimeError, match="glu does not support 0-dimensional"):
        F.glu(tg.tensor(1.0))
    with pytest.raises(RuntimeError, match=r"prelu: weight must have 1 or 5 elements, but has shape \[4\]"):
        F.prelu(x, tg.ones(4))
    with pytest.raises(RuntimeError, match="prelu: input is float32, but weight float64"):
        F.prelu(x, tg.ones(1, dtype=tg.float64))
    with pytest.raises(RuntimeError, match="softshrink: lambd must be greater or equal to 0"):
        F.softshrink(x, -1.0)
    with pytest.raises(ValueError, match="hardtanh: min_val cannot be greater than max_val"):
        F.hardtanh(x, 1.0, -1.0)
    with pytest.raises(RuntimeError, match="celu: alpha cannot be 0"):
        F.celu(x, 0.0)


def test_softsign_promotes_as_its_formula() -> None:
    compare("softsign", F.softsign(tg.tensor([1, -3])), torch.nn.functional.softsign(torch.tensor([1, -3])), 1e-7)


MODULES: list[tuple[str, dict[str, Any]]] = [
    ("ReLU", {}), ("ReLU", {"inplace": True}), ("ReLU6", {}), ("LeakyReLU", {}), ("LeakyReLU", {"negative_slope": 0.3}),
    ("ELU", {"alpha": 0.5}), ("CELU", {"alpha": 2.0}), ("SELU", {}), ("Sigmoid", {}), ("LogSigmoid", {}), ("Tanh", {}),
    ("Tanhshrink", {}), ("GELU", {}), ("GELU", {"approximate": "tanh"}), ("SiLU", {"inplace": True}), ("Mish", {}),
    ("Softplus", {"beta": 2.0}), ("Softsign", {}), ("Hardswish", {"inplace": True}), ("Hardsigmoid", {"inplace": True}),
    ("Hardtanh", {"max_val": 2.0}),
    ("Hardshrink", {"lambd": 0.3}), ("Softshrink", {}), ("Threshold", {"threshold": 0.1, "value": 20.0}),
    ("GLU", {"dim": 1}),
    ("PReLU", {}), ("PReLU", {"num_parameters": 4, "init": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), MODULES, ids=[f"{n}-{o}" for n, o in MODULES])
def test_modules(name: str, options: dict[str, Any]) -> None:
    ours, theirs = getattr(tg.nn, name)(**options), getattr(torch.nn, name)(**options)
    x = randn(3, 4).astype(np.float32)
    compare(name, ours(tg.tensor(x)).detach(), theirs(torch.tensor(x)).detach(), 1e-6)
    assert repr(ours) == repr(theirs)
    assert [p.shape for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
