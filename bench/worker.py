"""Rows run in a child process, so that a crash, a hang or a kernel that breaks the GPU costs one row, not the run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType

from bench.harness import Harness, failed, healthy
from bench.results import Result
from bench.row import Row

START_LIMIT = 120.0  # seconds for imports, the driver and the ceilings
ROW_LIMIT = 180.0  # seconds, compilation included


class WorkerDied(Exception):
    """The child process cannot be had: it does not even start."""


class Worker:
    """`with Worker() as worker: worker.run(row)`. Starts a new child whenever the last one did not survive its row.

    `beside` names the peers (`bench.peers`). Without `timed` rows are checked only.
    """

    def __init__(self, beside: Sequence[str] = ("eager",), timed: bool = True) -> None:
        self._beside, self._timed = tuple(beside), timed
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self.ceilings: dict[str, float] | None = None

    def __enter__(self) -> Worker:
        self._start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._child is not None:
            self._stop()

    def run(self, row: Row, limit: float | None = None) -> Result:
        """The row's result, failed if the child does not live to give it within `limit` seconds."""
        limit = limit or ROW_LIMIT
        pipe = self._pipe or self._start()
        try:
            pipe.send(row)
            if not pipe.poll(limit):
                self._stop(patience=0.0)
                return failed(row, f"no answer within {limit:.3g} s")
            result, usable = pipe.recv()
        except (EOFError, OSError):
            return failed(row, f"the process ended with {self._stop()}")
        if not usable:
            self._stop()
        return result

    def _start(self) -> Connection:
        # Never fork: a forked process cannot use a GPU its parent has used.
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._child = context.Process(target=_serve, args=(other, self._beside, self._timed), daemon=True)
        self._child.start()
        other.close()
        try:
            if not self._pipe.poll(START_LIMIT):
                raise WorkerDied(
                    f"no sign of life within {START_LIMIT:.0f} s; the child process ended with {self._stop()}"
                )
            self.ceilings = self._pipe.recv()
        except EOFError:
            raise WorkerDied(f"the child process ended with {self._stop()}") from None
        return self._pipe

    def _stop(self, patience: float = 5.0) -> str:
        """End the child, by force if it does not go within `patience` seconds; how it ended."""
        assert self._child is not None and self._pipe is not None
        self._pipe.close()
        self._child.join(patience)
        if self._child.is_alive():
            self._child.kill()
            self._child.join()
        code = self._child.exitcode
        self._child = self._pipe = None
        return f"exit code {code}"


def _serve(pipe: Connection, beside: Sequence[str], timed: bool) -> None:
    """The child: rows in, results out, until the parent goes or the device is of no more use."""
    harness = Harness(beside, timed)
    pipe.send(harness.ceilings)
    usable = True
    while usable:
        try:
            row = pipe.recv()
        except EOFError:
            return
        result = harness.run(row)
        usable = healthy()
        pipe.send((result, usable))
