"""One source for both libraries: a file that says `import torch`, read once with torch and once with tritongrad."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def under_torchs_name() -> Iterator[None]:
    """Inside the block `import torch` gives tritongrad, and `import torch.x` what tritongrad has under that name."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torch"}
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "tritongrad"}
    for name in before:
        del sys.modules[name]
    sys.modules.update({name.replace("tritongrad", "torch", 1): module for name, module in ours.items()})
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "torch"]:
            del sys.modules[name]
        sys.modules.update(before)


def read(path: Path) -> ModuleType:
    """The module of a source, run anew: with what `import torch` gives where this is called."""
    module = ModuleType(f"read_{path.stem}")
    sys.modules[module.__name__] = module  # where dataclasses look for it
    try:
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def theirs(name: str) -> ModuleType:
    """The source imported as anybody would, which is what torch.compile expects."""
    return importlib.import_module(name)


def ours(name: str) -> ModuleType:
    """The same source with tritongrad in torch's place."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ValueError(f"there is no source {name!r}")
    with under_torchs_name():
        return read(Path(found.origin))
