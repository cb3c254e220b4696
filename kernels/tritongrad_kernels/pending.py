"""Launches that wait until somebody reads what they give, because a later operation may be joined to them.

A batch norm that is followed by an addition and a ReLU is one pass over memory, if the first does not start before the
last is known. So it gives an array whose memory has no bytes yet (`promise`) and says how they would be had, in a
`Work`. An operation that meets such an array asks the work to `absorb` it, and gets an array with a longer one. Whoever
needs bytes instead has them computed by asking for them: `Memory.address` is not there before.

Nobody can tell, except by counting launches. What a work has yet to read is withheld too, so that it is read before
anybody writes to it; memory that somebody outside may write to is not waited for; joined operations round where each of
them would. What no one reads is not computed.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tritongrad_kernels import driver, memory
from tritongrad_kernels.array import Array
from tritongrad_kernels.driver import Device
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.memory import Memory

enabled = os.environ.get("TRITONGRAD_FUSION", "1") != "0"
"""Whether anything waits. Off, every operation is a launch of its own, which is good for finding out which one does
what; sums of batch norms may then come out differently in their last bit."""

noted: Callable[[Work], None] | None = None
"""Told of each work as it is promised: who asks for it is on the stack then, and not when it runs."""

Claim = Callable[[], Any]
"""Gives what has yet to read some memory, with `waiting` and `settle()`: a weak reference to a Memory, for one. None if
nobody wants it any more."""


class Work:
    """How the bytes of a promised memory would be had.

    inputs  the arrays it reads, which nobody may write to before
    layout  dtype, shape and strides of the result, which is all of its memory
    """

    __slots__ = ("__weakref__", "layout", "version")
    layout: tuple[dtype, tuple[int, ...], tuple[int, ...]]
    version: int | None

    @property
    def inputs(self) -> Sequence[Array]:
        raise NotImplementedError

    def run(self) -> Array:
        """Compute the result, into new memory."""
        raise NotImplementedError

    def absorb(
        self, formula: Any, operands: Sequence[Any], position: int, kind: dtype | None, out: Array | None
    ) -> Array | None:
        """What formula(*operands) gives, `operands[position]` being the result of this work, if the two can be joined.

        `kind` is the dtype asked for, `out` where it is to be written; None stands for what is usual.
        """
        return None

    def gives(self, a: Array) -> bool:
        """Whether `a` is the whole result of this work, and nobody wrote to it since."""
        kind, shape, strides = self.layout
        unwritten = self.version is None or self.version == a.memory.version
        return unwritten and a.dtype is kind and a.shape == shape and a.offset == 0 and a.has_strides(strides)


class _Pending:
    """Why the bytes of a memory are not to be touched: they are not there (`work`), or have to be read before."""

    __slots__ = ("claims", "held", "work")

    def __init__(self, work: Work | None, held: Any) -> None:
        self.work, self.held = work, held
        self.claims: list[Claim] = []

    @property
    def claimed(self) -> bool:
        """Whether somebody has yet to read the bytes before they change."""
        return any([getattr(claim(), "waiting", False) for claim in self.claims])

    def settle(self, of: Memory) -> None:
        with driver.lock:
            claims, self.claims = self.claims, []
            for claim in claims:
                reader = claim()
                if reader is not None and reader.waiting:
                    reader.settle()
            if of.pending is not self:  # a reader needed the bytes
                return
            if self.work is not None:
                fill(of, self.work)
            else:
                of.pending = None
                of.release(self.held)


def promise(
    work: Work, kind: dtype, shape: Sequence[int], strides: Sequence[int], device: Device | None = None
) -> Array:
    """An array, dense and alone in its memory, that `work` will fill when somebody asks for it."""
    shape, strides = tuple(shape), tuple(strides)
    nbytes = kind.itemsize
    for n in shape:
        nbytes *= n
    block = memory.promised(nbytes, device or work.inputs[0].device)
    out = Array(block, kind, shape, strides)
    work.layout, work.version = (kind, shape, strides), None
    await_(out, work)
    return out


def await_(out: Array, work: Work) -> None:
    """Let `work` fill the memory of `out`, which has no bytes, instead of what was to fill it."""
    with driver.lock:
        block = out.memory
        work.layout, work.version = (out.dtype, out.shape, out.strides), None
        if noted is not None:
            noted(work)
        block.origin = work
        if block.pending is None:
            block.pending = _Pending(work, None)
        else:
            block.pending.work = work
        inputs = work.inputs
        if not enabled or any([a.memory.exposed or a.memory.lent for a in inputs]):
            block.settle()
            return
        claim_on(inputs, weakref.ref(block))
        driver.waiting.add(block)


def claim_on(arrays: Sequence[Array], claim: Claim) -> None:
    """Withhold these arrays from everybody until what `claim` gives has read them."""
    with driver.lock:
        for a in arrays:
            block = a.memory
            if block.pending is None:
                block.pending = _Pending(None, block.withhold())
            block.pending.claims.append(claim)


@contextlib.contextmanager
def reading(arrays: Sequence[Array]) -> Iterator[None]:
    """Inside the block these arrays may be read, although others have yet to read them too."""
    blocks = dict.fromkeys([a.memory for a in arrays])
    with driver.lock:
        for block in blocks:
            if block.waiting:
                fill(block, block.pending.work)
        aside = [(block, block.pending) for block in blocks if block.pending is not None]
        for block, pending in aside:
            block.pending = None
            block.release(pending.held)
        try:
            yield
        finally:
            for block, pending in aside:
                pending.claims = [claim for claim in pending.claims if getattr(claim(), "waiting", False)]
                if pending.claims:
                    pending.held = block.withhold()
                    block.pending = pending


def fill(block: Memory, work: Work) -> None:
    """Run the work of a memory. If that fails, it can be tried again."""
    pending = block.pending
    outside = not isinstance(block, memory.DryMemory) and memory.in_dry_run()
    with driver.lock, memory.no_dry_run() if outside else contextlib.nullcontext():
        pending.work = block.pending = None  # from here on nobody waits for it
        try:
            with reading(work.inputs):
                result = work.run()
            block.adopt(result.memory)
        except BaseException:
            pending.work, block.pending = work, pending
            claim_on(work.inputs, weakref.ref(block))
            raise
        _filled(block, pending, work)


def _filled(block: Memory, pending: _Pending, work: Work) -> None:
    """Its bytes are there, for those first who have claims on them."""
    work.version = block.version
    pending.work = block.pending = None
    if pending.claims:
        pending.held = block.withhold()
        block.pending = pending


def give(block: Memory, result: Array) -> None:
    """Fill a waiting memory with what another work computed along with its own."""
    with driver.lock:
        pending = block.pending
        block.adopt(result.memory)
        _filled(block, pending, pending.work)
