"""Design floors: the least time one training step can take on a GPU, by how much of it a design fuses.

A floor is the sum over the launches a design needs of max(flops / peak, bytes / bandwidth). Every tensor a launch
touches counts once for it: tiles and windows that are read again come from cache, nothing stays there between launches.
The designs, each with all that the one before it fuses:

a   Nothing is fused. A batch norm reads its input for the statistics, and again to apply them; its backward reads the
    gradient and the input for the two sums, and again to apply them. ReLU, residual addition, the addition of gradients
    that meet, and max pooling with 8-byte indices are launches of their own. The optimizer makes separate passes.
b   A norm applies the residual addition and the ReLU that follow it, in both directions; where there is a residual, the
    ReLU leaves a mask of one bit an element for the backward pass, otherwise it is computed again from the input.
    Products and additions apply a ReLU that follows. Gradients that meet are added by the launch with the most
    arithmetic among those that give them, at the price of one more read each. Pooling keeps 1-byte indices. The
    optimizer is one launch.
b1  The statistics of a norm are taken by the product that writes its input, at no cost.
c   A norm, with its ReLU if it has one, whose output only products read is applied by these products as they read. One
    that only a max pooling reads is applied by the pooling, which keeps no indices: backward finds them again from the
    input. A norm that only a residual addition reads is applied by that. In the backward pass, the launch that gives
    the last gradient of such a norm's output, or of a residual sum's, applies the ReLU's gradient and takes the norm's
    sums, at the price of reading the norm's input (and the mask); the norm's own gradient is one more launch. A ReLU on
    a product or a sum likewise has its gradient applied by whoever gives the last gradient of its output.
c+  The norm's own gradient is computed, by the two gradient products that read it, from what it would be computed from,
    where it is the gradient of a product that nobody else reads. (Not where a pooling follows the norm.)

Rules of every design: a bias and its gradient ride along with their product; tensors that want no gradient cause no
work; a sum or mean is one pass in each direction; a loss of rows is one launch that gives its gradient at once; any
other operation is a launch forward and a launch for each gradient, which reads the gradient and one operand. The
optimizer keeps float32 parameters and moments, and a copy of 16-bit parameters in 16 bits (a step that trains 16-bit
parameters without float32 ones moves half of that, and can lie below a floor where parameters outweigh activations).

The bounds follow NVIDIA's published ways to fuse: cuDNN's batch norm with add and activation (b), statistics in the
convolution's epilogue (b1), and normalisation in the main loop of convolutions (c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tritongrad.gpus import GPU
from tritongrad.network import ADD, LOSS, MAX_POOL, MEAN, NORM, PRODUCT, RELU, Segment, apart, joined, layers
from tritongrad.tracing import Trace, Value
from tritongrad_kernels.dtypes import dtype

Key = tuple[Any, int]


@dataclass(frozen=True)
class Design:
    """What is fused; see the head of this file."""

    fused: bool = False
    statistics: bool = False
    prologue: bool = False
    recombined: bool = False


DESIGNS: Mapping[str, Design] = {
    "a": Design(),
    "b": Design(fused=True),
    "b1": Design(fused=True, statistics=True),
    "c": Design(fused=True, statistics=True, prologue=True),
    "c+": Design(fused=True, statistics=True, prologue=True, recombined=True),
}

_EAGER_PASSES = {0: 6, 1: 10, 2: 18, 3: 26}
"""float32 numbers an optimizer moves per parameter in separate passes, by the moments it keeps: weight decay 3 and
update 3; momentum 4; Adam's second moment, its root and the division 8 more, as a third one."""


@dataclass(frozen=True)
class Floor:
    """What a step takes at least under a design: milliseconds, bytes moved, launches."""

    ms: float
    bytes: int
    launches: int


@dataclass
class Launch:
    """A launch of a design. `kind` is the dtype of a product's factors."""

    flops: int
    nbytes: int
    kind: dtype | None = None


