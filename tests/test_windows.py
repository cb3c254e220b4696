"""What windows reach of an image, counted without going over every one, against going over every one."""

from __future__ import annotations

import numpy as np

from tritongrad_kernels import windows
from tritongrad_kernels.launch import cdiv


def test_rows_that_windows_read() -> None:
    for case in np.random.default_rng(0).integers([0, 0, 1, 1, 0, 1], [14, 10, 6, 6, 6, 5], (3000, 6)).tolist():
        size, positions, window, stride, padding, dilation = case
        reads = [{p * stride + r * dilation - padding for r in range(window)} for p in range(positions)]
        inside = [{row for row in rows if 0 <= row < size} for rows in reads]
        assert windows.rows_read(*case) == len(set().union(*inside)), case
        assert windows.taps_inside(*case) == sum(map(len, inside)), case
        assert windows.positions_reading(*case) == sum(map(bool, inside)), case


def test_counting_takes_no_longer_for_more_rows() -> None:
    assert windows.rows_read(2**40, 2**39, 3, 2, 1, 1) == 2**40
    assert windows.positions_reading(2**40, 2**39, 3, 2, 1, 1) == 2**39


def test_the_longest_of_windows_that_cover_evenly() -> None:
    for n in range(30):
        for m in range(30):
            assert windows.longest(n, m) == max((cdiv((i + 1) * n, m) - i * n // m for i in range(m)), default=0)
