"""CIFAR-10 and CIFAR-100, read from their Python archives without running anything in them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tritongrad.transforms.conversion import to_pil_image
from tritongrad.vision.datasets.download import check_integrity, download_and_extract_archive
from tritongrad.vision.datasets.vision import VisionDataset


class _Plain(pickle.Unpickler):
    """Reads dicts, lists, text, numbers and numpy arrays, which these pickles consist of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only numpy arrays are read")
        return known[module, name]


_RECONSTRUCT: Any = np.zeros(0).__reduce__()[0]


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def read_batch(path: str) -> dict[str, Any]:
    """The dict in one of the files. ValueError for a file that holds something else."""
    try:
        with open(path, "rb") as file:
            batch = _Plain(file, encoding="latin1").load()
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a batch of images: {error}") from error
    if not isinstance(batch, dict):
        raise ValueError(f"{path} cannot be read as a batch of images: it holds a {type(batch).__name__}")
    return batch


class CIFAR10(VisionDataset):
    """60,000 colour images of 32 x 32 in ten classes, 10,000 of them to test with.

    data: uint8 array [N, 32, 32, 3]; targets: a list of numbers. The files stand in root/cifar-10-batches-py, and are
    put there if `download` is set. RuntimeError if they are not there or have changed, or cannot be loaded.
    Source: Krizhevsky 2009.
    """

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    train_list: ClassVar[list[Any]] = [
        ["data_batch_1", "c99cafc152244af753f735de768cd75f"],
        ["data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"],
        ["data_batch_3", "54ebc095f3ab1f0389bbae665268c751"],
        ["data_batch_4", "634d18415352ddfa80567beed471001a"],
        ["data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"],
    ]
    test_list: ClassVar[list[Any]] = [["test_batch", "40351d587109b95175f43aff81a1287e"]]
    meta: ClassVar[dict[str, str]] = {
        "filename": "batches.meta",
        "key": "label_names",
        "md5": "5ff9c542aee3614f3951f8cda6e48888",
    }

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
        if not self._check_integrity():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")
        batches = [read_batch(self._path(name)) for name, _ in (self.train_list if train else self.test_list)]
        self.data: np.ndarray = np.concatenate([self._images(batch) for batch in batches])
        self.targets: list[int] = [
            int(label) for batch in batches for label in batch.get("labels", batch.get("fine_labels", []))
        ]
        if len(self.targets) != len(self.data):
            raise ValueError(f"{type(self).__name__}: {len(self.data)} images and {len(self.targets)} labels")
        self.classes: list[str] = list(read_batch(self._path(self.meta["filename"]))[self.meta["key"]])
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def _images(self, batch: dict[str, Any]) -> np.ndarray:
        values = batch.get("data")
        if not isinstance(values, np.ndarray) or values.dtype != np.uint8 or values.shape[1:] != (3072,):
            raise ValueError(f"{type(self).__name__}: expected images as uint8[N, 3072]")
        return np.ascontiguousarray(values.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))

    def _path(self, name: str) -> str:
        return os.path.join(str(self.root), self.base_folder, name)

    def _check_integrity(self) -> bool:
        files = [*self.train_list, *self.test_list, [self.meta["filename"], self.meta["md5"]]]
        return all(check_integrity(self._path(name), md5) for name, md5 in files)

    def download(self) -> None:
        """Load and unpack the archive, unless its files are there."""
        if not self._check_integrity():
            download_and_extract_archive(self.url, str(self.root), filename=self.filename, md5=self.tgz_md5)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(to_pil_image(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train is True else 'Test'}"


class CIFAR100(CIFAR10):
    """As CIFAR-10, in a hundred classes."""

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list: ClassVar[list[Any]] = [["train", "16019d7e3df5f24257cddd939b257f8d"]]
    test_list: ClassVar[list[Any]] = [["test", "f0ef6b0ae62326f3e7ffdfab6717acfc"]]
    meta: ClassVar[dict[str, str]] = {
        "filename": "meta",
        "key": "fine_label_names",
        "md5": "7973b15100ade9c7d40fb424638fde48",
    }
