"""Kernels that Python can run, so that an interpreter might, and that a GPU's compiler must refuse."""

from __future__ import annotations

import triton
import triton.language as tl

PLAIN = 3


def on_the_host(x):
    return x + 1


@triton.jit
def _break(X, n):
    for i in range(n):
        if i == 2:
            break
        tl.store(X + i, 1.0)


@triton.jit
def _continue(X, n):
    for i in range(n):
        if i == 2:
            continue
        tl.store(X + i, 1.0)


@triton.jit
def _plain_global(X, n):
    tl.store(X, PLAIN * 1.0)


@triton.jit
def _host_function(X, n):
    tl.store(X, on_the_host(1.0))


@triton.jit
def _append(X, n):
    steps = []
    for i in tl.static_range(4):
        steps.append(i)
    tl.store(X, steps[1] * 1.0)


@triton.jit
def _defined_in_one_branch(X, n):
    if n > 3:
        y = 1.0
    tl.store(X, y)


@triton.jit
def _branches_of_two_types(X, n):
    if n > 3:
        y = tl.zeros((64,), tl.float32)
    else:
        y = tl.zeros((64,), tl.float16)
    tl.store(X + tl.arange(0, 64), y)


@triton.jit
def _loop_changes_type(X, n):
    total = 0
    for _ in range(n):
        total += 0.5
    tl.store(X, total)


@triton.jit
def _loop_changes_shape(X, n):
    total = 0.0
    for _ in range(n):
        total += tl.load(X + tl.arange(0, 64))
    tl.store(X + tl.arange(0, 64), total)


@triton.jit
def _return_from_a_loop(X, n):
    for i in range(n):
        if i == 2:
            return
        tl.store(X + i, 1.0)


@triton.jit
def _short_dot(X, n):
    o = tl.arange(0, 8)
    place = X + o[:, None] * 8 + o[None, :]
    a = tl.load(place)
    tl.store(place, tl.dot(a, a, input_precision="ieee"))


@triton.jit
def _branch_on_a_block(X, n):
    if tl.load(X + tl.arange(0, 64)) > 0:
        tl.store(X, 1.0)


@triton.jit
def _lambda(X, n):
    f = lambda a: a + 1  # noqa: E731
    tl.store(X, f(1.0))


@triton.jit
def _missing_import(X, n):
    tl.store(X, np.pi)  # noqa: F821
