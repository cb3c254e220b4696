"""Pooling. Each gradient is linear in dy, so its own gradient is a pooling again."""

from __future__ import annotations

from typing import Any

from tritongrad.ops.conv import pair
from tritongrad.ops.reduce import mean
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import pool as kernel
from tritongrad_kernels.array import Array
from tritongrad_kernels.conv import Pair


def _geometry(
    name: str, x: Tensor, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Pair, Pair, Pair, Pair, Pair]:
    """Output size, window, stride, padding, dilation, checked."""
    window = pair(window, name, "kernel_size")
    stride = window if stride is None or stride == [] else pair(stride, name, "stride")
    padding, dilation = pair(padding, name, "padding"), pair(dilation, name, "dilation")
    if x.ndim != 4 or not x.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating-point image [N, C, H, W], got {x.dtype.name}{list(x.shape)}")
    if min(window) < 1 or min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise RuntimeError(
            f"{name}: kernel_size {window}, stride {stride} and dilation {dilation} must be positive, "
            f"padding {padding} not negative"
        )
    if any(2 * p > w for p, w in zip(padding, window, strict=True)):
        raise RuntimeError(f"{name}: padding {padding} should be at most half of kernel_size {window}")
    p, q = (
        kernel.pooled_size(n, w, s, p, d, ceil_mode)
        for n, w, s, p, d in zip(x.shape[2:], window, stride, padding, dilation, strict=True)
    )
    if p < 1 or q < 1:
        raise RuntimeError(f"{name}: kernel_size {window} is larger than the padded image of shape {list(x.shape)}")
    return (p, q), window, stride, padding, dilation


def _batched(function: Any, x: Tensor, *args: Any) -> Tensor:
    y = function(reshape(x, (1, *x.shape)), *args)
    return reshape(y, y.shape[1:])


def max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """The largest element in each window of input [N, C, H, W]; padding never wins, the first of equals does."""
    if input.ndim == 3:
        return _batched(max_pool2d, input, kernel_size, stride, padding, dilation, ceil_mode)
    size, *geometry = _geometry("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode)
    y, index = kernel.max_pool2d(input.array, size, *geometry)
    x_shape = input.array.shape
    return record(y, (input, lambda dy: _max_input_grad(dy, index, x_shape, geometry)))


def _max_input_grad(dy: Tensor, index: Array, x_shape: tuple[int, ...], geometry: list[Pair]) -> Tensor:
    dx = kernel.max_pool2d_input_grad(dy.array, index, x_shape, *geometry)
    return record(dx, (dy, lambda g: _max_gather(g, index, geometry)))


def _max_gather(x: Tensor, index: Array, geometry: list[Pair]) -> Tensor:
    x_shape = x.array.shape
    y = kernel.max_pool2d_gather(x.array, index, *geometry)
    return record(y, (x, lambda dy: _max_input_grad(dy, index, x_shape, geometry)))


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of input [N, C, H, W]; padding counts as zeros unless `count_include_pad` is off."""
    if input.ndim == 3:
        return _batched(avg_pool2d, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    if divisor_override == 0:
        raise RuntimeError("avg_pool2d: divisor_override must not be zero")
    size, *geometry, _ = _geometry("avg_pool2d", input, kernel_size, stride, padding, 1, ceil_mode)
    return _avg(input, size, (*geometry, count_include_pad, divisor_override))


def _avg(x: Tensor, size: Pair, geometry: tuple) -> Tensor:
    x_shape = x.array.shape
    y = kernel.avg_pool2d(x.array, size, *geometry)
    return record(y, (x, lambda dy: _avg_input_grad(dy, x_shape, geometry)))


def _avg_input_grad(dy: Tensor, x_shape: tuple[int, ...], geometry: tuple) -> Tensor:
    size = (dy.shape[2], dy.shape[3])
    dx = kernel.avg_pool2d_input_grad(dy.array, x_shape, *geometry)
    return record(dx, (dy, lambda g: _avg(g, size, geometry)))


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over an `output_size` grid of windows that cover input [N, C, H, W] evenly; None keeps an extent."""
    if input.ndim == 3:
        return _batched(adaptive_avg_pool2d, input, output_size)
    if input.ndim != 4 or not input.dtype.is_floating_point:
        raise RuntimeError(
            f"adaptive_avg_pool2d: expected a floating-point image [N, C, H, W], got {input.dtype.name}"
            f"{list(input.shape)}"
        )
    sizes = (output_size, output_size) if isinstance(output_size, int | None) else tuple(output_size)
    size = tuple(n if s is None else s for n, s in zip(input.shape[2:], sizes, strict=True))
    if min(size) < 0 or 0 in input.shape[2:]:
        raise RuntimeError(f"adaptive_avg_pool2d: cannot pool {list(input.shape)} to {size}")
    return mean(input, (2, 3), keepdim=True) if size == (1, 1) else _adaptive(input, size)


def _adaptive(x: Tensor, size: Pair) -> Tensor:
    x_shape = x.array.shape
    y = kernel.adaptive_avg_pool2d(x.array, size)
    return record(y, (x, lambda dy: _adaptive_input_grad(dy, x_shape)))


def _adaptive_input_grad(dy: Tensor, x_shape: tuple[int, ...]) -> Tensor:
    size = (dy.shape[2], dy.shape[3])
    return record(kernel.adaptive_avg_pool2d_input_grad(dy.array, x_shape), (dy, lambda g: _adaptive(g, size)))
