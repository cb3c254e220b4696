"""What the tests of the interpreter share: numpy arrays as arguments of kernels, and the simplest kernel."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import triton
import triton.language as tl

from tritongrad_kernels import interpret

interpreted = pytest.mark.skipif(not interpret.installed(), reason="kernels are compiled in this process")

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


@triton.jit
def cast(x, y, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(y + o, tl.load(x + o).to(y.dtype.element_ty))
