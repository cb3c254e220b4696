"""`python -m bench report`: what the results files say, rendered into the README and the docs.

The newest run of each device counts: of everything if there is one, else of a selection; and the newest that trained,
if it did not. What is written depends on nothing but the results files, so that it can be written again at any time.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from bench import host, launch_cost, modelled, results, summary, tables
from bench.results import Run
from bench.tables import Table
from bench.training import cli as training

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- benchmarks: from here on written by `python -m bench report` -->"
END = "<!-- benchmarks: up to here -->"
BY_MACHINE = (
    "Written by `python -m bench report` from the files in `bench/results/`: every figure is from the machine named."
)


Drawn = dict[tuple[str, str], list[Path]]
"""The pictures of each run, by its device and date."""
SHOWN = ("ratios", "roofline", "rates")
"""The pictures that the README has too."""


def newest(folder: Path) -> list[Run]:
    """The run of each device that counts; those on GPUs first."""
    chosen = []
    for device in sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []:
        found = results.history(device)
        timed = [run for run in found if run.rows] or found
        whole = [run for run in timed if run.selection is None]
        last = (whole or timed)[-1:]
        trained = [run for run in found if run.training or run.curves]
        chosen += last + [run for run in trained[-1:] if not any(r.training or r.curves for r in last)]
    return sorted(chosen, key=lambda run: run.interpreted)


def render(folder: Path, readme: Path, docs: Path) -> list[Path]:
    """Write the README's section, `docs` and, where matplotlib is installed, the pictures; the files written."""
    runs = newest(folder)
    if not runs:
        raise ValueError(f"there are no results in {folder}")
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme} has no place for the figures, which is between these two lines:\n{BEGIN}\n{END}")
    pictures = docs.with_suffix("")
    drawn = {_key(run): draw(run, pictures) for run in runs}
    head, _, rest = text.partition(BEGIN)
    lines = for_readme(runs, drawn, docs, readme.parent)
    readme.write_text("\n".join([head + BEGIN, "", *lines, ""]) + END + rest.partition(END)[2])
    docs.parent.mkdir(parents=True, exist_ok=True)
    docs.write_text("\n".join(document(runs, drawn, folder, docs.parent)))
    return [readme, docs, *(picture for found in drawn.values() for picture in found)]


def draw(run: Run, folder: Path) -> list[Path]:
    """A run's pictures, in a folder of the device's name; none without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    from bench import plot  # only here, because matplotlib is optional and takes a second to import

    (folder / run.device).mkdir(parents=True, exist_ok=True)
    trained = training.draw(run, losses=folder / run.device / "losses.png", rates=folder / run.device / "rates.png")
    return [*plot.every(run, folder / run.device), *trained]


def for_readme(runs: Sequence[Run], drawn: Drawn, docs: Path, root: Path) -> list[str]:
    """The README's lines: of runs on GPUs in short; without any, what is modelled, and is said to be."""
    measured = [run for run in runs if not run.interpreted]
    lines = []
    for run in measured:
        said = [f"**{tables.headline(run)}.**", summary.sentence(run), _ceilings(run)]
        lines += [" ".join(filter(None, said)), "", *_short(run)]
        lines += [re.sub("^## (.*)", r"**\1**", line) for line in training.markdown(run)]
        lines += [*(_shown(p, root) for p in drawn[_key(run)] if p.stem in SHOWN), ""]
    if not measured:
        lines += ["No run on a GPU is kept yet: nothing here was measured on one.", ""]
        for run in runs:
            lines += [*_modelled(run), ""]
    return [*lines, f"Row by row, and what is not from a GPU: [{docs.name}]({_link(docs, root)})."]


def _key(run: Run) -> tuple[str, str]:
    return run.device, run.date


def _short(run: Run) -> list[str]:
    if not run.rows:
        return []
    return [*tables.as_markdown(summary.of_run(run)), "", *tables.as_markdown(summary.worst_table(run)), ""]


def _ceilings(run: Run) -> str:
    return next((line for line in tables.notes(run) if line.startswith("Ceilings")), "")


def document(runs: Sequence[Run], drawn: Drawn, folder: Path, root: Path) -> list[str]:
    """The lines of the whole document."""
    lines = ["# Benchmarks", "", BY_MACHINE, ""]
    for run in runs:
        lines += [f"## {tables.headline(run)}", ""]
        lines += _beside_before(run, folder) if run.interpreted else [summary.sentence(run), "", *_short(run)]
        lines += [line for p in drawn[_key(run)] for line in (_shown(p, root), "")]
        lines += _details(run)
    return lines


def markdown(run: Run) -> str:
    """A whole run as a Markdown document."""
    short = [] if run.interpreted else [summary.sentence(run), "", *_short(run)]
    return "\n".join([f"# {tables.headline(run)}", "", *short, *_details(run)])


def _details(run: Run) -> list[str]:
    """Every row, what a reader must know, and what there is besides rows."""
    lines = ["### Row by row", "", *tables.as_markdown(tables.of_run(run)), ""] if run.rows else []
    lines += [*tables.bullets(tables.notes(run)), ""]
    lines += [re.sub("^## ", "### ", line) for line in training.markdown(run)]
    for title, table, notes in sections(run):
        lines += [f"### {title}", "", *tables.as_markdown(table), "", *notes, ""]
    return lines


def sections(run: Run) -> list[tuple[str, Table, list[str]]]:
    """What a run has besides rows: titles, tables, and what a reader must know of each."""
    planned = [f"Planned at commit {run.commit} for {modelled.GPU}. No GPU ran any of it."]
    found: list[tuple[str, Table, list[str]]] = []
    if run.host:
        found.append((host.TITLE, host.table([host.Cost(**cost) for cost in run.host]), []))
    if run.starts:
        costs = [launch_cost.LaunchCost(**cost) for cost in run.starts]
        stub = ["Without a GPU: Triton's launcher in C runs, the driver's calls do nothing."] if run.interpreted else []
        found.append((launch_cost.TITLE, launch_cost.table(costs), stub))
    if run.modelled:
        found.append((modelled.TITLE, modelled.table(run.modelled), planned))
    if run.traffic:
        found.append((modelled.TRAFFIC, modelled.traffic_table(run.traffic), planned))
    return found


def _beside_before(run: Run, folder: Path) -> list[str]:
    """The interpreter's times beside those of the commit before; how else they came about is no use to anybody."""
    old = results.before(run, folder)
    if old is None:
        return []
    title = f"### Beside {tables.headline(old)}"
    table = tables.as_markdown(tables.compare(old, run))
    return [title, "", *table, "", *tables.bullets(tables.warnings(old, run)), ""]


def _modelled(run: Run) -> list[str]:
    planned = [(title, table, notes) for title, table, notes in sections(run) if title == modelled.TITLE]
    return [
        line for title, table, notes in planned for line in (f"{title}:", "", *tables.as_markdown(table), "", *notes)
    ]


def _shown(picture: Path, root: Path) -> str:
    return f"![{picture.stem} of {picture.parent.name}]({_link(picture, root)})"


def _link(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
