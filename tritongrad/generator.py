"""The state of randomness: a seed and how many draws were taken under it, one for each thread."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tritongrad.tensor import Tensor, as_device
from tritongrad_kernels import capture, dtypes, memory
from tritongrad_kernels.array import Array, from_host
from tritongrad_kernels.driver import Device


class Generator:
    """A seed, and how many draws have been taken under it. Its whole state is these two numbers."""

    def __init__(self, device: Any = None) -> None:
        self.device = as_device(device) or Device("cpu")
        self._seed, self._draws = 67280421310721, 0

    def manual_seed(self, seed: int) -> Generator:
        """Start over under `seed`, any integer of 64 bits; a negative one counts from 2^64 down."""
        _refuse_in_capture()
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"manual_seed: the seed must fit 64 bits, got {seed}")
        self._seed, self._draws = int(seed) & (2**64 - 1), 0
        return self

    def seed(self) -> int:
        """Start over under a seed nobody knows, which is returned."""
        self.manual_seed(secrets.randbits(63))
        return self._seed

    def initial_seed(self) -> int:
        return self._seed

    def get_state(self) -> Tensor:
        """The state as a uint8 tensor: the 8 bytes of the seed, and the 8 of the number of draws."""
        _refuse_in_capture()
        return Tensor(from_host(np.array([self._seed, self._draws], "<u8").view(np.uint8), Device("cpu")))

    def set_state(self, state: Tensor) -> Generator:
        """Go on from a state `get_state` gave."""
        if state.shape != (16,) or state.dtype is not dtypes.uint8:
            raise RuntimeError(
                f"set_state: expected a uint8 tensor of shape [16], got {state.dtype.name}{list(state.shape)}"
            )
        self._seed, self._draws = np.array(state.tolist(), np.uint8).view("<u8").tolist()
        return self

    def clone_state(self) -> Generator:
        """Another generator that goes on from where this one is."""
        return Generator(self.device).set_state(self.get_state())

    def next_stream(self) -> tuple[int | Array, int]:
        """The seed, as a signed number of 64 bits, and the number of this draw.

        Where launches are being captured, an array of both, which each replay finds moved on as by this call.
        """
        self._draws += 1
        recording = capture.current()
        if recording is not None:
            return recording.varying(_Draw(self), self.key()), 0
        return self._seed - (self._seed >> 63 << 64), self._draws

    def key(self) -> np.ndarray:
        """The seed and the number of the last draw, as kernels read them."""
        return np.array([self._seed - (self._seed >> 63 << 64), self._draws], np.int64)

    def host_seed(self) -> int:
        """A seed for random choices made on the host, such as the order of a data set; advances this generator."""
        memory.looks("a random choice made on the host")
        self._draws += 1
        sequence = np.random.SeedSequence([self._seed, self._draws])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _refuse_in_capture() -> None:
    if capture.current() is not None:
        raise capture.Uncapturable("it looks at or sets the state of a generator of random numbers")


class _Draw(capture.Varying):
    """A draw of a captured step."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def move(self) -> np.ndarray:
        self._generator._draws += 1
        return self._generator.key()


class _OfEachThread(threading.local, Generator):
    """A generator that is another one in each thread."""


default_generator = _OfEachThread()
"""The generator of this thread, used where none is given."""


def manual_seed(seed: int) -> Generator:
    """Seed everything random in this thread."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed everything random in this thread by chance; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of this thread's generator, for `set_rng_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Go on from a state that `get_rng_state` gave."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **unused: Any) -> Iterator[None]:
    """Leave this thread's generator, which serves all devices, after the block as it was before it."""
    state = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if state is not None:
            set_rng_state(state)
