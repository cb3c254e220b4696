"""Checks of index values, which only a kernel can see on a GPU."""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import dtypes, memory
from tritongrad_kernels.array import Array, empty, footprint
from tritongrad_kernels.launch import cdiv, launch, tile


@triton.jit
def _count_outside(INDEX, COUNT, n, extent, ignore, BLOCK: tl.constexpr):
    """count[b] = how many of index[i] in block b are neither `ignore` nor in 0 .. extent-1.

    Grid one program per BLOCK elements. Bytes: read index once.
    """
    block = tl.program_id(0).to(tl.int64)
    i = block * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(INDEX + i, mask=i < n, other=0)
    outside = (i < n) & ((index < 0) | (index >= extent)) & (index != ignore)
    tl.store(COUNT + block, tl.sum(outside.to(tl.int32), 0))


_unsettled: list[tuple[Array, str]] = []


def require_range(index: Array, extent: int, message: str, ignore: int = -1) -> None:
    """Raise IndexError(message) if a value of a contiguous `index` is neither `ignore` nor in 0 .. extent-1.

    On the CPU at once. On a GPU, where looking would stall the queue, at the next read of any result by the host
    (`settle`); until then kernels must not trust the values.
    """
    config = tile("map", BLOCK=index.size)
    count = empty((cdiv(index.size, config["BLOCK"]),), dtypes.int32, index.device)
    launch(
        _count_outside, count.size, index, count, index.size, extent, ignore, bytes=footprint(index, count), **config
    )
    if memory.in_dry_run():
        return  # nothing was counted
    _unsettled.append((count, message))
    if index.device.type == "cpu":
        settle()


def settle() -> None:
    """Raise what `require_range` found since the last call."""
    pending, _unsettled[:] = _unsettled[:], []
    for count, message in pending:
        if count.numpy().any():
            raise IndexError(message)
