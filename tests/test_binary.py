"""Losses of yes and no beside torch's: probabilities and logits at the ends of their range, margins, divergence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, compare, randn

T = torch.nn.functional
REDUCTIONS = ["mean", "sum", "none"]
LABELS = (randn(5, 4, seed=8) > 0).astype(np.float64)
SIGNS = 2 * LABELS - 1


def compared(name: str, x: np.ndarray, target: np.ndarray, **options: Any) -> None:
    """Against torch: numpy arrays among the options become tensors."""
    second, dtype = options.pop("second", True), options.pop("dtype", "float32")
    named = {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
    plain = {k: v for k, v in options.items() if k not in named}
    kind = getattr(tg, dtype)
    floating = target.dtype.kind == "f"
    mine = tg.tensor(target, dtype=kind if floating else tg.int64)
    extra = {k: tg.tensor(v, dtype=kind) for k, v in named.items()}
    wide = {k: torch.tensor(v.tolist(), dtype=torch.float64) for k, v in extra.items()}
    theirs = torch.tensor(mine.tolist(), dtype=torch.float64 if floating else torch.int64)
    check(
        lambda a: getattr(F, name)(a, mine, **plain, **extra),
        lambda a: getattr(T, name)(a, theirs, **plain, **wide),
        x, terms=x.size, second=second, dtype=dtype, slack=8,
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy(reduction: str) -> None:
    p = 1 / (1 + np.exp(-randn(5, 4)))
    compared("binary_cross_entropy", p, LABELS, reduction=reduction, second=False)
    compared("binary_cross_entropy", p, LABELS * 0.8 + 0.1, reduction=reduction, second=False)
    compared("binary_cross_entropy", p, LABELS, weight=np.abs(randn(4, seed=3)), reduction=reduction, second=False)


def test_probabilities_at_the_ends() -> None:
    ends = [[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    found = []
    for m, f in ((tg, F), (torch, T)):
        x, t = (m.tensor(v, requires_grad=True) for v in ends)
        loss = f.binary_cross_entropy(x, t, reduction="none")
        loss.sum().backward()
        found.append([loss.tolist(), x.grad.tolist(), t.grad.tolist()])
    assert found[0] == found[1]
    for m, f in ((tg, F), (torch, T)):
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            f.binary_cross_entropy(m.tensor([1.5]), m.tensor([1.0]))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_logits(reduction: str) -> None:
    name = "binary_cross_entropy_with_logits"
    compared(name, randn(5, 4) * 3, LABELS, reduction=reduction)
    compared(name, randn(5, 4), LABELS, reduction=reduction, weight=np.abs(randn(5, 1, seed=3)))
    compared(name, randn(5, 4), LABELS, reduction=reduction, pos_weight=np.abs(randn(4, seed=3)) + 0.5)
    compared(name, randn(5, 4), LABELS, reduction=reduction, dtype="float64")
    compared(name, np.array([200.0, -200.0, 90.0, -90.0]), np.array([1.0, 0.0, 0.0, 1.0]), reduction=reduction)


def test_gradients_of_targets() -> None:
    for name in ("binary_cross_entropy_with_logits", "binary_cross_entropy"):
        p = 1 / (1 + np.exp(-randn(5, 4)))
        check(getattr(F, name), getattr(T, name), p, LABELS * 0.6 + 0.2, terms=20)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_margins(reduction: str) -> None:
    compared("soft_margin_loss", randn(5, 4), SIGNS, reduction=reduction)
    compared("hinge_embedding_loss", randn(5, 4), SIGNS, reduction=reduction)
    compared("hinge_embedding_loss", randn(5, 4), SIGNS, margin=0.3, reduction=reduction)
    compared("multilabel_soft_margin_loss", randn(5, 4), LABELS, reduction=reduction)
    compared("multilabel_soft_margin_loss", randn(5, 4), LABELS, weight=np.abs(randn(4, seed=1)), reduction=reduction)
    for target, x in ((np.array([0, 3, 1, 1, 2]), randn(5, 4)), (np.array(2), randn(4))):
        for p in (1, 2):
            compared("multi_margin_loss", x, target, p=p, margin=0.7, reduction=reduction, second=False)
        weight = np.abs(randn(4, seed=1))
        compared("multi_margin_loss", x, target, weight=weight, reduction=reduction, second=False)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total")
@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_divergence(reduction: str, log_target: bool) -> None:
    p, q = (np.exp(a) / np.exp(a).sum(1, keepdims=True) for a in (randn(5, 4, seed=1), randn(5, 4, seed=2)))
    target = np.log(q) if log_target else q
    if not log_target:
        target[0, 0] = 0.0
    compared("kl_div", np.log(p), target, reduction=reduction, log_target=log_target)


def test_mean_divergence_is_warned_of() -> None:
    for m, f in ((tg, F), (torch, T)):
        with pytest.warns(UserWarning, match="batchmean"):
            f.kl_div(m.zeros(2), m.zeros(2))


def test_what_cannot_be() -> None:
    for m, f in ((tg, F), (torch, T)):
        x = m.ones(3, 2)
        for error, call in (
            (ValueError, lambda x=x, m=m, f=f: f.binary_cross_entropy(x, m.ones(3))),
            (ValueError, lambda x=x, m=m, f=f: f.binary_cross_entropy_with_logits(x, m.ones(3))),
            (ValueError, lambda x=x, m=m, f=f: f.multi_margin_loss(x, m.zeros(3, dtype=m.int64), p=3)),
        ):
            with pytest.raises(error):
                call()
    with pytest.raises(NotImplementedError, match="ctc_loss"):
        F.ctc_loss()
    with tg.autocast("cpu"), pytest.raises(RuntimeError, match="unsafe to autocast"):
        F.binary_cross_entropy(tg.ones(2), tg.ones(2))


def test_gumbel_softmax() -> None:
    tg.manual_seed(0)
    logits = tg.tensor(np.log([0.1, 0.2, 0.7]).astype(np.float32)).expand(4000, 3).clone().requires_grad_()
    soft = F.gumbel_softmax(logits, tau=0.5)
    compare("rows", soft.sum(1).detach(), torch.ones(4000), 1e-5)
    hard = F.gumbel_softmax(logits, hard=True)
    (hard * tg.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum().item() > 0
    share = hard.detach().numpy().mean(0)
    assert np.allclose(share, [0.1, 0.2, 0.7], atol=4 * math.sqrt(0.21 / 4000))
    assert F.softmin(logits.detach()[:1], dim=1).tolist() == F.softmax(-logits.detach()[:1], dim=1).tolist()
