"""In-place forms: `x.f_(...)` writes f(x, ...) into x and gives x.

x keeps its dtype and its shape. RuntimeError where the result's dtype cannot be cast to it (a floating result into an
integer tensor, a number into a bool tensor), where the other operands would broadcast x, where x repeats memory, and
for a leaf that requires grad. Gradients are those of the functions: where one needs what x was, that is copied first.
"""

from __future__ import annotations

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.arithmetic import (
    abs,
    add,
    addcdiv,
    addcmul,
    ceil,
    copysign,
    deg2rad,
    div,
    floor,
    floor_divide,
    fmod,
    frac,
    gcd,
    hypot,
    lcm,
    lerp,
    nan_to_num,
    neg,
    rad2deg,
    reciprocal,
    refuse_bools,
    remainder,
    round,
    sign,
    square,
    sub,
    trunc,
)
from tritongrad.ops.comparison import (
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    clamp,
    eq,
    ge,
    gt,
    heaviside,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from tritongrad.ops.older_forms import factor_first
from tritongrad.ops.operands import Operand, floating_type, overwrite, require_tensor, result_type, write
from tritongrad.tensor import Tensor, record_inplace
from tritongrad_kernels import dtypes, formulas
from tritongrad_kernels.dtypes import bool_

# ----------------------------------------------------------------------------------------------------------- arithmetic


@factor_first("alpha", 1)
def add_(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """input += alpha other."""
    kind = result_type(input, other)
    if alpha != 1 or kind is bool_:
        return overwrite("add_", kind, add, input, other, alpha=alpha)
    return record_inplace(
        input, write("add_", formulas._add, kind, input, other), (input, lambda dy: dy), (other, lambda dy: dy)
    )


@factor_first("alpha", 1)
def sub_(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """input -= alpha other."""
    kind = result_type(input, other)
    refuse_bools("sub_", input, other)
    if alpha != 1:
        return overwrite("sub_", kind, sub, input, other, alpha=alpha)
    return record_inplace(
        input, write("sub_", formulas._sub, kind, input, other), (input, lambda dy: dy), (other, lambda dy: -dy)
    )


def mul_(input: Tensor, other: Operand) -> Tensor:
    """input *= other."""
    kind = result_type(input, other)
    formula = formulas._and if kind is bool_ else formulas._mul
    before = input.clone() if is_grad_enabled() and isinstance(other, Tensor) and other.requires_grad else input
    return record_inplace(
        input,
        write("mul_", formula, kind, input, other),
        (input, lambda dy: dy * other),
        (other, lambda dy: dy * before),
    )


def div_(input: Tensor, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """input /= other."""
    if rounding_mode is not None:
        return overwrite("div_", result_type(input, other), div, input, other, rounding_mode=rounding_mode)
    before = input.clone() if is_grad_enabled() and isinstance(other, Tensor) and other.requires_grad else input
    return record_inplace(
        input,
        write("div_", formulas._div, floating_type(input, other), input, other),
        (input, lambda dy: dy / other),
        (other, lambda dy: -dy * ((before / other) / other)),
    )


def true_divide_(input: Tensor, other: Operand) -> Tensor:
    """`true_divide` in place."""
    return div_(input, other)


subtract_, multiply_, divide_ = sub_, mul_, div_


def floor_divide_(input: Tensor, other: Operand) -> Tensor:
    """`floor_divide` in place."""
    return overwrite("floor_divide_", result_type(input, other), floor_divide, input, other)


def remainder_(input: Tensor, other: Operand) -> Tensor:
    """`remainder` in place."""
    return overwrite("remainder_", result_type(input, other), remainder, input, other)


def fmod_(input: Tensor, other: Operand) -> Tensor:
    """`fmod` in place."""
    return overwrite("fmod_", result_type(input, other), fmod, input, other)


def gcd_(input: Tensor, other: Tensor) -> Tensor:
    """`gcd` in place."""
    require_tensor("gcd_", input=input, other=other)
    return overwrite("gcd_", result_type(input, other), gcd, input, other)


def lcm_(input: Tensor, other: Tensor) -> Tensor:
    """`lcm` in place."""
    require_tensor("lcm_", input=input, other=other)
    return overwrite("lcm_", result_type(input, other), lcm, input, other)


def hypot_(input: Tensor, other: Tensor) -> Tensor:
    """`hypot` in place."""
    require_tensor("hypot_", input=input, other=other)
    return overwrite("hypot_", result_type(input, other), hypot, input, other)


def copysign_(input: Tensor, other: Operand) -> Tensor:
    """`copysign` in place."""
    return overwrite("copysign_", floating_type(input, other), copysign, input, other)


def lerp_(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """`lerp` in place."""
    return overwrite("lerp_", input.dtype, lerp, input, end, weight)


@factor_first("value", 2)
def addcmul_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """`addcmul` in place."""
    return overwrite("addcmul_", result_type(input, tensor1, tensor2), addcmul, input, tensor1, tensor2, value=value)


@factor_first("value", 2)
def addcdiv_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """`addcdiv` in place."""
    return overwrite("addcdiv_", result_type(input, tensor1, tensor2), addcdiv, input, tensor1, tensor2, value=value)


def abs_(input: Tensor) -> Tensor:
    """`abs` in place."""
    return overwrite("abs_", input.dtype, abs, input)


def ceil_(input: Tensor) -> Tensor:
    """`ceil` in place."""
    return overwrite("ceil_", input.dtype, ceil, input)


def floor_(input: Tensor) -> Tensor:
    """`floor` in place."""
    return overwrite("floor_", input.dtype, floor, input)


def trunc_(input: Tensor) -> Tensor:
    """`trunc` in place."""
    return overwrite("trunc_", input.dtype, trunc, input)


def frac_(input: Tensor) -> Tensor:
    """`frac` in place."""
    return overwrite("frac_", input.dtype, frac, input)


def neg_(input: Tensor) -> Tensor:
    """`neg` in place."""
    return overwrite("neg_", input.dtype, neg, input)


def sign_(input: Tensor) -> Tensor:
    """`sign` in place."""
    return overwrite("sign_", input.dtype, sign, input)


def square_(input: Tensor) -> Tensor:
    """`square` in place."""
    return overwrite("square_", dtypes.int64 if input.dtype is bool_ else input.dtype, square, input)


absolute_, negative_, fix_, sgn_ = abs_, neg_, trunc_, sign_


def round_(input: Tensor, *, decimals: int = 0) -> Tensor:
    """`round` in place."""
    return overwrite("round_", input.dtype, round, input, decimals=decimals)


def deg2rad_(input: Tensor) -> Tensor:
    """`deg2rad` in place."""
    return overwrite("deg2rad_", floating_type(input), deg2rad, input)


def rad2deg_(input: Tensor) -> Tensor:
    """`rad2deg` in place."""
    return overwrite("rad2deg_", floating_type(input), rad2deg, input)


def reciprocal_(input: Tensor) -> Tensor:
    """`reciprocal` in place."""
    return overwrite("reciprocal_", floating_type(input), reciprocal, input)


def nan_to_num_(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """`nan_to_num` in place."""
    return overwrite("nan_to_num_", input.dtype, nan_to_num, input, nan=nan, posinf=posinf, neginf=neginf)


# ------------------------------------------------------------------------------------------------- comparison and logic


def eq_(input: Tensor, other: Operand) -> Tensor:
    """`eq` in place."""
    return overwrite("eq_", bool_, eq, input, other)


def ne_(input: Tensor, other: Operand) -> Tensor:
    """`ne` in place."""
    return overwrite("ne_", bool_, ne, input, other)


def lt_(input: Tensor, other: Operand) -> Tensor:
    """`lt` in place."""
    return overwrite("lt_", bool_, lt, input, other)


def le_(input: Tensor, other: Operand) -> Tensor:
    """`le` in place."""
    return overwrite("le_", bool_, le, input, other)


def gt_(input: Tensor, other: Operand) -> Tensor:
    """`gt` in place."""
    return overwrite("gt_", bool_, gt, input, other)


def ge_(input: Tensor, other: Operand) -> Tensor:
    """`ge` in place."""
    return overwrite("ge_", bool_, ge, input, other)


not_equal_, less_, less_equal_, greater_, greater_equal_ = ne_, lt_, le_, gt_, ge_


def logical_and_(input: Tensor, other: Tensor) -> Tensor:
    """`logical_and` in place."""
    return overwrite("logical_and_", bool_, logical_and, input, other)


def logical_or_(input: Tensor, other: Tensor) -> Tensor:
    """`logical_or` in place."""
    return overwrite("logical_or_", bool_, logical_or, input, other)


def logical_xor_(input: Tensor, other: Tensor) -> Tensor:
    """`logical_xor` in place."""
    return overwrite("logical_xor_", bool_, logical_xor, input, other)


def logical_not_(input: Tensor) -> Tensor:
    """`logical_not` in place."""
    return overwrite("logical_not_", bool_, logical_not, input)


def bitwise_and_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_and` in place."""
    return overwrite("bitwise_and_", result_type(input, other), bitwise_and, input, other)


def bitwise_or_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_or` in place."""
    return overwrite("bitwise_or_", result_type(input, other), bitwise_or, input, other)


def bitwise_xor_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_xor` in place."""
    return overwrite("bitwise_xor_", result_type(input, other), bitwise_xor, input, other)


def bitwise_left_shift_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_left_shift` in place."""
    return overwrite("bitwise_left_shift_", result_type(input, other), bitwise_left_shift, input, other)


def bitwise_right_shift_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_right_shift` in place."""
    return overwrite("bitwise_right_shift_", result_type(input, other), bitwise_right_shift, input, other)


def bitwise_not_(input: Tensor) -> Tensor:
    """`bitwise_not` in place."""
    return overwrite("bitwise_not_", input.dtype, bitwise_not, input)


def heaviside_(input: Tensor, values: Tensor) -> Tensor:
    """`heaviside` in place."""
    return overwrite("heaviside_", input.dtype, heaviside, input, values)


def clamp_(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """`clamp` in place."""
    bounds = [b for b in (min, max) if b is not None]
    return overwrite("clamp_", result_type(input, *bounds), clamp, input, min, max)


clip_ = clamp_


def clamp_min_(input: Tensor, min: Operand) -> Tensor:
    """`clamp_min` in place."""
    return clamp_(input, min)


def clamp_max_(input: Tensor, max: Operand) -> Tensor:
    """`clamp_max` in place."""
    return clamp_(input, None, max)
