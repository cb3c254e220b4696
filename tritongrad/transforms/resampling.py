"""Values between pixels, in numpy: changing an image's size, and looking it up at given places.

Images are arrays whose last two axes are height and width.
"""

from __future__ import annotations

import numpy as np

from tritongrad.transforms.image import back_in, in_float


def scaled(image: np.ndarray, height: int, width: int, mode: str, antialias: bool) -> np.ndarray:
    """`image` in another size. `mode` is nearest, nearest-exact, bilinear or bicubic.

    The pixels of the result lie at (i + 1/2) n / m - 1/2 in the image. Nearest-exact takes the pixel nearest to that,
    nearest pixel floor(i n / m). Otherwise a pixel is a weighted mean of those near it, along one axis and then
    the other: with `antialias` of all that it covers when an image gets smaller.
    """
    if mode in ("nearest", "nearest-exact"):
        rows, columns = (_nearest(n, m, mode) for n, m in zip(image.shape[-2:], (height, width), strict=True))
        return image[..., rows[:, None], columns]
    values = in_float(image)
    kind = values.dtype
    for axis, size in ((-1, width), (-2, height)):
        matrix = _weights(values.shape[axis], size, mode, antialias).astype(kind)
        values = values @ matrix.T if axis == -1 else matrix @ values
    if image.dtype.kind in "iu":  # bicubic weights may be negative
        limits = np.iinfo(image.dtype)
        values = values.clip(limits.min, limits.max)
    return back_in(image.dtype, values)


def _nearest(count: int, wanted: int, mode: str) -> np.ndarray:
    shift = 0.5 if mode == "nearest-exact" else 0.0
    return np.minimum(np.floor((np.arange(wanted) + shift) * (count / wanted)).astype(np.int64), count - 1)


def _weights(count: int, wanted: int, mode: str, antialias: bool) -> np.ndarray:
    """[wanted, count]: how much of each pixel is in each of the result. Rows sum to 1."""
    step = count / wanted
    places = (np.arange(wanted) + 0.5) * step - 0.5
    stretch = max(step, 1.0) if antialias else 1.0
    if antialias:  # pixels outside have no weight
        weights = _kernel((np.arange(count) - places[:, None]) / stretch, mode, -0.5)
        return weights / weights.sum(1, keepdims=True)
    weights = np.zeros((wanted, count))
    first = np.floor(places).astype(np.int64)
    for k in range(-1, 3):  # pixels outside are those of the edge
        np.add.at(
            weights, (np.arange(wanted), (first + k).clip(0, count - 1)), _kernel(first + k - places, mode, -0.75)
        )
    return weights


def _kernel(x: np.ndarray, mode: str, a: float) -> np.ndarray:
    """Triangle, or cubic convolution (Keys 1981)."""
    x = np.abs(x)
    if mode == "bilinear":
        return np.maximum(0.0, 1.0 - x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def looked_up(image: np.ndarray, x: np.ndarray, y: np.ndarray, mode: str, fill: np.ndarray | None) -> np.ndarray:
    """`image` [..., C, H, W] at the places x, y [h, w] in pixels, counted from the centre of the first.

    Outside there is `fill`, one value for each channel (None: 0). `mode` is nearest (ties to even) or bilinear, which
    blends with the fill across half a pixel beyond the edge.
    """
    values = in_float(image)
    background = np.zeros(1, values.dtype) if fill is None else np.asarray(fill, values.dtype)
    background = background.reshape(-1, 1, 1)
    if mode == "nearest":
        inside, found = _at(image, np.rint(x), np.rint(y))
        return np.where(inside, found, background.astype(image.dtype))
    left, top = np.floor(x), np.floor(y)
    total, weight = np.zeros((*values.shape[:-2], *x.shape), values.dtype), np.zeros(x.shape)
    for row in (top, top + 1):
        for column in (left, left + 1):
            share = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            inside, found = _at(values, column, row)
            share = np.where(inside, share, 0.0)
            total += (share * found).astype(values.dtype)
            weight += share
    return back_in(image.dtype, total + ((1 - weight) * background).astype(values.dtype))


def _at(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape[-2:]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    column, row = (np.where(inside, v, 0).astype(np.int64) for v in (x, y))
    return inside, image[..., row, column]


def blurred(image: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """`image` convolved with a row and a column of weights, mirrored about the centres of its edge pixels."""
    values = in_float(image)
    for axis, weights in ((-1, across), (-2, down)):
        reach, count = len(weights) // 2, values.shape[axis]
        around = [(0, 0)] * values.ndim
        around[axis] = (reach, reach)
        padded = np.pad(values, around, mode="reflect")
        total = np.zeros_like(values)
        for k, weight in enumerate(weights.astype(values.dtype)):
            total += weight * np.take(padded, np.arange(k, k + count), axis=axis)
        values = total
    return back_in(image.dtype, values)
