"""RegNets: residual networks whose widths follow a quantised line (Radosavovic et al. 2020)."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import (
    Conv2dNormActivation,
    Layer,
    SqueezeExcitation,
    he,
    make_divisible,
    narrow_normal,
)
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.tensor import Tensor


class SimpleStemIN(Conv2dNormActivation):
    """A 3x3 convolution that halves the image."""

    def __init__(self, width_in: int, width_out: int, norm_layer: Layer, activation_layer: Layer) -> None:
        super().__init__(width_in, width_out, 3, 2, norm_layer=norm_layer, activation_layer=activation_layer)


class BottleneckTransform(nn.Sequential):
    """1x1, 3x3 in groups of `group_width` channels, with `se_ratio` weights for channels, 1x1."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int,
        bottleneck_multiplier: float,
        se_ratio: float | None,
    ) -> None:
        width = round(width_out * bottleneck_multiplier)
        act: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": activation_layer}
        layers: dict[str, nn.Module] = {
            "a": Conv2dNormActivation(width_in, width, 1, **act),
            "b": Conv2dNormActivation(width, width, 3, stride, groups=width // group_width, **act),
        }
        if se_ratio:
            layers["se"] = SqueezeExcitation(width, round(se_ratio * width_in), activation=activation_layer)
        layers["c"] = Conv2dNormActivation(width, width_out, 1, norm_layer=norm_layer, activation_layer=None)
        super().__init__(OrderedDict(layers))


class ResBottleneckBlock(nn.Module):
    """`BottleneckTransform` beside a shortcut, which is a 1x1 convolution where the shapes differ."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int = 1,
        bottleneck_multiplier: float = 1.0,
        se_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self.proj = None
        if width_in != width_out or stride != 1:
            self.proj = Conv2dNormActivation(
                width_in, width_out, 1, stride, norm_layer=norm_layer, activation_layer=None
            )
        self.f = BottleneckTransform(
            width_in, width_out, stride, norm_layer, activation_layer, group_width, bottleneck_multiplier, se_ratio
        )
        self.activation = activation_layer(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation((x if self.proj is None else self.proj(x)) + self.f(x))


class AnyStage(nn.Sequential):
    """`depth` blocks, of which the first changes width and size."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        depth: int,
        block_constructor: Layer,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int,
        bottleneck_multiplier: float,
        se_ratio: float | None = None,
        stage_index: int = 0,
    ) -> None:
        super().__init__()
        same = (norm_layer, activation_layer, group_width, bottleneck_multiplier, se_ratio)
        for i in range(depth):
            first = (width_in, width_out, stride) if i == 0 else (width_out, width_out, 1)
            self.add_module(f"block{stage_index}-{i}", block_constructor(*first, *same))


class BlockParams:
    """Depth, width, group width, bottleneck multiplier and stride of each stage."""

    def __init__(
        self,
        depths: list[int],
        widths: list[int],
        group_widths: list[int],
        bottleneck_multipliers: list[float],
        strides: list[int],
        se_ratio: float | None = None,
    ) -> None:
        self.depths, self.widths, self.group_widths = depths, widths, group_widths
        self.bottleneck_multipliers, self.strides, self.se_ratio = bottleneck_multipliers, strides, se_ratio

    @classmethod
    def from_init_params(
        cls,
        depth: int,
        w_0: int,
        w_a: float,
        w_m: float,
        group_width: int,
        bottleneck_multiplier: float = 1.0,
        se_ratio: float | None = None,
        **unused: Any,
    ) -> BlockParams:
        """From the paper's parameters: block i has width w_0 + w_a i, rounded to w_0 w_m^k and then to multiples of 8.

        Blocks of one width are a stage, whose width is then rounded so that groups of `group_width` fit.
        """
        if w_a < 0 or w_0 <= 0 or w_m <= 1 or w_0 % 8 != 0:
            raise ValueError(f"Invalid RegNet settings: w_0 {w_0}, w_a {w_a}, w_m {w_m}")
        steps = [round(math.log((w_0 + w_a * i) / w_0) / math.log(w_m)) for i in range(depth)]
        stages = [(w, len(list(same))) for w, same in itertools.groupby(round(w_0 * w_m**k / 8) * 8 for k in steps)]
        widths, groups = [], []
        for width, _ in stages:
            narrow = int(width * bottleneck_multiplier)
            groups.append(min(group_width, narrow))
            widths.append(int(make_divisible(narrow, groups[-1]) / bottleneck_multiplier))
        depths, n = [count for _, count in stages], len(stages)
        return cls(depths, widths, groups, [bottleneck_multiplier] * n, [2] * n, se_ratio)


