"""What colour the pixels of an image have: brightness, hue, bits, sharpness, and pixels erased."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.tensor import Tensor
from tritongrad.transforms.conversion import pil_to_tensor, to_pil_image
from tritongrad.transforms.image import (
    back_in,
    changed,
    get_dimensions,
    in_float,
    most,
    on_host,
    pillow,
    require_image,
)
from tritongrad.transforms.resampling import blurred
from tritongrad_kernels.array import from_host

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue, as ITU-R BT.601


def _require_channels(img: Any, *allowed: int) -> int:
    channels = get_dimensions(img)[0]
    if isinstance(img, Tensor) and channels not in allowed:
        raise TypeError(f"Input image tensor permitted channel values are {list(allowed)}, but found {channels}")
    return channels


def _blend(values: np.ndarray, other: np.ndarray, factor: float) -> np.ndarray:
    """factor * values + (1 - factor) * other, kept between black and white, in the dtype of `values`."""
    a, b = in_float(values), in_float(other)
    mixed = factor * a + (1.0 - factor) * b
    return mixed.clip(0, most(values.dtype)).astype(values.dtype)


def _gray(values: np.ndarray) -> np.ndarray:
    """[..., 1, H, W] of [..., 3, H, W]; of one channel, itself."""
    if values.shape[-3] == 1:
        return values
    colours = in_float(values)
    red, green, blue = (colours[..., k : k + 1, :, :] * LUMA[k] for k in range(3))
    return (red + green + blue).astype(values.dtype)


def _enhanced(img: Any, name: str, factor: float) -> Any:
    return getattr(pillow("ImageEnhance"), name)(img).enhance(factor)


def _require_factor(name: str, factor: float) -> None:
    if factor < 0:
        raise ValueError(f"{name} ({factor}) is not non-negative.")


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """`img` so many times as bright: 0 is black."""
    _require_factor("brightness_factor", brightness_factor)
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return _enhanced(img, "Brightness", brightness_factor)
    return changed(img, lambda v: _blend(v, np.zeros_like(v), brightness_factor))


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """`img` with so many times its distance from its mean gray: 0 is all gray."""
    _require_factor("contrast_factor", contrast_factor)
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return _enhanced(img, "Contrast", contrast_factor)

    def change(values: np.ndarray) -> np.ndarray:
        gray = in_float(_gray(values if values.ndim > 2 else values[None]))
        mean = gray.mean((-3, -2, -1), keepdims=True, dtype=gray.dtype)
        return _blend(values, mean if values.ndim > 2 else mean[0], contrast_factor)

    return changed(img, change)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """`img` with so many times its distance from its gray version: 0 is gray."""
    _require_factor("saturation_factor", saturation_factor)
    channels = _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return _enhanced(img, "Color", saturation_factor)
    return img if channels == 1 else changed(img, lambda v: _blend(v, _gray(v), saturation_factor))


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """`img` with its colours moved around the circle of hues, 0.5 being half a turn; gray ones stay as they are."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    channels = _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        if img.mode in ("L", "1", "I", "F"):
            return img
        hue, saturation, value = img.convert("HSV").split()
        turned = np.asarray(hue) + np.array(int(hue_factor * 255) % 256, np.uint8)  # modulo 256
        parts = (pillow().fromarray(turned), saturation, value)
        return pillow().merge("HSV", parts).convert(img.mode)
    return img if channels == 1 else changed(img, lambda v: _turned(v, hue_factor))


