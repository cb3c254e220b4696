"""Operations that wait for those which follow them, and what they then do together: the works of `pending.py`.

Forward, a batch norm waits for a residual, itself a batch norm perhaps, and a ReLU. Backward, the gradient of that ReLU
waits for the batch norm, whose kernels apply it as they read, for two that were added at once; the gradient of a
convolution's input waits for another gradient that it meets, and adds it as it writes. Sums of slabs wait for each
other (`waiting_sums.py`).
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tritongrad_kernels import (
    activations,
    convolution,
    elementwise,
    formulas,
    memory,
    norm,
    norm_grad,
    pending,
    pool,
    pool_norm,
)
from tritongrad_kernels.array import Array, channels_last_strides, contiguous_strides, empty
from tritongrad_kernels.convolution import Beside, Job
from tritongrad_kernels.dtypes import dtype, uint8
from tritongrad_kernels.epilogue import Through
from tritongrad_kernels.memory import Memory
from tritongrad_kernels.pending import Work, await_, claim_on, fill, give, promise, reading
from tritongrad_kernels.prologue import Prologue
from tritongrad_kernels.waiting_sums import summed as summed

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
    with memory.lock:
        s = site.statistics
        moved = [a for a in (s.running_mean, s.running_var, s.batches) if a is not None] if site.of_batch else []
        for a in moved:
            a.memory.settle()
        if not pending.enabled or any([a.memory.exposed or a.memory.lent for a in moved]):
            site.settle()
        elif moved:
            claim_on(moved, lambda: site)
            memory.waiting.update([a.memory for a in moved])  # which nobody may ever ask for
        return promise(Normalized(site), site.rows.dtype, shape, strides, site.rows.device)


def _before(
    x: Array, weight_shape: Sequence[int], stride: Any, padding: Sequence[int], dilation: Any, groups: int
) -> tuple[Array, Site | None, bool]:
    """What a convolution had better read in the place of x: x itself, or the input of the batch norm (and the ReLU, if
    so the last result says) that gives x and still waits, and goes on waiting, if the convolution can apply it."""
    work = x.memory.origin
    if not (isinstance(work, Normalized) and x.memory.waiting and not work.is_sum and work.gives(x)):
        return x, None, False
    if not convolution.takes_prologue(weight_shape, x.dtype, padding, groups):
        return x, None, False
    return _input_of(x, work.site), work.site, work.relu


def _input_of(x: Array, site: Site) -> Array:
    """What `site` normalises, in the shape of its result x."""
    return Array(site.rows.memory, x.dtype, x.shape, x.strides, site.rows.offset)


def _prologue(site: Site, relu: bool) -> Prologue:
    s = site.statistics
    s.settle()
    assert s.mean is not None and s.rstd is not None
    return Prologue(s.mean, s.rstd, site.weight, site.bias, relu)


def max_pool2d(x: Array, *geometry: Any) -> tuple[Array, Array]:
    """`pool.max_pool2d`, which applies a batch norm and a ReLU that still wait as it reads; they go on waiting."""
    with memory.lock:
        work = x.memory.origin
        if isinstance(work, Normalized) and x.memory.waiting and not work.is_sum and work.gives(x):
            site = work.site
            with reading(site.inputs):
                waiting = norm.Pending(site.statistics, site.weight, site.bias, work.relu)
                return pool.max_pool2d(_input_of(x, site), *geometry, prologue=waiting)
        return pool.max_pool2d(x, *geometry)


# ------------------------------------------------------------------------------------------- its gradient, and a ReLU's

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


def gradients(dy: Array, site: Site, inputs: bool, parameters: bool) -> tuple[Array | None, Array | None]:
    """The gradients of the rows of a batch norm, and [runs, 2, C] partial sums of those of bias and weight, if wanted.

    dy is the gradient of the output, in its shape and channels-last.
    """
    with memory.lock:
        summing = parameters or (inputs and site.of_batch)
        pooled = _pooled(dy, site)
        if pooled is not None:
            return pooled.gradients(site, inputs, summing, parameters)
        passed = _passed(dy, site)
        if passed is not None and site not in passed.left and inputs:
            pair = passed.pair()
            if pair is not None:
                passed.left = _both(dy, pair)
        if passed is not None and site in passed.left:
            found = passed.left.pop(site)
            return found[0] if inputs else None, found[1] if parameters else None
        dx = None
        dy, relu, sums = _arriving(dy, (site,), summing)
        with reading([a for a in (dy, relu, *site.inputs) if isinstance(a, Array)]):
            site.statistics.settle()
            given = (dy, site.rows, site.statistics, site.weight, site.bias)
            if sums is None and summing:
                sums = norm_grad.grad_sums(*given, relu=relu)
            if inputs:
                dx = norm_grad.input_grad(*given, sums if site.of_batch else None, relu=relu)
        return dx, sums if parameters else None


def _both(dy: Array, pair: tuple[Site, Site]) -> dict[Site, tuple[Array, Array]]:
    """The gradients of the rows of two norms that were added, and the sums of each, over one dy."""
    dy, relu, sums = _arriving(dy, pair, True)
    with reading([a for a in (dy, relu, *pair[0].inputs, *pair[1].inputs) if isinstance(a, Array)]):
        for site in pair:
            site.statistics.settle()
        first, second = [norm.Site(s.rows, s.statistics, s.weight, s.bias) for s in pair]
        if sums is None:
            sums = norm_grad.grad_sums(dy, *first, relu=relu, other=second)
        one, two = norm_grad.input_grads(dy, first, second, sums, relu=relu)
    return {pair[0]: (one, sums.slice(1, 0, 2)), pair[1]: (two, sums.slice(1, 0, 3, 2))}


def _passed(dy: Array, site: Site) -> Passed | None:
    """What gave or will give dy, if that is the gradient of a ReLU after this norm, or after its sum with another."""
    passed = dy.memory.origin
    if not (isinstance(passed, Passed) and passed.gives(dy)):
        return None
    return passed if site is passed.source.site or site is passed.source.other else None


def _pooled(dy: Array, site: Site) -> PoolGrad | None:
    """The gradient of the max pooling that alone reads a batch norm and its ReLU, if that is what dy waits for."""
    passed = _passed(dy, site)
    if passed is None or not dy.memory.waiting:
        return None
    work, alone = passed.dy.memory.origin, not passed.source.is_sum
    return work if alone and isinstance(work, PoolGrad) and passed.dy.memory.waiting and work.gives(passed.dy) else None


def _arriving(dy: Array, sites: Sequence[Site], summing: bool) -> tuple[Array, Relu, Array | None]:
    """The rows of the gradient of the output of a batch norm, or of two that were added; the ReLU that it has yet to go
    through; and the sums over it, if whoever computes it takes them."""
    passed = _passed(dy, sites[0])
    if passed is None or not dy.memory.waiting:
        return rows(dy), None, None
    source, work = passed.source, passed.dy.memory.origin
    if source.is_sum and passed.y.memory.waiting:
        fill(passed.y.memory, source)
    relu = passed.by()
    last = isinstance(work, InputGrad) and passed.dy.memory.waiting and work.gives(passed.dy)
    if not (last and summing) or (isinstance(relu, Array) and relu.dtype is not uint8):
        return rows(passed.dy), relu, None
    with reading([*work.inputs, *[a for site in sites for a in site.inputs]]):
        g, sums = work.through(sites, relu)
    give(dy.memory, g)
    return rows(dy), None, sums


# --------------------------------------------------------------------------------------- the gradient of a convolution


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
    with memory.lock:
        source, site, relu = _before(x, weight.shape, *geometry)
        image = convolution.stem_image(x, weight.shape, weight.dtype, *geometry) if site is None else None
        with reading([x] if site is None else site.inputs):
            prologue = None if site is None else _prologue(site, relu)
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


class InputGrad(Work):
    """The gradient of a convolution's input, plus `addend`, of which `bits` say what counts unless they are None.

    `beside` is the memory that waits for the weight's gradient, which had better be computed at the same time.
    """

    __slots__ = ("addend", "beside", "bits", "dy", "geometry", "weight", "x_shape")

    def __init__(
        self,
        dy: Array,
        weight: Array,
        x_shape: Sequence[int],
        geometry: tuple[Any, ...],
        addend: Array | None = None,
        bits: Array | None = None,
        beside: weakref.ref[Memory] | None = None,
    ) -> None:
        self.dy, self.weight, self.x_shape, self.geometry = dy, weight, x_shape, geometry
        self.addend, self.bits, self.beside = addend, bits, beside

    @property
    def inputs(self) -> list[Array]:
        return [a for a in (self.dy, self.weight, self.addend, self.bits) if a is not None]

    def run(self) -> Array:
        with self._joined() as beside:
            return convolution.input_grad(
                self.dy, self.weight, self.x_shape, *self.geometry,
                addend=self.addend, addend_bits=self.bits, beside=beside,
            )  # fmt: skip

    def through(self, sites: Sequence[Site], relu: Any) -> tuple[Array, Array]:
        """The result through a ReLU, in the place of the result itself, and its sums for the batch norm before that, or
        for two that were added."""
        site, found = sites[0], []
        for one in sites:
            s = one.statistics
            s.settle()
            assert s.mean is not None and s.rstd is not None
            found.append((one.rows, s.mean, s.rstd))
        other = found[1] if len(found) > 1 else None
        with self._joined() as beside:
            return convolution.input_grad_through(
                self.dy, self.weight, self.x_shape, *self.geometry,
                addend=self.addend, addend_bits=self.bits, beside=beside,
                through=Through(*found[0], site.weight, site.bias, relu, other),
            )  # fmt: skip

    @contextlib.contextmanager
    def _joined(self) -> Iterator[Beside | None]:
        """The weight's gradient, if it still waits. If it does not join this one it comes next, to hold memory no
        longer."""
        block = None if self.beside is None else self.beside()
        work = None if block is None or not block.waiting else block.origin
        dry = type(block) is not type(self.dy.memory)
        if block is None or not isinstance(work, WeightGrad) or work.job is None or dry:
            yield None
            return
        with reading(work.inputs):
            beside = Beside(work.job, work.room)
            yield beside
            if beside.out is not None:
                give(block, beside.out)
                work.forget()
            else:
                fill(block, work)

    def absorb(
        self, formula: Any, operands: Sequence[Any], position: int, kind: dtype | None, out: Array | None
    ) -> Array | None:
        a, b = operands[position], operands[1 - position] if len(operands) == 2 else None
        joins = formula is formulas._add and self.addend is None and out is None and a.memory.waiting
        if not (joins and type(b) is Array and self.gives(a) and alike(a, b)) or b.memory is a.memory:
            return None
        if kind not in (None, a.dtype):
            return None
        bits = None
        if isinstance(b.memory.origin, Passed) and b.memory.waiting and b.memory.origin.source.bits is not None:
            passed = b.memory.origin
            if passed.gives(b):
                b, bits = passed.dy, passed.source.bits
        joined = InputGrad(self.dy, self.weight, self.x_shape, self.geometry, b, bits, self.beside)
        return promise(joined, *self.layout)


def input_grad(
    dy: Array,
    weight: Array,
    x_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    """The gradient of a convolution's input, channels innermost, which waits for another gradient to add."""
    work = InputGrad(dy, weight, tuple(x_shape), (stride, padding, dilation, groups))
    return promise(work, dy.dtype, x_shape, channels_last_strides(x_shape))


