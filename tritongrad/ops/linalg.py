"""Matrix products."""

from __future__ import annotations

import math

from tritongrad.ops.movement import reshape, t, transpose, unsqueeze
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import matmul as kernel
from tritongrad_kernels.elementwise import broadcast_shapes


def _check(name: str, a: Tensor, b: Tensor) -> None:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        raise TypeError(f"{name}: expected two tensors, got {type(a).__name__} and {type(b).__name__}")
    described = f"{a.dtype.name}{list(a.shape)} and {b.dtype.name}{list(b.shape)}"
    if a.dtype is not b.dtype:
        raise RuntimeError(f"{name}: expected both to have the same dtype, got {described}")
    if a.device != b.device:
        raise RuntimeError(f"{name}: expected both on the same device, got {a.device} and {b.device}")
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(f"{name}: both arguments need at least one dimension, got {described}")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise RuntimeError(f"{name}: the inner extents of {described} differ")
    try:
        broadcast_shapes(a.array.shape[:-2], b.array.shape[:-2])
    except ValueError:
        raise RuntimeError(f"{name}: the batch dimensions of {described} do not broadcast together") from None


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices [..., M, K] and [..., K, N], batch axes broadcast; a vector is a row on the left and a
    column on the right, and its axis is dropped from the result."""
    _check("matmul", a, b)
    if a.ndim == 1 and b.ndim == 1:
        return reshape(_product(unsqueeze(a, 0), unsqueeze(b, 1)), ())
    if a.ndim == 1:
        y = _product(unsqueeze(a, 0), b)
        return reshape(y, (*y.shape[:-2], y.shape[-1]))
    if b.ndim == 1:
        y = _product(a, unsqueeze(b, 1))
        return reshape(y, y.shape[:-1])
    if b.ndim == 2 and a.ndim > 2:  # one tall product instead of many small ones
        return reshape(_product(_rows(a), b), (*a.shape[:-1], b.shape[-1]))
    return _product(a, b)


def _rows(x: Tensor) -> Tensor:
    """All but the last axis joined into one."""
    return reshape(x, (math.prod(x.array.shape[:-1]), x.array.shape[-1]))


def _product(a: Tensor, b: Tensor) -> Tensor:
    return record(
        kernel.matmul(a.array, b.array),
        (a, lambda dy: matmul(dy, transpose(b, -2, -1))),
        (b, lambda dy: matmul(transpose(a, -2, -1), dy)),
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K] times weight [N, K] transposed, plus bias [N]: [..., N]."""
    if weight.ndim == 1:
        y = matmul(x, weight)
        return y if bias is None else y + bias
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[1] or x.dtype is not weight.dtype:
        raise RuntimeError(
            f"linear: an input {x.dtype.name}{list(x.shape)} does not go with a weight "
            f"{weight.dtype.name}{list(weight.shape)}; expected [..., {weight.shape[-1]}] of the same dtype"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"linear: expected a bias of shape {list(weight.shape[:1])}, got {list(bias.shape)}")
    rows = _rows(x) if x.ndim != 2 else x
    y = record(
        kernel.matmul(rows.array, weight.array.T, None if bias is None else bias.array),
        (rows, lambda dy: matmul(dy, weight)),
        (weight, lambda dy: matmul(t(dy), rows)),
        (bias, lambda dy: dy),  # the graph sums it over rows
    )
    return y if x.ndim == 2 else reshape(y, (*x.shape[:-1], weight.shape[0]))


def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices."""
    if a.ndim != 2 or b.ndim != 2:
        raise RuntimeError(f"mm: expected two matrices, got shapes {list(a.shape)} and {list(b.shape)}")
    return matmul(a, b)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """The products of two stacks of matrices, [B, M, K] and [B, K, N]."""
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0]:
        raise RuntimeError(f"bmm: expected [B, M, K] and [B, K, N], got {list(a.shape)} and {list(b.shape)}")
    return matmul(a, b)


def mv(a: Tensor, x: Tensor) -> Tensor:
    """A matrix times a vector."""
    if a.ndim != 2 or x.ndim != 1:
        raise RuntimeError(f"mv: expected a matrix and a vector, got shapes {list(a.shape)} and {list(x.shape)}")
    return matmul(a, x)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of two vectors."""
    if x.ndim != 1 or y.ndim != 1:
        raise RuntimeError(f"dot: expected two vectors, got shapes {list(x.shape)} and {list(y.shape)}")
    return matmul(x, y)


def outer(x: Tensor, y: Tensor) -> Tensor:
    """Every product of an element of x with one of y."""
    return unsqueeze(x, 1) * unsqueeze(y, 0)


def addmm(c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta c + alpha a b."""
    return beta * c + alpha * mm(a, b)
