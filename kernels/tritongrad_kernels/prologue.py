"""The norm before a 1 x 1 convolution, applied where the convolution reads its input.

    x^ = relu((x - mean) rstd weight + bias)        rounded to the type of x, as if it had been stored

Only of 1 x 1 without padding: a wider window would see x^ of zeros beyond the image, and work x^ out for every tap.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tritongrad_kernels.array import Array
from tritongrad_kernels.channels import _load, _parameter
from tritongrad_kernels.norm import _normalised


class Prologue(NamedTuple):
    """mean and rstd [C] of x in the accumulator's dtype, weight and bias [C] or None, and whether there is a ReLU."""

    mean: Array
    rstd: Array
    weight: Array | None = None
    bias: Array | None = None
    relu: bool = True


NOTHING = (None, None, None, None, False)
"""What kernels are given in place of a Prologue's fields."""


@triton.jit
def prepared(
    x, MEAN, RSTD, WEIGHT, SHIFT, c, c_in, RELU: tl.constexpr, ACC: tl.constexpr, BC: tl.constexpr
):  # fmt: skip
    """x^ of x [pixels, BC], of its channels c where c_in: others are 0. What is no pixel may become anything."""
    scale = _load(RSTD, c, c_in, ACC) * _parameter(WEIGHT, c, c_in, 1.0, ACC, BC)
    shift = _parameter(SHIFT, c, c_in, 0.0, ACC, BC)
    mean = _load(MEAN, c, c_in, ACC)
    y = _normalised(x.to(ACC), mean[None, :], scale[None, :], shift[None, :], x.dtype)
    if RELU:
        y = tl.where(y < 0, 0.0, y)
    return y.to(x.dtype)
