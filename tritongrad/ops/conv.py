"""Convolution. `conv2d`, `conv2d_input_grad` and `conv2d_weight_grad` are each other's gradients."""

from __future__ import annotations

from typing import Any

from tritongrad.ops.reduce import sum
from tritongrad.ops.views import reshape
from tritongrad.precision import lowered
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import conv as kernel
from tritongrad_kernels.conv import Pair


def pair(value: Any, name: str, what: str) -> Pair:
    """An int or a pair of ints as a pair."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values = values * 2
    if len(values) != 2:
        raise RuntimeError(f"{name}: {what} must be one or two integers, got {value!r}")
    return values


@lowered
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate input [N, C, H, W] with weight [O, C/groups, R, S] (+ bias [O]) into [N, O, P, Q].

    P = floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1, Q likewise. `padding` may be "valid" (none) or, at
    stride 1, "same" (P = H; an odd total puts the extra row at the end). An input
    without its batch axis gives a y without.
    """
    if input.ndim == 3:
        y = conv2d(reshape(input, (1, *input.shape)), weight, bias, stride, padding, dilation, groups)
        return reshape(y, y.shape[1:])
    stride, dilation = pair(stride, "conv2d", "stride"), pair(dilation, "conv2d", "dilation")
    if isinstance(padding, str):
        return _conv2d_padded_by_name(input, weight, bias, stride, padding, dilation, groups)
    padding = pair(padding, "conv2d", "padding")
    _check(input, weight, bias, stride, padding, dilation, groups)
    return _conv2d(input, weight, bias, stride, padding, dilation, groups)


def _conv2d_padded_by_name(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: str, dilation: Pair, groups: int
) -> Tensor:
    if padding == "valid":
        return conv2d(x, weight, bias, stride, 0, dilation, groups)
    if padding != "same" or stride != (1, 1):
        raise RuntimeError(f"conv2d: padding {padding!r} with stride {stride}: expected 'valid', or 'same' at stride 1")
    total = [d * (n - 1) for d, n in zip(dilation, weight.shape[2:], strict=True)]
    # An odd total is padded on both sides by the larger half; the surplus first row and column are dropped.
    y = conv2d(x, weight, bias, stride, [(n + 1) // 2 for n in total], dilation, groups)
    return y[:, :, total[0] % 2 :, total[1] % 2 :]


def _check(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> None:
    described = f"input {x.dtype.name}{list(x.shape)}, weight {weight.dtype.name}{list(weight.shape)}, groups {groups}"
    if x.ndim != 4 or weight.ndim != 4:
        raise RuntimeError(f"conv2d: expected input [N, C, H, W] and weight [O, C/groups, R, S], got {described}")
    if not x.dtype.is_floating_point or x.dtype is not weight.dtype:
        raise RuntimeError(f"conv2d: expected one floating-point dtype for input and weight, got {described}")
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype is not x.dtype):
        raise RuntimeError(
            f"conv2d: expected a bias {x.dtype.name}[{weight.shape[0]}], got {bias.dtype.name}{list(bias.shape)}"
        )
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise RuntimeError(f"conv2d: channels and groups do not go together: {described}")
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise RuntimeError(
            f"conv2d: stride {stride} and dilation {dilation} must be positive, padding {padding} not negative"
        )
    for size, window, st, pad, d in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True):
        if kernel.output_size(size, window, st, pad, d) < 1:
            raise RuntimeError(
                f"conv2d: the window is larger than the padded image: {described}, padding {padding}, "
                f"dilation {dilation}"
            )
    if x.device != weight.device:
        raise RuntimeError(f"conv2d: input is on {x.device}, weight on {weight.device}")


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    x_shape, w_shape = x.array.shape, weight.array.shape
    y = kernel.conv2d(
        x.array, weight.array, bias.array if bias is not None else None, stride, padding, dilation, groups
    )
    return record(
        y,
        (x, lambda dy: conv2d_input_grad(dy, weight, x_shape, stride, padding, dilation, groups)),
        (weight, lambda dy: conv2d_weight_grad(dy, x, w_shape, stride, padding, dilation, groups)),
        (bias, lambda dy: sum(dy, (0, 2, 3))),
    )


def conv2d_input_grad(
    dy: Tensor, weight: Tensor, x_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """The gradient of `conv2d` for its input; as a function of dy, convolution's transpose."""
    w_shape = weight.array.shape
    dx = kernel.conv2d_input_grad(dy.array, weight.array, x_shape, stride, padding, dilation, groups)
    return record(
        dx,
        (dy, lambda g: _conv2d(g, weight, None, stride, padding, dilation, groups)),
        (weight, lambda g: conv2d_weight_grad(dy, g, w_shape, stride, padding, dilation, groups)),
    )


def conv2d_weight_grad(
    dy: Tensor, x: Tensor, w_shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """The gradient of `conv2d` for its weight."""
    x_shape = x.array.shape
    dw = kernel.conv2d_weight_grad(dy.array, x.array, w_shape, stride, padding, dilation, groups)
    return record(
        dw,
        (dy, lambda g: _conv2d(x, g, None, stride, padding, dilation, groups)),
        (x, lambda g: conv2d_input_grad(dy, g, x_shape, stride, padding, dilation, groups)),
    )
