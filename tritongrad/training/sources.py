"""Data of a run by name: "digits", "cifar10:DIR", "imagefolder:DIR" and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tritongrad.data import Dataset


@dataclass(frozen=True)
class Source:
    """Training and test data: images float32 [3, image, image] with the numbers of their classes."""

    train: Dataset[Any]
    test: Dataset[Any]
    classes: tuple[str, ...]
    image: int


class Digits(Dataset[tuple[np.ndarray, int]]):
    """Handwritten digits [3, side, side], about 0 with deviation 1; if `shifted`, moved by up to one pixel each way."""

    MEAN, DEVIATION = 0.3053, 0.3763

    def __init__(self, images: np.ndarray, digits: np.ndarray, shifted: bool, times: int) -> None:
        gray = (images.astype(np.float32) / 16 - self.MEAN) / self.DEVIATION
        self.images = np.pad(gray, ((0, 0), (1, 1), (1, 1)), constant_values=-self.MEAN / self.DEVIATION)
        self.digits, self.shifted, self.times = digits, shifted, times

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        # The loader seeds numpy for every batch: the same shifts from any number of workers, and after a resumption.
        down, right = np.random.randint(3, size=2) if self.shifted else (1, 1)
        gray = self.images[index, down : down + 8, right : right + 8]
        large = gray.repeat(self.times, 0).repeat(self.times, 1)
        return np.stack([large] * 3), int(self.digits[index])


def _digits(folder: str, image: int | None, augment: bool) -> Source:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; a fifth of every class, always the same, is for testing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ModuleNotFoundError(
            "data 'digits' are images that scikit-learn brings: pip install scikit-learn", name="sklearn"
        ) from None
    if image is not None and image % 8:
        raise ValueError(f"image must be a multiple of the digits' 8 pixels, got {image}")
    images, digits = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    order = np.random.default_rng(0).permutation(len(digits))
    classes = [order[digits[order] == d] for d in range(10)]
    test = np.sort(np.concatenate([c[: len(c) // 5] for c in classes]))
    train = np.setdiff1d(order, test)
    times = (image or 8) // 8
    return Source(
        Digits(images[train], digits[train], augment, times),
        Digits(images[test], digits[test], False, times),
        tuple("0123456789"),
        8 * times,
    )


SOURCES: Mapping[str, Callable[[str, int | None, bool], Source]] = {"digits": _digits}
"""Makers by kind, taking the folder, the side of the images in pixels (None for their own), and whether to augment."""


def parse(text: str) -> tuple[str, str]:
    """ "KIND:DIR" or "digits" as (kind, folder). ValueError for what is neither."""
    kind, _, folder = text.partition(":")
    forms = ["digits"] + [f"{name}:DIR" for name in SOURCES if name != "digits"]
    if kind not in SOURCES or (kind == "digits") != (folder == ""):
        raise ValueError(f"data {text!r} is not one of {', '.join(forms)}")
    return kind, folder


def source(text: str, image: int | None = None, augment: bool = True) -> Source:
    """The data that `text` names. FileNotFoundError where they are not, ModuleNotFoundError for a missing package."""
    kind, folder = parse(text)
    return SOURCES[kind](str(Path(folder).expanduser()), image, augment)