class RegNet(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes]."""

    def __init__(
        self,
        block_params: BlockParams,
        num_classes: int = 1000,
        stem_width: int = 32,
        stem_type: Layer | None = None,
        block_type: Layer | None = None,
        norm_layer: Layer | None = None,
        activation: Layer | None = None,
    ) -> None:
        super().__init__()
        act = (norm_layer or nn.BatchNorm2d, activation or nn.ReLU)
        self.stem = (stem_type or SimpleStemIN)(3, stem_width, *act)
        stages, channels, p = OrderedDict(), stem_width, block_params
        rows = zip(p.widths, p.strides, p.depths, p.group_widths, p.bottleneck_multipliers, strict=True)
        for i, (width, stride, depth, group_width, multiplier) in enumerate(rows, 1):
            stages[f"block{i}"] = AnyStage(
                channels, width, stride, depth, block_type or ResBottleneckBlock, *act, group_width, multiplier,
                p.se_ratio, i
            )  # fmt: skip
            channels = width
        self.trunk_output = nn.Sequential(stages)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                he(m.weight)
            elif isinstance(m, nn.Linear):
                narrow_normal(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.trunk_output(self.stem(x))).flatten(1))


class RegNet_Y_400MF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_y_400mf-c65dace8.pth", 4_344_144, 74.046)
    IMAGENET1K_V2 = published("regnet_y_400mf-e6988f5f.pth", 4_344_144, 75.804, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_800MF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_y_800mf-1b27b58c.pth", 6_432_512, 76.42)
    IMAGENET1K_V2 = published("regnet_y_800mf-58fc7688.pth", 6_432_512, 78.828, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_1_6GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_y_1_6gf-b11a554e.pth", 11_202_430, 77.95)
    IMAGENET1K_V2 = published("regnet_y_1_6gf-0d7bc02a.pth", 11_202_430, 80.876, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_3_2GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_y_3_2gf-b5a9779c.pth", 19_436_338, 78.948)
    IMAGENET1K_V2 = published("regnet_y_3_2gf-9180c971.pth", 19_436_338, 81.982, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_8GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_y_8gf-d0d0e4a8.pth", 39_381_472, 80.032)
    IMAGENET1K_V2 = published("regnet_y_8gf-dc2b1b54.pth", 39_381_472, 82.828, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_16GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_y_16gf-9e6ed7dd.pth", 83_590_140, 80.424)
    IMAGENET1K_V2 = published("regnet_y_16gf-3e4a00f9.pth", 83_590_140, 82.886, resize=232)
    IMAGENET1K_SWAG_E2E_V1 = published(
        "regnet_y_16gf_swag-43afe44d.pth", 83_590_140, 86.012, crop=384, resize=384, bicubic=True
    )
    IMAGENET1K_SWAG_LINEAR_V1 = published(
        "regnet_y_16gf_lc_swag-f3ec0043.pth", 83_590_140, 83.976, resize=224, bicubic=True
    )
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_32GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_y_32gf-4dee3f7a.pth", 145_046_770, 80.878)
    IMAGENET1K_V2 = published("regnet_y_32gf-8db6d4b5.pth", 145_046_770, 83.368, resize=232)
    IMAGENET1K_SWAG_E2E_V1 = published(
        "regnet_y_32gf_swag-04fdfa75.pth", 145_046_770, 86.838, crop=384, resize=384, bicubic=True
    )
    IMAGENET1K_SWAG_LINEAR_V1 = published(
        "regnet_y_32gf_lc_swag-e1583746.pth", 145_046_770, 84.622, resize=224, bicubic=True
    )
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_128GF_Weights(WeightsEnum):
    IMAGENET1K_SWAG_E2E_V1 = published(
        "regnet_y_128gf_swag-c8ce3e52.pth", 644_812_894, 88.228, crop=384, resize=384, bicubic=True
    )
    IMAGENET1K_SWAG_LINEAR_V1 = published(
        "regnet_y_128gf_lc_swag-cbe8ce12.pth", 644_812_894, 86.068, resize=224, bicubic=True
    )
    DEFAULT = IMAGENET1K_SWAG_E2E_V1


class RegNet_X_400MF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_x_400mf-adf1edd5.pth", 5_495_976, 72.834)
    IMAGENET1K_V2 = published("regnet_x_400mf-62229a5f.pth", 5_495_976, 74.864, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_800MF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_x_800mf-ad17e45c.pth", 7_259_656, 75.212)
    IMAGENET1K_V2 = published("regnet_x_800mf-94a99ebd.pth", 7_259_656, 77.522, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_1_6GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_x_1_6gf-e3633e7f.pth", 9_190_136, 77.04)
    IMAGENET1K_V2 = published("regnet_x_1_6gf-a12f2b72.pth", 9_190_136, 79.668, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_3_2GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_x_3_2gf-f342aeae.pth", 15_296_552, 78.364)
    IMAGENET1K_V2 = published("regnet_x_3_2gf-7071aa85.pth", 15_296_552, 81.196, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_8GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_x_8gf-03ceed89.pth", 39_572_648, 79.344)
    IMAGENET1K_V2 = published("regnet_x_8gf-2b70d774.pth", 39_572_648, 81.682, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_16GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_x_16gf-2007eb11.pth", 54_278_536, 80.058)
    IMAGENET1K_V2 = published("regnet_x_16gf-ba3796d7.pth", 54_278_536, 82.716, resize=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_32GF_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("regnet_x_32gf-9d47f8d0.pth", 107_811_560, 80.622)
    IMAGENET1K_V2 = published("regnet_x_32gf-6eb8fdc6.pth", 107_811_560, 83.014, resize=232)
    DEFAULT = IMAGENET1K_V2


def _regnet(
    known: type[WeightsEnum], weights: Any, progress: bool, options: dict[str, Any], *line: float, **more: Any
) -> RegNet:
    depth, w_0, w_a, w_m, group_width = line
    p = BlockParams.from_init_params(int(depth), int(w_0), w_a, w_m, int(group_width), **more)
    return build(lambda **given: RegNet(p, **given), known, weights, progress, options)


def regnet_y_400mf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-400MF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_400MF_Weights, weights, progress, options, 16, 48, 27.89, 2.09, 8, se_ratio=0.25)


def regnet_y_800mf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-800MF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_800MF_Weights, weights, progress, options, 14, 56, 38.84, 2.4, 16, se_ratio=0.25)


def regnet_y_1_6gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-1.6GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_1_6GF_Weights, weights, progress, options, 27, 48, 20.71, 2.65, 24, se_ratio=0.25)


def regnet_y_3_2gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-3.2GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_3_2GF_Weights, weights, progress, options, 21, 80, 42.63, 2.66, 24, se_ratio=0.25)


def regnet_y_8gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-8GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_8GF_Weights, weights, progress, options, 17, 192, 76.82, 2.19, 56, se_ratio=0.25)


def regnet_y_16gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-16GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_16GF_Weights, weights, progress, options, 18, 200, 106.23, 2.48, 112, se_ratio=0.25)


def regnet_y_32gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-32GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_32GF_Weights, weights, progress, options, 20, 232, 115.89, 2.53, 232, se_ratio=0.25)


def regnet_y_128gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetY-128GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_Y_128GF_Weights, weights, progress, options, 27, 456, 160.83, 2.52, 264, se_ratio=0.25)


def regnet_x_400mf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetX-400MF; `weights` as for `resnet18`."""
    return _regnet(RegNet_X_400MF_Weights, weights, progress, options, 22, 24, 24.48, 2.54, 16)


def regnet_x_800mf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetX-800MF; `weights` as for `resnet18`."""
    return _regnet(RegNet_X_800MF_Weights, weights, progress, options, 16, 56, 35.73, 2.28, 16)


def regnet_x_1_6gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetX-1.6GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_X_1_6GF_Weights, weights, progress, options, 18, 80, 34.01, 2.25, 24)


def regnet_x_3_2gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetX-3.2GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_X_3_2GF_Weights, weights, progress, options, 25, 88, 26.31, 2.25, 48)


def regnet_x_8gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetX-8GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_X_8GF_Weights, weights, progress, options, 23, 80, 49.56, 2.88, 120)


def regnet_x_16gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetX-16GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_X_16GF_Weights, weights, progress, options, 22, 216, 55.59, 2.1, 128)


def regnet_x_32gf(*, weights: Any = None, progress: bool = True, **options: Any) -> RegNet:
    """RegNetX-32GF; `weights` as for `resnet18`."""
    return _regnet(RegNet_X_32GF_Weights, weights, progress, options, 23, 320, 69.86, 2.0, 168)
