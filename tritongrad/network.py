"""A traced forward pass as layers, and the layers as the segments that a fused design runs in one launch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tritongrad.tracing import Operation, Trace, Value

PRODUCT, NORM, RELU, ADD, MAX_POOL, MEAN, LOSS, OTHER = (
    "product", "norm", "relu", "add", "max pool", "mean", "loss", "other"
)  # fmt: skip

_KINDS = {
    "convolution": PRODUCT, "linear": PRODUCT, "product": PRODUCT, "relu": RELU, "image_max": MAX_POOL,
    "mean": MEAN, "mean_of_all": MEAN, "sum": MEAN, "avg": MEAN, "adaptive": MEAN,
    "row_losses": LOSS, "mean_loss": LOSS,
}  # fmt: skip
_VIEWS = {"reshape", "contiguous", "permute", "squeeze", "unsqueeze", "expand"}
"""Operations that give the same value again, copied or not: what a floor is about is not how memory is laid out."""


@dataclass(frozen=True)
class Layer:
    """One step of the forward pass that an unfused design launches as one (a batch norm as two).

    inputs   tensors it reads; those of a product are its two factors, of a norm only what is normalised
    flops    of its forward product, 2 per multiply and add; 0 for what is no product
    batch    of a norm: whether it uses the statistics of the batch
    trained  of a norm: whether its scale or shift wants a gradient
    """

    kind: str
    inputs: tuple[Value, ...]
    output: Value
    flops: int = 0
    batch: bool = False
    trained: bool = False


def layers(trace: Trace) -> list[Layer]:
    """The layers of a forward pass in order, views left out."""
    names: dict[tuple[int, ...], tuple[int, ...]] = {}  # of views, by the value they show
    found: list[Layer] = []
    for operation in _without_loss_tail(trace.operations):
        seen = tuple(None if v is None else replace(v, key=names.get(v.key, v.key)) for v in operation.inputs)
        tensors = [v for v in seen if v is not None]
        if operation.name in _VIEWS and tensors:
            names[operation.result.key] = tensors[0].key
        elif all(v.key != operation.result.key for v in tensors):
            found += _layer(replace(operation, inputs=seen))
    return found


def _without_loss_tail(operations: list[Operation]) -> Iterator[Operation]:
    """All but what turns the losses of rows into one number, and what only serves that, such as counting targets."""
    tail: set[int] = set()
    read_by_others: set[tuple[int, ...]] = set()
    from_loss: set[tuple[int, ...]] = set()
    for o in operations:
        if o.name == "row_losses" or any(v is not None and v.key in from_loss for v in o.inputs):
            from_loss.add(o.result.key)
    for o in reversed(operations):
        serves = o.result.key not in read_by_others and not o.result.requires_grad and bool(from_loss)
        if o.name != "row_losses" and (o.result.key in from_loss or serves):
            tail.add(id(o))
        else:
            read_by_others.update(v.key for v in o.inputs if v is not None)
    return (o for o in operations if id(o) not in tail)


def _layer(o: Operation) -> list[Layer]:
    present = tuple(v for v in o.inputs if v is not None)
    if o.name == "batch_norm":
        return _norm(o)
    kind = _KINDS.get(o.name, OTHER)
    if o.name == "add" and len(present) == 2 and all(v.shape == o.result.shape for v in present):
        kind = ADD
    if kind is PRODUCT:
        factors = present[:2]  # a bias rides along
        depth = factors[0].shape[-1] if o.name == "product" else math.prod(factors[1].shape[1:])
        return [Layer(PRODUCT, factors, o.result, flops=2 * o.result.elements * depth)]
    return [Layer(kind, present, o.result)]


def _norm(o: Operation) -> list[Layer]:
    x, weight, bias = o.inputs
    assert x is not None
    trained = any(p is not None and p.requires_grad for p in (weight, bias))
    return [Layer(NORM, (x,), o.result, batch=o.facts["training"], trained=trained)]


@dataclass(frozen=True)
class Segment:
    """Layers that run as one: a product, a norm or an addition with the addition and the ReLU that follow it.

    residual  what is added to a norm's output, if anything is
    """

    head: Layer
    residual: Value | None
    relu: bool
    output: Value

    @property
    def kind(self) -> str:
        return self.head.kind

    @property
    def x(self) -> Value:
        return self.head.inputs[0]

    @property
    def reads(self) -> tuple[Value, ...]:
        return self.head.inputs if self.residual is None else (*self.head.inputs, self.residual)


def apart(steps: Iterable[Layer]) -> list[Segment]:
    """Every layer a segment of its own."""
    return [Segment(layer, None, False, layer.output) for layer in steps]


def joined(steps: list[Layer]) -> list[Segment]:
    """Layers joined into segments where nobody else reads what lies between.

    A norm takes the addition that follows it and the ReLU that follows that; a product and an addition take a ReLU. Of
    two norms that are added the first takes the addition. A segment stands where its last layer stood.
    """
    readers: dict[tuple[int, ...], list[int]] = {}
    for i, layer in enumerate(steps):
        for v in layer.inputs:
            readers.setdefault(v.key, []).append(i)

    def follower(layer: Layer, kind: str) -> int | None:
        reading = readers.get(layer.output.key, [])
        found = reading[0] if len(reading) == 1 else None
        return found if found is not None and found not in taken and steps[found].kind == kind else None

    taken: set[int] = set()
    found: list[tuple[int, Segment]] = []
    for i, layer in enumerate(steps):
        if i in taken:
            continue
        last, residual, relu = i, None, False
        adding = follower(layer, ADD) if layer.kind == NORM else None
        if adding is not None:
            taken.add(adding)
            last = adding
            residual = next(v for v in steps[adding].inputs if v.key != layer.output.key)
        after = follower(steps[last], RELU) if layer.kind in (NORM, PRODUCT, ADD) else None
        if after is not None:
            taken.add(after)
            last, relu = after, True
        found.append((last, Segment(layer, residual, relu, steps[last].output)))
    return [segment for _, segment in sorted(found, key=lambda entry: entry[0])]
