"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.operands import require_tensor
from tritongrad.ops.reduce import mean as mean_of
from tritongrad.ops.transcendental import rsqrt
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, differentiable, record_joint
from tritongrad_kernels import dtypes, elementwise, fusion, fusion_grad, norm, waiting_sums
from tritongrad_kernels.array import Array, channels_last_strides, contiguous_strides


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    batches: Tensor | None = None,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) weight + bias, per channel of input [N, C, ...].

    In training, mean and variance are the batch's (biased) and running statistics move towards them (unbiased) by
    `momentum`; otherwise they are the running ones. `batches`, an int64 scalar, then counts one more batch, and a
    momentum of None averages over all of them. A residual that is added next and a ReLU become part of the same pass
    over memory. Source: Ioffe and Szegedy 2015.
    """
    require_tensor("batch_norm", input=input)
    _check(input, running_mean, running_var, weight, bias, training, eps)
    shape, channels = input.array.shape, input.array.shape[1]
    strides = channels_last_strides(shape) if len(shape) > 2 else contiguous_strides(shape)
    image = elementwise.in_order(input.array, strides)
    moments = fusion.moments(image) if training else None
    running = [None if t is None else t.array for t in (running_mean, running_var, batches)]
    statistics = norm.Statistics(eps, moments, momentum, *running)
    wanted = input.requires_grad and is_grad_enabled()
    site = fusion.Site(fusion.rows(image), statistics, _contiguous(weight), _contiguous(bias), training, wanted)
    for moved in running if training else ():
        if moved is not None:
            moved.memory.version += 1
    inputs = (input, weight, bias)
    given = () if training else (running_mean, running_var)

    def gradient(dy: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        if is_grad_enabled():
            return differentiable(lambda x, w, b: _composed(x, w, b, given, eps), inputs, dy)
        dx, sums = fusion_grad.gradients(
            elementwise.in_order(dy.array, strides), site, wanted[0], wanted[1] or wanted[2]
        )
        dweight, dbias = (
            None if sums is None or not want else waiting_sums.summed(sums.select(1, i), (channels,), sums.dtype)
            for want, i in ((wanted[1], 1), (wanted[2], 0))
        )
        return [
            None if dx is None else Tensor(dx.view(shape, strides)),
            None if dweight is None else Tensor(dweight),
            None if dbias is None else Tensor(dbias),
        ]

    return record_joint(fusion.normalized(site, shape, strides), inputs, gradient, training=training)


def _check(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
) -> None:
    described = f"{x.dtype.name}{list(x.shape)}"
    if x.ndim < 2:
        raise RuntimeError(f"batch_norm: expected an input [N, C, ...], got {described}")
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"batch_norm: expected a floating-point input [N, C, ...], got {described}")
    for name, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if t is not None and t.shape != (x.shape[1],):
            raise RuntimeError(
                f"batch_norm: expected {name} of shape [{x.shape[1]}] for {described}, got {list(t.shape)}"
            )
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("batch_norm: running_mean and running_var must be given in evaluation mode")
    if eps < 0 or (training and eps == 0):
        wanted = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm: eps must be {wanted}, but got {eps}")
    if training and x.numel() // max(x.shape[1], 1) <= 1:
        raise ValueError(f"batch_norm: expected more than 1 value per channel when training, got input {described}")


def _contiguous(t: Tensor | None) -> Array | None:
    return None if t is None else elementwise.contiguous(t.array)


def _composed(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, given: Sequence[Tensor | None], eps: float
) -> Tensor:
    """The same function from operations that can be differentiated any number of times; `given` are mean and variance,
    where they are not those of x."""
    shape = (1, x.shape[1], *(1 for _ in x.shape[2:]))
    axes = (0, *range(2, x.ndim))
    if given:
        mean, var = (reshape(t.to(dtypes.accumulator(x.dtype)), shape) for t in given if t is not None)
        centred = x - mean
    else:
        centred = x - mean_of(x, axes, keepdim=True)
        var = mean_of(centred * centred, axes, keepdim=True)
    y = centred * rsqrt(var + eps)
    y = y if weight is None else y * reshape(weight, shape)
    return y if bias is None else y + reshape(bias, shape)
