"""Random numbers and dropout: each library draws its own, so their distribution is checked."""

from __future__ import annotations

import math
from typing import Any

from bench.accuracy import Drawn
from bench.row import Input, Row, forward, itemsize, ranked


def _dropout(library: Any, x: Any) -> Any:
    return library.nn.functional.dropout(x, 0.1)


def _uniform(library: Any, x: Any) -> Any:
    return x.uniform_()


def _normal(library: Any, x: Any) -> Any:
    return x.normal_()


# Passes over memory, and what becomes of ones.
FUNCTIONS = {
    "dropout": (_dropout, 2, Drawn(mean=1.0, std=math.sqrt(0.1 / 0.9), values=(0.0, 1 / 0.9))),
    "uniform": (_uniform, 1, Drawn(mean=0.5, std=math.sqrt(1 / 12))),
    "normal": (_normal, 1, Drawn(mean=0.0, std=1.0)),
}


def drawn(op: str, elements: int, dtype: str) -> Row:
    function, passes, bound = FUNCTIONS[op]
    return forward(
        function, family="random", op=op, case=f"{elements}", dtype=dtype, flops=0, bound=bound,
        inputs={"x": Input((elements,), mean=1.0, std=0.0)}, bytes=passes * elements * itemsize(dtype),
    )  # fmt: skip


GPU = [
    *ranked(0, [drawn("dropout", 1 << 28, "bfloat16")]),
    drawn("dropout", 8192 * 768, "bfloat16"),
    drawn("uniform", 1 << 27, "float32"),
    drawn("normal", 1 << 27, "float32"),
]
INTERPRETER = [drawn(op, 4000, "float32") for op in FUNCTIONS]
