"""Decompositions, inverses and solutions of linear equations, for the small matrices that training code meets.

The values are found on the host, by numpy in float64, and rounded to the dtype of the input: float32 or float64, as in
torch. Products, and everything gradients are made of, are kernels. Leading axes are a batch. Gradients can be
differentiated again.

Sources: gradients of decompositions follow Giles, "An extended collection of matrix derivative results for forward and
reverse mode algorithmic differentiation", 2008, and Townsend, "Differentiating the singular value decomposition", 2016;
that of Cholesky's, Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops import reduce
from tritongrad.ops.comparison import where
from tritongrad.ops.joining import cat
from tritongrad.ops.linalg import described, matmul
from tritongrad.ops.slicing import narrow
from tritongrad.ops.views import expand, squeeze, transpose, unsqueeze
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, memory
from tritongrad_kernels.array import Array, from_host
from tritongrad_kernels.dtypes import dtype


class LinAlgError(RuntimeError):
    """A matrix has no such decomposition, inverse or solution."""


class Eigh(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class SVD(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class OldSVD(NamedTuple):
    U: Tensor
    S: Tensor
    V: Tensor


class QR(NamedTuple):
    Q: Tensor
    R: Tensor


class Slogdet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class Lstsq(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _require(name: str, *matrices: Any, square: bool = False) -> None:
    for a in matrices:
        if not isinstance(a, Tensor):
            raise TypeError(f"{name}: expected tensors, got {type(a).__name__}")
        if a.ndim < 2:
            raise RuntimeError(f"{name}: expected matrices, got {described(a)}")
        if a.dtype not in (dtypes.float32, dtypes.float64):
            raise RuntimeError(f"{name}: expected float32 or float64, got {described(a)}")
        if square and a.shape[-1] != a.shape[-2]:
            raise RuntimeError(f"{name}: expected square matrices, got {described(a)}")
        if a.dtype is not matrices[0].dtype or a.device != matrices[0].device:
            raise RuntimeError(f"{name}: expected one dtype and device, got {described(*matrices)}")


def _host(a: Tensor) -> np.ndarray:
    """The matrices in float64; in a dry run, where nothing has values, ones on the diagonal."""
    if memory.in_dry_run():
        return np.broadcast_to(np.eye(*a.shape[-2:]), a.shape)
    return a.detach().numpy().astype(np.float64)


def _array(values: Any, like: Tensor, kind: dtype | None = None) -> Array:
    return from_host(np.array(values, (kind or like.dtype).numpy, order="C"), like.device)


def _solved(name: str, function: Callable[..., Any], *values: Any, **options: Any) -> Any:
    try:
        return function(*values, **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name}: {str(error).lower()}") from None


def _T(x: Tensor) -> Tensor:
    return transpose(x, -2, -1)


def _kept(x: Tensor, mask: np.ndarray) -> Tensor:
    """x where the mask, a matrix on the host, is true, else 0."""
    return where(Tensor(from_host(mask, x.device)), x, 0.0)


def _triangle(x: Tensor, offset: int) -> np.ndarray:
    rows, columns = x.array.shape[-2:]
    return np.tri(rows, columns, offset, dtype=bool)


def _upper(x: Tensor, offset: int = 0) -> Tensor:
    return _kept(x, ~_triangle(x, offset - 1))


def _lower(x: Tensor, offset: int = 0) -> Tensor:
    return _kept(x, _triangle(x, offset))


def _diagonal(values: Tensor) -> Tensor:
    """Square matrices with these diagonals."""
    return _kept(unsqueeze(values, -1), np.eye(values.array.shape[-1], dtype=bool))


def _again(function: Callable[..., Any], a: Tensor, *found: Array) -> Any:
    """The factors of a matrix inside a gradient: those that were found, or, where the gradient is to be differentiated
    itself, the same computed once more as functions of the matrix."""
    return function(a) if is_grad_enabled() else tuple(Tensor(f) for f in found)


# -------------------------------------------------------------------------------------------- inverses and equations


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices, found on the host. LinAlgError for a singular one."""
    _require("linalg.inv", A, square=True)
    values = _solved("linalg.inv", np.linalg.inv, _host(A))
    return record(_array(values, A), (A, lambda dy, y: -matmul(matmul(_T(y), dy), _T(y))))


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B unless `left`), found on the host. LinAlgError for a singular A.

    B is a stack of vectors if it has the batch shape of A and one axis more, or one axis altogether.
    """
    _require("linalg.solve", A, square=True)
    if B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1]):
        return squeeze(solve(A, unsqueeze(B, -1)), -1) if left else squeeze(solve(_T(A), unsqueeze(B, -1)), -1)
    if not left:
        return _T(solve(_T(A), _T(B)))
    _require("linalg.solve", A, B)
    _require_shapes("linalg.solve", A, B)
    values = _solved("linalg.solve", np.linalg.solve, _host(A), _host(B))
    return record(
        _array(values, A),
        (A, lambda dy, y: -matmul(solve(_T(A), dy), _T(y))),
        (B, lambda dy: solve(_T(A), dy)),
    )


def _require_shapes(name: str, A: Tensor, B: Tensor) -> None:
    try:
        np.broadcast_shapes(A.array.shape[:-2], B.array.shape[:-2])
        fits = A.shape[-1] == B.shape[-2]
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(f"{name}: {described(A, B)} do not go together")


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B unless `left`) for triangular A, of which nothing else is read, found on the host."""
    _require("linalg.solve_triangular", A, square=True)
    _require("linalg.solve_triangular", A, B)
    if not left:
        return _T(solve_triangular(_T(A), _T(B), upper=not upper, unitriangular=unitriangular))
    _require_shapes("linalg.solve_triangular", A, B)
    part = (_upper if upper else _lower)(A.detach(), (1 if upper else -1) if unitriangular else 0)
    matrix = _host(part) + (np.eye(A.array.shape[-1]) if unitriangular and not memory.in_dry_run() else 0)
    values = _solved("linalg.solve_triangular", np.linalg.solve, matrix, _host(B))

    def other_way(dy: Tensor) -> Tensor:
        return solve_triangular(_T(A), dy, upper=not upper, unitriangular=unitriangular)

    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        return (_upper if upper else _lower)(
            -matmul(other_way(dy), _T(y)), (1 if upper else -1) if unitriangular else 0
        )

    return record(_array(values, A), (A, lambda dy, y: gradient(dy, y)), (B, lambda dy: other_way(dy)))


