"""A run of the benchmark: what is chosen, when it ends, what it leaves behind, beside whom rows are timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

import tritongrad_kernels
from bench import __main__ as cli, harness, host, launch_cost, launches, modelled, peers, results, rows, session, tables
from bench.accuracy import Rounding
from bench.row import Input, backward, forward
from bench.rows import conv, matmul
from tests.bench_runs import PRODUCT, InProcess, made_up_run, quick_harness, raising


@pytest.fixture(scope="module")
def bench() -> Iterator[harness.Harness]:
    with quick_harness() as found:
        yield found


def test_a_selection_runs_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, bench: harness.Harness
) -> None:
    monkeypatch.setattr(
        rows, "here", lambda: [PRODUCT, replace(PRODUCT, ours=raising), matmul.product(2, 3, 4, "bfloat16")]
    )
    monkeypatch.setattr(session, "Worker", lambda peers: InProcess(bench))
    words = ["--rows", "24x40", "--out", str(tmp_path), "--device-label", "My Box", "--commit", "c0ffee"]
    assert cli.main(words) == 1
    printed = capsys.readouterr().out
    assert ("say nothing about a GPU" in printed) == tritongrad_kernels.INTERPRETED
    assert "FAILED" in printed and "no such kernel" in printed
    (path,) = (tmp_path / "my-box").iterdir()
    run = results.load(path)
    assert [r.status for r in run.rows] == ["ok", "failed"] and run.commit == "c0ffee"
    assert cli.main(["--list"]) == 0 and PRODUCT.name in capsys.readouterr().out
    assert cli.main(["--rows", "("]) == cli.main(["--rows", "nothing"]) == 2 and "no row" in capsys.readouterr().err


def test_a_run_ends_when_its_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: harness.Harness
) -> None:
    monkeypatch.setattr(rows, "here", lambda: [replace(PRODUCT, rank=rank, case=f"{rank}") for rank in (2, 0, 1)])
    monkeypatch.setattr(session, "Worker", lambda peers: InProcess(bench))
    moments = chain([0.0, 0.0], repeat(55.0))
    monkeypatch.setattr(session.time, "monotonic", lambda: next(moments))
    found, path = session.run(session.Selection(minutes=1.0), None, None, tmp_path)
    assert [r.name.split()[2] for r in found.rows] == ["0"] and found.unreached == 2 and found.selection is None
    assert results.load(path) == found
    assert any("2 rows were left out" in line for line in tables.notes(found))


def test_a_run_has_sections_besides_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(host, "SAMPLES", 2)
    monkeypatch.setattr(modelled, "steps", partial(modelled.steps, [("resnet18", 2)], 32))
    monkeypatch.setattr(modelled, "traffic", partial(modelled.traffic, conv.passes(conv.BASIC, 32, "bfloat16")))
    monkeypatch.setattr(launch_cost, "measured", lambda: [launch_cost.LaunchCost("of nothing", 1e-6, 2e-6, 3e-6)])
    words = ["--families", "host,modelled", "--out", str(tmp_path), "--device-label", "x", "--commit", "c0ffee"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert modelled.TITLE in printed and "resnet18 32px b2 bfloat16" in printed and "x * w, recorded" in printed
    (path,) = (tmp_path / "x").iterdir()
    run = results.load(path)
    assert not run.rows and len(run.host) >= 8 and run.modelled[0]["floor_ms"] > 0
    assert [cost["public"] for cost in run.starts] == [2e-6] and "of nothing" in printed
    assert [r["launches"] for r in run.traffic][:2] == [1, 1] and modelled.TRAFFIC in printed
    assert all(r["moved"] >= 0.99 * r["needed"] for r in run.traffic)
    monkeypatch.setattr(launch_cost, "measured", _no_compiler)
    assert cli.main(words) == 0 and "no cc" in capsys.readouterr().err


def _no_compiler() -> None:
    raise ValueError("no cc")


def test_a_run_is_compared_with_the_one_before(tmp_path: Path) -> None:
    for day, commit in (("01", "a"), ("02", "b"), ("03", "c"), ("03", "b")):
        run = made_up_run(date=f"2026-01-{day}T00:00:00", commit=commit)
        results.save(run, results.path_of(run, tmp_path))
    (tmp_path / "a-gpu/old.json").write_text('{"schema": 1, "rows": []}')
    assert [r.commit for r in results.history(tmp_path / "a-gpu")] == ["a", "b", "b", "c"]
    now = made_up_run(date="2026-01-04T00:00:00", commit="b")
    before = results.before(now, tmp_path)
    assert before is not None and before.commit == "c"
    assert results.before(replace(now, rows=[]), tmp_path) is None
    assert results.before(replace(now, device="other"), tmp_path) is None


def test_the_compiled_peer(monkeypatch: pytest.MonkeyPatch, bench: harness.Harness) -> None:
    """With a compiler that only traces: torch's own takes a C++ compiler and minutes."""
    monkeypatch.setattr(peers, "COMPILER", {"backend": "aot_eager", "dynamic": False})
    monkeypatch.setattr(bench, "beside", ("eager", "compile"))
    square = partial(forward, family="f", dtype="float32", inputs={"x": Input((4, 4))}, flops=16, bytes=128)
    for row in (
        PRODUCT,
        square(_square, op="forward", case="4x4", bound=Rounding()),
        backward(
            _square, Input((4, 4)), {"x": Input((4, 4))}, "x", family="f", op="backward", case="4x4", dtype="float32",
            flops=16, bytes=192, bound=Rounding(terms=4),
        ),
    ):  # fmt: skip
        result = bench.run(row)
        assert (result.reason, result.trouble) == (None, {}) and result.peers.keys() == {"eager", "compile"}
        assert result.peer_errors.keys() == result.peers.keys() and max(result.peer_errors.values()) < 1e-6
    assert "compile" not in bench.run(replace(PRODUCT, compiles=False)).peers
    monkeypatch.setattr(peers, "COMPILER", {"backend": "no such compiler"})
    without = bench.run(PRODUCT)
    assert without.status == "ok" and without.peers.keys() == {"eager"} and "no such" in without.trouble["compile"]


def _square(library: Any, x: Any) -> Any:
    return x * x


def test_the_names_of_peers() -> None:
    assert peers.chosen("eager") == peers.chosen("") == ("eager",)
    with pytest.raises(ValueError, match="no peer is called cublas: there are eager and compile"):
        peers.chosen("cublas,eager")
    if tritongrad_kernels.INTERPRETED:
        with pytest.raises(ValueError, match="on a GPU only"):
            peers.chosen("compile")


def test_what_rows_launch_on_a_gpu_is_known_without_one() -> None:
    (product,) = launches.of(matmul.product(8192, 8192, 8192, "bfloat16"), "sm_90")
    assert launches.tile_of([product]).startswith("_matmul_tma BM=128 BN=256 BK=64 ")
    forward, dx, _ = (launches.of(row, "sm_90") for row in conv.passes(conv.BASIC, 256, "bfloat16"))
    assert [n.kernel for n in dx] == ["_conv2d_input_grad_tma"] and len(forward) == 1
    assert launches.tile_of([]) is None
