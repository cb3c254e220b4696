"""What is to be attended to: operands, mask, scale, dropout, and how the kernels of attention are told of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tritongrad_kernels import elementwise, matmul
from tritongrad_kernels.array import Array, contiguous_strides, empty, strides_of_order
from tritongrad_kernels.elementwise import broadcast_shapes
from tritongrad_kernels.launch import TILES, cdiv, next_power_of_2, tile

WIDEST = 256
"""The most numbers that a row of q, k or v may have: a program holds all of them."""


@dataclass(frozen=True)
class Dropout:
    """Each probability 0 with chance p, else divided by 1 - p: element by element, as draw `stream` under `seed`."""

    p: float
    seed: int
    stream: int

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

    def keys_seen(self) -> tuple[Array, Array]:
        """k and v as far as any query sees them."""
        seen = min(self.k.shape[-2], self.q.shape[-2]) if self.causal else self.k.shape[-2]
        return self.k.slice(self.k.ndim - 2, 0, seen), self.v.slice(self.v.ndim - 2, 0, seen)


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


def tiles_for(name: str, p: Problem, keys: int) -> dict[str, int]:
    """The tile of a kernel: of wide heads, or with dropout, its own where there is one."""
    rows, widest = p.q.shape[-2], max(p.q.shape[-1], p.v.shape[-1])
    if widest > WIDEST // 2:
        name += "_wide"
    elif p.dropout is not None and f"{name}_dropout" in TILES:
        name += "_dropout"
    return tile(name, least=16, itemsize=p.q.dtype.itemsize, BM=rows, BN=keys)


def geometry(batch: tuple[int, ...], *arrays: Array | None) -> tuple[Any, ...]:
    """For a kernel: the merged leading axes, the strides along them of each array, and along its last two axes."""
    strides = [(0,) * len(batch) if a is None else a.expand((*batch, *a.shape[-2:])).strides[:-2] for a in arrays]
    merged, (_, *along) = elementwise.merge_axes(batch, contiguous_strides(batch), *strides)
    return merged, *along, *((0, 0) if a is None else a.strides[-2:] for a in arrays)


def settings(p: Problem, keys: int, config: dict[str, int]) -> tuple[Any, ...]:
    """The arguments that all three kernels have after the strides."""
    rows, width = p.q.shape[-2:]
    values, drop = p.v.shape[-1], p.dropout or Dropout(0.0, 0, 0)
    return (
        rows,
        keys,
        p.scale,
        cdiv(p.k.shape[-2], 4),
        drop.seed,
        drop.stream,
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
        matmul.PRECISION[matmul.precision],
    )
