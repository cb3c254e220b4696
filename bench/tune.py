"""Tiles measured on the card at hand: `python -m bench tune FAMILY|all --minutes M`.

For each cell of the tile table that the rows of the benchmark ask for, in the order of the rows: the tiles one step
away (`candidates`), without those that the compiler speaks against, are timed on a few of the rows by the benchmark's
own clock, each in a child process that first checks the row's result. The fastest takes the cell if it is faster in the
geometric mean, and once more when both are timed again in turns; then its neighbours are tried. Every winner is
written at once into `measured_tiles.json`, with card, date and gain: from there the table takes it (`tile_cells`).

When the minutes are over, what was found stays, and the next call goes on: `tuning.json` remembers every time and
reason, as long as the kernels and Triton are the same. In the interpreter nothing is timed or written: candidates are
listed with what the compiler says of them.

A winner is right on the rows it was timed on: run `make gate` and the tests of the kernels before it is committed.
Where a block decides the order of a sum, a new tile changes last bits: results are reproducible for one table.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tritongrad as tg
import tritongrad_kernels
from bench import results, rows
from bench.candidates import Cell, cells, judged, neighbours, telling, words
from bench.row import Call, Row, ranked
from bench.tables import Table
from bench.worker import Worker
from tritongrad_kernels import compile, driver, launch
from tritongrad_kernels.tile_cells import MEASURED, Tile, measured

NOT_HERE = "Nothing was timed: tiles are measured on a GPU, and kernels run in the interpreter here."
LEAST = 1.02  # how much faster a tile must be, twice
HOPELESS = 1.1  # how much slower on one row is enough
RESERVE = 10.0  # seconds: too little to begin with anything
TOGETHER = 8  # tiles that are compiled and timed before one of them is taken

Measure = Callable[[Row, Mapping[str, Mapping[str, Tile]]], "float | str"]
"""Seconds of a row with these cells, by name and column, or why it has none."""


@dataclass(frozen=True)
class Tiled:
    """A row's side that first puts tiles into the table of its process."""

    side: Callable[..., Call]
    table: Mapping[str, Mapping[str, Tile]]

    def __call__(self, *tensors: tg.Tensor) -> Call:
        for name, columns in self.table.items():
            launch.replace_cells(name, columns)
        return self.side(*tensors)


class TimeIsUp(Exception):
    """The minutes are over."""


@dataclass
class Notes:
    """What is known of each cell, by the tile in words: its seconds by row, or why it has none; and what is through.

    Kept in a file, as long as what times depend on is the same.
    """

    path: Path | None = None
    cells: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    through: list[str] = field(default_factory=list)

    @staticmethod
    def at(path: Path) -> Notes:
        kept = json.loads(path.read_text()) if path.exists() else {}
        same = kept.get("source") == _source()
        return Notes(path, kept["cells"], kept["through"]) if same else Notes(path)

    def save(self) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = {"source": _source(), "through": self.through, "cells": self.cells}
            self.path.write_text(json.dumps(kept, indent=1) + "\n")


