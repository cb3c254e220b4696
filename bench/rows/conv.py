"""Convolutions of ResNet-18 and ResNet-50 in their three passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

import tritongrad as tg
from bench.accuracy import Rounding
from bench.row import Call, Input, Row, itemsize, ranked
from tritongrad.ops import conv


@dataclass(frozen=True)
class Layer:
    """A square window over square images, padded so that at stride 1 the image keeps its size."""

    channels: int
    outputs: int
    size: int
    window: int
    stride: int

    @property
    def padding(self) -> int:
        return self.window // 2

    @property
    def out_size(self) -> int:
        return (self.size + 2 * self.padding - self.window) // self.stride + 1

    @property
    def name(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.window}x{self.window}{stride} {self.channels}->{self.outputs} {self.size}px"


def _our_forward(layer: Layer, x: tg.Tensor, w: tg.Tensor) -> Call:
    return lambda: [tg.nn.functional.conv2d(x, w, None, layer.stride, layer.padding)]


def _peer_forward(layer: Layer, x: torch.Tensor, w: torch.Tensor) -> Call:
    return lambda: [torch.nn.functional.conv2d(x, w, None, layer.stride, layer.padding)]


def _our_input_grad(layer: Layer, dy: tg.Tensor, w: tg.Tensor) -> Call:
    x_shape = (dy.shape[0], layer.channels, layer.size, layer.size)
    stride, padding = (layer.stride,) * 2, (layer.padding,) * 2
    return lambda: [conv.conv_input_grad(dy, w, x_shape, stride, padding, (1, 1), 1)]


def _peer_input_grad(layer: Layer, dy: torch.Tensor, w: torch.Tensor) -> Call:
    shape = (dy.shape[0], layer.channels, layer.size, layer.size)
    x = torch.empty(shape, dtype=dy.dtype, device=dy.device, memory_format=torch.channels_last)
    return lambda: [_torch_backward(layer, dy, x, w, (True, False, False))[0]]


def _our_weight_grad(layer: Layer, dy: tg.Tensor, x: tg.Tensor) -> Call:
    w_shape = (layer.outputs, layer.channels, layer.window, layer.window)
    stride, padding = (layer.stride,) * 2, (layer.padding,) * 2
    return lambda: [conv.conv_weight_grad(dy, x, w_shape, stride, padding, (1, 1), 1)]


def _peer_weight_grad(layer: Layer, dy: torch.Tensor, x: torch.Tensor) -> Call:
    shape = (layer.outputs, layer.channels, layer.window, layer.window)
    w = torch.empty(shape, dtype=dy.dtype, device=dy.device, memory_format=torch.channels_last)
    return lambda: [_torch_backward(layer, dy, x, w, (False, True, False))[1]]


def _torch_backward(
    layer: Layer, dy: torch.Tensor, x: torch.Tensor, w: torch.Tensor, wanted: tuple[bool, bool, bool]
) -> Sequence[torch.Tensor]:
    stride, padding = [layer.stride] * 2, [layer.padding] * 2
    return torch.ops.aten.convolution_backward(dy, x, w, None, stride, padding, [1, 1], False, [0, 0], 1, wanted)


def _row(
    layer: Layer, batch: int, dtype: str, op: str, shapes: dict[str, tuple[int, ...]], terms: int,
    ours: Callable[..., Call], peer: Callable[..., Call],
) -> Row:  # fmt: skip
    c, o, taps, pixels = layer.channels, layer.outputs, layer.window**2, batch * layer.out_size**2
    # Of a 1x1 window with a stride, most pixels of x are never touched (but their gradients are written).
    used = batch * layer.size**2 if op == "input grad" else min(batch * layer.size**2, pixels * taps)
    return Row(
        family="conv2d",
        op=op,
        case=f"{layer.name} b{batch}",
        dtype=dtype,
        inputs={name: Input(shape) for name, shape in shapes.items()},
        flops=2 * pixels * o * c * taps,
        bytes=(used * c + pixels * o + o * c * taps) * itemsize(dtype),
        ours=partial(ours, layer),
        peer=partial(peer, layer),
        bound=Rounding(terms),
    )


def passes(layer: Layer, batch: int, dtype: str) -> list[Row]:
    """Forward, input gradient and weight gradient; no input gradient of images, which no training step wants."""
    x = (batch, layer.channels, layer.size, layer.size)
    w = (layer.outputs, layer.channels, layer.window, layer.window)
    y = (batch, layer.outputs, layer.out_size, layer.out_size)
    taps, pixels = layer.window**2, batch * layer.out_size**2
    row = partial(_row, layer, batch, dtype)
    forward = row("forward", {"x": x, "w": w}, layer.channels * taps, _our_forward, _peer_forward)
    dx = row("input grad", {"dy": y, "w": w}, layer.outputs * taps, _our_input_grad, _peer_input_grad)
    dw = row("weight grad", {"dy": y, "x": x}, pixels, _our_weight_grad, _peer_weight_grad)
    return [forward, dw] if layer.channels == 3 else [forward, dx, dw]


BASIC = Layer(64, 64, 56, 3, 1)
STRIDED = Layer(64, 128, 56, 3, 2)
EXPAND = Layer(64, 256, 56, 1, 1)
STEM = Layer(3, 64, 224, 7, 2)
SHORTCUT = Layer(256, 512, 56, 1, 2)


def _stage(channels: int, size: int) -> list[Layer]:
    """ResNet-50's second to fourth stage, which begins with images of `size` and four times as many channels as this.

    Its first block narrows, halves the image, widens, and has a shortcut; the others keep the image.
    """
    inner, outer, half = 2 * channels, 8 * channels, size // 2
    return [
        Layer(4 * channels, inner, size, 1, 1),
        Layer(inner, inner, size, 3, 2),
        Layer(inner, outer, half, 1, 1),
        Layer(4 * channels, outer, size, 1, 2),
        Layer(outer, inner, half, 1, 1),
        Layer(inner, inner, half, 3, 1),
    ]


FIRST_STAGE = [Layer(64, 64, 56, 1, 1), BASIC, EXPAND, Layer(256, 64, 56, 1, 1)]
RESNET50 = [STEM, *FIRST_STAGE, *_stage(64, 56), *_stage(128, 28), *_stage(256, 14)]
# What ResNet-18 has besides: narrower blocks that halve the image, and their shortcuts.
RESNET18_ONLY = [Layer(c, 2 * c, size, window, 2) for c, size in ((64, 56), (128, 28), (256, 14)) for window in (3, 1)]
# One of each kind: most of the arithmetic, most of the memory, the first, a shortcut, few pixels.
FEW = [BASIC, EXPAND, Layer(256, 256, 14, 3, 1), STEM, SHORTCUT, Layer(128, 128, 56, 3, 2), Layer(512, 512, 7, 3, 1)]


def suite(layers: Sequence[Layer], batch: int, dtype: str) -> list[Row]:
    return [row for layer in layers for row in passes(layer, batch, dtype)]


GPU = [
    *ranked(0, suite(FEW, 256, "bfloat16")),
    *suite([layer for layer in RESNET50 if layer not in FEW], 256, "bfloat16"),
    *suite([BASIC, EXPAND], 32, "float32"),
    *ranked(2, suite(RESNET18_ONLY, 256, "bfloat16")),
    *ranked(2, suite([*RESNET50, *RESNET18_ONLY], 32, "bfloat16")),
    *ranked(2, suite([BASIC, EXPAND, STEM], 256, "float16")),
]
INTERPRETER = [
    *(
        row
        for layer in (BASIC, STRIDED, EXPAND, STEM, SHORTCUT)
        for row in passes(replace(layer, size=layer.size // 4), 2, "bfloat16")
    ),
    *suite([replace(layer, size=14) for layer in (BASIC, STRIDED)], 2, "float32"),
]
