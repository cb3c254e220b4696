"""Taking elements along an axis where no element is taken twice, and the transpose of that."""

from __future__ import annotations

from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import sort as kernel


def take_along(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """x[.., index[.., i, ..], ..]: the index has the shape of x but for `axis`, and names no position twice in a row.

    Nobody checks that; for an index of a user's see `gather`.
    """
    extent = x.array.shape[axis] if x.ndim else 1
    return record(kernel.take_along(x.array, index.array, axis), (x, lambda dy: put_along(dy, index, axis, extent)))


def put_along(x: Tensor, index: Tensor, axis: int, extent: int) -> Tensor:
    """Zeros, `extent` long along `axis`, with x[.., i, ..] at [.., index[.., i, ..], ..]: `take_along` transposed."""
    return record(kernel.put_along(x.array, index.array, axis, extent), (x, lambda dy: take_along(dy, index, axis)))


def without(x: Tensor, axis: int, keepdim: bool) -> Tensor:
    """x, one long along `axis`, without that axis unless it is kept."""
    return x if keepdim or not x.ndim else reshape(x, x.array.shape[:axis] + x.array.shape[axis + 1 :])
