"""Each example as a user runs it, in a process of its own and with few steps, and what it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tritongrad as tg

ROOT = Path(__file__).parent.parent

# Ctrl-C has to work in the child even where this process was started with it ignored, as in the background of a shell.
START = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.modules.update(dict.fromkeys({missing}))
sys.argv = {argv}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(name: str, *options: object, missing: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """An example under way, in which the packages in `missing` cannot be imported."""
    argv = [f"examples/{name}.py", *map(str, options)]
    return subprocess.Popen(
        [sys.executable, "-c", START.format(missing=missing, argv=argv)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(name: str, *options: object, missing: tuple[str, ...] = ()) -> str:
    """What an example prints, once it has ended well."""
    process = start(name, *options, missing=missing)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def losses(out: str) -> list[float]:
    return [float(value) for value in re.findall(r"loss +(-?[\d.]+)", out)]


def test_resnet18_step() -> None:
    out = run("resnet18_step")
    before, after = map(float, re.search(r"loss (\S+) -> (\S+)", out).groups())
    assert after < before < 0
    assert re.findall(r"^(\w+) +[\d.]+ s$", out, re.MULTILINE) == ["import", "model", "forward", "backward", "step"]


def test_autograd() -> None:
    out = run("autograd")
    assert out.count("True") == 4 and "False" not in out
    assert "frozen   None / trained (5, 5)" in out


def test_finetune() -> None:
    out = run("finetune", "--steps", 2)
    assert len(losses(out)) == 2 and losses(out)[1] < losses(out)[0]
    assert "changed: fc.weight, fc.bias; the other 60 parameters are as they were" in out


@pytest.mark.parametrize("missing", [(), ("sklearn",)], ids=["sklearn", "numpy"])
def test_training_loop(missing: tuple[str, ...]) -> None:
    out = run("training_loop", "--epochs", 3, missing=missing)
    wine, diabetes = losses(out)[:3], losses(out)[3:]
    assert wine[-1] < 0.5 * wine[0]
    assert diabetes[-1] < 0.9 * diabetes[0]


def test_digits_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Two epochs without a pause, with no optional package, and two with Ctrl-C between them leave the same file."""
    options = ["--quick", "--epochs", 2, "--batch-size", 32]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    out = run("digits", *options, "--out", whole, missing=("rich", "matplotlib"))
    assert "rich is not installed" in out and "matplotlib is not installed" in out
    assert losses(out)[1] < losses(out)[0]

    process = start("digits", *options, "--out", parts)
    assert process.stdout is not None
    assert any(line.startswith("epoch  1/2") for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1 and err == "stopped; --resume goes on from the last epoch that was completed\n"
    assert len(tg.load(parts / "checkpoint.safetensors")["accuracies"]) == 1

    out = run("digits", "--resume", "--out", parts)
    assert "going on after epoch 1" in out and "epoch  2/2" in out
    assert (parts / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert (parts / "checkpoint.safetensors").read_bytes() == (whole / "checkpoint.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "missing", "message"),
    [
        (["--resume"], (), "there is no checkpoint in .* to resume from"),
        ([], ("sklearn",), "needs the images that scikit-learn brings: pip install scikit-learn"),
    ],
    ids=["checkpoint", "sklearn"],
)
def test_digits_says_what_it_lacks(options: list[str], missing: tuple[str, ...], message: str, tmp_path: Path) -> None:
    process = start("digits", *options, "--out", tmp_path, missing=missing)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1 and re.search(message, err) and "Traceback" not in err


@pytest.mark.parametrize("network", ["mlp", "cnn", "vit"])
def test_small_networks_learn(network: str) -> None:
    out = run("small_networks", network, "--quick", "--epochs", 2)
    first, *_, last = losses(out)
    assert last < first and "epoch  2/2" in out and "test accuracy" in out


def test_gpt_learns_and_writes() -> None:
    out = run("gpt", "--steps", 3, "--batch-size", 2, "--tell", 3)
    assert losses(out)[-1] < 3.5 and len(out.splitlines()[-1]) == 8 + 3  # what it was given, and what it wrote


def test_profile_step(tmp_path: Path) -> None:
    out = run("profile_step", "--trace", tmp_path / "step.json")
    assert "BatchNormBackward0" in out and "MODELLED" in out and "interpreter" in out
    assert json.loads((tmp_path / "step.json").read_text())["traceEvents"]
