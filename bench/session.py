"""One run of the benchmark: its rows in a process of their own, then what is known without them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tritongrad_kernels
from bench import host, launch_cost, launches, modelled, results, rows
from bench.results import Run
from bench.row import Row
from bench.worker import ROW_LIMIT, Worker
from tritongrad_kernels import driver

SECTIONS = ("host", "modelled")
"""What a run has besides rows; `--families` may name them too."""
LEAST = 10.0  # seconds: too little for another row


@dataclass(frozen=True)
class Selection:
    """Which rows to run beside which peers, and in how many minutes.

    families  names of families and of SECTIONS; None is all
    pattern   only rows whose name this regular expression finds
    quick     only the first row of each operation and dtype
    minutes   no row is begun after them; None is no limit
    ahead     whether to compile the rows' kernels first, many at a time
    """

    families: tuple[str, ...] | None = None
    pattern: str | None = None
    quick: bool = False
    minutes: float | None = None
    peers: tuple[str, ...] = ("eager",)
    ahead: bool = False

    def rows(self) -> list[Row]:
        """The rows, those first that matter most. ValueError if a name is unknown or nothing is left."""
        families = None if self.families is None else tuple(f for f in self.families if f not in SECTIONS)
        found = rows.select(rows.here(), self.pattern, self.quick, families)
        if not found and not self.sections():
            raise ValueError(f"no row is called anything like {self.pattern!r}; --list prints their names")
        return found

    def sections(self) -> tuple[str, ...]:
        """What else to find out: on a GPU nothing is modelled unless it is asked for."""
        if self.families is not None:
            return tuple(s for s in SECTIONS if s in self.families)
        if self.pattern is not None or self.quick:
            return ()
        return SECTIONS if tritongrad_kernels.INTERPRETED else ("host",)

    def words(self) -> str | None:
        """The selection as options, or None if it is everything. A limit of time is none: `Run.unreached` has it."""
        chosen = [f"--families {','.join(self.families)}"] if self.families is not None else []
        chosen += [f"--rows {self.pattern!r}"] * (self.pattern is not None) + ["--quick"] * self.quick
        return " ".join(chosen) or None


def run(
    selection: Selection, label: str | None, commit: str | None, folder: Path, into: Path | None = None
) -> tuple[Run, Path]:
    """Run it, and write the results after each row, so that an interrupted run leaves what it found.

    `into` is a file to add to; rows of the same name are replaced there.
    """
    end = math.inf if selection.minutes is None else time.monotonic() + 60 * selection.minutes
    chosen = selection.rows()
    found = results.begin(label, commit, selection.words())
    path = into or results.path_of(found, folder)
    if into is not None:
        results.take_up(found, into)
        found.rows = [r for r in found.rows if r.name not in {new.name for new in chosen}]
    if selection.ahead and not tritongrad_kernels.INTERPRETED:
        # Half of the time at most: what is left is compiled row by row.
        spare = min(600.0, (end - time.monotonic()) / 2)
        _say(launches.precompile(chosen, "sm_{}{}".format(*driver.gpu_capability()), spare))
    run_rows(found, chosen, path, selection.peers, end)
    for section in selection.sections():
        if end - time.monotonic() > LEAST:
            _say(section)
            _find(section, found)
            results.save(found, path)
    return found, path


def run_rows(
    found: Run, chosen: Sequence[Row], path: Path, peers: Sequence[str] = ("eager",), end: float = math.inf
) -> None:
    """Run rows into `found` until the clock says `end`, writing the file after each."""
    if not chosen:
        return
    with Worker(peers) as worker:
        found.ceilings = worker.ceilings
        for k, row in enumerate(chosen):
            left = end - time.monotonic()
            if left < LEAST:
                found.unreached = len(chosen) - k
                _say(f"time is up: {found.unreached} rows are left out")
                break
            _say(f"[{k + 1}/{len(chosen)}] {row.name}")
            # A compiler that searches takes its time, in each of a row's processes.
            found.rows.append(worker.run(row, min(left, ROW_LIMIT * len(peers))))
            found.ceilings = worker.ceilings
            results.save(found, path)
    results.save(found, path)


def _find(section: str, found: Run) -> None:
    if section == "host":
        found.host = [asdict(cost) for cost in host.measured()]
        try:
            found.starts = [asdict(cost) for cost in launch_cost.measured()]
        except ValueError as error:  # no compiler for what stands in for a driver
            _say(str(error))
    else:
        found.modelled = modelled.steps()
        found.traffic = modelled.traffic()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
