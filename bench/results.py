"""Results: what a run found, as JSON under results/<device>/."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tritongrad_kernels
from bench.clock import Timing
from bench.training.result import Curve, Trained, trained
from tritongrad_kernels import driver

SCHEMA = 2
FOLDER = Path(__file__).parent / "results"
INTERPRETER = "cpu-interpreter"
MEASURED = ("bench", "kernels", "tritongrad", "tests/torch_resnet.py")  # what a commit must hold to be what was run


@dataclass(frozen=True)
class Result:
    """One row's numbers. `status` is "ok" or "failed", and `reason` says why it failed; then most others are None.

    error, peer_error   |got - reference| / |reference|; `of_bound` is the largest error as a share of the allowed one
    declared_*          what our launches said they do; `flops` and `bytes` are what the operation cannot do without
    tile                the kernel that does most of the work and its block sizes
    kernels             the kernels launched, each once, in the order of their first launch
    peers               a peer's time, by its name (`bench.peers`); `peer_errors` as `error`, and `trouble` why a peer
                        has no time
    limit               what sets floor_s: "memory" or "arithmetic"
    floor_s             what the card's ceilings, measured in this run, leave as the least time
    roofline_share      floor_s over our time; a tensor that stays in the cache between two passes can bring it past 1
    speedups            a peer's time over ours, by its name
    host_us_per_launch  what a launch costs the host, in microseconds
    In the interpreter the last five say nothing: its times tell nothing about a GPU.
    """

    name: str
    family: str
    op: str
    shapes: dict[str, list[int]]
    dtype: str
    flops: int
    bytes: int
    status: str
    reason: str | None = None
    error: float | None = None
    peer_errors: dict[str, float] = field(default_factory=dict)
    of_bound: float | None = None
    launches: int | None = None
    declared_flops: int | None = None
    declared_bytes: int | None = None
    first_call_s: float | None = None
    tile: str | None = None
    kernels: list[str] = field(default_factory=list)
    ours: Timing | None = None
    peers: dict[str, Timing] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)
    limit: str | None = None
    floor_s: float | None = None
    roofline_share: float | None = None
    speedups: dict[str, float] = field(default_factory=dict)
    host_us_per_launch: float | None = None


@dataclass
class Run:
    """A run of the benchmark: where, when, on what code, and its rows; those of whole training steps apart.

    unreached     rows for which the time given was not enough
    host          what operations cost before their launch, as `bench.host.Cost` has it
    starts        what launches cost, as `bench.launch_cost.LaunchCost` has it
    modelled      what training steps would need at least on a GPU that is not here, as `bench.modelled` has it
    traffic       what rows for a GPU would move there beside what they need, as `bench.modelled` has it
    """

    date: str
    commit: str
    dirty: bool | None
    device: str
    device_name: str
    interpreted: bool
    versions: dict[str, str]
    selection: str | None
    ceilings: dict[str, float] | None
    rows: list[Result] = field(default_factory=list)
    training: list[Trained] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    unreached: int = 0
    host: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    modelled: list[dict[str, Any]] = field(default_factory=list)
    traffic: list[dict[str, Any]] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def failed(self) -> list[Result]:
        return [r for r in self.rows if r.status != "ok"]

    @property
    def where(self) -> str:
        return f"{self.device_name}, in Triton's CPU interpreter" if self.interpreted else self.device_name


def begin(label: str | None, commit: str | None, selection: str | None) -> Run:
    """A run about to start here. `commit` is for a checkout without git."""
    interpreted = tritongrad_kernels.INTERPRETED
    name = _cpu_name() if interpreted else driver.gpu_name()
    dirty = _git("status", "--porcelain", "--", *MEASURED, ":!bench/results")
    return Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit or _git("rev-parse", "--short", "HEAD") or "unknown",
        dirty=None if dirty is None else bool(dirty),
        device=slug(label or (INTERPRETER if interpreted else name)),
        device_name=name,
        interpreted=interpreted,
        versions=_versions(),
        selection=selection,
        ceilings=None,
    )


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in ("numpy", "triton")}
    found |= {"python": platform.python_version(), "torch": torch.__version__}
    if torch.version.cuda and not tritongrad_kernels.INTERPRETED:
        found |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    return found


def _cpu_name() -> str:
    """The processor as Linux names it."""
    try:
        models = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        models = None
    return models[1].strip() if models else platform.machine()


def _git(*words: str) -> str | None:
    """What git says about this checkout, or None where there is no git."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def path_of(run: Run, folder: Path) -> Path:
    """Where a run belongs. A selection of rows never takes the place of a whole run."""
    suffix = "" if run.selection is None else "-selection"
    return folder / run.device / f"{run.date[:10]}-{run.commit}{suffix}.json"


def take_up(run: Run, path: Path) -> None:
    """Give a run that will be written to `path` what is there already: it goes on with the same file."""
    if path.exists():
        old = load(path)
        run.rows, run.training, run.curves = old.rows, old.training, old.curves
        run.ceilings, run.unreached, run.host = old.ceilings, old.unreached, old.host
        run.starts, run.modelled, run.traffic = old.starts, old.modelled, old.traffic
        if run.selection and old.selection:
            run.selection = "; ".join(dict.fromkeys([*old.selection.split("; "), run.selection]))
        else:
            run.selection = None


def save(run: Run, path: Path) -> None:
    """Write a run; a reader finds the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(dataclasses.asdict(run), indent=1, allow_nan=False) + "\n")
    os.replace(draft, path)


def load(path: Path) -> Run:
    """Read what `save` wrote; ValueError in one sentence if it is something else."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if found["schema"] != SCHEMA:
            raise ValueError(f"its format is {found['schema']!r}, not {SCHEMA}: run the benchmark again")
        rows = [_result(r) for r in found.pop("rows")]
        training = [trained(r) for r in found.pop("training", [])]
        curves = [Curve(**c) for c in found.pop("curves", [])]
        return Run(**found, rows=rows, training=training, curves=curves)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no results file of this benchmark: {error!r}") from error


def history(folder: Path) -> list[Run]:
    """The runs in a device's folder that can be read, oldest first."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(load(path))
        except ValueError:
            continue  # of another format: what it found then is not asked for again
    return sorted(found, key=lambda run: run.date)


def before(run: Run, folder: Path) -> Run | None:
    """The last run of the same device and of other code than `run` that has a row of it; `folder` holds the devices."""
    names = {r.name for r in run.rows}
    for old in reversed(history(folder / run.device)):
        if old.date < run.date and old.commit != run.commit and names & {r.name for r in old.rows}:
            return old
    return None


def _result(row: dict[str, Any]) -> Result:
    ours = None if row["ours"] is None else Timing(**row["ours"])
    return Result(**{**row, "ours": ours, "peers": {name: Timing(**t) for name, t in row["peers"].items()}})
