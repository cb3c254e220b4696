"""Small models of each family, with weights from a formula, so that what they give can be written down."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

SIZE = 17
"""Side of the images: odd, so that halving it rounds."""


def formula(names: list[tuple[str, tuple[int, ...]]]) -> dict[str, np.ndarray]:
    """A value for each entry of a state: spread weights of the size that keeps activations near 1."""
    values = {}
    for k, (name, shape) in enumerate(names):
        count = int(np.prod(shape))
        wave = np.cos(1.7 * np.arange(count) ** 1.1 + k).reshape(shape)
        if name.endswith("num_batches_tracked"):
            wave = np.zeros(shape, np.int64)
        elif len(shape) > 1:
            wave = wave * 2 / np.sqrt(np.prod(shape[1:]))
        else:
            wave = 1 + 0.3 * wave if name.endswith(("weight", "running_var")) else 0.1 * wave
        values[name] = wave
    return values


def image(size: int = SIZE) -> np.ndarray:
    return np.sin(0.37 * np.arange(2 * 3 * size * size) ** 1.05).reshape(2, 3, size, size)


def _regnet(models: Any) -> Any:
    blocks = models.regnet.BlockParams([1, 1], [16, 24], [8, 8], [1.0, 1.0], [2, 2], se_ratio=0.25)
    return models.regnet.RegNet(blocks, num_classes=5, stem_width=8)


def _efficientnet(models: Any) -> Any:
    m = models.efficientnet
    stages = [
        m.FusedMBConvConfig(1, 3, 1, 8, 8, 1),
        m.FusedMBConvConfig(4, 3, 2, 8, 16, 1),
        m.MBConvConfig(1, 3, 1, 16, 16, 1),
        m.MBConvConfig(6, 5, 2, 16, 24, 1),
    ]
    return m.EfficientNet(stages, 0.0, stochastic_depth_prob=0.0, num_classes=5, last_channel=32)


def _vgg(models: Any) -> Any:
    m = models.vgg
    return m.make_layers([8, "M", 16, 16, "M"], batch_norm=True)


def _inception(models: Any) -> Any:
    module = sys.modules[models.GoogLeNet.__module__]  # in the package a function has its name
    return module.Inception(3, 4, 2, 4, 2, 4, 4)


def _convnext(models: Any) -> Any:
    m = models.convnext
    stages = [m.CNBlockConfig(8, 12, 1), m.CNBlockConfig(12, None, 1)]
    return m.ConvNeXt(stages, layer_scale=0.5, num_classes=5)


def _vit(models: Any) -> Any:
    return models.VisionTransformer(16, 8, 2, 2, 12, 20, num_classes=5, representation_size=7)


CASES: dict[str, Callable[[Any], Any]] = {
    "resnext": lambda m: m.resnet.Bottleneck(3, 4, 2, m.resnet.conv1x1(3, 16, 2), groups=2, dilation=2),
    "vgg": _vgg,
    "densenet": lambda m: m.densenet.DenseNet(8, (1, 2), 16, 2, num_classes=5),
    "squeezenet": lambda m: m.squeezenet.SqueezeNet("1_1", 5, dropout=0.0),
    "mobilenet_v2": lambda m: m.mobilenetv2.MobileNetV2(
        5, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]], dropout=0.0
    ),
    "mobilenet_v3": lambda m: m.mobilenetv3.MobileNetV3(
        [
            m.mobilenetv3.InvertedResidualConfig(*row, width_mult=0.5)
            for row in ((16, 3, 16, 16, True, "RE", 2, 1), (16, 5, 72, 24, False, "HS", 2, 2),
                        (24, 5, 88, 24, True, "HS", 1, 1))
        ],
        32, 5, dropout=0.0,
    ),
    "shufflenet": lambda m: m.shufflenetv2.ShuffleNetV2([1, 2, 1], [8, 16, 16, 16, 24], 5),
    "efficientnet": _efficientnet,
    "inception": _inception,
    "googlenet": lambda m: m.GoogLeNet(5, True, True, False, None, 0.0, 0.0),
    "convnext": _convnext,
    "vit": _vit,
    "regnet": _regnet,
}  # fmt: skip
"""Functions of a package of models."""
