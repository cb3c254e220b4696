"""Rows found by number: embedding and its gradient, gather, index_select, and sums scattered by index."""

from __future__ import annotations

from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, both, forward, itemsize, ranked


def _embedding(library: Any, indices: Any, weight: Any) -> Any:
    return library.nn.functional.embedding(indices, weight)


def _index_select(library: Any, x: Any, indices: Any) -> Any:
    return library.index_select(x, 0, indices)


def _gather(library: Any, x: Any, indices: Any) -> Any:
    return library.gather(x, 1, indices)


def _scatter_add(library: Any, x: Any, indices: Any, values: Any) -> Any:
    return library.scatter_add(x, 0, indices, values)


def embedding(tokens: int, words: int, size: int, dtype: str) -> list[Row]:
    """`tokens` rows of weight [words, size]; the gradient of the weight is as large as that."""
    item, indices = itemsize(dtype), 8 * tokens
    return both(
        _embedding,
        "weight",
        family="embedding",
        case=f"{tokens} of {words}x{size}",
        dtype=dtype,
        inputs={"indices": Input((tokens,), classes=words), "weight": Input((words, size))},
        flops=(0, tokens * size),
        result=(tokens, size),
        # Of a table shorter than that, no row is read twice.
        bytes=(indices + (min(tokens, words) // 2 + tokens) * size * item, indices + (tokens + words) * size * item),
        bound=Rounding(terms=max(1, tokens // words)),
    )


def select(rows: int, size: int, wanted: int, dtype: str) -> Row:
    return forward(
        _index_select,
        family="gather",
        op="index_select",
        case=f"{wanted} of {rows}x{size}",
        dtype=dtype,
        inputs={"x": Input((rows, size)), "indices": Input((wanted,), classes=rows)},
        flops=0,
        bytes=8 * wanted + (min(wanted, rows) // 2 + wanted) * size * itemsize(dtype),
        bound=Rounding(),
    )


def gather(m: int, n: int, wanted: int, dtype: str) -> Row:
    return forward(
        _gather,
        family="gather",
        op="gather",
        case=f"{wanted} of each {m}x{n}",
        dtype=dtype,
        inputs={"x": Input((m, n)), "indices": Input((m, wanted), classes=n)},
        flops=0,
        bytes=m * wanted * (8 + itemsize(dtype)),
        bound=Rounding(),
    )


def scatter(m: int, n: int, given: int, dtype: str) -> Row:
    """x [m, n] and values [given, n], each added in its column where its index says."""
    return forward(
        _scatter_add,
        family="gather",
        op="scatter_add",
        case=f"{given}x{n} into {m}",
        dtype=dtype,
        inputs={"x": Input((m, n)), "indices": Input((given, n), classes=m), "values": Input((given, n))},
        flops=given * n,
        bytes=given * n * (8 + itemsize(dtype)) + 2 * m * n * itemsize(dtype),
        bound=Rounding(terms=max(1, given // m)),
    )


GPU = [
    *ranked(0, embedding(8192, 50304, 768, "bfloat16")),  # GPT-2
    *embedding(8192, 50304, 768, "float32"),
    *embedding(32768, 128256, 4096, "bfloat16"),
    select(1 << 16, 1024, 1 << 17, "float32"),
    gather(8192, 4096, 4096, "float32"),
    scatter(1 << 14, 256, 1 << 17, "float32"),
    *ranked(2, embedding(1 << 20, 1000, 64, "float32")),  # a short table, much used
]
INTERPRETER = [
    *embedding(40, 30, 24, "float32"),
    select(30, 16, 40, "float32"),
    gather(16, 20, 12, "float32"),
    scatter(16, 8, 40, "float32"),
]
