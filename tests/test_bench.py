"""The benchmark: a right row is timed, a wrong or broken one fails alone, and results are kept, printed, compared."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tritongrad as tg
import tritongrad_kernels
from bench import (
    __main__ as cli,
    clock,
    harness,
    host,
    launch_cost,
    results,
    rows,
    worker,
)
from bench.accuracy import LikePeer, Rounding, WrongResult
from bench.results import Result, Run
from bench.row import Call, Row, as_ours, as_torch
from bench.rows import conv, matmul, norm, optim, resnet
from tests.bench_runs import CEILINGS, PRODUCT, made_up_run, quick_harness, raising
from tritongrad_kernels import driver, elementwise


def slightly_wrong(a: tg.Tensor, b: tg.Tensor) -> Call:
    def call() -> list[tg.Tensor]:
        y = tg.matmul(a, b)
        y[3, 5] += 1e-3
        return [y]

    return call


def crashing(a: tg.Tensor, b: tg.Tensor) -> Call:
    os._exit(3)


def hanging(a: tg.Tensor, b: tg.Tensor) -> Call:
    def call() -> list[tg.Tensor]:
        time.sleep(600)
        return []

    return call


@pytest.fixture(scope="module")
def bench() -> Iterator[harness.Harness]:
    with quick_harness() as found:
        yield found


TINY = [
    PRODUCT,
    matmul.product(16, 16, 16, "bfloat16"),
    matmul.classifier(4, 8, 10, "float32"),
    *conv.passes(conv.Layer(4, 6, 9, 3, 2), 2, "float32"),
    *conv.passes(conv.Layer(3, 4, 8, 3, 2), 1, "bfloat16"),
    *conv.passes(conv.Layer(4, 6, 6, 1, 2), 2, "bfloat16"),
    *(row for folded in norm.FOLDED for row in norm.passes((3, 4, 5, 5), folded, "bfloat16")),
    optim.step("resnet18", "fused", "float32", tensors=3),
    optim.step("resnet50", "foreach", "float32", tensors=2),
]


@pytest.mark.parametrize("row", TINY, ids=lambda row: row.name)
def test_rows_are_right_and_timed(bench: harness.Harness, row: Row) -> None:
    result = bench.run(row)
    assert (result.status, result.reason) == ("ok", None)
    assert result.ours is not None and result.peers.keys() == {"eager"} and not result.trouble
    assert result.tile is not None and result.tile.split()[0] in result.kernels
    assert result.ours.median_s > 0 and result.ours.samples >= 2
    assert result.ours.p10_s <= result.ours.median_s <= result.ours.p90_s
    assert result.launches and result.of_bound is not None and result.of_bound <= 1
    # What the row cannot do without, our launches say they do. (They leave out what is per channel.)
    if row.family == "batch_norm":
        assert result.declared_flops <= row.flops  # sums of partial sums, and gradients that go round the norm
    else:
        assert result.declared_flops in (0, row.flops)
    assert result.declared_bytes is not None and row.bytes <= 1.1 * result.declared_bytes


@pytest.mark.parametrize(
    ("ours", "reason"),
    [
        pytest.param(slightly_wrong, "1 of 408 elements are off by more than rounding", id="one wrong element"),
        pytest.param(raising, "RuntimeError: no such kernel", id="exception"),
    ],
)
def test_a_wrong_row_fails_with_its_reason(bench: harness.Harness, ours: Callable[..., Call], reason: str) -> None:
    result = bench.run(replace(PRODUCT, ours=ours))
    assert result.status == "failed" and result.reason is not None and reason in result.reason
    assert result.ours is None and not result.speedups


def test_a_crash_and_a_hang_cost_one_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker.Worker() as child:
        crashed, fine = child.run(replace(PRODUCT, ours=crashing)), child.run(PRODUCT)
        monkeypatch.setattr(worker, "ROW_LIMIT", 0.5)
        hung = child.run(replace(PRODUCT, ours=hanging))
    assert crashed.reason == "the process ended with exit code 3"
    assert fine.status == "ok"
    assert hung.reason == "no answer within 0.5 s"


def test_the_lists_of_rows() -> None:
    """Names are unique, and every row can be sent to another process, those for a GPU too."""
    for listed in (rows.GPU, rows.INTERPRETER):
        assert len({r.name for r in listed}) == len(listed)
        assert [r.name for r in pickle.loads(pickle.dumps(listed))] == [r.name for r in listed]
        assert {r.family for r in listed} >= {"matmul", "conv2d", "batch_norm", "sgd", "resnet18"}
    assert rows.here() is (rows.INTERPRETER if tritongrad_kernels.INTERPRETED else rows.GPU)
    assert {r.op for r in rows.select(rows.GPU, "conv2d .* 3x3 ", quick=True)} == {
        "forward",
        "input grad",
        "weight grad",
    }
    assert rows.select(rows.GPU, "no such row", quick=False) == []
    ranks = [r.rank for r in rows.select(rows.GPU)]
    assert ranks == sorted(ranks) and len(ranks) == len(rows.GPU)
    assert {r.family for r in rows.select(rows.GPU, families=["sgd", "matmul"])} == {"sgd", "matmul"}
    with pytest.raises(ValueError, match=r"no family is called sdg: there are .*sgd"):
        rows.select(rows.GPU, families=["sgd", "sdg"])


def test_flops_of_a_training_step() -> None:
    """ResNet-50 does 4.09 G multiply-adds an image forward (torchvision), and all but the first layer's three times."""
    forward = 2 * 4.09e9
    stem = 2 * 112 * 112 * 64 * 3 * 49
    assert resnet.flops("resnet50", 2, 224) == pytest.approx(2 * (3 * forward - stem), rel=2e-3)
    assert resnet.flops("resnet18", 2, 64) == 1_744_158_720  # as torch's modules report their sizes


