"""Losses as modules: torch's arguments in torch's order, values, buffers and repr."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import randn

X, Y, Z = (randn(5, 4, seed=i).astype(np.float32) for i in (1, 2, 3))
P = 1 / (1 + np.exp(-X))
LABELS = (Y > 0).astype(np.float32)
CLASSES = np.array([0, 3, 1, 1, 2])
SIGNS = np.array([1, -1, 1, -1, -1])
WEIGHT = np.array([0.5, 1.0, 2.0, 1.5], np.float32)

CASES: list[tuple[str, tuple, dict[str, Any], tuple]] = [
    ("MSELoss", (), {}, (X, Y)),
    ("L1Loss", (), {"reduction": "sum"}, (X, Y)),
    ("SmoothL1Loss", (), {"beta": 0.5}, (X, Y)),
    ("HuberLoss", ("none", 0.5), {}, (X, Y)),
    ("PoissonNLLLoss", (False, True), {}, (P, np.abs(Y))),
    ("GaussianNLLLoss", (), {"full": True}, (X, Y, P)),
    ("KLDivLoss", (None, None, "batchmean", True), {}, (X, Y)),
    ("CrossEntropyLoss", (WEIGHT,), {"label_smoothing": 0.1}, (X, CLASSES)),
    ("CrossEntropyLoss", (None, None, 1, None, "sum"), {}, (X, CLASSES)),
    ("NLLLoss", (WEIGHT, None, 1), {}, (X, CLASSES)),
    ("BCELoss", (WEIGHT,), {}, (P, LABELS)),
    ("BCEWithLogitsLoss", (), {"pos_weight": WEIGHT, "weight": WEIGHT}, (X, LABELS)),
    ("SoftMarginLoss", (), {}, (X, 2 * LABELS - 1)),
    ("MultiLabelSoftMarginLoss", (WEIGHT,), {}, (X, LABELS)),
    ("MultiMarginLoss", (2, 0.5, WEIGHT), {}, (X, CLASSES)),
    ("HingeEmbeddingLoss", (), {}, (X, 2 * LABELS - 1)),
    ("HingeEmbeddingLoss", (0.2,), {}, (X, 2 * LABELS - 1)),
    ("CosineEmbeddingLoss", (0.1,), {}, (X, Y, SIGNS)),
    ("MarginRankingLoss", (), {}, (X[:, 0], Y[:, 0], SIGNS)),
    ("TripletMarginLoss", (), {"swap": True}, (X, Y, Z)),
    ("TripletMarginWithDistanceLoss", (), {}, (X, Y, Z)),
    ("CosineSimilarity", (0,), {}, (X, Y)),
    ("PairwiseDistance", (1.0,), {"keepdim": True}, (X, Y)),
]


@pytest.mark.parametrize("name, args, options, inputs", CASES, ids=[f"{c[0]} {i}" for i, c in enumerate(CASES)])
def test_as_torch_s(name: str, args: tuple, options: dict[str, Any], inputs: tuple) -> None:
    found = []
    for m in (tg, torch):

        def made(v: Any, m: Any = m) -> Any:
            return m.tensor(v) if isinstance(v, np.ndarray) else v

        module = getattr(m.nn, name)(*map(made, args), **{k: made(v) for k, v in options.items()})
        x = made(inputs[0]).requires_grad_()
        result = module(x, *map(made, inputs[1:]))
        result.sum().backward()
        found.append(
            (np.asarray(result.tolist()), np.asarray(x.grad.tolist()), repr(module), list(module.state_dict()))
        )
    (a, g, text, state), (b, h, their_text, their_state) = found
    assert np.allclose(a, b, rtol=1e-4, atol=1e-5) and np.allclose(g, h, rtol=1e-4, atol=1e-5)
    assert text == their_text and state == their_state


def test_what_cannot_be() -> None:
    for name, args in (("MultiMarginLoss", (3,)), ("TripletMarginLoss", (0.0,))):
        for m in (tg, torch):
            with pytest.raises(ValueError):
                getattr(m.nn, name)(*args)
    with pytest.raises(ValueError, match="margin"):
        tg.nn.TripletMarginWithDistanceLoss(margin=0.0)
    with pytest.raises(NotImplementedError, match="CTCLoss"):
        tg.nn.CTCLoss()
