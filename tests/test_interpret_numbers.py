"""The numbers the repaired interpreter computes, against numpy and ml_dtypes: one small kernel per claim."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl

from tests.interpreted import BF16, RNG, Buffer, cast, interpreted, numbers, same_bits
from tritongrad_kernels import interpret

pytestmark = interpreted

# ---- casts ----


@triton.jit
def cast_toward_zero(x, y, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(y + o, tl.load(x + o).to(tl.bfloat16, fp_downcast_rounding="rtz"))


def awkward_floats() -> np.ndarray:
    """Every exponent with mantissas at, just below and just above a tie, both signs, NaN, infinities, denormals."""
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x18000, 0x17FFF, 0x7F8000, 0x7FFFFF], np.uint32)
    exponents = np.arange(512, dtype=np.uint32) << 23
    bits = (exponents[:, None] | low).ravel()
    return np.resize(bits, 8192).astype(np.uint32).view(np.float32)


def test_float32_to_bfloat16_rounds_to_nearest_even() -> None:
    x, y = Buffer(awkward_floats()), Buffer(np.zeros(8192), BF16)
    cast[(1,)](x, y, 8192)
    with np.errstate(invalid="ignore"):  # numpy warns of NaN in a cast
        assert same_bits(y.data, x.data.astype(BF16))


def test_every_bfloat16_survives_float32() -> None:
    every = np.arange(65536, dtype=np.uint16).view(BF16)
    x, y, z = Buffer(every), Buffer(np.zeros(65536), np.float32), Buffer(np.zeros(65536), BF16)
    cast[(1,)](x, y, 65536)
    cast[(1,)](y, z, 65536)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(y.data, every.astype(np.float32), equal_nan=True)
        assert same_bits(z.data, every)


def test_float64_to_bfloat16_rounds_once() -> None:
    just_above_a_tie = 1 + 2.0**-8 + 2.0**-40  # float32 would drop the last term and make it a tie
    x, y = Buffer(np.array([just_above_a_tie, -just_above_a_tie, 1e300, np.nan])), Buffer(np.zeros(4), BF16)
    cast[(1,)](x, y, 4)
    assert same_bits(y.data, np.array([1.0078125, -1.0078125, np.inf, np.nan]).astype(BF16))


def test_rounding_toward_zero_truncates() -> None:
    x, y = Buffer(np.array([1.999, -1.999, np.inf, np.nan], np.float32)), Buffer(np.zeros(4), BF16)
    cast_toward_zero[(1,)](x, y, 4)
    assert same_bits(y.data, np.array([1.9921875, -1.9921875, np.inf, np.nan]).astype(BF16))


@pytest.mark.parametrize("other", [np.float16, np.float64, np.int32, np.int64, np.int8, np.uint8])
def test_bfloat16_to_and_from(other: Any) -> None:
    whole = np.arange(64).astype(BF16)
    x, y, z = Buffer(whole), Buffer(np.zeros(64), other), Buffer(np.zeros(64), BF16)
    cast[(1,)](x, y, 64)
    cast[(1,)](y, z, 64)
    assert np.array_equal(y.data, whole.astype(other)) and same_bits(z.data, whole)


# ---- arithmetic ----


@triton.jit
def binary(a, b, c, N: tl.constexpr, OP: tl.constexpr):
    o = tl.arange(0, N)
    x = tl.load(a + o)
    y = tl.load(b + o)
    if OP == "add":
        z = x + y
    elif OP == "sub":
        z = x - y
    elif OP == "mul":
        z = x * y
    elif OP == "div":
        z = (x / y).to(x.dtype)
    elif OP == "max":
        z = tl.maximum(x, y)
    elif OP == "min":
        z = tl.minimum(x, y)
    elif OP == "less":
        z = (x < y).to(x.dtype)
    elif OP == "where":
        z = tl.where((x < y) & (x != 0), x, y)
    elif OP == "neg":
        z = -x
    elif OP == "abs":
        z = tl.abs(x)
    elif OP == "constant":
        z = x * 1.01 + tl.full((N,), 3.14159, x.dtype) - tl.zeros((N,), x.dtype)
    elif OP == "fma":
        z = tl.fma(x, y, x)
    tl.store(c + o, z)


def in_float32(op: Callable) -> Callable:
    return lambda *values: op(*(v.astype(np.float32) for v in values)).astype(BF16)


BINARY: dict[str, Callable] = {
    "add": in_float32(np.add),
    "sub": in_float32(np.subtract),
    "mul": in_float32(np.multiply),
    "div": in_float32(np.divide),
    "max": in_float32(np.maximum),
    "min": in_float32(np.minimum),
    "less": in_float32(np.less),
    "where": lambda x, y: np.where((x < y) & (x != 0), x, y),
    "neg": lambda x, y: -x,
    "abs": lambda x, y: np.abs(x),
    "constant": lambda x, y: x * BF16.type(1.01) + BF16.type(3.14159),
    "fma": in_float32(lambda x, y: x * y + x),
}


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("n", [64, 2048])
def test_bfloat16_arithmetic(op: str, n: int) -> None:
    x, y, z = Buffer(numbers(n)), Buffer(numbers(n)), Buffer(np.zeros(n), BF16)
    binary[(1,)](x, y, z, n, op)
    assert same_bits(z.data, np.asarray(BINARY[op](x.data, y.data)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("op", ["add", "mul", "max", "less"])
def test_other_types_are_numpy(dtype: Any, op: str) -> None:
    x, y = ((RNG.standard_normal(64) * 100).astype(dtype) for _ in range(2))
    z = Buffer(np.zeros(64), dtype)
    binary[(1,)](Buffer(x), Buffer(y), z, 64, op)
    numpy_op = {"add": np.add, "mul": np.multiply, "max": np.maximum, "less": np.less}[op]
    assert np.array_equal(z.data, numpy_op(x, y).astype(dtype))


@triton.jit
def unary(x, y, N: tl.constexpr, OP: tl.constexpr):
    o = tl.arange(0, N)
    v = tl.load(x + o)
    if OP == "erf":
        w = tl.erf(v)
    elif OP == "exp":
        w = tl.exp(v.to(tl.float32)).to(v.dtype)
    elif OP == "rsqrt":
        w = tl.rsqrt(v)
    elif OP == "floor":
        w = tl.floor(v)
    tl.store(y + o, w)


@pytest.mark.parametrize(("op", "dtype"), [("exp", BF16), ("floor", np.float32)])
def test_unary(op: str, dtype: Any) -> None:
    x, y = Buffer(numbers(64, dtype)), Buffer(np.zeros(64), dtype)
    unary[(1,)](x, y, 64, op)
    assert np.array_equal(y.data, getattr(np, op)(x.data.astype(np.float32)).astype(dtype))


def test_erf_and_rsqrt() -> None:
    x, y = Buffer(np.linspace(-7, 7, 1024), np.float32), Buffer(np.zeros(1024), np.float32)
    unary[(1,)](x, y, 1024, "erf")
    np.testing.assert_allclose(y.data, [math.erf(v) for v in x.data], rtol=1.2e-7)
    x.data[:] = np.abs(x.data) + 0.1
    unary[(1,)](x, y, 1024, "rsqrt")
    np.testing.assert_allclose(y.data, 1 / np.sqrt(x.data), rtol=2e-7)


@triton.jit
def integers(a, b, q, r, h, N: tl.constexpr):
    o = tl.arange(0, N)
    x = tl.load(a + o)
    y = tl.load(b + o)
    tl.store(q + o, x // y)
    tl.store(r + o, x % y)
    tl.store(h + o, tl.umulhi(x, y))


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_integer_division_truncates_and_umulhi_is_exact(dtype: Any) -> None:
    limit = np.iinfo(dtype)
    a = RNG.integers(limit.min, limit.max, 64, dtype)
    b = np.where(RNG.integers(0, 2, 64) == 1, RNG.integers(1, 9, 64, dtype), np.dtype(dtype).type(7))
    b = b if limit.min == 0 else b * RNG.choice(np.array([-1, 1], dtype), 64)
    out = [Buffer(np.zeros(64), dtype) for _ in range(3)]
    integers[(1,)](Buffer(a), Buffer(b), *out, 64)
    pairs = [(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    quotient = [abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) for x, y in pairs]
    assert out[0].data.tolist() == quotient
    assert out[1].data.tolist() == [x - q * y for (x, y), q in zip(pairs, quotient, strict=True)]
    if limit.min == 0:
        assert out[2].data.tolist() == [x * y >> limit.bits for x, y in pairs]


@triton.jit
def int_overflow(out, a):
    tl.store(out, a * a)


def test_int32_wraps() -> None:
    out = Buffer(np.zeros(1), np.int32)
    int_overflow[(1,)](out, 70000)
    assert out.data[0] == (70000 * 70000 + 2**31) % 2**32 - 2**31


# ---- NaN ----


@triton.jit
def nan_max(a, b, out, N: tl.constexpr, ALL: tl.constexpr):
    o = tl.arange(0, N)
    x = tl.load(a + o)
    y = tl.load(b + o)
    if ALL:
        tl.store(out + o, tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL))
        tl.store(out + N + o, tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL))
        tl.store(out + 2 * N + o, tl.clamp(x, -1.0, 1.0, propagate_nan=tl.PropagateNan.ALL))
    else:
        tl.store(out + o, tl.maximum(x, y))
        tl.store(out + N + o, tl.minimum(x, y))
        tl.store(out + 2 * N + o, tl.clamp(x, -1.0, 1.0))
    tl.store(out + 3 * N, tl.max(x, 0))
    tl.store(out + 3 * N + 1, tl.min(x, 0))


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, BF16])
def test_nan_propagates_when_asked_to(dtype: Any, everywhere: bool) -> None:
    a = np.array([np.nan, 1, np.nan, 5]).astype(dtype)
    b = np.array([2, np.nan, np.nan, 3]).astype(dtype)
    out = Buffer(np.zeros(14), dtype)
    nan_max[(1,)](Buffer(a), Buffer(b), out, 4, everywhere)
    wide = a.astype(np.float32), b.astype(np.float32)
    larger, smaller = (np.maximum, np.minimum) if everywhere else (np.fmax, np.fmin)
    clamped = smaller(larger(wide[0], np.float32(-1)), np.float32(1))
    want = np.concatenate([larger(*wide), smaller(*wide), clamped, [5, 1]])
    assert np.array_equal(out.data.astype(np.float32), want, equal_nan=True)


# ---- dot ----


@triton.jit
def dot(a, b, c, N: tl.constexpr, PRECISION: tl.constexpr):
    r = tl.arange(0, N)
    at = r[:, None] * N + r[None, :]
    x = tl.load(a + at)
    y = tl.load(b + at)
    tl.store(c + at, tl.dot(x, y, tl.load(c + at), input_precision=PRECISION, out_dtype=c.dtype.element_ty))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(BF16, 2e-6), (np.float16, 2e-6), (np.float32, 2e-6), (np.float64, 1e-14)]
)
def test_dot_accumulates_wide(dtype: Any, tolerance: float) -> None:
    a, b = numbers(1024, dtype).reshape(32, 32), numbers(1024, dtype).reshape(32, 32)
    accumulator = np.float64 if dtype is np.float64 else np.float32
    c = Buffer(np.ones((32, 32)), accumulator)
    dot[(1,)](Buffer(a), Buffer(b), c, 32, "ieee")
    want = a.astype(np.float64) @ b.astype(np.float64) + 1
    np.testing.assert_allclose(c.data, want, rtol=tolerance, atol=tolerance * 10)


def test_dot_of_int8_is_exact() -> None:
    a, b = (RNG.integers(-128, 128, (32, 32)).astype(np.int8) for _ in range(2))
    c = Buffer(np.zeros((32, 32)), np.int32)
    dot[(1,)](Buffer(a), Buffer(b), c, 32, "ieee")
    assert np.array_equal(c.data, a.astype(np.int32) @ b.astype(np.int32))


@pytest.mark.parametrize(("mode", "want"), [("off", 1 + 2.0**-11), ("round", 1 + 2.0**-10), ("truncate", 1.0)])
def test_tf32_rounds_operands_on_request(mode: str, want: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpret.state, "tf32", mode)
    a, b = Buffer(np.eye(16) * (1 + 2.0**-11), np.float32), Buffer(np.eye(16), np.float32)
    for precision, expected in (("tf32", want), ("ieee", 1 + 2.0**-11)):
        c = Buffer(np.zeros(256), np.float32)
        dot[(1,)](a, b, c, 16, precision)
        assert c.data[0] == expected


# ---- reductions and scans ----


@triton.jit
def reductions(x, out, M: tl.constexpr, N: tl.constexpr):
    r = tl.arange(0, M)
    c = tl.arange(0, N)
    v = tl.load(x + r[:, None] * N + c[None, :])
    tl.store(out + r, tl.sum(v, 1).to(tl.float32))
    tl.store(out + M + r, tl.max(v, 1).to(tl.float32))
    tl.store(out + 2 * M + r, tl.min(v, 1).to(tl.float32))
    tl.store(out + 3 * M + r, tl.argmax(v, 1).to(tl.float32))
    tl.store(out + 4 * M + r, tl.argmin(v, 1).to(tl.float32))
    tl.store(out + 5 * M, tl.sum(v).to(tl.float32))


@pytest.mark.parametrize("dtype", [BF16, np.float32])
def test_reductions(dtype: Any) -> None:
    x, out = numbers(8 * 64, dtype).reshape(8, 64), Buffer(np.zeros(41), np.float32)
    reductions[(1,)](Buffer(x), out, 8, 64)
    wide = x.astype(np.float32)
    exact = [wide.max(1), wide.min(1), wide.argmax(1), wide.argmin(1)]
    assert np.array_equal(out.data[8:40].reshape(4, 8), exact)
    tolerance = 2**-8 if dtype == BF16 else 1e-6
    np.testing.assert_allclose(out.data[:8], wide.sum(1), rtol=tolerance, atol=1e-5)
    np.testing.assert_allclose(out.data[40], wide.sum(), rtol=tolerance, atol=1e-5)


@triton.jit
def _welford(m0, v0, n0, m1, v1, n1):
    n = n0 + n1
    d = m1 - m0
    return m0 + d * n1 / n, v0 + v1 + d * d * n0 * n1 / n, n


@triton.jit
def _affine(a0, b0, a1, b1):
    return a0 * a1, b0 * a1 + b1


@triton.jit
def _add(a, b):
    return a + b


@triton.jit
def _larger_then_leftmost(v0, i0, v1, i1):
    first = v0 > v1 or (v0 == v1 and i0 < i1)
    return tl.where(first, v0, v1), tl.where(first, i0, i1)


@triton.jit
def welford(x, out, M: tl.constexpr, N: tl.constexpr):
    r = tl.arange(0, M)
    c = tl.arange(0, N)
    v = tl.load(x + r[:, None] * N + c[None, :])
    _mean, m2, n = tl.reduce((v, v * 0.0, v * 0.0 + 1.0), 0, _welford)
    tl.store(out + c, m2 / n)
    kept = tl.reduce(v, 0, _add, keep_dims=True)
    tl.store(out + N + c, tl.reshape(kept, (N,)))
    tl.store(out + 2 * N, tl.reduce(v, None, _add))
    _best, where = tl.reduce((v, r[:, None] + tl.zeros((M, N), tl.int32)), 0, _larger_then_leftmost)
    tl.store(out + 2 * N + 1 + c, where.to(tl.float32))


def test_generic_reduce_of_a_tuple() -> None:
    x, out = numbers(32 * 16, np.float32).reshape(32, 16), Buffer(np.zeros(49), np.float32)
    welford[(1,)](Buffer(x), out, 32, 16)
    np.testing.assert_allclose(out.data[:16], x.var(0), rtol=1e-5)
    np.testing.assert_allclose(out.data[16:32], x.sum(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(out.data[32], x.sum(), rtol=1e-5, atol=1e-5)
    assert np.array_equal(out.data[33:], x.argmax(0))


@triton.jit
def scans(a, b, out, N: tl.constexpr):
    o = tl.arange(0, N)
    x = tl.load(a + o)
    y = tl.load(b + o)
    _, z = tl.associative_scan((x, y), 0, _affine)
    tl.store(out + o, z)
    tl.store(out + N + o, tl.cumsum(y, 0).to(y.dtype))
    tl.store(out + 2 * N + o, tl.cumsum(y, 0, reverse=True).to(y.dtype))
    tl.store(out + 3 * N + o, tl.associative_scan(y, 0, _add, reverse=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (BF16, 0.05)])
def test_scans(dtype: Any, tolerance: float) -> None:
    a, b = RNG.random(64).astype(dtype), RNG.random(64).astype(dtype)
    out, state, recurrence = Buffer(np.zeros(256), dtype), 0.0, []
    for scale, shift in zip(a.astype(float), b.astype(float), strict=True):
        state = state * scale + shift
        recurrence.append(state)
    scans[(1,)](Buffer(a), Buffer(b), out, 64)
    wide = b.astype(np.float64)
    backwards = wide[::-1].cumsum()[::-1]
    want = np.concatenate([recurrence, wide.cumsum(), backwards, backwards])
    np.testing.assert_allclose(out.data.astype(np.float64), want, rtol=tolerance)
