"""How near vectors are to each other, and losses of that."""

from __future__ import annotations

from collections.abc import Callable

from tritongrad.ops.arithmetic import div
from tritongrad.ops.comparison import clamp, eq, minimum, where
from tritongrad.ops.norms import vector_norm
from tritongrad.ops.reduce import sum
from tritongrad.ops.reduction import chosen, reduced
from tritongrad.ops.transcendental import sqrt
from tritongrad.ops.views import broadcast_tensors
from tritongrad.precision import raised
from tritongrad.tensor import Tensor


@raised
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along one axis; other axes broadcast."""
    x1, x2 = broadcast_tensors(x1, x2)
    lengths = [clamp(vector_norm(x, 2, dim, keepdim=True), min=eps) for x in (x1, x2)]
    return sum((x1 / lengths[0]) * (x2 / lengths[1]), dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """|x1 - x2 + eps|_p along the last axis; others broadcast."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim=keepdim)


@raised
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """input / max(|input|_p, eps) along one axis."""
    return div(input, clamp(vector_norm(input, p, dim, keepdim=True), min=eps), out=out)


@raised
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos for pairs that belong together (target 1), max(0, cos - margin) for those that do not (-1).

    Inputs [N, D] or [D].
    """
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: expected inputs [N, D] and target [N], or [D] and [], got {list(input1.shape)}, "
            f"{list(input2.shape)} and {list(target.shape)}"
        )
    tiny = 1e-12
    cosine = sum(input1 * input2, -1) / sqrt((sum(input1 * input1, -1) + tiny) * (sum(input2 * input2, -1) + tiny))
    loss = where(eq(target, 1), 1 - cosine, 0.0) + where(eq(target, -1), clamp(cosine - margin, min=0.0), 0.0)
    return reduced(loss, chosen(reduction, size_average, reduce), "cosine_embedding_loss")


@raised
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target (input1 - input2)): input1 should be the larger where target is 1, input2 where -1."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            f"margin_ranking_loss: all inputs should have the same number of dimensions, got {list(input1.shape)}, "
            f"{list(input2.shape)} and {list(target.shape)}"
        )
    loss = clamp(margin - target * (input1 - input2), min=0.0)
    return reduced(loss, chosen(reduction, size_average, reduce), "margin_ranking_loss")


@raised
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |anchor - positive|_p - |anchor - negative|_p + margin) along the last axis.

    With `swap` the negative's distance is the lesser of those to anchor and positive. Source: Balntas et al. 2016.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    reduction = chosen(reduction, size_average, reduce)
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` for any distance; that of `pairwise_distance` unless given."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"triplet_margin_loss: anchor, positive and negative must have the same number of dimensions, got "
            f"{list(anchor.shape)}, {list(positive.shape)} and {list(negative.shape)}"
        )
    between = distance_function or pairwise_distance
    near, far = between(anchor, positive), between(anchor, negative)
    far = minimum(far, between(positive, negative)) if swap else far
    return reduced(clamp(near - far + margin, min=0.0), reduction, "triplet_margin_loss")
