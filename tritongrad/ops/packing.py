"""Sequences of different lengths, step after step without padding: how their rows lie, and how they get there.

Packed rows [rows, ...] have first all sequences' first elements, then all second ones, and so on. Sequences stand in
order of falling length, so the `sizes[t]` rows of step t are those of the first `sizes[t]` sequences.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tritongrad.ops.slicing import narrow, select
from tritongrad.ops.views import movedim
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import elementwise, gather as kernel
from tritongrad_kernels.array import Array, empty, from_host
from tritongrad_kernels.driver import Device
from tritongrad_kernels.gather import Keys


@dataclass(frozen=True)
class Steps:
    """The rows of each time step, in the order in which a layer takes the steps: backwards if `reverse`, which only
    sequences of one length can be taken directly (for others, see `turned`)."""

    sizes: tuple[int, ...]
    reverse: bool = False

    @functools.cached_property
    def even(self) -> bool:
        """Whether all sequences have one length."""
        return self.sizes[-1] == self.sizes[0]

    @functools.cached_property
    def starts(self) -> list[int]:
        """The first row of each step, in the order of time."""
        return list(itertools.accumulate(self.sizes[:-1], initial=0))

    @functools.cached_property
    def spans(self) -> list[tuple[int, int]]:
        """(first row, end) of each step in the order it is taken."""
        spans = [(start, start + n) for start, n in zip(self.starts, self.sizes, strict=True)]
        return spans[::-1] if self.reverse else spans

    @functools.cached_property
    def backwards(self) -> list[tuple[int, int, int | None]]:
        """(first row, end, first row of the step taken before, None for the first) of each step, the last one first."""
        befores = [None, *(start for start, _ in self.spans)]
        return [(a, z, before) for (a, z), before in zip(self.spans, befores, strict=False)][::-1]

    @functools.cached_property
    def lengths(self) -> list[int]:
        """How long each sequence is."""
        longer = np.asarray(self.sizes)[None, :] > np.arange(self.sizes[0])[:, None]
        return longer.sum(1).tolist()

    def _keys(self, rows: Iterable[int], bound: int, device: Device, rising: bool = False) -> Keys:
        return Keys(from_host(np.fromiter(rows, np.int64), device), bound, rising)

    def last(self, rows: Array) -> Array:
        """Of packed rows, that of each sequence's last step, in memory of their own."""
        if self.even:
            return elementwise.contiguous(rows.slice(0, *self.spans[-1]), always=True)
        at = [self.starts[n - 1] + k for k, n in enumerate(self.lengths)]
        return kernel.take(rows, (0,), self._keys(at, rows.shape[0], rows.device))

    def before(self, rows: Array, first: Array) -> Array:
        """For each packed row that of the step before in its sequence; before the first step, those of `first`."""
        if len(self.sizes) == 1:
            return first
        out = empty(rows.shape, rows.dtype, rows.device)
        elementwise.copy_into(first, out.slice(0, *self.spans[0]))
        (begin, end), total = self.spans[0], rows.shape[0]
        if not self.even:
            at = (start + k for start, n in zip(self.starts, self.sizes[1:], strict=False) for k in range(n))
            elementwise.copy_into(kernel.take(rows, (0,), self._keys(at, total, rows.device)), out.slice(0, end, total))
        elif self.reverse:
            elementwise.copy_into(rows.slice(0, end - begin, total), out.slice(0, 0, begin))
        else:
            elementwise.copy_into(rows.slice(0, 0, total - end), out.slice(0, end, total))
        return out

    @functools.cached_property
    def turning(self) -> list[int]:
        """For each packed row the one that takes its place where every sequence is read from its end."""
        return [self.starts[self.lengths[k] - 1 - t] + k for t, n in enumerate(self.sizes) for k in range(n)]

    def places(self, device: Device) -> Keys:
        """Where in [time, sequence], counted row by row, each packed row has its place."""
        width = self.sizes[0]
        at = (t * width + k for t, n in enumerate(self.sizes) for k in range(n))
        return self._keys(at, len(self.sizes) * width, device, rising=True)


def turned(rows: Tensor, steps: Steps) -> Tensor:
    """Packed rows with every sequence from its end to its beginning; doing it twice changes nothing."""
    keys = steps._keys(steps.turning, rows.array.shape[0], rows.device)
    return record(kernel.take(rows.array, (0,), keys), (rows, lambda dy: turned(dy, steps)))


def packed(sequences: Tensor, steps: Steps, batch_first: bool = False) -> Tensor:
    """The rows of padded sequences [time, sequence, ...] ([sequence, time, ...] if `batch_first`), without padding."""
    x = movedim(sequences, 1, 0) if batch_first else sequences
    length = x.array.shape[0]
    used = x.array.slice(0, 0, len(steps.sizes))
    return record(
        kernel.take(used, (0, 1), steps.places(x.device)),
        (x, lambda dy: spread(dy, steps, 0.0, length)),
    )


def spread(rows: Tensor, steps: Steps, padding_value: float, length: int, batch_first: bool = False) -> Tensor:
    """Packed rows as padded sequences [length, sequence, ...], or [sequence, length, ...]."""
    shape = (length, steps.sizes[0], *rows.array.shape[1:])
    across = (shape[1], shape[0], *shape[2:]) if batch_first else shape
    out = elementwise.full(across, padding_value, rows.dtype, rows.device)
    filled = out.permute((1, 0, *range(2, out.ndim))) if batch_first else out
    values = elementwise.contiguous(rows.array)
    kernel.put(filled.slice(0, 0, len(steps.sizes)), (0, 1), steps.places(rows.device), values)
    return record(out, (rows, lambda dy: packed(dy, steps, batch_first)))


def padded(sequences: Sequence[Tensor], batch_first: bool, padding_value: float, left: bool) -> Tensor:
    """Sequences [length, ...] in one tensor as `spread` gives it, in the dtype of the first, padded at one end."""
    longest, first = max(s.array.shape[0] for s in sequences), sequences[0]
    shape = (len(sequences), longest) if batch_first else (longest, len(sequences))
    out = elementwise.full((*shape, *first.array.shape[1:]), padding_value, first.dtype, first.device)
    axis = 0 if batch_first else 1

    def part(k: int, s: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        count = s.array.shape[0]
        start = longest - count if left else 0
        elementwise.copy_into(s.array, out.select(axis, k).slice(0, start, start + count))
        return s, lambda dy: narrow(select(dy, axis, k), 0, start, count)

    return record(out, *(part(k, s) for k, s in enumerate(sequences)))


def sizes_of(lengths: Sequence[int]) -> tuple[int, ...]:
    """How many sequences go on to each step, given their falling lengths."""
    longer = np.asarray(lengths, np.int64)[:, None] > np.arange(lengths[0])[None, :]
    return tuple(longer.sum(0).tolist())
