"""Random tensors: element i of the k-th draw under a seed is the same on every device and in every process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.autograd import no_grad
from tritongrad.generator import (
    Generator as Generator,
    default_generator as default_generator,
    fork_rng as fork_rng,
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    seed as seed,
    set_rng_state as set_rng_state,
)
from tritongrad.ops.activation import leaky_relu
from tritongrad.ops.comparison import lt, where
from tritongrad.ops.filled import full, like
from tritongrad.ops.operands import result_type
from tritongrad.ops.placement import extents, leaf, placed, require_out, size_of, target
from tritongrad.ops.views import reshape
from tritongrad.tensor import Tensor, record, record_inplace
from tritongrad_kernels import dtypes, elementwise, memory, random as kernel, sort, transcendental
from tritongrad_kernels.array import Array, from_host
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.formats import layout, memory_format, preserve_format


def _stream(generator: Generator | None, name: str) -> tuple[int | Array, int]:
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"{name}: expected a Generator, got {type(generator).__name__}")
    return (generator or default_generator).next_stream()


def _require_floating(name: str, kind: dtype) -> dtype:
    if not kind.is_floating_point:
        raise NotImplementedError(f"{name}: expected a floating-point dtype, got {kind.name}")
    return kind


def _require(condition: Tensor, message: str) -> None:
    """RuntimeError unless a condition holds everywhere. On a GPU, where looking would stall the queue, nobody looks."""
    unknown = memory.in_dry_run() or memory.refused()
    if condition.device.type == "cpu" and not unknown and not condition.all():
        raise RuntimeError(message)


# ------------------------------------------------------------------------------------------------------- new tensors


def rand(
    *size: Any,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Independent uniforms on [0, 1)."""
    kind, place = target("rand", out, dtype, device, layout)
    _require_floating("rand", kind)
    shape = extents("rand", size, size_of(named, "rand"))
    state = _stream(generator, "rand")
    return placed(kernel.uniform(shape, 0.0, 1.0, kind, place, *state), out, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Independent standard normals."""
    kind, place = target("randn", out, dtype, device, layout)
    _require_floating("randn", kind)
    shape = extents("randn", size, size_of(named, "randn"))
    state = _stream(generator, "randn")
    return placed(kernel.normal(shape, 0.0, 1.0, kind, place, *state), out, requires_grad)


def randint(
    *bounds: Any,
    low: int | None = None,
    high: int | None = None,
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Independent integers in low .. high-1: `randint(high, size)` or `randint(low, high, size)`."""
    given = list(bounds)
    if size is None and given:
        size = given.pop()
    if high is None and given:
        high = given.pop()
    if low is None:
        low = given.pop() if given else 0
    if high is None or not isinstance(size, list | tuple) or given:
        raise TypeError("randint: expected randint(high, size) or randint(low, high, size) with a tuple for a size")
    kind, place = target("randint", out, dtype, device, layout, dtypes.int64)
    low, high = _bounds("randint", low, high, kind)
    state = _stream(generator, "randint")
    shape = extents("randint", (tuple(size),))
    return placed(kernel.integers(shape, low, high, kind, place, *state), out, requires_grad)


def _bounds(name: str, low: Any, high: Any, kind: dtype) -> tuple[int, int]:
    """The bounds as integers; RuntimeError if none lies between them or they do not fit the dtype."""
    low, high = low.__index__(), high.__index__()
    if high <= low:
        raise RuntimeError(f"{name}: expected low < high, got low {low}, high {high}")
    if not kind.is_floating_point:
        least, most = (0, 1) if kind is dtypes.bool_ else (np.iinfo(kind.numpy).min, np.iinfo(kind.numpy).max)
        if low < least or high - 1 > most:
            raise RuntimeError(f"{name}: the numbers {low} .. {high - 1} do not all fit {kind.name}")
    return low, high


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: memory_format = preserve_format,
    pin_memory: bool = False,
) -> Tensor:
    """Uniforms on [0, 1) in the shape, dtype, device and memory order of `input`."""
    made = like("rand_like", input, dtype, device, memory_format, layout)
    return rand(made.shape, generator=generator, out=leaf(made)).requires_grad_(requires_grad)


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: memory_format = preserve_format,
    pin_memory: bool = False,
) -> Tensor:
    """Standard normals in the shape, dtype, device and memory order of `input`."""
    made = like("randn_like", input, dtype, device, memory_format, layout)
    return randn(made.shape, generator=generator, out=leaf(made)).requires_grad_(requires_grad)


