"""EfficientNets: one searched block at many widths and depths (Tan and Le 2019, 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import (
    Conv2dNormActivation,
    Layer,
    SqueezeExcitation,
    StochasticDepth,
    he,
    initialise,
    make_divisible,
)
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.tensor import Tensor


@dataclass
class _Stage:
    """A row of the papers' tables: `num_layers` blocks, of which the first has the stride and changes the channels."""

    expand_ratio: float
    kernel: int
    stride: int
    input_channels: int
    out_channels: int
    num_layers: int
    block: Layer

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        return make_divisible(channels * width_mult, 8, min_value)

    def blocks(self, drops: Sequence[float], norm_layer: Layer) -> nn.Sequential:
        """The stage; drops[i] is how likely block i is left out in training."""
        later = (self.expand_ratio, self.kernel, 1, self.out_channels, self.out_channels, 1, self.block)
        rows = [self, *(_Stage(*later) for _ in drops[1:])]
        return nn.Sequential(*(self.block(row, p, norm_layer) for row, p in zip(rows, drops, strict=True)))


class MBConvConfig(_Stage):
    """A stage of `MBConv`, with channels times width_mult and layers times depth_mult."""

    def __init__(
        self,
        expand_ratio: float,
        kernel: int,
        stride: int,
        input_channels: int,
        out_channels: int,
        num_layers: int,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        block: Layer | None = None,
    ) -> None:
        inputs, outputs = (self.adjust_channels(c, width_mult) for c in (input_channels, out_channels))
        layers = self.adjust_depth(num_layers, depth_mult)
        super().__init__(expand_ratio, kernel, stride, inputs, outputs, layers, block or MBConv)

    @staticmethod
    def adjust_depth(num_layers: int, depth_mult: float) -> int:
        return math.ceil(num_layers * depth_mult)


class FusedMBConvConfig(_Stage):
    """A stage of `FusedMBConv`."""

    def __init__(
        self,
        expand_ratio: float,
        kernel: int,
        stride: int,
        input_channels: int,
        out_channels: int,
        num_layers: int,
        block: Layer | None = None,
    ) -> None:
        super().__init__(expand_ratio, kernel, stride, input_channels, out_channels, num_layers, block or FusedMBConv)


class _Block(nn.Module):
    """Some layers beside a shortcut where that fits, left out at random in training."""

    def __init__(self, cnf: _Stage, layers: list[nn.Module], stochastic_depth_prob: float) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"illegal stride value {cnf.stride}")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.out_channels = cnf.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.stochastic_depth(self.block(x)) + x if self.use_res_connect else self.block(x)


