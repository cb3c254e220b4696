"""Results for people: tables in the terminal and in Markdown, and one run against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.clock import Timing
from bench.results import Result, Run

try:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
except ImportError:  # plain text then
    Console = None  # type: ignore[assignment, misc]

MEANING = {
    False: (
        "Times are medians of device time. x eager: torch's time over ours, above 1 where ours is faster; compile is "
        "torch.compile. Beside cuBLAS and cuDNN, eager is the call of them. "
        "roofline: what this card's copy and matrix-product rates, measured in the same run, leave as the least time, "
        "over ours; more than 100% is the cache's doing. host: microseconds to enqueue a launch. "
        "error: relative to a reference in a wider dtype."
    ),
    True: (
        "Wall-clock of Triton's CPU interpreter on scaled-down shapes. These times say nothing about a GPU: they are "
        "kept to notice when the interpreter or the number of launches gets worse."
    ),
}


@dataclass(frozen=True)
class Table:
    """Columns and rows of text; the first column is set left, the others right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def of_run(run: Run) -> Table:
    """A row's numbers, one line each."""
    peers = peers_of(run)
    columns = ["row", "ours", *peers, "error"]
    if run.interpreted:
        columns = ["row", "ours, interpreter", *(f"{name} torch, CPU" for name in peers), "error"]
        return Table([*columns, "launches"], [[*_common(r, peers), _count(r.launches)] for r in run.rows])
    columns += [*(f"x {name}" for name in peers), "rate", "roofline", "launches", "host", "tile"]
    return Table(columns, [[*_common(r, peers), *_on_gpu(r, peers)] for r in run.rows])


def peers_of(run: Run) -> list[str]:
    """The peers that some row was timed beside."""
    return list(dict.fromkeys(name for r in run.rows for name in r.peers))


def _common(r: Result, peers: Sequence[str]) -> list[str]:
    if r.status != "ok":
        return [r.name, "FAILED", *[""] * len(peers), ""]
    times = [_spread(r.peers.get(name)) for name in peers]
    return [r.name, _spread(r.ours), *times, "" if r.error is None else f"{r.error:.1e}"]


def _on_gpu(r: Result, peers: Sequence[str]) -> list[str]:
    return [
        *(_ratio(r.speedups.get(name)) for name in peers),
        rate(r),
        share(r.roofline_share),
        _count(r.launches),
        "" if r.host_us_per_launch is None else f"{r.host_us_per_launch:.1f}",
        r.tile or "",
    ]


def share(part: float | None) -> str:
    return "" if part is None else f"{part:.0%}"


def rate(r: Result) -> str:
    """Arithmetic or traffic a second, whichever limits the row."""
    if r.ours is None:
        return ""
    if r.limit == "arithmetic":
        return f"{r.flops / r.ours.median_s / 1e12:.1f} TFLOP/s"
    return f"{r.bytes / r.ours.median_s / 1e9:.0f} GB/s"


def _count(n: int | None) -> str:
    return "" if n is None else str(n)


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _spread(t: Timing | None) -> str:
    """The median and how far the 10th and 90th percentile are from it."""
    if t is None:
        return ""
    off = max(t.p90_s - t.median_s, t.median_s - t.p10_s) / t.median_s
    return f"{duration(t.median_s)} ±{off:.0%}"


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def headline(run: Run) -> str:
    state = {True: ", with uncommitted changes", False: "", None: ""}[run.dirty]
    return f"{run.where}, {run.date[:10]}, commit {run.commit}{state}"


def notes(run: Run) -> list[str]:
    """What a reader must know beside the table."""
    lines = [", ".join(f"{name} {number}" for name, number in sorted(run.versions.items()))]
    if run.ceilings is not None:
        copied = run.ceilings["copy_bytes_per_s"] / 1e12
        rates = [f"{run.ceilings[f'{d}_flops_per_s'] / 1e12:.0f} TFLOP/s {d}" for d in ("bfloat16", "float32")]
        lines.append(f"Ceilings measured in this run: copy {copied:.2f} TB/s, matrix product {', '.join(rates)}.")
    if run.selection is not None:
        lines.append(f"Only a selection of the rows: {run.selection}.")
    lines.append(MEANING[run.interpreted])
    if run.unreached:
        lines.append(f"{run.unreached} rows were left out when time was up.")
    lines += [f"No {name} beside {r.name}: {why}" for r in run.rows for name, why in r.trouble.items()]
    return lines + [f"FAILED {r.name}: {r.reason}" for r in run.failed]


def show(title: str, table: Table, lines: Sequence[str]) -> None:
    """Print a table: with rich where it is installed, as plain text where it is not."""
    if Console is None:
        print(f"\n{title}\n\n{plain(table)}\n")
    else:
        print(f"\n{title}")
        rich = RichTable(box=box.SIMPLE_HEAD)
        for k, name in enumerate(table.columns):
            rich.add_column(name, justify="left" if k == 0 else "right", no_wrap=True)
        for row in table.rows:
            rich.add_row(*row)
        # As wide as the table is: rich would cut cells to fit them into a narrow terminal.
        Console(width=len(plain(table).partition("\n")[0]) + 4 * len(table.columns)).print(rich)
    print("\n".join(lines))


def plain(table: Table) -> str:
    """Columns set with spaces."""
    lines = [table.columns, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def as_markdown(table: Table) -> list[str]:
    """The lines of a table."""
    head = ["| " + " | ".join(table.columns) + " |", "|---|" + "---:|" * (len(table.columns) - 1)]
    return [*head, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows)]


def bullets(lines: Sequence[str]) -> list[str]:
    return [f"- {' '.join(line.split())}" for line in lines]


def compare(before: Run, after: Run) -> Table:
    """Our time before over after, row by row; torch's, which no commit of ours changes, is the control.

    "~" marks a row whose two times lie within each other's spread. A run of a selection is compared where it has rows.
    """
    old, new = ({r.name: r for r in run.rows} for run in (before, after))
    names = new if after.selection or after.unreached else {**old, **new}
    rows = [_compared(name, old.get(name), new.get(name)) for name in names]
    return Table(["row", "before", "after", "speed-up", "", "torch's"], rows)


def _compared(name: str, old: Result | None, new: Result | None) -> list[str]:
    times = [_state(r) for r in (old, new)]
    if old is None or new is None or old.ours is None or new.ours is None:
        return [name, *times, "", "", ""]
    overlap = old.ours.p10_s <= new.ours.p90_s and new.ours.p10_s <= old.ours.p90_s
    peers = [r.peers.get("eager") for r in (old, new)]
    control = peers[0].median_s / peers[1].median_s if peers[0] and peers[1] else None
    return [name, *times, _ratio(old.ours.median_s / new.ours.median_s), "~" if overlap else "", _ratio(control)]


def _state(r: Result | None) -> str:
    if r is None:
        return "absent"
    return "FAILED" if r.ours is None else duration(r.ours.median_s)


def warnings(before: Run, after: Run) -> list[str]:
    """Why the two runs should not be compared, if there is a reason."""
    lines = []
    if before.device_name != after.device_name or before.interpreted != after.interpreted:
        lines.append(f"The runs are from different devices: {before.where} and {after.where}.")
    different = [k for k in before.versions if before.versions[k] != after.versions.get(k)]
    if different:
        lines.append(f"Versions differ: {', '.join(sorted(different))}.")
    return lines
