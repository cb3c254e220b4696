"""Compile, on any machine, what the first training step on a GPU would otherwise have to compile."""

from __future__ import annotations

import os
from pathlib import Path

from tritongrad.training import training_step
from tritongrad_kernels import compile, dtypes, launch, memory
from tritongrad_kernels.compile import Report, bundle as bundles

DTYPES = {"bf16": dtypes.bfloat16, "fp16": dtypes.float16, "fp32": dtypes.float32}


def precompile(
    network: str, batch: int, image: int = 224, dtype: str = "bf16", arch: str = "sm_90", jobs: int | None = None,
    optimizer: str = "sgd", bundle: str | os.PathLike[str] | None = None,
) -> list[Report]:  # fmt: skip
    """Compile all kernels of a training step of `network` for `arch`; needs no GPU.

    network, batch, image, optimizer   as `training_step` takes them
    dtype    of parameters and images: "bf16", "fp16", "fp32", or a dtype's full name
    arch     "sm_80" to "sm_121", or "gfx942"
    jobs     processes that compile, by default one a processor
    bundle   a file to write what was compiled to, for another machine: see `load`

    The kernels land in Triton's cache (TRITON_CACHE_DIR), where a run with the same Triton finds them. Triton also
    builds two small C modules for its driver at the first launch, which needs a GPU: they are not among them.
    Returns a report for each kernel; one that did not compile has its `error` set, and is in no bundle.
    """
    with memory.dry_run(), launch.column(launch.column_for(arch)), launch.recording() as log:
        step = training_step(network, batch, image, DTYPES.get(dtype) or dtypes.by_name(dtype), optimizer=optimizer)
        step()
        step()  # an optimizer's first step may differ from the others
    with compile.kept():
        reports = list(compile.compile_all(compile.specialise(log, arch), jobs))
    if bundle is not None:
        bundles.write(Path(bundle), reports)
    return reports


def load(bundle: str | os.PathLike[str]) -> int:
    """Bring the kernels of a bundle to the GPU of this process, and return how many: call it before the first step.

    With the same Triton wheel nothing is compiled; with another version everything is, here instead of in the first
    step. RuntimeError on a machine without a GPU, or with one of another architecture.
    """
    return bundles.load(Path(bundle))
