"""Softmax cross-entropy in one pass over the logits; probabilities are never stored.

With q the weighted target distribution of a row and p its softmax: loss = -sum_c q_c log p_c, and its gradient for
the logits is p sum_c q_c - q. Class indices and probability targets differ only in how q is had.

The mean over rows of class indices is one more launch, and none in the gradient, which divides for itself. Classes
that do not exist are noted on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, empty_like, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.softmax import _max_and_sum, _rows
from tritongrad_kernels.walk import _divisible, known_divisor


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
    X, TARGET, WEIGHT, LOSS, LARGEST, TOTAL, KEPT, WRONG, M, N: tl.int64, ignore, smoothing: tl.float64,
    target: tl.constexpr, ACC: tl.constexpr, BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """loss[m] = sum_c q_c (log total - (x_c - largest)), largest = max x, total = sum exp(x - largest) over row m.

    For class indices, also the weight of the row's class (kept, 0 if it is ignored), unless that is None, and whether
    there is no such class (wrong).
    Shapes  x [M, N]; loss, largest, total, kept, wrong [M]. BY divides N. Grid one program per BM rows.
    Bytes   read x once (twice where a row exceeds BN: the second read hits L2).
    """
    smoothing = smoothing.to(ACC)
    N = _divisible(N, BY)
    row, inside = _rows(M, BM)
    largest, total = _max_and_sum(X, row, N, ACC, BM, BN)
    loss = tl.zeros((BM,), ACC)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        q = target(TARGET, WEIGHT, row, n, n < N, N, ignore, smoothing, ACC)
        x = tl.load(X + row[:, None] * N + n[None, :], mask=(n < N)[None, :], other=0.0).to(ACC)
        surprise = tl.log(total)[:, None] - (x - largest[:, None])
        loss += tl.sum(tl.where(q != 0.0, q * surprise, 0.0), 1)  # a class of weight 0 costs nothing, even at -inf
    tl.store(LOSS + row, loss.to(LOSS.dtype.element_ty), mask=inside)
    tl.store(LARGEST + row, largest, mask=inside)
    tl.store(TOTAL + row, total, mask=inside)
    if WRONG is not None:
        t = tl.load(TARGET + row)
        exists = (t >= 0) & (t < N)
        tl.store(WRONG + row, ((t != ignore) & (exists == 0)).to(tl.int8), mask=inside)
        if KEPT is not None:
            kept = (t != ignore) & exists
            if WEIGHT is None:
                tl.store(KEPT + row, kept.to(ACC), mask=inside)
            else:
                tl.store(KEPT + row, tl.load(WEIGHT + t, mask=kept, other=0.0).to(ACC), mask=inside)


@triton.jit
def _mean_of_rows(
    LOSS, KEPT, WRONG, MEAN, TOTAL, COUNT, M, DIVIDE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    """The sums of losses, weights and wrong classes over BLOCK rows; with DIVIDE, the first over the second.

    Shapes  loss, kept, wrong [M]; mean, total, count [programs]. Grid one program per BLOCK rows.
    Bytes   read and write them all.
    """
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    loss = tl.sum(tl.load(LOSS + m, mask=m < M, other=0.0).to(ACC), 0)
    total = tl.sum(tl.load(KEPT + m, mask=m < M, other=0.0), 0)
    count = tl.sum(tl.load(WRONG + m, mask=m < M, other=0).to(tl.int32), 0)
    if DIVIDE:
        loss = loss / total
    tl.store(MEAN + tl.program_id(0), loss.to(MEAN.dtype.element_ty))
    tl.store(TOTAL + tl.program_id(0), total)
    tl.store(COUNT + tl.program_id(0), count)


@triton.jit
def _cross_entropy_grad(
    DLOSS, DIVISOR, X, TARGET, WEIGHT, LARGEST, TOTAL, DX, step, M, N: tl.int64, ignore, smoothing: tl.float64,
    target: tl.constexpr, ACC: tl.constexpr, BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dx = dloss (exp(x - largest) / total sum_c q_c - q), dloss divided by `divisor` unless that is None.

    Shapes  as `_cross_entropy`; dloss [M] at every `step`, 0 where all rows have the same; divisor one number.
    Grid    one program per BM rows.
    Bytes   read x, write dx.
    """
    smoothing = smoothing.to(ACC)
    N = _divisible(N, BY)
    row, inside = _rows(M, BM)
    dloss = tl.load(DLOSS + row * step).to(ACC)
    if DIVISOR is not None:
        dloss = dloss / tl.load(DIVISOR)
    largest, total = tl.load(LARGEST + row), tl.load(TOTAL + row)
    mass = tl.zeros((BM,), ACC)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        mass += tl.sum(target(TARGET, WEIGHT, row, n, n < N, N, ignore, smoothing, ACC), 1)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        n_in = (n < N)[None, :]
        q = target(TARGET, WEIGHT, row, n, n < N, N, ignore, smoothing, ACC)
        place = row[:, None] * N + n[None, :]
        x = tl.load(X + place, mask=n_in, other=0.0).to(ACC)
        p = tl.exp(x - largest[:, None]) / total[:, None]
        # An ignored row gets exact zeros, whatever its logits are.
        dx = tl.where((mass != 0)[:, None], (p * mass[:, None] - q) * dloss[:, None], 0.0)
        tl.store(DX + place, dx.to(DX.dtype.element_ty), mask=inside[:, None] & n_in)