def pinv(A: Tensor, *, rtol: float | None = None, atol: float | None = None, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse of any matrices, found on the host.

    Singular values up to the larger of `atol` and `rtol` times the largest count as 0; `rtol` is the machine epsilon
    times the longer side if neither is given. The gradient holds while the rank does not change.
    """
    _require("linalg.pinv", A, square=hermitian)
    if not A.numel():
        return expand(_T(A) * 0.0, (*A.shape[:-2], A.shape[-1], A.shape[-2]))
    u, s, vh = np.linalg.svd(_host(A), full_matrices=False)
    kept = s > _threshold(A, s, rtol, atol)[..., None]
    inverted = np.where(kept, 1 / np.where(kept, s, 1), 0)
    values = np.swapaxes(vh, -1, -2) * inverted[..., None, :] @ np.swapaxes(u, -1, -2)

    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        g, p, q = _T(dy), matmul(y, _T(y)), matmul(_T(y), y)
        beside = matmul(g, p) - matmul(A, matmul(y, matmul(g, p)))
        below = matmul(q, g) - matmul(matmul(matmul(q, g), y), A)
        return beside + below - matmul(matmul(_T(y), dy), _T(y))

    return record(_array(values, A), (A, lambda dy, y: gradient(dy, y)))


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`pinv` with the threshold of old."""
    return pinv(input, rtol=rcond)


def _threshold(A: Tensor, s: np.ndarray, rtol: Any, atol: Any) -> np.ndarray:
    """Below which singular values count as 0, one for each matrix."""
    if rtol is None:
        rtol = max(A.shape[-2:]) * float(np.finfo(A.dtype.numpy).eps) if not atol else 0.0
    return np.maximum(s.max(-1, initial=0.0) * float(rtol), float(atol or 0.0))


def matrix_rank(
    A: Tensor, *, rtol: float | None = None, atol: float | None = None, hermitian: bool = False, tol: Any = None
) -> Tensor:
    """How many singular values are above the threshold that `pinv` describes: int64, found on the host."""
    _require("linalg.matrix_rank", A, square=hermitian)
    s = np.linalg.svd(_host(A), compute_uv=False)
    limit = _threshold(A, s, rtol, tol if tol is not None else atol)
    return Tensor(_array((s > limit[..., None]).sum(-1), A, dtypes.int64))


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """X of least |A X - B|, and of least norm among those, found on the host whatever the `driver`.

    `residuals` are the squared distances, given where A has more rows than columns and full rank, else empty, as
    `singular_values` always is.
    """
    _require("linalg.lstsq", A)
    if B.ndim == A.ndim - 1:
        found = lstsq(A, unsqueeze(B, -1), rcond)
        return found._replace(solution=squeeze(found.solution, -1))
    _require("linalg.lstsq", A, B)
    if A.shape[-2] != B.shape[-2]:
        raise RuntimeError(f"linalg.lstsq: {described(A, B)} do not go together")
    solution, rank = matmul(pinv(A, rtol=rcond), B), matrix_rank(A, rtol=rcond)
    empty = Tensor(_array(np.zeros(0), A))
    tall = A.shape[-2] > A.shape[-1] and memory.in_dry_run() is False and (rank == A.shape[-1]).all()
    residuals = reduce.sum((matmul(A, solution) - B) ** 2, -2) if tall else empty
    return Lstsq(solution, residuals, rank, empty)


# -------------------------------------------------------------------------------------------------------- determinants


def det(A: Tensor) -> Tensor:
    """The determinants of square matrices, found on the host."""
    _require("linalg.det", A, square=True)
    return record(_array(np.linalg.det(_host(A)), A), (A, lambda dy, y: dy[..., None, None] * _cofactors(A, y)))


def _cofactors(A: Tensor, y: Tensor) -> Tensor:
    """The gradient of the determinant y, which a singular matrix has as well; differentiable if A is not singular."""
    if is_grad_enabled():
        return y[..., None, None] * _T(inv(A))
    u, s, vh = np.linalg.svd(_host(A))
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1.0, s[..., None, :]).prod(-1)
    turned = np.linalg.det(u) * np.linalg.det(vh)
    return Tensor(_array(turned[..., None, None] * (u * others[..., None, :] @ vh), A))


