"""Keeping gradients in bounds. All gradients of a dtype are gone through in one launch."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable, Iterator
from itertools import groupby

from tritongrad.autograd import no_grad
from tritongrad.ops.comparison import clamp
from tritongrad.ops.joining import stack
from tritongrad.ops.layout import own, owned
from tritongrad.ops.norms import vector_norm
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes, elementwise, foreach as kernel

Tensors = Tensor | Iterable[Tensor]


@no_grad()
def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of all elements of some tensors as of one vector, without dimensions.

    RuntimeError if it is infinite or NaN and `error_if_nonfinite` says so. `foreach` is accepted and changes nothing.
    """
    whole = _listed(tensors)
    if not whole:
        return Tensor(elementwise.full((), 0.0, dtypes.float32))
    order = float(norm_type)
    device = whole[0].device
    norms = []
    for same in _alike(whole):
        if order in kernel.ORDERS:
            norms.append(Tensor(kernel.norm([owned(t) for t in same], order)))
        else:
            norms += [vector_norm(t, order) for t in same]
    total = norms[0] if len(norms) == 1 else vector_norm(stack([n.to(device) for n in _promoted(norms)]), order)
    if error_if_nonfinite and not total.isfinite().item():
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            f"clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            f"`error_if_nonfinite=False`"
        )
    kind = whole[0].dtype
    for t in whole:
        kind = dtypes.promote(kind, t.dtype)
    return total.to(kind)


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiply the gradients of parameters by max_norm / total_norm where that is less than 1, in place."""
    factor = clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
    for same in _alike(_gradients(_listed(parameters))):
        on = factor.to(same[0].device).to(dtypes.accumulator(same[0].dtype))
        kernel.scale([own(g) for g in same], on.array)
        _written(same)


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of parameters in place so that their norm as of one vector is at most `max_norm`.

    The norm before is returned. The host does not wait for it. Source: Pascanu et al. 2013, algorithm 1.
    """
    if isinstance(parameters, types.GeneratorType):
        parameters = list(parameters)
        if not parameters:
            warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    parameters = _listed(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_norm(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The older name of `clip_grad_norm_`."""
    warnings.warn("clip_grad_norm is deprecated in favor of clip_grad_norm_.", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Bring every element of the gradients of parameters between -clip_value and clip_value, in place."""
    for same in _alike(_gradients(_listed(parameters))):
        kernel.clamp([own(g) for g in same], -float(clip_value), float(clip_value))
        _written(same)


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _alike(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors that have elements, by dtype and device."""

    def kind(t: Tensor) -> tuple[str, str]:
        return t.dtype.name, str(t.device)

    for _, same in groupby(sorted((t for t in tensors if t.numel()), key=kind), kind):
        yield list(same)


def _promoted(norms: list[Tensor]) -> list[Tensor]:
    wide = any(n.dtype is dtypes.float64 for n in norms)
    return [n.to(dtypes.float64 if wide else dtypes.float32) for n in norms]


def _written(tensors: list[Tensor]) -> None:
    for t in tensors:
        t.array.memory.version += 1
