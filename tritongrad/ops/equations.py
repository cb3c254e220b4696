"""Inverses, solutions of linear equations, determinants and powers, for the small matrices that training code meets.

The values are found on the host, by numpy in float64, and rounded to the dtype of the input: float32 or float64, as in
torch. Products, and everything gradients are made of, are kernels. Leading axes are a batch. Gradients can be
differentiated again.

Source: gradients follow Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation", 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops import reduce
from tritongrad.ops.host_matrices import (
    from_values,
    host,
    lower_part,
    require_matrices,
    solved,
    turned,
    upper_part,
)
from tritongrad.ops.linalg import described, matmul
from tritongrad.ops.operands import into
from tritongrad.ops.placement import into_each
from tritongrad.ops.views import expand, squeeze, unsqueeze
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, memory


class Slogdet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class Lstsq(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of square matrices, found on the host. LinAlgError for a singular one."""
    require_matrices("linalg.inv", A, square=True)
    values = solved("linalg.inv", np.linalg.inv, host(A))
    return into(
        out, "inv", record(from_values(values, A), (A, lambda dy, y: -matmul(matmul(turned(y), dy), turned(y))))
    )


def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:
    """X with A X = B (X A = B unless `left`), found on the host. LinAlgError for a singular A.

    B is a stack of vectors if it has the batch shape of A and one axis more, or one axis altogether.
    """
    require_matrices("linalg.solve", A, square=True)
    if B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1]):
        return into(
            out,
            "solve",
            squeeze(solve(A, unsqueeze(B, -1)), -1) if left else squeeze(solve(turned(A), unsqueeze(B, -1)), -1),
        )
    if not left:
        return into(out, "solve", turned(solve(turned(A), turned(B))))
    require_matrices("linalg.solve", A, B)
    _require_shapes("linalg.solve", A, B)
    values = solved("linalg.solve", np.linalg.solve, host(A), host(B))
    return into(
        out,
        "solve",
        record(
            from_values(values, A),
            (A, lambda dy, y: -matmul(solve(turned(A), dy), turned(y))),
            (B, lambda dy: solve(turned(A), dy)),
        ),
    )


def _require_shapes(name: str, A: Tensor, B: Tensor) -> None:
    try:
        np.broadcast_shapes(A.array.shape[:-2], B.array.shape[:-2])
        fits = A.shape[-1] == B.shape[-2]
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(f"{name}: {described(A, B)} do not go together")


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Tensor | None = None
) -> Tensor:
    """X with A X = B (X A = B unless `left`) for triangular A, of which nothing else is read, found on the host."""
    require_matrices("linalg.solve_triangular", A, square=True)
    require_matrices("linalg.solve_triangular", A, B)
    if not left:
        return into(
            out,
            "solve_triangular",
            turned(solve_triangular(turned(A), turned(B), upper=not upper, unitriangular=unitriangular)),
        )
    _require_shapes("linalg.solve_triangular", A, B)
    part = (upper_part if upper else lower_part)(A.detach(), (1 if upper else -1) if unitriangular else 0)
    matrix = host(part) + (np.eye(A.array.shape[-1]) if unitriangular and not memory.in_dry_run() else 0)
    values = solved("linalg.solve_triangular", np.linalg.solve, matrix, host(B))

    def other_way(dy: Tensor) -> Tensor:
        return solve_triangular(turned(A), dy, upper=not upper, unitriangular=unitriangular)

    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        return (upper_part if upper else lower_part)(
            -matmul(other_way(dy), turned(y)), (1 if upper else -1) if unitriangular else 0
        )

    return into(
        out,
        "solve_triangular",
        record(from_values(values, A), (A, lambda dy, y: gradient(dy, y)), (B, lambda dy: other_way(dy))),
    )


