"""Launches under a GPU's roofline, as a picture, for which matplotlib must be installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

from tritongrad.gpus import GPU

_COLOURS = {
    "conv forward": "#4477aa", "conv input grad": "#66ccee", "conv weight grad": "#aa3377",
    "conv grads": "#8866bb", "matmul": "#332288",
    "norm": "#ee6677", "elementwise": "#ccbb44", "pool": "#228833", "reduce": "#ee9944", "optim": "#000000",
}  # fmt: skip
_OTHERS = "#888888"


def draw(launches: Sequence[Any], gpu: GPU, title: str, path: str | PathLike[str]) -> None:
    """Write a picture of planned launches: where each lies under the roof of `gpu`, and the time of each family.

    A dot is a launch, its area its floor time; it lies on the roof, for no launch can lie above. Launches that declare
    no arithmetic share a band at the left. The suffix of the path gives the format. ValueError if there is no launch,
    ModuleNotFoundError without matplotlib.
    """
    from matplotlib.figure import Figure

    if not launches:
        raise ValueError("a plan without launches has nothing to draw")
    times: dict[str, float] = {}
    for one in launches:
        times[one.family] = times.get(one.family, 0.0) + one.floor_ms
    order = sorted(times, key=lambda family: -times[family])
    colours = {family: _COLOURS.get(family, _OTHERS) for family in order}
    figure = Figure(figsize=(11.5, 5.2), layout="constrained")
    roof, bars = figure.subplots(1, 2, width_ratios=(2.4, 1))
    _draw_roof(roof, launches, gpu, colours)
    _draw_times(bars, times, order, colours)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)


def _draw_roof(axes: Any, launches: Sequence[Any], gpu: GPU, colours: dict[str, str]) -> None:
    counted = [one.flops / one.bytes for one in launches if one.flops and one.bytes]
    left = 2.0 ** math.floor(math.log2(min(counted, default=1.0)) - 3)
    right = max(2.0 ** math.ceil(math.log2(max(counted, default=1.0)) + 1), 4 * gpu.tensor / gpu.bandwidth)
    band = left * 4
    _draw_ceilings(axes, gpu, left, right)
    longest = max(one.floor_ms for one in launches) or 1.0
    silent = [one for one in launches if not (one.flops and one.bytes)]
    places = {id(one): left * 4 ** ((i + 1) / (len(silent) + 1)) for i, one in enumerate(silent)}
    for one in sorted(launches, key=lambda one: -one.floor_ms):  # small dots lie on top of large ones
        intensity = places.get(id(one)) or one.flops / one.bytes
        rate = gpu.bandwidth * intensity if id(one) in places else one.flops / (one.floor_ms / 1e3)
        area = 6 + 260 * one.floor_ms / longest
        axes.scatter(
            intensity, rate / 1e12, area, colours[one.family], alpha=0.6, edgecolors="white", linewidths=0.5, zorder=3
        )
    if silent:
        axes.axvspan(left, band, color="black", alpha=0.05, linewidth=0)
        axes.text(
            math.sqrt(left * band), 0.97, "no arithmetic\ndeclared", ha="center", va="top", fontsize=7,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.set_xlabel("FLOP per byte", fontsize=9)
    axes.set_ylabel("attainable TFLOP/s", fontsize=9)


def _draw_ceilings(axes: Any, gpu: GPU, left: float, right: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(gpu.bandwidth * left / 1e12 / 2, gpu.tensor / 1e12 * 3)
    for ceiling, style, label in (
        (gpu.tensor, "-", f"{gpu.tensor / 1e12:.0f} TFLOP/s, 16-bit products"),
        (gpu.single, ":", f"{gpu.single / 1e12:.4g} TFLOP/s, float32 without tensor cores"),
    ):
        ridge = ceiling / gpu.bandwidth
        axes.plot([ridge, right], [ceiling / 1e12] * 2, style, color="black", linewidth=1.2)
        axes.text(right / 1.1, ceiling / 1e12 * 1.3, label, ha="right", va="bottom", fontsize=7)
    ridge = gpu.tensor / gpu.bandwidth
    axes.plot([left, ridge], [gpu.bandwidth * left / 1e12, gpu.tensor / 1e12], "-", color="black", linewidth=1.2)
    middle = math.sqrt(left * ridge)
    axes.text(
        middle / 1.6, gpu.bandwidth * middle / 1e12 * 1.6, f"{gpu.bandwidth / 1e12:.3g} TB/s", ha="right", fontsize=8
    )
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_times(axes: Any, times: dict[str, float], order: list[str], colours: dict[str, str]) -> None:
    places = range(len(order))
    axes.barh(places, [times[family] for family in order], color=[colours[family] for family in order])
    for place, family in enumerate(order):
        label = f" {times[family]:.2f}" if times[family] >= 0.005 else " <0.01"
        axes.text(times[family], place, label, va="center", fontsize=8)
    axes.set_yticks(places, order, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(times.values()) * 1.18 or 1.0)
    axes.set_xlabel(f"floor, ms (all: {sum(times.values()):.2f})", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
