"""GoogLeNet (Szegedy et al. 2014) with batch normalisation: blocks of four branches side by side."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from tritongrad import nn
from tritongrad.models.blocks import Layer
from tritongrad.models.pretrained import build, insist, published
from tritongrad.models.weights import WeightsEnum, member
from tritongrad.nn import functional as F
from tritongrad.ops.joining import cat
from tritongrad.tensor import Tensor


class GoogLeNetOutputs(NamedTuple):
    """Class scores, and in training those of the two auxiliary heads, the later one first."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class BasicConv2d(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **options)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def standardised(x: Tensor) -> Tensor:
    """Images normalised by ImageNet's means and deviations as ones normalised by 0.5 and 0.5, as the weights expect."""
    means, deviations = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    channels = [x[:, c : c + 1] * (deviations[c] / 0.5) + (means[c] - 0.5) / 0.5 for c in range(3)]
    return cat(channels, 1)


class Inception(nn.Module):
    """1x1, 3x3, another 3x3 and pooling side by side. (The second 3x3 was 5x5 in the paper.)"""

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        conv_block: Layer | None = None,
    ) -> None:
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch1 = conv(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            conv(in_channels, ch3x3red, kernel_size=1), conv(ch3x3red, ch3x3, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            conv(in_channels, ch5x5red, kernel_size=1), conv(ch5x5red, ch5x5, kernel_size=3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=True),
            conv(in_channels, pool_proj, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """Class scores from the middle of the network, to train it by."""

    def __init__(
        self, in_channels: int, num_classes: int, conv_block: Layer | None = None, dropout: float = 0.7
    ) -> None:
        super().__init__()
        self.conv = (conv_block or BasicConv2d)(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, (4, 4))).flatten(1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


_STAGES: dict[str, tuple[int, ...]] = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "maxpool3": (3,),
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "maxpool4": (2,),
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}
"""Channels of each block, and sizes of the windows of pooling in between."""


class GoogLeNet(nn.Module):
    """Images [N, 3, H, W] of at least 15 x 15 to class scores [N, num_classes].

    aux_logits       in training two more heads give scores, and the result is `GoogLeNetOutputs`.
    transform_input  images are normalised by ImageNet's statistics, and the weights expect 0.5 and 0.5.
    init_weights     draw weights from normals of deviation 0.01 cut off at 2; None is True with a FutureWarning.
    blocks           what takes the places of `BasicConv2d`, `Inception` and `InceptionAux`.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = None,
        blocks: list[Layer] | None = None,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        blocks = blocks or [BasicConv2d, Inception, InceptionAux]
        if len(blocks) != 3:
            raise ValueError(f"blocks length should be 3 instead of {len(blocks)}")
        conv, inception, aux = blocks
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for name, sizes in _STAGES.items():
            pool = len(sizes) == 1
            self.add_module(name, nn.MaxPool2d(sizes[0], stride=2, ceil_mode=True) if pool else inception(*sizes))
        self.aux1 = aux(512, num_classes, dropout=dropout_aux) if aux_logits else None
        self.aux2 = aux(528, num_classes, dropout=dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        draw(self, init_weights, lambda m: 0.01)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        x = standardised(x) if self.transform_input else x
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        heads, scores = {"inception4a": self.aux1, "inception4d": self.aux2}, []
        for name in _STAGES:
            x = getattr(self, name)(x)
            if name in heads:
                head = heads[name] if self.training else None
                scores.append(None if head is None else head(x))
        y = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        return GoogLeNetOutputs(y, scores[1], scores[0]) if self.training and self.aux_logits else y


def draw(model: nn.Module, wanted: bool | None, deviation: Any) -> None:
    """Draw weights of convolutions and linear layers from normals of deviation(module), cut off at 2."""
    if wanted is None:
        warnings.warn(
            f"{type(model).__name__}: weights are drawn from normals cut off at 2, which takes long; say "
            "init_weights=True to keep that, or False for the usual values of layers",
            FutureWarning,
            stacklevel=4,
        )
    if wanted is not False:
        for m in model.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(m.weight, std=deviation(m), a=-2, b=2)


class GoogLeNet_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("googlenet-1378be20.pth", 6_624_904, 69.778, min_size=15)
    DEFAULT = IMAGENET1K_V1


def googlenet(*, weights: Any = None, progress: bool = True, **options: Any) -> GoogLeNet:
    """GoogLeNet; `weights` as for `resnet18`. With published ones the auxiliary heads are left out unless asked for."""
    published_ones = member(weights, GoogLeNet_Weights) is not None or options.get("pretrained")
    heads = options.get("aux_logits", False)
    if published_ones:
        options.setdefault("transform_input", True)
        insist(options, aux_logits=True, init_weights=False)
    model = build(GoogLeNet, GoogLeNet_Weights, weights, progress, options)
    if published_ones and heads:
        warnings.warn("the auxiliary heads of GoogLeNet's published weights are not trained", stacklevel=2)
    elif published_ones:
        model.aux_logits, model.aux1, model.aux2 = False, None, None
    return model
