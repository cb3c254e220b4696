"""Many images as one: `make_grid` and `save_image`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.tensor import Tensor
from tritongrad.transforms.image import in_float, pillow
from tritongrad_kernels.array import from_host


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images [N, C, H, W], or a list of [C, H, W], as one image with `nrow` in a row and `padding` pixels between them.

    With `normalize` the values from `value_range`, by default from the least to the largest, of all images or with
    `scale_each` of each, are spread over [0, 1]. Images of one channel get three. Computed on the host.
    TypeError for anything but tensors, and for a value_range that is no tuple.
    """
    if not isinstance(tensor, Tensor) and not (
        isinstance(tensor, list | tuple) and all(isinstance(t, Tensor) for t in tensor)
    ):
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    if value_range is not None and not isinstance(value_range, tuple):
        raise TypeError("value_range has to be a tuple (min, max) if specified. min and max are numbers")
    first = tensor if isinstance(tensor, Tensor) else tensor[0]
    images = _images(tensor)
    if normalize:
        images = in_float(images)
        parts = images if scale_each else images[None]
        images = np.stack([_spread(part, value_range) for part in parts]).reshape(images.shape)
    if len(images) == 1:
        return Tensor(from_host(images[0], first.device))
    count, channels, height, width = images.shape
    across = min(nrow, count)
    down = math.ceil(count / across)
    high, wide = height + padding, width + padding
    grid = np.full((channels, high * down + padding, wide * across + padding), pad_value, images.dtype)
    for k, image in enumerate(images):
        y, x = k // across * high + padding, k % across * wide + padding
        grid[:, y : y + height, x : x + width] = image
    return Tensor(from_host(grid, first.device))


def _images(tensor: Tensor | Sequence[Tensor]) -> np.ndarray:
    if isinstance(tensor, Tensor):
        values = tensor.detach()._host()
    else:
        values = np.stack([t.detach()._host() for t in tensor])
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 3:
        values = values[None]
    return np.repeat(values, 3, 1) if values.shape[1] == 1 else values


def _spread(values: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    low, high = limits or (float(values.min()), float(values.max()))
    return (values.clip(low, high) - low) / max(high - low, 1e-5)


def save_image(tensor: Tensor | Sequence[Tensor], fp: Any, format: str | None = None, **kwargs: Any) -> None:
    """Write the grid of some images, whose values are between 0 and 1, to a file by Pillow.

    The format is that of the file's name, unless given. Keywords are those of `make_grid`.
    """
    grid = in_float(make_grid(tensor, **kwargs)._host())
    values = (grid * 255 + 0.5).clip(0, 255).transpose(1, 2, 0).astype(np.uint8)
    pillow().fromarray(values).save(fp, format=format)
