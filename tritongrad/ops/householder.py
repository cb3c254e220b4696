"""Products of reflections, as QR decompositions keep them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tritongrad.ops.equations import solve_triangular
from tritongrad.ops.host_matrices import (
    diagonal_matrices,
    from_values,
    host,
    lower_part,
    require_matrices,
    turned,
    upper_part,
)
from tritongrad.ops.linalg import described, matmul
from tritongrad.ops.operands import into
from tritongrad.ops.placement import into_each
from tritongrad.ops.ranges import eye
from tritongrad.tensor import Tensor


class GeQRF(NamedTuple):
    a: Tensor
    tau: Tensor


def geqrf(input: Tensor, *, out: Sequence[Tensor] | None = None) -> GeQRF:
    """R on and above the diagonal and, below it, the vectors of the reflections whose product is Q; and their factors.

    Found on the host by LAPACK's routine of this name. It has no gradient, as in torch.
    """
    require_matrices("geqrf", input)
    batch, (m, n) = input.shape[:-2], input.shape[-2:]
    flat = host(input).reshape(math.prod(batch), m, n)
    a, tau = np.empty(flat.shape), np.empty((len(flat), min(m, n)))
    for i, matrix in enumerate(flat):
        raw, tau[i] = np.linalg.qr(matrix, mode="raw")
        a[i] = raw.T
    shaped = a.reshape(input.shape), tau.reshape(*batch, min(m, n))
    return into_each(out, "geqrf", GeQRF(*(Tensor(from_values(v, input)) for v in shaped)))


def householder_product(input: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The first K columns of H_0 H_1 ... of reflections H_i = I - tau_i v_i v_i^T, v_i below the diagonal of column i.

    input [..., M, K], of which what is on and above the diagonal is not read; v_i has a one on it. tau [..., k] with
    k <= K <= M; there are k reflections.

    All at once, as I - V T V^T with T = (I + diag(tau) triu(V^T V, 1))^-1 diag(tau): Joffrain et al. 2006.
    """
    require_matrices("linalg.householder_product", input)
    m, n = input.shape[-2:]
    if not (m >= n >= tau.shape[-1] if tau.ndim else False) or tau.shape[:-1] != input.shape[:-2]:
        raise RuntimeError(f"linalg.householder_product: {described(input, tau)} do not go together")
    if tau.dtype is not input.dtype or tau.device != input.device:
        raise RuntimeError(f"linalg.householder_product: expected one dtype and device, got {described(input, tau)}")
    k = tau.shape[-1]
    unit = eye(m, n, dtype=input.dtype, device=input.device)
    v = lower_part(input[..., :k], -1) + unit[:, :k]
    scale = diagonal_matrices(tau)
    inner = matmul(scale, upper_part(matmul(turned(v), v), 1))
    small = solve_triangular(inner, scale, upper=True, unitriangular=True)
    return into(out, "householder_product", unit - matmul(v, matmul(small, turned(v)[..., :n])))


def orgqr(input: Tensor, input2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """As `householder_product`."""
    return householder_product(input, input2, out=out)
