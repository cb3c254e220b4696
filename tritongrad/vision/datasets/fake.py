"""Random images, to try a program with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tritongrad.data.sampler import host_random
from tritongrad.transforms.conversion import to_pil_image
from tritongrad.vision.datasets.vision import VisionDataset


class FakeData(VisionDataset):
    """`size` images of noise and their classes; the same for every index, and others for another `random_offset`."""

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        self.size, self.num_classes, self.image_size = size, num_classes, image_size
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        random = host_random((index + self.random_offset) % 2**64)
        channels, height, width = self.image_size
        image = to_pil_image(random.integers(256, size=(height, width, channels), dtype=np.uint8))
        return self.transformed(image, int(random.integers(self.num_classes)))

    def __len__(self) -> int:
        return self.size
