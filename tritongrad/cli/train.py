"""`tritongrad train`: a network trained on images, in a folder that holds all there is to know about the run."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import rich.console
import rich.progress
import typer

from tritongrad.cli.info import environment
from tritongrad.cli.options import app, fail, one_of
from tritongrad.training import OPTIMIZERS, SOURCES, Config, Epoch, Run, RunFolder, Step
from tritongrad.training.config import AMP, LEARNING_RATES

SHOWN_EVERY = 0.5  # seconds between readings of the losses, each of which waits for the GPU

DATA = "digits, or " + ", ".join(f"{name}:DIR" for name in SOURCES if name != "digits")
RATES = ", ".join(f"{rate:g} for {name}" for name, rate in LEARNING_RATES.items())


@app.command()
def train(
    model: Annotated[str | None, typer.Option(help="mlp, or any of tritongrad.models.", metavar="NAME")] = None,
    data: Annotated[str | None, typer.Option(help=DATA, metavar="KIND:DIR")] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the training data.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 64,
    optimizer: Annotated[str, typer.Option(callback=one_of(OPTIMIZERS), help=", ".join(OPTIMIZERS))] = "sgd",
    lr: Annotated[float | None, typer.Option(min=0.0, help=f"Highest learning rate; by default {RATES}.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="Of weights with two axes or more.")] = 5e-4,
    warmup: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of steps in which the rate rises.")] = 0.1,
    label_smoothing: Annotated[float, typer.Option(min=0.0, max=1.0)] = 0.1,
    amp: Annotated[str, typer.Option(callback=one_of(AMP), help="Precision of products: " + ", ".join(AMP))] = "off",
    compile: Annotated[bool, typer.Option("--compile", help="Pass the model through tritongrad.compile.")] = False,
    image: Annotated[int | None, typer.Option(min=1, help="Side of the images in pixels; by default theirs.")] = None,
    augment: Annotated[bool, typer.Option(help="Train on shifted, cropped, mirrored images.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only so many images.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial values, order, augmentation and dropout.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load images; they change no bit.")] = 0,
    save_every: Annotated[int, typer.Option(min=0, help="Steps between checkpoints; 0: after each epoch.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/MODEL-DATA-TIME.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder, to the same bits.")] = None,
) -> None:
    """Train a network to tell images apart. Ctrl-C saves and ends; --resume goes on, to the bits of a run unstopped.

    The folder of the run has config.json, metrics.jsonl (loss of each step, accuracy of each epoch), checkpoint and
    best weights (safetensors), and curves.png.
    """
    if resume is not None:
        if model is not None or data is not None or out is not None:
            fail("--resume takes model, data and all else from the run's config.json")
        folder, run = _resumed(resume)
    else:
        if model is None or data is None:
            fail("train needs --model and --data, or --resume RUN")
        settings = dict(
            model=model, data=data, epochs=epochs, batch_size=batch_size, optimizer=optimizer, lr=lr,
            weight_decay=weight_decay, warmup=warmup, label_smoothing=label_smoothing, amp=amp, compile=compile,
            image=image, augment=augment, limit=limit, seed=seed, workers=workers, save_every=save_every,
        )  # fmt: skip
        folder, run = _begun(settings, out)
    _train(folder, run)


def _begun(settings: dict[str, Any], out: Path | None) -> tuple[RunFolder, Run]:
    """A new run. Everything that can be wrong with its settings is found before its folder is made."""
    try:
        config = Config(**settings)
        run = Run(config)
        name = f"{config.model}-{config.data.split(':')[0]}-{time.strftime('%Y%m%d-%H%M%S')}"
        return RunFolder.create(out or Path("runs", name), config, environment()), run
    except FileExistsError:
        fail(f"there is a run in {out}: --resume {out} goes on with it")
    except (ValueError, ModuleNotFoundError, OSError, RuntimeError) as error:
        fail(str(error))


def _resumed(path: Path) -> tuple[RunFolder, Run]:
    folder = RunFolder(path)
    try:
        run = Run(folder.config())
        state = folder.checkpoint()
        if state is not None:
            run.load_state_dict(state)
        folder.keep_metrics(run.step)
    except FileNotFoundError as error:
        fail(f"there is no run to resume in {path}: {error}")
    except (ValueError, ModuleNotFoundError, OSError, RuntimeError) as error:
        fail(str(error))
    return folder, run


def _train(folder: RunFolder, run: Run) -> None:
    console = rich.console.Console(highlight=False, soft_wrap=True)
    console.print(f"{run.config.model} on {run.config.data}: {_size(run)}, {run.device}, in {folder.path}")
    if run.step:
        console.print(f"going on after step {run.step} of {run.steps}")
    with _stop_asked() as stopping, _live(console, run) as show:
        figures = _Figures(folder, run, show)
        for event in run.train():
            if isinstance(event, Step):
                figures.add(event)
                asked = bool(stopping)
                if asked or (run.config.save_every and event.number % run.config.save_every == 0):
                    figures.save()
                if asked:
                    break
            else:
                figures.end(event)
                best, speed = "  (best)" if event.best else "", figures.speed
                console.print(
                    f"epoch {event.number:3d}/{run.config.epochs}  loss {figures.loss:.4f}  "
                    f"test accuracy {event.accuracy:7.2%}  {speed:.0f} images/s{best}"
                )
                if stopping:
                    break
    _draw(folder, console)
    if len(run.accuracies) < run.config.epochs:
        console.print(f"stopped after step {run.step}; to go on: tritongrad train --resume {folder.path}")
        raise typer.Exit(130)


def _size(run: Run) -> str:
    return f"{sum(p.numel() for p in run.model.parameters()):,} parameters"


class _Figures:
    """Losses of the steps, read now and then, shown, and kept in the run's folder."""

    def __init__(self, folder: RunFolder, run: Run, show: rich.progress.Progress) -> None:
        self.folder, self.run, self.progress = folder, run, show
        self.pending: list[Step] = []
        self.loss = self.speed = math.nan
        self.images, self.since = 0, time.perf_counter()

    def add(self, step: Step) -> None:
        self.pending.append(step)
        self.images += step.images
        if time.perf_counter() - self.since > SHOWN_EVERY:
            self.read()

    def read(self) -> None:
        """Wait for the steps so far, show them and note them."""
        if not self.pending:
            return
        losses = [step.loss.item() for step in self.pending]
        now = time.perf_counter()
        self.speed, self.loss = self.images / max(now - self.since, 1e-9), losses[-1]
        self.folder.append(
            {"step": step.number, "loss": loss, "lr": step.lr, "images_per_second": round(self.speed, 1)}
            for step, loss in zip(self.pending, losses, strict=True)
        )
        task = self.progress.task_ids[0]
        self.progress.update(task, completed=self.pending[-1].number, loss=self.loss, speed=self.speed)
        self.pending, self.images, self.since = [], 0, now

    def save(self, best: bool = False) -> None:
        self.read()
        self.folder.save(self.run.state_dict(), best)
        self.since = time.perf_counter()

    def end(self, epoch: Epoch) -> None:
        self.read()
        line = {"step": epoch.step, "epoch": epoch.number, "accuracy": epoch.accuracy, "seconds": epoch.seconds}
        self.folder.append([line])
        self.progress.update(self.progress.task_ids[0], accuracy=f"{epoch.accuracy:.2%}")
        self.save(epoch.best)


@contextlib.contextmanager
def _stop_asked() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C: the step under way is finished first. A second Ctrl-C ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _live(console: rich.console.Console, run: Run) -> Iterator[rich.progress.Progress]:
    progress = rich.progress.Progress(
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]}"),
        rich.progress.TextColumn("{task.fields[speed]:.0f} images/s"),
        rich.progress.TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    progress.add_task(
        "", total=run.steps, completed=run.step, loss=math.nan, speed=math.nan,
        accuracy=f"{run.accuracies[-1]:.2%}" if run.accuracies else "-",
    )  # fmt: skip
    with progress:
        yield progress


def _draw(folder: RunFolder, console: rich.console.Console) -> None:
    try:
        drawn = folder.plot()
    except ModuleNotFoundError:
        console.print("no curves.png without matplotlib: pip install 'tritongrad[bench]'")
        return
    if drawn is not None:
        console.print(f"curves in {drawn}")
