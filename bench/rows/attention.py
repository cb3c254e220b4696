"""Scaled dot-product attention, forward and backward: GPT-2's and Llama's, which is causal, and a ViT's."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.accuracy import LikePeer
from bench.row import Input, Row, both, itemsize, ranked

# Weights are rounded before they multiply the values: torch's own error is the measure, in norm.
FLOOR = {"bfloat16": 4e-3, "float16": 5e-4, "float32": 1e-6}


def _attention(causal: bool, library: Any, q: Any, k: Any, v: Any) -> Any:
    return library.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def passes(batch: int, heads: int, length: int, size: int, causal: bool, dtype: str) -> list[Row]:
    """q, k, v [batch, heads, length, size]. A causal one needs about half of the scores."""
    shape = (batch, heads, length, size)
    scores = length * (length + 1) // 2 if causal else length * length
    flops = 4 * batch * heads * size * scores
    passed = batch * heads * length * size * itemsize(dtype)
    return both(
        partial(_attention, causal),
        "q k v",
        op="causal" if causal else "",
        family="attention",
        case=f"{batch}x{heads}x{length}x{size}",
        dtype=dtype,
        inputs={name: Input(shape, rowwise=True) for name in "qkv"},
        flops=(flops, 5 * flops // 2),  # five products where there were two
        bytes=(4 * passed, 8 * passed),  # q, k, v, y; and then y, dy and three gradients too
        bound=LikePeer(factor=2.0, floor=FLOOR[dtype]),
        result=shape,
    )


GPU = [
    *ranked(0, passes(8, 12, 1024, 64, True, "bfloat16")),  # GPT-2
    *ranked(0, passes(64, 6, 197, 64, False, "bfloat16")),  # ViT-S
    *passes(4, 16, 4096, 128, True, "bfloat16"),
    *passes(4, 16, 4096, 128, False, "bfloat16"),
    *passes(8, 12, 1024, 64, False, "bfloat16"),
    *passes(8, 12, 1024, 64, True, "float16"),
    *passes(2, 12, 1024, 64, True, "float32"),
    *ranked(2, passes(1, 16, 16384, 128, True, "bfloat16")),
    *ranked(2, passes(64, 12, 197, 64, False, "bfloat16")),  # ViT-B
]
INTERPRETER = [
    *passes(1, 2, 48, 16, True, "float32"),
    *passes(1, 2, 48, 16, False, "float32"),
]
