"""Walks over [rows, channels] matrices, which is how images lie channels-last: what passes over them share.

A program has a block of channels and takes every so-many-th tile of rows, so that there are few programs, each of which
can afford to fold partial sums of its own channels first. How many there are depends on the shape alone.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array
from tritongrad_kernels.launch import cdiv, next_power_of_2, tile


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
def _stride(C, BM: tl.constexpr, BC: tl.constexpr):
    """How many rows lie between two tiles of a program: programs take tiles of rows in turn."""
    return (tl.num_programs(0) // tl.cdiv(C, BC)).to(tl.int64) * BM


@triton.jit
def _load(X, place, mask, ACC: tl.constexpr):
    return tl.load(X + place, mask=mask, other=0.0).to(ACC)


@triton.jit
def _parameter(P, c, c_in, default, ACC: tl.constexpr, BC: tl.constexpr):
    """A parameter of channels c, `default` where there is none."""
    p = tl.full((BC,), default, ACC)
    if P is not None:
        p = _load(P, c, c_in, ACC)
    return p


def walk(x: Array, name: str = "norm", *, width: int | None = None, least: int = 1) -> tuple[dict[str, int], int, int]:
    """Tiles of a pass over x [M, C], into how many blocks of rows it goes, and its grid.

    `width` is the most channels a program should have, where that is less than the table has.
    """
    m, c = x.shape
    extent = c if width is None else min(c, width)
    config = tile(name, least=least, itemsize=x.dtype.itemsize, BM=m, BC=extent)
    for key in ("NARROW", "FOLD"):
        config.pop(key, None)
    blocks = cdiv(c, config["BC"])
    rows = min(cdiv(m, config["BM"]), max(1, config.pop("PROGRAMS") // blocks))
    return config, rows, rows * blocks


def width(x: Array, runs: int) -> int:
    """Channels of a program of a pass over x that first folds two partial sums a run: as many as it can have without
    all programs together reading more than a tenth as many bytes of these as of x and of what they write, but no fewer
    than make a row of them worth reading.
    """
    row = tile("norm", itemsize=x.dtype.itemsize)
    partials = row["PROGRAMS"] * runs * 2 * dtypes.accumulator(x.dtype).itemsize  # bytes for each channel of a program
    return max(row["NARROW"], 1 << (x.nbytes // 5 // partials).bit_length() >> 1)


def fold_rows(runs: int, channels: int, itemsize: int) -> int:
    """How many of `runs` partial sums a program of so many channels reads at a time."""
    most = tile("norm", itemsize=itemsize)["FOLD"] // channels
    return max(1, min(next_power_of_2(runs), most))
