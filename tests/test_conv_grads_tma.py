"""Both gradients of a convolution in one launch, as GPUs with TMA have them, in the interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.check import NUMPY, randn
from tests.conftest import TINY
from tests.test_conv_grad_tma import weight_gradient
from tests.test_epilogue import bits_of, case, gradients, kernel_geometry, near, norm_of
from tritongrad_kernels import convolution, dtypes, launch, memory
from tritongrad_kernels.array import Array, channels_last_strides, empty, from_host
from tritongrad_kernels.convolution import Beside
from tritongrad_kernels.prologue import Prologue


@pytest.fixture(autouse=True)
def _hopper() -> Iterator[None]:
    with launch.column("sm_90"):
        yield


TMA = {name: row for name, row in TINY.items() if "_tma" in name}

CASES = [
    case("3x3", (2, 32, 4, 8), (32, 32, 3, 3), padding=1),
    case("more programs for the weight than for the input", (1, 64, 4, 4), (80, 64, 1, 1)),
    case("more for the input: four phases", (2, 16, 8, 8), (16, 16, 3, 3), stride=2, padding=1),
    case("1x1 with stride, sides odd", (2, 32, 7, 5), (24, 32, 1, 1), stride=2),
]


def beside(dy: Array, x: Array, w: Sequence[int], geometry: Sequence[Any], prologue: Prologue | None = None) -> Beside:
    """The weight gradient, to go along."""
    job = convolution.weight_slabs_or_job(dy, x, w, *geometry, image=None, prologue=prologue, wait=True)
    assert isinstance(job, convolution.Job)
    kind, shape, strides = convolution.slabs_of(job.slabs, w, dy.dtype)
    return Beside(job, lambda: empty(shape, kind, dy.device, strides))


def last(values: np.ndarray) -> Array:
    """Images or filters, channels-last."""
    return from_host(np.ascontiguousarray(values.transpose(0, 2, 3, 1))).permute((0, 3, 1, 2))


def whole(slabs: Array) -> np.ndarray:
    """The weight's gradient [O,C,R,S] from slabs [slabs,O,R,S,C], or as it is."""
    found = slabs.numpy().astype(np.float64)
    return found if slabs.ndim == 4 else found.sum(0).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("small", [False, True], ids=["tiles", "tiny"])
@pytest.mark.parametrize(("x", "w", "geometry"), CASES)
def test_both_are_what_each_is_alone(x: tuple[int, ...], w: tuple[int, ...], geometry: dict, small: bool) -> None:
    """To the bit, and near what torch says."""
    image = randn(*x, seed=7).astype(NUMPY["bfloat16"])
    dy, weight, dx = gradients(x, w, geometry, "bfloat16")
    rest = kernel_geometry(2, geometry)
    with launch.tiles(**(TMA if small else {})):
        arrays = last(dy), last(weight), last(image)
        alone = convolution.input_grad(*arrays[:2], x, *rest)
        slabs = convolution.weight_slabs(arrays[0], arrays[2], w, *rest)
        other = beside(arrays[0], arrays[2], w, rest)
        with launch.recording() as log:
            together = convolution.input_grad(*arrays[:2], x, *rest, beside=other)
    assert [one.kernel for one in log] == ["_conv2d_grads_tma"] and other.out is not None
    np.testing.assert_array_equal(together.numpy(), alone.numpy())
    np.testing.assert_array_equal(other.out.numpy(), slabs.numpy())
    near(together, dx, "bfloat16", 1)
    want = weight_gradient(dy, image, w, geometry)
    assert np.abs(whole(other.out) - want).max() <= 2.0**-7 * np.abs(want).max()


@pytest.mark.parametrize("stride", [1, 2])
def test_through_a_norm_that_both_apply(stride: int) -> None:
    """The x that the epilogue and the prologue read is declared once, as is dy: the sanitizer counts."""
    x, w, geometry = (2, 32, 5, 6), (24, 32, 1, 1), CASES[1].values[2] | {"stride": stride}
    dy, weight, _ = gradients(x, w, geometry, "bfloat16")
    image = randn(*x, seed=9).astype(NUMPY["bfloat16"])
    norm, _, _ = norm_of(image, "bfloat16", True)
    rest = kernel_geometry(2, geometry)
    with launch.tiles(**TMA):
        arrays = last(dy), last(weight)
        read = norm.x.view(x, channels_last_strides(x))
        prologue = Prologue(norm.mean, norm.rstd, norm.weight, norm.bias)
        alone, sums = convolution.input_grad_through(*arrays, x, *rest, through=norm)
        slabs = convolution.weight_slabs(arrays[0], read, w, *rest, prologue=prologue)
        other = beside(arrays[0], read, w, rest, prologue)
        with launch.recording() as log:
            together, both_sums = convolution.input_grad_through(*arrays, x, *rest, through=norm, beside=other)
    assert [one.kernel for one in log] == ["_conv2d_grads_tma"] and other.out is not None
    for a, b in ((together, alone), (both_sums, sums), (other.out, slabs)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_with_an_addend_and_bits() -> None:
    x, w, geometry = CASES[0].values
    dy, weight, dx = gradients(x, w, geometry, "float16")
    image = randn(*x, seed=7).astype(np.float16)
    norm, _, _ = norm_of(randn(*x, seed=9).astype(np.float16), "float16", True)
    on, counts, addend = randn(*x, seed=4) > 0, randn(*x, seed=5) > 0, randn(*x, seed=3).astype(np.float16)
    rest = kernel_geometry(2, geometry)
    with launch.tiles(**TMA), launch.recording() as log:
        arrays = last(dy), last(weight), last(image)
        other = beside(arrays[0], arrays[2], w, rest)
        g, _ = convolution.input_grad_through(
            *arrays[:2], x, *rest, through=replace(norm, relu=from_host(bits_of(on))), beside=other,
            addend=last(addend), addend_bits=from_host(bits_of(counts)),
        )  # fmt: skip
    assert [one.kernel for one in log] == ["_conv2d_grads_tma"] and other.out is not None
    near(g, np.where(on, dx + np.where(counts, addend, 0), 0), "float16", 1)


def test_what_is_the_slower_for_it_stays_alone() -> None:
    """A program of the weight gradient must fit beside as many others as the input gradient has on a multiprocessor."""
    with memory.dry_run():
        for size, w, bits, joined in (
            ((14, 14), (256, 256, 3, 3), False, True),
            ((56, 56), (64, 64, 3, 3), False, True),
            ((56, 56), (512, 64, 1, 1), False, True),
            ((28, 28), (128, 256, 1, 1), True, False),  # programs of 4 warps, and of 8
        ):
            shapes = (256, w[0], *size), (256, w[1], *size), w
            dy, x, weight = (empty(s, dtypes.bfloat16, None, channels_last_strides(s)) for s in shapes)
            geometry: Any = (1, 1), (w[2] // 2,) * 2, (1, 1), 1
            other, addend = beside(dy, x, w, geometry), {}
            if bits:
                addend = dict(addend=x, addend_bits=empty((x.size // w[1], w[1] // 8), dtypes.uint8))
            convolution.input_grad(dy, weight, x.shape, *geometry, beside=other, **addend)
            assert (other.out is not None) == joined
