"""Few parameters: 1x1 convolutions before 3x3 ones (Iandola et al. 2016)."""

from __future__ import annotations

from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import initialise, narrow_normal
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.ops.joining import cat
from tritongrad.tensor import Tensor


class Fire(nn.Module):
    """A 1x1 convolution that narrows, then a 1x1 and a 3x3 one side by side."""

    def __init__(self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int) -> None:
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        sides = self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))
        return cat(sides, 1)


_STEMS = {"1_0": (96, 7), "1_1": (64, 3)}  # channels and window of the first convolution
_FIRES = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]  # squeezed, expanded
_POOLS = {"1_0": (0, 3, 7), "1_1": (0, 2, 4)}  # before which of them the image is halved


def _features(version: str) -> nn.Sequential:
    channels, window = _STEMS[version]
    layers: list[nn.Module] = [nn.Conv2d(3, channels, kernel_size=window, stride=2), nn.ReLU(inplace=True)]
    for i, (squeezed, expanded) in enumerate(_FIRES):
        if i in _POOLS[version]:
            layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
        layers.append(Fire(channels, squeezed, expanded, expanded))
        channels = 2 * expanded
    return nn.Sequential(*layers)


class SqueezeNet(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes]; version "1_0" takes 21 x 21 and more, "1_1" 17 x 17."""

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in _STEMS:
            raise ValueError(f"Unsupported SqueezeNet version {version}: 1_0 or 1_1 expected")
        self.num_classes = num_classes
        self.features = _features(version)
        last = nn.Conv2d(512, num_classes, kernel_size=1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))
        initialise(self, conv=nn.init.kaiming_uniform_)
        narrow_normal(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


class SqueezeNet1_0_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("squeezenet1_0-b66bff10.pth", 1_248_424, 58.092, min_size=21)
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_1_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("squeezenet1_1-b8a52dc0.pth", 1_235_496, 58.178, min_size=17)
    DEFAULT = IMAGENET1K_V1


def squeezenet1_0(*, weights: Any = None, progress: bool = True, **options: Any) -> SqueezeNet:
    """SqueezeNet 1.0; `weights` as for `resnet18`."""
    return build(lambda **given: SqueezeNet("1_0", **given), SqueezeNet1_0_Weights, weights, progress, options)


def squeezenet1_1(*, weights: Any = None, progress: bool = True, **options: Any) -> SqueezeNet:
    """SqueezeNet 1.1; `weights` as for `resnet18`."""
    return build(lambda **given: SqueezeNet("1_1", **given), SqueezeNet1_1_Weights, weights, progress, options)
