"""Operations that wait for those which follow them, and what they then do together: the works of `pending.py`.

A batch norm waits for a residual, itself a batch norm perhaps, and a ReLU; a convolution of one pixel or a max pooling
applies it as it reads, and it goes on waiting. The gradients are in `fusion_grad.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tritongrad_kernels import activations, convolution, driver, elementwise, formulas, norm, pending, pool
from tritongrad_kernels.array import Array, contiguous_strides, empty
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.pending import Work, await_, claim_on, promise, reading
from tritongrad_kernels.prologue import Prologue

# ---------------------------------------------------------------------------------------------------------- batch norm


@dataclass(frozen=True, eq=False)
class Site:
    """A batch norm of rows [M, C]: what it normalises, with what statistics (`of_batch`: its own, not running ones),
    and its weight and bias [C] or None; and whether the gradient of its rows will be `wanted`."""

    rows: Array
    statistics: norm.Statistics
    weight: Array | None
    bias: Array | None
    of_batch: bool
    wanted: bool = False

    @property
    def inputs(self) -> list[Array]:
        s = self.statistics
        known = (s.mean, s.rstd) if s.folded else (s.moments, s.running_mean, s.running_var, s.batches)
        return [a for a in (self.rows, self.weight, self.bias, *known) if a is not None]

    @property
    def waiting(self) -> bool:
        """Whether the running statistics have still to be moved."""
        return not self.statistics.folded

    def settle(self) -> None:
        """Move them, without normalising anything."""
        with reading(self.inputs):
            self.statistics.settle()


class Normalized(Work):
    """`site`, plus `residual` or another site, through a ReLU where wanted. `bits` say afterwards what the ReLU let
    pass, where there was something added."""

    __slots__ = ("bits", "is_sum", "other", "relu", "residual", "site")

    def __init__(
        self, site: Site, residual: Array | None = None, other: Site | None = None, relu: bool = False
    ) -> None:
        self.site, self.residual, self.other, self.relu = site, residual, other, relu
        self.is_sum = residual is not None or other is not None
        self.bits: Array | None = None

    @property
    def inputs(self) -> list[Array]:
        found = self.site.inputs
        if self.residual is not None:
            found.append(self.residual)
        return found + (self.other.inputs if self.other is not None else [])

    def run(self) -> Array:
        site, other = self.site, self.other
        residual = None if self.residual is None else rows(self.residual)
        beside = None if other is None else (other.rows, other.statistics, other.weight, other.bias)
        wanted = self.relu and self.is_sum
        y, self.bits = norm.apply(
            site.rows, site.statistics, site.weight, site.bias,
            residual=residual, other=beside, relu=self.relu, bits=wanted,
        )  # fmt: skip
        self.residual = None  # nobody asks for its values again
        return y.view(*self.layout[1:])

    def absorb(
        self, formula: Any, operands: Sequence[Any], position: int, kind: dtype | None, out: Array | None
    ) -> Array | None:
        a = operands[position]
        if not self.gives(a) or kind not in (None, a.dtype):
            return None
        if formula is activations._where_positive:
            dy = operands[0]
            joins = position == 1 and self.relu and out is None and type(dy) is Array and alike(dy, a)
            return promise(Passed(dy, a, self), *self.layout) if joins else None
        if not a.memory.waiting or self.relu or (out is not None and not _may_become(out, a)):
            return None
        if formula is activations._relu:
            return self._followed(Normalized(self.site, self.residual, self.other, True), out)
        if formula is formulas._add and not self.is_sum:
            b = operands[1 - position]
            if type(b) is Array and b.memory is not a.memory and alike(a, b):
                return self._followed(Normalized(self.site, *_addend(b)), out)
        return None

    def _followed(self, work: Normalized, out: Array | None) -> Array:
        if out is None:
            return promise(work, *self.layout)
        await_(out, work)
        return out


def _addend(b: Array) -> tuple[Array | None, Site | None]:
    """What is added to a batch norm: an array, or another batch norm that still waits and is nothing more than that."""
    work = b.memory.origin
    plain = isinstance(work, Normalized) and b.memory.waiting and not work.relu and not work.is_sum
    return (None, work.site) if plain and work.gives(b) else (b, None)


def _may_become(out: Array, a: Array) -> bool:
    """Whether an operation in place on `a` may change what its memory waits for: nobody is to read it before."""
    same = out.memory is a.memory and out.dtype is a.dtype and out.shape == a.shape and out.strides == a.strides
    return same and not out.memory.pending.claimed


def alike(a: Array, b: Array) -> bool:
    """Whether elements of one shape and dtype lie in the same places of dense memory on one device."""
    return (
        a.dtype is b.dtype
        and a.shape == b.shape
        and a.device == b.device
        and a.has_strides(b.strides)
        and a.dense_order() is not None
    )


def rows(image: Array) -> Array:
    """[N, C] or an image stored channels-last as the matrix [M, C] that it is in memory."""
    channels = image.shape[1]
    shape = (image.size // channels if channels else 0, channels)
    return image.view(shape, contiguous_strides(shape))


def normalized(site: Site, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """`site` in the shape and strides of what it normalises, waiting for what follows."""
    with driver.lock:
        s = site.statistics
        moved = [a for a in (s.running_mean, s.running_var, s.batches) if a is not None] if site.of_batch else []
        for a in moved:
            a.memory.settle()
        if not pending.enabled or any([a.memory.exposed or a.memory.lent for a in moved]):
            site.settle()
        elif moved:
            claim_on(moved, lambda: site)
            driver.waiting.update([a.memory for a in moved])  # which nobody may ever ask for
        return promise(Normalized(site), site.rows.dtype, shape, strides, site.rows.device)


def before(
    x: Array, weight_shape: Sequence[int], stride: Any, padding: Sequence[int], dilation: Any, groups: int
) -> tuple[Array, Site | None, bool]:
    """What a convolution had better read in the place of x: x itself, or the input of the batch norm (and the ReLU, if
    so the last result says) that gives x and still waits, and goes on waiting, if the convolution can apply it."""
    work = x.memory.origin
    if not (isinstance(work, Normalized) and x.memory.waiting and not work.is_sum and work.gives(x)):
        return x, None, False
    if not convolution.takes_prologue(weight_shape, x.dtype, padding, groups):
        return x, None, False
    return input_of(x, work.site), work.site, work.relu


def input_of(x: Array, site: Site) -> Array:
    """What `site` normalises, in the shape of its result x."""
    return Array(site.rows.memory, x.dtype, x.shape, x.strides, site.rows.offset)


def prologue_of(site: Site, relu: bool) -> Prologue:
    s = site.statistics
    s.settle()
    assert s.mean is not None and s.rstd is not None
    return Prologue(s.mean, s.rstd, site.weight, site.bias, relu)


def max_pool2d(x: Array, *geometry: Any) -> tuple[Array, Array]:
    """`pool.max_pool2d`, which applies a batch norm and a ReLU that still wait as it reads; they go on waiting."""
    with driver.lock:
        work = x.memory.origin
        if isinstance(work, Normalized) and x.memory.waiting and not work.is_sum and work.gives(x):
            site = work.site
            with reading(site.inputs):
                waiting = norm.Pending(site.statistics, site.weight, site.bias, work.relu)
                return pool.max_pool2d(input_of(x, site), *geometry, prologue=waiting)
        return pool.max_pool2d(x, *geometry)


Relu = Literal["recompute"] | Array | None
"""How to tell what a ReLU let pass: from the batch norm's input again, by bits [M, C / 8] or the output [M, C]; None
where there is no ReLU."""


class Passed(Work):
    """dy where the ReLU behind `source`, whose output is y, let a value pass, else 0.

    `left` is what `gradients` found for one of two norms when it was asked for the other's.
    """

    __slots__ = ("dy", "left", "source", "y")

    def __init__(self, dy: Array, y: Array, source: Normalized) -> None:
        self.dy, self.y, self.source = dy, y, source
        self.left: dict[Site, tuple[Array, Array]] = {}

    @property
    def inputs(self) -> list[Array]:
        return [self.dy, self.y]

    def run(self) -> Array:
        kind, shape, strides = self.layout
        out = empty(shape, kind, self.dy.device, strides)
        return elementwise.map(activations._where_positive, self.dy, self.y, out=out)

    def by(self) -> Relu:
        """What tells what passed."""
        if not self.source.is_sum:
            return "recompute"
        if self.source.bits is None:
            return rows(self.y)
        return self.source.bits

    def pair(self) -> tuple[Site, Site] | None:
        """The two norms that were added before the ReLU, if one pass over this gradient may serve both."""
        first, second = self.source.site, self.source.other
        if second is None or not all([s.of_batch and s.wanted for s in (first, second)]):
            return None
        return first, second


# --------------------------------------------------------------------------------------------------------- convolution


class Convolved(Work):
    """Not awaited: a convolution's output, of whose channels it took the moments [runs, 3, C] as it wrote them."""

    __slots__ = ("moments",)

    def __init__(self, y: Array, moments: Array) -> None:
        self.moments, self.layout, self.version = moments, (y.dtype, y.shape, y.strides), y.memory.version


