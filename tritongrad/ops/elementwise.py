"""Elementwise operations on tensors and Python numbers, with torch's broadcasting and type promotion.

A gradient may have the broadcast shape: the graph sums it down to its input's.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

from tritongrad.autograd import is_grad_enabled
from tritongrad.tensor import Tensor, get_default_dtype, record, record_inplace
from tritongrad_kernels import dtypes, elementwise as kernel, formulas
from tritongrad_kernels.array import Array, empty
from tritongrad_kernels.dtypes import bool_, dtype
from tritongrad_kernels.elementwise import map

Operand = Any  # a Tensor or a Python number

# ------------------------------------------------------------------------------------------------ how operands meet


def result_type(*operands: Operand) -> dtype:
    """The dtype torch gives an operation over these tensors and numbers."""
    return dtypes.result_type(
        (x.dtype, dtypes.DIMENSIONED if x.ndim else dtypes.ZERO_DIMENSIONAL)
        if isinstance(x, Tensor)
        else (dtypes.of_scalar(x, get_default_dtype()), dtypes.SCALAR)
        for x in operands
    )


def _floating_type(*operands: Operand) -> dtype:
    kind = result_type(*operands)
    return kind if kind.is_floating_point else get_default_dtype()


def _arrays(name: str, *operands: Operand) -> list[Any]:
    """Arrays and numbers for a kernel, or one sentence about why they do not go together."""
    for x in operands:
        if not isinstance(x, Tensor | bool | int | float):
            raise TypeError(f"{name}: expected tensors or numbers, got {type(x).__name__}")
    tensors = [x for x in operands if isinstance(x, Tensor)]
    try:
        kernel.broadcast_shapes(*(x.array.shape for x in tensors))
    except ValueError:
        described = " and ".join(f"{x.dtype.name}{list(x.shape)}" for x in tensors)
        raise RuntimeError(f"{name}: the shapes of {described} do not broadcast together") from None
    devices = {x.device for x in tensors if x.ndim} or {x.device for x in tensors}
    if len(devices) > 1:
        where = " and ".join(sorted(str(d) for d in devices))
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found {where}")
    # A tensor without dimensions on another device is a number, as in torch.
    return [x if not isinstance(x, Tensor) else x.array if x.device in devices else x.item() for x in operands]


def _apply(name: str, formula: Any, *operands: Operand, kind: dtype | None = None, out: dtype | None = None) -> Array:
    """formula(operands), evaluated in `kind` (default: the promoted type) and stored as `out` (default: `kind`)."""
    kind = kind or result_type(*operands)
    return map(formula, *_arrays(name, *operands), dtype=out or kind, compute=dtypes.compute(kind))


# --------------------------------------------------------------------------------------------------------- one operand


def neg(x: Tensor) -> Tensor:
    """-x."""
    if x.dtype is bool_:
        raise RuntimeError("neg: not defined for bool tensors; use logical_not")
    return record(_apply("neg", formulas._neg, x), (x, lambda dy: -dy))


def abs(x: Tensor) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return record(_apply("abs", formulas._abs, x), (x, lambda dy: dy * sign(x)))


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of x. Its gradient is 0."""
    return record(_apply("sign", formulas._sign, x), (x, lambda dy: dy.zeros_like()))


def floor(x: Tensor) -> Tensor:
    """The largest integer not above x, in x's dtype. Its gradient is 0."""
    if not x.dtype.is_floating_point:
        return x.clone()
    return record(_apply("floor", formulas._floor, x), (x, lambda dy: dy.zeros_like()))


def exp(x: Tensor) -> Tensor:
    """e to the x."""
    return record(_apply("exp", formulas._exp, x, kind=_floating_type(x)), (x, lambda dy, y: dy * y))


def log(x: Tensor) -> Tensor:
    """The natural logarithm; NaN below 0, -inf at 0."""
    return record(_apply("log", formulas._log, x, kind=_floating_type(x)), (x, lambda dy: dy / x))


def sqrt(x: Tensor) -> Tensor:
    """The square root, correctly rounded; NaN below 0."""
    return record(_apply("sqrt", formulas._sqrt, x, kind=_floating_type(x)), (x, lambda dy, y: dy / (2 * y)))


def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    y = _apply("rsqrt", formulas._rsqrt, x, kind=_floating_type(x))
    return record(y, (x, lambda dy, y: dy * -0.5 * y * y * y))


def square(x: Tensor) -> Tensor:
    """x times x."""
    return record(_apply("square", formulas._square, x), (x, lambda dy: dy * (2 * x)))


