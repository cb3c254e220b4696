"""Operations that Triton's own interpreter gets wrong in some of its versions, or has in none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.interpreted import BF16, RNG, Buffer, aligned, interpreted

pytestmark = interpreted

# ---- fma, histogram, invert ----


@triton.jit
def fma(x, y, z, out):
    tl.store(out, tl.fma(tl.load(x), tl.load(y), tl.load(z)))


@pytest.mark.parametrize(
    ("dtype", "x", "y", "z", "want"),
    [
        (np.float32, 1 + 2.0**-12, 1 + 2.0**-12, -(1 + 2.0**-11), 2.0**-24),  # the product needs 25 bits
        # Just below a tie, by less than float64 can hold beside it.
        (np.float32, 2.0**-12 + 2.0**-35, 2.0**-12 - 2.0**-35, 1 + 2.0**-23, 1 + 2.0**-23),
        (np.float16, 1 + 2.0**-6, 1 + 2.0**-6, -(1 + 2.0**-5), 2.0**-12),
        (BF16, 1.75, 37 / 64, -(2.0**-30), 1 + 2.0**-7),  # in float32 a tie, which goes up
        (np.float64, 1.5, 2.0, 0.25, 3.25),
    ],
)
def test_fma_rounds_once(dtype: Any, x: float, y: float, z: float, want: float) -> None:
    given, out = [Buffer([number], dtype) for number in (x, y, z)], Buffer([0], dtype)
    fma[(1,)](*given, out)
    assert [float(buffer.data[0]) for buffer in given] == [x, y, z]
    assert out.data[0] == want


def test_fma_of_what_is_not_finite() -> None:
    for x, want in ((np.inf, np.inf), (np.nan, np.nan), (3e38, np.inf)):
        out = Buffer([0], np.float32)
        fma[(1,)](Buffer([x], np.float32), Buffer([2], np.float32), Buffer([1], np.float32), out)
        np.testing.assert_equal(out.data[0], np.float32(want))


@triton.jit
def histogram(x, mask, out, N: tl.constexpr, BINS: tl.constexpr):
    o = tl.arange(0, N)
    v = tl.load(x + o)
    tl.store(out + tl.arange(0, BINS), tl.histogram(v, BINS))
    tl.store(out + BINS + tl.arange(0, BINS), tl.histogram(v, BINS, tl.load(mask + o) != 0))


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_histogram_drops_what_is_outside(dtype: Any) -> None:
    x, mask = np.arange(16).astype(dtype) % 10, np.arange(16, dtype=np.int32) % 3
    out = Buffer(np.full(20, 7), np.int32)  # what lies behind must stay
    histogram[(1,)](Buffer(x), Buffer(mask), out, 16, 8)
    for counts, values in ((out.data[:8], x), (out.data[8:16], x[mask != 0])):
        assert np.array_equal(counts, np.bincount(values, minlength=10)[:8])
    assert (out.data[16:] == 7).all()


@triton.jit
def invert(x, y, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(y + o, ~tl.load(x + o))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_invert(dtype: Any) -> None:
    x, y = Buffer(np.arange(8), dtype), Buffer(np.zeros(8), dtype)
    invert[(1,)](x, y, 8)
    assert np.array_equal(y.data, ~x.data)


# ---- atomic additions ----


@triton.jit
def add_atomically(x, value, before, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(before + o, tl.atomic_add(x + o // 4, tl.load(value + o), mask=o % 5 != 0))


@pytest.mark.parametrize("dtype", [BF16, np.float16, np.float32])
def test_atomic_add_rounds_lane_after_lane(dtype: Any) -> None:
    value = RNG.standard_normal(16).astype(dtype)
    x, before = Buffer(RNG.standard_normal(4).astype(dtype)), Buffer(np.zeros(16), dtype)
    want = x.data.copy()
    saw = np.zeros(16, dtype)
    for lane in range(16):
        if lane % 5:
            saw[lane] = want[lane // 4]
            want[lane // 4] = (want[lane // 4].astype(np.float32) + value[lane].astype(np.float32)).astype(dtype)
    add_atomically[(1,)](x, Buffer(value), before, 16)
    assert np.array_equal(x.data, want)
    lanes = np.arange(16) % 5 != 0
    assert np.array_equal(before.data[lanes], saw[lanes])


@triton.jit
def reduce_through_a_descriptor(target, value, row, OP: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    v = tl.load(value + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    if OP == "add":
        target.atomic_add([row, 0], v)
    elif OP == "max":
        target.atomic_max([row, 0], v)
    elif OP == "xor":
        target.atomic_xor([row, 0], v)


@pytest.mark.parametrize(
    ("dtype", "op"),
    [(BF16, "add"), (np.float16, "add"), (np.float32, "add"), (np.int32, "add")]
    + [(np.int32, "max"), (np.uint32, "max"), (np.int32, "xor")],
)
def test_descriptor_atomics(dtype: Any, op: str) -> None:
    x = aligned(RNG.integers(0, 99, (6, 16)).astype(dtype))
    value = RNG.integers(0, 99, (4, 16)).astype(dtype)
    want = x.data.copy()
    function = {"add": np.add, "max": np.maximum, "xor": np.bitwise_xor}[op]
    want[3:6] = function(want[3:6], value[:3])  # the block's last row lies outside
    reduce_through_a_descriptor[(1,)](TensorDescriptor(x, [6, 16], [16, 1], [4, 16]), Buffer(value), 3, op, 4, 16)
    assert np.array_equal(x.data, want)


def test_a_descriptors_maximum_of_halves_is_refused_by_name() -> None:
    x, value = aligned(np.zeros((4, 16), np.float16)), Buffer(np.ones((4, 16)), np.float16)
    with pytest.raises(Exception, match="no atomic_max of fp16 through a descriptor"):
        reduce_through_a_descriptor[(1,)](TensorDescriptor(x, [4, 16], [16, 1], [4, 16]), value, 0, "max", 4, 16)


@triton.jit
def exchange_if_one(x):
    one = tl.full((), 1.0, tl.bfloat16)
    tl.atomic_cas(x, one, one + one)


def test_atomic_cas_of_bfloat16() -> None:
    x = Buffer([1], BF16)
    exchange_if_one[(2,)](x)
    assert x.data[0] == 2
