"""ShuffleNetV2: half the channels pass each block untouched, and all are shuffled after it (Ma et al. 2018)."""

from __future__ import annotations

from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import Layer
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.ops.joining import cat
from tritongrad.tensor import Tensor


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """The channels of [N, C, H, W] dealt in turn from `groups` equal parts."""
    n, channels, h, w = x.shape
    return x.view(n, groups, channels // groups, h, w).transpose(1, 2).reshape(n, channels, h, w)


class InvertedResidual(nn.Module):
    """Two branches whose results are shuffled; at stride 1 one of them is half the input as it is."""

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__()
        if not 1 <= stride <= 3:
            raise ValueError(f"illegal stride value {stride}")
        half = oup // 2
        if stride == 1 and inp != 2 * half:
            raise ValueError(f"at stride 1 a block keeps an even number of channels, got {inp} and {oup}")
        self.stride = stride
        self.branch1 = nn.Sequential(
            *() if stride == 1 else (*self._depthwise(inp, stride), *self._pointwise(inp, half))
        )
        self.branch2 = nn.Sequential(
            *self._pointwise(half if stride == 1 else inp, half),
            *self._depthwise(half, stride),
            *self._pointwise(half, half),
        )

    @staticmethod
    def _depthwise(channels: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
        return [conv, nn.BatchNorm2d(channels)]

    @staticmethod
    def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1) if self.stride == 1 else (self.branch1(x), x)
        return channel_shuffle(cat((kept, self.branch2(changed)), 1), 2)


class ShuffleNetV2(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes].

    stages_repeats       the number of blocks of each of three stages.
    stages_out_channels  the channels of the first convolution, of each stage, and of the last convolution.
    """

    def __init__(
        self,
        stages_repeats: list[int],
        stages_out_channels: list[int],
        num_classes: int = 1000,
        inverted_residual: Layer = InvertedResidual,
    ) -> None:
        super().__init__()
        if len(stages_repeats) != 3:
            raise ValueError(f"expected stages_repeats as list of 3 positive ints, got {stages_repeats}")
        if len(stages_out_channels) != 5:
            raise ValueError(f"expected stages_out_channels as list of 5 positive ints, got {stages_out_channels}")
        first, *widths, last = stages_out_channels
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        stages, channels = [], first
        for repeats, width in zip(stages_repeats, widths, strict=True):
            same = [inverted_residual(width, width, 1) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(inverted_residual(channels, width, 2), *same))
            channels = width
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Sequential(
            nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True)
        )
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean((2, 3)))


class ShuffleNet_V2_X0_5_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("shufflenetv2_x0.5-f707e7126e.pth", 1_366_792, 60.552)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X1_0_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("shufflenetv2_x1-5666bf0f80.pth", 2_278_604, 69.362)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X1_5_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("shufflenetv2_x1_5-3c479a10.pth", 3_503_624, 72.996, resize=232)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X2_0_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("shufflenetv2_x2_0-8be3c8ee.pth", 7_393_996, 76.23, resize=232)
    DEFAULT = IMAGENET1K_V1


def _shufflenet(
    widths: list[int], known: type[WeightsEnum], weights: Any, progress: bool, options: dict[str, Any]
) -> ShuffleNetV2:
    return build(lambda **given: ShuffleNetV2([4, 8, 4], widths, **given), known, weights, progress, options)


def shufflenet_v2_x0_5(*, weights: Any = None, progress: bool = True, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2 0.5x; `weights` as for `resnet18`."""
    return _shufflenet([24, 48, 96, 192, 1024], ShuffleNet_V2_X0_5_Weights, weights, progress, options)


def shufflenet_v2_x1_0(*, weights: Any = None, progress: bool = True, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2 1.0x; `weights` as for `resnet18`."""
    return _shufflenet([24, 116, 232, 464, 1024], ShuffleNet_V2_X1_0_Weights, weights, progress, options)


def shufflenet_v2_x1_5(*, weights: Any = None, progress: bool = True, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2 1.5x; `weights` as for `resnet18`."""
    return _shufflenet([24, 176, 352, 704, 1024], ShuffleNet_V2_X1_5_Weights, weights, progress, options)


def shufflenet_v2_x2_0(*, weights: Any = None, progress: bool = True, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2 2.0x; `weights` as for `resnet18`."""
    return _shufflenet([24, 244, 488, 976, 2048], ShuffleNet_V2_X2_0_Weights, weights, progress, options)
