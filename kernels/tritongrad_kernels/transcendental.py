"""Formulas of transcendental functions: exponentials, logarithms, circles, hyperbolas, error and gamma functions.

They are built from what every Triton backend has (exp, exp2, log, log2, sin, cos, erf, sqrt) and written so that no
digits cancel: one formula serves float32 and float64. Polynomials are Chebyshev fits in 50 digits, good to 2^-53.

Sources: Kahan, "Branch cuts" (1987), for log1p and expm1 from log and exp; Abramowitz and Stegun, chapters 4, 6 and 7,
for identities and asymptotic series; Shepherd and Laframboise (1981) for the variable of erfc; Giles, "Approximating
the erfinv function" (2010).
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels.formulas import _copysign, _signbit, _sqrt


@triton.jit
def _exp(x):
    return tl.exp(x)


@triton.jit
def _exp2(x):
    return tl.exp2(x)


@triton.jit
def _expm1(x):
    """e^x - 1 = (u - 1) x / log u with u = e^x: what rounding did to u cancels in the quotient."""
    u = tl.exp(x)
    small = (u - 1.0) * (x / tl.log(u))
    return tl.where(u == 1.0, x, tl.where((u - 1.0 == -1.0) | (u == float("inf")), u - 1.0, small))


@triton.jit
def _log(x):
    return tl.log(x)


@triton.jit
def _log2(x):
    return tl.log2(x)


@triton.jit
def _log10(x):
    """In float64, so that float32 powers of ten come out whole."""
    return (tl.log2(x.to(tl.float64)) * 0.30102999566398119521).to(x.dtype)


@triton.jit
def _log1p(x):
    """log(1 + x) = x log u / (u - 1) with u = 1 + x rounded."""
    u = 1.0 + x
    small = tl.log(u) * (x / (u - 1.0))
    return tl.where(u == 1.0, x, tl.where(u == float("inf"), u, small))


@triton.jit
def _logaddexp(x, y):
    """log(e^x + e^y) = m + log(1 + e^-|x-y|), m the larger."""
    far = tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL) + _log1p(tl.exp(-tl.abs(x - y)))
    return tl.where(x == y, x + 0.69314718055994530942, far)  # also where both are the same infinity


@triton.jit
def _logaddexp2(x, y):
    far = tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)
    far += _log1p(tl.exp2(-tl.abs(x - y))) * 1.44269504088896340736
    return tl.where(x == y, x + 1.0, far)


@triton.jit
def _xlogy(x, y):
    """x log y, and 0 where x is 0 unless y is NaN."""
    return tl.where((x == 0) & (y == y), 0.0, x * tl.log(y))


@triton.jit
def _xlog1py(x, y):
    """x log(1 + y), and 0 where x is 0 unless y is NaN."""
    return tl.where((x == 0) & (y == y), 0.0, x * _log1p(y))


@triton.jit
def _entr(x):
    """-x log x, 0 at 0 and -inf below."""
    return tl.where(x > 0, -x * tl.log(x), tl.where(x == 0, 0.0, tl.where(x < 0, -float("inf"), x)))


@triton.jit
def _sin(x):
    return tl.sin(x)


@triton.jit
def _cos(x):
    return tl.cos(x)


@triton.jit
def _tan(x):
    return tl.sin(x) / tl.cos(x)


@triton.jit
def _sinc(x):
    """sin(pi x) / (pi x), 1 at 0."""
    return tl.where(x == 0, 1.0, tl.sin(3.14159265358979323846 * x) / (3.14159265358979323846 * x))


@triton.jit
def _atan(x):
    """atan |x| from an argument below tan(pi/8): itself, (x - 1)/(x + 1) after pi/4, or -1/x after pi/2."""
    a = tl.abs(x)
    far, middle = a > 2.41421356237309504880, a > 0.41421356237309504880
    z = tl.where(far, -1.0 / a, tl.where(middle, (a - 1.0) / (a + 1.0), a))
    q = z * z
    p = 0.0379877416099672299 - 0.0178291841441463843 * q
    p = 0.0584709009660989069 + q * (-0.0503602035257132547 + q * p)
    p = 0.0769204812581482319 + q * (-0.0666298216618850550 + q * p)
    p = 0.1111111075101872730 + q * (-0.0909089697439192593 + q * p)
    p = 0.1999999999994234240 + q * (-0.1428571427938156530 + q * p)
    p = z + z * q * (-0.333333333333331274 + q * p)
    zero = tl.zeros_like(a)
    p += tl.where(far, 6.123233995736766e-17, tl.where(middle, 3.061616997868383e-17, zero))  # what pi/2 rounds away
    return _copysign(tl.where(far, 1.57079632679489661923, tl.where(middle, 0.78539816339744830962, zero)) + p, x)


@triton.jit
def _atan2(y, x):
    """The angle of the point (x, y), by C's rules for zeros and infinities."""
    a, b = tl.abs(x), tl.abs(y)
    quotient = tl.where(a < b, a, b) / tl.where(a < b, b, a)
    quotient = tl.where((b == 0) & (a == 0), 0.0, tl.where((a == b) & (a == float("inf")), 1.0, quotient))
    angle = _atan(quotient)
    angle = tl.where(a < b, 1.57079632679489661923 - angle, angle)
    angle = tl.where(_signbit(x), 3.14159265358979323846 - angle, angle)
    return tl.where((x != x) | (y != y), x + y, _copysign(angle, y))


