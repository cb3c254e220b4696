"""Random maps of the plane: turning, affine maps, perspective."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from tritongrad.nn.module import Module
from tritongrad.tensor import Tensor
from tritongrad.transforms import functional as F
from tritongrad.transforms.image import InterpolationMode, draw, get_dimensions, interpolation_mode

NEAREST, BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR


def interval(value: Any, name: str, lengths: tuple[int, ...] = (2,)) -> list[float]:
    """[-v, v] of a number v, else the numbers of a sequence that has one of the given lengths."""
    if isinstance(value, numbers.Number):
        if value < 0:  # type: ignore[operator]
            raise ValueError(f"If {name} is a single number, it must be positive.")
        return [-float(value), float(value)]  # type: ignore[arg-type]
    if not isinstance(value, Sequence):
        raise TypeError(f"{name} should be a sequence of length {' or '.join(map(str, lengths))}.")
    if len(value) not in lengths:
        raise ValueError(f"{name} should be a sequence of length {' or '.join(map(str, lengths))}.")
    return [float(v) for v in value]


def _require_pair(value: Any, name: str) -> None:
    if not isinstance(value, Sequence):
        raise TypeError(f"{name} should be a sequence of length 2.")
    if len(value) != 2:
        raise ValueError(f"{name} should be a sequence of length 2.")


def filling(fill: Any, img: Any) -> Any:
    """A fill for this image: floats, one for each channel, for a tensor."""
    if not isinstance(img, Tensor):
        return fill
    if isinstance(fill, int | float):
        return [float(fill)] * get_dimensions(img)[0]
    return None if fill is None else [float(f) for f in fill]


def _require_fill(fill: Any) -> Any:
    if fill is None:
        return 0
    if not isinstance(fill, Sequence | numbers.Number):
        raise TypeError("Fill should be either a sequence or a number.")
    return fill


class RandomRotation(Module):
    """An image turned by an angle within `degrees` ([-d, d] of one number); see `functional.rotate`."""

    def __init__(
        self,
        degrees: Any,
        interpolation: Any = NEAREST,
        expand: bool = False,
        center: Sequence[int] | None = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.degrees = interval(degrees, "degrees")
        if center is not None:
            _require_pair(center, "center")
        self.interpolation, self.expand, self.center = interpolation_mode(interpolation), expand, center
        self.fill = _require_fill(fill)

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        return float(draw().uniform(degrees[0], degrees[1]))

    def forward(self, img: Any) -> Any:
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, filling(self.fill, img))

    def __repr__(self) -> str:
        text = f"{type(self).__name__}(degrees={self.degrees}, interpolation={self.interpolation.value}"
        text += f", expand={self.expand}" + (f", center={self.center}" if self.center is not None else "")
        return f"{text}, fill={self.fill})"


class RandomAffine(Module):
    """An image turned by an angle within `degrees`, moved by at most the parts `translate` of its width and height,
    scaled within `scale`, and sheared by degrees within `shear` (of x, or [x from, x to, y from, y to])."""

    def __init__(
        self,
        degrees: Any,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Any = None,
        interpolation: Any = NEAREST,
        fill: Any = 0,
        center: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.degrees = interval(degrees, "degrees")
        if translate is not None:
            _require_pair(translate, "translate")
            if not all(0.0 <= t <= 1.0 for t in translate):
                raise ValueError("translation values should be between 0 and 1")
        if scale is not None:
            _require_pair(scale, "scale")
            if min(scale) <= 0:
                raise ValueError("scale values should be positive")
        if center is not None:
            _require_pair(center, "center")
        self.translate, self.scale, self.center = translate, scale, center
        self.shear = None if shear is None else interval(shear, "shear", (2, 4))
        self.interpolation, self.fill = interpolation_mode(interpolation), _require_fill(fill)

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """(angle, (right, down), scale, (shear x, shear y)) for an image of img_size = (width, height)."""
        random = draw()
        angle, moved, scale, shear = float(random.uniform(degrees[0], degrees[1])), (0, 0), 1.0, (0.0, 0.0)
        if translate is not None:
            reach = [float(t * n) for t, n in zip(translate, img_size, strict=True)]
            moved = round(random.uniform(-reach[0], reach[0])), round(random.uniform(-reach[1], reach[1]))
        if scale_ranges is not None:
            scale = float(random.uniform(scale_ranges[0], scale_ranges[1]))
        if shears is not None:
            x = float(random.uniform(shears[0], shears[1]))
            shear = x, float(random.uniform(shears[2], shears[3])) if len(shears) == 4 else 0.0
        return angle, moved, scale, shear

    def forward(self, img: Any) -> Any:
        _, height, width = get_dimensions(img)
        found = self.get_params(self.degrees, self.translate, self.scale, self.shear, [width, height])
        return F.affine(img, *found, self.interpolation, filling(self.fill, img), self.center)

    def __repr__(self) -> str:
        shown = {
            "translate": self.translate,
            "scale": self.scale,
            "shear": self.shear,
            "interpolation": None if self.interpolation is NEAREST else self.interpolation.value,
            "fill": self.fill or None,
            "center": self.center,
        }
        more = "".join(f", {name}={value}" for name, value in shown.items() if value is not None)
        return f"{type(self).__name__}(degrees={self.degrees}{more})"


class RandomPerspective(Module):
    """With probability p, an image seen from a random side: each corner moves inwards by at most the part
    `distortion_scale` of half the image."""

    def __init__(
        self, distortion_scale: float = 0.5, p: float = 0.5, interpolation: Any = BILINEAR, fill: Any = 0
    ) -> None:
        super().__init__()
        self.p, self.distortion_scale, self.interpolation = p, distortion_scale, interpolation_mode(interpolation)
        self.fill = _require_fill(fill)

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list[list[int]], list[list[int]]]:
        """(corners, where they go) as [x, y]: upper left, upper right, lower right, lower left."""
        random = draw()
        reach = [int(distortion_scale * (n // 2)) for n in (width, height)]
        corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        goals = []
        for corner in corners:
            inwards = [int(random.integers(r + 1)) for r in reach]
            goals.append([c + d if c == 0 else c - d for c, d in zip(corner, inwards, strict=True)])
        return corners, goals

    def forward(self, img: Any) -> Any:
        if draw().random() >= self.p:
            return img
        _, height, width = get_dimensions(img)
        corners, goals = self.get_params(width, height, self.distortion_scale)
        return F.perspective(img, corners, goals, self.interpolation, filling(self.fill, img))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"
