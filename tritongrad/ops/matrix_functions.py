"""Made of decompositions and inverses: condition numbers, forms that report instead of raising, exponentials."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tritongrad.ops.decomposition import cholesky, svdvals
from tritongrad.ops.equations import inv, solve
from tritongrad.ops.host_matrices import LinAlgError, from_values, host, require_matrices, turned
from tritongrad.ops.joining import cat
from tritongrad.ops.linalg import described
from tritongrad.ops.norms import matrix_norm
from tritongrad.ops.operands import into
from tritongrad.ops.placement import into_each
from tritongrad.ops.ranges import arange
from tritongrad.ops.slicing import narrow
from tritongrad.ops.transcendental import pow
from tritongrad.ops.views import reshape, squeeze, unsqueeze
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes


class CholeskyEx(NamedTuple):
    L: Tensor
    info: Tensor


class InvEx(NamedTuple):
    inverse: Tensor
    info: Tensor


class SolveEx(NamedTuple):
    result: Tensor
    info: Tensor


def cond(A: Tensor, p: Any = None, *, out: Tensor | None = None) -> Tensor:
    """The norm of order p times that of the inverse: without p, or for 2, the largest singular value over the smallest.

    A matrix that has no inverse gives infinity. Orders as in `matrix_norm`.
    """
    if p not in (None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if p in (None, 2, -2):
        s = svdvals(A)
        first, last = s[..., 0], s[..., -1]
        return into(out, "cond", last / first if p == -2 else first / last)
    require_matrices("linalg.cond", A)
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"linalg.cond(ord={p}): A must be batches of square matrices, got {described(A)}")
    regular, info = _regular("linalg.cond", A, False)
    product = matrix_norm(A, p) * matrix_norm(inv(regular), p)
    return into(out, "cond", product.masked_fill(info != 0, math.inf) if bool((info != 0).any()) else product)


def _each(A: Tensor, attempt: Callable[[np.ndarray], tuple[np.ndarray, int]]) -> tuple[Any, Any]:
    """attempt(matrix) -> (values, info) for every matrix: the values, and the infos, as arrays of A's batch shape."""
    matrices = host(A)
    flat = matrices.reshape(-1, *matrices.shape[-2:]) if matrices.size else matrices[:0].reshape(0, *A.shape[-2:])
    found = [attempt(m) for m in flat]
    batch = A.array.shape[:-2]
    values = np.array([v for v, _ in found]).reshape(A.array.shape) if found else np.zeros(A.array.shape)
    info = np.array([i for _, i in found], np.int32).reshape(batch) if found else np.zeros(batch, np.int32)
    return from_values(values, A), Tensor(from_values(info, A, dtypes.int32))


def _refuse(name: str, info: Tensor, check_errors: bool, sentence: str) -> None:
    if check_errors:
        worst = max(np.asarray(info.tolist()).reshape(-1).tolist(), default=0)
        if worst:
            raise LinAlgError(f"{name}: {sentence.format(worst)}")


def cholesky_ex(
    A: Tensor, *, upper: bool = False, check_errors: bool = False, out: Sequence[Tensor] | None = None
) -> CholeskyEx:
    """`cholesky`, and in `info` (int32) for each matrix 0, or the order of its first minor that is not positive.

    The factor of such a matrix is unfinished. LinAlgError for one with `check_errors`.
    """
    require_matrices("linalg.cholesky_ex", A, square=True)
    values, info = _each(turned(A) if upper else A, _attempt_cholesky)
    _refuse("linalg.cholesky_ex", info, check_errors, "the leading minor of order {} is not positive-definite")
    if not bool((info != 0).any()):
        return into_each(out, "cholesky_ex", CholeskyEx(cholesky(A, upper=upper), info))
    L = Tensor(values)
    return into_each(out, "cholesky_ex", CholeskyEx(turned(L) if upper else L, info))


def _attempt_cholesky(matrix: np.ndarray) -> tuple[np.ndarray, int]:
    L = np.tril(matrix)
    for j in range(len(L)):
        L[j, j] -= L[j, :j] @ L[j, :j]
        if not L[j, j] > 0:
            return L, j + 1
        L[j, j] = math.sqrt(L[j, j])
        L[j + 1 :, j] = (L[j + 1 :, j] - L[j + 1 :, :j] @ L[j, :j]) / L[j, j]
    return L, 0


def _zero_pivot(matrix: np.ndarray) -> int:
    """Which pivot of Gaussian elimination, counted from 1, is the first that is 0; 0 if none is."""
    rest = np.array(matrix)
    for j in range(len(rest)):
        best = j + int(np.abs(rest[j:, j]).argmax())
        rest[[j, best]] = rest[[best, j]]
        if rest[j, j] == 0:
            return j + 1
        rest[j + 1 :] -= np.outer(rest[j + 1 :, j] / rest[j, j], rest[j])
    return 0


_SINGULAR = "the diagonal element {} is zero, the input matrix is singular"


