"""Pooling of sequences [N, C, L], images [N, C, H, W] and volumes [N, C, D, H, W], each also without N.

Each gradient is linear in dy, so its own gradient is a pooling again.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.ops.activation import relu
from tritongrad.ops.arithmetic import abs, sign
from tritongrad.ops.transcendental import pow
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import (
    dtypes,
    elementwise,
    formulas,
    fusion,
    fusion_grad,
    pool,
    reduce as sums,
    volume_pool as kernel,
    windows as reach,
)
from tritongrad_kernels.array import Array, empty, strides_of_order
from tritongrad_kernels.windows import Volume, Windows

AXES = {1: "[N, C, L]", 2: "[N, C, H, W]", 3: "[N, C, D, H, W]"}
WHAT = {1: "a floating-point sequence", 2: "a floating-point image", 3: "a floating-point volume"}


# ------------------------------------------------------------------------------------------------------------ geometry


def numbers(value: Any, count: int, name: str, what: str) -> tuple[int, ...]:
    """An int, or a sequence of one or `count`, as `count` ints."""
    try:
        values = tuple(map(operator.index, value if isinstance(value, Sequence) else (value,)))
    except TypeError:
        raise TypeError(f"{name}: {what} must be of integers, got {value!r}") from None
    if len(values) not in (1, count):
        wanted = {1: "one integer", 2: "one or two integers", 3: "one or three integers"}[count]
        raise RuntimeError(f"{name}: {what} must be {wanted}, got {value!r}")
    return values * count if len(values) == 1 else values


def _require(name: str, x: Tensor, axes: int, integers: bool = False, rows: bool = False) -> None:
    """RuntimeError unless x is [(N,) C, *axes] of a dtype that can be pooled, with no extent 0 but N."""
    fits = x.dtype.is_floating_point or (integers and x.dtype is not dtypes.bool_ and not x.dtype.is_complex)
    if x.ndim not in (axes + 1, axes + 2) or not fits:
        raise RuntimeError(f"{name}: expected {WHAT[axes]} {AXES[axes]}, got {x.dtype.name}{list(x.shape)}")


def _require_elements(name: str, x: Tensor, axes: int) -> None:
    if 0 in x.shape[-axes - 1 :]:
        raise RuntimeError(f"{name}: only the batch may be empty, got {list(x.shape)}")


def _batched(function: Callable[[Tensor], Any], x: Tensor, axes: int) -> Any:
    """function(x), one tensor or two, with a batch axis put before and taken away again where x has none."""
    if x.ndim == axes + 2:
        return function(x)
    found = function(reshape(x, (1, *x.shape)))
    return tuple(_first(y) for y in found) if isinstance(found, tuple) else _first(found)


def _first(y: Tensor) -> Tensor:
    return reshape(y, y.shape[1:])


def _volume(windows: Sequence[Windows]) -> Volume:
    """Windows of the last axes, with those of axes that are not there."""
    return (*(reach.alone,) * (3 - len(windows)), *windows)  # type: ignore[return-value]


def _geometry(
    name: str, x: Tensor, axes: int, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, wide: bool
) -> tuple[tuple[int, ...], ...]:
    """Output size, window, stride, padding, dilation, checked. `wide` lets padding be half of what a window spans."""
    window = numbers(window, axes, name, "kernel_size")
    given = stride is not None and not (isinstance(stride, list | tuple) and not len(stride))
    stride = numbers(stride, axes, name, "stride") if given else window
    padding, dilation = numbers(padding, axes, name, "padding"), numbers(dilation, axes, name, "dilation")
    if min(window) < 1 or min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise RuntimeError(
            f"{name}: kernel_size {window}, stride {stride} and dilation {dilation} must be positive, "
            f"padding {padding} not negative"
        )
    spans = [(w - 1) * d + 1 if wide else w for w, d in zip(window, dilation, strict=True)]
    if any(2 * p > w for p, w in zip(padding, spans, strict=True)):
        raise RuntimeError(f"{name}: padding {padding} should be at most half of kernel_size {window}")
    size = tuple(
        pool.pooled_size(n, w, s, p, d, ceil_mode)
        for n, w, s, p, d in zip(x.shape[-axes:], window, stride, padding, dilation, strict=True)
    )
    if min(size) < 1:
        raise RuntimeError(f"{name}: kernel_size {window} is larger than the padded input of shape {list(x.shape)}")
    return size, window, stride, padding, dilation


def _sizes(name: str, x: Tensor, axes: int, output_size: Any) -> tuple[int, ...]:
    """What an adaptive pooling gives; None keeps an extent."""
    sizes = (output_size,) if isinstance(output_size, int | None) else tuple(output_size)
    if axes > 1 and not isinstance(output_size, list | tuple):
        sizes = sizes * axes
    if len(sizes) != axes or not all(isinstance(s, int | None) for s in sizes):
        raise RuntimeError(f"{name}: output_size must be {axes} integers, got {output_size!r}")
    if axes == 1 and sizes[0] is None:
        raise TypeError(f"{name}: output_size must be an integer, got None")
    size = tuple(n if s is None else s for n, s in zip(x.shape[-axes:], sizes, strict=True))
    if min(size) < 0 or 0 in x.shape[-axes:]:
        raise RuntimeError(f"{name}: cannot pool {list(x.shape)} to {size}")
    return size


# -------------------------------------------------------------------------------------------------------------- maxima


def _max_pool(
    name: str, x: Tensor, axes: int, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool,
) -> Any:  # fmt: skip
    _require(name, x, axes, integers=True)
    _require_elements(name, x, axes)
    size, *rest = _geometry(name, x, axes, window, stride, padding, dilation, ceil_mode, axes > 1 or return_indices)
    if axes == 2 and not return_indices and x.dtype.is_floating_point:
        return _batched(lambda x: _image_max(x, size, rest), x, axes)
    windows = _volume([reach.sliding(*a) for a in zip(x.shape[-axes:], size, *rest, strict=True)])
    found = _batched(lambda x: _max(x, windows, return_indices), x, axes)
    return found if return_indices else found[0]


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element in each window of input [N, C, L]; see `max_pool2d`."""
    return _max_pool("max_pool1d", input, 1, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element in each window of input [N, C, H, W]; padding never wins, the first of equals does, NaN is
    larger than all. With `return_indices`, also where it was: its place in the flattened axes, int64."""
    return _max_pool("max_pool2d", input, 2, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element in each window of input [N, C, D, H, W]; see `max_pool2d`."""
    return _max_pool("max_pool3d", input, 3, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool1d` with `return_indices`, whatever that is."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool2d` with `return_indices`, whatever that is."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`max_pool3d` with `return_indices`, whatever that is."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def _image_max(x: Tensor, size: tuple[int, ...], geometry: Sequence[Any]) -> Tensor:
    y, index = fusion.max_pool2d(x.array, size, *geometry)
    x_shape = x.array.shape
    return record(y, (x, lambda dy: _image_max_input_grad(dy, index, x_shape, geometry)))


def _image_max_input_grad(dy: Tensor, index: Array, x_shape: tuple[int, ...], geometry: Sequence[Any]) -> Tensor:
    dx = fusion_grad.max_pool2d_input_grad(dy.array, index, x_shape, *geometry)
    return record(dx, (dy, lambda g: _image_max_gather(g, index, geometry)))


def _image_max_gather(x: Tensor, index: Array, geometry: Sequence[Any]) -> Tensor:
    x_shape = x.array.shape
    y = pool.max_pool2d_gather(x.array, index, *geometry)
    return record(y, (x, lambda dy: _image_max_input_grad(dy, index, x_shape, geometry)))


def _max(x: Tensor, windows: Volume, wide: bool) -> tuple[Tensor, Tensor]:
    """Maxima and their places, which are int64 if `wide`."""
    y, index = kernel.max_pool(x.array, windows, wide)
    x_shape = x.array.shape
    return record(y, (x, lambda dy: _max_input_grad(dy, index, x_shape, windows))), Tensor(index)


def _max_input_grad(dy: Tensor, index: Array, x_shape: tuple[int, ...], windows: Volume) -> Tensor:
    dx = kernel.max_pool_input_grad(dy.array, index, x_shape, windows)
    return record(dx, (dy, lambda g: _at_places(g, index, windows)))


def _at_places(x: Tensor, index: Array, windows: Volume) -> Tensor:
    x_shape = x.array.shape
    y = kernel.at_places(x.array, index)
    return record(y, (x, lambda dy: _max_input_grad(dy, index, x_shape, windows)))


def fractional_max(name: str, x: Tensor, axes: int, window: Any, size: Any, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima of windows whose starts are drawn by `samples` [N, C, axes], and their places; see `nn.functional`."""
    _require(name, x, axes)
    _require_elements(name, x, axes)
    window, size = numbers(window, axes, name, "kernel_size"), numbers(size, axes, name, "output_size")
    for n, p, w in zip(x.shape[-axes:], size, window, strict=True):
        if w < 1 or p < 0 or p + w - 1 > n - (axes == 3):  # torch wants one element more in volumes
            raise RuntimeError(f"{name}: {size} windows of {window} do not fit an input of shape {list(x.shape)}")
    batch = x.shape[0] if x.ndim == axes + 2 else 1
    if samples.dtype is not x.dtype:
        raise RuntimeError(f"{name}: expected samples of dtype {x.dtype.name}, got {samples.dtype.name}")
    if samples.ndim != 3 or samples.shape[0] < batch or samples.shape[1:] != (x.shape[-axes - 1], axes):
        raise RuntimeError(
            f"{name}: expected samples [{batch}, {x.shape[-axes - 1]}, {axes}], got {list(samples.shape)}"
        )
    drawn = samples.detach()[:batch].contiguous()
    windows = _volume([reach.fractional(n, p, w) for n, p, w in zip(x.shape[-axes:], size, window, strict=True)])

    def pooled(x: Tensor) -> tuple[Tensor, Tensor]:
        y, index = kernel.fractional_max_pool(x.array, drawn.array, windows, wide=True)
        x_shape = x.array.shape
        return record(y, (x, lambda dy: _max_input_grad(dy, index, x_shape, windows))), Tensor(index)

    return _batched(pooled, x, axes)


def _adaptive_max(name: str, x: Tensor, axes: int, output_size: Any, return_indices: bool) -> Any:
    _require(name, x, axes)
    size = _sizes(name, x, axes, output_size)
    _require_elements(name, x, axes)
    windows = _volume([reach.even(n, p) for n, p in zip(x.shape[-axes:], size, strict=True)])
    found = _batched(lambda x: _max(x, windows, return_indices), x, axes)
    return found if return_indices else found[0]


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of `output_size` windows that cover input [N, C, L] evenly."""
    return _adaptive_max("adaptive_max_pool1d", input, 1, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of an `output_size` grid of windows that cover input [N, C, H, W] evenly; None keeps an
    extent. With `return_indices`, also where they were, as `max_pool2d` has it."""
    return _adaptive_max("adaptive_max_pool2d", input, 2, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` of input [N, C, D, H, W]."""
    return _adaptive_max("adaptive_max_pool3d", input, 3, output_size, return_indices)


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = True
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with `return_indices`, whatever that is."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = True
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with `return_indices`, whatever that is."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = True
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with `return_indices`, whatever that is."""
    return adaptive_max_pool3d(input, output_size, True)


# --------------------------------------------------------------------------------------------------------------- means


def _avg_pool(
    name: str, x: Tensor, axes: int, window: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor: int | None = None,
) -> Tensor:  # fmt: skip
    _require(name, x, axes)
    _require_elements(name, x, axes)
    if divisor == 0:
        raise RuntimeError(f"{name}: divisor_override must not be zero")
    size, *rest = _geometry(name, x, axes, window, stride, padding, 1, ceil_mode, False)
    each = zip(x.shape[-axes:], size, *rest, strict=True)
    windows = [reach.sliding(n, p, w, s, b, d, bool(count_include_pad)) for n, p, w, s, b, d in each]
    return _batched(lambda x: _mean(x, _volume(windows), divisor), x, axes)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of input [N, C, L]; padding counts as zeros unless `count_include_pad` is off."""
    return _avg_pool("avg_pool1d", input, 1, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of input [N, C, H, W]; padding counts as zeros unless `count_include_pad` is off."""
    options = (ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool2d", input, 2, kernel_size, stride, padding, *options)


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of input [N, C, D, H, W]; padding counts as zeros unless `count_include_pad` is off."""
    options = (ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool3d", input, 3, kernel_size, stride, padding, *options)


def _mean(x: Tensor, windows: Volume, divisor: int | None = None) -> Tensor:
    x_shape = x.array.shape
    y = kernel.mean_pool(x.array, windows, divisor)
    return record(y, (x, lambda dy: _mean_input_grad(dy, x_shape, windows, divisor)))


def _mean_input_grad(dy: Tensor, x_shape: tuple[int, ...], windows: Volume, divisor: int | None) -> Tensor:
    dx = kernel.mean_pool_input_grad(dy.array, x_shape, windows, divisor)
    return record(dx, (dy, lambda g: _mean(g, windows, divisor)))


def _adaptive_avg(name: str, x: Tensor, axes: int, output_size: Any) -> Tensor:
    _require(name, x, axes)
    size = _sizes(name, x, axes, output_size)
    if set(size) == {1}:
        return _mean_of_all(x, axes)
    windows = _volume([reach.even(n, p) for n, p in zip(x.shape[-axes:], size, strict=True)])
    return _batched(lambda x: _mean(x, windows), x, axes)


def _mean_of_all(x: Tensor, axes: int) -> Tensor:
    """The mean over the last `axes`, which become 1."""
    full, order = x.array.shape, x.array.dense_order()
    y = sums.sum(x.array, tuple(range(x.ndim - axes, x.ndim)), mean=True)
    kept = elementwise.reshape(y, (*full[:-axes], *[1] * axes))
    return record(kept, (x, lambda dy: _spread(dy, axes, full, order)))


def _spread(dy: Tensor, axes: int, shape: tuple[int, ...], order: tuple[int, ...] | None) -> Tensor:
    """dy over how many elements share it, for each of them, in one launch; in memory as `order` says."""
    strides = None if order is None else strides_of_order(shape, order)
    dx = empty(shape, dy.dtype, dy.device, strides)
    elementwise.map(formulas._div, dy.array, max(math.prod(shape[-axes:]), 1), out=dx)
    return record(dx, (dy, lambda g: _mean_of_all(g, axes)))


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over `output_size` windows that cover input [N, C, L] evenly."""
    return _adaptive_avg("adaptive_avg_pool1d", input, 1, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over an `output_size` grid of windows that cover input [N, C, H, W] evenly; None keeps an extent."""
    return _adaptive_avg("adaptive_avg_pool2d", input, 2, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means over an `output_size` grid of windows that cover input [N, C, D, H, W] evenly; None keeps an extent."""
    return _adaptive_avg("adaptive_avg_pool3d", input, 3, output_size)


# --------------------------------------------------------------------------------------------------------------- norms


def _lp_pool(
    x: Tensor, axes: int, norm_type: float, window: Any, stride: Any, ceil_mode: bool, average: Any, maximum: Any
) -> Tensor:
    if norm_type == math.inf:
        return maximum(abs(x), window, stride, 0, 1, ceil_mode)
    if norm_type == -math.inf:
        return -maximum(-abs(x), window, stride, 0, 1, ceil_mode)
    means = average(pow(x, norm_type), window, stride, 0, ceil_mode)
    count = math.prod(numbers(window, axes, f"lp_pool{axes}d", "kernel_size"))
    return pow(sign(means) * relu(abs(means)) * count, 1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(the sum of x^norm_type over each window of input [N, C, L])^(1/norm_type); the largest |x| for infinity."""
    return _lp_pool(input, 1, norm_type, kernel_size, stride, ceil_mode, avg_pool1d, max_pool1d)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """`lp_pool1d` of input [N, C, H, W]."""
    return _lp_pool(input, 2, norm_type, kernel_size, stride, ceil_mode, avg_pool2d, max_pool2d)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """`lp_pool1d` of input [N, C, D, H, W]."""
    return _lp_pool(input, 3, norm_type, kernel_size, stride, ceil_mode, avg_pool3d, max_pool3d)
