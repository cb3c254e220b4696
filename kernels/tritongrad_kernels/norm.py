"""Batch normalisation over [rows, channels]: images as stored channels-last, or plain matrices.

A ReLU and the addition of a residual are folded into the apply pass and its gradient.
Statistics are two-stage: each chunk of rows takes its mean and squared deviations, which loses nothing however far the
mean is from zero; a second launch merges chunks in order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, reduce
from tritongrad_kernels.array import Array, empty, empty_like, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile


@triton.jit
def _tile(M, C, BM: tl.constexpr, BC: tl.constexpr):
    """Rows and channels of this program's tile of an [M, C] matrix, and which channels there are.

    Channels are masked and not clamped: a clamp hides from the compiler that neighbours are neighbours in memory, and
    it would load them one by one.
    """
    blocks = tl.cdiv(C, BC)
    pid = tl.program_id(0).to(tl.int64)
    c = (pid % blocks) * BC + tl.arange(0, BC)
    return pid // blocks, c, c < C


@triton.jit
def _load(X, place, mask, ACC: tl.constexpr):
    return tl.load(X + place, mask=mask, other=0.0).to(ACC)


@triton.jit
def _moments(
    X, MOMENTS, M: tl.int64, C: tl.int64, chunk, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr
):  # fmt: skip
    """moments[z, 0, c] = mean of x over the rows of chunk z, moments[z, 1, c] = their summed squared deviations.

    Shapes  x [M, C], moments [chunks, 2, C]. Grid one program per chunk and BC channels.
    Bytes   read x once.
    Source  Welford 1962 in each lane, on data shifted by the chunk's first row: neither a mean far from zero nor an
            outlier costs digits; lanes are merged as Chan, Golub and LeVeque 1983.
    """
    z, c, c_in = _tile(M, C, BM, BC)
    start, end = z * chunk, tl.minimum(z * chunk + chunk, M)
    shift = tl.load(X + start * C + c, mask=c_in, other=0.0).to(ACC)
    mean = tl.zeros((BM, BC), ACC)
    squares = tl.zeros((BM, BC), ACC)
    for first in range(start, end, BM):
        m = first + tl.arange(0, BM)
        inside = m < end
        place = tl.where(inside, m, start)[:, None] * C + c[None, :]
        x = _load(X, place, inside[:, None] & c_in[None, :], ACC)
        d = tl.where(inside[:, None], x - shift[None, :] - mean, 0.0)
        step = d * (1.0 / ((m[:, None] - start) // BM + 1).to(ACC))
        mean += step
        squares += d * (d - step)
    rows = ((end - start - tl.arange(0, BM) + BM - 1) // BM).to(ACC)
    centre = tl.sum(rows[:, None] * mean, 0) / (end - start).to(ACC)
    d = mean - centre[None, :]
    tl.store(MOMENTS + z * 2 * C + c, shift + centre, mask=c_in)
    tl.store(MOMENTS + (z * 2 + 1) * C + c, tl.sum(squares + rows[:, None] * d * d, 0), mask=c_in)


@triton.jit
def _statistics(
    MOMENTS, MEAN, RSTD, RUNNING_MEAN, RUNNING_VAR, M: tl.int64, C: tl.int64, chunk, eps: tl.float64,
    momentum: tl.float64, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Merge the chunks of `_moments` in order into mean [C] and rstd = 1 / sqrt(var + eps) [C], and move the running
    statistics (unless None) by `momentum` towards the mean and the unbiased variance.

    Grid one program per BC channels. Source: the parallel update of Chan, Golub and LeVeque 1983.
    """
    _, c, c_in = _tile(M, C, BM, BC)
    chunks = tl.cdiv(M, chunk)
    total = tl.zeros((BM, BC), ACC)
    for first in range(0, chunks, BM):
        z = first + tl.arange(0, BM).to(tl.int64)
        rows = tl.where(z < chunks, tl.minimum(M - z * chunk, chunk), 0).to(ACC)
        place, mask = z[:, None] * 2 * C + c[None, :], (z < chunks)[:, None] & c_in[None, :]
        total += rows[:, None] * tl.load(MOMENTS + place, mask=mask, other=0.0)
    mean = tl.sum(total, 0) / M
    total = tl.zeros((BM, BC), ACC)
    for first in range(0, chunks, BM):
        z = first + tl.arange(0, BM).to(tl.int64)
        rows = tl.where(z < chunks, tl.minimum(M - z * chunk, chunk), 0).to(ACC)
        place, mask = z[:, None] * 2 * C + c[None, :], (z < chunks)[:, None] & c_in[None, :]
        d = tl.load(MOMENTS + place, mask=mask, other=0.0) - mean[None, :]
        total += tl.load(MOMENTS + place + C, mask=mask, other=0.0) + rows[:, None] * d * d
    squares = tl.maximum(tl.sum(total, 0), 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(MEAN + c, mean, mask=c_in)
    tl.store(RSTD + c, 1.0 / tl.sqrt(squares / M + eps.to(ACC)), mask=c_in)
    if RUNNING_MEAN is not None:
        momentum = momentum.to(ACC)
        old = tl.load(RUNNING_MEAN + c, mask=c_in, other=0.0).to(ACC)
        new = (1.0 - momentum) * old + momentum * mean
        tl.store(RUNNING_MEAN + c, new.to(RUNNING_MEAN.dtype.element_ty), mask=c_in)
        old = tl.load(RUNNING_VAR + c, mask=c_in, other=0.0).to(ACC)
        new = (1.0 - momentum) * old + momentum * (squares / tl.maximum(M - 1, 1))
        tl.store(RUNNING_VAR + c, new.to(RUNNING_VAR.dtype.element_ty), mask=c_in)


@triton.jit
def _normalize(
    X, MEAN, RSTD, WEIGHT, BIAS, RESIDUAL, Y, M: tl.int64, C: tl.int64,
    RELU: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) rstd weight + bias + residual, negative values set to 0 if RELU; None drops a term.

    Shapes  x, residual, y [M, C]; the others [C]. Grid one program per BM x BC tile.
    Bytes   read x and residual once, write y once.
    Source  Ioffe and Szegedy 2015, algorithm 1.
    """
    block, c, c_in = _tile(M, C, BM, BC)
    m = block * BM + tl.arange(0, BM)
    mask = (m < M)[:, None] & c_in[None, :]
    place = m[:, None] * C + c[None, :]
    scale = _load(RSTD, c, c_in, ACC)
    if WEIGHT is not None:
        scale *= _load(WEIGHT, c, c_in, ACC)
    y = (_load(X, place, mask, ACC) - _load(MEAN, c, c_in, ACC)[None, :]) * scale[None, :]
    if BIAS is not None:
        y += _load(BIAS, c, c_in, ACC)[None, :]
    if RESIDUAL is not None:
        y += _load(RESIDUAL, place, mask, ACC)
    if RELU:
        y = tl.where(y < 0, 0.0, y)
    tl.store(Y + place, y.to(Y.dtype.element_ty), mask=mask)


@triton.jit
def _load_grad(DY, Y, place, mask, ACC: tl.constexpr):
    """dy, where a ReLU made y (unless None) zero set to zero."""
    dy = _load(DY, place, mask, ACC)
    if Y is not None:
        dy = tl.where(_load(Y, place, mask, ACC) <= 0, 0.0, dy)
    return dy


@triton.jit
def _grad_sums(
    DY, Y, X, MEAN, RSTD, SUMS, M: tl.int64, C: tl.int64, chunk,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """sums[z, 0, c] = sum over chunk z of g, sums[z, 1, c] = sum of g (x - mean) rstd, g = dy through the ReLU.

    Over all chunks these are the gradients of bias and weight. Grid one program per chunk and BC channels.
    Bytes   read dy, x, and y if there is a ReLU, once.
    """
    z, c, c_in = _tile(M, C, BM, BC)
    start, end = z * chunk, tl.minimum(z * chunk + chunk, M)
    mean, rstd = _load(MEAN, c, c_in, ACC), _load(RSTD, c, c_in, ACC)
    plain = tl.zeros((BM, BC), ACC)
    product = tl.zeros((BM, BC), ACC)
    for first in range(start, end, BM):
        m = first + tl.arange(0, BM)
        mask = (m < end)[:, None] & c_in[None, :]
        place = tl.where(m < end, m, start)[:, None] * C + c[None, :]
        g = _load_grad(DY, Y, place, mask, ACC)
        plain += g
        product += g * (_load(X, place, mask, ACC) - mean[None, :])
    tl.store(SUMS + z * 2 * C + c, tl.sum(plain, 0), mask=c_in)
    tl.store(SUMS + (z * 2 + 1) * C + c, tl.sum(product, 0) * rstd, mask=c_in)


@triton.jit
def _input_grad(
    DY, Y, X, MEAN, RSTD, WEIGHT, SUMS, DX, DRESIDUAL, M: tl.int64, C: tl.int64,
    ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """dx = weight rstd (g - sums[0] / M - (x - mean) rstd sums[1] / M), dresidual = g, g = dy through the ReLU.

    SUMS [2, C] is None where mean and rstd did not depend on x: dx = weight rstd g.
    Grid one program per BM x BC tile. Bytes: read dy, x, and y if there is a ReLU, write dx and dresidual, each once.
    Source  Ioffe and Szegedy 2015, section 3.
    """
    block, c, c_in = _tile(M, C, BM, BC)
    m = block * BM + tl.arange(0, BM)
    mask = (m < M)[:, None] & c_in[None, :]
    place = m[:, None] * C + c[None, :]
    g = _load_grad(DY, Y, place, mask, ACC)
    rstd = _load(RSTD, c, c_in, ACC)
    scale = rstd
    if WEIGHT is not None:
        scale = rstd * _load(WEIGHT, c, c_in, ACC)
    dx = g
    if SUMS is not None:
        slope = rstd * _load(SUMS, C + c, c_in, ACC) / M
        d = _load(X, place, mask, ACC) - _load(MEAN, c, c_in, ACC)[None, :]
        dx = g - (_load(SUMS, c, c_in, ACC) / M)[None, :] - d * slope[None, :]
    tl.store(DX + place, (dx * scale[None, :]).to(DX.dtype.element_ty), mask=mask)
    if DRESIDUAL is not None:
        tl.store(DRESIDUAL + place, g.to(DRESIDUAL.dtype.element_ty), mask=mask)


def statistics(
    x: Array, running_mean: Array | None, running_var: Array | None, momentum: float, eps: float
) -> tuple[Array, Array]:
    """Mean and 1/sqrt(biased variance + eps) of each column of x [M, C], M > 0; moves running statistics in place."""
    (m, c), acc = x.shape, dtypes.accumulator(x.dtype)
    config = tile("norm", BM=m, BC=c)
    chunk = config.pop("CHUNK")
    chunks = cdiv(m, chunk)
    moments = empty((chunks, 2, c), acc, x.device)
    blocks = cdiv(c, config["BC"])
    launch(_moments, chunks * blocks, x, moments, m, c, chunk, TRITON_TYPE[acc], bytes=footprint(x, moments), **config)
    mean, rstd = empty((c,), acc, x.device), empty((c,), acc, x.device)
    config.update(BM=min(config["BM"], tile("norm", BM=chunks)["BM"]))
    launch(
        _statistics, blocks, moments, mean, rstd, running_mean, running_var, m, c, chunk, eps, momentum,
        TRITON_TYPE[acc], bytes=footprint(moments, mean, rstd) + 2 * footprint(running_mean, running_var), **config,
    )  # fmt: skip
    return mean, rstd


def normalize(
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    bias: Array | None,
    residual: Array | None,
    relu: bool,
) -> Array:
    """(x - mean) rstd weight + bias + residual over the rows of x [M, C], through a ReLU where wanted."""
    (m, c), y = x.shape, empty_like(x)
    config = tile("norm", BM=m, BC=c)
    del config["CHUNK"]
    acc = TRITON_TYPE[dtypes.accumulator(x.dtype)]
    nbytes = footprint(x, mean, rstd, weight, bias, residual, y)
    grid = cdiv(m, config["BM"]) * cdiv(c, config["BC"])
    launch(_normalize, grid, x, mean, rstd, weight, bias, residual, y, m, c, relu, acc, bytes=nbytes, **config)
    return y


def grad_sums(dy: Array, y: Array | None, x: Array, mean: Array, rstd: Array) -> Array:
    """[2, C]: the gradients of bias and weight. `y` is the output of a folded ReLU, or None without one."""
    (m, c), acc = x.shape, dtypes.accumulator(x.dtype)
    config = tile("norm", BM=m, BC=c)
    chunk = config.pop("CHUNK")
    sums = empty((cdiv(m, chunk), 2, c), acc, x.device)
    nbytes = footprint(dy, y, x, mean, rstd, sums)
    grid = cdiv(m, chunk) * cdiv(c, config["BC"])
    launch(_grad_sums, grid, dy, y, x, mean, rstd, sums, m, c, chunk, TRITON_TYPE[acc], bytes=nbytes, **config)
    return reduce.sum(sums, (0,)) if sums.shape[0] > 1 else sums.squeeze(0)


def input_grad(
    dy: Array,
    y: Array | None,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    sums: Array | None,
    want_residual: bool,
) -> tuple[Array, Array | None]:
    """The gradients of x and, if wanted, of the residual. `sums` is None where statistics were given, not taken."""
    m, c = x.shape
    dx = empty_like(x)
    dresidual = empty_like(x) if want_residual else None
    config = tile("norm", BM=m, BC=c)
    del config["CHUNK"]
    acc = TRITON_TYPE[dtypes.accumulator(x.dtype)]
    # Without `sums` neither x nor its mean matters.
    nbytes = footprint(dy, y, rstd, weight, sums, dx, dresidual, *((x, mean) if sums is not None else ()))
    grid = cdiv(m, config["BM"]) * cdiv(c, config["BC"])
    launch(_input_grad, grid, dy, y, x, mean, rstd, weight, sums, dx, dresidual, m, c, acc, bytes=nbytes, **config)
    return dx, dresidual
