"""A checking memory for the interpreter: every access of every lane is held against what the launch was given.

Each array among a launch's arguments gets an address of its own far from any other, so that a pointer which leaves its
array cannot land in another one. Found, each as a SanitizerError that says where:

- an address outside the array it was made from, or in a gap between the elements of a strided one, also behind
  descriptors; and an address read from memory that lies in none of the arrays registered by `reachable`
- two programs that touch one element where at least one writes, and is not atomic; a program that loads what it stored
  without a barrier; one store with two values for one element
- memory read that nothing was ever written to, where the array's owner keeps account of that (`defined`)
- integers of less than 64 bits that overflow, unless the kernel says that they may

A lane that is masked off and has no `other` reads NaN, or a large pattern, instead of the interpreter's zero. The bytes
of distinct elements read and written are counted.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import linecache
import math
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.runtime.interpreter as stock

from tritongrad_kernels.interpret import programs
from tritongrad_kernels.interpret.memory import NO_OFFSET, Addresses, Box, Memory
from tritongrad_kernels.interpret.shadow import NOBODY, SEVERAL, Conflict, Shadow


class SanitizerError(RuntimeError):
    """A kernel did what a GPU would not forgive. Names the argument, the byte offset and the source line."""


class Traffic(NamedTuple):
    """Bytes of the distinct elements that a launch read and wrote, summed over its arguments."""

    read: int
    written: int

    @property
    def total(self) -> int:
        return self.read + self.written


SPACING = 52
"""Argument k appears to its kernel at an address of (k + 1) << SPACING and a little; real ones are below 1 << 48."""


class Region:
    """One array that a launch may touch.

    first    the address of its lowest element, as the kernel knows it; `shift` more is the real one
    nbytes   from its lowest to the end of its highest element
    gaps     whether there are gaps between elements; `_starts` knows where
    """

    def __init__(self, name: str, array: Any, number: int | None) -> None:
        self.name = name
        self.itemsize = _itemsize(array)
        self.shape = tuple(array.shape)
        self.dtype = str(array.dtype).rpartition(".")[2]
        strides = [s * self.itemsize for s in _strides(array)]
        reach = [(n - 1) * s for n, s in zip(self.shape, strides, strict=True)]
        self.empty = 0 in self.shape
        self.lowest = array.data_ptr() + sum(r for r in reach if r < 0)
        self.nbytes = 0 if self.empty else sum(map(abs, reach)) + self.itemsize
        self.first = self.lowest if number is None else ((number + 1) << SPACING) + self.lowest % 4096
        self.shift = self.lowest - self.first
        self.axes = sorted(((abs(s), n) for n, s in zip(self.shape, strides, strict=True) if s and n > 1), reverse=True)
        self.gaps = math.prod(n for _, n in self.axes) * self.itemsize != self.nbytes and not self.empty
        memory: Any = getattr(array, "memory", None)
        self.defined = getattr(memory, "defined", None)
        self.memory_address = 0 if self.defined is None else memory.address
        self.touched = np.zeros((2, self.nbytes // self.itemsize + 1), bool)  # elements read, elements written
        self.shadow: Shadow

    def touch(self, places: np.ndarray, itemsize: int, writes: bool) -> None:
        for part in range(0, itemsize, self.itemsize):
            self.touched[int(writes), (places + part) // self.itemsize] = True

    def starts(self, offsets: np.ndarray) -> np.ndarray:
        """Whether an element starts at each of these byte offsets."""
        reach = 0
        for stride, n in reversed(self.axes):
            if stride <= reach:
                return self._table[offsets]
            reach += stride * (n - 1)
        for stride, n in self.axes:  # each axis reaches less far than one step of the axis before it
            offsets = offsets - np.minimum(offsets // stride, n - 1) * stride
        return offsets == 0

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """Whether an element starts at a byte offset, of axes that overlap."""
        starts = np.zeros(self.nbytes, bool)
        np.lib.stride_tricks.as_strided(starts, [n for _, n in self.axes], [s for s, _ in self.axes])[...] = True
        return starts

    def __str__(self) -> str:
        return f"{self.name}, {self.dtype}{list(self.shape)} of {self.nbytes} bytes"


def _itemsize(array: Any) -> int:
    size = getattr(array.dtype, "itemsize", None)
    return int(size if size is not None else array.element_size())


def _strides(array: Any) -> tuple[int, ...]:
    return tuple(array.strides if hasattr(array, "strides") else array.stride())


_reachable: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar("reachable", default=())


@contextlib.contextmanager
def reachable(*arrays: Any) -> Iterator[None]:
    """Inside the block, kernels of this thread may also touch these arrays, through addresses they find in memory."""
    token = _reachable.set((*_reachable.get(), *arrays))
    try:
        yield
    finally:
        _reachable.reset(token)


class Sanitizer(Memory):
    """Use as `state.memory`, with its method `run_grid` as `state.run_grid` and `check_integers` likewise.

    limit     launches whose arrays hold more bytes than this run unchecked; None checks every launch
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._last = threading.local()
        self.active = False
        self.regions: list[Region] = []
        self.tables: list[Region] = []
        self.grid = (1, 1, 1)

    @property
    def traffic(self) -> Traffic | None:
        """What the last launch of this thread moved; None if it was not checked."""
        touched = getattr(self._last, "touched", None)
        if touched is None:
            return None
        moved = sum(region.touched.sum(axis=1) * region.itemsize for region in touched)
        return Traffic(*map(int, np.broadcast_to(moved, 2)))

    @property
    def distinct_traffic(self) -> Traffic | None:
        """`traffic`, with what several arguments have in common counted once."""
        touched = getattr(self._last, "touched", None)
        if touched is None:
            return None
        moved = np.zeros(2, np.int64)
        for shadow in {id(r.shadow): r.shadow for r in touched}.values():
            share = np.zeros((2, shadow.nbytes + 1), bool)
            for region in touched:
                if region.shadow is shadow:
                    place = region.lowest - shadow.address
                    share[:, place : place + region.nbytes] |= region.touched[:, :-1].repeat(region.itemsize, axis=1)
            moved += share.sum(axis=1)
        return Traffic(*map(int, moved))

    # ------------------------------------------------------------------------------------------------------ launches

    def run_grid(self, kernel: programs.Kernel, bound: dict[str, Any], grid: tuple[int, int, int]) -> None:
        """Run a launch under supervision."""
        arrays = [a for values in bound.values() for a in _arrays(values)]
        size = sum(math.prod(a.shape) * _itemsize(a) for a in arrays)
        self._last.touched = None
        if self.active or (self.limit is not None and size > self.limit):
            for array in (*arrays, *_reachable.get()):
                if hasattr(array, "memory"):
                    array.memory.defined = None  # nobody sees what this launch writes
            programs.run_grid(kernel, bound, grid)
            return
        self.regions = []
        indirect = _reachable.get()
        self.tables = [Region(f"array {i} behind an address", a, None) for i, a in enumerate(indirect)]
        for region in self.tables:
            self._share(region)
        self.grid, self.active = grid, True
        try:
            programs.run_grid(kernel, bound, grid, self._address)
            self._last.touched = [*self.regions, *self.tables]
        finally:
            self.active = False

    def _address(self, array: Any, parameter: str) -> int:
        """Give an argument its place; the address of its first element there."""
        region = Region(parameter, array, len(self.regions))
        self.regions.append(region)
        self._share(region)
        return array.data_ptr() - region.shift

    def _share(self, region: Region) -> None:
        """A shadow for the region, and for all that overlap it in memory. Those there are do not overlap each other."""
        end = region.lowest + region.nbytes
        others = [r for r in (*self.regions, *self.tables) if r is not region and hasattr(r, "shadow")]
        joined = [r for r in others if r.shadow.address < end and region.lowest < r.shadow.address + r.shadow.nbytes]
        start = min([region.lowest, *(r.shadow.address for r in joined)])
        end = max([end, *(r.shadow.address + r.shadow.nbytes for r in joined)])
        granule = math.gcd(*(n for r in (region, *joined) for n in (r.itemsize, r.lowest - start)))
        defined = region.defined
        if defined is not None:
            defined = defined[start - region.memory_address : end - region.memory_address]
        shadow = Shadow(start, end - start, granule, defined)
        for one in (region, *joined):
            one.shadow = shadow

    # ------------------------------------------------------------------------------------------------------ accesses

    def _lanes(self, pointers: np.ndarray, itemsize: int, what: str) -> Iterator[tuple[Region, np.ndarray, Any]]:
        """The regions these addresses lie in: (region, byte offsets into its shadow, which of the addresses)."""
        low, high = int(pointers.min()), int(pointers.max())
        whole = self._region(low, itemsize, what)
        if high + itemsize <= whole.first + whole.nbytes:
            yield whole, self._places(whole, pointers, itemsize, what), slice(None)
            return
        left = np.ones(pointers.size, bool)
        while left.any():
            lane = int(left.argmax())
            region = self._region(int(pointers[lane]), itemsize, what)
            inside = left & (pointers >= np.uint64(region.first))
            inside &= pointers <= np.uint64(region.first + region.nbytes - itemsize)
            yield region, self._places(region, pointers[inside], itemsize, what), inside
            left &= ~inside

    def _region(self, address: int, itemsize: int, what: str) -> Region:
        """The region in which an element at `address` lies; an error if it lies in none."""
        if address >> (SPACING - 1):
            number = min((address + (1 << (SPACING - 1))) >> SPACING, len(self.regions)) - 1
            region = self.regions[max(number, 0)]
            if region.first <= address and address + itemsize <= region.first + region.nbytes:
                return region
            raise self._error(f"{what} {itemsize} bytes at byte {address - region.first:,} of {region}: out of bounds")
        for region in self.tables:
            if region.first <= address and address + itemsize <= region.first + region.nbytes:
                return region
        if not self.tables:
            raise self._error(f"{what} {itemsize} bytes at address {address:#x}, which is in no array of the launch")
        near = min(self.tables, key=lambda r: abs(address - r.first))
        raise self._error(f"{what} {itemsize} bytes at byte {address - near.first:,} of {near}: out of bounds")

    def _places(self, region: Region, pointers: np.ndarray, itemsize: int, what: str) -> np.ndarray:
        offsets = (pointers - np.uint64(region.first)).astype(np.int64)
        if region.gaps and not (starts := region.starts(offsets)).all():
            at = int(offsets[~starts][0])
            raise self._error(f"{what} {itemsize} bytes at byte {at:,} of {region}: in a gap between its elements")
        return offsets + (region.lowest - region.shadow.address)

    def _note(self, pointers: np.ndarray, itemsize: int, writes: bool, atomic: bool = False) -> np.ndarray:
        """Check an access of elements at these addresses, one-dimensional and not empty; the real addresses."""
        what = "updates" if atomic else "stores" if writes else "loads"
        real = np.empty_like(pointers)
        for region, places, lanes in self._lanes(pointers, itemsize, what):
            shadow = region.shadow
            if writes:
                found = shadow.write(places, itemsize, self._program(), atomic)
            else:
                found = shadow.read(places, itemsize, self._program())
            region.touch(places + (shadow.address - region.lowest), itemsize, writes)
            if atomic:
                region.touch(places + (shadow.address - region.lowest), itemsize, False)
            if found:
                at = int(places[found.lane]) + shadow.address - region.lowest
                raise self._error(f"{what} {itemsize} bytes at byte {at:,} of {region}, which {self._told(found)}")
            real[lanes] = (places + shadow.address).astype(np.uint64)
        return real

    def _told(self, found: Conflict) -> str:
        if found.program == NOBODY:
            return found.why
        if found.program == self._program():
            return f"this program {found.why}"
        if found.program < NOBODY:
            return f"other programs {'read' if found.program == SEVERAL else 'update atomically'}: a race"
        x, y, _ = self.grid
        number = found.program - 1
        return f"program {(number % x, number // x % y, number // (x * y))} {found.why}: a race"

    def _program(self) -> int:
        """The number of this program, from 1."""
        (x, y, z), (across, down, _) = stock.interpreter_builder.grid_idx, self.grid
        return 1 + x + across * (y + down * z)

    def _checked(self, addresses: Addresses, mask: np.ndarray | None, itemsize: int, writes: bool) -> Addresses:
        """The same addresses in real memory, for the lanes that are on; checked."""
        pointers = addresses.array()
        lanes = np.ones(pointers.shape, bool) if mask is None else np.broadcast_to(mask, pointers.shape)
        if lanes.any():
            pointers[lanes] = self._note(pointers[lanes], itemsize, writes)
        return _plain(pointers)

    # -------------------------------------------------------------------------------- what the interpreter asks of it

    def load(
        self, addresses: Addresses, mask: np.ndarray | None, other: np.ndarray | None, dtype: np.dtype
    ) -> np.ndarray:
        if not self.active:
            return super().load(addresses, mask, other, dtype)
        if other is None and mask is not None:
            other = poison(dtype)
        return super().load(self._checked(addresses, mask, dtype.itemsize, False), mask, other, dtype)

    def store(self, addresses: Addresses, value: np.ndarray, mask: np.ndarray | None) -> None:
        if not self.active:
            return super().store(addresses, value, mask)
        real = self._checked(addresses, mask, value.dtype.itemsize, True)
        super().store(real, value, mask)
        self._check_agreement(real.base, value, mask)
        return None

    def _check_agreement(self, pointers: np.ndarray, value: np.ndarray, mask: np.ndarray | None) -> None:
        """No two lanes of one store may write different values to one element: which of them stays is chance."""
        value = np.broadcast_to(value, pointers.shape)
        lanes = ... if mask is None else np.broadcast_to(mask, pointers.shape)
        pointers, bits = pointers[lanes].reshape(-1), value[lanes].reshape(-1).view(f"u{value.dtype.itemsize}")
        if bits.size > 1 and (super().load(_plain(pointers), None, None, bits.dtype) != bits).any():
            raise self._error("stores different values to one element from several lanes")

    def load_box(self, box: Box, dtype: np.dtype) -> np.ndarray:
        return super().load_box(self._checked_box(box, dtype, False), dtype)

    def store_box(self, box: Box, value: np.ndarray) -> None:
        real = self._checked_box(box, value.dtype, True)
        super().store_box(real, value)
        bits = np.dtype(f"u{value.dtype.itemsize}")
        if self.active and (super().load_box(real, bits) != value.view(bits)).any():
            raise self._error("stores different values to one element from several lanes")

    def _checked_box(self, box: Box, dtype: np.dtype, writes: bool) -> Box:
        if not self.active:
            return box
        real = self._note(box.pointers().reshape(-1), dtype.itemsize, writes)
        return box._replace(address=int(real[0]))

    def atomic_rmw(self, operation: Any, pointers: np.ndarray, value: np.ndarray, mask: np.ndarray, order: Any) -> Any:
        real = self._checked_atomic(pointers, np.broadcast_to(mask, pointers.shape), value.dtype)
        return super().atomic_rmw(operation, real, value, mask, order)

    def atomic_cas(self, pointers: np.ndarray, expected: np.ndarray, value: np.ndarray, order: Any) -> Any:
        real = self._checked_atomic(pointers, np.ones(pointers.shape, bool), value.dtype)
        return super().atomic_cas(real, expected, value, order)

    def _checked_atomic(self, pointers: np.ndarray, lanes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        if self.active and lanes.any():
            pointers = pointers.copy()
            pointers[lanes] = self._note(pointers[lanes], dtype.itemsize, True, atomic=True)
        return pointers

    def barrier(self) -> None:
        for region in (*self.regions, *self.tables) if self.active else ():
            region.shadow.barrier(self._program())

    def check_integers(self, operation: str, lhs: np.ndarray, rhs: np.ndarray) -> None:
        """Refuse a sum, difference or product that its type cannot hold."""
        if not self.active:
            return
        limits = np.iinfo(lhs.dtype)
        exact = _EXACT[operation](lhs.astype(np.int64), rhs.astype(np.int64))
        wrong = (exact < limits.min) | (exact > limits.max)
        if wrong.any():
            a, b = (int(np.broadcast_to(side, wrong.shape)[wrong][0]) for side in (lhs, rhs))
            raise self._error(f"overflows {lhs.dtype.name}: {a} {_SIGNS[operation]} {b}")

    def _error(self, what: str) -> SanitizerError:
        return SanitizerError(f"{what}, at {source_line()}")


_EXACT = {"add": np.add, "sub": np.subtract, "mul": np.multiply}
_SIGNS = {"add": "+", "sub": "-", "mul": "*"}


def _arrays(value: Any) -> Iterator[Any]:
    if hasattr(value, "data_ptr"):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _arrays(part)
    elif hasattr(value, "base") and hasattr(value.base, "data_ptr"):  # a descriptor
        yield value.base


def _plain(pointers: np.ndarray) -> Addresses:
    return Addresses(pointers, NO_OFFSET, 1, pointers.shape)


def poison(dtype: np.dtype) -> np.ndarray:
    """What a lane reads that is masked off and has no `other`: NaN, or the largest signed integer."""
    if dtype.kind == "f":
        return np.array(np.nan, dtype)
    return np.array(np.iinfo(f"i{dtype.itemsize}").max, dtype)  # 0x7fff is a NaN of bfloat16


_SILENT = (os.path.dirname(triton.__file__), os.path.dirname(__file__), os.path.dirname(np.__file__))


def source_line() -> str:
    """`file:line: text` of the innermost line of a kernel that is running."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((*_SILENT, "<")):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{os.path.relpath(file)}:{line}: {linecache.getline(file, line).strip()}"
