"""Training rows and loss curves as pictures, for which matplotlib must be installed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.training.report import apart, pairs
from bench.training.result import Curve, Trained
from bench.training.workloads import SIDES

COLOURS = dict(zip(SIDES, ("#4477aa", "#114477", "#cc8899", "#ee6677", "#aa3377"), strict=True))


def losses(curves: Sequence[Curve], title: str, path: Path) -> None:
    """Our curve of each row drawn over torch's, and below it their difference."""
    both = pairs(curves)
    if not both:
        raise ValueError("there are no two curves of one row to draw")
    columns = min(len(both), 2)
    lines = math.ceil(len(both) / columns)
    figure = Figure(figsize=(6.0 * columns, 4.2 * lines + 0.4), layout="constrained")
    heights = [3, 1] * lines
    axes = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=heights)
    for k, (ours, theirs) in enumerate(both):
        line, column = 2 * (k // columns), k % columns
        _over_each_other(axes[line][column], axes[line + 1][column], ours, theirs)
    for k in range(len(both), lines * columns):
        for shift in (0, 1):
            axes[2 * (k // columns) + shift][k % columns].axis("off")
    figure.suptitle(textwrap.fill(title, 75 * columns), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _over_each_other(upper: Any, lower: Any, ours: Curve, theirs: Curve) -> None:
    upper.plot(theirs.losses, color=COLOURS["torch"], linewidth=4, alpha=0.6, label=f"{theirs.side}")
    upper.plot(ours.losses, color=COLOURS["ours compiled"], linewidth=1, label=ours.side)
    upper.set_title(f"{ours.name}: {apart(ours, theirs):.2%} apart", fontsize=9)
    upper.set_ylabel("loss", fontsize=8)
    upper.legend(fontsize=8, frameon=False)
    lower.plot([a - b for a, b in zip(ours.losses, theirs.losses, strict=False)], color="#555555", linewidth=1)
    lower.axhline(0.0, color="black", linewidth=0.5)
    lower.set_ylabel("ours - torch", fontsize=8)
    lower.set_xlabel("step", fontsize=8)
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)


def rates(found: Sequence[Trained], title: str, path: Path) -> None:
    """Images or tokens a second of each side, as a multiple of eager torch's; for figures of a GPU."""
    eager = {r.name: r.per_second for r in found if r.side == "torch" and r.per_second}
    names = [name for name in dict.fromkeys(r.name for r in found) if name in eager]
    if not names:
        raise ValueError("no row has a rate of torch's to hold ours against")
    figure = Figure(figsize=(9, 1.4 + 0.75 * len(names)), layout="constrained")
    axis = figure.subplots()
    height = 0.8 / len(SIDES)
    for j, side in enumerate(SIDES):
        bars = [(names.index(r.name), r) for r in found if r.side == side and r.name in eager and r.per_second]
        places = [k + (j - (len(SIDES) - 1) / 2) * height for k, _ in bars]
        multiples = [(r.per_second or 0.0) / (eager[r.name] or 1.0) for _, r in bars]
        drawn = axis.barh(places, multiples, height, color=COLOURS[side], label=side)
        axis.bar_label(drawn, [f"{r.per_second:,.0f} {r.unit}/s" for _, r in bars], fontsize=6, padding=2)
    axis.axvline(1.0, color="black", linewidth=1)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("multiple of eager torch (channels-last, same precision)", fontsize=8)
    axis.margins(x=0.15)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(SIDES), fontsize=7, frameon=False)
    figure.suptitle(textwrap.fill(title, 120), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
