"""What tests of the benchmark share: a small row, a made-up run on a GPU, and rows run in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

import tritongrad as tg
from bench import clock, harness
from bench.results import Result, Run
from bench.row import Call, Row
from bench.rows import matmul
from tritongrad_kernels.launch import Launch

PRODUCT = matmul.product(24, 40, 17, "float32")
CEILINGS = {"copy_bytes_per_s": 4e12, "bfloat16_flops_per_s": 8e14, "float32_flops_per_s": 5e13}


def raising(a: tg.Tensor, b: tg.Tensor) -> Call:
    raise RuntimeError("no such kernel")


class InProcess:
    """In the place of a Worker: rows run here."""

    ceilings = None

    def __init__(self, found: harness.Harness) -> None:
        self.found = found

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, row: Row, limit: float | None = None) -> Result:
        return self.found.run(row)


@contextmanager
def quick_harness() -> Iterator[harness.Harness]:
    """A harness that takes three samples."""
    threads = torch.get_num_threads()
    found = harness.Harness()
    found.clock.samples = 3
    yield found
    torch.set_num_threads(threads)


def made_up_run(factor: float = 1.0, **changes: Any) -> Run:
    """A run on a GPU with one row that took `factor` microseconds, twice as fast as torch, and one that failed."""
    times = [clock.Timing(t, 0.99 * t, 1.01 * t, 25, 10, 4e-6) for t in (factor * 1e-6, 2e-6)]
    timed = replace(harness.blank(PRODUCT), ours=times[0], peers={"eager": times[1]}, error=1e-7, launches=1)
    ok = harness.against(CEILINGS, timed, [Launch("_matmul", (1,), 0, 0, None, (), {})])
    found = [ok, replace(harness.failed(PRODUCT, "E: | bad"), name="another row")]
    versions = {"torch": "2.11.0", "triton": "3.6.0"}
    run = Run("2026-01-02T03:04:05+00:00", "abc1234", False, "a-gpu", "A GPU", False, versions, None, CEILINGS, found)
    return replace(run, **changes)
