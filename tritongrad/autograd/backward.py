"""Carrying gradients from results to leaves."""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

from tritongrad.autograd import observation
from tritongrad.autograd.graph import Node, origin_of
from tritongrad.autograd.mode import as_is, set_grad_enabled

_ALONE = nullcontext()


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
    chosen = None if inputs is None else as_list(inputs)
    _run(roots, gradients, chosen, create_graph if retain_graph is None else retain_graph, create_graph, None)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of the sum of `outputs` for `inputs`, touching no `.grad`.

    With `create_graph` they can be differentiated again. An input that `outputs` do not depend on is an error unless
    `allow_unused` (None in its place) or `materialize_grads` (zeros).
    """
    if is_grads_batched:
        raise RuntimeError("grad: is_grads_batched is not supported; call grad once for each gradient")
    if not only_inputs:
        raise RuntimeError("grad: only_inputs=False is not supported; use backward() to accumulate into .grad")
    roots, gradients = _roots(outputs, grad_outputs)
    wanted = as_list(inputs)
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


def grad_after(ends: Collection[Node], outputs: list, inputs: list, gradients: list, create_graph: bool) -> list:
    """`grad` over what was computed after the nodes `ends`: a gradient that reaches one of them goes no further. None
    for inputs without one."""
    found: dict[int, Any] = {}
    _run(outputs, gradients, inputs, create_graph, create_graph, found, ends)
    return [found.get(id(t)) for t in inputs]


def as_list(tensors: Any) -> list:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _roots(tensors: Any, gradients: Any) -> tuple[list, list]:
    """The tensors to differentiate and their gradients, checked and filled in."""
    roots = as_list(tensors)
    given = [None] * len(roots) if gradients is None else as_list(gradients)
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


def _run(
    roots: list,
    gradients: list,
    inputs: list | None,
    retain: bool,
    create: bool,
    found: dict | None,
    ends: Collection[Node] = (),
) -> None:
    """Carry gradients from the roots to the leaves, visiting each node once, later nodes first.

    A node's inputs have smaller sequence numbers than itself, so when the largest pending number is taken, every
    gradient for that node has arrived. Gradients of `inputs` go to `found` by id, or to `.grad` where that is None.
    """
    stops, needed = _stops(inputs), _leading_to(roots, inputs, ends)
    pending: dict[Node, list] = {}
    queue: list[tuple[int, Node]] = []
    borrowed: weakref.WeakSet = weakref.WeakSet()  # memory of gradients that others than the receiving leaf hold

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

    with set_grad_enabled(create), as_is():
        for t, g in zip(roots, gradients, strict=True):
            borrowed.add(g.array.memory)
            deliver(origin_of(t), g)
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
            if node in ends or not any(wanted):
                continue
            observer = observation.observer
            with observer.node_running(node) if observer is not None else _ALONE:
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


def _leading_to(roots: list, inputs: list | None, ends: Collection[Node]) -> set[Node] | None:
    """The nodes on a path from the roots to `inputs` with none of `ends` before its last; None, meaning all, where
    there are no inputs."""
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
            if node in ends:
                continue
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
        return
    if tensor.grad is None:
        tensor.grad = g if create else g.own(tensor, shared)
    elif create:
        tensor.grad = tensor.grad + g
    else:
        tensor.grad.add_(g)
    for hook in tensor.after_accumulation:
        hook(tensor)
