"""What an operation costs before its kernel starts: the Python of checking, planning and recording it.

Each operation is recorded on tensors of one element inside a dry run, with nothing in the place of `launch`, and
torch's eager operation on the CPU, kernel included, is timed beside it in turns.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

import tritongrad as tg
from bench.tables import Table
from tritongrad_kernels import elementwise, memory

CALLS, SAMPLES = 50, 400
TITLE = "What recording an operation costs before its launch"


@dataclass(frozen=True)
class Cost:
    """Seconds a call: the fastest sample, which is the one that nothing else on the machine disturbed."""

    name: str
    ours: float
    peer: float


def operations() -> list[tuple[str, Callable[[], object], Callable[[], object]]]:
    """(name, ours, torch's) on tensors of one element."""
    x, w, c = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True), tg.ones(1)
    X, W, C = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True), torch.ones(1)
    return [
        ("x * w, recorded", lambda: x * w, lambda: X * W),
        ("x + w, recorded", lambda: x + w, lambda: X + W),
        ("x * 2, recorded", lambda: x * 2, lambda: X * 2),
        ("relu(x), recorded", lambda: tg.relu(x), lambda: torch.relu(X)),
        ("exp(x), recorded", lambda: tg.exp(x), lambda: torch.exp(X)),
        ("c * c", lambda: c * c, lambda: C * C),
        ("c.add_(1)", lambda: c.add_(1), lambda: C.add_(1)),
        ("c.double()", lambda: c.double(), lambda: C.double()),
    ]


def measured() -> list[Cost]:
    """The cost of each operation."""
    collecting, module = gc.isenabled(), vars(elementwise)
    start = module["launch"]
    gc.disable()  # as timeit does
    module["launch"] = _nothing
    try:
        with memory.dry_run():
            return [_cost(*operation) for operation in operations()]
    finally:
        module["launch"] = start
        if collecting:
            gc.enable()


def _nothing(*args: object, **options: object) -> None:
    pass


def _cost(name: str, ours: Callable[[], object], peer: Callable[[], object]) -> Cost:
    times: list[list[float]] = [[], []]
    for _ in range(SAMPLES):
        for call, found in zip((ours, peer), times, strict=True):
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            found.append((time.perf_counter() - start) / CALLS)
    return Cost(name, *map(min, times))


def table(costs: list[Cost]) -> Table:
    rows = [[c.name, f"{c.ours * 1e6:.1f} µs", f"{c.peer * 1e6:.1f} µs", f"{c.ours / c.peer:.1f}"] for c in costs]
    return Table(["operation on one element", "ours, without launch", "torch, CPU", "ours / torch"], rows)
