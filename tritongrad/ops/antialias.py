"""Interpolation of images by means of what each output covers: one axis after the other, a few elements an output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes, resample as kernel
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.resample import Band

# How far each filter reaches.
_REACH = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}


def _filter(mode: str, t: np.ndarray) -> np.ndarray:
    """The weight of what lies t from the middle: the triangle, Keys' cubic with A = -0.5, Lanczos' windowed sinc."""
    t = np.abs(t)
    if mode == "bilinear":
        return np.maximum(1.0 - t, 0.0)
    if mode == "lanczos":
        return np.where(t < 3, np.sinc(t) * np.sinc(t / 3), 0.0)
    near = (1.5 * t - 2.5) * t * t + 1.0
    far = ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


@lru_cache(maxsize=64)
def _bands(mode: str, size: int, positions: int, step: float, double: bool) -> tuple[Band, Band]:
    """What outputs take of elements, and the transpose.

    Output p is centred on step (p + 1/2) and covers the filter's reach, times `step` where that is more than 1; its
    weights are normalised. What lies outside has none.
    """
    stretch = max(step, 1.0)
    reach = _REACH[mode] * stretch
    centre = step * (np.arange(positions) + 0.5)
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + reach + 0.5).astype(np.int64), size)
    column = first + np.arange(max(int((end - first).max()), 1))[:, None]
    weights = np.where(column < end, _filter(mode, (column - centre + 0.5) / stretch), 0.0)
    total = weights.sum(0)
    weights = weights / np.where(total == 0, 1.0, total)
    readers: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for k, p in zip(*np.nonzero(weights), strict=True):
        readers[column[k, p]].append((int(p), weights[k, p]))
    start = np.array([min((p for p, _ in r), default=0) for r in readers])
    back = np.zeros((max(max((p for p, _ in r), default=0) - s + 1 for r, s in zip(readers, start, strict=True)), size))
    for h, found in enumerate(readers):
        for p, weight in found:
            back[p - start[h], h] = weight
    kind = np.float64 if double else np.float32
    return Band(first, weights.astype(kind)), Band(start, back.astype(kind))


def antialiased(x: Tensor, steps: Sequence[float], out: Sequence[int], mode: str) -> Tensor:
    """Images x [N, C, H, W] at `out` rows and columns, `steps` elements apart. The axis that shrinks more goes first.

    Between the two, half precision is kept in float32.
    """
    double, kind = x.dtype is dtypes.float64, x.dtype
    sizes = x.shape[2:]
    order = sorted((0, 1), key=lambda i: out[i] / sizes[i])
    for i, wanted in zip(order, (dtypes.accumulator(kind), kind), strict=True):
        forward, back = _bands(mode, sizes[i], out[i], steps[i], double)
        x = _banded(x, 2 + i, forward, back, wanted)
    return x


def _banded(x: Tensor, axis: int, band: Band, back: Band, kind: dtype) -> Tensor:
    own = x.dtype
    y = kernel.banded(x.array, axis, band, kind)
    return record(y, (x, lambda dy: _banded(dy, axis, back, band, own)))
