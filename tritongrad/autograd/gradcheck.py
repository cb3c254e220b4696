"""Gradients compared with differences of the function itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tritongrad.autograd.backward import as_list, grad
from tritongrad.autograd.mode import enable_grad, no_grad


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
    inputs = as_list(inputs)
    for k, t in enumerate(inputs):
        if t.requires_grad and t.dtype.name != "float64":
            raise ValueError(f"gradcheck: input {k} is {t.dtype.name}; differences need float64")
    outputs = as_list(function(*inputs))
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
                sides.append(as_list(function(*at))[o].detach().numpy().reshape(-1).copy())
        columns.append((sides[0] - sides[1]) / (2 * eps))
    return np.array(columns).reshape(base.size, -1).T


def gradgradcheck(function: Callable, inputs: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3) -> bool:
    """`gradcheck` of the gradients of sum(outputs * cos(i)) for all inputs that require grad, i numbering elements."""
    given = as_list(inputs)

    def gradient(*at: Any) -> tuple:
        leaves = [t.requires_grad_() if w.requires_grad and t.is_leaf else t for t, w in zip(at, given, strict=True)]
        with enable_grad():
            outputs = [t for t in as_list(function(*leaves)) if t.requires_grad]
            weights = [t.from_numpy_like(np.cos(np.arange(t.numel()))) for t in outputs]
            wanted = [t for t, w in zip(leaves, given, strict=True) if w.requires_grad]
            return grad(outputs, wanted, weights, create_graph=True, materialize_grads=True)

    return gradcheck(gradient, given, eps, atol, rtol)
