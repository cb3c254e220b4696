"""Tensors that share memory: views, and what an in-place operation on one of them means for the graph.

A view remembers the tensor it was taken from. Writing to a view writes to its base, so the recorded operation becomes
one of the base: its gradient is that of the base with the part under the view replaced. Views do not follow at once: a
base counts how often it was rewritten, and a view that has not seen the last time records itself anew when it is asked
for its node.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tritongrad import autograd
from tritongrad.autograd import Edge, Gradients, Node, takes_result
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import elementwise
from tritongrad_kernels.array import Array, empty


class View:
    """How a tensor came from another one in the same memory.

    parent    the tensor it was taken from; `base` is the one at the end of that chain, which is no view
    gradient  the gradient of `parent`, given that of the view
    seen      how often the base had been rewritten when the view was last recorded
    lay       how the parent lay in memory when the view was taken
    """

    __slots__ = ("base", "gradient", "lay", "parent", "recorded", "seen")

    def __init__(self, parent: Tensor, gradient: Callable) -> None:
        self.parent, self.gradient, self.lay = parent, gradient, (parent.array.shape, parent.array.strides)
        self.base: Tensor = parent if parent.aliasing is None else parent.aliasing.base
        self.seen = self.base.rewrites
        self.recorded = autograd.is_grad_enabled()

    def refresh(self, tensor: Tensor) -> None:
        """Record the view again, now that its base has another history."""
        self.seen = self.base.rewrites
        if self.lay != (self.parent.array.shape, self.parent.array.strides):  # reshaped in place: a part of the base
            region = Region.between(self.base.array, tensor.array)
            self.parent, self.gradient = self.base, lambda dy: embed(dy, region)
            self.lay = (self.base.array.shape, self.base.array.strides)
        with autograd.enable_grad():
            node = autograd.node_of([(self.parent, self.gradient)])
        if node is not None:
            tensor.rebind(node)

    def rewriting(self, x: Tensor, edges: Sequence[Edge], node: Node) -> Node:
        """A node for the base that stands for the operation `node`, recorded with `edges`, on its view x."""
        base = self.base
        if not self.recorded:
            raise RuntimeError(
                f"{node.name}: a view was created in no_grad mode and is being modified inplace with grad mode "
                f"enabled; clone() the view of shape {list(x.shape)} first"
            )
        if base.requires_grad and base.is_leaf:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
        region = Region.between(base.array, x.array)
        operands = [t for t, _ in edges if getattr(t, "requires_grad", False)]
        own = [i for i, t in enumerate(operands) if t is x]
        others = [i for i, t in enumerate(operands) if t is not x]
        functions: Any = node.function
        likes: Any = node.like

        def gradient(gradients: Gradients, wanted: list[bool]) -> Gradients:
            dy = gradients[0]
            part = take(dy, region)

            def of(i: int) -> Tensor:
                function = functions[i]
                g = function(part, take(dy.result_of(this()), region)) if takes_result(function) else function(part)
                return g.fitted(*likes[i], node.name)

            found = [of(i) if want else None for i, want in zip(others, wanted[1:], strict=True)]
            if not wanted[0]:
                return [None, *found]
            whole = erase(dy, region)
            for i in own:
                whole = whole + embed(of(i), region)
            return [whole, *found]

        rewritten = Node(node.name, [base, *(operands[i] for i in others)], gradient)
        this: Any = weakref.ref(rewritten)  # the node holds the function: no cycle
        rewritten.saved = node.saved
        if any(map(takes_result, functions)):
            rewritten.output = base.array
        return rewritten


class Region(NamedTuple):
    """Where a view lies in its base: a part of an array of shape `whole` whose dense strides are `order`."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    whole: tuple[int, ...]
    order: tuple[int, ...]

    @staticmethod
    def between(base: Array, view: Array) -> Region:
        if base.dense_order() is None:
            raise RuntimeError(
                f"an in-place operation on a view of memory with gaps cannot be recorded: clone() the tensor of shape "
                f"{list(base.shape)} first"
            )
        return Region(view.shape, view.strides, view.offset - base.offset, base.shape, base.strides)

    def of(self, whole: Array) -> Array:
        return whole.view(self.shape, self.strides, whole.offset + self.offset)


def take(x: Tensor, region: Region) -> Tensor:
    """The part of x at `region`."""
    part = region.of(elementwise.in_order(x.array, region.order))
    return record(part, (x, lambda dy: embed(dy, region)))


def embed(x: Tensor, region: Region) -> Tensor:
    """Zeros with x at `region`: the transpose of `take`."""
    whole = elementwise.full(region.whole, 0, x.dtype, x.device, region.order)
    elementwise.copy_into(x.array, region.of(whole))
    return record(whole, (x, lambda dy: take(dy, region)))


def erase(x: Tensor, region: Region) -> Tensor:
    """x with zeros at `region`."""
    whole = elementwise.copy_into(x.array, empty(region.whole, x.dtype, x.device, region.order))
    elementwise.fill(region.of(whole), 0)
    return record(whole, (x, lambda dy: erase(dy, region)))
