"""A run as a picture, for which matplotlib must be installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.results import Result, Run
from bench.tables import headline

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")


def save(run: Run, path: Path) -> None:
    """On a GPU: speed beside torch's and share of the roofline. From the interpreter: times, and they say what of."""
    rows = [r for r in run.rows if r.ours is not None]
    if not rows:
        raise ValueError("no row of this run has a time to draw")
    families = list(dict.fromkeys(r.family for r in rows))
    colours = [COLOURS[families.index(r.family) % len(COLOURS)] for r in rows]
    figure = Figure(figsize=(8.5 if run.interpreted else 12, 1.3 + 0.2 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 1 if run.interpreted else 2, squeeze=False, sharey=True)[0]
    (_times if run.interpreted else _beside_torch)(axes, rows, colours)
    axes[0].set_yticks(range(len(rows)), [r.name for r in rows], fontsize=7)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    for axis in axes:
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(headline(run), fontsize=10)
    figure.savefig(path, dpi=130)


def _beside_torch(axes: Any, rows: list[Result], colours: list[str]) -> None:
    places = range(len(rows))
    axes[0].barh(places, [r.speedups.get("eager", 0.0) for r in rows], color=colours)
    axes[0].axvline(1.0, color="black", linewidth=1)
    axes[0].set_xlabel("torch's time / ours (right of the line ours is faster)", fontsize=8)
    axes[1].barh(places, [100 * (r.roofline_share or 0.0) for r in rows], color=colours)
    axes[1].axvline(100, color="black", linewidth=1)
    axes[1].set_xlabel("% of the roofline measured on this card", fontsize=8)


def _times(axes: Any, rows: list[Result], colours: list[str]) -> None:
    times = [1e3 * r.ours.median_s for r in rows if r.ours is not None]
    axes[0].barh(range(len(rows)), times, color=colours)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("ms in Triton's CPU interpreter, scaled-down shapes: says nothing about a GPU", fontsize=8)
