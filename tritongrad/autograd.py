"""Reverse-mode differentiation over a graph of nodes. Knows no op and no kernel.

A `Node` stands for one recorded operation: where each input came from, and a function from the gradient of its output
to the gradients of its inputs. It never holds the tensors it produced, so a graph falls with its last reference.
Everything here works on anything that has a Tensor's attributes; `tensor.py` builds on it, not the other way round.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tritongrad_kernels.array import Array

# ------------------------------------------------------------------------------------------------------- grad mode


class _Mode(threading.local):
    enabled = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations of this thread are being recorded."""
    return _mode.enabled


class set_grad_enabled:
    """Switch recording on or off: at once when called, and back on leaving when used with `with`."""

    def __init__(self, mode: bool) -> None:
        self._before = _mode.enabled
        _mode.enabled = bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before


class _Recording:
    """A context manager and decorator under which recording is on or off."""

    mode: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and callable(args[0]):  # used as a bare decorator: @no_grad
            return cls()(args[0])
        return super().__new__(cls)

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_mode.enabled)
        _mode.enabled = self.mode

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before.pop()

    def __call__(self, function: Callable) -> Callable:
        mode = self.mode

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with enable_grad() if mode else no_grad():
                return function(*args, **kwargs)

        return inside


class no_grad(_Recording):
    """Nothing is recorded inside: `with no_grad(): ...`, `@no_grad()` or `@no_grad`."""

    mode = False


class enable_grad(_Recording):
    """Recording is on inside, also within `no_grad`."""

    mode = True


class inference_mode(_Recording):
    """As `no_grad`; `inference_mode(False)` records."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = not mode


# ------------------------------------------------------------------------------------------------------------ graph

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
    """

    __slots__ = ("__weakref__", "function", "hooks", "inputs", "like", "name", "output", "outputs", "saved", "sequence")

    def __init__(self, name: str, inputs: Sequence[Any], function: Any, outputs: int = 1) -> None:
        self.name = name
        self.inputs = [_origin(t) for t in inputs]
        self.like = [None if o is None else (t.array.shape, t.dtype) for o, t in zip(self.inputs, inputs, strict=True)]
        self.function = function
        self.output: Array | None = None
        self.outputs = outputs
        self.hooks: dict[int, list[Callable]] = {}
        self.saved: list[tuple[Array, int]] = []
        self.sequence = next(_sequence)

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
                    f"{array.memory.version}; expected version {version} instead"
                )
        if isinstance(self.function, list):
            dy = gradients[0]
            results = [
                None if not want else f(dy, dy.result_of(self)) if _takes_result(f) else f(dy)
                for f, want in zip(self.function, wanted, strict=True)
            ]
        else:
            results = self.function(gradients, wanted)
        return [
            g if g is None or like is None or not want else g.fitted(*like, self.name)
            for g, want, like in zip(results, wanted, self.like, strict=True)
        ]

    def free(self) -> None:
        self.function = self.output = None
        self.saved = []


def _origin(tensor: Any) -> Any:
    if tensor is None or not tensor.requires_grad:
        return None
    return (tensor.node, tensor.output_number) if tensor.node is not None else tensor


def _takes_result(function: Callable) -> bool:
    return function.__code__.co_argcount == 2


def _name(function: Callable) -> str:
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
    edges = [(t, f) for t, f in edges if getattr(t, "requires_grad", False)] if _mode.enabled else []
    if not edges:
        return None
    functions = [f for _, f in edges]
    node = Node(_name(functions[0]), [t for t, _ in edges], functions)
    for f in functions:
        node.save(_held(f))
    return node


def joint_node(inputs: Sequence[Any], function: Callable[[Any, list[bool]], Gradients]) -> Node | None:
    """As `node_of`, for gradients that one computation gives together: function(gradient, which are wanted)."""
    if not _mode.enabled or not any(t is not None and t.requires_grad for t in inputs):
        return None
    node = Node(_name(function), inputs, lambda gradients, wanted: function(gradients[0], wanted))
    node.save(_held(function))
    return node


def bind(result: Any, node: Node | None) -> Any:
    """Make `node` the origin of the tensor `result`."""
    if node is not None:
        if isinstance(node.function, list) and any(_takes_result(f) for f in node.function):
            node.output = result.array
            node.save([result])
        result.node, result.output_number = node, 0
        result.requires_grad = True
    return result