@triton.jit
def _asin(x):
    """The angle whose tangent is x / sqrt((1 - x)(1 + x))."""
    return _atan(x / _sqrt((1.0 - x) * (1.0 + x)))


@triton.jit
def _acos(x):
    """Twice the angle whose tangent is sqrt((1 - x) / (1 + x))."""
    return 2.0 * _atan(_sqrt((1.0 - x) / (1.0 + x)))


@triton.jit
def _sinh(x):
    """(t + t / (t + 1)) / 2 with t = e^|x| - 1; where that overflows too early, e^(|x|/2) twice."""
    a = tl.abs(x)
    t = _expm1(a)
    half = tl.exp(0.5 * a)
    return _copysign(tl.where(a > 40.0, (0.5 * half) * half, 0.5 * (t + t / (t + 1.0))), x)


@triton.jit
def _cosh(x):
    half = tl.exp(0.5 * tl.abs(x))
    return (0.5 * half) * half + (0.5 / half) / half


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
def _asinh(x):
    """log(|x| + sqrt(x^2 + 1)) with the sign of x; log 2|x| where x^2 + 1 is x^2."""
    a = tl.abs(x)
    square = tl.where(a > 1e8, 0.0, a * a)
    near = _log1p(a + square / (1.0 + _sqrt(square + 1.0)))
    return _copysign(tl.where(a > 1e8, tl.log(a) + 0.69314718055994530942, near), x)


@triton.jit
def _acosh(x):
    """log(1 + t + sqrt(2 t + t^2)) with t = x - 1; log 2x where t^2 is x^2; NaN below 1."""
    t = tl.where(x > 1e8, 1.0, x - 1.0)
    near = _log1p(t + _sqrt(t * (2.0 + t)))
    return tl.where(x < 1, float("nan"), tl.where(x > 1e8, tl.log(x) + 0.69314718055994530942, near))


@triton.jit
def _atanh(x):
    """log((1 + |x|) / (1 - |x|)) / 2 with the sign of x."""
    a = tl.abs(x)
    return _copysign(0.5 * _log1p(2.0 * a / (1.0 - a)), x)


