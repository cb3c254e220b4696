"""A side's process as its parent sees it: commands with a time limit, and one sentence when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
START_LIMIT = 120.0  # seconds for imports and the driver
COMMAND = ("-m", "bench.training.side")


class Failed(Exception):
    """A side could not do what it was told, or does not live any more."""


class Child:
    """`with Child("ours") as child: child.ask(60.0, "load", name=...)`. Dead after a `Failed` whose `fatal` is set."""

    def __init__(self, side: str, environment: Mapping[str, str] | None = None) -> None:
        self.side = side
        self.alive = True
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with this object
        self._process = subprocess.Popen(
            [sys.executable, *COMMAND, side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # a compiler's own workers go with it
        )
        self._buffer = b""
        self._said: list[str] = []  # the last line of what it wrote to stderr
        self._waiting = True  # for its first word

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def tell(self, do: str, **given: Any) -> None:
        """Start a command; `answer` waits for it."""
        if self._waiting:
            self.answer(START_LIMIT)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, "with": given}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise Failed(self._last_words()) from None

    def answer(self, limit: float) -> Any:
        """What the last command gave, within `limit` seconds."""
        self._waiting = False
        line = self._line(limit)
        found = json.loads(line)
        if "error" in found:
            raise Failed(found["error"])
        return found["ok"]

    def ask(self, limit: float, do: str, **given: Any) -> Any:
        self.tell(do, **given)
        return self.answer(limit)

    def _line(self, limit: float) -> bytes:
        assert self._process.stdout is not None
        until = time.monotonic() + limit
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], max(until - time.monotonic(), 0.0))
            if not ready:
                self.end(patience=0.0)
                raise Failed(f"no answer within {limit:.0f} s")
            found = os.read(self._process.stdout.fileno(), 1 << 16)
            if not found:
                raise Failed(self._last_words())
            self._buffer += found
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """How the process ended, and the end of what it wrote to stderr."""
        self.end()
        return ": ".join([f"the process ended with exit code {self._process.returncode}", *self._said])

    def end(self, patience: float = 5.0) -> None:
        """End the process and whatever it started, by force if it does not go within `patience` seconds."""
        self.alive = False
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if not self._errors.closed:
            self._errors.seek(0)
            self._said = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            self._errors.close()
