"""Which kernels a convolution of one, two or three dimensions takes, and its two gradients.

Groups of few channels have their own (`depthwise`), in three dimensions; others are products of matrices in two
(`conv`) or three (`conv3d`). An image of fewer dimensions is a view with extents of 1 before the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad_kernels import conv, conv3d, depthwise, epilogue
from tritongrad_kernels.array import Array
from tritongrad_kernels.conv_input_grad import conv2d_input_grad
from tritongrad_kernels.conv_weight_grad import conv2d_weight_grad


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    """Cross-correlate x [N,C,*sizes] with weight [O,C/groups,*window] (+ bias [O]), channels innermost."""
    rank, run = _chosen(weight.shape, groups, depthwise.depthwise, conv.conv2d, conv3d.conv3d)
    lifted = _lifted(x, rank), _lifted(weight, rank), bias
    return _dropped(run(*lifted, *_geometry(rank, stride, padding, dilation), groups), x.ndim)


def with_moments(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> tuple[Array, Array | None]:
    """`convolution`, and the moments [runs, 3, O] of what it stored, per channel (see `moments`).

    None where its kernel takes none: depthwise, in three dimensions, and more pixels than one launch counts.
    """
    if depthwise.fits(weight.shape, groups) or x.ndim == 5:
        return convolution(x, weight, bias, stride, padding, dilation, groups), None
    s, p, d = _geometry(4, stride, padding, dilation)
    y, moments = conv.conv2d_with_moments(_lifted(x, 4), _lifted(weight, 4), bias, s, p, d, groups)
    return _dropped(y, x.ndim), moments


def input_grad(
    dy: Array,
    weight: Array,
    x_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    addend: Array | None = None,
    addend_bits: Array | None = None,
) -> Array:
    """The gradient of `convolution` for its input, plus `addend`, an array of its shape, dtype and memory order.

    With `addend_bits`, uint8 [pixels, C / 8], the addend counts only where bit j of byte i is on for channel 8 i + j.
    """
    rank, run = _chosen(
        weight.shape, groups, depthwise.depthwise_input_grad, conv2d_input_grad, conv3d.conv3d_input_grad
    )
    lifted = _lifted(dy, rank), _lifted(weight, rank), _lifted_shape(x_shape, rank)
    geometry = _geometry(rank, stride, padding, dilation)
    if addend is None:
        return _dropped(run(*lifted, *geometry, groups), dy.ndim)
    addend = conv.in_channels_last(_lifted(addend, rank))
    if run is conv2d_input_grad and (addend_bits is None or weight.shape[1] % 8 == 0):
        return _dropped(run(*lifted, *geometry, groups, addend, addend_bits), dy.ndim)
    return _dropped(epilogue.finish(run(*lifted, *geometry, groups), addend, addend_bits), dy.ndim)


def weight_grad(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    """The gradient of `convolution` for its weight."""
    rank, run = _chosen(
        weight_shape, groups, depthwise.depthwise_weight_grad, conv2d_weight_grad, conv3d.conv3d_weight_grad
    )
    lifted = _lifted(dy, rank), _lifted(x, rank), _lifted_shape(weight_shape, rank)
    return _dropped(run(*lifted, *_geometry(rank, stride, padding, dilation), groups), x.ndim)


def _chosen(
    weight_shape: Sequence[int], groups: int, few: Callable, plane: Callable, volume: Callable
) -> tuple[int, Callable[..., Array]]:
    """One of three functions, and how many axes its arrays have."""
    if depthwise.fits(weight_shape, groups):
        return 5, few
    return (5, volume) if len(weight_shape) == 5 else (4, plane)


def _lifted(a: Array, rank: int) -> Array:
    while a.ndim < rank:
        a = a.unsqueeze(2)
    return a


def _dropped(a: Array, rank: int) -> Array:
    while a.ndim > rank:
        a = a.squeeze(2)
    return a


def _lifted_shape(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    return (*shape[:2], *(1,) * (rank - len(shape)), *shape[2:])


def _geometry(rank: int, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> tuple[Any, ...]:
    more = rank - 2 - len(stride)
    return (1,) * more + tuple(stride), (0,) * more + tuple(padding), (1,) * more + tuple(dilation)
