"""What is to be attended to: operands, mask, scale, dropout, and how the kernels of attention are told of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tritongrad_kernels import elementwise, matmul
from tritongrad_kernels.array import Array, contiguous_strides, empty, strides_of_order
from tritongrad_kernels.descriptors import Descriptor, descriptor, fits
from tritongrad_kernels.elementwise import broadcast_shapes
from tritongrad_kernels.launch import TILES, cdiv, has_tma, next_power_of_2, tile
from tritongrad_kernels.random import Seed, state

WIDEST = 256
"""The most numbers that a row of q, k or v may have: a program holds all of them."""


@dataclass(frozen=True)
class Dropout:
    """Each probability 0 with chance p, else divided by 1 - p: element by element, as draw `stream` under `seed`.

    Where launches are captured, `seed` is an array of both.
    """

    p: float
    seed: Seed
    stream: int

    @property
    def state(self) -> tuple[Array | None, int, int]:
        """The array of both, or None, and the numbers."""
        return state(self.seed, self.stream)

    @property
    def threshold(self) -> int:
        """What 24 random bits must reach."""
        return math.ceil(self.p * (1 << 24))

    @property
    def rescale(self) -> float:
        return 1 / (1 - self.p) if self.p < 1 else 0.0


@dataclass(frozen=True)
class Problem:
    """q [..., L, E], k [..., S, E], v [..., S, EV] of one dtype, whose leading axes broadcast together.

    mask     bool, or numbers that are added to the scores; broadcasts to [..., L, S]
    scale    above 0
    causal   whether query i sees only the keys up to i; never beside a mask
    """

    q: Array
    k: Array
    v: Array
    mask: Array | None
    scale: float
    causal: bool = False
    dropout: Dropout | None = None

    @property
    def seed(self) -> Array | None:
        """What has the seed of dropout, where that is an array."""
        return None if self.dropout is None else self.dropout.state[0]

    @property
    def leading(self) -> tuple[int, ...]:
        return broadcast_shapes(self.q.shape[:-2], self.k.shape[:-2], self.v.shape[:-2])

    @property
    def batch(self) -> tuple[int, ...]:
        """The leading axes, at least one."""
        return self.leading or (1,)

    @property
    def shares(self) -> bool:
        """Whether all of the last leading axis has the same keys and values."""
        return self.batch[-1] > 1 and all(a.ndim < 3 or a.shape[-3] == 1 for a in (self.k, self.v))

    @property
    def pairs(self) -> int:
        """How many scores there are."""
        rows, keys = self.q.shape[-2], self.k.shape[-2]
        corner = min(rows, keys)
        seen = corner * (corner + 1) // 2 + (rows - corner) * keys if self.causal else rows * keys
        return math.prod(self.batch) * seen

    def heads_as_queries(self) -> Problem:
        """Of one query each, heads that share keys are as well queries of one head, which reads these once."""
        mask = self.mask
        if mask is not None:
            mask = heads_swapped(mask.expand((*self.batch, 1, mask.shape[-1])))
        return replace(self, q=heads_swapped(self.q), mask=mask)

    def keys_seen(self) -> tuple[Array, Array]:
        """k and v as far as any query sees them."""
        seen = min(self.k.shape[-2], self.q.shape[-2]) if self.causal else self.k.shape[-2]
        return self.k.slice(self.k.ndim - 2, 0, seen), self.v.slice(self.v.ndim - 2, 0, seen)


def heads_swapped(a: Array) -> Array:
    """a [..., heads, rows, numbers] as [..., rows, heads, numbers]."""
    return a.permute((*range(a.ndim - 3), a.ndim - 2, a.ndim - 3, a.ndim - 1))


def is_short(rows: int, keys: int) -> bool:
    """Whether so few scores a head are better stored, and had by products of many heads in a program."""
    return rows * keys <= tile("short_attention")["SCORES"]


def of_first_head(p: Problem, a: Array) -> Array:
    """a [..., R, C] stretched over all leading axes, of the last of which the first is left where keys are shared."""
    a = a.expand((*p.batch, *a.shape[-2:]))
    return a.slice(a.ndim - 3, 0, 1) if p.shares else a


def lie_like(a: Array, shape: tuple[int, ...]) -> Array:
    """An uninitialised array of at least the axes of `a`, in memory in their order; the last is always innermost."""
    strides = (0,) * (len(shape) - a.ndim) + a.strides
    order = sorted(range(len(shape) - 1), key=lambda axis: (strides[axis] != 0, -strides[axis], axis))
    return empty(shape, a.dtype, a.device, strides_of_order(shape, (*order, len(shape) - 1)))


NARROW = 64


def tiles_for(name: str, p: Problem, keys: int) -> dict[str, int]:
    """The tile of a kernel: for wide heads, for busy ones, or for narrow ones, if it has such.

    Busy is what has a mask or dropout, or rows that cannot be copied 16 bytes at a time.
    """
    rows, widths = p.q.shape[-2], (p.q.shape[-1], p.v.shape[-1])
    busy = p.mask is not None or p.dropout is not None or any(n * p.q.dtype.itemsize % 16 for n in widths)
    kinds = {"wide": max(widths) > WIDEST // 2, "busy": busy, "narrow": max(widths) <= NARROW}
    found = (f"{name}_{kind}" for kind, so in kinds.items() if so)
    name = next((own for own in found if own in TILES), name)
    return tile(name, least=16, itemsize=p.q.dtype.itemsize, BM=rows, BN=keys)


@dataclass(frozen=True)
class Geometry:
    """How a kernel finds what it reads and writes.

    given    for each array that it reads in blocks: a descriptor if they all have one, or the array
    places   the merged leading axes; for each array the strides along them, and then those along its last two axes. Of
             a descriptor, 0 for a leading axis that is shared, else 1
    divisor  what divides all strides but those along the last axis, the mask's aside, and all extents of the last
    """

    given: tuple[Any, ...]
    places: tuple[Any, ...]
    divisor: int
    described: bool


def geometry(
    p: Problem,
    batch: tuple[int, ...],
    read: Sequence[tuple[Array, int]],
    written: Sequence[Array],
    heads: Sequence[Array] = (),
    sharing: int = 1,
) -> Geometry:
    """For arrays `read` in blocks of so many rows, then those `written`, then the mask.

    With `heads`, of these and of the mask the first alone of `sharing` along axis -3 is in the batch. In a descriptor
    the others are one axis more, after those of the batch.
    """
    arrays = [*(of_first_head(p, a) if any(a is h for h in heads) else a for a, _ in read), *written]
    mask = p.mask if p.mask is None or not heads else of_first_head(p, p.mask)
    along = [a.expand((*batch, *a.shape[-2:])).strides[:-2] for a in arrays]
    along += [(0,) * len(batch) if mask is None else mask.expand((*batch, *mask.shape[-2:])).strides[:-2]]
    merged, (_, *along) = elementwise.merge_axes(batch, contiguous_strides(batch), *along)
    steps = [*(a.strides[-2:] for a in arrays), (0, 0) if mask is None else mask.strides[-2:]]
    divisor = math.gcd(8, *(a.shape[-1] for a in arrays), *(s[0] for s in steps[:-1]), *itertools.chain(*along[:-1]))
    given = tuple(a for a, _ in read)
    if read and has_tma() and len(merged) <= 2:
        pair, pairs = (1,) * (2 - len(merged)) + merged, [(0,) * (2 - len(s)) + s for s in along]
        found = []
        for (whole, rows), a, strides in zip(read, arrays, pairs, strict=False):
            axes = [(n, s) if s else (1, 0) for n, s in zip(pair, strides, strict=True)]
            axes += [(sharing, a.strides[-3])] if any(whole is h for h in heads) else []
            found.append(_described(whole, rows, axes, a.strides[-2:]))
        if all(found):
            shared = [tuple(int(stride != 0) for stride in s) for s in pairs[: len(read)]]
            return Geometry(tuple(found), (pair, *shared, *pairs[len(read) :], *steps), divisor, True)
    return Geometry(given, (merged, *along, *steps), divisor, False)


def _described(a: Array, rows: int, axes: list[tuple[int, int]], steps: tuple[int, ...]) -> Descriptor | None:
    """Of [*axes, rows, numbers], given extents and strides of the axes; None where there can be none."""
    if a.dtype.itemsize != 2:
        return None
    shape = (*(n for n, _ in axes), *a.shape[-2:])
    strides = (*(s if n > 1 else 8 for n, s in axes), *steps)  # an axis of one element may have any
    block = (*(1 for _ in axes), rows, max(16, next_power_of_2(a.shape[-1])))
    return descriptor(a, block, shape, strides) if fits(a, block, shape, strides) else None


def keys_of_part(p: Problem, keys: int, config: dict[str, int]) -> int:
    """How many keys a program sees, a multiple of BN: all, unless there are few programs with SPAN keys and more each.

    A property of the shape, never of the GPU at hand.
    """
    least, step = config.pop("SPAN"), config["BN"]
    programs = math.prod(p.batch) * cdiv(p.q.shape[-2], config["BM"])
    few = not p.causal and 0 < programs < matmul.FEW_TILES
    parts = min(cdiv(keys, least), 2 * matmul.FEW_TILES // programs) if few and keys else 1
    return max(cdiv(cdiv(keys, parts), step), 1) * step


def settings(p: Problem, keys: int, config: dict[str, int], where: Geometry) -> tuple[Any, ...]:
    """The arguments that all three kernels have after the strides."""
    rows, width = p.q.shape[-2:]
    values, drop = p.v.shape[-1], p.dropout or Dropout(0.0, 0, 0)
    return (
        rows,
        keys,
        p.scale,
        cdiv(p.k.shape[-2], 4),
        *drop.state,
        drop.threshold,
        drop.rescale,
        width,
        values,
        max(16, next_power_of_2(width)),
        max(16, next_power_of_2(values)),
        p.causal,
        p.dropout is not None,
        rows % config["BM"] == 0,
        keys % config["BN"] == 0,
        where.divisor,
        where.described,
        matmul.PRECISION[matmul.precision],
    )