@dataclass(frozen=True)
class RowLosses:
    """What `cross_entropy` leaves: the loss of each row, and what its gradient needs, its maxima and sums.

    For class indices: which rows name a class that does not exist and, where the mean is wanted, the weights of all.
    """

    loss: Array
    largest: Array
    total: Array
    kept: Array | None
    wrong: Array | None


def cross_entropy(
    x: Array, target: Array, weight: Array | None, ignore: int, smoothing: float, mean: bool = False
) -> RowLosses:
    """Loss of each row of contiguous logits x [M, N], in their accumulator where it is on the way to a `mean`.

    `target` holds int64 classes [M] (those equal to `ignore` cost nothing) or probabilities [M, N].
    """
    m, n = x.shape
    acc = dtypes.accumulator(x.dtype)
    classes = target.ndim == 1
    found = RowLosses(
        empty((m,), acc if mean else x.dtype, x.device),
        empty((m,), acc, x.device),
        empty((m,), acc, x.device),
        empty((m,), acc, x.device) if mean else None,
        empty((m,), dtypes.int8, x.device) if classes else None,
    )
    config = tile("softmax", BM=m, BN=n)
    nbytes = footprint(x, target, weight, found.loss, found.largest, found.total, found.kept, found.wrong)
    launch(
        _cross_entropy, cdiv(m, config["BM"]), x, target, weight, found.loss, found.largest, found.total, found.kept,
        found.wrong, m, n, ignore, smoothing, _target(target), TRITON_TYPE[acc], known_divisor(n), bytes=nbytes,
        **config,
    )  # fmt: skip
    return found


def mean_of_rows(losses: RowLosses, dtype: dtypes.dtype) -> tuple[Array, Array, Array]:
    """The sum of the losses over that of their weights, in `dtype`; that of the weights; how many classes are wrong."""
    loss, total, count = losses.loss, losses.kept, losses.wrong
    assert total is not None and count is not None
    while True:
        m, acc = loss.size, total.dtype
        config = tile("mean_of_rows", BLOCK=m)
        parts = max(cdiv(m, config["BLOCK"]), 1)
        shape = () if parts == 1 else (parts,)
        given = (loss, total, count)
        loss = empty(shape, dtype if parts == 1 else acc, loss.device)
        total, count = empty(shape, acc, loss.device), empty(shape, dtypes.int32, loss.device)
        launch(
            _mean_of_rows, parts, *given, loss, total, count, m, parts == 1, TRITON_TYPE[acc],
            bytes=footprint(*given, loss, total, count), **config,
        )  # fmt: skip
        if parts == 1:
            return loss, total, count


def cross_entropy_grad(
    dloss: Array,
    divisor: Array | None,
    x: Array,
    target: Array,
    weight: Array | None,
    losses: RowLosses,
    ignore: int,
    smoothing: float,
) -> Array:
    """The gradient of `cross_entropy` for its logits, given that of each row's loss [M], at any stride, or of their
    mean: one number, `divisor` being the weights it divided by."""
    (m, n), dx = x.shape, empty_like(x)
    acc = TRITON_TYPE[dtypes.accumulator(x.dtype)]
    step = dloss.strides[0] if dloss.ndim else 0
    config = tile("softmax", BM=m, BN=n)
    launch(
        _cross_entropy_grad, cdiv(m, config["BM"]), dloss, divisor, x, target, weight, losses.largest, losses.total, dx,
        step, m, n, ignore, smoothing, _target(target), acc, known_divisor(n),
        bytes=footprint(dloss, divisor, x, target, weight, losses.largest, losses.total, dx), **config,
    )  # fmt: skip
    return dx


def _target(target: Array) -> triton.JITFunction:
    return _from_classes if target.ndim == 1 else _from_probabilities
