"""Launches and labels as users see them, one by one and taken together, under torch's names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tritongrad.profiler.recorder import Span, Started
from tritongrad.profiler.recording import Recording

KEYS = ("op", "kernel", "module", "phase", "family", "grid")
"""What launches can be taken together by."""


@dataclass
class _Figures:
    """Sums over launches. Microseconds, and bytes.

    device_us  on the GPU, measured or modelled: `Recording.clock` says which
    floor_us   the least that the GPU takes
    host_us    of the host, from what the thread did before to the end of the launch, without the interpreter's run
    ran_us     that the interpreter ran
    """

    op: str = ""
    kernel: str = ""
    module: str = ""
    phase: str = ""
    family: str = ""
    grid: tuple[int, ...] = ()
    count: int = 0
    device_us: float = 0.0
    floor_us: float = 0.0
    host_us: float = 0.0
    ran_us: float = 0.0
    flops: int = 0
    bytes: int = 0
    allocated: int = 0
    self_device_us: float = 0.0
    self_host_us: float = 0.0
    bound: str = ""
    input_shapes: list[list[int]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    is_user_annotation: bool = False

    @property
    def key(self) -> str:
        return self.op

    name = key

    @property
    def roofline(self) -> float | None:
        """The share of what the GPU could do: the least time over the measured one. None where it is not known."""
        return self.floor_us / self.device_us if self.device_us and self.floor_us else None

    cpu_time_total = property(lambda self: self.host_us)
    self_cpu_time_total = property(lambda self: self.self_host_us)
    device_time_total = cuda_time_total = property(lambda self: self.device_us)
    self_device_time_total = self_cuda_time_total = property(lambda self: self.self_device_us)
    cpu_time = property(lambda self: self.host_us / (self.count or 1))
    device_time = cuda_time = property(lambda self: self.device_us / (self.count or 1))
    cpu_memory_usage = self_cpu_memory_usage = device_memory_usage = property(lambda self: self.allocated)
    self_device_memory_usage = cuda_memory_usage = self_cuda_memory_usage = cpu_memory_usage


@dataclass
class Event(_Figures):
    """One launch, or one stretch under a label.

    start_us  since the beginning of the profile, on the host
    put_off   whether the launch ran later than it was asked for, by whoever read its result
    """

    start_us: float = 0.0
    thread: int = 0
    put_off: bool = False


@dataclass
class Average(_Figures):
    """Launches, or stretches under a label, taken together."""

    label: str = ""

    @property
    def key(self) -> str:
        return self.label or self.op

    name = key


def event_of(one: Started, recording: Recording) -> Event:
    """A launch as an event."""
    plan, told = recording.plans.get(id(one)), one.told
    device, host = recording.seconds(one) * 1e6, max(one.end - one.before - one.ran, 0) / 1e3
    return Event(
        op=one.origin.op or told.kernel, kernel=kernel_name(one), module=recording.module(one.origin),
        phase=one.origin.phase, family=plan.family if plan else "", grid=told.grid, count=1,
        device_us=device, floor_us=recording.floor(one) * 1e6, host_us=host, ran_us=one.ran / 1e3,
        flops=told.flops, bytes=told.bytes, allocated=one.allocated, self_device_us=device, self_host_us=host,
        bound=_bound(one, recording), input_shapes=[list(shape) for shape in one.origin.shapes],
        stack=[one.origin.source] if one.origin.source else [],
        start_us=(one.start - recording.started) / 1e3, thread=one.thread, put_off=one.put_off,
    )  # fmt: skip


def kernel_name(one: Started) -> str:
    """The kernel, with the formula it was given, if any: `_map1[_relu]`."""
    told = one.told
    for value in (*told.arguments, *told.options.values()):
        function = getattr(value, "fn", None)
        if function is not None:
            return f"{told.kernel}[{getattr(function, '__name__', '')}]"
    return told.kernel


def _bound(one: Started, recording: Recording) -> str:
    """Which of a GPU's ceilings is nearer: "memory" or "compute"; "" for a launch that does nothing that counts."""
    if recording.gpu is None or not recording.floor(one) or one.parts:
        return ""
    moving = one.told.bytes / recording.gpu.bandwidth
    return "memory" if moving >= recording.floor(one) * (1 - 1e-9) else "compute"


def label_events(recording: Recording) -> list[Event]:
    """What ran under each label."""
    inside: dict[int, list[Started]] = {}
    for one in recording.launches:
        for label in one.labels:
            inside.setdefault(id(label), []).append(one)
    return [_label_event(s, inside.get(id(s), []), recording) for s in recording.spans if s.kind == "label"]


def _label_event(span: Span, inside: list[Started], recording: Recording) -> Event:
    start, end = max(span.start, recording.started), span.end or recording.ended
    ran = sum(one.ran for one in inside)
    host = max(end - start - ran, 0) / 1e3
    own = host - sum(max(one.end - one.before - one.ran, 0) for one in inside) / 1e3
    return Event(
        op=span.name, kernel="", count=1, device_us=sum(map(recording.seconds, inside)) * 1e6,
        floor_us=sum(map(recording.floor, inside)) * 1e6, host_us=host, ran_us=ran / 1e3,
        flops=sum(one.told.flops for one in inside), bytes=sum(one.told.bytes for one in inside),
        allocated=sum(one.allocated for one in inside), self_host_us=max(own, 0.0),
        start_us=(start - recording.started) / 1e3, thread=span.thread, is_user_annotation=True,
    )  # fmt: skip


def together(events: Iterable[Event], by: Sequence[str], shapes: bool, stack: bool) -> list[Average]:
    """Launches that agree in all of `by` (and in shapes, and in the line that asked for them), and labels by name where
    operations are told apart."""
    groups: dict[tuple, list[Event]] = {}
    for one in events:
        if one.is_user_annotation and "op" not in by:
            continue
        if one.is_user_annotation:
            step = one.op.startswith("ProfilerStep#")
            key: tuple = ("label", "ProfilerStep*" if step else one.op)
        else:
            key = tuple(getattr(one, name) for name in by)
            key += (str(one.input_shapes) if shapes else "", str(one.stack) if stack else "")
        groups.setdefault(key, []).append(one)
    return [_average(key, group, by, shapes, stack) for key, group in groups.items()]


def _average(key: tuple, group: list[Event], by: Sequence[str], shapes: bool, stack: bool) -> Average:
    first = group[0]
    named = {name: getattr(first, name) for name in by} if not first.is_user_annotation else {"op": key[1]}
    bounds = {one.bound for one in group} - {""}
    sums: dict[str, Any] = {
        name: sum(getattr(one, name) for one in group)
        for name in ("count", "device_us", "floor_us", "host_us", "ran_us", "flops", "bytes", "allocated",
                     "self_device_us", "self_host_us")
    }  # fmt: skip
    label = "" if "op" in named else next((str(v) for v in named.values() if v), "(none)")
    return Average(
        **named, **sums, bound="/".join(sorted(bounds)), label=label,
        input_shapes=first.input_shapes if shapes else [], stack=first.stack if stack else [],
        is_user_annotation=first.is_user_annotation,
    )  # fmt: skip
