"""Tiles that might be faster than one of the tile table's, and what the compiler says against them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import gate, launches
from bench.row import Row
from tritongrad_kernels import compile, launch
from tritongrad_kernels.compile import Report, Variant
from tritongrad_kernels.launch import Launch
from tritongrad_kernels.tile_cells import WIDE, Tile, cell

# Not sizes of a tile: extents up to which a row is used at all, how many programs are worth it, a GPU's own number.
LIMITS = {"LONGEST", "SCORES", "FEW", "SHORT", "TILES", "RESIDENT", "LEAST", "SPREAD", "TURN", "ELEMENTS"}
FLAGS = {"FLAT", "QUARTERS"}
LARGEST = 1 << 14
# Eight warps are reported to miscompile pointer convolutions with a window (pytorch issue 173068).
KEPT = {"conv2d": {"num_warps"}, "conv2d_input_grad": {"num_warps"}, "conv2d_weight_grad": {"num_warps"}}
ROWS = 4  # of the benchmark, for one cell
TRIED = 60  # rows that are looked at for these


@dataclass(frozen=True)
class Cell:
    """A cell of the tile table: its row, and its column like "sm_90" or "sm_90 float32"."""

    name: str
    column: str

    @property
    def arch(self) -> str:
        return self.column.removesuffix(WIDE)

    @property
    def tile(self) -> Tile:
        """What is in it now."""
        return cell(self.name, self.arch, 4 if self.column.endswith(WIDE) else 2)

    def __str__(self) -> str:
        return f"{self.name} {self.column}"


def cells(rows: Sequence[Row], arch: str) -> dict[Cell, list[Row]]:
    """The cells that rows ask for on `arch`, in the order in which they first do, each with its rows."""
    found: dict[Cell, list[Row]] = {}
    column = launch.column_for(arch)
    for row in rows:
        with launch.asking() as asked:
            launches.of(row, arch)
        for name, wide in sorted(asked):
            found.setdefault(Cell(name, column + WIDE * wide), []).append(row)
    return found


def words(tile: Tile) -> str:
    return " ".join(f"{name}={n}" for name, n in tile.items())


def neighbours(name: str, tile: Tile) -> list[dict[str, int]]:
    """Tiles one step away: a block half or twice as long, or one side for another; warps, stages, registers, a flag."""
    kept = KEPT.get(name, set()) | LIMITS
    blocks = [k for k in tile if k.isupper() and k not in kept | FLAGS]
    steps = [{k: tile[k] * 2} for k in blocks] + [{k: tile[k] // 2} for k in blocks]
    sides = [k for k in blocks if k.startswith("B")]
    steps += [{a: tile[a] * 2, b: tile[b] // 2} for a, b in itertools.permutations(sides, 2)]
    if "num_warps" in tile and "num_warps" not in kept:
        steps += [{"num_warps": tile["num_warps"] * 2}, {"num_warps": tile["num_warps"] // 2}]
    if "num_stages" in tile:
        steps += [{"num_stages": tile["num_stages"] + 1}, {"num_stages": tile["num_stages"] - 1}]
    steps += [{k: 1 - tile[k]} for k in tile if k in FLAGS]
    found = [{**tile, **step} for step in steps if all(_allowed(k, n) for k, n in step.items())]
    if "maxnreg" in tile:
        found.append({k: n for k, n in tile.items() if k != "maxnreg"})
    return found


def _allowed(name: str, n: int) -> bool:
    if name in FLAGS:
        return n in (0, 1)
    return 1 <= n <= {"num_warps": 16, "num_stages": 6}.get(name, LARGEST)


def telling(of: Cell, rows: Sequence[Row], steps: Sequence[Tile]) -> list[Row]:
    """A few rows that launch something else with some of these tiles: of those that matter most, different ones."""
    first = [row for row in rows if row.rank == min(r.rank for r in rows)]
    others = [row for row in rows if row not in first] if len(first) < ROWS else []
    spread = [first[k * len(first) // TRIED] for k in range(min(TRIED, len(first)))] if len(first) > TRIED else first
    ordered = [row for k in range(ROWS) for row in spread[k::ROWS]] + others[:TRIED]
    found: list[Row] = []
    for row in ordered:
        if len(found) == ROWS:
            break
        before = launches.of(row, of.arch)
        if any(_recorded(of, tile, row) not in (before, None) for tile in steps):
            found.append(row)
    return found


def _recorded(of: Cell, tile: Tile, row: Row) -> list[Launch] | None:
    """What a row launches with this tile in the cell; None if that cannot be."""
    with launch.with_cells(of.name, {of.column: tile}):
        try:
            return launches.of(row, of.arch)
        except Exception:
            return None


def judged(
    of: Cell, tiles: Sequence[Tile], rows: Sequence[Row], jobs: int | None = None
) -> Iterator[tuple[Tile, str | None]]:
    """Each tile with the reason why it need not be timed, or None.

    It launches nothing else, its kernels do not compile, or they break a rule of the gate (registers, shared memory,
    tensor cores, 16 bytes an access) that the kernels of the tile in the cell keep.
    """
    now = [_recorded(of, of.tile, row) for row in rows]
    with compile.kept():
        baseline = _compiled(_variants(now, of.arch), jobs)
        allowed = {(r.variant.kernel, _rule(p)) for r in baseline.values() for p in gate.broken_rules(r)}
        logs = [[_recorded(of, tile, row) for row in rows] for tile in tiles]
        variants = [{} if None in log or log == now else _variants(log, of.arch) for log in logs]
        reports = _compiled({k: v for found in variants for k, v in found.items()}, jobs)
        for tile, log, found in zip(tiles, logs, variants, strict=True):
            if None in log:
                yield tile, "it cannot be launched"
            elif log == now:
                yield tile, "it launches nothing else"
            else:
                broken = [
                    f"{reports[k].variant.kernel}: {p}"
                    for k in found
                    for p in gate.broken_rules(reports[k])
                    if (reports[k].variant.kernel, _rule(p)) not in allowed and not p.startswith("no rule")
                ]
                yield tile, broken[0] if broken else None


def _rule(problem: str) -> str:
    """Which rule a problem is about."""
    return problem.partition(":")[0].lstrip("0123456789 ")


def _variants(logs: Sequence[list[Launch] | None], arch: str) -> dict[tuple[str, str], Variant]:
    found = compile.specialise([told for log in logs for told in log or ()], arch)
    return {(v.kernel, v.preload or v.signature): v for v in found}


def _compiled(variants: Mapping[tuple[str, str], Variant], jobs: int | None) -> dict[tuple[str, str], Report]:
    return dict(zip(variants, compile.compile_all([*variants.values()], jobs), strict=True))
