"""Augmentation policies: AutoAugment, RandAugment and TrivialAugment, for Pillow images and uint8 tensors.

Each chooses among operations (shears, shifts, turns, colours) and how strong they are, in steps up to a largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from tritongrad.nn.module import Module
from tritongrad.transforms import functional as F
from tritongrad.transforms.image import InterpolationMode, draw, get_dimensions
from tritongrad.transforms.warps import filling

NEAREST = InterpolationMode.NEAREST
Space = dict[str, tuple[np.ndarray, bool]]
"""For each operation its strengths, and whether they come with either sign."""


class AutoAugmentPolicy(Enum):
    """The data sets for which policies were found."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# Pairs of operations: name, probability in tenths, strength in tenths (- for none). From the paper's tables.
_POLICIES = {
    AutoAugmentPolicy.IMAGENET: """
        Posterize 4 8 Rotate 6 9; Solarize 6 5 AutoContrast 6 -; Equalize 8 - Equalize 6 -; Posterize 6 7 Posterize 6 6;
        Equalize 4 - Solarize 2 4; Equalize 4 - Rotate 8 8; Solarize 6 3 Equalize 6 -; Posterize 8 5 Equalize 10 -;
        Rotate 2 3 Solarize 6 8; Equalize 6 - Posterize 4 6; Rotate 8 8 Color 4 0; Rotate 4 9 Equalize 6 -;
        Equalize 0 - Equalize 8 -; Invert 6 - Equalize 10 -; Color 6 4 Contrast 10 8; Rotate 8 8 Color 10 2;
        Color 8 8 Solarize 8 7; Sharpness 4 7 Invert 6 -; ShearX 6 5 Equalize 10 -; Color 4 0 Equalize 6 -;
        Equalize 4 - Solarize 2 4; Solarize 6 5 AutoContrast 6 -; Invert 6 - Equalize 10 -; Color 6 4 Contrast 10 8;
        Equalize 8 - Equalize 6 -""",
    AutoAugmentPolicy.CIFAR10: """
        Invert 1 - Contrast 2 6; Rotate 7 2 TranslateX 3 9; Sharpness 8 1 Sharpness 9 3; ShearY 5 8 TranslateY 7 9;
        AutoContrast 5 - Equalize 9 -; ShearY 2 7 Posterize 3 7; Color 4 3 Brightness 6 7; Sharpness 3 9 Brightness 7 9;
        Equalize 6 - Equalize 5 -; Contrast 6 7 Sharpness 6 5; Color 7 7 TranslateX 5 8; Equalize 3 - AutoContrast 4 -;
        TranslateY 4 3 Sharpness 2 6; Brightness 9 6 Color 2 8; Solarize 5 2 Invert 0 -; Equalize 2 - AutoContrast 6 -;
        Equalize 2 - Equalize 6 -; Color 9 9 Equalize 6 -; AutoContrast 8 - Solarize 2 8; Brightness 1 3 Color 7 0;
        Solarize 4 5 AutoContrast 9 -; TranslateY 9 9 TranslateY 7 9; AutoContrast 9 - Solarize 8 3;
        Equalize 8 - Invert 1 -; TranslateY 7 9 AutoContrast 9 -""",
    AutoAugmentPolicy.SVHN: """
        ShearX 9 4 Invert 2 -; ShearY 9 8 Invert 7 -; Equalize 6 - Solarize 6 6; Invert 9 - Equalize 6 -;
        Equalize 6 - Rotate 9 3; ShearX 9 4 AutoContrast 8 -; ShearY 9 8 Invert 4 -; ShearY 9 5 Solarize 2 6;
        Invert 9 - AutoContrast 8 -; Equalize 6 - Rotate 9 3; ShearX 9 4 Solarize 3 3; ShearY 8 8 Invert 7 -;
        Equalize 9 - TranslateY 6 6; Invert 9 - Equalize 6 -; Contrast 3 3 Rotate 8 4; Invert 8 - TranslateY 0 2;
        ShearY 7 6 Solarize 4 8; Invert 6 - Rotate 8 4; ShearY 3 7 TranslateX 9 3; ShearX 1 6 Invert 6 -;
        Solarize 7 2 TranslateY 6 7; ShearY 8 4 Invert 8 -; ShearX 7 9 TranslateY 8 3; ShearY 8 5 AutoContrast 7 -;
        ShearX 7 2 Invert 1 -""",
}


def _strengths(steps: int, shear: float, right: float, down: float, turn: float, colour: float, bits: float) -> Space:
    def up_to(largest: float) -> tuple[np.ndarray, bool]:
        return np.linspace(0.0, largest, steps), True

    fewer_bits = 8 - np.round(np.arange(steps) / ((steps - 1) / bits))
    return {
        "ShearX": up_to(shear), "ShearY": up_to(shear), "TranslateX": up_to(right), "TranslateY": up_to(down),
        "Rotate": up_to(turn), "Brightness": up_to(colour), "Color": up_to(colour), "Contrast": up_to(colour),
        "Sharpness": up_to(colour), "Posterize": (fewer_bits, False),
        "Solarize": (np.linspace(255.0, 0.0, steps), False), "AutoContrast": (np.zeros(steps), False),
        "Equalize": (np.zeros(steps), False),
    }  # fmt: skip


