"""Gradients of convolutions through descriptors, as GPUs with TMA have them, in the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.check import NUMPY, randn
from tests.conftest import TINY
from tests.test_epilogue import bits_of, case, check_two_norms, gradients, kernel_geometry, near, norm_of
from tritongrad_kernels import convolution, dtypes, launch, memory
from tritongrad_kernels.array import empty, from_host
from tritongrad_kernels.conv_weight_grad import conv2d_weight_slabs
from tritongrad_kernels.prologue import Prologue


@pytest.fixture(autouse=True)
def _hopper() -> Iterator[None]:
    with launch.column("sm_90"):
        yield


TMA = {name: row for name, row in TINY.items() if "_tma" in name}

CASES = [
    case("3x3, channels beyond tiles", (2, 24, 5, 6), (40, 24, 3, 3), padding=1),
    case("one row of pixels", (3, 16, 5, 5), (16, 16, 1, 1)),
    case("stride 2: four phases, of which three have no taps", (2, 16, 5, 6), (16, 16, 1, 1), stride=2),
    case("stride 2 of odd sides", (2, 24, 7, 6), (16, 24, 3, 3), stride=2, padding=1),
    case(
        "dilation that shares a factor with the stride", (1, 16, 9, 9), (16, 16, 3, 3), stride=2, dilation=2, padding=2
    ),
    case("image of one pixel", (2, 16, 1, 1), (8, 16, 3, 3), padding=1),
    case("long sums", (1, 72, 5, 6), (128, 72, 3, 3), padding=1),
]


@pytest.mark.parametrize("small", [False, True], ids=["tiles", "tiny"])
@pytest.mark.parametrize(("x", "w", "geometry"), CASES)
def test_input_gradient(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, small: bool) -> None:
    dy, weight, dx = gradients(x, w, geometry, "bfloat16")
    with launch.tiles(**(TMA if small else {})), launch.recording() as log:
        got = convolution.input_grad(from_host(dy), from_host(weight), x, *kernel_geometry(2, geometry))
    assert [r.kernel for r in log if r.kernel.startswith("_conv")] == ["_conv2d_input_grad_tma"]
    assert got.is_channels_last
    near(got, dx, "bfloat16", 1)


@pytest.mark.parametrize("relu", ["recompute", "bits"])
@pytest.mark.parametrize(("x", "w", "geometry"), [CASES[0], CASES[1], CASES[3], CASES[6]])
def test_input_gradient_through_a_norm(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, relu: str) -> None:
    dy, weight, dx = gradients(x, w, geometry, "float16")
    through, y, z = norm_of(randn(*x, seed=9).astype(NUMPY["float16"]), "float16", True)
    on = y > 0 if relu == "recompute" else randn(*x, seed=4) > 0
    through = replace(through, relu=from_host(bits_of(on)) if relu == "bits" else "recompute")
    addend, counts = randn(*x, seed=3).astype(np.float16), randn(*x, seed=5) > 0
    operands: Any = from_host(dy), from_host(weight), x, *kernel_geometry(2, geometry)
    with launch.tiles(**TMA), launch.recording() as log:
        g, sums = convolution.input_grad_through(
            *operands, through=through, addend=from_host(addend), addend_bits=from_host(bits_of(counts))
        )
    assert [r.kernel for r in log if r.kernel.startswith("_conv")] == ["_conv2d_input_grad_tma"]
    near(g, np.where(on, dx + np.where(counts, addend, 0), 0), "float16", 1)
    stored = g.numpy().astype(np.float64)
    both = np.stack([stored.sum((0, 2, 3)), (stored * z.astype(np.float64)).sum((0, 2, 3))])
    np.testing.assert_allclose(sums.numpy().astype(np.float64).sum(0), both, rtol=0, atol=1e-4 * np.abs(both).max())


@pytest.mark.parametrize(("x", "w", "geometry"), [CASES[1], CASES[3], CASES[6]])
def test_input_gradient_through_two_norms(x: tuple[int, ...], w: tuple[int, ...], geometry: dict) -> None:
    dy, weight, _ = gradients(x, w, geometry, "bfloat16")
    with launch.tiles(**(TMA if w[0] < 128 else {})), launch.recording() as log:  # few programs where sums are long
        check_two_norms((from_host(dy), from_host(weight), x, *kernel_geometry(2, geometry)), x, "bfloat16")
    assert [r.kernel for r in log if r.kernel.startswith("_conv")] == ["_conv2d_input_grad_tma"] * 3


WEIGHT_CASES = [
    case("3x3, channels beyond tiles", (2, 48, 4, 8), (40, 48, 3, 3), padding=1),
    case("one row of pixels", (3, 16, 5, 5), (16, 16, 1, 1)),
    case("1x1 with stride, sides odd", (2, 32, 7, 5), (24, 32, 1, 1), stride=2),
    case("stride 2", (2, 32, 8, 8), (16, 32, 3, 3), stride=2, padding=1),
    case("dilation", (1, 16, 6, 6), (16, 16, 3, 3), dilation=2, padding=2),
    case("wide", (1, 80, 4, 4), (72, 80, 1, 1)),
]


@pytest.mark.parametrize("small", [False, True], ids=["tiles", "tiny"])
@pytest.mark.parametrize(("x", "w", "geometry"), WEIGHT_CASES)
def test_weight_gradient(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, small: bool) -> None:
    image = randn(*x, seed=7).astype(NUMPY["bfloat16"])
    dy, _, _ = gradients(x, w, geometry, "bfloat16")
    with launch.tiles(**(TMA if small else {})), launch.recording() as log:
        got = convolution.weight_grad(from_host(dy), from_host(image), w, *kernel_geometry(2, geometry))
    assert [r.kernel for r in log if r.kernel.startswith("_conv")] == ["_conv2d_weight_grad_tma"]
    assert got.is_channels_last
    near(got, weight_gradient(dy, image, w, geometry), "bfloat16", 1)


def test_slabs_are_few_and_whole_gradients_are_not_slabs() -> None:
    """As many programs as fill a GPU: slabs are bytes to write and to read again."""
    with memory.dry_run():
        for x, w, slabs in (
            ((256, 64, 56, 56), (64, 64, 1, 1), 128),
            ((256, 256, 14, 14), (256, 256, 3, 3), 7),
            ((256, 512, 7, 7), (512, 512, 3, 3), 1),
        ):
            dy, image = (empty((*x[:1], k, *x[2:]), dtypes.bfloat16) for k in (w[0], x[1]))
            found = conv2d_weight_slabs(dy, image, w, (1, 1), (w[2] // 2,) * 2, (1, 1), 1)
            if slabs == 1:
                assert (found.shape, found.dtype) == (w, dtypes.bfloat16)
            else:
                assert (found.shape, found.dtype) == ((slabs, w[0], *w[2:], w[1]), dtypes.float32)


def weight_gradient(dy: np.ndarray, x: np.ndarray, w: tuple[int, ...], geometry: dict) -> np.ndarray:
    """In float64, by torch."""
    weight = torch.zeros(w, dtype=torch.float64, requires_grad=True)
    y = torch.nn.functional.conv2d(torch.tensor(x.astype(np.float64)), weight, **geometry)
    return torch.autograd.grad(y, weight, torch.tensor(dy.astype(np.float64)))[0].numpy()


def test_boxes_do_not_reach_pixels_that_no_window_reads() -> None:
    """Row 9 is no window's, but a box of 4 rows of windows would copy it; zero times NaN is NaN."""
    x, w, geometry = (1, 16, 10, 10), (16, 16, 5, 5), CASES[1].values[2] | {"stride": 2}
    image = randn(*x, seed=7).astype(NUMPY["bfloat16"])
    dy, _, _ = gradients(x, w, geometry, "bfloat16")
    want = weight_gradient(dy, image, w, geometry)
    image[0, :, 9] = np.nan
    with launch.recording() as log:
        got = convolution.weight_grad(from_host(dy), from_host(image), w, *kernel_geometry(2, geometry))
    assert [r.kernel for r in log if r.kernel.startswith("_conv")] == ["_conv2d_weight_grad"]
    near(got, want, "bfloat16", 1)