def pinv(
    A: Tensor,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    hermitian: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """The Moore-Penrose inverse of any matrices, found on the host.

    Singular values up to the larger of `atol` and `rtol` times the largest count as 0; `rtol` is the machine epsilon
    times the longer side if neither is given. The gradient holds while the rank does not change.
    """
    require_matrices("linalg.pinv", A, square=hermitian)
    if not A.numel():
        return into(out, "pinv", expand(turned(A) * 0.0, (*A.shape[:-2], A.shape[-1], A.shape[-2])))
    u, s, vh = np.linalg.svd(host(A), full_matrices=False)
    kept = s > _threshold(A, s, rtol, atol)[..., None]
    inverted = np.where(kept, 1 / np.where(kept, s, 1), 0)
    values = np.swapaxes(vh, -1, -2) * inverted[..., None, :] @ np.swapaxes(u, -1, -2)

    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        g, p, q = turned(dy), matmul(y, turned(y)), matmul(turned(y), y)
        beside = matmul(g, p) - matmul(A, matmul(y, matmul(g, p)))
        below = matmul(q, g) - matmul(matmul(matmul(q, g), y), A)
        return beside + below - matmul(matmul(turned(y), dy), turned(y))

    return into(out, "pinv", record(from_values(values, A), (A, lambda dy, y: gradient(dy, y))))


def _threshold(A: Tensor, s: np.ndarray, rtol: Any, atol: Any) -> np.ndarray:
    """Below which singular values count as 0, one for each matrix."""
    if rtol is None:
        rtol = max(A.shape[-2:]) * float(np.finfo(A.dtype.numpy).eps) if not atol else 0.0
    return np.maximum(s.max(-1, initial=0.0) * float(rtol), float(atol or 0.0))


def matrix_rank(
    A: Tensor,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    hermitian: bool = False,
    tol: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """How many singular values are above the threshold that `pinv` describes: int64, found on the host."""
    require_matrices("linalg.matrix_rank", A, square=hermitian)
    s = np.linalg.svd(host(A), compute_uv=False)
    limit = _threshold(A, s, rtol, tol if tol is not None else atol)
    return into(out, "matrix_rank", Tensor(from_values((s > limit[..., None]).sum(-1), A, dtypes.int64)))


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """X of least |A X - B|, and of least norm among those, found on the host whatever the `driver`.

    `residuals` are the squared distances, given where A has more rows than columns and full rank, else empty, as
    `singular_values` always is.
    """
    require_matrices("linalg.lstsq", A)
    if B.ndim == A.ndim - 1:
        found = lstsq(A, unsqueeze(B, -1), rcond)
        return found._replace(solution=squeeze(found.solution, -1))
    require_matrices("linalg.lstsq", A, B)
    if A.shape[-2] != B.shape[-2]:
        raise RuntimeError(f"linalg.lstsq: {described(A, B)} do not go together")
    solution, rank = matmul(pinv(A, rtol=rcond), B), matrix_rank(A, rtol=rcond)
    empty = Tensor(from_values(np.zeros(0), A))
    tall = A.shape[-2] > A.shape[-1] and memory.in_dry_run() is False and (rank == A.shape[-1]).all()
    residuals = reduce.sum((matmul(A, solution) - B) ** 2, -2) if tall else empty
    return Lstsq(solution, residuals, rank, empty)


def det(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The determinants of square matrices, found on the host."""
    require_matrices("linalg.det", A, square=True)
    return into(
        out,
        "det",
        record(from_values(np.linalg.det(host(A)), A), (A, lambda dy, y: dy[..., None, None] * _cofactors(A, y))),
    )


def _cofactors(A: Tensor, y: Tensor) -> Tensor:
    """The gradient of the determinant y, which a singular matrix has as well; differentiable if A is not singular."""
    if is_grad_enabled():
        return y[..., None, None] * turned(inv(A))
    u, s, vh = np.linalg.svd(host(A))
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1.0, s[..., None, :]).prod(-1)
    orientation = np.linalg.det(u) * np.linalg.det(vh)
    return Tensor(from_values(orientation[..., None, None] * (u * others[..., None, :] @ vh), A))


def slogdet(A: Tensor, *, out: Sequence[Tensor] | None = None) -> Slogdet:
    """The sign of the determinant and the logarithm of its size, which no size of matrix makes overflow."""
    require_matrices("linalg.slogdet", A, square=True)
    signs, logarithms = np.linalg.slogdet(host(A))
    size = record(from_values(logarithms, A), (A, lambda dy: dy[..., None, None] * turned(inv(A))))
    return into_each(out, "slogdet", Slogdet(Tensor(from_values(signs, A)), size))


def matrix_power(A: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """The n-th power of square matrices [..., N, N] by repeated squaring; of the inverse for n < 0."""
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"matrix_power: expected square matrices, got {described(A)}")
    if n < 0:
        return into(out, "matrix_power", matrix_power(inv(A), -n))
    result, square = None, A
    while n:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    if result is None:
        identity = Tensor(from_values(np.eye(A.array.shape[-1]), A))
        return into(out, "matrix_power", expand(identity, A.shape).clone())
    return into(out, "matrix_power", result.clone() if result is A else result)