def sin(x: Tensor) -> Tensor:
    """The sine of x in radians."""
    return record(_apply("sin", formulas._sin, x, kind=_floating_type(x)), (x, lambda dy: dy * cos(x)))


def cos(x: Tensor) -> Tensor:
    """The cosine of x in radians."""
    return record(_apply("cos", formulas._cos, x, kind=_floating_type(x)), (x, lambda dy: dy * -sin(x)))


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return record(_apply("tanh", formulas._tanh, x, kind=_floating_type(x)), (x, lambda dy, y: dy * (1 - y * y)))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    y = _apply("sigmoid", formulas._sigmoid, x, kind=_floating_type(x))
    return record(y, (x, lambda dy, y: dy * (y * (1 - y))))


def erf(x: Tensor) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    y = _apply("erf", formulas._erf, x, kind=_floating_type(x))
    return record(y, (x, lambda dy: dy * (exp(-x * x) * (2 / math.sqrt(math.pi)))))


def relu(x: Tensor) -> Tensor:
    """max(x, 0); NaN stays NaN, the gradient at 0 is 0."""
    return record(_apply("relu", formulas._relu, x), (x, lambda dy, y: where_positive(dy, y)))


def relu_(x: Tensor) -> Tensor:
    """`relu` in place."""
    return record_inplace(
        x, lambda: map(formulas._relu, x.array, out=x.array), (x, lambda dy, y: where_positive(dy, y))
    )


def where_positive(x: Tensor, y: Tensor) -> Tensor:
    """x where y > 0 or y is NaN, else 0. No gradient for y, whose is 0 almost everywhere."""
    return record(
        _apply("where_positive", formulas._where_positive, x, y, kind=x.dtype), (x, lambda g: where_positive(g, y))
    )


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x) (Hendrycks and Gimpel 2016; Elfwing et al. 2017)."""
    return x * sigmoid(x)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), Phi the normal distribution function, or its tanh approximation (Hendrycks and Gimpel 2016)."""
    if x.dtype.is_floating_point and dtypes.compute(x.dtype) is not x.dtype:
        return gelu(x.to(dtypes.compute(x.dtype)), approximate).to(x.dtype)  # 1 + erf cancels where x is far below 0
    if approximate == "tanh":
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    if approximate != "none":
        raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope x."""
    return where(x > 0, x, x * negative_slope)


# -------------------------------------------------------------------------------------------------------- two operands


def add(x: Operand, y: Operand, *, alpha: float = 1) -> Tensor:
    """x + alpha y. On bools, x or y."""
    if alpha != 1:
        y = y * alpha
    formula = formulas._or if result_type(x, y) is bool_ else formulas._add
    return record(_apply("add", formula, x, y), (x, lambda dy: dy), (y, lambda dy: dy))


def sub(x: Operand, y: Operand, *, alpha: float = 1) -> Tensor:
    """x - alpha y."""
    if alpha != 1:
        y = y * alpha
    if result_type(x, y) is bool_:
        raise RuntimeError("sub: not defined for bool tensors; use logical_xor")
    return record(_apply("sub", formulas._sub, x, y), (x, lambda dy: dy), (y, lambda dy: -dy))


def mul(x: Operand, y: Operand) -> Tensor:
    """x times y. On bools, x and y."""
    formula = formulas._and if result_type(x, y) is bool_ else formulas._mul
    return record(_apply("mul", formula, x, y), (x, lambda dy: dy * y), (y, lambda dy: dy * x))


def div(x: Operand, y: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """x / y, correctly rounded; integers divide into floats. `rounding_mode` "floor" or "trunc" rounds the quotient."""
    if rounding_mode == "floor":
        return floor_divide(x, y)
    if rounding_mode == "trunc" and not result_type(x, y).is_floating_point:
        down, rest = floor_divide(x, y), remainder(x, y)
        return down + logical_and(down < 0, rest)  # rounded down, so one below where a negative quotient has a rest
    if rounding_mode == "trunc":
        quotient = div(x, y)
        return sign(quotient) * floor(abs(quotient))
    if rounding_mode is not None:
        raise RuntimeError(f"div: rounding_mode must be None, 'trunc' or 'floor', got {rounding_mode!r}")
    z = _apply("div", formulas._div, x, y, kind=_floating_type(x, y))
    return record(z, (x, lambda dy: dy / y), (y, lambda dy, z: -dy * (z / y)))


def floor_divide(x: Operand, y: Operand) -> Tensor:
    """x / y rounded down. Its gradient is 0."""
    kind = result_type(x, y)
    formula = formulas._floor_divide_float if kind.is_floating_point else formulas._floor_divide_int
    _refuse_zero("floor_divide", kind, y)
    return Tensor(_apply("floor_divide", formula, x, y, kind=_arithmetic(kind)))


def remainder(x: Operand, y: Operand) -> Tensor:
    """x - floor(x / y) y: the remainder with the sign of y, as Python's %."""
    kind = result_type(x, y)
    formula = formulas._remainder_float if kind.is_floating_point else formulas._remainder_int
    _refuse_zero("remainder", kind, y)
    z = _apply("remainder", formula, x, y, kind=_arithmetic(kind))
    return record(z, (x, lambda dy: dy), (y, lambda dy: dy * -floor_divide(x, y)))


