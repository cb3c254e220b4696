"""A run as pictures, for which matplotlib must be installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.results import Result, Run
from bench.summary import geometric_mean, group_of
from bench.tables import headline

COLOURS = {
    "products": "#4477aa",
    "convolutions": "#ee6677",
    "attention": "#aa3377",
    "norms": "#228833",
    "elementwise and copies": "#66ccee",
    "optimizers": "#ccbb44",
    "others": "#555555",
}
CLASSES = {
    "products": ("matmul",),
    "convolutions": (
        "conv2d", "depthwise", "grouped", "dilated", "conv1d", "conv3d", "conv_transpose", "conv_zoo",
    ),
    "attention": ("attention",),
    "norms": ("batch_norm", "layer_norm", "rms_norm", "group_norm"),
    "elementwise and copies": ("elementwise", "copy"),
    "optimizers": ("sgd", "adamw"),
}  # fmt: skip
MARKERS = {"bfloat16": "o", "float16": "^", "float32": "s"}
PEERS = {"eager": "#bbbbbb", "compile": "#000000"}
SWEPT = {"copy": ("clone",), "elementwise": ("add",), "reduce": ("sum all",)}
"""Operations of many sizes, whose points are joined."""
TALL = 80
"""Bars in a picture, beyond which a family has several."""


def every(run: Run, folder: Path) -> list[Path]:
    """All pictures of a run that has something to draw, in `folder`; the files.

    On a GPU: ratios of families, ratios row by row for each family with more than one, the roofline, and bandwidth
    against size. From the interpreter only its times, which say what they are.
    """
    if not _timed(run):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    if run.interpreted:
        save(run, folder / "times.png")
        return [folder / "times.png"]
    drawn: dict[str, Callable[[Any], None]] = {
        "ratios": lambda axes: _strip(axes, run),
        "roofline": lambda axes: _roofline(axes, run),
        "bandwidth": lambda axes: _bandwidth(axes, run),
    }
    paths = []
    for name, draw in drawn.items():
        height = 1.2 + 0.22 * len(_families(run)) if name == "ratios" else 5.5
        paths.append(_drawn(run, folder / f"{name}.png", [draw], (9, height)))
    for name, rows in _pages(run).items():
        if len(rows) > 1:
            size = (9, 1.3 + 0.19 * len(rows))
            paths.append(_drawn(run, folder / f"ratios-{name}.png", [partial(_bars, rows=rows)], size))
    return paths


def save(run: Run, path: Path) -> None:
    """One picture: on a GPU the ratios of all families, the roofline and bandwidth; from the interpreter times."""
    rows = _timed(run)
    if not rows:
        raise ValueError("no row of this run has a time to draw")
    if run.interpreted:
        _drawn(run, path, [lambda axes: _times(axes, rows)], (8.5, 1.3 + 0.2 * len(rows)))
        return
    panels: list[Callable[[Any], None]] = [
        lambda axes: _strip(axes, run), lambda axes: _roofline(axes, run), lambda axes: _bandwidth(axes, run),
    ]  # fmt: skip
    _drawn(run, path, panels, (22, max(5.5, 1.2 + 0.22 * len(_families(run)))))


def _drawn(run: Run, path: Path, panels: Sequence[Callable[[Any], None]], size: tuple[float, float]) -> Path:
    figure = Figure(figsize=size, layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(headline(run), fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def _timed(run: Run) -> list[Result]:
    return [r for r in run.rows if r.ours is not None]


def _compared(run: Run) -> list[Result]:
    return [r for r in _timed(run) if "eager" in r.speedups]


def class_of(family: str) -> str:
    return next((name for name, families in CLASSES.items() if family in families), "others")


def colour_of(r: Result) -> str:
    return COLOURS[class_of(r.family)]


def _pages(run: Run) -> Mapping[str, list[Result]]:
    """The rows of each family; of one with many, each of what it is summed up as."""
    found: dict[str, list[Result]] = {}
    rows = _compared(run)
    many = Counter(r.family for r in rows)
    for r in rows:
        name = group_of(r).replace(" ", "-") if many[r.family] > TALL else r.family
        found.setdefault(name, []).append(r)
    return found


def _families(run: Run) -> Mapping[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for r in _compared(run):
        found.setdefault(group_of(r), []).append(r)
    return found


# ------------------------------------------------------------------------------------------------------------- ratios


def _strip(axes: Any, run: Run) -> None:
    """A line for each group of rows, a dot for each row, and where their geometric mean is."""
    found = _families(run)
    for place, rows in enumerate(found.values()):
        for r in rows:
            axes.plot(r.speedups["eager"], place, MARKERS[r.dtype], markersize=4, alpha=0.6, color=colour_of(r))
        axes.plot(
            geometric_mean(r.speedups["eager"] for r in rows),
            place,
            "|",
            markersize=13,
            markeredgewidth=2.5,
            color="black",
        )
    axes.set_yticks(range(len(found)), [f"{name} ({len(rows)})" for name, rows in found.items()], fontsize=7)
    axes.set_ylim(len(found) - 0.4, -0.6)
    _ratio_axis(axes, [r.speedups["eager"] for rows in found.values() for r in rows])
    _legend_of_dtypes(axes, [r for rows in found.values() for r in rows])
    axes.legend(fontsize=7, loc="lower left")
    axes.set_xlabel("eager torch's time / ours, geometric mean |; right of the line ours is faster", fontsize=8)


def _bars(axes: Any, rows: Sequence[Result]) -> None:
    """A bar for each row beside eager torch, and a mark where torch.compile is."""
    places = range(len(rows))
    ratios = [r.speedups["eager"] for r in rows]
    axes.barh(places, [ratio - 1 for ratio in ratios], left=1, color=[colour_of(r) for r in rows])
    compiled = [(r.speedups["compile"], k) for k, r in enumerate(rows) if "compile" in r.speedups]
    if compiled:
        axes.plot(*zip(*compiled, strict=True), "D", markersize=4, color=PEERS["compile"], label="torch.compile")
        axes.legend(fontsize=7)
    axes.set_yticks(places, [r.name for r in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    _ratio_axis(axes, [*ratios, *(ratio for ratio, _ in compiled)])
    axes.set_xlabel("torch's time / ours; right of the line ours is faster", fontsize=8)


def _ratio_axis(axes: Any, ratios: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(0.45, 0.9 * min(ratios)), max(2.2, 1.1 * max(ratios)))
    axes.axvline(1.0, color="black", linewidth=1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(axis="x", labelsize=8)


# -------------------------------------------------------------------------------------------------- against the card


def _roofline(axes: Any, run: Run) -> None:
    """Operations a second over operations a byte, under the ceilings that this run measured."""
    rows = [r for r in _timed(run) if r.flops and r.bytes]
    _legend_of_classes(axes, rows)
    _legend_of_dtypes(axes, rows)
    for r in rows:
        assert r.ours is not None
        at = r.flops / r.bytes
        if "eager" in r.peers:
            axes.plot(at, r.flops / r.peers["eager"].median_s, ".", markersize=4, color=PEERS["eager"], zorder=1)
        axes.plot(
            at, r.flops / r.ours.median_s, MARKERS[r.dtype], markersize=4, alpha=0.8, color=colour_of(r), zorder=2
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    if run.ceilings is not None:
        _ceilings(axes, run.ceilings, [r.flops / r.bytes for r in rows])
    axes.set_xlabel("operations per byte that the row cannot do without", fontsize=8)
    axes.set_ylabel("operations a second", fontsize=8)
    axes.plot([], [], ".", color=PEERS["eager"], label="eager torch")
    axes.legend(fontsize=7, loc="lower right")


def _ceilings(axes: Any, ceilings: Mapping[str, float], intensities: Sequence[float]) -> None:
    """The roof of each dtype: a slope of the copy's bandwidth, and the rate of large products."""
    copied = ceilings["copy_bytes_per_s"]
    low, high = min(intensities, default=0.1) / 2, max(intensities, default=1e3) * 2
    for name, style in (("bfloat16", "-"), ("float32", "--")):
        peak = ceilings[f"{name}_flops_per_s"]
        ridge = peak / copied
        points = [x for x in (low, ridge, high) if x <= ridge or x == high]
        axes.plot(points, [min(peak, x * copied) for x in points], style, color="black", linewidth=1, zorder=3)
        label = f"{peak / 1e12:.0f} TFLOP/s {name}"
        axes.annotate(label, (high, peak), ha="right", va="bottom", fontsize=7)


