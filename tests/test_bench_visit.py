"""A visit to a GPU: stages in turn, each costing only itself; tests file by file; rows that are only checked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import __main__ as cli, correct, environment, kernel_tests, results, rows, visit, worker
from bench.visit import Stage
from tests.bench_runs import PRODUCT, InProcess, quick_harness, raising

ROOT = Path(__file__).parent.parent


def stage(name: str, code: str, share: float = 1.0, **fields: Any) -> Stage:
    """A stage that runs `code`; python's own `-c` through a module that does that."""
    return Stage(name, share, ("timeit", "-n1", "-r1", code), ("timeit", "-n1", "-r1", code), **fields)


def ended(folder: Path, stages: list[Stage], seconds: float = 60.0, dry: bool = False) -> dict[str, visit.Ended]:
    found = visit.Visit(folder, seconds, dry, commit="c0ffee")
    found.run(stages)
    return {e.stage: e for e in found.ended}


def test_a_stage_that_fails_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    began = time.monotonic()
    found = ended(
        tmp_path,
        [
            stage("hangs", "print('so far', flush=True); import time; time.sleep(600)", share=1),
            stage("crashes", "import os; os._exit(3)", share=10),
            stage("works", "print('well')", share=10, printed="report.md"),
            stage("absent", "print('well')", needs="no-such-program"),
        ],
        seconds=120.0,
    )
    assert time.monotonic() - began < 60.0
    assert {name: e.state for name, e in found.items()} == {
        "hangs": "cut off", "crashes": "failed", "works": "ok", "absent": "passed over"
    }  # fmt: skip
    assert found["hangs"].said == "so far" and found["absent"].said == "there is no no-such-program here"
    assert (tmp_path / "report.md").read_text().startswith("well")
    told = (tmp_path / "visit.md").read_text()
    assert "| hangs | cut off |" in told and "| works | ok |" in told
    assert "so far" in (tmp_path / "visit.log").read_text()


def test_what_helps_a_stage_that_fails_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONE", "TWO"):
        monkeypatch.delenv(name, raising=False)
    code = "import os, sys; found = [os.environ.get(k, '1') for k in ('ONE', 'TWO')]; print(found); "
    stages = [
        stage("never", code + "assert not found", otherwise=("ONE", "TWO")),
        stage("without two", code + "assert found == ['0', '0']", otherwise=("ONE", "TWO")),
        stage("after", code),
    ]
    found = ended(tmp_path, stages)
    assert found["never"].state == "failed" and found["never"].said == "AssertionError"
    assert found["without two"].said.startswith("only with ONE=0 TWO=0, which stays: ")
    assert "['0', '0']" in (tmp_path / "visit.log").read_text().rpartition("==== after")[2]


def test_a_stage_that_is_cut_off_leaves_no_process(tmp_path: Path) -> None:
    sleeper = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {sleeper!r}], start_new_session=True); "
        "print(p.pid, flush=True); time.sleep(600)"
    )
    found = ended(tmp_path, [stage("hangs", code)], seconds=6.0)["hangs"]
    assert found.state == "cut off"
    state = Path(f"/proc/{found.said}/stat")
    for _ in range(50):  # whoever inherits it may be slow to bury it
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("it lives on")


def test_a_stage_of_a_rehearsal_may_take_all_the_time_there_is(tmp_path: Path) -> None:
    slow = stage("slow", "import time; time.sleep(7)"), stage("next", "print(1)", share=1000)
    assert [e.state for e in ended(tmp_path, [*slow], seconds=60.0, dry=True).values()] == ["ok", "ok"]
    assert ended(tmp_path, [*slow], seconds=60.0)["slow"].state == "passed over"


def test_what_was_not_reached_is_said(tmp_path: Path) -> None:
    found = ended(tmp_path, [stage("one", "print(1)"), stage("two", "print(2)")], seconds=4.0)
    assert [e.state for e in found.values()] == ["passed over"] * 2 and found["two"].said == "time is up"
    cut = visit.Visit(tmp_path, 60.0, dry=True, commit="c0ffee")
    cut.ended.append(visit.Ended("one", "ok", 1.0, "a | b"))
    cut._summary([stage("one", ""), stage("two", "")])
    told = (tmp_path / "visit.md").read_text()
    assert "| one | ok | 1 | a / b |" in told and "| two | not yet |" in told


def test_stages_are_commands_that_exist(tmp_path: Path) -> None:
    """Every stage's words are understood, in earnest and in the rehearsal, whatever is in the braces."""
    for dry in (False, True):
        found = visit.Visit(tmp_path, 60.0, dry)
        for one in visit.STAGES:
            words = found._command(one, 40.0)
            assert not any("{" in w or "}" in w for w in words)
            words = words[words.index("-m") + 1 :]
            if words[0] == "bench" and (one.needs is None or (ROOT / one.needs).exists()):
                cli._parser().parse_args(words[1:])
    names = [s.name for s in visit.STAGES]
    assert names[:3] == ["environment", "a row of each kind", "tests of what follows descriptors"]
    assert names[3:5] == ["convolutions and products are right", "ResNet-50 alone"]
    families = rows.families()
    for name in ("conv2d", "matmul", "batch_norm", "sgd"):
        assert name in families


