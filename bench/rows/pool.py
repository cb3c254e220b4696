"""Pooling of images, forward and backward: ResNet's and VGG's max pooling, averages, and one average of all pixels."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, both, itemsize, ranked


def _windowed(name: str, window: int, stride: int, padding: int, library: Any, x: Any) -> Any:
    return getattr(library.nn.functional, name)(x, window, stride, padding)


def _everything(library: Any, x: Any) -> Any:
    return library.nn.functional.adaptive_avg_pool2d(x, 1)


# Name, window, stride, padding; a window of 0 is the whole image.
POOLS = {
    "max 3x3/2": ("max_pool2d", 3, 2, 1),
    "max 2x2/2": ("max_pool2d", 2, 2, 0),
    "avg 2x2/2": ("avg_pool2d", 2, 2, 0),
    "avg of all": ("", 0, 1, 0),
}


def passes(pool: str, shape: tuple[int, ...], dtype: str) -> list[Row]:
    name, window, stride, padding = POOLS[pool]
    function = partial(_windowed, name, window, stride, padding) if window else _everything
    sizes = [(n + 2 * padding - window) // stride + 1 if window else 1 for n in shape[2:]]
    result = (*shape[:2], *sizes)
    read, written = math.prod(shape), math.prod(result)
    # A byte for each maximum says where in its window it was; a forward pass without a gradient keeps none.
    kept = written if pool.startswith("max") else 0
    return both(
        function,
        "x",
        op=pool,
        family="pool",
        case="x".join(map(str, shape)),
        dtype=dtype,
        inputs={"x": Input(shape)},
        result=result,
        flops=(read, read),
        bytes=((read + written) * itemsize(dtype), (read + written) * itemsize(dtype) + kept),
        bound=Rounding(terms=read // written),
    )


GPU = [
    *ranked(0, passes("max 3x3/2", (256, 64, 112, 112), "bfloat16")),
    *passes("avg of all", (256, 2048, 7, 7), "bfloat16"),
    *passes("max 2x2/2", (64, 64, 224, 224), "bfloat16"),
    *passes("avg 2x2/2", (256, 128, 56, 56), "bfloat16"),  # DenseNet
    *ranked(2, passes("max 3x3/2", (32, 64, 112, 112), "float32")),
]
INTERPRETER = [row for pool in POOLS for row in passes(pool, (2, 16, 12, 12), "float32")]
