"""The memory order of convolutions' weights."""

from __future__ import annotations

from typing import Any

from tritongrad.nn.conv import Conv2d, Conv3d
from tritongrad.nn.conv_transpose import ConvTranspose2d, ConvTranspose3d
from tritongrad.nn.module import Module


def _convert(module: Module, memory_format: Any, kinds: tuple[type, ...]) -> Module:
    for layer in module.modules():
        if isinstance(layer, kinds):
            layer.weight.data = layer.weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """The module, with the weights of all Conv2d and ConvTranspose2d in it in this memory order."""
    return _convert(module, memory_format, (Conv2d, ConvTranspose2d))


def convert_conv3d_weight_memory_format(module: Module, memory_format: Any) -> Module:
    """The module, with the weights of all Conv3d and ConvTranspose3d in it in this memory order."""
    return _convert(module, memory_format, (Conv3d, ConvTranspose3d))
