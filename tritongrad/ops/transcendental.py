"""Powers, exponentials, logarithms, circles, hyperbolas, and the error and gamma functions.

Integers give the default floating dtype.
"""

from __future__ import annotations

import math
from typing import Any

from tritongrad.ops.comparison import clamp, eq, ge, le, logical_and, where
from tritongrad.ops.operands import Operand, apply, floating_type, into, refuse, require_tensor, result_type, widened
from tritongrad.precision import raised, widest
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise, formulas, transcendental as kernel
from tritongrad_kernels.array import Array
from tritongrad_kernels.dtypes import bool_, dtype


def _floating(name: str, formula: Any, input: Tensor) -> Array:
    require_tensor(name, input=input)
    return apply(name, formula, input, kind=floating_type(input))


# --------------------------------------------------------------------------------------------------------------- powers


@raised
def pow(input: Operand, exponent: Operand, *, out: Tensor | None = None) -> Tensor:
    """input to the power `exponent`. Integers stay integers, and then a number as exponent must not be negative."""
    kind = result_type(input, exponent)
    if not isinstance(exponent, Tensor) and isinstance(input, Tensor):
        return into(out, "pow", _pow_number(input, exponent, kind))
    refuse("pow", kind, "b")
    if not kind.is_floating_point:
        return into(out, "pow", Tensor(apply("pow", formulas._pow_int, input, exponent)))
    result = record(
        apply("pow", kernel._pow_float, input, exponent),
        (input, lambda dy: where(eq(exponent, 0), 0.0, dy * (exponent * pow(input, exponent - 1)))),
        (exponent, lambda dy, z: dy * _log_slope(input, exponent, z)),
    )
    return into(out, "pow", result)


def _log_slope(base: Operand, exponent: Tensor, power: Tensor) -> Tensor:
    """base^exponent log(base), and 0 for a base of 0 whose exponent is not negative."""
    if not isinstance(base, Tensor):
        return where(ge(exponent, 0), 0.0, power * -math.inf) if base == 0 else power * _log_of(base)
    return where(logical_and(eq(base, 0), ge(exponent, 0)), 0.0, power * log(base))


def _log_of(x: float) -> float:
    return math.log(x) if x > 0 else math.nan


def _pow_number(input: Tensor, exponent: float, kind: dtype) -> Tensor:
    """input to the power of a Python number, the common ones exactly."""
    if kind is bool_:
        return (
            Tensor(apply("pow", elementwise._identity, input))
            if exponent
            else Tensor(apply("pow", formulas._always, input))
        )
    if not kind.is_floating_point:
        if exponent < 0:
            raise RuntimeError(
                f"pow: integers to negative integer powers are not allowed, got {input.dtype.name} ** {exponent}"
            )
        return Tensor(apply("pow", formulas._pow_int, input, exponent))
    if exponent == 0:
        return record(apply("pow", kernel._pow_float, input, exponent, kind=kind), (input, lambda dy: dy.zeros_like()))
    exact = {1: elementwise._identity, 2: formulas._square, 3: formulas._cube, 0.5: formulas._sqrt}.get(exponent)
    if exact is not None:
        z = apply("pow", exact, input, kind=kind)
    else:
        z = apply("pow", kernel._pow_float, input, exponent, kind=kind)
    return record(z, (input, lambda dy: dy * (exponent * pow(input, exponent - 1))))


def float_power(input: Operand, exponent: Operand, *, out: Tensor | None = None) -> Tensor:
    """input to the power `exponent`, in float64."""
    x, y = (t.to(dtypes.float64) if isinstance(t, Tensor) else float(t) for t in (input, exponent))
    return into(out, "float_power", pow(x, y))


def sqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The square root, correctly rounded; NaN below 0."""
    return into(out, "sqrt", record(_floating("sqrt", formulas._sqrt, input), (input, lambda dy, y: dy / (2 * y))))


@raised
def rsqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / sqrt(input)."""
    y = _floating("rsqrt", formulas._rsqrt, input)
    return into(out, "rsqrt", record(y, (input, lambda dy, y: dy * -0.5 * y * y * y)))


# --------------------------------------------------------------------------------------------- exponentials, logarithms


