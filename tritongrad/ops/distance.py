"""Distances of every vector to every other."""

from __future__ import annotations

import math

from tritongrad.ops.comparison import clamp, eq, where
from tritongrad.ops.linalg import described, matmul
from tritongrad.ops.norms import vector_norm
from tritongrad.ops.ranges import triu_indices
from tritongrad.ops.reduce import sum
from tritongrad.ops.transcendental import sqrt
from tritongrad.ops.views import transpose, unsqueeze
from tritongrad.precision import raised
from tritongrad.tensor import Tensor, record

_MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


@raised
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """[..., P, R] distances of order p of the rows of x1 [..., P, M] to those of x2 [..., R, M]; p 0 counts elements.

    Axes before the last two broadcast. Of order 2 they come from |a|^2 + |b|^2 - 2 a.b, one product of matrices, where
    P or R is larger than 25 or `compute_mode` asks for it: fast, and not exact for rows that are nearly equal. Others
    take P R M numbers of memory.
    """
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for name, x in (("X1", x1), ("X2", x2)):
        if x.ndim < 2:
            raise RuntimeError(f"cdist: {name} must be at least 2D, got {described(x1, x2)}")
        if not x.dtype.is_floating_point:
            raise RuntimeError(f"cdist: {name} must have a floating-point dtype, got {described(x1, x2)}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"cdist: X1 and X2 must have the same number of columns, got {described(x1, x2)}")
    if p < 0:
        raise RuntimeError(f"cdist: only non-negative p values are supported, got {p}")
    many = x1.shape[-2] > 25 or x2.shape[-2] > 25
    if p == 2 and (compute_mode == _MODES[1] or (compute_mode == _MODES[0] and many)):
        return _by_products(x1, x2)
    return _length(unsqueeze(x1, -2) - unsqueeze(x2, -3), p)


def _length(difference: Tensor, p: float) -> Tensor:
    """The norm of order p of the last axis; 0 where it has no elements."""
    return vector_norm(difference, p, -1) if difference.shape[-1] else sum(difference, -1)


def _by_products(x1: Tensor, x2: Tensor) -> Tensor:
    a, b = x1.detach(), x2.detach()
    squares = unsqueeze(sum(a * a, -1), -1) + unsqueeze(sum(b * b, -1), -2)
    y = sqrt(clamp(squares - 2 * matmul(a, transpose(b, -1, -2)), min=0.0))

    def share(dy: Tensor, y: Tensor) -> Tensor:
        """dy / y; 0 where rows are equal."""
        same = eq(y, 0)
        return where(same, 0.0, dy / where(same, 1.0, y))

    def back(ratio: Tensor, to: Tensor, other: Tensor) -> Tensor:
        return unsqueeze(sum(ratio, -1), -1) * to - matmul(ratio, other)

    return record(
        y.array,
        (x1, lambda dy, y: back(share(dy, y), x1, x2)),
        (x2, lambda dy, y: back(transpose(share(dy, y), -1, -2), x2, x1)),
    )


@raised
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The N (N - 1) / 2 distances of order p between different rows of [N, M]: of 0 to 1, 0 to 2, ..., 1 to 2, ..."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist: only 2D tensors are supported, got {described(input)}")
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"pdist: only floating-point dtypes are supported, got {described(input)}")
    if not 0 <= p <= math.inf:
        raise RuntimeError(f"pdist: only non-negative p values are supported, got {p}")
    first, second = triu_indices(input.shape[0], input.shape[0], 1, device=input.device)
    return _length(input[first] - input[second], p)
