"""What max pooling took away put back: maxima at their places, zeros elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tritongrad.ops.filled import zeros
from tritongrad.ops.gather import keys_along
from tritongrad.ops.pool import AXES, numbers
from tritongrad.ops.rows import put
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """`max_unpool2d` of maxima [N, C, L]."""
    return _max_unpool("max_unpool1d", input, indices, 1, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Maxima [N, C, P, Q] at the places that `max_pool2d` with `return_indices` found them, zeros elsewhere.

    output_size  of the result, with or without N and C, less than a stride from the default
                 (P - 1) stride - 2 padding + kernel_size: several sizes are pooled to one
    Where two maxima have one place, the last stays.
    """
    return _max_unpool("max_unpool2d", input, indices, 2, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """`max_unpool2d` of maxima [N, C, O, P, Q]."""
    return _max_unpool("max_unpool3d", input, indices, 3, kernel_size, stride, padding, output_size)


def _max_unpool(
    name: str, x: Tensor, indices: Tensor, axes: int, window: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    window, padding = numbers(window, axes, name, "kernel_size"), numbers(padding, axes, name, "padding")
    stride = window if stride is None else numbers(stride, axes, name, "stride")
    if x.ndim not in (axes + 1, axes + 2):
        raise RuntimeError(f"{name}: expected {AXES[axes]} or the same without N, got {list(x.shape)}")
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: expected int64 indices, got {indices.dtype.name}")
    if indices.shape != x.shape:
        raise RuntimeError(f"{name}: indices {list(indices.shape)} must have the shape of the input {list(x.shape)}")
    if min(stride) < 1:
        raise RuntimeError(f"{name}: stride {stride} must be positive")
    size = _unpooled_size(name, x.shape[-axes:], window, stride, padding, output_size)
    rest = tuple(x.shape[:-axes])
    flat = (*rest, math.prod(x.shape[-axes:]))
    whole = zeros(*rest, math.prod(size), dtype=x.dtype, device=x.device)
    whole, keys = keys_along(name, whole, -1, reshape(indices, flat))
    return reshape(put(whole, tuple(range(whole.ndim)), keys, reshape(x, flat), False), (*rest, *size))


def _unpooled_size(
    name: str, shape: Sequence[int], window: Sequence[int], stride: Sequence[int], padding: Sequence[int], asked: Any
) -> tuple[int, ...]:
    usual = tuple((n - 1) * s + w - 2 * p for n, w, s, p in zip(shape, window, stride, padding, strict=True))
    if asked is None:
        return usual
    size = tuple(asked)
    if len(size) == len(usual) + 2:
        size = size[2:]
    if len(size) != len(usual):
        raise ValueError(f"{name}: output_size must have {len(usual)} or {len(usual) + 2} numbers, got {asked!r}")
    if any(not u - s < n < u + s for n, u, s in zip(size, usual, stride, strict=True)):
        raise ValueError(
            f"{name}: output_size {list(size)} must be less than the stride {list(stride)} away from {list(usual)}"
        )
    return size