class Haloed(Work):
    """Not awaited: an image of few channels, which a convolution made into `image` before it read it, for its weight
    gradient to read as well. `geometry` is that of the convolution and the shape of its weight."""

    __slots__ = ("geometry", "image")

    def __init__(self, x: Array, image: Array, geometry: tuple[Any, ...]) -> None:
        self.image, self.geometry = image, geometry
        self.layout, self.version = (x.dtype, x.shape, x.strides), x.memory.version


def convolved(x: Array, weight: Array, bias: Array | None, *geometry: Any) -> Array:
    """A convolution that leaves the moments of its output with it, for a batch norm that may come next."""
    with driver.lock:
        source, site, relu = before(x, weight.shape, *geometry)
        image = convolution.stem_image(x, weight.shape, weight.dtype, *geometry) if site is None else None
        with reading([x] if site is None else site.inputs):
            prologue = None if site is None else prologue_of(site, relu)
            y, moments = convolution.with_moments(source, weight, bias, *geometry, image=image, prologue=prologue)
        if moments is not None:
            y.memory.origin = Convolved(y, moments)
        block = x.memory
        if image is not None and block.origin is None and x.offset == 0 and not (block.exposed or block.lent):
            block.origin = Haloed(x, image, (weight.shape, *geometry))
        return y


def moments(image: Array) -> Array:
    """The moments [runs, 3, C] of the channels of an image stored channels-last, taken now if nobody has."""
    work = image.memory.origin
    if isinstance(work, Convolved) and work.gives(image):
        return work.moments
    with reading([image]):
        return norm.moments(rows(image))
