"""Every row of the benchmark, family by family: one list for a GPU, one of scaled-down shapes for the interpreter."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tritongrad_kernels
from bench.row import Row
from bench.rows import (
    attention,
    conv,
    convolutions,
    elementwise,
    index,
    matmul,
    norm,
    norms,
    optim,
    pool,
    random,
    reduce,
    resnet,
    rnn,
    softmax,
)

_SUITES = (
    matmul, conv, norm, optim, attention, norms, softmax, pool, elementwise, convolutions, index, reduce, random, rnn,
    resnet,
)  # fmt: skip
GPU: list[Row] = [row for suite in _SUITES for row in suite.GPU]
INTERPRETER: list[Row] = [row for suite in _SUITES for row in suite.INTERPRETER]


def here() -> list[Row]:
    """The rows for this machine."""
    return INTERPRETER if tritongrad_kernels.INTERPRETED else GPU


def families() -> list[str]:
    """The families of this machine's rows, in their order."""
    return list(dict.fromkeys(r.family for r in here()))


def select(
    rows: Sequence[Row], pattern: str | None = None, quick: bool = False, families: Sequence[str] | None = None
) -> list[Row]:
    """Rows of these families whose name the regular expression `pattern` finds, by rank.

    With `quick` the first of each operation and dtype. ValueError for a family that there is not.
    """
    known = {r.family for r in rows}
    if unknown := [f for f in families or () if f not in known]:
        raise ValueError(f"no family is called {' or '.join(unknown)}: there are {', '.join(sorted(known))}")
    found = sorted((r for r in rows if families is None or r.family in families), key=lambda r: r.rank)
    found = [r for r in found if pattern is None or re.search(pattern, r.name)]
    if not quick:
        return found
    first = {(r.group, r.dtype): r for r in reversed(found)}
    return [r for r in found if first[r.group, r.dtype] is r]