def floors(trace: Trace, gpu: GPU, precision: str = "ieee", moments: int | None = None) -> dict[str, Floor]:
    """The floor of each design for the step that was traced; of its forward pass alone if it computed no gradients.

    precision  of float32 products, as for `GPU.seconds`
    moments    tensors an optimizer keeps per parameter; None if none was run
    """
    result = {}
    for name, design in DESIGNS.items():
        work = launches(trace, design, moments)
        seconds = sum(gpu.seconds(w.flops, w.nbytes, w.kind, precision) for w in work)
        result[name] = Floor(seconds * 1e3, sum(w.nbytes for w in work), len(work))
    return result


def launches(trace: Trace, design: Design, moments: int | None = None) -> list[Launch]:
    """The launches of a traced step under a design."""
    steps = layers(trace)
    step = _Step(joined(steps) if design.fused else apart(steps), design, trace.backward)
    for segment in step.segments:
        step.forward(segment)
    if trace.backward:
        for segment in reversed(step.segments):
            step.backward(segment)
        for key in list(step.arrived):
            step.gradient(key)
    if moments is not None:
        step.launch(_optimizer_bytes(trace, design, moments))
    return step.launches


def _optimizer_bytes(trace: Trace, design: Design, moments: int) -> int:
    """For each parameter 20 bytes with one moment: the 32-bit parameter and moment read and written, the gradient read,
    and for 16-bit parameters the copy written. Separate passes also cast parameters and gradients between the two."""
    trained = {v.key: v for o in trace.operations for v in o.inputs if v is not None and v.is_leaf and v.requires_grad}
    total = 0
    for v in trained.values():
        size = max(v.dtype.itemsize, 4)
        halves = v.dtype.itemsize < 4
        if design.fused:
            total += v.elements * (size * (3 + 2 * moments))
        else:
            total += v.elements * (size * _EAGER_PASSES[min(moments, 3)] + (12 if halves else 0))
    return total


