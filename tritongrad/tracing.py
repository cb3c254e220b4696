"""What was computed from what: the operations of a forward pass as a list, for analyses of it.

`tensor.record` and its kin tell each operation here while a trace is on. An operation is what a user wrote, not what
was launched: a fused one says what it is made of in its facts.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from tritongrad import autograd
from tritongrad_kernels.dtypes import dtype


@dataclass(frozen=True)
class Value:
    """A tensor as one operation saw it.

    key  equal for all views of one memory between two writes to it
    """

    key: tuple[Any, int]
    shape: tuple[int, ...]
    dtype: dtype
    requires_grad: bool
    is_leaf: bool

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True)
class Operation:
    """One operation by the name its graph node has; None stands for an operand that is absent or a plain number."""

    name: str
    inputs: tuple[Value | None, ...]
    result: Value
    facts: Mapping[str, Any]


@dataclass
class Trace:
    """Operations in order, and whether gradients were computed."""

    operations: list[Operation] = field(default_factory=list)
    backward: bool = False


_trace: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextlib.contextmanager
def tracing() -> Iterator[Trace]:
    """Collect what this thread records inside the block with gradients enabled."""
    trace = Trace()
    token = _trace.set(trace)
    try:
        yield trace
    finally:
        _trace.reset(token)


def listener() -> Trace | None:
    """The trace that wants to hear of an operation now, if any."""
    trace = _trace.get()
    return trace if trace is not None and autograd.is_grad_enabled() else None


def note_gradient() -> None:
    """A gradient has been computed."""
    trace = _trace.get()
    if trace is not None:
        trace.backward = True


def values(tensors: Sequence[Any]) -> tuple[Value | None, ...]:
    """Operands as they are now."""
    return tuple(_value(t) if hasattr(t, "array") else None for t in tensors)


def _value(t: Any) -> Value:
    memory = t.array.memory
    block = weakref.ref(memory)
    hash(block)  # which it remembers when the memory is gone
    return Value((block, memory.version), t.array.shape, t.array.dtype, t.requires_grad, t.is_leaf)


def note(trace: Trace, function: Any, inputs: tuple[Value | None, ...], result: Any, facts: Mapping[str, Any]) -> None:
    """Add an operation, named as a graph node of this gradient function would be."""
    value = _value(result)
    trace.operations.append(Operation(autograd.name_of(function), inputs, value, facts))