def test_tensors_keep_values_and_strides() -> None:
    for t in (torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), torch.randn(5).bfloat16()):
        ours = as_ours(t)
        assert ours.stride() == t.stride() and torch.equal(as_torch(ours), t)
        assert as_torch(ours).data_ptr() == ours.data_ptr() != t.data_ptr()


def test_rounding_allows_what_the_dtype_rounds_away_and_no_more() -> None:
    want = torch.randn(1000)
    Rounding().check([want.bfloat16()], [want], [])
    with pytest.raises(WrongResult, match="1 of 1000"):
        Rounding().check([want.bfloat16().index_add(0, torch.tensor([7]), torch.tensor([0.05]).bfloat16())], [want], [])
    with pytest.raises(WrongResult, match="not finite"):
        Rounding().check([want.index_fill(0, torch.tensor([0]), float("nan"))], [want], [])
    with pytest.raises(WrongResult, match="shape"):
        Rounding().check([want[1:]], [want], [])
    Rounding(kinks=1e-3).check([want.index_fill(0, torch.tensor([0]), 9.0)], [want], [])


def test_like_peer_never_allows_zeros() -> None:
    want, peer = torch.randn(100), torch.randn(100)
    bound = LikePeer(factor=2.0, floor=1e-3)
    bound.check([want * 1.0009], [want], [want])
    with pytest.raises(WrongResult, match="output 0"):
        bound.check([want * 1.002], [want], [want])
    with pytest.raises(WrongResult, match=r"off by 1 in norm, allowed is 0\.9"):
        bound.check([torch.zeros(100)], [want], [peer])


class FakeTimer:  # stands in for CUDA events
    def start(self) -> None:
        self.began = time.perf_counter()

    def stop(self) -> None:
        self.began -= time.perf_counter()

    def seconds(self) -> float:
        return -self.began


def noting(log: list[Any], what: Any) -> Call:
    def call() -> list[Any]:
        log.append(what)
        return []

    return call


