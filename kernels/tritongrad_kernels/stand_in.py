"""A driver for a GPU that is not there: Triton compiles for it as for a real one, and nothing can be launched.

Triton asks its driver which device is current, what that device is, and how to load and start a kernel. The answers
here name an architecture instead of a device. Everything before the start of a kernel is then Triton's own path of a
launch: the same binder specialises the arguments, the same options are parsed, and the compiled kernel lands in the
disk cache under the name that a launch on a real GPU of this architecture looks up.
"""

from __future__ import annotations

import re
from typing import Any

import triton
from triton.backends.compiler import GPUTarget


class NothingIsLaunched(RuntimeError):
    """A launch in a process that only compiles."""


def target(arch: str) -> GPUTarget:
    """Triton's description of an architecture: "sm_90" or "gfx942". ValueError for anything else."""
    if re.fullmatch(r"gfx[0-9a-f]+", arch):
        return GPUTarget("hip", arch, 64)
    number = re.fullmatch(r"sm_(\d{2,3})", arch)
    if number is None:
        raise ValueError(f"unknown architecture {arch!r}; expected the form 'sm_90' or 'gfx942'")
    return GPUTarget("cuda", int(number[1]), 32)


class Driver:
    """Answers what Triton's runtime asks of a driver, for each architecture it is told to stand in for.

    Each architecture is a device of its own, because Triton keeps a jit function's compiled kernels by device.
    """

    def __init__(self) -> None:
        self._targets: list[GPUTarget] = []
        self._current = 0
        self.utils = _Utils()
        self.launcher_cls = Launcher

    def become(self, arch: str) -> None:
        wanted = target(arch)
        if wanted not in self._targets:
            self._targets.append(wanted)
        self._current = self._targets.index(wanted)

    def is_active(self) -> bool:
        return True

    def get_current_device(self) -> int:
        return self._current

    def set_current_device(self, device: int) -> None:
        self._current = device

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return self._targets[self._current]

    def get_device_capability(self, device: int | None = None) -> tuple[int, int]:
        return divmod(int(self._targets[self._current if device is None else device].arch), 10)


class Launcher:
    """What Triton builds to start a compiled kernel."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.kernel = metadata.name

    def __call__(self, *arguments: Any) -> None:
        raise NothingIsLaunched(
            f"{self.kernel} was launched in a process that only compiles (TRITONGRAD_COMPILE_FOR is set)"
        )


class _Utils:
    """Stands in for the module that loads binaries. No kernel is ever too large for it: reports judge that."""

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 1 << 30, "multiprocessor_count": 1, "warpSize": 32}

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[int, int, int, int, int]:
        return 1, 1, 0, 0, 1024  # module, function, registers, spills, threads a block may have


_driver = Driver()


def activate(arch: str) -> None:
    """From here on Triton compiles for `arch` in this process. Needs no GPU; launches raise NothingIsLaunched."""
    _driver.become(arch)
    triton.runtime.driver.set_active(_driver)
