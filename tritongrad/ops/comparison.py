"""Comparison, logic, bits, classification of floating-point numbers, and choice."""

from __future__ import annotations

import builtins
from typing import Any

from tritongrad.ops.operands import Operand, apply, arrays, into, refuse, require_tensor, result_type
from tritongrad.tensor import Tensor, get_default_dtype, record
from tritongrad_kernels import dtypes, elementwise as kernel, formulas
from tritongrad_kernels.dtypes import bool_

# ---------------------------------------------------------------------------------------------------------- comparison


def eq(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input == other."""
    require_tensor("eq", input=input)
    return into(out, "eq", Tensor(apply("eq", formulas._eq, input, other, to=bool_)))


def ne(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input != other."""
    require_tensor("ne", input=input)
    return into(out, "ne", Tensor(apply("ne", formulas._ne, input, other, to=bool_)))


def lt(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input < other."""
    require_tensor("lt", input=input)
    return into(out, "lt", Tensor(apply("lt", formulas._lt, input, other, to=bool_)))


def le(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input <= other."""
    require_tensor("le", input=input)
    return into(out, "le", Tensor(apply("le", formulas._le, input, other, to=bool_)))


def gt(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input > other."""
    require_tensor("gt", input=input)
    return into(out, "gt", Tensor(apply("gt", formulas._lt, other, input, to=bool_)))


def ge(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input >= other."""
    require_tensor("ge", input=input)
    return into(out, "ge", Tensor(apply("ge", formulas._le, other, input, to=bool_)))


not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |input - other| <= atol + rtol |other|, both of one dtype; infinities are close to themselves only."""
    require_tensor("isclose", input=input, other=other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"isclose: {input.dtype.name} did not match {other.dtype.name}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must not be negative, got {rtol} and {atol}")
    close = eq(input, other)
    if equal_nan:
        close = logical_or(close, logical_and(isnan(input), isnan(other)))
    if not input.dtype.is_floating_point:
        input, other = input.to(get_default_dtype()), other.to(get_default_dtype())
    input, other = input.detach(), other.detach()
    distance = abs(input - other)
    return logical_or(close, logical_and(isfinite(distance), le(distance, atol + abs(rtol * other))))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every element `isclose`."""
    return builtins.bool(isclose(input, other, rtol, atol, equal_nan).numpy().all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and the same elements."""
    require_tensor("equal", input=input, other=other)
    return input.shape == other.shape and builtins.bool(eq(input, other).numpy().all())


# -------------------------------------------------------------------------------------------------------------- classes


def isnan(input: Tensor) -> Tensor:
    """Where the number is NaN."""
    require_tensor("isnan", input=input)
    return Tensor(apply("isnan", formulas._isnan, input, to=bool_))


def isfinite(input: Tensor) -> Tensor:
    """Where the number is neither infinite nor NaN."""
    require_tensor("isfinite", input=input)
    formula = formulas._isfinite if input.dtype.is_floating_point else formulas._always
    return Tensor(apply("isfinite", formula, input, to=bool_))


def isinf(input: Tensor) -> Tensor:
    """Where the number is infinite."""
    require_tensor("isinf", input=input)
    return logical_not(logical_or(isfinite(input), isnan(input)))


def isposinf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where the number is infinite and above 0."""
    return into(out, "isposinf", logical_and(isinf(input), gt(input, 0)))


def isneginf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where the number is infinite and below 0."""
    return into(out, "isneginf", logical_and(isinf(input), lt(input, 0)))


def isreal(input: Tensor) -> Tensor:
    """Where the number is real: everywhere, as there are no complex tensors."""
    require_tensor("isreal", input=input)
    return Tensor(apply("isreal", formulas._always, input, to=bool_))


def signbit(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where the sign bit is set: below 0, and at -0."""
    require_tensor("signbit", input=input)
    formula = formulas._signbit if input.dtype.is_floating_point else formulas._negative
    return into(out, "signbit", Tensor(apply("signbit", formula, input, to=bool_)))


# ---------------------------------------------------------------------------------------------------------------- logic


def logical_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where the number is 0."""
    require_tensor("logical_not", input=input)
    return into(out, "logical_not", Tensor(apply("logical_not", formulas._logical_not, input, to=bool_)))


def _logical(name: str, formula: Any, input: Tensor, other: Tensor, out: Tensor | None) -> Tensor:
    require_tensor(name, input=input, other=other)
    return into(out, name, Tensor(apply(name, formula, ne(input, 0), ne(other, 0), kind=bool_)))


def logical_and(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where both are nonzero."""
    return _logical("logical_and", formulas._and, input, other, out)


def logical_or(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where either is nonzero."""
    return _logical("logical_or", formulas._or, input, other, out)


def logical_xor(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where exactly one is nonzero."""
    return _logical("logical_xor", formulas._xor, input, other, out)


# ----------------------------------------------------------------------------------------------------------------- bits


def _bitwise(name: str, formula: Any, input: Operand, other: Operand, out: Tensor | None, refused: str = "f") -> Tensor:
    refuse(name, result_type(input, other), refused)
    return into(out, name, Tensor(apply(name, formula, input, other)))


def bitwise_and(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input & other, on integers or bools."""
    return _bitwise("bitwise_and", formulas._and, input, other, out)


def bitwise_or(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input | other, on integers or bools."""
    return _bitwise("bitwise_or", formulas._or, input, other, out)


def bitwise_xor(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input ^ other, on integers or bools."""
    return _bitwise("bitwise_xor", formulas._xor, input, other, out)


def bitwise_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """~input, on integers or bools."""
    require_tensor("bitwise_not", input=input)
    refuse("bitwise_not", input.dtype, "f")
    formula = formulas._logical_not if input.dtype is bool_ else formulas._invert
    return into(out, "bitwise_not", Tensor(apply("bitwise_not", formula, input)))


def bitwise_left_shift(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input << other, on integers; 0 where `other` is negative or no less than the number of bits."""
    return _bitwise("bitwise_left_shift", formulas._shift_left, input, other, out, "bf")


def bitwise_right_shift(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input >> other, on integers, keeping the sign."""
    return _bitwise("bitwise_right_shift", formulas._shift_right, input, other, out, "bf")


# --------------------------------------------------------------------------------------------------------------- choice


def where(condition: Tensor, input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input where the condition, a bool tensor, holds, else other."""
    if not isinstance(condition, Tensor):
        raise TypeError(f"where: expected a bool tensor as condition, got {type(condition).__name__}")
    if condition.dtype is not bool_ and condition.dtype is not dtypes.uint8:
        raise RuntimeError(f"where: expected a bool tensor as condition, got {condition.dtype.name}")
    kind = result_type(input, other)
    choice = arrays("where", condition, input, other)
    z = kernel.map(formulas._where, *choice, dtype=kind, compute=dtypes.compute(kind))
    result = record(z, (input, lambda dy: where(condition, dy, 0.0)), (other, lambda dy: where(condition, 0.0, dy)))
    return into(out, "where", result)


def heaviside(input: Tensor, values: Tensor, *, out: Tensor | None = None) -> Tensor:
    """0 below 0, 1 above, `values` at 0. As torch's it cannot be differentiated."""
    require_tensor("heaviside", input=input, values=values)
    if input.dtype is not values.dtype:
        raise RuntimeError(
            f"heaviside: both tensors must be of one dtype, got {input.dtype.name} and {values.dtype.name}"
        )

    def refuse_gradient(dy: Tensor) -> Tensor:
        raise NotImplementedError("the derivative for heaviside is not implemented")

    y = record(
        apply("heaviside", formulas._heaviside, input, values), (input, refuse_gradient), (values, refuse_gradient)
    )
    return into(out, "heaviside", y)


def _keep(dy: Tensor, loses: Tensor, ties: Tensor) -> Tensor:
    """Nothing for the loser, half for equals, all otherwise: beside a NaN neither loses, as in torch."""
    return where(loses, 0.0, where(ties, dy * 0.5, dy))


def maximum(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The larger, NaN if either is; where equal, each gets half of the gradient."""
    require_tensor("maximum", input=input, other=other)
    result = record(
        apply("maximum", formulas._or if result_type(input, other) is bool_ else formulas._maximum, input, other),
        (input, lambda dy: _keep(dy, lt(input, other), eq(input, other))),
        (other, lambda dy: _keep(dy, gt(input, other), eq(input, other))),
    )
    return into(out, "maximum", result)


def minimum(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smaller, NaN if either is; where equal, each gets half of the gradient."""
    require_tensor("minimum", input=input, other=other)
    result = record(
        apply("minimum", formulas._and if result_type(input, other) is bool_ else formulas._minimum, input, other),
        (input, lambda dy: _keep(dy, gt(input, other), eq(input, other))),
        (other, lambda dy: _keep(dy, lt(input, other), eq(input, other))),
    )
    return into(out, "minimum", result)


def fmax(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The larger, and the other number where one is NaN; where equal, `input` gets the gradient."""
    require_tensor("fmax", input=input, other=other)
    result = record(
        apply("fmax", formulas._or if result_type(input, other) is bool_ else formulas._fmax, input, other),
        (input, lambda dy: where(logical_or(ge(input, other), isnan(other)), dy, 0.0)),
        (other, lambda dy: where(logical_or(ge(input, other), isnan(other)), 0.0, dy)),
    )
    return into(out, "fmax", result)


def fmin(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smaller, and the other number where one is NaN; where equal, `input` gets the gradient."""
    require_tensor("fmin", input=input, other=other)
    result = record(
        apply("fmin", formulas._and if result_type(input, other) is bool_ else formulas._fmin, input, other),
        (input, lambda dy: where(logical_or(le(input, other), isnan(other)), dy, 0.0)),
        (other, lambda dy: where(logical_or(le(input, other), isnan(other)), 0.0, dy)),
    )
    return into(out, "fmin", result)


def clamp(
    input: Tensor, min: Operand | None = None, max: Operand | None = None, *, out: Tensor | None = None
) -> Tensor:
    """input moved into [min, max], bounds being numbers or tensors; max wins where they are the wrong way round.

    The gradient goes to `input` where it already lay there, else to the bound it was moved to.
    """
    require_tensor("clamp", input=input)
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must not be None")
    bounds = [b for b in (min, max) if b is not None]
    if len({isinstance(b, Tensor) for b in bounds}) == 2:
        raise TypeError("clamp: min and max must both be numbers or both be tensors")
    kind = result_type(input, *bounds)
    if not isinstance(bounds[0], Tensor):
        refuse("clamp", kind, "b")
    compute = dtypes.compute(kind)
    z, *ends = arrays("clamp", input, *bounds)
    if min is not None:
        z = kernel.map(formulas._or if kind is bool_ else formulas._maximum, z, ends[0], dtype=kind, compute=compute)
    if max is not None:
        z = kernel.map(formulas._and if kind is bool_ else formulas._minimum, z, ends[-1], dtype=kind, compute=compute)
    result = record(
        z,
        (input, lambda dy: where(_inside(input, min, max), dy, 0.0)),
        (min, lambda dy: where(_raised(input, min, max), dy, 0.0)),
        (max, lambda dy: where(_lowered(input, min, max), dy, 0.0)),
    )
    return into(out, "clamp", result)


def _inside(input: Tensor, min: Operand | None, max: Operand | None) -> Tensor:
    """Where input lies between the bounds, a missing one being no bound."""
    if min is None:
        return le(input, max)
    return ge(input, min) if max is None else logical_and(ge(input, min), le(input, max))


def _raised(input: Tensor, min: Operand, max: Operand) -> Tensor:
    """Where input was moved to min."""
    return lt(input, min) if max is None else logical_and(lt(input, min), lt(min, max))


def _lowered(input: Tensor, min: Operand, max: Operand) -> Tensor:
    """Where input was moved to max, as everything is where that lies below min."""
    return gt(input, max) if min is None else logical_or(gt(input, max), lt(max, min))


clip = clamp


def clamp_min(input: Tensor, min: Operand, *, out: Tensor | None = None) -> Tensor:
    """input, but no less than `min`."""
    return clamp(input, min, out=out)


def clamp_max(input: Tensor, max: Operand, *, out: Tensor | None = None) -> Tensor:
    """input, but no more than `max`."""
    return clamp(input, None, max, out=out)