def randint_like(
    input: Tensor,
    *bounds: int,
    low: int | None = None,
    high: int | None = None,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: memory_format = preserve_format,
    pin_memory: bool = False,
) -> Tensor:
    """Integers in low .. high-1, `randint_like(x, high)` or `(x, low, high)`, shaped and laid out as `input`."""
    made = like("randint_like", input, dtype, device, memory_format, layout)
    drawn = randint(*bounds, low=low, high=high, size=made.shape, generator=generator, out=leaf(made))
    return drawn.requires_grad_(requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A random order of 0 .. n-1, drawn on the host."""
    kind, place = target("randperm", out, dtype, device, layout, dtypes.int64)
    most = {"f": 2 ** {8: 53, 4: 24, 2: 8 if kind is dtypes.bfloat16 else 11}.get(kind.itemsize, 0)}.get(kind.kind)
    most = most if most is not None else 1 if kind is dtypes.bool_ else int(np.iinfo(kind.numpy).max)
    if not 0 <= n <= most + 1:
        raise RuntimeError(f"randperm: expected a length from 0 to what {kind.name} can count, got {n}")
    order = np.random.Generator(np.random.Philox((generator or default_generator).host_seed())).permutation(n)
    return placed(elementwise.cast(from_host(order.astype(np.int64), place), kind), out, requires_grad)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Independent normals: `mean` and `std` are tensors that broadcast, or numbers with a `size`."""
    given = [t for t in (mean, std) if isinstance(t, Tensor)]
    wanted, place = target("normal", out, dtype, device, layout, result_type(*given) if given else None)
    _require_floating("normal", wanted)
    if isinstance(std, Tensor):
        _require(std >= 0, "normal: expected all elements of std >= 0")
    elif std < 0:
        raise RuntimeError(f"normal: expected std >= 0, got {std}")
    if not given:
        if size is None:
            raise TypeError("normal: two numbers need a size")
        drawn = randn(tuple(size), generator=generator, dtype=wanted, device=place)
        return placed((drawn * std + mean).array, out, requires_grad)
    try:
        shape = elementwise.broadcast_shapes(*(t.array.shape for t in given))
    except ValueError as error:
        raise RuntimeError(f"normal: {error}") from None
    if size is not None:
        raise TypeError("normal: a size goes with two numbers, not with tensors")
    drawn = randn(shape, generator=generator, dtype=wanted, device=given[0].device)
    with no_grad():
        values = drawn * std + mean
    if out is not None:
        return placed(values.array, out)
    return record(values.array, *[(t, lambda dy: dy.zeros_like()) for t in given])


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Tensor | None = None
) -> Tensor:
    """1 with the probability each element of `input` gives (or `p` throughout), else 0. The gradient is 0."""
    _require_floating("bernoulli", input.dtype)
    chance = (
        input.detach() if p is None else full(tuple(input.shape), _probability("bernoulli", p), device=input.device)
    )
    if out is not None:
        require_out("bernoulli", out)
        return placed(_trials("bernoulli", chance, input, generator), out)
    return record(_trials("bernoulli", chance, input, generator), (input, lambda dy: dy.zeros_like()))


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise RuntimeError(f"{name}: expected p to be in [0, 1], but got {p}")
    return float(p)


def _trials(name: str, chance: Tensor, x: Tensor, generator: Generator | None) -> Any:
    """1 with the probability in `chance`, else 0, in the shape and dtype of x."""
    _require((chance >= 0) & (chance <= 1), f"{name}: expected all probabilities to be in [0, 1]")
    drawn = Tensor(kernel.uniform(x.array.shape, 0.0, 1.0, dtypes.float32, x.device, *_stream(generator, name)))
    return lt(drawn, chance).to(x.dtype).array


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`num_samples` categories for each row of weights, [K] or [R, K]: int64 of the shape with K replaced.

    Without replacement a category is drawn at most once, in the order in which exponential clocks running at the
    weights ring (Efraimidis and Spirakis 2006). RuntimeError for weights that are negative, not finite or all 0.
    """
    if out is not None:
        require_out("multinomial", out)
        if out.dtype is not dtypes.int64:
            raise RuntimeError(f"multinomial: expects an int64 tensor as out, got {out.dtype.name}")
        return placed(multinomial(input, num_samples, replacement, generator=generator).array, out)
    if input.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: expected weights of 1 or 2 dimensions, got shape {list(input.shape)}")
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"multinomial: expected floating-point weights, got {input.dtype.name}")
    if num_samples <= 0:
        raise RuntimeError(f"multinomial: cannot sample {num_samples} times")
    categories = input.array.shape[-1]
    if num_samples > categories and (not replacement or not categories):
        raise RuntimeError(f"multinomial: cannot draw {num_samples} of {categories} categories without replacement")
    wide = dtypes.accumulator(input.dtype)
    weights = reshape(input.detach(), (-1 if input.numel() else math.prod(input.shape[:-1]), categories)).to(wide)
    _require((weights >= 0) & (weights < math.inf), "multinomial: weights contain infinity, NaN or a negative number")
    _require(weights.sum(1) > 0, "multinomial: the weights of a row sum to 0")
    rows, state = weights.shape[0], _stream(generator, "multinomial")
    shape = (*input.shape[:-1], num_samples)
    if replacement:
        drawn = kernel.uniform((rows, num_samples), 0.0, 1.0, wide, input.device, *state)
        return Tensor(elementwise.reshape(kernel.choose(weights.array, drawn), shape))
    clocks = Tensor(kernel.transformed(kernel._exponential, weights.array.shape, wide, input.device, *state, 1.0))
    if num_samples == 1:
        return reshape((weights / clocks).argmax(1, keepdim=True), shape)
    order = Tensor(sort.argsort((weights / clocks).array, 1, descending=True))
    return reshape(order[:, :num_samples].contiguous(), shape)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts of what happens `input` times on average. The gradient is 0."""
    _require_floating("poisson", input.dtype)
    _require(input.detach() >= 0, "poisson: expected rates >= 0")
    counts = kernel.poisson(input.array, *_stream(generator, "poisson"))
    return record(counts, (input, lambda dy: dy.zeros_like()))


