"""The norm before a convolution, as its weight gradient reads it: to the bit that of the norm's own output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tests.check import randn
from tests.conftest import TINY
from tritongrad_kernels import convolution, elementwise, launch, norm
from tritongrad_kernels.prologue import Prologue

POINTERS, TMA = "_conv2d_weight_grad", "_conv2d_weight_grad_tma"

CASES: list[Any] = [
    pytest.param((2, 20, 3, 9), 18, (1, 1), "float16", "interpret", True, POINTERS, id="ragged pixels and channels"),
    pytest.param((2, 32, 7, 8), 16, (2, 1), "bfloat16", "sm_80", False, POINTERS, id="whole channels, with stride"),
    pytest.param((2, 20, 4, 5), 16, (1, 1), "bfloat16", "sm_90", True, POINTERS, id="channels that boxes cannot have"),
    pytest.param((3, 32, 5, 5), 24, (1, 1), "float16", "sm_90", True, TMA, id="boxes, the last beyond the pixels"),
    pytest.param((3, 16, 7, 5), 40, (2, 2), "float16", "sm_90", True, TMA, id="boxes beyond rows and columns"),
    pytest.param((2, 32, 4, 4), 24, (1, 1), "bfloat16", "sm_90", False, TMA, id="whole boxes"),
]


@pytest.mark.parametrize(("x", "o", "stride", "dtype", "column", "affine", "kernel"), CASES)
def test_weight_slabs(
    x: tuple[int, ...], o: int, stride: tuple[int, int], dtype: str, column: str, affine: bool, kernel: str
) -> None:
    """In float16 the norm of a pixel that is not there, of zeros, would be infinite for half of the channels."""
    c, kind = x[1], getattr(tg, dtype)
    y = (x[0], o, *(-(-size // step) for size, step in zip(x[2:], stride, strict=True)))
    image, dy = (tg.tensor(a, dtype=kind).array for a in (randn(*x, seed=1, mean=1000.0), randn(*y, seed=2)))
    mean, rstd, weight, shift = (
        tg.tensor(a, dtype=tg.float32).array
        for a in (randn(c, seed=3, mean=1000.0), 100 + randn(c, seed=4), randn(c, seed=5), randn(c, seed=6))
    )
    if not affine:
        weight = shift = None
    rows = elementwise.contiguous(image.permute((0, 2, 3, 1)))
    flat = rows.view((rows.size // c, c), (c, 1))
    stored, _ = norm.apply(flat, norm.Statistics(eps=0.0, mean=mean, rstd=rstd), weight, shift, relu=affine)
    normed = stored.view(rows.shape, rows.strides).permute((0, 3, 1, 2))
    geometry = (o, c, 1, 1), stride, (0, 0), (1, 1), 1
    tiny = {name: row for name, row in TINY.items() if name.startswith("conv2d_weight_grad")}
    for split in (16, 1 << 20):
        tiles = {name: row | {"SPLIT": split} for name, row in tiny.items()}
        with launch.column(column), launch.tiles(**tiles), launch.recording() as log:
            want = convolution.weight_slabs(dy, normed, *geometry)
            prologue = Prologue(mean, rstd, weight, shift, relu=affine)
            got = convolution.weight_slabs(dy, image, *geometry, prologue=prologue)
        assert [r.kernel for r in log if r.kernel in (POINTERS, TMA)] == [kernel] * 2
        assert got.ndim == (5 if split == 16 else 4)
        assert np.isfinite(want.numpy().astype(np.float32)).all()
        np.testing.assert_array_equal(got.numpy(), want.numpy())