def _arithmetic(kind: dtype) -> dtype:
    if kind is bool_:
        raise RuntimeError("integer division is not defined for bool tensors")
    return kind


def _refuse_zero(name: str, kind: dtype, y: Operand) -> None:
    if not kind.is_floating_point and not isinstance(y, Tensor) and y == 0:
        raise ZeroDivisionError(f"{name}: integer division by zero")


def pow(x: Operand, y: Operand) -> Tensor:
    """x to the power y. Integers stay integers, and then the exponent must not be negative."""
    kind = result_type(x, y)
    if not isinstance(y, Tensor) and isinstance(x, Tensor) and x.dtype is not bool_:
        return _pow_number(x, y, kind)
    if not kind.is_floating_point:
        if kind is bool_:
            raise RuntimeError("pow: not defined for bool tensors")
        return Tensor(_apply("pow", formulas._pow_int, x, y))
    return record(
        _apply("pow", formulas._pow_float, x, y),
        (x, lambda dy: where(_same(y, 0), 0.0, dy * (y * pow(x, y - 1)))),
        (y, lambda dy, z: dy * where(_same(x, 0) * (_as_tensor(y, dy) >= 0), 0.0, z * log(_as_tensor(x, dy)))),
    )


def _same(x: Operand, value: float) -> Any:
    return x == value


def _as_tensor(x: Operand, like: Tensor) -> Tensor:
    return x if isinstance(x, Tensor) else full_like(like, x)


def full_like(x: Tensor, value: float) -> Tensor:
    """A tensor like x filled with a number."""
    return Tensor(map(kernel._identity, value, out=empty(x.array.shape, x.dtype, x.device)))


def _pow_number(x: Tensor, y: bool | int | float, kind: dtype) -> Tensor:
    """x to the power of a Python number, the common ones exactly."""
    if not kind.is_floating_point:
        if y < 0:
            raise RuntimeError(f"pow: integers to negative integer powers are not allowed, got {x.dtype.name} ** {y}")
        return Tensor(_apply("pow", formulas._pow_int, x, y))
    if y == 0:
        return record(_apply("pow", formulas._pow_float, x, y, kind=kind), (x, lambda dy: dy.zeros_like()))
    if y == 2:
        z = _apply("pow", formulas._square, x, kind=kind)
    elif y == 3:
        z = _apply("pow", formulas._cube, x, kind=kind)
    elif y == 0.5:
        return sqrt(x)
    else:
        z = _apply("pow", formulas._pow_float, x, y, kind=kind)
    return record(z, (x, lambda dy: dy * (y * pow(x, y - 1))))


def maximum(x: Operand, y: Operand) -> Tensor:
    """The larger, NaN if either is; where equal, each gets half of the gradient."""
    return record(
        _apply("maximum", formulas._maximum, x, y),
        (x, lambda dy: _share(dy, x < y, x == y)),
        (y, lambda dy: _share(dy, x > y, x == y)),
    )


def minimum(x: Operand, y: Operand) -> Tensor:
    """The smaller, NaN if either is; where equal, each gets half of the gradient."""
    return record(
        _apply("minimum", formulas._minimum, x, y),
        (x, lambda dy: _share(dy, x > y, x == y)),
        (y, lambda dy: _share(dy, x < y, x == y)),
    )


def _share(dy: Tensor, loses: Tensor, ties: Tensor) -> Tensor:
    """Nothing for the loser, half for equals, all otherwise: beside a NaN neither loses, as in torch."""
    return where(loses, 0.0, where(ties, dy * 0.5, dy))


