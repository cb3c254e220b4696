"""The repaired interpreter against numpy and ml_dtypes, one small kernel per claim."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

# First: this decides, before triton is imported, that kernels are interpreted.
from tritongrad_kernels import interpret  # isort: skip

import ml_dtypes
import numpy as np
import pytest
import triton
import triton.language as tl
from triton.runtime.interpreter import interpreter_builder
from triton.tools.tensor_descriptor import TensorDescriptor

pytestmark = pytest.mark.skipif(not interpret.installed(), reason="kernels are compiled in this process")

BF16 = np.dtype(ml_dtypes.bfloat16)
RNG = np.random.default_rng(0)


class Buffer:
    """A numpy array as a kernel argument: an address and a dtype, nothing else."""

    def __init__(self, data: Any, dtype: Any = None) -> None:
        self.data = np.array(data, dtype=dtype, order="C")
        self.dtype, self.shape = self.data.dtype, self.data.shape

    def data_ptr(self) -> int:
        return self.data.ctypes.data

    def stride(self) -> list[int]:
        return [step // self.dtype.itemsize for step in self.data.strides]


def aligned(data: np.ndarray) -> Buffer:
    """A Buffer on a 16-byte boundary, which descriptors require."""
    buffer = Buffer(np.zeros(data.size + 16, data.dtype))
    skip = -buffer.data_ptr() % 16 // data.dtype.itemsize
    buffer.data = buffer.data[skip : skip + data.size].reshape(data.shape)
    buffer.data[...] = data
    buffer.shape = data.shape
    return buffer


def same_bits(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal bit for bit, except that any NaN equals any other."""
    nan = np.isnan(got.astype(np.float64)), np.isnan(want.astype(np.float64))
    return np.array_equal(nan[0], nan[1]) and np.array_equal(got[~nan[0]].view("u2"), want[~nan[1]].view("u2"))


def numbers(n: int, dtype: Any = BF16) -> np.ndarray:
    return RNG.standard_normal(n).astype(dtype)


# ---- casts ----


@triton.jit
def cast(x, y, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(y + o, tl.load(x + o).to(y.dtype.element_ty))


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
    monkeypatch.setattr(interpret, "tf32", mode)
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


# ---- memory ----


@triton.jit
def copy_nd(x, y, h, w, sxh, sxw, syh, syw, oh, ow, H: tl.constexpr, W: tl.constexpr, HOLES: tl.constexpr):
    r = tl.arange(0, H)[:, None]
    c = tl.arange(0, W)[None, :]
    mask = (r >= oh) & (r < h) & (c >= ow) & (c < w)
    if HOLES:
        mask = mask & (r % 3 != 0)
    if HOLES == 2:
        mask = mask & ((r + c) % 5 != 0)
    v = tl.load(x + r * sxh + c * sxw, mask=mask, other=-7.0)
    tl.store(y + (r * syh + c * syw), v)
    tl.store(y + H * W + (r * syh + c * syw), v, mask=mask)


@pytest.mark.parametrize("holes", [0, 1, 2])
@pytest.mark.parametrize("order", ["rows", "columns", "strided", "repeated"])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, BF16])
@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (8, 8)])
def test_masked_loads_and_stores(shape: tuple[int, int], dtype: Any, order: str, holes: int) -> None:
    (rows, columns), (h, w, oh, ow) = shape, (shape[0] - 3, shape[1] - 2, 1, 0)
    sx = {"rows": (columns, 1), "columns": (1, rows), "strided": (2 * columns, 2), "repeated": (0, 1)}[order]
    sy = (1, rows) if order == "columns" else (columns, 1)
    x, y = Buffer(RNG.integers(0, 100, 4 * rows * columns), dtype), Buffer(np.full(2 * rows * columns, 9), dtype)
    copy_nd[(1,)](x, y, h, w, *sx, *sy, oh, ow, rows, columns, holes)
    r, c = np.indices(shape)
    mask = (r >= oh) & (r < h) & (c >= ow) & (c < w)
    mask &= ((r % 3 != 0) | (holes == 0)) & (((r + c) % 5 != 0) | (holes < 2))
    values = x.data[r * sx[0] + c * sx[1]]
    want = np.full(2 * rows * columns, 9).astype(dtype)
    at = r * sy[0] + c * sy[1]
    want[at] = np.where(mask, values, np.array(-7).astype(dtype))
    want[rows * columns + at[mask]] = values[mask]
    assert np.array_equal(y.data, want)


