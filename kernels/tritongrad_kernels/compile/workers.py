"""The caller's side of `worker`: processes that compile, their requests, and what is left when one of them dies."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any


class Worker:
    """One process that compiles for `arch`, started anew if it died of the request before."""

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "TRITONGRAD_COMPILE_FOR": self.arch}
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


def answers(arch: str, requests: Sequence[dict[str, Any]], jobs: int | None = None) -> Iterator[Any]:
    """What `jobs` workers (default: one a processor) answer, in the order of the requests."""
    count = min(jobs or available_processors(), len(requests))
    if not count:
        return
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    def ask(request: dict[str, Any]) -> Any:
        worker = idle.get()
        try:
            return worker.ask(request)
        finally:
            idle.put(worker)

    with contextlib.ExitStack() as stack:
        for _ in range(count):
            worker = Worker(arch)
            stack.callback(worker.close)
            idle.put(worker)
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(count))
        yield from pool.map(ask, requests)


def available_processors() -> int:
    return len(os.sched_getaffinity(0))
