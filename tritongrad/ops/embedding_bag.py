"""Bags of rows of a table, each reduced to one."""

from __future__ import annotations

from itertools import pairwise

from tritongrad.autograd import no_grad
from tritongrad.ops.comparison import clamp, where
from tritongrad.ops.embedding import embedding
from tritongrad.ops.filled import zeros
from tritongrad.ops.gather import index_add, require_index
from tritongrad.ops.layout import cast, to_same_device
from tritongrad.ops.ranges import arange
from tritongrad.ops.reduce import max as largest
from tritongrad.ops.sort import searchsorted
from tritongrad.ops.views import reshape, unsqueeze
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """[bags, size]: the "sum", "mean" or "max" of the rows of `weight` [n, size] that each bag of integers names.

    input [bags, length], or all bags one after another in a vector, with `offsets` where each begins (and, if
    `include_last_offset`, where the last one ends). An empty bag gives zeros. `per_sample_weights`, shaped as input,
    are factors of the rows of a sum. Row `padding_idx` is left out, and gets no gradient. The rest is as for
    `embedding`. The host reads the offsets.
    """
    _check(input, weight, offsets, per_sample_weights, mode, scale_grad_by_freq)
    if input.ndim == 2:
        bounds = [input.shape[1] * k for k in range(input.shape[0] + 1)]
    else:
        bounds = _bounds(offsets, input.shape[0], include_last_offset)
    names = reshape(input, -1)
    rows = embedding(names, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    present = names >= 0
    if padding_idx is not None:
        present = names != padding_idx % weight.shape[0]
    starts = _integers(bounds, input)
    if mode == "max":
        return _maxima(rows, present, starts, max((b - a for a, b in pairwise(bounds)), default=0))
    wide = dtypes.accumulator(weight.dtype)
    rows = where(unsqueeze(to_same_device(present, weight), 1), cast(rows, wide), 0.0)
    if per_sample_weights is not None:
        rows = rows * unsqueeze(reshape(per_sample_weights, -1), 1)
    bags = len(bounds) - 1
    index = to_same_device(searchsorted(starts, arange(names.shape[0], device=names.device), right=True) - 1, weight)
    total = index_add(zeros(bags, weight.shape[1], dtype=wide, device=weight.device), 0, index, rows)
    if mode == "mean":
        ones = cast(to_same_device(present, weight), wide)
        counts = index_add(zeros(bags, dtype=wide, device=weight.device), 0, index, ones)
        total = total / unsqueeze(clamp(counts, 1), 1)
    return cast(total, weight.dtype)


def _maxima(rows: Tensor, present: Tensor, starts: Tensor, longest: int) -> Tensor:
    """The largest of each bag's rows, the first of equals; bags are padded to the longest."""
    bags, size = starts.shape[0] - 1, rows.shape[1]
    if not longest or not bags:
        return zeros(bags, size, dtype=rows.dtype, device=rows.device) + rows[:0].sum(0)
    places = unsqueeze(starts[:-1], 1) + arange(longest, device=starts.device)
    inside = places < unsqueeze(starts[1:], 1)
    places = where(inside, places, 0)
    inside = to_same_device(inside & present[places], rows)
    found = largest(where(unsqueeze(inside, 2), rows[to_same_device(places, rows)], -float("inf")), 1)[0]
    return where(inside.any(1, keepdim=True), found, 0.0)


def _integers(values: list[int], like: Tensor) -> Tensor:
    with no_grad():
        return like.new_tensor(values, dtype=dtypes.int64)


def _bounds(offsets: Tensor | None, length: int, include_last_offset: bool) -> list[int]:
    """Where each bag of a vector begins, and where the last one ends."""
    assert offsets is not None
    bounds = [int(n) for n in offsets.tolist()]
    if include_last_offset and not bounds:
        raise RuntimeError("embedding_bag: include_last_offset: number of offsets should be at least 1")
    if bounds and bounds[0] != 0:
        raise RuntimeError(
            f"embedding_bag: offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {bounds[0]}"
        )
    if bounds and bounds[-1] > length:
        raise RuntimeError(
            f"embedding_bag: offsets[-1] can not be greater than input's length({length}), but got {bounds[-1]}"
        )
    if bounds != sorted(bounds):
        raise RuntimeError("embedding_bag: offsets must not fall")
    # The last bag goes on to the end, as in torch also where its end is given.
    return [*(bounds[:-1] if include_last_offset else bounds), length]


def _check(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None,
    per_sample_weights: Tensor | None,
    mode: str,
    scale_grad_by_freq: bool,
) -> None:
    require_index("embedding_bag", input)
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: per_sample_weights {list(per_sample_weights.shape)} must have the same shape as the input "
            f"{list(input.shape)}"
        )
    if weight.ndim != 2:
        raise ValueError(f"embedding_bag: weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if input.ndim not in (1, 2):
        raise ValueError(f"embedding_bag: input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if input.ndim == 2 and offsets is not None:
        raise ValueError("embedding_bag: if input is 2D, then offsets has to be None: its rows are the bags")
    if input.ndim == 1 and (offsets is None or offsets.ndim != 1):
        got = None if offsets is None else list(offsets.shape)
        raise ValueError(f"embedding_bag: offsets has to be a 1D Tensor but got {got}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("embedding_bag: max mode does not support scaling the gradient by the frequency")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights is only supported for mode='sum' (got mode={mode!r})"
        )
