"""One recording: from when somebody begins to profile to when they end, and what it says of time."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tritongrad import gpus
from tritongrad.gpus import GPU
from tritongrad.plan import PlannedLaunch, planned
from tritongrad.profiler.attribution import Origin
from tritongrad.profiler.recorder import Recorder, Span, Started, Taken, Wishes, now
from tritongrad_kernels import driver

_lock = threading.RLock()
_current: Recorder | None = None


class Recording:
    """What was launched between the beginning and the end of one profile.

    gpu       whose ceilings launches are held against; None if the GPU at hand is none of `tritongrad.gpus`
    measured  whether the times of launches are the GPU's own. Else they are modelled: the least that `gpu` takes
    ran       whether the interpreter ran kernels
    live      bytes that were there at the beginning, by place
    peaks     the most bytes there at once, by place
    """

    def __init__(self, wishes: Wishes, gpu: GPU | None, metadata: Mapping[str, Any]) -> None:
        global _current
        self.wishes, self.gpu, self.metadata = wishes, gpu, metadata
        with _lock:
            driver.synchronize()
            if _current is None:
                _current = Recorder()
                _current.install()
            recorder = self._recorder = _current
            recorder.join(wishes)
            self._first = len(recorder.launches), len(recorder.spans), len(recorder.taken)
        self.started = self.ended = now()
        self.device = driver.gpu_name(driver.DEFAULT_DEVICE.index or 0) if _on_gpu() else ""

    def end(self, failed: bool) -> None:
        """Stop writing down. After a failure, what fails again is left as it is."""
        global _current
        recorder = self._recorder
        first, spans, taken = self._first
        with _lock:
            try:
                with contextlib.suppress(Exception) if failed else contextlib.nullcontext():
                    driver.synchronize()
                self.ended = now()
                self.launches: list[Started] = recorder.launches[first:]
                with contextlib.suppress(Exception) if failed else contextlib.nullcontext():
                    recorder.resolve(self.launches)
            finally:
                recorder.leave(self.wishes)
                if not recorder.wishes:
                    recorder.remove()
                    _current = None
        old = [s for s in recorder.spans[:spans] if not s.end or s.end > self.started]  # which began before
        self.spans: list[Span] = old + recorder.spans[spans:]
        log = recorder.taken[:]
        self.live: Counter[str] = Counter()
        for one in log[:taken] if self.wishes.memory else ():
            self.live[one.place] += one.nbytes
        self.taken: list[Taken] = log[taken:] if self.wishes.memory else []
        self.measured = any(one.device_ns is not None for one in self.launches)
        self.ran = any(one.ran for one in self.launches)

    # ------------------------------------------------------------------------------------------------------- time

    @functools.cached_property
    def plans(self) -> dict[int, PlannedLaunch]:
        """Each launch by its id, with the least time it takes on `gpu`."""
        gpu = self.gpu
        return {} if gpu is None else {id(one): _plan_of(one, gpu) for one in self.launches}

    def seconds(self, one: Started) -> float:
        """The time of a launch on the GPU; of one that was not timed among others that were, none."""
        if self.measured:
            return (one.device_ns or 0) / 1e9
        return self.floor(one)

    def floor(self, one: Started) -> float:
        plan = self.plans.get(id(one))
        return 0.0 if plan is None else plan.floor_ms / 1e3

    @functools.cached_property
    def busy(self) -> float | None:
        """The share of the time from the first launch's beginning on a GPU to the last one's end that is a launch's."""
        timed = [one for one in self.launches if one.device_ns]
        if not timed:
            return None
        end = max(one.device_start + (one.device_ns or 0) for one in timed)
        whole = end - min(one.device_start for one in timed)
        return sum(one.device_ns or 0 for one in timed) / whole if whole > 0 else None

    @property
    def untimed(self) -> int:
        """How many launches were not timed although others were: in a dry run, or while a graph was captured."""
        return sum(one.device_ns is None for one in self.launches) if self.measured else 0

    def clock(self) -> str:
        """What the times of launches are, in a sentence."""
        if self.measured:
            return f"Times of launches were measured on {self.device} by CUDA events around each."
        if self.gpu is None:
            return "Launches were not timed."
        return (
            f"Times of launches are MODELLED: the least that {_article(self.gpu.name)} takes for their arithmetic or "
            "their bytes, whichever is longer. Nothing here was measured on a GPU."
        )

    # ------------------------------------------------------------------------------------------------------ names

    @functools.cached_property
    def _roots(self) -> dict[tuple[str, int], str]:
        """What to put before the names of modules, where more than one module with parts was called from outside."""
        roots = dict.fromkeys(s.root for one in self.launches if (s := one.origin.scope) is not None and s.name)
        if len(roots) < 2:
            return dict.fromkeys(roots, "")
        kinds = Counter(kind for kind, _ in roots)
        seen: Counter[str] = Counter()
        prefixes = {}
        for kind, number in roots:
            seen[kind] += 1
            prefixes[kind, number] = f"{kind}{seen[kind] if kinds[kind] > 1 else ''}."
        return prefixes

    def module(self, origin: Origin) -> str:
        """The name of the module that asked for a launch: "layer1.0.conv1"; of the outermost one, its class."""
        if origin.scope is None:
            return ""
        root, name = origin.scope
        return self._roots.get(root, "") + name if name else self._roots.get(root, "").rstrip(".") or root[0]

    # ----------------------------------------------------------------------------------------------------- memory

    @functools.cached_property
    def timeline(self) -> dict[str, list[tuple[int, int]]]:
        """(nanoseconds since the beginning, bytes live) whenever that changes, by place."""
        lines: dict[str, list[tuple[int, int]]] = {}
        live = Counter(self.live)
        for place in {**self.live, **dict.fromkeys(one.place for one in self.taken)}:
            lines[place] = [(0, live[place])]
        for one in self.taken:
            live[one.place] += one.nbytes
            lines[one.place].append((max(one.moment - self.started, 0), live[one.place]))
        return lines

    @property
    def peaks(self) -> dict[str, int]:
        return {place: max(nbytes for _, nbytes in line) for place, line in self.timeline.items()}


def _plan_of(one: Started, gpu: GPU) -> PlannedLaunch:
    if not one.parts:
        return planned(one.told, gpu)
    floor = sum(planned(part, gpu).floor_ms for part in one.parts)
    return PlannedLaunch(one.told.kernel, "graph", (), one.told.flops, one.told.bytes, floor)


def begin_label(name: str, arguments: str = "") -> tuple[Recorder, Span] | None:
    """A label begins, if anybody profiles."""
    recorder = _current
    return None if recorder is None else (recorder, recorder.begin_label(name, arguments))


def card(wanted: GPU | str | None, default: str) -> GPU | None:
    """The GPU that is asked for; else the one at hand, if its ceilings are known; without any, the default."""
    if isinstance(wanted, GPU):
        return wanted
    if wanted is not None:
        return gpus.of_arch(wanted) if wanted.startswith("sm_") else gpus.named(wanted)
    if not _on_gpu():
        return gpus.named(default)
    name = driver.gpu_name(driver.DEFAULT_DEVICE.index or 0)
    return next((gpu for known, gpu in gpus.GPUS.items() if re.search(rf"\b{known}\b", name)), None)


def _on_gpu() -> bool:
    return driver.DEFAULT_DEVICE.type == "cuda"


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "AH" else f"a {name}"
