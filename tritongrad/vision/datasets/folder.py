"""Images in folders, one for each class."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tritongrad.transforms.image import pillow
from tritongrad.vision.datasets.vision import VisionDataset

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def has_file_allowed_extension(filename: str, extensions: str | tuple[str, ...]) -> bool:
    """Whether the name ends in one of these, in capitals or not."""
    return filename.lower().endswith(extensions)


def is_image_file(filename: str) -> bool:
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def default_loader(path: str) -> Any:
    """The image in a file, in RGB."""
    with open(path, "rb") as file:
        return pillow().open(file).convert("RGB")


def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
    """The names of the folders in a folder, in order, and their numbers. FileNotFoundError if there are none."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: i for i, name in enumerate(classes)}


def make_dataset(
    directory: str | os.PathLike[str],
    class_to_idx: dict[str, int] | None = None,
    extensions: str | tuple[str, ...] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """(path, class) of every file below the folders of the classes whose ending is among `extensions`, or that
    `is_valid_file` is true of. FileNotFoundError for a class without one, unless `allow_empty`."""
    if class_to_idx is None:
        _, class_to_idx = find_classes(directory)
    elif not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")
    found, empty = [], []
    for name in sorted(class_to_idx):
        paths = [
            os.path.join(folder, file)
            for folder, _, files in sorted(os.walk(os.path.join(os.path.expanduser(directory), name), followlinks=True))
            for file in sorted(files)
        ]
        if extensions is not None:
            paths = [p for p in paths if has_file_allowed_extension(p, extensions)]
        elif is_valid_file is not None:
            paths = [p for p in paths if is_valid_file(p)]
        found += [(p, class_to_idx[name]) for p in paths]
        empty += [] if paths else [name]
    if empty and not allow_empty:
        known = (
            ""
            if extensions is None
            else (f" Supported extensions are: {extensions if isinstance(extensions, str) else ', '.join(extensions)}")
        )
        raise FileNotFoundError(f"Found no valid file for the classes {', '.join(empty)}.{known}")
    return found


class DatasetFolder(VisionDataset):
    """Files root/class/.../name, read by `loader`.

    classes: names of the classes, sorted; class_to_idx: their numbers; samples: (path, class) of each; targets.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        where: Any = self.root
        self.classes, self.class_to_idx = self.find_classes(where)
        self.samples = self.make_dataset(where, self.class_to_idx, extensions, is_valid_file, allow_empty)
        self.loader, self.extensions = loader, extensions
        self.targets = [target for _, target in self.samples]

    @staticmethod
    def make_dataset(
        directory: str | os.PathLike[str],
        class_to_idx: dict[str, int],
        extensions: tuple[str, ...] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> list[tuple[str, int]]:
        if class_to_idx is None:
            raise ValueError("The class_to_idx parameter cannot be None.")
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """The classes and their numbers; to be overridden where they are not simply the folders."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self.transformed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Images root/class/.../name.png and the like, in RGB."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples
