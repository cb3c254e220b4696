"""Walks over the elements of arrays of one shape and any strides: what `elementwise.map` does with its operands.

Axes that lie in one run for every operand are one. Of those left, a program takes a block of the last ones, and finds
where that block starts by dividing its own number; so there is no division for an element, but of its number among
the last axes where these are short.

    tile    rows x columns of the last two axes, for long rows and for transpositions: there, the axis along which the
            operand is read becomes the last but one, and a tile is loaded along one of its sides and stored along the
            other, 16 bytes at a time
    flat    a run of elements of the last axes, however many these are
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import triton
import triton.language as tl

from tritongrad_kernels.launch import cdiv, next_power_of_2

VECTOR = 16
"""What Triton tells apart: whether it divides a number."""

Strides = tuple[int | None, ...]


@triton.jit
def _offsets(index, shape, strides):
    """The memory offset of the element with flat `index` in C order of `shape`."""
    offset = index * 0
    for d in tl.static_range(len(shape) - 1):
        axis_extent = shape[len(shape) - 1 - d]
        offset += (index % axis_extent) * strides[len(shape) - 1 - d]
        index = index // axis_extent
    return offset + index * strides[0]


@triton.jit
def _divisible(n, BY: tl.constexpr):
    """n, of which the compiler then knows that BY, see `known_divisor`, divides it: masks against it are wide."""
    if BY > 1:
        return n // BY * BY
    else:
        return n


@triton.jit
def _position(shape, n, LAST: tl.constexpr, BY: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """This program's block: (its number among the other axes; what it takes of the last; which of it exists).

    A tile (ROWS > 0) takes rows [ROWS, 1] and columns [1, BLOCK / ROWS], each with its mask. A flat walk takes elements
    [BLOCK] of the n in the LAST axes, as rows and columns alike. BY divides n.
    """
    pid = tl.program_id(0).to(tl.int64)
    if ROWS > 0:
        COLUMNS: tl.constexpr = BLOCK // ROWS
        across, down = tl.cdiv(n, COLUMNS), tl.cdiv(shape[len(shape) - 2], ROWS)
        r = (pid // across % down) * ROWS + tl.arange(0, ROWS)[:, None]
        c = (pid % across) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
        return pid // across // down, r, c, r < shape[len(shape) - 2], c < n
    else:
        n = _divisible(n, BY)
        lead = pid * 0
        if len(shape) > LAST:
            blocks = tl.cdiv(n, BLOCK)
            lead = pid // blocks
            pid = pid % blocks
        i = pid * BLOCK + tl.arange(0, BLOCK)
        return lead, i, i, i < n, i < n


@triton.jit
def _place(where, shape, strides, LAST: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr):
    """The memory offsets of the elements at `where` in an array of these strides: None for 0 in a tile; for all of the
    last axes in a flat walk, one number where they lie in one run."""
    lead, r, c, _, _ = where
    LEAD: tl.constexpr = len(shape) - LAST
    base = lead * 0
    for d in tl.static_range(LEAD - 1):
        base += (lead % shape[LEAD - 1 - d]) * strides[LEAD - 1 - d]
        lead = lead // shape[LEAD - 1 - d]
    if LEAD > 0:
        base += lead * strides[0]
    if ROWS > 0:
        if strides[LEAD] is not None:
            base += r * strides[LEAD]
        if strides[LEAD + 1] is not None:
            base += c * strides[LEAD + 1]
    elif len(strides) == LEAD + 1:
        base += r * strides[LEAD]
    else:
        i = r if WIDE else r.to(tl.int32)
        for d in tl.static_range(LAST - 1):
            above = i // shape[LEAD + LAST - 1 - d]
            base += (i - above * shape[LEAD + LAST - 1 - d]).to(tl.int64) * strides[LEAD + LAST - 1 - d]
            i = above
        base += i.to(tl.int64) * strides[LEAD]
    return base


@triton.jit
def _present(where, strides, ROWS: tl.constexpr):
    """Which of the elements at `where` exist, of as many axes as an array of these strides has in a block."""
    _, _, _, r_in, c_in = where
    if ROWS == 0 or strides[len(strides) - 1] is None:
        return r_in
    elif strides[len(strides) - 2] is None:
        return c_in
    else:
        return r_in & c_in


@dataclass(frozen=True, slots=True)
class Walk:
    """How programs go over elements: the arguments of `_position` and `_place`, and the number of programs.

    strides  for each operand, as `_place` has them
    last, by, wide, rows, block  their LAST, BY, WIDE, ROWS and BLOCK
    """

    shape: tuple[int, ...]
    strides: list[Strides]
    n: int
    last: int
    by: int
    wide: bool
    rows: int
    block: int
    programs: int


def walk(shape: Sequence[int], strides: Sequence[Sequence[int]], config: Mapping[str, int]) -> Walk:
    """A walk over `shape` for operands of these strides, the first of which is the one written to.

    `config` has BLOCK, the elements of a program; COLUMNS, the most of a tile's; SIDE, that of a tile that transposes;
    SPREAD, how many elements two axes must have to be walked in tiles.
    """
    dims, steps = merge_axes(shape, *strides)
    turned = _turned(dims, steps)
    if turned is not None and dims[turned] * dims[-1] >= config["SPREAD"]:
        order = [*(a for a in range(len(dims) - 1) if a != turned), turned, len(dims) - 1]
        side = next_power_of_2(min(config["SIDE"], dims[-1]))
        rows = next_power_of_2(min(config["SIDE"] ** 2 // side, dims[turned]))
        return _tiles([dims[a] for a in order], [[s[a] for a in order] for s in steps], rows, side)
    if len(dims) > 1 and dims[-1] % VECTOR == 0 and dims[-2] * dims[-1] >= config["SPREAD"]:
        columns = min(config["COLUMNS"], config["BLOCK"], next_power_of_2(dims[-1]))
        return _tiles(dims, steps, min(config["BLOCK"] // columns, next_power_of_2(dims[-2])), columns)
    return _flat(dims, steps, min(config["BLOCK"], next_power_of_2(math.prod(dims))))


def known_divisor(n: int) -> int:
    """The power of two that divides `n`, up to 8, or 1 if 16 does: that much Triton tells its compiler by itself."""
    return math.gcd(n, VECTOR) % VECTOR or 1


def _turned(dims: Sequence[int], steps: Sequence[Sequence[int]]) -> int | None:
    """The axis, if it is not the last, along which an operand is best read that goes along the last one, too."""
    last = len(dims) - 1
    if dims[last] < VECTOR:
        return None
    found = (s.index(1) for s in steps[1:] if 1 in s and s[last])
    return next((a for a in found if a != last and dims[a] >= VECTOR), None)


def _tiles(dims: Sequence[int], steps: Sequence[Sequence[int]], rows: int, columns: int) -> Walk:
    strides: list[Strides] = [(*s[:-2], *(step or None for step in s[-2:])) for s in steps]
    programs = math.prod(dims[:-2]) * cdiv(dims[-2], rows) * cdiv(dims[-1], columns)
    return Walk(tuple(dims), strides, dims[-1], 2, 1, True, rows, rows * columns, programs)


def _flat(dims: Sequence[int], steps: Sequence[Sequence[int]], block: int) -> Walk:
    # Blocks end where the last axes do: with eight of them, few of their elements are none.
    last = next((k for k in range(1, len(dims)) if math.prod(dims[-k:]) >= 8 * block), len(dims))
    n, lead = math.prod(dims[-last:]), len(dims) - last
    strides: list[Strides] = [(*s[:lead], *_joined(dims[lead:], s[lead:])) for s in steps]
    by = known_divisor(n)
    return Walk(
        tuple(dims), strides, n, last, by, n >= 2**31 - block, 0, block, math.prod(dims[:lead]) * cdiv(n, block)
    )


def _joined(dims: Sequence[int], steps: Sequence[int]) -> Sequence[int]:
    """The strides, or the last one alone where the axes lie in one run."""
    run = all(steps[a] == steps[a + 1] * dims[a + 1] for a in range(len(dims) - 1))
    return steps[-1:] if run else steps


def merge_axes(shape: Sequence[int], *strides: Sequence[int]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Drop axes of extent 1, order the rest by the first operand's memory, and join neighbours that form one run in
    every operand. Returns the shape and each operand's strides, at least one axis."""
    axes = sorted((a for a in range(len(shape)) if shape[a] != 1), key=lambda a: (-abs(strides[0][a]), a))
    dims: list[int] = []
    merged: list[list[int]] = [[] for _ in strides]
    for a in axes:
        if dims and all(m[-1] == s[a] * shape[a] for m, s in zip(merged, strides, strict=True)):
            dims[-1] *= shape[a]
            for m, s in zip(merged, strides, strict=True):
                m[-1] = s[a]
        else:
            dims.append(shape[a])
            for m, s in zip(merged, strides, strict=True):
                m.append(s[a])
    if not dims:
        return (1,), [(1,) for _ in strides]
    return tuple(dims), [tuple(m) for m in merged]
