"""Gradients that wait for each other, and what they then do together: the backward side of `fusion.py`.

The gradient of a ReLU waits for the batch norm before it, whose kernels apply it as they read, for two norms that were
added at once. The gradient of a convolution's input waits for another gradient that it meets, and adds it as it writes;
that of its weight waits for the input's. Sums of slabs wait for each other (`waiting_sums.py`).
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from tritongrad_kernels import convolution, driver, formulas, norm, norm_grad, pool, pool_norm
from tritongrad_kernels.array import Array, channels_last_strides, empty
from tritongrad_kernels.convolution import Beside, Job
from tritongrad_kernels.dtypes import dtype, uint8
from tritongrad_kernels.epilogue import Through
from tritongrad_kernels.fusion import Haloed, Passed, Relu, Site, alike, before, prologue_of, rows
from tritongrad_kernels.memory import Memory
from tritongrad_kernels.pending import Work, fill, give, promise, reading
from tritongrad_kernels.waiting_sums import summed

# ---------------------------------------------------------------------------------------------------------- batch norm


def gradients(dy: Array, site: Site, inputs: bool, parameters: bool) -> tuple[Array | None, Array | None]:
    """The gradients of the rows of a batch norm, and [runs, 2, C] partial sums of those of bias and weight, if wanted.

    dy is the gradient of the output, in its shape and channels-last.
    """
    with driver.lock:
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


# --------------------------------------------------------------------------------------------------------- convolution


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
    with driver.lock:
        work, image = x.memory.origin, None
        if isinstance(work, Haloed) and work.gives(x) and work.geometry == (tuple(weight_shape), *geometry):
            image = work.image
        source, site, relu = before(x, weight_shape, *geometry)
        reads = [dy, *([x] if site is None else site.inputs)]
        other = _input_grad_of(dy, tuple(weight_shape), geometry)
        with reading(reads):
            prologue = None if site is None else prologue_of(site, relu)
            found = convolution.weight_slabs_or_job(
                dy, source, weight_shape, *geometry, image=image, prologue=prologue, wait=other is not None
            )
        if not isinstance(found, Array):
            kind, shape, strides = convolution.slabs_of(found.slabs, weight_shape, dy.dtype)
            found = promise(WeightGrad(found, reads), kind, shape, strides)
            assert other is not None
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
