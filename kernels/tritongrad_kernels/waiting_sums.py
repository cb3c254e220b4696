"""Sums of slabs that wait for each other: of split weight gradients, and of the partial sums of norms.

The first one that somebody reads computes all of the device, in one launch: `slabs.sum_slabs`.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from tritongrad_kernels import elementwise
from tritongrad_kernels.array import Array, contiguous_strides, empty
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.memory import Memory
from tritongrad_kernels.pending import Work, give, promise, reading
from tritongrad_kernels.slabs import Job, sum_slabs

_sums: weakref.WeakSet[Memory] = weakref.WeakSet()


class Sum(Work):
    """slabs[0] + slabs[1] + ..., with the digits of `rounded`, computed with all others that wait on the device."""

    __slots__ = ("rounded", "slabs")

    def __init__(self, slabs: Array, rounded: dtype) -> None:
        self.slabs, self.rounded = slabs, rounded

    @property
    def inputs(self) -> list[Array]:
        return [self.slabs]

    def run(self) -> Array:
        first = self._job()
        jobs, others = [first], []
        for block in list(_sums):
            if block.waiting and type(block) is type(self.slabs.memory) and block.device == first.out.device:
                jobs.append(block.origin._job())
                others.append(block)
        with reading([job.slabs for job in jobs]):
            sum_slabs(jobs)
            for block, job in zip(others, jobs[1:], strict=True):
                give(block, job.out)
        _sums.clear()
        return first.out

    def _job(self) -> Job:
        kind, shape, strides = self.layout
        return Job(self.slabs, empty(shape, kind, self.slabs.device, strides), self.rounded)

    def absorb(
        self, formula: Any, operands: Sequence[Any], position: int, kind: dtype | None, out: Array | None
    ) -> Array | None:
        """A cast: the sum is stored in another dtype, with the digits it has."""
        a = operands[position]
        if formula is not elementwise._identity or out is not None or kind is None or not a.memory.waiting:
            return None
        now, shape, strides = self.layout
        if not kind.is_floating_point or not self.gives(a):
            return None
        if now is self.slabs.dtype and self.rounded is now:
            return summed(self.slabs, shape, kind, strides)
        return summed(self.slabs, shape, kind, strides, now) if kind.itemsize > now.itemsize else None


def summed(
    slabs: Array,
    shape: Sequence[int],
    kind: dtype,
    strides: Sequence[int] | None = None,
    rounded: dtype | None = None,
) -> Array:
    """The sum over the first axis of `slabs`, in C order or at `strides`: as each of the slabs lies in memory."""
    work = Sum(slabs, rounded or kind)
    out = promise(work, kind, shape, contiguous_strides(shape) if strides is None else strides)
    _sums.add(out.memory)
    return out
