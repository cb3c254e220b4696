"""Transposed convolution: the gradient of convolution for its input, as an operation of its own."""

from __future__ import annotations

from typing import Any

from tritongrad.ops.arithmetic import add
from tritongrad.ops.conv import Sizes, check_arguments, conv_input_grad, described_operands, each
from tritongrad.ops.views import reshape
from tritongrad.precision import lowered
from tritongrad.tensor import Tensor


@lowered
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv1d`: input [N, C, Q], weight [C, O/groups, S] (+ bias [O]) give [N, O, L]."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@lowered
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d`: input [N, C, P, Q], weight [C, O/groups, R, S] (+ bias [O]) give [N, O, H, W].

    H = (P - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1, W likewise: of the sizes that `conv2d` with
    these arguments makes P of, the smallest and `output_padding` more, which must be less than the stride or the
    dilation. An input without its batch axis gives a result without.
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@lowered
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv3d`: input [N, C, E, P, Q], weight [C, O/groups, T, R, S] give [N, O, D, H, W]."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _conv_transpose(
    n: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    if x.ndim == n + 1:
        y = _conv_transpose(
            n, reshape(x, (1, *x.shape)), weight, bias, stride, padding, output_padding, groups, dilation
        )
        return reshape(y, y.shape[1:])
    name = f"conv_transpose{n}d"
    stride, dilation = each(stride, n, name, "stride"), each(dilation, n, name, "dilation")
    padding, extra = each(padding, n, name, "padding"), each(output_padding, n, name, "output_padding")
    _check(name, x, weight, bias, stride, padding, extra, dilation, groups)
    sizes = [
        (size - 1) * st - 2 * pad + d * (window - 1) + more + 1
        for size, window, st, pad, more, d in zip(
            x.shape[2:], weight.shape[2:], stride, padding, extra, dilation, strict=True
        )
    ]
    if min(sizes) < 1:
        raise RuntimeError(
            f"{name}: a result of size {sizes} is too small: {described_operands(x, weight, groups)}, stride {stride}, "
            f"padding {padding}"
        )
    shape = (x.shape[0], weight.shape[1] * groups, *sizes)
    y = conv_input_grad(x, weight, shape, stride, padding, dilation, groups)
    return y if bias is None else add(y, reshape(bias, (-1, *(1,) * n)))


def _check(
    name: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    extra: Sizes,
    dilation: Sizes,
    groups: int,
) -> None:
    n = len(stride)
    described = described_operands(x, weight, groups)
    if x.ndim != n + 2 or weight.ndim != n + 2:
        raise RuntimeError(
            f"{name}: expected input and weight of {n + 2} axes, [N, C, ...] and [C, O/groups, ...], got {described}"
        )
    outputs = (weight.shape[1] * groups,)
    check_arguments(name, x, weight, bias, outputs, stride, padding, dilation, described)
    if groups < 1 or x.shape[1] != weight.shape[0] or weight.shape[0] % groups:
        raise RuntimeError(f"{name}: channels and groups do not go together: {described}")
    if min(extra) < 0 or any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            f"{name}: output_padding {extra} must not be negative, and less than the stride {stride} or the dilation "
            f"{dilation}"
        )
    if 0 in x.shape[1:]:
        raise RuntimeError(f"{name}: an input without elements but for its batch axis: {described}")
