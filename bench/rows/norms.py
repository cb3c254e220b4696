"""Layer, group and RMS normalisation, forward and backward: of transformers and of networks that draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, both, itemsize, ranked


def _layer_norm(library: Any, x: Any, weight: Any, bias: Any) -> Any:
    return library.nn.functional.layer_norm(x, list(weight.shape), weight, bias)


def _rms_norm(library: Any, x: Any, weight: Any) -> Any:
    return library.nn.functional.rms_norm(x, list(weight.shape), weight, 1e-6)


def _group_norm(groups: int, library: Any, x: Any, weight: Any, bias: Any) -> Any:
    return library.nn.functional.group_norm(x, groups, weight, bias)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": partial(_group_norm, 32),
}


def passes(family: str, shape: tuple[int, ...], dtype: str) -> list[Row]:
    """Rows [M, N] are normalised each by itself, and images [N, C, H, W] in 32 groups of channels."""
    channels = shape[1]
    inputs = {"x": Input(shape), "weight": Input((channels,), mean=1.0, std=0.1), "bias": Input((channels,))}
    if family == "rms_norm":
        del inputs["bias"]
    elements = math.prod(shape)
    # Forward: x in, y out; a group is too long to be kept while its statistics are taken. Backward: dy, x in, dx out.
    passed = elements * itemsize(dtype)
    return both(
        FUNCTIONS[family],
        " ".join(inputs),
        family=family,
        case="x".join(map(str, shape)),
        dtype=dtype,
        inputs=inputs,
        result=shape,
        flops=(8 * elements, 12 * elements),
        bytes=(2 * passed, 3 * passed),
        bound=Rounding(terms=elements // shape[0]),
        backward_bound=Rounding(terms=max(elements // shape[0], elements // channels)),
    )


GPU = [
    *ranked(0, passes("layer_norm", (8192, 768), "bfloat16")),
    *ranked(0, passes("rms_norm", (8192, 4096), "bfloat16")),
    *passes("layer_norm", (8192, 4096), "bfloat16"),
    *passes("layer_norm", (64 * 197, 384), "bfloat16"),
    *passes("layer_norm", (8192, 4096), "float32"),
    *passes("layer_norm", (4096, 16384), "bfloat16"),
    *passes("rms_norm", (8192, 4096), "float32"),
    *passes("group_norm", (16, 320, 64, 64), "bfloat16"),
    *ranked(2, passes("group_norm", (16, 1280, 16, 16), "bfloat16")),
    *ranked(2, passes("layer_norm", (8192, 768), "float16")),
    *ranked(2, passes("rms_norm", (256, 8192), "bfloat16")),
]
INTERPRETER = [
    *passes("layer_norm", (64, 96), "float32"),
    *passes("rms_norm", (64, 96), "float32"),
    *passes("group_norm", (2, 64, 8, 8), "float32"),
]
