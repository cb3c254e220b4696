"""What happens to an input gradient before it is stored.

    dx = grad + addend                      the gradient that comes by a shortcut around the convolution, added
    g = dx where a ReLU let it pass, else 0       where the input was y = relu((x - mean) rstd weight + bias + ...)
    sums[z] = (sum g, sum g (x - mean) rstd)      over run z of the pixels: what the gradient of that norm needs;
                                            and sum g (x2 - mean2) rstd2, if a second norm was added to the first

The device functions are what a producer of gradients runs on the tile it holds; `finish` is a launch of its own, for
gradients of kernels that do not. Sums are of g as stored, rounding included. Source of the last two lines: Ioffe and
Szegedy 2015, section 3; see `norm_grad`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, empty, empty_like, footprint
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.moments import runs_of
from tritongrad_kernels.norm import _normalised, _passes


@dataclass(frozen=True)
class Through:
    """The norm and the ReLU whose output a convolution read.

    x               what the norm read, [pixels, C]
    mean, rstd      [C], in the accumulator's dtype
    weight, bias    [C], or None for 1 and 0
    relu            how it is known what the ReLU let pass: "recompute", from x; bits, uint8 [pixels, C / 8]; or None
                    where there is no ReLU
    other           x, mean and rstd of a second norm that was added to this one before the ReLU
    """

    x: Array
    mean: Array
    rstd: Array
    weight: Array | None = None
    bias: Array | None = None
    relu: Literal["recompute"] | Array | None = "recompute"
    other: tuple[Array, Array, Array] | None = None


@dataclass(frozen=True)
class Epilogue:
    """What to do to an input gradient [N,C,...], channels-last.

    addend          of the same shape and memory order; with `addend_bits`, uint8 [pixels, C / 8], it counts only where
                    bit j of byte i is on for channel 8 i + j
    through         the norm before the convolution
    """

    addend: Array | None = None
    addend_bits: Array | None = None
    through: Through | None = None

    @property
    def arrays(self) -> tuple[Array | None, ...]:
        """What kernels call ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2: None for what
        is not read."""
        if self.through is None:
            return (self.addend, self.addend_bits, *(None,) * 9)
        norm, again = self.through, self.relu == "recompute"
        passed = norm.relu if isinstance(norm.relu, Array) else None
        scale = norm.weight if again else None, norm.bias if again else None
        other = norm.other or (None,) * 3
        return (self.addend, self.addend_bits, norm.x, norm.mean, norm.rstd, *scale, passed, *other)

    @property
    def relu(self) -> str | None:
        """What kernels call RELU."""
        relu = None if self.through is None else self.through.relu
        return "bits" if isinstance(relu, Array) else relu

    @property
    def has_bits(self) -> bool:
        return self.addend_bits is not None or self.relu == "bits"

    def runs_and_sums(self, tiles: int, blocks: int, grad: Array) -> tuple[int, Array | None]:
        """How many programs share the tiles of each of `blocks` of channels, and room for their sums [runs, 2, C], or
        [runs, 3, C] where there is a second norm.

        Without a norm there are no sums, and each tile has a program of its own.
        """
        if self.through is None:
            return tiles, None
        runs, kinds = runs_of(tiles, blocks), 2 if self.through.other is None else 3
        return runs, empty((runs, kinds, grad.shape[1]), dtypes.accumulator(grad.dtype), grad.device)


@triton.jit
def _unpacked(bits, BM: tl.constexpr, BC: tl.constexpr):
    """The flags [BM, BC] that `_packed` made bits [BM, BC // 8] of."""
    flags = (bits.to(tl.int32)[:, :, None] >> tl.arange(0, 8)[None, None, :]) & 1
    return tl.reshape(flags, (BM, BC)) != 0


@triton.jit
def _flags(BITS, row, inside, first, end, channels, BM: tl.constexpr, BC: tl.constexpr):
    """Whether the bits are on of channels first, ..., before `end`, in these rows; all three are multiples of 8.

    Shapes  BITS uint8 [rows, channels / 8], row int64 [BM], inside [BM]: which rows there are; result [BM, BC].
    """
    byte = first // 8 + tl.arange(0, BC // 8)
    mask = inside[:, None] & (byte < end // 8)[None, :]
    return _unpacked(tl.load(BITS + row[:, None] * (channels // 8) + byte[None, :], mask=mask, other=0), BM, BC)


@triton.jit
def _added(a, b, c, a2, b2, c2):
    return a + a2, b + b2, c + c2


@triton.jit
def _store(
    grad, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
    row, inside, first, end, channels, RELU: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store what becomes of the tile grad [BM, BC]; its part of the three sums [BC], products still without rstd.

    Its rows are `row` of the images' pixels where `inside`, its channels first, ..., before `end`. Without X, X2, or
    an ADDEND, nothing of theirs happens, and the sums are zeros.
    """
    c = first + tl.arange(0, BC)
    c_in = c < end
    mask = inside[:, None] & c_in[None, :]
    place = row[:, None] * channels + c[None, :]
    if ADDEND is not None:
        addend = tl.load(ADDEND + place, mask=mask, other=0.0).to(grad.dtype)
        if ADDEND_BITS is not None:
            addend = tl.where(_flags(ADDEND_BITS, row, inside, first, end, channels, BM, BC), addend, 0.0)
        grad = grad.to(DX.dtype.element_ty).to(grad.dtype) + addend  # rounded as it would be on its own
    plain = tl.zeros((BC,), grad.dtype)
    product = tl.zeros((BC,), grad.dtype)
    product2 = tl.zeros((BC,), grad.dtype)
    if X is None:
        tl.store(DX + place, grad.to(DX.dtype.element_ty), mask=mask)
    else:
        x = tl.load(X + place, mask=mask, other=0.0).to(grad.dtype)
        mean = tl.load(MEAN + c, mask=c_in, other=0.0)
        if RELU == "bits":
            grad = tl.where(_flags(PASSED, row, inside, first, end, channels, BM, BC), grad, 0.0)
        elif RELU == "recompute":
            scale = tl.load(RSTD + c, mask=c_in, other=0.0)
            if WEIGHT is not None:
                scale *= tl.load(WEIGHT + c, mask=c_in, other=0.0).to(grad.dtype)
            bias = tl.zeros((BC,), grad.dtype)
            if BIAS is not None:
                bias = tl.load(BIAS + c, mask=c_in, other=0.0).to(grad.dtype)
            y = _normalised(x, mean[None, :], scale[None, :], bias[None, :], X.dtype.element_ty)
            grad = tl.where(_passes(y), grad, 0.0)
        g = tl.where(mask, grad, 0.0).to(DX.dtype.element_ty)
        tl.store(DX + place, g, mask=mask)
        g = g.to(grad.dtype)
        # Three sums of halves are taken at once: one after the other they need more registers than there are.
        one_by_one: tl.constexpr = X2 is None or DX.dtype.element_ty.primitive_bitwidth > 16
        if one_by_one:
            plain = tl.sum(g, 0)
            product = tl.sum(g * (x - mean[None, :]), 0)
        if X2 is not None:
            x2 = tl.load(X2 + place, mask=mask, other=0.0).to(grad.dtype)
            mean2 = tl.load(MEAN2 + c, mask=c_in, other=0.0)
            if one_by_one:
                product2 = tl.sum(g * (x2 - mean2[None, :]), 0)
            else:
                terms = g, g * (x - mean[None, :]), g * (x2 - mean2[None, :])
                plain, product, product2 = tl.reduce(terms, 0, _added)
    return plain, product, product2


@triton.jit
def _store_sums(SUMS, RSTD, RSTD2, plain, product, product2, run, first, end, channels, BC: tl.constexpr):
    """sums[run] of these channels: the sums over its tiles."""
    c = first + tl.arange(0, BC)
    place = SUMS + run.to(tl.int64) * (2 if RSTD2 is None else 3) * channels + c
    tl.store(place, plain, mask=c < end)
    tl.store(place + channels, product * tl.load(RSTD + c, mask=c < end, other=0.0), mask=c < end)
    if RSTD2 is not None:
        tl.store(place + 2 * channels, product2 * tl.load(RSTD2 + c, mask=c < end, other=0.0), mask=c < end)


@triton.jit
def _finish(
    GRAD, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2, DX, SUMS,
    runs, M: tl.int64, C: tl.int64, RELU: tl.constexpr, ACC: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """All of it to a gradient grad [M, C] that is there already.

    Shapes  grad, addend, x, x2, dx [M, C], addend_bits, passed [M, C / 8], sums [runs, 2 or 3, C], the others [C].
    Grid    one program per run of tiles of BM rows, run, run + runs, ..., and BC channels.
    Bytes   read grad and what there is of the others, write dx and sums, each once.
    """
    blocks = tl.cdiv(C, BC)
    pid = tl.program_id(0).to(tl.int64)
    first = (pid % blocks) * BC
    c = first + tl.arange(0, BC)
    plain = tl.zeros((BC,), ACC)
    product = tl.zeros((BC,), ACC)
    product2 = tl.zeros((BC,), ACC)
    for start in range(pid // blocks * BM, M, runs * BM):
        row = start + tl.arange(0, BM)
        mask = (row < M)[:, None] & (c < C)[None, :]
        grad = tl.load(GRAD + row[:, None] * C + c[None, :], mask=mask, other=0.0).to(ACC)
        a, b, b2 = _store(
            grad, DX, ADDEND, ADDEND_BITS, X, MEAN, RSTD, WEIGHT, BIAS, PASSED, X2, MEAN2, RSTD2,
            row, row < M, first, C, C, RELU, BM, BC,
        )  # fmt: skip
        plain += a
        product += b
        product2 += b2
    if SUMS is not None:
        _store_sums(SUMS, RSTD, RSTD2, plain, product, product2, pid // blocks, first, C, C, BC)


def finish(grad: Array, after: Epilogue) -> tuple[Array, Array | None]:
    """What becomes of a gradient [N,C,...] channels-last, and the sums [runs, 2 or 3, C] if it goes through a norm."""
    dx, c = empty_like(grad), grad.shape[1]
    m = grad.size // c if c else 0
    config = tile("columns", least=8, BM=m, BC=c)
    blocks = cdiv(c, config["BC"])
    runs, sums = after.runs_and_sums(cdiv(m, config["BM"]), blocks, grad)
    arrays = (grad, *after.arrays, dx, sums)
    acc = TRITON_TYPE[dtypes.accumulator(grad.dtype)]
    launch(_finish, runs * blocks, *arrays, runs, m, c, after.relu, acc, bytes=footprint(*arrays), **config)
    return dx, sums