@raised
def exp(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """e to the power `input`."""
    return into(out, "exp", record(_floating("exp", kernel._exp, input), (input, lambda dy, y: dy * y)))


def exp2(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """2 to the power `input`."""
    y = _floating("exp2", kernel._exp2, input)
    return into(out, "exp2", record(y, (input, lambda dy, y: dy * y * math.log(2))))


@raised
def expm1(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """exp(input) - 1, near 0 with all its digits."""
    return into(out, "expm1", record(_floating("expm1", kernel._expm1, input), (input, lambda dy, y: dy * (y + 1))))


@raised
def log(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The natural logarithm; NaN below 0, -inf at 0."""
    return into(out, "log", record(_floating("log", kernel._log, input), (input, lambda dy: dy / input)))


@raised
def log2(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 2."""
    y = _floating("log2", kernel._log2, input)
    return into(out, "log2", record(y, (input, lambda dy: dy / (input * math.log(2)))))


@raised
def log10(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 10."""
    y = _floating("log10", kernel._log10, input)
    return into(out, "log10", record(y, (input, lambda dy: dy / (input * math.log(10)))))


@raised
def log1p(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(1 + input), near 0 with all its digits."""
    return into(out, "log1p", record(_floating("log1p", kernel._log1p, input), (input, lambda dy: dy / (input + 1))))


def logaddexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(exp(input) + exp(other)) of floating numbers, without overflow on the way."""
    require_tensor("logaddexp", input=input, other=other)
    refuse("logaddexp", result_type(input, other), "bi")
    result = record(
        apply("logaddexp", kernel._logaddexp, input, other),
        (input, lambda dy: dy * sigmoid(input - other)),
        (other, lambda dy: dy * sigmoid(other - input)),
    )
    return into(out, "logaddexp", result)


def logaddexp2(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log2(2^input + 2^other) of floating numbers, without overflow on the way."""
    require_tensor("logaddexp2", input=input, other=other)
    refuse("logaddexp2", result_type(input, other), "bi")
    result = record(
        apply("logaddexp2", kernel._logaddexp2, input, other),
        (input, lambda dy: dy * sigmoid((input - other) * math.log(2))),
        (other, lambda dy: dy * sigmoid((other - input) * math.log(2))),
    )
    return into(out, "logaddexp2", result)


def xlogy(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input log(other), and 0 where `input` is 0 unless `other` is NaN."""
    z = apply("xlogy", kernel._xlogy, input, other, kind=floating_type(input, other))
    result = record(
        z,
        (input, lambda dy: where(_absent(input, other), 0.0, xlogy(dy, other))),
        (other, lambda dy: dy * (input / other)),
    )
    return into(out, "xlogy", result)


def _absent(x: Tensor, y: Operand) -> Tensor:
    """Where x log(y) is 0 although the logarithm is not finite."""
    return logical_and(eq(x, 0), le(y if isinstance(y, Tensor) else x.zeros_like() + y, 0))


# -------------------------------------------------------------------------------------------------- circles, hyperbolas


def sin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The sine of `input` in radians."""
    return into(out, "sin", record(_floating("sin", kernel._sin, input), (input, lambda dy: dy * cos(input))))


def cos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The cosine of `input` in radians."""
    return into(out, "cos", record(_floating("cos", kernel._cos, input), (input, lambda dy: dy * -sin(input))))


@raised
def tan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The tangent of `input` in radians."""
    return into(out, "tan", record(_floating("tan", kernel._tan, input), (input, lambda dy, y: dy * (1 + y * y))))


def sinc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """sin(pi input) / (pi input), 1 at 0, where all gradients are taken as 0."""
    y = _floating("sinc", kernel._sinc, input)
    return into(out, "sinc", record(y, (input, lambda dy: where(eq(input, 0), 0.0, dy * widened(_sinc_slope, input)))))


def _sinc_slope(x: Tensor) -> Tensor:
    angle = x * math.pi
    return (angle * cos(angle) - sin(angle)) / (x * x * math.pi)


@raised
def asin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in [-pi/2, pi/2] with this sine; NaN beyond 1."""
    y = _floating("asin", kernel._asin, input)
    return into(out, "asin", record(y, (input, lambda dy: dy * rsqrt(1 - input * input))))


@raised
def acos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in [0, pi] with this cosine; NaN beyond 1."""
    y = _floating("acos", kernel._acos, input)
    return into(out, "acos", record(y, (input, lambda dy: dy * -rsqrt(1 - input * input))))


def atan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in [-pi/2, pi/2] with this tangent."""
    y = _floating("atan", kernel._atan, input)
    return into(out, "atan", record(y, (input, lambda dy: dy / (input * input + 1))))


@widest
def atan2(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in [-pi, pi] of the point whose y is `input` and whose x is `other`."""
    require_tensor("atan2", input=input, other=other)
    result = record(
        apply("atan2", kernel._atan2, input, other, kind=floating_type(input, other)),
        (input, lambda dy: where(_at_origin(input, other), 0.0, dy * (other / (input * input + other * other)))),
        (other, lambda dy: where(_at_origin(input, other), 0.0, dy * (-input / (input * input + other * other)))),
    )
    return into(out, "atan2", result)


def _at_origin(x: Tensor, y: Tensor) -> Tensor:
    return logical_and(eq(x, 0), eq(y, 0))


@raised
def sinh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic sine."""
    return into(out, "sinh", record(_floating("sinh", kernel._sinh, input), (input, lambda dy: dy * cosh(input))))


@raised
def cosh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic cosine."""
    return into(out, "cosh", record(_floating("cosh", kernel._cosh, input), (input, lambda dy: dy * sinh(input))))


def tanh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return into(out, "tanh", record(_floating("tanh", kernel._tanh, input), (input, lambda dy, y: dy * (1 - y * y))))


def asinh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The number with this hyperbolic sine."""
    y = _floating("asinh", kernel._asinh, input)
    return into(out, "asinh", record(y, (input, lambda dy: dy * rsqrt(input * input + 1))))


def acosh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The number not below 0 with this hyperbolic cosine; NaN below 1."""
    y = _floating("acosh", kernel._acosh, input)
    return into(out, "acosh", record(y, (input, lambda dy: dy * rsqrt((input - 1) * (input + 1)))))


def atanh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The number with this hyperbolic tangent; NaN beyond 1."""
    y = _floating("atanh", kernel._atanh, input)
    return into(out, "atanh", record(y, (input, lambda dy: dy / (1 - input * input))))


arcsin, arccos, arctan, arctan2, arcsinh, arccosh, arctanh = asin, acos, atan, atan2, asinh, acosh, atanh


# ------------------------------------------------------------------------------------------- logistic, error and gamma


def sigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / (1 + exp(-input))."""
    y = _floating("sigmoid", kernel._sigmoid, input)
    return into(out, "sigmoid", record(y, (input, lambda dy, y: dy * (y * (1 - y)))))


def logit(input: Tensor, eps: float | None = None, *, out: Tensor | None = None) -> Tensor:
    """log(input / (1 - input)), after `clamp` to [eps, 1 - eps] where `eps` is given; else NaN outside [0, 1]."""
    require_tensor("logit", input=input)
    kind = floating_type(input)
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    x = input if eps is None else clamp(input.detach(), low, high)
    beyond = math.nan if eps is None else 0.0
    result = record(
        apply("logit", kernel._logit, x, kind=kind),
        (input, lambda dy: where(_between(input, low, high), dy / (input * (1 - input)), beyond)),
    )
    return into(out, "logit", result)


def _between(x: Tensor, low: float, high: float) -> Tensor:
    return logical_and(ge(x, low), le(x, high))


def erf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to `input`."""
    y = _floating("erf", kernel._erf, input)
    return into(out, "erf", record(y, (input, lambda dy: dy * (exp(-input * input) * (2 / math.sqrt(math.pi))))))


def erfc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 - erf(input), with all its digits where that is small."""
    y = _floating("erfc", kernel._erfc, input)
    return into(out, "erfc", record(y, (input, lambda dy: dy * (exp(-input * input) * (-2 / math.sqrt(math.pi))))))


@raised
def erfinv(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The number whose `erf` is `input`; infinite at -1 and 1, NaN beyond."""
    y = _floating("erfinv", kernel._erfinv, input)
    return into(out, "erfinv", record(y, (input, lambda dy, y: dy * (exp(y * y) * (math.sqrt(math.pi) / 2)))))


def lgamma(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log |gamma(input)|; infinite at 0, -1, -2, ..."""
    return into(
        out, "lgamma", record(_floating("lgamma", kernel._lgamma, input), (input, lambda dy: dy * digamma(input)))
    )


def digamma(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The derivative of `lgamma`."""
    y = _floating("digamma", kernel._digamma, input)
    return into(out, "digamma", record(y, (input, lambda dy: dy * polygamma(1, input))))


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The n-th derivative of `digamma`. Below 0 it is given for n = 1 alone, and NaN for larger n."""
    require_tensor("polygamma", input=input)
    if n < 0:
        raise RuntimeError(f"polygamma: n must not be negative, got {n}")
    if n == 0:
        return digamma(input, out=out)
    y = apply("polygamma", kernel._polygamma, n, input, kind=floating_type(input))
    return into(out, "polygamma", record(y, (input, lambda dy: dy * polygamma(n + 1, input))))


expit = sigmoid
