"""Formulas of activation functions. Their gradients are compositions, written where the functions are."""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels.transcendental import _expm1, _log1p, _sigmoid, _tanh


@triton.jit
def _relu(x):
    """max(x, 0), NaN staying NaN."""
    return tl.where(x < 0, 0, x)


@triton.jit
def _where_positive(x, y):
    """0 where y <= 0, else x, also where y is NaN: the gradient of ReLU."""
    return tl.where(y <= 0, 0, x)


@triton.jit
def _leaky_relu(x, slope):
    return tl.where(x > 0, x, x * slope)


@triton.jit
def _elu(x, scale, alpha, rate):
    """scale x above 0, alpha (e^(rate x) - 1) below."""
    return tl.where(x > 0, scale * x, alpha * _expm1(rate * x))


@triton.jit
def _gelu(x):
    """x Phi(x), Phi the normal distribution function."""
    return 0.5 * x * (1.0 + tl.erf(x * 0.70710678118654752440))


@triton.jit
def _gelu_slope(x):
    """Phi(x) + x phi(x)."""
    bell = tl.exp(-0.5 * x * x) * 0.39894228040143267794
    return 0.5 * (1.0 + tl.erf(x * 0.70710678118654752440)) + x * bell


@triton.jit
def _gelu_tanh(x):
    return 0.5 * x * (1.0 + _tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)))


@triton.jit
def _silu(x):
    return x * _sigmoid(x)


@triton.jit
def _log_sigmoid(x):
    """min(x, 0) - log(1 + e^-|x|)."""
    return tl.where(x > 0, 0.0, x) - _log1p(tl.exp(-tl.abs(x)))


@triton.jit
def _softplus(x, beta, threshold):
    """log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold."""
    return tl.where(x * beta > threshold, x, _log1p(tl.exp(x * beta)) / beta)


@triton.jit
def _mish(x):
    """x tanh(log(1 + e^x))."""
    return x * _tanh(tl.where(x > 20.0, x, _log1p(tl.exp(x))))


@triton.jit
def _softsign(x):
    return x / (1.0 + tl.abs(x))


@triton.jit
def _tanhshrink(x):
    return x - _tanh(x)


@triton.jit
def _hardshrink(x, lambd):
    """0 within [-lambd, lambd], else x."""
    return tl.where((x >= -lambd) & (x <= lambd), 0.0, x)


@triton.jit
def _softshrink(x, lambd):
    """x moved by lambd towards 0, but not past it."""
    return tl.where(x > lambd, x - lambd, tl.where(x < -lambd, x + lambd, x * 0.0))


@triton.jit
def _hardtanh(x, low, high):
    return tl.where(x < low, low, tl.where(x > high, high, x))


@triton.jit
def _hardsigmoid(x):
    return _hardtanh(x + 3.0, 0.0, 6.0) / 6.0


@triton.jit
def _hardswish(x):
    return x * _hardtanh(x + 3.0, 0.0, 6.0) / 6.0


@triton.jit
def _threshold(x, threshold, value):
    """`value` where x is at most the threshold, else x."""
    return tl.where(x <= threshold, value, x)


# --------------------------------------------------------------------------- gradients: linear in dy, stepwise in x


@triton.jit
def _leaky_gate(dy, x, slope):
    return tl.where(x > 0, dy, dy * slope)


@triton.jit
def _between_gate(dy, x, low, high):
    """dy, but 0 where x is at a bound or beyond; NaN is neither."""
    return tl.where((x <= low) | (x >= high), 0.0, dy)


@triton.jit
def _strictly_between_gate(dy, x, low, high):
    """dy where x is between the bounds, else, and at NaN, 0."""
    return tl.where((x > low) & (x < high), dy, 0.0)


@triton.jit
def _shrink_gate(dy, x, lambd):
    return tl.where((x >= -lambd) & (x <= lambd), 0.0, dy)


@triton.jit
def _threshold_gate(dy, x, threshold):
    return tl.where(x <= threshold, 0.0, dy)
