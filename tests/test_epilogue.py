"""What is done to an input gradient before it is stored, by the product that makes it and by a launch of its own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.check import EPS, NUMPY, randn
from tritongrad_kernels import convolution, dtypes, launch
from tritongrad_kernels.array import from_host
from tritongrad_kernels.epilogue import Through


def bits_of(on: np.ndarray) -> np.ndarray:
    """[N,C,...] of booleans as ReLU bits: uint8 [pixels, C / 8]."""
    rows = np.moveaxis(on, 1, -1).reshape(-1, on.shape[1])
    return np.packbits(rows, axis=1, bitorder="little")


def near(got: Any, want: np.ndarray, dtype: str, terms: int) -> None:
    bound = 4 * EPS[dtype] * (2 + math.sqrt(terms)) * max(1.0, np.abs(want).max(initial=0.0))
    values = got if isinstance(got, np.ndarray) else got.numpy()
    np.testing.assert_allclose(values.astype(np.float64), want, rtol=0, atol=bound)


def expected(dy: np.ndarray, w: np.ndarray, shape: tuple[int, ...], geometry: dict) -> np.ndarray:
    """The input gradient of a convolution in float64, by torch."""
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    forward = torch.nn.functional.conv3d if len(shape) == 5 else torch.nn.functional.conv2d
    y = forward(x, torch.tensor(w.astype(np.float64)), **geometry)
    return torch.autograd.grad(y, x, torch.tensor(dy.astype(np.float64)))[0].numpy()


def case(reason: str, x: tuple[int, ...], w: tuple[int, ...], **geometry: Any) -> Any:
    return pytest.param(x, w, {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **geometry}, id=reason)


CASES = [
    case("3x3, ragged tiles", (2, 24, 3, 5), (5, 24, 3, 3), padding=1),
    case("1x1, one pixel", (1, 8, 1, 1), (3, 8, 1, 1)),
    case("phases without taps", (2, 16, 5, 4), (4, 16, 1, 1), stride=2),
    case("whole tiles of groups", (1, 64, 3, 2), (32, 32, 1, 2), groups=2),
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


@pytest.mark.parametrize(("x", "w", "geometry"), CASES)
def test_an_addend(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, tiles: str) -> None:
    dy, weight, dx = gradients(x, w, geometry, "float32")
    addend, on = randn(*x, seed=3).astype(np.float32), randn(*x, seed=4) > 0
    operands: Any = from_host(dy), from_host(weight), x, *kernel_geometry(len(x) - 2, geometry)
    whole = convolution.input_grad(*operands, addend=from_host(addend))
    assert whole.is_channels_last
    near(whole, dx + addend, "float32", math.prod(w))
    addend[~on] = np.nan  # what does not count must not be looked at
    got = convolution.input_grad(*operands, addend=from_host(addend), addend_bits=from_host(bits_of(on)))
    near(got, dx + np.where(on, addend, 0), "float32", math.prod(w))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_an_addend_of_other_dtypes(dtype: str) -> None:
    """Products of two numbers of a few bits and their sums are exact, so nothing but the roundings is left: as if the
    gradient had been stored before."""
    x, w, geometry = CASES[0].values
    dy, weight, _ = gradients(x, w, geometry, dtype)
    dy, weight = np.round(dy.astype(np.float64) * 4), np.round(weight.astype(np.float64) * 4)
    addend = randn(*x, seed=3).astype(NUMPY[dtype])
    arrays = (from_host(a.astype(NUMPY[dtype])) for a in (dy, weight))
    got = convolution.input_grad(*arrays, x, *kernel_geometry(2, geometry), addend=from_host(addend))
    wide = np.float32 if dtype != "float64" else np.float64
    stored = expected(dy, weight, x, geometry).astype(wide).astype(NUMPY[dtype]).astype(wide)
    assert np.array_equal(got.numpy(), (stored + addend.astype(wide)).astype(NUMPY[dtype]))


def norm_of(x: np.ndarray, dtype: str, affine: bool) -> tuple[Through, np.ndarray, np.ndarray]:
    """A norm over [N,C,...] that read x: for the kernel; its output, rounded; and (x - mean) rstd, both [N,C,...]."""
    rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    accumulator = np.float64 if dtype == "float64" else np.float32
    c = x.shape[1]
    mean, rstd = randn(c, seed=5).astype(accumulator), (1 + np.abs(randn(c, seed=6))).astype(accumulator)
    weight, bias = (randn(c, seed=k).astype(NUMPY[dtype]) if affine else None for k in (7, 8))
    z = (rows.astype(accumulator) - mean) * rstd
    scale = rstd if weight is None else rstd * weight.astype(accumulator)
    y = (rows.astype(accumulator) - mean) * scale
    y = (y if bias is None else y + bias.astype(accumulator)).astype(NUMPY[dtype])

    def image(a: np.ndarray) -> np.ndarray:
        return np.moveaxis(a.reshape(x.shape[0], *x.shape[2:], c), -1, 1)

    arrays = (None if a is None else from_host(a) for a in (weight, bias))
    return Through(from_host(rows), from_host(mean), from_host(rstd), *arrays), image(y), image(z)


@pytest.mark.parametrize("relu", ["recompute", "recompute, affine", "bits", None])
@pytest.mark.parametrize(("x", "w", "geometry"), [p for p in CASES if p.id in ("phases without taps", "depthwise")])
def test_through_a_norm(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, relu: str | None, tiles: str) -> None:
    dy, weight, dx = gradients(x, w, geometry, "float32")
    through, y, z = norm_of(randn(*x, seed=9).astype(np.float32), "float32", relu == "recompute, affine")
    on = np.ones(x, bool) if relu is None else y > 0 if relu != "bits" else randn(*x, seed=4) > 0
    through = replace(through, relu=from_host(bits_of(on)) if relu == "bits" else relu and "recompute")
    addend = randn(*x, seed=3).astype(np.float32)
    g, sums = convolution.input_grad_through(
        from_host(dy),
        from_host(weight),
        x,
        *kernel_geometry(len(x) - 2, geometry),
        through=through,
        addend=from_host(addend),
    )
    want = np.where(on, dx + addend, 0)
    near(g, want, "float32", math.prod(w))
    axes = (0, *range(2, len(x)))
    both = np.stack([want.sum(axes), (want * z).sum(axes)])
    assert sums.dtype is dtypes.float32
    bound = 8 * EPS["float32"] * (2 + math.sqrt(math.prod(w) + g.size)) * max(1.0, np.abs(both).max())
    np.testing.assert_allclose(sums.numpy().astype(np.float64).sum(0), both, rtol=0, atol=bound)


def check_two_norms(operands: Any, x: tuple[int, ...], dtype: str) -> None:
    """A gradient that goes through two norms that were added is that through either, with the sums of both."""
    first, second = (norm_of(randn(*x, seed=k).astype(NUMPY[dtype]), dtype, False)[0] for k in (9, 10))
    bits = from_host(bits_of(randn(*x, seed=4) > 0))
    first, second = replace(first, relu=bits), replace(second, relu=bits)
    both = replace(first, other=(second.x, second.mean, second.rstd))
    addend = from_host(randn(*x, seed=3).astype(NUMPY[dtype]))
    found = [convolution.input_grad_through(*operands, through=t, addend=addend) for t in (both, first, second)]
    (g, sums), (one, of_first), (two, of_second) = [(g.numpy(), sums.numpy()) for g, sums in found]
    assert np.array_equal(g, one) and np.array_equal(g, two)
    bound = 0 if np.dtype(NUMPY[dtype]).itemsize > 2 else 1e-5  # three at once are summed in another order here
    np.testing.assert_allclose(sums[:, :2], of_first, rtol=bound, atol=bound * np.abs(sums).max())
    np.testing.assert_allclose(sums[:, ::2], of_second, rtol=bound, atol=bound * np.abs(sums).max())
    assert sums.shape[1] == 3 and (sums[:, 1] != sums[:, 2]).any()


@pytest.mark.parametrize(("x", "w", "geometry"), [p for p in CASES if p.id in ("phases without taps", "depthwise")])
def test_through_two_norms(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, tiles: str) -> None:
    dy, weight, _ = gradients(x, w, geometry, "float32")
    check_two_norms((from_host(dy), from_host(weight), x, *kernel_geometry(len(x) - 2, geometry)), x, "float32")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_through_a_norm_in_other_dtypes(dtype: str) -> None:
    """Sums are those of what was stored: exactly, up to the accumulator's own rounding."""
    x, w, geometry = CASES[0].values
    dy, weight, dx = gradients(x, w, geometry, dtype)
    through, y, z = norm_of(randn(*x, seed=9).astype(NUMPY[dtype]), dtype, True)
    addend, on = randn(*x, seed=3).astype(NUMPY[dtype]), randn(*x, seed=4) > 0
    g, sums = convolution.input_grad_through(
        from_host(dy), from_host(weight), x, *kernel_geometry(2, geometry), through=through,
        addend=from_host(addend), addend_bits=from_host(bits_of(on)),
    )  # fmt: skip
    want = np.where(y.astype(np.float64) > 0, dx + np.where(on, addend.astype(np.float64), 0), 0)
    near(g, want, dtype, math.prod(w))
    stored = g.numpy().astype(np.float64)
    both = np.stack([stored.sum((0, 2, 3)), (stored * z.astype(np.float64)).sum((0, 2, 3))])
    exact = EPS["float64" if dtype == "float64" else "float32"] * g.size * np.abs(both).max()
    np.testing.assert_allclose(sums.numpy().astype(np.float64).sum(0), both, rtol=0, atol=exact)


