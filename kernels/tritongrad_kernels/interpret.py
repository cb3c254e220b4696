"""Repairs for Triton's CPU interpreter, which runs every kernel of this project where there is no GPU.

Stock, the interpreter computes bfloat16 on raw bit patterns (no error, wrong numbers), patches `triton.language` again
for every launch and every nested call, and moves memory one element at a time. `install()` replaces those parts in
place, and `uninstall()` puts every attribute back; only the limits on memory that glibc keeps stay raised. Nothing here
imports torch: a kernel argument is anything with `.data_ptr()` (an address in this process) and `.dtype`.

Choices that define results, where a GPU would leave them open:
- bfloat16 arithmetic is float32 arithmetic rounded to nearest even after each operation. `tl.sum` and `tl.cumsum` of
  bfloat16 accumulate in float32 and round once.
- `tl.sum` of floats adds the second half of the axis to the first, and again, whatever the layout of the block.
- A generic `tl.reduce` combines neighbours, (0, 1), (2, 3), ..., then neighbours of the results: a balanced tree that
  keeps operand order. A generic `tl.associative_scan` doubles its reach: element i takes i-1, then i-2, then i-4, ...
- Python floats passed to a kernel become float32 scalars, as compiled code receives them.

Everything a kernel reads or writes goes through one `Memory` object, and every launch through `run_grid`: replacing
`interpret.memory` or `interpret.run_grid` is all a checking tool has to do.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import dataclasses
import functools
import inspect
import itertools
import math
import random
import textwrap
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.runtime.errors import InterpreterError
from triton.runtime.interpreter import TensorHandle as Handle
from triton.runtime.jit import _normalize_ty, mangle_type
from triton.tools.tensor_descriptor import TensorDescriptor

SUPPORTED = ("3.6", "3.7", "3.8", "3.9")

tf32 = "off"
"""How float32 operands of a dot with input_precision="tf32" are rounded: "off" (exact), "round" or "truncate"."""

_compute_numpy_type = stock._get_np_dtype
_numpy_types: dict[str, np.dtype] = {}
_lock = threading.RLock()
_program_order: str | int = "forward"


def _numpy_type(dtype: tl.dtype) -> np.dtype:
    """The numpy type that stores a Triton type."""
    known = _numpy_types.get(dtype.name)
    if known is None:
        known = _numpy_types[dtype.name] = _compute_numpy_type(dtype)
    return known


# ---- bfloat16, stored by the interpreter as uint16 ----


def widen(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bit patterns as the float32 numbers they stand for."""
    wide = np.asarray(bits).astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def narrow(numbers: np.ndarray, toward_zero: bool = False) -> np.ndarray:
    """Numbers as bfloat16 bit patterns, rounded to nearest even unless told otherwise. A NaN stays one."""
    if numbers.dtype == np.float64:
        numbers = _round_to_odd(numbers)
    single = np.asarray(numbers, dtype=np.float32)
    bits = np.ascontiguousarray(single).view(np.uint32).reshape(single.shape)
    if toward_zero:
        out = (bits >> np.uint32(16)).astype(np.uint16)
    else:
        rounded = bits >> np.uint32(16)
        rounded &= np.uint32(1)
        rounded += np.uint32(0x7FFF)
        rounded += bits
        rounded >>= np.uint32(16)
        out = rounded.astype(np.uint16)
    nan = np.isnan(single)
    if nan.any():
        out = np.where(nan, (bits >> np.uint32(16)).astype(np.uint16) | np.uint16(0x40), out)
    return out


def _round_to_odd(numbers: np.ndarray) -> np.ndarray:
    """float64 as float32 such that a second rounding, to a shorter format, gives what one rounding would have."""
    single = numbers.astype(np.float32)
    back = single.astype(np.float64)
    bits = np.ascontiguousarray(single).view(np.int32).reshape(single.shape)
    even_and_inexact = (back != numbers) & ((bits & 1) == 0) & ~np.isnan(numbers)
    step = np.where(np.abs(back) > np.abs(numbers), np.int32(-1), np.int32(1))
    return (bits + step * even_and_inexact).astype(np.int32).view(np.float32)


def _is_bf16(handle: Any) -> bool:
    return isinstance(handle, Handle) and handle.data.dtype == np.uint16 and handle.dtype.scalar == tl.bfloat16


def _widened(handle: Any) -> Any:
    return Handle(widen(handle.data), tl.float32) if _is_bf16(handle) else handle


def _in_float32(method: Callable) -> Callable:
    """Wrap a builder operation so that bfloat16 handles are computed in float32 and rounded once."""

    @functools.wraps(method)
    def operation(self: Any, *arguments: Any) -> Any:
        if not any(_is_bf16(argument) for argument in arguments):
            return method(self, *arguments)
        return Handle(narrow(method(self, *map(_widened, arguments)).data), tl.bfloat16)

    return operation


