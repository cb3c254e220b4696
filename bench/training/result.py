"""What is kept of a training row: one record a side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.clock import Timing


@dataclass(frozen=True)
class Trained:
    """One side of one row of `workloads`. `status` is "ok" or "failed", and `reason` says why it failed.

    name, side        the row and who trained it
    items, unit       images or tokens a step takes
    step              seconds a step
    per_second        items a second; None from the interpreter, whose times say nothing about a GPU
    peak_bytes        the most memory that tensors held at once, `reserved_bytes` that was taken from the driver
    launches          kernels a step starts; None where nobody counted
    first_step_s      from the model being there to the first loss, with whatever caches there were
    cold_step_s       the same in a new process with empty caches, `warm_step_s` in the next one;
                      `cold_trouble` is why neither is known
    losses            of the first steps, all sides beginning alike
    """

    name: str
    side: str
    items: int
    unit: str
    status: str = "ok"
    reason: str | None = None
    step: Timing | None = None
    per_second: float | None = None
    peak_bytes: int | None = None
    reserved_bytes: int | None = None
    launches: int | None = None
    first_step_s: float | None = None
    cold_step_s: float | None = None
    warm_step_s: float | None = None
    cold_trouble: str | None = None
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Curve:
    """Losses of a row's side, step by step, from the weights and on the batches that its other sides had."""

    name: str
    side: str
    losses: list[float]


def trained(found: dict[str, Any]) -> Trained:
    """A record as JSON has it."""
    step = None if found["step"] is None else Timing(**found["step"])
    return Trained(**{**found, "step": step})
