"""Norms of vectors and matrices, and distances."""

from __future__ import annotations

import math
from typing import Any

from tritongrad.ops.arithmetic import abs, sign, square
from tritongrad.ops.comparison import where
from tritongrad.ops.decomposition import svdvals
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into, overwrite
from tritongrad.ops.reduce import Dim, amax, amin, axes_of, count_over, kept_shape, sum
from tritongrad.ops.transcendental import pow, sqrt
from tritongrad.ops.views import movedim, reshape
from tritongrad.precision import raised
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes
from tritongrad_kernels.dtypes import dtype


@numpy_names
def vector_norm(
    x: Tensor, ord: float = 2, dim: Dim = None, keepdim: bool = False, *, dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """(sum |x|^ord)^(1/ord) over `dim`; the largest |x| for inf, the smallest for -inf, how many are not 0 for 0.

    Carried out in float32 at least. The gradient at a norm of 0 is 0; equal extremes share it.
    """
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point tensor as input. Got {x.dtype.name}")
    result = dtypes.of(dtype, "linalg.vector_norm") or x.dtype
    if not result.is_floating_point:
        raise RuntimeError(f"linalg.vector_norm: dtype should be floating point, but got {result.name}")
    x = x.to(result)
    axes = axes_of(x, dim)
    if x.ndim and count_over(x, axes) == 0 and (math.isinf(ord) or ord < 0):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on an empty dimension of {list(x.shape)} because the "
            f"operation does not have an identity"
        )
    if dtypes.compute(result) is not result:
        x = x.to(dtypes.compute(result))
    y = _vector_norm(x, float(ord), axes, keepdim).to(result)
    return into(out, "linalg.vector_norm", y)


def _vector_norm(x: Tensor, p: float, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    dim = axes or None
    if not x.ndim and p != 0:
        return abs(x)
    if p == math.inf:
        return amax(abs(x), dim, keepdim)
    if p == -math.inf:
        return amin(abs(x), dim, keepdim)
    if p == 0:
        return sum(abs(sign(x)), dim, keepdim)
    if p == 1:
        return sum(abs(x), dim, keepdim)
    kept = kept_shape(x, axes)
    plain = x.detach()
    y = sqrt(sum(square(plain), dim, keepdim)) if p == 2 else pow(sum(pow(abs(plain), p), dim, keepdim), 1 / p)

    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        """x |x|^(p-2) / norm^(p-1), and 0 where that is 0/0."""
        dy, y = reshape(dy, kept), reshape(y, kept)
        if p == 2:
            return where(y == 0, 0.0, x * (dy / y))
        size = where(x == 0, 1.0, abs(x)) if p < 2 else abs(x)
        return where(y == 0, 0.0, x * pow(size, p - 2) * (dy / pow(y, p - 1)))

    return record(y.array, (x, lambda dy, y: gradient(dy, y)))


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The norm of the matrices along two axes: "fro", the largest (1, inf) or smallest (-1, -inf) sum of |A| over
    columns (1) or rows (inf), the largest (2) or smallest (-2) singular value, or their sum ("nuc")."""
    if A.ndim < 2:
        raise RuntimeError(f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions. Got {A.ndim}")
    if not isinstance(dim, list | tuple) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    if ord == "fro":
        return vector_norm(A, 2, dim, keepdim, dtype=dtype, out=out)
    if ord not in (1, -1, 2, -2, math.inf, -math.inf, "nuc"):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if not A.dtype.is_floating_point:
        raise RuntimeError(f"linalg.matrix_norm: Expected a floating point tensor as input. Got {A.dtype.name}")
    rows, columns = A.axis(dim[0]), A.axis(dim[1])
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got {tuple(dim)}")
    A = A if dtype is None else A.to(dtype)
    if ord in (2, -2, "nuc"):
        values = svdvals(movedim(A, (rows, columns), (-2, -1)))
        y = sum(values, -1) if ord == "nuc" else amax(values, -1) if ord == 2 else amin(values, -1)
        return into(out, "linalg.matrix_norm", reshape(y, kept_shape(A, (rows, columns))) if keepdim else y)
    summed, chosen = (rows, columns) if math.isfinite(ord) else (columns, rows)
    sums = sum(abs(A), summed, keepdim=True)
    y = (amax if ord > 0 else amin)(sums, chosen, keepdim=True)
    shape = tuple(n for a, n in enumerate(A.array.shape) if a not in (rows, columns))
    return into(out, "linalg.matrix_norm", y if keepdim else reshape(y, shape))


@numpy_names
def linalg_norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The 2-norm of all elements without `ord`, else a vector norm along one axis or a matrix norm along two."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype, out=out)
    if dim is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D."
        )
    one = isinstance(dim, int) or (isinstance(dim, list | tuple) and len(dim) == 1) or (dim is None and A.ndim == 1)
    if one and not isinstance(ord, str):
        return vector_norm(A, ord, dim, keepdim, dtype=dtype, out=out)
    return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype, out=out)


@raised
def norm(
    input: Tensor, p: Any = "fro", dim: Dim = None, keepdim: bool = False, out: Tensor | None = None,
    dtype: dtype | None = None,
) -> Tensor:  # fmt: skip
    """`linalg.vector_norm` of order p over `dim`; "fro" and None are 2, "nuc" is `linalg.matrix_norm`'s."""
    if isinstance(p, str):
        if p == "nuc":
            return matrix_norm(input, "nuc", (0, 1) if dim is None else dim, keepdim, dtype=dtype, out=out)
        if p != "fro":
            raise RuntimeError(f"norm: expected a number, 'fro' or 'nuc' as p, got {p!r}")
        if isinstance(dim, list | tuple) and len(dim) > 2:
            raise RuntimeError(f"norm: the 'fro' norm is over one or two dimensions, got {list(dim)}")
        p = 2
    return vector_norm(input, 2 if p is None else p, dim, keepdim, dtype=dtype, out=out)


@raised
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference of two tensors that broadcast."""
    return vector_norm(input - other, p)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out: Tensor | None = None) -> Tensor:
    """input with every slice along `dim` whose p-norm is larger than `maxnorm` scaled down to it."""
    if p <= 0:
        raise RuntimeError(f"renorm: non-positive-norm not supported, got {p}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    axis = input.axis(dim)
    others = tuple(a for a in range(input.ndim) if a != axis)
    norms = vector_norm(input, p, others, True, dtype=dtypes.compute(input.dtype))
    factor = where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)
    return into(out, "renorm", (input * factor.to(input.dtype)))


def renorm_(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """`renorm` in place."""
    return overwrite("renorm_", input.dtype, renorm, input, p=p, dim=dim, maxnorm=maxnorm)
