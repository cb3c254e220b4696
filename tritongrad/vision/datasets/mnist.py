"""MNIST and the datasets published in its format, IDX: big-endian arrays behind a few bytes of header."""

from __future__ import annotations

import gzip
import math
import os
import string
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tritongrad.tensor import Tensor
from tritongrad.transforms.conversion import to_pil_image
from tritongrad.transforms.image import on_host
from tritongrad.vision.datasets.download import download_and_extract_archive, download_url, extract_archive
from tritongrad.vision.datasets.vision import VisionDataset

_KINDS = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str) -> np.ndarray:
    """The array in an IDX file, which may be compressed (.gz). ValueError for a file that is none, or is cut off."""
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        content = file.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _KINDS:
        raise ValueError(f"{path}: not an IDX file")
    kind, axes = np.dtype(_KINDS[content[2]]), content[3]
    header = 4 + 4 * axes
    shape = np.frombuffer(content[4:header], ">u4").tolist() if len(content) >= header else [-1]
    if len(content) - header != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{path}: {len(content)} bytes are not an array of {kind.newbyteorder('=')}{shape}")
    return np.frombuffer(content, kind, offset=header).reshape(shape).astype(kind.newbyteorder("="))


class MNIST(VisionDataset):
    """Handwritten digits: 60,000 images of 28 x 28 to train on and 10,000 to test, with the numbers they show.

    data: uint8 [N, 28, 28]; targets: int64 [N]. Both stand in root/MNIST/raw, and are put there if `download` is set.
    RuntimeError if they are not there, or cannot be loaded.
    """

    mirrors: tuple[str, ...] | list[str] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    resources: tuple[tuple[str, str], ...] | list[tuple[str, str]] = (
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
    classes: ClassVar[list[str]] = [
        f"{i} - {word}"
        for i, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    ]  # fmt: skip

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        if not self._check_exists():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.data, self.targets = self._load_data()

    def _load_data(self) -> tuple[Tensor, Tensor]:
        images, labels = (read_idx(self._file(what)) for what in self._names(self.train))
        if images.ndim != 3 or labels.shape != images.shape[:1] or images.dtype != np.uint8:
            raise ValueError(
                f"{type(self).__name__}: images of {images.dtype}{list(images.shape)} and labels of "
                f"{labels.dtype}{list(labels.shape)} do not belong together"
            )
        return on_host(images), on_host(labels.astype(np.int64))

    def _names(self, train: bool) -> list[str]:
        return [f"{'train' if train else 't10k'}-{what}-ubyte" for what in ("images-idx3", "labels-idx1")]

    def _file(self, name: str) -> str:
        """Where an array is, whether still packed or not; the name of the unpacked one if it is nowhere."""
        plain = os.path.join(self.raw_folder, name)
        return f"{plain}.gz" if not os.path.isfile(plain) and os.path.isfile(f"{plain}.gz") else plain

    def _check_exists(self) -> bool:
        return all(os.path.isfile(self._file(name)) for train in (True, False) for name in self._names(train))

    @property
    def raw_folder(self) -> str:
        return os.path.join(str(self.root), type(self).__name__, "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    def download(self) -> None:
        """Load what is not there."""
        if self._check_exists():
            return
        for name, md5 in self.resources:
            download_url([mirror + name for mirror in self.mirrors], self.raw_folder, name, md5)
            extract_archive(os.path.join(self.raw_folder, name))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = to_pil_image(self.data[index]._host())
        return self.transformed(image, int(self.targets[index].item()))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"

    def _old(self, name: str, now: str) -> Any:
        warnings.warn(f"{name} has been renamed {now}", stacklevel=3)
        return getattr(self, now)

    @property
    def train_data(self) -> Tensor:
        return self._old("train_data", "data")

    @property
    def test_data(self) -> Tensor:
        return self._old("test_data", "data")

    @property
    def train_labels(self) -> Tensor:
        return self._old("train_labels", "targets")

    @property
    def test_labels(self) -> Tensor:
        return self._old("test_labels", "targets")


class FashionMNIST(MNIST):
    """Zalando's articles, in the shape of MNIST. Source: Xiao et al. 2017."""

    mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )
    resources = (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    )
    classes: ClassVar[list[str]] = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip


class KMNIST(MNIST):
    """Characters of old Japanese books, in the shape of MNIST. Source: Clanuwat et al. 2018."""

    mirrors = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    resources = (
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    )
    classes: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


_LETTERS = sorted(string.digits + string.ascii_letters)
_MERGED = [c for c in _LETTERS if c not in "cijklmopsuvwxyz"]  # whose capitals look alike


class EMNIST(MNIST):
    """Handwritten digits and letters, in six ways to choose and group them: `split` is byclass, bymerge, balanced,
    letters, digits or mnist. Images are transposed, as published. Source: Cohen et al. 2017."""

    url = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
    md5 = "58c8d27c78d21e728a6bc7b3cc06412e"
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    classes_split_dict: ClassVar[dict[str, list[str]]] = {
        "byclass": _LETTERS,
        "bymerge": _MERGED,
        "balanced": _MERGED,
        "letters": ["N/A", *string.ascii_lowercase],
        "digits": list(string.digits),
        "mnist": list(string.digits),
    }

    def __init__(self, root: str | os.PathLike[str], split: str, **kwargs: Any) -> None:
        if split not in self.splits:
            raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {self.splits}.")
        self.split = split
        super().__init__(root, **kwargs)
        vars(self)["classes"] = self.classes_split_dict[split]

    def _names(self, train: bool) -> list[str]:
        head = f"emnist-{self.split}-{'train' if train else 'test'}"
        return [f"{head}-{what}-ubyte" for what in ("images-idx3", "labels-idx1")]

    def _file(self, name: str) -> str:
        packed = os.path.join(self.raw_folder, "gzip", f"{name}.gz")
        plain = super()._file(name)
        return packed if not os.path.isfile(plain) and os.path.isfile(packed) else plain

    def download(self) -> None:
        """Load what is not there: one archive of all splits."""
        if not self._check_exists():
            download_and_extract_archive(self.url, self.raw_folder, filename="gzip.zip", md5=self.md5)
