"""`python -m bench visit`: everything worth doing in one short visit to a GPU, in order of value.

Each stage is a process with a share of the time that is left, so a stage that ends early leaves more for the next ones.
One that crashes, hangs or is cut off leaves what it has written, and costs no other stage anything. After each stage
`visit.md` says how far the visit came; `visit.log` has all that the stages printed.

Results go to the folder that the environment variable OUT names, else to bench/results/<device>/: no more than eight
files, because a lent machine gives back no more. This process itself imports neither torch nor triton.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MINUTES = 9.0
MOST_FILES = 8
KEPT = 60_000  # characters of a stage's output that go to the log, from its end
_PYTHON = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    ),
}
LEAST = 5.0  # seconds: too little to begin a stage with


@dataclass(frozen=True)
class Stage:
    """One stage: its share of the time, and the words after `python -m` here and in a rehearsal without a GPU.

    In them {minutes} and {seconds} are the time it has, {folder} where results go, {results} the file of figures and
    {correct} that of checked rows. Without `needs`, a program or a file of the checkout, the stage is passed over;
    what it prints also goes to the file `printed`. One that fails is tried again with each of the environment variables
    `otherwise` set to 0, and those before it; what helps stays for all later stages.
    """

    name: str
    share: float
    words: Sequence[str]
    dry: Sequence[str] | None
    needs: str | None = None
    printed: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    otherwise: tuple[str, ...] = ()


_INTO = ("bench", "--into", "{results}")
_CHECK = ("bench", "--into", "{correct}", "--minutes", "{minutes}", "--ahead")
_SANITIZED = "test_forward and (pixel or stride)"

STAGES = (
    Stage("environment", 20, ("bench", "environment"), ("bench", "environment")),
    Stage(
        "a row of each kind", 30,
        (*_CHECK, "--quick", "--rows", "^(sgd|matmul forward|conv2d forward|batch_norm forward) ", "correct"),
        None,
        otherwise=("TRITONGRAD_DIRECT", "TRITONGRAD_FUSION"),
    ),
    Stage(
        "tests of what follows descriptors", 60,
        ("bench", "tests", "--seconds", "{seconds}", "TMA"),
        ("bench", "tests", "--seconds", "{seconds}", "-k", "test_forward", "conv_tma"),
    ),
    Stage(
        "convolutions and products are right", 60,
        (*_CHECK, "--families", "conv2d,matmul,resnet50", "correct"),
        (*_CHECK, "--rows", "conv2d forward|matmul forward .*float32", "--quick", "correct"),
    ),
    Stage(
        "ResNet-50 alone", 80,
        (*_INTO, "--minutes", "{minutes}", "train", "--ahead", "--rounds", "4", "--sides", "ours",
         "--rows", "^resnet50 b256 bfloat16$"),
        (*_INTO, "--minutes", "{minutes}", "train", "--sides", "ours", "--rows", "tiny-mlp"),
    ),
    Stage(
        "tests of the other kernels", 50,
        ("bench", "tests", "--seconds", "{seconds}", "KERNELS"),
        ("bench", "tests", "--seconds", "{seconds}", "slabs"),
    ),
    Stage(
        "kernels timed", 110,
        (*_INTO, "--minutes", "{minutes}", "--ahead", "--families", "matmul,conv2d,batch_norm,sgd"),
        (*_INTO, "--minutes", "{minutes}", "--quick", "--rows", "(matmul|batch_norm) .*float32"),
    ),
    Stage(
        "training steps beside torch", 120,
        (*_INTO, "--minutes", "{minutes}", "train", "--ahead"),
        (*_INTO, "--minutes", "{minutes}", "train", "--rows", "tiny-mlp|tiny-gpt"),
    ),
    Stage(
        "the other rows are right", 40,
        (*_CHECK, "correct", "--but", "conv2d,matmul,conv_zoo"),
        None,
    ),
    Stage(
        "loss curves", 45,
        (*_INTO, "--minutes", "{minutes}", "curves", "--ahead", "--png", "{folder}/plots/losses.png"),
        (*_INTO, "curves", "--rows", "tiny-mlp", "--steps", "60", "--png", "{folder}/plots/losses.png"),
    ),
    Stage(
        "compute-sanitizer", 25,
        ("pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "-W", "default", "-k", _SANITIZED,
         "tests/test_conv_tma.py", "tests/test_norm_kernels.py"),
        None,
        needs="compute-sanitizer",
        environment=(("PYTORCH_NO_CUDA_MEMORY_CACHING", "1"),),
    ),
    Stage(
        "tiles tuned", 40,
        ("bench", "tune", "all", "--minutes", "{minutes}", "--slowest", "{results}",
         "--table", "{folder}/measured_tiles.json", "--state", "{folder}/tuning.json"),
        None,
        needs="bench/tune.py",
    ),
    Stage(
        "first steps with cold and warm caches", 30,
        (*_INTO, "--minutes", "{minutes}", "train", "--first-step", "--sides", "ours;torch.compile",
         "--rows", "^(mlp|airbench) b1024 bfloat16$"),
        None,
    ),
    Stage(
        "report", 15,
        ("bench", "report", "{results}", "--plots", "{folder}/plots"),
        ("bench", "report", "{results}", "--plots", "{folder}/plots"),
        printed="report.md",
    ),
)  # fmt: skip
"""In order of value."""


@dataclass(frozen=True)
class Ended:
    """How a stage ended: "ok", "failed", "cut off" or "passed over", after how long, and its last line."""

    stage: str
    state: str
    seconds: float
    said: str


def add(commands: Any) -> None:
    command = commands.add_parser("visit", help="everything worth doing in one short visit to a GPU")
    _options(command)
    command.set_defaults(command=run)


def main(words: Sequence[str] | None = None) -> int:
    """`python -m bench.visit`: as `python -m bench visit`, in a process that imports nothing of what it tries out."""
    parser = argparse.ArgumentParser(prog="python -m bench.visit", description=__doc__)
    _options(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--device-label", metavar="NAME")
    parser.add_argument("--commit", metavar="SHA")
    parser.set_defaults(minutes=None)
    try:
        return run(parser.parse_args(words))
    except (OSError, ValueError) as error:
        print(f"python -m bench.visit: {error}", file=sys.stderr)
        return 2


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dry", action="store_true", help="rehearse it here, on tiny shapes, with or without a GPU")
    command.add_argument("--only", metavar="A,B", help="only stages whose names have these words in them")
    command.add_argument(
        "--minutes", metavar="M", type=float, default=argparse.SUPPRESS, help=f"all of it ({MINUTES:g})"
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run the stages; 1 if one failed, which keeps none of the others from running."""
    folder = folder_of(options)
    folder.mkdir(parents=True, exist_ok=True)
    visit = Visit(folder, (options.minutes or MINUTES) * 60, options.dry, options.commit)
    chosen = [s for s in STAGES if s.dry is not None or not options.dry]
    if options.only:
        chosen = [s for s in chosen if any(word.strip() in s.name for word in options.only.split(","))]
    if not chosen:
        raise ValueError(
            f"no stage is called anything like {options.only!r}: there are {', '.join(s.name for s in STAGES)}"
        )
    visit.run(chosen)
    print(f"written to {folder}")
    return 1 if any(e.state in ("failed", "cut off") for e in visit.ended) else 0