def slogdet(A: Tensor) -> Slogdet:
    """The sign of the determinant and the logarithm of its size, which no size of matrix makes overflow."""
    _require("linalg.slogdet", A, square=True)
    signs, logarithms = np.linalg.slogdet(_host(A))
    size = record(_array(logarithms, A), (A, lambda dy: dy[..., None, None] * _T(inv(A))))
    return Slogdet(Tensor(_array(signs, A)), size)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: NaN where that is negative."""
    signs, size = slogdet(input)
    return where(signs < 0, float("nan"), size)


# ------------------------------------------------------------------------------------------------------ decompositions


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with L L^T = A, lower triangular (its transpose if `upper`), found on the host.

    Only the lower triangle of A is read; its gradient is symmetric. LinAlgError unless A is positive definite.
    """
    _require("linalg.cholesky", A, square=True)
    if upper:
        return _T(cholesky(_T(A)))
    values = _host(A)
    values = np.tril(values) + np.swapaxes(np.tril(values, -1), -1, -2)
    found = _solved("linalg.cholesky", np.linalg.cholesky, values)

    def gradient(dy: Tensor, L: Tensor) -> Tensor:
        """L^-T phi(L^T dy) L^-1, phi halving what is off the diagonal and below and copying it above."""
        low = _lower(matmul(_T(L), dy))
        phi = (low + _T(_lower(low, -1))) * 0.5
        half = solve_triangular(_T(L), phi, upper=True)
        return solve_triangular(L, half, upper=False, left=False)

    return record(_array(found, A), (A, lambda dy, L: gradient(dy, L)))


