"""What is done to an input gradient before it is stored, by the product that makes it and by a launch of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.check import EPS, NUMPY, randn
from tritongrad_kernels import convolution
from tritongrad_kernels.array import from_host


def bits_of(on: np.ndarray) -> np.ndarray:
    """[N,C,...] of booleans as ReLU bits: uint8 [pixels, C / 8]."""
    rows = np.moveaxis(on, 1, -1).reshape(-1, on.shape[1])
    return np.packbits(rows, axis=1, bitorder="little")


def near(got: Any, want: np.ndarray, dtype: str, terms: int) -> None:
    bound = 4 * EPS[dtype] * (2 + math.sqrt(terms)) * max(1.0, np.abs(want).max(initial=0.0))
    np.testing.assert_allclose(got.numpy().astype(np.float64), want, rtol=0, atol=bound)


def expected(dy: np.ndarray, w: np.ndarray, shape: tuple[int, ...], geometry: dict) -> np.ndarray:
    """The input gradient of a convolution in float64, by torch."""
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    forward = torch.nn.functional.conv3d if len(shape) == 5 else torch.nn.functional.conv2d
    y = forward(x, torch.tensor(w.astype(np.float64)), **geometry)
    return torch.autograd.grad(y, x, torch.tensor(dy.astype(np.float64)))[0].numpy()


def case(reason: str, x: tuple[int, ...], w: tuple[int, ...], **geometry: Any) -> Any:
    return pytest.param(x, w, {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **geometry}, id=reason)


CASES = [
    case("3x3, ragged tiles", (2, 24, 5, 6), (5, 24, 3, 3), padding=1),
    case("1x1, one pixel", (1, 8, 1, 1), (3, 8, 1, 1)),
    case("phases without taps", (2, 16, 5, 4), (4, 16, 1, 1), stride=2),
    case("whole tiles of groups", (1, 64, 4, 3), (32, 32, 3, 3), padding=1, groups=2),
    case("no images", (0, 8, 3, 3), (4, 8, 1, 1)),
    case("groups of 20 channels, bits that straddle them", (1, 40, 3, 2), (40, 20, 1, 1), groups=2),
    case("depthwise", (2, 16, 4, 3), (16, 1, 3, 3), padding=1, groups=16),
    case("a volume", (2, 16, 2, 3, 4), (3, 16, 2, 2, 2)),
]


def gradients(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, dtype: str) -> tuple[np.ndarray, ...]:
    """dy and weight for a convolution of an image of shape x, rounded, and its input gradient in float64."""
    rank = len(x) - 2
    window = [geometry["dilation"] * (k - 1) + 1 for k in w[2:]]
    sizes = [(n + 2 * geometry["padding"] - k) // geometry["stride"] + 1 for n, k in zip(x[2:], window, strict=True)]
    dy = randn(x[0], w[0], *sizes, seed=1).astype(NUMPY[dtype])
    weight = randn(*w, seed=2).astype(NUMPY[dtype])
    assert len(sizes) == rank
    return dy, weight, expected(dy, weight, x, geometry)


def kernel_geometry(rank: int, geometry: dict) -> tuple[Any, ...]:
    return (*((geometry[k],) * rank for k in ("stride", "padding", "dilation")), geometry["groups"])


@pytest.mark.parametrize("masked", [False, True], ids=["addend", "where bits are on"])
@pytest.mark.parametrize(("x", "w", "geometry"), CASES)
def test_an_addend(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, masked: bool, tiles: str) -> None:
    dy, weight, dx = gradients(x, w, geometry, "float32")
    addend, on = randn(*x, seed=3).astype(np.float32), randn(*x, seed=4) > 0
    addend[~on] = np.nan if masked else 0.0  # what does not count must not be looked at
    got = convolution.input_grad(
        from_host(dy), from_host(weight), x, *kernel_geometry(len(x) - 2, geometry),
        addend=from_host(addend), addend_bits=from_host(bits_of(on)) if masked else None,
    )  # fmt: skip
    assert got.is_channels_last
    near(got, dx + np.where(on, addend, 0), "float32", math.prod(w))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_an_addend_of_other_dtypes(dtype: str) -> None:
    """Products of two numbers of a few bits and their sums are exact, so nothing but the one rounding is left."""
    x, w, geometry = CASES[0].values
    dy, weight, _ = gradients(x, w, geometry, dtype)
    dy, weight = np.round(dy.astype(np.float64) * 4), np.round(weight.astype(np.float64) * 4)
    addend = randn(*x, seed=3).astype(NUMPY[dtype])
    arrays = (from_host(a.astype(NUMPY[dtype])) for a in (dy, weight))
    got = convolution.input_grad(*arrays, x, *kernel_geometry(2, geometry), addend=from_host(addend))
    exact = expected(dy, weight, x, geometry) + addend.astype(np.float64)
    rounded = exact.astype(np.float32 if dtype != "float64" else np.float64).astype(NUMPY[dtype])
    assert np.array_equal(got.numpy(), rounded)
