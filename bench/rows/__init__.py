"""Every row of the benchmark, family by family: one list for a GPU, one of scaled-down shapes for the interpreter."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tritongrad_kernels
from bench.row import Row
from bench.rows import conv, matmul, norm, optim, resnet

GPU: list[Row] = [*matmul.GPU, *conv.GPU, *norm.GPU, *optim.GPU, *resnet.GPU]
INTERPRETER: list[Row] = [
    *matmul.INTERPRETER,
    *conv.INTERPRETER,
    *norm.INTERPRETER,
    *optim.INTERPRETER,
    *resnet.INTERPRETER,
]


def here() -> list[Row]:
    """The rows for this machine."""
    return INTERPRETER if tritongrad_kernels.INTERPRETED else GPU


def select(rows: Sequence[Row], pattern: str | None, quick: bool) -> list[Row]:
    """Rows whose name the regular expression `pattern` finds; with `quick` the first of each operation and dtype."""
    found = [r for r in rows if pattern is None or re.search(pattern, r.name)]
    if not quick:
        return found
    first = {(r.group, r.dtype): r for r in reversed(found)}
    return [r for r in found if first[r.group, r.dtype] is r]
