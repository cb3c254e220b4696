"""Tuning without a GPU: candidates, what the compiler says of them, and the search by a clock that is made up."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as cli, candidates, harness, results, rows, tune
from bench.candidates import Cell, neighbours
from bench.row import Row
from bench.rows import matmul
from tritongrad_kernels import INTERPRETED, launch
from tritongrad_kernels.tile_cells import TILES

SOFTMAX = Cell("softmax", "sm_90 float32")
ROWS = [row for row in rows.GPU if row.family == "softmax"]


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table as it is again after the test."""
    monkeypatch.setitem(TILES, "softmax", dict(TILES["softmax"]))
    launch.replace_cells("softmax", {"sm_90 float32": {"BM": 1, "BN": 4096, "LEAST": 1024, "num_warps": 4}})


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler has nothing against any tile but one."""

    def judged(cell: Cell, tiles: Sequence[Any], chosen: Sequence[Row], jobs: int | None) -> Iterator[tuple]:
        for tile in tiles:
            yield tile, "spills" if tile["num_warps"] == 1 else None

    monkeypatch.setattr(tune, "judged", judged)


class Clock:
    """Fastest with 8 rows and 8 warps; 2 warps fail."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, row: Row, table: Mapping[str, Mapping[str, Any]]) -> float | str:
        tile = table["softmax"]["sm_90 float32"]
        self.asked.append((row.name, candidates.words(tile)))
        if tile["num_warps"] == 2:
            return "WrongResult: 3 elements are off"
        return 1e-3 * (1 + abs(tile["BM"].bit_length() - 4)) * (1 + abs(tile["num_warps"] - 8) / 8)


def test_neighbours_are_one_step_away() -> None:
    tile = {
        "BM": 64,
        "BN": 1,
        "SPLIT": 1 << 14,
        "TILES": 128,
        "FLAT": 1,
        "num_warps": 16,
        "num_stages": 1,
        "maxnreg": 8,
    }
    found = [{k: n for k, n in other.items() if tile[k] != n} for other in neighbours("any", tile)]
    assert found == [
        *({"BM": 128}, {"BN": 2}, {"BM": 32}, {"SPLIT": 1 << 13}),
        *({"BM": 32, "BN": 2}, {"num_warps": 8}, {"num_stages": 2}, {"FLAT": 0}, {}),
    ]
    assert "maxnreg" not in neighbours("any", tile)[-1]
    assert all(other["num_warps"] == 4 for other in neighbours("conv2d", {"BO": 64, "num_warps": 4}))


def test_cells_are_those_that_rows_ask_for() -> None:
    found = candidates.cells(ROWS, "sm_90")
    assert SOFTMAX in found and found[SOFTMAX][0] in ROWS and SOFTMAX.tile["BN"] == 4096
    steps = neighbours("softmax", SOFTMAX.tile)
    chosen = candidates.telling(SOFTMAX, found[SOFTMAX], steps)
    assert 1 < len(chosen) <= candidates.ROWS and len({row.name for row in chosen}) == len(chosen)
    assert candidates.telling(Cell("matmul", "sm_90"), chosen, neighbours("matmul", Cell("matmul", "sm_90").tile)) == []


def test_the_compiler_speaks_against_tiles() -> None:
    row = next(row for row in ROWS if "forward 98304x1024 bfloat16" in row.name)
    tiles = [{**SOFTMAX.tile, "BN": 8192}, {**SOFTMAX.tile, "num_warps": 8}, {**SOFTMAX.tile, "BM": 3}, {"BM": 1}]
    found = [why for _, why in candidates.judged(SOFTMAX, tiles, [row], jobs=1)]
    assert found[0] == "it launches nothing else" and found[3] == "it cannot be launched"
    assert found[1] is not None and "accesses of 16 bytes" in found[1]
    assert found[2] is not None and "power of 2" in found[2]
    assert SOFTMAX.tile["BM"] == 1


def test_the_search_climbs_to_the_fastest_and_writes_it(unjudged: None, tmp_path: Path) -> None:
    clock, target = Clock(), tmp_path / "measured.json"
    notes = tune.Notes(tmp_path / "state.json")
    outcome = tune.Search(notes, clock, target=target).run(SOFTMAX, ROWS)
    assert outcome is not None
    assert (outcome.after["BM"], outcome.after["num_warps"]) == (8, 8) and outcome.gain == pytest.approx(6.0)
    written = json.loads(target.read_text())["softmax"]["sm_90 float32"]
    assert written["tile"] == outcome.after == dict(SOFTMAX.tile) and written["gain"] == pytest.approx(6.0, abs=0.01)
    assert set(written) == {"tile", "card", "date", "gain"}
    assert outcome.refused >= 1 and "6.000 x by BM=8" in tune.in_words(outcome)
    assert not any("num_warps=1" in tile.split() for _, tile in clock.asked)
    again = Clock()
    restarted = tune.Search(tune.Notes.at(tmp_path / "state.json"), again, target=target)
    assert restarted.notes.through == [str(SOFTMAX)]
    assert restarted.run(SOFTMAX, ROWS).gain == 1.0 and not again.asked  # type: ignore[union-attr]


