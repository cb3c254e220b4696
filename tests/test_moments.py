"""The moments a convolution leaves beside its output: those of the values it stored, taken by numpy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tests.check import EPS, randn
from tests.conftest import TINY
from tritongrad_kernels import conv, convolution, dtypes, elementwise, launch, moments as moments_of, norm
from tritongrad_kernels.array import Array
from tritongrad_kernels.prologue import Prologue


def arrays(x: tuple[int, ...], w: tuple[int, ...], dtype: str, mean: float = 0.0) -> tuple[Array, Array, Array]:
    """Image, filters and a bias that moves the output's mean from about 0 to `mean`."""
    values = randn(*x, seed=1), randn(*w, seed=2, std=np.prod(w[1:]) ** -0.5), randn(w[0], seed=3, mean=mean)
    x_, w_, b = (tg.tensor(a, dtype=getattr(tg, dtype)).array for a in values)
    return x_, w_, b


def merged(moments: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean and squares per channel of all runs."""
    count, mean, squares = np.moveaxis(moments.numpy().astype(np.float64), 1, 0)
    total = count.sum(0)
    centre = (count * mean).sum(0) / total
    return total, centre, (squares + count * (mean - centre) ** 2).sum(0)


def check_moments(y: Array, moments: Array | None) -> None:
    assert moments is not None
    stored = y.numpy().astype(np.float64)
    axes = (0, *range(2, stored.ndim))
    count, mean, squares = merged(moments)
    eps = EPS["float64"] if y.dtype.name == "float64" else EPS["float32"]
    assert (count == stored[:, 0].size).all()
    want = stored.mean(axes)
    assert np.abs(mean - want).max() <= 8 * eps * np.abs(stored).max()
    want = stored.var(axes) * stored[:, 0].size
    # A tile's mean is off by a few eps of it: that counts once against the deviations, where a sum of squares would
    # lose digits of the whole square.
    slack = stored[:, 0].size * stored.std(axes) * 4 * eps * np.abs(stored).max()
    assert (np.abs(squares - want) <= 64 * eps * want + slack).all()


CASES: list[Any] = [
    pytest.param((1, 20, 6, 5), (18, 20, 2, 2), {"padding": 1}, "float32", id="ragged in pixels and channels"),
    pytest.param((2, 16, 7, 7), (16, 16, 2, 2), {"stride": 2}, "bfloat16", id="rounded, with stride"),
    pytest.param((2, 40, 4, 4), (40, 20, 1, 1), {"groups": 2}, "float16", id="groups"),
    pytest.param((1, 16, 2, 2), (4, 16, 2, 2), {}, "float64", id="one pixel"),
]


@pytest.mark.parametrize(("x", "w", "options", "dtype"), CASES)
def test_moments_are_those_of_the_stored_output(
    x: tuple[int, ...], w: tuple[int, ...], options: dict, dtype: str, tiles: str
) -> None:
    stride, padding, groups = (options.get(k, v) for k, v in (("stride", 1), ("padding", 0), ("groups", 1)))
    geometry = (stride, stride), (padding, padding), (1, 1), groups
    given = arrays(x, w, dtype, mean=1000.0)
    y, moments = convolution.with_moments(*given, *geometry)
    check_moments(y, moments)
    assert np.array_equal(y.numpy(), convolution.convolution(*given, *geometry).numpy())


def test_a_row_of_pixels_has_moments() -> None:
    y, moments = convolution.with_moments(*arrays((2, 16, 9), (5, 16, 3), "float32"), (2,), (1,), (1,), 1)
    assert y.shape == (2, 5, 5)
    check_moments(y, moments)


def test_few_programs_share_the_tiles_of_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments_of, "PROGRAMS", 5)
    given = arrays((1, 16, 40, 40), (20, 16, 1, 1), "float32")
    with launch.tiles(conv2d={"BO": 16, "BP": 64, "BC": 16}):
        y, moments = convolution.with_moments(*given, (1, 1), (0, 0), (1, 1), 1)
    assert moments is not None
    assert moments.shape == (2, 3, 20)
    check_moments(y, moments)


def test_kernels_without_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = arrays((1, 16, 2, 3, 3), (4, 16, 1, 1, 1), "float32")
    assert convolution.with_moments(*volume, (1,) * 3, (0,) * 3, (1,) * 3, 1)[1] is None
    depthwise = arrays((1, 4, 3, 3), (4, 1, 3, 3), "float32")
    assert convolution.with_moments(*depthwise, (1, 1), (1, 1), (1, 1), 4)[1] is None
    monkeypatch.setattr(conv, "MOST_PIXELS", 20)
    y, moments = convolution.with_moments(*arrays((3, 16, 4, 4), (4, 16, 1, 1), "float32"), (1, 1), (0, 0), (1, 1), 1)
    assert y.shape == (3, 4, 4, 4)
    assert moments is None


PROLOGUES: list[Any] = [
    pytest.param((2, 20, 3, 5), (18, 20, 1, 1), {}, "float16", "interpret", id="by pointers, ragged"),
    pytest.param((2, 16, 3, 4), (16, 16, 1, 1), {"stride": (2, 1)}, "bfloat16", "sm_80", id="whole tiles, with stride"),
    pytest.param((2, 32, 3, 5), (24, 32, 1, 1), {}, "bfloat16", "sm_90", id="by TMA"),
    pytest.param((2, 16, 5, 4), (8, 16, 1, 1), {"stride": (2, 3)}, "float16", "sm_90", id="by TMA, with stride"),
]


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(("x", "w", "options", "dtype", "column"), PROLOGUES)
def test_a_norm_before_it_is_applied_to_the_bit(
    x: tuple[int, ...], w: tuple[int, ...], options: dict, dtype: str, column: str, bare: bool
) -> None:
    image, filters, bias = arrays(x, w, dtype)
    mean, rstd, weight, shift = (tg.tensor(randn(x[1], seed=k), dtype=tg.float32).array for k in range(4))
    if bare:
        weight = shift = None
    geometry = options.get("stride", (1, 1)), (0, 0), (1, 1), 1
    assert convolution.takes_prologue(w, filters.dtype, geometry[1], 1)
    rows = elementwise.contiguous(image.permute((0, 2, 3, 1)))
    flat = rows.view((rows.size // x[1], x[1]), (x[1], 1))
    y, _ = norm.apply(flat, norm.Statistics(eps=0.0, mean=mean, rstd=rstd), weight, shift, relu=not bare)
    normed = y.view(rows.shape, rows.strides).permute((0, 3, 1, 2))
    with launch.column(column), launch.tiles(**{name: row for name, row in TINY.items() if name.startswith("conv2d")}):
        want, _ = convolution.with_moments(normed, filters, bias, *geometry)
        prologue = Prologue(mean, rstd, weight, shift, relu=not bare)
        got, moments = convolution.with_moments(image, filters, bias, *geometry, prologue=prologue)
    assert np.array_equal(got.numpy(), want.numpy())
    check_moments(got, moments)


def test_what_takes_no_prologue() -> None:
    half = dtypes.float16
    assert not convolution.takes_prologue((16, 16, 1, 1), dtypes.float32, (0, 0), 1)
    assert not convolution.takes_prologue((16, 16, 3, 3), half, (1, 1), 1)
    assert not convolution.takes_prologue((16, 16, 1, 1), half, (1, 0), 1)
    assert not convolution.takes_prologue((32, 16, 1, 1), half, (0, 0), 2)
    assert not convolution.takes_prologue((4, 1, 1, 1), half, (0, 0), 4)
    assert not convolution.takes_prologue((16, 16, 1, 1, 1), half, (0, 0, 0), 1)
