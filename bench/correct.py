"""`python -m bench correct`: the benchmark's rows checked and not timed, so that many are in a minute.

The rows have the shapes of real networks and the tiles of the table, which tests with their small shapes and tiles
cannot show to be right on a GPU. Each row's result is held against torch's in a wider dtype, as before it is timed.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import tritongrad_kernels
from bench import launches, results, rows, tables
from bench.results import Result
from bench.worker import ROW_LIMIT, Worker
from tritongrad_kernels import driver

LEAST = 5.0  # seconds: too little for another row


def add(commands: Any) -> None:
    """The command's options; those before its name say which rows, and where results go."""
    command = commands.add_parser("correct", help="check rows without timing them; options go before the command")
    command.add_argument("--but", metavar="A,B", help="none of these families")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Check the rows chosen, writing what was found after each; 1 if one is wrong."""
    end = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    families = None if options.families is None else options.families.split(",")
    chosen = rows.select(rows.here(), options.rows, options.quick, families)
    but = (options.but or "").split(",")
    chosen = [r for r in chosen if r.family not in but]
    if not chosen:
        raise ValueError("no row is left to check; --list prints their names")
    found = results.begin(options.device_label, options.commit, "correct")
    path = options.into or _beside(results.path_of(found, options.out))
    results.take_up(found, path)
    if options.ahead and not tritongrad_kernels.INTERPRETED:
        print(launches.precompile(chosen, "sm_{}{}".format(*driver.gpu_capability()), (end - time.monotonic()) / 2))
    done: list[Result] = []
    with Worker(timed=False) as worker:
        for row in chosen:
            left = end - time.monotonic()
            if left < LEAST:
                break
            done.append(worker.run(row, min(left, ROW_LIMIT)))
            print(line(done[-1]), flush=True)
            found.rows = [r for r in found.rows if r.name != row.name] + [done[-1]]
            results.save(found, path)
    wrong = [r for r in done if r.status != "ok"]
    left_out = f", {len(chosen) - len(done)} left out when time was up" * (len(done) < len(chosen))
    print(f"{len(done) - len(wrong)} rows right, {len(wrong)} wrong or broken{left_out}; written to {path}")
    return 1 if wrong else 0


def _beside(path: Path) -> Path:
    """In a folder of its own: no run is compared with one that has no times."""
    return path.parent / "correct" / path.name.replace("-selection", "")


def line(r: Result) -> str:
    """A row in a sentence."""
    if r.status != "ok":
        return f"WRONG {r.name}: {(r.reason or '').splitlines()[0] if r.reason else ''}"
    first = "" if r.first_call_s is None else f", first call {tables.duration(r.first_call_s)}"
    return f"right {r.name}: error {r.error:.1e}, {r.of_bound or 0.0:.0%} of what is allowed{first}; {r.tile or ''}"