# ---------------------------------------------------------------------------------------------------------- backward


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add to `.grad` of every leaf (or only of `inputs`) the gradient of the sum of `tensors`.

    `grad_tensors` weighs each, as the left side of a vector-Jacobian product; it may be left out for scalars.
    """
    roots, gradients = _roots(tensors, grad_tensors)
    chosen = None if inputs is None else _list(inputs)
    _run(roots, gradients, chosen, create_graph if retain_graph is None else retain_graph, create_graph, None)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of the sum of `outputs` for `inputs`, touching no `.grad`.

    With `create_graph` they can be differentiated again. An input that `outputs` do not depend on is an error unless
    `allow_unused` (None in its place) or `materialize_grads` (zeros).
    """
    roots, gradients = _roots(outputs, grad_outputs)
    wanted = _list(inputs)
    for t in wanted:
        if not t.requires_grad:
            raise RuntimeError("grad: one of the differentiated tensors does not require grad")
    found: dict[int, Any] = {}
    _run(roots, gradients, wanted, create_graph if retain_graph is None else retain_graph, create_graph, found)
    result = [found.get(id(t)) for t in wanted]
    if materialize_grads:
        result = [t.zeros_like() if g is None else g for t, g in zip(wanted, result, strict=True)]
    elif not allow_unused and any(g is None for g in result):
        raise RuntimeError(
            "grad: one of the differentiated tensors appears to not have been used in the graph; "
            "set allow_unused=True if this is the desired behavior"
        )
    return tuple(result)


def _list(tensors: Any) -> list:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _roots(tensors: Any, gradients: Any) -> tuple[list, list]:
    """The tensors to differentiate and their gradients, checked and filled in."""
    roots = _list(tensors)
    given = [None] * len(roots) if gradients is None else _list(gradients)
    if len(given) != len(roots):
        raise RuntimeError(f"backward: got {len(roots)} tensors and {len(given)} gradients")
    for i, (t, g) in enumerate(zip(roots, given, strict=True)):
        if not t.requires_grad:
            raise RuntimeError(f"backward: a tensor of shape {list(t.shape)} does not require grad and has no grad_fn")
        if g is None:
            if t.numel() != 1:
                raise RuntimeError(
                    f"backward: grad can be implicitly created only for scalar outputs, but the shape is "
                    f"{list(t.shape)}"
                )
            given[i] = t.ones_like()
        elif g.shape != t.shape or g.dtype is not t.dtype:
            raise RuntimeError(
                f"backward: the gradient is {g.dtype.name}{list(g.shape)}, but the tensor {t.dtype.name}{list(t.shape)}"
            )
    return roots, given


def _run(roots: list, gradients: list, inputs: list | None, retain: bool, create: bool, found: dict | None) -> None:
    """Carry gradients from the roots to the leaves, visiting each node once, later nodes first.

    A node's inputs have smaller sequence numbers than itself, so when the largest pending number is taken, every
    gradient for that node has arrived. Gradients of `inputs` go to `found` by id, or to `.grad` where that is None.
    """
    stops, needed = _stops(inputs), _leading_to(roots, inputs)
    pending: dict[Node, list] = {}
    queue: list[tuple[int, Node]] = []
    borrowed = set()  # memory of gradients that somebody besides the receiving leaf holds

    def deliver(origin: Any, g: Any) -> None:
        if origin is None or g is None:
            return
        if not isinstance(origin, tuple):
            _arrive(origin, g, inputs, found, create, g.array.memory in borrowed)
            return
        node, number = origin
        if needed is not None and node not in needed:
            return
        slots = pending.get(node)
        if slots is None:
            slots = pending[node] = [None] * node.outputs
            heapq.heappush(queue, (-node.sequence, node))
        slots[number] = g if slots[number] is None else slots[number] + g

    with set_grad_enabled(create):
        for t, g in zip(roots, gradients, strict=True):
            borrowed.add(g.array.memory)
            deliver(_origin(t), g)
        while queue:
            _, node = heapq.heappop(queue)
            arrived = pending.pop(node)
            for number, hooks in node.hooks.items():
                for hook in hooks:
                    changed = hook(arrived[number]) if arrived[number] is not None else None
                    arrived[number] = arrived[number] if changed is None else changed
            for number, t in stops.get(node, ()):
                if arrived[number] is not None:
                    _arrive(t, arrived[number], inputs, found, create, True)
            wanted = [_is_wanted(origin, needed, inputs) for origin in node.inputs]
            if not any(wanted):
                continue
            results = node.run(arrived, wanted)
            borrowed.update(g.array.memory for g in arrived if g is not None)
            for origin, g in zip(node.inputs, results, strict=True):
                deliver(origin, g)
                if g is not None:
                    borrowed.add(g.array.memory)
            if not retain:
                node.free()


