"""Arrays of more elements than 32 bits count, grids past 65,535, rows longer than any block.

Memory that nothing was written to costs nothing, so an array of 2^31 elements is a range of addresses, and its launches
run at their ends (`interpret.excerpt`): there the sanitizer sees indices overflow and leave their arrays, and what a
result has at its ends is what the same operation gives on a small array that ends alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import tritongrad as tg
from tests.check import check, randn
from tritongrad.nn import functional as F
from tritongrad_kernels import INTERPRETED, exchange, launch, memory

if not INTERPRETED:
    pytest.skip("launches in part are the interpreter's", allow_module_level=True)

from tritongrad_kernels import interpret, sanitize

SIZES = (2**31 - 1, 2**31 + 5)
"""The largest that a 32-bit integer holds, where only indices past the end overflow, and one that it does not."""

PEAK = 1 << 30
"""Bytes of memory that a test may take in passing."""


@pytest.fixture
def in_part(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Launches with a GPU's tiles, run at their ends under the sanitizer, on memory that is zero until written to."""
    # A page of 2 MB for each place that is touched would be too much.
    thp = ctypes.CDLL(None).prctl
    thp(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _kilobytes("VmRSS")
    with contextlib.ExitStack() as stack:
        stack.enter_context(sanitize.sanitized())
        stack.enter_context(launch.column("sm_90"))
        stack.enter_context(interpret.excerpt(2, 20))
        monkeypatch.setattr(memory, "allocate", _zeros)
        monkeypatch.setattr(memory, "POISON", False)
        monkeypatch.setattr(memory, "ACCOUNT", 0)
        monkeypatch.setattr(launch, "around", lambda told, indirect: sanitize.reachable(*indirect))
        yield
        monkeypatch.undo()
    thp(41, 0, 0, 0, 0)
    assert (_kilobytes("VmHWM") - before) * 1024 < PEAK


def _kilobytes(what: str) -> int:
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def _zeros(nbytes: int, device: Any = None) -> memory.Memory:
    try:
        found = exchange.lend(np.zeros(max(nbytes, 16), np.uint8))
    except MemoryError:
        pytest.skip(f"this machine does not lend {nbytes:,} bytes of addresses")
    assert found is not None
    return found


def zeros_but_last(shape: Sequence[int], value: float, dtype: Any = tg.bfloat16) -> tg.Tensor:
    t = tg.empty(tuple(shape), dtype=dtype)
    t.numpy()[(-1,) * len(shape)] = value
    return t


def seen(t: tg.Tensor) -> list[float]:
    """All of a small tensor, the ends of a large one."""
    values = t.detach().numpy()
    if values.size <= 4096:
        return values.astype(np.float64).reshape(-1).tolist()
    places = [0, 1, values.size - 2, values.size - 1]
    return [float(values[np.unravel_index(k, values.shape)]) for k in places]


def ends_of(f: Callable, *shapes: Sequence[int]) -> list[list[float]]:
    """What `f` gives of tensors that are 0 but for a 3 at their end, and its gradients for a 2 at its own."""
    inputs = [zeros_but_last(shape, 3.0).requires_grad_() for shape in shapes]
    y = f(*inputs)
    grads = tg.autograd.grad(y, inputs, zeros_but_last(y.shape, 2.0, y.dtype)) if y.requires_grad else ()
    return [seen(t) for t in (y, *grads)]


def last(n: int) -> tg.Tensor:
    return tg.tensor([0, 1, n - 1])


# A function of tensors, and their shapes given how many elements there shall be.
CASES: dict[str, tuple[Callable, Callable[[int], list[tuple[int, ...]]]]] = {
    "one operand": (lambda x: -x, lambda n: [(n,)]),
    "two operands": (lambda x, y: x * y, lambda n: [(n,), (n,)]),
    "three operands": (lambda x: tg.addcmul(x, x, x), lambda n: [(n,)]),
    "four operands": (lambda x: F.gelu(x) * x.clamp(-1, 2), lambda n: [(n,)]),
    "bools": (lambda x: tg.where(x > 1, x, -x), lambda n: [(n,)]),
    "transposed": (lambda x: x.t().contiguous() * 2, lambda n: [(n // 8 + 2, 8)]),
    "steps": (lambda x: x[1::3, 1::2] * 2, lambda n: [(n // 24 * 3 + 2, 8)]),
    "turned": (lambda x: x.flip(0).flip(0), lambda n: [(n,)]),
    "stretched": (lambda x, y: x * y, lambda n: [(n // 40000 + 2, 1), (1, 40001)]),
    "another dtype": (lambda x: x.float().to(tg.float16), lambda n: [(n,)]),
    "sum": (lambda x: x.sum(), lambda n: [(n,)]),
    "sum of rows": (lambda x: x.sum(1), lambda n: [(n // 8 + 2, 8)]),
    "sum of columns": (lambda x: x.sum(0), lambda n: [(n // 8 + 2, 8)]),
    "sum of long rows": (lambda x: x.sum(1), lambda n: [(3, n // 2)]),
    "product of rows": (lambda x: x.prod(1), lambda n: [(n // 2 + 1, 2)]),
    "largest": (lambda x: x.max(), lambda n: [(n,)]),
    "largest of columns": (lambda x: x.max(0)[0], lambda n: [(n // 8 + 2, 8)]),
    "norm": (lambda x: x.norm(), lambda n: [(n,)]),
    "logsumexp": (lambda x: x.logsumexp(1), lambda n: [(n // 8 + 2, 8)]),
    "cumsum": (lambda x: x.cumsum(0), lambda n: [(n,)]),
    "cumsum of rows": (lambda x: x.cumsum(1), lambda n: [(n // 8 + 2, 8)]),
    "cumsum of columns": (lambda x: x.cumsum(0), lambda n: [(n // 2 + 1, 2)]),
    "cumprod": (lambda x: x.cumprod(0), lambda n: [(n,)]),
    "cummax": (lambda x: x.detach().cummax(0)[0], lambda n: [(n,)]),
    "logcumsumexp of rows": (lambda x: x.logcumsumexp(1), lambda n: [(n // 8 + 2, 8)]),
    "sort of rows": (lambda x: x.detach().sort(1)[1], lambda n: [(n // 8 + 2, 8)]),
    "softmax": (lambda x: F.softmax(x, 1), lambda n: [(n // 8 + 2, 8)]),
    "softmax of single elements": (lambda x: F.softmax(x, 1), lambda n: [(n, 1)]),
    "log_softmax of one row": (lambda x: F.log_softmax(x, 0) * 0, lambda n: [(n,)]),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, tg.empty(x.shape[0], dtype=tg.int64), reduction="none"),
        lambda n: [(n // 8 + 2, 8)],
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), lambda n: [(n // 2048 + 2, 8, 16, 16)]),
    "max_pool2d of one row": (lambda x: F.max_pool2d(x, (1, 3), (1, 2), (0, 1)), lambda n: [(1, 1, 1, n)]),
    "avg_pool2d of one image": (lambda x: F.avg_pool2d(x, 2, 2, 1), lambda n: [(1, 1, n // 40000 + 2, 40001)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 5), lambda n: [(n // 2048 + 2, 8, 16, 16)]),
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1), lambda n: [(1, 1, n)]),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), lambda n: [(n // 2048 + 2, 8, 4, 8, 8)]),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, 5), lambda n: [(n // 2048 + 2, 8, 16, 16)]),
    "antialiased interpolate": (
        lambda x: F.interpolate(x, (8, 7), mode="bilinear", antialias=True), lambda n: [(n // 2048 + 2, 8, 16, 16)],
    ),
    "interpolate": (
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"), lambda n: [(n // 2048 + 2, 8, 16, 16)],
    ),
    # One of 42 slabs of its weight gradient has every 42nd box of 64 pixels: so that the last one has the last.
    "conv2d": (
        lambda x, w: F.conv2d(x, w, padding=1),
        lambda n: [((n // 2048 + 20) // 21 * 21 or 2, 8, 16, 16), (16, 8, 3, 3)],
    ),
    "conv2d of one channel": (
        lambda x, w: F.conv2d(x, w, stride=2), lambda n: [(n // 256 + 2, 1, 16, 16), (2, 1, 4, 4)],
    ),
    # A program takes every 264th tile of 128 pixels, or every 128th of 64: with as many, the last one has the last.
    "conv2d of 1 x 1 images": (F.conv2d, lambda n: [(-(-n // 16 // 270336) * 270336 - 3, 16, 1, 1), (16, 16, 1, 1)]),
    "conv2d, depthwise": (
        lambda x, w: F.conv2d(x, w, padding=1, groups=8), lambda n: [(n // 2048 + 2, 8, 16, 16), (8, 1, 2, 2)],
    ),
    "conv3d, as conv2d": (
        lambda x, w: F.conv3d(x, w, padding=(1, 0, 0)), lambda n: [(n // 2048 + 2, 8, 4, 8, 8), (2, 8, 2, 1, 1)],
    ),
    "unfold": (lambda x: F.unfold(x, 2, stride=2), lambda n: [(n // 1024 + 2, 4, 16, 16)]),
    "unfold of one image": (lambda x: F.unfold(x, (2, 1)), lambda n: [(1, 1, n // 40000 + 2, 40001)]),
    "product of tall matrices": (lambda a, b: a @ b, lambda n: [(n // 8 + 2, 8), (8, 3)]),
    "product of wide matrices": (lambda a, b: a @ b, lambda n: [(3, 8), (8, n // 8 + 2)]),
    "product of long rows": (lambda a, b: a @ b, lambda n: [(2, n // 2), (n // 2, 2)]),
    "product of one long row": (lambda a, b: a @ b, lambda n: [(1, n), (n, 1)]),
    "product of columns": (lambda a, b: a @ b, lambda n: [(n // 40000 + 2, 3), (3, 40001)]),
    "batched product": (lambda a, b: a @ b, lambda n: [(n // 16 + 2, 4, 4), (n // 16 + 2, 4, 2)]),
    "linear": (F.linear, lambda n: [(n // 8 + 2, 8), (4, 8), (4,)]),
    "rows by index": (lambda x: x[last(x.shape[0])], lambda n: [(n // 8 + 2, 8)]),
    "columns by index": (lambda x: x[:, last(x.shape[1])], lambda n: [(3, n // 2)]),
    "gather": (lambda x: x.gather(0, last(x.shape[0])), lambda n: [(n,)]),
    "scatter": (lambda x, v: x.scatter(0, last(x.shape[0]), v), lambda n: [(n,), (3,)]),
    "index_add": (lambda x, v: x.index_add(0, last(x.shape[0]), v), lambda n: [(n // 8 + 2, 8), (3, 8)]),
    "take": (lambda x: x.take(last(x.numel())), lambda n: [(n // 8 + 2, 8)]),
    "cat": (lambda x, y: tg.cat([y, x]), lambda n: [(n,), (5,)]),
    "pad": (lambda x: F.pad(x, (1, 2)), lambda n: [(n // 8 + 2, 8)]),
    "diagonal": (lambda x: x.diagonal(1) * 2, lambda n: [(n // 40000 + 2, 40001)]),
    "cell of an LSTM": (
        lambda x, h, c, w, u: tg.lstm_cell(x, (h, c), w, u)[0],
        lambda n: [(n // 8 + 2, 1), (n // 8 + 2, 2), (n // 8 + 2, 2), (8, 1), (8, 2)],
    ),
    "cell of a GRU": (tg.gru_cell, lambda n: [(n // 6 + 2, 1), (n // 6 + 2, 2), (6, 1), (6, 2)]),
}  # fmt: skip


@pytest.mark.parametrize("name, n", [(k, n) for k in CASES for n in SIZES if n == SIZES[1] or "conv2d" not in k])
def test_ends_of_huge_arrays(name: str, n: int, in_part: None) -> None:
    f, shapes = CASES[name]
    with launch.recording() as log:
        huge = ends_of(f, *shapes(n))
    assert all(len(told.grid) == 1 for told in log)  # the second and third axes of a grid end at 65,535
    for got, want in zip(huge, ends_of(f, *shapes(40)), strict=True):
        same = len(got) if len(got) == len(want) else 2  # a long result shows fewer of its elements than a short one
        np.testing.assert_allclose(got[-same:], want[-same:], rtol=2e-2)


NUMBERS: dict[str, tuple[Callable[[int], tg.Tensor], Callable[[int], float]]] = {
    "arange": (tg.arange, lambda n: n - 1),
    "full": (lambda n: tg.full((n,), 7, dtype=tg.int8), lambda n: 7),
    "argmax": (lambda n: zeros_but_last((n,), 3.0).argmax(), lambda n: n - 1),
    "argmin of columns": (lambda n: zeros_but_last((n // 2 + 1, 2), -3.0).argmin(0), lambda n: n // 2),
    "var": (lambda n: zeros_but_last((n,), 2.0**16).var(), lambda n: 2**32 / n),
    "mean": (lambda n: zeros_but_last((n,), 2.0**16).float().mean(), lambda n: 2**16 / n),
    "any": (lambda n: zeros_but_last((n,), True, tg.bool).any(), lambda n: 1),
    "count_nonzero": (lambda n: zeros_but_last((n,), 3, tg.int8).count_nonzero(), lambda n: 1),
    "integer product": (
        lambda n: zeros_but_last((1, n), 3, tg.int8) @ zeros_but_last((n, 1), 4, tg.int8), lambda n: 12,
    ),
    "integer products": (
        lambda n: zeros_but_last((n, 1), 3, tg.int8) @ zeros_but_last((1, 1), 4, tg.int8), lambda n: 12,
    ),
    "searchsorted": (
        lambda n: tg.searchsorted(tg.tensor([1.0, 2.0, 4.0]), zeros_but_last((n // 4,), 3.0, tg.float32)), lambda n: 2,
    ),
    "searchsorted in many rows": (
        lambda n: tg.searchsorted(zeros_but_last((n // 4 + 1, 4), 5.0), zeros_but_last((n // 4 + 1, 1), 3.0)),
        lambda n: 3,
    ),
    "masked_fill": (
        lambda n: zeros_but_last((n,), 3.0).masked_fill_(zeros_but_last((n,), True, tg.bool), 7.0), lambda n: 7,
    ),
}  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", NUMBERS)
def test_last_numbers_of_huge_arrays(name: str, n: int, in_part: None) -> None:
    f, want = NUMBERS[name]
    assert seen(f(n))[-1] == pytest.approx(want(n), rel=1e-2, abs=1e-30)


@pytest.mark.parametrize("n", SIZES)
def test_random_numbers_reach_the_end(n: int, in_part: None) -> None:
    """The last words of a counter of more than 32 bits, which nothing else has."""
    for draw in (tg.rand, tg.randn):
        u = draw(n, dtype=tg.bfloat16).numpy()
        assert len(set(u[-8:].tolist())) > 4 and set(u[-8:].tolist()) != set(u[:8].tolist())
    assert F.dropout(zeros_but_last((n,), 3.0), 0.5).numpy()[-1] in (0.0, 6.0)
    assert tg.poisson(zeros_but_last((n,), 1e4)).numpy()[-1] > 9000


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "make", [lambda p: tg.optim.SGD([p], lr=0.5, momentum=0.9), lambda p: tg.optim.Adam([p], lr=0.5)]
)
def test_optimizers_reach_the_end(make: Callable, n: int, in_part: None) -> None:
    p = zeros_but_last((n,), 3.0).requires_grad_()
    p.grad = zeros_but_last((n,), 1.0)
    make(p).step()
    assert seen(p) == [0.0, 0.0, 0.0, 2.5]


def test_rows_of_many_blocks_are_sorted_wherever_they_are(in_part: None) -> None:
    """All blocks of the first and last rows run: the counts of one say where another's keys go."""
    rows, n = 2**20 + 1, 2049
    with interpret.excerpt(12, 20):
        values, order = zeros_but_last((rows, n), -3, tg.int8).sort(1)
    assert values.numpy()[-1, :2].tolist() == [-3, 0] and order.numpy()[-1, :3].tolist() == [n - 1, 0, 1]
    assert order.numpy()[0].tolist() == list(range(n))


@triton.jit
def _count(OUT, n, STEP: tl.constexpr):
    last = n * 0
    for i in range(0, n, STEP):
        last += i
    tl.store(OUT, last)


def test_a_loop_ends_before_its_counter_overflows() -> None:
    """It goes one step past the end, in the widest type of the bounds."""
    out = tg.zeros(1, dtype=tg.int64)
    with interpret.excerpt(1, 2):
        with pytest.raises(launch.KernelError, match=r"overflows int32: 2147483640 \+ 8, at .*range\(0, n, STEP\)"):
            launch.launch(_count, 1, out.array, 2**31 - 1, STEP=8)
        launch.launch(_count, 1, out.array, 2**31 + 1, STEP=8)  # turns 0, 8, ..., 2^31 - 8, 2^31 in 64 bits
    assert out.item() == 2**32


def test_what_convolution_does_not_count_is_refused() -> None:
    with memory.dry_run():
        image, filters = tg.empty(1, 1, 300, 300), tg.empty(70_000, 1, 200, 200)
        with pytest.raises(
            ValueError, match=r"conv2d: a weight of shape \[70000, 1, 200, 200\]; one channel's must be"
        ):
            F.conv2d(image, filters)
        with pytest.raises(ValueError, match=r"conv2d: 2,500,000,000 pixels in an image; at most 2,147,418,112"):
            F.conv2d(tg.empty(1, 1, 50_000, 50_000), filters[:1])


# ---------------------------------------------------------------------------------------------------------- long rows


LONG = 2**21 + 3

ROWS: dict[str, Callable] = {
    "sum": lambda m: lambda x: x.sum(1),
    "max": lambda m: lambda x: x.max(1)[0],
    "argmax": lambda m: lambda x: x.argmax(1) * 1.0,
    "var": lambda m: lambda x: x.var(1),
    "norm": lambda m: lambda x: x.norm(dim=1),
    "softmax": lambda m: lambda x: m.nn.functional.softmax(x, 1),
    "log_softmax": lambda m: lambda x: m.nn.functional.log_softmax(x, 1),
    "cumsum": lambda m: lambda x: x.cumsum(1),
    "sort": lambda m: lambda x: x.sort(dim=1, stable=True)[0],
    "topk": lambda m: lambda x: x.topk(5, 1)[0],
    "cross_entropy": lambda m: lambda x: m.nn.functional.cross_entropy(x, m.tensor([LONG - 1])),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_longer_than_any_block(name: str) -> None:
    f = ROWS[name]
    check(f(tg), f(torch), randn(1, LONG), terms=LONG, grads=name not in ("argmax", "topk"))


def test_an_inner_extent_longer_than_any_block() -> None:
    k = 2**20 + 1
    check(lambda a, b: a @ b, lambda a, b: a @ b, randn(2, k, seed=1), randn(k, 2, seed=2), terms=k, grads=False)


@pytest.mark.parametrize("queries, keys", [(2**31 // 64 + 5, 20), (20, 2**31 // 64 + 5)])
def test_attention(in_part: None, queries: int, keys: int) -> None:
    """What the last query gives and gets, and that all passes stay in their arrays, with dropout counted in 64 bits."""
    rows = [(1, queries, 64), (1, keys, 64), (1, keys, 64)]
    q, k, v = (zeros_but_last(shape, 1.0).requires_grad_() for shape in rows)
    y = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    if keys == 20:
        weight = 1 / (1 + 19 * np.exp(-1))  # of the last of the keys for the last of the queries
        assert abs(y[0, -1, -1].item() - weight) < 0.01
    tg.autograd.grad(y, (q, k, v), y.detach())
    dropped = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    tg.autograd.grad(dropped, (q, k, v), y.detach())


def test_attention_of_2_31_scores(in_part: None) -> None:
    n = 46_400
    q, k, v = (zeros_but_last((1, n, 16), 1.0).requires_grad_() for _ in range(3))
    mask = zeros_but_last((n, n), True, tg.bool)
    y = F.scaled_dot_product_attention(q, k, v, mask)
    assert abs(y[0, -1, -1].item() - 1) < 0.01 and y[0, 0, 0].item() == 0
    tg.autograd.grad(y, (q, k, v), y.detach())
