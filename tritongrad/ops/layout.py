"""Copies of tensors: in other memory, in another memory order, on another device, in another dtype."""

from __future__ import annotations

from typing import Any

from tritongrad.tensor import Tensor, as_device, duplicate, record, to_device
from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import Array, empty
from tritongrad_kernels.driver import Device
from tritongrad_kernels.formats import (
    contiguous_format,
    memory_format,
    preserve_format,
    require_format,
    strides_in,
    suggested,
)


def clone(input: Tensor, *, memory_format: memory_format = preserve_format) -> Tensor:
    """A copy in memory of its own: in the order of the tensor if that is dense, or in the given one."""
    a = input.array
    if require_format("clone", memory_format) is preserve_format:
        copied = duplicate(a)
    else:
        copied = elementwise.copy_into(a, empty(a.shape, a.dtype, a.device, strides_in(a.shape, memory_format)))
    return record(copied, (input, lambda dy: dy))


def contiguous(x: Tensor, memory_format: memory_format = contiguous_format) -> Tensor:
    """x in C order, or in the given one; x itself where it already is."""
    strides = strides_in(x.array.shape, require_format("contiguous", memory_format))
    if x.array.has_strides(strides):
        return x
    return record(elementwise.in_order(x.array, strides), (x, lambda dy: dy))


def owned(x: Tensor) -> Array:
    """The array of x, or a copy, that owns every element of the memory it spans: what a walk through memory takes."""
    a = x.array
    return a if a.dense_order() is not None and a.offset == 0 else elementwise.contiguous(a, always=True)


def own(x: Tensor) -> Array:
    """`owned`, which x is from now on, so that writing to it writes to x."""
    x.array = owned(x)
    return x.array


def to_same_device(x: Tensor, like: Tensor) -> Tensor:
    """x on the device of `like`."""
    return move(x, like.device)


def move(x: Tensor, device: Device, non_blocking: bool = False) -> Tensor:
    """x on another device; x itself if it is there. With `non_blocking` a copy from the host to a GPU is made while
    kernels run there."""
    if x.device == device:
        return x
    source = x.device
    dense = x.array if x.array.dense_order() is not None else elementwise.contiguous(x.array)
    return record(to_device(dense, device, non_blocking), (x, lambda dy: move(dy, source)))


def cast(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    """x in another dtype; x itself if it has it."""
    if x.dtype is dtype:
        return x
    return record(elementwise.cast(x.array, dtype), (x, lambda dy: dy))


def to(
    x: Tensor,
    *args: Any,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    other: Tensor | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: memory_format | None = None,
) -> Tensor:
    """x with another dtype, device or memory format, or those of another tensor; itself if nothing changes.

    `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`, or by keyword; after these, by position,
    `non_blocking` and `copy`. With `non_blocking` a copy from the host to a GPU overlaps what runs there; x must not be
    written to before it is done.
    """
    switches = [a for a in args if isinstance(a, bool)]
    copy = copy or (len(switches) == 2 and switches[1])
    non_blocking = non_blocking or (len(switches) > 0 and switches[0])
    for a in (*args, other):
        if isinstance(a, dtypes.dtype | type):
            dtype = dtypes.of(a, "to")
        elif isinstance(a, Tensor):
            dtype, device = a.dtype, a.device
        elif a is not None and not isinstance(a, bool):
            device = a
    y = x if device is None else move(x, as_device(device) or x.device, non_blocking)
    y = y if dtype is None else cast(y, dtypes.of(dtype, "to"))
    if y is x and not copy and memory_format in (None, preserve_format, suggested(x.array)):
        return x
    if memory_format in (None, preserve_format):
        return clone(y) if y is x else y
    return clone(y, memory_format=memory_format)


def cpu(x: Tensor, memory_format: memory_format | None = None) -> Tensor:
    """x in the host's memory."""
    return to(x, "cpu", memory_format=memory_format)


def cuda(
    x: Tensor, device: Any = None, non_blocking: bool = False, memory_format: memory_format | None = None
) -> Tensor:
    """x on a GPU, by default the current one."""
    return to(x, "cuda" if device is None else device, non_blocking=non_blocking, memory_format=memory_format)


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the dtype, and on the device, of `other`."""
    return to(x, other)
