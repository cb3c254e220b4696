"""Random numbers from a counter: element i of draw `stream` under `seed` is a pure function of the three.

Source: Philox 4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. One evaluation gives four
32-bit words, for elements 4j .. 4j+3 (two for 64-bit integers), so block sizes and devices never change a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import cast
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.memory import Device


@triton.jit
def _words(group, seed, stream):
    """Four random 32-bit words for each int64 counter in `group`."""
    low = group.to(tl.uint32)
    high = (group >> 32).to(tl.uint32)
    zero = tl.zeros_like(low)
    return tl.philox(seed, low, high, zero + stream.to(tl.uint32), zero + (stream >> 32).to(tl.uint32))


@triton.jit
def _unit(word, BITS: tl.constexpr):
    """A float32 in [0, 1) from the upper BITS bits, at most 24: every value exact, the same on every device."""
    return (word >> (32 - BITS)).to(tl.float32) * (1.0 / (1 << BITS))


@triton.jit
def _interleave(a, b, c, d, BLOCK: tl.constexpr):
    """a0 b0 c0 d0 a1 b1 ..."""
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK,))


@triton.jit(do_not_specialize=["seed", "stream"])
def _uniform(OUT, n, seed: tl.int64, stream: tl.int64, low, high, BITS: tl.constexpr, BLOCK: tl.constexpr):
    """out[i] = low + (high - low) u_i, u_i in [0, 1). Grid one program per BLOCK elements; writes out once.

    BITS is what the mantissa of out can hold: with more, u_i would be rounded up to 1 now and then.
    """
    block = tl.program_id(0).to(tl.int64)
    a, b, c, d = _words(block * (BLOCK // 4) + tl.arange(0, BLOCK // 4), seed, stream)
    u = _interleave(_unit(a, BITS), _unit(b, BITS), _unit(c, BITS), _unit(d, BITS), BLOCK)
    index = block * BLOCK + tl.arange(0, BLOCK)
    tl.store(OUT + index, (low + (high - low) * u).to(OUT.dtype.element_ty), mask=index < n)


@triton.jit
def _pair(u, v):
    """Two independent standard normals (Box and Muller 1958) from two words; the first uniform lies in (0, 1]."""
    radius = tl.sqrt_rn(-2.0 * tl.log(((u >> 8) + 1).to(tl.float32) * (1.0 / 16777216.0)))
    angle = 6.283185307179586 * _unit(v, 24)
    return radius * tl.cos(angle), radius * tl.sin(angle)


@triton.jit(do_not_specialize=["seed", "stream"])
def _normal(OUT, n, seed: tl.int64, stream: tl.int64, mean, std, BLOCK: tl.constexpr):
    """out[i] = mean + std z_i, z_i standard normal. Grid one program per BLOCK elements; writes out once."""
    block = tl.program_id(0).to(tl.int64)
    a, b, c, d = _words(block * (BLOCK // 4) + tl.arange(0, BLOCK // 4), seed, stream)
    z0, z1 = _pair(a, b)
    z2, z3 = _pair(c, d)
    index = block * BLOCK + tl.arange(0, BLOCK)
    z = _interleave(z0, z1, z2, z3, BLOCK)
    tl.store(OUT + index, (mean + std * z).to(OUT.dtype.element_ty), mask=index < n)


@triton.jit(do_not_specialize=["seed", "stream", "low", "extent"])
def _integers(OUT, n, seed: tl.int64, stream: tl.int64, low, extent, BLOCK: tl.constexpr):
    """out[i] = low + (64 random bits) mod extent. Grid one program per BLOCK elements; writes out once."""
    block = tl.program_id(0).to(tl.int64)
    a, b, c, d = _words(block * (BLOCK // 2) + tl.arange(0, BLOCK // 2), seed, stream)
    first = (a.to(tl.uint64) << 32) | b.to(tl.uint64)
    second = (c.to(tl.uint64) << 32) | d.to(tl.uint64)
    bits = tl.reshape(tl.join(first, second), (BLOCK,))
    index = block * BLOCK + tl.arange(0, BLOCK)
    value = (bits % extent.to(tl.uint64)).to(tl.int64) + low
    tl.store(OUT + index, value.to(OUT.dtype.element_ty), mask=index < n)


def uniform(
    shape: Sequence[int], low: float, high: float, dtype: dtype, device: Device | None, seed: int, stream: int
) -> Array:
    """Independent uniforms on [low, high), of the resolution of `dtype`, at most float32's."""
    bits = {dtypes.float16: 11, dtypes.bfloat16: 8}.get(dtype, 24)
    return _draw(_uniform, shape, dtype, device, seed, stream, low, high, bits)


def normal(
    shape: Sequence[int], mean: float, std: float, dtype: dtype, device: Device | None, seed: int, stream: int
) -> Array:
    """Independent normals; the farthest possible is 5.77 standard deviations (24-bit uniforms)."""
    return _draw(_normal, shape, dtype, device, seed, stream, mean, std)


def integers(
    shape: Sequence[int], low: int, high: int, dtype: dtype, device: Device | None, seed: int, stream: int
) -> Array:
    """Independent integers in low .. high-1."""
    return _draw(_integers, shape, dtype, device, seed, stream, low, high - low)


def _draw(
    kernel: Any, shape: Sequence[int], dtype: dtype, device: Device | None, seed: int, stream: int, *parameters: float
) -> Array:
    n = math.prod(shape)
    out = empty(shape, dtypes.int64 if kernel is _integers else dtype, device)
    config = tile("random", least=4, BLOCK=n)
    launch(kernel, cdiv(n, config["BLOCK"]), out, n, seed, stream, *parameters, bytes=out.nbytes, **config)
    return cast(out, dtype)
