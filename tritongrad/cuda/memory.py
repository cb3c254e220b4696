"""How much of a GPU's memory is in use; zeros where there is none."""

from __future__ import annotations

from typing import Any

from tritongrad.cuda.devices import is_available, number
from tritongrad_kernels import driver
from tritongrad_kernels.driver import OutOfMemoryError as OutOfMemoryError


def memory_stats(device: Any = None) -> dict[str, Any]:
    """Figures of the allocator by torch's names, like "allocated_bytes.all.peak"; none without a GPU."""
    return driver.figures(number(device)) if is_available() else {}


def _figure(name: str, device: Any) -> int:
    return memory_stats(device).get(f"{name}_bytes.all.current", 0)


def _peak(name: str, device: Any) -> int:
    return memory_stats(device).get(f"{name}_bytes.all.peak", 0)


def memory_allocated(device: Any = None) -> int:
    """Bytes in use."""
    return _figure("allocated", device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in use at once since `reset_peak_memory_stats`."""
    return _peak("allocated", device)


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver, in use or kept for reuse."""
    return _figure("reserved", device)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from the driver at once since `reset_peak_memory_stats`."""
    return _peak("reserved", device)


memory_cached, max_memory_cached = memory_reserved, max_memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """From now on, peaks are those from now on."""
    driver.reset_peak_bytes()


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Nothing to do: what is counted from the start of the process is not set back."""


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, all) bytes of the GPU."""
    return driver.gpu_memory(number(device))


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table of the figures above."""
    rows = (
        ("Allocated memory", memory_allocated(device), max_memory_allocated(device)),
        ("Reserved memory", memory_reserved(device), max_memory_reserved(device)),
    )
    lines = [f"| {'':<18} | {'Current':>14} | {'Peak':>14} |"]
    lines += [f"| {what:<18} | {_mebibytes(now):>14} | {_mebibytes(peak):>14} |" for what, now, peak in rows]
    rule = "|" + "-" * (len(lines[0]) - 2) + "|"
    return "\n".join([rule, lines[0], rule, *lines[1:], rule]) + "\n"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def empty_cache() -> None:
    """Give memory kept for reuse back to the driver."""
    driver.empty_cache()


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Refused: a limit for this process alone is not offered."""
    raise NotImplementedError("set_per_process_memory_fraction: a limit on this process's GPU memory is not offered")
