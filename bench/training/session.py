"""Runs training rows: each side in a process that stays for all rows, samples of the sides of a row in turns.

All sides make ready at once, since that is mostly compiling; then, one at a time, each runs some steps, then the next,
so that clocks and temperature are the same for all. A side that fails costs its own figures alone.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tritongrad_kernels
from bench.clock import Timing
from bench.training.child import Child, Failed
from bench.training.result import Curve, Trained
from bench.training.workloads import Workload

LOAD_LIMIT = 240.0  # seconds to make ready, compilation included
SAMPLE_LIMIT = 60.0
CURVE_LIMIT = 240.0
CACHES = ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")

# How far the losses of two sides may lie apart, relatively: of the first step, and of the next ones, which rounding has
# already led to other weights.
AGREEMENT = {"float32": (1e-3, 2e-2), "bfloat16": (2e-2, 1e-1)}


@dataclass(frozen=True)
class Pace:
    """`rounds` samples a side, each of as many steps as take about `seconds`, and at most `most` of them."""

    rounds: int
    seconds: float
    most: int


def pace(rounds: int | None = None) -> Pace:
    """On a GPU, samples long enough to hold many steps; in the interpreter a step is a sample."""
    usual = Pace(2, 0.0, 1) if tritongrad_kernels.INTERPRETED else Pace(7, 0.4, 50)
    return usual if rounds is None else replace(usual, rounds=rounds)


class Session:
    """`with Session(deadline) as session: session.run(row, pace())`; `deadline` is a time of `time.monotonic`."""

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self._children: dict[str, Child] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: Any) -> None:
        for child in self._children.values():
            child.end()

    def start(self, row: Workload) -> None:
        """Begin the processes of the row's sides, all at once: each takes seconds until it hears what it is told."""
        for side in row.sides:
            self._child(side)

    def run(self, row: Workload, pace: Pace) -> list[Trained]:
        """The figures of each of the row's sides."""
        self.start(row)
        found = {side: Trained(row.name, side, row.items, row.made.unit) for side in row.sides}
        self._all(found, lambda side: self._child(side).tell("drop"), lambda side, child: child.answer(SAMPLE_LIMIT))
        loaded = self._all(
            found,
            lambda side: self._child(side).tell("load", name=row.name),
            lambda side, child: child.answer(self._limit(LOAD_LIMIT)),
        )
        for side, said in loaded.items():
            found[side] = replace(found[side], **said)
        _compare_losses(row, found)
        times = self._rounds(found, pace)
        for side in _fine(found):
            seconds, hosts, steps = zip(*times[side], strict=True)
            step = _timing(seconds, steps[0], None if tritongrad_kernels.INTERPRETED else statistics.median(hosts))
            rate = None if tritongrad_kernels.INTERPRETED else row.items / step.median_s
            found[side] = replace(found[side], step=step, per_second=rate)
        for side, said in self._all(found, None, lambda side, child: child.ask(SAMPLE_LIMIT, "count")).items():
            found[side] = replace(found[side], **said)
        return list(found.values())

    def curves(self, row: Workload, steps: int) -> list[Curve]:
        """The losses of the row's sides over `steps` steps; a side that fails has none, and says so on stderr."""
        self.start(row)
        found = {side: Trained(row.name, side, row.items, row.made.unit) for side in row.sides}
        losses = self._all(
            found,
            lambda side: self._child(side).tell("curve", name=row.name, steps=steps),
            lambda side, child: child.answer(self._limit(CURVE_LIMIT)),
        )
        for result in found.values():
            if result.reason:
                print(f"{row.name}, {result.side}: {result.reason}", file=sys.stderr)
        return [Curve(row.name, side, said) for side, said in losses.items()]

    def _rounds(self, found: dict[str, Trained], pace: Pace) -> dict[str, list[tuple[float, float, int]]]:
        """For each side (seconds a step, host seconds a step, steps) of each of its samples."""
        times: dict[str, list[tuple[float, float, int]]] = {side: [] for side in found}
        steps = dict.fromkeys(found, 1)
        if pace.most > 1:
            trial = self._all(found, None, lambda side, child: child.ask(SAMPLE_LIMIT, "sample", steps=2))
            steps |= {s: max(1, min(pace.most, round(pace.seconds / t["seconds"]))) for s, t in trial.items()}
        for k in range(pace.rounds):
            if k and time.monotonic() > self.deadline:
                break
            once = self._all(found, None, lambda side, child: child.ask(SAMPLE_LIMIT, "sample", steps=steps[side]))
            for side, t in once.items():
                times[side].append((t["seconds"], t["host"], steps[side]))
        return times

    def _all(
        self, found: dict[str, Trained], before: Callable[[str], None] | None, ask: Callable[[str, Child], Any]
    ) -> dict[str, Any]:
        """`before` for every side that is fine so far, then `ask` for each: what it gave. Who fails is marked so."""
        answers: dict[str, Any] = {}
        told = []
        for side in _fine(found):
            with self._marking(found, side):
                if before is not None:
                    before(side)
                told.append(side)
        for side in told:
            with self._marking(found, side):
                answers[side] = ask(side, self._children[side])
        return answers

    @contextmanager
    def _marking(self, found: dict[str, Trained], side: str) -> Iterator[None]:
        try:
            yield
        except Failed as error:
            found[side] = replace(found[side], status="failed", reason=str(error))

    def _child(self, side: str) -> Child:
        if side not in self._children or not self._children[side].alive:
            self._children[side] = Child(side)
        return self._children[side]

    def _limit(self, most: float) -> float:
        # Not all of the time that is left: those who are ready are still to be timed.
        return max(5.0, min(most, 0.6 * (self.deadline - time.monotonic())))


def first_step(row: Workload, side: str, deadline: float) -> Trained:
    """How long the first step takes in a new process with empty caches of compiled code, and in the next process."""
    blank, seconds = Trained(row.name, side, row.items, row.made.unit), []
    limit = max(5.0, min(LOAD_LIMIT, deadline - time.monotonic()))
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: str(Path(folder, name)) for name in CACHES}
        for _ in range(2):
            try:
                with Child(side, environment) as child:
                    seconds.append(child.ask(limit, "load", name=row.name)["first_step_s"])
            except Failed as error:
                return replace(blank, cold_trouble=str(error))
    return replace(blank, cold_step_s=seconds[0], warm_step_s=seconds[1])


def _fine(found: dict[str, Trained]) -> list[str]:
    return [side for side, result in found.items() if result.status == "ok"]


def _compare_losses(row: Workload, found: dict[str, Trained]) -> None:
    """Ours must lose as torch does, step by step, or their times do not count."""
    want = found["torch"].losses if "torch" in found else []
    for side in _fine(found):
        got = found[side].losses
        for k, (a, b) in enumerate(zip(got, want, strict=False)):
            allowed = AGREEMENT[row.dtype][k > 0] * max(abs(b), 1e-2)
            if side.startswith("ours") and not abs(a - b) <= allowed:
                reason = f"the loss of step {k + 1} is {a:.6g}, torch's {b:.6g}"
                found[side] = replace(found[side], status="failed", reason=reason)
                break


def _timing(seconds: Sequence[float], steps: int, host: float | None) -> Timing:
    ordered = sorted(seconds)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.9))
    return Timing(statistics.median(ordered), low, high, len(ordered), steps, host)