@triton.jit
def _sigmoid(x):
    """1 / (1 + e^-x), from the side on which e^-|x| cannot overflow."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _logit(x):
    return tl.log(x / (1.0 - x))


@triton.jit
def _erf(x):
    return tl.erf(x)


@triton.jit
def _erfc_tail(x):
    """1 - erf x for x >= 0.5: e^-x^2 g(t) / (1 + 2x), g a polynomial in t = (x - 4) / (x + 4).

    x^2 is taken as h^2 + (x - h)(x + h), h being x cut to sixteenths, whose square is exact: e to its rounding error
    would be magnified by x^2.
    """
    t = (x - 4.0) / (x + 4.0)
    g = -2.65959969024268941e-10 - 1.37465298900116379e-10 * t
    g = 3.16958819156481723e-9 + t * (1.79033261594898465e-9 + t * g)
    g = -2.05606492756992017e-8 + t * (-1.47095508686692789e-8 + t * g)
    g = 7.74699272701794193e-8 + t * (1.10097372952748894e-7 + t * g)
    g = 2.91973337796301215e-7 + t * (-8.24919842750835428e-7 + t * g)
    g = -1.1221287012353485e-5 + t * (5.70920605307218294e-6 + t * g)
    g = 1.50621490012404722e-4 + t * (-2.43989445452808339e-5 + t * g)
    g = -7.57773261373095633e-4 + t * (-1.99256775763364802e-4 + t * g)
    g = -0.0161977340597992662 + t * (0.00503196999266993344 + t * g)
    g = -0.0663303658121869770 + t * (0.0371675155359291146 + t * g)
    g = -0.1010390660363005540 + t * (0.0937328349984382670 + t * g)
    g = 0.0153796521026196040 + t * (0.0680970542546903911 + t * g)
    g = 1.2329951186255525100 + t * (-0.139621116840562496 + t * g)
    h = tl.floor(x * 16.0) * 0.0625
    tail = tl.exp(-h * h) * tl.exp(-(x - h) * (x + h)) * g / (1.0 + 2.0 * x)
    return tl.where(x > 30.0, 0.0, tail)


@triton.jit
def _erfc(x):
    """1 - erf x: directly below 0.5, above it by a formula of its own, as all digits of the difference would cancel."""
    return tl.where(x < 0.5, 1.0 - tl.erf(x), tl.where(x != x, x, _erfc_tail(tl.where(x < 0.5, 0.5, x))))


@triton.jit
def _erfinv(x):
    """The y with erf y = x: Giles' polynomials in log(1 - x^2), then Halley's steps; above 1/2 on erfc, whole there."""
    a = tl.abs(x)
    w = -tl.log((1.0 - a) * (1.0 + a))
    c = w - 2.5
    p = 3.43273939e-07 + c * 2.81022636e-08
    p = -4.39150654e-06 + c * (-3.5233877e-06 + c * p)
    p = -0.00125372503 + c * (0.00021858087 + c * p)
    p = 0.246640727 + c * (-0.00417768164 + c * p)
    c = _sqrt(w) - 3.0
    far = 0.000100950558 - c * 0.000200214257
    far = -0.00367342844 + c * (0.00134934322 + c * far)
    far = -0.0076224613 + c * (0.00573950773 + c * far)
    far = 1.00167406 + c * (0.00943887047 + c * far)
    y = a * tl.where(w < 5.0, 1.50140941 + (w - 2.5) * p, 2.83297682 + c * far)
    for _ in tl.static_range(5 if x.dtype == tl.float64 else 1):
        error = tl.where(a > 0.5, (1.0 - a) - _erfc(y), tl.erf(y) - a)
        step = error * 0.88622692545275801365 * tl.exp(y * y)
        y -= step / (1.0 + y * step)
    return _copysign(tl.where(a < 1, y, tl.where(a == 1, float("inf"), float("nan"))), x)


@triton.jit
def _lgamma(x):
    """log |gamma(x)|: Stirling's series at 8 or more, to which gamma(x) = gamma(x + 8) / (x (x+1) ... (x+7)) leads.

    Below 0.5 by reflection, pi / (|sin pi x| gamma(1 - x)). In float64 throughout, because of the zeros at 1 and 2.
    """
    v = x.to(tl.float64)
    z = tl.where(v < 0.5, 1.0 - v, v)
    product = z * (z + 1.0) * (z + 2.0) * (z + 3.0) * (z + 4.0) * (z + 5.0) * (z + 6.0) * (z + 7.0)
    s = tl.where(z < 8.0, z + 8.0, z)
    r = 1.0 / (s * s)
    series = 1.0 / 1188 + r * (-691.0 / 360360 + r * (1.0 / 156 - r * (3617.0 / 122400)))
    series = (1.0 / 12 + r * (-1.0 / 360 + r * (1.0 / 1260 + r * (-1.0 / 1680 + r * series)))) / s
    log = tl.log(s)
    stirling = (s - 0.5) * (log - 1.0) + 0.41893853320467274178 + series
    gamma = tl.where(z < 8.0, stirling - tl.log(product), stirling)
    whole = tl.floor(v) == v
    turned = v - tl.floor(v + 0.5)  # |sin pi x| has period 1, and large x would lose its fraction to rounding
    reflected = 1.14472988584940017414 - tl.log(tl.abs(tl.sin(3.14159265358979323846 * turned))) - gamma
    result = tl.where(v < 0.5, tl.where(whole, float("inf"), reflected), gamma)
    return tl.where(tl.abs(v) == float("inf"), float("inf"), result).to(x.dtype)


@triton.jit
def _digamma(x):
    """The slope of log gamma: an asymptotic series from 8 on, psi(x) = psi(x + 1) - 1/x below, reflection below 0."""
    v = x.to(tl.float64)
    z = tl.where(v < 0, 1.0 - v, v)
    down = tl.zeros_like(z)
    for k in tl.static_range(8):
        down += 1.0 / (z + k)
    s = tl.where(z < 8.0, z + 8.0, z)
    r = 1.0 / (s * s)
    series = -1.0 / 132 + r * (691.0 / 32760 + r * (-1.0 / 12 + r * (3617.0 / 8160)))
    series = r * (1.0 / 12 + r * (-1.0 / 120 + r * (1.0 / 252 + r * (-1.0 / 240 - r * series))))
    psi = tl.log(s) - 0.5 / s - series - tl.where(z < 8.0, down, 0.0)
    turned = 3.14159265358979323846 * (v - tl.floor(v + 0.5))
    reflected = tl.where(tl.floor(v) == v, float("nan"), psi - 3.14159265358979323846 * tl.cos(turned) / tl.sin(turned))
    result = tl.where(v < 0, reflected, psi)
    return tl.where(v == 0, -1.0 / v, tl.where(v == float("inf"), v, result)).to(x.dtype)


@triton.jit
def _pow_float(x, y):
    """x^y = 2^(y log2|x|), evaluated in float64 so that float32 comes out right to the last place or the one before.

    A negative base gives a sign by the parity of an integral exponent and NaN for any other, as C's pow does.
    """
    a, b = x.to(tl.float64), y.to(tl.float64)
    size = tl.exp2(b * tl.log2(tl.abs(a)))
    whole = tl.floor(b) == b
    odd = whole & (tl.floor(b * 0.5) * 2.0 != b)
    signed = tl.where(whole, tl.where(odd, size * -1.0, size), float("nan"))
    negative = (a < 0) & (tl.abs(a) < float("inf")) & (tl.abs(b) < float("inf"))
    power = tl.where(negative, signed, tl.where(((a < 0) | (1.0 / a == -float("inf"))) & odd, size * -1.0, size))
    one = (b == 0) | (a == 1) | ((a == -1) & (tl.abs(b) == float("inf")))
    return tl.where(one, 1.0, power).to(x.dtype)


@triton.jit
def _zeta(s, q):
    """Hurwitz' zeta in float64, sum over k of (q + k)^-s for s > 1, q > 0: nine terms, then Euler and Maclaurin's."""
    total = tl.zeros_like(q)
    for k in range(9):
        total += tl.exp2(-s * tl.log2(q + k))
    a = q + 9.0
    last = tl.exp2(-s * tl.log2(a))
    total += last * (a / (s - 1.0) + 0.5)
    r = 1.0 / (a * a)
    term = s * last / a
    total += term / 12
    term *= (s + 1.0) * (s + 2.0) * r
    total -= term / 720
    term *= (s + 3.0) * (s + 4.0) * r
    total += term / 30240
    term *= (s + 5.0) * (s + 6.0) * r
    total -= term / 1209600
    term *= (s + 7.0) * (s + 8.0) * r
    total += term / 47900160
    term *= (s + 9.0) * (s + 10.0) * r
    total -= term * 691 / 1307674368000
    term *= (s + 11.0) * (s + 12.0) * r
    total += term / 74724249600
    return total


@triton.jit
def _polygamma(n, x):
    """-(-1)^n n! zeta(n + 1, x), the n-th derivative of digamma for n >= 1; below 0, for n = 1, by reflection."""
    order, v = n.to(tl.float64), x.to(tl.float64)
    reflect = (v < 0) & (order == 1)
    q = tl.where(reflect, 1.0 - v, v)
    sum = _zeta(order + 1.0, tl.where(q > 0, q, 1.0)) * tl.exp(_lgamma(order + 1.0))
    sign = tl.where(tl.floor(order * 0.5) * 2.0 == order, -1.0, 1.0)
    sine = tl.sin(3.14159265358979323846 * (v - tl.floor(v + 0.5)))
    pole = tl.where(tl.floor(v) == v, float("inf"), 9.86960440108935861883 / (sine * sine))
    result = tl.where(reflect, pole - sum, sign * sum)
    result = tl.where((v < 0) & (order > 1), float("nan"), tl.where(v == 0, sign * float("inf"), result))
    return tl.where(v != v, v, result).to(x.dtype)
