"""Events and averages as lists that print as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

from tritongrad.plan import Table
from tritongrad.profiler.events import KEYS, Average, Event, together
from tritongrad.profiler.recording import Recording
from tritongrad.profiler.trace import write_trace

SORTS = (
    "cpu_time", "cuda_time", "device_time", "cpu_time_total", "cuda_time_total", "device_time_total",
    "self_cpu_time_total", "self_cuda_time_total", "self_device_time_total", "cpu_memory_usage", "cuda_memory_usage",
    "device_memory_usage", "self_cpu_memory_usage", "self_cuda_memory_usage", "self_device_memory_usage", "count",
    "flops", "bytes", "roofline", "floor_us", "allocated", "op", "kernel", "module", "phase", "start_us",
)  # fmt: skip
"""What tables can be sorted by: torch's names, and figures of ours; words from a to z, numbers from large to small."""


class EventList(list):
    """Events, or averages of them, in the order of their first launch, and the recording they are of."""

    def __init__(self, items: Iterable[Any], recording: Recording, by: Sequence[str] = ()) -> None:
        super().__init__(items)
        self.recording, self.by = recording, tuple(by)

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of the host."""
        return sum(one.self_host_us for one in self)

    @property
    def self_device_time_total(self) -> float:
        """Microseconds of all launches."""
        return sum(one.self_device_us for one in self)

    self_cuda_time_total = self_device_time_total

    def key_averages(
        self,
        group_by_input_shapes: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
        *,
        by: str | Sequence[str] = ("op", "kernel"),
    ) -> EventList:
        """Events taken together; see `profile.key_averages`."""
        names = (by,) if isinstance(by, str) else tuple(by)
        for name in names:
            if name not in KEYS:
                raise ValueError(f"key_averages: launches can be grouped by {', '.join(KEYS)}, not by {name!r}")
        return EventList(
            together(self, names, group_by_input_shapes, group_by_stack_n > 0),
            self.recording,
            (*names, *(("input_shapes",) if group_by_input_shapes else ()), *(("stack",) if group_by_stack_n else ())),
        )

    def total_average(self) -> Average:
        """All launches as one."""
        whole = together([one for one in self if not one.is_user_annotation], (), False, False)
        return whole[0] if whole else Average()

    def export_chrome_trace(self, path: str | PathLike[str]) -> None:
        """See `profile.export_chrome_trace`."""
        write_trace(path, self.recording)

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """A row for each, the longest on the GPU first unless sorted by one of `SORTS`.

        At most `row_limit` rows, -1 for all. `top_level_events_only` leaves out labels. `time_unit` is "us", "ms" or
        "s", else what fits.
        """
        if sort_by is not None and sort_by not in SORTS:
            raise ValueError(f"table: {sort_by!r} is not one of {', '.join(SORTS)}")
        if time_unit not in (None, "us", "ms", "s"):
            raise ValueError(f"table: time_unit must be us, ms or s, got {time_unit!r}")
        rows = [one for one in self if not (top_level_events_only and one.is_user_annotation)]
        chosen = "device_us" if sort_by is None else sort_by
        if chosen in ("op", "kernel", "module", "phase", "start_us"):
            rows.sort(key=lambda one: getattr(one, chosen, 0))
        else:
            rows.sort(key=lambda one: -(getattr(one, chosen) or 0))
        shown = rows if row_limit < 0 else rows[:row_limit]
        widths = {"stack": max_src_column_width, "input_shapes": max_shapes_column_width}
        columns = [_words(name, widths.get(name, max_name_column_width), shown) for name in self._names(shown)]
        left = len(columns)
        columns += _numbers(shown, self, time_unit)
        drawn = str(Table(tuple(c[0] for c in columns), list(zip(*(c[1] for c in columns), strict=True)), left))
        cut = [f"({len(rows) - len(shown)} more rows)"] if len(shown) < len(rows) else []
        heads = [header] if header else []
        return "\n".join([*heads, *_above(self.recording), "", _ruled(drawn), *cut, "", *_below(self, rows)]) + "\n"

    def _names(self, rows: list[Any]) -> Sequence[str]:
        if self.by:
            return self.by
        return ("op", "module", "kernel", "grid", *(n for n in ("input_shapes", "stack") if any(map(_has(n), rows))))

    def __str__(self) -> str:
        return self.table()


def _has(name: str) -> Any:
    return lambda one: bool(getattr(one, name))


def _words(name: str, width: int, rows: Sequence[Event | Average]) -> tuple[str, list[str]]:
    def cell(one: Any) -> str:
        value = getattr(one, name)
        if one.is_user_annotation:
            value = one.key if name == "op" else "(label)" if name == "kernel" else ""
        elif name == "module" and not value:
            value = "(none)"
        text = "x".join(map(str, value)) if name == "grid" else " ".join(map(str, value)) if name in _LISTS else value
        if len(text) <= width:
            return text
        return f"...{text[3 - width :]}" if name == "stack" else f"{text[: width - 3]}..."

    return name.replace("_", " "), [cell(one) for one in rows]


_LISTS = ("input_shapes", "stack")
_TIMES = (("ns", 1e-3), ("us", 1.0), ("ms", 1e3), ("s", 1e6))
_BYTES = (("B", 1.0), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9))
_FLOPS = (("FLOP", 1.0), ("KFLOP", 1e3), ("MFLOP", 1e6), ("GFLOP", 1e9), ("TFLOP", 1e12))


def _unit(largest: float, units: Sequence[tuple[str, float]]) -> tuple[str, float, int]:
    """The largest unit of which there are ten, its size, and how many digits to show behind the point."""
    unit, size = next((u for u in reversed(units) if largest >= 10 * u[1]), units[0])
    counted = size == 1 and unit in ("B", "FLOP")
    return unit, size, 0 if counted else 3 if largest < 100 * size else 1


def _column(name: str, values: Sequence[float], units: Sequence[tuple[str, float]]) -> tuple[str, list[str]]:
    unit, size, digits = _unit(max(values, default=0), units)
    return f"{name} {unit}".strip(), [f"{value / size:,.{digits}f}" for value in values]


def _said(value: float, units: Sequence[tuple[str, float]]) -> str:
    unit, size, digits = _unit(value, units)
    return f"{value / size:,.{digits}f} {unit}"


def _numbers(rows: Sequence[Any], events: EventList, unit: str | None) -> list[tuple[str, list[str]]]:
    """The columns of figures; those that would say nothing are left out."""
    recording = events.recording
    times = [one for one in _TIMES if unit in (None, one[0])]
    whole = sum(one.self_device_us for one in events) or 1.0
    clock = "GPU" if recording.measured else f"{recording.gpu.name if recording.gpu else ''} modelled"
    single = all(one.count == 1 for one in rows)
    columns = [] if single else [("calls", [f"{one.count:,}" for one in rows])]
    columns.append(_column(clock, [one.device_us for one in rows], times))
    columns.append(("%", [f"{100 * one.device_us / whole:.1f}" for one in rows]))
    if not single:
        columns.append(_column("avg", [one.device_us / (one.count or 1) for one in rows], times))
    if recording.measured and recording.gpu is not None:
        columns.append(("roofline %", ["" if one.roofline is None else f"{100 * one.roofline:.0f}" for one in rows]))
    if recording.gpu is not None:
        columns.append(("bound by", [one.bound for one in rows]))
    columns.append(_column("moved", [one.bytes for one in rows], _BYTES))
    columns.append(_column("", [one.flops for one in rows], _FLOPS))
    if recording.wishes.memory:
        columns.append(_column("allocated", [one.allocated for one in rows], _BYTES))
    columns.append(_column("host", [one.host_us for one in rows], times))
    if recording.ran:
        columns.append(_column("interpreter", [one.ran_us for one in rows], times))
    return columns


def _ruled(drawn: str) -> str:
    head, *rest = drawn.split("\n")
    return "\n".join([head, "-" * max(map(len, (head, *rest))), *rest])


def _above(recording: Recording) -> list[str]:
    lines = [recording.clock()]
    if recording.gpu is not None:
        gpu = recording.gpu
        lines.append(
            f"Ceilings of {gpu.name}: {gpu.tensor / 1e12:.0f} TFLOP/s in 16-bit products, {gpu.single / 1e12:.0f} in "
            f"float32, {gpu.bandwidth / 1e12:.2f} TB/s."
        )
    if recording.ran:
        lines.append("Kernels ran in the interpreter on the CPU, which says nothing about a GPU.")
    elif recording.launches and not recording.measured:
        lines.append("A dry run: no kernel ran.")
    if recording.untimed:
        lines.append(f"{recording.untimed} launches were not timed: in a dry run, or while a graph was captured.")
    return lines


def _below(events: EventList, rows: list[Any]) -> list[str]:
    recording = events.recording
    launches = [one for one in rows if not one.is_user_annotation]
    device, floor = sum(one.self_device_us for one in launches), sum(one.floor_us for one in launches)
    said = "on the GPU" if recording.measured else "modelled"
    line = f"{sum(one.count for one in launches):,} launches, {_said(device, _TIMES)} {said}"
    if recording.measured and floor and device:
        line += f", {floor / device:.0%} of the roofline"
    line += f"; the host took {_said((recording.ended - recording.started) / 1e3, _TIMES)}"
    if recording.ran:
        line += f", of which the interpreter {_said(sum(one.ran_us for one in launches), _TIMES)}"
    if recording.busy is not None:
        line += f"; launches fill {recording.busy:.0%} of the GPU's time between the first and the last"
    return [line, *(f"peak memory on {place}: {_said(peak, _BYTES)}" for place, peak in recording.peaks.items())]
