"""Runs one row: checks it, then times ours beside the peer."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

import tritongrad_kernels
from bench import clock as clocks, launches as launched, peers
from bench.accuracy import relative_error
from bench.results import Result
from bench.row import Call, Row, as_ours, as_torch, device, draw, widened
from tritongrad_kernels import driver, matmul
from tritongrad_kernels.launch import Launch, recording

MOST_SETS = 64  # of inputs that take turns


class Harness:
    """Runs rows on this machine's device beside the peers named, and first measures its clock and ceilings.

    Without `timed` it checks rows and measures nothing.
    """

    def __init__(self, beside: Sequence[str] = ("eager",), timed: bool = True) -> None:
        self.beside, self.timed = tuple(beside), timed
        match_peer()
        if tritongrad_kernels.INTERPRETED:
            torch.set_num_threads(1)  # the interpreter has no more
        wall = tritongrad_kernels.INTERPRETED or not timed
        self.clock = clocks.WallClock() if wall else clocks.EventClock()
        self.ceilings = clocks.ceilings(self.clock) if isinstance(self.clock, clocks.EventClock) else None
        release()

    def run(self, row: Row) -> Result:
        """The row's numbers; whatever goes wrong is its reason for failing."""
        try:
            return self._measured(row)
        except Exception as error:
            return failed(row, f"{type(error).__name__}: {error}")
        finally:
            release()

    def _measured(self, row: Row) -> Result:
        result, launches, ours, want = checked(row)
        if not self.timed:
            return result
        sets = sets_for(max(row.bytes, sum(n.bytes for n in launches)))
        sides = {"ours": rotation(row, row.ours, as_ours, ours, sets)}
        errors: dict[str, float] = {}
        trouble: dict[str, str] = {}
        for name in self.beside:
            try:
                if (side := peers.of(name, row)) is not None:
                    call, errors[name] = beside(row, side, want)
                    sides[name] = rotation(row, side, as_it_is, call, sets)
            except Exception as error:
                trouble[name] = f"{type(error).__name__}: {error}".strip()[:500]
        timings = clocks.interleaved(self.clock, [(call, len(launches)) for call in sides.values()])
        times = dict(zip(sides, timings, strict=True))
        result = replace(result, ours=times.pop("ours"), peers=times, peer_errors=errors, trouble=trouble)
        return result if self.ceilings is None else against(self.ceilings, result, launches)


def against(ceilings: dict[str, float], result: Result, launches: Sequence[Launch]) -> Result:
    """The result with what can be said of it on a card of these ceilings."""
    assert result.ours is not None and result.ours.host_s is not None
    # A sequence of kernels is counted launch by launch, as they say.
    work = [(result.flops, result.bytes)] if result.bytes else [(n.flops, n.bytes) for n in launches]
    flops_per_s = ceilings["float32_flops_per_s" if result.dtype == "float32" else "bfloat16_flops_per_s"]
    whole = sum(max(flops / flops_per_s, nbytes / ceilings["copy_bytes_per_s"]) for flops, nbytes in work)
    arithmetic = result.flops / flops_per_s >= result.bytes / ceilings["copy_bytes_per_s"]
    return replace(
        result,
        limit="arithmetic" if arithmetic else "memory",
        floor_s=whole,
        roofline_share=whole / result.ours.median_s,
        speedups={name: t.median_s / result.ours.median_s for name, t in result.peers.items()},
        host_us_per_launch=result.ours.host_s / len(launches) * 1e6 if launches else None,
    )


def match_peer() -> None:
    """Let torch do its best under our rules: its fastest convolutions, and float32 products as precise as ours."""
    torch.backends.cudnn.benchmark = True
    precision = "ieee" if matmul.precision == "highest" else "tf32"
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.conv.fp32_precision = precision
    torch.backends.cudnn.rnn.fp32_precision = precision


def checked(row: Row) -> tuple[Result, list[Launch], Call, list[torch.Tensor]]:
    """Run the row once: its result without times, our launches, our call and what it should have given.

    The reference is the peer on the same values in a wider dtype. Raises WrongResult if ours is not right.
    """
    inputs = draw(row, seed=0)
    ours = row.ours(*map(as_ours, inputs))
    start = time.perf_counter()
    with recording() as launches:
        got = [as_torch(t) for t in ours()]
    driver.synchronize()
    first_call = time.perf_counter() - start
    want = reference(row, inputs)
    theirs = [t.detach() for t in row.peer(*inputs)()]
    error = row.bound.check(got, want, theirs)
    result = replace(
        blank(row),
        error=error.norm,
        of_bound=error.of_bound,
        launches=len(launches),
        declared_flops=sum(n.flops for n in launches),
        declared_bytes=sum(n.bytes for n in launches),
        first_call_s=first_call,
        tile=launched.tile_of(launches),
        kernels=list(dict.fromkeys(n.kernel for n in launches)),
    )
    return result, list(launches), ours, want


def beside(row: Row, side: Callable[..., Call], want: Sequence[torch.Tensor]) -> tuple[Call, float]:
    """A peer's call on the first set of inputs, and the error of what it gives."""
    call = side(*draw(row, seed=0))
    return call, relative_error([t.detach() for t in call()], want)


def reference(row: Row, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What the row computes, nearly exactly. Searching for its fastest convolution would not pay."""
    torch.backends.cudnn.benchmark = False
    try:
        return [t.detach() for t in row.peer(*widened(row, inputs))()]
    finally:
        torch.backends.cudnn.benchmark = True


def sets_for(nbytes: int) -> int:
    """How many sets of inputs must take turns for none to be in the cache when its turn comes."""
    if tritongrad_kernels.INTERPRETED:
        return 1
    cache = torch.cuda.get_device_properties(device()).L2_cache_size
    return max(1, min(MOST_SETS, math.ceil(2.5 * cache / max(nbytes, 1))))


def rotation(
    row: Row, side: Callable[..., Call], given: Callable[[torch.Tensor], Any], first: Call, sets: int
) -> clocks.Rotation:
    """A side's calls on `sets` sets of inputs, the same for every side; `first` is the one on the first set."""
    return clocks.Rotation([first, *(side(*map(given, draw(row, seed))) for seed in range(1, sets))])


def as_it_is(t: torch.Tensor) -> torch.Tensor:
    return t


def blank(row: Row) -> Result:
    return Result(row.name, row.family, row.op, row.shapes, row.dtype, row.flops, row.bytes, status="ok")


def failed(row: Row, reason: str) -> Result:
    """The result of a row that has none."""
    return replace(blank(row), status="failed", reason=reason.strip()[:2000])


def release() -> None:
    """Give back what the last row held; on a GPU that a row has broken there is nothing to give back."""
    gc.collect()
    if healthy():
        driver.empty_cache()


def healthy() -> bool:
    """Whether the device still answers: an illegal access in a kernel ends its process' use of the GPU."""
    try:
        driver.synchronize()
    except Exception:
        return False
    return True
