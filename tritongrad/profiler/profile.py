"""`profile`: what a user holds."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from os import PathLike
from typing import Any

from tritongrad.gpus import GPU
from tritongrad.plan import DEFAULT_GPU
from tritongrad.profiler.events import event_of, label_events
from tritongrad.profiler.labels import record_function
from tritongrad.profiler.recorder import Wishes
from tritongrad.profiler.recording import Recording, card
from tritongrad.profiler.schedule import ProfilerAction, ProfilerActivity
from tritongrad.profiler.table import EventList
from tritongrad.profiler.trace import write_json, write_trace
from tritongrad_kernels import launch, memory

_RECORDS = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


class profile:
    """Records what is launched between `start()` and `stop()`, or inside a `with` block.

    activities       with CUDA among them, or none given, launches on a GPU are timed
    schedule         from the number of a step to a ProfilerAction, as `schedule(...)` makes; `step()` counts
    on_trace_ready   called with the profile when a recording is done; `tensorboard_trace_handler` makes one
    record_shapes    keep the shapes of each operation's tensors
    profile_memory   keep a timeline of the bytes in use
    with_stack       keep the line of the program that asked for each launch
    acc_events       keep the events of earlier cycles of a schedule
    gpu              whose ceilings launches are held against, by name, architecture or as a `gpus.GPU`. By default that
                     at hand; without one, H200, and times are modelled
    dry_run          allocate nothing and start no kernel inside the block, with the tiles of `gpu`

    Flops and modules are always kept, whatever `with_flops` and `with_modules` say.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = True,
        with_stack: bool = False,
        with_flops: bool = True,
        with_modules: bool = True,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Any = None,
        gpu: GPU | str | None = None,
        dry_run: bool = False,
    ) -> None:
        _refuse(
            experimental_config=experimental_config, execution_trace_observer=execution_trace_observer,
            custom_trace_id_callback=custom_trace_id_callback,
        )  # fmt: skip
        chosen = set(ProfilerActivity if activities is None else activities)
        if not chosen or not all(isinstance(one, ProfilerActivity) for one in chosen):
            raise ValueError("profile: activities must be some of ProfilerActivity.CPU and ProfilerActivity.CUDA")
        timed = bool(use_cuda) if use_cuda is not None else ProfilerActivity.CUDA in chosen
        self._wishes = dict(shapes=record_shapes, source=with_stack, memory=profile_memory, device=timed)
        self._schedule, self.on_trace_ready = schedule, on_trace_ready
        self._accumulates, self._dry, self._gpu = acc_events, dry_run, card(gpu, DEFAULT_GPU)
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self._running = False
        self._now: Recording | None = None
        self._done: list[Recording] = []
        self._label: record_function | None = None
        self._setting = ExitStack()
        self._metadata: dict[str, Any] = {}

    # --------------------------------------------------------------------------------------------------- running

    def start(self) -> None:
        """Begin. RuntimeError if it has begun already."""
        if self._running:
            raise RuntimeError("profile: it is running already; stop() ends it")
        self._running = True
        try:
            if self._dry:
                self._setting.enter_context(memory.dry_run())
                if self._gpu is not None:
                    self._setting.enter_context(launch.column(self._gpu.arch))
            self._enter(self._action())
        except BaseException:
            self._running = False
            self._setting.close()
            raise

    def stop(self) -> None:
        """End, and hand what was recorded to `on_trace_ready`. Nothing happens if it is not running."""
        self._stop(False)

    def _stop(self, failed: bool) -> None:
        if not self._running:
            return
        self._running = False
        try:
            recorded = self._end(failed)
        finally:
            self._setting.close()
            self.current_action = ProfilerAction.NONE
        if recorded and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """The next step begins."""
        if not self._running:
            raise RuntimeError("profile: step() is for a profile that is running")
        before = self.current_action
        self._close_label()
        self.step_num += 1
        action = self._action()
        if before is ProfilerAction.RECORD_AND_SAVE or (before in _RECORDS and action not in _RECORDS):
            self._end(False)
            if before is ProfilerAction.RECORD_AND_SAVE and self.on_trace_ready is not None:
                self.on_trace_ready(self)
        self._enter(action)

    def _action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self._schedule is None else self._schedule(self.step_num)

    def _enter(self, action: ProfilerAction) -> None:
        self.current_action = action
        if action not in _RECORDS:
            return
        if self._now is None:
            self._now = Recording(Wishes(**self._wishes), self._gpu, self._metadata)
        if self._schedule is not None:
            self._label = record_function(f"ProfilerStep#{self.step_num}").__enter__()

    def _close_label(self) -> None:
        label, self._label = self._label, None
        if label is not None:
            label.__exit__()

    def _end(self, failed: bool) -> bool:
        """The recording is done; whether there was one."""
        self._close_label()
        recording, self._now = self._now, None
        if recording is None:
            return False
        recording.end(failed)
        self._done = [*(self._done if self._accumulates else ()), recording]
        return True

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, kind: Any, *exc: object) -> None:
        self._stop(kind is not None)

    # --------------------------------------------------------------------------------------------------- results

    def _last(self, asking: str) -> Recording:
        if not self._done:
            raise RuntimeError(f"{asking}: nothing has been recorded yet; a recording is there once it has ended")
        return self._done[-1]

    def events(self) -> EventList:
        """Each launch in order, and each stretch under a label: `Event`s."""
        last = self._last("events")
        found = [event_of(one, r) for r in self._done for one in r.launches]
        return EventList([*found, *(one for r in self._done for one in label_events(r))], last)

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
        *,
        by: str | Sequence[str] = ("op", "kernel"),
    ) -> EventList:
        """Launches taken together `by` one or more of "op", "kernel", "module", "phase", "family" and "grid".

        With `group_by_input_shape` also by shapes, which `record_shapes` keeps; with `group_by_stack_n`, whatever its
        number, by the line that asked for them, which `with_stack` keeps. Labels are rows of their own.
        """
        return self.events().key_averages(group_by_input_shape, group_by_stack_n, by=by)

    def export_chrome_trace(self, path: str | PathLike[str]) -> None:
        """Write the last recording as a Chrome trace (ui.perfetto.dev opens it), gzipped if `path` ends in ".gz"."""
        write_trace(path, self._last("export_chrome_trace"))

    @property
    def memory_timeline(self) -> dict[str, list[tuple[float, int]]]:
        """(microseconds since the beginning, bytes in use) whenever that changes, by device; "cpu, dry run" for one."""
        lines = self._last("memory_timeline").timeline
        return {place: [(moment / 1e3, nbytes) for moment, nbytes in line] for place, line in lines.items()}

    @property
    def peak_memory(self) -> dict[str, int]:
        """The most bytes in use at once, by device."""
        return self._last("peak_memory").peaks

    def export_memory_timeline(self, path: str | PathLike[str], device: str | None = None) -> None:
        """Write `memory_timeline`, of all devices or of one, as JSON {device: [[microseconds, bytes], ...]}.

        Gzipped if `path` ends in ".gz". ValueError for a picture, which a Chrome trace shows as well.
        """
        if not str(path).endswith((".json", ".json.gz")):
            raise ValueError(f"export_memory_timeline: only .json and .json.gz are written, not {os.fspath(path)!r}")
        lines = self.memory_timeline
        if device is not None and device not in lines:
            raise ValueError(f"export_memory_timeline: no memory was used on {device!r}; known are {', '.join(lines)}")
        write_json(path, lines if device is None else {device: lines[device]})

    def export_stacks(self, path: str | PathLike[str], metric: str = "self_cuda_time_total") -> None:
        """Refused: whole stacks are not kept."""
        raise RuntimeError("export_stacks: whole stacks are not kept; with_stack=True keeps the line of each launch")

    def add_metadata(self, key: str, value: str) -> None:
        """A string to be put into traces."""
        self._metadata[key] = str(value)

    def add_metadata_json(self, key: str, value: str) -> None:
        """A value, written in JSON, to be put into traces."""
        self._metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"profile: {name} is not offered, for nothing here is traced by Kineto")


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For `on_trace_ready`: writes each recording into `dir_name` as WORKER.NANOSECONDS.pt.trace.json, or .json.gz."""
    worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"

    def write(done: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        name = f"{worker}.{time.time_ns()}.pt.trace.json{'.gz' if use_gzip else ''}"
        done.export_chrome_trace(os.path.join(dir_name, name))

    return write
