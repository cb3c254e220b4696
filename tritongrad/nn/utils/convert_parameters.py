"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from tritongrad.autograd import no_grad
from tritongrad.ops.joining import cat
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of some parameters, one after the other; differentiable. TypeError where their devices differ."""
    listed = list(parameters)
    _one_device(listed)
    return cat([reshape(p, (-1,)) for p in listed])


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give parameters the elements of a vector, one after the other."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    listed = list(parameters)
    _one_device(listed)
    start = 0
    for p in listed:
        p.data = vec[start : start + p.numel()].view_as(p).data
        start += p.numel()


def _one_device(parameters: list[Tensor]) -> None:
    if len({p.device for p in parameters}) > 1:
        raise TypeError("Found two parameters on different devices, this is currently not supported.")
