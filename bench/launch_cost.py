"""What a launch costs on the host: past Triton's Python (`direct`), through it, and beside torch's eager operation.

On a GPU the launches are real. Without one they end in `stub_driver`, in a process of its own in which kernels are
compiled for sm_90: all of Python and of Triton's code in C is timed, and nothing of the driver.
"""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import triton
import triton.language as tl

import tritongrad_kernels
from bench.tables import Table
from tritongrad_kernels import direct, driver, dtypes, elementwise, formulas, memory
from tritongrad_kernels.array import Array, contiguous_strides
from tritongrad_kernels.descriptors import descriptor
from tritongrad_kernels.launch import has_tma, launch

CALLS, SAMPLES = 10, 600
TITLE = "What a launch costs on the host"


@triton.jit
def _two(X, OUT):
    tl.store(OUT, tl.load(X))


@triton.jit
def _five(A, B, OUT, n, s):
    tl.store(OUT + n, tl.load(A) + tl.load(B) * s)


@triton.jit
def _seventeen(
    A, B, C, D, OUT, M, N, K, s0, s1, s2, s3, s4, s5, s6, f0, f1,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    tl.store(OUT, tl.load(A) + tl.load(B) * f0)


@triton.jit
def _boxes(A, B, OUT, M, N, K, BLOCK: tl.constexpr):
    OUT.store([0, 0], A.load([0, 0]) + B.load([0, 0]))


@dataclass(frozen=True)
class LaunchCost:
    """Seconds a launch, `launch` included: the fastest sample of each. `public` goes through Triton's Python."""

    name: str
    direct: float
    public: float
    peer: float


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """(name, a launch of it); on a GPU each runs in microseconds."""
    a, b, c, d, out = (_array(64, 64) for _ in range(5))
    yield "2 arrays", lambda: launch(_two, 1, a, out, bytes=8)
    yield "3 arrays, 2 numbers", lambda: launch(_five, 1, a, b, out, 5, 2.0, bytes=12)
    numbers = 128, 256, 512, 128, 1, 256, 1, 128, 1, 64, 1.0, 2.0
    tiles = dict(BM=64, BN=64, BK=32, num_warps=4, num_stages=3)
    yield "5 arrays, 12 numbers, tiles", lambda: launch(_seventeen, 1, a, b, c, d, out, *numbers, bytes=12, **tiles)
    if has_tma():
        boxes = [descriptor(x, (64, 64)) for x in (a, b, out)]
        yield "3 descriptors, 3 numbers", lambda: launch(_boxes, 1, *boxes, 64, 64, 64, BLOCK=64, bytes=3 << 14)
    yield "elementwise.map(a * b)", lambda: elementwise.map(formulas._mul, a, b, out=out)


def _array(*shape: int) -> Array:
    """On the GPU, or memory of the host that is said to be."""
    n = 4 * math.prod(shape)
    device = driver.Device("cuda", 0)
    if driver.DEFAULT_DEVICE.type == "cuda":
        return Array(memory.allocate(n, device), dtypes.float32, shape, contiguous_strides(shape))
    storage = torch.zeros(n + 256, dtype=torch.uint8)
    start = -storage.data_ptr() % 256 // 4
    return Array(memory.Memory(storage, device), dtypes.float32, shape, contiguous_strides(shape), start)


def here() -> list[LaunchCost]:
    """The costs in this process, which has a GPU or a stub."""
    one, other, out = torch.ones(1), torch.ones(1), torch.ones(1)
    collecting = gc.isenabled()
    gc.disable()  # as timeit does
    try:
        return [_cost(name, call, lambda: torch.add(one, other, out=out)) for name, call in launches()]
    finally:
        if collecting:
            gc.enable()


def _cost(name: str, call: Callable[[], object], peer: Callable[[], object]) -> LaunchCost:
    """The three in turns, so that what else the machine does meets all alike."""
    best = [math.inf] * 3
    call()  # compiles
    for _ in range(SAMPLES):
        for k, (timed, available) in enumerate(((call, direct.available), (call, False), (peer, direct.available))):
            best[k] = min(best[k], _seconds(timed, available))
    return LaunchCost(name, *best)


def _seconds(call: Callable[[], object], available: bool) -> float:
    before, direct.available = direct.available, available
    try:
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        return (time.perf_counter() - start) / CALLS
    finally:
        direct.available = before
        if driver.DEFAULT_DEVICE.type == "cuda":
            driver.synchronize()  # or its queue fills


def measured() -> list[LaunchCost]:
    """The costs on this machine. ValueError if there is neither a GPU nor what a stub is made with."""
    if not tritongrad_kernels.INTERPRETED:
        return here()
    environment = {**os.environ, "TRITONGRAD_COMPILE_FOR": "sm_90"}
    environment.pop("TRITON_INTERPRET", None)
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    script = [sys.executable, "-m", "bench.launch_cost"]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ValueError(f"launches cannot be timed here: {done.stderr.strip().splitlines()[-1]}")
    return [LaunchCost(**cost) for cost in json.loads(done.stdout)]


def table(costs: list[LaunchCost]) -> Table:
    columns = ["launch of", "ours", "through Triton", "torch.add(out=), CPU"]
    return Table(columns, [[c.name, *(f"{s * 1e6:.1f} µs" for s in (c.direct, c.public, c.peer))] for c in costs])


def notes() -> list[str]:
    if tritongrad_kernels.INTERPRETED:
        return ["Without a GPU: Triton's launcher in C runs, the driver's calls do nothing."]
    return []


if __name__ == "__main__":
    from bench import stub_driver  # only where a process compiles

    with tempfile.TemporaryDirectory() as folder:
        stub_driver.install(Path(folder))
        print(json.dumps([asdict(cost) for cost in here()]))
