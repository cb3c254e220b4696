"""From images to tensors and back, between dtypes, and normalization."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.ops.creation import tensor as make_tensor
from tritongrad.tensor import Tensor, get_default_dtype
from tritongrad.transforms.image import changed, in_float, is_pillow, most, on_host, pillow
from tritongrad_kernels import dtypes

_WIDE = {"I": np.int32, "F": np.float32, "I;16": np.int16, "I;16B": np.int16}  # of which a tensor keeps the values


def to_tensor(pic: Any) -> Tensor:
    """A Pillow image or an array [H, W] or [H, W, C] as a tensor [C, H, W] in host memory.

    Bytes become floats between 0 and 1 in the default dtype; other values stay as they are. TypeError for anything
    else, ValueError for arrays of other than two or three axes.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        values = pic[:, :, None] if pic.ndim == 2 else pic
    elif is_pillow(pic):
        values = np.array(pic, _WIDE.get(pic.mode, np.uint8))
        if pic.mode == "1":
            values = 255 * values
        values = values.reshape(pic.height, pic.width, len(pic.getbands()))
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    values = np.ascontiguousarray(values.transpose(2, 0, 1))
    if values.dtype != np.uint8:
        return on_host(values)
    kind = get_default_dtype()
    wide = np.float64 if kind is dtypes.float64 else np.float32
    return on_host(np.divide(values, 255, dtype=wide).astype(kind.numpy))


def pil_to_tensor(pic: Any) -> Tensor:
    """A Pillow image as a tensor [C, H, W] of its own values in host memory. TypeError for anything else."""
    if not is_pillow(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    values = np.array(pic)
    if pic.mode == "1":
        values = values.astype(np.uint8) * np.uint8(255)
    return on_host(np.ascontiguousarray(values.reshape(pic.height, pic.width, -1).transpose(2, 0, 1)))


def convert_image_dtype(image: Tensor, dtype: dtypes.dtype = dtypes.float32) -> Tensor:
    """An image in another dtype, black and white staying what they are.

    RuntimeError for dtypes whose white the floats of an image cannot tell from its neighbours.
    """
    if image.dtype is dtype:
        return image
    if not image.dtype.is_floating_point and not dtype.is_floating_point:
        return changed(image, lambda values: _between_integers(values, dtype))
    if image.dtype.is_floating_point and dtype.is_floating_point:
        return image.to(dtype)
    if not image.dtype.is_floating_point:
        return changed(image, lambda values: _as_floats(values, dtype))
    if dtype is dtypes.int64 or (dtype is dtypes.int32 and image.dtype is not dtypes.float64):
        raise RuntimeError(f"The cast from {image.dtype.name} to {dtype.name} cannot be performed safely")
    # As many numbers of the dtype for every part of [0, 1]; the last part is shorter by so little that 1 is in it.
    top = most(dtype.numpy) + 1.0 - 1e-3
    return changed(image, lambda values: (in_float(values) * top).astype(dtype.numpy))


def _as_floats(values: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    wide = np.float64 if dtype is dtypes.float64 else np.float32
    return np.divide(values, most(values.dtype), dtype=wide).astype(dtype.numpy)


def _between_integers(values: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    before, after = int(most(values.dtype)) + 1, int(most(dtype.numpy)) + 1
    if before > after:
        return (values // (before // after)).astype(dtype.numpy)
    return values.astype(dtype.numpy) * (after // before)


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor [C, H, W] or [H, W], or an array [H, W, C] or [H, W], as a Pillow image.

    Floats between 0 and 1 of a tensor become bytes, unless `mode` is "F". Without a mode it is that of the channels: L
    (or I;16, I, F by dtype), LA, RGB, RGBA. TypeError for other types and dtypes, ValueError for other shapes or modes.
    """
    if not isinstance(pic, Tensor | np.ndarray):
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    if isinstance(pic, Tensor):
        values = pic.detach()._host()
        values = values[:, :, None] if values.ndim == 2 else values.transpose(1, 2, 0)
        if pic.is_floating_point() and mode != "F":
            values = (in_float(values) * 255).astype(np.int64).astype(np.uint8)
    else:
        values = pic[:, :, None] if pic.ndim == 2 else pic
    if values.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"pic should not have > 4 channels. Got {values.shape[2]} channels.")
    mode = _mode(values, mode)
    height, width = values.shape[:2]
    return pillow().frombytes(mode, (width, height), np.ascontiguousarray(values).tobytes())


_OF_ONE = {np.dtype(np.uint8): "L", np.dtype(np.int16): "I;16" if sys.byteorder == "little" else "I;16B",
           np.dtype(np.int32): "I", np.dtype(np.float32): "F"}  # fmt: skip
_OF_MORE = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}


def _mode(values: np.ndarray, mode: str | None) -> str:
    channels = values.shape[2]
    if channels == 1:
        natural = _OF_ONE.get(values.dtype)
        if natural is not None and mode not in (None, natural):
            raise ValueError(f"Incorrect mode ({mode}) supplied for input type {values.dtype}. Should be {natural}")
        if natural is None:
            raise TypeError(f"Input type {values.dtype} is not supported")
        return natural
    allowed = _OF_MORE[channels]
    if mode is not None and mode not in allowed:
        raise ValueError(f"Only modes {list(allowed)} are supported for {channels}D inputs")
    if values.dtype != np.uint8:
        raise TypeError(f"Input type {values.dtype} is not supported")
    return mode or allowed[0]


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """(tensor - mean) / std for every channel of a floating tensor [..., C, H, W].

    A tensor in host memory that wants no gradient is normalized there; others by kernels, and gradients flow.
    TypeError for other dtypes, ValueError for fewer axes or a std of 0.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    if not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.ndim < 3:
        raise ValueError(
            f"Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = {tensor.size()}"
        )
    center, spread = (_per_channel(v, tensor.dtype) for v in (mean, std))
    if (spread == 0).any():
        raise ValueError(f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by zero.")
    if tensor.device.type == "cpu" and not tensor.requires_grad:
        kind = tensor.dtype.numpy
        result = changed(tensor, lambda x: (in_float(x) - in_float(center)).astype(kind) / spread)
    else:
        result = (tensor - make_tensor(center, device=tensor.device)) / make_tensor(spread, device=tensor.device)
    return tensor.copy_(result) if inplace else result


def _per_channel(values: Any, dtype: dtypes.dtype) -> np.ndarray:
    found = np.asarray(values.tolist() if isinstance(values, Tensor) else values, dtype.numpy)
    return found.reshape(-1, 1, 1) if found.ndim == 1 else found
