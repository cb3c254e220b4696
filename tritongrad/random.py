"""Random tensors: element i of the k-th draw under a seed is the same on every device and in every process."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.ops import elementwise as ew
from tritongrad.ops.movement import shape_of
from tritongrad.tensor import Tensor, as_device, get_default_dtype, record, record_inplace
from tritongrad_kernels import dtypes, elementwise, random as kernel
from tritongrad_kernels.array import from_host
from tritongrad_kernels.dtypes import dtype


class Generator:
    """A seed, and how many draws have been taken under it. Its whole state is these two numbers."""

    def __init__(self, device: Any = None) -> None:
        self.device = as_device(device)
        self._seed, self._draws = 67280421310721, 0

    def manual_seed(self, seed: int) -> Generator:
        """Start over under `seed`, any integer of 64 bits."""
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"manual_seed: the seed must fit 64 bits, got {seed}")
        self._seed, self._draws = seed & (2**63 - 1), 0
        return self

    def seed(self) -> int:
        """Start over under a seed nobody knows, which is returned."""
        self.manual_seed(secrets.randbits(63))
        return self._seed

    def initial_seed(self) -> int:
        return self._seed

    def get_state(self) -> Tensor:
        """The state as an int64 tensor [seed, draws]."""
        return Tensor(from_host(np.array([self._seed, self._draws], np.int64)))

    def set_state(self, state: Tensor) -> Generator:
        """Go on from a state `get_state` gave."""
        if state.shape != (2,) or state.dtype is not dtypes.int64:
            raise RuntimeError(
                f"set_state: expected an int64 tensor of shape [2], got {state.dtype.name}{list(state.shape)}"
            )
        self._seed, self._draws = state.tolist()
        return self

    def next_stream(self) -> tuple[int, int]:
        """The seed and the number of this draw."""
        self._draws += 1
        return self._seed, self._draws

    def host_seed(self) -> int:
        """A seed for random choices made on the host, such as the order of a data set; advances this generator."""
        sequence = np.random.SeedSequence([*self.next_stream()])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


class _Default(threading.local):
    def __init__(self) -> None:
        self.generator = Generator()


_default = _Default()


def default_generator() -> Generator:
    """The generator of this thread, used where none is given."""
    return _default.generator


def manual_seed(seed: int) -> Generator:
    """Seed everything random in this thread."""
    return _default.generator.manual_seed(seed)


def seed() -> int:
    """Seed everything random in this thread by chance; returns the seed."""
    return _default.generator.seed()


def initial_seed() -> int:
    return _default.generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of this thread's generator, for `set_rng_state`."""
    return _default.generator.get_state()


def set_rng_state(state: Tensor) -> None:
    _default.generator.set_state(state)


def _floating(kind: dtype | None, name: str) -> dtype:
    kind = kind or get_default_dtype()
    if not kind.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {kind.name}")
    return kind


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Independent uniforms on [0, 1)."""
    state = (generator or _default.generator).next_stream()
    shape, kind = shape_of(size), _floating(dtype, "rand")
    return Tensor(kernel.uniform(shape, 0.0, 1.0, kind, as_device(device), *state), requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Independent standard normals."""
    state = (generator or _default.generator).next_stream()
    shape, kind = shape_of(size), _floating(dtype, "randn")
    return Tensor(kernel.normal(shape, 0.0, 1.0, kind, as_device(device), *state), requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: Any = None,
) -> Tensor:
    """Independent integers in low .. high-1: `randint(high, size)` or `randint(low, high, size)`."""
    if size is None:
        low, high, size = 0, low, high
    if high is None or size is None or high <= low:
        raise RuntimeError(f"randint: expected low < high and a size, got low {low}, high {high}, size {size}")
    kind = dtype or dtypes.int64
    if not kind.is_floating_point:
        least, most = (0, 1) if kind is dtypes.bool_ else (np.iinfo(kind.numpy).min, np.iinfo(kind.numpy).max)
        if low < least or high - 1 > most:
            raise RuntimeError(f"randint: the numbers {low} .. {high - 1} do not all fit {kind.name}")
    state = (generator or _default.generator).next_stream()
    return Tensor(kernel.integers(shape_of((tuple(size),)), low, high, kind, as_device(device), *state))


def rand_like(x: Tensor, *, dtype: dtype | None = None, generator: Generator | None = None) -> Tensor:
    """Uniforms in the shape of x."""
    return rand(x.shape, dtype=dtype or x.dtype, device=x.device, generator=generator)


def randn_like(x: Tensor, *, dtype: dtype | None = None, generator: Generator | None = None) -> Tensor:
    """Standard normals in the shape of x."""
    return randn(x.shape, dtype=dtype or x.dtype, device=x.device, generator=generator)


def randperm(n: int, *, generator: Generator | None = None, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """A random order of 0 .. n-1, drawn on the host."""
    order = np.random.Generator(np.random.Philox((generator or _default.generator).host_seed())).permutation(n)
    return Tensor(elementwise.cast(from_host(order.astype(np.int64), as_device(device)), dtype or dtypes.int64))


def bernoulli(x: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability each element of x gives, else 0. The gradient is 0."""
    drawn = rand(x.shape, generator=generator, device=x.device)
    return record(ew.lt(drawn, x.detach()).to(x.dtype).array, (x, lambda dy: dy.zeros_like()))


def uniform_(x: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with uniforms on [from_, to)."""
    return _overwrite(x, kernel.uniform, from_, to, generator)


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite x with normals."""
    if std < 0:
        raise RuntimeError(f"normal_: expected std >= 0, got {std}")
    return _overwrite(x, kernel.normal, mean, std, generator)


def _overwrite(x: Tensor, draw: Any, a: float, b: float, generator: Generator | None) -> Tensor:
    state = (generator or _default.generator).next_stream()
    values = draw(x.array.shape, a, b, x.dtype, x.device, *state)
    return record_inplace(x, lambda: elementwise.copy_into(values, x.array), (x, lambda dy: dy.zeros_like()))


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element 0 with probability p, else divided by 1 - p. The backward pass uses the same mask."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return x
    kept = rand(x.shape, device=x.device) >= p
    scale = kept.to(x.dtype) * (1 / (1 - p) if p < 1 else 0.0)
    return x.mul_(scale) if inplace else x * scale


for _function in (uniform_, normal_, bernoulli):
    setattr(Tensor, _function.__name__, _function)
