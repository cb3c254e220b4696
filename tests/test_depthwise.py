"""Convolution with few channels a group: geometries, gradients and theirs, layouts, dtypes, what goes where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad_kernels import depthwise, interpret, launch


def geometry(reason: str, x: tuple[int, ...], w: tuple[int, ...], groups: int, **options: Any) -> Any:
    return pytest.param(x, w, {"groups": groups, **options}, id=reason)


GEOMETRIES = [
    geometry("3x3", (2, 5, 5, 6), (5, 1, 3, 3), 5, padding=1),
    geometry("two outputs a channel, stride 2", (1, 3, 7, 7), (6, 1, 5, 5), 3, stride=2, padding=2),
    geometry("groups of a ResNeXt", (2, 12, 4, 5), (12, 4, 3, 3), 3, padding=1),
    geometry("more outputs than channels", (1, 6, 5, 5), (9, 2, 2, 3), 3),
    geometry("fewer outputs than channels", (1, 6, 5, 5), (2, 3, 3, 1), 2, padding=(1, 0)),
    geometry("all axes differ", (2, 4, 9, 11), (4, 2, 3, 5), 2, stride=(2, 3), padding=(0, 4), dilation=(2, 1)),
    geometry("dilation shares a factor with stride", (1, 2, 13, 9), (2, 1, 3, 2), 2, stride=4, dilation=(6, 2)),
    geometry("rows the windows never reach", (1, 2, 8, 8), (2, 1, 3, 3), 2, stride=3),
    geometry("padding beyond the window", (1, 2, 3, 3), (2, 1, 2, 2), 2, padding=4, stride=3),
    geometry("image of one pixel", (2, 3, 1, 1), (3, 1, 3, 3), 3, padding=1),
    geometry("no images", (0, 4, 5, 5), (4, 2, 3, 3), 2, padding=1),
    geometry("one dimension", (2, 6, 9), (6, 1, 3), 6, stride=2, padding=1),
    geometry("three dimensions", (1, 4, 3, 4, 5), (4, 2, 2, 3, 3), 2, stride=(1, 2, 1), padding=1, dilation=(2, 1, 1)),
]


def conv(m: Any, n: int, options: dict) -> Any:
    return lambda *t: getattr(m, f"conv{n - 2}d")(*t, **options)


@pytest.mark.parametrize(("x", "w", "options"), GEOMETRIES)
def test_geometry(x: tuple[int, ...], w: tuple[int, ...], options: dict) -> None:
    arrays = randn(*x, seed=1), randn(*w, seed=2), randn(w[0], seed=3)
    with launch.recording() as log:
        check(conv(F, len(x), options), conv(torch, len(x), options), *arrays, terms=max(int(np.prod(x)), 50))
    assert "_depthwise_weight_grad" in {told.kernel for told in log}


def test_tiles_with_ragged_edges(tiles: str) -> None:
    arrays = randn(1, 6, 5, 7, seed=1), randn(6, 2, 3, 2, seed=2), randn(6, seed=3)
    options = {"stride": (2, 1), "padding": 1, "groups": 3}
    check(conv(F, 4, options), conv(torch, 4, options), *arrays, terms=48)


SECOND = ["all axes differ", "no images", "three dimensions"]


@pytest.mark.parametrize(("x", "w", "options"), [p for p in GEOMETRIES if p.id in SECOND])
def test_second_derivatives(x: tuple[int, ...], w: tuple[int, ...], options: dict) -> None:
    arrays = randn(*x, seed=1), randn(*w, seed=2), randn(w[0], seed=3)
    check(conv(F, len(x), options), conv(torch, len(x), options), *arrays, terms=max(int(np.prod(x)), 50), second=True)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str) -> None:
    arrays = randn(2, 6, 6, 5, seed=1), randn(6, 2, 3, 3, seed=2), randn(6, seed=3)
    options = {"padding": 1, "groups": 3}
    check(conv(F, 4, options), conv(torch, 4, options), *arrays, terms=60, dtype=dtype)


def test_gradients_of_stride_zero_and_any_memory_order() -> None:
    arrays = randn(2, 4, 4, 5), randn(4, 2, 3, 3)
    options = {"padding": 1, "groups": 2}
    check(conv(F, 4, options), conv(torch, 4, options), *arrays, terms=40, wrap=transposed)
    f, g = (lambda *t: F.conv2d(*t, **options).sum()), (lambda *t: torch.conv2d(*t, **options).sum())
    check(f, g, *arrays, terms=2000)


def test_what_is_not_a_number_stays_in_its_group() -> None:
    x, w = tg.ones(1, 6, 3, 3), tg.ones(6, 2, 3, 3, requires_grad=True)
    x[0, 0, 1, 1] = float("nan")
    y = F.conv2d(x, w, padding=1, groups=3)
    assert y.isnan().any((0, 2, 3)).tolist() == [True] * 2 + [False] * 4
    y.sum().backward()
    assert w.grad.isnan().any((1, 2, 3)).tolist() == [True] * 2 + [False] * 4


def test_the_same_bits_whatever_the_order() -> None:
    x, w = tg.randn(2, 4, 6, 5), tg.randn(4, 2, 3, 3)

    def bits() -> list:
        a, b = x.detach().requires_grad_(), w.detach().requires_grad_()
        with launch.tiles(depthwise_weight_grad={"BK": 4, "BP": 8, "BO": 4, "SPLIT": 24}):
            y = F.conv2d(a, b, padding=1, groups=2)
            (y * y).sum().backward()
        return [y.tolist(), a.grad.tolist(), b.grad.tolist()]

    expected = bits()
    with interpret.order("reverse"):
        assert bits() == expected


def test_few_channels_a_group_come_here() -> None:
    assert depthwise.fits((8, 1, 3, 3), 8) and depthwise.fits((64, 1, 3, 3), 2) and depthwise.fits((30, 15, 3), 2)
    assert not depthwise.fits((8, 1, 3, 3), 1)  # one channel, but not in groups
    assert not depthwise.fits((32, 16, 3), 2) and not depthwise.fits((64, 2, 3), 2)
