"""Losses of logits and log-probabilities against classes."""

from __future__ import annotations

from collections.abc import Callable

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.comparison import ne, where
from tritongrad.ops.reduce import sum
from tritongrad.ops.reduction import chosen, reduced
from tritongrad.ops.softmax import log_softmax
from tritongrad.ops.views import permute, reshape
from tritongrad.precision import raised
from tritongrad.tensor import Tensor, differentiable, record
from tritongrad_kernels import dtypes, elementwise, index, loss as kernel
from tritongrad_kernels.array import Array


@raised
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum_c q_c log softmax(input)_c for logits input [N, C], [C] or [N, C, d1, ...].

    `target` holds class indices [N, d1, ...] (int64; those equal to `ignore_index` are left out) or probabilities of
    the shape of input. `weight` [C] scales classes; smoothing moves that share of each target to the uniform
    distribution. The mean is over the weights of the target classes for indices, over rows for probabilities, as
    torch's.
    """
    reduction = chosen(reduction, size_average, reduce)
    classes = not target.dtype.is_floating_point
    _check(input, target, weight, classes, label_smoothing)
    axis = 0 if input.ndim == 1 else 1
    outer = target.shape if classes else (*input.shape[:axis], *input.shape[axis + 1 :])
    count = input.shape[axis]
    rows = _class_last(input, axis, count)
    if classes:
        targets = reshape(target.to(dtypes.int64), (-1,)).contiguous()
        if reduction == "mean":
            return _mean_loss(rows, targets, weight, ignore_index, label_smoothing)
    else:
        targets = _class_last(target, axis, count)
    losses = reshape(_row_losses(rows, targets, weight, ignore_index, label_smoothing), outer)
    return reduced(losses, reduction, "cross_entropy")  # for probabilities, the mean is over rows


@raised
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[n, target[n]] weight[target[n]] for log-probabilities input [N, C], [C] or [N, C, d1, ...].

    Targets, weights and reductions are those of `cross_entropy`.
    """
    reduction = chosen(reduction, size_average, reduce)
    axis = 0 if input.ndim == 1 else 1
    outer = (*input.shape[:axis], *input.shape[axis + 1 :])
    if not input.ndim or tuple(target.shape) != outer:
        raise RuntimeError(
            f"nll_loss: expected input [N, C, d1, ...] and target [N, d1, ...], got {list(input.shape)} and "
            f"{list(target.shape)}"
        )
    if not input.dtype.is_floating_point or target.dtype.is_floating_point:
        raise RuntimeError(
            f"nll_loss: expected integer targets of floats, got {target.dtype.name} of {input.dtype.name}"
        )
    count = input.shape[axis]
    input, target = _class_last(input, axis, count), reshape(target, (-1,))
    message = f"nll_loss: a target class is out of range: expected 0 .. {count - 1}, or ignore_index {ignore_index}"
    index.require_range(elementwise.contiguous(target.array), count, message, ignore_index)
    hot = _one_hot(target, count) & reshape(target != ignore_index, (-1, 1))
    scaled = hot.to(input.dtype) if weight is None else hot * reshape(weight, (1, -1))
    losses = sum(where(hot, -input * scaled, 0.0), 1)
    if reduction != "mean":
        return reduced(reshape(losses, outer), reduction, "nll_loss")
    acc = dtypes.accumulator(input.dtype)
    return (sum(losses, dtype=acc) / sum(scaled, dtype=acc)).to(input.dtype)


def _one_hot(target: Tensor, count: int) -> Tensor:
    columns = Tensor(elementwise.iota(count, target.device))
    return reshape(target, (-1, 1)) == reshape(columns, (1, -1))


