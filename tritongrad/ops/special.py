"""Functions that torch keeps in `torch.special`, and neighbours of a number.

Integers give the default floating dtype.
"""

from __future__ import annotations

import math

from tritongrad.ops.comparison import eq, le, logical_and, where
from tritongrad.ops.operands import (
    Operand,
    apply,
    arrays,
    floating_type,
    into,
    overwrite,
    refuse,
    require_tensor,
    result_type,
    widened,
)
from tritongrad.ops.transcendental import erfc, exp2, lgamma, log
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise, formulas, transcendental as kernel


def ldexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input times 2 to the power `other`."""
    require_tensor("ldexp", input=input, other=other)
    kind = floating_type(input, other)
    wide = dtypes.compute(kind)
    return into(out, "ldexp", (input.to(wide) * exp2(other.to(wide))).to(kind))


def ldexp_(input: Tensor, other: Tensor) -> Tensor:
    """`ldexp` in place."""
    require_tensor("ldexp_", input=input, other=other)
    return overwrite("ldexp_", floating_type(input, other), ldexp, input, other)


def nextafter(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The number of the dtype next to `input` on the way to `other`, which itself it is where they are equal."""
    require_tensor("nextafter", input=input, other=other)
    kind = result_type(input, other)
    refuse("nextafter", kind, "bi")
    x, y = input.to(kind), other.to(kind)
    # Evaluated in the dtype itself, whose numbers are counted.
    z = elementwise.map(formulas._nextafter, *arrays("nextafter", x, y), dtype=kind, compute=kind)
    result = record(z, (x, lambda dy: where(eq(x, y), 0.0, dy)), (y, lambda dy: dy.zeros_like()))
    return into(out, "nextafter", result)


def nextafter_(input: Tensor, other: Tensor) -> Tensor:
    """`nextafter` in place."""
    require_tensor("nextafter_", input=input, other=other)
    return overwrite("nextafter_", result_type(input, other), nextafter, input, other)


def xlog1py(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input log(1 + other), and 0 where `input` is 0 unless `other` is NaN."""
    z = apply("xlog1py", kernel._xlog1py, input, other, kind=floating_type(input, other))
    result = record(
        z,
        (input, lambda dy: where(_absent(input, other), 0.0, xlog1py(dy, other))),
        (other, lambda dy: dy * (input / (other + 1))),
    )
    return into(out, "xlog1py", result)


def _absent(x: Tensor, y: Operand) -> Tensor:
    """Where x log(1 + y) is 0 although the logarithm is not finite."""
    return logical_and(eq(x, 0), le(y if isinstance(y, Tensor) else x.zeros_like() + y, -1))


def entr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-input log(input); 0 at 0, and -inf below."""
    require_tensor("entr", input=input)
    y = apply("entr", kernel._entr, input, kind=floating_type(input))
    return into(out, "entr", record(y, (input, lambda dy: dy * (-1 - log(input)))))


def multigammaln(input: Tensor, p: int, *, out: Tensor | None = None) -> Tensor:
    """The logarithm of the gamma function of p dimensions: p (p-1) / 4 log(pi) + sum over j < p of lgamma(input - j/2).

    RuntimeError if p is less than 1.
    """
    require_tensor("multigammaln", input=input)
    if p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    kind = floating_type(input)

    def total(x: Tensor) -> Tensor:
        y = lgamma(x) + p * (p - 1) / 4 * math.log(math.pi)
        for j in range(1, p):
            y = y + lgamma(x - j / 2)
        return y

    return into(out, "multigammaln", widened(total, input.to(kind)))


mvlgamma = multigammaln


def mvlgamma_(input: Tensor, p: int) -> Tensor:
    """`mvlgamma` in place."""
    return overwrite("mvlgamma_", floating_type(input), multigammaln, input, p=p)


def ndtr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The part of a standard normal distribution below `input`."""
    require_tensor("ndtr", input=input)
    return into(out, "ndtr", widened(lambda x: erfc(x * -math.sqrt(0.5)) * 0.5, input.to(floating_type(input))))
