"""torch.cuda's questions about the GPU."""

from __future__ import annotations

from typing import Any

from tritongrad_kernels import memory


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
