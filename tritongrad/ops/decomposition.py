"""Decompositions of the small matrices that training code meets: found on the host, as `equations` are solved there.

Sources: gradients of decompositions follow Giles, "An extended collection of matrix derivative results for forward and
reverse mode algorithmic differentiation", 2008, and Townsend, "Differentiating the singular value decomposition", 2016;
that of Cholesky's, Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tritongrad.ops.comparison import where
from tritongrad.ops.equations import solve_triangular
from tritongrad.ops.host_matrices import (
    again,
    from_values,
    host,
    kept,
    lower_part,
    require_matrices,
    solved,
    turned,
    upper_part,
)
from tritongrad.ops.joining import cat
from tritongrad.ops.linalg import described, matmul
from tritongrad.ops.operands import into
from tritongrad.ops.placement import into_each
from tritongrad.ops.slicing import narrow
from tritongrad.ops.views import unsqueeze
from tritongrad.tensor import Tensor, record
from tritongrad_kernels.array import from_host


class Eigh(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class QR(NamedTuple):
    Q: Tensor
    R: Tensor


def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """L with L L^T = A, lower triangular (its transpose if `upper`), found on the host.

    Only the lower triangle of A is read; its gradient is symmetric. LinAlgError unless A is positive definite.
    """
    require_matrices("linalg.cholesky", A, square=True)
    if upper:
        return into(out, "cholesky", turned(cholesky(turned(A))))
    values = host(A)
    values = np.tril(values) + np.swapaxes(np.tril(values, -1), -1, -2)
    found = solved("linalg.cholesky", np.linalg.cholesky, values)

    def gradient(dy: Tensor, L: Tensor) -> Tensor:
        """L^-T phi(L^T dy) L^-1, phi halving what is off the diagonal and below and copying it above."""
        low = lower_part(matmul(turned(L), dy))
        phi = (low + turned(lower_part(low, -1))) * 0.5
        half = solve_triangular(turned(L), phi, upper=True)
        return solve_triangular(L, half, upper=False, left=False)

    return into(out, "cholesky", record(from_values(found, A), (A, lambda dy, L: gradient(dy, L))))


def eigh(A: Tensor, UPLO: str = "L", *, out: Sequence[Tensor] | None = None) -> Eigh:
    """Eigenvalues, rising, and eigenvectors of symmetric matrices, of which one triangle is read; found on the host.

    The gradient through eigenvectors is infinite where eigenvalues coincide. Vectors are known up to their sign.
    """
    require_matrices("linalg.eigh", A, square=True)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"linalg.eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    values, vectors = (
        from_values(found, A) for found in solved("linalg.eigh", np.linalg.eigh, host(A), UPLO=UPLO.upper())
    )

    def factors() -> Any:
        return again(lambda a: eigh(a, UPLO), A, values, vectors)

    def through_values(dy: Tensor) -> Tensor:
        _, V = factors()
        return matmul(V * unsqueeze(dy, -2), turned(V))

    def through_vectors(dy: Tensor) -> Tensor:
        L, V = factors()
        return matmul(matmul(V, _over_gaps(matmul(turned(V), dy), L)), turned(V))

    return into_each(
        out,
        "eigh",
        Eigh(record(values, (A, lambda dy: through_values(dy))), record(vectors, (A, lambda dy: through_vectors(dy)))),
    )


def _over_gaps(x: Tensor, values: Tensor) -> Tensor:
    """x[i, j] / (values[j] - values[i]), 0 on the diagonal."""
    apart = ~np.eye(values.array.shape[-1], dtype=bool)
    gaps = unsqueeze(values, -2) - unsqueeze(values, -1)
    return kept(x / where(Tensor(from_host(apart, x.device)), gaps, 1.0), apart)


def eigvalsh(A: Tensor, UPLO: str = "L", *, out: Tensor | None = None) -> Tensor:
    """The eigenvalues that `eigh` gives."""
    return into(out, "eigvalsh", eigh(A, UPLO).eigenvalues)


def svd(
    A: Tensor, full_matrices: bool = True, *, driver: str | None = None, out: Sequence[Tensor] | None = None
) -> SVD:
    """U, S and Vh with A = U diag(S) Vh, S falling, found on the host. U and Vh are square if `full_matrices`.

    Gradients come through S and the first min(M, N) vectors, which are known up to their sign; they are infinite where
    singular values coincide.
    """
    require_matrices("linalg.svd", A)
    u, s, vh = np.linalg.svd(host(A), full_matrices=full_matrices)
    U, S, Vh = (from_values(found, A) for found in (u, s, vh))
    k, m, n = s.shape[-1], *A.array.shape[-2:]
    U_thin, Vh_thin = U.slice(U.ndim - 1, 0, k), Vh.slice(Vh.ndim - 2, 0, k)

    def factors() -> Any:
        return again(lambda a: svd(a, False), A, U_thin, S, Vh_thin)

    def from_u(dy: Tensor) -> Tensor:
        U, S, Vh = factors()
        dy = narrow(dy, -1, 0, k)
        inner = matmul(turned(U), dy)
        g = matmul(U, _over_gaps(inner - turned(inner), S * S) * unsqueeze(S, -2))
        if m > k:
            g = g + (dy - matmul(U, inner)) / unsqueeze(S, -2)
        return matmul(g, Vh)

    def from_s(dy: Tensor) -> Tensor:
        U, _, Vh = factors()
        return matmul(U * unsqueeze(dy, -2), Vh)

    def from_vh(dy: Tensor) -> Tensor:
        U, S, Vh = factors()
        dy = narrow(dy, -2, 0, k)
        inner = matmul(Vh, turned(dy))
        g = matmul(_over_gaps(inner - turned(inner), S * S) * unsqueeze(S, -1), Vh)
        if n > k:
            g = g + (dy - matmul(turned(inner), Vh)) / unsqueeze(S, -1)
        return matmul(U, g)

    return into_each(
        out,
        "svd",
        SVD(
            record(U, (A, lambda dy: from_u(dy))),
            record(S, (A, lambda dy: from_s(dy))),
            record(Vh, (A, lambda dy: from_vh(dy))),
        ),
    )


def svdvals(A: Tensor, *, driver: str | None = None, out: Tensor | None = None) -> Tensor:
    """The singular values, falling."""
    return into(out, "svdvals", svd(A, False).S)


def qr(A: Tensor, mode: str = "reduced", *, out: Sequence[Tensor] | None = None) -> QR:
    """Q with orthonormal columns and R upper triangular with A = Q R, found on the host.

    `mode` is "reduced" (min(M, N) columns), "complete" (M columns; a gradient only if M <= N) or "r" (Q is empty).
    """
    require_matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    m, n = A.array.shape[-2:]
    q, r = np.linalg.qr(host(A), mode="complete" if mode == "complete" else "reduced")
    Q, R = from_values(q, A), from_values(r, A)

    def from_factors(dq: Tensor | None, dr: Tensor | None) -> Tensor:
        if mode == "complete" and m > n:
            raise RuntimeError(f"linalg.qr: mode 'complete' has no gradient for more rows than columns, {described(A)}")
        Q_, R_ = again(lambda a: qr(a), A, Q, R)
        return _qr_gradient(A, Q_, R_, dq, dr)

    R_recorded = record(R, (A, lambda dy: from_factors(None, dy)))
    if mode == "r":
        return into_each(out, "qr", QR(Tensor(from_values(np.zeros(0), A)), R_recorded))
    return into_each(out, "qr", QR(record(Q, (A, lambda dy: from_factors(dy, None))), R_recorded))


def _qr_gradient(A: Tensor, Q: Tensor, R: Tensor, dq: Tensor | None, dr: Tensor | None) -> Tensor:
    """[dQ + Q copyltu(dR R^T - Q^T dQ)] R^-T, copyltu mirroring the upper triangle (here: of its transpose).

    With fewer rows than columns that is the gradient of the left square of A, to which Q and R = [R1, Q^T A2] belong;
    then the rest of R passes its own on to A2 and to Q.
    """
    m, n = A.array.shape[-2:]
    rest = None
    if m < n:
        if dr is not None:
            right = narrow(dr, -1, m, n - m)
            rest = matmul(Q, right)
            through_q = matmul(narrow(A, -1, m, n - m), turned(right))
            dq = through_q if dq is None else dq + through_q
            dr = narrow(dr, -1, 0, m)
        R = narrow(R, -1, 0, m)
    inner = None
    if dr is not None:
        inner = matmul(dr, turned(R))
    if dq is not None:
        inner = -matmul(turned(Q), dq) if inner is None else inner - matmul(turned(Q), dq)
    assert inner is not None
    high = upper_part(inner)
    g = matmul(Q, high + turned(upper_part(high, 1)))
    g = solve_triangular(turned(R), g if dq is None else g + dq, upper=False, left=False)
    if m >= n:
        return g
    return cat([g, g.new_zeros(*g.shape[:-1], n - m) if rest is None else rest], -1)
