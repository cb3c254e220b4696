"""Normalisation within each element of a batch: over trailing axes, groups of channels, single channels, neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tritongrad.autograd import is_grad_enabled, no_grad
from tritongrad.ops.describe import finfo
from tritongrad.ops.norm import batch_norm
from tritongrad.ops.operands import require_tensor
from tritongrad.ops.padding import pad
from tritongrad.ops.reduce import mean as mean_of
from tritongrad.ops.slicing import unfold
from tritongrad.ops.transcendental import rsqrt
from tritongrad.ops.views import reshape
from tritongrad.precision import raised
from tritongrad.tensor import Tensor, differentiable, record_joint
from tritongrad_kernels import dtypes, elementwise, layernorm as kernel
from tritongrad_kernels.array import Array, channels_last_strides
from tritongrad_kernels.layernorm import Layout


@raised
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) weight + bias over the trailing axes, whose extents are `normalized_shape`.

    `var` is biased; weight and bias have the normalised shape. Source: Ba et al. 2016.
    """
    shape = _trailing("layer_norm", input, normalized_shape, weight, bias)
    m, n = _matrix(input, shape)
    x, scale, shift = elementwise.contiguous(input.array), _dense(weight), _dense(bias)
    y, mean, rstd, _ = kernel.layer_norm(x, scale, shift, eps, m, n)
    inputs = (input, weight, bias)

    def composition(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return _affine(_standardised(input, len(shape), eps), weight, bias)

    def gradient(dy: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        if is_grad_enabled():
            return differentiable(composition, inputs, dy)
        g = elementwise.contiguous(dy.array)
        dx = Tensor(kernel.row_grad(g, x, scale, mean, rstd, n)) if wanted[0] else None
        sums = kernel.grad_sums(g, x, mean, rstd, n) if wanted[1] or wanted[2] else None
        return [dx, *_shares(sums, shape, wanted)]

    return record_joint(y, inputs, gradient)


@raised
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """input / sqrt(mean of input^2 + eps) weight over the trailing axes, whose extents are `normalized_shape`.

    `eps` is the spacing of numbers at 1 unless given, float32's for half precisions.
    Source: Zhang and Sennrich 2019.
    """
    shape = _trailing("rms_norm", input, normalized_shape, weight, None)
    m, n = _matrix(input, shape)
    small = finfo(dtypes.accumulator(input.dtype)).eps if eps is None else eps
    x, scale = elementwise.contiguous(input.array), _dense(weight)
    y, rstd = kernel.rms_norm(x, scale, small, m, n)
    inputs = (input, weight)

    def composition(input: Tensor, weight: Tensor | None) -> Tensor:
        axes = tuple(range(-len(shape), 0))
        return _affine(input * rsqrt(mean_of(input * input, axes, keepdim=True) + small), weight, None)

    def gradient(dy: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        if is_grad_enabled():
            return differentiable(composition, inputs, dy)
        g = elementwise.contiguous(dy.array)
        dx = Tensor(kernel.row_grad(g, x, scale, None, rstd, n)) if wanted[0] else None
        sums = kernel.grad_sums(g, x, None, rstd, n) if wanted[1] else None
        return [dx, _shares(sums, shape, [*wanted, False])[0]]

    return record_joint(y, inputs, gradient)


@raised
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(input - mean) / sqrt(var + eps) weight + bias, moments of each of `num_groups` groups of channels of each image.

    input [N, C, ...], C a multiple of num_groups; weight and bias [C]. Images that lie channels-last stay so, without
    a copy. Source: Wu and He 2018.
    """
    require_tensor("group_norm", input=input)
    described = f"{input.dtype.name}{list(input.shape)}"
    if input.ndim < 2:
        raise RuntimeError(f"group_norm: expected at least 2 dimensions for input tensor but received {input.ndim}")
    if num_groups <= 0 or input.shape[1] % num_groups:
        raise RuntimeError(
            f"group_norm: expected number of channels in input to be divisible by num_groups, "
            f"but got input {described} and num_groups={num_groups}"
        )
    pixels = input.shape[2:].numel()
    if input.shape[0] * input.shape[1] // num_groups * pixels == 1:
        raise ValueError(f"group_norm: expected more than 1 value per channel when training, got input {described}")
    _require_vectors("group_norm", input, weight, bias)
    return _by_groups(input, num_groups, weight, bias, eps)[0]


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) weight + bias, moments of each channel of each image of input [N, C, ...].

    With `use_input_stats`, running statistics move by `momentum` towards the means over images of the moments (the
    variance unbiased); otherwise they are used in place of moments. Source: Ulyanov et al. 2016.
    """
    require_tensor("instance_norm", input=input)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "instance_norm: expected running_mean and running_var to be defined when use_input_stats is false"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps)
    described = f"{input.dtype.name}{list(input.shape)}"
    if input.ndim < 2:
        raise RuntimeError(f"instance_norm: expected an input [N, C, ...], got {described}")
    images, channels, pixels = input.shape[0], input.shape[1], input.shape[2:].numel()
    if pixels == 1:
        raise ValueError(f"instance_norm: expected more than 1 spatial element when training, got input {described}")
    _require_vectors("instance_norm", input, weight, bias, running_mean, running_var)
    y, mean, var = _by_groups(input, max(channels, 1), weight, bias, eps, running_var is not None)
    with no_grad():
        _move(running_mean, mean, (images, channels), 1.0, momentum)
        _move(running_var, var, (images, channels), pixels / max(pixels - 1, 1), momentum)
    return y


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """input / (k + alpha mean of input^2 over `size` neighbouring channels)^beta, channels beyond the edges being 0.

    input [N, C, ...] with at least one more axis. Source: Krizhevsky et al. 2012, section 3.3, alpha divided by size.
    """
    if input.ndim < 3:
        raise ValueError(f"local_response_norm: expected 3D or higher dimensionality input (got {input.ndim}D input)")
    if not input.numel():
        return input
    squares = pad(input * input, (*(0, 0) * (input.ndim - 2), size // 2, (size - 1) // 2))
    return input / (mean_of(unfold(squares, 1, size, 1), -1) * alpha + k) ** beta


def _trailing(
    name: str, x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None
) -> tuple[int, ...]:
    """The normalised shape, once everything is known to fit it."""
    require_tensor(name, input=x)
    if not isinstance(normalized_shape, Sequence):
        kind = type(normalized_shape).__name__
        raise TypeError(f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not {kind}")
    shape, own = tuple(normalized_shape), tuple(x.shape)
    if not shape:
        raise RuntimeError(f"{name}: expected normalized_shape to be at least 1-dimensional, but got {list(shape)}")
    if own[-len(shape) :] != shape:
        raise RuntimeError(
            f"{name}: given normalized_shape={list(shape)}, expected input with shape [*, {str(list(shape))[1:-1]}], "
            f"but got input of size {list(own)}"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t.shape) != shape:
            raise RuntimeError(
                f"{name}: expected {what} to be of same shape as normalized_shape, "
                f"but got {what} of shape {list(t.shape)} and normalized_shape = {list(shape)}"
            )
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"{name}: not implemented for {x.dtype.name} tensors")
    return shape


def _matrix(x: Tensor, shape: tuple[int, ...]) -> tuple[int, int]:
    """How many rows of how many elements."""
    return x.shape[: x.ndim - len(shape)].numel(), math.prod(shape)


def _require_vectors(
    name: str,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
) -> None:
    given = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    for what, t in given.items():
        if t is not None and t.shape != (x.shape[1],):
            raise RuntimeError(
                f"{name}: expected {what} to be a vector of size equal to the number of channels in input, "
                f"but got {what} of shape {list(t.shape)} and input of shape {list(x.shape)}"
            )
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"{name}: not implemented for {x.dtype.name} tensors")


def _by_groups(
    input: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, want_var: bool = False
) -> tuple[Tensor, Array, Array | None]:
    """The normalised images, with the mean and, if wanted, the variance of each group of each image."""
    images, channels = input.shape[:2]
    pixels = input.shape[2:].numel()
    n = channels // groups * pixels
    last = input.array.is_channels_last and not input.array.is_contiguous
    lie: dict[str, Any] = {"layout": "last" if last else "first", "groups": groups, "pixels": pixels}
    x, scale, shift = _lying(input.array, lie["layout"]), _dense(weight), _dense(bias)
    y, mean, rstd, var = kernel.layer_norm(x, scale, shift, eps, images * groups, n, want_var=want_var, **lie)
    inputs = (input, weight, bias)

    def composition(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        rows = _standardised(reshape(input, (images, groups, n)), 1, eps)
        shape = (channels, *(1 for _ in input.shape[2:]))
        weight, bias = (None if t is None else reshape(t, shape) for t in (weight, bias))
        return _affine(reshape(rows, input.shape), weight, bias)

    def gradient(dy: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        if is_grad_enabled():
            return differentiable(composition, inputs, dy)
        g = _lying(dy.array, lie["layout"])
        dx = Tensor(kernel.row_grad(g, x, scale, mean, rstd, n, **lie)) if wanted[0] else None
        sums = None
        if wanted[1] or wanted[2]:
            nothing = None if x.size else elementwise.full((2, channels), 0, mean.dtype, x.device)
            sums = nothing or kernel.grad_sums(g, x, mean, rstd, n, **lie)
        return [dx, *_shares(sums, (channels,), wanted)]

    return record_joint(y, inputs, gradient), mean, var


def _lying(a: Array, layout: Layout) -> Array:
    """The same elements, in the memory order that the kernels call "first" or "last"."""
    if layout == "last":
        return elementwise.in_order(a, channels_last_strides(a.shape))
    return elementwise.contiguous(a)


def _move(
    running: Tensor | None, moments: Array | None, shape: tuple[int, int], factor: float, momentum: float
) -> None:
    """A running statistic `momentum` of the way towards `factor` times the mean over images of moments."""
    if running is not None and moments is not None:
        batch = mean_of(Tensor(elementwise.reshape(moments, shape)), 0) * factor
        running.copy_(running * (1 - momentum) + batch * momentum)


def _shares(sums: Array | None, shape: tuple[int, ...], wanted: list[bool]) -> list[Tensor | None]:
    """The gradients of weight and bias out of the sums [2, n] of both, where wanted."""
    rows = {1: 1, 2: 0}
    return [
        Tensor(elementwise.reshape(sums.select(0, rows[k]), shape)) if sums is not None and wanted[k] else None
        for k in (1, 2)
    ]


def _dense(t: Tensor | None) -> Array | None:
    return None if t is None else elementwise.contiguous(t.array)


def _standardised(x: Tensor, axes: int, eps: float) -> Tensor:
    """x with mean 0 and variance 1 over its last axes, in operations that can be differentiated any number of times."""
    last = tuple(range(-axes, 0))
    centred = x - mean_of(x, last, keepdim=True)
    return centred * rsqrt(mean_of(centred * centred, last, keepdim=True) + eps)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias
