"""One call compares an operation's result and every gradient with torch's in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch

import tritongrad as tg

# Unit roundoff of each dtype: what one correctly rounded operation may be off by, relatively.
EPS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
NUMPY = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def check(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *arrays: Any,
    dtype: str = "float32",
    terms: int = 1,
    slack: float = 4.0,
    grads: bool = True,
    second: bool = False,
    wrap: Callable[[tg.Tensor], tg.Tensor] | None = None,
) -> None:
    """Assert that `ours` on tritongrad tensors equals `theirs` on torch tensors in float64.

    Floating numpy arrays are rounded to `dtype` and want gradients; everything else is passed as it is (integer arrays
    as tensors). `terms` is the longest sum behind one number: the bound is slack eps (2 + sqrt(terms)) times the
    largest magnitude of the expected array. `second` also compares the gradients of a function of the gradients, for
    the inputs and for the gradient that came in. `wrap` changes how our inputs lie in memory (a transposed copy, an
    expanded view) without changing their values.
    """
    rounded = [a.astype(NUMPY[dtype]) if _floating(a) else a for a in arrays]
    mine = [_mine(a, wrap, grads) for a in rounded]
    reference = [_reference(a, grads) for a in rounded]
    got, want = ours(*mine), theirs(*reference)
    bound = slack * EPS[dtype] * (2 + math.sqrt(terms))
    compare("result", got.detach(), want.detach(), bound)
    if not grads:
        return
    cotangent = np.random.default_rng(7).standard_normal(tuple(want.shape)).astype(NUMPY[dtype])
    leaves = [t for t in mine if isinstance(t, tg.Tensor) and t.requires_grad]
    their_leaves = [t for t in reference if isinstance(t, torch.Tensor) and t.requires_grad]
    dy = tg.tensor(cotangent, dtype=got.dtype, requires_grad=second)
    their_dy = torch.tensor(cotangent.astype(np.float64), requires_grad=second)
    our_grads = tg.autograd.grad(got, leaves, dy, create_graph=second)
    their_grads = torch.autograd.grad(want, their_leaves, their_dy, create_graph=second, allow_unused=True)
    expected = [torch.zeros_like(t) if g is None else g for t, g in zip(their_leaves, their_grads, strict=True)]
    for k, (g, w) in enumerate(zip(our_grads, expected, strict=True)):
        compare(f"gradient of input {k}", g.detach(), w.detach(), bound * 2)
    if second:
        _check_second(our_grads, expected, [*leaves, dy], [*their_leaves, their_dy], bound * 16)


def _check_second(ours: Sequence[Any], theirs: Sequence[Any], leaves: list, their_leaves: list, bound: float) -> None:
    """Gradients of sum_k sum(g_k * r_k) for fixed random r; the last of the leaves is the gradient that came in."""
    rng = np.random.default_rng(8)
    weights = [rng.standard_normal(tuple(g.shape)) for g in theirs]
    total = sum(((g * tg.tensor(w, dtype=g.dtype)).sum() for g, w in zip(ours, weights, strict=True)), tg.tensor(0.0))
    want = sum((g * torch.tensor(w)).sum() for g, w in zip(theirs, weights, strict=True))
    if not want.requires_grad:
        return
    got = (
        tg.autograd.grad(total, leaves, materialize_grads=True)
        if total.requires_grad
        else [t.zeros_like() for t in leaves]
    )
    expected = torch.autograd.grad(want, their_leaves, allow_unused=True)
    for k, (g, w, leaf) in enumerate(zip(got, expected, their_leaves, strict=True)):
        compare(f"second gradient of input {k}", g.detach(), torch.zeros_like(leaf) if w is None else w, bound)


def compare(what: str, got: tg.Tensor, want: torch.Tensor, bound: float) -> None:
    """Shapes equal, NaN and infinities in the same places, finite values within bound times the largest magnitude."""
    a, b = np.asarray(got.tolist(), np.float64).reshape(tuple(got.shape)), want.double().numpy()
    assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
    finite = np.isfinite(b)
    assert np.array_equal(a[~finite], b[~finite], equal_nan=True), f"{what}: NaN or infinity in the wrong place"
    if not finite.any():
        return
    error = np.abs(a[finite] - b[finite])
    limit = bound * max(1.0, float(np.abs(b[finite]).max()))
    worst = int(error.argmax()) if error.size else 0
    assert np.isfinite(a[finite]).all(), f"{what}: not finite where {b[finite][worst]} was expected"
    assert error.max(initial=0.0) <= limit, (
        f"{what}: off by {error[worst]:.3e} (allowed {limit:.3e}) at flat position {worst}: "
        f"got {a[finite][worst]!r}, expected {b[finite][worst]!r}"
    )


def _floating(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def _mine(a: Any, wrap: Callable | None, grads: bool) -> Any:
    if not isinstance(a, np.ndarray):
        return a
    t = tg.tensor(a)
    if not t.is_floating_point():
        return t
    t = wrap(t) if wrap is not None else t
    return t.detach().requires_grad_(grads)


def _reference(a: Any, grads: bool) -> Any:
    if not isinstance(a, np.ndarray):
        return a
    is_float = a.dtype.kind == "f" or a.dtype == ml_dtypes.bfloat16
    t = torch.tensor(a.astype(np.float64) if is_float else a)
    return t.requires_grad_(grads) if is_float else t


def randn(*shape: int, seed: int = 0, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """Normals in float64, to be rounded by `check`."""
    return np.random.default_rng(seed).standard_normal(shape) * std + mean


def transposed(t: tg.Tensor) -> tg.Tensor:
    """The same values, lying in memory with the axes in reverse order and gaps between elements."""
    if t.ndim == 0:
        return t
    order = tuple(reversed(range(t.ndim)))
    spread = tg.zeros(*[2 * n for n in reversed(t.shape)], dtype=t.dtype)
    view = spread[tuple(slice(None, None, 2) for _ in order)].permute(order)
    view.copy_(t)
    return view
