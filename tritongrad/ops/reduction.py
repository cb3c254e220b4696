"""What losses do with their values: nothing, a mean or a sum."""

from __future__ import annotations

import warnings

from tritongrad.ops.reduce import mean, sum
from tritongrad.tensor import Tensor


def chosen(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction, also by the two older arguments, which override it where they are given."""
    if size_average is None and reduce is None:
        return reduction
    averaged, reduced = size_average is not False, reduce is not False
    found = "none" if not reduced else "mean" if averaged else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.", stacklevel=3
    )
    return found


def reduced(loss: Tensor, reduction: str, name: str) -> Tensor:
    """A loss per element, its mean, or its sum. ValueError for another reduction."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    return loss if reduction == "none" else mean(loss) if reduction == "mean" else sum(loss)