def clamp(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x moved into [min, max]; x itself gets the gradient where it already lay there."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must not be None")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        x = x if min is None else maximum(x, min)
        return x if max is None else minimum(x, max)
    kind = result_type(*(v for v in (x, min, max) if v is not None))
    z = x.array
    if min is not None:
        z = map(formulas._maximum, z, min, dtype=kind, compute=dtypes.compute(kind))
    if max is not None:
        z = map(formulas._minimum, z, max, dtype=kind, compute=dtypes.compute(kind))
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    return record(z, (x, lambda dy: where(logical_and(x >= low, x <= high), dy, 0.0)))


# -------------------------------------------------------------------------------------------------- comparison, logic


def eq(x: Operand, y: Operand) -> Tensor:
    """x == y, elementwise."""
    return Tensor(_apply("eq", formulas._eq, x, y, out=bool_))


def ne(x: Operand, y: Operand) -> Tensor:
    """x != y, elementwise."""
    return Tensor(_apply("ne", formulas._ne, x, y, out=bool_))


def lt(x: Operand, y: Operand) -> Tensor:
    """x < y, elementwise."""
    return Tensor(_apply("lt", formulas._lt, x, y, out=bool_))


def le(x: Operand, y: Operand) -> Tensor:
    """x <= y, elementwise."""
    return Tensor(_apply("le", formulas._le, x, y, out=bool_))


def gt(x: Operand, y: Operand) -> Tensor:
    """x > y, elementwise."""
    return lt(y, x)


def ge(x: Operand, y: Operand) -> Tensor:
    """x >= y, elementwise."""
    return le(y, x)


def isnan(x: Tensor) -> Tensor:
    """Where x is NaN."""
    return Tensor(_apply("isnan", formulas._isnan, x, out=bool_))


def isfinite(x: Tensor) -> Tensor:
    """Where x is neither infinite nor NaN."""
    if not x.dtype.is_floating_point:
        return x == x
    return Tensor(_apply("isfinite", formulas._isfinite, x, out=bool_))


def isinf(x: Tensor) -> Tensor:
    """Where x is infinite."""
    return logical_not(logical_or(isfinite(x), isnan(x)))


def logical_not(x: Tensor) -> Tensor:
    """Where x is zero."""
    return Tensor(_apply("logical_not", formulas._logical_not, x, out=bool_))


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    """Where both are nonzero."""
    return Tensor(_apply("logical_and", formulas._and, x != 0, y != 0, kind=bool_))


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    """Where either is nonzero."""
    return Tensor(_apply("logical_or", formulas._or, x != 0, y != 0, kind=bool_))


def logical_xor(x: Tensor, y: Tensor) -> Tensor:
    """Where exactly one is nonzero."""
    return Tensor(_apply("logical_xor", formulas._xor, x != 0, y != 0, kind=bool_))


def _bitwise(name: str, formula: Any, x: Operand, y: Operand) -> Tensor:
    kind = result_type(x, y)
    if kind.is_floating_point:
        raise RuntimeError(f"{name}: not defined for floating-point tensors")
    return Tensor(_apply(name, formula, x, y))


def bitwise_and(x: Operand, y: Operand) -> Tensor:
    """x & y on integers or bools."""
    return _bitwise("bitwise_and", formulas._and, x, y)


def bitwise_or(x: Operand, y: Operand) -> Tensor:
    """x | y on integers or bools."""
    return _bitwise("bitwise_or", formulas._or, x, y)


def bitwise_xor(x: Operand, y: Operand) -> Tensor:
    """x ^ y on integers or bools."""
    return _bitwise("bitwise_xor", formulas._xor, x, y)


def bitwise_not(x: Tensor) -> Tensor:
    """~x on integers or bools."""
    return logical_not(x) if x.dtype is bool_ else -1 - x


def where(condition: Tensor, x: Operand, y: Operand) -> Tensor:
    """x where the condition holds, else y."""
    if not isinstance(condition, Tensor):
        raise TypeError(f"where: expected a bool tensor as condition, got {type(condition).__name__}")
    if condition.dtype is not bool_:
        raise TypeError(f"where: expected a bool tensor as condition, got {condition.dtype.name}")
    kind = result_type(x, y)
    choice = _arrays("where", condition, x, y)
    z = map(formulas._where, *choice, dtype=kind, compute=kind if kind is dtypes.float64 else dtypes.compute(kind))
    return record(z, (x, lambda dy: where(condition, dy, 0.0)), (y, lambda dy: where(condition, 0.0, dy)))


