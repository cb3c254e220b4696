"""A run's folder: its settings, its figures step by step, its checkpoint, its curves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tritongrad.io import load, save
from tritongrad.training.config import Config


class RunFolder:
    """config.json, metrics.jsonl, checkpoint.safetensors, best.safetensors and curves.png in `path`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @staticmethod
    def create(path: str | os.PathLike[str], config: Config, environment: dict[str, str]) -> RunFolder:
        """A new folder for a run of `config`. FileExistsError if there is a run in it."""
        folder = RunFolder(path)
        folder.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"config": config.to_dict(), "environment": environment}, indent=2) + "\n"
        with open(folder.path / "config.json", "x", encoding="utf-8") as file:
            file.write(text)
        return folder

    def config(self) -> Config:
        """FileNotFoundError if there is no run here, ValueError if it is none of this version's."""
        return Config.from_dict(json.loads((self.path / "config.json").read_text(encoding="utf-8"))["config"])

    def checkpoint(self) -> dict[str, Any] | None:
        """What `save` stored last, whole; None if the run ended before its first checkpoint."""
        try:
            return load(self.path / "checkpoint.safetensors", map_location="cpu")
        except FileNotFoundError:
            return None

    def save(self, state: dict[str, Any], best: bool) -> None:
        """Replace the checkpoint; `best` also keeps the model's parameters and buffers apart."""
        save(state, self.path / "checkpoint.safetensors")
        if best:
            save(state["model"], self.path / "best.safetensors")

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl. A last line that was cut off while it was written is left out."""
        try:
            text = (self.path / "metrics.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def append(self, lines: Iterable[dict[str, Any]]) -> None:
        """Add lines to metrics.jsonl, on disk when this returns."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())

    def keep_metrics(self, step: int) -> None:
        """Forget what was noted after `step`, where a checkpoint was taken that a run now goes on from."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        target = self.path / "metrics.jsonl"
        scratch = target.with_suffix(".jsonl.new")
        scratch.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(scratch, target)

    def plot(self) -> Path | None:
        """Draw the loss of each step and the accuracy of each epoch; None if there is nothing to draw yet.

        ModuleNotFoundError without matplotlib.
        """
        lines = self.metrics()
        losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
        accuracies = [(line["step"], 100 * line["accuracy"]) for line in lines if "accuracy" in line]
        if not losses:
            return None
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        figure.suptitle(self.path.resolve().name)
        steps, values = zip(*losses, strict=True)
        left.plot(steps, values, color="tab:blue", alpha=0.3, linewidth=1, label="each step")
        smooth = _smoothed(values, max(1, len(values) // 50))
        left.plot(steps[-len(smooth) :], smooth, color="tab:blue", label="running mean")
        left.set(title="Training loss", xlabel="step", ylabel="cross-entropy")
        left.legend(frameon=False)
        if accuracies:
            at, percent = zip(*accuracies, strict=True)
            right.plot(at, percent, "o-", color="tab:green")
            right.annotate(f"{percent[-1]:.1f} %", (at[-1], percent[-1]), (0, -16), ha="center",
                           textcoords="offset points", color="tab:green")  # fmt: skip
        right.set(title="Test accuracy", xlabel="step", ylabel="% of images")
        for axes in (left, right):
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        target = self.path / "curves.png"
        figure.savefig(target, dpi=150)
        return target


def _smoothed(values: tuple[float, ...], width: int) -> list[float]:
    """Means over `width` values each, one for every value that has so many before it."""
    return [sum(values[i - width : i]) / width for i in range(width, len(values) + 1)]
