"""Convolutions other than ResNet's: depthwise, grouped, in one and three dimensions, transposed, and of many networks.

`conv_shapes.csv` has every distinct two-dimensional convolution of 93 model files written for torch, most used first.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, both, itemsize, ranked

SHAPES = Path(__file__).parent / "conv_shapes.csv"


@dataclass(frozen=True)
class Convolution:
    """x [N, C, ...] with weight [O, C/groups, ...], or transposed with weight [C, O/groups, ...]."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] = 0
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    transposed: bool = False

    def __call__(self, library: Any, x: Any, weight: Any) -> Any:
        name = f"conv{'_transpose' if self.transposed else ''}{len(self.x) - 2}d"
        options = {k: getattr(self, k) for k in ("stride", "padding", "dilation", "groups")}
        return getattr(library.nn.functional, name)(x, weight, None, **options)

    @property
    def out_sizes(self) -> list[int]:
        axes = range(len(self.x) - 2)
        settings = [v if isinstance(v, tuple) else (v,) * len(axes) for v in (self.stride, self.padding, self.dilation)]
        found = []
        for axis, stride, padding, dilation in zip(axes, *settings, strict=True):
            size, reach = self.x[2 + axis], dilation * (self.weight[2 + axis] - 1)
            found.append(
                (size - 1) * stride - 2 * padding + reach + 1
                if self.transposed
                else (size + 2 * padding - reach - 1) // stride + 1
            )
        return found

    @property
    def case(self) -> str:
        window, sizes = ("x".join(map(str, shape[2:])) for shape in (self.weight, self.x))
        parts = {"/": self.stride, " p": self.padding, " d": self.dilation, " g": self.groups}
        plain = {"/": 1, " p": 0, " d": 1, " g": 1}
        said = [
            f"{sign}{'x'.join(map(str, v)) if isinstance(v, tuple) else v}" for sign, v in parts.items()
            if v not in (plain[sign], (plain[sign],) * 2)
        ]  # fmt: skip
        o = self.weight[1] * self.groups if self.transposed else self.weight[0]
        return f"{window}{''.join(said)} {self.x[1]}->{o} {sizes} b{self.x[0]}"


