"""What a training row of ours launches, said without running it, and compiled before it runs."""

from __future__ import annotations

from collections.abc import Sequence

import tritongrad as tg
from bench import launches
from bench.training.side import Training, as_written
from bench.training.workloads import Workload
from tritongrad_kernels import array, dtypes, memory
from tritongrad_kernels.launch import Launch, column, column_for, recording


def of(row: Workload, arch: str) -> list[Launch]:
    """Everything our side launches on a GPU of `arch`, from the making of the model to its second step."""
    with memory.dry_run(), column(column_for(arch)), recording() as log:
        training = Training(row, "ours", as_written(row.made))
        items, labels = _blank(row)
        for _ in range(2):  # an optimizer's first step may differ from the others
            training.step(items, labels)
    return log


def _blank(row: Workload) -> tuple[tg.Tensor, tg.Tensor]:
    sample = row.made.sample
    if row.made.unit == "tokens":
        words = [tg.Tensor(array.empty((row.batch, *sample), dtypes.int64)) for _ in range(2)]
        return words[0], words[1]
    channels, height, width = sample
    strides = (channels * height * width, 1, channels * width, channels)
    images = array.empty((row.batch, *sample), dtypes.float32, strides=strides)
    return tg.Tensor(images), tg.Tensor(array.empty((row.batch,), dtypes.int64))


def compiled(rows: Sequence[Workload], arch: str, seconds: float) -> str:
    """Compile what our sides of the rows launch into Triton's cache; what was done, in a sentence."""
    log: list[Launch] = []
    for row in rows:
        if any(side.startswith("ours") for side in row.sides):
            try:
                log += of(row, arch)
            except Exception as error:  # the row itself will say so, where it is run
                print(f"not compiled ahead: {row.name}: {error}")
    return launches.compiled_ahead(log, arch, seconds)
