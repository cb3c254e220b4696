"""Tensors filled with one number, or with nothing: by size, in the manner of another tensor, or in memory given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.ops.creation import tensor
from tritongrad.ops.layout import cast, to
from tritongrad.ops.placement import extents, fit, leaf, placed, require_fit, size_of, target
from tritongrad.tensor import Tensor, as_device, empty, get_default_dtype
from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import Array, empty_like as empty_array_like
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.formats import (
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    require_format,
    require_strided,
    strides_in,
)


def full(
    size: Sequence[int],
    fill_value: Any,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor filled with a number; its dtype is the number's unless given."""
    if not isinstance(size, list | tuple):
        raise TypeError(f"full: expected a size of whole numbers in a tuple, got {size!r}")
    if isinstance(fill_value, Tensor):
        dtype, fill_value = dtype or fill_value.dtype, fill_value.item()
    if isinstance(fill_value, complex):
        raise TypeError("full: complex numbers are not supported")
    kind, place = target("full", out, dtype, device, layout, dtypes.of_scalar(fill_value, get_default_dtype()))
    require_fit("full", np.array(fill_value), kind)
    return placed(elementwise.full(extents("full", (tuple(size),)), fill_value, kind, place), out, requires_grad)


def zeros(
    *size: Any,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """A tensor of zeros."""
    shape = extents("zeros", size, size_of(named, "zeros"))
    kind, place = target("zeros", out, dtype, device, layout)
    return placed(elementwise.full(shape, 0, kind, place), out, requires_grad)


def ones(
    *size: Any,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """A tensor of ones."""
    shape = extents("ones", size, size_of(named, "ones"))
    kind, place = target("ones", out, dtype, device, layout)
    return placed(elementwise.full(shape, 1, kind, place), out, requires_grad)


def uninitialised(
    *size: Any,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: memory_format | None = None,
    **named: Any,
) -> Tensor:
    """`empty`: a tensor whose elements are whatever the memory held, in C order or in the given `memory_format`."""
    shape = extents("empty", size, size_of(named, "empty"))
    kind, place = target("empty", out, dtype, device, layout)
    form = require_format("empty", memory_format or contiguous_format)
    if form is preserve_format:
        raise RuntimeError("empty: unsupported memory format preserve_format: there is no tensor whose order to keep")
    if out is not None:
        return fit(out, shape).requires_grad_(requires_grad)
    return leaf(empty(shape, kind, place, strides_in(shape, form)), requires_grad)


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uninitialised memory in which neighbours along each axis lie `stride` elements apart, and none beyond."""
    shape, strides = extents("empty_strided", (tuple(size),)), extents("empty_strided", (tuple(stride),))
    if len(shape) != len(strides):
        raise RuntimeError(f"empty_strided: a size of {len(shape)} dimensions with {len(strides)} strides")
    span = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    block = empty((span,), *target("empty_strided", None, dtype, device, layout))
    return leaf(block.view(shape, strides), requires_grad)


def like(
    name: str,
    x: Tensor,
    kind: dtype | None,
    device: Any,
    memory_format: memory_format = preserve_format,
    layout: layout | None = None,
) -> Array:
    """Uninitialised memory in the shape of x and, unless told otherwise, its memory order."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(x).__name__}")
    require_strided(name, layout)
    shape, kind = x.array.shape, dtypes.of(kind, name)
    if require_format(name, memory_format) is not preserve_format:
        strides = strides_in(shape, memory_format)
    elif device is None:
        return empty_array_like(x.array, kind)
    else:
        strides = empty_array_like(x.array.view(shape, x.array.strides), kind).strides
    return empty(shape, kind or x.dtype, as_device(device) or x.device, strides)


def zeros_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: memory_format = preserve_format,
    pin_memory: bool = False,
) -> Tensor:
    """Zeros in the shape, dtype, device and memory order of `input`."""
    return leaf(elementwise.fill(like("zeros_like", input, dtype, device, memory_format, layout), 0), requires_grad)


def ones_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: memory_format = preserve_format,
    pin_memory: bool = False,
) -> Tensor:
    """Ones in the shape, dtype, device and memory order of `input`."""
    return leaf(elementwise.fill(like("ones_like", input, dtype, device, memory_format, layout), 1), requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: memory_format = preserve_format,
    pin_memory: bool = False,
) -> Tensor:
    """A number throughout, in the shape, dtype, device and memory order of `input`."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    array = like("full_like", input, dtype, device, memory_format, layout)
    require_fit("full_like", np.array(value), array.dtype)
    return leaf(elementwise.fill(array, value), requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: memory_format = preserve_format,
    pin_memory: bool = False,
) -> Tensor:
    """Uninitialised memory in the shape, dtype, device and memory order of `input`."""
    return leaf(like("empty_like", input, dtype, device, memory_format, layout), requires_grad)


# ----------------------------------------------------------------------------------------- in the manner of a tensor


def new_tensor(
    x: Tensor,
    data: Any,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: layout | None = None,
    pin_memory: bool = False,
) -> Tensor:
    """As `tensor`, of the dtype and on the device of x unless given."""
    require_strided("new_tensor", layout)
    return tensor(data, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


def new_zeros(x: Tensor, *size: Any, dtype: dtype | None = None, device: Any = None, **options: Any) -> Tensor:
    """As `zeros`, of the dtype and on the device of x unless given."""
    return zeros(*size, dtype=dtype or x.dtype, device=device or x.device, **options)


def new_ones(x: Tensor, *size: Any, dtype: dtype | None = None, device: Any = None, **options: Any) -> Tensor:
    """As `ones`, of the dtype and on the device of x unless given."""
    return ones(*size, dtype=dtype or x.dtype, device=device or x.device, **options)


def new_empty(x: Tensor, *size: Any, dtype: dtype | None = None, device: Any = None, **options: Any) -> Tensor:
    """As `empty`, of the dtype and on the device of x unless given."""
    return uninitialised(*size, dtype=dtype or x.dtype, device=device or x.device, **options)


def new_empty_strided(
    x: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: dtype | None = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    """As `empty_strided`, of the dtype and on the device of x unless given."""
    return empty_strided(size, stride, dtype=dtype or x.dtype, device=device or x.device, **options)


def new_full(
    x: Tensor, size: Sequence[int], fill_value: Any, *, dtype: dtype | None = None, device: Any = None, **options: Any
) -> Tensor:
    """As `full`, of the dtype and on the device of x unless given."""
    return full(size, fill_value, dtype=dtype or x.dtype, device=device or x.device, **options)


def new(x: Tensor, *data: Any, device: Any = None) -> Tensor:
    """The constructor of old: sizes of uninitialised memory, or a sequence, in the dtype of x."""
    made = cast(Tensor(*data), x.dtype) if data and not isinstance(data[0], int) else new_empty(x, *(data or (0,)))
    return to(made, device or x.device)
