"""Dropout: elements, or whole channels, set to zero by chance while training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from tritongrad.random import rand
from tritongrad.tensor import Tensor

_LEAST_SELU = 1.7580993408473766
"""What SELU tends to far below zero, without its sign: scale times alpha of Klambauer et al. 2017."""


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element 0 with probability p, else divided by 1 - p. The backward pass uses the same mask."""
    _require_probability("dropout", p)
    return _dropped(input, input.shape, p, inplace) if training else input


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Elements set by chance p to SELU's limit, mean 0 and variance 1 kept (Klambauer et al. 2017)."""
    _require_probability("alpha_dropout", p)
    return _saturated(input, input.shape, p, inplace) if training else input


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [N, C, L] or [C, L] set to 0 with probability p (Tompson et al. 2015)."""
    _require_probability("dropout1d", p)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input")
    return _dropped(input, _channels(input, input.ndim - 2), p, inplace) if training else input


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [N, C, H, W] set to 0 with probability p (Tompson et al. 2015).

    As in torch, three dimensions are [N, C, L] and not [C, H, W], with a warning.
    """
    _require_probability("dropout2d", p)
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d, which is read as (N, C, L): channels without a batch axis, "
            "(C, H, W), are not known here. Use dropout1d for (N, C, L).",
            stacklevel=2,
        )
    elif input.ndim != 4:
        _warn_of_rank("dropout2d", input)
    return _dropped(input, _channels(input, 1), p, inplace) if training else input


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [N, C, D, H, W] or [C, D, H, W] set to 0 with probability p (Tompson et al. 2015)."""
    _require_probability("dropout3d", p)
    if input.ndim not in (4, 5):
        _warn_of_rank("dropout3d", input)
    return _dropped(input, _channels(input, 1 if input.ndim == 5 else 0), p, inplace) if training else input


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of [N, C, ...]."""
    _require_probability("feature_alpha_dropout", p)
    return _saturated(input, _channels(input, 1), p, inplace) if training else input


def _require_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: probability has to be between 0 and 1, but got {p}")


def _warn_of_rank(name: str, x: Tensor) -> None:
    warnings.warn(
        f"{name}: Received a {x.ndim}-D input, which is deprecated; add or take away axes to get a batch of images",
        stacklevel=3,
    )


def _channels(x: Tensor, axis: int) -> Sequence[int]:
    """The shape of a mask that has one element for each channel."""
    if x.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return (*x.shape[: axis + 1], *(1 for _ in x.shape[axis + 1 :]))


def _dropped(x: Tensor, shape: Sequence[int], p: float, inplace: bool) -> Tensor:
    if p == 0 or not x.numel():
        return x
    kept = rand(tuple(shape), device=x.device) >= p
    scale = kept.to(x.dtype) * (1 / (1 - p) if p < 1 else 0.0)
    return x.mul_(scale) if inplace else x * scale


def _saturated(x: Tensor, shape: Sequence[int], p: float, inplace: bool) -> Tensor:
    if p in (0, 1) or not x.numel():
        return _dropped(x, shape, p, inplace)
    kept = (rand(tuple(shape), device=x.device) >= p).to(x.dtype)
    scale = 1 / math.sqrt((_LEAST_SELU**2 * p + 1) * (1 - p))
    shift = (kept - 1 + p) * (_LEAST_SELU * scale)
    kept = kept * scale
    return x.mul_(kept).add_(shift) if inplace else x * kept + shift
