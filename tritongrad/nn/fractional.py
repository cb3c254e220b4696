"""Fractional max pooling: windows that start at random. Source: Graham 2014, "Fractional Max-Pooling"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritongrad import random
from tritongrad.ops.pool import fractional_max
from tritongrad.tensor import Tensor


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest elements of windows of input [N, C, H, W], one whose gaps are drawn anew for each channel.

    output_size     of the result, or
    output_ratio    its size in terms of that of the input, below 1
    return_indices  also where the elements were: their place in the flattened axes, int64
    _random_samples [N, C, 2] in [0, 1) and of the dtype of input: what is drawn otherwise
    """
    options = (output_size, output_ratio, _random_samples)
    found = _fractional("fractional_max_pool2d", input, 2, kernel_size, *options)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """`fractional_max_pool2d` of input [N, C, D, H, W]; _random_samples is [N, C, 3]."""
    options = (output_size, output_ratio, _random_samples)
    found = _fractional("fractional_max_pool3d", input, 3, kernel_size, *options)
    return found if return_indices else found[0]


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` with `return_indices`, whatever that is."""
    return fractional_max_pool2d(input, kernel_size, output_size, output_ratio, True, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` with `return_indices`, whatever that is."""
    return fractional_max_pool3d(input, kernel_size, output_size, output_ratio, True, _random_samples)


def _fractional(
    name: str, x: Tensor, axes: int, window: Any, size: Any, ratio: Any, samples: Tensor | None
) -> tuple[Tensor, Tensor]:
    if size is None and ratio is None:
        raise ValueError(f"{name}: expected an output_size or an output_ratio")
    if x.ndim not in (axes + 1, axes + 2):
        raise RuntimeError(f"{name}: expected {axes + 1} or {axes + 2} dimensions, got {list(x.shape)}")
    if size is None:
        ratios = tuple(ratio) if isinstance(ratio, Sequence) else (ratio,) * axes
        if len(ratios) != axes:
            raise ValueError(f"{name}: output_ratio must be one or {axes} numbers, got {ratio!r}")
        size = tuple(int(n * r) for n, r in zip(x.shape[-axes:], ratios, strict=True))
    if samples is None:
        batch = x.shape[0] if x.ndim == axes + 2 else 1
        samples = random.rand(batch, x.shape[-axes - 1], axes, dtype=x.dtype, device=x.device)
    return fractional_max(name, x, axes, window, size, samples)
