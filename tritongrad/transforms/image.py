"""What an image is here: a Pillow image, or a tensor whose last axes are channels, height and width.

Work on images is done on the host, by Pillow and numpy, and starts no kernel: it belongs in a dataset, whose workers it
keeps busy. Tensors come back on the device they were on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import Enum
from importlib import import_module
from typing import Any

import numpy as np

from tritongrad.data.collate import host
from tritongrad.data.sampler import host_random
from tritongrad.random import default_generator
from tritongrad.tensor import Tensor
from tritongrad_kernels.array import from_host
from tritongrad_kernels.driver import Device


class InterpolationMode(Enum):
    """How values between pixels are had. BOX, HAMMING and LANCZOS are for Pillow images only."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PILLOW_CODES = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
"""Pillow's number for each mode."""


def interpolation_mode(mode: Any) -> InterpolationMode:
    """A mode from itself or from Pillow's number for it; TypeError for anything else."""
    if isinstance(mode, InterpolationMode):
        return mode
    by_code = {code: InterpolationMode(word) for word, code in reversed(PILLOW_CODES.items())}
    if isinstance(mode, int) and mode in by_code:
        return by_code[mode]
    raise TypeError(f"Argument interpolation should be a InterpolationMode or a corresponding Pillow integer constant, "
                    f"got {mode!r}")  # fmt: skip


def pillow(module: str = "Image") -> Any:
    """A module of Pillow's, which is optional."""
    try:
        return import_module(f"PIL.{module}")
    except ImportError as error:
        raise ImportError('this needs Pillow, which cannot be imported: pip install "tritongrad[data]"') from error


def is_pillow(image: Any) -> bool:
    """Whether this is a Pillow image; none can be one before Pillow was imported."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def require_image(image: Any) -> None:
    """TypeError for what is no image, or a tensor of fewer than two axes."""
    if isinstance(image, Tensor):
        if image.ndim < 2:
            raise TypeError(f"Tensor is not a torch image: expected [..., H, W], got shape {list(image.shape)}")
    elif not is_pillow(image):
        raise TypeError(f"Unexpected type {type(image)}: expected a Pillow image or a tensor")


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width] of an image."""
    require_image(img)
    if isinstance(img, Tensor):
        return [1 if img.ndim == 2 else img.shape[-3], img.shape[-2], img.shape[-1]]
    return [len(img.getbands()), img.height, img.width]


def get_image_size(img: Any) -> list[int]:
    """[width, height] of an image."""
    _, height, width = get_dimensions(img)
    return [width, height]


def get_image_num_channels(img: Any) -> int:
    return get_dimensions(img)[0]


def changed(image: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """A tensor of what `change` makes of the values of another, on the same device."""
    return Tensor(from_host(change(host(image)), image.device))


def on_host(values: np.ndarray) -> Tensor:
    """A tensor in host memory, where torch leaves what comes from an image."""
    return Tensor(from_host(values, Device("cpu")))


def in_float(values: np.ndarray) -> np.ndarray:
    """Values in a floating dtype that numpy computes in: float64 as it is, all else in float32."""
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def back_in(dtype: np.dtype[Any], values: np.ndarray) -> np.ndarray:
    """Computed values in an image's dtype: rounded to the nearest of an integer one, which they must not leave."""
    if dtype.kind in "iu":
        values = np.rint(values)
    return values.astype(dtype)


def most(dtype: np.dtype[Any]) -> float:
    """White: 1 in floating dtypes, the largest value of integer ones."""
    return 1.0 if dtype.kind not in "iub" else 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)


def draw() -> np.random.Generator:
    """Random numbers for one decision, under the next seed of this thread's generator."""
    return host_random(default_generator.host_seed())


def pair(size: int | Sequence[int], message: str = "Please provide only two dimensions (h, w) for size.") -> Any:
    """(height, width) from one number, which stands for both, or from one or two in a sequence."""
    if isinstance(size, int):
        return int(size), int(size)
    if len(size) == 1:
        return size[0], size[0]
    if len(size) != 2:
        raise ValueError(message)
    return size
