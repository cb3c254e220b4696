"""The graph: nodes, and how an operation becomes one.

A `Node` stands for one recorded operation: where each input came from, and a function from the gradient of its output
to the gradients of its inputs. It never holds the tensors it produced, so a graph falls with its last reference.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tritongrad.autograd import anomaly, observation
from tritongrad.autograd.mode import is_grad_enabled
from tritongrad_kernels.array import Array

_sequence = itertools.count()
_SEQUENCES = tuple, list
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
        self.inputs: list[Any] = []
        self.like: list[Any] = []
        for t in inputs:
            origin = origin_of(t)
            self.inputs.append(origin)
            self.like.append(None if origin is None else (t.array.shape, t.array.dtype))
        self.function = function
        self.output: Array | None = None
        self.outputs = outputs
        self.hooks: dict[int, list[Callable]] = {}
        self.saved: list[tuple[Array, int]] = []
        self.sequence = next(_sequence)
        self.line = anomaly.calling_line()
        observer = observation.observer
        if observer is not None:
            observer.node_made(self)

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
            if type(array) is Array:
                self.saved.append((array, array.memory.version))
            elif isinstance(value, _SEQUENCES):
                self.save(value)

    def keep(self, functions: Sequence[Callable]) -> None:
        """Note the versions of the arrays that the functions of gradients hold."""
        self.save([cell.cell_contents for function in functions for cell in function.__closure__ or ()])

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
    node = tensor.node
    return tensor if node is None else (node, tensor.output_number)


def takes_result(function: Callable) -> bool:
    return function.__code__.co_argcount == 2


def name_of(function: Callable) -> str:
    """The name of the operation that a gradient function was defined in."""
    return _outermost(function.__qualname__)


@functools.cache
def _outermost(qualified: str) -> str:
    return qualified.split(".<locals>")[0].strip("_")


Edge = tuple[Any, Callable]


def node_of(edges: Sequence[Edge]) -> Node | None:
    """A node with these inputs, each with the function that gives its gradient, or None if nobody wants one.

    A function takes the gradient of the result, or that and the result itself if it has two parameters. Inputs that
    want no gradient, and operands that are plain numbers, drop theirs here with everything only it holds.
    """
    if not is_grad_enabled():
        return None
    inputs: list[Any] = []
    functions: list[Callable] = []
    for tensor, function in edges:
        if getattr(tensor, "requires_grad", False):
            inputs.append(tensor)
            functions.append(function)
    if not inputs:
        return None
    node = Node(name_of(functions[0]), inputs, functions)
    node.keep(functions)
    return node


def joint_node(inputs: Sequence[Any], function: Callable[[Any, list[bool]], Gradients]) -> Node | None:
    """As `node_of`, for gradients that one computation gives together: function(gradient, which are wanted)."""
    if not is_grad_enabled() or not any(t is not None and t.requires_grad for t in inputs):
        return None
    node = Node(name_of(function), inputs, lambda gradients, wanted: function(gradients[0], wanted))
    node.keep([function])
    return node


def bind(result: Any, node: Node | None) -> Any:
    """Make `node` the origin of the tensor `result`."""
    if node is not None:
        functions = node.function
        if isinstance(functions, list) and any([takes_result(f) for f in functions]):
            node.output = result.array
        if node.output is not None:
            node.save([result])
        result.originate(node)
    return result
