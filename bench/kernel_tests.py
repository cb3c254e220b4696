"""`python -m bench tests`: files of tests, each in a process of its own, some at once, within a time limit.

On a GPU a kernel that reads where it may not ends its process' use of the card, and one that waits for what never comes
holds it for good: so no file's end is another's. Needs pytest and nothing that belongs to it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

TMA = ("conv_tma", "conv_grad_tma", "conv_stem", "matmul_tma")
"""What follows descriptors: what the interpreter can say least about."""
KERNELS = (
    "attention", "fusion", "matmul", "conv", "norm_kernels", "norm", "slabs", "moments", "pool_norm", "epilogue",
    "prologue", "pool", "reduce", "softmax", "layernorm", "optim", "elementwise", "random", "small_matmul", "depthwise",
    "conv3d", "volume_pool", "fold", "scan", "sort", "gather", "index", "embedding", "loss", "recurrent", "resample",
    "walk", "masking", "dropout", "foreach", "amp", "cuda", "descriptors", "launch", "resnet",
)  # fmt: skip
"""The other kernels, those of training steps first."""

# No file of a cache, no plugin that might not be there, and no error for what a version of numpy or torch warns of.
OPTIONS = ("-q", "--no-header", "--tb=short", "-rfE", "-p", "no:cacheprovider", "-o", "addopts=", "-W", "default")
SHOWN = 60  # lines of a failing file


@dataclass(frozen=True)
class Outcome:
    """How a file ended: "ok", "failed", "cut off", or "empty" if it has nothing to run here."""

    file: str
    state: str
    counts: dict[str, int]
    seconds: float
    output: str


def add(commands: Any) -> None:
    command = commands.add_parser("tests", help="run tests of kernels on this device, each file in its own process")
    command.add_argument("names", nargs="*", help="test_NAME.py; or the groups TMA and KERNELS (both)", metavar="NAME")
    command.add_argument("--seconds", type=float, default=600.0, help="for all of them (%(default)g)")
    command.add_argument(
        "--jobs", type=int, default=None, help="processes at once (by default two in three processors)"
    )
    command.add_argument("-k", dest="words", metavar="WORDS", default=None, help="as pytest's")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run the files; 1 if one failed or was cut off."""
    groups = {"TMA": TMA, "KERNELS": KERNELS}
    names = [n for name in options.names or groups for n in groups.get(name, (name,))]
    files = [f"tests/test_{name}.py" for name in dict.fromkeys(names)]
    absent = [file for file in files if not (ROOT / file).exists()]
    if absent:
        raise ValueError(f"there is no {absent[0]}")
    end = time.monotonic() + options.seconds
    jobs = options.jobs or max(1, (os.cpu_count() or 1) * 2 // 3)
    outcomes = []
    with ThreadPoolExecutor(jobs) as pool:
        for outcome in pool.map(lambda file: one(file, end, options.words), files):
            print(line(outcome), flush=True)
            outcomes.append(outcome)
    total: dict[str, int] = {}
    for outcome in outcomes:
        for kind, n in outcome.counts.items():
            total[kind] = total.get(kind, 0) + n
    bad = [o.file for o in outcomes if o.state in ("failed", "cut off")]
    print(f"{len(outcomes)} files: {_counted(total)}" + (f"; not well: {', '.join(bad)}" if bad else ""))
    return 1 if bad else 0


def one(file: str, end: float, words: str | None = None) -> Outcome:
    """Run a file until `end` of the monotonic clock."""
    began = time.monotonic()
    if end - began < 1.0:
        return Outcome(file, "cut off", {}, 0.0, "")
    command = [sys.executable, "-m", "pytest", *OPTIONS, file, *(("-k", words) if words else ())]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=end - began)
        state = {0: "ok", 5: "empty"}.get(process.returncode, "failed")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        state = "cut off"
    return Outcome(file, state, counts(output), time.monotonic() - began, output)


def counts(output: str) -> dict[str, int]:
    """Of pytest's last line, like "2 failed, 3 passed in 0.1s"; of a file that was cut off, its dots."""
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?|deselected)", output.strip().rpartition("\n")[2])
    if found:
        return {kind.rstrip("s") if kind.startswith("error") else kind: int(n) for n, kind in found}
    marks = "".join(re.findall(r"^([.FEsx]+)(?: +\[ *\d+%\])?$", output, re.MULTILINE))
    kinds = {".": "passed", "F": "failed", "E": "error", "s": "skipped"}
    return {kind: marks.count(mark) for mark, kind in kinds.items() if mark in marks}


def line(o: Outcome) -> str:
    """A file in a line; of one that failed, the end of what pytest said too."""
    head = f"{o.state:8} {o.file}: {_counted(o.counts)}, {o.seconds:.0f} s"
    if o.state in ("ok", "empty"):
        return head
    return "\n".join([head, *(f"    {text}" for text in o.output.splitlines()[-SHOWN:])])


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in counts.items()) or "nothing run"
