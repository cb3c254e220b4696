"""What memory alone limits: arithmetic element by element, copies, casts and transposes.

Copies and ReLUs of growing size show where launches, the cache and memory take turns.
"""

from __future__ import annotations

import math
from typing import Any

from bench.accuracy import Rounding
from bench.row import Input, Row, both, forward, itemsize, ranked


def _add(library: Any, x: Any, y: Any) -> Any:
    return x + y


def _scaled(library: Any, x: Any, y: Any) -> Any:
    return x * 2.0 + y


def _bias(library: Any, x: Any, bias: Any) -> Any:
    return x + bias


def _where(library: Any, x: Any, y: Any) -> Any:
    return library.where(x > 0, x, y)


def _relu(library: Any, x: Any) -> Any:
    return library.relu(x)


def _gelu(library: Any, x: Any) -> Any:
    return library.nn.functional.gelu(x)


def _silu(library: Any, x: Any) -> Any:
    return library.nn.functional.silu(x)


def _exp(library: Any, x: Any) -> Any:
    return library.exp(x)


def _clone(library: Any, x: Any) -> Any:
    return x.clone()


def _to_float(library: Any, x: Any) -> Any:
    return x.float()


def _to_half(library: Any, x: Any) -> Any:
    return x.to(library.bfloat16)


def _transpose(library: Any, x: Any) -> Any:
    return x.t().contiguous()


def _channels_last(library: Any, x: Any) -> Any:
    return x.contiguous(memory_format=library.channels_last)


def _cat(library: Any, x: Any, y: Any) -> Any:
    return library.cat([x, y], 1)


# Passes over memory as large as x: of the function; of its gradient, if it has a row. And whether x has a second.
MAPS: dict[str, tuple[Any, int, int | None, bool]] = {
    "add": (_add, 3, None, True),
    "relu": (_relu, 2, 3, False),
    "gelu": (_gelu, 2, 3, False),
    "silu": (_silu, 2, 3, False),
    "exp": (_exp, 2, None, False),
    "where": (_where, 3, None, True),
    "x * 2 + y": (_scaled, 3, None, True),
}
COPIES: dict[str, tuple[Any, float]] = {
    "clone": (_clone, 2),
    "transpose": (_transpose, 2),
    "to float32": (_to_float, 3),
    "to bfloat16": (_to_half, 1.5),
}


def map(op: str, shape: tuple[int, ...], dtype: str) -> list[Row]:
    """The operation, and its gradient where that is a pass of its own."""
    function, forward_passes, backward_passes, two = MAPS[op]
    inputs = {"x": Input(shape), **({"y": Input(shape)} if two else {})}
    elements, passed = math.prod(shape), math.prod(shape) * itemsize(dtype)
    case = "x".join(f"{n}" for n in shape)
    # Twice, because an operation that is no formula of ours alone rounds on its way.
    bound = Rounding(stored=op == "x * 2 + y")
    fields: dict[str, Any] = dict(family="elementwise", case=case, dtype=dtype, inputs=inputs, bound=bound)
    if backward_passes is None:
        return [forward(function, op=op, flops=elements, bytes=forward_passes * passed, **fields)]
    sizes = (forward_passes * passed, backward_passes * passed)
    return both(function, "x", op=op, flops=(elements, elements), bytes=sizes, result=shape, **fields)


def copy(op: str, shape: tuple[int, ...], dtype: str) -> Row:
    function, passes = COPIES[op]
    size = int(passes * math.prod(shape) * itemsize(dtype))
    case = "x".join(f"{n}" for n in shape)
    return forward(
        function, family="copy", op=op, case=case, dtype=dtype, inputs={"x": Input(shape)}, flops=0, bytes=size,
        bound=Rounding(),
    )  # fmt: skip


def bias(m: int, n: int, dtype: str) -> Row:
    """A row added to each of x [m, n]."""
    return forward(
        _bias, family="elementwise", op="add a row", case=f"{m}x{n}", dtype=dtype, flops=m * n,
        inputs={"x": Input((m, n)), "bias": Input((n,))}, bytes=2 * m * n * itemsize(dtype), bound=Rounding(),
    )  # fmt: skip


def channels_last(shape: tuple[int, ...], dtype: str) -> Row:
    """Images as they are read from files, brought into the order in which kernels want them."""
    return forward(
        _channels_last, family="copy", op="channels_last", case="x".join(f"{n}" for n in shape), dtype=dtype, flops=0,
        inputs={"x": Input(shape, rowwise=True)}, bytes=2 * math.prod(shape) * itemsize(dtype), bound=Rounding(),
    )  # fmt: skip


def cat(m: int, n: int, dtype: str) -> Row:
    """Two matrices [m, n] side by side."""
    return forward(
        _cat, family="copy", op="cat", case=f"{m}x{n} twice", dtype=dtype, flops=0,
        inputs={"x": Input((m, n)), "y": Input((m, n))}, bytes=4 * m * n * itemsize(dtype), bound=Rounding(),
    )  # fmt: skip


LARGE = (1 << 28,)  # 512 MB of bfloat16
SIZES = [1 << k for k in range(14, 30, 2)]

GPU = [
    *ranked(0, map("add", LARGE, "bfloat16")),
    *ranked(0, map("gelu", LARGE, "bfloat16")),
    *ranked(0, [copy("transpose", (16384, 16384), "bfloat16"), copy("clone", LARGE, "bfloat16")]),
    *(row for op in ("relu", "silu", "exp", "where", "x * 2 + y") for row in map(op, LARGE, "bfloat16")),
    *(row for op in ("add", "gelu") for row in map(op, (1 << 27,), "float32")),
    bias(8192, 50304, "bfloat16"),
    copy("to float32", LARGE, "bfloat16"),
    copy("to bfloat16", (1 << 27,), "float32"),
    copy("transpose", (8192, 8192), "float32"),
    channels_last((256, 64, 112, 112), "bfloat16"),
    channels_last((256, 3, 224, 224), "bfloat16"),
    cat(8192, 16384, "bfloat16"),
    *(copy("clone", (n,), "bfloat16") for n in SIZES if n != 1 << 28),
    *(row for n in SIZES for row in map("add", (n,), "float32")),
]
INTERPRETER = [
    *(row for op in MAPS for row in map(op, (4000,), "float32")),
    *(copy(op, (40, 50), "float32" if op != "to float32" else "bfloat16") for op in COPIES),
    bias(40, 50, "float32"),
    channels_last((2, 8, 10, 10), "float32"),
    cat(40, 50, "float32"),
]