def test_the_sanitizer_goes_around_its_command(tmp_path: Path) -> None:
    (one,) = (s for s in visit.STAGES if s.needs == "compute-sanitizer")
    words = visit.Visit(tmp_path, 60.0, dry=False)._command(one, 40.0)
    assert words[:3] == ["compute-sanitizer", "--error-exitcode", "9"] and words[3:5] == [sys.executable, "-m"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(visit, "STAGES", (stage("one", "print('first')"), stage("two", "raise SystemExit(1)")))
    monkeypatch.delenv("OUT", raising=False)
    assert visit.main(["--dry", "--out", str(tmp_path), "--device-label", "box", "--commit", "c0ffee"]) == 1
    assert "[1/2] one: ok" in capsys.readouterr().out and (tmp_path / "box" / "visit.md").exists()
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    assert cli.main(["--minutes", "1", "visit", "--dry", "--only", "one"]) == 0
    assert (tmp_path / "out" / "visit.md").exists()
    assert visit.main(["--only", "nothing"]) == 2 and "no stage is called" in capsys.readouterr().err


def test_no_more_files_than_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(5):
        (tmp_path / f"{k}.png").write_bytes(b"p")
        (tmp_path / f"{k}.json").write_bytes(b"j")
    monkeypatch.delenv("OUT", raising=False)
    visit.pack(tmp_path)
    assert len(list(tmp_path.iterdir())) == 10
    monkeypatch.setenv("OUT", str(tmp_path))
    visit.pack(tmp_path)
    assert len(list(tmp_path.iterdir())) == 6
    assert len(zipfile.ZipFile(tmp_path / "pictures.zip").namelist()) == 5


def test_the_visit_itself_needs_neither_torch_nor_triton() -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['triton'] = sys.modules['numpy'] = None; import bench.visit"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_environment_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["environment"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "torch 2." in said and "triton 3." in said and "commit" in said
    assert environment.driver_version() == "none" or shutil.which("nvidia-smi")
    answer = subprocess.CompletedProcess([], 0, "580.1, 1980 MHz, 700 W\n")
    monkeypatch.setattr(environment.subprocess, "run", lambda *words, **options: answer)
    assert environment.driver_version() == "580.1, 1980 MHz, 700 W"


FILES = {
    "fine": "def test_a():\n    pass\n",
    "wrong": "def test_a():\n    assert 1 == 2\n\ndef test_b():\n    pass\n",
    "hanging": "import time\n\ndef test_a():\n    pass\n\ndef test_b():\n    time.sleep(600)\n",
    "broken": "import no_such_package\n",
}


def test_each_file_of_tests_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tests").mkdir()
    for name, text in FILES.items():
        (tmp_path / "tests" / f"test_{name}.py").write_text(text)
    monkeypatch.setattr(kernel_tests, "ROOT", tmp_path)
    assert cli.main(["tests", "--seconds", "6", "--jobs", "4", *FILES]) == 1
    said = capsys.readouterr().out
    assert "ok       tests/test_fine.py: 1 passed" in said
    assert "failed   tests/test_wrong.py: 1 failed, 1 passed" in said and "assert 1 == 2" in said
    assert "cut off  tests/test_hanging.py" in said and "No module named 'no_such_package'" in said
    assert said.strip().endswith("not well: tests/test_wrong.py, tests/test_hanging.py, tests/test_broken.py")
    assert cli.main(["tests", "absent"]) == 2
    assert kernel_tests.one("tests/test_fine.py", time.monotonic()).state == "cut off"


def test_what_pytest_says_in_the_end() -> None:
    assert kernel_tests.counts("..\n1 failed, 2 passed, 1 error in 0.1s") == {"failed": 1, "passed": 2, "error": 1}
    assert kernel_tests.counts("..F.s       [ 50%]\n..") == {"passed": 5, "failed": 1, "skipped": 1}
    assert kernel_tests.counts("") == {}


def test_the_files_of_kernels_exist() -> None:
    for name in (*kernel_tests.TMA, *kernel_tests.KERNELS):
        assert (ROOT / "tests" / f"test_{name}.py").exists(), name


def test_rows_are_checked_without_being_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with quick_harness() as harness:
        harness.timed = False
        monkeypatch.setattr(rows, "here", lambda: [PRODUCT, replace(PRODUCT, case="broken", ours=raising)])
        monkeypatch.setattr(correct, "Worker", lambda timed: InProcess(harness))
        file = tmp_path / "found.json"
        for _ in range(2):
            assert cli.main(["--into", str(file), "correct"]) == 1
        assert cli.main(["--into", str(file), "--rows", "24x40", "correct"]) == 0
        assert cli.main(["--out", str(tmp_path), "--minutes", "0.01", "correct"]) == 0
        assert cli.main(["correct", "--but", "matmul"]) == 2
    said = capsys.readouterr().out
    assert "right matmul forward 24x40x17 float32: error" in said and "WRONG matmul forward broken float32" in said
    assert "1 rows right, 1 wrong or broken; written to" in said and "2 left out when time was up" in said
    found = results.load(file).rows
    assert sorted(r.status for r in found) == ["failed", "ok"] and all(r.ours is None for r in found)
    assert json.loads(file.read_text())["selection"] == "correct"


class Pipe:
    """A parent that sends one row and goes."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, answer: Any) -> None:
        self.sent.append(answer)

    def recv(self) -> Any:
        if len(self.sent) == 2:
            raise EOFError
        return PRODUCT


def test_a_process_that_only_checks() -> None:
    threads, pipe = torch.get_num_threads(), Pipe()
    worker._serve(pipe, ("eager",), False)
    torch.set_num_threads(threads)
    ceilings, (result, usable) = pipe.sent
    assert ceilings is None and usable
    assert result.status == "ok" and result.ours is None and result.error is not None
