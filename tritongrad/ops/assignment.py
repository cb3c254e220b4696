"""Writing into tensors: from another tensor, or a number."""

from __future__ import annotations

from tritongrad.ops.operands import Operand
from tritongrad.tensor import Tensor, record_inplace
from tritongrad_kernels import elementwise as kernel
from tritongrad_kernels.array import empty
from tritongrad_kernels.dtypes import require_fit


def copy_(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Overwrite x with `source`, broadcast, cast and moved to its device."""
    source = source if isinstance(source, Tensor) else _full_like(x, source)
    try:
        fits = kernel.broadcast_shapes(x.array.shape, source.array.shape) == x.array.shape
    except ValueError:
        fits = False
    if not fits:
        raise RuntimeError(f"copy_: a source of shape {list(source.shape)} does not fit shape {list(x.shape)}")
    moved = source.to(x.device)
    return record_inplace(
        x, lambda: kernel.copy_into(moved.array, x.array), (x, lambda dy: dy.zeros_like()), (moved, lambda dy: dy)
    )


def fill_(input: Tensor, value: Operand) -> Tensor:
    """Set every element to a number."""
    if isinstance(value, Tensor):
        return copy_(input, value)
    require_fit(value, input.dtype)
    return record_inplace(input, lambda: kernel.fill(input.array, value), (input, lambda dy: dy.zeros_like()))


def zero_(input: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(input, 0)


def _full_like(x: Tensor, value: float) -> Tensor:
    return Tensor(kernel.fill(empty(x.array.shape, x.dtype, x.device), value))


def fill(input: Tensor, value: Operand) -> Tensor:
    """A copy of `input` with every element set to a number."""
    return fill_(input.clone(), value)
