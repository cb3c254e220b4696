"""The gradients of convolutions as functions, under torch.nn.grad's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritongrad.ops.conv import conv_input_grad, conv_weight_grad, each
from tritongrad.tensor import Tensor


def _numbers(n: int, stride: Any, padding: Any, dilation: Any) -> tuple[Any, Any, Any]:
    names = ("stride", "padding", "dilation")
    stride, padding, dilation = (
        each(v, n, f"conv{n}d", k) for v, k in zip((stride, padding, dilation), names, strict=True)
    )
    return stride, padding, dilation


def conv1d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv1d` for an input of `input_size`."""
    return conv_input_grad(grad_output, weight, tuple(input_size), *_numbers(1, stride, padding, dilation), groups)


def conv1d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv1d` for a weight of `weight_size`."""
    return conv_weight_grad(grad_output, input, tuple(weight_size), *_numbers(1, stride, padding, dilation), groups)


def conv2d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv2d` for an input of `input_size`."""
    return conv_input_grad(grad_output, weight, tuple(input_size), *_numbers(2, stride, padding, dilation), groups)


def conv2d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv2d` for a weight of `weight_size`."""
    return conv_weight_grad(grad_output, input, tuple(weight_size), *_numbers(2, stride, padding, dilation), groups)


def conv3d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv3d` for an input of `input_size`."""
    return conv_input_grad(grad_output, weight, tuple(input_size), *_numbers(3, stride, padding, dilation), groups)


def conv3d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv3d` for a weight of `weight_size`."""
    return conv_weight_grad(grad_output, input, tuple(weight_size), *_numbers(3, stride, padding, dilation), groups)
