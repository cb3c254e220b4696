"""python -m bench: run the benchmark, print a run, compare two, or check what the kernels compile to."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tritongrad_kernels
from bench import (
    correct,
    environment,
    gate,
    gate_rules,
    host,
    kernel_tests,
    launch_cost,
    peers,
    report as rendered,
    results,
    session,
    summary,
    tables,
    tune,
    visit,
)
from bench.results import Run
from bench.training import cli as training
from bench.worker import WorkerDied
from tritongrad_kernels import driver, tile_cells


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 1 if a row failed, 2 if what was asked for cannot be done."""
    options = _parser().parse_args(words)
    try:
        return options.command(options)
    except (OSError, ValueError, WorkerDied, re.error) as error:
        print(f"python -m bench: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Our kernels beside torch's on this device.")
    parser.set_defaults(command=_run)
    parser.add_argument("--families", metavar="A,B", help=f"only these families; also {' and '.join(session.SECTIONS)}")
    parser.add_argument("--rows", metavar="PATTERN", help="only rows whose name this regular expression finds")
    parser.add_argument("--quick", action="store_true", help="only the first row of each operation and dtype")
    parser.add_argument(
        "--minutes", metavar="M", type=float, help="begin no row after them: those that matter most first"
    )
    parser.add_argument("--peers", metavar="A,B", default="eager", help="eager, and on a GPU compile (slow to begin)")
    parser.add_argument("--ahead", action="store_true", help="compile what the rows launch first, many at a time")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and run none")
    parser.add_argument("--device-label", metavar="NAME", help="call the results' folder so, not after the device")
    parser.add_argument("--commit", metavar="SHA", help="the commit to note, for a checkout without git")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=results.FOLDER, help="where results go (%(default)s)"
    )
    parser.add_argument("--into", metavar="FILE", type=Path, help="add to this results file instead")
    commands = parser.add_subparsers(title="commands; without one, the benchmark is run", metavar="")
    report = commands.add_parser("report", help="render the newest results into README and docs, or print one file")
    report.add_argument("file", type=Path, nargs="?", help="print this results file as Markdown, and render nothing")
    report.add_argument("--png", metavar="FILE", type=Path, help="draw the file into one picture (needs matplotlib)")
    report.add_argument("--plots", metavar="DIR", type=Path, help="draw the file into several pictures")
    report.add_argument("--readme", metavar="FILE", type=Path, default=rendered.ROOT / "README.md")
    report.add_argument("--docs", metavar="FILE", type=Path, default=rendered.ROOT / "docs" / "benchmarks.md")
    report.set_defaults(command=_report)
    compare = commands.add_parser("compare", help="print how much faster each row became from one file to another")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    compare.set_defaults(command=_compare)
    compile = commands.add_parser("compile", help="compile what training steps launch, without a GPU, and check it")
    compile.add_argument(
        "--arch", action="append", choices=gate_rules.ARCHITECTURES, help="only for these (repeatable)"
    )
    compile.add_argument("--accept", action="store_true", help="make this run's figures the table")
    compile.add_argument("--jobs", type=int, metavar="N", help="processes that compile (default: one a processor)")
    compile.set_defaults(command=_compile)
    tuned = commands.add_parser("tune", help="measure tiles of kernels on this GPU and keep the faster ones")
    tuned.add_argument("families", metavar="FAMILY|all", help="families of rows, A,B")
    tuned.add_argument("--minutes", metavar="M", type=float, required=True, help="begin nothing after them")
    tuned.add_argument("--arch", default="sm_90", help="without a GPU, compile candidates for this (%(default)s)")
    tuned.add_argument("--slowest", metavar="FILE", type=Path, help="begin with what was slowest in this run")
    tuned.add_argument("--table", metavar="FILE", type=Path, default=tile_cells.MEASURED, help="where winners go")
    tuned.add_argument("--state", metavar="FILE", type=Path, help="what is known already (in the results' folder)")
    tuned.add_argument("--jobs", type=int, metavar="N", help="processes that compile (default: one a processor)")
    tuned.set_defaults(command=_tune)
    cost = commands.add_parser("host", help="time what operations and launches cost in Python, beside torch's")
    cost.set_defaults(command=_host)
    where = commands.add_parser("environment", help="say in a line what this machine is")
    where.set_defaults(command=_environment)
    for module in (training, correct, kernel_tests, visit):
        module.add(commands)
    return parser


def _run(options: argparse.Namespace) -> int:
    selection = session.Selection(
        None if options.families is None else tuple(options.families.split(",")),
        options.rows, options.quick, options.minutes, peers.chosen(options.peers), options.ahead,
    )  # fmt: skip
    if options.list:
        print("\n".join(r.name for r in selection.rows()))
        return 0
    run, path = session.run(selection, options.device_label, options.commit, options.out, options.into)
    tables.show(tables.headline(run), tables.of_run(run), tables.notes(run))
    for title, table, lines in rendered.sections(run):
        tables.show(title, table, lines)
    if (old := results.before(run, options.out)) is not None:
        _show_comparison(old, run)
    print(f"written to {path}")
    print(summary.line(run))
    return 1 if run.failed else 0


def _report(options: argparse.Namespace) -> int:
    if options.file is None:
        for path in rendered.render(options.out, options.readme, options.docs):
            print(path)
        return 0
    run = results.load(options.file)
    print(rendered.markdown(run))
    if options.png is not None:
        _plot().save(run, options.png)
    if options.plots is not None:
        _plot().every(run, options.plots)
        training.draw(run, losses=options.plots / "losses.png", rates=options.plots / "rates.png")
    return 0


def _plot() -> Any:
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("a picture needs matplotlib, which is not installed")
    from bench import plot  # only here, because matplotlib is optional and takes a second to import

    return plot


def _compare(options: argparse.Namespace) -> int:
    before, after = results.load(options.before), results.load(options.after)
    _show_comparison(before, after)
    return 0


def _show_comparison(before: Run, after: Run) -> None:
    title = f"{tables.headline(before)}  ->  {tables.headline(after)}"
    tables.show(title, tables.compare(before, after), tables.warnings(before, after))


def _compile(options: argparse.Namespace) -> int:
    return gate.run(options.arch or gate_rules.ARCHITECTURES, options.accept, options.jobs)


def _environment(options: argparse.Namespace) -> int:
    print(environment.line())
    return 0


def _tune(options: argparse.Namespace) -> int:
    here = tritongrad_kernels.INTERPRETED
    arch = options.arch if here else "sm_{}{}".format(*driver.gpu_capability())
    wanted = (options.families, options.minutes, arch, options.slowest, options.table, options.state, options.jobs)
    found = tune.run(tune.Wanted(*wanted))
    tables.show("Tiles", tune.table(found), [tune.NOT_HERE] if here else [f"winners are in {options.table}"])
    return 0


def _host(options: argparse.Namespace) -> int:
    tables.show(host.TITLE, host.table(host.measured()), [])
    tables.show(launch_cost.TITLE, launch_cost.table(launch_cost.measured()), launch_cost.notes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