def _source() -> str:
    """Names what times depend on: the kernels' source, Triton, the card."""
    digest = hashlib.sha256(f"{version('triton')} {_card()}".encode())
    for path in sorted(Path(tritongrad_kernels.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _card() -> str:
    return driver.gpu_name() if driver.DEFAULT_DEVICE.type == "cuda" else "no GPU"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: how much faster `after` is than `before`, and how many tiles were timed and refused."""

    cell: Cell
    before: Tile
    after: Tile
    gain: float
    timed: int
    refused: int


class Search:
    """Looks for faster tiles, cell by cell, until the clock says `end`; writes winners to `target`."""

    def __init__(
        self, notes: Notes, measure: Measure, end: float = math.inf, target: Path | None = None, jobs: int | None = None
    ) -> None:
        self.notes, self.measure, self.end, self.target, self.jobs = notes, measure, end, target, jobs
        self.now: dict[str, dict[str, Tile]] = {}
        """Cells that were looked at, as they are: a process that times others has to have them too."""

    def run(self, cell: Cell, rows: Sequence[Row]) -> Outcome | None:
        """Climb from the tile in the cell to faster ones. None if no row launches anything else with another tile."""
        before = best = dict(cell.tile)
        self.put(cell, best)
        gain = 1.0
        chosen = telling(cell, rows, neighbours(cell.name, best))
        if not chosen:
            return None
        try:
            while (faster := self.faster(cell, chosen, best)) is not None:
                ratio = self.ratio_in_turns(cell, chosen, best, faster)
                if ratio >= LEAST:
                    best, gain = faster, gain * ratio
                    self.put(cell, best)
                    self.write(cell, ratio)
            self.notes.through.append(str(cell))
        except TimeIsUp:
            pass
        self.notes.save()
        known = self.known(cell).values()
        refused = sum("why" in k for k in known)
        return Outcome(cell, before, best, gain, len(known) - refused, refused)

    def faster(self, cell: Cell, chosen: Sequence[Row], best: Tile) -> dict[str, int] | None:
        """A neighbour that is faster than `best`: the fastest of the first few among which there is one."""
        steps = neighbours(cell.name, best)
        for k in range(0, len(steps), TOGETHER):
            timed = self.judge(cell, chosen, steps[k : k + TOGETHER])
            ratios = [self.ratio(cell, chosen, best, tile) for tile in timed]
            if max(ratios, default=0.0) >= LEAST:
                return timed[ratios.index(max(ratios))]
        return None

    def judge(self, cell: Cell, chosen: Sequence[Row], tiles: Sequence[dict[str, int]]) -> list[dict[str, int]]:
        """Those of the tiles that are worth timing; why others are not is noted."""
        known = self.known(cell)
        new = [tile for tile in tiles if words(tile) not in known]
        if new:
            self.check_time()
        for tile, why in judged(cell, new, chosen, self.jobs) if new else ():
            known[words(tile)] = {"seconds": {}} if why is None else {"why": why}
        return [tile for tile in tiles if "why" not in known[words(tile)]]

    def ratio(self, cell: Cell, chosen: Sequence[Row], best: Tile, tile: Tile) -> float:
        """How much faster a tile is than `best`, from what is known or is now timed; 0 if it fails or is hopeless."""
        found = []
        for row in chosen:
            before, after = self.seconds(cell, best, row), self.seconds(cell, tile, row)
            if before is None:
                continue
            if after is None or after > HOPELESS * before:
                return 0.0
            found.append(before / after)
        return statistics.geometric_mean(found) if found else 0.0

    def ratio_in_turns(self, cell: Cell, chosen: Sequence[Row], best: Tile, tile: Tile) -> float:
        """The same, both timed again."""
        for row in chosen:
            for one in (best, tile, best, tile):
                self.seconds(cell, one, row, again=True)
        return self.ratio(cell, chosen, best, tile)

    def seconds(self, cell: Cell, tile: Tile, row: Row, again: bool = False) -> float | None:
        """The least time of a row with this tile, timed if it was not; None if it fails, which is noted."""
        known = self.known(cell).setdefault(words(tile), {"seconds": {}})
        if "why" in known:
            return None
        before = known["seconds"].get(row.name)
        if before is None or again:
            self.check_time()
            table = self.now | {cell.name: self.now[cell.name] | {cell.column: tile}}
            found = self.measure(row, table)
            if isinstance(found, str):
                known["why"] = f"{row.name}: {found}"
                return None
            known["seconds"][row.name] = found if before is None else min(before, found)
        return known["seconds"][row.name]

    def known(self, cell: Cell) -> dict[str, dict[str, Any]]:
        return self.notes.cells.setdefault(str(cell), {})

    def check_time(self) -> None:
        if self.end - time.monotonic() < RESERVE:
            raise TimeIsUp

    def put(self, cell: Cell, tile: Tile) -> None:
        launch.replace_cells(cell.name, {cell.column: tile})
        self.now.setdefault(cell.name, {})[cell.column] = tile

    def write(self, cell: Cell, ratio: float) -> None:
        """Into the file of measured tiles; gains over one that was there multiply."""
        if self.target is None:
            return
        found = measured(self.target)
        before = found.setdefault(cell.name, {}).get(cell.column, {"gain": 1.0})
        found[cell.name][cell.column] = {
            "tile": dict(cell.tile),
            "card": _card(),
            "date": datetime.now(UTC).date().isoformat(),
            "gain": round(before["gain"] * ratio, 3),
        }
        self.target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


@dataclass(frozen=True)
class Wanted:
    """What to tune: rows of these families, by commas, or "all"; for how many minutes; for which architecture.

    slowest  a file of results, with whose rows that are slowest beside torch to begin
    target   the file that winners go to; `state` the one of what is known, by default in the results' folder
    jobs     how many processes compile
    """

    families: str
    minutes: float
    arch: str = "sm_90"
    slowest: Path | None = None
    target: Path = MEASURED
    state: Path | None = None
    jobs: int | None = None

    def rows(self) -> list[Row]:
        """Rows of single operations: what a step is slow by is found in those."""
        chosen = rows.select(rows.GPU, families=None if self.families == "all" else self.families.split(","))
        chosen = [row for row in chosen if row.compiles]
        return chosen if self.slowest is None or not self.slowest.exists() else slowest_first(chosen, self.slowest)


def slowest_first(chosen: Sequence[Row], path: Path) -> list[Row]:
    """The rows, those before others that were slower than torch's fastest in a file of results, by how much."""
    found = {r.name: min(r.speedups.values()) for r in results.load(path).rows if r.speedups}
    slow = sorted((row for row in chosen if found.get(row.name, 1.0) < 1.0), key=lambda row: found[row.name])
    return [*ranked(-1, slow), *(row for row in chosen if row not in slow)]


def run(wanted: Wanted) -> list[Outcome]:
    """Tune the cells that the rows ask for; in the interpreter say what would be timed."""
    end = time.monotonic() + 60 * wanted.minutes
    asked = cells(wanted.rows(), wanted.arch)
    with compile.kept():
        return listed(asked, end, wanted.jobs) if tritongrad_kernels.INTERPRETED else _timed(wanted, asked, end)


def _timed(wanted: Wanted, asked: Mapping[Cell, Sequence[Row]], end: float) -> list[Outcome]:
    notes = Notes.at(wanted.state or results.FOLDER / results.slug(_card()) / "tuning.json")
    search = Search(notes, _refuse, end, wanted.target, wanted.jobs)
    outcomes = []
    with Worker(beside=()) as worker:
        search.measure = functools.partial(on_card, worker)
        for cell, asking in asked.items():
            if str(cell) not in search.notes.through and end - time.monotonic() > RESERVE:
                outcome = search.run(cell, asking)
                _say(f"{cell}: {'nothing to vary' if outcome is None else in_words(outcome)}")
                outcomes += [] if outcome is None else [outcome]
    return outcomes


def on_card(worker: Worker, row: Row, table: Mapping[str, Mapping[str, Tile]]) -> float | str:
    """Have a row checked and timed with these cells."""
    result = worker.run(replace(row, ours=Tiled(row.ours, table)))
    return result.ours.median_s if result.ours is not None else result.reason or result.status


def listed(asked: Mapping[Cell, Sequence[Row]], end: float, jobs: int | None) -> list[Outcome]:
    """The candidates of each cell and what the compiler says of them, until the clock says `end`."""
    search = Search(Notes(), _refuse, end, jobs=jobs)
    outcomes = []
    for cell, asking in asked.items():
        tile = cell.tile
        if not (chosen := telling(cell, asking, neighbours(cell.name, tile))):
            continue
        try:
            left = search.judge(cell, chosen, neighbours(cell.name, tile))
        except TimeIsUp:
            break
        for words_of, known in search.known(cell).items():
            print(f"{cell}: {words_of}: {known.get('why', 'to be timed')}")
        outcomes.append(Outcome(cell, tile, tile, 1.0, len(left), len(search.known(cell)) - len(left)))
    return outcomes


def _refuse(row: Row, table: Mapping[str, Mapping[str, Tile]]) -> str:
    return NOT_HERE


def in_words(outcome: Outcome) -> str:
    counts = f"{outcome.timed} timed, {outcome.refused} refused"
    return f"{counts}, {outcome.gain:.3f} x by {words(outcome.after)}" if outcome.gain > 1 else f"{counts}, stays"


def table(outcomes: Sequence[Outcome]) -> Table:
    columns = ["cell", "to be timed" if tritongrad_kernels.INTERPRETED else "timed", "refused", "gain", "tile"]
    return Table(
        columns,
        [[str(o.cell), f"{o.timed}", f"{o.refused}", f"{o.gain:.3f}" * (o.gain > 1), words(o.after)] for o in outcomes],
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
