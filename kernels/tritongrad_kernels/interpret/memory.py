"""Blocks of pointers, and the one object through which kernels read and write."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.runtime.interpreter import TensorHandle as Handle

from tritongrad_kernels.interpret.numbers import narrow, widen


class Box(NamedTuple):
    """A strided region of memory: the address of its first element, its shape, its strides in bytes."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, dtype: np.dtype) -> np.ndarray:
        return np.asarray(_Exported(self, dtype))

    def pointers(self) -> np.ndarray:
        """The address of every element: slow, for tools that look at each access."""
        out = np.array(self.address, np.uint64)
        for n, stride in zip(self.shape, self.strides, strict=True):
            out = out[..., None] + (np.arange(n) * stride).astype(np.uint64)
        return out


class _Exported:
    """Memory at an address, offered to numpy without a copy."""

    def __init__(self, box: Box, dtype: np.dtype) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (box.address, False),
            "typestr": dtype.str,
            "shape": box.shape,
            "strides": box.strides,
        }


class Addresses(NamedTuple):
    """A block of pointers: base + offset * scale, two arrays that broadcast to `shape` and a number of bytes.

    Pointers usually add one term per axis, so leaving the last sum undone shows their structure in arrays smaller than
    the block by an axis.
    """

    base: np.ndarray
    offset: np.ndarray
    scale: int
    shape: tuple[int, ...]

    def array(self) -> np.ndarray:
        return np.add(self.base, in_bytes(self.offset, self.scale), out=np.empty(self.shape, np.uint64))


NO_OFFSET = np.zeros(1, np.int32)


def in_bytes(offset: np.ndarray, scale: int) -> np.ndarray:
    out = offset.astype(np.uint64)
    out *= np.uint64(scale)
    return out


def distinct(block: np.ndarray) -> np.ndarray:
    """A block without its repetitions: axes that were broadcast have length one."""
    if 0 not in block.strides:
        return block
    return block[tuple([slice(0, 1) if stride == 0 else slice(None) for stride in block.strides])]


