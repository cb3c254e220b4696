"""Activation functions, as torch.nn.functional has them."""

from __future__ import annotations

import math
from typing import Any

from tritongrad.ops.comparison import clamp, gt, le, lt, where
from tritongrad.ops.numpy_names import numpy_names
from tritongrad.ops.operands import apply, floating_type, into, overwrite, refuse, require_tensor, widened, write
from tritongrad.ops.transcendental import exp, sigmoid, tanh
from tritongrad.precision import lowered, raised
from tritongrad.tensor import Tensor, record, record_inplace
from tritongrad_kernels import activations as kernel, dtypes
from tritongrad_kernels.array import Array


def _floats(name: str, formula: Any, input: Tensor, *numbers: float) -> Array:
    """formula(input, *numbers) for a floating tensor."""
    require_tensor(name, input=input)
    refuse(name, input.dtype, "bi")
    return apply(name, formula, input, *numbers)


def _gated(formula: Any, dy: Tensor, x: Tensor, *numbers: float) -> Tensor:
    """formula(dy, x, *numbers), linear in dy and constant from step to step in x."""
    y = apply("gradient", formula, dy, x, *numbers, kind=dy.dtype)
    return record(y, (dy, lambda g: _gated(formula, g, x, *numbers)))


# --------------------------------------------------------------------------------------------------- in straight pieces


def relu(input: Tensor) -> Tensor:
    """max(input, 0); NaN stays NaN, the gradient at 0 is 0."""
    require_tensor("relu", input=input)
    refuse("relu", input.dtype, "b")
    return record(apply("relu", kernel._relu, input), (input, lambda dy, y: where_positive(dy, y)))


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    require_tensor("relu_", input=input)
    refuse("relu_", input.dtype, "b")
    return record_inplace(
        input, write("relu_", kernel._relu, input.dtype, input), (input, lambda dy, y: where_positive(dy, y))
    )


def where_positive(x: Tensor, y: Tensor) -> Tensor:
    """x where y > 0 or y is NaN, else 0. No gradient for y, whose is 0 almost everywhere."""
    z = apply("where_positive", kernel._where_positive, x, y, kind=x.dtype)
    return record(z, (x, lambda g: where_positive(g, y)))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input above 0, negative_slope input below (Maas et al. 2013)."""
    if inplace:
        return overwrite("leaky_relu_", input.dtype, leaky_relu, input, negative_slope=negative_slope)
    y = _floats("leaky_relu", kernel._leaky_relu, input, negative_slope)
    return record(y, (input, lambda dy: _gated(kernel._leaky_gate, dy, input, negative_slope)))


@lowered
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input above 0, weight input below, with one weight, or one for each channel (axis 1) (He et al. 2015)."""
    require_tensor("prelu", input=input, weight=weight)
    refuse("prelu", input.dtype, "bi")
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.dtype is not input.dtype:
        raise RuntimeError(f"prelu: input is {input.dtype.name}, but weight {weight.dtype.name}")
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        raise RuntimeError(f"prelu: weight must have 1 or {channels} elements, but has shape {list(weight.shape)}")
    slope = weight.reshape(-1, *(1 for _ in range(input.ndim - 2))) if weight.numel() != 1 else weight.reshape(())
    return record(
        apply("prelu", kernel._leaky_relu, input, slope),
        (input, lambda dy: where(gt(input, 0), dy, dy * slope)),
        (slope, lambda dy: where(gt(input, 0), 0.0, dy * input)),
    )


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """input moved into [min_val, max_val]; unlike `clamp`'s, the gradient at the bounds is 0."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    if inplace:
        return overwrite("hardtanh_", input.dtype, hardtanh, input, min_val=min_val, max_val=max_val)
    require_tensor("hardtanh", input=input)
    refuse("hardtanh", input.dtype, "b")
    if input.dtype is dtypes.uint8 and min_val < 0:
        raise RuntimeError(f"hardtanh: cannot do hardtanh of uint8 with the negative limit {min_val}")
    low, high = (min_val, max_val) if input.dtype.is_floating_point else (int(min_val), int(max_val))
    y = apply("hardtanh", kernel._hardtanh, input, low, high)
    return record(y, (input, lambda dy: _gated(kernel._between_gate, dy, input, low, high)))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input moved into [0, 6]."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(input + 3) / 6 (Courbariaux et al. 2015)."""
    if inplace:
        return overwrite("hardsigmoid_", input.dtype, hardsigmoid, input)
    y = _floats("hardsigmoid", kernel._hardsigmoid, input)
    return record(y, (input, lambda dy: _gated(kernel._strictly_between_gate, dy / 6, input, -3.0, 3.0)))


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input relu6(input + 3) / 6 (Howard et al. 2019)."""
    if inplace:
        return overwrite("hardswish_", input.dtype, hardswish, input)
    y = _floats("hardswish", kernel._hardswish, input)
    return record(y, (input, lambda dy: where(le(input, -3), 0.0, where(lt(input, 3), dy * (input / 3 + 0.5), dy))))


def threshold(
    input: Tensor, threshold: float, value: float, inplace: bool = False, *, out: Tensor | None = None
) -> Tensor:
    """input above the threshold, `value` elsewhere."""
    return into(
        out, "threshold", threshold_(input, threshold, value) if inplace else _threshold(input, threshold, value)
    )


def _threshold(input: Tensor, bound: float, value: float) -> Tensor:
    require_tensor("threshold", input=input)
    refuse("threshold", input.dtype, "b")
    if not input.dtype.is_floating_point:
        bound, value = int(bound), int(value)
    y = apply("threshold", kernel._threshold, input, bound, value)
    return record(y, (input, lambda dy: _gated(kernel._threshold_gate, dy, input, bound)))


def hardshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """0 within [-lambd, lambd], input outside."""
    y = _floats("hardshrink", kernel._hardshrink, input, lambd)
    return into(out, "hardshrink", record(y, (input, lambda dy: _gated(kernel._shrink_gate, dy, input, lambd))))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved by lambd towards 0, but not past it."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambd must be greater or equal to 0, but found to be {lambd}")
    y = _floats("softshrink", kernel._softshrink, input, lambd)
    return record(y, (input, lambda dy: _gated(kernel._shrink_gate, dy, input, lambd)))


# --------------------------------------------------------------------------------------------------------------- smooth


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input above 0, alpha (exp(input) - 1) below (Clevert et al. 2015)."""
    if inplace:
        return overwrite("elu_", input.dtype, elu, input, alpha=alpha)
    return _elu("elu", input, 1.0, alpha, 1.0)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input above 0, alpha (exp(input / alpha) - 1) below (Barron 2017)."""
    if alpha == 0:
        raise RuntimeError("celu: alpha cannot be 0")
    if inplace:
        return overwrite("celu_", input.dtype, celu, input, alpha=alpha)
    return _elu("celu", input, 1.0, alpha, 1 / alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale elu(input, alpha) with the constants that keep mean 0 and variance 1 (Klambauer et al. 2017)."""
    if inplace:
        return overwrite("selu_", input.dtype, selu, input)
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return _elu("selu", input, scale, alpha * scale, 1.0)


