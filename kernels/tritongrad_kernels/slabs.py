"""Partial results summed in order, any number of them in one launch: slabs of split products, partial sums of norms.

A table in device memory has a row for each job: where its slabs are, how far apart, how many and how long, and where
the sum goes. A program finds its job by the number of the first program of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, from_host
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, next_power_of_2, tile

WIDE, DEEP, UNALIGNED = range(3)
"""How a job is done: tiles of few slabs and many elements, of many slabs and few, or so and one element at a time."""

VECTOR = 8  # elements of a half that are 16 bytes


@triton.jit
def _sum_slabs(
    TABLE, count, SLABS: tl.constexpr, ROUNDED: tl.constexpr, OUT: tl.constexpr, JOBS: tl.constexpr,
    BZ: tl.constexpr, BN: tl.constexpr, TURN: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """out[i] = sum over z of slabs[z, i], rounded to ROUNDED before it is stored as OUT, for every job of a table.

    Row r of a tile is the sum of the slabs r, r + BZ, r + 2 BZ, ... in order (in deep tiles, of TURN BZ rows and NARROW
    columns, r + TURN BZ, ...); its rows are summed in the end. So the order depends on the shape alone.

    Shapes  table [count, 7] int64, count at most JOBS: a job's first program, slabs, out (addresses), elements, slabs,
            elements from one slab to the next, and how it is done (WIDE, DEEP or UNALIGNED).
    Grid    one program per BN (WIDE) or NARROW elements of a job.
    Bytes   read all slabs and the table, write every out.
    """
    pid = tl.program_id(0).to(tl.int64)
    job = tl.arange(0, JOBS)
    begin = tl.load(TABLE + job * 7, mask=job < count, other=0x7FFFFFFFFFFFFFFF)
    row = TABLE + (tl.sum((begin <= pid).to(tl.int32), 0) - 1) * 7
    block = pid - tl.load(row)
    way = tl.load(row + 6)
    if way == 0:
        _sum_columns(row, block * BN, SLABS, ROUNDED, OUT, BZ, BN, 8)
    elif way == 1:
        _sum_columns(row, block * NARROW, SLABS, ROUNDED, OUT, BZ * TURN, NARROW, 8)
    else:
        _sum_columns(row, block * NARROW, SLABS, ROUNDED, OUT, BZ * TURN, NARROW, 1)


@triton.jit
def _sum_columns(
    row, start, SLABS: tl.constexpr, ROUNDED: tl.constexpr, OUT: tl.constexpr, BZ: tl.constexpr, BN: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """Elements start .. start + BN of one job. WIDTH elements of a slab, and slabs, are known to lie on 16 bytes."""
    # A length read from memory is divisible by nothing the compiler knows of.
    n = tl.load(row + 3) // WIDTH * WIDTH
    count, step = tl.load(row + 4), tl.load(row + 5)
    i = start + tl.arange(0, BN)
    inside = i < n
    slabs, out = tl.load(row + 1).to(tl.pointer_type(SLABS)), tl.load(row + 2).to(tl.pointer_type(OUT))
    if WIDTH > 1:
        slabs, out, step = tl.multiple_of(slabs, 16), tl.multiple_of(out, 16), step // WIDTH * WIDTH
    total = tl.zeros((BZ, BN), SLABS)
    for first in range(0, count, BZ):
        z = first + tl.arange(0, BZ)
        mask = (z < count)[:, None] & inside[None, :]
        total += tl.load(slabs + z[:, None] * step + i[None, :], mask=mask, other=0.0)
    tl.store(out + i, tl.sum(total, 0).to(ROUNDED).to(OUT), mask=inside)


class Job(NamedTuple):
    """The sum of slabs[0], slabs[1], ... into `out`.

    Slabs are in the accumulator of their kind; `out` is of any floating dtype. Both are dense, slabs each for itself,
    and lie in memory in the same order: an element of the sum is where it is in each slab. With `rounded`, sums have
    the digits of that dtype.
    """

    slabs: Array
    out: Array
    rounded: dtypes.dtype | None = None


def sum_slabs(jobs: Sequence[Job]) -> None:
    """Do all jobs, those of the same dtypes in one launch."""
    kinds: dict[tuple[dtypes.dtype, dtypes.dtype, dtypes.dtype], list[Job]] = {}
    for job in jobs:
        slabs, out, rounded = job
        assert slabs.size == slabs.shape[0] * out.size and out.dense_order() is not None, "sum_slabs: a job's shapes"
        if out.size:
            kinds.setdefault((slabs.dtype, rounded or out.dtype, out.dtype), []).append(job)
    for chosen, of_them in kinds.items():
        _launch(chosen, of_them)


def _launch(kinds: Sequence[dtypes.dtype], jobs: Sequence[Job]) -> None:
    # The deepest first: they take longest.
    jobs = sorted(jobs, key=lambda job: -job.slabs.shape[0])
    config = tile("slabs")  # not cut down to the longest job, which would then decide how the others are summed
    narrow = config["BN"] // config["TURN"]
    rows, first = [], 0
    for slabs, out, _ in jobs:
        z, n, step = slabs.shape[0], out.size, slabs.strides[0]
        way = _way(slabs, out, config)
        rows.append((first, slabs.data_ptr(), out.data_ptr(), n, z, step, way))
        first += cdiv(n, config["BN"] if way == WIDE else narrow)
    table = from_host(np.array(rows, np.int64), jobs[0].out.device)
    launch(
        _sum_slabs,
        first,
        table,
        len(rows),
        *(TRITON_TYPE[kind] for kind in kinds),
        next_power_of_2(len(rows)),
        flops=sum(job.slabs.size for job in jobs),
        bytes=table.nbytes + _distinct(jobs) + sum(job.out.nbytes for job in jobs),
        indirect=_spans(jobs),
        NARROW=narrow,
        **config,
    )


def _distinct(jobs: Sequence[Job]) -> int:
    """Bytes of the slabs of all jobs, of which some may have the same."""
    return sum({(slabs.data_ptr(), slabs.shape, slabs.strides): slabs.nbytes for slabs, *_ in jobs}.values())


def _spans(jobs: Sequence[Job]) -> list[Array]:
    """The arrays of all jobs; views of one memory, whose slabs may lie between each other's, as one array."""
    views: dict[int, list[Array]] = {}
    for a in (a for job in jobs for a in (job.slabs, job.out)):
        views.setdefault(a.memory.address, []).append(a)
    return [_span(of_one) for of_one in views.values()]


def _span(views: Sequence[Array]) -> Array:
    if len(views) == 1:
        return views[0]
    begin = min(a.offset for a in views)
    end = max(a.offset + sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)) for a in views) + 1
    return Array(views[0].memory, views[0].dtype, (end - begin,), (1,), begin)


def _way(slabs: Array, out: Array, config: dict[str, int]) -> int:
    """How a job is done. A long one fills the GPU with wide tiles; in a short one the slabs are what there is."""
    z, n, step = slabs.shape[0], out.size, slabs.strides[0]
    aligned = slabs.data_ptr() % 16 == out.data_ptr() % 16 == 0 and n % VECTOR == 0 and (step % VECTOR == 0 or z <= 1)
    if not aligned:
        return UNALIGNED
    return DEEP if z > config["BZ"] and z * config["TURN"] * config["BN"] > n else WIDE
