"""Pooling layers against torch's: results, gradients, repr, what state they have, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn

SHAPES = {"1": (2, 3, 8), "2": (2, 3, 8, 6), "3": (1, 2, 4, 6, 4)}
LAYERS: list[tuple[str, tuple, dict]] = [
    ("MaxPool1d", (3, 2, 1), {"dilation": 1}), ("MaxPool2d", (2,), {}),
    ("MaxPool2d", ((3, 2), 2, 1, 1, False, True), {}),
    ("MaxPool3d", (2, (1, 2, 2)), {"ceil_mode": True}),
    ("AvgPool1d", (3, 2, 1), {"count_include_pad": False}), ("AvgPool2d", ((2, 3),), {}),
    ("AvgPool3d", (2, 1, 1), {"divisor_override": 3}),
    ("AdaptiveAvgPool1d", (3,), {}), ("AdaptiveAvgPool2d", ((None, 2),), {}), ("AdaptiveAvgPool3d", ((2, 3, 2),), {}),
    ("AdaptiveMaxPool1d", (3,), {}), ("AdaptiveMaxPool2d", (2,), {}), ("AdaptiveMaxPool3d", ((2, None, 2),), {}),
    ("LPPool1d", (2, 3), {}), ("LPPool2d", (1, (2, 3)), {"ceil_mode": True}), ("LPPool3d", (2, 2, 1), {}),
    ("FractionalMaxPool2d", (2,), {"output_size": (5, 4)}), ("FractionalMaxPool3d", (2,), {"output_ratio": 0.6}),
]  # fmt: skip


@pytest.mark.parametrize("name, args, options", LAYERS, ids=lambda v: v if isinstance(v, str) else "")
def test_layers(name: str, args: tuple, options: dict) -> None:
    shape = SHAPES[name[-2]]
    u = np.random.default_rng(1).random((*shape[:2], int(name[-2])))
    samples = [{"_random_samples": m.tensor(u, dtype=k)} if "Fractional" in name else {}
               for m, k in ((tg, tg.float32), (torch, torch.float64))]  # fmt: skip
    ours = getattr(tg.nn, name)(*args, **options, **samples[0])
    theirs = getattr(torch.nn, name)(*args, **options, **samples[1])
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    check(ours, theirs, abs(randn(*shape)) + 0.1, terms=12)


@pytest.mark.parametrize("axes", "123")
def test_there_and_back(axes: str) -> None:
    x = randn(*SHAPES[axes])
    results = []
    for m, t in ((tg, tg.tensor(x.tolist())), (torch, torch.tensor(x, dtype=torch.float32))):
        y, index = getattr(m.nn, f"MaxPool{axes}d")(2, return_indices=True)(t)
        back = getattr(m.nn, f"MaxUnpool{axes}d")(2)
        results.append((repr(back), index.tolist(), back(y, index).tolist(), back(y, index, t.shape).tolist()))
        values, places = getattr(m.nn, f"AdaptiveMaxPool{axes}d")(2, return_indices=True)(t)
        results[-1] += (values.tolist(), places.tolist())
    assert results[0] == results[1]


@pytest.mark.parametrize("f", [
    lambda nn: nn.FractionalMaxPool2d(2), lambda nn: nn.FractionalMaxPool2d(2, 3, 0.5),
    lambda nn: nn.FractionalMaxPool3d(2, output_ratio=(0.5, 1.5, 0.5)), lambda nn: nn.FractionalMaxPool3d(0, 3),
])  # fmt: skip
def test_refused_as_torch_refuses(f: Any) -> None:
    for nn in (torch.nn, tg.nn):
        with pytest.raises(ValueError):
            f(nn)
