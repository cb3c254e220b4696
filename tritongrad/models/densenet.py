"""Densely connected networks (Huang et al. 2017): each layer sees the results of all before it in its block."""

from __future__ import annotations

import re
from typing import Any

from tritongrad import nn
from tritongrad.autograd import is_grad_enabled
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.nn import functional as F
from tritongrad.ops.joining import cat
from tritongrad.tensor import Tensor
from tritongrad.utils.checkpoint import checkpoint


class _DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, each after its normalisation, from any number of inputs to `growth_rate` channels.

    memory_efficient  what the first half computes is computed again in backward, not kept (Pleiss et al. 2017).
    """

    def __init__(
        self, num_input_features: int, growth_rate: int, bn_size: int, drop_rate: float, memory_efficient: bool = False
    ) -> None:
        super().__init__()
        width = bn_size * growth_rate
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(num_input_features, width, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, growth_rate, kernel_size=3, padding=1, bias=False)
        self.drop_rate, self.memory_efficient = float(drop_rate), memory_efficient

    def _narrow(self, *inputs: Tensor) -> Tensor:
        return self.conv1(self.relu1(self.norm1(cat(inputs, 1))))

    def forward(self, input: Tensor | list[Tensor]) -> Tensor:
        inputs = [input] if isinstance(input, Tensor) else input
        if self.memory_efficient and is_grad_enabled() and any(x.requires_grad for x in inputs):
            x = checkpoint(self._narrow, *inputs, use_reentrant=False)
        else:
            x = self._narrow(*inputs)
        x = self.conv2(self.relu2(self.norm2(x)))
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate else x


class _DenseBlock(nn.ModuleDict):
    """Layers, each of whose results is an input of all that follow."""

    _version = 2

    def __init__(
        self,
        num_layers: int,
        num_input_features: int,
        bn_size: int,
        growth_rate: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        for i in range(num_layers):
            channels = num_input_features + i * growth_rate
            layer = _DenseLayer(channels, growth_rate, bn_size, drop_rate, memory_efficient)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.values():
            features.append(layer(features))
        return cat(features, 1)


class _Transition(nn.Sequential):
    """Fewer channels, and half the image."""

    def __init__(self, num_input_features: int, num_output_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_input_features)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(num_input_features, num_output_features, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


class DenseNet(nn.Module):
    """Images [N, 3, H, W] of at least 29 x 29 to class scores [N, num_classes].

    growth_rate        the channels each layer adds.
    block_config       how many layers each block has.
    num_init_features  the channels of the first convolution.
    bn_size            the channels between a layer's two convolutions, in multiples of growth_rate.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: tuple[int, ...] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        channels = num_init_features
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(channels))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
        for i, layers in enumerate(block_config, 1):
            block = _DenseBlock(layers, channels, bn_size, growth_rate, drop_rate, memory_efficient)
            self.features.add_module(f"denseblock{i}", block)
            channels += layers * growth_rate
            if i < len(block_config):
                self.features.add_module(f"transition{i}", _Transition(channels, channels // 2))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))


class DenseNet121_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("densenet121-a639ec97.pth", 7_978_856, 74.434, min_size=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet161_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("densenet161-8d451a50.pth", 28_681_000, 77.138, min_size=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet169_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("densenet169-b2777c0a.pth", 14_149_480, 75.6, min_size=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet201_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("densenet201-c1103571.pth", 20_013_928, 76.896, min_size=29)
    DEFAULT = IMAGENET1K_V1


def _densenet(
    growth_rate: int,
    block_config: tuple[int, ...],
    num_init_features: int,
    known: type[WeightsEnum],
    weights: Any,
    progress: bool,
    options: dict[str, Any],
) -> DenseNet:
    def make(**given: Any) -> DenseNet:
        return DenseNet(growth_rate, block_config, num_init_features, **given)

    def rename(name: str) -> str:  # published files have "denselayer1.norm.1.weight"
        return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)

    return build(make, known, weights, progress, options, rename=rename)


def densenet121(*, weights: Any = None, progress: bool = True, **options: Any) -> DenseNet:
    """DenseNet-121; `weights` as for `resnet18`."""
    return _densenet(32, (6, 12, 24, 16), 64, DenseNet121_Weights, weights, progress, options)


def densenet161(*, weights: Any = None, progress: bool = True, **options: Any) -> DenseNet:
    """DenseNet-161; `weights` as for `resnet18`."""
    return _densenet(48, (6, 12, 36, 24), 96, DenseNet161_Weights, weights, progress, options)


def densenet169(*, weights: Any = None, progress: bool = True, **options: Any) -> DenseNet:
    """DenseNet-169; `weights` as for `resnet18`."""
    return _densenet(32, (6, 12, 32, 32), 64, DenseNet169_Weights, weights, progress, options)


def densenet201(*, weights: Any = None, progress: bool = True, **options: Any) -> DenseNet:
    """DenseNet-201; `weights` as for `resnet18`."""
    return _densenet(32, (6, 12, 48, 32), 64, DenseNet201_Weights, weights, progress, options)
