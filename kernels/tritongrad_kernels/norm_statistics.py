"""Mean and variance of the channels of [rows, channels] matrices: taken in runs of rows, and folded by who needs them.

Moments are a count, a mean and the squared deviations from it, which loses nothing however far the mean is from zero.
They are not folded by a launch of their own: each program of the first launch that applies them folds those of its own
channels, in order, and the programs of the first block of rows write what came of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.channels import _load, _stride, _tile, fold_rows, walk
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, next_power_of_2, tile


@triton.jit
def _moments(
    X, MOMENTS, M: tl.int64, C: tl.int64, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr
):  # fmt: skip
    """moments[z, :, c] = how many rows x has in run z, their mean and their squared deviations from it, summed.

    Shapes  x [M, C], moments [runs, 3, C]. Grid one program per run and BC channels.
    Bytes   read x once.
    Source  Welford 1962 in each lane, on data shifted by the run's first row: neither a mean far from zero nor an
            outlier costs digits; lanes are merged as Chan, Golub and LeVeque 1983.
    """
    z, c, c_in = _tile(M, C, BM, BC)
    start, stride = z * BM, _stride(C, BM, BC)
    shift = tl.load(X + start * C + c, mask=c_in, other=0.0).to(ACC)
    mean = tl.zeros((BM, BC), ACC)
    squares = tl.zeros((BM, BC), ACC)
    for first in tl.range(start, M, stride, num_stages=STAGES):
        m = first + tl.arange(0, BM)
        inside = (m < M)[:, None] & c_in[None, :]
        d = tl.where(inside, _load(X, m[:, None] * C + c[None, :], inside, ACC) - shift[None, :] - mean, 0.0)
        step = d * (1.0 / ((first - start) // stride + 1).to(ACC))
        mean += step
        squares += d * (d - step)
    rows = tl.maximum((M - start - tl.arange(0, BM) + stride - 1) // stride, 0).to(ACC)
    count = tl.sum(rows, 0)
    centre = tl.sum(rows[:, None] * mean, 0) / count
    d = mean - centre[None, :]
    place = MOMENTS + z * 3 * C + c
    tl.store(place, tl.zeros((BC,), ACC) + count, mask=c_in)
    tl.store(place + C, shift + centre, mask=c_in)
    tl.store(place + 2 * C, tl.sum(squares + rows[:, None] * d * d, 0), mask=c_in)


@triton.jit
def _folded(
    MOMENTS, C, runs, c, c_in, ACC: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr
):  # fmt: skip
    """Rows, mean and squared deviations of channels c, from the moments of all runs: [], [BC], [BC].

    A lane merges every BR-th run, in order; the lanes are merged last. Channels of a run have the same number of rows,
    which is read once. Source: the parallel update of Chan, Golub and LeVeque 1983.
    """
    shift = tl.load(MOMENTS + C + c, mask=c_in, other=0.0)
    rows = tl.zeros((BR,), ACC)
    mean = tl.zeros((BR, BC), ACC)
    squares = tl.zeros((BR, BC), ACC)
    for first in tl.range(0, runs, BR, num_stages=STAGES):
        z = first + tl.arange(0, BR).to(tl.int64)
        more = tl.load(MOMENTS + z * 3 * C, mask=z < runs, other=0.0)
        inside = (z < runs)[:, None] & c_in[None, :]
        place = MOMENTS + (z * 3 * C)[:, None] + c[None, :]
        d = tl.where(inside, tl.load(place + C, mask=inside, other=0.0) - shift[None, :] - mean, 0.0)
        share = more / tl.maximum(rows + more, 1.0)
        mean += d * share[:, None]
        squares += tl.load(place + 2 * C, mask=inside, other=0.0) + d * d * (rows * share)[:, None]
        rows += more
    count = tl.sum(rows, 0)
    centre = tl.sum(rows[:, None] * mean, 0) / count
    d = mean - centre[None, :]
    return count, shift + centre, tl.sum(squares + rows[:, None] * d * d, 0)


@triton.jit
def _move(RUNNING, towards, momentum, c, mask, ACC: tl.constexpr):
    """Running statistics of channels c moved by `momentum` towards new ones."""
    moved = (1.0 - momentum) * _load(RUNNING, c, mask, ACC) + momentum * towards
    tl.store(RUNNING + c, moved.to(RUNNING.dtype.element_ty), mask=mask)


@triton.jit
def _statistics(
    MOMENTS, MEAN, RSTD, RUNNING_MEAN, RUNNING_VAR, BATCHES, C, runs, eps, momentum, block, c, c_in,
    CUMULATIVE: tl.constexpr, ACC: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """mean and rstd of channels c: of moments, of running statistics, or as found in MEAN and RSTD.

    Programs of the first block of rows leave in MEAN and RSTD what they had to compute. Of moments, they also move the
    running statistics (unless None) towards the mean and the unbiased variance, by `momentum` or, if CUMULATIVE, by
    one over the number of batches; BATCHES counts them, and only here is not CUMULATIVE: others may still read it.
    """
    if MOMENTS is None and RUNNING_VAR is None:
        mean, rstd = _load(MEAN, c, c_in, ACC), _load(RSTD, c, c_in, ACC)
    else:
        writes = c_in & (block == 0)
        if MOMENTS is None:
            mean = _load(RUNNING_MEAN, c, c_in, ACC)
            rstd = 1.0 / tl.sqrt(_load(RUNNING_VAR, c, c_in, ACC) + eps.to(ACC))
        else:
            count, mean, squares = _folded(MOMENTS, C, runs, c, c_in, ACC, BR, BC, STAGES)
            squares = tl.maximum(squares, 0.0, propagate_nan=tl.PropagateNan.ALL)
            rstd = 1.0 / tl.sqrt(squares / count + eps.to(ACC))
            moving = momentum.to(ACC)
            if CUMULATIVE:
                moving = 1.0 / (tl.load(BATCHES) + 1).to(ACC)
            elif BATCHES is not None:
                first = tl.program_id(0) == 0
                tl.store(BATCHES, tl.load(BATCHES, mask=first, other=0) + 1, mask=first)
            if RUNNING_MEAN is not None:
                _move(RUNNING_MEAN, mean, moving, c, writes, ACC)
            if RUNNING_VAR is not None:
                _move(RUNNING_VAR, squares / tl.maximum(count - 1.0, 1.0), moving, c, writes, ACC)
        tl.store(MEAN + c, mean, mask=writes)
        tl.store(RSTD + c, rstd, mask=writes)
    return mean, rstd


@triton.jit
def _settle(
    MOMENTS, MEAN, RSTD, RUNNING_MEAN, RUNNING_VAR, BATCHES, C: tl.int64, runs, eps: tl.float64, momentum: tl.float64,
    CUMULATIVE: tl.constexpr, ACC: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """`_statistics` alone. Grid one program per BC channels. Bytes: read the moments once."""
    block, c, c_in = _tile(0, C, 1, BC)
    _statistics(
        MOMENTS, MEAN, RSTD, RUNNING_MEAN, RUNNING_VAR, BATCHES, C, runs, eps, momentum, block, c, c_in,
        CUMULATIVE, ACC, BR, BC, STAGES,
    )  # fmt: skip


@triton.jit
def _count(BATCHES):
    """One batch more. Grid one program."""
    tl.store(BATCHES, tl.load(BATCHES) + 1)


@dataclass
class Statistics:
    """Mean and 1 / sqrt(variance + eps) of each of C channels, or what they will be computed from.

    moments        [runs, 3, C]: rows, mean and squared deviations of runs of rows; with running statistics or without
    mean, rstd     [C], in the accumulator's dtype; once they are there, they are what counts
    eps            what the variance is raised by
    momentum       how far running statistics move towards those of a batch; None averages over all batches so far
    running_mean   [C], moved when moments are folded; without moments, what takes their place
    running_var    as well, towards the unbiased variance
    batches        int64 []: how many batches there were
    """

    eps: float
    moments: Array | None = None
    momentum: float | None = 0.0
    running_mean: Array | None = None
    running_var: Array | None = None
    batches: Array | None = None
    mean: Array | None = None
    rstd: Array | None = None

    @property
    def folded(self) -> bool:
        """Whether `mean` and `rstd` are there, and no launch needs to look at anything else."""
        return self.rstd is not None

    def settle(self) -> None:
        """Fold now, in a launch of its own, unless that has been done."""
        source = self.moments if self.moments is not None else self.running_var
        if self.folded or source is None:
            return
        c, acc = source.shape[-1], dtypes.accumulator(source.dtype)
        with folding(self, c, acc, source.device) as (arguments, runs, numbers, nbytes):
            config = tile("norm", itemsize=acc.itemsize)
            width = min(next_power_of_2(c), config["NARROW"])
            options: dict[str, int] = {name: config[name] for name in ("STAGES", "num_warps") if name in config}
            options.update(BR=fold_rows(runs, width, acc.itemsize), BC=width)
            grid = cdiv(c, width)
            launch(_settle, grid, *arguments, c, runs, *numbers, TRITON_TYPE[acc], bytes=nbytes, **options)

    def _moved(self, running: list[Array | None], cumulative: bool) -> None:
        """Running statistics and the count have been written to, or copies `running` of the former without gaps."""
        for moved, r in zip(running, (self.running_mean, self.running_var), strict=True):
            if moved is not None and r is not None:
                if moved is not r:
                    elementwise.copy_into(moved, r)
        if self.batches is not None:
            if cumulative:
                launch(_count, 1, self.batches, bytes=2 * self.batches.nbytes)


Folding = tuple[tuple[Array | None, ...], int, tuple[float, float, bool], int]
"""The six arrays of `_statistics`, how many runs there are, (eps, momentum, CUMULATIVE), and how many bytes that is."""


@contextlib.contextmanager
def folding(statistics: Statistics | None, c: int, acc: dtypes.dtype, device: Any) -> Iterator[Folding]:
    """What a kernel that calls `_statistics` is to be given; once it has been launched, they are folded."""
    s = statistics
    if s is None:
        yield (None,) * 6, 1, (0.0, 0.0, False), 0
        return
    if s.folded:
        yield (None, s.mean, s.rstd, None, None, None), 1, (s.eps, 0.0, False), footprint(s.mean, s.rstd)
        return
    mean, rstd = empty((c,), acc, device), empty((c,), acc, device)
    running = [None if r is None else elementwise.contiguous(r) for r in (s.running_mean, s.running_var)]
    if s.moments is None:
        yield (None, mean, rstd, *running, None), 1, (s.eps, 0.0, False), footprint(mean, rstd, *running)
    else:
        runs, cumulative = s.moments.shape[0], s.momentum is None and s.batches is not None
        nbytes = footprint(s.moments, mean, rstd) - runs * (c - 1) * s.moments.dtype.itemsize  # one count a run
        nbytes += 2 * footprint(*running, s.batches) - footprint(s.batches if cumulative else None)
        yield (s.moments, mean, rstd, *running, s.batches), runs, (s.eps, s.momentum or 0.0, cumulative), nbytes
        s._moved(running, cumulative)
    s.mean, s.rstd, s.moments = mean, rstd, None


def moments(x: Array) -> Array:
    """[runs, 3, C]: rows, mean and squared deviations from it of runs of rows of x [M, C], M > 0."""
    (m, c), acc = x.shape, dtypes.accumulator(x.dtype)
    config, runs, grid = walk(x, "norm_sums")
    found = empty((runs, 3, c), acc, x.device)
    launch(_moments, grid, x, found, m, c, TRITON_TYPE[acc], bytes=footprint(x, found), **config)
    return found
