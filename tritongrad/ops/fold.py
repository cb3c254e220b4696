"""Windows of images side by side as columns, and columns added up into images."""

from __future__ import annotations

from typing import Any

from tritongrad.ops.conv import pair
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import fold as kernel
from tritongrad_kernels.windows import Pair, output_sizes


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of input [N, C, H, W] as the columns of [N, C R S, P Q]; an input without batch axis gives one such.

    What lies on the padding is 0. `conv2d` is the product of its weight, as a matrix, with this.
    """
    if input.ndim == 3:
        return unfold(reshape(input, (1, *input.shape)), kernel_size, dilation, padding, stride)[0]
    window, dilation, padding, stride = _geometry("unfold", kernel_size, dilation, padding, stride)
    if input.ndim != 4 or 0 in input.shape[1:]:
        raise RuntimeError(f"unfold: expected an input [N, C, H, W], only N of which may be 0, got {list(input.shape)}")
    _require_floating("unfold", input)
    sizes = output_sizes(input.shape[2:], window, stride, padding, dilation)
    if min(sizes) < 1:
        raise RuntimeError(
            f"unfold: the window {window} with dilation {dilation} is larger than {list(input.shape)} with padding "
            f"{padding}"
        )
    columns = _unfold(input, window, stride, padding, dilation)
    n, c = input.shape[:2]
    return reshape(columns, (n, c * window[0] * window[1], sizes[0] * sizes[1]))


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The columns input [N, C R S, P Q] added up where they lie in images [N, C, H, W] of `output_size`: the transpose
    of `unfold`. An input without batch axis gives one image.
    """
    if input.ndim == 2:
        return fold(reshape(input, (1, *input.shape)), output_size, kernel_size, dilation, padding, stride)[0]
    window, dilation, padding, stride = _geometry("fold", kernel_size, dilation, padding, stride)
    image = pair(output_size, "fold", "output_size")
    taps = window[0] * window[1]
    sizes = output_sizes(image, window, stride, padding, dilation)
    if input.ndim != 3 or 0 in input.shape[1:] or input.shape[1] % taps:
        raise RuntimeError(
            f"fold: expected an input [N, C {taps}, {sizes[0] * sizes[1]}] for windows {window}, got "
            f"{list(input.shape)}"
        )
    if min(sizes) < 1 or input.shape[2] != sizes[0] * sizes[1]:
        raise RuntimeError(
            f"fold: {sizes[0]} x {sizes[1]} windows {window} fit into {image} with dilation {dilation}, padding "
            f"{padding} and stride {stride}, got {list(input.shape)}"
        )
    _require_floating("fold", input)
    columns = reshape(input, (input.shape[0], input.shape[1] // taps, *window, *sizes))
    return _fold(columns, image, stride, padding, dilation)


def _geometry(name: str, window: Any, dilation: Any, padding: Any, stride: Any) -> tuple[Pair, Pair, Pair, Pair]:
    found = (
        pair(window, name, "kernel_size"),
        pair(dilation, name, "dilation"),
        pair(padding, name, "padding"),
        pair(stride, name, "stride"),
    )
    window, dilation, padding, stride = found
    if min(*window, *dilation, *stride) < 1 or min(padding) < 0:
        raise RuntimeError(
            f"{name}: kernel_size {window}, dilation {dilation} and stride {stride} must be positive, padding "
            f"{padding} not negative"
        )
    return found


def _require_floating(name: str, x: Tensor) -> None:
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"{name}: not implemented for {x.dtype.name}")


def _unfold(x: Tensor, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    sizes = x.array.shape[2:]
    y = kernel.unfold(x.array, window, stride, padding, dilation)
    return record(y, (x, lambda dy: _fold(dy, sizes, stride, padding, dilation)))


def _fold(x: Tensor, sizes: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    rows, columns = x.array.shape[2:4]
    y = kernel.fold(x.array, sizes, stride, padding, dilation)
    return record(y, (x, lambda dy: _unfold(dy, (rows, columns), stride, padding, dilation)))
