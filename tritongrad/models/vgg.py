"""Plain stacks of 3x3 convolutions (Simonyan and Zisserman 2014)."""

from __future__ import annotations

import math
from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import he, initialise, narrow_normal
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.tensor import Tensor

cfgs: dict[str, list[int | str]] = {
    "A": [64, "M", 128, "M", *[256] * 2, "M", *[512] * 2, "M", *[512] * 2, "M"],
    "B": [*[64] * 2, "M", *[128] * 2, "M", *[256] * 2, "M", *[512] * 2, "M", *[512] * 2, "M"],
    "D": [*[64] * 2, "M", *[128] * 2, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"],
    "E": [*[64] * 2, "M", *[128] * 2, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}
"""Columns of the paper's table 1: the channels of each convolution, and "M" where the image is halved."""


def make_layers(cfg: list[int | str], batch_norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for entry in cfg:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(channels, entry, kernel_size=3, padding=1))
        layers += [nn.BatchNorm2d(entry), nn.ReLU(inplace=True)] if batch_norm else [nn.ReLU(inplace=True)]
        channels = entry
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """Images [N, 3, H, W] of at least 32 x 32 to class scores [N, num_classes]; `features` end in 512 channels."""

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            initialise(self, conv=he, linear=narrow_normal)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class VGG11_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg11-8a719046.pth", 132_863_336, 69.02, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG11_BN_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg11_bn-6002323d.pth", 132_868_840, 70.37, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG13_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg13-19584684.pth", 133_047_848, 69.928, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG13_BN_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg13_bn-abd245e5.pth", 133_053_736, 71.586, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG16_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg16-397923af.pth", 138_357_544, 71.592, min_size=32)
    IMAGENET1K_FEATURES = published(
        "vgg16_features-amdegroot-88682ab5.pth",
        138_357_544,
        math.nan,
        min_size=32,
        mean=(0.48235, 0.45882, 0.40784),
        std=(1 / 255,) * 3,
    )
    DEFAULT = IMAGENET1K_V1


class VGG16_BN_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg16_bn-6c64b313.pth", 138_365_992, 73.36, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG19_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg19-dcbb9e9d.pth", 143_667_240, 72.376, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG19_BN_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("vgg19_bn-c79401a0.pth", 143_678_248, 74.218, min_size=32)
    DEFAULT = IMAGENET1K_V1


def _vgg(
    column: str, batch_norm: bool, known: type[WeightsEnum], weights: Any, progress: bool, options: dict[str, Any]
) -> VGG:
    def make(**given: Any) -> VGG:
        return VGG(make_layers(cfgs[column], batch_norm), **given)

    if weights is not None:
        options["init_weights"] = False
    return build(make, known, weights, progress, options)


def vgg11(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-11; `weights` as for `resnet18`."""
    return _vgg("A", False, VGG11_Weights, weights, progress, options)


def vgg11_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-11 with batch normalisation; `weights` as for `resnet18`."""
    return _vgg("A", True, VGG11_BN_Weights, weights, progress, options)


def vgg13(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-13; `weights` as for `resnet18`."""
    return _vgg("B", False, VGG13_Weights, weights, progress, options)


def vgg13_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-13 with batch normalisation; `weights` as for `resnet18`."""
    return _vgg("B", True, VGG13_BN_Weights, weights, progress, options)


def vgg16(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-16; `weights` as for `resnet18`."""
    return _vgg("D", False, VGG16_Weights, weights, progress, options)


def vgg16_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-16 with batch normalisation; `weights` as for `resnet18`."""
    return _vgg("D", True, VGG16_BN_Weights, weights, progress, options)


def vgg19(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-19; `weights` as for `resnet18`."""
    return _vgg("E", False, VGG19_Weights, weights, progress, options)


def vgg19_bn(*, weights: Any = None, progress: bool = True, **options: Any) -> VGG:
    """VGG-19 with batch normalisation; `weights` as for `resnet18`."""
    return _vgg("E", True, VGG19_BN_Weights, weights, progress, options)