class PoolGrad(Work):
    """The gradient of a max pooling's input, which a batch norm that was applied by the pooling gathers itself."""

    __slots__ = ("dy", "geometry", "index")

    def __init__(self, dy: Array, index: Array, geometry: tuple[Any, ...]) -> None:
        self.dy, self.index, self.geometry = dy, index, geometry

    @property
    def inputs(self) -> list[Array]:
        return [self.dy, self.index]

    def run(self) -> Array:
        return pool.max_pool2d_input_grad(self.dy, self.index, self.layout[1], *self.geometry)

    def gradients(self, site: Site, inputs: bool, summing: bool, parameters: bool) -> tuple[Array | None, Array | None]:
        """What `gradients` gives for a batch norm and a ReLU before the pooling."""
        kind, shape, strides = self.layout
        sums = dx = None
        with reading([*self.inputs, *site.inputs]):
            site.statistics.settle()
            x = Array(site.rows.memory, kind, shape, strides, site.rows.offset)
            given = (self.dy, self.index, x, site.statistics, site.weight, site.bias)
            if summing:
                sums = pool_norm.grad_sums(*given, *self.geometry, relu=True)
            if inputs:
                dx = pool_norm.input_grad(*given, sums if site.of_batch else None, *self.geometry, relu=True)
        return dx, sums if parameters else None


