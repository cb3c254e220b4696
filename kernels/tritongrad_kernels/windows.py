"""Windows that move over an image, as convolution and pooling have them: how many fit, and what they reach."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence

from tritongrad_kernels.array import Array

Pair = tuple[int, int]
Triple = tuple[int, int, int]


def output_size(size: int, window: int, stride: int, padding: int, dilation: int) -> int:
    """How many window positions fit along one axis; 0 or less where not even one does."""
    return (size + 2 * padding - dilation * (window - 1) - 1) // stride + 1


def output_sizes(sizes: Sequence[int], window: Sequence[int], *geometry: Sequence[int]) -> tuple[int, ...]:
    """`output_size` along each axis; `geometry` is stride, padding and dilation."""
    return tuple(map(output_size, sizes, window, *geometry))


def _union(intervals: Iterable[tuple[int, int]]) -> int:
    """How many integers from 0 on lie in at least one of these intervals (first, last)."""
    count, end = 0, -1
    for first, last in sorted(intervals):
        count += max(last - max(first, end + 1) + 1, 0)
        end = max(end, last)
    return count


@functools.cache
def rows_read(size: int, positions: int, window: int, stride: int, padding: int, dilation: int) -> int:
    """How many of `size` rows at least one of a window's `positions` reads."""
    found: dict[int, list[tuple[int, int]]] = {}  # the k of rows stride k + phase, by phase
    for r in range(window):
        k, phase = divmod(r * dilation - padding, stride)
        found.setdefault(phase, []).append((max(k, 0), min(k + positions - 1, (size - 1 - phase) // stride)))
    return sum(map(_union, found.values()))


@functools.cache
def positions_reading(size: int, positions: int, window: int, stride: int, padding: int, dilation: int) -> int:
    """How many of a window's `positions` read at least one of `size` rows: the others see only padding."""
    shifts = [r * dilation - padding for r in range(window)]
    return _union((max(-(s // stride), 0), min((size - 1 - s) // stride, positions - 1)) for s in shifts)


def touched(
    count: Callable[..., int], image: Array, sizes: Sequence[int], positions: Sequence[int], *geometry: Sequence[int]
) -> int:
    """Bytes of an image [N,C,...] of which `count` of the rows, columns and so on are touched.

    geometry  window, stride, padding, dilation, each for all axes
    """
    places = math.prod(map(count, sizes, positions, *geometry))
    return image.shape[0] * image.shape[1] * places * image.dtype.itemsize
