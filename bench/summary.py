"""A run in few lines: how fast each family is beside its peers, and which rows are the slowest beside torch's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from bench.results import Result, Run
from bench.tables import Table, duration, peers_of, share

WORST = 3


def geometric_mean(ratios: Iterable[float]) -> float | None:
    logs = [math.log(r) for r in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else None


def group_of(r: Result) -> str:
    """What a row is summed up with: its family, each of a convolution's three products, gradients by themselves."""
    if r.family == "conv2d":
        return f"{r.family} {r.op}"
    return f"{r.family} backward" if "backward" in r.op else r.family


def groups(run: Run) -> Mapping[tuple[str, str], Sequence[Result]]:
    """The rows that have a time, by group and dtype, in the order of the run."""
    found: dict[tuple[str, str], list[Result]] = {}
    for r in run.rows:
        if r.ours is not None:
            found.setdefault((group_of(r), r.dtype), []).append(r)
    return found


def of_run(run: Run) -> Table:
    """Geometric means of the peers' times over ours, medians of the share of the roofline, and each group's worst."""
    peers = peers_of(run)
    columns = ["rows", "dtype", "number", *(f"x {name}" for name in peers), "roofline", "worst beside eager"]
    return Table(columns, [_line(group, dtype, found, peers) for (group, dtype), found in groups(run).items()])


def _line(group: str, dtype: str, found: Sequence[Result], peers: Sequence[str]) -> list[str]:
    means = [geometric_mean(r.speedups[name] for r in found if name in r.speedups) for name in peers]
    shares = [r.roofline_share for r in found if r.roofline_share is not None]
    last = worst(found, 1)
    return [
        group, dtype, str(len(found)), *("" if m is None else f"{m:.2f}" for m in means),
        share(statistics.median(shares)) if shares else "",
        f"{_case(last[0])} ({last[0].speedups['eager']:.2f})" if last else "",
    ]  # fmt: skip


def _case(r: Result) -> str:
    """The row's name, but for what its group says already."""
    known = group_of(r) if r.name.startswith(f"{group_of(r)} ") else r.family
    return r.name.removeprefix(f"{known} ").removesuffix(f" {r.dtype}")


def worst(found: Iterable[Result], count: int = WORST) -> list[Result]:
    """The rows with the smallest ratio of eager torch's time to ours."""
    return sorted((r for r in found if "eager" in r.speedups), key=lambda r: r.speedups["eager"])[:count]


def worst_table(run: Run) -> Table:
    """The worst rows of all."""
    columns = ["the worst rows", "ours", "eager", "x eager", "roofline", "tile"]
    return Table(columns, [_worst(r) for r in worst(run.rows)])


def _worst(r: Result) -> list[str]:
    times = [duration(t.median_s) for t in (r.ours, r.peers["eager"]) if t is not None]
    return [r.name, *times, f"{r.speedups['eager']:.2f}", share(r.roofline_share), r.tile or ""]


def line(run: Run) -> str:
    """How many rows ran, and on a GPU each group's geometric mean beside eager torch, for who reads one line."""
    head = f"{len(run.rows)} rows, {len(run.failed)} failed"
    means = []
    for (group, dtype), found in groups(run).items():
        mean = geometric_mean(r.speedups["eager"] for r in found if "eager" in r.speedups)
        means += [f"{group} {dtype} {mean:.2f} x eager"] if mean else []
    return "; ".join([head, *means])


def sentence(run: Run) -> str:
    """How many rows are as fast as torch's or faster; nothing of a run without rows."""
    if not run.rows:
        return ""
    ratios = [r.speedups["eager"] for r in run.rows if "eager" in r.speedups]
    as_fast = sum(ratio >= 1 for ratio in ratios)
    wrong = f" {len(run.failed)} failed and have no time." if run.failed else ""
    return f"Of {len(ratios)} rows, {as_fast} are as fast as eager torch or faster.{wrong}"
