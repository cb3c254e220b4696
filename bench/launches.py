"""What rows launch: said without running them, in words of tiles, and compiled ahead of time by many processes."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Sequence

import torch

import tritongrad as tg
from bench.row import Input, Row
from tritongrad_kernels import array, compile, driver, dtypes, memory
from tritongrad_kernels.launch import TILES, Launch, column, column_for, recording

# What sizes are called in the tile table, and the sides of a box of pixels, into which BP is divided; N is an extent.
BLOCKS = ({name for columns in TILES.values() for row in columns.values() for name in row} | {"TN", "TH", "TW"}) - {"N"}


def of(row: Row, arch: str) -> list[Launch]:
    """What our side of a row launches on a GPU of `arch`, like "sm_90": nothing is allocated, nothing runs."""
    with memory.dry_run(), column(column_for(arch)), recording() as log:
        call = row.ours(*(_blank(i, row.dtype) for i in row.inputs.values()))
        del log[:]  # what prepares the call
        result = call()
        driver.settle()  # what waits for a reader, too, while there is one
        del result
    return log


def _blank(i: Input, dtype: str) -> tg.Tensor:
    """A tensor laid out as the drawn one is, with no values."""
    laid_out = i.laid_out(torch.empty(i.shape, device="meta"))
    kind = dtypes.by_name("int64" if i.classes is not None else i.dtype or dtype)
    return tg.Tensor(array.empty(i.shape, kind, strides=laid_out.stride()))


def tile_of(launches: Sequence[Launch]) -> str | None:
    """The kernel that does most of the work, and its tile: "_matmul BM=128 BN=256 BK=64 num_warps=8 num_stages=3"."""
    if not launches:
        return None
    one = max(launches, key=lambda n: (n.flops, n.bytes))
    given = dict(zip(inspect.signature(one.function.fn).parameters, one.arguments, strict=False)) | dict(one.options)
    sizes = [f"{k}={v}" for k, v in given.items() if k in BLOCKS and type(v) is int]
    return " ".join([one.kernel, *sizes])


def precompile(rows: Iterable[Row], arch: str, seconds: float, jobs: int | None = None) -> str:
    """Compile what rows launch, in their order; see `compiled_ahead`."""
    log: list[Launch] = []
    for row in rows:
        try:
            log += of(row, arch)
        except Exception as error:  # the row itself will say so, where it is run
            print(f"not compiled ahead: {row.name}: {error}")
    return compiled_ahead(log, arch, seconds, jobs)


def compiled_ahead(log: Sequence[Launch], arch: str, seconds: float, jobs: int | None = None) -> str:
    """Compile launches into Triton's cache for at most `seconds`, in their order; what was done, in a sentence.

    A GPU's compiler otherwise runs one kernel at a time while the GPU waits. Nothing depends on it: what is missing is
    compiled when it is launched, and what cannot be compiled fails where it is run.
    """
    began, done = time.perf_counter(), 0
    with compile.kept():
        variants = compile.specialise(log, arch)
        for report in compile.compile_all(variants, jobs):
            done += 1
            if report.error:
                print(f"not compiled ahead: {report.variant.kernel}: {report.error}")
            if time.perf_counter() - began > seconds:
                break
    return f"{done} of {len(variants)} kernels compiled ahead in {time.perf_counter() - began:.0f} s"
