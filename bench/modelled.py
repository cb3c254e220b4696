"""What training steps of ResNet need at least on a GPU that is not here: planned, not measured.

A plan is what our kernels declare to read, write and compute, held against the ceilings of a GPU. Beside it stand the
floors of designs that fuse more or less (`tritongrad.floors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.tables import Table
from tritongrad.plan import plan
from tritongrad.training import training_step
from tritongrad_kernels import dtypes

TITLE = "Modelled, not measured: the least time of a training step on a GPU that was not here"
GPU = "H200"
STEPS = (("resnet18", 32), ("resnet18", 256), ("resnet50", 32), ("resnet50", 256))


def modelled(steps: Sequence[tuple[str, int]] = STEPS, side: int = 224) -> list[dict[str, Any]]:
    """A plan for each (network, batch): images of `side` pixels, bfloat16 parameters, SGD with momentum."""
    return [_planned(network, batch, side) for network, batch in steps]


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
