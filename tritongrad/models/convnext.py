"""ConvNeXt: convolutions in the manner of transformers (Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import Conv2dNormActivation, Layer, Permute, StochasticDepth, initialise
from tritongrad.models.pretrained import build, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.nn import functional as F
from tritongrad.ops.filled import full
from tritongrad.tensor import Tensor


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation of the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


_layer_norm = partial(nn.LayerNorm, eps=1e-6)


class CNBlock(nn.Module):
    """7x7 in each channel alone, then a linear layer to 4 times the channels and one back, beside a shortcut."""

    def __init__(
        self, dim: int, layer_scale: float, stochastic_depth_prob: float, norm_layer: Layer | None = None
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim),
            Permute([0, 2, 3, 1]),
            (norm_layer or _layer_norm)(dim),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            Permute([0, 3, 1, 2]),
        )
        self.layer_scale = nn.Parameter(full((dim, 1, 1), layer_scale))
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, x: Tensor) -> Tensor:
        return self.stochastic_depth(self.layer_scale * self.block(x)) + x


class CNBlockConfig:
    """A stage of `num_layers` blocks, after which the image is halved, unless out_channels is None."""

    def __init__(self, input_channels: int, out_channels: int | None, num_layers: int) -> None:
        self.input_channels, self.out_channels, self.num_layers = input_channels, out_channels, num_layers

    def __repr__(self) -> str:
        return (
            f"CNBlockConfig(input_channels={self.input_channels}, out_channels={self.out_channels}, "
            f"num_layers={self.num_layers})"
        )


class ConvNeXt(nn.Module):
    """Images [N, 3, H, W] of at least 32 x 32 to class scores [N, num_classes].

    stochastic_depth_prob  how likely the last block is left out in training; it grows linearly from 0 at the first.
    layer_scale            what each block's result is multiplied by at the beginning.
    """

    def __init__(
        self,
        block_setting: list[CNBlockConfig],
        stochastic_depth_prob: float = 0.0,
        layer_scale: float = 1e-6,
        num_classes: int = 1000,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        **unused: Any,
    ) -> None:
        super().__init__()
        if not block_setting:
            raise ValueError("The block_setting should not be empty")
        if not (isinstance(block_setting, Sequence) and all(isinstance(s, CNBlockConfig) for s in block_setting)):
            raise TypeError("The block_setting should be List[CNBlockConfig]")
        block, norm_layer = block or CNBlock, norm_layer or partial(LayerNorm2d, eps=1e-6)
        width, total, done = block_setting[0].input_channels, sum(s.num_layers for s in block_setting), 0
        layers: list[nn.Module] = [
            Conv2dNormActivation(3, width, 4, 4, 0, norm_layer=norm_layer, activation_layer=None, bias=True)
        ]
        for stage in block_setting:
            width = stage.input_channels
            drops = [stochastic_depth_prob * (done + i) / (total - 1.0) for i in range(stage.num_layers)]
            layers.append(nn.Sequential(*(block(width, layer_scale, p) for p in drops)))
            done += stage.num_layers
            if stage.out_channels is not None:
                halved = nn.Conv2d(width, stage.out_channels, kernel_size=2, stride=2)
                layers.append(nn.Sequential(norm_layer(width), halved))
                width = stage.out_channels
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(norm_layer(width), nn.Flatten(1), nn.Linear(width, num_classes))
        narrow = partial(nn.init.trunc_normal_, std=0.02)
        initialise(self, conv=narrow, linear=narrow)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)))


class ConvNeXt_Tiny_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("convnext_tiny-983f1562.pth", 28_589_128, 82.52, min_size=32, resize=236)
    DEFAULT = IMAGENET1K_V1


class ConvNeXt_Small_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("convnext_small-0c510722.pth", 50_223_688, 83.616, min_size=32, resize=230)
    DEFAULT = IMAGENET1K_V1


class ConvNeXt_Base_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("convnext_base-6075fbad.pth", 88_591_464, 84.062, min_size=32, resize=232)
    DEFAULT = IMAGENET1K_V1


class ConvNeXt_Large_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("convnext_large-ea097f82.pth", 197_767_336, 84.414, min_size=32, resize=232)
    DEFAULT = IMAGENET1K_V1


def _convnext(
    widths: list[int],
    depths: list[int],
    drop: float,
    known: type[WeightsEnum],
    weights: Any,
    progress: bool,
    options: dict[str, Any],
) -> ConvNeXt:
    options.setdefault("stochastic_depth_prob", drop)
    stages = [CNBlockConfig(*row) for row in zip(widths, [*widths[1:], None], depths, strict=True)]
    return build(lambda **given: ConvNeXt(stages, **given), known, weights, progress, options)


def convnext_tiny(*, weights: Any = None, progress: bool = True, **options: Any) -> ConvNeXt:
    """ConvNeXt-Tiny; `weights` as for `resnet18`."""
    return _convnext([96, 192, 384, 768], [3, 3, 9, 3], 0.1, ConvNeXt_Tiny_Weights, weights, progress, options)


def convnext_small(*, weights: Any = None, progress: bool = True, **options: Any) -> ConvNeXt:
    """ConvNeXt-Small; `weights` as for `resnet18`."""
    return _convnext([96, 192, 384, 768], [3, 3, 27, 3], 0.4, ConvNeXt_Small_Weights, weights, progress, options)


def convnext_base(*, weights: Any = None, progress: bool = True, **options: Any) -> ConvNeXt:
    """ConvNeXt-Base; `weights` as for `resnet18`."""
    return _convnext([128, 256, 512, 1024], [3, 3, 27, 3], 0.5, ConvNeXt_Base_Weights, weights, progress, options)


def convnext_large(*, weights: Any = None, progress: bool = True, **options: Any) -> ConvNeXt:
    """ConvNeXt-Large; `weights` as for `resnet18`."""
    return _convnext([192, 384, 768, 1536], [3, 3, 27, 3], 0.5, ConvNeXt_Large_Weights, weights, progress, options)
