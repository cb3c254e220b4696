"""Convolution in three dimensions: geometries, gradients and theirs, dtypes, splitting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad_kernels import launch


def geometry(reason: str, x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Any:
    return pytest.param(x, w, options, id=reason)


GEOMETRIES = [
    geometry("3x3x3", (2, 3, 3, 4, 5), (4, 3, 3, 3, 3), padding=1),
    geometry(
        "all axes differ", (1, 2, 5, 7, 9), (3, 2, 2, 3, 4), stride=(1, 2, 3), padding=(0, 1, 3), dilation=(3, 2, 1)
    ),
    geometry("stride above the window, phases without taps", (1, 2, 5, 4, 7), (2, 2, 1, 2, 1), stride=(2, 1, 3)),
    geometry("dilation shares a factor with stride", (1, 1, 7, 7, 6), (2, 1, 2, 2, 2), stride=(4, 2, 1), dilation=2),
    geometry("more than a tile of channels, groups", (1, 40, 2, 3, 2), (36, 20, 1, 2, 1), groups=2),
    geometry("whole tiles of channels", (1, 32, 2, 2, 2), (16, 32, 1, 1, 2)),
    geometry("no images", (0, 3, 3, 4, 4), (4, 3, 2, 2, 2)),
]


@pytest.mark.parametrize(("x", "w", "options"), GEOMETRIES)
def test_geometry(x: tuple[int, ...], w: tuple[int, ...], options: dict) -> None:
    arrays = randn(*x, seed=1), randn(*w, seed=2), randn(w[0], seed=3)
    terms = max(int(np.prod(w[1:])) * 2, int(np.prod(x)))
    check(lambda *t: F.conv3d(*t, **options), lambda *t: torch.conv3d(*t, **options), *arrays, terms=terms)


def test_tiles_with_ragged_edges(tiles: str) -> None:
    arrays = randn(1, 18, 3, 3, 4, seed=1), randn(17, 18, 2, 2, 1, seed=2), randn(17, seed=3)
    options = {"stride": (2, 1, 1), "padding": (1, 0, 0)}
    check(lambda *t: F.conv3d(*t, **options), lambda *t: torch.conv3d(*t, **options), *arrays, terms=144)


def test_second_derivatives() -> None:
    arrays = randn(1, 2, 3, 4, 5, seed=1), randn(2, 2, 2, 3, 2, seed=2), randn(2, seed=3)
    options = {"stride": (1, 2, 2), "padding": 1, "dilation": (2, 1, 1)}
    check(
        lambda *t: F.conv3d(*t, **options), lambda *t: torch.conv3d(*t, **options), *arrays, terms=120, second=True,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_dtypes_and_memory_orders(dtype: str) -> None:
    arrays = randn(2, 3, 3, 4, 3, seed=1), randn(3, 3, 2, 3, 3, seed=2), randn(3, seed=3)
    check(F.conv3d, torch.conv3d, *arrays, terms=108, dtype=dtype, wrap=transposed)


def test_a_weight_gradient_over_many_pixels_is_split_and_summed_in_order() -> None:
    x, w = tg.ones(1, 1, 4, 4, 4), tg.ones(1, 1, 1, 1, 1, requires_grad=True)
    y = F.conv3d(x, w).sum()
    with launch.tiles(conv2d_weight_grad={"BO": 16, "BP": 16, "BC": 16, "SPLIT": 32}), launch.recording() as log:
        y.backward()
    assert w.grad.item() == 64
    assert [r.grid for r in log if r.kernel == "_conv3d_weight_grad"] == [(2,)]


def test_errors() -> None:
    with pytest.raises(RuntimeError, match=r"conv3d: expected input \[N, C, D, H, W\] and weight"):
        F.conv3d(tg.ones(1, 2, 3, 3), tg.ones(1, 2, 3, 3))
    with pytest.raises(RuntimeError, match="conv3d: the window is larger than the padded image"):
        F.conv3d(tg.ones(1, 2, 3, 3, 3), tg.ones(1, 2, 4, 3, 3))
    with pytest.raises(RuntimeError, match="conv3d: stride must be one or three integers"):
        F.conv3d(tg.ones(1, 2, 3, 3, 3), tg.ones(1, 2, 3, 3, 3), stride=(1, 2))
