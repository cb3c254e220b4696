"""Linear algebra under torch.linalg's names. Decompositions are for small matrices: see `ops.decomposition`."""

from tritongrad.ops.decomposition import (
    LinAlgError as LinAlgError,
    cholesky as cholesky,
    cond as cond,
    det as det,
    eigh as eigh,
    eigvalsh as eigvalsh,
    inv as inv,
    lstsq as lstsq,
    matrix_power as matrix_power,
    matrix_rank as matrix_rank,
    pinv as pinv,
    qr as qr,
    slogdet as slogdet,
    solve as solve,
    solve_triangular as solve_triangular,
    svd as svd,
    svdvals as svdvals,
)
from tritongrad.ops.linalg import cross as _cross, matmul as matmul, multi_dot as multi_dot, vecdot as vecdot
from tritongrad.ops.norms import linalg_norm, matrix_norm as matrix_norm, vector_norm as vector_norm
from tritongrad.ops.slicing import diagonal as _diagonal
from tritongrad.tensor import Tensor

norm = linalg_norm


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Vector products along `dim`, the last axis unless given."""
    return _cross(input, other, dim, out=out)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, which the last two axes are unless told otherwise."""
    return _diagonal(A, offset, dim1, dim2)
