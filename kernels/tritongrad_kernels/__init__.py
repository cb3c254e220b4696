"""Triton kernels on strided arrays: arrays in, arrays out, no graph.

Importing this package decides once, before Triton is first imported, whether kernels are compiled for the GPU or run
on the CPU in Triton's interpreter. Without a usable GPU, or with `TRITON_INTERPRET=1` in the environment, it is the
interpreter, repaired by `interpret`.

With `TRITONGRAD_COMPILE_FOR=sm_90` in the environment this process compiles kernels for that architecture, with or
without a GPU, and launches none: `stand_in` is its driver. `compile` starts such processes.
"""

import glob
import os
import sys

# OpenBLAS's threads wait for each other by spinning: where another program wants a core, a product of the interpreter
# takes fifty times as long. It reads this when numpy is loaded, so it is decided before the GPU can be asked about.
if "numpy" not in sys.modules and not glob.glob("/dev/nvidia[0-9]*"):
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tritongrad_kernels import driver

COMPILE_FOR = os.environ.get("TRITONGRAD_COMPILE_FOR") or None
if COMPILE_FOR:
    os.environ.pop("TRITON_INTERPRET", None)

INTERPRETED: bool = not COMPILE_FOR and (
    os.environ.get("TRITON_INTERPRET", "0") not in ("", "0") or not driver.gpu_is_usable()
)

if INTERPRETED and os.environ.get("TRITON_INTERPRET", "0") in ("", "0"):
    if "triton" in sys.modules:
        raise ImportError(
            "tritongrad found no GPU and must run Triton's interpreter, but triton was imported before it: "
            "import tritongrad first, or set TRITON_INTERPRET=1 in the environment."
        )
    os.environ["TRITON_INTERPRET"] = "1"

if INTERPRETED:
    from tritongrad_kernels import interpret

    interpret.install()

if COMPILE_FOR:
    from tritongrad_kernels import stand_in

    stand_in.activate(COMPILE_FOR)

driver.DEFAULT_DEVICE = driver.Device("cpu") if INTERPRETED or COMPILE_FOR else driver.Device("cuda", 0)

if INTERPRETED and os.environ.get("TRITONGRAD_SANITIZE", "0") not in ("", "0"):
    from tritongrad_kernels import sanitize

    sanitize.start()
