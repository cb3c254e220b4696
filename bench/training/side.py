"""One side of a row, in a process of its own: it loads a row, runs steps when told to, and says what it found.

Commands come as a line of JSON each, answers go back as one: {"ok": ...} or {"error": ...}. `session` is at the other
end. Whatever else is printed here goes to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

import tritongrad as tg
import tritongrad_kernels
from bench.harness import healthy, match_peer
from bench.row import as_ours, device
from bench.training import sources
from bench.training.workloads import Network, Workload, by_name
from tritongrad_kernels import driver, launch

WARM_UP = 4  # steps before any is timed: a compiler may look at the first few
BATCHES = 8  # different ones that a loss curve goes through again and again
MODES = {"torch.compile": "default", "torch.compile, graphs": "reduce-overhead"}


class Training:
    """A model, its optimizer and its step, of `lib`: torch, or tritongrad."""

    def __init__(self, row: Workload, side: str, model: Any) -> None:
        self.row, self.side, self.model = row, side, model
        self.is_ours = side.startswith("ours")
        self.lib: Any = tg if self.is_ours else torch
        fused = {"fused": True} if not self.is_ours and device().type == "cuda" else {}
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = getattr(self.lib.optim, row.made.optimizer)(parameters, **row.made.options, **fused)
        self.step = tg.compile(self._step) if side == "ours compiled" else self._step

    def _step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = self.row.made.loss(self.lib, self.model, x, y)
        loss.backward()
        self.optimizer.step()
        return loss

    def _precision(self) -> Any:
        if self.row.dtype == "float32":
            return contextlib.nullcontext()
        return self.lib.autocast(device().type, dtype=self.lib.bfloat16)

    def batch(self, seed: int) -> tuple[Any, Any]:
        """Items and labels of this library; every side draws the same."""
        items = drawn(self.row, seed)
        return (as_ours(items[0]), as_ours(items[1])) if self.is_ours else items


def begun(row: Workload, side: str) -> Training:
    """The row's training on this side, ready to start: all sides begin with the same weights."""
    torch.manual_seed(0)
    model = row.made.build(sources.theirs(row.made.source), torch)
    if side.startswith("ours"):
        state = model.state_dict()
        model = as_written(row.made)
        model.load_state_dict({name: tg.tensor(values.numpy()) for name, values in state.items()})
        return Training(row, side, model)
    model = model.to(device(), memory_format=torch.channels_last)
    if side in MODES:
        torch._dynamo.reset()
        model = torch.compile(model, mode=MODES[side])
    return Training(row, side, model)


def as_written(made: Network) -> Any:
    """Our model, with weights of its own making."""
    return made.build(sources.ours(made.source), tg)


def drawn(row: Workload, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, channels-last, and labels; or words and the words that follow them."""
    made, place = row.made, device()
    generator = torch.Generator(place).manual_seed(seed)
    if made.unit == "tokens":
        words = torch.randint(made.classes, (row.batch, made.sample[0] + 1), generator=generator, device=place)
        return words[:, :-1].contiguous(), words[:, 1:].contiguous()
    images = torch.randn((row.batch, *made.sample), generator=generator, device=place)
    labels = torch.randint(made.classes, (row.batch,), generator=generator, device=place)
    return images.contiguous(memory_format=torch.channels_last), labels


class Side:
    """Answers commands: what is called `name` there is the method `name` here."""

    def __init__(self, side: str) -> None:
        self.side = side
        self.training: Training | None = None
        self.held: tuple[Any, Any] = (None, None)
        match_peer()
        if tritongrad_kernels.INTERPRETED:
            torch.set_num_threads(1)

    def load(self, name: str) -> dict[str, Any]:
        """Make a row's model and run its first steps: their losses, and how long the very first took."""
        self.drop()
        row = by_name(name)
        self.training = begun(row, self.side)
        self.held = self.training.batch(0)
        _synchronize()
        _reset_peak()
        start = time.perf_counter()
        losses = [self._loss(*self.held)]
        first = time.perf_counter() - start
        count = WARM_UP if not tritongrad_kernels.INTERPRETED else 2
        losses += [self._loss(*self.held) for _ in range(count - 2)]
        with launch.recording() as log:
            losses.append(self._loss(*self.held))
        driver.empty_cache()  # of what a search for algorithms took: other sides are on the same card
        # A graph that is replayed starts its kernels itself: nothing is recorded then.
        return {"first_step_s": first, "losses": losses, "launches": len(log) or None}

    def sample(self, steps: int) -> dict[str, float]:
        """Seconds a step, and seconds the host takes to start one, over `steps` in a row."""
        assert self.training is not None
        loss: Any = None
        _synchronize()
        began = time.perf_counter()
        if tritongrad_kernels.INTERPRETED:
            for _ in range(steps):
                loss = self._run(*self.held)
            host = seconds = time.perf_counter() - began
        else:
            timer = driver.Timer()
            timer.start()
            for _ in range(steps):
                loss = self._run(*self.held)
            timer.stop()
            host = time.perf_counter() - began
            seconds = timer.seconds()
        value = float(loss.item())
        if not math.isfinite(value):
            raise ArithmeticError(f"the loss is {value}")
        return {"seconds": seconds / steps, "host": host / steps}

    def count(self) -> dict[str, int | None]:
        """Peak memory; then how many kernels a step of torch's starts: a profiler may slow down what comes after it."""
        if tritongrad_kernels.INTERPRETED:
            return {}
        peaks = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        counted = {} if self.side.startswith("ours") else {"launches": self._kernels()}
        return {"peak_bytes": peaks[0], "reserved_bytes": peaks[1], **counted}

    def curve(self, name: str, steps: int) -> list[float]:
        """The losses of `steps` steps over a few batches in turn."""
        self.drop()
        self.training = begun(by_name(name), self.side)
        batches = [self.training.batch(seed) for seed in range(BATCHES)]
        return [self._loss(*batches[k % BATCHES]) for k in range(steps)]

    def drop(self) -> None:
        """Forget the row, its memory and its peak."""
        self.training, self.held = None, (None, None)
        gc.collect()
        driver.empty_cache()

    def _run(self, x: Any, y: Any) -> Any:
        assert self.training is not None
        if self.side == "torch.compile, graphs":
            torch.compiler.cudagraph_mark_step_begin()
        return self.training.step(x, y)

    def _loss(self, x: Any, y: Any) -> float:
        return float(self._run(x, y).item())

    def _kernels(self) -> int | None:
        """What the driver was told to run in a step, by torch's profiler; None where that cannot say."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            self._loss(*self.held)
        names = [e.name for e in profile.events() if "cuda" in str(e.device_type).lower()]
        return sum(not name.startswith(("Memcpy", "Memset")) for name in names) or None


def _synchronize() -> None:
    driver.synchronize()


def _reset_peak() -> None:
    if not tritongrad_kernels.INTERPRETED:
        torch.cuda.reset_peak_memory_stats()


def main(words: Sequence[str]) -> None:
    """Serve until the other end goes, or a kernel has broken this process' use of the GPU."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    side = Side(words[0])
    answers.write(json.dumps({"ok": "ready"}) + "\n")
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": getattr(side, command["do"])(**command["with"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".strip()[:2000]}
        answers.write(json.dumps(answer) + "\n")
        if "error" in answer and not healthy():
            return


if __name__ == "__main__":
    main(sys.argv[1:])
