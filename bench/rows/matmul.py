"""Matrix products: squares, a 1x1 convolution's shape, and the classifiers of ResNet-18 and ResNet-50."""

from __future__ import annotations

import torch

import tritongrad as tg
from bench.accuracy import Rounding
from bench.row import Call, Input, Row, itemsize


def _ours(a: tg.Tensor, b: tg.Tensor) -> Call:
    return lambda: [tg.matmul(a, b)]


def _peer(a: torch.Tensor, b: torch.Tensor) -> Call:
    return lambda: [torch.matmul(a, b)]


def _our_linear(x: tg.Tensor, weight: tg.Tensor, bias: tg.Tensor) -> Call:
    return lambda: [tg.nn.functional.linear(x, weight, bias)]


def _peer_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Call:
    return lambda: [torch.nn.functional.linear(x, weight, bias)]


def product(m: int, k: int, n: int, dtype: str) -> Row:
    """[m, k] times [k, n]."""
    return Row(
        family="matmul",
        op="forward",
        case=f"{m}x{k}x{n}",
        dtype=dtype,
        inputs={"a": Input((m, k)), "b": Input((k, n))},
        flops=2 * m * k * n,
        bytes=(m * k + k * n + m * n) * itemsize(dtype),
        ours=_ours,
        peer=_peer,
        bound=Rounding(terms=k),
    )


def classifier(batch: int, features: int, classes: int, dtype: str) -> Row:
    """x [batch, features] times weight [classes, features] transposed, plus bias."""
    return Row(
        family="matmul",
        op="linear",
        case=f"fc {features}->{classes} b{batch}",
        dtype=dtype,
        inputs={"x": Input((batch, features)), "weight": Input((classes, features)), "bias": Input((classes,))},
        flops=2 * batch * features * classes,
        bytes=(batch * features + classes * features + classes + batch * classes) * itemsize(dtype),
        ours=_our_linear,
        peer=_peer_linear,
        bound=Rounding(terms=features),
    )


GPU = [
    product(4096, 4096, 4096, "bfloat16"),
    product(8192, 8192, 8192, "bfloat16"),
    product(2048, 2048, 2048, "bfloat16"),
    product(256 * 56 * 56, 64, 256, "bfloat16"),
    product(4096, 4096, 4096, "float32"),
    product(2048, 2048, 2048, "float32"),
    classifier(256, 512, 1000, "bfloat16"),
    classifier(256, 2048, 1000, "bfloat16"),
    classifier(256, 512, 1000, "float32"),
]
INTERPRETER = [
    product(256, 256, 256, "bfloat16"),
    product(256, 256, 256, "float32"),
    product(100, 70, 130, "float32"),
    classifier(32, 512, 1000, "bfloat16"),
    classifier(32, 512, 1000, "float32"),
]
