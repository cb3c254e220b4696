"""Arrays, or parts of them, as the hardware that copies tiles knows them: TMA, the Tensor Memory Accelerator.

A kernel that is given a descriptor loads and stores whole blocks by the position of their first corner, and computes no
address. What of a block lies outside the described shape reads as 0 and is not stored; positions may be negative. Shape
and strides need not be those of the array: strides that skip or overlap are how one copy reads every second pixel, or
windows. All a kernel is compiled for is the element type and the block, whatever the shape.

`launch` turns a Descriptor into Triton's own. Its base is an address and no array, so that the cache of those made
before, from one step of training to the next, keeps no memory alive; the launch's Descriptor does.

Sources: CUDA driver API, `cuTensorMapEncodeTiled`, for the limits; Triton's `TensorDescriptor`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from triton.tools.tensor_descriptor import TensorDescriptor

from tritongrad_kernels.array import Array
from tritongrad_kernels.dtypes import dtype


class Descriptor:
    """`shape` elements at `strides` from the first of `array` on, moved a `block` at a time. See `descriptor`."""

    __slots__ = ("array", "block", "shape", "strides")

    def __init__(self, array: Array, shape: tuple[int, ...], strides: tuple[int, ...], block: tuple[int, ...]) -> None:
        self.array = array
        self.shape = shape
        self.strides = strides
        self.block = block

    def __repr__(self) -> str:
        return f"{self.array.dtype.name}{list(self.shape)} by {list(self.block)}"


@dataclass(frozen=True)
class Described:
    """What compiling needs to know of a descriptor: its dtype and its block."""

    dtype: dtype
    block: tuple[int, ...]


def descriptor(
    array: Array,
    block: Sequence[int],
    shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Descriptor:
    """An argument of `launch`: `array` to be read or written a `block` at a time, of the same rank as the shape.

    Shape and strides are the array's own unless given; they start at its first element and must stay inside it, or the
    sanitizer objects. `fits` says whether the hardware can do it.
    """
    return Descriptor(
        array,
        array.shape if shape is None else tuple(shape),
        array.strides if strides is None else tuple(strides),
        tuple(block),
    )


def fits(
    array: Array,
    block: Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> bool:
    """Whether `descriptor` of the same arguments is one the hardware can follow; without a block, with some block.

    The first element lies on 16 bytes, elements of the last axis lie side by side and steps along the others are
    multiples of 16 bytes; at most five axes, none empty or so long that positions past its end need more than 32 bits;
    block sides are powers of two up to 256, the last of at least 16 bytes.
    """
    shape = array.shape if shape is None else shape
    strides = array.strides if strides is None else strides
    size = array.dtype.itemsize
    return (
        0 < len(shape) <= 5
        and strides[-1] == 1
        and all(s > 0 and s * size % 16 == 0 and s * size < 2**40 for s in strides[:-1])
        and all(0 < n < 2**31 - 2**16 for n in shape)
        and array.data_ptr() % 16 == 0
        and (block is None or (all(0 < n <= 256 and n & (n - 1) == 0 for n in block) and block[-1] * size >= 16))
    )


@dataclass(frozen=True, slots=True)
class _Base:
    """What Triton asks of the memory behind a descriptor."""

    dtype: dtype
    address: int

    def data_ptr(self) -> int:
        return self.address


def native(described: Descriptor) -> TensorDescriptor:
    """Triton's descriptor for a GPU, out of a cache."""
    array = described.array
    return _native(array.dtype, array.data_ptr(), described.shape, described.strides, described.block)


@functools.lru_cache(maxsize=4096)
def _native(
    kind: dtype, address: int, shape: tuple[int, ...], strides: tuple[int, ...], block: tuple[int, ...]
) -> TensorDescriptor:
    return TensorDescriptor(_Base(kind, address), list(shape), list(strides), list(block))


def interpreted(described: Descriptor) -> TensorDescriptor:
    """Triton's descriptor with the array itself behind it, as the interpreter and its sanitizer want."""
    return TensorDescriptor(described.array, list(described.shape), list(described.strides), list(described.block))


def stand_in(spec: Described) -> Any:
    """A descriptor of nothing, to compile for."""
    return _native(spec.dtype, 16, spec.block, (*(16,) * (len(spec.block) - 1), 1), spec.block)
