"""Softmax, log-softmax and cross-entropy over rows, forward and backward."""

from __future__ import annotations

from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, both, itemsize, ranked


def _softmax(library: Any, x: Any) -> Any:
    return library.nn.functional.softmax(x, -1)


def _log_softmax(library: Any, x: Any) -> Any:
    return library.nn.functional.log_softmax(x, -1)


def _cross_entropy(library: Any, x: Any, labels: Any) -> Any:
    return library.nn.functional.cross_entropy(x, labels)


def rows_of(function: Any, m: int, n: int, dtype: str) -> list[Row]:
    """Of x [m, n] along its rows."""
    family, loss = function.__name__.lstrip("_"), function is _cross_entropy
    passed = m * n * itemsize(dtype)
    return both(
        function,
        "x",
        family=family,
        case=f"{m}x{n}",
        dtype=dtype,
        inputs={"x": Input((m, n)), **({"labels": Input((m,), classes=n)} if loss else {})},
        result=() if loss else (m, n),
        flops=(5 * m * n, 5 * m * n),
        # A loss reads x, and its gradient reads it again and writes that of x; otherwise x to y, and dy, y to dx.
        bytes=(passed, 2 * passed) if loss else (2 * passed, 3 * passed),
        bound=Rounding(terms=m if loss else n),
    )


GPU = [
    *ranked(0, rows_of(_cross_entropy, 8192, 50304, "bfloat16")),  # GPT-2's words
    *ranked(0, rows_of(_softmax, 8192, 4096, "bfloat16")),
    *rows_of(_cross_entropy, 256, 1000, "float32"),  # ImageNet's classes
    *rows_of(_softmax, 12 * 8 * 1024, 1024, "bfloat16"),
    *rows_of(_softmax, 8192, 4096, "float32"),
    *rows_of(_log_softmax, 8192, 50304, "bfloat16"),
    *ranked(2, rows_of(_cross_entropy, 4096, 128256, "bfloat16")),  # Llama 3's
    *ranked(2, rows_of(_softmax, 64 * 6 * 197, 197, "bfloat16")),
]
INTERPRETER = [
    row for function in (_softmax, _log_softmax, _cross_entropy) for row in rows_of(function, 64, 100, "float32")
]