# ---- memory ----


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
        return np.add(self.base, _scaled(self.offset, self.scale), out=np.empty(self.shape, np.uint64))


_NO_OFFSET = np.zeros(1, np.int32)


def _scaled(offset: np.ndarray, scale: int) -> np.ndarray:
    out = offset.astype(np.uint64)
    out *= np.uint64(scale)
    return out


def _distinct(block: np.ndarray) -> np.ndarray:
    """A block without its repetitions: axes that were broadcast have length one."""
    if 0 not in block.strides:
        return block
    return block[tuple([slice(0, 1) if stride == 0 else slice(None) for stride in block.strides])]


def _repeat(block: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
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


def _addresses(handle: Handle) -> Addresses:
    if isinstance(handle, Pointers):
        return handle.addresses
    return Addresses(_distinct(handle.data), _NO_OFFSET, 1, handle.data.shape)


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
    starts = _first_along(axis, addresses.base) + _scaled(_first_along(axis, addresses.offset), addresses.scale)
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
        arrays = map(_owned, (pointers, value, mask))
        return stock._interpreter.atomic_rmw(operation, *arrays, order)

    def atomic_cas(self, pointers: np.ndarray, expected: np.ndarray, value: np.ndarray, order: Any) -> Any:
        arrays = map(_owned, (pointers, expected, value))
        return stock._interpreter.atomic_cas(*arrays, order)


memory = Memory()


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


# ---- operations: what replaces the methods of Triton's InterpreterBuilder ----

_INT1_ARITHMETIC: dict[Callable, Callable] = {
    np.add: np.not_equal,
    np.subtract: np.not_equal,
    np.multiply: np.logical_and,
}


class _Builder:
    """Each method here replaces the one of the same name; `self` is Triton's builder."""

    def binary_op(self: Any, lhs: Handle, rhs: Handle, op: Callable) -> Handle:
        if _is_bf16(lhs) or _is_bf16(rhs):
            out = op(_widened(lhs).data, _widened(rhs).data)
            return Handle(out, tl.int1) if out.dtype == np.bool_ else Handle(narrow(out), tl.bfloat16)
        if lhs.data.dtype == np.bool_ and rhs.data.dtype == np.bool_:
            op = _INT1_ARITHMETIC.get(op, op)
        out = op(lhs.data, rhs.data)
        if out.dtype == lhs.data.dtype:
            return Handle(out, lhs.dtype.scalar)
        if out.dtype == np.bool_:
            return Handle(out, tl.int1)
        return Handle(out.astype(lhs.data.dtype), lhs.dtype.scalar)

    def create_minnumf(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return self.binary_op(lhs, rhs, np.fmin)

    def create_maxnumf(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return self.binary_op(lhs, rhs, np.fmax)

    def create_clampf(self: Any, x: Handle, low: Handle, high: Handle, propagate_nan: Any) -> Handle:
        if propagate_nan == stock._ir.PROPAGATE_NAN.NONE:
            return self.binary_op(self.binary_op(x, low, np.fmax), high, np.fmin)
        return self.binary_op(self.binary_op(x, low, np.maximum), high, np.minimum)

    def create_idiv(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return Handle(_quotient(lhs.data, rhs.data), lhs.dtype.scalar)

    def create_srem(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return Handle(lhs.data - _quotient(lhs.data, rhs.data) * rhs.data, lhs.dtype.scalar)

    create_urem = create_srem

    def create_umulhi(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        unsigned = np.dtype(f"u{lhs.data.dtype.itemsize}")
        high = _multiply_high(lhs.data.view(unsigned), rhs.data.view(unsigned))
        return Handle(high.view(lhs.data.dtype), lhs.dtype.scalar)

    def create_erf(self: Any, x: Handle) -> Handle:
        return Handle(_erf(x.data), x.dtype.scalar)

    def cast_impl(self: Any, source: Handle, destination: tl.dtype) -> Handle:
        to = destination.scalar
        if to == tl.bfloat16:
            return source if _is_bf16(source) else Handle(narrow(source.data), to)
        return Handle(_widened(source).data.astype(_numpy_type(to)), to)

    def create_fp_to_fp(self: Any, source: Handle, destination: tl.dtype, rounding: Any) -> Handle:
        to, known = destination.scalar, (tl.bfloat16, tl.float16, tl.float32, tl.float64)
        toward_zero = rounding == stock._ir.ROUNDING_MODE.RTZ
        if to not in known or source.dtype.scalar not in known or (toward_zero and to != tl.bfloat16):
            return _original(_Builder.create_fp_to_fp)(self, source, destination, rounding)
        if toward_zero:
            return Handle(narrow(_widened(source).data.astype(np.float32), toward_zero=True), to)
        return self.cast_impl(source, to)

    def get_bf16(self: Any, value: float) -> Handle:
        return Handle(narrow(np.array([value], np.float64)), tl.bfloat16)

    def create_dot(self: Any, a: Handle, b: Handle, acc: Handle, precision: Any, max_imprecise: Any) -> Handle:
        if any(x.data.dtype == np.uint8 for x in (a, b)):
            return _original(_Builder.create_dot)(self, a, b, acc, precision, max_imprecise)
        left, right = _widened(a).data, _widened(b).data
        if tf32 != "off" and a.dtype.scalar == tl.float32 and precision == stock._ir.INPUT_PRECISION.TF32:
            left, right = to_tf32(left), to_tf32(right)
        # Only these two types go through BLAS; float64 holds every sum of int8 products exactly.
        wide = np.float32 if acc.data.dtype in (np.float16, np.float32) else np.float64
        # C order always: BLAS sums a transposed operand in another order.
        out = np.matmul(np.ascontiguousarray(left, wide), np.ascontiguousarray(right, wide))
        out += acc.data
        return Handle(out.astype(acc.data.dtype, copy=False), acc.dtype.scalar)

    def create_addptr(self: Any, pointer: Handle, offset: Handle) -> Handle:
        scale = max(1, pointer.get_element_ty().primitive_bitwidth // 8)
        if offset.data.size == 1 and not isinstance(pointer, Pointers):
            return Handle(pointer.data + _scaled(offset.data, scale), pointer.dtype)
        base, earlier, before, shape = _addresses(pointer)
        base = base if earlier is _NO_OFFSET else base + _scaled(earlier, before)
        return Pointers(Addresses(base, _distinct(offset.data), scale, shape), pointer.dtype)

    def create_broadcast(self: Any, block: Handle, shape: Sequence[int]) -> Handle:
        if isinstance(block, Pointers):
            return Pointers(block.addresses._replace(shape=tuple(shape)), block.dtype)
        return Handle(_repeat(block.data, tuple(shape)), block.dtype.scalar)

    def create_expand_dims(self: Any, block: Handle, axis: int) -> Handle:
        if not isinstance(block, Pointers):
            data = block.data
            return Handle(data.reshape(data.shape[:axis] + (1,) + data.shape[axis:]), block.dtype.scalar)
        base, more, scale, shape = block.addresses
        base, more = (part if part.size == 1 else np.expand_dims(part, axis) for part in (base, more))
        return Pointers(Addresses(base, more, scale, shape[:axis] + (1,) + shape[axis:]), block.dtype)

    def create_splat(self: Any, block_type: Any, scalar: Handle) -> Handle:
        shape = tuple(block_type.shape)
        data = np.ndarray(shape, scalar.data.dtype, scalar.data, 0, (0,) * len(shape))
        return Handle(data, scalar.dtype.scalar)

    def create_load(self: Any, pointer: Handle, *hints: Any) -> Handle:
        return self.create_masked_load(pointer, None, None)

    def create_store(self: Any, pointer: Handle, value: Handle, *hints: Any) -> None:
        return self.create_masked_store(pointer, value, None)

    def create_masked_load(self: Any, pointer: Handle, mask: Any, other: Any, *hints: Any, **more: Any) -> Handle:
        element = pointer.get_element_ty()
        filler = None if other is None else other.data
        return Handle(memory.load(_addresses(pointer), _lanes(mask), filler, _numpy_type(element)), element)

    def create_masked_store(self: Any, pointer: Handle, value: Handle, mask: Any, *hints: Any, **more: Any) -> None:
        dtype = _numpy_type(pointer.get_element_ty())
        data = value.data.astype(dtype, copy=False)
        memory.store(_addresses(pointer), data, _lanes(mask))

    def create_atomic_rmw(
        self: Any, op: Any, pointer: Handle, value: Handle, mask: Handle, order: Any, scope: Any
    ) -> Handle:
        operation = self.ir_rmw_op_to_interpreter_rmw_op[op]
        order = self.ir_sem_to_interpreter_sem[order]
        out = memory.atomic_rmw(operation, pointer.data, value.data, mask.data, order)
        return Handle(out, value.dtype.scalar)

    def create_atomic_cas(
        self: Any, pointer: Handle, expected: Handle, value: Handle, order: Any, scope: Any
    ) -> Handle:
        order = self.ir_sem_to_interpreter_sem[order]
        return Handle(memory.atomic_cas(pointer.data, expected.data, value.data, order), expected.dtype.scalar)

    def create_descriptor_load(self: Any, descriptor: Any, indices: list[Handle], *hints: Any, **more: Any) -> Handle:
        element = descriptor.base.dtype.element_ty
        dtype = _numpy_type(element)
        box, inside = _descriptor_box(descriptor, indices)
        if box.shape == tuple(descriptor.block_shape):
            out = memory.load_box(box, dtype)
        else:
            padding_nan = descriptor.padding == stock._ir.PADDING_OPTION.PAD_NAN
            filler = (0x7FC0 if element == tl.bfloat16 else math.nan) if padding_nan else 0
            out = np.full(tuple(descriptor.block_shape), filler, dtype)
            if 0 not in box.shape:
                out[inside] = memory.load_box(box, dtype)
        if getattr(descriptor, "round_f32_to_tf32", False) and element == tl.float32:
            out = to_tf32(out, "round")
        return Handle(out, element)

    def create_descriptor_store(self: Any, descriptor: Any, value: Handle, indices: list[Handle]) -> None:
        box, inside = _descriptor_box(descriptor, indices)
        if 0 not in box.shape:
            dtype = _numpy_type(descriptor.base.dtype.element_ty)
            data = value.data.reshape(tuple(descriptor.block_shape)).astype(dtype, copy=False)
            memory.store_box(box, data[inside])


class _Semantic:
    """Each method here replaces the one of the same name of TritonSemantic."""

    def broadcast_impl_value(self: Any, lhs: tl.tensor, rhs: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
        """The two commonest cases at a fifth of the cost: equal shapes, and a number with a block."""
        left, right = lhs.type, rhs.type
        if left.is_block() and right.is_block():
            if left.shape.values == right.shape.values:
                return lhs, rhs
        elif left.is_block():
            return lhs, self.tensor(self.builder.create_splat(left, rhs.handle), left.with_element_ty(right))
        elif right.is_block():
            return self.tensor(self.builder.create_splat(right, lhs.handle), right.with_element_ty(left)), rhs
        return _original(_Semantic.broadcast_impl_value)(self, lhs, rhs)


for _name in ("unary_op", "create_fma", "create_rsqrt"):
    setattr(_Builder, _name, _in_float32(getattr(stock.InterpreterBuilder, _name)))
_Builder.create_erf = _in_float32(_Builder.create_erf)  # type: ignore[method-assign]


def _lanes(mask: Any) -> np.ndarray | None:
    return mask.data if isinstance(mask, Handle) else mask


def _quotient(lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Integer division rounded toward zero, as in C and on the GPU."""
    if not any(rhs.strides):
        rhs = rhs.reshape(-1)[:1]  # a splat: numpy divides by one number several times faster
    if lhs.dtype.kind == "u" or (lhs.min(initial=0) >= 0 and rhs.min(initial=1) > 0):
        return lhs // rhs
    return (lhs - np.fmod(lhs, rhs)) // rhs


def _multiply_high(lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """The upper half of the product of unsigned integers."""
    bits = lhs.dtype.itemsize * 8
    if bits == 32:
        product = np.multiply(_distinct(lhs), _distinct(rhs), dtype=np.uint64, order="C")
        return np.broadcast_to(product.view(np.uint32)[..., 1::2], lhs.shape)
    if bits < 32:
        return (np.multiply(lhs, rhs, dtype=np.uint64) >> np.uint64(bits)).astype(lhs.dtype)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0, b1, b0 = lhs >> half, lhs & low, rhs >> half, rhs & low
    middle = a1 * b0 + ((a0 * b0) >> half)
    return a1 * b1 + (middle >> half) + ((a0 * b1 + (middle & low)) >> half)


@functools.cache
def _erf_table() -> tuple[np.ndarray, np.ndarray]:
    knots = np.arange(0, 6.25, 1 / 512)
    return np.array([math.erf(x) for x in knots]), np.exp(-(knots**2)) * (2 / math.sqrt(math.pi) / 512)


def _erf(x: np.ndarray) -> np.ndarray:
    """erf. In float32 and below, cubic Hermite interpolation of a table of values and slopes: error under 1e-12."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    value, slope = _erf_table()
    scaled = np.minimum(np.abs(x.astype(np.float64)), 6.0) * 512
    nan = np.isnan(scaled)
    left = np.where(nan, 0, scaled).astype(np.int64)
    t = scaled - left
    rise = value[left + 1] - value[left]
    s0, s1 = slope[left], slope[left + 1]
    out = value[left] + t * (s0 + t * ((3 * rise - 2 * s0 - s1) + t * (s0 + s1 - 2 * rise)))
    return np.copysign(out, x).astype(x.dtype)


def to_tf32(numbers: np.ndarray, mode: str | None = None) -> np.ndarray:
    """float32 numbers with the mantissa cut to 10 bits, "round" (half away from zero) or "truncate"."""
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    half = np.uint32(0x1000 if (mode or tf32) == "round" else 0)
    special = (bits & np.uint32(0x7F800000)) == np.uint32(0x7F800000)
    return np.where(special, bits, (bits + half) & np.uint32(0xFFFFE000)).view(np.float32)


def _descriptor_box(descriptor: Any, indices: list[Handle]) -> tuple[Box, tuple[slice, ...]]:
    """The part of a descriptor's block that lies inside the tensor, in memory and in the block."""
    itemsize = descriptor.base.dtype.element_ty.primitive_bitwidth // 8
    starts = [int(index.data.item()) for index in indices]
    if starts[-1] * itemsize % 16:
        raise ValueError(f"descriptor: the last offset, {starts[-1]} elements, is not a multiple of 16 bytes")
    address, shape, strides, inside = int(descriptor.base.data.item()), [], [], []
    for start, extent, stride, block in zip(
        starts, descriptor.shape, descriptor.strides, descriptor.block_shape, strict=True
    ):
        step = int(stride.data.item()) * itemsize
        low = max(0, -start)
        high = max(low, min(int(block), int(extent.data.item()) - start))
        address += (start + low) * step
        shape.append(high - low)
        strides.append(step)
        inside.append(slice(low, high))
    return Box(address, tuple(shape), tuple(strides)), tuple(inside)


# ---- reductions and scans ----


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
    data = np.asarray(data).astype(_numpy_type(dtype), copy=False)
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
    return _tensor(narrow(data) if _is_bf16(source.handle) else data, source.dtype)


class _Reduce:
    """Each method here replaces the one of the same name of Triton's ReduceOps."""

    def apply_impl(self: Any, inputs: tuple[tl.tensor, ...]) -> list[tl.tensor]:
        direct = _REDUCTIONS.get(self.combine_fn)
        if direct is not None:
            data = _widened(inputs[0].handle).data
            return [_finish(direct(data, axis=self.axis, keepdims=self.keep_dims), inputs[0])]
        if self.combine_fn in _ARG_REDUCTIONS:
            return self._extreme_and_index(*inputs)
        return self.generic_reduce(inputs)

    def _extreme_and_index(self: Any, values: tl.tensor, indices: tl.tensor) -> list[tl.tensor]:
        """Maximum or minimum and its leftmost position. NaN counts only when there is nothing else."""
        data = _widened(values.handle).data
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


class _Scan:
    """Each method here replaces the one of the same name of Triton's ScanOps."""

    def apply_impl(self: Any, inputs: tuple[tl.tensor, ...]) -> list[tl.tensor]:
        direct = _SCANS.get(self.combine_fn)
        source = [t.handle.data for t in inputs]
        if self.reverse:
            source = [np.flip(data, self.axis) for data in source]
        if direct is None:
            out = self._scan_blocks(source, [t.dtype for t in inputs])
        elif _is_bf16(inputs[0].handle):
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


# ---- kernels: rewriting their source ----


class _Rewriter(ast.NodeTransformer):
    """The few places where running a kernel as plain Python would differ from compiling it.

    Assigned numbers become tensors; `and`, `or`, `not` and chained comparisons of tensors become logical operations on
    every lane; a branch on a block of more than one lane is refused. Helpers are free variables of the result, under
    the names of `_HELPERS`: nothing is written into the kernel's module.
    """

    def __init__(self) -> None:
        self.temporaries = 0

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if len(node.targets) > 1:
            raise ValueError(f"line {node.lineno}: a kernel cannot assign to several targets at once")
        self.generic_visit(node)
        node.value = _call("__tensor", node.value, ast.Constant(False))
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return self._join("and" if isinstance(node.op, ast.And) else "or", node.values)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) == 1:
            return node
        parts: list[ast.expr] = []
        left = node.left
        for k, (op, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            name = self._temporary()
            last = k + 1 == len(node.ops)
            value = right if last else ast.NamedExpr(ast.Name(name, ast.Store()), right)
            parts.append(ast.Compare(left, [op], [value]))
            left = ast.Name(name, ast.Load())
        return self._join("and", parts)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return _call("__not", node.operand) if isinstance(node.op, ast.Not) else node

    def visit_branch(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        node.test = _call("__truth", node.test)
        return node

    visit_If = visit_While = visit_IfExp = visit_branch

    def _join(self, op: str, values: list[ast.expr]) -> ast.expr:
        """`__open(op, t := a) and __both(op, t, b)`, so that b is evaluated only where a compiler would."""
        joined = values[0]
        for value in values[1:]:
            name = self._temporary()
            test = _call("__open", ast.Constant(op), ast.NamedExpr(ast.Name(name, ast.Store()), joined))
            both = _call("__both", ast.Constant(op), ast.Name(name, ast.Load()), value)
            joined = ast.IfExp(test, both, ast.Name(name, ast.Load()))
        return joined

    def _temporary(self) -> str:
        self.temporaries += 1
        return f"__t{self.temporaries}"


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _truth(value: Any) -> bool:
    if isinstance(value, tl.tensor) and value.handle.data.size > 1:
        raise TypeError("a kernel cannot branch on a block of several values: reduce it, or use tl.where")
    return bool(value)


def _is_open(op: str, left: Any) -> bool:
    """Whether `left op right` still depends on right. Only constants decide early, as when compiling."""
    return isinstance(left, tl.tensor) or bool(left) == (op == "and")


def _both(op: str, left: Any, right: Any) -> Any:
    if not isinstance(left, tl.tensor):
        return right
    if not isinstance(right, tl.tensor):
        return left if bool(right) == (op == "and") else right
    return left.logical_and(right) if op == "and" else left.logical_or(right)


def _not(value: Any) -> Any:
    return value.__not__() if isinstance(value, tl.tensor) else not value


_HELPERS: dict[str, Callable] = {
    "__tensor": stock.interpreter_semantic.to_tensor,
    "__truth": _truth,
    "__open": _is_open,
    "__both": _both,
    "__not": _not,
}


def rewrite(function: types.FunctionType) -> types.FunctionType:
    """The function with its body rewritten: same globals, defaults, closure, file and line numbers."""
    try:
        lines, first_line = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return function  # made at run time, without source
    definition = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    free = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    cells = free | {name: types.CellType(helper) for name, helper in _HELPERS.items()}
    definition.body = [_Rewriter().visit(statement) for statement in definition.body]
    module = ast.parse(f"def outer({', '.join(cells)}): pass")
    module.body[0].body = [definition]  # type: ignore[attr-defined]
    ast.fix_missing_locations(module)
    ast.increment_lineno(module, first_line - 1)
    code = _find_code(compile(module, function.__code__.co_filename, "exec", dont_inherit=True), function.__name__)
    new = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, tuple(cells[n] for n in code.co_freevars)
    )
    new.__kwdefaults__ = function.__kwdefaults__
    return new


def _find_code(code: types.CodeType, name: str) -> types.CodeType:
    """The code of function `name`, defined in the one function of a module."""
    outer = next(c for c in code.co_consts if isinstance(c, types.CodeType))
    return next(c for c in outer.co_consts if isinstance(c, types.CodeType) and c.co_name == name)


# ---- launching ----


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What a launch needs to know of a kernel, found once."""

    body: types.FunctionType
    parameters: tuple[str, ...]
    defaults: dict[str, Any]
    constants: frozenset[str]
    scalar_types: dict[str, tl.dtype]


_kernels: dict[Callable, Kernel] = {}
_pointer_types: dict[Any, tl.dtype] = {}


def _kernel(function: types.FunctionType) -> Kernel:
    known = _kernels.get(function)
    if known is None:
        known = _kernels[function] = _inspect(function)
    return known


def _inspect(function: types.FunctionType) -> Kernel:
    signature = inspect.signature(function).parameters
    types_of = {name: _normalize_ty(p.annotation) for name, p in signature.items() if p.annotation is not p.empty}
    return Kernel(
        body=rewrite(function),
        parameters=tuple(signature),
        defaults={name: p.default for name, p in signature.items() if p.default is not p.empty},
        constants=frozenset(name for name, text in types_of.items() if "constexpr" in text),
        scalar_types={name: tl.str_to_ty(text, None) for name, text in types_of.items() if text in _SCALARS},
    )


_SCALARS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "fp16", "bf16", "fp32", "fp64")


def _argument(value: Any, dtype: tl.dtype | None = None) -> Any:
    """A launch argument as the kernel sees it: numbers and addresses become scalar tensors."""
    if hasattr(value, "data_ptr"):
        pointer = _pointer_types.get(value.dtype)
        if pointer is None:
            pointer = _pointer_types[value.dtype] = tl.str_to_ty(mangle_type(value), None)
        return tl.tensor(Handle(np.array([value.data_ptr()], np.uint64), pointer), pointer)
    if isinstance(value, bool | int | float):
        dtype = dtype or _scalar_type(value)
        data = narrow(np.array([value], np.float64)) if dtype == tl.bfloat16 else np.array([value], _numpy_type(dtype))
        return tl.tensor(Handle(data, dtype), dtype)
    if isinstance(value, tuple):
        parts = [_argument(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, TensorDescriptor):
        return _descriptor(value)
    return value


def _scalar_type(value: bool | int | float) -> tl.dtype:
    if isinstance(value, bool):
        return tl.int1
    if isinstance(value, float):
        return tl.float32
    if -(2**31) <= value < 2**31:
        return tl.int32
    return tl.uint64 if value >= 2**63 else tl.int64


def _descriptor(value: TensorDescriptor) -> Any:
    made = stock.interpreter_semantic.make_tensor_descriptor(
        base=_argument(value.base),
        shape=[_argument(n) for n in value.shape],
        strides=[*(_argument(n) for n in value.strides[:-1]), tl.constexpr(1)],
        block_shape=[tl.constexpr(n) for n in value.block_shape],
        padding_option=value.padding,
    )
    made.handle.round_f32_to_tf32 = getattr(value, "round_f32_to_tf32", False)
    return made


@functools.cache
def _launch_options() -> frozenset[str]:
    from triton.backends.nvidia.compiler import CUDAOptions

    return frozenset(field.name for field in dataclasses.fields(CUDAOptions))


def _bind(kernel: Kernel, values: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Values by parameter name. Refuses what a compiled launch would refuse."""
    name = kernel.body.__name__
    if len(values) > len(kernel.parameters):
        raise TypeError(f"{name}() takes {len(kernel.parameters)} arguments, {len(values)} were given")
    bound = kernel.defaults | dict(zip(kernel.parameters, values, strict=False))
    for key, value in named.items():
        if key in kernel.parameters:
            bound[key] = value
        elif key not in _launch_options():
            raise TypeError(f"{name}() has no parameter, and Triton no launch option, named {key!r}")
    missing = [parameter for parameter in kernel.parameters if parameter not in bound]
    if missing:
        raise TypeError(f"{name}() is missing {', '.join(missing)}")
    return bound


def run(self: Any, *values: Any, grid: Any, warmup: bool, **named: Any) -> None:
    """What `kernel[grid](...)` does, in place of InterpretedFunction.run."""
    if warmup:
        return
    kernel = _kernel(self.fn)
    bound = _bind(kernel, values, named)
    for hook in self.pre_run_hooks:
        hook(*values, **named)
    size = tuple(grid(bound) if callable(grid) else grid)
    x, y, z = size + (1,) * (3 - len(size))
    with _lock, np.errstate(all="ignore"):  # the interpreter's state is global; a GPU does not warn
        arguments = {
            name: value if name in kernel.constants else _argument(value, kernel.scalar_types.get(name))
            for name, value in bound.items()
        }
        run_grid(kernel, arguments, (x, y, z))


def run_grid(kernel: Kernel, arguments: dict[str, Any], grid: tuple[int, int, int]) -> None:
    """Run every program of a launch, one after another, in the current `order`."""
    builder = stock.interpreter_builder
    before = builder.__dict__.get("grid_dim"), builder.__dict__.get("grid_idx")
    builder.grid_dim = grid
    try:
        for builder.grid_idx in _programs(grid):
            kernel.body(**arguments)
    except Exception as error:
        where = f"{kernel.body.__name__}, program {builder.grid_idx}"
        raise InterpreterError(f"{where}: {type(error).__name__}: {error}") from error
    finally:
        builder.grid_dim, builder.grid_idx = before


def _programs(grid: tuple[int, int, int]) -> Iterable[tuple[int, ...]]:
    programs = itertools.product(*map(range, grid))
    if _program_order == "forward":
        return programs
    listed = list(programs)
    if _program_order == "reverse":
        return listed[::-1]
    random.Random(_program_order).shuffle(listed)
    return listed


@contextlib.contextmanager
def order(which: str | int) -> Iterator[None]:
    """Run the programs of each launch "forward", in "reverse", or shuffled by an integer seed."""
    global _program_order
    if which not in ("forward", "reverse") and not isinstance(which, int):
        raise ValueError(f'order is "forward", "reverse" or an integer seed, not {which!r}')
    before, _program_order = _program_order, which
    try:
        yield
    finally:
        _program_order = before


def call(self: Any, *values: Any, **named: Any) -> Any:
    """A jit function called inside a kernel, in place of InterpretedFunction.__call__."""
    return _kernel(self.fn).body(*values, **named)


# ---- installing ----

_MISSING = object()


class _Patches:
    """Attributes replaced, and what they were. Has the interface of Triton's own _LangPatchScope."""

    def __init__(self) -> None:
        self.changes: list[tuple[Any, str, Any]] = []

    def set_attr(self, owner: Any, name: str, value: Any) -> None:
        self.changes.append((owner, name, vars(owner).get(name, _MISSING)))
        setattr(owner, name, value)

    def restore(self) -> None:
        while self.changes:
            owner, name, original = self.changes.pop()
            if original is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


class _AlreadyPatched:
    """Returned to Triton code that asks for the language to be patched for one launch."""

    def restore(self) -> None:
        pass


_patches: _Patches | None = None
_originals: dict[Callable, Callable] = {}


def _original(replacement: Callable) -> Callable:
    return _originals[replacement]


def installed() -> bool:
    return _patches is not None


def install() -> None:
    """Repair Triton's interpreter in this process. Calling it again changes nothing."""
    global _patches
    if _patches is not None:
        return
    version = triton.__version__
    if not version.startswith(tuple(f"{known}." for known in SUPPORTED)):
        raise RuntimeError(
            f"triton {version} is installed, but tritongrad's interpreter is tested with {', '.join(SUPPORTED)} only."
        )
    if not isinstance(tl.standard._sum_combine, stock.InterpretedFunction):
        raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set, so its functions are compiled ones.")
    _patches = _Patches()
    _patch_operations(_patches)
    _patch_language(_patches)
    _keep_freed_memory()


def uninstall() -> None:
    """Put back every attribute `install` replaced."""
    global _patches
    if _patches is not None:
        _patches.restore()
        _patches = None


def _keep_freed_memory() -> None:
    """Ask glibc to keep 256 MB of freed memory: blocks come and go, and page faults cost more than the arithmetic."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
        mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD


def _patch_operations(patches: _Patches) -> None:
    for ours, theirs in (
        (_Builder, stock.InterpreterBuilder),
        (_Semantic, stock.TritonSemantic),
        (_Reduce, stock.ReduceOps),
        (_Scan, stock.ScanOps),
    ):
        for name, method in vars(ours).items():
            if inspect.isfunction(method):
                original = getattr(theirs, name, None)
                if original is not None:
                    _originals[method] = original
                patches.set_attr(theirs, name, method)
    options = dataclasses.replace(stock.interpreter_builder.options, sanitize_overflow=False)
    patches.set_attr(stock.interpreter_builder, "options", options)
    patches.set_attr(stock, "_get_np_dtype", _numpy_type)
    patches.set_attr(stock.TensorHandle, "__post_init__", lambda self: None)
    patches.set_attr(stock.InterpretedFunction, "run", run)
    patches.set_attr(stock.InterpretedFunction, "__call__", call)


def _patch_language(patches: _Patches) -> None:
    """Replace the language's functions by the interpreter's once, where Triton does so for each launch and call."""
    temporary = _Patches()
    temporary.set_attr(stock, "_LangPatchScope", lambda: patches)
    temporary.set_attr(stock, "_patch_attr", _patch_builtin)
    stock._patch_lang(types.SimpleNamespace(__globals__={"tl": tl, "core": tl.core}))
    temporary.restore()
    patches.set_attr(tl.block_type, "__init__", _remember_block_types(tl.block_type.__init__))
    patches.set_attr(tl.tensor, "__init__", _remember_tensor_shapes(tl.tensor.__init__))
    patches.set_attr(tl.tensor, "__index__", lambda self: int(self.handle.data.item()))
    patches.set_attr(stock, "_patch_lang", lambda fn: _AlreadyPatched())


def _remember_block_types(original: Callable) -> Callable:
    """Block types are made for every operation and never change: compute each once."""
    known: dict[Any, dict[str, Any]] = {}

    def __init__(self: Any, element_ty: tl.dtype, shape: Any) -> None:
        key = (element_ty.name, *(getattr(n, "value", n) for n in shape))
        state = known.get(key)
        if state is None:
            original(self, element_ty, shape)
            known[key] = dict(vars(self))
        else:
            vars(self).update(state)

    return __init__


def _remember_tensor_shapes(original: Callable) -> Callable:
    """What a tensor derives from its type, computed once for each type."""
    known: dict[str, dict[str, Any]] = {}

    def __init__(self: Any, handle: Any, type: tl.dtype) -> None:
        state = known.get(type.name)
        if state is None:
            original(self, handle, type)
            known[type.name] = {name: value for name, value in vars(self).items() if name not in ("handle", "type")}
        else:
            attributes = vars(self)
            attributes.update(state)
            attributes["handle"], attributes["type"] = handle, type

    return __init__


def _patch_builtin(owner: Any, name: str, member: Callable, builder: Any, patches: _Patches) -> None:
    semantic = stock.interpreter_semantic

    @functools.wraps(member)
    def builtin(*values: Any, **named: Any) -> Any:
        named["_semantic"] = semantic
        return member(*values, **named)

    vars(builtin).pop(tl.core.TRITON_BUILTIN)  # the mark of what is still to be patched
    patches.set_attr(owner, name, builtin)
