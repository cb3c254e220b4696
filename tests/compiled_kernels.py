"""Kernels that the tests of compiling compile, and never run."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _double(X, OUT, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(OUT + i, tl.load(X + i, mask=i < n) * 2, mask=i < n)


@triton.jit
def _product(A, B, OUT, f: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    place = i[:, None] * N + i[None, :]
    c = tl.dot(tl.load(A + place), tl.load(B + place), input_precision="ieee")
    tl.store(OUT + place, f(c).to(OUT.dtype.element_ty))


@triton.jit
def _negative(x):
    return -x


@triton.jit
def _greedy(X, N: tl.constexpr):
    """More numbers alive at once than a thread has registers."""
    i = tl.arange(0, N)
    x = tl.load(X + i)
    tl.store(X + i, x * tl.sum(x, 0))


@triton.jit
def _stops_early(X, n):
    for i in range(n):
        if i == 2:
            break
        tl.store(X + i, 1.0)
