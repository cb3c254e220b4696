"""Which steps of a long run are recorded."""

from __future__ import annotations

import enum
from collections.abc import Callable


class ProfilerActivity(enum.Enum):
    """What is looked at. The host always is; without CUDA, launches on a GPU are not timed."""

    CPU = enum.auto()
    CUDA = enum.auto()
    XPU = enum.auto()
    MTIA = enum.auto()
    HPU = enum.auto()
    PrivateUse1 = enum.auto()


class ProfilerAction(enum.Enum):
    """What a profile does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """Those that a profile can look at here."""
    return {ProfilerActivity.CPU, ProfilerActivity.CUDA}


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """After `skip_first` steps, again and again: `wait` steps of nothing, `warmup` steps, `active` recorded ones.

    `repeat` is how often, 0 for without end. The first `wait` is left out with `skip_first_wait`. There is nothing here
    that has to warm up, so those steps are waited for too.
    """
    numbers = {
        "wait": wait, "warmup": warmup, "active": active, "repeat": repeat, "skip_first": skip_first,
        "skip_first_wait": skip_first_wait,
    }  # fmt: skip
    for name, number in numbers.items():
        if number < (name == "active"):
            raise ValueError(f"schedule: {name} must be at least {int(name == 'active')}, got {number}")

    def action(step: int) -> ProfilerAction:
        """What to do in a step, counted from 0."""
        if step < 0:
            raise ValueError(f"schedule: steps are counted from 0, got {step}")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        cycle = wait + warmup + active
        if repeat and step // cycle >= repeat:
            return ProfilerAction.NONE
        place = step % cycle
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if place < cycle - 1 else ProfilerAction.RECORD_AND_SAVE

    return action