def _elu(name: str, input: Tensor, scale: float, alpha: float, rate: float) -> Tensor:
    """scale input above 0, alpha (exp(rate input) - 1) below."""
    y = _floats(name, kernel._elu, input, scale, alpha, rate)
    return record(y, (input, lambda dy: where(le(input, 0), dy * _elu_slope(input, alpha, rate), dy * scale)))


def _elu_slope(x: Tensor, alpha: float, rate: float) -> Tensor:
    """Below 0; the exponent is capped, so that what is not chosen cannot overflow into the second derivative."""
    return exp(clamp(x * rate, max=0.0)) * (alpha * rate)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input Phi(input), Phi the normal distribution function, or its tanh approximation (Hendrycks and Gimpel 2016)."""
    if approximate == "none":
        return record(_floats("gelu", kernel._gelu, input), (input, lambda dy: dy * _gelu_slope(input)))
    if approximate != "tanh":
        raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return record(_floats("gelu", kernel._gelu_tanh, input), (input, lambda dy: dy * widened(_gelu_tanh_slope, input)))


def _gelu_slope(x: Tensor) -> Tensor:
    density = 1 / math.sqrt(2 * math.pi)
    return record(apply("gelu", kernel._gelu_slope, x), (x, lambda g: g * ((2 - x * x) * exp(-0.5 * x * x) * density)))


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    root = math.sqrt(2 / math.pi)
    t = tanh((x + x * x * x * 0.044715) * root)
    return (1 + t) * 0.5 + x * (1 - t * t) * ((1 + x * x * (3 * 0.044715)) * (0.5 * root))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input sigmoid(input) (Elfwing et al. 2017)."""
    if inplace:
        return overwrite("silu_", input.dtype, silu, input)
    return record(_floats("silu", kernel._silu, input), (input, lambda dy: dy * widened(_silu_slope, input)))


def _silu_slope(x: Tensor) -> Tensor:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input tanh(softplus(input)) (Misra 2019)."""
    if inplace:
        return overwrite("mish_", input.dtype, mish, input)
    return record(_floats("mish", kernel._mish, input), (input, lambda dy: dy * widened(_mish_slope, input)))


def _mish_slope(x: Tensor) -> Tensor:
    t = tanh(softplus(x))
    return t + x * sigmoid(x) * (1 - t * t)


@raised
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta input)) / beta; input itself where beta input is above the threshold."""
    y = _floats("softplus", kernel._softplus, input, beta, threshold)
    return record(y, (input, lambda dy: where(gt(input * beta, threshold), dy, dy * sigmoid(input * beta))))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without underflow on the way."""
    return record(_floats("logsigmoid", kernel._log_sigmoid, input), (input, lambda dy: dy * sigmoid(-input)))


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    require_tensor("softsign", input=input)
    refuse("softsign", input.dtype, "b")
    y = apply("softsign", kernel._softsign, input, kind=floating_type(input))
    return record(y, (input, lambda dy: dy / (1 + abs(input)) ** 2))


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    require_tensor("tanhshrink", input=input)
    if input.dtype is dtypes.bool_:
        raise RuntimeError("tanhshrink: not defined for bool tensors")
    y = apply("tanhshrink", kernel._tanhshrink, input, kind=floating_type(input))
    return record(y, (input, lambda dy: dy * tanh(input) ** 2))


@numpy_names
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times sigmoid of the second (Dauphin et al. 2016)."""
    require_tensor("glu", input=input)
    refuse("glu", input.dtype, "bi")
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    if input.shape[input.axis(dim)] % 2:
        raise RuntimeError(
            f"glu: halving dimension must be even, but dimension {dim} is size {input.shape[input.axis(dim)]}"
        )
    half = input.shape[input.axis(dim)] // 2
    return input.narrow(dim, 0, half) * sigmoid(input.narrow(dim, half, half))


# ------------------------------------------------------------------------------------------------------------- in place


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return overwrite("threshold_", input.dtype, _threshold, input, bound=threshold, value=value)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return elu(input, alpha, inplace=True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return celu(input, alpha, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return selu(input, inplace=True)
