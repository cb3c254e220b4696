"""Pooling: geometry with its roundings, ties, NaN and infinity, gradients and theirs, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad.tensor import Tensor
from tritongrad_kernels import interpret, norm, pool

torch_f = torch.nn.functional


def case(reason: str, shape: tuple[int, ...], *args: Any, **options: Any) -> Any:
    return pytest.param(shape, args, options, id=reason)


BOTH = [
    case("2x2", (2, 5, 6, 8), 2),
    case("the 3x3 stride 2 of a ResNet", (1, 6, 7, 8), 3, 2, 1),
    case("asymmetrical", (2, 3, 7, 9), (2, 3), (1, 2), (1, 0)),
    case("stride above kernel", (1, 2, 9, 8), 2, 3),
    case("ceil_mode", (1, 3, 6, 7), 3, 2, ceil_mode=True),
    case("ceil_mode drops a window that would start in the padding", (1, 1, 5, 5), 2, 2, 1, ceil_mode=True),
    case("ceil_mode, asymmetrical", (1, 2, 8, 5), (3, 2), (3, 2), (1, 1), ceil_mode=True),
    case("window is the image", (2, 3, 4, 5), (4, 5)),
    case("image smaller than the window", (1, 2, 2, 2), 3, 1, 1),
    case("one pixel", (2, 3, 1, 1), 1),
    case("overlap of many windows", (1, 1, 6, 6), 5, 1, 2),
    case("unbatched", (3, 6, 5), 2),
    case("no images", (0, 3, 6, 6), 2),
]
MAX = [
    case("dilation", (1, 3, 8, 9), 3, 2, 1, 2),
    case("dilation, asymmetrical", (1, 2, 9, 7), (2, 3), 1, 0, (3, 2)),
    case("dilation and ceil_mode", (1, 2, 8, 9), 2, 3, 1, 3, True),
]
AVERAGE = [
    case("padding not counted", (1, 3, 6, 7), 3, 2, 1, count_include_pad=False),
    case("padding not counted, ceil_mode", (1, 3, 6, 7), 3, 2, 1, True, False),
    case("padding counted, ceil_mode", (1, 3, 6, 8), 3, 2, 1, True, True),
    case("divisor", (1, 3, 6, 7), (3, 2), 2, 1, divisor_override=5),
    case("negative divisor, ceil_mode", (1, 3, 6, 7), 3, 2, 1, True, False, -3),
]
ADAPTIVE = [
    case("divides", (2, 3, 6, 8), (3, 4)),
    case("does not divide", (1, 5, 7, 10), (3, 4)),
    case("bigger than the image", (1, 2, 3, 2), (7, 5)),
    case("one axis grows", (1, 2, 3, 8), (5, 3)),
    case("to one", (2, 20, 5, 7), 1),
    case("keeps an extent", (1, 2, 5, 6), (None, 4)),
    case("itself", (1, 2, 3, 4), (3, 4)),
    case("unbatched", (2, 5, 6), 2),
    case("no images", (0, 2, 5, 6), (2, 3)),
]


@pytest.mark.parametrize(("shape", "args", "options"), BOTH + MAX)
def test_max(shape: tuple[int, ...], args: tuple, options: dict, tiles: str) -> None:
    ours, theirs = (lambda x: F.max_pool2d(x, *args, **options)), (lambda x: torch_f.max_pool2d(x, *args, **options))
    check(ours, theirs, randn(*shape), terms=9)


@pytest.mark.parametrize(("shape", "args", "options"), BOTH + AVERAGE)
def test_average(shape: tuple[int, ...], args: tuple, options: dict, tiles: str) -> None:
    ours, theirs = (lambda x: F.avg_pool2d(x, *args, **options)), (lambda x: torch_f.avg_pool2d(x, *args, **options))
    check(ours, theirs, randn(*shape) + 3, terms=289, second=tiles == "tiny")


@pytest.mark.parametrize(("shape", "args", "options"), ADAPTIVE)
def test_adaptive_average(shape: tuple[int, ...], args: tuple, options: dict, tiles: str) -> None:
    ours, theirs = (lambda x: F.adaptive_avg_pool2d(x, *args)), (lambda x: torch_f.adaptive_avg_pool2d(x, *args))
    check(ours, theirs, randn(*shape) + 3, terms=35, second=tiles == "tiny")


@pytest.mark.parametrize("window", [(3, 85), 16, 17], ids=str)
def test_windows_of_about_256_places(window: Any) -> None:
    """Where the indices of maxima outgrow a byte."""
    x = np.arange(17.0 * 86).reshape(1, 1, 17, 86)  # the maximum is always the last place
    check(lambda x: F.max_pool2d(x, window, 1), lambda x: torch_f.max_pool2d(x, window, 1), x, terms=17)


def test_nothing_comes_out() -> None:
    y = F.adaptive_avg_pool2d(tg.ones(1, 2, 5, 6, requires_grad=True), (0, 3))
    y.sum().backward()
    assert y.shape == (1, 2, 0, 3)


POOLS = {
    "max": (lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: torch_f.max_pool2d(x, 3, 2, 1)),
    "average": (lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: torch_f.avg_pool2d(x, 3, 2, 1)),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), lambda x: torch_f.adaptive_avg_pool2d(x, (3, 2))),
}


@pytest.mark.parametrize("name", POOLS)
def test_other_dtypes_layouts_and_second_derivatives(name: str) -> None:
    ours, theirs = POOLS[name]
    for dtype in ("float64", "float16", "bfloat16"):
        check(ours, theirs, randn(2, 3, 7, 8), dtype=dtype, terms=9)
    check(lambda x: ours(x * x), lambda x: theirs(x * x), randn(2, 3, 7, 8), terms=9, second=True)
    check(ours, theirs, randn(2, 3, 7, 8), terms=9, wrap=transposed)
    check(lambda x: ours(x).sum(), lambda x: theirs(x).sum(), randn(2, 3, 7, 8), terms=96)
    assert ours(tg.ones(2, 3, 7, 8)).is_contiguous(memory_format=tg.channels_last)


def test_the_first_of_equals_wins(tiles: str) -> None:
    for x in (np.ones((1, 1, 6, 6)), np.round(randn(2, 3, 8, 7)), np.full((1, 2, 4, 4), -math.inf)):
        check(*POOLS["max"], x, terms=4)


def test_nan_wins_and_infinities_are_values(tiles: str) -> None:
    x = randn(1, 2, 7, 7)
    x[0, 0, 2, 2] = x[0, 0, 3, 3] = math.nan  # the last NaN gets the gradient, as in torch
    x[0, 1, 0, 0], x[0, 1, 4] = math.inf, -math.inf
    check(*POOLS["max"], x, terms=4)
    check(*POOLS["average"], x, terms=9)
    check(*POOLS["adaptive"], x, terms=16)


def test_a_dilated_window_that_touches_nothing(tiles: str) -> None:
    """Two taps in the padding to either side of the image, over memory that holds something else."""
    ours = F.max_pool2d(tg.tensor([[[[5.0, 6.0]]]], requires_grad=True), (1, 2), 1, (0, 1), (1, 3))
    assert ours.tolist() == torch_f.max_pool2d(torch.tensor([[[[5.0, 6.0]]]]), (1, 2), 1, (0, 1), (1, 3)).tolist()
    x = tg.ones(1, 1, 1, 2, requires_grad=True)
    (g,) = tg.autograd.grad(F.max_pool2d(x, (1, 2), 1, (0, 1), (1, 3)).sum(), x, create_graph=True)
    assert g.tolist() == [[[[0.0, 0.0]]]]


@pytest.mark.parametrize("name", POOLS)
def test_the_same_bits_whatever_the_strides_and_the_order(name: str, tiles: str) -> None:
    f, _ = POOLS[name]
    x = tg.tensor(randn(1, 5, 5, 6).astype(np.float32))

    def bits(x: tg.Tensor) -> list:
        x = x.detach().requires_grad_()
        y = f(x)
        (y * y).sum().backward()
        return [y.tolist(), x.grad.tolist()]

    expected = bits(x)
    assert bits(x) == bits(transposed(x)) == bits(x.contiguous(memory_format=tg.channels_last)) == expected
    with interpret.order("reverse"):
        assert bits(x) == expected


ERRORS = [
    (
        lambda x: F.max_pool2d(x[0, 0], 2),
        r"max_pool2d: expected a floating-point image \[N, C, H, W\], got float32\[4, 5\]",
    ),
    (lambda x: F.avg_pool2d(x.long(), 2), "avg_pool2d: expected a floating-point image .* got int64"),
    (lambda x: F.max_pool2d(x, 0), "max_pool2d: kernel_size .* must be positive"),
    (lambda x: F.max_pool2d(x, 2, 0), "max_pool2d: .* stride .* must be positive"),
    (
        lambda x: F.max_pool2d(x, 2, 1, 2),
        r"max_pool2d: padding \(2, 2\) should be at most half of kernel_size \(2, 2\)",
    ),
    (lambda x: F.avg_pool2d(x, 2, 1, -1), "avg_pool2d: .*padding"),
    (lambda x: F.max_pool2d(x, 6), r"max_pool2d: kernel_size \(6, 6\) is larger than the padded input of shape"),
    (lambda x: F.max_pool2d(x, 2, 1, 0, 4), "max_pool2d: .* larger than the padded input"),
    (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "avg_pool2d: divisor_override must not be zero"),
    (lambda x: F.avg_pool2d(x, (2, 2, 2)), "avg_pool2d: kernel_size must be one or two integers"),
    (lambda x: F.adaptive_avg_pool2d(x[0, 0], 2), "adaptive_avg_pool2d: expected a floating-point image"),
    (lambda x: F.adaptive_avg_pool2d(x, -1), "adaptive_avg_pool2d: cannot pool"),
    (lambda x: F.adaptive_avg_pool2d(x[:, :, :0], 2), r"adaptive_avg_pool2d: cannot pool \[1, 2, 0, 5\]"),
]


@pytest.mark.parametrize(("f", "message"), ERRORS, ids=[e[1][:40] for e in ERRORS])
def test_errors(f: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        f(tg.ones(1, 2, 4, 5))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_norm_applied_as_the_image_is_read(dtype: str, relu: bool, tiles: str) -> None:
    """Maxima and their places are those of the normalised image, to the bit."""
    n, c, h, w = 2, 5, 7, 6
    x = tg.tensor(randn(n, h, w, c, mean=3)).to(getattr(tg, dtype)).array
    weight, bias = (tg.tensor(randn(c, seed=k)).float().array for k in (1, 2))
    rows = x.view((n * h * w, c), (c, 1))
    applied, _ = norm.apply(rows, norm.Statistics(1e-5, norm.moments(rows)), weight, bias, relu=relu)
    geometry = ((4, 3), (3, 3), (2, 2), (1, 1), (1, 1))
    want = pool.max_pool2d(applied.view((n, h, w, c), x.strides).permute((0, 3, 1, 2)), *geometry)
    pending = norm.Pending(norm.Statistics(1e-5, norm.moments(rows)), weight, bias, relu)
    found = pool.max_pool2d(x.permute((0, 3, 1, 2)), *geometry, prologue=pending)
    for a, b in zip(found, want, strict=True):
        assert Tensor(a).tolist() == Tensor(b).tolist()
