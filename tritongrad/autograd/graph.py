"""The graph: nodes, and how an operation becomes one.

A `Node` stands for one recorded operation: where each input came from, and a function from the gradient of its output
to the gradients of its inputs. It never holds the tensors it produced, so a graph falls with its last reference.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tritongrad.autograd import anomaly
from tritongrad.autograd.mode import is_grad_enabled
from tritongrad_kernels.array import Array

_sequence = itertools.count()
Gradients = Sequence[Any]  # a Tensor or None for each input, or for each output, of a node


class Node:
    """One recorded operation.

    inputs    for each input, the (node, output number) it came from, the leaf Tensor it is, or None if it wants no
              gradient.
    like      shape and dtype of each input. A gradient of the shape the input was broadcast to is summed down to it.
    function  one function per input from the gradient of the only output to that of the input, or one function
              (gradients of the outputs, which inputs want one) -> gradients of the inputs. None once freed.
    output    the Array this operation gave, kept only if a gradient asks for it.
    saved     arrays the gradient needs, with their versions at the time.
    sequence  larger than that of every node this one depends on.
    line      in anomaly mode, the line of the program that called the operation.
    """

    __slots__ = (
        "__weakref__",
        "function",
        "hooks",
        "inputs",
        "like",
        "line",
        "name",
        "output",
        "outputs",
        "saved",
        "sequence",
    )

    def __init__(self, name: str, inputs: Sequence[Any], function: Any, outputs: int = 1) -> None:
        self.name = name
        self.inputs = [origin_of(t) for t in inputs]
        self.like = [None if o is None else (t.array.shape, t.dtype) for o, t in zip(self.inputs, inputs, strict=True)]
        self.function = function
        self.output: Array | None = None
        self.outputs = outputs
        self.hooks: dict[int, list[Callable]] = {}
        self.saved: list[tuple[Array, int]] = []
        self.sequence = next(_sequence)
        self.line = anomaly.calling_line()

    def __repr__(self) -> str:
        return f"<{self.name}Backward>"

    @property
    def next_functions(self) -> tuple:
        """As torch shows a graph: (node or leaf, output number) of each input."""
        return tuple(t if isinstance(t, tuple) else (t, 0) for t in self.inputs)

    def save(self, values: Iterable[Any]) -> None:
        """Note the versions of the arrays among these values, to refuse them if written to before backward."""
        for value in values:
            array = getattr(value, "array", value)
            if isinstance(array, Array):
                self.saved.append((array, array.memory.version))
            elif isinstance(value, tuple | list):
                self.save(value)

    def run(self, gradients: Gradients, wanted: list[bool]) -> Gradients:
        """The gradients of the inputs, given those of the outputs."""
        if self.function is None:
            raise RuntimeError(
                f"trying to backward through the graph a second time: what {self.name} saved was freed by the first "
                f"backward; pass retain_graph=True to it if you need to go through again"
            )
        for array, version in self.saved:
            if array.memory.version != version:
                raise RuntimeError(
                    f"one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"a {array.dtype.name} tensor of shape {list(array.shape)} saved by {self.name} is at version "
                    f"{array.memory.version}; expected version {version} instead" + self._recorded()
                )
        try:
            results = self._results(gradients, wanted)
        except Exception as error:
            if self.line:
                error.add_note(f"the operation was{self._recorded()}")
            raise
        anomaly.check(self.name, self.line, results)
        return [
            g if g is None or like is None or not want else g.fitted(*like, self.name)
            for g, want, like in zip(results, wanted, self.like, strict=True)
        ]

    def _results(self, gradients: Gradients, wanted: list[bool]) -> Gradients:
        if not isinstance(self.function, list):
            return self.function(gradients, wanted)
        dy = gradients[0]
        return [
            None if not want else f(dy, dy.result_of(self)) if takes_result(f) else f(dy)
            for f, want in zip(self.function, wanted, strict=True)
        ]

    def _recorded(self) -> str:
        return f" recorded at {self.line}" if self.line else ""

    def free(self) -> None:
        self.function = self.output = None
        self.saved = []


def origin_of(tensor: Any) -> Any:
    if tensor is None or not tensor.requires_grad:
        return None
    return (tensor.node, tensor.output_number) if tensor.node is not None else tensor


def takes_result(function: Callable) -> bool:
    return function.__code__.co_argcount == 2


def name_of(function: Callable) -> str:
    """The name of the operation that a gradient function was defined in."""
    return function.__qualname__.split(".<locals>")[0].strip("_")


def _held(function: Callable) -> list[Any]:
    """What a closure holds."""
    return [cell.cell_contents for cell in function.__closure__ or ()]


Edge = tuple[Any, Callable]


def node_of(edges: Sequence[Edge]) -> Node | None:
    """A node with these inputs, each with the function that gives its gradient, or None if nobody wants one.

    A function takes the gradient of the result, or that and the result itself if it has two parameters. Inputs that
    want no gradient, and operands that are plain numbers, drop theirs here with everything only it holds.
    """
    edges = [(t, f) for t, f in edges if getattr(t, "requires_grad", False)] if is_grad_enabled() else []
    if not edges:
        return None
    functions = [f for _, f in edges]
    node = Node(name_of(functions[0]), [t for t, _ in edges], functions)
    for f in functions:
        node.save(_held(f))
    return node


def joint_node(inputs: Sequence[Any], function: Callable[[Any, list[bool]], Gradients]) -> Node | None:
    """As `node_of`, for gradients that one computation gives together: function(gradient, which are wanted)."""
    if not is_grad_enabled() or not any(t is not None and t.requires_grad for t in inputs):
        return None
    node = Node(name_of(function), inputs, lambda gradients, wanted: function(gradients[0], wanted))
    node.save(_held(function))
    return node


def bind(result: Any, node: Node | None) -> Any:
    """Make `node` the origin of the tensor `result`."""
    if node is not None:
        if isinstance(node.function, list) and any(map(takes_result, node.function)):
            node.output = result.array
        if node.output is not None:
            node.save([result])
        result.node, result.output_number = node, 0
        result.requires_grad = True
    return result
