"""Transforms of colour: jitter, gray, blur, and single operations with a probability."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from tritongrad.nn.module import Module
from tritongrad.transforms import functional as F
from tritongrad.transforms.image import draw, get_dimensions, pair

Range = tuple[float, float] | None


class ColorJitter(Module):
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    A number v stands for factors within [max(0, 1 - v), 1 + v], for the hue turns within [-v, v]; a pair for itself.
    ValueError for what leaves [0, infinity), for the hue [-0.5, 0.5]; TypeError for anything else.
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        super().__init__()
        self.brightness = _range(brightness, "brightness", 1.0, (0.0, float("inf")))
        self.contrast = _range(contrast, "contrast", 1.0, (0.0, float("inf")))
        self.saturation = _range(saturation, "saturation", 1.0, (0.0, float("inf")))
        self.hue = _range(hue, "hue", 0.0, (-0.5, 0.5))

    @staticmethod
    def get_params(brightness: Range, contrast: Range, saturation: Range, hue: Range) -> tuple[Any, ...]:
        """(order, and the four amounts; None for what is left alone)."""
        random = draw()
        order = random.permutation(4)
        amounts = (r and float(random.uniform(r[0], r[1])) for r in (brightness, contrast, saturation, hue))
        return (order, *amounts)

    def forward(self, img: Any) -> Any:
        order, *amounts = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        steps = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for k in (int(k) for k in order):
            if amounts[k] is not None:
                img = steps[k](img, amounts[k])
        return img

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, "
            f"saturation={self.saturation}, hue={self.hue})"
        )


def _range(value: Any, name: str, center: float, bound: tuple[float, float]) -> Range:
    if isinstance(value, numbers.Real):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        low, high = center - float(value), center + float(value)
        low = max(low, 0.0) if center == 1.0 else low
    elif isinstance(value, tuple | list) and len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
    if not bound[0] <= low <= high <= bound[1]:
        raise ValueError(f"{name} values should be between {bound}, but got {[low, high]}.")
    return None if low == high == center else (low, high)


class Grayscale(Module):
    """An image in gray, of one channel or three equal ones."""

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_output_channels={self.num_output_channels})"


class _Sometimes(Module):
    """Something done with probability p."""

    p: float

    def forward(self, img: Any) -> Any:
        return self._do(img) if draw().random() < self.p else img

    def _do(self, img: Any) -> Any:
        raise NotImplementedError


class RandomGrayscale(_Sometimes):
    """Gray with probability p, in as many channels as before."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = p

    def _do(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, get_dimensions(img)[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomInvert(_Sometimes):
    """White for black with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def _do(self, img: Any) -> Any:
        return F.invert(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomPosterize(_Sometimes):
    """Only the highest `bits` bits with probability p."""

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__()
        self.bits, self.p = bits, p

    def _do(self, img: Any) -> Any:
        return F.posterize(img, self.bits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bits={self.bits},p={self.p})"


class RandomSolarize(_Sometimes):
    """Inverted from `threshold` up with probability p."""

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__()
        self.threshold, self.p = threshold, p

    def _do(self, img: Any) -> Any:
        return F.solarize(img, self.threshold)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threshold={self.threshold},p={self.p})"


class RandomAdjustSharpness(_Sometimes):
    """Sharper, or smoother below 1, with probability p."""

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__()
        self.sharpness_factor, self.p = sharpness_factor, p

    def _do(self, img: Any) -> Any:
        return F.adjust_sharpness(img, self.sharpness_factor)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sharpness_factor={self.sharpness_factor},p={self.p})"


class RandomAutocontrast(RandomInvert):
    """Every channel stretched from black to white with probability p."""

    def _do(self, img: Any) -> Any:
        return F.autocontrast(img)


class RandomEqualize(RandomInvert):
    """Values about equally frequent with probability p."""

    def _do(self, img: Any) -> Any:
        return F.equalize(img)


class GaussianBlur(Module):
    """An image under a Gaussian of random standard deviation within `sigma`; see `functional.gaussian_blur`."""

    def __init__(self, kernel_size: int | Sequence[int], sigma: float | Sequence[float] = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, "Kernel size should be a tuple/list of two integers")
        if any(n <= 0 or n % 2 == 0 for n in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        if isinstance(sigma, numbers.Real):
            if sigma <= 0:
                raise ValueError("If sigma is a single number, it must be positive.")
            self.sigma = (float(sigma), float(sigma))
        elif isinstance(sigma, Sequence) and len(sigma) == 2:
            if not 0.0 < sigma[0] <= sigma[1]:
                raise ValueError("sigma values should be positive and of the form (min, max).")
            self.sigma = (sigma[0], sigma[1])
        else:
            raise TypeError("sigma should be a single number or a list/tuple with length 2.")

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        return float(draw().uniform(sigma_min, sigma_max))

    def forward(self, img: Any) -> Any:
        sigma = self.get_params(self.sigma[0], self.sigma[1])
        return F.gaussian_blur(img, self.kernel_size, [sigma, sigma])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kernel_size={self.kernel_size}, sigma={self.sigma})"
