"""Results for people: tables, comparisons, pictures, and what is rendered into the README and the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as cli, results, tables
from tests.bench_runs import PRODUCT, made_up_run


def test_report_prints_markdown(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "run.json"
    results.save(made_up_run(), path)
    assert cli.main(["report", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# A GPU, 2026-01-02, commit abc1234"
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4 and len({line.count("|") for line in table}) == 1
    assert "1 µs ±1%" in table[2] and "2.00" in table[2] and "FAILED" in table[3]
    assert any("copy 4.00 TB/s" in line for line in lines)
    assert cli.main(["report", str(tmp_path / "absent.json")]) == 2


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
