"""What a checking tool may replace or set, each thing here and nowhere else: every use looks it up in this module.

`state.memory = ...` thus sees each access of every kernel, and `state.run_grid = ...` each launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tritongrad_kernels.interpret import programs
from tritongrad_kernels.interpret.memory import Memory
from tritongrad_kernels.interpret.programs import Kernel

memory = Memory()
"""Every access a kernel makes to memory is one call of a method of this object."""

run_grid: Callable[[Kernel, dict[str, Any], tuple[int, int, int]], None] = programs.run_grid
"""Called once for each launch with its kernel, its arguments by name and its grid, to run its programs."""

check_integers: Callable[[str, np.ndarray, np.ndarray], None] | None = None
"""Called, if there is one, with each "add", "sub" and "mul" of integers of less than 64 bits and its operands, unless
the kernel allows that one to overflow (`tl.add(x, y, sanitize_overflow=False)`)."""

tf32 = "off"
"""How float32 operands of a dot with input_precision="tf32" are rounded: "off" (exact), "round" or "truncate"."""

executed: dict[str, set[int]] | None = None
"""Where this is a dictionary, the lines of the statements that kernels run are noted in it, by file. A kernel is
prepared for that at its first launch, so a tool has to set it before."""