def _turned(values: np.ndarray, turn: float) -> np.ndarray:
    integer = values.dtype.kind in "iu"
    white = most(values.dtype)
    colours = in_float(values)
    colours = colours / white if integer else colours
    value, least = colours.max(-3), colours.min(-3)
    chroma = value - least
    safe = np.where(chroma == 0, np.ones_like(chroma), chroma)
    red, green, blue = (colours[..., k, :, :] for k in range(3))
    sector = np.where(
        value == red, (green - blue) / safe, np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    sector = (np.where(chroma == 0, 0, sector) + 6 * turn) % 6
    # A channel is at its highest within a sixth of a turn of its own hue, and falls linearly for another sixth.
    parts = []
    for home in (5, 3, 1):
        k = (sector + home) % 6
        parts.append(value - chroma * np.minimum(k, 4 - k).clip(0, 1))
    turned = np.stack(parts, -3)
    return (turned * (white + 1.0 - 1e-3)).astype(values.dtype) if integer else turned.astype(values.dtype)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """gain * img ** gamma, of an image between 0 and 1."""
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        table = [int((255 + 1 - 1e-3) * gain * pow(level / 255.0, gamma)) for level in range(256)] * 3
        return img.convert("RGB").point(table).convert(img.mode)

    def change(values: np.ndarray) -> np.ndarray:
        white, integer = most(values.dtype), values.dtype.kind in "iu"
        x = in_float(values)
        x = (gain * (x / white if integer else x) ** gamma).clip(0, 1)
        return (x * (white + 1.0 - 1e-3)).astype(values.dtype) if integer else x.astype(values.dtype)

    return changed(img, change)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """A Pillow image in gray, of one channel or three equal ones."""
    if isinstance(img, Tensor):
        raise TypeError("Input should be PIL Image")
    require_image(img)
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    gray = img.convert("L")
    return gray if num_output_channels == 1 else pillow().merge("RGB", (gray, gray, gray))


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """An image in gray, of one channel or three equal ones."""
    if not isinstance(img, Tensor):
        return to_grayscale(img, num_output_channels)
    if img.ndim < 3:
        raise TypeError(f"Input image tensor should have at least 3 dimensions, but found {img.ndim}")
    _require_channels(img, 1, 3)
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    return changed(img, lambda v: np.repeat(_gray(v), num_output_channels, -3))


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """A tensor with the rectangle of height h and width w at (i, j) replaced by `v`, which broadcasts to it."""
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    here = img.device.type == "cpu" and not img.requires_grad
    if not inplace:
        img = changed(img, np.asarray) if here else img.clone()
    if here:
        values = img._host()  # the memory itself
        values[..., i : i + h, j : j + w] = v._host() if isinstance(v, Tensor) else v
        img.array.memory.version += 1
    else:
        img[..., i : i + h, j : j + w] = Tensor(from_host(v, img.device)) if isinstance(v, np.ndarray) else v
    return img


def gaussian_blur(img: Any, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None) -> Any:
    """`img` under a Gaussian of so many pixels, and of that standard deviation, across and down; mirrored at edges."""
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    if len(sizes) != 2:
        raise ValueError(f"If kernel_size is a sequence its length should be 2. Got {len(sizes)}")
    if any(n % 2 == 0 or n < 0 for n in sizes):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {sizes}")
    if sigma is None:
        sigmas = [n * 0.15 + 0.35 for n in sizes]
    else:
        given = [sigma] if isinstance(sigma, int | float) else list(sigma)
        if len(given) not in (1, 2):
            raise ValueError(f"If sigma is a sequence, its length should be 2. Got {len(given)}")
        sigmas = [float(s) for s in given * (3 - len(given))]
    if any(s <= 0.0 for s in sigmas):
        raise ValueError(f"sigma should have positive values. Got {sigmas}")
    require_image(img)
    across, down = (_bell(n, s) for n, s in zip(sizes, sigmas, strict=True))
    if isinstance(img, Tensor):
        return changed(img, lambda values: blurred(values, across, down))
    return to_pil_image(changed(pil_to_tensor(img), lambda values: blurred(values, across, down)), mode=img.mode)


def _bell(count: int, sigma: float) -> np.ndarray:
    x = np.linspace(-(count - 1) * 0.5, (count - 1) * 0.5, count)
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    return weights / weights.sum()


def invert(img: Any) -> Any:
    """White for black."""
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return pillow("ImageOps").invert(img)
    return changed(img, _inverted)


def _inverted(values: np.ndarray) -> np.ndarray:
    return (np.array(most(values.dtype), values.dtype) - values).astype(values.dtype)


def posterize(img: Any, bits: int) -> Any:
    """The highest `bits` bits of every byte."""
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return pillow("ImageOps").posterize(img, bits)
    _require_bytes("posterize", img)
    mask = np.uint8(-(2 ** (8 - bits)) % 256)
    return changed(img, lambda values: values & mask)


def _require_bytes(name: str, img: Tensor) -> None:
    if img.dtype.name != "uint8":
        raise TypeError(f"{name}: only uint8 image tensors are supported, but found {img.dtype.name}")


def solarize(img: Any, threshold: float) -> Any:
    """`img` inverted where it is not below `threshold`."""
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return pillow("ImageOps").solarize(img, threshold)
    if threshold > most(img.dtype.numpy):
        raise TypeError("Threshold should be less than bound of img.")
    return changed(img, lambda values: np.where(in_float(values) >= threshold, _inverted(values), values))


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """`img` with so many times its distance from a smoothed version: 0 is that one. The edge stays as it is."""
    _require_factor("sharpness_factor", sharpness_factor)
    _, height, width = get_dimensions(img)
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return _enhanced(img, "Sharpness", sharpness_factor)
    return img if min(height, width) <= 2 else changed(img, lambda v: _blend(v, _smoothed(v), sharpness_factor))


def _smoothed(values: np.ndarray) -> np.ndarray:
    x = in_float(values)
    height, width = x.shape[-2:]
    total = np.zeros((*x.shape[:-2], height - 2, width - 2), x.dtype)
    for i in range(3):
        for j in range(3):
            weight = (5.0 if i == j == 1 else 1.0) / 13.0
            total += weight * x[..., i : height - 2 + i, j : width - 2 + j]
    result = values.copy()
    result[..., 1:-1, 1:-1] = back_in(values.dtype, total)
    return result


def autocontrast(img: Any) -> Any:
    """`img` with every channel stretched so that its darkest value is black and its lightest white."""
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return pillow("ImageOps").autocontrast(img)

    def change(values: np.ndarray) -> np.ndarray:
        x, white = in_float(values), most(values.dtype)
        low, high = x.min((-2, -1), keepdims=True), x.max((-2, -1), keepdims=True)
        flat = low == high
        scale = np.where(flat, 1, white / np.where(flat, 1, high - low)).astype(x.dtype)
        return ((x - np.where(flat, 0, low)) * scale).clip(0, white).astype(values.dtype)

    return changed(img, change)


def equalize(img: Any) -> Any:
    """`img` with the values of every channel moved so that they are about equally frequent."""
    _require_channels(img, 1, 3)
    if not isinstance(img, Tensor):
        return pillow("ImageOps").equalize(img)
    _require_bytes("equalize", img)

    def change(values: np.ndarray) -> np.ndarray:
        flat = values.reshape(math.prod(values.shape[:-2]), *values.shape[-2:])
        return np.array([_equalized(channel) for channel in flat], np.uint8).reshape(values.shape)

    return changed(img, change)


def _equalized(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.reshape(-1), minlength=256)
    present = counts[counts > 0]
    step = int(present[:-1].sum()) // 255
    if step == 0:
        return channel
    before = np.concatenate([[0], (np.cumsum(counts) + step // 2)[:-1] // step])
    return before.clip(0, 255).astype(np.uint8)[channel]


def noise(shape: Sequence[int], random: np.random.Generator) -> Tensor:
    """Normal random numbers in float32 on the host."""
    return on_host(random.standard_normal(shape, np.float32))
