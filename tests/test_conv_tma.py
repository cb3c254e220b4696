"""Convolutions through descriptors, as GPUs with TMA have them, in the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.check import EPS
from tests.conftest import TINY
from tests.test_moments import arrays, check_moments
from tritongrad_kernels import conv_tma, convolution, launch
from tritongrad_kernels.array import Array


@pytest.fixture(autouse=True)
def _hopper() -> Iterator[None]:
    with launch.column("sm_90"):
        yield


TMA = {name: row for name, row in TINY.items() if name.startswith("conv2d")}


def reference(x: Array, w: Array, bias: Array | None, *geometry: Any) -> np.ndarray:
    x_, w_, b = (None if a is None else torch.tensor(a.numpy().astype(np.float64)) for a in (x, w, bias))
    return torch.nn.functional.conv2d(x_, w_, b, *geometry).numpy()


def check_forward(
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    dtype: str = "bfloat16",
    bias: bool = True,
    kernel: str = "_conv2d_tma",
    groups: int = 1,
) -> None:
    image, filters, b = arrays(x, w, dtype)
    given, geometry = (image, filters, b if bias else None), (stride, padding, dilation, groups)
    want = reference(*given, *geometry)
    with launch.recording() as log:
        y = convolution.convolution(*given, *geometry)
    assert [told.kernel for told in log if told.kernel.startswith("_conv")] == [kernel]
    error = np.abs(y.numpy().astype(np.float64) - want).max()
    assert y.shape == want.shape
    assert error <= 2 * EPS[dtype] * np.abs(want).max()
    same, moments = convolution.with_moments(*given, *geometry)
    assert np.array_equal(same.numpy(), y.numpy())
    check_moments(same, moments)


CASES = {
    "one row of pixels": dict(x=(3, 16, 5, 5), w=(16, 16, 1, 1)),
    "1x1 with stride, sides odd": dict(x=(2, 32, 7, 5), w=(24, 32, 1, 1), stride=(2, 3), bias=False),
    "3x3, images in a box, channels not a tile": dict(x=(3, 16, 5, 5), w=(24, 16, 3, 3), padding=(1, 1)),
    "several blocks of channels": dict(x=(1, 32, 3, 4), w=(24, 32, 2, 2), padding=(1, 1), dtype="float16"),
    "stride 2": dict(x=(2, 16, 8, 12), w=(8, 16, 3, 3), stride=(2, 2), padding=(1, 1)),
    "one side strided": dict(x=(1, 16, 9, 5), w=(8, 16, 2, 3), stride=(3, 1), padding=(0, 2)),
    "dilation and stride": dict(x=(1, 16, 8, 8), w=(8, 16, 3, 2), stride=(2, 2), padding=(3, 1), dilation=(3, 2)),
    "padding beyond the window": dict(x=(1, 16, 3, 3), w=(8, 16, 2, 2), padding=(4, 4)),
    "one pixel": dict(x=(1, 16, 1, 1), w=(8, 16, 3, 3), padding=(1, 1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_forward(case: dict) -> None:
    with launch.tiles(**TMA):
        check_forward(**case)


def test_tiles_of_the_table() -> None:
    """One for each row: wide, long and narrow."""
    for channels, filters, window in ((64, 136, 1), (128, 72, 3), (16, 64, 3)):
        check_forward((2, channels, 4, 4), (filters, channels, window, window), padding=(window // 2,) * 2)


REFUSED = {
    "single precision": dict(x=(1, 16, 4, 4), w=(8, 16, 3, 3), dtype="float32"),
    "channels that fill no block": dict(x=(1, 24, 4, 4), w=(8, 24, 3, 3)),
    "filters whose rows are no 16 bytes": dict(x=(1, 16, 4, 4), w=(4, 16, 3, 3)),
    "a stride that leaves a rest": dict(x=(1, 16, 5, 5), w=(8, 16, 3, 3), stride=(2, 2)),
    "groups": dict(x=(1, 32, 4, 4), w=(32, 16, 3, 3), groups=2),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_goes_by_pointers(case: dict) -> None:
    check_forward(**case, kernel="_conv2d")


def test_boxes_fit_the_images_of_a_resnet() -> None:
    sides = {56: (2, 8, 8), 28: (8, 4, 4), 14: (32, 2, 2), 7: (128, 1, 1)}
    assert {side: conv_tma.box_sides(256, side, side, 128) for side in sides} == sides
    assert conv_tma.box_sides(1, 1, 1000, 256) == (1, 1, 256)
    assert conv_tma.box_sides(1, 7, 7, 128) == (2, 8, 8)
