"""A recording as a Chrome trace, which Perfetto and chrome://tracing show.

The format is the Trace Event Format: a complete event ("X") for each stretch, a counter ("C") for memory, metadata
("M") for names; times in microseconds. Process 0 is the host, with a track for each thread; process 1 + n is GPU n,
with a track for each stream. Modelled launches lie end to end on the track of a GPU that is not there, from the start.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from os import PathLike
from typing import Any

from tritongrad.profiler.events import kernel_name
from tritongrad.profiler.recorder import Started
from tritongrad.profiler.recording import Recording
from tritongrad.tensor_file import write_atomically

_CATEGORIES = {"module": "module", "node": "backward", "label": "user_annotation"}


def write_trace(path: str | PathLike[str], recording: Recording) -> None:
    """Make `path` a Chrome trace, gzipped if it ends in ".gz"; at every moment it is what it was before, or whole."""
    write_json(path, trace_of(recording))


def write_json(path: str | PathLike[str], content: Any) -> None:
    raw = json.dumps(content).encode()
    write_atomically(path, [gzip.compress(raw, mtime=0) if str(path).endswith(".gz") else raw])


def trace_of(recording: Recording) -> dict[str, Any]:
    """The trace as JSON's values. What it says of time is in "otherData"."""
    said: dict[str, Any] = {"time": recording.clock(), "modelled": not recording.measured}
    if recording.gpu is not None:
        said |= {"roofline": recording.gpu.name, "roofline_source": recording.gpu.source}
    said["host"] = "launches ran in the interpreter" if recording.ran else "launches as the host saw them"
    events = [*_names(recording), *_host(recording), *_device(recording), *_memory(recording)]
    return {
        "schemaVersion": 1,
        "displayTimeUnit": "ms",
        "otherData": said,
        **recording.metadata,
        "traceEvents": events,
    }


def _names(recording: Recording) -> Iterator[dict[str, Any]]:
    threads = dict.fromkeys([s.thread for s in recording.spans] + [one.thread for one in recording.launches])
    yield _meta("process_name", 0, 0, name=f"host (python {os.getpid()})")
    for thread in threads:
        yield _meta("thread_name", 0, thread, name=f"thread {thread}")
    if recording.measured:
        timed = [one for one in recording.launches if one.device_ns is not None]
        for device in sorted({one.device for one in timed}):
            yield _meta("process_name", 1 + device, 0, name=f"GPU {device}, measured with CUDA events")
        for device, stream in sorted({(one.device, one.stream) for one in timed}):
            yield _meta("thread_name", 1 + device, stream, name=f"stream {stream}")
    elif recording.gpu is not None:
        yield _meta("process_name", 1, 0, name=f"{recording.gpu.name}, MODELLED: least times, end to end")
        yield _meta("thread_name", 1, 0, name="modelled launches")


def _meta(kind: str, process: int, thread: int, **arguments: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "ts": 0, "args": arguments}


def _complete(
    name: str, category: str, process: int, thread: int, start: float, length: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X", "name": name, "cat": category, "pid": process, "tid": thread, "ts": round(start / 1e3, 3),
        "dur": round(max(length, 0) / 1e3, 3), "args": arguments,
    }  # fmt: skip


def _host(recording: Recording) -> Iterator[dict[str, Any]]:
    zero = recording.started
    for span in recording.spans:
        start, end = max(span.start, zero), min(span.end or recording.ended, recording.ended)
        arguments = {"arguments": span.arguments} if span.arguments else {}
        yield _complete(span.name, _CATEGORIES[span.kind], 0, span.thread, start - zero, end - start, arguments)
    for one in recording.launches:
        name = f"{one.origin.op or one.told.kernel}: {kernel_name(one)}"
        yield _complete(name, "launch", 0, one.thread, one.start - zero, one.end - one.start, _told(one, recording))


def _device(recording: Recording) -> Iterator[dict[str, Any]]:
    modelled = 0.0
    for one in recording.launches:
        arguments = _told(one, recording)
        if recording.measured:
            if one.device_ns is not None:
                start = max(one.device_start - recording.started, 0)
                yield _complete(kernel_name(one), "kernel", 1 + one.device, one.stream, start, one.device_ns, arguments)
        elif recording.gpu is not None:
            length = recording.seconds(one) * 1e9
            yield _complete(kernel_name(one), "kernel, modelled", 1, 0, modelled, length, arguments)
            modelled += length


def _told(one: Started, recording: Recording) -> dict[str, Any]:
    told, origin = one.told, one.origin
    said: dict[str, Any] = {
        "op": origin.op, "module": recording.module(origin), "phase": origin.phase, "grid": list(told.grid),
        "flops": told.flops, "bytes": told.bytes, "put off": one.put_off,
    }  # fmt: skip
    if recording.gpu is not None:
        said[f"least us on {recording.gpu.name}"] = round(recording.floor(one) * 1e6, 3)
    if one.ran:
        said["interpreter us"] = round(one.ran / 1e3, 3)
    if origin.shapes:
        said["input shapes"] = [list(shape) for shape in origin.shapes]
    if origin.source:
        said["source"] = origin.source
    return said


def _memory(recording: Recording) -> Iterator[dict[str, Any]]:
    for place, line in recording.timeline.items():
        for moment, nbytes in line:
            yield {
                "ph": "C", "name": f"memory on {place}", "pid": 0, "tid": 0, "ts": round(moment / 1e3, 3),
                "args": {"bytes": nbytes},
            }  # fmt: skip
