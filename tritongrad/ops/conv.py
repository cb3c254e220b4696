"""Convolution in one, two and three dimensions.

`_convolution`, `conv_input_grad` and `conv_weight_grad` are each other's gradients, in any number of dimensions; the
second is transposed convolution too. Results lie channels-last in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritongrad.ops.reduce import sum
from tritongrad.ops.views import reshape
from tritongrad.precision import lowered
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import fusion, fusion_grad
from tritongrad_kernels.windows import Pair, output_sizes

Sizes = tuple[int, ...]
_NUMBERS = {1: "one integer", 2: "one or two integers", 3: "one or three integers"}
_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


def each(value: Any, n: int, name: str, what: str) -> Sizes:
    """An int, or one or `n` ints, as `n` of them."""
    values = (value,) if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values = values * n
    if len(values) != n:
        raise RuntimeError(f"{name}: {what} must be {_NUMBERS[n]}, got {value!r}")
    return values


def pair(value: Any, name: str, what: str) -> Pair:
    """An int or a pair of ints as a pair."""
    first, second = each(value, 2, name, what)
    return first, second


@lowered
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate input [N, C, L] with weight [O, C/groups, S] (+ bias [O]) into [N, O, Q]; as `conv2d`."""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


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
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


@lowered
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate input [N, C, D, H, W] with weight [O, C/groups, T, R, S] (+ bias [O]); as `conv2d`."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv(
    n: int, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    if x.ndim == n + 1:
        y = _conv(n, reshape(x, (1, *x.shape)), weight, bias, stride, padding, dilation, groups)
        return reshape(y, y.shape[1:])
    name = f"conv{n}d"
    stride, dilation = each(stride, n, name, "stride"), each(dilation, n, name, "dilation")
    surplus = [0] * n
    if isinstance(padding, str):
        padding, surplus = _padding_by_name(name, weight, stride, padding, dilation)
    padding = each(padding, n, name, "padding")
    _check(name, x, weight, bias, stride, padding, dilation, groups)
    y = _convolution(x, weight, bias, stride, padding, dilation, groups)
    return y[(..., *(slice(s, None) for s in surplus))] if any(surplus) else y


def _padding_by_name(
    name: str, weight: Tensor, stride: Sizes, padding: str, dilation: Sizes
) -> tuple[Sequence[int], list[int]]:
    """The padding that a name stands for, and how many rows, columns and so on to drop from the front of the result.

    An odd total is padded on both sides by the larger half; the surplus first row and column are dropped.
    """
    n = len(stride)
    if padding == "valid":
        return (0,) * n, [0] * n
    if padding != "same" or any(s != 1 for s in stride):
        raise RuntimeError(f"{name}: padding {padding!r} with stride {stride}: expected 'valid', or 'same' at stride 1")
    total = [d * (size - 1) for d, size in zip(dilation, weight.shape[-n:], strict=True)]
    return [(t + 1) // 2 for t in total], [t % 2 for t in total]


def _check(
    name: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> None:
    n = len(stride)
    window = {1: "S", 2: "R, S", 3: "T, R, S"}[n]
    described = described_operands(x, weight, groups)
    if x.ndim != n + 2 or weight.ndim != n + 2:
        raise RuntimeError(
            f"{name}: expected input [N, C, {_AXES[n]}] and weight [O, C/groups, {window}], got {described}"
        )
    check_arguments(name, x, weight, bias, weight.shape[:1], stride, padding, dilation, described)
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise RuntimeError(f"{name}: channels and groups do not go together: {described}")
    if min(output_sizes(x.shape[2:], weight.shape[2:], stride, padding, dilation)) < 1:
        raise RuntimeError(
            f"{name}: the window is larger than the padded image: {described}, padding {padding}, dilation {dilation}"
        )


def described_operands(x: Tensor, weight: Tensor, groups: int) -> str:
    """Both operands of a convolution for a message."""
    return f"input {x.dtype.name}{list(x.shape)}, weight {weight.dtype.name}{list(weight.shape)}, groups {groups}"


def check_arguments(
    name: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    outputs: Sequence[int],
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    described: str,
) -> None:
    """What a convolution and a transposed one require alike: dtypes, devices, the bias, and the signs of the rest."""
    if not x.dtype.is_floating_point or x.dtype is not weight.dtype:
        raise RuntimeError(f"{name}: expected one floating-point dtype for input and weight, got {described}")
    if bias is not None and (tuple(bias.shape) != tuple(outputs) or bias.dtype is not x.dtype):
        raise RuntimeError(
            f"{name}: expected a bias {x.dtype.name}[{outputs[0]}], got {bias.dtype.name}{list(bias.shape)}"
        )
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise RuntimeError(
            f"{name}: stride {stride} and dilation {dilation} must be positive, padding {padding} not negative"
        )
    if x.device != weight.device:
        raise RuntimeError(f"{name}: input is on {x.device}, weight on {weight.device}")


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Tensor:
    x_shape, w_shape = x.array.shape, weight.array.shape
    y = fusion.convolved(
        x.array, weight.array, bias.array if bias is not None else None, stride, padding, dilation, groups
    )
    return record(
        y,
        (x, lambda dy: conv_input_grad(dy, weight, x_shape, stride, padding, dilation, groups)),
        (weight, lambda dy: conv_weight_grad(dy, x, w_shape, stride, padding, dilation, groups)),
        (bias, lambda dy: sum(dy, (0, *range(2, dy.ndim)))),
    )


def _positions(y: Tensor, sizes: Sequence[int]) -> Tensor:
    """As many of the windows that fit as there are in `sizes`: all, unless a transposed result was padded further."""
    return y if tuple(y.shape[2:]) == tuple(sizes) else y[(..., *(slice(0, n) for n in sizes))]


def conv_input_grad(
    dy: Tensor, weight: Tensor, x_shape: Sequence[int], stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Tensor:
    """The gradient of convolution for its input; as a function of dy, convolution's transpose."""
    w_shape, sizes = weight.array.shape, dy.array.shape[2:]
    dx = fusion_grad.input_grad(dy.array, weight.array, x_shape, stride, padding, dilation, groups)
    return record(
        dx,
        (dy, lambda g: _positions(_convolution(g, weight, None, stride, padding, dilation, groups), sizes)),
        (weight, lambda g: conv_weight_grad(dy, g, w_shape, stride, padding, dilation, groups)),
    )


def conv_weight_grad(
    dy: Tensor, x: Tensor, w_shape: Sequence[int], stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Tensor:
    """The gradient of convolution for its weight."""
    x_shape, sizes = x.array.shape, dy.array.shape[2:]
    dw = fusion_grad.weight_grad(dy.array, x.array, w_shape, stride, padding, dilation, groups)
    return record(
        dw,
        (dy, lambda g: _positions(_convolution(x, g, None, stride, padding, dilation, groups), sizes)),
        (x, lambda g: conv_input_grad(dy, g, x_shape, stride, padding, dilation, groups)),
    )
