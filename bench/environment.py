"""`python -m bench environment`: what this machine is, in one line, for the head of everything measured on it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

from bench import results
from tritongrad_kernels import INTERPRETED, driver

WANTED = ("numpy", "ml_dtypes", "safetensors", "matplotlib", "pytest", "rich")
TOOLS = ("compute-sanitizer", "ncu", "gcc")


def line() -> str:
    """Card, driver, versions, commit, and which of the optional tools are there."""
    run = results.begin(None, None, None)
    versions = ", ".join(f"{name} {number}" for name, number in sorted(run.versions.items()))
    absent = [name for name in WANTED if importlib.util.find_spec(name) is None]
    tools = [name for name in TOOLS if shutil.which(name)]
    return "; ".join(
        [
            run.where + ("" if INTERPRETED else f" (sm_{''.join(map(str, driver.gpu_capability()))})"),
            f"driver {driver_version()}",
            versions,
            ", ".join(f"{name} {_version(name)}" for name in WANTED if name not in absent),
            f"{os.cpu_count()} processors, {platform.platform()}",
            f"tools: {', '.join(tools) or 'none'}" + (f"; absent: {', '.join(absent)}" if absent else ""),
            f"commit {run.commit}{' with uncommitted changes' if run.dirty else ''}",
        ]
    )


def driver_version() -> str:
    """The version of the GPU's driver, and what the card's clocks and power are limited to."""
    try:
        words = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return done.stdout.strip().partition("\n")[0] or "none"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"