def passes(family: str, conv: Convolution, dtype: str) -> list[Row]:
    """Forward, and both gradients together."""
    channels = conv.weight[1] * conv.groups if conv.transposed else conv.weight[0]
    pixels = conv.x[0] * math.prod(conv.out_sizes)
    read, written, weights = math.prod(conv.x), pixels * channels, math.prod(conv.weight)
    # A transposed convolution is the gradient of one from its result to its input.
    over = conv.x[0] * math.prod(conv.x[2:]) if conv.transposed else pixels
    flops = 2 * over * weights
    terms = math.prod(conv.weight[1:] if not conv.transposed else (conv.x[1] // conv.groups, *conv.weight[2:]))
    # What a stride steps over is never read.
    seen = min(read, pixels * math.prod(conv.weight[2:]) * conv.x[1]) if not conv.transposed else read
    return both(
        conv,
        "x weight",
        family=family,
        case=conv.case,
        dtype=dtype,
        inputs={"x": Input(conv.x), "weight": Input(conv.weight)},
        result=(conv.x[0], channels, *conv.out_sizes),
        flops=(flops, 2 * flops),
        bytes=(
            (seen + written + weights) * itemsize(dtype),
            (seen + read + written + 2 * weights) * itemsize(dtype),
        ),
        bound=Rounding(terms),
        backward_bound=Rounding(max(terms, over, channels)),
    )


def zoo() -> Iterator[Convolution]:
    """The convolutions of `conv_shapes.csv`."""
    with SHAPES.open(newline="") as lines:
        for line in csv.DictReader(lines):
            r = {name: int(number) for name, number in line.items()}
            two = {k: (r[f"{k}_h"], r[f"{k}_w"]) for k in ("stride", "padding", "dilation")}
            x, weight = (r["n"], r["c"], r["h"], r["w"]), (r["k0"], r["k1"], r["r"], r["s"])
            yield Convolution(x, weight, **two, groups=r["groups"], transposed=bool(r["transposed"]))


def _depthwise(channels: int, size: int, window: int, stride: int, batch: int) -> Convolution:
    return Convolution(
        (batch, channels, size, size), (channels, 1, window, window), stride, window // 2, groups=channels
    )


DEPTHWISE = [
    _depthwise(32, 112, 3, 1, 256),  # MobileNetV2's first
    _depthwise(144, 56, 3, 2, 256),
    _depthwise(576, 14, 3, 1, 256),
    _depthwise(96, 56, 7, 1, 256),  # ConvNeXt-T's first
    _depthwise(384, 14, 7, 1, 256),
    _depthwise(672, 14, 5, 1, 256),  # EfficientNet-B0
]
GROUPED = [
    Convolution((256, 128, 56, 56), (128, 4, 3, 3), 1, 1, groups=32),  # ResNeXt-50's first and third stage
    Convolution((256, 512, 14, 14), (512, 16, 3, 3), 1, 1, groups=32),
    Convolution((256, 240, 28, 28), (240, 48, 3, 3), 1, 1, groups=5),  # RegNet's
]
DILATED = [Convolution((16, 512, 64, 64), (512, 512, 3, 3), 1, 2, dilation=2)]  # DeepLab
ONE = [
    Convolution((32, 80, 3000), (512, 80, 3), 1, 1),  # Whisper's two
    Convolution((32, 512, 3000), (512, 512, 3), 2, 1),
    Convolution((16, 512, 12000), (512, 512, 3), 2, 0),  # wav2vec 2.0
]
THREE = [
    Convolution((8, 64, 16, 56, 56), (64, 64, 3, 3, 3), 1, 1),  # R3D-18
    Convolution((8, 64, 16, 56, 56), (128, 64, 3, 3, 3), 2, 1),
    Convolution((4, 3, 16, 112, 112), (64, 3, 3, 7, 7), (1, 2, 2), (1, 3, 3)),
]
TRANSPOSED = [
    Convolution((32, 512, 32, 32), (512, 256, 2, 2), 2, transposed=True),  # U-Net
    Convolution((128, 512, 8, 8), (512, 256, 4, 4), 2, 1, transposed=True),  # DCGAN
]


def _suite(family: str, convolutions: list[Convolution], dtype: str = "bfloat16", rank: int = 1) -> list[Row]:
    """The first at `rank`, the others after it."""
    rows = [passes(family, conv, dtype) for conv in convolutions]
    return [r for k, pair in enumerate(rows) for r in ranked(rank + (k > 0), pair)]


GPU = [
    *_suite("depthwise", DEPTHWISE, rank=0),
    *_suite("grouped", GROUPED),
    *_suite("dilated", DILATED),
    *_suite("conv1d", ONE),
    *_suite("conv3d", THREE),
    *_suite("conv_transpose", TRANSPOSED),
    *_suite("depthwise", DEPTHWISE[:2], "float32", rank=2),
    *ranked(3, (row for conv in zoo() for row in passes("conv_zoo", conv, "bfloat16"))),
]


def _small(conv: Convolution, channels: int, size: int) -> Convolution:
    """The same with few channels and pixels."""
    groups = 1 if conv.groups == 1 else channels if conv.groups == conv.x[1] else channels // 4
    inner = channels // groups
    return replace(
        conv,
        x=(2, channels, *[size] * (len(conv.x) - 2)),
        weight=(channels, inner, *conv.weight[2:]),
        groups=groups,
    )


INTERPRETER = [
    row
    for family, conv, size in (
        ("depthwise", DEPTHWISE[0], 12),
        ("grouped", GROUPED[0], 8),
        ("dilated", DILATED[0], 8),
        ("conv1d", ONE[1], 40),
        ("conv3d", THREE[0], 4),
        ("conv_transpose", TRANSPOSED[0], 6),
    )
    for row in passes(family, _small(conv, 16, size), "float32")
]
