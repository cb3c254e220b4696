"""torch.accelerator: the GPU, whatever its kind, if there is one."""

from __future__ import annotations

from typing import Any

from tritongrad import cuda
from tritongrad_kernels import driver
from tritongrad_kernels.driver import Device

empty_cache = cuda.empty_cache


def is_available() -> bool:
    """Whether kernels run on a GPU here."""
    return cuda.is_available()


def device_count() -> int:
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Device | None:
    """The kind of device that computes, without an index; None where there is no GPU."""
    return Device("cuda") if is_available() else None


def _require() -> None:
    if not is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def current_device_index() -> int:
    """The number of the GPU in use."""
    _require()
    return cuda.current_device()


current_device_idx = current_device_index


def set_device_index(device: Any, /) -> None:
    """Use another GPU; see `cuda.set_device`."""
    _require()
    cuda.set_device(device)


set_device_idx = set_device_index


def synchronize(device: Any = None, /) -> None:
    """Wait for everything launched so far."""
    _require()
    driver.synchronize()


def current_stream(device: Any = None, /) -> cuda.Stream:
    """The stream that launches go to."""
    _require()
    return cuda.current_stream(device)


def set_stream(stream: cuda.Stream) -> None:
    """Send launches to another stream."""
    _require()
    cuda.set_stream(stream)


def get_device_capability(device: Any = None, /) -> dict[str, Any]:
    """The dtypes that the GPU has."""
    _require()
    return {"supported_dtypes": set(cuda.DTYPES)}


class device_index:
    """A GPU in use inside a block, by its number; None or a negative one changes nothing."""

    def __init__(self, device: int | None, /) -> None:
        self._inside = cuda.device(-1 if device is None else device)

    def __enter__(self) -> None:
        self._inside.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._inside.__exit__(*exc)


# ------------------------------------------------------------------------------------------------------------- memory


def memory_allocated(device_index: Any = None, /) -> int:
    """Bytes in use."""
    _require()
    return cuda.memory_allocated(device_index)


def max_memory_allocated(device_index: Any = None, /) -> int:
    """The most bytes in use at once since `reset_peak_memory_stats`."""
    _require()
    return cuda.max_memory_allocated(device_index)


def memory_reserved(device_index: Any = None, /) -> int:
    """Bytes taken from the driver, in use or kept for reuse."""
    _require()
    return cuda.memory_reserved(device_index)


def max_memory_reserved(device_index: Any = None, /) -> int:
    """The most bytes taken from the driver at once since `reset_peak_memory_stats`."""
    _require()
    return cuda.max_memory_reserved(device_index)


def memory_stats(device_index: Any = None, /) -> dict[str, Any]:
    """Figures of the allocator by name."""
    _require()
    return cuda.memory_stats(device_index)


def reset_peak_memory_stats(device_index: Any = None, /) -> None:
    _require()
    cuda.reset_peak_memory_stats(device_index)


def reset_accumulated_memory_stats(device_index: Any = None, /) -> None:
    _require()
    cuda.reset_accumulated_memory_stats(device_index)


def get_memory_info(device_index: Any = None, /) -> tuple[int, int]:
    """(free, all) bytes of the GPU."""
    _require()
    return cuda.mem_get_info(device_index)
