"""Distances, angles and their losses beside torch's, also where vectors are 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn

T = torch.nn.functional
A, B, C = (randn(5, 7, seed=i) for i in (1, 2, 3))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine_similarity(dim: int) -> None:
    check(lambda a, b: F.cosine_similarity(a, b, dim), lambda a, b: T.cosine_similarity(a, b, dim), A, B,
          terms=7, second=True)  # fmt: skip
    check(lambda a, b: F.cosine_similarity(a, b, dim), lambda a, b: T.cosine_similarity(a, b, dim), A, B[:1],
          terms=7)  # fmt: skip


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_distances_and_lengths(p: float) -> None:
    for keepdim in (False, True):
        options = {"p": p, "keepdim": keepdim}
        check(lambda a, b, o=options: F.pairwise_distance(a, b, **o),
              lambda a, b, o=options: T.pairwise_distance(a, b, **o), A, B, terms=7)  # fmt: skip
    for dim in (0, 1):
        check(lambda a, d=dim: F.normalize(a, p, d), lambda a, d=dim: T.normalize(a, p, d), A, terms=7)
    check(lambda a: F.normalize(a, p), lambda a: T.normalize(a, p), A * 0 + np.eye(5, 7) * 0, terms=7, grads=False)


def signs(m: Any) -> Any:
    return m.tensor([1, -1, 1, -1, -1])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction: str) -> None:
    for margin in (0.0, 0.3):
        o = {"margin": margin, "reduction": reduction}
        check(lambda a, b, o=o: F.cosine_embedding_loss(a, b, signs(tg), **o),
              lambda a, b, o=o: T.cosine_embedding_loss(a, b, signs(torch), **o), A, B, terms=35)  # fmt: skip
        check(lambda a, b, o=o: F.margin_ranking_loss(a, b, signs(tg), **o),
              lambda a, b, o=o: T.margin_ranking_loss(a, b, signs(torch), **o), A[:, 0], B[:, 0], terms=5)  # fmt: skip
    for o in ({}, {"swap": True}, {"p": 1.0, "margin": 3.0}):
        o = {**o, "reduction": reduction}
        check(lambda a, b, c, o=o: F.triplet_margin_loss(a, b, c, **o),
              lambda a, b, c, o=o: T.triplet_margin_loss(a, b, c, **o), A, B, C, terms=35)  # fmt: skip


def test_a_distance_of_the_user_s() -> None:
    def ours(a: Any, b: Any, c: Any) -> Any:
        return F.triplet_margin_with_distance_loss(a, b, c, distance_function=lambda x, y: (x - y).abs().sum(1))

    def theirs(a: Any, b: Any, c: Any) -> Any:
        return T.triplet_margin_with_distance_loss(a, b, c, distance_function=lambda x, y: (x - y).abs().sum(1))

    check(ours, theirs, A, B, C, terms=35)
    check(F.triplet_margin_with_distance_loss, T.triplet_margin_with_distance_loss, A, B, C, terms=35)


def test_what_cannot_be() -> None:
    for m, f in ((tg, F), (torch, T)):
        x, y = m.ones(3, 2), m.ones(3)
        for error, call in (
            (RuntimeError, lambda x=x, y=y, f=f: f.cosine_embedding_loss(x, x, x)),
            (RuntimeError, lambda x=x, y=y, f=f: f.margin_ranking_loss(x, x, y)),
            (ValueError, lambda x=x, y=y, f=f: f.triplet_margin_loss(x, x, x, margin=0.0)),
            (RuntimeError, lambda x=x, y=y, f=f: f.triplet_margin_with_distance_loss(x, x, y)),
        ):
            with pytest.raises(error):
                call()
