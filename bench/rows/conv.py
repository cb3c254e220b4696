"""Convolutions of ResNet-18 and ResNet-50 in their three passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

import tritongrad as tg
from bench.accuracy import Rounding
from bench.row import Call, Input, Row, itemsize
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
LAYERS = [
    BASIC,
    STRIDED,
    EXPAND,
    Layer(3, 64, 224, 7, 2),  # the stem
    Layer(256, 512, 56, 1, 2),  # ResNet-50's shortcut
    Layer(256, 256, 14, 3, 1),
    Layer(512, 512, 7, 3, 1),
]

GPU = [
    *(row for layer in LAYERS for batch in (256, 32) for row in passes(layer, batch, "bfloat16")),
    *(row for layer in (BASIC, EXPAND) for row in passes(layer, 32, "float32")),
]
INTERPRETER = [
    *(row for layer in LAYERS[:5] for row in passes(replace(layer, size=layer.size // 4), 2, "bfloat16")),
    *(row for layer in (BASIC, STRIDED) for row in passes(replace(layer, size=14), 2, "float32")),
]