def _applied(img: Any, name: str, strength: float, interpolation: InterpolationMode, fill: Any) -> Any:
    if name in ("ShearX", "ShearY"):  # about the upper left corner, by the tangent
        degrees = math.degrees(math.atan(strength))
        shear = [degrees, 0.0] if name == "ShearX" else [0.0, degrees]
        return F.affine(img, 0.0, [0, 0], 1.0, shear, interpolation, fill, [0, 0])
    if name in ("TranslateX", "TranslateY"):
        shift = [int(strength), 0] if name == "TranslateX" else [0, int(strength)]
        return F.affine(img, 0.0, shift, 1.0, [0.0, 0.0], interpolation, fill)
    if name == "Rotate":
        return F.rotate(img, strength, interpolation, fill=fill)
    by_factor = {"Brightness": F.adjust_brightness, "Color": F.adjust_saturation, "Contrast": F.adjust_contrast,
                 "Sharpness": F.adjust_sharpness}  # fmt: skip
    if name in by_factor:
        return by_factor[name](img, 1.0 + strength)
    if name == "Posterize":
        return F.posterize(img, int(strength))
    if name == "Solarize":
        return F.solarize(img, strength)
    return {"AutoContrast": F.autocontrast, "Equalize": F.equalize, "Invert": F.invert}[name](img)


def _signed(strength: float, signed: bool, random: np.random.Generator) -> float:
    return -strength if signed and random.integers(2) else strength


class AutoAugment(Module):
    """One of the 25 pairs of operations of a policy, each done with its own probability.

    Source: Cubuk et al. 2018, "AutoAugment: Learning augmentation policies from data".
    """

    def __init__(
        self,
        policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET,
        interpolation: InterpolationMode = NEAREST,
        fill: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if policy not in _POLICIES:
            raise ValueError(f"The provided policy {policy} is not recognized.")
        self.policy, self.interpolation, self.fill = policy, interpolation, fill
        words = [pair.split() for pair in _POLICIES[policy].split(";")]
        self.policies = [
            tuple((name, int(p) / 10, None if m == "-" else int(m)) for name, p, m in (w[:3], w[3:])) for w in words
        ]

    @staticmethod
    def get_params(transform_num: int) -> tuple[int, list[float], list[int]]:
        """(which pair, a number in [0, 1) for each of the two, a sign for each)."""
        random = draw()
        return int(random.integers(transform_num)), random.random(2).tolist(), random.integers(2, size=2).tolist()

    def forward(self, img: Any) -> Any:
        fill = filling(self.fill, img)
        _, height, width = get_dimensions(img)
        space = _strengths(10, 0.3, 150 / 331 * width, 150 / 331 * height, 30.0, 0.9, 4)
        space["Invert"] = np.zeros(10), False
        which, chances, signs = self.get_params(len(self.policies))
        for (name, p, step), chance, sign in zip(self.policies[which], chances, signs, strict=True):
            if chance <= p:
                strengths, signed = space[name]
                strength = float(strengths[step]) if step is not None else 0.0
                img = _applied(img, name, -strength if signed and sign == 0 else strength, self.interpolation, fill)
        return img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(policy={self.policy}, fill={self.fill})"


class RandAugment(Module):
    """`num_ops` operations chosen at random, all of one strength: step `magnitude` of `num_magnitude_bins`.

    Source: Cubuk et al. 2019, "RandAugment: Practical automated data augmentation with a reduced search space".
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: InterpolationMode = NEAREST,
        fill: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.num_ops, self.magnitude, self.num_magnitude_bins = num_ops, magnitude, num_magnitude_bins
        self.interpolation, self.fill = interpolation, fill

    def forward(self, img: Any) -> Any:
        fill, random = filling(self.fill, img), draw()
        _, height, width = get_dimensions(img)
        space = _strengths(self.num_magnitude_bins, 0.3, 150 / 331 * width, 150 / 331 * height, 30.0, 0.9, 4)
        for _ in range(self.num_ops):
            name = ["Identity", *space][int(random.integers(len(space) + 1))]
            if name != "Identity":
                strengths, signed = space[name]
                strength = _signed(float(strengths[self.magnitude]), signed, random)
                img = _applied(img, name, strength, self.interpolation, fill)
        return img

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_ops={self.num_ops}, magnitude={self.magnitude}, "
            f"num_magnitude_bins={self.num_magnitude_bins}, interpolation={self.interpolation}, fill={self.fill})"
        )


class TrivialAugmentWide(Module):
    """One operation chosen at random, of random strength.

    Source: Müller and Hutter 2021, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation".
    """

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: InterpolationMode = NEAREST,
        fill: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.num_magnitude_bins, self.interpolation, self.fill = num_magnitude_bins, interpolation, fill

    def forward(self, img: Any) -> Any:
        random = draw()
        space = _strengths(self.num_magnitude_bins, 0.99, 32.0, 32.0, 135.0, 0.99, 6)
        name = ["Identity", *space][int(random.integers(len(space) + 1))]
        if name == "Identity":
            return img
        strengths, signed = space[name]
        strength = _signed(float(random.choice(strengths)), signed, random)
        return _applied(img, name, strength, self.interpolation, filling(self.fill, img))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_magnitude_bins={self.num_magnitude_bins}, "
            f"interpolation={self.interpolation}, fill={self.fill})"
        )