@triton.jit
def copy_3d(x, y, s0, s1, s2, n, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    a = tl.arange(0, A)[:, None, None]
    b = tl.arange(0, B)[None, :, None]
    c = tl.arange(0, C)[None, None, :]
    v = tl.load(x + a * s0 + b * s1 + c * s2, mask=(b < n) & (a > 0), other=5)
    tl.store(y + (a * B + b) * C + c, v)
    tl.store(x + a * s0 + b * s1 + c * s2, v * 2, mask=b < n)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2)])
def test_loads_and_stores_along_any_axis(axes: tuple[int, ...]) -> None:
    x, y = Buffer(RNG.integers(0, 99, (8, 16, 32)), np.int32), Buffer(np.zeros((8, 16, 32)), np.int32)
    memory = x.data.transpose(axes).copy()
    view = memory.transpose(np.argsort(axes))
    source = Buffer(np.zeros(0, np.int32))
    source.data = memory
    copy_3d[(1,)](source, y, *(step // 4 for step in view.strides), 13, 8, 16, 32)
    want = np.full((8, 16, 32), 5)
    want[1:, :13] = x.data[1:, :13]
    assert np.array_equal(y.data, want)
    x.data[:, :13] = want[:, :13] * 2
    assert np.array_equal(view, x.data)


@triton.jit
def wrapping_index(x, y, start, N: tl.constexpr):
    o = start + tl.arange(0, N)  # passes the largest int32 halfway
    tl.store(y + tl.arange(0, N), tl.load(x + o, mask=o > 0, other=-1))


def test_an_index_that_overflows_is_not_a_run() -> None:
    x, y = Buffer(np.arange(1024), np.int32), Buffer(np.zeros(1024), np.int32)
    start = 2**31 - 512
    moved = Buffer(np.zeros(1), np.int32)
    moved.data_ptr = lambda: x.data_ptr() - 4 * start  # type: ignore[method-assign]
    wrapping_index[(1,)](moved, y, start, 1024)
    assert np.array_equal(y.data, np.where(np.arange(1024) < 512, np.arange(1024), -1))


@triton.jit
def pointers_step_by_step(x, y, stride, N: tl.constexpr):
    o = tl.arange(0, N)
    rows = (x + o * stride)[:, None]
    block = tl.trans(tl.load(rows + o[None, :]))
    tl.store((y + o[None, :]) + o[:, None] * N, block)
    tl.store(tl.where(o < 4, y, y + 8) + o, 1)


@pytest.mark.parametrize("n", [16, 32])
def test_pointers_built_step_by_step(n: int) -> None:
    x, y = Buffer(RNG.integers(0, 99, (n, 2 * n)), np.int32), Buffer(np.zeros((n, n)), np.int32)
    pointers_step_by_step[(1,)](x, y, 2 * n, n)
    want = x.data[:, :n].T.copy()
    lane = np.arange(n)
    want.ravel()[np.where(lane < 4, lane, lane + 8)] = 1
    assert np.array_equal(y.data, want)


@triton.jit
def bytes_apart(x, y, shift, N: tl.constexpr, ALONG: tl.constexpr):
    r = tl.arange(0, N)[:, None]
    c = tl.arange(0, N)[None, :]
    if ALONG:
        at = (r * (4 * N + shift) + c * 4) + tl.zeros((N, N), tl.int32)
    else:
        at = (r * N + c) * (4 + shift)
    p = (x.to(tl.int64) + at).to(tl.pointer_type(tl.int32))
    tl.store(y + r * N + c, tl.load(p))
    tl.store(p, 7)


@pytest.mark.parametrize("along", [True, False])
def test_unaligned_elements(along: bool) -> None:
    x, y = Buffer(RNG.integers(0, 99, 32 * 32 * 5 + 32), np.int8), Buffer(np.zeros((32, 32)), np.int32)
    r, c = np.indices((32, 32))
    at = r * 129 + c * 4 if along else (r * 32 + c) * 5
    want = [int.from_bytes(x.data.tobytes()[i : i + 4], "little") for i in at.ravel()]
    bytes_apart[(1,)](x, y, 1, 32, along)
    assert y.data.ravel().tolist() == want
    assert (x.data[at] == 7).all() and (x.data[at + 3] == 0).all()


@triton.jit
def gather(x, index, y, n, N: tl.constexpr):
    o = tl.arange(0, N)
    where = tl.load(index + o)
    tl.store(y + o, tl.load(x + where, mask=where < n, other=0))
    tl.store(y + N + where, o, mask=where < n)


@pytest.mark.parametrize("n", [16, 2048])
def test_gather_and_scatter(n: int) -> None:
    x, index, y = RNG.integers(0, 99, n // 2), RNG.permutation(n), Buffer(np.zeros(2 * n), np.int32)
    gather[(1,)](Buffer(x, np.int32), Buffer(index, np.int64), y, n // 2, n)
    inside = index < n // 2
    assert np.array_equal(y.data[:n], np.where(inside, x[np.where(inside, index, 0)], 0))
    assert np.array_equal(y.data[n:][index[inside]], np.arange(n)[inside])


@triton.jit
def masked_far_away(x, y, N: tl.constexpr):
    o = tl.arange(0, N).to(tl.int64)
    tl.store(y + o, tl.load(x + o * (1 << 40), mask=o == 0, other=3.0))
    tl.store(x + o * (1 << 40), 5.0, mask=o == 0)
    tl.store(x + o * (1 << 40), 6.0, mask=o < 0)


@pytest.mark.parametrize("n", [16, 4096])
def test_masked_lanes_are_never_touched(n: int) -> None:
    x, y = Buffer(np.ones(1), np.float32), Buffer(np.zeros(n), np.float32)
    masked_far_away[(1,)](x, y, n)
    assert y.data[0] == 1 and (y.data[1:] == 3).all() and x.data[0] == 5


@triton.jit
def pointer_table(table, y, N: tl.constexpr):
    x = tl.load(table + tl.program_id(0)).to(tl.pointer_type(tl.float32))
    o = tl.arange(0, N)
    tl.store(y + tl.program_id(0) * N + o, tl.load(x + o))


def test_pointers_read_from_memory() -> None:
    parts = [Buffer(numbers(1024, np.float32)) for _ in range(3)]
    y = Buffer(np.zeros(3 * 1024), np.float32)
    pointer_table[(3,)](Buffer([p.data_ptr() for p in parts], np.int64), y, 1024)
    assert np.array_equal(y.data, np.concatenate([p.data for p in parts]))


@triton.jit
def atomics(x, counter, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.atomic_add(x + o // 2, 1.5)
    tl.atomic_max(counter, 7)
    tl.atomic_cas(counter + 1, 0, 5)


def test_atomics() -> None:
    x, counter = Buffer(np.zeros(32), np.float32), Buffer(np.zeros(2), np.int32)
    atomics[(3,)](x, counter, 64)
    assert (x.data == 9).all() and counter.data.tolist() == [7, 5]


# ---- descriptors ----


@triton.jit
def descriptors_made_here(x, y, m, n, row, column, M: tl.constexpr, N: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[m, n], strides=[n, 1], block_shape=[M, N])
    target = tl.make_tensor_descriptor(y, shape=[m, n], strides=[n, 1], block_shape=[M, N])
    target.store([0, 0], source.load([row, column]) + 1)


@triton.jit
def descriptors_given(source, target, row, column):
    target.store([0, 0], source.load([row, column]) + 1)


@pytest.mark.parametrize("dtype", [BF16, np.float32, np.int32])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (-2, 8), (12, 40), (100, 0)])
def test_descriptors(dtype: Any, row: int, column: int) -> None:
    x = aligned(RNG.integers(0, 99, (20, 48)).astype(dtype))
    padded = np.zeros((200, 200)).astype(dtype)
    padded[50:70, 50:98] = x.data
    block = padded[50 + row :, 50 + column :][:16, :32]
    for host in (False, True):
        y = aligned(np.zeros((20, 48), dtype))
        if host:
            pair = [TensorDescriptor(b, [20, 48], [48, 1], [16, 32]) for b in (x, y)]
            descriptors_given[(1,)](*pair, row, column)
        else:
            descriptors_made_here[(1,)](x, y, 20, 48, row, column, 16, 32)
        assert np.array_equal(y.data[:16, :32], (block + 1).astype(dtype))


def test_descriptor_rounds_to_tf32() -> None:
    x, y = aligned(np.full((16, 32), 1 + 2.0**-11, np.float32)), aligned(np.zeros((16, 32), np.float32))
    source = TensorDescriptor(x, [16, 32], [32, 1], [16, 32])
    source.round_f32_to_tf32 = True
    descriptors_given[(1,)](source, TensorDescriptor(y, [16, 32], [32, 1], [16, 32]), 0, 0)
    assert (y.data == 2 + 2.0**-10).all()
    with pytest.raises(Exception, match="not a multiple of 16 bytes"):
        descriptors_given[(1,)](source, source, 0, 1)


@triton.jit
def padded_with_nan(x, y, M: tl.constexpr, N: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[4, N], strides=[N, 1], block_shape=[M, N], padding_option="nan")
    r = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(y + r, source.load([0, 0]))


def test_descriptor_padding_nan() -> None:
    x, y = aligned(np.ones((4, 16), BF16)), Buffer(np.zeros((8, 16)), BF16)
    padded_with_nan[(1,)](x, y, 8, 16)
    assert (y.data[:4] == 1).all() and np.isnan(y.data[4:].astype(np.float32)).all()


# ---- language ----


@triton.jit
def run_time_range(out, n, start):
    total = 0
    for i in range(n):
        total += i
    for _ in range(start, n, 2):
        total += 100
    for _ in tl.range(tl.load(out)):
        total += 1000
    tl.store(out, total)


def test_range_over_run_time_values() -> None:
    out = Buffer([3], np.int32)
    run_time_range[(1,)](out, 5, 1)
    assert out.data[0] == 10 + 200 + 3000


@triton.jit
def flags(out, flag, other):
    if flag:
        tl.store(out, 1)
    else:
        tl.store(out, 2)
    tl.store(out + 1, tl.where(other, 3, 4))
    if flag and other:
        tl.store(out + 2, 5)
    if not flag or other:
        tl.store(out + 2, 6)


@pytest.mark.parametrize(("flag", "other"), [(True, True), (True, False), (False, True), (False, False)])
def test_bool_arguments(flag: bool, other: bool) -> None:
    out = Buffer(np.zeros(3), np.int32)
    flags[(1,)](out, flag, other)
    assert out.data.tolist() == [1 if flag else 2, 3 if other else 4, 6 if not flag or other else 0]


@triton.jit
def block_logic(x, out, n, N: tl.constexpr):
    o = tl.arange(0, N)
    v = tl.load(x + o)
    tl.store(out + o, tl.where(0 < o < n, 1, 0))
    tl.store(out + N + o, ((o > 2 and v > 0) or o == 0).to(tl.int32))
    tl.store(out + 2 * N + o, tl.where(not (v > 0), 1, 0))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_python_logic_on_blocks_is_elementwise() -> None:
    x, out = numbers(16, np.float32), Buffer(np.zeros(48), np.int32)
    block_logic[(1,)](Buffer(x), out, 9, 16)
    o = np.arange(16)
    want = [(o > 0) & (o < 9), ((o > 2) & (x > 0)) | (o == 0), ~(x > 0)]
    assert np.array_equal(out.data.reshape(3, 16), want)


@triton.jit
def logic_with_constants(out, n, YES: tl.constexpr, NO: tl.constexpr):
    tl.store(out, (YES and n > 3).to(tl.int32))
    tl.store(out + 1, (n > 3 and YES).to(tl.int32))
    tl.store(out + 2, (n > 3 or NO).to(tl.int32))
    if NO and tl.load(out + (1 << 40)) > 0:
        tl.store(out, 9)
    if not (YES and YES) or (n < 0 and NO):
        tl.store(out, 9)


def test_logic_with_constants() -> None:
    out = Buffer(np.zeros(3), np.int32)
    logic_with_constants[(1,)](out, 5, True, False)
    assert out.data.tolist() == [1, 1, 1]


@triton.jit
def branch_on_block(x):
    if tl.load(x + tl.arange(0, 4)) > 0:
        tl.store(x, 1.0)


@triton.jit
def _double(v):
    return v * 2


@triton.jit
def arguments(pair, maybe, scale, big, out, N: tl.constexpr, F: tl.constexpr, TEXT: tl.constexpr = "x"):
    o = tl.arange(0, N)
    v = F(tl.load(pair[0] + o) + pair[1]) * scale
    if maybe is not None:
        v += tl.load(maybe + o)
    if TEXT == "y":
        v += 1
    tl.store(out + o, v + (big >> 40).to(v.dtype))


def test_argument_kinds() -> None:
    x, out = Buffer(np.arange(4), np.float32), Buffer(np.zeros(4), np.float32)
    arguments[(1,)]((x, 3), None, 0.5, 1 << 40, out, 4, F=_double, num_warps=8)
    assert np.array_equal(out.data, x.data + 3 + 1)
    arguments[lambda meta: (meta["N"] // 4,)]((x, 3), x, 0.5, 1 << 40, out, N=4, F=_double, TEXT="y")
    assert np.array_equal(out.data, x.data * 2 + 3 + 1 + 1)


def test_torch_tensors_are_arguments() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.randn(64).bfloat16(), torch.zeros(64)
    cast[(1,)](x, y, 64)
    assert torch.equal(y, x.float())


@triton.jit
def float_argument(out, x):
    tl.store(out, x)


@triton.jit
def annotated_arguments(out, x: tl.float64, n: tl.int64, m: tl.int64):
    tl.store(out, x)
    tl.store(out + 1, n * n - m * m)


def test_float_arguments_are_float32() -> None:
    out = Buffer(np.zeros(1), np.float64)
    float_argument[(1,)](out, 0.1)
    assert out.data[0] == np.float32(0.1)
    float_argument[(1,)](out, 1e300)
    assert out.data[0] == np.inf


def test_annotations_choose_the_type_of_a_number() -> None:
    out = Buffer(np.zeros(2), np.float64)
    annotated_arguments[(1,)](out, 0.1, 70000, 60000)
    assert out.data.tolist() == [0.1, 70000**2 - 60000**2]


class Pair(NamedTuple):
    pointer: Any
    number: int


def test_named_tuples_and_hooks() -> None:
    x, out, seen = Buffer(np.arange(4), np.float32), Buffer(np.zeros(4), np.float32), []
    arguments.add_pre_run_hook(lambda *values, **named: seen.append(named["N"]))
    try:
        arguments[(1,)](Pair(x, 3), None, 1.0, 0, out, N=4, F=_double)
    finally:
        arguments.pre_run_hooks.clear()
    assert np.array_equal(out.data, (x.data + 3) * 2) and seen == [4]
    assert arguments.warmup(np.float32, grid=(1,)) is None


@pytest.mark.parametrize("named", [{"num_warp": 4}, {"X": 1}])
def test_misspelt_arguments_are_refused(named: dict[str, int]) -> None:
    out = Buffer([0], np.float32)
    with pytest.raises(TypeError, match="no parameter"):
        float_argument[(1,)](out, 0.1, **named)
    with pytest.raises(TypeError, match="missing x"):
        float_argument[(1,)](out)
    with pytest.raises(TypeError, match="takes 2 arguments, 3 were given"):
        float_argument[(1,)](out, 0.1, 0.2)


# ---- order, errors, state ----


@triton.jit
def write_order(counter, out, width):
    pid = tl.program_id(0) * width + tl.program_id(1)
    tl.store(out + tl.atomic_add(counter, 1), pid)


def run_order() -> list[int]:
    counter, out = Buffer([0], np.int32), Buffer(np.zeros(12), np.int32)
    write_order[(3, 4)](counter, out, 4)
    return out.data.tolist()


def test_order_of_programs() -> None:
    forward = list(range(12))
    assert run_order() == forward
    with interpret.order("reverse"):
        assert run_order() == forward[::-1]
    with interpret.order(7):
        shuffled = run_order()
        assert shuffled == run_order() != forward and sorted(shuffled) == forward
    assert run_order() == forward
    with pytest.raises(ValueError, match="seed"), interpret.order("sideways"):
        pass


@triton.jit
def fails_at(out, pid):
    if tl.program_id(0) == pid:
        tl.static_assert(False, "the message")
    tl.store(out, 1)


def test_errors_keep_their_cause_and_leave_no_state() -> None:
    out = Buffer([0], np.int32)
    with pytest.raises(Exception, match=r"fails_at, program \(2, 0, 0\).*the message") as error:
        fails_at[(4,)](out, 2)
    assert isinstance(error.value.__cause__, AssertionError)
    assert interpreter_builder.grid_idx is None
    with pytest.raises(Exception, match=r"tl\.where"):
        branch_on_block[(1,)](Buffer(np.zeros(4), np.float32))
    assert run_order() == list(range(12))


def test_kernel_modules_are_left_alone() -> None:
    float_argument[(1,)](Buffer([0], np.float32), 0.1)
    assert "interpreter_semantic" not in globals() and "_implicit_cvt" not in globals()


def make_closure(amount: int) -> Any:
    @triton.jit
    def adds(out):
        tl.store(out, tl.load(out) + amount)

    return adds


def test_closures() -> None:
    out = Buffer([1], np.int32)
    make_closure(5)[(1,)](out)
    make_closure(6)[(1,)](out)
    assert out.data[0] == 12


# ---- seams ----


class Counting(interpret.Memory):
    """A memory that counts lanes, as a checking tool would."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def load(self, addresses: interpret.Addresses, *rest: Any) -> np.ndarray:
        self.loaded.append(addresses.array().size)
        return super().load(addresses, *rest)

    def load_box(self, box: interpret.Box, *rest: Any) -> np.ndarray:
        view = box.view(np.dtype(np.uint8))
        assert box.pointers().shape == box.shape and box.pointers().min() == view.ctypes.data
        self.loaded.append(box.pointers().size)
        return super().load_box(box, *rest)


def test_memory_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    monkeypatch.setattr(interpret, "memory", counting)
    cast[(1,)](Buffer(numbers(64)), Buffer(np.zeros(64), np.float32), 64)
    x = aligned(np.zeros((20, 48), np.float32))
    descriptors_made_here[(1,)](x, x, 20, 48, 8, 32, 16, 32)
    assert counting.loaded == [64, 12 * 16]


# ---- installing ----

RESTORES = """
import inspect, json, sys
import triton, triton.language as tl
import triton.runtime.interpreter as stock
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("interpret", sys.argv[1])
interpret = sys.modules["interpret"] = module_from_spec(spec)
spec.loader.exec_module(interpret)
owners = [tl, tl.core, tl.math, tl.tensor, tl.dtype, tl.block_type, tl.core.tensor_descriptor_base, stock,
          stock.InterpreterBuilder, stock.TensorHandle, stock.ReduceOps, stock.ScanOps, stock.InterpretedFunction,
          stock.interpreter_builder, stock.TritonSemantic]
def state():
    return [dict(vars(owner)) for owner in owners]
before = state()
interpret.install(); interpret.install()
during = state()
interpret.uninstall(); interpret.uninstall()
after = state()
lazy = {"__annotations__"}  # made by being read
same = [a.keys() - lazy == b.keys() - lazy and all(a[k] is b[k] for k in a) for a, b in zip(before, after)]
print(json.dumps([same, during != before]))
triton.__version__ = sys.argv[2]
try:
    interpret.install()
except RuntimeError as error:
    print(error)
"""


def fresh(script: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_uninstall_restores_and_unknown_versions_are_refused() -> None:
    states, refusal = fresh(RESTORES, interpret.__file__, "4.1.0")
    same, changed = json.loads(states)
    assert all(same) and changed
    assert "4.1.0" in refusal and "3.6, 3.7, 3.8, 3.9" in refusal


COVERED = '''
import triton
import triton.language as tl


@triton.jit
def inner(x):
    y = x + 1
    return y


@triton.jit(
    do_not_specialize=["n"],
)
def outer(
    out,
    n,
    DOUBLE: tl.constexpr,
):
    """A docstring.

    def not_a_definition(): this line must confuse nobody.
    """
    v = inner(
        n,
    )
    if DOUBLE:
        v = v * 2
    else:
        v = v * 3
    tl.store(out, v)
'''

TRACED = """
import sys
import tritongrad_kernels
import numpy, covered
class Out:
    data = numpy.zeros(1, "i4"); dtype = data.dtype
    def data_ptr(self): return self.data.ctypes.data
lines = set()
def trace(frame, event, argument):
    if frame.f_code.co_filename == covered.__file__ and event == "line":
        lines.add(frame.f_lineno)
    return trace
sys.settrace(trace)
covered.outer[(1,)](Out(), 5, True)
sys.settrace(None)
print(Out.data[0], *sorted(lines))
"""


def test_lines_of_kernels_are_traced(tmp_path: Any) -> None:
    (tmp_path / "covered.py").write_text(COVERED)
    roots = [str(tmp_path), os.path.dirname(os.path.dirname(interpret.__file__))]
    (report,) = fresh(f"import sys; sys.path[:0] = {roots!r}\n{TRACED}")
    result, *lines = map(int, report.split())
    source = COVERED.splitlines()
    reached = {source[line - 1].strip() for line in lines}
    assert result == 12
    assert {"y = x + 1", "return y", "v = inner(", "if DOUBLE:", "v = v * 2", "tl.store(out, v)"} <= reached
    assert "v = v * 3" not in reached and "else:" not in reached


# ---- speed ----


@triton.jit
def empty(x, y, n, N: tl.constexpr):
    pass


@triton.jit
def calls(x, N: tl.constexpr):
    for _ in tl.static_range(N):
        _double(1)


def quickest(work: Callable[[], Any], repeats: int) -> float:
    def once() -> Iterator[float]:
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            yield time.perf_counter() - start

    return sorted(once())[repeats // 2] * 1e6


def test_launches_and_calls_are_cheap() -> None:
    x = Buffer(np.zeros(4), np.float32)
    assert quickest(lambda: empty[(1,)](x, x, 5, 8), 200) < 150
    assert quickest(lambda: calls[(1,)](x, 1000), 5) / 1000 < 20
