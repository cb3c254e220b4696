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
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.driver import Device
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.elementwise import cast, contiguous, map
from tritongrad_kernels.launch import cdiv, launch, tile


@triton.jit
def _words(group, seed, stream):
    """Four random 32-bit words for each int64 counter in `group`."""
    low = group.to(tl.uint32)
    high = (group >> 32).to(tl.uint32)
    zero = tl.zeros_like(low)
    return tl.philox(seed, low, high, zero + stream.to(tl.uint32), zero + (stream >> 32).to(tl.uint32))


@triton.jit
def _key(STATE, seed, stream):
    """Seed and stream, which are in memory where they change from one replay of the launch to the next."""
    if STATE is None:
        return seed, stream
    else:
        return tl.load(STATE), tl.load(STATE + 1)


@triton.jit
def _unit(word, BITS: tl.constexpr):
    """A float32 in [0, 1) from the upper BITS bits, at most 24: every value exact, the same on every device."""
    return (word >> (32 - BITS)).to(tl.float32) * (1.0 / (1 << BITS))


@triton.jit
def _interleave(a, b, c, d, BLOCK: tl.constexpr):
    """a0 b0 c0 d0 a1 b1 ..."""
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK,))


@triton.jit(do_not_specialize=["seed", "stream"])
def _uniform(OUT, STATE, n, seed: tl.int64, stream: tl.int64, low, high, BITS: tl.constexpr, BLOCK: tl.constexpr):
    """out[i] = low + (high - low) u_i, u_i in [0, 1). Grid one program per BLOCK elements; writes out once.

    BITS is what the mantissa of out can hold: with more, u_i would be rounded up to 1 now and then.
    """
    block = tl.program_id(0).to(tl.int64)
    seed, stream = _key(STATE, seed, stream)
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
def _normal(OUT, STATE, n, seed: tl.int64, stream: tl.int64, mean, std, BLOCK: tl.constexpr):
    """out[i] = mean + std z_i, z_i standard normal. Grid one program per BLOCK elements; writes out once."""
    block = tl.program_id(0).to(tl.int64)
    seed, stream = _key(STATE, seed, stream)
    a, b, c, d = _words(block * (BLOCK // 4) + tl.arange(0, BLOCK // 4), seed, stream)
    z0, z1 = _pair(a, b)
    z2, z3 = _pair(c, d)
    index = block * BLOCK + tl.arange(0, BLOCK)
    z = _interleave(z0, z1, z2, z3, BLOCK)
    tl.store(OUT + index, (mean + std * z).to(OUT.dtype.element_ty), mask=index < n)


@triton.jit(do_not_specialize=["seed", "stream", "low", "extent"])
def _integers(OUT, STATE, n, seed: tl.int64, stream: tl.int64, low, extent, BLOCK: tl.constexpr):
    """out[i] = low + (64 random bits) mod extent. Grid one program per BLOCK elements; writes out once."""
    block = tl.program_id(0).to(tl.int64)
    seed, stream = _key(STATE, seed, stream)
    a, b, c, d = _words(block * (BLOCK // 2) + tl.arange(0, BLOCK // 2), seed, stream)
    first = (a.to(tl.uint64) << 32) | b.to(tl.uint64)
    second = (c.to(tl.uint64) << 32) | d.to(tl.uint64)
    bits = tl.reshape(tl.join(first, second), (BLOCK,))
    index = block * BLOCK + tl.arange(0, BLOCK)
    value = (bits % extent.to(tl.uint64)).to(tl.int64) + low
    tl.store(OUT + index, value.to(OUT.dtype.element_ty), mask=index < n)


@triton.jit
def _exponential(u, rate):
    """-log(1 - u) / rate for u in [0, 1); where that is 0, half the least that float32 steps apart give."""
    x = -tl.log(1.0 - u)
    return tl.where(x == 0, 2.0**-25, x) / rate


@triton.jit
def _geometric(u, log_miss):
    """How many trials until the first success, when each misses with probability e^log_miss."""
    return tl.floor(tl.log(1.0 - u) / log_miss) + 1.0


@triton.jit
def _cauchy(u, median, sigma):
    """median + sigma tan(pi (u - 1/2)), the inverse of the distribution function."""
    angle = 3.141592653589793 * (u - 0.5)
    return median + sigma * (tl.sin(angle) / tl.cos(angle))


@triton.jit(do_not_specialize=["seed", "stream"])
def _poisson(RATE, OUT, STATE, n, seed: tl.int64, stream: tl.int64, BLOCK: tl.constexpr):
    """out[i] = the number of k with P(at most k arrivals) <= u_i, u_i of 53 bits, where rate[i] are expected.

    Grid    one program per BLOCK elements.
    Bytes   read rate, write out once.
    Probabilities are summed in float64 from 9 standard deviations (and 10) below the rate to as far above; what lies
    beyond has a probability under 1e-16. The first is had from Stirling's series (DLMF 5.11.1) where k is not 0.
    """
    block = tl.program_id(0).to(tl.int64)
    index = block * BLOCK + tl.arange(0, BLOCK)
    rate = tl.load(RATE + index, mask=index < n, other=0.0).to(tl.float64)
    seed, stream = _key(STATE, seed, stream)
    a, b, c, d = _words(block * (BLOCK // 2) + tl.arange(0, BLOCK // 2), seed, stream)
    first = ((a.to(tl.uint64) << 32) | b.to(tl.uint64)) >> 11
    second = ((c.to(tl.uint64) << 32) | d.to(tl.uint64)) >> 11
    u = tl.reshape(tl.join(first, second), (BLOCK,)).to(tl.float64) * (1.0 / 9007199254740992.0)
    spread = 9.0 * tl.sqrt(rate) + 10.0
    k = tl.maximum(tl.floor(rate - spread), 0.0)
    safe = tl.maximum(k, 1.0)
    inverse = 1.0 / safe
    tail = inverse * (1.0 / 12 - inverse * inverse * (1.0 / 360 - inverse * inverse * (1.0 / 1260)))
    stirling = safe * tl.log(rate / safe) + safe - rate - 0.5 * tl.log(6.283185307179586 * safe) - tail
    p = tl.exp(tl.where(k == 0, -rate, stirling))
    below = p
    steps = tl.max(2.0 * spread, 0).to(tl.int32) + 1
    for _ in range(steps):
        more = (below <= u) & (p > 0)
        k += more.to(tl.float64)
        p = tl.where(more, p * (rate / k), p)
        below = tl.where(more, below + p, below)
    tl.store(OUT + index, k.to(OUT.dtype.element_ty), mask=index < n)


@triton.jit
def _running(P, row, start, K, carry, KB: tl.constexpr):
    """For KB categories from `start`: where they are in `row`, their weights, and sums of all weights up to each."""
    k = start + tl.arange(0, KB)
    p = tl.load(P + row * K + k, mask=k < K, other=0.0)
    return k, p, carry + tl.cumsum(p, 0)


@triton.jit
def _choose(P, U, OUT, K, draws, blocks, BLOCK: tl.constexpr, KB: tl.constexpr):
    """out[r, i] = the first category of row r whose running sum of weights exceeds u[r, i] times their total.

    Shapes  p [R, K], u and out [R, draws], contiguous.
    Grid    one program per row and BLOCK of its draws.
    Bytes   read p and u, write out once. Each program goes over its row of p twice, in the same order of sums.
    """
    pid = tl.program_id(0).to(tl.int64)
    row, i = pid // blocks, (pid % blocks) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((), P.dtype.element_ty)
    last = tl.zeros((), tl.int64)
    for start in range(0, K, KB):
        k, p, sums = _running(P, row, start, K, total, KB)
        total = tl.max(sums, 0)
        last = tl.maximum(last, tl.max(tl.where(p > 0, k, 0), 0).to(tl.int64))
    target = tl.load(U + row * draws + i, mask=i < draws, other=0.0) * total
    chosen = tl.zeros((BLOCK,), tl.int64)
    carry = tl.zeros((), P.dtype.element_ty)
    for start in range(0, K, KB):
        k, p, sums = _running(P, row, start, K, carry, KB)
        passed = (sums[None, :] <= target[:, None]) & (k < K)[None, :]
        chosen += tl.sum(passed.to(tl.int64), 1)
        carry = tl.max(sums, 0)
    tl.store(OUT + row * draws + i, tl.minimum(chosen, last), mask=i < draws)


Seed = int | Array
"""A seed, or an int64 array of a seed and a stream, beside which the number of the stream does not count."""


def uniform(
    shape: Sequence[int], low: float, high: float, dtype: dtype, device: Device | None, seed: Seed, stream: int
) -> Array:
    """Independent uniforms on [low, high), of the resolution of `dtype`, at most float32's."""
    bits = {dtypes.float16: 11, dtypes.bfloat16: 8}.get(dtype, 24)
    return _draw(_uniform, shape, dtype, device, seed, stream, low, high, bits)


def normal(
    shape: Sequence[int], mean: float, std: float, dtype: dtype, device: Device | None, seed: Seed, stream: int
) -> Array:
    """Independent normals; the farthest possible is 5.77 standard deviations (24-bit uniforms)."""
    return _draw(_normal, shape, dtype, device, seed, stream, mean, std)


def integers(
    shape: Sequence[int], low: int, high: int, dtype: dtype, device: Device | None, seed: Seed, stream: int
) -> Array:
    """Independent integers in low .. high-1."""
    return _draw(_integers, shape, dtype, device, seed, stream, low, high - low)


def transformed(
    f: Any, shape: Sequence[int], dtype: dtype, device: Device | None, seed: Seed, stream: int, *parameters: float
) -> Array:
    """Formula `f` of an independent uniform for each element, with the parameters; halves are rounded once."""
    compute = dtypes.float64 if dtype is dtypes.float64 else dtypes.float32
    drawn = uniform(shape, 0.0, 1.0, compute, device, seed, stream)
    return map(f, drawn, *parameters, dtype=dtype, compute=compute)


def poisson(rate: Array, seed: Seed, stream: int) -> Array:
    """Independent counts of what happens `rate` times on average; a contiguous array of the same dtype."""
    rate, out = contiguous(rate), empty(rate.shape, rate.dtype, rate.device)
    config = tile("random", least=4, BLOCK=rate.size)
    grid = cdiv(rate.size, config["BLOCK"])
    key = state(seed, stream)
    launch(_poisson, grid, rate, out, key[0], rate.size, *key[1:], bytes=footprint(rate, out, key[0]), **config)
    return out


def choose(weights: Array, uniforms: Array) -> Array:
    """For rows of weights [R, K] and of uniforms [R, N] on [0, 1): which category each uniform falls on, int64."""
    (rows, categories), draws = weights.shape, uniforms.shape[1]
    out = empty((rows, draws), dtypes.int64, weights.device)
    config = tile("choose", BLOCK=draws, KB=categories)
    blocks = cdiv(draws, config["BLOCK"])
    launch(
        _choose,
        rows * blocks,
        contiguous(weights),
        contiguous(uniforms),
        out,
        categories,
        draws,
        blocks,
        flops=rows * draws * categories,
        bytes=footprint(weights, uniforms, out),
        **config,
    )
    return out


def _draw(
    kernel: Any, shape: Sequence[int], dtype: dtype, device: Device | None, seed: Seed, stream: int, *parameters: float
) -> Array:
    n = math.prod(shape)
    out = empty(shape, dtypes.int64 if kernel is _integers else dtype, device)
    config = tile("random", least=4, BLOCK=n)
    key = state(seed, stream)
    launch(
        kernel, cdiv(n, config["BLOCK"]), out, key[0], n, *key[1:], *parameters,
        bytes=out.nbytes + (0 if key[0] is None else key[0].nbytes), **config,
    )  # fmt: skip
    return cast(out, dtype)


def state(seed: Seed, stream: int) -> tuple[Array | None, int, int]:
    """What kernels take: the array that has both, or None, and the numbers."""
    return (seed, 0, 0) if isinstance(seed, Array) else (None, seed, stream)