def _bandwidth(axes: Any, run: Run) -> None:
    """Bytes a second of the rows that memory limits, over how many bytes they need; sizes of one operation joined."""
    rows = [r for r in _timed(run) if r.limit == "memory" and r.bytes]
    _legend_of_classes(axes, rows)
    series: dict[str, list[tuple[float, float]]] = {}
    highest = 0.0
    for r in rows:
        assert r.ours is not None
        rate = r.bytes / r.ours.median_s / 1e9
        highest = max(highest, rate)
        if "eager" in r.peers:
            axes.plot(r.bytes, r.bytes / r.peers["eager"].median_s / 1e9, ".", markersize=4, color=PEERS["eager"])
        axes.plot(r.bytes, rate, MARKERS[r.dtype], markersize=4, alpha=0.8, color=colour_of(r))
        if r.op in SWEPT.get(r.family, ()):
            series.setdefault(f"{r.family} {r.op} {r.dtype}", []).append((r.bytes, rate))
    long = {name: sorted(points) for name, points in series.items() if len(points) >= 4}
    for (name, points), style in zip(long.items(), ("-", "--", ":", "-."), strict=False):
        axes.plot(*zip(*points, strict=True), style, linewidth=1, color="black", label=name)
    axes.set_xscale("log")
    if run.ceilings is not None:
        copied = run.ceilings["copy_bytes_per_s"] / 1e9
        highest = max(highest, copied)
        axes.axhline(copied, color="black", linewidth=1.5)
        axes.annotate(f"copy of 1 GiB, {copied:.0f} GB/s", (0.02, copied), xycoords=("axes fraction", "data"),
                      va="bottom", fontsize=7)  # fmt: skip
    axes.set_ylim(0, 1.1 * highest)
    axes.set_xlabel("bytes that the row cannot do without", fontsize=8)
    axes.set_ylabel("GB/s", fontsize=8)
    axes.plot([], [], ".", color=PEERS["eager"], label="eager torch")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0.0, 0.88))


def _legend_of_classes(axes: Any, rows: Sequence[Result]) -> None:
    for name in dict.fromkeys(class_of(r.family) for r in rows):
        axes.plot([], [], "o", markersize=4, color=COLOURS[name], label=name)


def _legend_of_dtypes(axes: Any, rows: Sequence[Result]) -> None:
    for dtype in dict.fromkeys(r.dtype for r in rows):
        axes.plot([], [], MARKERS[dtype], markersize=4, color="#555555", label=dtype)


def _times(axes: Any, rows: Sequence[Result]) -> None:
    times = [1e3 * r.ours.median_s for r in rows if r.ours is not None]
    axes.barh(range(len(rows)), times, color=[colour_of(r) for r in rows])
    axes.set_yticks(range(len(rows)), [r.name for r in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlabel("ms in Triton's CPU interpreter, scaled-down shapes: says nothing about a GPU", fontsize=8)
