"""The cells of the tile table: which one holds for an architecture and a width, and those that were measured on a GPU.

`measured_tiles.json`, beside this file, has the cells that `python -m bench tune` found to be faster than the table's,
each with the card, the date and by how much. They stand in the table from the import on:

    {"matmul_tma": {"sm_90": {"tile": {"BM": 128, ...}, "card": "NVIDIA H200", "date": "2026-11-22", "gain": 1.07}}}

A block that decides in which order a sum is taken (BK, BC, FOLD, CHUNK, SPLIT and the like) decides its last bits:
results are the same from run to run and from card to card for one table, and two tables may differ in last bits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritongrad_kernels.tile_table import TILES as TILES

GPUS = ("sm_80", "sm_90", "sm_100")
WIDE = " float32"
"""Ends the name of a column for elements of 4 bytes and more."""
MEASURED = Path(__file__).with_name("measured_tiles.json")

Tile = Mapping[str, int]


def cell(name: str, column: str, itemsize: int) -> Tile:
    """The tile of row `name` for an architecture's column. A row lists only what differs from the column before."""
    return _cell(TILES[name], column, itemsize >= 4)


def _cell(row: Mapping[str, Tile], column: str, wide: bool) -> Tile:
    if column not in row:
        older = GPUS[: GPUS.index(column)] if column in GPUS else GPUS
        column = next(c for c in reversed(older) if c in row)
    return row.get(column + WIDE, row[column]) if wide else row[column]


def replaced(row: Mapping[str, Tile], cells: Mapping[str, Tile]) -> dict[str, dict[str, int]]:
    """A row with other cells in these columns. The rest is spelled out: none takes what was meant for another."""
    first = next(k for k, column in enumerate(GPUS) if column in row)
    columns = {c + w: _cell(row, c, bool(w)) for c in GPUS[first:] for w in ("", WIDE)}
    others = {column: tile for column, tile in row.items() if column not in columns}
    return {column: dict(tile) for column, tile in {**others, **columns, **cells}.items()}


def measured(path: Path = MEASURED) -> dict[str, dict[str, dict[str, Any]]]:
    """What the file says, by row and column; nothing if there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


for _name, _cells in measured().items():
    TILES[_name] = replaced(TILES[_name], {column: found["tile"] for column, found in _cells.items()})