def test_the_gpu_clock_takes_enough_samples_of_both_sides_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "Timer", FakeTimer)
    monkeypatch.setattr(clock, "BALLAST", 1 << 16)
    order: list[str] = []
    sides = [clock.Rotation([noting(order, side)]) for side in ("ours", "peer")]
    times = clock.interleaved(clock.EventClock(), [(side, 1) for side in sides])
    assert all(t.samples >= 20 and t.host_s is not None for t in times)
    sampled = order[-20 * (times[0].calls + times[1].calls) :]
    assert sampled[: times[0].calls + 1] == ["ours"] * times[0].calls + ["peer"]


def test_a_row_goes_the_way_it_goes_on_a_gpu(monkeypatch: pytest.MonkeyPatch, bench: harness.Harness) -> None:
    """Inputs in turn, queued behind ballast, held against the card: with clocks that stand in for a GPU's."""
    monkeypatch.setattr(driver, "Timer", FakeTimer)
    monkeypatch.setattr(clock, "BALLAST", 1 << 16)
    monkeypatch.setattr(harness, "sets_for", lambda nbytes: 3)
    monkeypatch.setattr(bench, "clock", clock.EventClock())
    monkeypatch.setattr(bench, "ceilings", CEILINGS)
    monkeypatch.setattr(bench.clock, "samples", 3)
    for row in (PRODUCT, *norm.passes((2, 4, 3, 3), "+relu", "float32"), optim.step("resnet18", "fused", "float32", 2)):
        found = bench.run(row)
        assert (found.reason, found.trouble) == (None, {}) and found.ours is not None
        assert found.speedups["eager"] == found.peers["eager"].median_s / found.ours.median_s
        assert found.floor_s and found.roofline_share == found.floor_s / found.ours.median_s
        assert found.limit == "memory" and found.host_us_per_launch is not None and found.host_us_per_launch > 0


def test_a_run_comes_back_from_its_file_as_it_was(tmp_path: Path, bench: harness.Harness) -> None:
    run = results.begin(None, None, "--quick")
    run.rows = [bench.run(PRODUCT), harness.failed(PRODUCT, "why")]
    path = results.path_of(run, tmp_path)
    assert path.parent.name == run.device and path.name.endswith("-selection.json")
    results.save(run, path)
    assert results.load(path) == run and [p.name for p in path.parent.iterdir()] == [path.name]
    assert results.path_of(made_up_run(), tmp_path) == tmp_path / "a-gpu/2026-01-02-abc1234.json"
    saved = json.loads(path.read_text())
    assert saved.keys() == {f.name for f in fields(Run)} and saved["schema"] == results.SCHEMA
    assert all(r.keys() == {f.name for f in fields(Result)} for r in saved["rows"])
    assert {"python", "torch", "triton", "numpy"} <= saved["versions"].keys()
    # The interpreter's times are never held against anything.
    assert saved["interpreted"] == (not saved["rows"][0]["speedups"]) == (saved["device"] == results.INTERPRETER)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99, "rows": []}', '{"schema": 1, "rows": [{}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json is no results file"):
        results.load(tmp_path / "x.json")


def test_a_row_is_held_against_the_card() -> None:
    timed = made_up_run().rows[0]
    floor = PRODUCT.bytes / CEILINGS["copy_bytes_per_s"]
    assert timed.limit == "memory" and timed.floor_s == pytest.approx(floor)
    assert timed.roofline_share == pytest.approx(floor / 1e-6)
    assert timed.speedups == {"eager": pytest.approx(2.0)} and timed.host_us_per_launch == pytest.approx(4.0)


def test_what_an_operation_costs_before_its_launch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "SAMPLES", 2)
    monkeypatch.setattr(launch_cost, "measured", lambda: [launch_cost.LaunchCost("of nothing", 1e-6, 2e-6, 3e-6)])
    launch = vars(elementwise)["launch"]
    assert cli.main(["host"]) == 0
    printed = capsys.readouterr().out
    assert "x * w, recorded" in printed and "of nothing" in printed
    assert vars(elementwise)["launch"] is launch