def max_pool2d_input_grad(dy: Array, index: Array, x_shape: Sequence[int], *geometry: Any) -> Array:
    """`pool.max_pool2d_input_grad`, which waits for the batch norm before the pooling."""
    return promise(PoolGrad(dy, index, geometry), dy.dtype, x_shape, channels_last_strides(x_shape))


class WeightGrad(Work):
    """Slabs of the gradient of a convolution's weight, for whose input's gradient they wait."""

    __slots__ = ("job", "reads")
    job: Job | None

    def __init__(self, job: Job, reads: Sequence[Array]) -> None:
        self.job, self.reads = job, reads

    @property
    def inputs(self) -> Sequence[Array]:
        return self.reads

    def room(self) -> Array:
        kind, shape, strides = self.layout
        return empty(shape, kind, self.reads[0].device, strides)

    def run(self) -> Array:
        out = self.room()
        assert self.job is not None
        self.job.run(out)
        self.forget()
        return out

    def forget(self) -> None:
        """Hold nothing of what has been read."""
        self.reads, self.job = (), None


def weight_grad(dy: Array, x: Array, weight_shape: Sequence[int], *geometry: Any) -> Array:
    """The gradient of a convolution's weight, channels innermost, whose slabs wait to be summed with others."""
    with memory.lock:
        work, image = x.memory.origin, None
        if isinstance(work, Haloed) and work.gives(x) and work.geometry == (tuple(weight_shape), *geometry):
            image = work.image
        source, site, relu = _before(x, weight_shape, *geometry)
        reads = [dy, *([x] if site is None else site.inputs)]
        other = _input_grad_of(dy, tuple(weight_shape), geometry)
        with reading(reads):
            prologue = None if site is None else _prologue(site, relu)
            job = None
            if other is not None:
                job = convolution.weight_job(dy, source, weight_shape, *geometry, prologue=prologue)
            if job is None:
                found = convolution.weight_slabs(dy, source, weight_shape, *geometry, image=image, prologue=prologue)
        if job is not None and other is not None:
            kind, shape, strides = convolution.slabs_of(job.slabs, weight_shape, dy.dtype)
            found = promise(WeightGrad(job, reads), kind, shape, strides)
            other.beside = weakref.ref(found.memory)
        if found.ndim == len(weight_shape):
            return found
        return summed(found, weight_shape, x.dtype, channels_last_strides(weight_shape))


def _input_grad_of(dy: Array, weight_shape: tuple[int, ...], geometry: tuple[Any, ...]) -> InputGrad | None:
    """The gradient of the same convolution's input, if it still waits."""
    claims = dy.memory.pending.claims if dy.memory.pending is not None else ()
    for claim in claims:
        block = claim()
        work = getattr(block, "origin", None)
        if isinstance(work, InputGrad) and block.waiting and work.dy.memory is dy.memory:
            if work.weight.shape == weight_shape and work.geometry == geometry:
                return work
    return None