def _is_wanted(origin: Any, needed: set[Node] | None, inputs: list | None) -> bool:
    if origin is None:
        return False
    if isinstance(origin, tuple):
        return needed is None or origin[0] in needed
    return inputs is None or any(origin is t for t in inputs)


def _stops(inputs: list | None) -> dict[Node, list[tuple[int, Any]]]:
    """For each node, the outputs among `inputs`."""
    stops: dict[Node, list[tuple[int, Any]]] = {}
    for t in inputs or ():
        if t.node is not None:
            stops.setdefault(t.node, []).append((t.output_number, t))
    return stops


def _leading_to(roots: list, inputs: list | None) -> set[Node] | None:
    """The nodes on a path from the roots to `inputs`; None, meaning all, where there are none."""
    if inputs is None:
        return None
    leaves = {id(t) for t in inputs if t.node is None}
    needed = {t.node for t in inputs if t.node is not None}
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [t.node for t in roots if t.node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            order.append(node)
            stack.extend(o[0] for o in node.inputs if isinstance(o, tuple))
    for node in sorted(order, key=lambda n: n.sequence):  # inputs come before what depends on them
        if any(o is not None and (o[0] in needed if isinstance(o, tuple) else id(o) in leaves) for o in node.inputs):
            needed.add(node)
    return needed


def _arrive(tensor: Any, g: Any, inputs: list | None, found: dict | None, create: bool, shared: bool) -> None:
    """A gradient has reached a tensor that is to have it."""
    if inputs is not None and not any(tensor is t for t in inputs):
        return
    if tensor.node is None:
        for hook in tensor.hooks or ():
            changed = hook(g)
            if changed is not None:
                g, shared = changed, True
    if found is not None:
        found[id(tensor)] = g if id(tensor) not in found else found[id(tensor)] + g
    elif tensor.grad is None:
        tensor.grad = g if create else g.own(tensor, shared)
    elif create:
        tensor.grad = tensor.grad + g
    else:
        tensor.grad.add_(g)


# ---------------------------------------------------------------------------------------------------- user functions


class _Context:
    """What `forward` of a user's `Function` leaves for its `backward`."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self._saved: tuple = ()
        self._versions: list[int] = []
        self._not_differentiable: tuple = ()
        self._outputs: tuple = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for backward, which gets them from `saved_tensors` unless they were written to meanwhile."""
        self._saved = tensors
        self._versions = [0 if t is None else t.array.memory.version for t in tensors]

    @property
    def saved_tensors(self) -> tuple:
        for t, version in zip(self._saved, self._versions, strict=True):
            if t is not None and t.array.memory.version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"a saved {t.dtype.name} tensor of shape {list(t.shape)}"
                )
        return self._saved

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self._not_differentiable = tensors


