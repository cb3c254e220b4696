"""Reductions and scans: what replaces the methods of Triton's ReduceOps and ScanOps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import TensorHandle as Handle

from tritongrad_kernels.interpret.numbers import is_bf16, narrow, numpy_type, widen, widened


def _sum(data: np.ndarray, axis: int | None, keepdims: bool) -> np.ndarray:
    """The sum by halves: 0 .. n/2-1 added to n/2 .. n-1, and again. Floats thus get a tree's accuracy, and an order
    that does not depend on how numpy happens to hold the block."""
    if data.dtype.kind != "f":
        return np.sum(data, axis=axis, keepdims=keepdims)
    rank = data.ndim
    if axis is None:
        data, axis = data.reshape(-1), 0
    while data.shape[axis] > 1:
        half = data.shape[axis] // 2
        low, high = (slice(None),) * axis + (slice(0, half),), (slice(None),) * axis + (slice(half, None),)
        data = data[low] + data[high]
    if not keepdims:
        return data.squeeze(axis)
    return data.reshape((1,) * rank) if data.ndim != rank else data


_REDUCTIONS: dict[Any, Callable] = {
    tl.standard._sum_combine: _sum,
    tl.standard._elementwise_max: np.fmax.reduce,
    tl.standard._elementwise_min: np.fmin.reduce,
}
_SCANS: dict[Any, Callable] = {tl.standard._sum_combine: np.cumsum, tl.standard._prod_combine: np.cumprod}
_ARG_REDUCTIONS: dict[Any, Callable] = {
    tl.standard._argmax_combine_tie_break_left: np.fmax.reduce,
    tl.standard._argmax_combine_tie_break_fast: np.fmax.reduce,
    tl.standard._argmin_combine_tie_break_left: np.fmin.reduce,
    tl.standard._argmin_combine_tie_break_fast: np.fmin.reduce,
}


def _tensor(data: Any, dtype: tl.dtype) -> tl.tensor:
    data = np.asarray(data).astype(numpy_type(dtype), copy=False)
    if data.ndim == 0:
        return tl.tensor(Handle(data.reshape(1), dtype), dtype)
    return tl.tensor(Handle(data, dtype), tl.block_type(dtype, list(data.shape)))


def _combine(function: Callable, lhs: list[np.ndarray], rhs: list[np.ndarray], types: list[Any]) -> list[np.ndarray]:
    """One call of a kernel's combine function on whole blocks."""
    out = function(*map(_tensor, lhs, types), *map(_tensor, rhs, types))
    results = out if isinstance(out, tuple) else (out,)
    data = [result.handle.data if isinstance(result, tl.tensor) else result for result in results]
    return [np.broadcast_to(new, old.shape).astype(old.dtype, copy=False) for new, old in zip(data, lhs, strict=True)]


def _finish(data: np.ndarray, source: tl.tensor) -> tl.tensor:
    """The result of a reduction computed in float32 if `source` is bfloat16."""
    return _tensor(narrow(data) if is_bf16(source.handle) else data, source.dtype)


class Reduce:
    """Each method here replaces the one of the same name of Triton's ReduceOps."""

    def apply_impl(self: Any, inputs: tuple[tl.tensor, ...]) -> list[tl.tensor]:
        direct = _REDUCTIONS.get(self.combine_fn)
        if direct is not None:
            data = widened(inputs[0].handle).data
            return [_finish(direct(data, axis=self.axis, keepdims=self.keep_dims), inputs[0])]
        if self.combine_fn in _ARG_REDUCTIONS:
            return self._extreme_and_index(*inputs)
        return self.generic_reduce(inputs)

    def _extreme_and_index(self: Any, values: tl.tensor, indices: tl.tensor) -> list[tl.tensor]:
        """Maximum or minimum and its leftmost position. NaN counts only when there is nothing else."""
        data = widened(values.handle).data
        best = _ARG_REDUCTIONS[self.combine_fn](data, axis=self.axis, keepdims=True)
        where = np.argmax(data == best, axis=self.axis, keepdims=True)
        index = np.take_along_axis(indices.handle.data, where, axis=self.axis)
        if not self.keep_dims:
            best, index = best.squeeze(self.axis), index.squeeze(self.axis)
        return [_finish(best, values), _tensor(index, indices.dtype)]

    def generic_reduce(self: Any, inputs: tuple[tl.tensor, ...]) -> list[tl.tensor]:
        types = [t.dtype for t in inputs]
        rank = len(inputs[0].shape)
        flat = self.axis is None
        blocks = [t.handle.data.reshape(-1) if flat else np.moveaxis(t.handle.data, self.axis, 0) for t in inputs]
        while blocks[0].shape[0] > 1:  # Triton's block sizes are powers of two: there is never one left over
            blocks = _combine(self.combine_fn, [b[0::2] for b in blocks], [b[1::2] for b in blocks], types)
        results = [b[0] for b in blocks]
        if self.keep_dims:
            results = [r.reshape((1,) * rank) if flat else np.expand_dims(r, self.axis) for r in results]
        return [_tensor(r, dtype) for r, dtype in zip(results, types, strict=True)]


class Scan:
    """Each method here replaces the one of the same name of Triton's ScanOps."""

    def apply_impl(self: Any, inputs: tuple[tl.tensor, ...]) -> list[tl.tensor]:
        direct = _SCANS.get(self.combine_fn)
        source = [t.handle.data for t in inputs]
        if self.reverse:
            source = [np.flip(data, self.axis) for data in source]
        if direct is None:
            out = self._scan_blocks(source, [t.dtype for t in inputs])
        elif is_bf16(inputs[0].handle):
            out = [narrow(direct(widen(source[0]), axis=self.axis))]
        else:
            out = [direct(source[0], axis=self.axis, dtype=source[0].dtype)]
        if self.reverse:
            out = [np.ascontiguousarray(np.flip(data, self.axis)) for data in out]
        return [_tensor(data, t.dtype) for data, t in zip(out, inputs, strict=True)]

    def _scan_blocks(self: Any, source: list[np.ndarray], types: list[Any]) -> list[np.ndarray]:
        blocks = [np.moveaxis(data, self.axis, 0) for data in source]
        reach, n = 1, blocks[0].shape[0]
        while reach < n:
            earlier = [np.concatenate([b[:reach], b[:-reach]]) for b in blocks]  # as long as b: a power of two
            combined = _combine(self.combine_fn, earlier, blocks, types)
            blocks = [np.concatenate([b[:reach], c[reach:]]) for b, c in zip(blocks, combined, strict=True)]
            reach *= 2
        return [np.moveaxis(b, 0, self.axis) for b in blocks]
