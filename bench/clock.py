"""Time: CUDA events on a GPU, the wall clock in the interpreter."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from bench.row import Call, device
from tritongrad_kernels import driver

RUN_AHEAD = 256  # launches waiting in the GPU's queue, of the ~1000 it takes before the host must wait
BALLAST = 128 << 20  # bytes of each copy that the host runs ahead of: more than any L2 cache holds
LONGEST = 0.02  # seconds of ballast, which take launches of that queue too


@dataclass(frozen=True)
class Timing:
    """Seconds a call takes on the device: the median of `samples` means over `calls` calls each, and its spread.

    `host_s` is what the host needs to enqueue a call; None in the interpreter, where host and device are one.
    """

    median_s: float
    p10_s: float
    p90_s: float
    samples: int
    calls: int
    host_s: float | None


@dataclass(frozen=True)
class Plan:
    """A sample is the mean over `calls` calls, queued behind `ahead` seconds of other device work.

    `host` is how long one call takes to enqueue, in seconds.
    """

    calls: int = 1
    ahead: float = 0.0
    host: float | None = None


class Clock(Protocol):
    """`samples` of each side are wanted; after `patience` seconds `least` are enough."""

    samples: int
    least: int
    patience: float

    def plan(self, call: Rotation, launches: int) -> Plan: ...

    def seconds(self, call: Rotation, plan: Plan) -> float: ...


class Rotation:
    """Calls on several sets of inputs in turn, so that no call finds its inputs in the cache."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._next = itertools.cycle(calls)

    def __call__(self) -> None:
        result = next(self._next)()
        driver.settle()  # what waits for a reader, too, while there is one
        del result


class WallClock:
    """For the interpreter, where a call is over when it returns."""

    samples = 15
    least = 2
    patience = 0.5

    def plan(self, call: Rotation, launches: int) -> Plan:
        return Plan()

    def seconds(self, call: Rotation, plan: Plan) -> float:
        start = time.perf_counter()
        for _ in range(plan.calls):
            call()
        return (time.perf_counter() - start) / plan.calls


class EventClock:
    """For a GPU. Calls are enqueued while it copies ballast, so that it never waits for the host between them.

    The ballast also leaves none of the row's data in the L2 cache.
    """

    samples = 25
    least = 20
    patience = 20.0

    def __init__(self) -> None:
        self._ballast = torch.randint(256, (2, BALLAST), dtype=torch.uint8, device=device())
        self._copy_seconds = 1.0
        for _ in range(2):  # the first is slower
            self._copy_seconds = self.seconds(Rotation([self._copy]), Plan(calls=20))

    def _copy(self) -> Sequence:
        self._ballast[0].copy_(self._ballast[1])
        return ()

    def plan(self, call: Rotation, launches: int) -> Plan:
        """Samples of about a millisecond, and of no more launches than the queue holds."""
        host = self._host(call)
        single = self.seconds(call, Plan(calls=2, ahead=min(3 * host, LONGEST)))
        calls = max(1, min(64, int(1e-3 / max(single, 1e-6)), RUN_AHEAD // max(launches, 1)))
        return Plan(calls, min(1.5 * calls * host + 1e-4, LONGEST), host)

    def seconds(self, call: Rotation, plan: Plan) -> float:
        timer = driver.Timer()
        for _ in range(math.ceil(plan.ahead / self._copy_seconds)):
            self._copy()
        timer.start()
        for _ in range(plan.calls):
            call()
        timer.stop()
        return timer.seconds() / plan.calls

    def _host(self, call: Rotation) -> float:
        """Seconds to enqueue a call onto an idle GPU."""
        trials = []
        for _ in range(9):
            driver.synchronize()
            start = time.perf_counter()
            call()
            trials.append(time.perf_counter() - start)
        driver.synchronize()
        return statistics.median(trials)


def interleaved(clock: Clock, calls: Sequence[tuple[Rotation, int]]) -> list[Timing]:
    """Time several calls, each given with its number of launches, in turn: one sample of each, then the next.

    What the clocks and the temperature of a GPU do meanwhile, they then do to all alike.
    """
    plans = [clock.plan(call, launches) for call, launches in calls]
    seconds: list[list[float]] = [[] for _ in calls]
    began = time.perf_counter()
    while len(seconds[0]) < clock.samples:
        if len(seconds[0]) >= clock.least and time.perf_counter() - began > clock.patience:
            break
        for (call, _), plan, found in zip(calls, plans, seconds, strict=True):
            found.append(clock.seconds(call, plan))
    return [_timing(found, plan) for found, plan in zip(seconds, plans, strict=True)]


def _timing(seconds: Sequence[float], plan: Plan) -> Timing:
    ordered = sorted(seconds)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.9))
    return Timing(statistics.median(ordered), low, high, len(ordered), plan.calls, plan.host)


def ceilings(clock: EventClock) -> dict[str, float]:
    """What this card does at best here and now: bytes a second copied (read and written), flops a second by dtype.

    Measured through torch on random data: a copy of 1 GiB and large square matrix products.
    """
    source = torch.randint(256, (1 << 30,), dtype=torch.uint8, device=device())
    target = torch.empty_like(source)
    return {
        "copy_bytes_per_s": 2 * source.numel() / _median(clock, lambda: [target.copy_(source)]),
        "bfloat16_flops_per_s": _matmul_rate(clock, 8192, torch.bfloat16),
        "float32_flops_per_s": _matmul_rate(clock, 4096, torch.float32),
    }


def _matmul_rate(clock: EventClock, n: int, dtype: torch.dtype) -> float:
    a, b = (torch.randn(n, n, device=device(), dtype=dtype) for _ in range(2))
    return 2 * n**3 / _median(clock, lambda: [a @ b])


def _median(clock: EventClock, call: Callable[[], Sequence]) -> float:
    return interleaved(clock, [(Rotation([call]), 1)])[0].median_s
