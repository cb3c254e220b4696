"""The command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

typer_testing = pytest.importorskip("typer.testing")

from tritongrad.cli import app  # noqa: E402

ROOT = Path(__file__).parent.parent
SMALL = ["plan", "resnet18", "--batch", "2", "--image", "32", "--classes", "10"]


def run(*arguments: str) -> tuple[int, str, str]:
    done = typer_testing.CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_plan_prints_every_launch_and_the_totals_last() -> None:
    code, out, _ = run(*SMALL)
    assert code == 0
    number = json.loads(run(*SMALL, "--json")[1])["launches"]
    assert sum(line.split()[:1] == [str(i)] for i in range(number) for line in out.splitlines()) >= number
    assert "resnet18, batch 2, image 32, bfloat16 on H200 (sm_90)" in out
    end = out[out.index("this plan") :]
    assert [line.split()[0] for line in end.splitlines()[1:6]] == ["a", "b", "b1", "c", "c+"] and "peak memory" in end


def test_plan_as_json_is_nothing_but_json() -> None:
    code, out, err = run(*SMALL, "--json", "--dtype", "fp32", "--optimizer", "adamw", "--arch", "sm_80")
    said = json.loads(out)
    assert code == 0 and not err
    assert said["gpu"] == "A100" and said["floors"]["a"] > said["floors"]["c+"] > 0
    assert said["bytes"] == sum(one["bytes"] for one in said["by_launch"])
    assert isinstance(said["peak_memory"], int) and isinstance(said["floor_ms"], float)
    assert any(one["kernel"] == "_adam" for one in said["by_launch"])


def test_the_longest_launches_only() -> None:
    code, out, _ = run(*SMALL, "--top", "3", "--gpu", "b200")
    listed = out[: out.index("resnet18")]
    assert code == 0 and "B200" in out and sum(line.split()[:1] != [] for line in listed.splitlines()) == 3 + 2
    assert "kernel" not in run(*SMALL, "--top", "0")[1]


def test_plan_writes_a_timeline(tmp_path: Path) -> None:
    code, out, _ = run(*SMALL, "--top", "0", "--trace", str(tmp_path / "step.json"))
    trace = json.loads((tmp_path / "step.json").read_text())
    assert code == 0 and f"timeline in {tmp_path / 'step.json'}" in out and trace["otherData"]["modelled"]
    kernels = [e for e in trace["traceEvents"] if e.get("cat") == "kernel, modelled"]
    floor = float(next(line for line in out.splitlines() if line.strip().startswith("this plan")).split()[4])
    assert sum(e["dur"] for e in kernels) / 1e3 == pytest.approx(floor, abs=0.006)
    assert {e["args"]["module"] for e in kernels} >= {"conv1", "layer1.0.conv1", "layer4.1.bn2"}
    code, _, err = run("plan", "mlp", "--trace", str(tmp_path / "nowhere" / "x.json"))
    assert code == 1 and err.startswith("tritongrad: ") and err.count("\n") == 1


def test_plan_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "roofline.png"
    code, out, _ = run(*SMALL, "--top", "0", "--plot", str(target))
    assert code == 0 and f"roofline in {target}" in out and target.stat().st_size > 10_000
    code, _, err = run(*SMALL, "--plot", str(tmp_path / "nowhere" / "x.png"))
    assert code == 1 and err.startswith("tritongrad: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["plan", "resnet51"], "'resnet51' is not one of mlp, resnet18"),
        ([*SMALL, "--dtype", "fp8"], "'fp8' is not one of fp32, fp16"),
        ([*SMALL, "--gpu", "H300"], "GPU 'H300' is not one of H200"),
        ([*SMALL, "--arch", "sm_70"], "architecture 'sm_70' is not one of sm_100"),
        ([*SMALL, "--optimizer", "lion"], "'lion' is not one of sgd"),
        ([*SMALL, "--batch", "0"], "--batch"),
    ],
)
def test_wrong_arguments(wrong: list[str], said: str) -> None:
    code, _, err = run(*wrong)
    assert code == 2 and said in " ".join(err.replace("│", " ").split())


def _python(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_the_command_as_a_process() -> None:
    done = _python(f"import sys; sys.argv[1:] = {[*SMALL, '--json']}; from tritongrad.cli import main; main()")
    assert done.returncode == 0 and not done.stderr
    assert json.loads(done.stdout)["launches"] > 60  # of ResNet-18, joined


def test_a_missing_extra_is_one_line() -> None:
    done = _python("import sys; sys.modules['typer'] = None; import tritongrad.cli")
    assert done.returncode == 1
    assert done.stderr == "tritongrad: this command needs typer: pip install 'tritongrad[cli]'\n"
    plot = f"import sys; sys.modules['matplotlib.figure'] = None; sys.argv[1:] = {[*SMALL, '--plot', 'x.png']}; "
    done = _python(plot + "from tritongrad.cli import main; main()")
    assert done.returncode == 1
    assert done.stderr == "tritongrad: --plot needs matplotlib: pip install 'tritongrad[bench]'\n"


def test_precompile_fills_the_cache_and_writes_a_bundle(tmp_path: Path) -> None:
    """The second time everything is there."""
    command = ["precompile", "mlp", "--batch", "16", "--image", "4", "--dtype", "bf16", "--arch", "sm_90"]
    program = [sys.executable, "-m", "tritongrad.cli", *command, "--bundle", str(tmp_path / "mlp.bundle")]
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)}
    said = []
    for more in ((), ("--verbose",)):
        done = subprocess.run([*program, *more], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.splitlines())
    number = int(said[0][0].split()[0])
    assert said[0][0] == f"{number} kernels for sm_90: {number} compiled, 0 were in the cache" and number > 12
    assert said[1][-2] == f"{number} kernels for sm_90: 0 compiled, {number} were in the cache"
    assert len(said[1]) == number + 2 and "_matmul" in "".join(said[1])
    assert (tmp_path / "mlp.bundle").stat().st_size > 10_000


def test_precompile_refuses_an_architecture_it_does_not_know() -> None:
    code, _, err = run("precompile", "mlp", "--arch", "sm_75")
    assert code == 2 and "'sm_75' is not one of sm_80" in " ".join(err.split())


def test_train_says_what_is_missing(tmp_path: Path) -> None:
    for arguments, said in (
        (["train"], "train needs --model and --data, or --resume RUN"),
        (["train", "--resume", str(tmp_path)], f"there is no run to resume in {tmp_path}"),
        (["train", "--resume", "x", "--model", "mlp"], "--resume takes model, data and all else"),
        (["train", "--model", "mlp", "--data", "mnits:x"], "data 'mnits:x' is not one of digits"),
    ):
        code, _, err = run(*arguments)
        assert code == 1 and err.startswith("tritongrad: ") and said in err and err.count("\n") == 1


def test_info() -> None:
    code, out, _ = run("info")
    assert code == 0 and "triton" in out and "sm_90" in out
    assert all(line[:4] in ("yes ", "no  ") for line in out.split("\n\n")[1].splitlines())
