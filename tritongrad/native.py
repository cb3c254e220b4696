"""torch's own forms of what nn.functional has too: `torch.embedding(weight, indices)`, losses with numbered reductions.

A reduction is 0 for "none", 1 for "mean", 2 for "sum".
"""

from __future__ import annotations

from tritongrad import dropout as chance
from tritongrad.ops import binary, regression, similarity
from tritongrad.ops.conv import conv1d
from tritongrad.ops.embedding import embedding as _embedding
from tritongrad.ops.linalg import described
from tritongrad.ops.views import permute
from tritongrad.tensor import Tensor

_REDUCTIONS = ("none", "mean", "sum")


def _named(reduction: int) -> str:
    if reduction not in (0, 1, 2):
        raise RuntimeError(f"reduction must be 0 (none), 1 (mean) or 2 (sum), got {reduction!r}")
    return _REDUCTIONS[reduction]


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """As `nn.functional.embedding`, the weight first; a negative `padding_idx` is none."""
    padding = padding_idx if padding_idx >= 0 else None
    return _embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """As `nn.functional.dropout`."""
    return chance.dropout(input, p, train)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """As `nn.functional.alpha_dropout`."""
    return chance.alpha_dropout(input, p, train)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """As `nn.functional.feature_alpha_dropout`."""
    return chance.feature_alpha_dropout(input, p, train)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Cross-correlate [time, batch, C] with weight [window, C, O] + bias [O] into [time', batch, O]."""
    if input.ndim != 3 or weight.ndim != 3 or bias.ndim != 1:
        raise RuntimeError(
            f"conv_tbc: expected input [T, B, C], weight [K, C, O] and bias [O], got {described(input, weight, bias)}"
        )
    y = conv1d(permute(input, (1, 2, 0)), permute(weight, (2, 1, 0)), bias, padding=pad)
    return permute(y, (2, 0, 1))


def kl_div(input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """As `nn.functional.kl_div`."""
    loss = binary.kl_div(input, target, reduction="none", log_target=log_target)
    return {"none": lambda: loss, "mean": loss.mean, "sum": loss.sum}[_named(reduction)]()


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    """As `nn.functional.binary_cross_entropy_with_logits`."""
    return binary.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_named(reduction), pos_weight=pos_weight
    )


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """As `nn.functional.cosine_embedding_loss`."""
    return similarity.cosine_embedding_loss(input1, input2, target, margin, reduction=_named(reduction))


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1) -> Tensor:
    """As `nn.functional.hinge_embedding_loss`."""
    return binary.hinge_embedding_loss(input, target, margin, reduction=_named(reduction))


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """As `nn.functional.margin_ranking_loss`."""
    return similarity.margin_ranking_loss(input1, input2, target, margin, reduction=_named(reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 1,
) -> Tensor:
    """As `nn.functional.triplet_margin_loss`."""
    return similarity.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_named(reduction))


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """As `nn.functional.poisson_nll_loss`."""
    return regression.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_named(reduction))
