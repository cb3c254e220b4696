"""Runs that are stopped, killed and resumed, and what they leave in their folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tritongrad.training import Config, Epoch, Run, RunFolder, Step, source, sources
from tritongrad.vision.datasets import CIFAR10

pytest.importorskip("sklearn")

ROOT = Path(__file__).parent.parent
SMALL = Config("mlp", "digits", epochs=2, batch_size=16, optimizer="adamw", limit=32)


def bits(state: Any) -> Any:
    """A nested state with arrays as bytes."""
    if isinstance(state, dict):
        return {key: bits(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [bits(value) for value in state]
    return state.numpy().tobytes() if isinstance(state, tg.Tensor) else state


def losses(run: Run, most: int = 1 << 30) -> list[float]:
    """Of the next steps, at most so many; the run stands right behind the last of them."""
    found: list[float] = []
    for event in run.train():
        if isinstance(event, Step):
            found.append(event.loss.item())
            if len(found) == most:
                break
    return found


@pytest.mark.parametrize(
    ("amp", "optimizer", "stops"), [("off", "adamw", (1,)), ("bf16", "sgd", (1,)), ("fp16", "adam", (1, 2, 3))]
)
def test_resumed_after_any_step(tmp_path: Path, amp: str, optimizer: str, stops: tuple[int, ...]) -> None:
    """Inside the first epoch, at its very end, and inside the second."""
    config = Config(**{**SMALL.to_dict(), "amp": amp, "optimizer": optimizer})
    whole = Run(config)
    expected = losses(whole)
    assert len(expected) == whole.steps == 4
    for taken in stops:
        first = Run(config)
        before = losses(first, taken)
        folder = RunFolder(tmp_path)
        folder.save(first.state_dict(), best=False)
        tg.rand(3)  # random numbers drawn elsewhere change nothing
        again = Run(config)
        again.load_state_dict(folder.checkpoint() or {})
        assert before + losses(again) == expected
        assert bits(again.state_dict()) == bits(whole.state_dict())


def test_a_run_learns(tmp_path: Path) -> None:
    config = Config("mlp", "digits", epochs=2, batch_size=64, optimizer="adamw", limit=640)
    epochs = [event for event in Run(config).train() if isinstance(event, Epoch)]
    assert [e.number for e in epochs] == [1, 2] and [e.step for e in epochs] == [10, 20]
    assert epochs[-1].accuracy > 0.75 and epochs[0].best


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "resnet51"}, "model 'resnet51' is not one of mlp"),
        ({"data": "digits:somewhere"}, "data 'digits:somewhere' is not one of digits"),
        ({"data": "cifar11:x"}, "'cifar11:x' is not one of"),
        ({"amp": "fp8"}, "amp 'fp8' is not one of off, bf16, fp16"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"lr": float("nan")}, "lr must be at least 0, got nan"),
        ({"warmup": 1.5}, "warmup must be between 0 and 1, got 1.5"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Config(**{**SMALL.to_dict(), **wrong})


def test_batches_larger_than_the_data() -> None:
    with pytest.raises(ValueError, match="batch_size 99 is more than the 32 training images"):
        Run(Config(**{**SMALL.to_dict(), "batch_size": 99}))


def test_a_line_cut_off_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append([{"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.5}])
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "lo')
    assert [line["step"] for line in folder.metrics()] == [1, 2]
    folder.keep_metrics(1)
    folder.append([{"step": 2, "loss": 1.25}])
    assert folder.metrics() == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.25}]


# ---- data ----


def write_images(folder: Path, classes: str, each: int) -> None:
    """Folders of PNG files whose brightness tells the class."""
    image = pytest.importorskip("PIL.Image")
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(each):
            image.new("RGB", (20 + k, 16), (80 * number,) * 3).save(folder / name / f"{k}.png")


def test_a_folder_of_images(tmp_path: Path) -> None:
    write_images(tmp_path / "train", "abc", 3)
    write_images(tmp_path / "val", "abc", 1)
    data = source(f"imagefolder:{tmp_path}", image=8)
    assert (len(data.train), len(data.test), data.classes, data.image) == (9, 3, ("a", "b", "c"), 8)
    for images, labels in ((data.train, [0, 0, 0, 1, 1, 1, 2, 2, 2]), (data.test, [0, 1, 2])):
        assert [label for _, label in images] == labels
        assert all(image.shape == (3, 8, 8) and image.dtype is tg.float32 for image, _ in images)
    dark, bright = (data.test[k][0][0].mean().item() for k in (0, 2))
    assert dark == pytest.approx(-0.485 / 0.229, rel=1e-4) and bright == pytest.approx(
        (160 / 255 - 0.485) / 0.229, rel=1e-4
    )
    (tmp_path / "val" / "d").mkdir()
    (tmp_path / "val" / "a" / "0.png").rename(tmp_path / "val" / "d" / "0.png")
    (tmp_path / "val" / "a").rmdir()
    with pytest.raises(ValueError, match=r"the classes in .*train are not those in .*val"):
        source(f"imagefolder:{tmp_path}")
    with pytest.raises(FileNotFoundError, match=r"needs the folders train and val .or test."):
        source(f"imagefolder:{tmp_path / 'train'}")


def test_published_images_are_augmented_only_for_training(tmp_path: Path) -> None:
    """A data set of one grey level a pixel, as MNIST's, of which one pixel is bright."""
    image = pytest.importorskip("PIL.Image")

    class One:
        classes = ("zero",)

        def __init__(self, root: str, train: bool, transform: Any, download: bool) -> None:
            assert root == "here" and download
            self.transform = transform

        def __getitem__(self, index: int) -> tuple[Any, int]:
            picture = image.new("L", (28, 28))
            picture.putpixel((14, 14), 255)
            return self.transform(picture), 0

    make = sources._published(One, 28, sources.MNIST_PIXELS, shift=2, flip=False, gray=True)
    data = make("here", None, True)
    places = {data.train[0][0][1].argmax().item() for _ in range(20)}
    assert len(places) > 5 and {data.test[0][0][2].argmax().item() for _ in range(5)} == {14 * 28 + 14}
    x = data.test[0][0]
    assert x.shape == (3, 28, 28) and x.max().item() == pytest.approx((1 - 0.1307) / 0.3081, rel=1e-5)
    assert make("here", 32, False).train[0][0].shape == (3, 32, 32)


