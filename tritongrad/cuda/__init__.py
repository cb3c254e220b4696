"""torch.cuda's questions about the GPU."""

from __future__ import annotations

from typing import Any

from tritongrad import random
from tritongrad.cuda import amp as amp
from tritongrad.ops.typed import named
from tritongrad.tensor import Tensor
from tritongrad_kernels import memory

FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor = (
    named(w, "cuda") for w in ("Float", "Double", "Half", "BFloat16")
)
LongTensor, IntTensor, ShortTensor, CharTensor = (named(w, "cuda") for w in ("Long", "Int", "Short", "Char"))
ByteTensor, BoolTensor = (named(w, "cuda") for w in ("Byte", "Bool"))


def is_available() -> bool:
    """Whether kernels run on a GPU here."""
    return memory.DEFAULT_DEVICE.type == "cuda"


def device_count() -> int:
    return memory.gpu_count() if is_available() else 0


def get_device_name(device: Any = None) -> str:
    return memory.gpu_name(memory.Device("cuda" if device is None else device).index or 0)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    return memory.gpu_capability(memory.Device("cuda" if device is None else device).index or 0)


def synchronize(device: Any = None) -> None:
    """Wait for everything launched so far."""
    memory.synchronize()


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in use at once since `reset_peak_memory_stats`."""
    return memory.peak_bytes()


def reset_peak_memory_stats(device: Any = None) -> None:
    memory.reset_peak_bytes()


def empty_cache() -> None:
    """Give memory kept for reuse back to the driver."""
    memory.empty_cache()


# One generator serves all devices, so these are `random`'s. Seeding where there is no GPU does nothing, as in torch.


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