def _weight_of(targets: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """The summed weight of the target classes."""
    return sum(where(_one_hot(targets, weight.shape[0]) & reshape(kept, (-1, 1)), reshape(weight, (1, -1)), 0.0))


def _check(x: Tensor, target: Tensor, weight: Tensor | None, classes: bool, smoothing: float) -> None:
    described = f"input {x.dtype.name}{list(x.shape)} and target {target.dtype.name}{list(target.shape)}"
    if x.ndim < 1 or not x.dtype.is_floating_point:
        raise RuntimeError(f"cross_entropy: expected floating-point logits [N, C, ...], got {described}")
    if not 0.0 <= smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0.0 and 1.0, got {smoothing}")
    axis = 0 if x.ndim == 1 else 1
    expected = (*x.shape[:axis], *x.shape[axis + 1 :]) if classes else tuple(x.shape)
    if tuple(target.shape) != expected:
        raise RuntimeError(f"cross_entropy: expected a target of shape {list(expected)}, got {described}")
    if weight is not None and (weight.shape != (x.shape[axis],) or weight.dtype is not x.dtype):
        raise RuntimeError(
            f"cross_entropy: expected a weight {x.dtype.name}[{x.shape[axis]}], "
            f"got {weight.dtype.name}{list(weight.shape)}"
        )
    if x.device != target.device:
        raise RuntimeError(f"cross_entropy: input is on {x.device}, target on {target.device}")


def _class_last(x: Tensor, axis: int, count: int) -> Tensor:
    if x.ndim > 2:
        x = permute(x, (0, *range(2, x.ndim), 1))
    return reshape(x, (-1, count)) if x.numel() else reshape(x, (0, count))


def _row_losses(x: Tensor, target: Tensor, weight: Tensor | None, ignore: int, smoothing: float) -> Tensor:
    """The loss of each row of x [M, C]."""
    losses, gradient = _fused(x, target, weight, ignore, smoothing)
    if losses.wrong is not None:
        _refuse_wrong(losses.wrong, x.shape[1], ignore)
    if _unfused(target, weight):
        return _composed(x, target, weight, ignore, smoothing)

    def backward(dy: Tensor) -> Tensor:
        if is_grad_enabled():
            return differentiable(lambda t: _composed(t, target, weight, ignore, smoothing), [x], dy)[0]
        return gradient(dy, None)

    return record(losses.loss, (x, backward))


def _mean_loss(x: Tensor, target: Tensor, weight: Tensor | None, ignore: int, smoothing: float) -> Tensor:
    """The mean over the rows of x [M, C], by the weights of their classes, target [M]."""
    losses, gradient = _fused(x, target, weight, ignore, smoothing, mean=True)
    mean, total, wrong = kernel.mean_of_rows(losses, x.dtype)
    _refuse_wrong(wrong, x.shape[1], ignore)

    def composed(x: Tensor) -> Tensor:
        # Neither the sum nor the number of rows need fit a half.
        acc, kept = dtypes.accumulator(x.dtype), ne(target, ignore)
        weights = sum(kept).to(acc) if weight is None else _weight_of(target, weight.to(acc), kept)
        return (sum(_composed(x, target, weight, ignore, smoothing), dtype=acc) / weights).to(x.dtype)

    if _unfused(target, weight):
        return composed(x)

    def backward(dy: Tensor) -> Tensor:
        return differentiable(composed, [x], dy)[0] if is_grad_enabled() else gradient(dy, total)

    return record(mean, (x, backward))


def _unfused(target: Tensor, weight: Tensor | None) -> bool:
    """Whether a gradient is wanted that the fused kernel does not know."""
    return target.requires_grad or (weight is not None and weight.requires_grad)


def _fused(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore: int, smoothing: float, mean: bool = False
) -> tuple[kernel.RowLosses, Callable[[Tensor, Array | None], Tensor]]:
    """The losses of the rows, and the gradient for x given that for them, or for their mean and what it divided by."""
    logits = elementwise.contiguous(x.array)
    targets = elementwise.contiguous(target.array)
    weights = None if weight is None else elementwise.contiguous(weight.array)
    losses = kernel.cross_entropy(logits, targets, weights, ignore, smoothing, mean)

    def gradient(dy: Tensor, divisor: Array | None) -> Tensor:
        return Tensor(kernel.cross_entropy_grad(dy.array, divisor, logits, targets, weights, losses, ignore, smoothing))

    return losses, gradient


def _refuse_wrong(wrong: Array, count: int, ignore: int) -> None:
    message = f"cross_entropy: a target class is out of range: expected 0 .. {count - 1}, or ignore_index {ignore}"
    index.expect_zero(wrong, lambda _: IndexError(message))


def _composed(x: Tensor, target: Tensor, weight: Tensor | None, ignore: int, smoothing: float) -> Tensor:
    """The same function from operations that can be differentiated any number of times."""
    count = x.shape[1]
    if target.ndim == 1:
        share = _one_hot(target, count).to(x.dtype)
        kept = reshape(target != ignore, (-1, 1)).to(x.dtype)
        scaled = share if weight is None else share * reshape(weight, (1, -1))
        uniform = kept if weight is None else kept * reshape(weight, (1, -1))
        q = scaled * kept * (1 - smoothing) + uniform * (smoothing / count)
    else:
        q = target * (1 - smoothing) + smoothing / count
        q = q if weight is None else q * reshape(weight, (1, -1))
    return -sum(q * log_softmax(x, 1), 1)
