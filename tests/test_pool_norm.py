"""Gradients of a norm that only a max pooling reads: those of the three launches that store the image's gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tests.check import randn
from tritongrad.tensor import Tensor
from tritongrad_kernels import launch, norm, norm_grad, pool, pool_norm
from tritongrad_kernels.array import Array
from tritongrad_kernels.windows import Pair

Geometry = tuple[Pair, Pair, Pair, Pair]


def case(
    reason: str, shape: tuple[int, ...], relu: bool, window: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Any:
    pairs = ((v, v) if isinstance(v, int) else v for v in (window, stride, padding, dilation))
    return pytest.param(shape, relu, tuple(pairs), id=reason)


CASES = [
    case("the 3x3 stride 2 of a ResNet", (2, 5, 5, 4), True, 3, 2, 1),
    case("no ReLU, windows that do not overlap, and pixels under none", (1, 3, 5, 6), False, 2, 3),
    case("more windows over a pixel than are read at once, dilated", (1, 3, 4, 5), True, (2, 4), 1, (1, 2), (2, 1)),
    case("windows that see only padding", (1, 4, 2, 3), False, 1, 1, 1),
    case("int32 indices", (1, 2, 3, 4), True, 16, 8, 8),
    case("one pixel", (1, 1, 1, 1), True, 1),
]


class Site:
    """An image, its norm, and what a pooling of the result leaves and is given back."""

    def __init__(self, shape: tuple[int, ...], geometry: Geometry, dtype: str, relu: bool) -> None:
        n, c, h, w = shape
        kind = getattr(tg, dtype)
        self.parameters = tuple(tg.tensor(randn(c, seed=k, mean=0.5)).to(wide(kind)).array for k in (1, 2))
        x = tg.tensor(randn(n, h, w, c, mean=3).round(1)).to(kind).array  # with equals in a window
        self.rows = x.view((n * h * w, c), (c, 1))
        self.x = x.permute((0, 3, 1, 2))
        self.statistics = norm.Statistics(1e-5, norm.moments(self.rows))
        self.statistics.settle()
        size = tuple(pool.pooled_size(*numbers, False) for numbers in zip((h, w), *geometry, strict=True))
        pending = norm.Pending(self.statistics, *self.parameters, relu)
        y, self.index = pool.max_pool2d(self.x, (size[0], size[1]), *geometry, prologue=pending)
        dy = randn(*[y.shape[axis] for axis in (0, 2, 3, 1)], seed=5)
        self.dy = tg.tensor(dy).to(kind).array.permute((0, 3, 1, 2))
        self.geometry, self.relu = geometry, relu

    def apart(self) -> tuple[Any, ...]:
        """What `norm_grad` is given where the gradient of the image is stored first."""
        image = pool.max_pool2d_input_grad(self.dy, self.index, self.x.shape, *self.geometry)
        g = image.permute((0, 2, 3, 1)).reshaped(self.rows.shape)
        return g, self.rows, self.statistics, *self.parameters

    def at_once(self) -> tuple[Any, ...]:
        return self.dy, self.index, self.x, self.statistics, *self.parameters


def wide(kind: tg.dtype) -> tg.dtype:
    return tg.float64 if kind is tg.float64 else tg.float32


def values(a: Array) -> list:
    return Tensor(a).tolist()


def total(sums: Array) -> np.ndarray:
    return np.asarray(values(sums)).sum(0)


def compare(shape: tuple[int, ...], geometry: Geometry, dtype: str, relu: bool) -> None:
    """The same sums but for their order; given the same sums, or none, the same gradient to the bit."""
    site = Site(shape, geometry, dtype, relu)
    how = "recompute" if relu else None
    apart, at_once = site.apart(), site.at_once()
    want = norm_grad.grad_sums(*apart, relu=how)
    sums = pool_norm.grad_sums(*at_once, *geometry, relu=relu)
    assert sums.shape[1:] == want.shape[1:] and sums.dtype is want.dtype
    bound = {"float64": 2.0**-53}.get(dtype, 2.0**-24) * 16 * (2 + math.sqrt(len(values(site.rows))))
    np.testing.assert_allclose(total(sums), total(want), rtol=0, atol=bound * max(1, np.abs(total(want)).max()))
    for given in (sums, None):
        expected = norm_grad.input_grad(*apart, given, relu=how)
        found = pool_norm.input_grad(*at_once, given, *geometry, relu=relu)
        assert found.shape == shape and found.is_channels_last and found.dtype is site.x.dtype
        assert values(found.permute((0, 2, 3, 1))) == values(
            expected.view((shape[0], *shape[2:], shape[1]), found.permute((0, 2, 3, 1)).strides)
        )


@pytest.mark.parametrize(("shape", "relu", "geometry"), CASES)
def test_gradients(shape: tuple[int, ...], relu: bool, geometry: Geometry, tiles: str) -> None:
    compare(shape, geometry, "float32", relu)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_types(dtype: str) -> None:
    """In halves, a pixel that several windows chose has a gradient that is rounded before it goes on."""
    compare((2, 5, 7, 6), ((3, 3), (1, 1), (1, 1), (1, 1)), dtype, True)


def test_pixels_that_32_bits_cannot_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_norm, "SHORT", 1)
    compare((2, 5, 7, 6), ((3, 3), (2, 2), (1, 1), (1, 1)), "float32", True)


def test_images_in_another_order_and_no_parameters() -> None:
    """dy and x that do not lie channels-last are copied; a norm without weight and bias is one of ones and zeros."""
    site = Site((2, 5, 7, 6), ((3, 3), (2, 2), (1, 1), (1, 1)), "float32", True)
    plain = (site.statistics, None, None)
    dy, x = (Tensor(a).contiguous().array for a in (site.dy, site.x))
    want, found = (
        pool_norm.input_grad(a, site.index, b, *plain, None, *site.geometry, relu=True)
        for a, b in ((site.dy, site.x), (dy, x))
    )
    assert values(found) == values(want)
    expected = norm_grad.input_grad(*site.apart()[:2], *plain, None, relu="recompute")
    assert values(want.permute((0, 2, 3, 1)).reshaped(site.rows.shape)) == values(expected)


def test_the_gradient_of_the_image_is_never_stored() -> None:
    """Two launches, which read dy and the indices, and x, twice, and write dx."""
    site = Site((2, 8, 8, 8), ((3, 3), (2, 2), (1, 1), (1, 1)), "bfloat16", True)
    with launch.recording() as log:
        sums = pool_norm.grad_sums(*site.at_once(), *site.geometry, relu=True)
        dx = pool_norm.input_grad(*site.at_once(), sums, *site.geometry, relu=True)
    read = site.dy.nbytes + site.index.nbytes + site.x.nbytes + 4 * 8 * 4 + sums.nbytes
    assert [(one.kernel, one.bytes) for one in log] == [
        ("_pooled_grad_sums", read),
        ("_pooled_input_grad", read + dx.nbytes),
    ]
