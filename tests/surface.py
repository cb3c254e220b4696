"""Which of torch's names are here, and what tests do with each: `python -m tests.surface [--missing] [for pytest]`.

`surface_names.txt` lists the names that published training code uses, by band. The tests run once with every public
function and method wrapped, and the table says of each name whether it exists, whether a test called it, whether a
gradient of it was compared with torch's or with differences, and whether a second one was.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.check
import tritongrad as tg
from tritongrad.autograd.function import _Context

NAMES = Path(__file__).with_name("surface_names.txt")
TESTED, GRADIENT, SECOND = 1, 2, 3


def names() -> list[tuple[str, str]]:
    """(band, name) of each listed name."""
    lines = [line.split() for line in NAMES.read_text().splitlines() if not line.startswith("#")]
    return [(band, name) for band, name in lines]


def computes(name: str) -> bool:
    """Whether a name belongs to tensors and what computes them: `Tensor.x`, `x`, or `autograd.x`."""
    head, _, rest = name.partition(".")
    return head in ("Tensor", "ctx", "autograd", "linalg") or not rest


def find(name: str) -> Any:
    """What the name stands for here; AttributeError if there is no such thing."""
    owners = {
        "Tensor": tg.Tensor,
        "Module": tg.nn.Module,
        "Optimizer": tg.optim.Optimizer,
        "ctx": _Context,
    }
    head, _, rest = name.partition(".")
    if name in owners:
        return owners[name]
    found: Any = owners.get(head) if rest else None
    if found is not None:
        return getattr(found, rest, None) if rest in _INSTANCE else getattr(found, rest)
    found = tg
    for part in name.split("."):
        found = getattr(found, part)
    return found


_INSTANCE = {"param_groups", "grad", "data"}  # set on instances


class Watch:
    """A pytest plugin that notes which names are called, and inside what."""

    def __init__(self) -> None:
        self.level = 0
        self.seen: dict[str, int] = {}

    @contextlib.contextmanager
    def at(self, level: int) -> Iterator[None]:
        before, self.level = self.level, max(level, self.level)
        try:
            yield
        finally:
            self.level = before

    def wrap(self, owner: Any, attribute: str, names: list[str]) -> None:
        original = vars(owner).get(attribute, getattr(owner, attribute))
        if not isinstance(original, types.FunctionType):
            return

        @functools.wraps(original)
        def called(*args: Any, **kwargs: Any) -> Any:
            for name in names:
                self.seen[name] = max(self.seen.get(name, 0), self.level, TESTED)
            return original(*args, **kwargs)

        setattr(owner, attribute, called)

    def pytest_configure(self, config: Any) -> None:
        for _, name in names():
            if computes(name):
                head, _, attribute = name.rpartition(".")
                owner = _Context if head == "ctx" else find(head) if head else tg
                if hasattr(owner, attribute):
                    self.wrap(owner, attribute, [name])
        tests.check.check = self._graded(tests.check.check, lambda named: SECOND if named.get("second") else GRADIENT)
        autograd = tg.autograd
        autograd.gradcheck = self._graded(autograd.gradcheck, lambda named: GRADIENT)
        autograd.gradgradcheck = self._graded(autograd.gradgradcheck, lambda named: SECOND)

    def _graded(self, check: Callable, level: Callable[[dict], int]) -> Callable:
        @functools.wraps(check)
        def graded(*args: Any, **named: Any) -> Any:
            with self.at(level(named)):
                return check(*args, **named)

        return graded


def main(arguments: list[str]) -> int:
    watch = Watch()
    only_missing = "--missing" in arguments
    arguments = [a for a in arguments if a != "--missing"]
    if not only_missing:
        pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *(arguments or ["tests"])], plugins=[watch])
    missing = []
    for band, name in names():
        if not computes(name):
            continue
        try:
            found = find(name)
        except AttributeError:
            missing.append((band, name))
            print(f"{band:3} {name:34} MISSING")
            continue
        level = watch.seen.get(name, 0)
        is_function = isinstance(found, types.FunctionType)
        marks = ["yes" if level >= n else "" for n in (TESTED, GRADIENT, SECOND)] if is_function else ["-"] * 3
        if not only_missing:
            print(f"{band:3} {name:34} {marks[0]:5} {marks[1]:5} {marks[2]:5}")
    print(f"{len(missing)} of {sum(computes(n) for _, n in names())} names missing")
    return 1 if any(band != "99" for band, _ in missing) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
