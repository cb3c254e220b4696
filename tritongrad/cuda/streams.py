"""Streams, the queues of a GPU's launches, and events, marks in them that take the time.

Where there is no GPU a launch has finished when it returns: all streams are one, and events are times of the clock.
"""

from __future__ import annotations

import time
from typing import Any

from tritongrad.cuda.devices import device as using, is_available, number
from tritongrad_kernels import driver
from tritongrad_kernels.driver import Device


class Event:
    """A mark in a stream: `record()` sets it, `synchronize()` waits for what was launched before it, and
    `start.elapsed_time(end)` is the milliseconds from one to the other, if both have `enable_timing`."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        if interprocess:
            raise NotImplementedError("Event: events shared between processes are not offered")
        self._timing = enable_timing
        self._mark = driver.new_event(enable_timing, blocking) if is_available() else None
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Set the mark behind what has been launched in the stream, or in the one in use."""
        driver.settle()
        if self._mark is not None:
            self._mark.record((stream or current_stream())._queue)
        self._time = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        """Let what the stream launches from now on wait for the mark."""
        if self._mark is not None:
            self._mark.wait((stream or current_stream())._queue)

    def query(self) -> bool:
        """Whether all that was launched before the mark has finished."""
        return self._mark is None or self._mark.query()

    def synchronize(self) -> None:
        """Wait for all that was launched before the mark."""
        if self._mark is not None:
            self._mark.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to another."""
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is None or end_event._time is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if self._mark is not None:
            return self._mark.elapsed_time(end_event._mark)
        return (end_event._time - self._time) * 1e3

    def __repr__(self) -> str:
        return f"<torch.cuda.Event {'recorded' if self._time is not None else 'uninitialized'}>"


class Stream:
    """A queue of launches, which run in order; those of different streams may run at once.

    Memory of a tensor that another stream still uses must be kept alive by the program.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, _queue: Any = None) -> None:
        self._index = number(device) if is_available() else 0
        self._queue = _queue if _queue is not None or not is_available() else driver.new_stream(self._index, priority)
        self._priority = priority

    @property
    def device(self) -> Device:
        return Device("cuda", self._index)

    @property
    def device_index(self) -> int:
        return self._index

    @property
    def priority(self) -> int:
        return self._priority

    @property
    def cuda_stream(self) -> int:
        """The driver's handle; 0 where there is none."""
        return self._queue.cuda_stream if self._queue is not None else 0

    def wait_event(self, event: Event) -> None:
        """Let what is launched from now on wait for an event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Let what is launched from now on wait for all that another stream has been given."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Set an event, or a new one, behind what has been launched."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def query(self) -> bool:
        """Whether all that was launched has finished."""
        return self._queue is None or self._queue.query()

    def synchronize(self) -> None:
        """Wait for all that was launched."""
        if self._queue is not None:
            self._queue.synchronize()

    def __eq__(self, other: object) -> bool:
        mine = (self._index, self.cuda_stream)
        return isinstance(other, Stream) and mine == (other._index, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self._index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"

    def __enter__(self) -> Stream:
        self._inside = stream(self)
        self._inside.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._inside.__exit__(*exc)


def current_stream(device: Any = None) -> Stream:
    """The stream that launches go to."""
    return Stream(device, _queue=driver.current_stream(number(device)) if is_available() else None)


def default_stream(device: Any = None) -> Stream:
    """The stream that launches go to where no other is chosen."""
    return Stream(device, _queue=driver.current_stream(number(device), default=True) if is_available() else None)


def set_stream(stream: Stream | None) -> None:
    """Send launches to a stream; None changes nothing."""
    if stream is not None and stream._queue is not None:
        driver.use_stream(stream._queue)


class stream:
    """Launches go to a stream inside a block: `with torch.cuda.stream(s): ...`. None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._before: tuple[Stream, using] | None = None

    def __enter__(self) -> None:
        if self.stream is not None and self.stream._queue is not None:
            before, there = current_stream(self.stream.device), using(self.stream.device)
            there.__enter__()
            set_stream(self.stream)
            self._before = before, there

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            before, there = self._before
            set_stream(before)
            there.__exit__(*exc)


StreamContext = stream
