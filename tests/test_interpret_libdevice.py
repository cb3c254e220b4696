"""CUDA's libdevice in the interpreter: the common functions in numpy, the others refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.language.extra.cuda import libdevice as cuda

from tests.interpreted import BF16, Buffer, interpreted

pytestmark = interpreted


@triton.jit
def one(x, y, F: tl.constexpr, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(y + o, F(tl.load(x + o)))


@triton.jit
def two(x, y, F: tl.constexpr, N: tl.constexpr):
    o = tl.arange(0, N)
    v = tl.load(x + o)
    tl.store(y + o, F(v, v))


# Where a name is not numpy's, and where a function is not defined on 0.25 .. 0.75.
PYTHONS: dict[str, Callable] = {
    "exp10": lambda x: 10.0**x,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "nearbyint": round,
    "rint": round,
    "round": lambda x: math.copysign(math.floor(abs(x) + 0.5), x),
    "acosh": lambda x: math.acosh(x + 1),
    **{name: getattr(math, name) for name in ("asin", "acos", "atan", "asinh", "atanh", "erf", "erfc", "cbrt")},
    **{name: getattr(math, name) for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt")},
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil", "trunc")},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PYTHONS)
def test_functions_of_one_number(name: str, dtype: Any) -> None:
    x, y = Buffer(np.linspace(0.25, 0.75, 32), dtype), Buffer(np.zeros(32), dtype)
    x.data += name == "acosh"
    one[(1,)](x, y, getattr(libdevice, name), 32)
    want = [PYTHONS[name](float(v) - (name == "acosh")) for v in x.data]
    np.testing.assert_allclose(y.data, want, rtol=1e-7 if dtype is np.float32 else 1e-15)


@pytest.mark.parametrize("name", ["pow", "atan2", "fmod", "hypot", "copysign"])
def test_functions_of_two_numbers(name: str) -> None:
    x, y = Buffer(np.linspace(0.25, 0.75, 32), np.float32), Buffer(np.zeros(32), np.float32)
    two[(1,)](x, y, getattr(cuda, name), 32)
    np.testing.assert_allclose(y.data, [getattr(math, name)(float(v), float(v)) for v in x.data], rtol=1e-7)


@triton.jit
def others(x, y, whole, N: tl.constexpr):
    o = tl.arange(0, N)
    v = tl.load(x + o)
    tl.store(y + o, libdevice.fma(v, v, v))
    tl.store(y + N + o, libdevice.pow(v, 2))
    tl.store(y + 2 * N + o, libdevice.fast_expf(v))
    tl.store(whole + o, libdevice.isnan(v))
    tl.store(whole + N + o, libdevice.isinf(v))


def test_other_functions() -> None:
    x = np.array([1, 0.5, np.nan, np.inf], np.float32)
    y, whole = Buffer(np.zeros(12), np.float32), Buffer(np.zeros(8), np.int32)
    others[(1,)](Buffer(x), y, whole, 4)
    np.testing.assert_allclose(y.data, [*(x * x + x), *(x * x), *np.exp(x)], rtol=1e-6)
    assert whole.data.tolist() == [0, 0, 1, 0, 0, 0, 0, 1]


@triton.jit
def assembly(x):
    v = tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [tl.load(x)], tl.float32, True, 1)
    tl.store(x, v)


def test_what_there_is_not_is_named() -> None:
    x, half = Buffer(np.ones(4), np.float32), Buffer(np.ones(4), BF16)
    with pytest.raises(Exception, match="__nv_j0f is a GPU function that the interpreter does not have"):
        one[(1,)](x, x, libdevice.j0, 4)
    with pytest.raises(Exception, match=r"libdevice\.tanh does not take \(bf16\)"):
        one[(1,)](half, half, libdevice.tanh, 4)
    with pytest.raises(Exception, match=r"inline assembly \(tanh\.approx\.f32 .*\) runs on a GPU only"):
        assembly[(1,)](x)
