"""Transforms from images to tensors and back, and what is done to tensors alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from tritongrad.nn.module import Module
from tritongrad.ops.creation import tensor as make_tensor
from tritongrad.tensor import Tensor
from tritongrad.transforms import functional as F
from tritongrad.transforms.color import noise
from tritongrad.transforms.image import draw, get_dimensions
from tritongrad_kernels import dtypes


class ToTensor:
    """A Pillow image or an array [H, W, C] as a tensor [C, H, W], of floats between 0 and 1 if it holds bytes."""

    def __call__(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
    """A Pillow image as a tensor [C, H, W] of its own values."""

    def __call__(self, pic: Any) -> Tensor:
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToPILImage:
    """A tensor [C, H, W] or an array [H, W, C] as a Pillow image; see `functional.to_pil_image`."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class ConvertImageDtype(Module):
    """An image in another dtype, black and white staying what they are."""

    def __init__(self, dtype: dtypes.dtype) -> None:
        super().__init__()
        if not isinstance(dtype, dtypes.dtype):
            raise TypeError("Input dtype should be of type torch.dtype")
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        return F.convert_image_dtype(image, self.dtype)


class Normalize(Module):
    """(tensor - mean) / std for every channel of a floating tensor [..., C, H, W]."""

    def __init__(self, mean: Any, std: Any, inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor: Tensor) -> Tensor:
        return F.normalize(tensor, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


class LinearTransformation(Module):
    """A tensor [..., C, H, W], flattened, minus a mean, times a square matrix: whitening, for one."""

    def __init__(self, transformation_matrix: Tensor, mean_vector: Tensor) -> None:
        super().__init__()
        rows, columns = transformation_matrix.shape
        if rows != columns:
            raise ValueError(f"transformation_matrix should be square. Got {[rows, columns]} rectangular matrix.")
        if mean_vector.shape[0] != rows:
            raise ValueError(
                f"mean_vector should have the same length {mean_vector.shape[0]} as any one of the dimensions of the "
                f"transformation_matrix [{[rows, columns]}]"
            )
        if transformation_matrix.device != mean_vector.device:
            raise ValueError(
                f"Input tensors should be on the same device. Got {transformation_matrix.device} and "
                f"{mean_vector.device}"
            )
        self.transformation_matrix, self.mean_vector = transformation_matrix, mean_vector

    def forward(self, tensor: Tensor) -> Tensor:
        count = math.prod(tensor.shape[-3:])
        if count != len(self.transformation_matrix):
            raise ValueError(
                "Input tensor and transformation matrix have incompatible shape."
                f"[{tensor.shape[-3]} x {tensor.shape[-2]} x {tensor.shape[-1]}] != "
                f"{len(self.transformation_matrix)}"
            )
        flat: Any = tensor.reshape(-1, count) - self.mean_vector
        return (flat @ self.transformation_matrix).reshape(tensor.shape)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(transformation_matrix={self.transformation_matrix.tolist()}"
            f", mean_vector={self.mean_vector.tolist()})"
        )


class RandomErasing(Module):
    """With probability p, a random rectangle of a tensor replaced by `value`: a number, one for each channel, or
    "random" for normal noise. Its area is a part of the image within `scale`, its height / width within `ratio`.

    Source: Zhong et al. 2017, "Random erasing data augmentation".
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(value, int | float | str | tuple | list):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        for name, given in (("scale", scale), ("ratio", ratio)):
            if not isinstance(given, tuple | list):
                raise TypeError(f"Argument {name} should be a sequence")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        if not 0 <= p <= 1:
            raise ValueError("Random erasing probability should be between 0 and 1")
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: list[float] | None = None
    ) -> tuple[int, int, int, int, Tensor]:
        """(top, left, height, width, values) of a random rectangle; the whole image if none that fits is found."""
        channels, height, width = get_dimensions(img)
        random = draw()
        for _ in range(10):
            area = height * width * random.uniform(scale[0], scale[1])
            aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h < height and w < width:
                top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
                if value is None:
                    return top, left, h, w, noise((channels, h, w), random)
                return top, left, h, w, make_tensor(value, device="cpu").reshape(-1, 1, 1)
        return 0, 0, height, width, img

    def forward(self, img: Tensor) -> Tensor:
        if draw().random() >= self.p:
            return img
        value = None if isinstance(self.value, str) else [self.value] if isinstance(self.value, int | float) else None
        if isinstance(self.value, tuple | list):
            value = [float(v) for v in self.value]
        channels = img.shape[-3]
        if value is not None and len(value) not in (1, channels):
            raise ValueError(
                f"If value is a sequence, it should have either a single value or {channels} (number of input channels)"
            )
        top, left, h, w, values = self.get_params(img, self.scale, self.ratio, value)
        return F.erase(img, top, left, h, w, values, self.inplace)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, "
            f"inplace={self.inplace})"
        )