def old_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`torch.cholesky`: as `linalg.cholesky`."""
    return cholesky(input, upper=upper)


def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = input, where L (its transpose if `upper`) is the Cholesky factor of A."""
    L = _T(L) if upper else L
    return solve_triangular(_T(L), solve_triangular(L, input, upper=False), upper=True)


def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, whose Cholesky factor (or its transpose if `upper`) is given."""
    _require("cholesky_inverse", input, square=True)
    eye = Tensor(_array(np.broadcast_to(np.eye(input.array.shape[-1]), input.shape), input))
    return cholesky_solve(eye, input, upper)


def eigh(A: Tensor, UPLO: str = "L") -> Eigh:
    """Eigenvalues, rising, and eigenvectors of symmetric matrices, of which one triangle is read; found on the host.

    The gradient through eigenvectors is infinite where eigenvalues coincide. Vectors are known up to their sign.
    """
    _require("linalg.eigh", A, square=True)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"linalg.eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    values, vectors = (
        _array(found, A) for found in _solved("linalg.eigh", np.linalg.eigh, _host(A), UPLO=UPLO.upper())
    )

    def factors() -> Any:
        return _again(lambda a: eigh(a, UPLO), A, values, vectors)

    def from_values(dy: Tensor) -> Tensor:
        _, V = factors()
        return matmul(V * unsqueeze(dy, -2), _T(V))

    def from_vectors(dy: Tensor) -> Tensor:
        L, V = factors()
        return matmul(matmul(V, _over_gaps(matmul(_T(V), dy), L)), _T(V))

    return Eigh(record(values, (A, lambda dy: from_values(dy))), record(vectors, (A, lambda dy: from_vectors(dy))))


def _over_gaps(x: Tensor, values: Tensor) -> Tensor:
    """x[i, j] / (values[j] - values[i]), 0 on the diagonal."""
    apart = ~np.eye(values.array.shape[-1], dtype=bool)
    gaps = unsqueeze(values, -2) - unsqueeze(values, -1)
    return _kept(x / where(Tensor(from_host(apart, x.device)), gaps, 1.0), apart)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues that `eigh` gives."""
    return eigh(A, UPLO).eigenvalues


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """U, S and Vh with A = U diag(S) Vh, S falling, found on the host. U and Vh are square if `full_matrices`.

    Gradients come through S and the first min(M, N) vectors, which are known up to their sign; they are infinite where
    singular values coincide.
    """
    _require("linalg.svd", A)
    u, s, vh = np.linalg.svd(_host(A), full_matrices=full_matrices)
    U, S, Vh = (_array(found, A) for found in (u, s, vh))
    k, m, n = s.shape[-1], *A.array.shape[-2:]
    U_thin, Vh_thin = U.slice(U.ndim - 1, 0, k), Vh.slice(Vh.ndim - 2, 0, k)

    def factors() -> Any:
        return _again(lambda a: svd(a, False), A, U_thin, S, Vh_thin)

    def from_u(dy: Tensor) -> Tensor:
        U, S, Vh = factors()
        dy = narrow(dy, -1, 0, k)
        inner = matmul(_T(U), dy)
        g = matmul(U, _over_gaps(inner - _T(inner), S * S) * unsqueeze(S, -2))
        if m > k:
            g = g + (dy - matmul(U, inner)) / unsqueeze(S, -2)
        return matmul(g, Vh)

    def from_s(dy: Tensor) -> Tensor:
        U, _, Vh = factors()
        return matmul(U * unsqueeze(dy, -2), Vh)

    def from_vh(dy: Tensor) -> Tensor:
        U, S, Vh = factors()
        dy = narrow(dy, -2, 0, k)
        inner = matmul(Vh, _T(dy))
        g = matmul(_over_gaps(inner - _T(inner), S * S) * unsqueeze(S, -1), Vh)
        if n > k:
            g = g + (dy - matmul(_T(inner), Vh)) / unsqueeze(S, -1)
        return matmul(U, g)

    return SVD(
        record(U, (A, lambda dy: from_u(dy))),
        record(S, (A, lambda dy: from_s(dy))),
        record(Vh, (A, lambda dy: from_vh(dy))),
    )


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, falling."""
    return svd(A, False).S


def old_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> OldSVD:
    """`torch.svd`: as `svd`, giving V itself and, with `some`, no more than min(M, N) vectors."""
    U, S, Vh = svd(input, not some)
    return OldSVD(U, S, _T(Vh)) if compute_uv else OldSVD(U.zeros_like(), S, _T(Vh).zeros_like())


def qr(A: Tensor, mode: str = "reduced") -> QR:
    """Q with orthonormal columns and R upper triangular with A = Q R, found on the host.

    `mode` is "reduced" (min(M, N) columns), "complete" (M columns; a gradient only if M <= N) or "r" (Q is empty).
    """
    _require("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    m, n = A.array.shape[-2:]
    q, r = np.linalg.qr(_host(A), mode="complete" if mode == "complete" else "reduced")
    Q, R = _array(q, A), _array(r, A)

    def from_factors(dq: Tensor | None, dr: Tensor | None) -> Tensor:
        if mode == "complete" and m > n:
            raise RuntimeError(f"linalg.qr: mode 'complete' has no gradient for more rows than columns, {described(A)}")
        Q_, R_ = _again(lambda a: qr(a), A, Q, R)
        return _qr_gradient(A, Q_, R_, dq, dr)

    R_recorded = record(R, (A, lambda dy: from_factors(None, dy)))
    if mode == "r":
        return QR(Tensor(_array(np.zeros(0), A)), R_recorded)
    return QR(record(Q, (A, lambda dy: from_factors(dy, None))), R_recorded)


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
            through_q = matmul(narrow(A, -1, m, n - m), _T(right))
            dq = through_q if dq is None else dq + through_q
            dr = narrow(dr, -1, 0, m)
        R = narrow(R, -1, 0, m)
    inner = None
    if dr is not None:
        inner = matmul(dr, _T(R))
    if dq is not None:
        inner = -matmul(_T(Q), dq) if inner is None else inner - matmul(_T(Q), dq)
    assert inner is not None
    high = _upper(inner)
    g = matmul(Q, high + _T(_upper(high, 1)))
    g = solve_triangular(_T(R), g if dq is None else g + dq, upper=False, left=False)
    if m >= n:
        return g
    return cat([g, g.new_zeros(*g.shape[:-1], n - m) if rest is None else rest], -1)


# ---------------------------------------------------------------------------------------------------- made of the above


def matrix_power(input: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices [..., N, N] by repeated squaring; of the inverse for n < 0."""
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"matrix_power: expected square matrices, got {described(input)}")
    if n < 0:
        return matrix_power(inv(input), -n)
    result, square = None, input
    while n:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    if result is None:
        identity = Tensor(_array(np.eye(input.array.shape[-1]), input))
        return expand(identity, input.shape).clone()
    return result.clone() if result is input else result


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The largest singular value over the smallest (p None or 2), or the other way round (-2)."""
    if p not in (None, 2, -2):
        raise RuntimeError(f"linalg.cond: expected p to be None, 2 or -2, got {p!r}")
    s = svdvals(A)
    first, last = s[..., 0], s[..., -1]
    return last / first if p == -2 else first / last
