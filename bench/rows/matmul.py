"""Matrix products: squares, transposed and odd ones, long and short sums, batches, and linear layers of networks."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, backward, forward, itemsize, ranked


def _product(layout: str, library: Any, a: Any, b: Any) -> Any:
    """`layout` says how the operands lie: "n" as they are multiplied, "t" transposed."""
    return library.matmul(a.mT if layout[0] == "t" else a, b.mT if layout[1] == "t" else b)


def product(m: int, k: int, n: int, dtype: str, layout: str = "nn", batch: int | None = None, rank: int = 1) -> Row:
    """[m, k] times [k, n], `batch` of them."""
    pages = () if batch is None else (batch,)
    a, b = ((k, m) if layout[0] == "t" else (m, k)), ((n, k) if layout[1] == "t" else (k, n))
    count = batch or 1
    said = f"{f'{batch} x ' if batch else ''}{m}x{k}x{n}{'' if layout == 'nn' else ' ' + layout}"
    return forward(
        partial(_product, layout),
        family="matmul",
        op="forward",
        case=said,
        dtype=dtype,
        inputs={"a": Input((*pages, *a)), "b": Input((*pages, *b))},
        flops=2 * count * m * k * n,
        bytes=count * (m * k + k * n + m * n) * itemsize(dtype),
        bound=Rounding(terms=k),
        rank=rank,
    )


def _linear(library: Any, x: Any, weight: Any, *bias: Any) -> Any:
    return library.nn.functional.linear(x, weight, *bias)


def classifier(batch: int, features: int, classes: int, dtype: str, name: str = "fc", rank: int = 1) -> Row:
    """x [batch, features] times weight [classes, features] transposed, plus bias."""
    return forward(
        _linear,
        family="matmul",
        op="linear",
        case=f"{name} {features}->{classes} b{batch}",
        dtype=dtype,
        inputs={"x": Input((batch, features)), "weight": Input((classes, features)), "bias": Input((classes,))},
        flops=2 * batch * features * classes,
        bytes=(batch * features + classes * features + classes + batch * classes) * itemsize(dtype),
        bound=Rounding(terms=features),
        rank=rank,
    )


def gradients(batch: int, features: int, classes: int, dtype: str, name: str = "fc", rank: int = 1) -> list[Row]:
    """The gradients of a linear layer for its input, and for its weight."""
    shapes = {"x": Input((batch, features)), "weight": Input((classes, features))}
    return [
        backward(
            _linear,
            Input((batch, classes)),
            shapes,
            wanted,
            family="matmul",
            op=f"linear {op}",
            case=f"{name} {features}->{classes} b{batch}",
            dtype=dtype,
            flops=2 * batch * features * classes,
            bytes=(batch * features + classes * features + batch * classes) * itemsize(dtype),
            bound=Rounding(terms),
            rank=rank,
        )
        for wanted, op, terms in (("x", "input grad", classes), ("weight", "weight grad", batch))
    ]


def layer(batch: int, features: int, outputs: int, dtype: str, name: str, rank: int = 1) -> list[Row]:
    """A linear layer and its gradients."""
    given = (batch, features, outputs, dtype, name, rank)
    return [classifier(*given), *gradients(*given)]


TOKENS = 8 * 1024  # of GPT-2, and 64 images of a ViT as patches
PATCHES = 64 * 197
GPT2 = [(768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 50304)]
VIT_S = [(384, 1152), (384, 384), (384, 1536), (1536, 384)]
LLAMA = [(4096, 4096), (4096, 11008), (11008, 4096)]

GPU = [
    *(product(n, n, n, "bfloat16", rank=0) for n in (8192, 4096, 2048)),
    *layer(TOKENS, 768, 3072, "bfloat16", "gpt2", rank=0),
    product(256 * 56 * 56, 64, 256, "bfloat16", rank=0),
    classifier(256, 2048, 1000, "bfloat16", rank=0),
    product(4096, 4096, 4096, "float32", rank=0),
    *(row for k, n in GPT2 if (k, n) != (768, 3072) for row in layer(TOKENS, k, n, "bfloat16", "gpt2")),
    *(row for k, n in VIT_S for row in layer(PATCHES, k, n, "bfloat16", "vit-s")),
    *(product(4096, 4096, 4096, "bfloat16", layout) for layout in ("nt", "tn", "tt")),
    *(product(n, n, n, "bfloat16") for n in (1024, 512, 16384)),
    *(product(n, n, n, "bfloat16") for n in (1000, 4095)),  # no TMA, no 16-byte rows
    product(4095, 4097, 4090, "bfloat16"),
    # few results, long sums
    *(product(m, k, n, "bfloat16") for m, k, n in ((64, 65536, 64), (128, 16384, 512), (1, 4096, 4096))),
    product(16, 4096, 11008, "bfloat16"),
    product(1024, 64, 1024, "bfloat16", batch=96),
    product(1024, 64, 1024, "bfloat16", "nt", batch=96),
    product(197, 64, 197, "bfloat16", "nt", batch=384),
    product(64, 64, 64, "bfloat16", batch=4096),
    *(product(n, n, n, "float16") for n in (8192, 4096, 2048)),
    product(2048, 2048, 2048, "float32"),
    product(64, 65536, 64, "float32"),
    product(1024, 64, 1024, "float32", batch=96),
    classifier(256, 512, 1000, "bfloat16"),
    *gradients(256, 2048, 1000, "bfloat16"),
    classifier(256, 512, 1000, "float32"),
    *ranked(2, (row for k, n in LLAMA for row in layer(4096, k, n, "bfloat16", "llama-7b"))),
    *ranked(2, (product(n, n, n, "bfloat16") for n in (256, 768, 1536, 3072, 6144))),
]
INTERPRETER = [
    product(256, 256, 256, "bfloat16"),
    product(256, 256, 256, "float32"),
    product(100, 70, 130, "float32"),
    product(64, 48, 80, "float32", "nt"),
    product(64, 48, 80, "float32", "tn"),
    product(16, 2048, 16, "float32"),
    product(32, 16, 32, "float32", batch=8),
    classifier(32, 512, 1000, "bfloat16"),
    classifier(32, 512, 1000, "float32"),
    *gradients(32, 64, 100, "float32"),
]
