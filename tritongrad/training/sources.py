"""Data of a run by name: "digits", "cifar10:DIR", "imagefolder:DIR" and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tritongrad import transforms as T
from tritongrad.data import Dataset
from tritongrad.vision.datasets import CIFAR10, CIFAR100, MNIST, FashionMNIST, ImageFolder


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


Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and deviation of each channel

CIFAR10_PIXELS: Statistics = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CIFAR100_PIXELS: Statistics = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
MNIST_PIXELS: Statistics = (0.1307,) * 3, (0.3081,) * 3
FASHION_PIXELS: Statistics = (0.2860,) * 3, (0.3530,) * 3
IMAGENET_PIXELS: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _published(
    dataset: Any, side: int, pixels: Statistics, shift: int, flip: bool, gray: bool = False
) -> Callable[..., Source]:
    """A maker for a data set of small images that is downloaded where it is missing.

    Training images are shifted by up to `shift` pixels, and mirrored if `flip` (He et al. 2015, section 4.2).
    """

    def make(folder: str, image: int | None, augment: bool) -> Source:
        end: list[Any] = [T.Grayscale(3)] if gray else []
        end += [T.Resize((image, image))] if image not in (None, side) else []
        end += [T.ToTensor(), T.Normalize(*pixels)]
        moved: list[Any] = [T.RandomCrop(side, padding=shift)] + ([T.RandomHorizontalFlip()] if flip else [])
        train = dataset(folder, train=True, transform=T.Compose((moved if augment else []) + end), download=True)
        test = dataset(folder, train=False, transform=T.Compose(end), download=True)
        return Source(train, test, tuple(train.classes), image or side)

    return make


def _image_folder(folder: str, image: int | None, augment: bool) -> Source:
    """DIR/train and DIR/val (or DIR/test), with a folder of images for each class."""
    root, side = Path(folder), image or 224
    parts = [next((root / name for name in names if (root / name).is_dir()), None) for names in FOLDERS]
    if None in parts:
        raise FileNotFoundError(f"imagefolder needs the folders train and val (or test) in {root}")
    end: list[Any] = [T.ToTensor(), T.Normalize(*IMAGENET_PIXELS)]
    whole: list[Any] = [T.Resize(round(side * 256 / 224)), T.CenterCrop(side)]
    varied: list[Any] = [T.RandomResizedCrop(side), T.RandomHorizontalFlip()]
    train, test = (
        ImageFolder(str(part), T.Compose([*steps, *end]))
        for part, steps in zip(parts, (varied if augment else whole, whole), strict=True)
    )
    if train.classes != test.classes:
        raise ValueError(f"the classes in {parts[0]} are not those in {parts[1]}")
    return Source(train, test, tuple(train.classes), side)


FOLDERS = (("train",), ("val", "test"))

SOURCES: Mapping[str, Callable[[str, int | None, bool], Source]] = {
    "digits": _digits,
    "cifar10": _published(CIFAR10, 32, CIFAR10_PIXELS, shift=4, flip=True),
    "cifar100": _published(CIFAR100, 32, CIFAR100_PIXELS, shift=4, flip=True),
    "mnist": _published(MNIST, 28, MNIST_PIXELS, shift=2, flip=False, gray=True),
    "fashionmnist": _published(FashionMNIST, 28, FASHION_PIXELS, shift=2, flip=True, gray=True),
    "imagefolder": _image_folder,
}
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
