"""Tensors that take another shape, other strides or other memory in place: `x.unsqueeze_(0)`, `x.resize_(3)`.

Elements are not touched, but as in torch the version of the memory rises. RuntimeError for a leaf that requires grad,
and for a view of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.placement import extents
from tritongrad.ops.slicing import as_strided
from tritongrad.ops.views import squeeze, t, transpose, unsqueeze
from tritongrad.tensor import Size, Tensor
from tritongrad_kernels.array import contiguous_strides, resized
from tritongrad_kernels.formats import contiguous_format, memory_format, preserve_format, require_format, strides_in


def _reshaped(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """x made function(x), a view of it."""
    if is_grad_enabled() and x.requires_grad and x.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    base = x._base
    if is_grad_enabled() and base is not None and base.requires_grad and base.is_leaf:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    before = Tensor(x.array)  # what x was: the new x is a view of it
    before._node, before.output_number, before._requires_grad = x.node, x.output_number, x.requires_grad
    before.aliasing = x.aliasing
    after = function(before)
    x.array = after.array
    if is_grad_enabled() and after is not before:
        x._node, x.output_number = after.node, after.output_number
    if x.aliasing is not None:
        x.aliasing = after.aliasing
    x.array.memory.version += 1
    return x


@numpy_names
def unsqueeze_(input: Tensor, dim: int) -> Tensor:
    """`unsqueeze` in place."""
    return _reshaped(input, lambda x: unsqueeze(x, dim))


@numpy_names
def squeeze_(input: Tensor, dim: Any = None) -> Tensor:
    """`squeeze` in place."""
    return _reshaped(input, lambda x: squeeze(x, dim))


def t_(input: Tensor) -> Tensor:
    """`t` in place."""
    return _reshaped(input, t)


def transpose_(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose` in place."""
    return _reshaped(input, lambda x: transpose(x, dim0, dim1))


def swapaxes_(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`swapaxes` in place."""
    return transpose_(input, axis0, axis1)


def swapdims_(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`swapdims` in place."""
    return transpose_(input, dim0, dim1)


def as_strided_(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """`as_strided` in place."""
    return _reshaped(input, lambda x: as_strided(x, size, stride, storage_offset))


def resize_(input: Tensor, *size: Any, memory_format: memory_format = contiguous_format) -> Tensor:
    """Another size in the same memory, which grows where it is too small; what it grows by has no values.

    A tensor that has the size keeps its strides; others get those of `memory_format`. RuntimeError for a tensor that
    requires grad, and for memory that is not ours to let grow.
    """
    shape, form = extents("resize_", size), require_format("resize_", memory_format)
    if input.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if form is preserve_format:
        raise RuntimeError("resize_: unsupported memory format preserve_format")
    if shape != input.array.shape or form is not contiguous_format:
        strides = contiguous_strides(shape) if form is contiguous_format else strides_in(shape, form)
        input.array, input.aliasing = resized(input.array, shape, strides), None
    input.array.memory.version += 1
    return input


def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: memory_format = contiguous_format) -> Tensor:
    """`resize_` to the size of another tensor; preserve_format takes its memory format too."""
    return resize_(input, the_template.shape, memory_format=memory_format)


def set_(
    x: Tensor,
    source: Tensor | None = None,
    storage_offset: int = 0,
    size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:
    """Another name for the memory of `source`, or, with a size, for a part of it; without one, for no memory.

    RuntimeError if the dtypes differ, or x is a leaf that requires grad.
    """
    if is_grad_enabled() and x.requires_grad:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if source is None:
        source, size = x.new_empty(0), None
    if source.dtype is not x.dtype or source.device != x.device:
        raise RuntimeError(
            f"set_: expected a {x.dtype.name} tensor on {x.device}, got {source.dtype.name} on {source.device}"
        )
    if size is None:
        x.array = source.array
    else:
        shape = tuple(Size(size))
        strides = contiguous_strides(shape) if stride is None else tuple(stride)
        whole = source.array.view((0,), (1,), storage_offset)
        x.array = resized(whole, shape, strides)
    x.aliasing = None
    return x
