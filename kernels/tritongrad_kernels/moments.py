"""Count, mean and summed squared deviations per channel, gathered where values are made: what a batch norm reads.

A kernel whose output a norm takes statistics of keeps them while it has the values at hand. One program walks a *run*
of tiles and writes one partial per channel, moments [runs, 3, channels] in the accumulator's dtype; whoever reads them
folds the runs in order. They are of the values as stored, rounding included.
Source: the pairwise update of Chan, Golub and LeVeque 1983: a mean far from zero costs no digits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty

PROGRAMS = 264
"""How many, or so, share the tiles of a product that leaves moments: two for each multiprocessor of an H100, and few
enough partials for the norm that reads them. It is part of the result, so the same for every GPU."""


@triton.jit
def rounded(acc, BIAS, channel, DTYPE: tl.constexpr, ACC: tl.constexpr):
    """What is stored of acc [channels, pixels]: bias (unless None) added, in DTYPE."""
    if BIAS is not None:
        acc += tl.load(BIAS + channel)[:, None].to(ACC)
    return acc.to(DTYPE)


@triton.jit
def no_moments(CHANNELS: tl.constexpr, ACC: tl.constexpr):
    """(count, mean, squares) of nothing."""
    return (tl.zeros((1,), ACC), tl.zeros((CHANNELS,), ACC), tl.zeros((CHANNELS,), ACC))


@triton.jit
def with_tile(count, mean, squares, values, inside, more, ACC: tl.constexpr):
    """The moments so far, and those of a tile: values [CHANNELS, PIXELS], of which `more` > 0 are `inside`."""
    values = values.to(ACC)
    more = more.to(ACC)
    centre = tl.sum(tl.where(inside[None, :], values, 0.0), 1) / more
    d = tl.where(inside[None, :], values - centre[:, None], 0.0)
    total = count + more
    step = centre - mean
    mean += step * (more / total)
    squares += tl.sum(d * d, 1) + step * (step * (count * more / total))
    return total, mean, squares


@triton.jit
def store_moments(MOMENTS, count, mean, squares, run, channel, channels, mask):
    """moments[run, :, channel] of `channels`, where `mask`."""
    place = MOMENTS + run.to(tl.int64) * 3 * channels + channel
    tl.store(place, tl.zeros_like(mean) + count, mask=mask)
    tl.store(place + channels, mean, mask=mask)
    tl.store(place + 2 * channels, squares, mask=mask)


def runs_of(tiles: int, blocks: int) -> int:
    """How many runs share `tiles`, where each is walked once for each of `blocks` of channels."""
    return min(tiles, max(1, PROGRAMS // blocks))


def empty_moments(runs: int, y: Array) -> Array:
    """Room for the moments of the channels of y [N, C, ...]."""
    return empty((runs, 3, y.shape[1]), dtypes.accumulator(y.dtype), y.device)
