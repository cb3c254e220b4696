"""Softmax and log-softmax over the last axis of a matrix, rows of any length."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty_like
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.walk import _divisible, known_divisor


@triton.jit
def _rows(M, BM: tl.constexpr):
    """This program's rows, clamped, and which exist."""
    m = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    return tl.where(m < M, m, 0), m < M


@triton.jit
def _max_and_sum(X, row, N, ACC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """The maximum m of each row (0 where that is -inf) and the sum of exp(x - m), in one sweep.

    Source  the online normaliser, Milakov and Gimelshein 2018.
    """
    largest = tl.full((BM,), -float("inf"), ACC)
    total = tl.zeros((BM,), ACC)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        x = tl.load(X + row[:, None] * N + n[None, :], mask=(n < N)[None, :], other=-float("inf")).to(ACC)
        new = tl.maximum(largest, tl.max(x, 1))
        base = tl.where(new == -float("inf"), 0.0, new)
        total = total * tl.exp(largest - base) + tl.sum(tl.exp(x - base[:, None]), 1)
        largest = new
    return tl.where(largest == -float("inf"), 0.0, largest), total


@triton.jit
def _softmax(X, Y, M, N: tl.int64, ACC: tl.constexpr, BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """y = exp(x - m) / sum exp(x - m) over each row of x [M, N]. Grid one program per BM rows. BY divides N.

    Bytes   read x once (twice where a row exceeds BN: the second read hits L2), write y once.
    """
    N = _divisible(N, BY)
    row, inside = _rows(M, BM)
    largest, total = _max_and_sum(X, row, N, ACC, BM, BN)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        place, n_in = row[:, None] * N + n[None, :], (n < N)[None, :]
        x = tl.load(X + place, mask=n_in, other=0.0).to(ACC)
        y = tl.exp(x - largest[:, None]) / total[:, None]
        tl.store(Y + place, y.to(Y.dtype.element_ty), mask=inside[:, None] & n_in)


@triton.jit
def _log_softmax(X, Y, M, N: tl.int64, ACC: tl.constexpr, BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """y = x - m - log sum exp(x - m) over each row of x [M, N]. Grid and bytes as `_softmax`."""
    N = _divisible(N, BY)
    row, inside = _rows(M, BM)
    largest, total = _max_and_sum(X, row, N, ACC, BM, BN)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        place, n_in = row[:, None] * N + n[None, :], (n < N)[None, :]
        x = tl.load(X + place, mask=n_in, other=0.0).to(ACC)
        y = (x - largest[:, None]) - tl.log(total)[:, None]
        tl.store(Y + place, y.to(Y.dtype.element_ty), mask=inside[:, None] & n_in)


@triton.jit
def _softmax_grad(DY, Y, DX, M, N: tl.int64, ACC: tl.constexpr, BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """dx = y (dy - sum_row dy y). Grid one program per BM rows. Bytes: read dy and y, write dx."""
    N = _divisible(N, BY)
    row, inside = _rows(M, BM)
    total = tl.zeros((BM,), ACC)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        place, n_in = row[:, None] * N + n[None, :], (n < N)[None, :]
        dy = tl.load(DY + place, mask=n_in, other=0.0).to(ACC)
        total += tl.sum(dy * tl.load(Y + place, mask=n_in, other=0.0).to(ACC), 1)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        place, n_in = row[:, None] * N + n[None, :], (n < N)[None, :]
        dy = tl.load(DY + place, mask=n_in, other=0.0).to(ACC)
        dx = tl.load(Y + place, mask=n_in, other=0.0).to(ACC) * (dy - total[:, None])
        tl.store(DX + place, dx.to(DX.dtype.element_ty), mask=inside[:, None] & n_in)


@triton.jit
def _log_softmax_grad(
    DY, Y, DX, M, N: tl.int64, ACC: tl.constexpr, BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr
):
    """dx = dy - exp(y) sum_row dy. Grid one program per BM rows. Bytes: read dy and y, write dx."""
    N = _divisible(N, BY)
    row, inside = _rows(M, BM)
    total = tl.zeros((BM,), ACC)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        total += tl.sum(tl.load(DY + row[:, None] * N + n[None, :], mask=(n < N)[None, :], other=0.0).to(ACC), 1)
    for first in range(0, N, BN):
        n = first + tl.arange(0, BN)
        place, n_in = row[:, None] * N + n[None, :], (n < N)[None, :]
        dy = tl.load(DY + place, mask=n_in, other=0.0).to(ACC)
        dx = dy - tl.exp(tl.load(Y + place, mask=n_in, other=0.0).to(ACC)) * total[:, None]
        tl.store(DX + place, dx.to(DX.dtype.element_ty), mask=inside[:, None] & n_in)


def softmax(x: Array) -> Array:
    """exp(x) over its sum along the last axis of a contiguous x [M, N]."""
    return _by_rows(_softmax, x)


def log_softmax(x: Array) -> Array:
    """The logarithm of `softmax`, without forming it."""
    return _by_rows(_log_softmax, x)


def softmax_grad(dy: Array, y: Array) -> Array:
    """The gradient for x of y = softmax(x); both contiguous [M, N]."""
    return _by_rows(_softmax_grad, dy, y)


def log_softmax_grad(dy: Array, y: Array) -> Array:
    """The gradient for x of y = log_softmax(x); both contiguous [M, N]."""
    return _by_rows(_log_softmax_grad, dy, y)


def _by_rows(kernel: Any, *inputs: Array) -> Array:
    m, n = inputs[0].shape
    out = empty_like(inputs[-1])
    config = tile("softmax", BM=m, BN=n)
    acc = TRITON_TYPE[dtypes.accumulator(out.dtype)]
    nbytes = out.nbytes + sum(a.nbytes for a in inputs)
    by = known_divisor(n)
    launch(kernel, cdiv(m, config["BM"]) if n else 0, *inputs, out, m, n, acc, by, bytes=nbytes, **config)
    return out
