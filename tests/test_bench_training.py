"""Whole training steps in the benchmark: both libraries run one source, fail alone, lose alike, and are told about."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tritongrad as tg
import tritongrad_kernels
from bench import __main__ as cli, results, summary
from bench.training import ahead, child, report, session, side, sources, workloads
from bench.training.child import Child, Failed
from bench.training.result import Curve, Trained
from bench.training.workloads import Workload
from tests.bench_runs import made_up_run
from tests.test_bench import FakeTimer
from tritongrad_kernels import driver

MLP = workloads.by_name("tiny-mlp b8 float32")
TIMES = {"ours": 0.1, "torch": 0.2, "torch.compile": 0.4}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_lists_of_rows() -> None:
    for listed in (workloads.GPU, workloads.INTERPRETER, workloads.CURVES_GPU, workloads.CURVES_INTERPRETER):
        assert len({w.name for w in listed}) == len(listed)
        assert all(set(w.sides) <= set(workloads.SIDES) and "torch" in w.sides for w in listed)
        assert all(workloads.by_name(w.name).made is w.made for w in listed)
    wanted = {("resnet18", b) for b in (32, 64, 256)} | {("resnet50", b) for b in (32, 64, 256)}
    wanted |= {("cifar-resnet18", b) for b in (128, 512, 1024)}
    for kind in ("float32", "bfloat16"):
        here = {(w.network, w.batch) for w in workloads.GPU if w.dtype == kind}
        assert wanted <= here and {"airbench", "mlp", "vit-s", "gpt2-small"} <= {name for name, _ in here}
    assert workloads.GPU[0].name == "resnet50 b256 bfloat16"
    assert workloads.here() is (workloads.INTERPRETER if tritongrad_kernels.INTERPRETED else workloads.GPU)
    assert workloads.by_name("gpt2-small b16 bfloat16").items == 16 * 1024
    (only,) = workloads.select(workloads.GPU, "resnet50 b256 b", ["torch", "ours"])
    assert only.sides == ("ours", "torch")
    with pytest.raises(ValueError, match="no side 'jax'"):
        workloads.select(workloads.GPU, None, ["jax"])
    with pytest.raises(ValueError, match="no training row 'resnet19"):
        workloads.by_name("resnet19")


@pytest.mark.parametrize("network", ["tiny-resnet", "tiny-airbench", "tiny-mlp", "tiny-vit", "tiny-gpt"])
def test_one_source_makes_the_same_model_of_both_libraries(network: str) -> None:
    made = workloads.NETWORKS[network]
    theirs, ours = made.build(sources.theirs(made.source), torch), side.as_written(made)
    assert isinstance(ours, tg.nn.Module) and isinstance(theirs, torch.nn.Module)
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    with pytest.raises(ValueError, match="no source"):
        sources.ours("bench.training.networks.absent")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_sides_lose_alike(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(MLP, dtype=dtype)
    monkeypatch.setattr(side, "by_name", lambda name: row)
    said = {}
    for which in ("ours", "torch"):
        one = side.Side(which)
        said[which] = one.load(row.name)
        assert one.sample(1)["seconds"] > 0 and one.count() == {}
        one.drop()
        assert one.training is None
    first, later = session.AGREEMENT[dtype]
    (a, b), (x, y) = said["ours"]["losses"], said["torch"]["losses"]
    assert abs(a - x) <= first * x and abs(b - y) <= later * y and b != a
    assert said["ours"]["launches"] > 10 and said["torch"]["launches"] is None


def test_a_loss_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    one = side.Side("torch")
    one.load(MLP.name)
    monkeypatch.setattr(one, "_run", lambda x, y: torch.tensor(math.nan))
    with pytest.raises(ArithmeticError, match="nan"):
        one.sample(1)


def test_curves_begin_alike_and_change_batches() -> None:
    curves = [side.Side(which).curve(MLP.name, 10) for which in ("ours", "torch")]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    assert len(set(curves[0])) == 10 and curves[0][8] < curves[0][0]  # the first batch comes again after eight


class FakeCuda:
    """What a side asks of torch where there is a GPU."""

    def max_memory_allocated(self) -> int:
        return 5

    def max_memory_reserved(self) -> int:
        return 7

    def reset_peak_memory_stats(self) -> None:
        pass


class FakeProfile:
    """Three kernels, a copy, and what the host did."""

    def __init__(self, **options: Any) -> None:
        pass

    def __enter__(self) -> FakeProfile:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def events(self) -> list[Any]:
        event = collections.namedtuple("event", "name device_type")
        found = [event(name, "DeviceType.CUDA") for name in ("gemm", "relu", "gemm", "Memcpy DtoD")]
        return [*found, event("aten::mm", "DeviceType.CPU")]


def test_what_a_side_does_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    one = side.Side("torch")
    one.load(MLP.name)
    monkeypatch.setattr(tritongrad_kernels, "INTERPRETED", False)
    monkeypatch.setattr(driver, "Timer", FakeTimer)
    for name in ("max_memory_allocated", "max_memory_reserved", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, getattr(FakeCuda(), name))
    monkeypatch.setattr(torch.profiler, "profile", FakeProfile)
    one.sample(3)
    assert one.count() == {"peak_bytes": 5, "reserved_bytes": 7, "launches": 3}
    one.side = "ours"
    assert one.count() == {"peak_bytes": 5, "reserved_bytes": 7}
    said = side.Side("torch").load(MLP.name)
    assert len(said["losses"]) == side.WARM_UP


def test_torchs_compiler_is_asked_as_its_users_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, marks = [], []
    monkeypatch.setattr(torch, "compile", lambda model, mode: asked.append(mode) or model)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    for which in ("torch.compile", "torch.compile, graphs"):
        side.Side(which).load(MLP.name)
    assert asked == ["default", "reduce-overhead"] and len(marks) == 2


def test_a_child_answers_and_a_dead_one_is_told_of() -> None:
    with Child("torch") as one:
        assert one.ask(60.0, "load", name=MLP.name)["first_step_s"] > 0
        with pytest.raises(Failed, match="ValueError: there is no training row 'x'"):
            one.ask(60.0, "load", name="x")
        assert one.ask(60.0, "curve", name=MLP.name, steps=1)  # the row before is gone, the process is not
    assert not one.alive


def test_a_child_that_cannot_start_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    for code, reason in (
        ("import sys; sys.exit('no such driver')", r"the process ended with exit code 1: no such driver"),
        ("import time; time.sleep(600)", r"no answer within 1 s"),
    ):
        monkeypatch.setattr(child, "COMMAND", ("-c", code))
        monkeypatch.setattr(child, "START_LIMIT", 5.0 if "exit" in code else 1.0)
        with Child("ours") as one, pytest.raises(Failed, match=reason):
            one.ask(1.0, "load", name=MLP.name)
        assert not one.alive


class FakeChild:
    """A side that loses as it is told to, and takes TIMES a step."""

    losses: dict[str, list[float]]
    broken: dict[str, str]
    started: list[str]

    def __init__(self, side: str, environment: Any = None) -> None:
        self.side, self.alive, self.command = side, True, ("", {})
        FakeChild.started.append(side)

    def tell(self, do: str, **given: Any) -> None:
        self.command = (do, given)

    def ask(self, limit: float, do: str, **given: Any) -> Any:
        self.tell(do, **given)
        return self.answer(limit)

    def answer(self, limit: float) -> Any:
        do, _ = self.command
        if FakeChild.broken.get(self.side) == do:
            self.alive = False
            raise Failed("the process ended with exit code 3")
        if do == "load":
            return {"first_step_s": 2.0, "losses": FakeChild.losses.get(self.side, [7.0, 6.0]), "launches": 9}
        if do == "sample":
            return {"seconds": TIMES[self.side], "host": 0.01}
        return {"peak_bytes": 10, "reserved_bytes": 20} if do == "count" else [3.0, 2.0]

    def __enter__(self) -> FakeChild:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self, patience: float = 0.0) -> None:
        self.alive = False


@pytest.fixture
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeChild.losses, FakeChild.broken, FakeChild.started = {}, {}, []
    monkeypatch.setattr(session, "Child", FakeChild)


ROW = Workload("resnet50", 256, "bfloat16", tuple(TIMES))


@pytest.mark.usefixtures("_fakes")
def test_rates_are_those_of_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with session.Session() as one:
        plain = one.run(ROW, session.pace())
        monkeypatch.setattr(tritongrad_kernels, "INTERPRETED", False)
        ours, theirs, compiled = one.run(ROW, session.pace())
    assert [r.per_second for r in plain] == [None] * 3 and plain[0].step.calls == 1
    assert (ours.per_second, theirs.per_second, compiled.per_second) == (2560.0, 1280.0, 640.0)
    assert ours.step.samples == 7 and ours.step.calls == 4 and ours.step.host_s == 0.01 and ours.peak_bytes == 10
    assert FakeChild.started == list(TIMES)  # the same processes for both rows
    assert report.sentence([ours, theirs, compiled]).endswith(
        "resnet50 b256 bfloat16: ours 2560 a second (2.00 x torch, 4.00 x torch.compile)"
    )


@pytest.mark.usefixtures("_fakes")
def test_a_side_that_fails_costs_its_own_figures() -> None:
    FakeChild.broken, FakeChild.losses = {"torch.compile": "sample"}, {"ours": [7.0, 4.0]}
    with session.Session() as one:
        ours, theirs, compiled = one.run(ROW, session.pace())
        FakeChild.broken, FakeChild.losses = {}, {}
        again = one.run(ROW, session.pace())
    assert ours.reason == "the loss of step 2 is 4, torch's 6" and ours.step is None
    assert theirs.status == "ok" and compiled.reason == "the process ended with exit code 3"
    assert [r.status for r in again] == ["ok"] * 3 and FakeChild.started == [*TIMES, "torch.compile"]
    assert "FAILED: the loss" in report.line(ours) and any("exit code 3" in n for n in report.notes([compiled], False))


@pytest.mark.usefixtures("_fakes")
def test_first_steps_with_cold_and_warm_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.training, "here", lambda: [ROW])
    file = tmp_path / "run.json"
    assert cli.main(["--into", str(file), "train"]) == 0
    assert cli.main(["--into", str(file), "train", "--first-step", "--sides", "ours"]) == 0
    ours, theirs, _ = sorted(results.load(file).training, key=lambda r: r.side)
    assert ours.cold_step_s == ours.warm_step_s == 2.0 and ours.step is not None
    assert theirs.cold_step_s is None and FakeChild.started == [*TIMES, "ours", "ours"]
    FakeChild.broken = {"ours": "load"}
    assert cli.main(["--into", str(file), "train", "--first-step", "--sides", "ours"]) == 1


@pytest.mark.usefixtures("_fakes")
def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli.training, "curves_here", lambda: [ROW])
    file, picture = tmp_path / "run.json", tmp_path / "losses.png"
    assert cli.main(["--into", str(file), "curves", "--steps", "2", "--png", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "2 steps from a loss of 3 to 2" in capsys.readouterr().out
    assert [c.side for c in results.load(file).curves] == list(TIMES)
    assert (
        cli.main(["train", "--list"]) == 0
        and "tiny-gpt b2 float32: ours; ours compiled; torch" in capsys.readouterr().out
    )
    assert cli.main(["train", "--rows", "nothing"]) == 2
    assert cli.main(["--out", str(tmp_path), "--commit", "c0ffee", "--minutes", "0.01", "train"]) == 0
    assert "5 training rows are left out" in capsys.readouterr().err


def test_report_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = results.Timing(0.1, 0.09, 0.11, 7, 4, 0.01)
    ours = Trained(
        ROW.name, "ours", 256, "images", step=times, per_second=2560.0, peak_bytes=20_000_000_000, launches=600
    )
    theirs = replace(ours, side="torch", step=replace(times, median_s=0.2), per_second=1280.0, cold_step_s=9.0)
    failed = Trained(ROW.name, "torch.compile", 256, "images", "failed", "no compiler")
    curves = [Curve(ROW.name, which, [2.0, 1.0]) for which in ("ours", "torch")]
    run = made_up_run(training=[ours, theirs, failed], curves=curves)
    results.save(run, tmp_path / "run.json")
    assert results.load(tmp_path / "run.json") == run
    assert cli.main(["report", str(tmp_path / "run.json")]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("| resnet50") and "| ours |" in line)
    assert "2560 images ±10%" in row and "| 2.00 |" in row and "20.00 GB" in row and "| 600 |" in row
    assert "FAILED resnet50 b256 bfloat16, torch.compile: no compiler" in printed and "0.00% apart" in printed
    assert summary.line(run) == "2 rows, 1 failed; matmul float32 2.00 x eager"
    assert cli.main(["report", str(tmp_path / "run.json"), "--plots", str(tmp_path / "plots")]) == 0
    assert {"losses.png", "rates.png", "ratios.png"} <= {p.name for p in (tmp_path / "plots").iterdir()}
    drawn = cli.training.draw(run, tmp_path / "losses.png", tmp_path / "rates.png")
    assert [p.name for p in drawn] == ["losses.png", "rates.png"] and all(p.stat().st_size > 5000 for p in drawn)
    assert cli.training.draw(replace(run, training=[], curves=[]), tmp_path / "a", tmp_path / "b") == []


@pytest.mark.usefixtures("_fakes")
def test_kernels_are_compiled_before_rows_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(ahead.launches, "compiled_ahead", lambda log, arch, s: given.append((len(log), arch, s)) or "")
    wrong = replace(MLP, network="absent")
    ahead.compiled([MLP, wrong, replace(MLP, sides=("torch",))], "sm_90", 7.0)
    ((launched, arch, seconds),) = given
    assert 10 < launched < 100 and (arch, seconds) == ("sm_90", 7.0)
    order: list[str] = []
    monkeypatch.setattr(ahead, "compiled", lambda rows, arch, seconds: order.extend([*FakeChild.started, arch]) or "")
    monkeypatch.setattr(cli.training, "here", lambda: [ROW])
    monkeypatch.setattr(driver, "gpu_capability", lambda: (9, 0))
    monkeypatch.setattr(cli.training, "_begin", lambda options: (made_up_run(), tmp_path / "run.json", math.inf))
    monkeypatch.setattr(tritongrad_kernels, "INTERPRETED", False)
    assert cli.main(["train", "--ahead"]) == 0
    assert order == [*TIMES, "sm_90"], "while the processes start"


def test_what_will_be_launched_is_known_ahead() -> None:
    log = ahead.of(workloads.GPU[0], "sm_90")
    kernels = {told.kernel for told in log}
    assert len(log) > 500 and {"_conv2d_tma", "_conv2d_weight_grad_tma"} <= kernels
    assert ahead.of(workloads.by_name("tiny-gpt b2 float32"), "sm_80")
