"""Reading at positions: modes, what lies outside, corners, gradients for both; affine grids; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn

torch_f = torch.nn.functional

MODES = [
    ("bilinear", "zeros", False), ("bilinear", "border", True), ("bilinear", "reflection", False),
    ("bilinear", "reflection", True), ("nearest", "zeros", True), ("nearest", "border", False),
    ("bicubic", "zeros", False), ("bicubic", "reflection", True),
]  # fmt: skip


@pytest.mark.parametrize("mode, padding, corners", MODES)
def test_images(mode: str, padding: str, corners: bool) -> None:
    how = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    ours, theirs = (lambda x, g: F.grid_sample(x, g, **how)), (lambda x, g: torch_f.grid_sample(x, g, **how))
    check(ours, theirs, randn(2, 3, 4, 5), randn(2, 2, 3, 2, seed=1), dtype="float64", terms=16)


@pytest.mark.parametrize("mode, padding, corners", [("bilinear", "zeros", True), ("nearest", "reflection", False)])
def test_volumes(mode: str, padding: str, corners: bool) -> None:
    how = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    ours, theirs = (lambda x, g: F.grid_sample(x, g, **how)), (lambda x, g: torch_f.grid_sample(x, g, **how))
    check(ours, theirs, randn(1, 2, 3, 4, 2), randn(1, 2, 1, 3, 3, seed=1), dtype="float64", terms=8)


def test_second_derivatives_halves_and_what_is_no_position() -> None:
    x, g = randn(1, 2, 3, 4), randn(1, 2, 2, 2, seed=1)
    how = {"align_corners": False}
    check(lambda x, g: F.grid_sample(x, g, **how), lambda x, g: torch_f.grid_sample(x, g, **how), x, g, second=True)
    half = F.grid_sample(tg.tensor(x).half(), tg.tensor(g).half(), **how)
    want = torch_f.grid_sample(torch.tensor(x).half().double(), torch.tensor(g).half().double(), **how)
    assert half.dtype is tg.float16 and np.allclose(half.tolist(), want.tolist(), atol=2e-3)
    g[0, 0, 0] = np.nan
    assert F.grid_sample(tg.tensor(x), tg.tensor(g), **how)[0, :, 0, 0].tolist() == [0, 0]
    assert F.grid_sample(tg.ones(0, 2, 3, 4), tg.ones(0, 5, 6, 2), **how).shape == (0, 2, 5, 6)


@pytest.mark.parametrize("size, corners", [((2, 3, 4, 5), False), ((2, 1, 2, 3), True), ((1, 2, 2, 3, 4), False)])
def test_affine_grid(size: tuple[int, ...], corners: bool) -> None:
    theta = randn(size[0], len(size) - 2, len(size) - 1)
    check(
        lambda t: F.affine_grid(t, size, align_corners=corners),
        lambda t: torch_f.affine_grid(t, size, align_corners=corners), theta, terms=20, second=True,
    )  # fmt: skip


def test_warnings() -> None:
    for module, m in ((F, tg), (torch_f, torch)):
        with pytest.warns(UserWarning, match="Default grid_sample and affine_grid behavior has changed"):
            module.grid_sample(m.ones(1, 1, 2, 2), m.zeros(1, 1, 1, 2))
        with pytest.warns(UserWarning, match="Default grid_sample and affine_grid behavior has changed"):
            module.affine_grid(m.ones(1, 2, 3), (1, 1, 2, 2))
        with pytest.warns(UserWarning, match="unit-size grids"):
            grid = module.affine_grid(m.ones(1, 2, 3), (1, 1, 1, 2), align_corners=True)
        assert grid.tolist() == [[[[0.0, 0.0], [2.0, 2.0]]]]


ERRORS = [
    (lambda F, x, g: F.grid_sample(x, g, "cubic", align_corners=True), ValueError, "mode must be 'bilinear'"),
    (lambda F, x, g: F.grid_sample(x, g, "nearest", "zero", True), ValueError, "padding_mode must be 'zeros'"),
    (lambda F, x, g: F.grid_sample(x.double(), g, align_corners=True), RuntimeError, "expected one floating-point"),
    (lambda F, x, g: F.grid_sample(x[0], g, align_corners=True), RuntimeError, r"with grid \[N, P, Q, 2\]"),
    (lambda F, x, g: F.grid_sample(x, g[..., :1], align_corners=True), RuntimeError, "or input"),
    (lambda F, x, g: F.grid_sample(x[:, :, :0], g, align_corners=True), RuntimeError, "no pixels to read"),
    (
        lambda F, x, g: F.grid_sample(x[:, :, None], g[:, None, ..., [0, 0, 1]], "bicubic", align_corners=True),
        RuntimeError, "'bicubic' is for images",
    ),
    (lambda F, x, g: F.affine_grid(x.long(), (1, 1, 2, 2), False), ValueError, "floating-point theta, got int64"),
    (lambda F, x, g: F.affine_grid(x[0], (1, 1, 2), False), NotImplementedError, r"size must be \[N, C, H, W\]"),
    (lambda F, x, g: F.affine_grid(x[0], (1, 1, 2, 2), False), ValueError, r"expected theta \[N, 2, 3\]"),
    (lambda F, x, g: F.affine_grid(x[:, 0, :2, :3], (1, 1, 0, 2), False), ValueError, "a size without 0"),
    (lambda F, x, g: F.affine_grid(x[:, 0, :2, :3], (2, 1, 2, 2), False), RuntimeError, "theta for 2 images, got 1"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(F, tg.ones(1, 2, 3, 4), tg.zeros(1, 2, 2, 2))
    with pytest.raises(kind):
        f(torch_f, torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 2, 2))
