"""What happens to an input gradient before it is stored: the gradient of a shortcut is added to it.

The device functions are what producers of gradients run on a tile they hold; `finish` is a launch of its own, for the
gradients of kernels that cannot.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty_like, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile


@triton.jit
def _unpacked(packed):
    """[rows, 8 bytes] of 0 and 1: bit j of packed[row, i], of [rows, bytes], becomes element 8 i + j."""
    bits = (packed[:, :, None] >> tl.arange(0, 8).to(tl.uint8)[None, None, :]) & 1
    return tl.reshape(bits, (packed.shape[0], packed.shape[1] * 8))


@triton.jit
def _bits(BITS, row, inside, first, end, channels, BC: tl.constexpr):
    """Whether each of BC channels from `first` on, before `end`, is on in these rows; all three multiples of 8.

    Shapes  BITS uint8 [rows, channels / 8], row int64 [n], inside [n]: which rows there are; result [n, BC].
    """
    byte = first // 8 + tl.arange(0, BC // 8)
    mask = inside[:, None] & (byte < end // 8)[None, :]
    return _unpacked(tl.load(BITS + row[:, None] * (channels // 8) + byte[None, :], mask=mask, other=0)) != 0


@triton.jit
def _with_addend(grad, ADDEND, BITS, row, inside, first, end, channels, BC: tl.constexpr):
    """grad + addend, where its bit is on if there are BITS, for a tile [n, BC] as `_bits` has it."""
    if ADDEND is None:
        return grad
    else:
        c = first + tl.arange(0, BC)
        mask = inside[:, None] & (c < end)[None, :]
        addend = tl.load(ADDEND + row[:, None] * channels + c[None, :], mask=mask, other=0.0).to(grad.dtype)
        if BITS is not None:
            addend = tl.where(_bits(BITS, row, inside, first, end, channels, BC), addend, 0.0)
        return grad + addend


@triton.jit
def _finish(GRAD, ADDEND, BITS, OUT, M: tl.int64, C: tl.int64, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr):
    """out = grad + addend, of which only what has its bit set counts if there are BITS.

    Shapes  grad, addend, out [M, C], bits [M, C / 8]. Grid one program per BM x BC tile.
    Bytes   read grad, addend and bits, write out, each once.
    """
    blocks = tl.cdiv(C, BC)
    pid = tl.program_id(0).to(tl.int64)
    row = (pid // blocks) * BM + tl.arange(0, BM)
    first = (pid % blocks) * BC
    inside = row < M
    c = first + tl.arange(0, BC)
    mask = inside[:, None] & (c < C)[None, :]
    place = row[:, None] * C + c[None, :]
    grad = tl.load(GRAD + place, mask=mask, other=0.0).to(ACC)
    grad = _with_addend(grad, ADDEND, BITS, row, inside, first, C, C, BC)
    tl.store(OUT + place, grad.to(OUT.dtype.element_ty), mask=mask)


def finish(grad: Array, addend: Array, bits: Array | None) -> Array:
    """grad + addend, images [N,C,...] channels-last; `bits` [pixels, C / 8] says which elements of the addend count."""
    out = empty_like(grad)
    c = grad.shape[1]
    m = grad.size // c if c else 0
    config = tile("norm", least=8, BM=m, BC=c)
    del config["CHUNK"]
    acc = TRITON_TYPE[dtypes.accumulator(grad.dtype)]
    grid = cdiv(m, config["BM"]) * cdiv(c, config["BC"])
    nbytes = footprint(grad, addend, bits, out)
    launch(_finish, grid, grad, addend, bits, out, m, c, acc, bytes=nbytes, **config)
    return out