# ------------------------------------------------------------------------------------------------------------- in place


def uniform_(
    x: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None, **named: Any
) -> Tensor:
    """Overwrite x with uniforms on [from, to)."""
    low = named.get("from", from_)
    _require_floating("uniform_", x.dtype)
    if low > to:
        raise RuntimeError(f"uniform_: expected from <= to, got from {low}, to {to}")
    return _overwrite(x, kernel.uniform(x.array.shape, low, to, x.dtype, x.device, *_stream(generator, "uniform_")))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with normals."""
    _require_floating("normal_", x.dtype)
    if std < 0:
        raise RuntimeError(f"normal_: expected std >= 0, got {std}")
    return _overwrite(x, kernel.normal(x.array.shape, mean, std, x.dtype, x.device, *_stream(generator, "normal_")))


def log_normal_(x: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with e to the power of normals."""
    _require_floating("log_normal_", x.dtype)
    if std <= 0:
        raise RuntimeError(f"log_normal_: expected std > 0, got {std}")
    wide = dtypes.accumulator(x.dtype)
    drawn = kernel.normal(x.array.shape, mean, std, wide, x.device, *_stream(generator, "log_normal_"))
    return _overwrite(x, elementwise.map(transcendental._exp, drawn))


def random_(x: Tensor, *bounds: int, generator: Generator | None = None, **named: Any) -> Tensor:
    """Overwrite x with integers in from .. to-1: `random_(to)`, `random_(from, to)`.

    Without bounds from 0 to the largest of an integer dtype, or to the largest below which a floating one has them all.
    """
    given = [*bounds]
    high = named.get("to", given.pop() if given else None)
    low = named.get("from", given.pop() if given else 0)
    if high is None and x.dtype.is_floating_point:
        high = 2 ** {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}[x.dtype.name] + 1
    elif high is None:
        high = 2 if x.dtype is dtypes.bool_ else int(np.iinfo(x.dtype.numpy).max) + 1
    low, high = _bounds("random_", low, high, x.dtype)
    return _overwrite(x, kernel.integers(x.array.shape, low, high, x.dtype, x.device, *_stream(generator, "random_")))


def bernoulli_(x: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with 1 where an event of probability p, a number or a tensor that broadcasts, comes true, else 0."""
    if isinstance(p, Tensor):
        chance = p.detach().expand(x.shape)
        _require_floating("bernoulli_", p.dtype)
    else:
        chance = full(tuple(x.shape), _probability("bernoulli_", p), device=x.device)
    return _overwrite(x, _trials("bernoulli_", chance, x, generator))


def exponential_(x: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with exponentials of rate `lambd`, none of them 0."""
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"exponential_: expected a floating-point dtype, got {x.dtype.name}")
    if not lambd > 0:
        raise RuntimeError(f"exponential_: expected lambd > 0, got {lambd}")
    return _overwrite(x, _transformed("exponential_", x, kernel._exponential, generator, float(lambd)))


def geometric_(x: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with the number of trials of probability p up to the first success: 1, 2, ..."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_: expected p to be in (0, 1), but got {p}")
    return _overwrite(x, _transformed("geometric_", x, kernel._geometric, generator, math.log1p(-p)))


def cauchy_(x: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with numbers of the Cauchy distribution."""
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"cauchy_: expected a floating-point dtype, got {x.dtype.name}")
    if not sigma > 0:
        raise RuntimeError(f"cauchy_: expected sigma > 0, got {sigma}")
    return _overwrite(x, _transformed("cauchy_", x, kernel._cauchy, generator, float(median), float(sigma)))


def _transformed(name: str, x: Tensor, f: Any, generator: Generator | None, *parameters: float) -> Array:
    return kernel.transformed(f, x.array.shape, x.dtype, x.device, *_stream(generator, name), *parameters)


def _overwrite(x: Tensor, values: Array) -> Tensor:
    return record_inplace(x, lambda: elementwise.copy_into(values, x.array), (x, lambda dy: dy.zeros_like()))


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """input above 0, below times a slope: one drawn for each element between `lower` and `upper` in training, else
    their mean (Xu et al. 2015)."""
    if lower > upper:
        raise RuntimeError(f"rrelu: the lower bound should be at most the upper one, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = rand(input.shape, generator=generator, dtype=input.dtype, device=input.device) * (upper - lower) + lower
    slopes = where(input.detach() > 0, 1.0, slopes)
    return input.mul_(slopes) if inplace else input * slopes


def rrelu_(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, True, generator=generator)


for _function in (
    bernoulli, bernoulli_, cauchy_, exponential_, geometric_, log_normal_, multinomial, normal_, random_, uniform_
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