def test_few_programs_walk_many_tiles() -> None:
    """Sums of 2,000 pixels in 4 runs, which a run's number and nothing else decides."""
    x, w = (5, 16, 20, 20), (3, 16, 1, 1)
    dy, weight, dx = gradients(x, w, CASES[1].values[2], "float32")
    through, y, z = norm_of(randn(*x, seed=9).astype(np.float32), "float32", False)
    operands = from_host(dy), from_host(weight), x, (1, 1), (0, 0), (1, 1), 1
    with launch.tiles(conv2d_input_grad={"BP": 512, "BO": 16, "BC": 16}), launch.recording() as log:
        one = convolution.input_grad_through(*operands, through=through)
    assert [(r.kernel, r.grid) for r in log][-1:] == [("_conv2d_input_grad", (4,))]
    with launch.tiles(conv2d_input_grad={"BP": 16, "BO": 16, "BC": 16}):
        two = convolution.input_grad_through(*operands, through=through)
    assert one[1].shape == (4, 2, 16) and two[1].shape == (125, 2, 16)
    want = np.where(y > 0, dx, 0)
    for g, sums in (one, two):
        near(g, want, "float32", 3)
        np.testing.assert_allclose(sums.numpy().sum(0)[1], (want * z).sum((0, 2, 3)), atol=1e-3)
