"""In-place forms of powers, exponentials, logarithms, circles, hyperbolas, error and gamma functions; see `inplace`."""

from __future__ import annotations

from tritongrad.ops.operands import Operand, floating_type, overwrite, require_tensor, result_type
from tritongrad.ops.transcendental import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    digamma,
    erf,
    erfc,
    erfinv,
    exp,
    exp2,
    expm1,
    float_power,
    lgamma,
    log,
    log1p,
    log2,
    log10,
    logit,
    polygamma,
    pow,
    rsqrt,
    sigmoid,
    sin,
    sinc,
    sinh,
    sqrt,
    tan,
    tanh,
    xlogy,
)
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


def pow_(input: Tensor, exponent: Operand) -> Tensor:
    """`pow` in place."""
    return overwrite("pow_", result_type(input, exponent), pow, input, exponent)


def float_power_(input: Tensor, exponent: Operand) -> Tensor:
    """`float_power` in place, for float64 tensors."""
    if input.dtype is not dtypes.float64:
        raise RuntimeError(f"float_power_: the result is float64, but the tensor written in place {input.dtype.name}")
    return overwrite("float_power_", dtypes.float64, float_power, input, exponent)


def acos_(input: Tensor) -> Tensor:
    """`acos` in place."""
    return overwrite("acos_", floating_type(input), acos, input)


def acosh_(input: Tensor) -> Tensor:
    """`acosh` in place."""
    return overwrite("acosh_", floating_type(input), acosh, input)


def asin_(input: Tensor) -> Tensor:
    """`asin` in place."""
    return overwrite("asin_", floating_type(input), asin, input)


def asinh_(input: Tensor) -> Tensor:
    """`asinh` in place."""
    return overwrite("asinh_", floating_type(input), asinh, input)


def atan_(input: Tensor) -> Tensor:
    """`atan` in place."""
    return overwrite("atan_", floating_type(input), atan, input)


def atanh_(input: Tensor) -> Tensor:
    """`atanh` in place."""
    return overwrite("atanh_", floating_type(input), atanh, input)


def cos_(input: Tensor) -> Tensor:
    """`cos` in place."""
    return overwrite("cos_", floating_type(input), cos, input)


def cosh_(input: Tensor) -> Tensor:
    """`cosh` in place."""
    return overwrite("cosh_", floating_type(input), cosh, input)


def digamma_(input: Tensor) -> Tensor:
    """`digamma` in place."""
    return overwrite("digamma_", floating_type(input), digamma, input)


def erf_(input: Tensor) -> Tensor:
    """`erf` in place."""
    return overwrite("erf_", floating_type(input), erf, input)


def erfc_(input: Tensor) -> Tensor:
    """`erfc` in place."""
    return overwrite("erfc_", floating_type(input), erfc, input)


def erfinv_(input: Tensor) -> Tensor:
    """`erfinv` in place."""
    return overwrite("erfinv_", floating_type(input), erfinv, input)


def exp_(input: Tensor) -> Tensor:
    """`exp` in place."""
    return overwrite("exp_", floating_type(input), exp, input)


def exp2_(input: Tensor) -> Tensor:
    """`exp2` in place."""
    return overwrite("exp2_", floating_type(input), exp2, input)


def expm1_(input: Tensor) -> Tensor:
    """`expm1` in place."""
    return overwrite("expm1_", floating_type(input), expm1, input)


def lgamma_(input: Tensor) -> Tensor:
    """`lgamma` in place."""
    return overwrite("lgamma_", floating_type(input), lgamma, input)


def log_(input: Tensor) -> Tensor:
    """`log` in place."""
    return overwrite("log_", floating_type(input), log, input)


def log10_(input: Tensor) -> Tensor:
    """`log10` in place."""
    return overwrite("log10_", floating_type(input), log10, input)


def log1p_(input: Tensor) -> Tensor:
    """`log1p` in place."""
    return overwrite("log1p_", floating_type(input), log1p, input)


def log2_(input: Tensor) -> Tensor:
    """`log2` in place."""
    return overwrite("log2_", floating_type(input), log2, input)


def rsqrt_(input: Tensor) -> Tensor:
    """`rsqrt` in place."""
    return overwrite("rsqrt_", floating_type(input), rsqrt, input)


def sigmoid_(input: Tensor) -> Tensor:
    """`sigmoid` in place."""
    return overwrite("sigmoid_", floating_type(input), sigmoid, input)


def sin_(input: Tensor) -> Tensor:
    """`sin` in place."""
    return overwrite("sin_", floating_type(input), sin, input)


def sinc_(input: Tensor) -> Tensor:
    """`sinc` in place."""
    return overwrite("sinc_", floating_type(input), sinc, input)


def sinh_(input: Tensor) -> Tensor:
    """`sinh` in place."""
    return overwrite("sinh_", floating_type(input), sinh, input)


def sqrt_(input: Tensor) -> Tensor:
    """`sqrt` in place."""
    return overwrite("sqrt_", floating_type(input), sqrt, input)


def tan_(input: Tensor) -> Tensor:
    """`tan` in place."""
    return overwrite("tan_", floating_type(input), tan, input)


def tanh_(input: Tensor) -> Tensor:
    """`tanh` in place."""
    return overwrite("tanh_", floating_type(input), tanh, input)


arccos_, arccosh_, arcsin_, arcsinh_, arctan_, arctanh_ = acos_, acosh_, asin_, asinh_, atan_, atanh_


def atan2_(input: Tensor, other: Tensor) -> Tensor:
    """`atan2` in place."""
    require_tensor("atan2_", input=input, other=other)
    return overwrite("atan2_", floating_type(input, other), atan2, input, other)


arctan2_ = atan2_


def xlogy_(input: Tensor, other: Operand) -> Tensor:
    """`xlogy` in place."""
    return overwrite("xlogy_", floating_type(input, other), xlogy, input, other)


def logit_(input: Tensor, eps: float | None = None) -> Tensor:
    """`logit` in place."""
    return overwrite("logit_", floating_type(input), logit, input, eps=eps)


def polygamma_(input: Tensor, n: int) -> Tensor:
    """`polygamma` in place."""
    return overwrite("polygamma_", floating_type(input), _polygamma, input, n=n)


def _polygamma(input: Tensor, n: int) -> Tensor:
    return polygamma(n, input)
