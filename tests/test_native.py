"""torch's own forms of functions that nn.functional has too, and gradients of convolutions as functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn

A, B, C = (randn(4, 3, seed=i) for i in (1, 2, 3))
SIGNS = [1, -1, 1, -1]

LOSSES: dict[str, Any] = {
    "kl_div": lambda m, a, b, r: m.kl_div(a, b.exp(), r),
    "kl_div of logarithms": lambda m, a, b, r: m.kl_div(a, b, r, log_target=True),
    "bce": lambda m, a, b, r: m.binary_cross_entropy_with_logits(a, b.sigmoid(), None, b[0].exp().detach(), r),
    "cosine": lambda m, a, b, r: m.cosine_embedding_loss(a, b, m.tensor(SIGNS), 0.1, r),
    "hinge": lambda m, a, b, r: m.hinge_embedding_loss(a * b, m.tensor(SIGNS)[:, None].expand(4, 3), 0.5, r),
    "ranking": lambda m, a, b, r: m.margin_ranking_loss(a[:, 0], b[:, 0], m.tensor(SIGNS), 0.2, r),
    "triplet": lambda m, a, b, r: m.triplet_margin_loss(a, b, a * b, 2.0, 2.0, 1e-6, True, r),
    "poisson": lambda m, a, b, r: m.poisson_nll_loss(a, b.exp(), True, False, 1e-8, r),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    for r in (0, 1, 2) if name == "kl_div" else (1,):
        check(lambda a, b, r=r: LOSSES[name](tg, a, b, r), lambda a, b, r=r: LOSSES[name](torch, a, b, r),
              A, B, dtype="float64", terms=12, slack=10)  # fmt: skip
    with pytest.raises(RuntimeError, match="reduction"):
        tg.hinge_embedding_loss(tg.ones(2), tg.ones(2), 1.0, 3)


def test_twins() -> None:
    index = np.array([[0, 2], [2, 3]])
    check(lambda w, i: tg.embedding(w, i, 2), lambda w, i: torch.embedding(w, i, 2), A, index)
    check(tg.cosine_similarity, torch.cosine_similarity, A, B, terms=3)
    check(tg.pairwise_distance, torch.pairwise_distance, A, B, terms=3)
    check(lambda x, w, b: tg.conv_tbc(x, w, b, 1), lambda x, w, b: torch.conv_tbc(x, w, b, 1),
          randn(5, 2, 3), randn(2, 3, 4), randn(4), terms=10)  # fmt: skip
    with pytest.raises(RuntimeError, match="conv_tbc"):
        tg.conv_tbc(tg.ones(2, 3), tg.ones(2, 3, 4), tg.ones(4))
    x = tg.ones(64)
    assert set(tg.dropout(x, 0.5, True).tolist()) == {0.0, 2.0} and tg.dropout(x, 0.5, train=False) is x
    for f in (tg.alpha_dropout, tg.feature_alpha_dropout):
        assert f(x[None, :, None], 0.5, False).shape == (1, 64, 1)
        assert len(set(f(x[None, :, None], 0.5, True).flatten().tolist())) == 2


def test_conv_grads() -> None:
    for n, groups, shape in ((1, 1, (6,)), (2, 2, (5, 4)), (3, 1, (4, 3, 4))):
        x, w = randn(2, 4, *shape), randn(4, 4 // groups, *(2,) * n, seed=1)
        options = {"stride": 2, "padding": 1, "groups": groups}
        g = randn(2, 4, *((s + 2 - 2) // 2 + 1 for s in shape), seed=2)
        for what, (one, size) in {"input": (w, x.shape), "weight": (x, w.shape)}.items():
            mine, theirs = (getattr(m.nn.grad, f"conv{n}d_{what}") for m in (tg, torch))
            first = what == "input"

            def call(f: Any, a: Any, b: Any, first: bool = first, size: Any = size, o: Any = options) -> Any:
                return f(size, a, b, **o) if first else f(a, size, b, **o)

            check(lambda a, b, f=mine, c=call: c(f, a, b), lambda a, b, f=theirs, c=call: c(f, a, b), one, g,
                  dtype="float64", terms=100)  # fmt: skip


def test_implicit_axes() -> None:
    for name in ("softmax", "log_softmax", "softmin"):
        for shape in ((3,), (2, 3), (2, 3, 2)):
            x, results = randn(*shape), []
            for m in (tg, torch):
                with pytest.warns(UserWarning, match=f"Implicit dimension choice for {name}") as seen:
                    results.append(getattr(m.nn.functional, name)(m.tensor(x)))
                assert seen[0].filename == __file__
            compare(name, *results, 1e-14)
        for m in (tg, torch):
            assert getattr(m.nn.functional, name)(m.ones(2, dtype=m.float16), 0, dtype=m.float64).dtype is m.float64


def test_multilabel_margin_loss() -> None:
    F, T = tg.nn.functional.multilabel_margin_loss, torch.nn.functional.multilabel_margin_loss
    target = np.array([[3, 0, -1, 1], [-1, 2, 0, 1], [1, 2, 3, 0], [2, 2, -1, -1]])
    for reduction in ("none", "mean", "sum"):
        check(lambda x, t, r=reduction: F(x, t, reduction=r), lambda x, t, r=reduction: T(x, t, reduction=r),
              randn(4, 4), target, dtype="float64", terms=16)  # fmt: skip
    check(F, T, randn(4), target[0], dtype="float64", terms=16)
    check(tg.nn.MultiLabelMarginLoss(reduction="sum"), torch.nn.MultiLabelMarginLoss(reduction="sum"), randn(0, 3),
          np.zeros((0, 3), np.int64))  # fmt: skip
    for m in (tg, torch):
        for x, t in ((m.ones(2, 2, 2), m.zeros(2, 2, 2).long()), (m.ones(2, 3), m.zeros(2, 2).long()),
                     (m.ones(2, 2), m.ones(2, 2))):  # fmt: skip
            with pytest.raises(RuntimeError):
                m.nn.functional.multilabel_margin_loss(x, t)


@pytest.mark.filterwarnings("ignore:.*Container:FutureWarning")
def test_old_names() -> None:
    for m in (tg, torch):
        held = m.nn.Container(a=m.nn.Linear(1, 2), b=m.nn.ReLU())
        assert list(held.state_dict()) == ["a.weight", "a.bias"]
        assert repr(m.nn.CrossMapLRN2d(3)) == "CrossMapLRN2d(3, alpha=0.0001, beta=0.75, k=1)"
        with pytest.raises(ValueError, match="4D"):
            m.nn.CrossMapLRN2d(3)(m.ones(2, 3))
    for size in (4, 5):
        x, results = randn(2, 2, 2, 2), []  # no more channels than torch's sums are right for
        for m in (tg, torch):
            y = m.nn.CrossMapLRN2d(size, 0.3, 0.6, 2.0)(m.tensor(x))
            results.append(y)
        compare(f"window {size}", *results, 1e-12)
    check(tg.nn.NLLLoss2d(), torch.nn.NLLLoss(), randn(2, 3, 2), np.array([[0, 2], [1, 1]]), terms=4)