class MBConv(_Block):
    """1x1 to more channels, a window in each channel alone, weights for channels, 1x1 back."""

    def __init__(
        self, cnf: _Stage, stochastic_depth_prob: float, norm_layer: Layer, se_layer: Layer = SqueezeExcitation
    ) -> None:
        channels, width = cnf.input_channels, cnf.adjust_channels(cnf.input_channels, cnf.expand_ratio)
        act: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = [] if width == channels else [Conv2dNormActivation(channels, width, 1, **act)]
        layers += [
            Conv2dNormActivation(width, width, cnf.kernel, cnf.stride, groups=width, **act),
            se_layer(width, max(1, channels // 4), activation=partial(nn.SiLU, inplace=True)),
            Conv2dNormActivation(width, cnf.out_channels, 1, norm_layer=norm_layer, activation_layer=None),
        ]
        super().__init__(cnf, layers, stochastic_depth_prob)


class FusedMBConv(_Block):
    """A full window to more channels, 1x1 back; or a full window alone where there are no more channels."""

    def __init__(self, cnf: _Stage, stochastic_depth_prob: float, norm_layer: Layer) -> None:
        channels, width = cnf.input_channels, cnf.adjust_channels(cnf.input_channels, cnf.expand_ratio)
        act: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        widest = cnf.out_channels if width == channels else width
        layers: list[nn.Module] = [Conv2dNormActivation(channels, widest, cnf.kernel, cnf.stride, **act)]
        if width != channels:
            layers.append(
                Conv2dNormActivation(width, cnf.out_channels, 1, norm_layer=norm_layer, activation_layer=None)
            )
        super().__init__(cnf, layers, stochastic_depth_prob)


class EfficientNet(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes].

    stochastic_depth_prob  how likely the last block is left out in training; it grows linearly from 0 at the first.
    last_channel           the width before the scores, by default 4 times that of the last stage.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[_Stage],
        dropout: float,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Layer | None = None,
        last_channel: int | None = None,
    ) -> None:
        super().__init__()
        stages = inverted_residual_setting
        if not stages:
            raise ValueError("The inverted_residual_setting should not be empty")
        if not (isinstance(stages, Sequence) and all(isinstance(stage, _Stage) for stage in stages)):
            raise TypeError("The inverted_residual_setting should be List[MBConvConfig]")
        norm_layer = norm_layer or nn.BatchNorm2d
        act: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        narrow, total = stages[-1].out_channels, sum(stage.num_layers for stage in stages)
        drops = [stochastic_depth_prob * i / total for i in range(total)]
        layers: list[nn.Module] = [Conv2dNormActivation(3, stages[0].input_channels, 3, 2, **act)]
        for stage in stages:
            layers.append(stage.blocks(drops[: stage.num_layers], norm_layer))
            drops = drops[stage.num_layers :]
        width = 4 * narrow if last_channel is None else last_channel
        layers.append(Conv2dNormActivation(narrow, width, 1, **act))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(width, num_classes))
        bound = 1 / math.sqrt(num_classes) if num_classes else 0.0
        initialise(self, conv=he, linear=lambda weight: nn.init.uniform_(weight, -bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class EfficientNet_B0_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("efficientnet_b0_rwightman-7f5810bc.pth", 5_288_548, 77.692, bicubic=True)
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B1_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("efficientnet_b1_rwightman-bac287d4.pth", 7_794_184, 78.642, crop=240, bicubic=True)
    IMAGENET1K_V2 = published("efficientnet_b1-c27df63c.pth", 7_794_184, 79.838, crop=240, resize=255)
    DEFAULT = IMAGENET1K_V2


class EfficientNet_B2_Weights(WeightsEnum):
    IMAGENET1K_V1 = published(
        "efficientnet_b2_rwightman-c35c1473.pth", 9_109_994, 80.608, crop=288, resize=288, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B3_Weights(WeightsEnum):
    IMAGENET1K_V1 = published(
        "efficientnet_b3_rwightman-b3899882.pth", 12_233_232, 82.008, crop=300, resize=320, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B4_Weights(WeightsEnum):
    IMAGENET1K_V1 = published(
        "efficientnet_b4_rwightman-23ab8bcd.pth", 19_341_616, 83.384, crop=380, resize=384, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B5_Weights(WeightsEnum):
    IMAGENET1K_V1 = published(
        "efficientnet_b5_lukemelas-1a07897c.pth", 30_389_784, 83.444, crop=456, resize=456, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B6_Weights(WeightsEnum):
    IMAGENET1K_V1 = published(
        "efficientnet_b6_lukemelas-24a108a5.pth", 43_040_704, 84.008, crop=528, resize=528, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B7_Weights(WeightsEnum):
    IMAGENET1K_V1 = published(
        "efficientnet_b7_lukemelas-c5b4e57e.pth", 66_347_960, 84.122, crop=600, resize=600, bicubic=True
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_V2_S_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("efficientnet_v2_s-dd5fe13b.pth", 21_458_488, 84.228, min_size=33, crop=384, resize=384)
    DEFAULT = IMAGENET1K_V1


class EfficientNet_V2_M_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("efficientnet_v2_m-dc08266a.pth", 54_139_356, 85.112, min_size=33, crop=480, resize=480)
    DEFAULT = IMAGENET1K_V1


class EfficientNet_V2_L_Weights(WeightsEnum):
    IMAGENET1K_V1 = published(
        "efficientnet_v2_l-59c71312.pth",
        118_515_272,
        85.808,
        min_size=33,
        crop=480,
        resize=480,
        bicubic=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    DEFAULT = IMAGENET1K_V1


_V1 = [(1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
       (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1)]  # fmt: skip


def _scaled(
    width_mult: float,
    depth_mult: float,
    dropout: float,
    known: type[WeightsEnum],
    weights: Any,
    progress: bool,
    options: dict[str, Any],
) -> EfficientNet:
    stages = [MBConvConfig(*row, width_mult=width_mult, depth_mult=depth_mult) for row in _V1]
    return _efficientnet(stages, dropout, None, known, weights, progress, options)


def _efficientnet(
    stages: list[_Stage] | list[MBConvConfig],
    dropout: float,
    last_channel: int | None,
    known: type[WeightsEnum],
    weights: Any,
    progress: bool,
    options: dict[str, Any],
) -> EfficientNet:
    dropout = options.pop("dropout", dropout)
    options.setdefault("last_channel", last_channel)
    return build(lambda **given: EfficientNet(stages, dropout, **given), known, weights, progress, options)


def efficientnet_b0(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B0; `weights` as for `resnet18`."""
    return _scaled(1.0, 1.0, 0.2, EfficientNet_B0_Weights, weights, progress, options)


def efficientnet_b1(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B1; `weights` as for `resnet18`."""
    return _scaled(1.0, 1.1, 0.2, EfficientNet_B1_Weights, weights, progress, options)


def efficientnet_b2(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B2; `weights` as for `resnet18`."""
    return _scaled(1.1, 1.2, 0.3, EfficientNet_B2_Weights, weights, progress, options)


def efficientnet_b3(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B3; `weights` as for `resnet18`."""
    return _scaled(1.2, 1.4, 0.3, EfficientNet_B3_Weights, weights, progress, options)


def efficientnet_b4(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B4; `weights` as for `resnet18`."""
    return _scaled(1.4, 1.8, 0.4, EfficientNet_B4_Weights, weights, progress, options)


def efficientnet_b5(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B5; `weights` as for `resnet18`."""
    options.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=0.001, momentum=0.01))
    return _scaled(1.6, 2.2, 0.4, EfficientNet_B5_Weights, weights, progress, options)


def efficientnet_b6(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B6; `weights` as for `resnet18`."""
    options.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=0.001, momentum=0.01))
    return _scaled(1.8, 2.6, 0.5, EfficientNet_B6_Weights, weights, progress, options)


def efficientnet_b7(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNet-B7; `weights` as for `resnet18`."""
    options.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=0.001, momentum=0.01))
    return _scaled(2.0, 3.1, 0.5, EfficientNet_B7_Weights, weights, progress, options)


def efficientnet_v2_s(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNetV2-S; `weights` as for `resnet18`."""
    stages: list[_Stage] = [
        FusedMBConvConfig(1, 3, 1, 24, 24, 2),
        FusedMBConvConfig(4, 3, 2, 24, 48, 4),
        FusedMBConvConfig(4, 3, 2, 48, 64, 4),
        MBConvConfig(4, 3, 2, 64, 128, 6),
        MBConvConfig(6, 3, 1, 128, 160, 9),
        MBConvConfig(6, 3, 2, 160, 256, 15),
    ]
    options.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=0.001))
    return _efficientnet(stages, 0.2, 1280, EfficientNet_V2_S_Weights, weights, progress, options)


def efficientnet_v2_m(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNetV2-M; `weights` as for `resnet18`."""
    stages: list[_Stage] = [
        FusedMBConvConfig(1, 3, 1, 24, 24, 3),
        FusedMBConvConfig(4, 3, 2, 24, 48, 5),
        FusedMBConvConfig(4, 3, 2, 48, 80, 5),
        MBConvConfig(4, 3, 2, 80, 160, 7),
        MBConvConfig(6, 3, 1, 160, 176, 14),
        MBConvConfig(6, 3, 2, 176, 304, 18),
        MBConvConfig(6, 3, 1, 304, 512, 5),
    ]
    options.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=0.001))
    return _efficientnet(stages, 0.3, 1280, EfficientNet_V2_M_Weights, weights, progress, options)


def efficientnet_v2_l(*, weights: Any = None, progress: bool = True, **options: Any) -> EfficientNet:
    """EfficientNetV2-L; `weights` as for `resnet18`."""
    stages: list[_Stage] = [
        FusedMBConvConfig(1, 3, 1, 32, 32, 4),
        FusedMBConvConfig(4, 3, 2, 32, 64, 7),
        FusedMBConvConfig(4, 3, 2, 64, 96, 7),
        MBConvConfig(4, 3, 2, 96, 192, 10),
        MBConvConfig(6, 3, 1, 192, 224, 19),
        MBConvConfig(6, 3, 2, 224, 384, 25),
        MBConvConfig(6, 3, 1, 384, 640, 7),
    ]
    options.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=0.001))
    return _efficientnet(stages, 0.4, 1280, EfficientNet_V2_L_Weights, weights, progress, options)
