"""Matrices that the host computes with: to float64, through numpy, and back to the dtype they came in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.comparison import where
from tritongrad.ops.linalg import described
from tritongrad.ops.views import transpose, unsqueeze
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes, memory
from tritongrad_kernels.array import Array, from_host
from tritongrad_kernels.dtypes import dtype


class LinAlgError(RuntimeError):
    """A matrix has no such decomposition, inverse or solution."""


def require_matrices(name: str, *matrices: Any, square: bool = False) -> None:
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


def host(a: Tensor) -> np.ndarray:
    """The matrices in float64; in a dry run, where nothing has values, ones on the diagonal."""
    if memory.in_dry_run():
        return np.broadcast_to(np.eye(*a.shape[-2:]), a.shape)
    return a.detach().numpy().astype(np.float64)


def from_values(values: Any, like: Tensor, kind: dtype | None = None) -> Array:
    return from_host(np.array(values, (kind or like.dtype).numpy, order="C"), like.device)


def solved(name: str, function: Callable[..., Any], *values: Any, **options: Any) -> Any:
    try:
        return function(*values, **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name}: {str(error).lower()}") from None


def turned(x: Tensor) -> Tensor:
    return transpose(x, -2, -1)


def kept(x: Tensor, mask: np.ndarray) -> Tensor:
    """x where the mask, a matrix on the host, is true, else 0."""
    return where(Tensor(from_host(mask, x.device)), x, 0.0)


def _triangle(x: Tensor, offset: int) -> np.ndarray:
    rows, columns = x.array.shape[-2:]
    return np.tri(rows, columns, offset, dtype=bool)


def upper_part(x: Tensor, offset: int = 0) -> Tensor:
    return kept(x, ~_triangle(x, offset - 1))


def lower_part(x: Tensor, offset: int = 0) -> Tensor:
    return kept(x, _triangle(x, offset))


def diagonal_matrices(values: Tensor) -> Tensor:
    """Square matrices with these diagonals."""
    return kept(unsqueeze(values, -1), np.eye(values.array.shape[-1], dtype=bool))


def again(function: Callable[..., Any], a: Tensor, *found: Array) -> Any:
    """The factors of a matrix inside a gradient: those that were found, or, where the gradient is to be differentiated
    itself, the same computed once more as functions of the matrix."""
    return function(a) if is_grad_enabled() else tuple(Tensor(f) for f in found)
