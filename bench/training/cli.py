"""`python -m bench train` and `python -m bench curves`: whole training steps, and losses over some hundred of them."""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tritongrad_kernels
from bench import results, tables
from bench.results import Run
from bench.training import ahead, report, session
from bench.training.result import Trained
from bench.training.workloads import SIDES, Workload, curves_here, here, select
from tritongrad_kernels import compile, driver

STEPS = 200
LEAST = 15.0  # seconds: too little for another row


def add(commands: Any) -> None:
    """The two commands' options; those before the command's name say where results go."""
    train = commands.add_parser("train", help="time whole training steps of networks beside torch's")
    train.add_argument("--rounds", metavar="N", type=int, help="samples of each side")
    train.add_argument("--first-step", action="store_true", help="time only first steps, with cold and warm caches")
    train.add_argument("--list", action="store_true", help="print the rows and their sides and run none")
    train.set_defaults(command=_train)
    curves = commands.add_parser("curves", help="train beside torch from the same weights, and draw both losses")
    curves.add_argument("--steps", metavar="N", type=int, default=STEPS, help="steps of each curve (%(default)s)")
    curves.add_argument("--png", metavar="FILE", type=Path, help="where to draw them (needs matplotlib)")
    curves.set_defaults(command=_curves)
    for command in (train, curves):  # before the command's name or after it
        command.add_argument("--rows", metavar="PATTERN", default=argparse.SUPPRESS, help="only rows so called")
        command.add_argument("--minutes", metavar="M", type=float, default=argparse.SUPPRESS, help="begin none after")
        command.add_argument("--ahead", action="store_true", help="compile our kernels first, many at a time")
        command.add_argument("--sides", metavar="A;B", help=f"only these, with semicolons between: {'; '.join(SIDES)}")


def _train(options: argparse.Namespace) -> int:
    chosen = _chosen(options, here())
    if options.list:
        print("\n".join(f"{w.name}: {'; '.join(w.sides)}" for w in chosen))
        return 0
    run, path, end = _begin(options)
    if options.first_step:
        for row in _until(end, chosen):
            _keep(run, path, [session.first_step(row, side, end) for side in row.sides])
    else:
        with session.Session(end) as sides, compile.kept():
            for row in _until(end, chosen):
                _make_ready(options, sides, row, end)
                _keep(run, path, sides.run(row, session.pace(options.rounds)))
    title = f"Training steps: {tables.headline(run)}"
    tables.show(title, report.table(run.training, run.interpreted), report.notes(run.training, run.interpreted))
    print(f"written to {path}")
    print(report.sentence(run.training))
    return 1 if any(r.status != "ok" or r.cold_trouble for r in run.training) else 0


def _make_ready(options: argparse.Namespace, sides: session.Session, row: Workload, end: float) -> None:
    """Compile what our side of a row launches, in half of the time at most, while the sides' processes start."""
    sides.start(row)
    if options.ahead and not tritongrad_kernels.INTERPRETED:
        arch = "sm_{}{}".format(*driver.gpu_capability())
        _say(ahead.compiled([row], arch, (end - time.monotonic()) / 2))


def _until(end: float, chosen: Sequence[Workload]) -> Iterator[Workload]:
    """Rows in their order, none of them begun when there is too little time for it."""
    for k, row in enumerate(chosen):
        if end - time.monotonic() < LEAST:
            _say(f"time is up: {len(chosen) - k} training rows are left out")
            return
        _say(f"[{k + 1}/{len(chosen)}] training {row.name}")
        yield row


def _keep(run: Run, path: Path, found: Sequence[Trained]) -> None:
    """Put a row's figures in the place of older ones of the same sides, and write the file."""
    for new in found:
        print(report.line(new), flush=True)
        places = [k for k, r in enumerate(run.training) if (r.name, r.side) == (new.name, new.side)]
        if places:
            run.training[places[0]] = report.merged(run.training[places[0]], new)
        else:
            run.training.append(new)
    results.save(run, path)


def _curves(options: argparse.Namespace) -> int:
    chosen = _chosen(options, curves_here())
    run, path, end = _begin(options)
    with session.Session(end) as sides, compile.kept():
        for row in _until(end, chosen):
            _make_ready(options, sides, row, end)
            new = sides.curves(row, options.steps)
            run.curves = [c for c in run.curves if c.name != row.name] + new
            results.save(run, path)
    if options.png is not None:
        draw(run, losses=options.png)
    print(f"written to {path}")
    print("\n".join(report.sentences(run.curves)))
    return 0 if report.pairs(run.curves) else 1


def draw(run: Run, losses: Path | None = None, rates: Path | None = None) -> list[Path]:
    """Draw the curves and the rates of a run, where it has any; the files that were written."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("a picture needs matplotlib, which is not installed")
    from bench.training import plot  # only here, because matplotlib is optional and takes a second to import

    drawn = []
    if losses is not None and report.pairs(run.curves):
        plot.losses(run.curves, f"Losses: {tables.headline(run)}", losses)
        drawn.append(losses)
    if rates is not None and any(r.side == "torch" and r.per_second for r in run.training):
        plot.rates(run.training, f"Training: {tables.headline(run)}", rates)
        drawn.append(rates)
    return drawn


def markdown(run: Run) -> list[str]:
    """A run's training as the lines of a Markdown document; none if it has none."""
    lines: list[str] = []
    if run.training:
        table, notes = report.table(run.training, run.interpreted), report.notes(run.training, run.interpreted)
        lines += ["## Training steps", "", *tables.as_markdown(table), "", *tables.bullets(notes), ""]
    if run.curves:
        lines += ["## Loss curves", "", *tables.bullets(report.sentences(run.curves)), ""]
    return lines


def _chosen(options: argparse.Namespace, listed: Sequence[Workload]) -> list[Workload]:
    sides = None if options.sides is None else [s.strip() for s in options.sides.split(";")]
    chosen = select(listed, options.rows, sides)
    if not chosen:
        raise ValueError(f"no training row is called anything like {options.rows!r}; train --list prints their names")
    return chosen


def _begin(options: argparse.Namespace) -> tuple[Run, Path, float]:
    """The run, the file that it goes to, and the time at which it must end."""
    end = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    run = results.begin(options.device_label, options.commit, "training")
    path = options.into
    if path is None:
        path = results.path_of(run, options.out)
        path = path.with_name(path.name.replace("-selection", "-training"))
    results.take_up(run, path)
    return run, path, end


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
