"""MobileNetV2: inverted residuals, wide inside and narrow between blocks (Sandler et al. 2018)."""

from __future__ import annotations

from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import Conv2dNormActivation, Layer, he, initialise, make_divisible, narrow_normal
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.nn import functional as F
from tritongrad.tensor import Tensor


class InvertedResidual(nn.Module):
    """1x1 to expand_ratio times the channels, 3x3 in each channel alone, 1x1 back; beside a shortcut if that fits."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int, norm_layer: Layer | None = None) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm_layer = norm_layer or nn.BatchNorm2d
        width = round(inp * expand_ratio)
        act: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        layers: list[nn.Module] = [] if expand_ratio == 1 else [Conv2dNormActivation(inp, width, 1, **act)]
        layers += [
            Conv2dNormActivation(width, width, 3, stride, groups=width, **act),
            nn.Conv2d(width, oup, 1, bias=False),
            norm_layer(oup),
        ]
        self.conv = nn.Sequential(*layers)
        self.stride, self.out_channels, self.use_res_connect = stride, oup, stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


_STAGES = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
"""Expansion, channels, number of blocks, stride of the first: table 2 of the paper."""


class MobileNetV2(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes].

    width_mult                 all channels times this, rounded to multiples of round_nearest.
    inverted_residual_setting  [expansion, channels, number of blocks, stride of the first] of each stage.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: list[list[int]] | None = None,
        round_nearest: int = 8,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        stages = _STAGES if inverted_residual_setting is None else inverted_residual_setting
        if not stages or len(stages[0]) != 4:
            raise ValueError(f"inverted_residual_setting should be non-empty or a 4-element list, got {stages}")
        block, norm_layer = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        act: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        channels = make_divisible(32 * width_mult, round_nearest)
        features: list[nn.Module] = [Conv2dNormActivation(3, channels, stride=2, **act)]
        for expansion, wanted, blocks, stride in stages:
            width = make_divisible(wanted * width_mult, round_nearest)
            for i in range(blocks):
                step = stride if i == 0 else 1
                features.append(block(channels, width, step, expand_ratio=expansion, norm_layer=norm_layer))
                channels = width
        self.last_channel = make_divisible(1280 * max(1.0, width_mult), round_nearest)
        features.append(Conv2dNormActivation(channels, self.last_channel, 1, **act))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        initialise(self, conv=he, linear=narrow_normal)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1))


class MobileNet_V2_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("mobilenet_v2-b0353104.pth", 3_504_872, 71.878)
    IMAGENET1K_V2 = published("mobilenet_v2-7ebf99e0.pth", 3_504_872, 72.154, resize=232)
    DEFAULT = IMAGENET1K_V2


def mobilenet_v2(*, weights: Any = None, progress: bool = True, **options: Any) -> MobileNetV2:
    """MobileNetV2; `weights` as for `resnet18`."""
    return build(MobileNetV2, MobileNet_V2_Weights, weights, progress, options)
