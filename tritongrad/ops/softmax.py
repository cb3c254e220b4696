"""Softmax and log-softmax."""

from __future__ import annotations

from typing import Any

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import into
from tritongrad.ops.reduce import sum
from tritongrad.ops.transcendental import exp
from tritongrad.ops.views import reshape, transpose
from tritongrad.precision import raised
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, elementwise, softmax as kernel
from tritongrad_kernels.dtypes import dtype


@numpy_names
@raised
def softmax(input: Tensor, dim: int, dtype: dtype | None = None, *, out: Tensor | None = None) -> Tensor:
    """exp(input) over its sum along `dim`."""
    return into(out, "softmax", _over_rows("softmax", _softmax_rows, input, dim, dtype))


@numpy_names
@raised
def log_softmax(input: Tensor, dim: int, dtype: dtype | None = None, *, out: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`, accurate where that underflows."""
    return into(out, "log_softmax", _over_rows("log_softmax", _log_softmax_rows, input, dim, dtype))


def _over_rows(name: str, function: Any, x: Tensor, dim: int, kind: dtype | None) -> Tensor:
    """Apply a function of a matrix's rows along any axis."""
    x = x if kind is None else x.to(dtypes.of(kind, name))
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating-point tensor, got {x.dtype.name}{list(x.shape)}")
    axis = x.axis(dim)
    if x.ndim == 0:
        return reshape(function(reshape(x, (1, 1))), ())
    moved = transpose(x, axis, -1)
    rows = reshape(moved, (-1, moved.shape[-1])) if moved.numel() else reshape(moved, (0, max(moved.shape[-1], 1)))
    return transpose(reshape(function(rows), moved.shape), axis, -1)


def _softmax_rows(x: Tensor) -> Tensor:
    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            return y * (dy - sum(dy * y, 1, keepdim=True))
        return Tensor(kernel.softmax_grad(elementwise.contiguous(dy.array), y.array))

    return record(kernel.softmax(elementwise.contiguous(x.array)), (x, gradient))


def _log_softmax_rows(x: Tensor) -> Tensor:
    def gradient(dy: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            return dy - exp(y) * sum(dy, 1, keepdim=True)
        return Tensor(kernel.log_softmax_grad(elementwise.contiguous(dy.array), y.array))

    return record(kernel.log_softmax(elementwise.contiguous(x.array)), (x, gradient))
