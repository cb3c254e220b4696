"""Residual networks (He et al. 2015), ResNeXt (Xie et al. 2016) and wide ones (Zagoruyko and Komodakis 2016).

Parameters have torchvision's names, so that its weights load. As there ("ResNet v1.5") the stride of a bottleneck block
is in its 3x3 convolution.
"""

from __future__ import annotations

from typing import Any

from tritongrad import nn
from tritongrad.models.blocks import Layer, he, initialise
from tritongrad.models.pretrained import build, insist, published
from tritongrad.models.weights import WeightsEnum
from tritongrad.tensor import Tensor


def conv3x3(in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ValueError(f"BasicBlock: groups must be 1 and base_width 64, got {groups} and {base_width}")
        if dilation != 1:
            raise NotImplementedError(f"BasicBlock: dilation must be 1, got {dilation}")
        norm_layer = norm_layer or nn.BatchNorm2d
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3x3 convolution, in `groups`, between two 1x1 convolutions that narrow and widen, beside a shortcut.

    The narrow part has groups * base_width / 64 channels for each of `planes`.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes].

    zero_init_residual            each block begins as its shortcut alone (Goyal et al. 2017).
    replace_stride_with_dilation  for each of the last three stages, whether it keeps the image's size and spreads its
                                  windows instead (for segmentation).
    norm_layer                    what makes the normalisations, by default `nn.BatchNorm2d`.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: list[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: list[bool] | None = None,
        norm_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        spread = replace_stride_with_dilation or [False] * 3
        if len(spread) != 3:
            raise ValueError(f"replace_stride_with_dilation should be None or a 3-element tuple, got {spread}")
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, spread[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, spread[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, spread[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        initialise(self, conv=he)
        for m in self.modules():
            if zero_init_residual and isinstance(m, BasicBlock | Bottleneck):
                last = m.bn2 if isinstance(m, BasicBlock) else m.bn3
                if last.weight is not None:
                    nn.init.zeros_(last.weight)

    def _make_layer(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        first_dilation, width = self.dilation, planes * block.expansion
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        downsample = None
        if stride != 1 or self.inplanes != width:
            downsample = nn.Sequential(conv1x1(self.inplanes, width, stride), self._norm_layer(width))
        shared = (self.groups, self.base_width)
        layers = [block(self.inplanes, planes, stride, downsample, *shared, first_dilation, self._norm_layer)]
        self.inplanes = width
        layers += [block(width, planes, 1, None, *shared, self.dilation, self._norm_layer) for _ in range(1, blocks)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class ResNet18_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnet18-f37072fd.pth", 11_689_512, 69.758)
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnet34-b627a593.pth", 21_797_672, 73.314)
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnet50-0676ba61.pth", 25_557_032, 76.13)
    IMAGENET1K_V2 = published("resnet50-11ad3fa6.pth", 25_557_032, 80.858, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnet101-63fe2227.pth", 44_549_160, 77.374)
    IMAGENET1K_V2 = published("resnet101-cd907fc2.pth", 44_549_160, 81.886, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnet152-394f9c45.pth", 60_192_808, 78.312)
    IMAGENET1K_V2 = published("resnet152-f82ba261.pth", 60_192_808, 82.284, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt50_32X4D_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnext50_32x4d-7cdf4587.pth", 25_028_904, 77.618)
    IMAGENET1K_V2 = published("resnext50_32x4d-1a0047aa.pth", 25_028_904, 81.198, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_32X8D_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnext101_32x8d-8ba56ff5.pth", 88_791_336, 79.312)
    IMAGENET1K_V2 = published("resnext101_32x8d-110c445d.pth", 88_791_336, 82.834, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_64X4D_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("resnext101_64x4d-173b62eb.pth", 83_455_272, 83.246, resize=232)
    DEFAULT = IMAGENET1K_V1


class Wide_ResNet50_2_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("wide_resnet50_2-95faca4d.pth", 68_883_240, 78.468)
    IMAGENET1K_V2 = published("wide_resnet50_2-9ba9bcbe.pth", 68_883_240, 81.602, resize=232)
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet101_2_Weights(WeightsEnum):
    IMAGENET1K_V1 = published("wide_resnet101_2-32ee1156.pth", 126_886_696, 78.848)
    IMAGENET1K_V2 = published("wide_resnet101_2-d733dc28.pth", 126_886_696, 82.51, resize=232)
    DEFAULT = IMAGENET1K_V2


def _resnet(
    block: Any, layers: list[int], known: type[WeightsEnum], weights: Any, progress: bool, options: dict[str, Any]
) -> ResNet:
    return build(lambda **given: ResNet(block, layers, **given), known, weights, progress, options)


def resnet18(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-18. `weights`: None for random ones, a path (.safetensors, .pth), or a `ResNet18_Weights` member."""
    return _resnet(BasicBlock, [2, 2, 2, 2], ResNet18_Weights, weights, progress, options)


def resnet34(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-34; `weights` as for `resnet18`."""
    return _resnet(BasicBlock, [3, 4, 6, 3], ResNet34_Weights, weights, progress, options)


def resnet50(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-50; `weights` as for `resnet18`."""
    return _resnet(Bottleneck, [3, 4, 6, 3], ResNet50_Weights, weights, progress, options)


def resnet101(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-101; `weights` as for `resnet18`."""
    return _resnet(Bottleneck, [3, 4, 23, 3], ResNet101_Weights, weights, progress, options)


def resnet152(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-152; `weights` as for `resnet18`."""
    return _resnet(Bottleneck, [3, 8, 36, 3], ResNet152_Weights, weights, progress, options)


def resnext50_32x4d(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNeXt-50 in 32 groups of 4 channels; `weights` as for `resnet18`."""
    insist(options, groups=32, width_per_group=4)
    return _resnet(Bottleneck, [3, 4, 6, 3], ResNeXt50_32X4D_Weights, weights, progress, options)


def resnext101_32x8d(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNeXt-101 in 32 groups of 8 channels; `weights` as for `resnet18`."""
    insist(options, groups=32, width_per_group=8)
    return _resnet(Bottleneck, [3, 4, 23, 3], ResNeXt101_32X8D_Weights, weights, progress, options)


def resnext101_64x4d(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNeXt-101 in 64 groups of 4 channels; `weights` as for `resnet18`."""
    insist(options, groups=64, width_per_group=4)
    return _resnet(Bottleneck, [3, 4, 23, 3], ResNeXt101_64X4D_Weights, weights, progress, options)


def wide_resnet50_2(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-50 with twice the channels in its 3x3 convolutions; `weights` as for `resnet18`."""
    insist(options, width_per_group=128)
    return _resnet(Bottleneck, [3, 4, 6, 3], Wide_ResNet50_2_Weights, weights, progress, options)


def wide_resnet101_2(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-101 with twice the channels in its 3x3 convolutions; `weights` as for `resnet18`."""
    insist(options, width_per_group=128)
    return _resnet(Bottleneck, [3, 4, 23, 3], Wide_ResNet101_2_Weights, weights, progress, options)
