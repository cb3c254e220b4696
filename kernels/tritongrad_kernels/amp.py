"""Loss scaling: gradients are freed of their scale and looked through for infinities, in one launch; and the scale is
moved, without the host having to know."""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, reduce
from tritongrad_kernels.array import Array, empty
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import launch
from tritongrad_kernels.optim import _block, _pointer, _read, table


@triton.jit
def _unscale(TABLE, BLOCKS, SCALE, FOUND, GRAD: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """g /= scale;  found[program] = 1 if some g is infinite or NaN, else 0.

    Shapes  table rows [length, gradient, 0, first program] (int64, addresses); scale [1] and found [programs]
            float32.
    Grid    one program per BLOCK elements of a gradient, BLOCKS [programs] being the row of each.
    Bytes   read and write every gradient.
    Source  Micikevicius et al. 2018, "Mixed Precision Training", section 3.2.
    """
    row, _, start, n = _block(TABLE, BLOCKS, 4, BLOCK)
    inverse = 1.0 / tl.load(SCALE).to(tl.float64)
    i = start + tl.arange(0, BLOCK)
    # A length read from memory is divisible by nothing the compiler knows of: under a mask it would load one by one.
    if start + BLOCK <= n:
        found = _unscale_block(row, i, None, inverse, GRAD, ACC)
    else:
        found = _unscale_block(row, i, i < n, inverse, GRAD, ACC)
    tl.store(FOUND + tl.program_id(0), found)


@triton.jit
def _unscale_block(row, i, mask, inverse, GRAD: tl.constexpr, ACC: tl.constexpr):
    """`_unscale` for elements i of the gradient with this row: 1.0 where one is not finite."""
    at = _pointer(row, 1, GRAD) + i
    g = _read(at, mask, ACC)
    tl.store(at, (g * inverse.to(tl.float32).to(ACC)).to(GRAD), mask=mask)
    finite = tl.abs(g) < float("inf")
    return tl.max(tl.where(finite, 0.0, 1.0), 0)


@triton.jit
def _move(SCALE, TRACKER, FOUND, growth, backoff, INTERVAL: tl.constexpr):
    """scale *= backoff and tracker = 0 where something was found; else tracker += 1, and after INTERVAL such steps in a
    row scale *= growth, if that is finite, and tracker = 0.

    Shapes  scale [1] float32, tracker [1] int32, found [1] float32.
    Grid    one program.
    Bytes   read all; write scale and tracker.
    """
    scale, steps = tl.load(SCALE), tl.load(TRACKER) + 1
    bad = tl.load(FOUND) > 0
    grown = scale * growth
    due = steps == INTERVAL
    up = tl.where(due & (grown < float("inf")), grown, scale)
    tl.store(SCALE, tl.where(bad, scale * backoff, up))
    tl.store(TRACKER, tl.where(bad | due, 0, steps))


def unscale(gradients: Sequence[Array], scale: Array) -> Array:
    """Divide gradients of one dtype, each dense, by `scale` in place; 1.0 in an array of one if any is not finite."""
    tables = table([[g, None] for g in gradients])
    kind = gradients[0].dtype
    found = empty((tables.blocks.shape[0],), dtypes.float32, gradients[0].device)
    launch(
        _unscale,
        tables.blocks.shape[0],
        tables.rows,
        tables.blocks,
        scale,
        found,
        TRITON_TYPE[kind],
        TRITON_TYPE[dtypes.accumulator(kind)],
        bytes=tables.nbytes + scale.nbytes + found.nbytes,
        indirect=tables.arrays,
        **tables.config,
    )
    return reduce.max(found, (0,))[0]


def move(scale: Array, tracker: Array, found: Array, growth: float, backoff: float, interval: int) -> None:
    """Move the scale after a step, in place, as `_move` says."""
    launch(
        _move,
        1,
        scale,
        tracker,
        found,
        growth,
        backoff,
        interval,
        bytes=2 * (scale.nbytes + tracker.nbytes) + found.nbytes,
        num_warps=1,
    )
