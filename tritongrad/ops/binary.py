"""Losses of a probability or a margin against yes and no, and of one distribution against another."""

from __future__ import annotations

import warnings

from tritongrad.autograd import no_grad
from tritongrad.ops.activation import logsigmoid
from tritongrad.ops.comparison import clamp, eq, where
from tritongrad.ops.gather import gather
from tritongrad.ops.linalg import described
from tritongrad.ops.reduce import mean, sum
from tritongrad.ops.reduction import chosen, reduced
from tritongrad.ops.scan import cumprod
from tritongrad.ops.transcendental import exp, log, log1p, xlogy
from tritongrad.ops.views import unsqueeze
from tritongrad.precision import raised, refused
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import dtypes


def _require_same(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(f"{name}: target size {list(target.shape)} must be the same as input size {list(input.shape)}")


@refused(
    "use binary_cross_entropy_with_logits or BCEWithLogitsLoss, whose logarithms cannot overflow in half precision"
)
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)) of probabilities, logarithms being at least -100.

    `weight` broadcasts against input. RuntimeError for an input outside 0 .. 1.
    """
    _require_same("binary_cross_entropy", input, target)
    if input.numel() and not ((input >= 0) & (input <= 1)).all().item():
        raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1")
    with no_grad():
        yes, no = clamp(log(input), min=-100.0), clamp(log1p(-input), min=-100.0)
        loss = (target - 1) * no - target * yes
    loss = record(
        loss.array,
        (input, lambda dy: dy * (input - target) / clamp((1 - input) * input, min=1e-12)),
        (target, lambda dy: dy * (log1p(-input) - log(input))),
    )
    loss = loss if weight is None else loss * weight
    return reduced(loss, chosen(reduction, size_average, reduce), "binary_cross_entropy")


@raised
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(p target log sigmoid(input) + (1 - target) log sigmoid(-input)), which overflows nowhere.

    `weight` scales elements and `pos_weight` p the share of yes; both broadcast against input.
    """
    _require_same("binary_cross_entropy_with_logits", input, target)
    share = 1 if pos_weight is None else (pos_weight - 1) * target + 1
    loss = (1 - target) * input - share * logsigmoid(input)
    loss = loss if weight is None else loss * weight
    return reduced(loss, chosen(reduction, size_average, reduce), "binary_cross_entropy_with_logits")


@raised
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target input)) for targets of 1 and -1."""
    loss = -logsigmoid(target * input)
    return reduced(loss, chosen(reduction, size_average, reduce), "soft_margin_loss")


@raised
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """A distance where the target is 1, and what it lacks to `margin` where it is -1."""
    near = where(eq(target, -1), 0.0, input)
    far = where(eq(target, 1), 0.0, clamp(margin - input, min=0.0))
    return reduced(near + far, chosen(reduction, size_average, reduce), "hinge_embedding_loss")


@raised
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of logits [N, C], averaged over classes; `weight` [C] scales them."""
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    loss = mean(loss if weight is None else loss * weight, -1)
    return reduced(loss, chosen(reduction, size_average, reduce), "multilabel_soft_margin_loss")


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over other classes c of max(0, margin - input[target] + input[c])^p / C, for scores [N, C] or [C].

    `weight` [C] scales by the target's class, before the power.
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight.shape != input.shape[-1:]:
        raise ValueError(f"multi_margin_loss: weight must have {input.shape[-1]} elements, got {list(weight.shape)}")
    right = unsqueeze(target, -1)
    lack = clamp(margin - gather(input, -1, right) + input, min=0.0)
    lack = lack if p == 1 else lack * lack
    lack = lack if weight is None else lack * gather(weight.expand(input.shape), -1, right)
    others = gather(input * 0 + 1, -1, right).detach() * 0  # the target's own entry counts for nothing
    loss = sum(lack.scatter(-1, right, others), -1) / input.shape[-1]
    return reduced(loss, chosen(reduction, size_average, reduce), "multi_margin_loss")


@raised
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over classes y of a row, and others c, of max(0, 1 - input[y] + input[c]) / C, for scores [N, C] or [C].

    `target`, int64 of the same shape, has a row's classes first, and -1 after them.
    """
    if input.ndim not in (1, 2) or not input.shape[-1]:
        raise RuntimeError(f"multilabel_margin_loss: expected scores [N, C] or [C], got {described(input)}")
    if target.shape != input.shape:
        raise RuntimeError(f"multilabel_margin_loss: inconsistent target size, got {described(input, target)}")
    if target.dtype is not dtypes.int64:
        raise RuntimeError(f"multilabel_margin_loss: expected int64 targets, got {described(input, target)}")
    classes = input.shape[-1]
    named = cumprod((target >= 0).to(dtypes.int64), -1) > 0  # nothing counts after the first -1
    beyond = where(named, target, classes)
    marks = input.new_zeros(*input.shape[:-1], classes + 1, dtype=dtypes.int64)
    other = marks.scatter(-1, beyond, 1)[..., :classes] == 0
    lack = clamp(1 - unsqueeze(gather(input, -1, where(named, target, 0)), -1) + unsqueeze(input, -2), min=0.0)
    counted = unsqueeze(named, -1) & unsqueeze(other, -2)
    loss = sum(where(counted, lack, 0.0), (-2, -1)) / classes
    return reduced(loss, chosen(reduction, size_average, reduce), "multilabel_margin_loss")


@raised
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log target - input) for log-probabilities input; `log_target` says that target is a logarithm too.

    "batchmean" is the sum over the first extent, which is the divergence of Kullback and Leibler; "mean" is not.
    """
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.",
            stacklevel=3,
        )
    reduction = chosen(reduction, size_average, reduce)
    loss = exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    if reduction == "batchmean":
        return sum(loss) / input.shape[0] if input.ndim else sum(loss)
    return reduced(loss, reduction, "kl_div")
