"""The caller's side of `worker`: processes that compile, their requests, and what is left when one of them dies."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import functools
import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any


class Worker:
    """One process that compiles, started anew if it died of the request before."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "TRITONGRAD_COMPILE_FOR": "sm_90"}  # each request says for what it is
        environment.pop("TRITON_INTERPRET", None)
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        return subprocess.Popen(
            [sys.executable, "-m", "tritongrad_kernels.compile.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment,
        )  # fmt: skip

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer; `{"error": [reason, place]}` if the process dies of it, as LLVM makes it do on some code."""
        if self._process.poll() is not None:
            self._process = self._start()
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer:
            return json.loads(answer)
        self._process.wait()
        return {"error": [f"the compiling process died: {self._last_words()}", ""]}

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if "error" in line.lower() or "LLVM ERROR" in line]
        return (said[-1] if said else f"exit code {self._process.returncode}")[:300]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()


_kept: contextvars.ContextVar[list[Worker] | None] = contextvars.ContextVar("kept", default=None)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Inside the block workers stay for the next requests: starting one takes seconds. They never outlive it, because
    a kernel's source may change."""
    if _kept.get() is not None:
        yield
        return
    resting: list[Worker] = []
    token = _kept.set(resting)
    try:
        yield
    finally:
        _kept.reset(token)
        for worker in resting:
            worker.close()


def answers(requests: Sequence[dict[str, Any]], jobs: int | None = None) -> Iterator[Any]:
    """What `jobs` workers (default: one a processor) answer, in the order of the requests."""
    count = min(jobs or available_processors(), len(requests))
    if not count:
        return
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    resting = _kept.get()

    def ask(request: dict[str, Any]) -> Any:
        worker = idle.get()
        try:
            return worker.ask(request)
        finally:
            idle.put(worker)

    with contextlib.ExitStack() as stack:
        for _ in range(count):
            worker = resting.pop() if resting else Worker()
            stack.callback(worker.close if resting is None else functools.partial(resting.append, worker))
            idle.put(worker)
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(count))
        yield from pool.map(ask, requests)


def available_processors() -> int:
    return len(os.sched_getaffinity(0))