def _regular(name: str, A: Tensor, check_errors: bool) -> tuple[Tensor, Tensor]:
    """A with the identity in place of its singular matrices, and for each matrix which pivot is 0."""
    values, info = _each(A, lambda m: (np.eye(len(m)), i) if (i := _zero_pivot(m)) else (m, 0))
    _refuse(name, info, check_errors, _SINGULAR)
    return (Tensor(values) if bool((info != 0).any()) else A), info


def inv_ex(A: Tensor, *, check_errors: bool = False, out: Sequence[Tensor] | None = None) -> InvEx:
    """`inv`, and in `info` (int32) for each matrix 0, or which pivot of a singular one is 0; its inverse is infinite.

    LinAlgError for one with `check_errors`.
    """
    require_matrices("linalg.inv_ex", A, square=True)
    regular, info = _regular("linalg.inv_ex", A, check_errors)
    return into_each(out, "inv_ex", InvEx(_infinite_where(inv(regular), info), info))


def solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False, out: Sequence[Tensor] | None = None
) -> SolveEx:
    """`solve`, and in `info` what `inv_ex` says; the solution for a singular matrix is infinite."""
    require_matrices("linalg.solve_ex", A, square=True)
    regular, info = _regular("linalg.solve_ex", A, check_errors)
    solution = solve(regular, B, left=left)
    vectors = solution.ndim == A.ndim - 1
    result = _infinite_where(unsqueeze(solution, -1) if vectors else solution, info)
    return into_each(out, "solve_ex", SolveEx(squeeze(result, -1) if vectors else result, info))


def _infinite_where(x: Tensor, info: Tensor) -> Tensor:
    wrong = info != 0
    return x.masked_fill(unsqueeze(unsqueeze(wrong, -1), -1), math.inf) if bool(wrong.any()) else x


def matrix_exp(A: Tensor) -> Tensor:
    """The sum of A^k / k! of square matrices, found on the host by Taylor's series of a 2^-s-th part, squared s times.

    Source: the gradient is a block of the exponential of [[A^T, dy], [0, A^T]]: Higham, "Functions of Matrices", 3.6.
    """
    require_matrices("linalg.matrix_exp", A, square=True)
    values = host(A)
    largest = np.abs(values).sum(-1).max(initial=0.0)
    halvings = max(0, math.ceil(math.log2(largest)) + 2) if 0 < largest < math.inf else 0
    small = values / 2.0**halvings
    term = total = np.broadcast_to(np.eye(values.shape[-1]), values.shape)
    with np.errstate(all="ignore"):
        for k in range(1, 19):
            term = term @ small / k
            total = total + term
        for _ in range(halvings):
            total = total @ total

    def gradient(dy: Tensor) -> Tensor:
        n, transposed = A.array.shape[-1], turned(A)
        above, below = cat([transposed, dy], -1), cat([transposed.zeros_like(), transposed], -1)
        return narrow(narrow(matrix_exp(cat([above, below], -2)), -2, 0, n), -1, n, n)

    return record(from_values(total, A), (A, lambda dy: gradient(dy)))


def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers 0 .. N-1 (N by default as many as there are elements) of the elements of vectors [..., n]: [..., n, N]."""
    count = (x.shape[-1] if x.ndim else 1) if N is None else N
    if count <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {count}")
    return _powers(x, count)


def _powers(x: Tensor, count: int) -> Tensor:
    base = x if x.dtype is not dtypes.bool_ else x.to(dtypes.int64)
    exponents = arange(count, device=x.device)
    return pow(unsqueeze(base, -1), exponents.to(base.dtype) if base.is_floating_point() else exponents)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements in columns, falling unless `increasing`."""
    if x.ndim != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got shape {list(x.shape)}")
    count = x.numel() if N is None else N
    if count < 0:
        raise RuntimeError(f"vander: N must be non-negative, got {count}")
    powers = _powers(x, count)
    return powers if increasing else powers.flip(-1)


def tensorinv(A: Tensor, ind: int = 2, *, out: Tensor | None = None) -> Tensor:
    """The inverse of A as a matrix from its axes after the first `ind` to those."""
    first, last = A.array.shape[: max(ind, 0)], A.array.shape[max(ind, 0) :]
    if ind <= 0:
        raise RuntimeError(f"linalg.tensorinv: expected a strictly positive integer for 'ind', got {ind}")
    if math.prod(first) != math.prod(last):
        raise RuntimeError(f"linalg.tensorinv: the first {ind} extents of {described(A)} do not multiply to the others")
    return into(out, "tensorinv", reshape(inv(reshape(A, (math.prod(first), math.prod(last)))), (*last, *first)))


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None, *, out: Tensor | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; the axes `dims` of A are moved to its end first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    rest = A.array.shape[B.ndim :]
    if B.numel() != math.prod(rest):
        raise RuntimeError(f"linalg.tensorsolve: {described(A, B)} make no square system")
    solution = solve(reshape(A, (B.numel(), B.numel())), reshape(B, B.numel()))
    return into(out, "tensorsolve", reshape(solution, rest))
