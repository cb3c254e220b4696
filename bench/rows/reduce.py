"""Reductions, running sums and sorting of large tensors."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, forward, itemsize, ranked


def _over(name: str, dim: int | None, library: Any, x: Any) -> Any:
    """A function of the library along an axis, or over everything."""
    return getattr(library, name)(x) if dim is None else getattr(library, name)(x, dim)


def _sorted(library: Any, x: Any) -> Any:
    found = library.sort(x, dim=-1, stable=True)
    return [found.values, found.indices]


def _topk(k: int, library: Any, x: Any) -> Any:
    return library.topk(x, k, dim=-1).values


def reduction(name: str, dim: int | None, shape: tuple[int, ...], dtype: str) -> Row:
    """Of numbers about 1, whose sum does not cancel."""
    elements, length = math.prod(shape), math.prod(shape) if dim is None else shape[dim]
    axis = "all" if dim is None else f"dim {dim}"
    return forward(
        partial(_over, name, dim),
        family="reduce",
        op=f"{name} {axis}",
        case="x".join(map(str, shape)),
        dtype=dtype,
        inputs={"x": Input(shape, mean=1.0)},
        flops=elements,
        bytes=elements * itemsize(dtype),
        bound=Rounding(terms=length),
    )


def scan(shape: tuple[int, ...], dim: int, dtype: str) -> Row:
    elements = math.prod(shape)
    return forward(
        partial(_over, "cumsum", dim),
        family="scan",
        op=f"cumsum dim {dim}",
        case="x".join(map(str, shape)),
        dtype=dtype,
        inputs={"x": Input(shape)},
        flops=elements,
        bytes=2 * elements * itemsize(dtype),
        bound=Rounding(terms=shape[dim]),
    )


def sorting(shape: tuple[int, ...], dtype: str, k: int | None = None) -> Row:
    """All of each row, values and places, or its `k` largest."""
    elements = math.prod(shape)
    kept = elements // shape[-1] * k if k else elements
    return forward(
        partial(_topk, k) if k else _sorted,
        family="sort",
        op=f"topk {k}" if k else "sort",
        case="x".join(map(str, shape)),
        dtype=dtype,
        inputs={"x": Input(shape)},
        flops=0,
        bytes=elements * itemsize(dtype) + kept * (itemsize(dtype) + (0 if k else 8)),
        bound=Rounding(),
    )


LARGE = (16384, 16384)
GPU = [
    *ranked(0, [reduction("sum", None, LARGE, "bfloat16"), reduction("sum", 0, LARGE, "bfloat16")]),
    *(reduction(name, dim, LARGE, "bfloat16") for name, dim in (("sum", 1), ("amax", 1), ("mean", 0))),
    *(reduction(name, 1, LARGE, "float32") for name in ("sum", "var", "argmax", "logsumexp")),
    reduction("sum", 1, (1 << 22, 64), "bfloat16"),  # short rows
    reduction("sum", 0, (1 << 22, 64), "bfloat16"),  # the gradient of a bias
    *(scan((8192, 8192), dim, "float32") for dim in (0, 1)),
    scan((1 << 26,), 0, "float32"),
    sorting((8192, 4096), "float32"),
    sorting((1 << 24,), "float32"),
    sorting((8192, 50304), "float32", k=50),  # words to choose from
    *ranked(2, (reduction("sum", None, (1 << k,), "float32") for k in range(14, 29, 2))),
]
INTERPRETER = [
    *(reduction(name, dim, (40, 50), "float32") for name, dim in (("sum", None), ("sum", 0), ("amax", 1), ("var", 1))),
    reduction("argmax", 1, (40, 50), "float32"),
    *(scan((30, 40), dim, "float32") for dim in (0, 1)),
    sorting((8, 60), "float32"),
    sorting((8, 60), "float32", k=5),
]
