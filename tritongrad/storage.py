"""What a tensor's memory looks like from outside: an address and a size."""

from __future__ import annotations

from tritongrad_kernels.array import Array
from tritongrad_kernels.driver import Device


class Storage:
    """The block of memory behind a tensor and its views, counted in elements of `itemsize` bytes.

    A block has at least 16 bytes, so those of the smallest tensors are larger than their elements.
    """

    def __init__(self, array: Array, itemsize: int) -> None:
        self._memory, self._itemsize = array.memory, itemsize

    def data_ptr(self) -> int:
        self._memory.exposed = True
        return self._memory.address

    def nbytes(self) -> int:
        return self._memory.nbytes

    def size(self) -> int:
        return self._memory.nbytes // self._itemsize

    __len__ = size

    def element_size(self) -> int:
        return self._itemsize

    @property
    def device(self) -> Device:
        return self._memory.device

    def is_pinned(self) -> bool:
        return self._memory.is_pinned

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self._memory is other._memory

    def __hash__(self) -> int:
        return hash(id(self._memory))
