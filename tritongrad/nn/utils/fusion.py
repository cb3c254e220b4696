"""Batch norm taken into the layer before it, for evaluation: one pass less over the activations."""

from __future__ import annotations

import copy
from typing import Any

from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.transcendental import rsqrt
from tritongrad.tensor import Tensor


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution (`transpose` for a transposed one) that does what it and the batch norm after it did.

    AssertionError unless both are in evaluation mode and the norm has running statistics.
    """
    _require_statistics(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def _require_statistics(layer: Module, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """w scale and (b - mean) scale + beta, scale being gamma / sqrt(var + eps) of the output channel."""
    scale = rsqrt(bn_rv + bn_eps)
    scale = scale if bn_w is None else bn_w * scale
    shape = [1] * conv_w.ndim
    shape[1 if transpose else 0] = -1
    return _fused(conv_w, conv_b, bn_rm, scale, scale.reshape(shape), bn_b)


def _fused(
    w: Tensor, b: Tensor | None, mean: Tensor, scale: Tensor, of_weight: Tensor, beta: Tensor | None
) -> tuple[Parameter, Parameter]:
    shifted = (-mean if b is None else b - mean) * scale
    shifted = shifted if beta is None else shifted + beta
    weight = (w * of_weight).to(w.dtype).detach()
    bias = shifted.to(w.dtype if b is None else b.dtype).detach()
    return Parameter(weight, w.requires_grad), Parameter(bias, b is not None and b.requires_grad)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear layer that does what it and the batch norm after it did; as `fuse_conv_bn_eval`.

    The norm must have as many features as the layer gives, or one: AssertionError.
    """
    if linear.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            f"To fuse, linear.out_features == bn.num_features or bn.num_features == 1, "
            f"got linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    _require_statistics(linear, bn)
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """As `fuse_conv_bn_weights`, for a weight [out_features, in_features]."""
    scale = bn_w * rsqrt(bn_rv + bn_eps)
    return _fused(linear_w, linear_b, bn_rm, scale, scale.unsqueeze(-1), bn_b)
