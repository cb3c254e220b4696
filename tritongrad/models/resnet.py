"""Residual networks (He et al. 2015), with torchvision's parameter names, so that its weights load.

As in torchvision ("ResNet v1.5") the stride of a bottleneck block is in its 3x3 convolution.
"""

from __future__ import annotations

from typing import Any

from tritongrad import nn
from tritongrad.models.weights import Weights, WeightsEnum, resolve
from tritongrad.tensor import Tensor


def conv3x3(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 3, stride, padding=1, bias=False)


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn1(self.conv1(x), relu=True)
        return self.bn2(self.conv2(out), residual=identity, relu=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 convolutions that narrow and widen, beside a shortcut."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = conv1x1(inplanes, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv1x1(planes, planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn1(self.conv1(x), relu=True)
        out = self.bn2(self.conv2(out), relu=True)
        return self.bn3(self.conv3(out), residual=identity, relu=True)


class ResNet(nn.Module):
    """Images [N, 3, H, W] to class scores [N, num_classes]."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: list[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        self.inplanes = 64
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], stride=2)
        self.layer3 = self._make_layer(block, 256, layers[2], stride=2)
        self.layer4 = self._make_layer(block, 512, layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(m, BasicBlock | Bottleneck):
                nn.init.zeros_((m.bn2 if isinstance(m, BasicBlock) else m.bn3).weight)

    def _make_layer(
        self, block: type[BasicBlock] | type[Bottleneck], planes: int, blocks: int, stride: int = 1
    ) -> nn.Sequential:
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                conv1x1(self.inplanes, planes * block.expansion, stride), nn.BatchNorm2d(planes * block.expansion)
            )
        layers = [block(self.inplanes, planes, stride, downsample)]
        self.inplanes = planes * block.expansion
        layers += [block(self.inplanes, planes) for _ in range(1, blocks)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x), relu=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(nn.Flatten(1)(self.avgpool(x)))


def _weights(file: str, recipe: str, **meta: Any) -> Weights:
    """One of torchvision's published files; its name ends in the first digits of its sha256."""
    digits = file.rsplit("-", 1)[1].removesuffix(".pth")
    return Weights(url=f"https://download.pytorch.org/models/{file}", sha256=digits, meta={"recipe": recipe, **meta})


class ResNet18_Weights(WeightsEnum):
    IMAGENET1K_V1 = _weights("resnet18-f37072fd.pth", "torchvision V1", num_params=11_689_512)
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(WeightsEnum):
    IMAGENET1K_V1 = _weights("resnet34-b627a593.pth", "torchvision V1", num_params=21_797_672)
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(WeightsEnum):
    IMAGENET1K_V1 = _weights("resnet50-0676ba61.pth", "torchvision V1", num_params=25_557_032)
    IMAGENET1K_V2 = _weights("resnet50-11ad3fa6.pth", "torchvision V2", num_params=25_557_032)
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):
    IMAGENET1K_V1 = _weights("resnet101-63fe2227.pth", "torchvision V1", num_params=44_549_160)
    IMAGENET1K_V2 = _weights("resnet101-cd907fc2.pth", "torchvision V2", num_params=44_549_160)
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(WeightsEnum):
    IMAGENET1K_V1 = _weights("resnet152-394f9c45.pth", "torchvision V1", num_params=60_192_808)
    IMAGENET1K_V2 = _weights("resnet152-f82ba261.pth", "torchvision V2", num_params=60_192_808)
    DEFAULT = IMAGENET1K_V2


def _resnet(
    block: Any, layers: list[int], weights: Any, known: type[WeightsEnum], progress: bool, **options: Any
) -> ResNet:
    state = resolve(weights, known, progress=progress)  # before the model is built: a wrong path fails at once
    model = ResNet(block, layers, **options)
    if state is not None:
        model.load_state_dict(state)
    return model


def resnet18(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-18. `weights`: None for random ones, a path (.safetensors, .pth), or a `ResNet18_Weights` member."""
    return _resnet(BasicBlock, [2, 2, 2, 2], weights, ResNet18_Weights, progress, **options)


def resnet34(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-34; `weights` as for `resnet18`."""
    return _resnet(BasicBlock, [3, 4, 6, 3], weights, ResNet34_Weights, progress, **options)


def resnet50(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-50; `weights` as for `resnet18`."""
    return _resnet(Bottleneck, [3, 4, 6, 3], weights, ResNet50_Weights, progress, **options)


def resnet101(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-101; `weights` as for `resnet18`."""
    return _resnet(Bottleneck, [3, 4, 23, 3], weights, ResNet101_Weights, progress, **options)


def resnet152(*, weights: Any = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-152; `weights` as for `resnet18`."""
    return _resnet(Bottleneck, [3, 8, 36, 3], weights, ResNet152_Weights, progress, **options)
