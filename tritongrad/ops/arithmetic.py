"""Arithmetic and rounding.

A gradient may have the broadcast shape: the graph sums it down to its input's.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes

from tritongrad.ops.comparison import eq, isfinite, where
from tritongrad.ops.older_forms import factor_first
from tritongrad.ops.operands import (
    Operand,
    apply,
    floating_type,
    into,
    refuse,
    refuse_zero,
    require_tensor,
    result_type,
)
from tritongrad.precision import raised, widest
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise as kernel, formulas
from tritongrad_kernels.dtypes import bool_, dtype

# --------------------------------------------------------------------------------------------------------- sum, product


def _refuse_alpha(name: str, kind: dtype, alpha: float) -> None:
    if isinstance(alpha, bool) and kind is not bool_:
        raise RuntimeError(f"{name}: a bool alpha is only for bool results, but the result is {kind.name}")
    if isinstance(alpha, float) and not kind.is_floating_point:
        raise RuntimeError(f"{name}: for integral tensors alpha must not be a floating point number, got {alpha}")


@factor_first("alpha", 1)
def add(input: Operand, other: Operand, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """input + alpha other. On bools, where either holds."""
    kind = result_type(input, other)
    _refuse_alpha("add", kind, alpha)
    if kind is bool_:
        z = apply("add", formulas._or, input, other if alpha else False, kind=kind)
    elif alpha == 1:
        z = apply("add", formulas._add, input, other, kind=kind)
    else:
        z = apply("add", formulas._add_scaled, input, other, alpha, kind=kind)
    return into(out, "add", record(z, (input, lambda dy: dy), (other, lambda dy: dy if alpha == 1 else dy * alpha)))


def refuse_bools(name: str, *operands: Operand) -> None:
    """RuntimeError for a difference with bools."""
    if any(result_type(x) is bool_ for x in operands if isinstance(x, Tensor | bool)):
        raise RuntimeError(
            f"{name}: subtraction with a bool tensor is not supported; to invert a mask use `~` or logical_not(), for "
            f"the difference of two `^` or logical_xor()"
        )


@factor_first("alpha", 1)
def sub(input: Operand, other: Operand, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """input - alpha other."""
    refuse_bools("sub", input, other)
    kind = result_type(input, other)
    _refuse_alpha("sub", kind, alpha)
    if alpha == 1:
        z = apply("sub", formulas._sub, input, other, kind=kind)
    else:
        z = apply("sub", formulas._sub_scaled, input, other, alpha, kind=kind)
    return into(out, "sub", record(z, (input, lambda dy: dy), (other, lambda dy: -dy if alpha == 1 else dy * -alpha)))


def rsub(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """other - alpha input."""
    require_tensor("rsub", input=input)
    return sub(other, input, alpha=alpha)


def mul(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input times other. On bools, where both hold."""
    kind = result_type(input, other)
    z = apply("mul", formulas._and if kind is bool_ else formulas._mul, input, other, kind=kind)
    return into(out, "mul", record(z, (input, lambda dy: dy * other), (other, lambda dy: dy * input)))


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    """input / other, correctly rounded; integers divide into floats.

    `rounding_mode` "floor" rounds the quotient down and "trunc" towards 0; integers then stay integers, and nothing has
    a gradient but 0.
    """
    if rounding_mode in ("floor", "trunc"):
        whole = _floor_divide("div", input, other) if rounding_mode == "floor" else _trunc_divide(input, other)
        result = record(whole.array, (input, lambda dy: dy.zeros_like()), (other, lambda dy: dy.zeros_like()))
        return into(out, "div", result)
    if rounding_mode is not None:
        raise RuntimeError(f"div: rounding_mode must be None, 'trunc' or 'floor', got {rounding_mode!r}")
    z = apply("div", formulas._div, input, other, kind=floating_type(input, other))
    result = record(z, (input, lambda dy: dy / other), (other, lambda dy: -dy * ((input / other) / other)))
    return into(out, "div", result)


def _trunc_divide(input: Operand, other: Operand) -> Tensor:
    kind = result_type(input, other)
    refuse("div", kind, "b")
    if not kind.is_floating_point:
        refuse_zero("div", other)
    formula = formulas._trunc_divide_float if kind.is_floating_point else formulas._trunc_divide_int
    return Tensor(apply("div", formula, input, other, kind=kind))