@pytest.mark.parametrize("given", [False, True], ids=["image made", "image given"])
def test_weight_gradient_of_a_stem(given: bool) -> None:
    """7 x 7 of 3 channels, stride 2: rows of a window are read in one piece, of which 21 of 32 elements are wanted."""
    x, w, geometry = (2, 3, 10, 12), (8, 3, 7, 7), CASES[1].values[2] | {"stride": 2, "padding": 3}
    image = randn(*x, seed=7).astype(np.float32)
    dy, _, _ = gradients(x, w, geometry, "bfloat16")
    arguments: Any = w, *kernel_geometry(2, geometry)
    with launch.tiles(**TMA, haloed=TINY["haloed"]):
        array = from_host(image)
        stem = convolution.stem_image(array, w, dtypes.bfloat16, *arguments[1:]) if given else None
        with launch.recording() as log:
            got = convolution.weight_grad(from_host(dy), array, *arguments, image=stem)
            slabs = convolution.weight_slabs(from_host(dy), array, *arguments, image=stem)
    wanted = ["_conv2d_weight_grad_tma"] if given else ["_haloed", "_conv2d_weight_grad_tma"]
    assert [r.kernel for r in log if r.kernel in ("_haloed", "_conv2d_weight_grad_tma")] == wanted * 2
    assert (got.shape, got.dtype) == (w, dtypes.bfloat16)
    assert (slabs.shape[1:], slabs.dtype) == ((8, 7, 7, 3), dtypes.float32) and slabs.shape[0] > 1
    want = weight_gradient(dy, image.astype(NUMPY["bfloat16"]), w, geometry)
    near(got, want, "bfloat16", 1)
    near(slabs.permute((0, 1, 4, 2, 3)).numpy().sum(0, keepdims=True), want[None], "float32", 1 << 10)


