"""Batch normalisation, with a ReLU and a residual folded in where wanted."""

from __future__ import annotations

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops import activation
from tritongrad.ops.operands import require_tensor
from tritongrad.ops.reduce import mean as mean_of
from tritongrad.ops.transcendental import rsqrt
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, differentiable, record_joint
from tritongrad_kernels import elementwise, norm as kernel, norm_grad
from tritongrad_kernels.array import Array, channels_last_strides


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) weight + bias, per channel of input [N, C, ...].

    In training, mean and variance are the batch's (biased) and running statistics move towards them (unbiased) by
    `momentum`; otherwise they are the running ones. With `residual` and `relu`, relu(batch_norm(input) + residual) in
    the same pass. Source: Ioffe and Szegedy 2015.
    """
    require_tensor("batch_norm", input=input)
    _check(input, running_mean, running_var, weight, bias, training, residual, eps)
    rows, channels = input.numel() // max(input.shape[1], 1), input.shape[1]
    matrix = _rows(input.array, rows, channels)
    scale, shift = _contiguous(weight), _contiguous(bias)
    statistics = kernel.Statistics(
        eps, None, momentum, *(None if t is None else t.array for t in (running_mean, running_var))
    )
    if training:
        statistics.moments = kernel.moments(matrix)
    other = None if residual is None else _rows(residual.array, rows, channels)
    y, bits = kernel.apply(matrix, statistics, scale, shift, residual=other, relu=relu, bits=relu and other is not None)
    image = _image(y, input)
    passed: norm_grad.Relu = None if not relu else "recompute" if other is None else y if bits is None else bits
    inputs = (input, weight, bias, residual)

    def composition(input: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None) -> Tensor:
        if training:
            return _composed(input, None, None, weight, bias, residual, eps, relu)
        assert statistics.mean is not None and statistics.rstd is not None
        mean, rstd = Tensor(statistics.mean), Tensor(statistics.rstd)
        return _composed(input, mean, rstd, weight, bias, residual, eps, relu)

    def gradient(dy: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        if is_grad_enabled():
            return differentiable(composition, inputs, dy)
        flat = _rows(dy.array, rows, channels)
        sums = None
        if training or wanted[1] or wanted[2]:
            sums = norm_grad.grad_sums(flat, matrix, statistics, scale, shift, relu=passed)
        used = sums if training else None
        dx, dresidual = norm_grad.input_grad(
            flat, matrix, statistics, scale, shift, used, relu=passed, want_g=wanted[3]
        )
        folded = norm_grad.fold_sums(sums) if sums is not None and (wanted[1] or wanted[2]) else None
        return [
            Tensor(_image(dx, input)) if wanted[0] else None,
            Tensor(folded.select(0, 1)) if wanted[1] and folded is not None else None,
            Tensor(folded.select(0, 0)) if wanted[2] and folded is not None else None,
            Tensor(_image(dresidual, input)) if dresidual is not None else None,
        ]

    return record_joint(image, inputs, gradient, training=training, relu=relu)


def _check(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    residual: Tensor | None,
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
    if residual is not None and (residual.shape != x.shape or residual.dtype is not x.dtype):
        raise RuntimeError(
            f"batch_norm: expected a residual {described}, got {residual.dtype.name}{list(residual.shape)}"
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


def _rows(a: Array, rows: int, channels: int) -> Array:
    """a [N, C, ...] as a contiguous matrix [rows, C], without a copy if it is stored channels-last."""
    if a.ndim > 2:
        a = elementwise.in_order(a, channels_last_strides(a.shape))
        a = a.permute((0, *range(2, a.ndim), 1))
    return elementwise.reshape(elementwise.contiguous(a), (rows, channels))


def _image(a: Array, x: Tensor) -> Array:
    """A matrix of `_rows` back in the shape of x, channels last."""
    if x.ndim == 2:
        return a
    stacked = elementwise.reshape(a, (x.shape[0], *x.shape[2:], x.shape[1]))
    return stacked.permute((0, x.ndim - 1, *range(1, x.ndim - 1)))


def _composed(
    x: Tensor,
    mean: Tensor | None,
    rstd: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    eps: float,
    relu: bool,
) -> Tensor:
    """The same function from operations that can be differentiated any number of times."""
    shape = (1, x.shape[1], *(1 for _ in x.shape[2:]))
    axes = (0, *range(2, x.ndim))
    if mean is None or rstd is None:
        centred = x - mean_of(x, axes, keepdim=True)
        y = centred * rsqrt(mean_of(centred * centred, axes, keepdim=True) + eps)
    else:
        y = (x - reshape(mean, shape)) * reshape(rstd, shape)
    y = y if weight is None else y * reshape(weight, shape)
    y = y if bias is None else y + reshape(bias, shape)
    y = y if residual is None else y + residual
    return activation.relu(y) if relu else y
