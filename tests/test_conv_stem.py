"""The first convolution of a network on GPUs with TMA: an image of few channels, given as users give it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tests.check import EPS, NUMPY, randn
from tests.conftest import TINY
from tests.test_moments import check_moments
from tritongrad_kernels import conv_stem, convolution, dtypes, launch
from tritongrad_kernels.array import Array, from_host
from tritongrad_kernels.elementwise import contiguous

ROWS = {name: TINY[name] for name in ("conv2d_tma_narrow", "haloed")}


@pytest.fixture(autouse=True)
def _hopper() -> Iterator[None]:
    with launch.column("sm_90"), launch.tiles(**ROWS):
        yield


def given(x: tuple[int, ...], w: tuple[int, ...], dtype: str = "bfloat16") -> tuple[Array, Array, Array]:
    """An image of float32 in the order [N, C, H, W], filters and a bias of `dtype`."""
    image = from_host(randn(*x, seed=1).astype(np.float32))
    filters, bias = (from_host(randn(*s, seed=2).astype(NUMPY[dtype])) for s in (w, w[:1]))
    return image, filters, bias


def reference(x: Array, w: Array, bias: Array, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    rounded = x.numpy().astype(w.dtype.numpy)
    as_torch = (torch.tensor(a.astype(np.float64)) for a in (rounded, w.numpy(), bias.numpy()))
    return torch.nn.functional.conv2d(*as_torch, stride, padding, dilation).numpy()


CASES = {
    "7x7 stride 2 of a ResNet": dict(x=(2, 3, 9, 12), w=(8, 3, 7, 7), stride=(2, 2), padding=(3, 3)),
    "3x3 of a small image": dict(x=(1, 3, 5, 6), w=(24, 3, 3, 3), padding=(1, 1), dtype="float16"),
    "patches of one channel": dict(x=(2, 1, 8, 8), w=(8, 1, 4, 4), stride=(4, 4)),
    "five channels, rows apart": dict(x=(1, 5, 9, 4), w=(8, 5, 3, 2), stride=(3, 2), padding=(2, 0), dilation=(2, 1)),
    "rows and columns no window reaches": dict(x=(1, 2, 8, 8), w=(8, 2, 2, 2), stride=(3, 4)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_stem(case: dict) -> None:
    x, w, bias = given(case["x"], case["w"], case.get("dtype", "bfloat16"))
    geometry = [case.get(k, default) for k, default in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1)))]
    want = reference(x, w, bias, *geometry)
    with launch.recording() as log:
        y, moments = convolution.with_moments(x, w, bias, *geometry, 1)
    assert [told.kernel for told in log] == ["_haloed", "_haloed", "_conv2d_tma"]
    assert log[-1].flops == 2 * y.size * np.prod(case["w"][1:])
    assert y.dtype is w.dtype
    assert np.abs(y.numpy().astype(np.float64) - want).max() <= 2 * EPS[w.dtype.name] * np.abs(want).max()
    check_moments(y, moments)


def test_an_image_is_prepared_once_whatever_its_order() -> None:
    x, w, bias = given((2, 3, 8, 8), (8, 3, 3, 3))
    geometry = (2, 2), (1, 1), (1, 1), 1
    backwards = contiguous(x.permute((3, 2, 1, 0))).permute((3, 2, 1, 0))
    image = convolution.stem_image(backwards, w.shape, w.dtype, *geometry)
    assert image is not None
    assert image.dtype is w.dtype
    with launch.recording() as log:
        y, _ = convolution.with_moments(x, w, bias, *geometry, image=image)
    assert [told.kernel for told in log] == ["_haloed", "_conv2d_tma"]  # of the filters
    assert np.array_equal(y.numpy(), convolution.convolution(x, w, bias, *geometry).numpy())


def test_the_same_pixel_everywhere_is_read_once() -> None:
    x, w, bias = given((2, 3, 1, 1), (8, 3, 3, 3))
    wide = x.expand((2, 3, 6, 6))
    geometry = (1, 1), (1, 1), (1, 1)
    y = convolution.convolution(wide, w, bias, *geometry, 1)
    want = reference(wide, w, bias, *geometry)
    assert np.abs(y.numpy().astype(np.float64) - want).max() <= 2 * EPS["bfloat16"] * np.abs(want).max()


REFUSED: dict[str, dict] = {
    "nine channels": dict(x=(1, 9, 4, 4), w=(8, 9, 3, 3)),
    "seven filters": dict(w=(7, 3, 3, 3)),
    "columns apart": dict(dilation=(1, 2)),
    "a row of 17 pixels": dict(x=(1, 3, 20, 20), w=(8, 3, 1, 17), stride=(2, 2)),
    "groups": dict(x=(1, 8, 4, 4), w=(8, 4, 3, 3), groups=2),
    "single precision": dict(kind=dtypes.float32),
    "no images": dict(x=(0, 3, 4, 4)),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_goes_without_a_stem_image(case: dict) -> None:
    options = dict(x=(1, 3, 8, 8), w=(8, 3, 3, 3), kind=dtypes.bfloat16, stride=(1, 1), dilation=(1, 1), groups=1)
    options |= case
    x = from_host(np.zeros(options["x"], ml_dtypes.bfloat16))
    geometry = options["stride"], (1, 1), options["dilation"], options["groups"]
    assert convolution.stem_image(x, options["w"], options["kind"], *geometry) is None


def test_more_pixels_than_are_counted_go_without_a_stem_image(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, _ = given((2, 3, 8, 8), (8, 3, 3, 3))
    geometry = (1, 1), (1, 1), (1, 1), 1
    assert convolution.stem_image(x, w.shape, w.dtype, *geometry) is not None
    monkeypatch.setattr(conv_stem, "MOST_PIXELS", 2 * 10 * 10)
    assert convolution.stem_image(x, w.shape, w.dtype, *geometry) is None
    with launch.column("sm_80"):
        assert convolution.stem_image(x, w.shape, w.dtype, *geometry) is None
