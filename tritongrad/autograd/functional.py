"""Jacobians, Hessians and their products with vectors, of functions of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tritongrad.autograd.backward import as_list, grad
from tritongrad.autograd.mode import enable_grad


def _inputs(inputs: Any, create_graph: bool) -> list:
    """The inputs as tensors of their own that gradients are had for."""
    if create_graph:
        return [t if t.requires_grad else t.detach().requires_grad_() for t in as_list(inputs)]
    return [t.detach().requires_grad_() for t in as_list(inputs)]


def _like(structure: Any, values: list) -> Any:
    """`values` as a tuple if `structure` is one, else the only one of them."""
    return tuple(values) if isinstance(structure, tuple | list) else values[0]


def _settled(t: Any, create_graph: bool) -> Any:
    return t if create_graph else t.detach()


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), v^T J): the product of a vector, shaped like the outputs, with the Jacobian.

    `v` may be left out for a single number as output.
    """
    with enable_grad():
        at = _inputs(inputs, create_graph)
        result = func(*at)
        outputs = as_list(result)
        weights = None if v is None else as_list(v)
        found = grad(outputs, at, weights, create_graph=create_graph, materialize_grads=True)
    outputs = [_settled(o, create_graph) for o in outputs]
    return _like(result, outputs), _like(inputs, [_settled(g, create_graph) for g in found])


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), J v): the product of the Jacobian with a vector shaped like the inputs.

    Two backward passes: the gradient of w^T J for w (Townsend 2017, "A new trick for calculating Jacobian vector
    products").
    """
    with enable_grad():
        at = _inputs(inputs, create_graph)
        result = func(*at)
        outputs = as_list(result)
        weights = [o.detach().zeros_like().requires_grad_() for o in outputs]
        transposed = grad(outputs, at, weights, create_graph=True, materialize_grads=True)
        along = [t.ones_like() for t in at] if v is None else as_list(v)
        recorded = [(g, a) for g, a in zip(transposed, along, strict=True) if g.requires_grad]
        if recorded:
            roots, seeds = [g for g, _ in recorded], [a for _, a in recorded]
            found = grad(roots, weights, seeds, create_graph=create_graph, materialize_grads=True)
        else:
            found = tuple(w.zeros_like() for w in weights)
    outputs = [_settled(o, create_graph) for o in outputs]
    return _like(result, outputs), _like(result, [_settled(g, create_graph) for g in found])


def jacobian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False) -> Any:
    """The Jacobian: for output o and input i a tensor [*o.shape, *i.shape], by one backward for each element of o.

    A tuple of inputs gives a tuple, and so does a tuple of outputs, the outer one. With `strict`, an output that does
    not depend on an input raises RuntimeError instead of giving zeros.
    """
    with enable_grad():
        at = _inputs(inputs, create_graph)
        result = func(*at)
        rows = [_rows(o, at, create_graph, strict) for o in as_list(result)]
    return _like(result, [_like(inputs, row) for row in rows])


def _rows(output: Any, inputs: list, create_graph: bool, strict: bool) -> list:
    """The Jacobians of one output for each input."""
    if strict and not output.requires_grad:
        raise RuntimeError("jacobian: an output does not depend on any input, which strict=True forbids")
    if not output.requires_grad:
        return [_zeros(output, t) for t in inputs]
    rows = [_zeros(output, t).reshape(output.numel(), *t.shape) for t in inputs]
    for i in range(output.numel()):
        one = np.zeros(output.numel())
        one[i] = 1
        weight = output.detach().from_numpy_like(one)
        found = grad(output, inputs, weight, retain_graph=True, create_graph=create_graph, allow_unused=True)
        for k, g in enumerate(found):
            if g is not None:
                rows[k][i] = g
            elif strict:
                raise RuntimeError(f"jacobian: output element {i} does not depend on input {k}, which strict forbids")
    return [r.reshape(*output.shape, *t.shape) for r, t in zip(rows, inputs, strict=True)]


def _zeros(output: Any, t: Any) -> Any:
    return t.detach().from_numpy_like(np.zeros(t.shape)).expand((*output.shape, *t.shape)).clone()


def hessian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False) -> Any:
    """The Hessian of a function that gives a single number: for inputs i and k a tensor [*i.shape, *k.shape]."""

    def gradient(*at: Any) -> Any:
        y = func(*at)
        if y.numel() != 1:
            raise RuntimeError(f"hessian: expected a function that gives a single number, got shape {list(y.shape)}")
        found = grad(y, list(at), create_graph=True, allow_unused=not strict, materialize_grads=not strict)
        return _like(inputs, list(found))

    return jacobian(gradient, inputs, create_graph, strict)


def vhp(func: Callable, inputs: Any, v: Any, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), v^T H) for a function that gives a single number."""
    with enable_grad():
        at = _inputs(inputs, create_graph)
        y = func(*at)
        first = grad(y, at, create_graph=True, materialize_grads=True)
        recorded = [(g, a) for g, a in zip(first, as_list(v), strict=True) if g.requires_grad]
        if recorded:
            roots, seeds = [g for g, _ in recorded], [a for _, a in recorded]
            found = grad(roots, at, seeds, create_graph=create_graph, materialize_grads=True)
        else:
            found = tuple(t.zeros_like() for t in at)
    return _settled(y, create_graph), _like(inputs, [_settled(g, create_graph) for g in found])


hvp = vhp  # a Hessian is symmetric
