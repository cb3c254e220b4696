"""Softmax cross-entropy in one pass over the logits; probabilities are never stored.

With q the weighted target distribution of a row and p its softmax: loss = -sum_c q_c log p_c, and its gradient for
the logits is p sum_c q_c - q. Class indices and probability targets differ only in how q is had.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, empty_like, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.softmax import _max_and_sum, _rows


@triton.jit
def _class_weight(WEIGHT, n, n_in, ACC: tl.constexpr):
    if WEIGHT is None:
        return n_in.to(ACC)
    else:
        return tl.load(WEIGHT + n, mask=n_in, other=0.0).to(ACC)


@triton.jit
def _from_classes(TARGET, WEIGHT, row, n, n_in, N, ignore, smoothing, ACC: tl.constexpr):
    """q for class indices t: weight[t] (1 - smoothing) at t, plus weight smoothing / N everywhere; 0 if ignored."""
    t = tl.load(TARGET + row)
    weight = _class_weight(WEIGHT, n, n_in, ACC)
    hit = (t[:, None] == n[None, :]) & n_in[None, :]
    q = tl.where(hit, weight[None, :], 0.0) * (1.0 - smoothing) + weight[None, :] * (smoothing / N)
    return tl.where((t == ignore)[:, None], 0.0, q)


@triton.jit
def _from_probabilities(TARGET, WEIGHT, row, n, n_in, N, ignore, smoothing, ACC: tl.constexpr):
    """q for probabilities t [M, N]: weight (t (1 - smoothing) + smoothing / N)."""
    t = tl.load(TARGET + row[:, None] * N + n[None, :], mask=n_in[None, :], other=0.0).to(ACC)
    return _class_weight(WEIGHT, n, n_in, ACC)[None, :] * (t * (1.0 - smoothing) + smoothing / N)


@triton.jit
def _cross_entropy(
    X, TARGET, WEIGHT, LOSS, LARGEST, TOTAL, M, N: tl.int64, ignore, smoothing: tl.float64,
    target: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """loss[m] = sum_c q_c (log total - (x_c - largest)), largest = max x, total = sum exp(x - largest) over row m.

    Shapes  x [M, N]; loss, largest, total [M]. Grid one program per BM rows.
    Bytes   read x once (twice where a row exceeds BN: the second read hits L2).
    """
    smoothing = smoothing.to(ACC)
    row, inside = _rows(M, BM)
    largest, total = _max_and_sum(X, row, N, ACC, BM, BN)
    loss = tl.zeros((BM,), ACC)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        n_in = n < N
        n = tl.where(n_in, n, 0)
        q = target(TARGET, WEIGHT, row, n, n_in, N, ignore, smoothing, ACC)
        x = tl.load(X + row[:, None] * N + n[None, :]).to(ACC)
        surprise = tl.log(total)[:, None] - (x - largest[:, None])
        loss += tl.sum(tl.where(q != 0.0, q * surprise, 0.0), 1)  # a class of weight 0 costs nothing, even at -inf
    tl.store(LOSS + row, loss.to(LOSS.dtype.element_ty), mask=inside)
    tl.store(LARGEST + row, largest, mask=inside)
    tl.store(TOTAL + row, total, mask=inside)


@triton.jit
def _cross_entropy_grad(
    DLOSS, X, TARGET, WEIGHT, LARGEST, TOTAL, DX, M, N: tl.int64, ignore, smoothing: tl.float64,
    target: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dx = dloss (exp(x - largest) / total sum_c q_c - q). Grid one program per BM rows. Bytes: read x, write dx."""
    smoothing = smoothing.to(ACC)
    row, inside = _rows(M, BM)
    dloss = tl.load(DLOSS + row).to(ACC)
    largest, total = tl.load(LARGEST + row), tl.load(TOTAL + row)
    mass = tl.zeros((BM,), ACC)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        mass += tl.sum(target(TARGET, WEIGHT, row, tl.where(n < N, n, 0), n < N, N, ignore, smoothing, ACC), 1)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        n_in = n < N
        n = tl.where(n_in, n, 0)
        q = target(TARGET, WEIGHT, row, n, n_in, N, ignore, smoothing, ACC)
        place = row[:, None] * N + n[None, :]
        p = tl.exp(tl.load(X + place).to(ACC) - largest[:, None]) / total[:, None]
        # An ignored row gets exact zeros, whatever its logits are.
        dx = tl.where((mass != 0)[:, None], (p * mass[:, None] - q) * dloss[:, None], 0.0)
        tl.store(DX + place, dx.to(DX.dtype.element_ty), mask=inside[:, None] & n_in[None, :])


def cross_entropy(
    x: Array, target: Array, weight: Array | None, ignore: int, smoothing: float
) -> tuple[Array, Array, Array]:
    """Loss of each row of contiguous logits x [M, N], and the row maxima and sums its gradient needs.

    `target` holds int64 classes [M] (those equal to `ignore` cost nothing) or probabilities [M, N].
    """
    m, n = x.shape
    acc = dtypes.accumulator(x.dtype)
    loss = empty((m,), x.dtype, x.device)
    largest, total = empty((m,), acc, x.device), empty((m,), acc, x.device)
    config = tile("softmax", BM=m, BN=n)
    launch(
        _cross_entropy, cdiv(m, config["BM"]), x, target, weight, loss, largest, total, m, n, ignore, smoothing,
        _target(target), TRITON_TYPE[acc], bytes=footprint(x, target, weight, loss, largest, total), **config,
    )  # fmt: skip
    return loss, largest, total


def cross_entropy_grad(
    dloss: Array,
    x: Array,
    target: Array,
    weight: Array | None,
    largest: Array,
    total: Array,
    ignore: int,
    smoothing: float,
) -> Array:
    """The gradient of `cross_entropy` for its logits, given that of each row's loss [M]."""
    (m, n), dx = x.shape, empty_like(x)
    config = tile("softmax", BM=m, BN=n)
    launch(
        _cross_entropy_grad, cdiv(m, config["BM"]), dloss, x, target, weight, largest, total, dx, m, n, ignore,
        smoothing, _target(target), TRITON_TYPE[dtypes.accumulator(x.dtype)],
        bytes=footprint(dloss, x, target, weight, largest, total, dx), **config,
    )  # fmt: skip
    return dx


def _target(target: Array) -> triton.JITFunction:
    return _from_classes if target.ndim == 1 else _from_probabilities
