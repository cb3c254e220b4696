"""Where the pixels of an image go: sizes, crops, borders, flips and maps of the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.tensor import Tensor
from tritongrad.transforms.image import (
    PILLOW_CODES,
    InterpolationMode,
    changed,
    get_dimensions,
    interpolation_mode,
    pair,
    pillow,
    require_image,
)
from tritongrad.transforms.resampling import looked_up, scaled

NEAREST, BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR
Fill = float | Sequence[float] | None


def resize(
    img: Any,
    size: int | Sequence[int] | None,
    interpolation: Any = BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """`img` in the size (height, width), or with its shorter edge of the given length and the other in proportion.

    `max_size` then bounds the longer edge, and decides alone where `size` is None. `antialias` matters for tensors in
    bilinear and bicubic mode; Pillow always does it. The image itself if it has that size.
    """
    mode = interpolation_mode(interpolation)
    _, height, width = get_dimensions(img)
    if isinstance(size, Sequence) and len(size) not in (1, 2):
        raise ValueError(f"Size must be an int or a 1 or 2 element tuple/list, not a {len(size)} element tuple/list")
    if isinstance(size, Sequence) and len(size) == 2:
        if max_size is not None:
            raise ValueError(
                "max_size should only be passed if size specifies the length of the smaller edge, "
                "i.e. size should be an int or a sequence of length 1."
            )
        target = int(size[0]), int(size[1])
    else:
        target = _in_proportion(height, width, size[0] if isinstance(size, Sequence) else size, max_size)
    if target == (height, width):
        return img
    if not isinstance(img, Tensor):
        return img.resize((target[1], target[0]), PILLOW_CODES[mode.value])
    if mode not in (NEAREST, InterpolationMode.NEAREST_EXACT, BILINEAR, InterpolationMode.BICUBIC):
        raise ValueError(f"Interpolation mode '{mode.value}' is unsupported with tensor input")
    return changed(img, lambda values: scaled(values, *target, mode.value, bool(antialias)))


def _in_proportion(height: int, width: int, size: int | None, max_size: int | None) -> tuple[int, int]:
    short, long = min(height, width), max(height, width)
    if size is None:
        if not isinstance(max_size, int):
            raise ValueError(f"max_size must be an integer when size is None, but got {max_size}")
        new_short, new_long = int(max_size * short / long), max_size
    else:
        new_short, new_long = size, int(size * long / short)
        if max_size is not None:
            if max_size <= size:
                raise ValueError(
                    f"max_size = {max_size} must be strictly greater than the requested size for the smaller edge "
                    f"size = {size}"
                )
            if new_long > max_size:
                new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_short, new_long) if height <= width else (new_long, new_short)


PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


def pad(img: Any, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> Any:
    """`img` with a border: one width, [left/right, top/bottom], or [left, top, right, bottom]; negative ones cut off.

    The border is `fill` (a value, or one for each channel), the nearest pixel ("edge"), or the image mirrored without
    ("reflect") or with ("symmetric") its edge.
    """
    require_image(img)
    left, top, right, bottom = _borders(padding)
    if not isinstance(padding_mode, str):
        raise TypeError("Got inappropriate padding_mode arg")
    if padding_mode not in PADDING_MODES:
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    if isinstance(img, Tensor):
        return changed(img, lambda v: _bordered(v, (left, top, right, bottom), fill, padding_mode, -3))
    if padding_mode == "constant":
        height, width = img.height + top + bottom, img.width + left + right
        result = pillow().new(img.mode, (width, height), _pillow_fill(fill, img))
        if img.mode == "P":
            result.putpalette(img.getpalette())
        inner = img.crop((max(0, -left), max(0, -top), img.width - max(0, -right), img.height - max(0, -bottom)))
        result.paste(inner, (max(0, left), max(0, top)))
        return result
    values = np.asarray(img)
    result = pillow().fromarray(
        _bordered(values, (left, top, right, bottom), 0, padding_mode, 2 if values.ndim == 3 else None)
    )
    if img.mode == "P":
        result.putpalette(img.getpalette())
    return result


def _borders(padding: Any) -> tuple[int, int, int, int]:
    if not isinstance(padding, int | tuple | list):
        raise TypeError("Got inappropriate padding arg")
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) not in (1, 2, 4):
        raise ValueError(f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple")
    left, top, right, bottom = (padding * 4)[:4] if len(padding) < 4 else padding
    return left, top, right, bottom


def _bordered(
    values: np.ndarray, borders: tuple[int, int, int, int], fill: Any, mode: str, channel_axis: int | None
) -> np.ndarray:
    left, top, right, bottom = borders
    rows, columns = (0, 1) if channel_axis != -3 else (values.ndim - 2, values.ndim - 1)
    cut = [slice(None)] * values.ndim
    cut[rows] = slice(max(0, -top), values.shape[rows] - max(0, -bottom))
    cut[columns] = slice(max(0, -left), values.shape[columns] - max(0, -right))
    around = [(0, 0)] * values.ndim
    around[rows], around[columns] = (max(0, top), max(0, bottom)), (max(0, left), max(0, right))
    values = values[tuple(cut)]
    if mode != "constant":
        return np.pad(values, around, mode=mode)  # type: ignore[call-overload]
    colour = np.asarray(0 if fill is None else fill, values.dtype)
    if colour.ndim and len(colour) > 1:
        shape = [n + a + b for n, (a, b) in zip(values.shape, around, strict=True)]
        result = np.broadcast_to(colour.reshape(-1, 1, 1), shape).copy()
        result[tuple(slice(a, a + n) for n, (a, _) in zip(values.shape, around, strict=True))] = values
        return result
    return np.pad(values, around, constant_values=colour.reshape(-1)[0])


def _pillow_fill(fill: Any, img: Any) -> Any:
    """A fill as Pillow wants it: a number for one channel, a tuple for several."""
    bands = len(img.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, int | float) and bands > 1:
        return tuple([int(fill)] * bands)
    if isinstance(fill, list | tuple):
        if len(fill) == 1:
            fill = tuple(fill) * bands
        if len(fill) != bands:
            raise ValueError(
                f"The number of elements in 'fill' does not match the number of channels of the image "
                f"({len(fill)} != {bands})"
            )
        return tuple(int(f) for f in fill) if bands > 1 else fill[0]
    return fill if img.mode == "F" else int(fill)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The rectangle of that height and width whose upper left corner is (top, left); 0 where it leaves the image.

    A rectangle inside a tensor is a view of it.
    """
    require_image(img)
    if not isinstance(img, Tensor):
        return img.crop((left, top, left + width, top + height))
    h, w = img.shape[-2:]
    right, bottom = left + width, top + height
    inner = img[..., max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if top >= 0 and left >= 0 and bottom <= h and right <= w:
        return inner
    missing = [
        max(min(right, 0) - left, 0),
        max(min(bottom, 0) - top, 0),
        max(right - max(w, left), 0),
        max(bottom - max(h, top), 0),
    ]
    return pad(inner, missing)


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle of `img`; an image that is smaller is put on zeros."""
    height, width = pair(output_size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        wide, high = max(width - w, 0), max(height - h, 0)
        img = pad(img, [wide // 2, high // 2, (wide + 1) // 2, (high + 1) // 2])
        _, h, w = get_dimensions(img)
        if (height, width) == (h, w):
            return img
    return crop(img, round((h - height) / 2.0), round((w - width) / 2.0), height, width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: Any = BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """A rectangle of `img`, resized."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def five_crop(img: Any, size: int | Sequence[int]) -> tuple[Any, ...]:
    """The upper left, upper right, lower left and lower right corners of `img`, and its centre."""
    height, width = pair(size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        raise ValueError(f"Requested crop size {size} is bigger than input size {(h, w)}")
    corners = [(top, left) for top in (0, h - height) for left in (0, w - width)]
    return (*(crop(img, *corner, height, width) for corner in corners), center_crop(img, [height, width]))


def ten_crop(img: Any, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Any, ...]:
    """The `five_crop` of `img`, and that of `img` flipped."""
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


def hflip(img: Any) -> Any:
    """`img` with left and right exchanged."""
    return _flip(img, -1)


def vflip(img: Any) -> Any:
    """`img` upside down."""
    return _flip(img, -2)


def _flip(img: Any, axis: int) -> Any:
    require_image(img)
    if not isinstance(img, Tensor):
        return img.transpose(0 if axis == -1 else 1)  # Pillow's FLIP_LEFT_RIGHT and FLIP_TOP_BOTTOM
    if img.requires_grad or img.device.type != "cpu":
        return img.flip(axis)
    return changed(img, lambda values: np.flip(values, axis))


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = NEAREST,
    expand: bool = False,
    center: Sequence[int] | None = None,
    fill: Fill = None,
) -> Any:
    """`img` turned counter-clockwise by `angle` degrees about `center` (x, y), by default its own.

    With `expand` the result is large enough for all of a turn about the middle. `fill` is what comes in from outside.
    """
    mode = interpolation_mode(interpolation)
    if not isinstance(angle, int | float):
        raise TypeError("Argument angle should be int or float")
    if center is not None and not isinstance(center, list | tuple):
        raise TypeError("Argument center should be a sequence")
    _, height, width = get_dimensions(img)
    if not isinstance(img, Tensor):
        return img.rotate(angle, PILLOW_CODES[mode.value], expand, center, fillcolor=_pillow_fill(fill, img))
    around = (0.0, 0.0) if center is None else (center[0] - width * 0.5, center[1] - height * 0.5)
    matrix = inverse_matrix(around, -angle, (0.0, 0.0), 1.0, (0.0, 0.0))
    return _mapped(img, matrix, mode, fill, *(_expanded(matrix, height, width) if expand else (height, width)))


def affine(
    img: Any,
    angle: float,
    translate: Sequence[int],
    scale: float,
    shear: float | Sequence[float],
    interpolation: Any = NEAREST,
    fill: Fill = None,
    center: Sequence[int] | None = None,
) -> Any:
    """`img` sheared by degrees along x (and y), turned clockwise by `angle` degrees, scaled, all about `center`, and
    moved by `translate` pixels to the right and down."""
    mode = interpolation_mode(interpolation)
    shear = [shear, 0.0] if isinstance(shear, int | float) else [*shear, 0.0] if len(shear) == 1 else list(shear)
    for name, wrong in (
        ("angle should be int or float", not isinstance(angle, int | float)),
        ("translate should be a sequence", not isinstance(translate, list | tuple)),
        ("center should be a sequence", center is not None and not isinstance(center, list | tuple)),
    ):
        if wrong:
            raise TypeError(f"Argument {name}")
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    if len(shear) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    _, height, width = get_dimensions(img)
    if not isinstance(img, Tensor):
        about = (width * 0.5, height * 0.5) if center is None else (float(center[0]), float(center[1]))
        matrix = inverse_matrix(about, angle, translate, scale, shear)
        how = {"resample": PILLOW_CODES[mode.value], "fillcolor": _pillow_fill(fill, img)}
        return img.transform((width, height), pillow().Transform.AFFINE, matrix, **how)
    about = (0.0, 0.0) if center is None else (center[0] - width * 0.5, center[1] - height * 0.5)
    return _mapped(img, inverse_matrix(about, angle, translate, scale, shear), mode, fill, height, width)


def inverse_matrix(
    center: Sequence[float], angle: float, translate: Sequence[float], scale: float, shear: Sequence[float]
) -> list[float]:
    """[a, b, c, d, e, f]: the point (x, y) of the result is (ax + by + c, dx + ey + f) of the image.

    The image is moved by T(center) T(translate) R(angle) S(scale) Y(shear y) X(shear x) T(-center); this
    is the inverse.
    """
    turn, sx, sy = (math.radians(v) for v in (angle, *shear))
    a = math.cos(turn - sy) / math.cos(sy)
    b = -a * math.tan(sx) - math.sin(turn)
    c = math.sin(turn - sy) / math.cos(sy)
    d = -c * math.tan(sx) + math.cos(turn)
    back = np.array([[d, -b], [-c, a]]) / scale  # [[a, b], [c, d]] has determinant 1
    moved = np.asarray(center) - back @ (np.asarray(center) + np.asarray(translate))
    return [float(v) for row, shift in zip(back, moved, strict=True) for v in (*row, shift)]


def _expanded(matrix: list[float], height: int, width: int) -> tuple[int, int]:
    """The size of the smallest whole rectangle about the middle that holds the turned image."""
    a, b, c, d, e, f = matrix
    corners = [(x * width / 2, y * height / 2) for x in (-1, 1) for y in (-1, 1)]
    xs, ys = ([p * x + q * y + r for x, y in corners] for p, q, r in ((a, b, c), (d, e, f)))

    def span(values: list[float], middle: float) -> int:  # what is within 1e-4 of a whole number is that
        return math.ceil(max(values) + middle - 1e-4) - math.floor(min(values) + middle + 1e-4)

    return span(ys, height / 2), span(xs, width / 2)


def _mapped(img: Tensor, matrix: list[float], mode: InterpolationMode, fill: Fill, height: int, width: int) -> Tensor:
    """A tensor whose pixels are those at the affinely mapped places, both counted from the middle."""
    a, b, c, d, e, f = matrix
    y, x = np.mgrid[0:height, 0:width]
    x, y = x + 0.5 - width / 2, y + 0.5 - height / 2
    h, w = img.shape[-2:]
    return _sampled(img, a * x + b * y + c + (w - 1) / 2, d * x + e * y + f + (h - 1) / 2, mode, fill)


def _sampled(img: Tensor, x: np.ndarray, y: np.ndarray, mode: InterpolationMode, fill: Fill) -> Tensor:
    if mode not in (NEAREST, BILINEAR):
        raise ValueError(f"Interpolation mode '{mode.value}' is unsupported with tensor input")
    channels = get_dimensions(img)[0]
    colour = None if fill is None else np.atleast_1d(np.asarray(fill, np.float64))
    if colour is not None and len(colour) not in (1, channels):
        raise ValueError(
            "The number of elements in 'fill' cannot broadcast to match the number of channels of the image "
            f"({len(colour)} != {channels})"
        )

    def look(values: np.ndarray) -> np.ndarray:
        found = looked_up(values[None] if values.ndim == 2 else values, x, y, mode.value, colour)
        return found[0] if values.ndim == 2 else found

    return changed(img, look)


def perspective(
    img: Any,
    startpoints: Sequence[Sequence[int]],
    endpoints: Sequence[Sequence[int]],
    interpolation: Any = BILINEAR,
    fill: Fill = None,
) -> Any:
    """`img` so seen that four corners [x, y], given as upper left, upper right, lower right and lower left, come to lie
    at the endpoints."""
    mode = interpolation_mode(interpolation)
    _, height, width = get_dimensions(img)
    rows, goals = [], []
    for (u, v), (x, y) in zip(startpoints, endpoints, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        goals += [u, v]
    c = np.linalg.lstsq(np.array(rows, np.float64), np.array(goals, np.float64), rcond=None)[0].tolist()
    if not isinstance(img, Tensor):
        how = {"resample": PILLOW_CODES[mode.value], "fillcolor": _pillow_fill(fill, img)}
        return img.transform((width, height), pillow().Transform.PERSPECTIVE, c, **how)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    depth = c[6] * x + c[7] * y + 1
    return _sampled(
        img, (c[0] * x + c[1] * y + c[2]) / depth - 0.5, (c[3] * x + c[4] * y + c[5]) / depth - 0.5, mode, fill
    )
