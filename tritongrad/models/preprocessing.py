"""What images go through before a published model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritongrad import nn
from tritongrad.tensor import Tensor
from tritongrad.transforms import InterpolationMode, functional as F
from tritongrad_kernels import dtypes


class ImageClassification(nn.Module):
    """A Pillow image, or tensor [..., C, H, W], as float32 [..., C, crop_size, crop_size].

    Its shorter side becomes resize_size, the middle is cut out, values are taken from [0, 255] to [0, 1] and then
    normalised by `mean` and `std`, by default those of ImageNet.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: int = 256,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.crop_size, self.resize_size = [crop_size], [resize_size]
        self.mean, self.std = list(mean), list(std)
        self.interpolation, self.antialias = interpolation, antialias

    def forward(self, img: Any) -> Tensor:
        img = F.resize(img, self.resize_size, interpolation=self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        if not isinstance(img, Tensor):
            img = F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img, dtypes.float32), self.mean, self.std)

    def __repr__(self) -> str:
        names = ("crop_size", "resize_size", "mean", "std", "interpolation")
        return "ImageClassification(\n" + "".join(f"    {n}={getattr(self, n)}\n" for n in names) + ")"
