"""Results for people: tables, comparisons, pictures, and what is rendered into the README and the docs."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as cli, clock, harness, modelled, report, results, rows, summary, tables
from bench.results import Result, Run
from bench.training.result import Trained
from tests.bench_runs import CEILINGS, PRODUCT, made_up_run
from tritongrad_kernels.launch import Launch


def test_report_prints_markdown(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "run.json"
    results.save(made_up_run(), path)
    assert cli.main(["report", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# A GPU, 2026-01-02, commit abc1234"
    assert "Of 1 rows, 1 are as fast as eager torch or faster. 1 failed and have no time." in lines
    summed, worst, rows = tables_in(lines)
    assert len(summed) == 3 and len(worst) == 3
    assert cells(summed[0]) == ["rows", "dtype", "number", "x eager", "roofline", "worst beside eager"]
    assert cells(summed[2])[:4] == ["matmul", "float32", "1", "2.00"] and "24x40x17 (2.00)" in summed[2]
    assert len(rows) == 4 and "1 µs ±1%" in rows[2] and "2.00" in rows[2] and "FAILED" in rows[3]
    assert any("copy 4.00 TB/s" in line for line in lines)
    assert cli.main(["report", str(tmp_path / "absent.json")]) == 2


def tables_in(lines: list[str]) -> list[list[str]]:
    """The tables of a Markdown document, each of whose rows have as many cells."""
    found = [list(group) for is_table, group in groupby(lines, lambda line: line.startswith("|")) if is_table]
    assert all(len({line.replace("\\\\|", "").count("|") for line in table}) == 1 for table in found)
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def many_rows() -> list[Result]:
    """Made-up times for rows of several families; `k` times as fast as eager torch for k in 1/4, 1/2, 1, 2, ..."""
    chosen = rows.select(rows.GPU, "matmul forward [48]...x|layer_norm .*x768 bf|conv2d .* 3x3 64.*256 bf|copy cl")
    found = []
    for k, row in enumerate(chosen):
        ours, peer = (clock.Timing(t, t, t, 25, 1, 4e-6) for t in (1e-3, 2.0 ** (k % 5 - 2) * 1e-3))
        timed = replace(harness.blank(row), ours=ours, peers={"eager": peer, "compile": ours}, error=1e-3, launches=1)
        found.append(harness.against(CEILINGS, timed, [Launch("_k", (1,), 1, 1, None, (), {})]))
    return found


def test_means_and_worst_rows() -> None:
    assert summary.geometric_mean([0.5, 2.0, 1.0]) == pytest.approx(1.0) and summary.geometric_mean([]) is None
    run = made_up_run(rows=many_rows())
    table = summary.of_run(run)
    assert table.columns[3:5] == ["x eager", "x compile"]
    assert {line[0] for line in table.rows} >= {"matmul", "layer_norm", "layer_norm backward", "conv2d weight grad"}
    slowest = summary.worst(run.rows)
    assert len(slowest) == 3 and all(r.speedups["eager"] == 0.25 for r in slowest)
    assert [line[3] for line in summary.worst_table(run).rows] == ["0.25"] * 3


def rendered(tmp_path: Path, *runs: Run) -> tuple[str, str]:
    """README and docs after `report`, which does the same when it is asked again."""
    folder, readme, docs = tmp_path / "results", tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"
    for run in runs:
        results.save(run, results.path_of(run, folder))
    readme.write_text(f"before\n{report.BEGIN}\nwhat was there\n{report.END}\nafter\n")
    words = ["--out", str(folder), "report", "--readme", str(readme), "--docs", str(docs)]
    assert cli.main(words) == 0
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert cli.main(words) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first
    text = readme.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n") and text.endswith(f"{report.END}\nafter\n")
    assert "what was there" not in text
    for shown, root in ((text, tmp_path), (docs.read_text(), docs.parent)):
        assert all((root / link).is_file() for link in re.findall(r"\]\(([^)]*)\)", shown))
    return text, docs.read_text()


def interpreted(**changes: Any) -> Run:
    sizes = {"launches": 3, "bytes": 5, "peak_memory": 7, "floor_ms": 2.0, "floors": {"a": 4.0}}
    planned = [{"name": "resnet18 32px b2", "gpu": "H200", **sizes}]
    costs = [{"name": "x * w", "ours": 2e-6, "peer": 1e-6}]
    changes = {"device": "cpu-interpreter", "device_name": "A CPU", "interpreted": True, "ceilings": None, **changes}
    return made_up_run(rows=made_up_run().rows[:1], modelled=planned, host=costs, **changes)


def test_what_is_rendered_says_which_machine_it_is_from(tmp_path: Path) -> None:
    gpu = made_up_run(rows=many_rows()[:2])
    older = [made_up_run(date="2025-12-31T00:00:00", commit="0"), interpreted(date="2025-12-31T00:00:00", commit="0")]
    partial = made_up_run(date="2027-01-01T00:00:00", selection="--quick", device_name="Another")
    readme, docs = rendered(tmp_path, *older, partial, gpu, interpreted())
    assert "**A GPU, 2026-01-02, commit abc1234.**" in readme and "ratios.png" in readme and "Another" not in docs
    assert "interpreter" not in readme and "Modelled" not in readme
    headings = [line for line in docs.splitlines() if line.startswith("#")]
    assert [h for h in headings if h.startswith("## ")] == [
        "## A GPU, 2026-01-02, commit abc1234",
        "## A CPU, in Triton's CPU interpreter, 2026-01-02, commit abc1234",
    ]
    assert any(h.startswith("### Beside A CPU") for h in headings) and f"### {modelled.TITLE}" in headings
    after = docs[docs.index("## A CPU") :]
    assert "say nothing about a GPU" in after and "| ours, interpreter | eager torch, CPU |" in after
    assert "roofline" not in after and "x eager" not in after
    assert "No GPU ran any of it" in after and "times.png" in after


def test_training_is_rendered_with_the_kernels_or_by_itself(tmp_path: Path) -> None:
    sides = [Trained("gpt 2x8", side, 16, "tokens", step=clock.Timing(t, t, t, 9, 1, 1e-3), per_second=16 / t)
             for side, t in (("ours", 0.01), ("torch", 0.02))]  # fmt: skip
    trained = made_up_run(date="2026-01-03T00:00:00", rows=[], training=sides, selection="training")
    readme, docs = rendered(tmp_path, made_up_run(rows=many_rows()[:2]), trained)
    for text in (readme, docs):
        assert "A GPU, 2026-01-03" in text and "1600 tokens" in text and "Of 2 rows" in text
    assert "**Training steps**" in readme and "### Training steps" in docs and "rates.png" in readme


def test_without_a_run_on_a_gpu_the_readme_has_what_is_modelled(tmp_path: Path) -> None:
    readme, _ = rendered(tmp_path, interpreted())
    assert "nothing here was measured on one" in readme and modelled.TITLE in readme and "µs" not in readme


def test_a_readme_without_a_place_is_left_alone(tmp_path: Path, capsys: Any) -> None:
    run = made_up_run()
    readme = tmp_path / "README.md"
    readme.write_text("text")
    words = ["--out", str(tmp_path / "results"), "report", "--readme", str(readme), "--docs", str(tmp_path / "d.md")]
    assert cli.main(words) == 2 and "there are no results" in capsys.readouterr().err
    results.save(run, results.path_of(run, tmp_path / "results"))
    assert cli.main(words) == 2 and "between these two lines" in capsys.readouterr().err
    assert readme.read_text() == "text" and not (tmp_path / "d.md").exists()


def test_pictures_of_a_run(tmp_path: Path) -> None:
    """One a family, of one with many rows one a product; and what a run without a time leaves."""
    pytest.importorskip("matplotlib")
    from bench import plot  # needs matplotlib

    names = {path.name for path in plot.every(made_up_run(rows=many_rows()), tmp_path)}
    assert {"ratios.png", "roofline.png", "bandwidth.png", "ratios-matmul.png", "ratios-layer_norm.png"} <= names
    assert names == {path.name for path in tmp_path.iterdir()}
    assert plot.every(made_up_run(rows=[]), tmp_path / "none") == [] and not (tmp_path / "none").exists()
    found = [replace(r, family="conv2d", op=f"p{k % 2}") for k, r in enumerate(many_rows() * 10)]
    assert {"conv2d-p0", "conv2d-p1"} == plot._pages(made_up_run(rows=found)).keys()
    known = {r.family for r in rows.GPU}
    assert {family for families in plot.CLASSES.values() for family in families} <= known


@pytest.mark.parametrize("interpreted", [False, True])
def test_report_draws_a_picture(tmp_path: Path, interpreted: bool) -> None:
    pytest.importorskip("matplotlib")
    path, picture = tmp_path / "run.json", tmp_path / "run.png"
    results.save(made_up_run(interpreted=interpreted), path)
    assert cli.main(["report", str(path), "--png", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    results.save(made_up_run(rows=[]), path)
    assert cli.main(["report", str(path), "--png", str(picture)]) == 2


def test_compare_gives_a_ratio_per_row(tmp_path: Path, capsys: Any) -> None:
    before, after = tmp_path / "a.json", tmp_path / "b.json"
    results.save(made_up_run(4.0), before)
    results.save(made_up_run(1.0, device_name="B GPU"), after)
    assert cli.main(["compare", str(before), str(after)]) == 0
    printed = capsys.readouterr().out
    assert "4.00" in printed and "different devices" in printed
    table = tables.compare(made_up_run(4.0), made_up_run(1.0))
    assert table.rows[0] == [PRODUCT.name, "4 µs", "1 µs", "4.00", "", "1.00"]
    assert table.rows[1][1:3] == ["FAILED", "FAILED"]
    assert tables.compare(made_up_run(1.0), made_up_run(1.005)).rows[0][4] == "~"
    assert tables.compare(made_up_run(), made_up_run(rows=[])).rows[0][2] == "absent"


def test_tables_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(tables, "Console", None)
    tables.show("title", tables.Table(["row", "n"], [["a", "10"], ["bbb", "7"]]), ["note"])
    assert capsys.readouterr().out.split("\n\n")[1] == "row   n\na    10\nbbb   7"