def test_what_is_faster_only_once_is_not_taken(unjudged: None, tmp_path: Path) -> None:
    seen: dict[tuple[str, str], int] = {}

    def fickle(row: Row, table: Mapping[str, Mapping[str, Any]]) -> float:
        tile = candidates.words(table["softmax"]["sm_90 float32"])
        seen[row.name, tile] = seen.get((row.name, tile), 0) + 1
        return 0.5 if "BM=1 " in tile and seen[row.name, tile] > 1 else 0.9 if "BM=2 " in tile else 1.0

    target = tmp_path / "measured.json"
    outcome = tune.Search(tune.Notes(), fickle, target=target).run(SOFTMAX, ROWS)
    assert outcome is not None and outcome.gain == 1.0 and outcome.after == outcome.before and not target.exists()


def test_when_the_minutes_are_over_what_was_found_stays(unjudged: None, tmp_path: Path) -> None:
    clock = Clock()
    search = tune.Search(tune.Notes(tmp_path / "state.json"), clock, target=tmp_path / "measured.json")

    def until_the_first_winner(row: Row, table: Mapping[str, Mapping[str, Any]]) -> float | str:
        if (tmp_path / "measured.json").exists():
            search.end = time.monotonic()
        return clock(row, table)

    search.measure = until_the_first_winner
    outcome = search.run(SOFTMAX, ROWS)
    assert outcome is not None and 1 < outcome.gain < 6 and search.notes.through == []
    more = tune.Search(tune.Notes.at(tmp_path / "state.json"), clock, target=tmp_path / "measured.json")
    rest = more.run(SOFTMAX, ROWS)
    assert rest is not None and rest.gain * outcome.gain == pytest.approx(6.0)
    written = json.loads((tmp_path / "measured.json").read_text())["softmax"]["sm_90 float32"]
    assert written["gain"] == pytest.approx(6.0, abs=0.01)


def test_a_row_is_timed_with_the_cells_it_carries() -> None:
    def side(*tensors: Any) -> str:
        return candidates.words(SOFTMAX.tile)

    carried = tune.Tiled(ROWS[0].ours, {"softmax": {"sm_90 float32": {"BM": 4, "BN": 64, "LEAST": 1, "num_warps": 2}}})
    assert pickle.loads(pickle.dumps(carried)) == carried
    assert tune.Tiled(side, carried.table)() == "BM=4 BN=64 LEAST=1 num_warps=2"


def test_a_row_is_checked_and_timed_by_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TILES, "matmul", dict(TILES["matmul"]))
    column = "interpret" if INTERPRETED else "sm_80 float32"
    runner, row = harness.Harness(beside=()), matmul.product(24, 40, 17, "float32")
    runner.clock.samples = 2
    tile = {"BM": 16, "BN": 16, "BK": 16, "SPLIT": 1 << 20}
    found = tune.on_card(runner, row, {"matmul": {column: tile}})  # type: ignore[arg-type]
    assert isinstance(found, float) and found > 0 and TILES["matmul"][column] == tile
    found = tune.on_card(runner, row, {"matmul": {column: {"BM": 16}}})  # type: ignore[arg-type]
    assert found == "KeyError: 'BN'"


def test_the_slowest_rows_come_first(tmp_path: Path) -> None:
    blank = [harness.blank(row) for row in ROWS]
    speedups = {
        ROWS[2].name: {"eager": 0.5},
        ROWS[5].name: {"eager": 1.2, "compile": 0.4},
        ROWS[0].name: {"eager": 3.0},
    }
    timed = [replace(r, speedups=speedups.get(r.name, {})) for r in blank]
    path = results.path_of(run := replace(results.begin("x", "abc", None), rows=timed), tmp_path)
    results.save(run, path)
    found = tune.Wanted("softmax", 1.0, slowest=path).rows()
    assert [row.name for row in found[:2]] == [ROWS[5].name, ROWS[2].name]
    assert sorted(row.name for row in found) == sorted(row.name for row in ROWS)
    assert candidates.telling(SOFTMAX, found, neighbours("softmax", SOFTMAX.tile))[0].name == ROWS[5].name
    assert tune.Wanted("softmax", 1.0, slowest=tmp_path / "none.json").rows()[0].rank >= 0


@pytest.mark.skipif(not INTERPRETED, reason="here tiles are timed")
def test_without_a_gpu_nothing_is_timed(unjudged: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "measured.json"
    assert cli.main(["tune", "softmax", "--minutes", "1", "--table", str(target)]) == 0
    printed = capsys.readouterr().out
    assert "num_warps=8: to be timed" in printed and tune.NOT_HERE in " ".join(printed.split()) and not target.exists()
    assert cli.main(["tune", "softmux", "--minutes", "1"]) == 2 and "no family" in capsys.readouterr().err
    assert cli.main(["tune", "softmax", "--minutes", "0"]) == 0