def masked_fill(x: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """x with `value` where the mask is True, in x's dtype."""
    if mask.dtype is not bool_:
        raise RuntimeError(f"masked_fill: the mask must be a bool tensor, got {mask.dtype.name}")
    if isinstance(value, Tensor):
        value = value.to(x.dtype)
    elif not x.dtype.is_floating_point:
        value = int(value)  # a float would take x through float32
    return where(mask, value, x).to(x.dtype)


# ------------------------------------------------------------------------------------------------------------ in place


def _inplace(name: str, formula: Any, x: Tensor, y: Operand) -> tuple[Any, Any]:
    """The write of formula(x, y) into x, once checked."""
    kind, arrays = result_type(x, y), _arrays(name, x, y)
    if kernel.broadcast_shapes(x.array.shape, getattr(arrays[1], "shape", ())) != x.array.shape:
        raise RuntimeError(
            f"{name}: the result of {list(x.shape)} and {list(y.shape)} does not fit the shape being written in place"
        )
    if (kind.is_floating_point and not x.dtype.is_floating_point) or (x.dtype is bool_ and kind is not bool_):
        raise RuntimeError(f"{name}: result type {kind.name} can't be cast to the tensor's {x.dtype.name} in place")
    return (lambda: map(formula, *arrays, out=x.array, compute=dtypes.compute(kind))), arrays


def add_(x: Tensor, y: Operand, *, alpha: float = 1) -> Tensor:
    """x += alpha y."""
    if alpha != 1:
        y = y * alpha
    write, _ = _inplace("add_", formulas._or if result_type(x, y) is bool_ else formulas._add, x, y)
    return record_inplace(x, write, (x, lambda dy: dy), (y, lambda dy: dy))


def sub_(x: Tensor, y: Operand, *, alpha: float = 1) -> Tensor:
    """x -= alpha y."""
    if alpha != 1:
        y = y * alpha
    if result_type(x, y) is bool_:
        raise RuntimeError("sub_: not defined for bool tensors; use logical_xor")
    write, _ = _inplace("sub_", formulas._sub, x, y)
    return record_inplace(x, write, (x, lambda dy: dy), (y, lambda dy: -dy))


def mul_(x: Tensor, y: Operand) -> Tensor:
    """x *= y."""
    write, _ = _inplace("mul_", formulas._and if result_type(x, y) is bool_ else formulas._mul, x, y)
    before = x.clone() if is_grad_enabled() and isinstance(y, Tensor) and y.requires_grad else x
    return record_inplace(x, write, (x, lambda dy: dy * y), (y, lambda dy: dy * before))


def div_(x: Tensor, y: Operand) -> Tensor:
    """x /= y."""
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"div_: result type float can't be cast to the tensor's {x.dtype.name} in place")
    write, _ = _inplace("div_", formulas._div, x, y)
    return record_inplace(x, write, (x, lambda dy: dy / y), (y, lambda dy, z: -dy * (z / y)))


def clamp_(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """`clamp` in place."""
    with_bounds = clamp(x.detach(), min, max).array
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    inside = logical_and(x >= low, x <= high) if is_grad_enabled() and x.requires_grad else x
    return record_inplace(x, lambda: kernel.copy_into(with_bounds, x.array), (x, lambda dy: where(inside, dy, 0.0)))


def copy_(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Overwrite x with `source`, broadcast, cast and moved to its device."""
    source = source if isinstance(source, Tensor) else full_like(x, source)
    try:
        fits = kernel.broadcast_shapes(x.array.shape, source.array.shape) == x.array.shape
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(f"copy_: a source of shape {list(source.shape)} does not fit shape {list(x.shape)}")
    moved = source.to(x.device)
    return record_inplace(
        x, lambda: kernel.copy_into(moved.array, x.array), (x, lambda dy: dy.zeros_like()), (moved, lambda dy: dy)
    )


def fill_(x: Tensor, value: Operand) -> Tensor:
    """Set every element to a number."""
    if isinstance(value, Tensor):
        return copy_(x, value)
    return record_inplace(x, lambda: kernel.fill(x.array, value), (x, lambda dy: dy.zeros_like()))


def zero_(x: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(x, 0)


# ---------------------------------------------------------------------------------------------------------- agreement


def isclose(x: Tensor, y: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |x - y| <= atol + rtol |y|."""
    close = logical_or(x == y, logical_and(isfinite(y), abs(x - y) <= atol + rtol * abs(y)))
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


def allclose(x: Tensor, y: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every element `isclose`."""
    return builtins.bool(isclose(x, y, rtol, atol, equal_nan).numpy().all())


def equal(x: Tensor, y: Tensor) -> bool:
    """Whether both have the same shape and elements."""
    return x.shape == y.shape and builtins.bool(eq(x, y).numpy().all())
