"""Many arrays at once, one launch a dtype: the norm of all of them, all of them times a number, or between two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, elementwise, formulas, optim_formulas, reduce
from tritongrad_kernels.array import Array, empty
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import launch
from tritongrad_kernels.optim import _block, _pointer, _read, table, update

ORDERS = {1.0: 1, 2.0: 2, math.inf: 0}  # and the numbers the kernel knows them by


@triton.jit
def _norms(TABLE, BLOCKS, OUT, X: tl.constexpr, ACC: tl.constexpr, ORDER: tl.constexpr, BLOCK: tl.constexpr):
    """out[program] = sum |x| (ORDER 1), sum x^2 (ORDER 2) or max |x| (ORDER 0) over its elements; NaN goes through.

    Shapes  table rows [length, x, 0, first program] (int64, addresses); out [programs] in ACC.
    Grid    one program per BLOCK elements of an array, BLOCKS [programs] being the row of each.
    Bytes   read every array.
    """
    row, _, start, n = _block(TABLE, BLOCKS, 4, BLOCK)
    i = start + tl.arange(0, BLOCK)
    # A length read from memory is divisible by nothing the compiler knows of: under a mask it would load one by one.
    if start + BLOCK <= n:
        x = _read(_pointer(row, 1, X) + i, None, ACC)
    else:
        x = _read(_pointer(row, 1, X) + i, i < n, ACC)
    if ORDER == 2:
        found = tl.sum(x * x, 0)
    elif ORDER == 1:
        found = tl.sum(tl.abs(x), 0)
    else:
        size = tl.abs(x)
        largest = tl.max(tl.where(size == size, size, 0.0), 0)
        undefined = tl.max(tl.where(size == size, 0, 1), 0)
        found = tl.where(undefined != 0, float("nan"), largest)
    tl.store(OUT + tl.program_id(0), found)


@triton.jit
def _scale(TABLE, BLOCKS, FACTOR, X: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """x *= factor.

    Shapes  table rows [length, x, 0, first program] (int64, addresses); factor [1] in ACC.
    Grid    as `_norms`.
    Bytes   read and write every array.
    """
    row, _, start, n = _block(TABLE, BLOCKS, 4, BLOCK)
    i = start + tl.arange(0, BLOCK)
    at = _pointer(row, 1, X) + i
    factor = tl.load(FACTOR)
    if start + BLOCK <= n:
        tl.store(at, (_read(at, None, ACC) * factor).to(X))
    else:
        tl.store(at, (_read(at, i < n, ACC) * factor).to(X), mask=i < n)


@triton.jit
def _clamp(TABLE, BLOCKS, least, most, X: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """x = min(max(x, least), most), NaN staying. Shapes, grid and bytes as `_scale`."""
    row, _, start, n = _block(TABLE, BLOCKS, 4, BLOCK)
    i = start + tl.arange(0, BLOCK)
    at = _pointer(row, 1, X) + i
    if start + BLOCK <= n:
        tl.store(at, _between(_read(at, None, ACC), least, most).to(X))
    else:
        tl.store(at, _between(_read(at, i < n, ACC), least, most).to(X), mask=i < n)


@triton.jit
def _between(x, least, most):
    return tl.where(x < least, least, tl.where(x > most, most, x))


def norm(arrays: Sequence[Array], order: float) -> Array:
    """The norm of one of ORDERS of all elements of dense arrays of one dtype: one number in its accumulator."""
    kind = dtypes.accumulator(arrays[0].dtype)
    tables = table([[a, None] for a in arrays])
    parts = empty((tables.blocks.shape[0],), kind, arrays[0].device)
    launch(
        _norms,
        parts.size,
        tables.rows,
        tables.blocks,
        parts,
        TRITON_TYPE[arrays[0].dtype],
        TRITON_TYPE[kind],
        ORDERS[order],
        bytes=tables.nbytes - sum(a.nbytes for a in arrays) + parts.nbytes,
        indirect=tables.arrays,
        **tables.config,
    )
    if order == math.inf:
        return reduce.max(parts, (0,))[0]
    total = reduce.sum(parts, (0,))
    return elementwise.map(formulas._sqrt, total) if order == 2.0 else total


def scale(arrays: Sequence[Array], factor: Array) -> None:
    """Multiply dense arrays of one dtype by `factor`, one number in their accumulator, in place."""
    kind = dtypes.accumulator(arrays[0].dtype)
    assert factor.dtype is kind and factor.size == 1
    tables = table([[a, None] for a in arrays])
    launch(
        _scale,
        tables.blocks.shape[0],
        tables.rows,
        tables.blocks,
        factor,
        TRITON_TYPE[arrays[0].dtype],
        TRITON_TYPE[kind],
        bytes=tables.nbytes + factor.nbytes,
        indirect=tables.arrays,
        **tables.config,
    )


def clamp(arrays: Sequence[Array], least: float, most: float) -> None:
    """Bring the elements of dense arrays of one dtype between two numbers, in place."""
    kind = arrays[0].dtype
    tables = table([[a, None] for a in arrays])
    launch(
        _clamp,
        tables.blocks.shape[0],
        tables.rows,
        tables.blocks,
        least,
        most,
        TRITON_TYPE[kind],
        TRITON_TYPE[dtypes.accumulator(kind)],
        bytes=tables.nbytes,
        indirect=tables.arrays,
        **tables.config,
    )


def lerp(arrays: Sequence[Array], ends: Sequence[Array], weight: float) -> None:
    """Take dense arrays of one dtype, in place, the part `weight` of the way to others of their shapes and strides."""
    tables = table([[a, end, None] for a, end in zip(arrays, ends, strict=True)], [[weight]] * len(arrays))
    update(tables, arrays[0].dtype, ends[0].dtype, optim_formulas._towards)