class _Step:
    """One step of a design as it is put together: forward segments in order, then backward ones in reverse.

    arrived     for each tensor, the launches that gave a gradient of it so far; None for one that another tensor's
                gradient is, at no cost
    recombined  for each product's output, bytes that computing its gradient from a norm's takes in each reader
    """

    def __init__(self, segments: list[Segment], design: Design, backward: bool) -> None:
        self.segments, self.design, self.trains = segments, design, backward
        self.launches: list[Launch] = []
        self.arrived: dict[Key, list[Launch | None]] = {}
        self.recombined: dict[Key, int] = {}
        self.losses: dict[Key, Launch] = {}
        self.producer = {s.output.key: s for s in segments}
        self.readers: dict[Key, list[Segment]] = {}
        self.sizes = {v.key: v.nbytes for s in segments for v in (*s.reads, s.output)}
        for s in segments:
            for v in s.reads:
                self.readers.setdefault(v.key, []).append(s)
        scalars = [s for s in segments if self._is_end(s) and s.output.elements == 1 and s.kind != LOSS]
        ends = [s for s in segments if self._is_end(s) and s.kind != LOSS]
        losses = any(s.kind == LOSS for s in segments)
        self.roots = {s.output.key for s in scalars or ([] if losses else ends)}

    def _is_end(self, s: Segment) -> bool:
        return s.output.requires_grad and s.output.key not in self.readers

    def launch(self, nbytes: int, flops: int = 0, kind: dtype | None = None) -> Launch:
        work = Launch(flops, nbytes, kind)
        self.launches.append(work)
        return work

    # --------------------------------------------------------------------------------------- what a segment becomes

    def role(self, s: Segment) -> str:
        """How a norm is applied: "folded" into products, "pooled" by a max pooling, as the "sum" with its residual, at
        the "side" of another norm's sum, or "alone"."""
        readers = self.readers.get(s.output.key, [])
        if not self.design.prologue or not readers:
            return "alone"
        if s.residual is not None:
            return "sum" if self._carried(s) or not self.trains else "alone"
        if all(r.kind == PRODUCT and r.x.key == s.output.key for r in readers):
            return "folded"
        if len(readers) == 1 and readers[0].kind == MAX_POOL:
            return "pooled"
        if len(readers) == 1 and not s.relu and self._beside(s) is not None:
            return "side"
        return "alone"

    def _beside(self, s: Segment) -> Segment | None:
        """The sum that a norm is the residual of."""
        for r in self.readers.get(s.output.key, []):
            if r.kind == NORM and r.residual is not None and r.residual.key == s.output.key and self.role(r) == "sum":
                return r
        return None

    def _carried(self, s: Segment) -> bool:
        """Whether some launch gives a gradient of this segment's output, and so can go on with it."""
        passing = {ADD}
        return s.output.requires_grad and any(
            r.kind not in passing and any(v.key == s.output.key and v.requires_grad for v in r.head.inputs)
            for r in self.readers.get(s.output.key, [])
        )

    def _mask(self, s: Segment) -> int:
        """Bytes of the mask that a ReLU leaves for the backward pass."""
        if not (s.relu and self.trains and s.output.requires_grad):
            return 0
        needed = {NORM: s.residual is not None, ADD: True, PRODUCT: self._epilogue_masks(s)}[s.kind]
        return -(-s.output.elements // 8) if needed else 0

    def _epilogue_masks(self, s: Segment) -> bool:
        """Whether the gradient of the ReLU of a product or an addition is applied by who gives the last gradient."""
        return self.design.prologue and self._carried(s)

    # ------------------------------------------------------------------------------------------------------- forward

    def forward(self, s: Segment) -> None:
        if s.kind == NORM:
            return self._forward_norm(s)
        if s.kind == MAX_POOL:
            return self._forward_pool(s)
        reads = sum(v.nbytes for v in s.reads)
        if s.kind == LOSS:
            wanted = self.trains and s.x.requires_grad
            self.losses[s.output.key] = self.launch(reads + (s.x.nbytes if wanted else s.output.nbytes))
        elif s.kind == PRODUCT:
            self.launch(reads + s.output.nbytes + self._mask(s), s.head.flops, s.x.dtype)
        else:
            self.launch(reads + s.output.nbytes + self._mask(s))

    def _forward_norm(self, s: Segment) -> None:
        before = self.producer.get(s.x.key)
        if s.head.batch and not (self.design.statistics and before is not None and before.kind == PRODUCT):
            self.launch(s.x.nbytes)
        role = self.role(s)
        if role == "pooled":
            self.launch(s.x.nbytes + self.readers[s.output.key][0].output.nbytes)
        elif role in ("alone", "sum"):
            self.launch(sum(v.nbytes for v in s.reads) + s.output.nbytes + self._mask(s))

    def _forward_pool(self, s: Segment) -> None:
        if not self._is_pooled(s):
            self.launch(s.x.nbytes + s.output.nbytes + self._indices(s))

    def _is_pooled(self, s: Segment) -> bool:
        before = self.producer.get(s.x.key)
        return before is not None and before.kind == NORM and self.role(before) == "pooled"

    def _indices(self, s: Segment) -> int:
        return s.output.elements * (1 if self.design.fused else 8) if self.trains and s.x.requires_grad else 0

    # ------------------------------------------------------------------------------------------------------ backward

    def gradient(self, key: Key) -> Launch | None:
        """Add the gradients of a tensor that have met. The launch that can go on with the sum, if there is one."""
        arrived = self.arrived.pop(key, [])
        carriers = [w for w in arrived if w is not None]
        last = max(carriers, key=lambda w: w.flops, default=None)
        for _ in arrived[1:]:
            if self.design.fused and last is not None:
                last.nbytes += self.sizes[key]
            else:
                self.launch(3 * self.sizes[key])
        return last

    def _arrive(self, v: Value, work: Launch | None) -> None:
        if v.requires_grad:
            self.arrived.setdefault(v.key, []).append(work)

    def _go_on(self, last: Launch | None, s: Segment, nbytes: int) -> None:
        """Let the launch that gave the gradient of a segment's output read more and go on with it."""
        if last is None:  # the gradient was given from outside
            self.launch(s.output.nbytes + nbytes)
        else:
            last.nbytes += nbytes

    def backward(self, s: Segment) -> None:
        """The launches that carry the gradient of a segment's output to what it reads."""
        key = s.output.key
        if s.kind == LOSS:
            return self._arrive(s.x, self.losses[key])
        if (key not in self.arrived and key not in self.roots) or not s.output.requires_grad:
            return None
        if s.kind == NORM and self.role(s) == "side":
            del self.arrived[key]
            return None
        if s.kind == MAX_POOL and self._is_pooled(s):
            return self._arrive(s.x, self.gradient(key))
        last = self.gradient(key)
        if s.kind == NORM:
            return self._backward_norm(s, last)
        if s.kind == PRODUCT:
            return self._backward_product(s, last)
        if s.kind == ADD:
            self._backward_relu(s, last)
            for v in s.reads:
                self._arrive(v, None)
            return None
        for v in s.reads:
            if v.requires_grad:
                self._arrive(v, self.launch(s.output.nbytes + self._operand(s, v) + v.nbytes))
        return None

    def _operand(self, s: Segment, v: Value) -> int:
        """Bytes that the gradient for `v` reads besides that of the output."""
        if s.kind == MEAN:
            return 0
        if s.kind == MAX_POOL:
            return self._indices(s)
        if s.kind == RELU:
            return s.output.nbytes
        return next((u.nbytes for u in s.reads if u is not v), v.nbytes)

    def _backward_relu(self, s: Segment, last: Launch | None) -> None:
        """The gradient of a ReLU that follows a product or an addition."""
        if not s.relu:
            return
        if self._epilogue_masks(s):
            self._go_on(last, s, self._mask(s))
        else:
            self.launch(2 * s.output.nbytes + (self._mask(s) or s.output.nbytes))

    def _backward_product(self, s: Segment, last: Launch | None) -> None:
        self._backward_relu(s, last)
        dy = s.output.nbytes + self.recombined.get(s.output.key, 0)
        first, second = s.head.inputs
        for v, other in ((second, first), (first, second)):
            if v.requires_grad:
                self._arrive(v, self.launch(dy + other.nbytes + v.nbytes, s.head.flops, s.x.dtype))

    def _backward_norm(self, s: Segment, last: Launch | None) -> None:
        role = self.role(s)
        if role == "folded":
            self._go_on(last, s, s.x.nbytes)
            return self._apply(s.output.nbytes, [s])
        if role == "sum":
            return self._backward_sum(s, last)
        if role == "pooled":
            dy, mask, again = self.readers[s.output.key][0].output.nbytes, 0, True
        else:
            dy, mask, again = s.output.nbytes, self._mask(s), s.relu and s.residual is None
        if s.head.batch or s.head.trained:
            self.launch(dy + s.x.nbytes + mask)
        masked = [s.residual] if s.residual is not None and s.relu else []
        written = [v for v in (s.x, *masked) if v.requires_grad]
        work = None
        if written:
            reads = dy + mask + (s.x.nbytes if s.head.batch or again else 0)
            work = self.launch(reads + sum(v.nbytes for v in written))
        self._arrive(s.x, work)
        if s.residual is not None:
            self._arrive(s.residual, work if masked else None)
        return None

    def _backward_sum(self, s: Segment, last: Launch | None) -> None:
        """A norm with its residual, whose own normalisation, if it has one, goes the same way."""
        assert s.residual is not None
        norms = [s]
        side = self.producer.get(s.residual.key)
        if side is not None and side.kind == NORM and self.role(side) == "side":
            norms.append(side)
        sums = sum(n.x.nbytes for n in norms if n.head.batch or n.head.trained)
        self._go_on(last, s, self._mask(s) + sums)
        self._arrive(s.residual, None)
        self._apply(s.output.nbytes, norms)

    def _apply(self, dy: int, norms: list[Segment]) -> None:
        """The gradients of the inputs of norms, whose sums are known, from that of their output."""
        left = []
        for n in norms:
            if n.x.requires_grad and self._recombines(n):
                self.recombined[n.x.key] = n.x.nbytes if n.head.batch else 0
                self._arrive(n.x, None)
            elif n.x.requires_grad:
                left.append(n)
        if left:
            reads = sum(n.x.nbytes for n in left if n.head.batch)
            work = self.launch(dy + reads + sum(n.x.nbytes for n in left))
            for n in left:
                self._arrive(n.x, work)

    def _recombines(self, n: Segment) -> bool:
        before = self.producer.get(n.x.key)
        alone = len(self.readers[n.x.key]) == 1
        return self.design.recombined and alone and before is not None and before.kind == PRODUCT and not before.relu
