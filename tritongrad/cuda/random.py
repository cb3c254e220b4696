"""torch.cuda's random numbers. One generator serves all devices, so these are `random`'s.

Seeding where there is no GPU does nothing, as in torch.
"""

from __future__ import annotations

from typing import Any

from tritongrad import random
from tritongrad.cuda.devices import device_count, is_available
from tritongrad.tensor import Tensor


def manual_seed(seed: int) -> None:
    """Seed the generator, if there is a GPU."""
    if is_available():
        random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the generator, if there is a GPU."""
    manual_seed(seed)


def seed() -> None:
    """Seed the generator by chance, if there is a GPU."""
    if is_available():
        random.seed()


seed_all = seed


def initial_seed() -> int:
    return random.initial_seed()


def get_rng_state(device: Any = None) -> Tensor:
    """The state of the generator, for `set_rng_state`."""
    return random.get_rng_state()


def set_rng_state(new_state: Tensor, device: Any = None) -> None:
    random.set_rng_state(new_state)


def get_rng_state_all() -> list[Tensor]:
    """The state of the generator, once for each GPU."""
    return [random.get_rng_state()] * device_count()


def set_rng_state_all(new_states: list[Tensor]) -> None:
    for state in new_states[:1]:
        random.set_rng_state(state)
