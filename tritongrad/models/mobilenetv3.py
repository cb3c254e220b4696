"""MobileNetV3: a searched succession of inverted residuals, some of which weigh channels (Howard et al. 2019)."""

from __future__ import annotations

from functools import partial
from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import (
    Conv2dNormActivation,
    Layer,
    SqueezeExcitation,
    he,
    initialise,
    make_divisible,
    narrow_normal,
)
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.tensor import Tensor


class InvertedResidualConfig:
    """A row of the paper's tables 1 and 2, with channels times width_mult; activation "HS" or "RE" (ReLU)."""

    def __init__(
        self,
        input_channels: int,
        kernel: int,
        expanded_channels: int,
        out_channels: int,
        use_se: bool,
        activation: str,
        stride: int,
        dilation: int,
        width_mult: float,
    ) -> None:
        self.input_channels = self.adjust_channels(input_channels, width_mult)
        self.kernel = kernel
        self.expanded_channels = self.adjust_channels(expanded_channels, width_mult)
        self.out_channels = self.adjust_channels(out_channels, width_mult)
        self.use_se, self.use_hs = use_se, activation == "HS"
        self.stride, self.dilation = stride, dilation

    @staticmethod
    def adjust_channels(channels: int, width_mult: float) -> int:
        return make_divisible(channels * width_mult, 8)


_hard_excitation = partial(SqueezeExcitation, scale_activation=nn.Hardsigmoid)


class InvertedResidual(nn.Module):
    """1x1 to more channels, a window in each channel alone, weights for channels, 1x1 back; beside a shortcut."""

    def __init__(
        self,
        cnf: InvertedResidualConfig,
        norm_layer: Layer,
        se_layer: Layer = _hard_excitation,
    ) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"illegal stride value {cnf.stride}")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        width = cnf.expanded_channels
        act: dict[str, Any] = {
            "norm_layer": norm_layer,
            "activation_layer": nn.Hardswish if cnf.use_hs else nn.ReLU,
        }
        layers: list[nn.Module] = []
        if width != cnf.input_channels:
            layers.append(Conv2dNormActivation(cnf.input_channels, width, 1, **act))
        stride = 1 if cnf.dilation > 1 else cnf.stride
        layers.append(
            Conv2dNormActivation(width, width, cnf.kernel, stride, groups=width, dilation=cnf.dilation, **act)
        )
        if cnf.use_se:
            layers.append(se_layer(width, make_divisible(width // 4, 8)))
        layers.append(Conv2dNormActivation(width, cnf.out_channels, 1, norm_layer=norm_layer, activation_layer=None))
        self.block = nn.Sequential(*layers)
        self.out_channels = cnf.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + x if self.use_res_connect else self.block(x)


class MobileNetV3(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes]; `last_channel` is the width before the scores."""

    def __init__(
        self,
        inverted_residual_setting: list[InvertedResidualConfig],
        last_channel: int,
        num_classes: int = 1000,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        dropout: float = 0.2,
        **unused: Any,
    ) -> None:
        super().__init__()
        rows = inverted_residual_setting
        if not rows:
            raise ValueError("The inverted_residual_setting should not be empty")
        if not (isinstance(rows, list | tuple) and all(isinstance(row, InvertedResidualConfig) for row in rows)):
            raise TypeError("The inverted_residual_setting should be List[InvertedResidualConfig]")
        block = block or InvertedResidual
        norm_layer = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        act: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": nn.Hardswish}
        narrow = rows[-1].out_channels
        self.features = nn.Sequential(
            Conv2dNormActivation(3, rows[0].input_channels, 3, 2, **act),
            *(block(row, norm_layer) for row in rows),
            Conv2dNormActivation(narrow, 6 * narrow, 1, **act),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * narrow, last_channel),
            nn.Hardswish(inplace=True),
            nn.Dropout(dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
        )
        initialise(self, conv=he, linear=narrow_normal)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


_LARGE = [
    (16, 3, 16, 16, False, "RE", 1),
    (16, 3, 64, 24, False, "RE", 2),
    (24, 3, 72, 24, False, "RE", 1),
    (24, 5, 72, 40, True, "RE", 2),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 3, 240, 80, False, "HS", 2),
    (80, 3, 200, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 480, 112, True, "HS", 1),
    (112, 3, 672, 112, True, "HS", 1),
    (112, 5, 672, 160, True, "HS", 2),
    (160, 5, 960, 160, True, "HS", 1),
    (160, 5, 960, 160, True, "HS", 1),
]
_SMALL = [
    (16, 3, 16, 16, True, "RE", 2),
    (16, 3, 72, 24, False, "RE", 2),
    (24, 3, 88, 24, False, "RE", 1),
    (24, 5, 96, 40, True, "HS", 2),
    (40, 5, 240, 40, True, "HS", 1),
    (40, 5, 240, 40, True, "HS", 1),
    (40, 5, 120, 48, True, "HS", 1),
    (48, 5, 144, 48, True, "HS", 1),
    (48, 5, 288, 96, True, "HS", 2),
    (96, 5, 576, 96, True, "HS", 1),
    (96, 5, 576, 96, True, "HS", 1),
]


def _mobilenet_v3(
    table: list[tuple], last: int, known: type[WeightsEnum], weights: Any, progress: bool, options: dict[str, Any]
) -> MobileNetV3:
    width_mult = options.pop("width_mult", 1.0)
    tail = 2 if options.pop("reduced_tail", False) else 1  # the last three blocks have half the channels
    spread = 2 if options.pop("dilated", False) else 1  # and wider windows instead of a smaller image
    rows, end = [], len(table) - 3
    for i, (inputs, kernel, expanded, outputs, use_se, activation, stride) in enumerate(table):
        inputs, expanded = (n // tail if i > end else n for n in (inputs, expanded))
        outputs, dilation = (outputs // tail, spread) if i >= end else (outputs, 1)
        shape = (inputs, kernel, expanded, outputs)
        rows.append(InvertedResidualConfig(*shape, use_se, activation, stride, dilation, width_mult))
    last_channel = InvertedResidualConfig.adjust_channels(last // tail, width_mult)
    return build(lambda **given: MobileNetV3(rows, last_channel, **given), known, weights, progress, options)


class MobileNet_V3_Large_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("mobilenet_v3_large-8738ca79.pth", 5_483_032, 74.042)
    IMAGENET1K_V2 = published("mobilenet_v3_large-5c1a4163.pth", 5_483_032, 75.274, resize=232)
    DEFAULT = IMAGENET1K_V2


class MobileNet_V3_Small_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("mobilenet_v3_small-047dcff4.pth", 2_542_856, 67.668)
    DEFAULT = IMAGENET1K_V1


def mobilenet_v3_large(*, weights: Any = None, progress: bool = True, **options: Any) -> MobileNetV3:
    """MobileNetV3-Large; `weights` as for `resnet18`."""
    return _mobilenet_v3(_LARGE, 1280, MobileNet_V3_Large_Weights, weights, progress, options)


def mobilenet_v3_small(*, weights: Any = None, progress: bool = True, **options: Any) -> MobileNetV3:
    """MobileNetV3-Small; `weights` as for `resnet18`."""
    return _mobilenet_v3(_SMALL, 1024, MobileNet_V3_Small_Weights, weights, progress, options)