class Function:
    """An operation with a gradient of the user's own: static methods `forward(ctx, ...)` and `backward(ctx, ...)`.

    `forward` runs unrecorded; `backward` gets the gradient of each output and returns that of each argument of
    `forward`, None where there is none.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, ...)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record it."""
        tensors = [a if hasattr(a, "requires_grad") and hasattr(a, "array") else None for a in args]
        needs = tuple(t is not None and t.requires_grad for t in tensors)
        ctx = _Context(needs)
        with no_grad():
            result = cls.forward(ctx, *args)
        if not (_mode.enabled and any(needs)):
            return result
        outputs = result if isinstance(result, tuple) else (result,)

        def function(gradients: Gradients, wanted: list[bool]) -> Gradients:
            filled = [o.zeros_of(g) for o, g in zip(shapes, gradients, strict=True)]
            given = cls.backward(ctx, *filled)
            given = given if isinstance(given, tuple) else (given,)
            if len(given) != len(tensors):
                raise RuntimeError(
                    f"{cls.__name__}.backward returned {len(given)} gradients, but forward took "
                    f"{len(tensors)} arguments"
                )
            return [g.clone() if g is not None else None for g in given]

        node = Node(cls.__name__, tensors, function, len(outputs))
        fresh = []
        for number, o in enumerate(outputs):
            o = o.detach() if any(o is t for t in tensors) else o
            if not any(o is t for t in ctx._not_differentiable) and o.dtype.is_floating_point:
                o.node, o.output_number, o.requires_grad = node, number, True
            fresh.append(o)
        shapes = [_Filler(o) for o in fresh]
        return tuple(fresh) if isinstance(result, tuple) else fresh[0]


class _Filler:
    """Zeros of an output's shape, for the gradient of an output that nobody used; holds no graph."""

    def __init__(self, output: Any) -> None:
        self._make = output.detach().zeros_like

    def zeros_of(self, g: Any) -> Any:
        return self._make() if g is None else g


# ------------------------------------------------------------------------------------------------------- verification


def gradcheck(
    function: Callable,
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare gradients with central differences, for float64 inputs that require grad.

    Checks the whole Jacobian of every floating output against (f(x + eps) - f(x - eps)) / 2 eps. Returns whether they
    agree; with `raise_exception` a disagreement raises RuntimeError naming the output and input.
    """
    inputs = _list(inputs)
    for k, t in enumerate(inputs):
        if t.requires_grad and t.dtype.name != "float64":
            raise ValueError(f"gradcheck: input {k} is {t.dtype.name}; differences need float64")
    outputs = _list(function(*inputs))
    for o, output in enumerate(outputs):
        for k, t in enumerate(inputs):
            if not (t.requires_grad and output.requires_grad):
                continue
            ours, theirs = _jacobian(output, t), _differences(function, inputs, k, o, eps)
            if not np.allclose(ours, theirs, rtol, atol):
                if raise_exception:
                    raise RuntimeError(
                        f"gradcheck: the gradient of output {o} for input {k} is\n{ours}\n"
                        f"but differences give\n{theirs}"
                    )
                return False
    return True


def _jacobian(output: Any, t: Any) -> np.ndarray:
    rows = []
    for i in range(output.numel()):
        one = np.zeros(output.numel())
        one[i] = 1
        (g,) = grad(output, t, output.from_numpy_like(one), retain_graph=True, allow_unused=True)
        rows.append(np.zeros(t.numel()) if g is None else g.detach().numpy().reshape(-1).copy())
    return np.array(rows).reshape(output.numel(), t.numel())


def _differences(function: Callable, inputs: list, k: int, o: int, eps: float) -> np.ndarray:
    base = inputs[k].detach().numpy().copy()
    columns = []
    for i in range(base.size):
        sides = []
        for step in (eps, -eps):
            moved = base.copy()
            moved.reshape(-1)[i] += step
            at = [t.detach() for t in inputs]
            at[k] = inputs[k].from_numpy_like(moved)
            with no_grad():
                sides.append(_list(function(*at))[o].numpy().reshape(-1).copy())
        columns.append((sides[0] - sides[1]) / (2 * eps))
    return np.array(columns).reshape(base.size, -1).T


def gradgradcheck(function: Callable, inputs: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3) -> bool:
    """`gradcheck` of the gradients of sum(outputs * cos(i)) for all inputs that require grad, i numbering elements."""
    given = _list(inputs)

    def gradient(*at: Any) -> tuple:
        leaves = [t.requires_grad_() if w.requires_grad and t.is_leaf else t for t, w in zip(at, given, strict=True)]
        with enable_grad():
            outputs = [t for t in _list(function(*leaves)) if t.requires_grad]
            weights = [t.from_numpy_like(np.cos(np.arange(t.numel()))) for t in outputs]
            wanted = [t for t, w in zip(leaves, given, strict=True) if w.requires_grad]
            return grad(outputs, wanted, weights, create_graph=True, materialize_grads=True)

    return gradcheck(gradient, given, eps, atol, rtol)