def floor_divide(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input / other rounded down. As torch's it cannot be differentiated; `div` with rounding_mode="floor" can."""

    def refuse_gradient(dy: Tensor) -> Tensor:
        raise NotImplementedError("the derivative for floor_divide is not implemented")

    whole = _floor_divide("floor_divide", input, other).array
    return into(out, "floor_divide", record(whole, (input, refuse_gradient), (other, refuse_gradient)))


def _floor_divide(name: str, input: Operand, other: Operand) -> Tensor:
    kind = result_type(input, other)
    refuse(name, kind, "b")
    if not kind.is_floating_point:
        refuse_zero(name, other)
    formula = formulas._floor_divide_float if kind.is_floating_point else formulas._floor_divide_int
    return Tensor(apply(name, formula, input, other, kind=kind))


def remainder(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input - floor(input / other) other: the remainder with the sign of `other`, as Python's %."""
    kind = result_type(input, other)
    refuse("remainder", kind, "b")
    if not kind.is_floating_point:
        refuse_zero("remainder", other)
    formula = formulas._remainder_float if kind.is_floating_point else formulas._remainder_int
    z = apply("remainder", formula, input, other, kind=kind)
    result = record(z, (input, lambda dy: dy), (other, lambda dy: -dy * div(input, other, rounding_mode="floor")))
    return into(out, "remainder", result)


def fmod(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """The remainder with the sign of `input`, as C's fmod."""
    require_tensor("fmod", input=input)
    kind = result_type(input, other)
    refuse("fmod", kind, "b")
    if not kind.is_floating_point:
        refuse_zero("fmod", other)
    formula = formulas._fmod_float if kind.is_floating_point else formulas._fmod_int
    z = apply("fmod", formula, input, other, kind=kind)
    result = record(z, (input, lambda dy: dy), (other, lambda dy: -dy * div(input, other, rounding_mode="trunc")))
    return into(out, "fmod", result)


subtract, multiply, divide = sub, mul, div


def true_divide(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input / other; see `div`."""
    return div(input, other, out=out)


def _as_c_counts(kind: dtype) -> dtype:
    """The integers that arithmetic on these is done in, so that it wraps around where torch's does."""
    return dtypes.int32 if kind.itemsize < 4 else kind


def gcd(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The greatest common divisor of integers; gcd(0, 0) = 0."""
    require_tensor("gcd", input=input, other=other)
    kind = result_type(input, other)
    refuse("gcd", kind, "bf")
    return into(out, "gcd", Tensor(apply("gcd", formulas._gcd, input, other, kind=_as_c_counts(kind), to=kind)))


def lcm(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The least common multiple of integers."""
    require_tensor("lcm", input=input, other=other)
    kind = result_type(input, other)
    refuse("lcm", kind, "bf")
    return into(out, "lcm", Tensor(apply("lcm", formulas._lcm, input, other, kind=_as_c_counts(kind), to=kind)))


def hypot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """sqrt(input^2 + other^2) of floating numbers, without overflow on the way."""
    require_tensor("hypot", input=input, other=other)
    refuse("hypot", result_type(input, other), "bi")
    result = record(
        apply("hypot", formulas._hypot, input, other),
        (input, lambda dy, z: dy * (input / z)),
        (other, lambda dy, z: dy * (other / z)),
    )
    return into(out, "hypot", result)


def lerp(input: Tensor, end: Tensor, weight: Operand, *, out: Tensor | None = None) -> Tensor:
    """input + weight (end - input), all of one floating dtype."""
    require_tensor("lerp", input=input, end=end)
    refuse("lerp", input.dtype, "bi")
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, Tensor) and x.dtype is not input.dtype:
            raise RuntimeError(f"lerp: expected dtype {input.dtype.name} for `{name}` but got {x.dtype.name}")
    result = record(
        apply("lerp", formulas._lerp, input, end, weight),
        (input, lambda dy: dy * (1 - weight)),
        (end, lambda dy: dy * weight),
        (weight, lambda dy: dy * (end - input)),
    )
    return into(out, "lerp", result)


@factor_first("value", 2)
@widest
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1, out: Tensor | None = None) -> Tensor:
    """input + value tensor1 tensor2."""
    require_tensor("addcmul", input=input, tensor1=tensor1, tensor2=tensor2)
    kind = result_type(input, tensor1, tensor2)
    refuse("addcmul", kind, "b")
    value = value if kind.is_floating_point else int(value)
    result = record(
        apply("addcmul", formulas._add_product, input, tensor1, tensor2, value, kind=kind),
        (input, lambda dy: dy),
        (tensor1, lambda dy: dy * (tensor2 * value)),
        (tensor2, lambda dy: dy * (tensor1 * value)),
    )
    return into(out, "addcmul", result)


@factor_first("value", 2)
@widest
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1, out: Tensor | None = None) -> Tensor:
    """input + value tensor1 / tensor2, the quotient of floating numbers."""
    require_tensor("addcdiv", input=input, tensor1=tensor1, tensor2=tensor2)
    if not result_type(tensor1, tensor2).is_floating_point:
        raise RuntimeError(
            f"addcdiv: integer division is not supported, got {tensor1.dtype.name} and {tensor2.dtype.name}; "
            f"use input + value * torch.trunc(tensor1 / tensor2) or a floating dtype"
        )
    result = record(
        apply("addcdiv", formulas._add_quotient, input, tensor1, tensor2, value),
        (input, lambda dy: dy),
        (tensor1, lambda dy: dy * (value / tensor2)),
        (tensor2, lambda dy: -dy * (value * tensor1 / (tensor2 * tensor2))),
    )
    return into(out, "addcdiv", result)


# ----------------------------------------------------------------------------------------------------------------- sign


def neg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-input."""
    require_tensor("neg", input=input)
    if input.dtype is bool_:
        raise RuntimeError("neg: not defined for bool tensors; to invert a mask use `~` or logical_not()")
    return into(out, "neg", record(apply("neg", formulas._neg, input), (input, lambda dy: -dy)))


negative = neg


def positive(input: Tensor) -> Tensor:
    """input itself."""
    require_tensor("positive", input=input)
    if input.dtype is bool_:
        raise RuntimeError("positive: not defined for bool tensors")
    return input


def abs(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """|input|; the gradient at 0 is 0."""
    require_tensor("abs", input=input)
    refuse("abs", input.dtype, "b")
    return into(out, "abs", record(apply("abs", formulas._abs, input), (input, lambda dy: dy * sign(input))))


absolute = abs


def sign(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-1, 0 or 1 by the sign of the number, 0 for NaN. Its gradient is 0."""
    require_tensor("sign", input=input)
    formula = kernel._identity if input.dtype is bool_ else formulas._sign
    return into(out, "sign", record(apply("sign", formula, input), (input, lambda dy: dy.zeros_like())))


sgn = sign


def copysign(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """|input| with the sign of `other`, that of -0 too; integers give floats. The gradient at 0 is 0."""
    require_tensor("copysign", input=input)
    kind = floating_type(input, other)
    result = record(
        apply("copysign", formulas._copysign, input, other, kind=kind),
        (input, lambda dy, z: dy * where(eq(input, 0), 0.0, z / input)),
        (other, lambda dy: dy.zeros_like()),
    )
    return into(out, "copysign", result)


@raised
def reciprocal(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / input."""
    require_tensor("reciprocal", input=input)
    z = apply("reciprocal", formulas._reciprocal, input, kind=floating_type(input))
    return into(out, "reciprocal", record(z, (input, lambda dy, z: -dy * z * z)))


def square(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input times input."""
    require_tensor("square", input=input)
    kind = dtypes.int64 if input.dtype is bool_ else input.dtype
    return into(
        out, "square", record(apply("square", formulas._square, input, kind=kind), (input, lambda dy: dy * (2 * input)))
    )


def deg2rad(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Degrees in radians."""
    require_tensor("deg2rad", input=input)
    return into(out, "deg2rad", mul(input, math.pi / 180))


def rad2deg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Radians in degrees."""
    require_tensor("rad2deg", input=input)
    return into(out, "rad2deg", mul(input, 180 / math.pi))


def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """input with NaN, inf and -inf replaced: by 0, the largest and the smallest number of the dtype unless given.

    Only what was finite has a gradient.
    """
    require_tensor("nan_to_num", input=input)
    if not input.dtype.is_floating_point:
        return into(out, "nan_to_num", input.clone())
    most = float(ml_dtypes.finfo(input.dtype.numpy).max)
    z = apply("nan_to_num", formulas._nan_to, input, 0.0 if nan is None else nan)
    ends = most if posinf is None else posinf, -most if neginf is None else neginf
    z = kernel.map(formulas._infinities_to, z, *map(float, ends))
    return into(out, "nan_to_num", record(z, (input, lambda dy: where(isfinite(input), dy, 0.0))))


# ------------------------------------------------------------------------------------------------------------- rounding


def _rounded(name: str, formula: Any, input: Tensor, out: Tensor | None) -> Tensor:
    require_tensor(name, input=input)
    refuse(name, input.dtype, "b")
    z = apply(name, formula if input.dtype.is_floating_point else kernel._identity, input)
    return into(out, name, record(z, (input, lambda dy: dy.zeros_like())))


def floor(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The largest integer not above, in the dtype of `input`. Its gradient is 0."""
    return _rounded("floor", formulas._floor, input, out)


def ceil(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smallest integer not below, in the dtype of `input`. Its gradient is 0."""
    return _rounded("ceil", formulas._ceil, input, out)


def trunc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The integer part, in the dtype of `input`. Its gradient is 0."""
    return _rounded("trunc", formulas._trunc, input, out)


fix = trunc


def round(input: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:
    """The nearest integer, of two the even one, or the nearest multiple of 10^-decimals. Its gradient is 0."""
    if decimals == 0:
        return _rounded("round", formulas._round, input, out)
    require_tensor("round", input=input)
    refuse("round", input.dtype, "bi")
    scales = (10.0**decimals, 1.0) if decimals > 0 else (1.0, 10.0**-decimals)
    z = apply("round", formulas._round_scaled, input, *scales)
    return into(out, "round", record(z, (input, lambda dy: dy.zeros_like())))


def frac(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """What `trunc` cuts off."""
    require_tensor("frac", input=input)
    refuse("frac", input.dtype, "bi")
    return into(out, "frac", record(apply("frac", formulas._frac, input), (input, lambda dy: dy)))