def repeat(block: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """np.broadcast_to, at a tenth of its fixed cost where the block is contiguous."""
    if block.ndim != len(shape) or not block.flags.c_contiguous:
        return np.broadcast_to(block, shape)
    strides = [0 if n == 1 else stride for n, stride in zip(block.shape, block.strides, strict=True)]
    return np.ndarray(shape, block.dtype, block, 0, strides)


class Pointers(Handle):
    """A handle whose `data`, the address of every lane, is computed only if something other than memory asks."""

    def __init__(self, addresses: Addresses, dtype: tl.dtype) -> None:
        self.addresses = addresses
        self.dtype = dtype
        self.attr: dict[str, Any] = {}

    @functools.cached_property
    def data(self) -> np.ndarray:
        return self.addresses.array()


def addresses_of(handle: Handle) -> Addresses:
    if isinstance(handle, Pointers):
        return handle.addresses
    return Addresses(distinct(handle.data), NO_OFFSET, 1, handle.data.shape)


class Runs(NamedTuple):
    """Accesses found to be `starts.size` runs of `length` adjacent elements each, out of a block of pointers.

    With `axis` of the block moved last and the others flattened, they are block[rows, columns].
    """

    starts: np.ndarray
    length: int
    axis: int
    rows: Any
    columns: slice

    def even(self, dtype: np.dtype) -> np.ndarray | None:
        """The (runs, length) block itself, if its rows are evenly spaced and do not overlap."""
        step = int(self.starts[1]) - int(self.starts[0]) if self.starts.size > 1 else self.length * dtype.itemsize
        if abs(step) < self.length * dtype.itemsize or (np.diff(self.starts.view(np.int64)) != step).any():
            return None
        return Box(int(self.starts[0]), (self.starts.size, self.length), (step, dtype.itemsize)).view(dtype)

    def windows(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """(windows, index): windows[index] is the (runs, length) block. Only indexed elements are ever touched."""
        first = int(self.starts.min())
        index = ((self.starts - np.uint64(first)) // np.uint64(dtype.itemsize)).astype(np.int64)
        shape = (int(index.max()) + 1, self.length)
        return Box(first, shape, (dtype.itemsize, dtype.itemsize)).view(dtype), index

    def read(self, dtype: np.dtype) -> np.ndarray:
        even = self.even(dtype)
        if even is not None:
            return even
        windows, index = self.windows(dtype)
        return windows[index]

    def write(self, values: np.ndarray) -> None:
        even = self.even(values.dtype)
        if even is not None:
            even[...] = values
        else:
            windows, index = self.windows(values.dtype)
            windows[index] = values


SMALL = 512
"""Below this many lanes, Triton's element-by-element loop is quicker than looking for structure."""


def _find_runs(addresses: Addresses, mask: np.ndarray | None, itemsize: int) -> Runs | None:
    """The unmasked lanes as contiguous runs along one axis, or None when they are not that regular.

    Every pointer of the block is checked. The mask must be (any lanes of the other axes) x (one interval of the axis).
    """
    axis = _contiguous_axis(addresses, itemsize)
    if axis is None:
        return None
    starts = _first_along(axis, addresses.base) + in_bytes(_first_along(axis, addresses.offset), addresses.scale)
    others = addresses.shape[:axis] + addresses.shape[axis + 1 :] or (1,)
    starts = np.broadcast_to(starts, others).reshape(-1)
    rows: Any = slice(0, starts.size)
    columns = slice(0, addresses.shape[axis])
    if mask is not None:
        kept = np.moveaxis(mask, axis, -1).reshape(starts.size, -1)
        full = np.atleast_1d(kept.any(axis=1))
        rows = rows if full.all() else np.flatnonzero(full)
        columns = _interval(np.atleast_1d(kept.any(axis=0)) if starts.size > 1 else kept[0])
        starts = starts[rows] + np.uint64(columns.start * itemsize)
        if np.count_nonzero(kept) != starts.size * (columns.stop - columns.start):
            return None
    if ((starts - starts.min()) & np.uint64(itemsize - 1)).any():
        return None
    return Runs(starts, columns.stop - columns.start, axis, rows, columns)


def _first_along(axis: int, part: np.ndarray) -> np.ndarray:
    return part.take(0, axis) if part.ndim > 1 else part[:1]


def _interval(lanes: np.ndarray) -> slice:
    """From the first to the last of the true lanes."""
    return slice(int(lanes.argmax()), lanes.size - int(lanes[::-1].argmax()))


def _contiguous_axis(addresses: Addresses, itemsize: int) -> int | None:
    """The axis along which every pointer is followed by the next element, if there is one."""
    parts = ((addresses.base, itemsize), (addresses.offset, itemsize // addresses.scale))
    for axis in reversed(range(len(addresses.shape))):
        varying = [part for part in parts if part[0].ndim > axis and part[0].shape[axis] > 1]
        if len(varying) == 1 and _steps_by(*varying[0], axis):
            return axis
    return None


def _steps_by(block: np.ndarray, step: int, axis: int) -> bool:
    block = np.moveaxis(block, axis, -1) if axis != block.ndim - 1 else block
    before, after = block[..., :-1], block[..., 1:]
    if (block[..., -1] - block[..., 0] != step * (block.shape[-1] - 1)).any():
        return False
    if step == 1:  # integers that always rise, and by n - 1 in all, rise by one: this needs no temporary
        return bool((after > before).all())
    return bool((after > before).all() and (after - before == step).all())


def _elements(pointers: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    """(view, index) such that view[index] are the elements pointed at, or None when they are not mutually aligned."""
    first = pointers.min()
    offset = pointers - first
    if np.bitwise_or.reduce(offset, axis=None) & np.uint64(dtype.itemsize - 1):
        return None
    offset >>= np.uint64(dtype.itemsize.bit_length() - 1)
    index = offset.view(np.int64)
    return Box(int(first), (int(index.max()) + 1,), (dtype.itemsize,)).view(dtype), index


class Memory:
    """Every access a kernel makes to memory is one call of one of these methods.

    `mask` None means all lanes. Masked-off lanes are never dereferenced; they read as `other`, or as zero where the
    kernel gave none (`other` None). Triton turns an `other` of 0 for a single number into none.
    """

    def load(
        self, addresses: Addresses, mask: np.ndarray | None, other: np.ndarray | None, dtype: np.dtype
    ) -> np.ndarray:
        shape = addresses.shape
        if math.prod(shape) < SMALL:
            return _load_each(addresses.array(), mask, other, dtype)
        mask = _partial(mask)
        out = np.empty(shape, dtype) if mask is None else _filled(shape, other, dtype)
        if mask is not None and not mask.any():
            return out
        runs = _find_runs(addresses, mask, dtype.itemsize)
        if runs is not None:
            rows = _rows_of(out, runs)  # a copy where the axis is neither the first nor the last
            rows[runs.rows, runs.columns] = runs.read(dtype)
            others = shape[: runs.axis] + shape[runs.axis + 1 :]
            return np.moveaxis(rows.reshape(*others, -1), -1, runs.axis)
        pointers = addresses.array()
        found = _elements(pointers if mask is None else pointers[mask], dtype)
        if found is None:
            return _load_each(pointers, mask, other, dtype)
        view, index = found
        out[... if mask is None else mask] = view[index]
        return out

    def store(self, addresses: Addresses, value: np.ndarray, mask: np.ndarray | None) -> None:
        if value.size < SMALL:
            return _store_each(addresses.array(), value, mask)
        mask = _partial(mask)
        if mask is not None and not mask.any():
            return None
        runs = _find_runs(addresses, mask, value.dtype.itemsize)
        if runs is not None:
            runs.write(_rows_of(value, runs)[runs.rows, runs.columns])
            return None
        pointers = addresses.array()
        found = _elements(pointers if mask is None else pointers[mask], value.dtype)
        if found is None:
            return _store_each(pointers, value, mask)
        view, index = found
        view[index] = value if mask is None else value[mask]
        return None

    def load_box(self, box: Box, dtype: np.dtype) -> np.ndarray:
        return box.view(dtype).copy()

    def store_box(self, box: Box, value: np.ndarray) -> None:
        box.view(value.dtype)[...] = value

    def atomic_rmw(self, operation: Any, pointers: np.ndarray, value: np.ndarray, mask: np.ndarray, order: Any) -> Any:
        if operation == stock._interpreter.RMW_OP.FADD and value.dtype == np.uint16:
            return _add_bf16(pointers, value, mask)
        arrays = map(_owned, (pointers, value, mask))
        return stock._interpreter.atomic_rmw(operation, *arrays, order)

    def atomic_cas(self, pointers: np.ndarray, expected: np.ndarray, value: np.ndarray, order: Any) -> Any:
        arrays = map(_owned, (pointers, expected, value))
        return stock._interpreter.atomic_cas(*arrays, order)

    def barrier(self) -> None:
        """The program's own stores before a `tl.debug_barrier()` are seen by its loads after it, whatever the lane."""


def _partial(mask: np.ndarray | None) -> np.ndarray | None:
    return None if mask is None or mask.all() else mask


def _rows_of(block: np.ndarray, runs: Runs) -> np.ndarray:
    """The block as the (rows, length) matrix that `runs` indexes."""
    if block.ndim == 1:
        return block.reshape(1, -1)
    return np.moveaxis(block, runs.axis, -1).reshape(-1, block.shape[runs.axis])


def _filled(shape: Sequence[int], other: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    return np.zeros(shape, dtype) if other is None else np.array(np.broadcast_to(other, shape), dtype, order="C")


def _owned(block: np.ndarray) -> np.ndarray:
    """The native code ignores strides, and refuses the read-only arrays that broadcasting makes."""
    return block if block.flags.carray else block.copy()


def _load_each(pointers: np.ndarray, mask: np.ndarray | None, other: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    mask = np.ones(pointers.shape, bool) if mask is None else mask
    return stock._interpreter.load(pointers, _owned(mask), _filled(pointers.shape, other, dtype), dtype)


def _store_each(pointers: np.ndarray, value: np.ndarray, mask: np.ndarray | None) -> None:
    mask = np.ones(pointers.shape, bool) if mask is None else mask
    stock._interpreter.store(pointers, _owned(value), _owned(mask))


def _add_bf16(pointers: np.ndarray, value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The atomic addition that the native code has no type for: lane after lane, each rounded to nearest even."""
    before = np.zeros(value.shape, np.uint16)
    for lane in zip(*np.nonzero(mask), strict=True):
        cell = Box(int(pointers[lane]), (1,), (2,)).view(before.dtype)
        before[lane] = cell[0]
        cell[0] = narrow(widen(cell) + widen(value[lane]))[0]
    return before
