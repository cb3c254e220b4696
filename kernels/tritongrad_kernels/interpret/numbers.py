"""Numbers as the interpreter stores them: Triton's types in numpy, bfloat16 as bits in uint16, and tf32 rounding."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.runtime.interpreter import TensorHandle as Handle

_compute_numpy_type = stock._get_np_dtype
_numpy_types: dict[str, np.dtype] = {}


def numpy_type(dtype: tl.dtype) -> np.dtype:
    """The numpy type that stores a Triton type."""
    known = _numpy_types.get(dtype.name)
    if known is None:
        known = _numpy_types[dtype.name] = _compute_numpy_type(dtype)
    return known


def widen(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bit patterns as the float32 numbers they stand for."""
    wide = np.asarray(bits).astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def narrow(numbers: np.ndarray, toward_zero: bool = False) -> np.ndarray:
    """Numbers as bfloat16 bit patterns, rounded to nearest even unless told otherwise. A NaN stays one."""
    if numbers.dtype == np.float64:
        numbers = _round_to_odd(numbers)
    single = np.asarray(numbers, dtype=np.float32)
    bits = np.ascontiguousarray(single).view(np.uint32).reshape(single.shape)
    if toward_zero:
        out = (bits >> np.uint32(16)).astype(np.uint16)
    else:
        rounded = bits >> np.uint32(16)
        rounded &= np.uint32(1)
        rounded += np.uint32(0x7FFF)
        rounded += bits
        rounded >>= np.uint32(16)
        out = rounded.astype(np.uint16)
    nan = np.isnan(single)
    if nan.any():
        out = np.where(nan, (bits >> np.uint32(16)).astype(np.uint16) | np.uint16(0x40), out)
    return out


def _round_to_odd(numbers: np.ndarray) -> np.ndarray:
    """float64 as float32 such that a second rounding, to a shorter format, gives what one rounding would have."""
    single = numbers.astype(np.float32)
    back = single.astype(np.float64)
    bits = np.ascontiguousarray(single).view(np.int32).reshape(single.shape)
    even_and_inexact = (back != numbers) & ((bits & 1) == 0) & ~np.isnan(numbers)
    step = np.where(np.abs(back) > np.abs(numbers), np.int32(-1), np.int32(1))
    return (bits + step * even_and_inexact).astype(np.int32).view(np.float32)


def fused(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """x * y + z of numbers up to float32, as float64 that can be rounded to their type as if it had been exact."""
    product, addend = x.astype(np.float64) * y, z.astype(np.float64)  # 2 x 24 bits: exact
    total = product + addend
    added = total - product
    error = (product - (total - added)) + (addend - added)  # what is missing from total (Knuth 1969)
    even_and_inexact = (error != 0) & np.isfinite(total) & ((total.view(np.int64) & 1) == 0)
    return np.where(even_and_inexact, np.nextafter(total, np.copysign(np.inf, error)), total)


def is_bf16(handle: Any) -> bool:
    return isinstance(handle, Handle) and handle.data.dtype == np.uint16 and handle.dtype.scalar == tl.bfloat16


def widened(handle: Any) -> Any:
    return Handle(widen(handle.data), tl.float32) if is_bf16(handle) else handle


def in_float32(method: Callable) -> Callable:
    """Wrap a builder operation so that bfloat16 handles are computed in float32 and rounded once."""

    @functools.wraps(method)
    def operation(self: Any, *arguments: Any) -> Any:
        if not any(is_bf16(argument) for argument in arguments):
            return method(self, *arguments)
        return Handle(narrow(method(self, *map(widened, arguments)).data), tl.bfloat16)

    return operation


def to_tf32(numbers: np.ndarray, mode: str) -> np.ndarray:
    """float32 numbers with the mantissa cut to 10 bits: "round" (halves away from zero), "even" or "truncate"."""
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    half: Any = np.uint32(0x1000 if mode == "round" else 0)
    if mode == "even":
        half = ((bits >> np.uint32(13)) & np.uint32(1)) + np.uint32(0xFFF)
    special = (bits & np.uint32(0x7F800000)) == np.uint32(0x7F800000)
    return np.where(special, bits, (bits + half) & np.uint32(0xFFFFE000)).view(np.float32)