def test_data_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises((RuntimeError, OSError), match="cifar"):
        source(f"cifar10:{tmp_path}")


# ---- as a command ----


Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command() -> Iterator[Command]:
    """Starts `tritongrad train` with these arguments; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        started.append(_train(*arguments))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _train(*arguments: object) -> subprocess.Popen[str]:
    # Ctrl-C has to work in the child even where this process was started with it ignored.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv[0] = 'tritongrad'; "
    return subprocess.Popen(
        [sys.executable, "-c", code + "from tritongrad.cli import main; main()", "train", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, out + err
    return out + err


def wait_for_step(folder: Path, step: int) -> None:
    deadline = time.monotonic() + 600
    while not any(line.get("step", 0) >= step for line in RunFolder(folder).metrics()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def noted(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in RunFolder(folder).metrics() if "loss" in line]


def test_killed_stopped_and_resumed(tmp_path: Path, command: Command) -> None:
    """kill -9 in the middle of a step or of a save, then Ctrl-C, then to the end: as if nothing had happened."""
    options = ("--model", "mlp", "--data", "digits", "--epochs", 3, "--batch-size", 16, "--optimizer", "adamw",
               "--limit", 48, "--amp", "fp16", "--save-every", 1)  # fmt: skip
    whole = command(*options, "--out", tmp_path / "whole")
    run = command(*options, "--out", tmp_path / "run")
    wait_for_step(tmp_path / "run", 2)
    run.kill()
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    run = command("--resume", tmp_path / "run")
    wait_for_step(tmp_path / "run", 5)
    run.send_signal(signal.SIGINT)
    said = ended(run, 130)
    assert f"tritongrad train --resume {tmp_path / 'run'}" in said and "going on after step" in said
    assert "epoch   3/3" in ended(command("--resume", tmp_path / "run"))
    said = ended(whole)
    assert "epoch   1/3" in said and "1,257,482 parameters" in said and "images/s" in said
    ours, theirs = (RunFolder(tmp_path / name).checkpoint() for name in ("run", "whole"))
    assert ours is not None and ours["step"] == 9 and bits(ours) == bits(theirs)
    assert noted(tmp_path / "run") == noted(tmp_path / "whole") and len(noted(tmp_path / "run")) == 9
    best = tg.load(tmp_path / "run" / "best.safetensors")
    assert best.keys() == ours["model"].keys() and np.isfinite(best["1.weight"].numpy()).all()
    if pytest.importorskip("matplotlib"):
        assert (tmp_path / "run" / "curves.png").stat().st_size > 10_000
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["config"]["save_every"] == 1 and "triton" in config["environment"]
    assert "there is a run in" in ended(command(*options, "--out", tmp_path / "run"), 1)
