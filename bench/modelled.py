"""What would happen on a GPU that is not here: planned, not measured.

Training steps of ResNet: a plan is what our kernels declare to read, write and compute, held against the ceilings of a
GPU. Beside it stand the floors of designs that fuse more or less (`tritongrad.floors`).

Rows of the benchmark: their launches in a dry run with the kernels of that GPU, and how many bytes these declare to
move for each that the operation cannot do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import launches, rows
from bench.row import Row
from bench.tables import Table
from tritongrad.plan import plan
from tritongrad.training import training_step
from tritongrad_kernels import dtypes
from tritongrad_kernels.launch import Launch

TITLE = "Modelled, not measured: the least time of a training step on a GPU that was not here"
TRAFFIC = "Modelled, not measured: the rows whose launches would move the most bytes for each that they need"
GPU, ARCH = "H200", "sm_90"
SHOWN = 20
STEPS = (("resnet18", 32), ("resnet18", 256), ("resnet50", 32), ("resnet50", 256))


def steps(listed: Sequence[tuple[str, int]] = STEPS, side: int = 224) -> list[dict[str, Any]]:
    """A plan for each (network, batch): images of `side` pixels, bfloat16 parameters, SGD with momentum."""
    return [_planned(network, batch, side) for network, batch in listed]


def _planned(network: str, batch: int, side: int) -> dict[str, Any]:
    name = f"{network} {side}px b{batch} bfloat16"
    found = plan(training_step(network, batch, side, dtypes.bfloat16), gpu=GPU, name=name).to_dict()
    return {k: v for k, v in found.items() if k not in ("by_launch", "by_family")} | {"images": batch}


def table(plans: Sequence[Mapping[str, Any]]) -> Table:
    """Each plan beside the floors of the designs, in milliseconds."""
    designs = list(dict.fromkeys(design for p in plans for design in p["floors"]))
    columns = ["step", "GPU", "launches", "GB", "peak GB", "this plan", *(f"floor {d}" for d in designs), "plan/a"]
    return Table(columns, [_row(p, designs) for p in plans])


def _row(p: Mapping[str, Any], designs: Sequence[str]) -> list[str]:
    floors = [f"{p['floors'][d]:.2f} ms" for d in designs]
    sizes = [f"{p['launches']}", f"{p['bytes'] / 1e9:.2f}", f"{p['peak_memory'] / 1e9:.2f}"]
    return [p["name"], p["gpu"], *sizes, f"{p['floor_ms']:.2f} ms", *floors, f"{p['floor_ms'] / p['floors']['a']:.2f}"]


def traffic(listed: Sequence[Row] | None = None) -> list[dict[str, Any]]:
    """For each row on a GPU that says what it needs (the long tail left out): launches, bytes needed and moved."""
    chosen = [row for row in rows.GPU if row.rank < 3 and row.bytes] if listed is None else listed
    return [_moved(row, launches.of(row, ARCH)) for row in chosen]


def _moved(row: Row, found: Sequence[Launch]) -> dict[str, Any]:
    return {"name": row.name, "launches": len(found), "needed": row.bytes, "moved": sum(n.bytes for n in found)}


def traffic_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """The rows that move most of what they need not."""
    most = sorted(found, key=lambda r: r["moved"] / r["needed"], reverse=True)[:SHOWN]
    columns = ["row", "launches", "GB needed", "GB moved", "moved / needed"]
    return Table(columns, [_traffic(r) for r in most])


def _traffic(r: Mapping[str, Any]) -> list[str]:
    sizes = [f"{r[k] / 1e9:.3f}" for k in ("needed", "moved")]
    return [r["name"], str(r["launches"]), *sizes, f"{r['moved'] / r['needed']:.1f}"]
