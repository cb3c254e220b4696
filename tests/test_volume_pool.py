"""Pooling of sequences and volumes, of maxima with their places, over even and random windows; putting back."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tests.test_pool import case
from tritongrad_kernels import interpret, launch

torch_f = torch.nn.functional

AVERAGES = [
    case("sequence", (2, 3, 9), 3, 2, 1),
    case("sequence, padding not counted, ceil_mode", (1, 5, 8), (3,), 2, 1, True, False),
    case("sequence without batch", (3, 7), 2),
    case("volume", (1, 3, 5, 4, 6), (2, 3, 2), (1, 2, 2), (1, 1, 0)),
    case("volume, padding not counted, ceil_mode", (1, 2, 4, 5, 6), 3, 2, 1, True, False),
    case("volume, divisor", (2, 1, 3, 4, 5), 2, 1, divisor_override=3),
]
MAXIMA = [
    case("sequence", (2, 3, 9), 3, 2, 1, 2),
    case("sequence without batch", (3, 7), 2),
    case("image", (1, 5, 5, 7), (3, 2), 2, 1, 1, True),
    case("volume", (1, 3, 5, 4, 6), (2, 3, 2), (1, 2, 2), (1, 1, 0), ceil_mode=True),
    case("volume, dilation", (1, 2, 5, 6, 3), 2, 2, 0, (2, 1, 2)),
    case("volume without batch", (2, 3, 4, 2), 2, 1, 1),
]
EVEN = [
    case("sequence", (2, 3, 10), 4),
    case("sequence that grows", (2, 3, 3), (5,)),
    case("volume", (1, 3, 3, 7, 5), (2, None, 3)),
    case("volume without batch", (2, 3, 4, 5), 2),
    case("to one", (1, 2, 3, 2, 2), 1),
]


def axes_of(shape: tuple[int, ...]) -> int:
    return {2: 1, 3: 1, 4: 2, 5: 3}[len(shape)]


def named(name: str, axes: int) -> tuple[Any, Any]:
    return getattr(F, f"{name}{axes}d"), getattr(torch_f, f"{name}{axes}d")


@pytest.mark.parametrize(("shape", "args", "options"), AVERAGES)
def test_average(shape: tuple[int, ...], args: tuple, options: dict, tiles: str) -> None:
    ours, theirs = named("avg_pool", 3 if "divisor_override" in options else axes_of(shape))
    check(
        lambda x: ours(x, *args, **options), lambda x: theirs(x, *args, **options), randn(*shape) + 2, terms=27,
        second=tiles == "tiny",
    )  # fmt: skip


@pytest.mark.parametrize(("shape", "args", "options"), MAXIMA)
def test_maxima_and_their_places(shape: tuple[int, ...], args: tuple, options: dict, tiles: str) -> None:
    axes = 3 if shape == (2, 3, 4, 2) else axes_of(shape)
    ours, theirs = named("max_pool", axes)
    x = np.round(randn(*shape) * 2) / 2  # many equals, of which the first wins
    x.flat[3] = math.nan
    x.flat[4] = -math.inf
    got = ours(tg.tensor(x), *args, **options, return_indices=True)[1]
    want = theirs(torch.tensor(x), *args, **options, return_indices=True)[1]
    assert got.dtype is tg.int64 and got.tolist() == want.tolist()
    pooled = functools.partial(theirs, **options)
    check(lambda x: ours(x, *args, **options), lambda x: pooled(x, *args), x, terms=8, second=tiles == "tiny")
    check(lambda x: ours(x, *args, **options, return_indices=True)[0], lambda x: pooled(x, *args), x, terms=8)


@pytest.mark.parametrize(("shape", "args", "options"), EVEN)
def test_even_windows(shape: tuple[int, ...], args: tuple, options: dict, tiles: str) -> None:
    axes = 3 if shape == (2, 3, 4, 5) else axes_of(shape)
    mean, their_mean = named("adaptive_avg_pool", axes)
    check(lambda x: mean(x, *args), lambda x: their_mean(x, *args), randn(*shape), terms=12, second=True)
    ours, theirs = named("adaptive_max_pool", axes)
    check(lambda x: ours(x, *args), lambda x: theirs(x, *args), randn(*shape), terms=12)
    places = [f(x, *args, True)[1].tolist() for f, x in zip((ours, theirs), _same(shape), strict=True)]
    assert places[0] == places[1]


def _same(shape: tuple[int, ...]) -> tuple[Any, Any]:
    x = np.round(randn(*shape)).astype(np.float32)
    return tg.tensor(x), torch.tensor(x)


def test_even_windows_of_an_image_and_of_nothing() -> None:
    check(lambda x: F.adaptive_max_pool2d(x, (3, None)), lambda x: torch_f.adaptive_max_pool2d(x, (3, None)),
          randn(2, 3, 7, 4), second=True)  # fmt: skip
    x = tg.ones(2, 3, 4, 5, requires_grad=True)
    y, index = F.adaptive_max_pool2d_with_indices(x, (0, 3))
    y.sum().backward()
    assert y.shape == index.shape == (2, 3, 0, 3) and not x.grad.any()
    assert F.max_pool3d(tg.ones(0, 3, 4, 4, 4), 2).shape == (0, 3, 2, 2, 2)
    values, places = tg.adaptive_max_pool1d(tg.tensor([[1.0, 3.0, 2.0, 2.0]]), 2)
    assert (values.tolist(), places.tolist()) == ([[3.0, 2.0]], [[1, 2]])


@pytest.mark.parametrize("axes, shape, window, size", [
    (2, (2, 3, 9, 7), 2, (5, 4)), (2, (3, 8, 6), (3, 2), (1, 5)), (3, (1, 5, 6, 5, 7), (2, 1, 3), (4, 4, 3)),
])  # fmt: skip
def test_random_windows(axes: int, shape: tuple[int, ...], window: Any, size: Any, tiles: str) -> None:
    ours, theirs = named("fractional_max_pool", axes)
    u = np.random.default_rng(3).random((shape[0] if len(shape) > axes + 1 else 1, shape[-axes - 1], axes))
    u = u.astype(np.float32)
    options = {"return_indices": True}
    got = ours(tg.tensor(randn(*shape), dtype=tg.float32), window, size, _random_samples=tg.tensor(u), **options)[1]
    x = torch.tensor(randn(*shape), dtype=torch.float32)
    want = theirs(x, window, size, _random_samples=torch.tensor(u), **options)[1]
    assert got.tolist() == want.tolist()
    check(
        lambda x: ours(x, window, size, _random_samples=tg.tensor(u)),
        lambda x: theirs(x, window, size, _random_samples=torch.tensor(u.astype(np.float64))),
        randn(*shape), second=tiles == "tiny",
    )  # fmt: skip


def test_random_windows_are_drawn_anew_and_by_ratio() -> None:
    x = tg.tensor(randn(1, 2, 20, 20), dtype=tg.float16)
    one, other = (F.fractional_max_pool2d(x, 2, output_ratio=(0.5, 0.7)) for _ in range(2))
    assert one.shape == (1, 2, 10, 14) and one.dtype is tg.float16 and one.tolist() != other.tolist()
    assert F.fractional_max_pool3d_with_indices(tg.ones(1, 4, 5, 6), 2, 2)[1].shape == (1, 2, 2, 2)


@pytest.mark.parametrize("axes, shape", [(1, (2, 3, 8)), (2, (3, 6, 4)), (3, (1, 2, 4, 6, 4))])
def test_unpooling(axes: int, shape: tuple[int, ...]) -> None:
    ours, theirs = named("max_unpool", axes)
    index = named("max_pool", axes)[1](torch.tensor(randn(*shape)), 2, return_indices=True)[1]
    check(lambda y, i: ours(y, i, 2), lambda y, i: theirs(y, i, 2), randn(*index.shape), index.numpy(), second=True)
    odd = [n + 1 for n in shape[-axes:]]
    check(lambda y, i: ours(y, i, 2, output_size=odd), lambda y, i: theirs(y, i, 2, output_size=odd),
          randn(*index.shape), index.numpy())  # fmt: skip


@pytest.mark.parametrize("axes, p", [(1, 2), (2, 3.0), (3, 1), (2, math.inf), (1, -math.inf)])
def test_norms_of_windows(axes: int, p: float) -> None:
    ours, theirs = named("lp_pool", axes)
    shape = (1, 2, 4, 5, 6)[: axes + 2]
    check(lambda x: ours(x, p, 2, 1, True), lambda x: theirs(x, p, 2, 1, True), abs(randn(*shape)) + 0.1, terms=8)


POOLS = {
    "average": lambda x: F.avg_pool3d(x, 2, 1, 1),
    "maximum": lambda x: F.max_pool3d(x, 2, 1, 1),
    "even": lambda x: F.adaptive_avg_pool3d(x, (2, 3, 2)),
}


@pytest.mark.parametrize("name", POOLS)
def test_the_same_bits_whatever_the_strides_and_the_order(name: str) -> None:
    x = tg.tensor(randn(2, 3, 4, 4, 3).astype(np.float32))

    def bits(x: tg.Tensor) -> list:
        x = x.detach().requires_grad_()
        y = POOLS[name](x)
        (y * y).sum().backward()
        return [y.tolist(), x.grad.tolist()]

    expected = bits(x)
    assert bits(transposed(x)) == expected
    with interpret.order("reverse"), launch.tiles(volume_pool={"BP": 64, "BC": 4, "LEAST": 1}):
        assert bits(x) == expected


def test_other_dtypes() -> None:
    for dtype in ("float64", "float16", "bfloat16"):
        for pools in (named("avg_pool", 3), named("max_pool", 3)):
            check(*(functools.partial(f, kernel_size=2) for f in pools), randn(1, 3, 2, 4, 2), dtype=dtype, terms=8)
    x = torch.tensor(randn(1, 2, 5, 5) * 9).long()
    assert F.max_pool2d(tg.tensor(x.tolist()), 2).tolist() == torch_f.max_pool2d(x, 2).tolist()
    assert F.avg_pool1d(tg.ones(1, 3, 8), 2).is_contiguous()  # pooled as it lies, without a copy


def test_a_window_that_touches_nothing() -> None:
    y, index = F.max_pool3d(tg.tensor([[[[[5.0, 6.0]]]]]), (1, 1, 2), 1, (0, 0, 1), (1, 1, 3), return_indices=True)
    assert (y.tolist(), index.tolist()) == ([[[[[-math.inf]]]]], [[[[[-1]]]]])


ERRORS = [
    (lambda x: F.max_pool1d(x, 2), RuntimeError, r"max_pool1d: expected a floating-point sequence \[N, C, L\], got f"),
    (lambda x: F.max_pool3d(x[0], 2), RuntimeError, "max_pool3d: expected a floating-point volume"),
    (lambda x: F.max_pool2d(x[:, :0], 2), RuntimeError, r"max_pool2d: only the batch may be empty, got \[1, 0, 4, 5\]"),
    (lambda x: F.max_pool2d(x, 2.5), TypeError, "max_pool2d: kernel_size must be of integers, got 2.5"),
    (lambda x: F.avg_pool1d(x[0], (2, 2)), RuntimeError, r"avg_pool1d: kernel_size must be one integer, got \(2, 2\)"),
    (lambda x: F.avg_pool3d(x, 2, divisor_override=0), RuntimeError, "avg_pool3d: divisor_override must not be zero"),
    (lambda x: F.max_pool1d(x[0], 3, 1, 2), RuntimeError, "max_pool1d: padding .* should be at most half"),
    (lambda x: F.adaptive_avg_pool1d(x[0], None), TypeError, "adaptive_avg_pool1d: output_size must be an integer"),
    (lambda x: F.adaptive_max_pool2d(x, (2,)), RuntimeError, "adaptive_max_pool2d: output_size must be 2 integers"),
    (lambda x: F.adaptive_max_pool2d(x, -1), RuntimeError, "adaptive_max_pool2d: cannot pool"),
    (lambda x: F.adaptive_max_pool2d(x.long(), 1), RuntimeError, "adaptive_max_pool2d: expected .* got int64"),
    (lambda x: F.fractional_max_pool2d(x, 2), ValueError, "fractional_max_pool2d: expected an output_size or"),
    (lambda x: F.fractional_max_pool2d(x, 2, output_ratio=(0.5,)), ValueError, "output_ratio must be one or 2 numbers"),
    (lambda x: F.fractional_max_pool2d(x, 3, 3), RuntimeError, r"\(3, 3\) windows of \(3, 3\) do not fit"),
    (lambda x: F.fractional_max_pool2d(x[0, 0], 3, 3), RuntimeError, "expected 3 or 4 dimensions"),
    (
        lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=tg.ones(1, 2, 3)),
        RuntimeError, r"expected samples \[1, 2, 2\], got \[1, 2, 3\]",
    ),
    (
        lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=tg.ones(1, 2, 2).double()),
        RuntimeError, "expected samples of dtype float32, got float64",
    ),
    (lambda x: F.max_unpool2d(x, x, 2), RuntimeError, "max_unpool2d: expected int64 indices, got float32"),
    (lambda x: F.max_unpool2d(x, x[0].long(), 2), RuntimeError, "must have the shape of the input"),
    (lambda x: F.max_unpool2d(x[0, 0], x[0, 0].long(), 2), RuntimeError, "max_unpool2d: expected .*without N"),
    (lambda x: F.max_unpool2d(x, x.long(), 2, 0), RuntimeError, "max_unpool2d: stride .* must be positive"),
    (lambda x: F.max_unpool2d(x, x.long() + 79, 2), RuntimeError, "80 is out of bounds"),
    (lambda x: F.max_unpool2d(x, x.long(), 2, output_size=(9,)), ValueError, "must have 2 or 4 numbers"),
    (lambda x: F.max_unpool2d(x, x.long(), 2, output_size=(10, 10)), ValueError, "less than the stride"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(tg.ones(1, 2, 4, 5))


def test_the_gradient_of_a_mean_over_all_is_one_launch() -> None:
    x = tg.zeros(2, 3, 4, 5).contiguous(memory_format=tg.channels_last).requires_grad_()
    y = F.adaptive_avg_pool2d(x, 1)
    dy = tg.ones(2, 3, 1, 1)
    with launch.recording() as log:
        y.backward(dy)
    assert [entry.kernel for entry in log][:1] == ["_map2"]
    assert x.grad.array.is_channels_last and x.grad.tolist() == np.full((2, 3, 4, 5), np.float32(0.05)).tolist()
