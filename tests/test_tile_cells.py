"""Cells of the tile table: which one holds, and what another in its place leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tritongrad_kernels import launch, tile_cells
from tritongrad_kernels.tile_cells import GPUS, TILES, WIDE, cell, measured, replaced


@pytest.mark.parametrize("name", ["map", "norm", "matmul", "conv2d_tma", "conv2d_input_grad"])
@pytest.mark.parametrize("column", ["sm_90", "sm_90 float32"])
def test_another_tile_in_a_cell_changes_no_other(monkeypatch: pytest.MonkeyPatch, name: str, column: str) -> None:
    """Nor the same cell of newer architectures, which take an older column's where they have none."""
    columns = [c for c in GPUS if c != "sm_80" or c in TILES[name]]
    before = {c + w: dict(cell(name, c, 4 if w else 2)) for c in columns for w in ("", WIDE)}
    other = {**before[column], "num_warps": 16}
    monkeypatch.setitem(TILES, name, replaced(TILES[name], {column: other}))
    after = {c + w: cell(name, c, 4 if w else 2) for c in columns for w in ("", WIDE)}
    assert after == before | {column: other}
    assert TILES[name].get("interpret") == launch.TILES[name].get("interpret")


def test_tiles_follow_a_cell_that_is_replaced() -> None:
    with launch.column("sm_90"):
        before, generation = launch.tile("map", BLOCK=10**6), launch.generation
        with launch.with_cells("map", {"sm_90 float32": {"BLOCK": 64, "num_warps": 1}}):
            assert launch.tile("map", BLOCK=10**6) == {"BLOCK": 64, "num_warps": 1} and launch.generation > generation
            assert launch.tile("map", itemsize=2, BLOCK=10**6) == before
        assert launch.tile("map", BLOCK=10**6) == before


def test_a_listener_hears_which_rows_are_asked_for() -> None:
    with launch.asking() as asked:
        launch.tile("map", BLOCK=8)
        launch.tile("softmax", itemsize=2, BM=8, BN=8)
    launch.tile("scan", KEEP=1, SPAN=1)
    assert asked == {("map", True), ("softmax", False)}


def test_measured_cells_are_of_this_table_and_say_where_they_are_from(tmp_path: Path) -> None:
    for name, cells in measured().items():
        for column, found in cells.items():
            assert TILES[name][column] == found["tile"] and found["card"] and found["gain"] > 1, name
    assert measured(tmp_path / "none.json") == {}
    assert tile_cells.MEASURED.parent == Path(launch.__file__).parent
