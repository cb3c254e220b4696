"""Sums with products in place: `x.addmm_(a, b)` is beta x + alpha a b, written over x."""

from __future__ import annotations

from typing import Any

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.linalg import addbmm, addmm, addmv, addr, baddbmm
from tritongrad.ops.older_forms import factors_between
from tritongrad.tensor import Tensor, record_inplace
from tritongrad_kernels import elementwise


def _summed_in_place(name: str, function: Any, x: Tensor, a: Tensor, b: Tensor, beta: Any, alpha: Any) -> Tensor:
    recorded = is_grad_enabled() and any(t.requires_grad for t in (x, a, b))
    y = function(x.clone() if recorded else x, a, b, beta=beta, alpha=alpha)
    if y.shape != x.shape:
        raise RuntimeError(
            f"{name}: the result of shape {list(y.shape)} does not fit the tensor of shape {list(x.shape)}"
        )
    return record_inplace(x, lambda: elementwise.copy_into(y.array, x.array), (y, lambda dy: dy))


@factors_between
def addmm_(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`addmm` in place."""
    return _summed_in_place("addmm_", addmm, input, mat1, mat2, beta, alpha)


def addmv_(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`addmv` in place."""
    return _summed_in_place("addmv_", addmv, input, mat, vec, beta, alpha)


def addr_(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`addr` in place."""
    return _summed_in_place("addr_", addr, input, vec1, vec2, beta, alpha)


def baddbmm_(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`baddbmm` in place."""
    return _summed_in_place("baddbmm_", baddbmm, input, batch1, batch2, beta, alpha)


def addbmm_(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`addbmm` in place."""
    return _summed_in_place("addbmm_", addbmm, input, batch1, batch2, beta, alpha)