class Visit:
    """A visit of at most `seconds`, whose results are in `folder`."""

    def __init__(self, folder: Path, seconds: float, dry: bool, commit: str | None = None) -> None:
        self.folder, self.dry, self.ended = folder, dry, list[Ended]()
        self._end = time.monotonic() + seconds
        self._date = datetime.now(UTC).isoformat(timespec="seconds")
        self._commit = commit or _commit()
        self._environment: dict[str, str] = {}
        self._log = folder / "visit.log"
        self._log.unlink(missing_ok=True)

    def run(self, stages: Sequence[Stage]) -> None:
        for k, stage in enumerate(stages):
            left = self._end - time.monotonic()
            # A rehearsal is to come to its end, on a busy machine too: only all of it has a limit.
            share = 1.0 if self.dry else stage.share / sum(s.share for s in stages[k:])
            self.ended.append(self._tried(stage, left * share))
            e = self.ended[-1]
            print(f"[{k + 1}/{len(stages)}] {e.stage}: {e.state}, {e.seconds:.0f} s: {e.said}", flush=True)
            self._summary(stages)
        pack(self.folder)

    def _tried(self, stage: Stage, seconds: float) -> Ended:
        """The stage, and again with less and less switched on as long as it fails."""
        first = ended = self._one(stage, seconds)
        before = dict(self._environment)
        for name in stage.otherwise:
            if ended.state == "failed":
                self._environment[name] = "0"
                ended = self._one(stage, seconds)
        if ended.state == "ok" and ended is not first:
            changed = " ".join(f"{k}={v}" for k, v in self._environment.items() if k not in before)
            return replace(ended, said=f"only with {changed}, which stays: {ended.said}")
        self._environment = before
        return first

    def _one(self, stage: Stage, seconds: float) -> Ended:
        if stage.needs is not None and not (shutil.which(stage.needs) or (ROOT / stage.needs).exists()):
            return Ended(stage.name, "passed over", 0.0, f"there is no {stage.needs} here")
        if seconds < LEAST:
            return Ended(stage.name, "passed over", 0.0, "time is up")
        began = time.monotonic()
        state, output = self._process(self._command(stage, seconds), dict(stage.environment), seconds)
        took = time.monotonic() - began
        with self._log.open("a") as log:
            log.write(f"\n==== {stage.name}: {state}, {took:.0f} s\n{output[-KEPT:]}\n")
        if stage.printed is not None:
            (self.folder / stage.printed).write_text(output)
        said = next((line for line in reversed(output.splitlines()) if line.strip()), "")
        return Ended(stage.name, state, took, said.strip()[:700])

    def _command(self, stage: Stage, seconds: float) -> list[str]:
        # What a stage does within its time, it does with a few seconds to spare, to say so.
        spare = max(seconds - 6.0, 1.0)
        given = {
            "minutes": f"{spare / 60:.3f}",
            "seconds": f"{spare:.0f}",
            "folder": str(self.folder),
            "results": str(self.folder / f"{self._date[:10]}-{self._commit}.json"),
            "correct": str(self.folder / "correct" / f"{self._date[:10]}-{self._commit}.json"),
        }
        words = stage.dry if self.dry and stage.dry is not None else stage.words
        if words[0] == "bench":
            words = ("bench", "--commit", self._commit, *words[1:])
        before = [stage.needs, "--error-exitcode", "9"] if stage.needs == "compute-sanitizer" else []
        return [*before, sys.executable, "-m", *(w.format(**given) if "{" in w else w for w in words)]

    def _process(self, command: Sequence[str], environment: dict[str, str], seconds: float) -> tuple[str, str]:
        """How a command ended within `seconds`, and what it printed until then."""
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **_PYTHON, **self._environment, **environment},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                state = "failed" if process.wait(seconds) else "ok"
            except subprocess.TimeoutExpired:
                state = "cut off"
            finally:
                for pid in [*descendants(process.pid), process.pid]:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # whoever was left behind by one that has ended
                process.wait()
            output.seek(0)
            return state, output.read()

    def _summary(self, stages: Sequence[Stage]) -> None:
        """Write visit.md anew: a reader finds the old one or the new one."""
        left = [s.name for s in stages[len(self.ended) :]]
        lines = [
            f"# {'Rehearsal without figures' if self.dry else 'Visit'}, {self._date}, commit {self._commit}",
            "",
            "| stage | ended | seconds | its last line |",
            "|---|---|---:|---|",
            *(f"| {e.stage} | {e.state} | {e.seconds:.0f} | {e.said.replace('|', '/')} |" for e in self.ended),
            *(f"| {name} | not yet | | |" for name in left),
            "",
        ]
        draft = self.folder / "visit.tmp"
        draft.write_text("\n".join(lines))
        os.replace(draft, self.folder / "visit.md")


def descendants(pid: int) -> list[int]:
    """The processes that `pid` started, and theirs: some are leaders of sessions of their own, and would live on."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(pid, []))
    for one in found:  # which grows meanwhile
        found += children.get(one, [])
    return found


def folder_of(options: argparse.Namespace) -> Path:
    """Where results go: OUT, or a folder called after the device."""
    if os.environ.get("OUT"):
        return Path(os.environ["OUT"]).resolve()
    return (options.out / (options.device_label or _device())).resolve()


def _device() -> str:
    """The GPU's name as the driver gives it, as a folder's name: like bench.results.slug, without torch."""
    try:
        words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        name = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout.partition("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return "cpu-interpreter"
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split()) or "cpu-interpreter"


def _commit() -> str:
    try:
        words = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def pack(folder: Path, most: int = MOST_FILES) -> None:
    """Put the pictures into one file where there are more than `most` files and OUT says that they travel."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    pictures = [p for p in files if p.suffix == ".png"]
    if os.environ.get("OUT") and len(files) > most and pictures:
        with zipfile.ZipFile(folder / "pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for picture in pictures:
                archive.write(picture, picture.name)
                picture.unlink()


if __name__ == "__main__":
    sys.exit(main())
