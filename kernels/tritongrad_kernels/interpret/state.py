"""What a checking tool may replace or set, each thing here and nowhere else: every use looks it up in this module.

`state.memory = ...` thus sees each access of every kernel, and `state.run_grid = ...` each launch.
"""

from __future__ import annotations

from tritongrad_kernels.interpret import programs
from tritongrad_kernels.interpret.memory import Memory

memory = Memory()
"""Every access a kernel makes to memory is one call of a method of this object."""

run_grid = programs.run_grid
"""Called once for each launch, to run its programs."""

tf32 = "off"
"""How float32 operands of a dot with input_precision="tf32" are rounded: "off" (exact), "round" or "truncate"."""