def test_slabs_of_other_kernels() -> None:
    """A convolution along one axis has slabs along one axis; what takes no product of images is never a slab."""
    line, volume = (1, 16, 70), (1, 2, 2, 3, 3)
    with launch.tiles(**TMA):
        x, dy = (from_host(randn(*line, seed=k).astype(NUMPY["bfloat16"])) for k in (1, 2))
        slabs = convolution.weight_slabs(dy, x, (16, 16, 1), (1,), (0,), (1,), 1)
        whole = convolution.weight_grad(dy, x, (16, 16, 1), (1,), (0,), (1,), 1)
    assert slabs.shape == (2, 16, 1, 16)
    np.testing.assert_array_equal(slabs.numpy().sum(0).transpose(0, 2, 1).astype(NUMPY["bfloat16"]), whole.numpy())
    x, dy = (from_host(randn(*volume, seed=k).astype(np.float32)) for k in (1, 2))
    assert convolution.weight_slabs(dy, x, (2, 2, 1, 1, 1), (1,) * 3, (0,) * 3, (1,) * 3, 1).shape == (2, 2, 1, 1, 1)


@pytest.mark.parametrize("column", ["sm_90", "sm_80"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_norm_before_it_is_applied_to_the_bit(column: str, stride: int) -> None:
    """The weight gradient of a convolution that read a norm's input instead of its output."""
    x, w, geometry = (2, 32, 5, 6), (24, 32, 1, 1), CASES[1].values[2] | {"stride": stride}
    dy, _, _ = gradients(x, w, geometry, "bfloat16")
    image = randn(*x, seed=9).astype(NUMPY["bfloat16"])
    norm, y, _ = norm_of(image, "bfloat16", True)
    prologue = Prologue(norm.mean, norm.rstd, norm.weight, norm.bias)
    rest: Any = w, *kernel_geometry(2, geometry)
    with launch.column(column), launch.tiles(**{k: row for k, row in TINY.items() if k.startswith("conv2d")}):
        want = convolution.weight_grad(from_host(dy), from_host(np.maximum(y, 0).astype(y.dtype)), *rest)
        got = convolution.weight_grad(from_host(dy), from_host(image), *rest, prologue=prologue)
        slabs = convolution.weight_slabs(from_host(dy), from_host(image), *rest, prologue=prologue)
    assert np.array_equal(got.numpy(), want.numpy())
    assert slabs.shape[1:] == (24, 1, 1, 32) or np.array_equal(slabs.numpy(), want.numpy())
