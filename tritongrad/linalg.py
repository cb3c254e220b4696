"""Linear algebra under torch.linalg's names. Decompositions are for small matrices: see `ops.equations`."""

from tritongrad.ops.decomposition import (
    cholesky as cholesky,
    eigh as eigh,
    eigvalsh as eigvalsh,
    qr as qr,
    svd as svd,
    svdvals as svdvals,
)
from tritongrad.ops.equations import (
    det as det,
    inv as inv,
    lstsq as lstsq,
    matrix_power as matrix_power,
    matrix_rank as matrix_rank,
    pinv as pinv,
    slogdet as slogdet,
    solve as solve,
    solve_triangular as solve_triangular,
)
from tritongrad.ops.host_matrices import LinAlgError as LinAlgError
from tritongrad.ops.householder import householder_product as householder_product
from tritongrad.ops.linalg import cross as _cross, matmul as matmul, multi_dot as multi_dot, vecdot as vecdot
from tritongrad.ops.matrix_functions import (
    cholesky_ex as cholesky_ex,
    cond as cond,
    inv_ex as inv_ex,
    linalg_vander,
    matrix_exp as matrix_exp,
    solve_ex as solve_ex,
    tensorinv as tensorinv,
    tensorsolve as tensorsolve,
)
from tritongrad.ops.norms import linalg_norm, matrix_norm as matrix_norm, vector_norm as vector_norm
from tritongrad.ops.slicing import diagonal as _diagonal
from tritongrad.tensor import Tensor

norm = linalg_norm
vander = linalg_vander


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Vector products along `dim`, the last axis unless given."""
    return _cross(input, other, dim, out=out)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, which the last two axes are unless told otherwise."""
    return _diagonal(A, offset, dim1, dim2)
