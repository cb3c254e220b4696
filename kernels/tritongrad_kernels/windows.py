"""Windows that move over an image, as convolution and pooling have them: how many fit, and what they reach."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

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


@functools.cache
def taps_inside(size: int, positions: int, window: int, stride: int, padding: int, dilation: int) -> int:
    """How many pairs of a window's position and a place in it lie on one of `size` rows, rather than on padding."""
    shifts = (r * dilation - padding for r in range(window))
    return sum(max(min((size - 1 - s) // stride, positions - 1) - max(-(s // stride), 0) + 1, 0) for s in shifts)


def touched(
    count: Callable[..., int], image: Array, sizes: Sequence[int], positions: Sequence[int], *geometry: Sequence[int]
) -> int:
    """Bytes of an image [N,C,...] of which `count` of the rows, columns and so on are touched.

    geometry  window, stride, padding, dilation, each for all axes
    """
    places = math.prod(map(count, sizes, positions, *geometry))
    return image.shape[0] * image.shape[1] * places * image.dtype.itemsize


@dataclass(frozen=True)
class Windows:
    """Windows along one axis.

    size, positions  elements and windows
    rule             (scale, shift, reach, unit, taps, step): window p reads floor((p scale + shift) / unit) and every
                     step-th element after it, before floor((p scale + reach) / unit) and at most `taps`
    counted          (first, end) of the elements that an average counts: more than there are where padding is counted
    readers          (scale, shift, unit, count): what reads element h is among the `count` windows from
                     floor(max(h scale + shift, 0) / unit) on
    read, reading    elements that any window reads, and windows that read any element
    """

    size: int
    positions: int
    rule: tuple[int, ...]
    counted: tuple[int, int]
    readers: tuple[int, ...]
    read: int
    reading: int


def sliding(
    size: int, positions: int, window: int, stride: int, padding: int, dilation: int = 1, count_padding: bool = False
) -> Windows:
    """Windows of `window` elements, `dilation` apart, that move by `stride` over a padded axis."""
    reach = (window - 1) * dilation
    counted = (-padding, size + padding) if count_padding else (0, size)
    geometry = (size, positions, window, stride, padding, dilation)
    return Windows(
        size, positions, (stride, -padding, reach + 1 - padding, 1, window, dilation), counted,
        (1, padding - reach + stride - 1, stride, reach // stride + 1), rows_read(*geometry),
        positions_reading(*geometry),
    )  # fmt: skip


def even(size: int, positions: int) -> Windows:
    """Windows that cover an axis evenly: p reads floor(p size / positions) .. ceil((p + 1) size / positions) - 1."""
    rule = (size, 0, size + positions - 1, max(positions, 1), longest(size, positions), 1)
    readers = (positions, 0, max(size, 1), longest(positions, size))
    return Windows(size, positions, rule, (0, size), readers, size if positions else 0, positions)


def longest(n: int, m: int) -> int:
    """The longest window when m of them cover n elements evenly: one starts at every multiple of gcd / m."""
    return -(-(n - math.gcd(n, m)) // m) + 1 if m else 0


def fractional(size: int, positions: int, window: int) -> Windows:
    """Windows of `window` elements whose starts depend on a draw; their `rule` gives only the taps."""
    gaps, room = positions - 1, size - window
    readers = (gaps, -(window + 1) * gaps, room, (window + 4) * gaps // room + 3) if gaps else (0, 0, 1, 1)
    return Windows(size, positions, (0, 0, 0, 1, window, 1), (0, size), readers, size, positions)


Volume = tuple[Windows, Windows, Windows]
"""The windows along depth, height and width; `alone` stands for an axis that is not there."""

alone = sliding(1, 1, 1, 1, 0)
