"""Normalisation of rows: of a matrix (layer norm, RMS norm), or of groups of channels (group norm, instance norm).

A row is element `col` of row `row` of an [M, N] matrix, found by LAYOUT:

    "rows"   [M, N]; a column has its own weight
    "first"  images [M / G, G, N / S, S] in this order: a row is a group of N / S channels of S pixels
    "last"   images [M / G, S, G, N / S] in this order: channels last, read in place

Weights of images are per channel, G * (N / S) in all. Rows are independent and of any length; a program takes BM of
them and walks along them BN columns at a time, once for the moments and once more, from the cache, to write.
"""

from __future__ import annotations

from typing import Literal

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, reduce
from tritongrad_kernels.array import Array, empty, empty_like, footprint
from tritongrad_kernels.channels import _stride, _tile, walk
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile

Layout = Literal["rows", "first", "last"]


@triton.jit
def _place(row, col, N, G, S, LAYOUT: tl.constexpr):
    """Where elements [row, col] lie."""
    if LAYOUT == "last":
        channels = N // S
        start = (row // G) * (G * N) + (row % G) * channels
        return start[:, None] + ((col // channels) * (channels * G) + col % channels)[None, :]
    return row[:, None] * N + col[None, :]


@triton.jit
def _scale(W, row, col, M, N, G, S, LAYOUT: tl.constexpr, ACC: tl.constexpr):
    """The weights, or biases, of elements [row, col]."""
    if LAYOUT == "rows":
        return tl.load(W + col, mask=col < N, other=0.0).to(ACC)[None, :]
    channels = N // S
    channel = (row % G)[:, None] * channels
    if LAYOUT == "first":
        channel += (col // S)[None, :]
    else:
        channel += (col % channels)[None, :]
    return tl.load(W + channel, mask=(row < M)[:, None] & (col < N)[None, :], other=0.0).to(ACC)


@triton.jit
def _write(
    X, WEIGHT, BIAS, Y, row, mean, rstd, M, N, G, S,
    LAYOUT: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) rstd weight + bias; None drops a factor or term."""
    for first in range(0, N, BN):
        col = first + tl.arange(0, BN)
        mask = (row < M)[:, None] & (col < N)[None, :]
        place = _place(row, col, N, G, S, LAYOUT)
        y = (tl.load(X + place, mask=mask, other=0.0).to(ACC) - mean[:, None]) * rstd[:, None]
        if WEIGHT is not None:
            y *= _scale(WEIGHT, row, col, M, N, G, S, LAYOUT, ACC)
        if BIAS is not None:
            y += _scale(BIAS, row, col, M, N, G, S, LAYOUT, ACC)
        tl.store(Y + place, y.to(Y.dtype.element_ty), mask=mask)


@triton.jit
def _layer_norm(
    X, WEIGHT, BIAS, Y, MEAN, RSTD, VAR, M, N: tl.int64, G: tl.int64, S: tl.int64, eps: tl.float64,
    LAYOUT: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) rstd weight + bias of each row, rstd = 1 / sqrt(var + eps), var the biased variance.

    Shapes  x, y [M, N] in LAYOUT; mean, rstd, var (None if nobody wants it) [M]. Grid one program per BM rows.
    Bytes   read x once (the second time it is in a cache), weight and bias, write y, mean, rstd and var.
    Source  Ba et al. 2016; Wu and He 2018; Ulyanov et al. 2016. Moments: Welford 1962 in each lane on data shifted by
            the row's first element, so that a mean far from zero costs nothing; lanes merged as Chan et al. 1983.
    """
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    lane = tl.arange(0, BN)
    origin = _place(row, tl.zeros((1,), tl.int64), N, G, S, LAYOUT)
    shift = tl.load(X + origin, mask=(row < M)[:, None], other=0.0).to(ACC)
    mean = tl.zeros((BM, BN), ACC)
    squares = tl.zeros((BM, BN), ACC)
    for first in range(0, N, BN):
        col = first + lane
        mask = (row < M)[:, None] & (col < N)[None, :]
        x = tl.load(X + _place(row, col, N, G, S, LAYOUT), mask=mask, other=0.0).to(ACC)
        d = tl.where(mask, x - shift - mean, 0.0)
        step = d * (1.0 / (col // BN + 1).to(ACC))[None, :]
        mean += step
        squares += d * (d - step)
    count = ((N - lane + BN - 1) // BN).to(ACC)
    centre = tl.sum(mean * count[None, :], 1) / N
    d = mean - centre[:, None]
    var = tl.sum(squares + count[None, :] * d * d, 1) / N
    centre += tl.reshape(shift, (BM,))
    rstd = 1.0 / tl.sqrt(var + eps.to(ACC))
    tl.store(MEAN + row, centre, mask=row < M)
    tl.store(RSTD + row, rstd, mask=row < M)
    if VAR is not None:
        tl.store(VAR + row, var, mask=row < M)
    _write(X, WEIGHT, BIAS, Y, row, centre, rstd, M, N, G, S, LAYOUT, ACC, BM, BN)


@triton.jit
def _rms_norm(
    X, WEIGHT, Y, RSTD, M, N: tl.int64, eps: tl.float64,
    ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """y = x rstd weight of each row of x [M, N], rstd = 1 / sqrt(mean of x^2 + eps).

    Grid one program per BM rows. Bytes: read x (once, then from a cache) and weight, write y and rstd.
    Source  Zhang and Sennrich 2019.
    """
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    squares = tl.zeros((BM, BN), ACC)
    for first in range(0, N, BN):
        col = first + tl.arange(0, BN)
        mask = (row < M)[:, None] & (col < N)[None, :]
        x = tl.load(X + row[:, None] * N + col[None, :], mask=mask, other=0.0).to(ACC)
        squares += x * x
    rstd = 1.0 / tl.sqrt(tl.sum(squares, 1) / N + eps.to(ACC))
    tl.store(RSTD + row, rstd, mask=row < M)
    _write(X, WEIGHT, None, Y, row, tl.zeros((BM,), ACC), rstd, M, N, 1, 1, "rows", ACC, BM, BN)


@triton.jit
def _row_grad(
    DY, X, WEIGHT, MEAN, RSTD, DX, M, N: tl.int64, G: tl.int64, S: tl.int64,
    LAYOUT: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dx = rstd (g - mean(g) - z mean(g z)) of each row, z = (x - mean) rstd, g = dy weight.

    MEAN is None for RMS norm, which subtracts none: dx = rstd (g - z mean(g z)).
    Grid one program per BM rows. Bytes: read dy and x (once, then from a cache), weight, mean, rstd, write dx.
    """
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    rstd = tl.load(RSTD + row, mask=row < M, other=0.0)
    mean = tl.zeros((BM,), ACC)
    if MEAN is not None:
        mean = tl.load(MEAN + row, mask=row < M, other=0.0)
    plain = tl.zeros((BM, BN), ACC)
    product = tl.zeros((BM, BN), ACC)
    for first in range(0, N, BN):
        col = first + tl.arange(0, BN)
        mask = (row < M)[:, None] & (col < N)[None, :]
        place = _place(row, col, N, G, S, LAYOUT)
        g = tl.load(DY + place, mask=mask, other=0.0).to(ACC)
        if WEIGHT is not None:
            g *= _scale(WEIGHT, row, col, M, N, G, S, LAYOUT, ACC)
        plain += g
        product += g * (tl.load(X + place, mask=mask, other=0.0).to(ACC) - mean[:, None])
    level = tl.zeros((BM,), ACC)
    if MEAN is not None:
        level = tl.sum(plain, 1) / N
    slope = tl.sum(product, 1) * rstd * rstd / N
    for first in range(0, N, BN):
        col = first + tl.arange(0, BN)
        mask = (row < M)[:, None] & (col < N)[None, :]
        place = _place(row, col, N, G, S, LAYOUT)
        g = tl.load(DY + place, mask=mask, other=0.0).to(ACC)
        if WEIGHT is not None:
            g *= _scale(WEIGHT, row, col, M, N, G, S, LAYOUT, ACC)
        d = tl.load(X + place, mask=mask, other=0.0).to(ACC) - mean[:, None]
        dx = (g - level[:, None] - d * slope[:, None]) * rstd[:, None]
        tl.store(DX + place, dx.to(DX.dtype.element_ty), mask=mask)


@triton.jit
def _column_sums(
    DY, X, MEAN, RSTD, SUMS, R: tl.int64, C: tl.int64, G: tl.int64, S: tl.int64,
    LAYOUT: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """sums[z, 0, c] = sum over run z of the rows of dy, sums[z, 1, c] = sum of dy (x - mean) rstd.

    Over all runs these are the gradients of bias and weight, for the layouts "rows" and "last".
    Shapes  dy, x [R, C]; mean and rstd [R] for "rows", [R / S, G] for "last" (None: mean 0); sums [runs, 2, C].
    Grid    one program per run and BC columns. Bytes: read dy and x once, mean and rstd, write sums.
    """
    z, c, c_in = _tile(R, C, BM, BC)
    plain = tl.zeros((BM, BC), ACC)
    product = tl.zeros((BM, BC), ACC)
    for first in tl.range(z * BM, R, _stride(C, BM, BC), num_stages=STAGES):
        m = first + tl.arange(0, BM)
        mask = (m < R)[:, None] & c_in[None, :]
        if LAYOUT == "rows":
            group, known = m[:, None], (m < R)[:, None]
        else:
            group, known = (m // S)[:, None] * G + (c // (C // G))[None, :], mask
        dy = tl.load(DY + m[:, None] * C + c[None, :], mask=mask, other=0.0).to(ACC)
        d = tl.load(X + m[:, None] * C + c[None, :], mask=mask, other=0.0).to(ACC)
        if MEAN is not None:
            d -= tl.load(MEAN + group, mask=known, other=0.0)
        plain += dy
        product += dy * (d * tl.load(RSTD + group, mask=known, other=0.0))
    tl.store(SUMS + z * 2 * C + c, tl.sum(plain, 0), mask=c_in)
    tl.store(SUMS + (z * 2 + 1) * C + c, tl.sum(product, 0), mask=c_in)


@triton.jit
def _channel_sums(
    DY, X, MEAN, RSTD, SUMS, R, S: tl.int64, channels: tl.int64,
    ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """sums[0, r] = sum over the pixels of one channel of one image of dy, sums[1, r] = sum of dy (x - mean) rstd.

    Summed over images, these are the gradients of bias and weight for the layout "first".
    Shapes  dy, x [R, S], R images x channels; mean, rstd [R / channels]; sums [2, R]. Grid one program per BM channels.
    """
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    group = row // channels
    mean = tl.load(MEAN + group, mask=row < R, other=0.0)
    rstd = tl.load(RSTD + group, mask=row < R, other=0.0)
    plain = tl.zeros((BM, BN), ACC)
    product = tl.zeros((BM, BN), ACC)
    for first in range(0, S, BN):
        col = first + tl.arange(0, BN)
        mask = (row < R)[:, None] & (col < S)[None, :]
        dy = tl.load(DY + row[:, None] * S + col[None, :], mask=mask, other=0.0).to(ACC)
        plain += dy
        x = tl.load(X + row[:, None] * S + col[None, :], mask=mask, other=0.0).to(ACC)
        product += dy * (x - mean[:, None])
    tl.store(SUMS + row, tl.sum(plain, 1), mask=row < R)
    tl.store(SUMS + R + row, tl.sum(product, 1) * rstd, mask=row < R)


def layer_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    m: int,
    n: int,
    *,
    layout: Layout = "rows",
    groups: int = 1,
    pixels: int = 1,
    want_var: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """y like x, and mean, 1/sqrt(biased variance + eps) and, if wanted, that variance of each of the m rows of n."""
    acc, y = dtypes.accumulator(x.dtype), empty_like(x)
    mean, rstd = empty((m,), acc, x.device), empty((m,), acc, x.device)
    var = empty((m,), acc, x.device) if want_var else None
    config = _tiles(x, m, n, layout)
    launch(
        _layer_norm, cdiv(m, config["BM"]) if n else 0, x, weight, bias, y, mean, rstd, var, m, n, groups, pixels, eps,
        layout, TRITON_TYPE[acc], bytes=footprint(x, weight, bias, y, mean, rstd, var), **config,
    )  # fmt: skip
    return y, mean, rstd, var


def rms_norm(x: Array, weight: Array | None, eps: float, m: int, n: int) -> tuple[Array, Array]:
    """x over the root of its mean square, times weight, and 1/that root of each of the m rows of n."""
    acc, y = dtypes.accumulator(x.dtype), empty_like(x)
    rstd = empty((m,), acc, x.device)
    config = _tiles(x, m, n)
    grid, nbytes = cdiv(m, config["BM"]) if n else 0, footprint(x, weight, y, rstd)
    launch(_rms_norm, grid, x, weight, y, rstd, m, n, eps, TRITON_TYPE[acc], bytes=nbytes, **config)
    return y, rstd


def row_grad(
    dy: Array,
    x: Array,
    weight: Array | None,
    mean: Array | None,
    rstd: Array,
    n: int,
    *,
    layout: Layout = "rows",
    groups: int = 1,
    pixels: int = 1,
) -> Array:
    """The gradient of x, which lies as x and dy do; `mean` is None for RMS norm."""
    m, dx = rstd.size, empty_like(x)
    config = _tiles(x, m, n, layout)
    launch(
        _row_grad, cdiv(m, config["BM"]) if n else 0, dy, x, weight, mean, rstd, dx, m, n, groups, pixels, layout,
        TRITON_TYPE[rstd.dtype], bytes=footprint(dy, x, weight, mean, rstd, dx), **config,
    )  # fmt: skip
    return dx


def grad_sums(
    dy: Array,
    x: Array,
    mean: Array | None,
    rstd: Array,
    n: int,
    *,
    layout: Layout = "rows",
    groups: int = 1,
    pixels: int = 1,
) -> Array:
    """[2, columns or channels]: the gradients of bias and weight. Images have elements; a matrix may have no row."""
    m, acc = rstd.size, rstd.dtype
    if layout == "first":
        assert mean is not None
        rows = m * n // pixels
        sums = empty((2, rows), acc, x.device)
        config = _tiles(x, rows, pixels)
        launch(
            _channel_sums, cdiv(rows, config["BM"]), dy, x, mean, rstd, sums, rows, pixels, n // pixels,
            TRITON_TYPE[acc], bytes=footprint(dy, x, mean, rstd, sums), **config,
        )  # fmt: skip
        images = m // groups
        split = sums.view((2, images, rows // images), (rows, rows // images, 1))
        return reduce.sum(split, (1,)) if images > 1 else split.squeeze(1)
    rows, columns = (m, n) if layout == "rows" else (m // groups * pixels, n // pixels * groups)
    config, runs, grid = walk(x.view((rows, columns), (columns, 1)), "norm_sums")
    if layout == "last":  # means differ from element to element: copies ahead of them would fill shared memory
        config["STAGES"] = 1
    sums = empty((runs, 2, columns), acc, x.device)
    launch(
        _column_sums, grid, dy, x, mean, rstd, sums, rows, columns, groups, pixels, layout, TRITON_TYPE[acc],
        bytes=footprint(dy, x, mean, rstd, sums), **config,
    )  # fmt: skip
    return reduce.sum(sums, (0,)) if sums.shape[0] != 1 else sums.squeeze(0)


def _tiles(x: Array, m: int, n: int, layout: Layout = "rows") -> dict[str, int]:
    """Tiles for m rows of n elements of x.

    A row has one program: where rows are few and long, one of many warps and long loads, as there are too few programs
    to hide how long memory takes. Places in images that lie channels-last take too many registers for that.
    """
    long = tile("layernorm_long", itemsize=x.dtype.itemsize, BM=m, BN=n)
    few, short = long.pop("FEW"), long.pop("SHORT")
    if m <= few and n > short and layout != "last":
        return long
    return tile("layernorm", itemsize=x.dtype.itemsize, BM=m, BN=n)
