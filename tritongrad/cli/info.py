"""`tritongrad info`: the machine, the versions, and what works here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

import rich.console

from tritongrad.cli.options import app
from tritongrad_kernels import INTERPRETED, driver
from tritongrad_kernels.compile.report import SHARED_LIMIT

PACKAGES = ("tritongrad", "torch", "triton", "numpy", "ml_dtypes", "safetensors")
EXTRAS = {
    "data": {"grain": "loader workers", "PIL": "image files and transforms"},
    "cli": {"typer": "this command", "rich": "tables and progress"},
    "bench": {"matplotlib": "plots"},
    "demo": {"sklearn": "the data `digits`"},
}


def environment() -> dict[str, str]:
    """Device and versions, as kept with every run."""
    known = {name: importlib.metadata.version(name) for name in PACKAGES if _installed(name)}
    return {"device": device(), "python": platform.python_version(), **known}


def device() -> str:
    """The GPU kernels run on, or what they run on instead."""
    if INTERPRETED:
        return f"CPU ({os.cpu_count()} cores): kernels run in Triton's interpreter"
    major, minor = driver.gpu_capability()
    return f"{driver.gpu_name()} (sm_{major}{minor}), {driver.gpu_count()} in all"


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@app.command()
def info() -> None:
    """Print the device, the versions, and what works here."""
    console = rich.console.Console(highlight=False, soft_wrap=True)
    for name, text in environment().items():
        console.print(f"{name:12} {text}")
    console.print()
    for what, missing in _features():
        console.print(f"{'no' if missing else 'yes':4}{what}{f': {missing}' if missing else ''}")


def _features() -> list[tuple[str, str | None]]:
    """What works, with None, and what does not, with what to do about it."""
    features: list[tuple[str, str | None]] = [
        ("kernels on a GPU", "none was found, or TRITON_INTERPRET is set" if INTERPRETED else None),
        ("kernels on the CPU, in the interpreter", None if INTERPRETED else "set TRITON_INTERPRET=1"),
        (f"compiling without a GPU for {', '.join(SHARED_LIMIT)}", None),
    ]
    for extra, modules in EXTRAS.items():
        for module, use in modules.items():
            found = importlib.util.find_spec(module) is not None
            features.append((f"{use} ({module})", None if found else f"pip install 'tritongrad[{extra}]'"))
    return features
