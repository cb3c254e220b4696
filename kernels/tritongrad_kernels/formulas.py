"""Formulas on values: what `elementwise.map` applies to each element.

Loading, broadcasting, casting and storing are the business of the maps. Half precisions arrive as float32, bools as
int1; integers wrap around as torch's do, which Triton's sanitizer is told.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _neg(x):
    return tl.sub(tl.zeros_like(x), x, sanitize_overflow=False)  # here and below: integers wrap around as torch's do


@triton.jit
def _abs(x):
    return tl.abs(x)


@triton.jit
def _sign(x):
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def _relu(x):
    """max(x, 0), NaN staying NaN."""
    return tl.where(x < 0, 0, x)


@triton.jit
def _exp(x):
    return tl.exp(x)


@triton.jit
def _log(x):
    return tl.log(x)


@triton.jit
def _sqrt(x):
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def _rsqrt(x):
    return 1.0 / _sqrt(x)


@triton.jit
def _sin(x):
    return tl.sin(x)


@triton.jit
def _cos(x):
    return tl.cos(x)


@triton.jit
def _erf(x):
    return tl.erf(x)


@triton.jit
def _sigmoid(x):
    """1 / (1 + e^-x), from the side on which e^-|x| cannot overflow."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _tanh(x):
    """(1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x; near 0, where that cancels, the odd Taylor series."""
    e = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - e) / (1.0 + e)
    q = x * x
    tail = 6404582.0 / 10854718875 - q * (443861162.0 / 1856156927625)  # x^19: the last that float64 can feel
    tail = -1382.0 / 155925 + q * (21844.0 / 6081075 + q * (-929569.0 / 638512875 + q * tail))
    near = x * (1.0 + q * (-1.0 / 3 + q * (2.0 / 15 + q * (-17.0 / 315 + q * (62.0 / 2835 + q * tail)))))
    return tl.where(q < 0.04, near, tl.where(x < 0, -far, far))


@triton.jit
def _floor(x):
    return tl.floor(x)


@triton.jit
def _logical_not(x):
    return x == 0


@triton.jit
def _isnan(x):
    return x != x


@triton.jit
def _isfinite(x):
    return tl.abs(x) < float("inf")


@triton.jit
def _add(x, y):
    return tl.add(x, y, sanitize_overflow=False)


@triton.jit
def _sub(x, y):
    return tl.sub(x, y, sanitize_overflow=False)


@triton.jit
def _mul(x, y):
    return tl.mul(x, y, sanitize_overflow=False)


@triton.jit
def _div(x, y):
    return tl.div_rn(x, y) if x.dtype == tl.float32 else x / y


@triton.jit
def _floor_divide_float(x, y):
    """floor(x / y) from the exact remainder, as Python's `//` defines it."""
    r = x % y
    q = (x - r) / y
    q -= ((r != 0) & ((r < 0) != (y < 0))).to(
        q.dtype
    )  # C's remainder has the sign of x: the quotient was cut towards 0
    whole = tl.floor(q)
    whole += (q - whole > 0.5).to(q.dtype)  # x - r is a multiple of y up to rounding: take the nearest integer
    return tl.where(y == 0, x / y, whole)


@triton.jit
def _floor_divide_int(x, y):
    """Division rounding down; Triton's own truncates. Division by 0 gives 0, as memory-safe as any answer."""
    safe = tl.where(y == 0, 1, y).to(y.dtype)
    q = x // safe
    down = ((x - q * safe) != 0) & ((x < 0) != (safe < 0))
    return tl.where(y == 0, 0, q - down.to(q.dtype)).to(x.dtype)


@triton.jit
def _remainder_float(x, y):
    """x - floor(x/y) y: what C's fmod leaves, moved to the sign of y."""
    r = x % y
    return tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)


@triton.jit
def _remainder_int(x, y):
    safe = tl.where(y == 0, 1, y).to(y.dtype)
    r = x % safe
    corrected = tl.add(r, safe, sanitize_overflow=False)
    return tl.where((r != 0) & ((r < 0) != (safe < 0)), corrected, r).to(x.dtype)


@triton.jit
def _pow_float(x, y):
    """x^y = 2^(y log2|x|), evaluated in float64 so that float32 comes out right to the last place or the one before.

    A negative base gives a sign by the parity of an integral exponent and NaN for any other, as C's pow does.
    """
    a, b = x.to(tl.float64), y.to(tl.float64)
    size = tl.exp2(b * tl.log2(tl.abs(a)))
    whole = tl.floor(b) == b
    odd = whole & (tl.floor(b * 0.5) * 2.0 != b)
    signed = tl.where(whole, tl.where(odd, -size, size), float("nan"))
    negative = (a < 0) & (tl.abs(a) < float("inf")) & (tl.abs(b) < float("inf"))
    power = tl.where(negative, signed, tl.where(((a < 0) | (1.0 / a == -float("inf"))) & odd, -size, size))
    one = (b == 0) | (a == 1) | ((a == -1) & (tl.abs(b) == float("inf")))
    return tl.where(one, 1.0, power).to(x.dtype)


@triton.jit
def _square(x):
    return tl.mul(x, x, sanitize_overflow=False)


@triton.jit
def _cube(x):
    return tl.mul(tl.mul(x, x, sanitize_overflow=False), x, sanitize_overflow=False)


@triton.jit
def _pow_int(x, y):
    """Integer power by squaring; a negative exponent gives 0 except for a base of 1 or -1."""
    result = tl.full(x.shape, 1, x.dtype)
    base = x
    n = tl.abs(y)
    for _ in range(63):
        result = tl.where((n & 1) != 0, tl.mul(result, base, sanitize_overflow=False), result).to(x.dtype)
        base = tl.mul(base, base, sanitize_overflow=False)
        n = n >> 1
    unit = (x == 1) | (~x == 0)  # ~x: Triton 3.9 compares no unsigned number with -1
    return tl.where((y < 0) & ~unit, 0, result).to(x.dtype)


@triton.jit
def _maximum(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _minimum(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _eq(x, y):
    return x == y


@triton.jit
def _ne(x, y):
    return x != y


@triton.jit
def _lt(x, y):
    return x < y


@triton.jit
def _le(x, y):
    return x <= y


@triton.jit
def _and(x, y):
    return x & y


@triton.jit
def _or(x, y):
    return x | y


@triton.jit
def _xor(x, y):
    return x ^ y


@triton.jit
def _where_positive(x, y):
    """0 where y <= 0, else x, also where y is NaN: the gradient of ReLU."""
    return tl.where(y <= 0, 0, x)


@triton.jit
def _where(condition, x, y):
    return tl.where(condition != 0, x, y)


@triton.jit
def _multiply_add(x, y, z):
    return tl.add(tl.mul(x, y, sanitize_overflow=False), z, sanitize_overflow=False)
