"""Which kernels a convolution of one, two or three dimensions takes, and its two gradients.

Groups of few channels have their own (`depthwise`), in three dimensions; others are products of matrices in two
(`conv`) or three (`conv3d`). An image of fewer dimensions is a view with extents of 1 before the others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tritongrad_kernels import conv, conv3d, conv_stem, conv_weight_grad, depthwise, epilogue
from tritongrad_kernels.array import Array
from tritongrad_kernels.conv_grads_tma import Beside as Beside
from tritongrad_kernels.conv_input_grad import conv2d_input_grad, conv2d_input_grad_with, runs_epilogue
from tritongrad_kernels.conv_weight_grad import conv2d_weight_grad, slabs_of as slabs_of
from tritongrad_kernels.conv_weight_grad_tma import Job as Job
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.epilogue import Epilogue, Through
from tritongrad_kernels.prologue import Prologue as Prologue


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
    *,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> tuple[Array, Array | None]:
    """`convolution`, and the moments [runs, 3, O] of what it stored, per channel (see `moments`).

    None where its kernel takes none: depthwise, in three dimensions, and more pixels than one launch counts.
    `image` is the `stem_image` of x, where there is one. With a `prologue`, of convolutions that have one
    (`takes_prologue`), it is of the norm of x; the result is to the bit that of the norm's own output.
    """
    if depthwise.fits(weight.shape, groups) or x.ndim == 5:
        return convolution(x, weight, bias, stride, padding, dilation, groups), None
    s, p, d = _geometry(4, stride, padding, dilation)
    y, moments = conv.conv2d_with_moments(_lifted(x, 4), _lifted(weight, 4), bias, s, p, d, groups, image, prologue)
    return _dropped(y, x.ndim), moments


def takes_prologue(weight_shape: Sequence[int], kind: dtype, padding: Sequence[int], groups: int) -> bool:
    """Whether `with_moments` can apply the norm before it: 1 x 1 without padding, of half precisions."""
    if depthwise.fits(weight_shape, groups) or len(weight_shape) == 5:
        return False
    return conv.takes_prologue(weight_shape, kind, padding, groups)


def stem_image(
    x: Array,
    weight_shape: Sequence[int],
    kind: dtype,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array | None:
    """x [N,C,H,W], of any dtype and memory order, as `with_moments` reads an image of few channels: see `conv_stem`.

    None where it reads x itself, in channels-last order and of dtype `kind`, the filters'.
    """
    if x.ndim != 4 or depthwise.fits(weight_shape, groups):
        return None
    s, p, d = _geometry(4, stride, padding, dilation)
    fits = conv_stem.suits(x, weight_shape, kind, s, p, d, groups)
    return conv_stem.stem_image(x, weight_shape, kind, s, p, d) if fits else None


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
    beside: Beside | None = None,
) -> Array:
    """The gradient of `convolution` for its input, plus `addend`, an array of its shape and dtype; each is rounded.

    With `addend_bits`, uint8 [pixels, C / 8], the addend counts only where bit j of byte i is on for channel 8 i + j.
    The weight gradient of the same convolution may be `beside` it, to go along.
    """
    return _input_grad(dy, weight, x_shape, stride, padding, dilation, groups, addend, addend_bits, None, beside)[0]


def input_grad_through(
    dy: Array,
    weight: Array,
    x_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    through: Through,
    addend: Array | None = None,
    addend_bits: Array | None = None,
    beside: Beside | None = None,
) -> tuple[Array, Array]:
    """g, which is `input_grad` where a ReLU let pass what the convolution read, and 0 elsewhere; and sums over it.

    `through` is the norm and the ReLU; sums [runs, 2, C] are those of g and of g (x - mean) rstd, with the norm's x.
    With an `other` norm, sums [runs, 3, C] have that of its x, too.
    """
    given = dy, weight, x_shape, stride, padding, dilation, groups
    g, sums = _input_grad(*given, addend, addend_bits, through, beside)
    assert sums is not None
    return g, sums


def _input_grad(
    dy: Array,
    weight: Array,
    x_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    addend: Array | None,
    addend_bits: Array | None,
    through: Through | None,
    beside: Beside | None,
) -> tuple[Array, Array | None]:
    rank, run = _chosen(
        weight.shape, groups, depthwise.depthwise_input_grad, conv2d_input_grad, conv3d.conv3d_input_grad
    )
    lifted = _lifted(dy, rank), _lifted(weight, rank), _lifted_shape(x_shape, rank)
    geometry = (*_geometry(rank, stride, padding, dilation), groups)
    addend = None if addend is None else conv.in_channels_last(_lifted(addend, rank))
    after = Epilogue(addend, addend_bits, through)
    if run is conv2d_input_grad and runs_epilogue(*lifted, after):
        dx, sums = conv2d_input_grad_with(after, *lifted, *geometry, beside=beside)
    else:
        dx, sums = run(*lifted, *geometry), None
        if addend is not None or through is not None:
            dx, sums = epilogue.finish(dx, after)
    return _dropped(dx, dy.ndim), sums


def weight_grad(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> Array:
    """The gradient of `convolution` for its weight; `image` and `prologue` are those of `with_moments`."""
    plane = functools.partial(conv2d_weight_grad, image=image, prologue=prologue)
    rank, run = _chosen(weight_shape, groups, depthwise.depthwise_weight_grad, plane, conv3d.conv3d_weight_grad)
    lifted = _lifted(dy, rank), _lifted(x, rank), _lifted_shape(weight_shape, rank)
    return _dropped(run(*lifted, *_geometry(rank, stride, padding, dilation), groups), x.ndim)


def weight_slabs(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    image: Array | None = None,
    prologue: Prologue | None = None,
) -> Array:
    """`weight_grad`, or slabs [slabs, O, *window, C/groups] of the accumulator's dtype, in order its sum.

    Slabs have an axis more than the weight, and each the memory order of the gradient: for `slabs.sum_slabs`.
    With a `prologue`, of convolutions that have one (`takes_prologue`), it is of the norm of x, to the bit.
    """
    given = dy, x, weight_shape, stride, padding, dilation, groups
    found = weight_slabs_or_job(*given, image=image, prologue=prologue, wait=False)
    assert isinstance(found, Array)
    return found


def weight_slabs_or_job(
    dy: Array,
    x: Array,
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    image: Array | None,
    prologue: Prologue | None,
    wait: bool,
) -> Array | Job:
    """`weight_slabs`; or, if it may `wait`, the one launch that stores them where that can be joined with another.

    What that stores is described by `slabs_of`.
    """
    if depthwise.fits(weight_shape, groups) or x.ndim == 5:
        return weight_grad(dy, x, weight_shape, stride, padding, dilation, groups)
    s, p, d = _geometry(4, stride, padding, dilation)
    lifted, shape = (_lifted(dy, 4), _lifted(x, 4)), _lifted_shape(weight_shape, 4)
    works = conv_weight_grad.weight_works(*lifted, shape, s, p, d, groups, image, prologue)
    if wait and x.ndim == 4 and len(works) == 1 and works[0].job is not None:
        return works[0].job
    found = conv_weight_grad.run_works(works, lifted[0], shape)
    return _dropped(found, x.ndim + found.ndim - 4)


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
