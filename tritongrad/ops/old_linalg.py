"""Linear algebra under the names it had before `torch.linalg`, whose functions do the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tritongrad.ops import decomposition, equations, matrix_functions
from tritongrad.ops.comparison import where
from tritongrad.ops.equations import solve_triangular
from tritongrad.ops.host_matrices import from_values, require_matrices, turned
from tritongrad.ops.operands import into
from tritongrad.ops.placement import into_each
from tritongrad.tensor import Tensor


class SVD(NamedTuple):
    U: Tensor
    S: Tensor
    V: Tensor


def cholesky(input: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """As `linalg.cholesky`."""
    return decomposition.cholesky(input, upper=upper, out=out)


def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """X with A X = input, where `input2` (its transpose if `upper`) is the Cholesky factor of A."""
    L = turned(input2) if upper else input2
    return into(out, "cholesky_solve", solve_triangular(turned(L), solve_triangular(L, input, upper=False), upper=True))


def cholesky_inverse(input: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The inverse of A, whose Cholesky factor (or its transpose if `upper`) is given."""
    require_matrices("cholesky_inverse", input, square=True)
    eye = Tensor(from_values(np.broadcast_to(np.eye(input.array.shape[-1]), input.shape), input))
    return into(out, "cholesky_inverse", cholesky_solve(eye, input, upper))


def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Sequence[Tensor] | None = None) -> SVD:
    """As `linalg.svd`, giving V itself and, with `some`, no more than min(M, N) vectors."""
    U, S, Vh = decomposition.svd(input, not some)
    result = SVD(U, S, turned(Vh)) if compute_uv else SVD(U.zeros_like(), S, turned(Vh).zeros_like())
    return into_each(out, "svd", result)


def qr(input: Tensor, some: bool = True, *, out: Sequence[Tensor] | None = None) -> decomposition.QR:
    """As `linalg.qr`, with M columns of Q unless `some` are enough."""
    return decomposition.qr(input, "reduced" if some else "complete", out=out)


def inverse(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """As `linalg.inv`."""
    return equations.inv(input, out=out)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`pinv` with the threshold of old."""
    return equations.pinv(input, rtol=rcond)


def det(input: Tensor) -> Tensor:
    """As `linalg.det`."""
    return equations.det(input)


def slogdet(input: Tensor, *, out: Sequence[Tensor] | None = None) -> equations.Slogdet:
    """As `linalg.slogdet`."""
    return equations.slogdet(input, out=out)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: NaN where that is negative."""
    signs, size = slogdet(input)
    return where(signs < 0, float("nan"), size)


def matrix_exp(input: Tensor) -> Tensor:
    """As `linalg.matrix_exp`."""
    return matrix_functions.matrix_exp(input)


def matrix_power(input: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """As `linalg.matrix_power`."""
    return equations.matrix_power(input, n, out=out)
