"""Array: memory seen through a dtype, a shape, strides and an offset. A view is arithmetic on these five.

Nothing here launches a kernel: what cannot be expressed as a view (reshaping across a gap, a negative step) is a copy
and lives in `elementwise.py`. Shapes, strides and offsets count elements, never bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad_kernels import exchange, memory
from tritongrad_kernels.driver import Device
from tritongrad_kernels.dtypes import dtype, from_numpy
from tritongrad_kernels.memory import Memory


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a C-ordered array. An extent of 0 counts as 1, as torch and numpy do."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def channels_last_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of [N, C, *spatial] stored as [N, *spatial, C]."""
    order = (0, *range(2, len(shape)), 1)
    return strides_of_order(shape, order)


def strides_of_order(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Dense strides for `shape` when memory runs through the axes as listed in `order`, the last one fastest."""
    packed = contiguous_strides([shape[a] for a in order])
    strides = [0] * len(shape)
    for axis, stride in zip(order, packed, strict=True):
        strides[axis] = stride
    return tuple(strides)


def expanded_strides(shape: Sequence[int], strides: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """Strides that broadcast `shape` to `target`, 0 where it is stretched. ValueError if an axis not 1 would change."""
    lead = len(target) - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, target[max(lead, 0) :], strict=True)):
        raise ValueError(f"cannot expand shape {list(shape)} to {list(target)}")
    own = (s if n == m else 0 for n, m, s in zip(shape, target[lead:], strides, strict=True))
    return (0,) * lead + tuple(own)


def dense_order(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...] | None:
    """The axes from slowest to fastest if memory is covered without gaps or overlap, else None."""
    order = tuple(sorted(range(len(shape)), key=lambda a: (-strides[a], shape[a] == 1, a)))
    return order if _same_strides(shape, strides, strides_of_order(shape, order)) else None


def _same_strides(shape: Sequence[int], one: Sequence[int], other: Sequence[int]) -> bool:
    return 0 in shape or all(n == 1 or a == b for n, a, b in zip(shape, one, other, strict=True))


class Array:
    """A strided n-dimensional array. What kernels read and write; holds no gradient and no graph."""

    __slots__ = ("__weakref__", "dtype", "memory", "offset", "shape", "strides")

    def __init__(
        self, memory: Memory, dtype: dtype, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
    ) -> None:
        self.memory = memory
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.offset = offset

    # What a kernel launch asks of an argument.
    def data_ptr(self) -> int:
        return self.memory.address + self.offset * self.dtype.itemsize

    @property
    def device(self) -> Device:
        return self.memory.device

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def footprint(self) -> int:
        """Bytes of memory behind the elements, those that several elements share counted once."""
        return places(self.shape, self.strides) * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"Array({self.dtype.name}{list(self.shape)}, strides={list(self.strides)}, device={self.device})"

    def has_strides(self, strides: Sequence[int]) -> bool:
        """Whether elements lie at `strides`; axes of extent 1 do not matter, nor does anything in an empty array."""
        return _same_strides(self.shape, self.strides, strides)

    @property
    def is_contiguous(self) -> bool:
        return self.has_strides(contiguous_strides(self.shape))

    @property
    def is_channels_last(self) -> bool:
        return self.ndim >= 3 and self.has_strides(channels_last_strides(self.shape))

    def dense_order(self) -> tuple[int, ...] | None:
        """The axes from slowest to fastest if memory is covered without gaps or overlap, else None."""
        return dense_order(self.shape, self.strides)

    # Views.
    def view(
        self, shape: Sequence[int], strides: Sequence[int], offset: int | None = None, dtype: dtype | None = None
    ) -> Array:
        """The same memory under another shape and strides; the caller vouches that it stays inside."""
        return Array(
            self.memory,
            dtype or self.dtype,
            tuple(shape),
            tuple(strides),
            self.offset if offset is None else offset,
        )

    def reshaped(self, shape: Sequence[int]) -> Array | None:
        """The array under another shape of equal size without a copy, or None where strides do not allow it.

        Strides are torch's, those of axes of extent 1 too.
        """
        if self.size == 0:
            return self.view(shape, self.strides if tuple(shape) == self.shape else contiguous_strides(shape))
        strides = [1] * len(shape)
        new = len(shape) - 1  # from the right, new axes are given what a run of old axes holds
        run, step = 1, self.strides[-1] if self.ndim else 1
        for old in reversed(range(self.ndim)):
            run *= self.shape[old]
            if old and (self.shape[old - 1] == 1 or self.strides[old - 1] == run * step):
                continue  # the axis before goes on where this run ends
            given = 1
            while new >= 0 and (given < run or shape[new] == 1):
                strides[new] = given * step
                given *= shape[new]
                new -= 1
            if given != run:
                return None
            run, step = 1, self.strides[old - 1] if old else 1
        return self.view(shape, strides)

    def permute(self, axes: Sequence[int]) -> Array:
        return self.view([self.shape[a] for a in axes], [self.strides[a] for a in axes])

    @property
    def T(self) -> Array:
        """The last two axes swapped."""
        return self.permute((*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def expand(self, shape: Sequence[int]) -> Array:
        """Broadcast to `shape` by stride 0. ValueError if an axis that is not 1 would change."""
        return self.view(shape, expanded_strides(self.shape, self.strides, shape))

    def squeeze(self, axis: int) -> Array:
        return self.view(_without(self.shape, axis), _without(self.strides, axis))

    def unsqueeze(self, axis: int) -> Array:
        stride = self.shape[axis] * self.strides[axis] if axis < self.ndim else 1
        return self.view(
            (*self.shape[:axis], 1, *self.shape[axis:]), (*self.strides[:axis], stride, *self.strides[axis:])
        )

    def select(self, axis: int, index: int) -> Array:
        """The sub-array at `index` of one axis; 0 <= index < extent."""
        return self.view(
            _without(self.shape, axis), _without(self.strides, axis), self.offset + index * self.strides[axis]
        )

    def slice(self, axis: int, start: int, stop: int, step: int = 1) -> Array:
        """Elements start, start+step, ... before stop of one axis, as Python's `range` gives them.

        A negative step gives negative strides: kernels can read such a view, but it is not handed to users (torch has
        no such tensors); `elementwise.contiguous` copies it.
        """
        extent = len(range(start, stop, step))
        shape, strides = list(self.shape), list(self.strides)
        shape[axis], strides[axis] = extent, strides[axis] * step
        return self.view(shape, strides, self.offset + (start * self.strides[axis] if extent else 0))

    # Host access.
    def numpy(self) -> np.ndarray:
        """The elements as a numpy array: sharing memory on the CPU, a copy from a GPU."""
        raw = memory.read(self.memory)
        flat = raw[: len(raw) // self.dtype.itemsize * self.dtype.itemsize].view(self.dtype.numpy)
        return np.lib.stride_tricks.as_strided(
            flat[self.offset :] if self.size else flat[:0],
            self.shape,
            [s * self.dtype.itemsize for s in self.strides],
        )


def places(shape: Sequence[int], strides: Sequence[int]) -> int:
    """How many different offsets an array of this shape and these strides has."""
    if 0 in shape:
        return 0
    axes = sorted((abs(s), n) for n, s in zip(shape, strides, strict=True) if s and n > 1)
    count, reach = 1, 0  # of the axes so far: different offsets, and the largest
    for stride, extent in axes:
        if stride <= reach:
            return _shared_places(axes)
        count, reach = count * extent, reach + stride * (extent - 1)
    return count


def _shared_places(axes: Sequence[tuple[int, int]]) -> int:
    """As `places` for (stride, extent) of axes, by rising stride, of which some may overlap, as windows do."""
    for i in range(1, len(axes)):
        lower, upper = axes[:i], axes[i:]
        if math.gcd(*(s for s, _ in upper)) > sum(s * (n - 1) for s, n in lower):  # copies of the lower, apart
            return _shared_places(lower) * _shared_places(upper)
    unit = math.gcd(*(s for s, _ in axes))
    reach, gaps = 0, False
    for stride, extent in axes:
        gaps |= stride // unit > reach + 1
        reach += stride // unit * (extent - 1)
    if not gaps:
        return reach + 1
    offsets = np.zeros(1, np.int64)
    for stride, extent in axes:
        offsets = np.unique(np.add.outer(offsets, np.arange(extent) * (stride // unit)))
    return len(offsets)


def footprint(*arrays: Array | None) -> int:
    """Bytes of memory behind these arrays, as `Array.footprint` counts them; None has none."""
    return sum(a.footprint for a in arrays if a is not None)


def _without(values: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return values[:axis] + values[axis + 1 :]


def empty(
    shape: Sequence[int], dtype: dtype, device: Device | None = None, strides: Sequence[int] | None = None
) -> Array:
    """An uninitialised dense array, C-ordered unless dense `strides` say otherwise."""
    shape = tuple(shape)
    return Array(
        memory.allocate(math.prod(shape) * dtype.itemsize, device),
        dtype,
        shape,
        contiguous_strides(shape) if strides is None else tuple(strides),
    )


def empty_like(a: Array, dtype: dtype | None = None) -> Array:
    """An uninitialised array of the shape of `a` and, where `a` is dense, its memory order."""
    order = a.dense_order()
    strides = contiguous_strides(a.shape) if order is None else strides_of_order(a.shape, order)
    return empty(a.shape, dtype or a.dtype, a.device, strides)


def from_host(values: np.ndarray, device: Device | None = None) -> Array:
    """A C-ordered copy of a numpy array on `device`."""
    values = np.ascontiguousarray(values).reshape(values.shape)
    return Array(
        memory.written(values, device), from_numpy(values.dtype), values.shape, contiguous_strides(values.shape)
    )


def lent(values: np.ndarray) -> Array | None:
    """An array in the memory of a numpy array, whose strides count whole elements; None where that cannot be had."""
    kind = from_numpy(values.dtype)
    if any(s % kind.itemsize for s in values.strides):
        return None
    shared = exchange.lend(values)
    strides = tuple(s // kind.itemsize for s in values.strides)
    return None if shared is None else Array(shared, kind, values.shape, strides)


def to_dlpack(a: Array, **options: Any) -> Any:
    """A DLPack capsule that shares the array's memory."""
    return exchange.to_dlpack(a.memory, a.dtype, a.shape, a.strides, a.offset, **options)


def from_dlpack(exporter: Any, **options: Any) -> Array:
    """Another library's array, sharing its memory."""
    return Array(*exchange.from_dlpack(exporter, **options))


def resized(a: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """The memory of `a` from its offset on, seen under another shape; it grows where it is too small."""
    span = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    nbytes = (a.offset + span) * a.dtype.itemsize
    if nbytes > a.memory.nbytes:
        if memory.in_dry_run():
            return empty(shape, a.dtype, a.device, strides)
        a.memory.grow(nbytes)
    return a.view(shape, strides)


def to_device(a: Array, device: Device, beside: bool = False) -> Array:
    """A copy of the elements of a dense array on another device, in the same memory order.

    With `beside`, one from the host to a GPU is made while kernels run there, and the host does not wait for it.
    """
    order = a.dense_order()
    assert order is not None
    start = a.offset * a.dtype.itemsize
    if beside and a.memory.is_pinned and device.type == "cuda":
        block = memory.upload(a.memory, start, a.nbytes, device)
    else:
        block = memory.allocate(a.nbytes, device)
        memory.copy(block, a.memory, start, a.nbytes)
    return Array(block, a.dtype, a.shape, strides_of_order(a.shape, order))
