"""Formulas on values: what `elementwise.map` applies to each element.

Loading, broadcasting, casting and storing are the business of the maps. Half precisions arrive as float32, bools as
int1; integers wrap around as torch's do, which Triton's sanitizer is told.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _neg(x):
    """-x; a difference from 0 would give 0 for 0, and a product is none that integers need."""
    if x.dtype.is_floating():
        return x * -1.0
    else:
        return tl.sub(tl.zeros_like(x), x, sanitize_overflow=False)  # here and below: integers wrap around as torch's


@triton.jit
def _abs(x):
    return tl.abs(x)


@triton.jit
def _sign(x):
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def _sqrt(x):
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def _rsqrt(x):
    return 1.0 / _sqrt(x)


@triton.jit
def _floor(x):
    return tl.floor(x)


@triton.jit
def _ceil(x):
    return tl.ceil(x)


@triton.jit
def _trunc(x):
    return tl.where(_signbit(x), tl.ceil(x), tl.floor(x))


@triton.jit
def _frac(x):
    return x - _trunc(x)


@triton.jit
def _round(x):
    """The nearest integer, of two the even one."""
    a = tl.abs(x)
    down = tl.floor(a)
    half = a - down - 0.5
    odd = tl.floor(down * 0.5) * 2.0 != down
    return _copysign(down + ((half > 0) | ((half == 0) & odd)).to(x.dtype), x)


@triton.jit
def _round_scaled(x, scale, unscale):
    """round(x scale / unscale) back on the scale of x; one of the two is 1, powers of ten below 1 being no numbers."""
    return _round(x * scale / unscale) / scale * unscale


@triton.jit
def _signbit(x):
    """Whether the sign bit is set, as it is for -0 and may be for NaN."""
    return x.to(tl.int64 if x.dtype == tl.float64 else tl.int32, bitcast=True) < 0


@triton.jit
def _copysign(x, y):
    return tl.where(_signbit(x) == _signbit(y), x, x * -1.0)


@triton.jit
def _reciprocal(x):
    return 1.0 / x


@triton.jit
def _nan_to(x, value):
    return tl.where(x != x, value, x)


@triton.jit
def _infinities_to(x, positive, negative):
    return tl.where(x == float("inf"), positive, tl.where(x == -float("inf"), negative, x))


@triton.jit
def _logical_not(x):
    return x == 0


@triton.jit
def _always(x):
    return (x == x) | (x != x)


@triton.jit
def _negative(x):
    return x < 0


@triton.jit
def _invert(x):
    return ~x


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
def _add_scaled(x, y, alpha):
    return tl.add(x, tl.mul(alpha, y, sanitize_overflow=False), sanitize_overflow=False)


@triton.jit
def _sub_scaled(x, y, alpha):
    return tl.sub(x, tl.mul(alpha, y, sanitize_overflow=False), sanitize_overflow=False)


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
    return tl.where(y == 0, x / y, tl.where(whole == 0, _copysign(whole, x / y), whole))


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
def _fmod_float(x, y):
    """C's remainder, which has the sign of x."""
    return x % y


@triton.jit
def _fmod_int(x, y):
    safe = tl.where(y == 0, 1, y).to(y.dtype)
    return (x % safe).to(x.dtype)


@triton.jit
def _trunc_divide_float(x, y):
    return _trunc(_div(x, y))


@triton.jit
def _trunc_divide_int(x, y):
    safe = tl.where(y == 0, 1, y).to(y.dtype)
    return tl.where(y == 0, 0, x // safe).to(x.dtype)


@triton.jit
def _gcd(x, y):
    """Euclid's algorithm; int64 needs at most 91 steps, the Fibonacci numbers' own."""
    a, b = tl.abs(x), tl.abs(y)
    for _ in range(91):
        rest = (a % tl.where(b == 0, 1, b).to(b.dtype)).to(x.dtype)
        a, b = tl.where(b == 0, a, b), tl.where(b == 0, b, rest)
    return a


@triton.jit
def _lcm(x, y):
    divisor = _gcd(x, y)
    whole = (x // tl.where(divisor == 0, 1, divisor).to(x.dtype)).to(x.dtype)
    return tl.abs(tl.mul(whole, y, sanitize_overflow=False))


@triton.jit
def _shift_left(x, y):
    """x 2^y; 0 where y is negative or as large as the width of x."""
    outside = (y < 0) | (y >= x.dtype.primitive_bitwidth)
    return tl.where(outside, 0, x << tl.where(outside, 0, y).to(x.dtype)).to(x.dtype)


@triton.jit
def _shift_right(x, y):
    """x / 2^y rounded down; what is left of the sign where y is negative or as large as the width of x."""
    outside = (y < 0) | (y >= x.dtype.primitive_bitwidth)
    shifted = x >> tl.where(outside, x.dtype.primitive_bitwidth - 1, y).to(x.dtype)
    return tl.where(outside & (x >= 0), 0, shifted).to(x.dtype)


@triton.jit
def _hypot(x, y):
    """The larger times sqrt(1 + (smaller / larger)^2), which overflows only where the result does."""
    a, b = tl.abs(x), tl.abs(y)
    large, small = tl.where(a < b, b, a), tl.where(a < b, a, b)
    quotient = tl.where(large == 0, 0.0, small / large)
    root = tl.where((a != a) | (b != b), a + b, large * _sqrt(1.0 + quotient * quotient))
    return tl.where((a == float("inf")) | (b == float("inf")), float("inf"), root)


@triton.jit
def _heaviside(x, y):
    return tl.where(x == 0, y, (x > 0).to(y.dtype))


@triton.jit
def _nextafter(x, y):
    """The number next to x towards y: one more or less where the bits of x are read as an integer."""
    if x.dtype == tl.float64:
        bits = x.to(tl.int64, bitcast=True)
    elif x.dtype == tl.float32:
        bits = x.to(tl.int32, bitcast=True)
    else:
        bits = x.to(tl.int16, bitcast=True)
    one = tl.full(bits.shape, 1, bits.dtype)
    still = (x == 0) | (x != x)  # whose bits have no neighbour of that kind
    step = tl.where(still, one - one, tl.where((x < y) == (x > 0), one, -one))
    beside = (bits + step).to(x.dtype, bitcast=True)
    least = one.to(x.dtype, bitcast=True)
    beside = tl.where(x == 0, tl.where(y > 0, least, -least), beside)
    return tl.where(x != x, x, tl.where((y != y) | (x == y), y, beside))


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
def _fmax(x, y):
    """The larger, and the other one where one is NaN."""
    return tl.where((x != x) | (x < y), y, x)


@triton.jit
def _fmin(x, y):
    return tl.where((x != x) | (x > y), y, x)


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
def _lerp(x, y, weight):
    """From x to y, measured from the nearer end, so that weights 0 and 1 give x and y exactly."""
    d = y - x
    return tl.where(tl.abs(weight) < 0.5, x + weight * d, y - d * (1.0 - weight))


@triton.jit
def _where(condition, x, y):
    return tl.where(condition != 0, x, y)


@triton.jit
def _multiply_add(x, y, z):
    return tl.add(tl.mul(x, y, sanitize_overflow=False), z, sanitize_overflow=False)


@triton.jit
def _add_product(x, y, z, value):
    product = tl.mul(tl.mul(value, y, sanitize_overflow=False), z, sanitize_overflow=False)
    return tl.add(x, product, sanitize_overflow=False)


@triton.jit
def _add_quotient(x, y, z, value):
    return x + value * y / z
