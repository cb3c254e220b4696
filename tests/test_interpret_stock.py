"""What the repairs of the interpreter are for: bfloat16 in every family of kernels, with the repairs and without.

Each case is one operation in a given dtype and what it should give. In bfloat16 every one is right here and fails in
Triton's interpreter as it comes; in float32 every one is right in both, so it is bfloat16 that fails there and nothing
else. How they fail (the same on Triton 3.6, 3.7 and 3.9):

- matmul, conv: results are 10^8 times too large; bit patterns are multiplied as if they were numbers
- elementwise, reduce, norm, pool, softmax, loss, random, optim: up to 0.7 % off, where rounding to nearest allows
  0.39 %; float32 results are cut off to bfloat16, not rounded
- index has no case: its one kernel counts integers
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.interpreted import interpreted
from tritongrad_kernels import (
    conv,
    dtypes,
    elementwise,
    formulas,
    loss,
    matmul,
    norm,
    optim,
    random,
    reduce,
    softmax,
    volume_pool,
    windows,
)
from tritongrad_kernels.array import Array, from_host

pytestmark = interpreted

DTYPES = {"float32": (dtypes.float32, 2.0**-23), "bfloat16": (dtypes.bfloat16, 2.0**-8)}
"""Each dtype with the relative error it is allowed: one rounding, or two of float32."""


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> tuple[Array, np.ndarray]:
    """Positive numbers as an array of `dtype`, and the same numbers in float64."""
    numpy_dtype = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}[dtype]
    rounded = np.random.default_rng(seed).uniform(0.5, 2, shape).astype(numpy_dtype)
    return from_host(rounded), rounded.astype(np.float64)


# ---- one operation of each family: what it gives and what it should ----


def elementwise_case(dtype: str) -> tuple[Array, np.ndarray]:
    (x, a), (y, b) = values((64,), dtype), values((64,), dtype, 1)
    return elementwise.map(formulas._mul, x, y), a * b


def reduce_case(dtype: str) -> tuple[Array, np.ndarray]:
    x, a = values((32, 16), dtype)
    return reduce.sum(x, [1]), a.sum(1)


def matmul_case(dtype: str) -> tuple[Array, np.ndarray]:
    (x, a), (y, b) = values((16, 16), dtype), values((16, 16), dtype, 1)
    return matmul.matmul(x, y), a @ b


def conv_case(dtype: str) -> tuple[Array, np.ndarray]:
    (x, a), (w, b) = values((1, 3, 5, 5), dtype), values((4, 3, 2, 2), dtype, 1)
    windows = np.lib.stride_tricks.sliding_window_view(a, (2, 2), (2, 3))
    return conv.conv2d(x, w, None, (1, 1), (0, 0), (1, 1), 1), np.einsum("nchwrs,ocrs->nohw", windows, b)


def norm_case(dtype: str) -> tuple[Array, np.ndarray]:
    (x, a), (weight, b) = values((16, 8), dtype), values((8,), "float32", 1)
    statistics = norm.Statistics(1e-5, norm.moments(x))
    bias = from_host(np.full(8, 9, np.float32))  # so that no result is a difference of almost equal numbers
    y, _ = norm.apply(x, statistics, weight, bias)
    return y, (a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5) * b + 9


def pool_case(dtype: str) -> tuple[Array, np.ndarray]:
    x, a = values((2, 4, 6, 6), dtype)
    halves = windows.even(6, 3)
    y = volume_pool.mean_pool(x, (windows.alone, halves, halves))
    return y, a.reshape(2, 4, 3, 2, 3, 2).mean((3, 5))


def softmax_case(dtype: str) -> tuple[Array, np.ndarray]:
    x, a = values((8, 16), dtype)
    return softmax.softmax(x), np.exp(a) / np.exp(a).sum(1, keepdims=True)


def loss_case(dtype: str) -> tuple[Array, np.ndarray]:
    x, a = values((32, 10), dtype)
    classes = np.arange(32) % 10
    got = loss.cross_entropy(x, from_host(classes), None, -100, 0.0).loss
    return got, np.log(np.exp(a).sum(1)) - a[np.arange(32), classes]


def random_case(dtype: str) -> tuple[Array, np.ndarray]:
    """The same draw in float64 is the float32 that the kernel rounds to `dtype`."""
    draw = functools.partial(random.normal, (64,), 1.0, 0.5, device=None, seed=3, stream=4)
    return draw(dtype=DTYPES[dtype][0]), draw(dtype=dtypes.float64).numpy()


def optim_case(dtype: str) -> tuple[Array, np.ndarray]:
    (p, a), (g, b) = values((64,), dtype), values((64,), dtype, 1)
    rate = 0.125
    tables = optim.table([[p, g, None, None]], [[rate, 0.0, 0.0, 1.0, 1.0]])
    optim.sgd(tables, p.dtype, g.dtype, momentum=False, nesterov=False)
    return p, a - rate * b


CASES: dict[str, Callable[[str], tuple[Array, np.ndarray]]] = {
    name.removesuffix("_case"): function for name, function in dict(globals()).items() if name.endswith("_case")
}


def outcome(family: str, dtype: str) -> str:
    """ "right", or what is wrong, in a few words."""
    try:
        got, want = CASES[family](dtype)
    except Exception as error:
        return f"raises {type(error).__name__}: {str(error).splitlines()[0][-200:]}"
    error = np.abs(got.numpy().astype(np.float64) / want - 1)
    worst = float(np.nan_to_num(error, nan=np.inf).max())
    # A little more than one rounding, for what is carried in float32.
    return "right" if worst <= DTYPES[dtype][1] + 2.0**-20 else f"off by a factor of up to {1 + worst:.6g}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", CASES)
def test_every_family_is_right(family: str, dtype: str) -> None:
    assert outcome(family, dtype) == "right"


UNREPAIRED = """
import json
from tritongrad_kernels import interpret
interpret.uninstall()

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as stock

# Stock copies arguments to the host as torch tensors, where these are already, and leaves floats Python's.
def arguments(self, values, named):
    return [v if n in self.constexprs else argument(v) for n, v in zip(self.arg_names, values)], named

def argument(value):
    if not isinstance(value, float):
        return value
    return tl.tensor(stock.TensorHandle(np.array([value], np.float32), tl.float32), tl.float32)

stock.GridExecutor._init_args_hst = arguments
stock.GridExecutor._restore_args_dev = lambda self, *copies: None

from tests.test_interpret_stock import CASES, DTYPES, outcome
print(json.dumps({family: {dtype: outcome(family, dtype) for dtype in DTYPES} for family in CASES}))
"""


@pytest.fixture(scope="module")
def unrepaired() -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", UNREPAIRED],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", CASES)
def test_bfloat16_fails_without_the_repairs(family: str, unrepaired: Any) -> None:
    assert unrepaired[family]["float32"] == "right"
    assert unrepaired[family]["bfloat16"].startswith("off by")
