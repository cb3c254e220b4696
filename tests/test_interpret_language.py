"""What kernels may say in the repaired interpreter, how they are launched, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.runtime.interpreter import interpreter_builder

from tests.interpreted import Buffer, cast, interpreted, numbers
from tritongrad_kernels import interpret

pytestmark = interpreted

# ---- language ----


@triton.jit
def run_time_range(out, n, start):
    total = 0
    for i in range(n):
        total += i
    for _ in range(start, n, 2):
        total += 100
    for _ in tl.range(tl.load(out)):
        total += 1000
    tl.store(out, total)


def test_range_over_run_time_values() -> None:
    out = Buffer([3], np.int32)
    run_time_range[(1,)](out, 5, 1)
    assert out.data[0] == 10 + 200 + 3000


@triton.jit
def countdown(out, n: tl.constexpr):
    tl.store(out + n, n)
    if n > 0:
        countdown(out, n - 1)


def test_a_function_may_call_itself() -> None:
    out = Buffer(np.zeros(4), np.int32)
    countdown[(1,)](out, 3)
    assert out.data.tolist() == [0, 1, 2, 3]


@triton.jit
def flags(out, flag, other):
    if flag:
        tl.store(out, 1)
    else:
        tl.store(out, 2)
    tl.store(out + 1, tl.where(other, 3, 4))
    if flag and other:
        tl.store(out + 2, 5)
    if not flag or other:
        tl.store(out + 2, 6)


@pytest.mark.parametrize(("flag", "other"), [(True, True), (True, False), (False, True), (False, False)])
def test_bool_arguments(flag: bool, other: bool) -> None:
    out = Buffer(np.zeros(3), np.int32)
    flags[(1,)](out, flag, other)
    assert out.data.tolist() == [1 if flag else 2, 3 if other else 4, 6 if not flag or other else 0]


@triton.jit
def block_logic(x, out, n, N: tl.constexpr):
    o = tl.arange(0, N)
    v = tl.load(x + o)
    tl.store(out + o, tl.where(max(o, 3) > min(n, o), 1, 0))
    tl.store(out + N + o, ((o > 2 and v > 0) or o == 0).to(tl.int32))
    tl.store(out + 2 * N + o, tl.where(not (v > 0), 1, 0))


@pytest.mark.filterwarnings("ignore:Logical operators", "ignore:builtin m")
def test_python_logic_on_blocks_is_elementwise() -> None:
    x, out = numbers(16, np.float32), Buffer(np.zeros(48), np.int32)
    block_logic[(1,)](Buffer(x), out, 9, 16)
    o = np.arange(16)
    want = [np.maximum(o, 3) > np.minimum(9, o), ((o > 2) & (x > 0)) | (o == 0), ~(x > 0)]
    assert np.array_equal(out.data.reshape(3, 16), want)


@triton.jit
def logic_with_constants(out, n, YES: tl.constexpr, NO: tl.constexpr):
    tl.store(out, (YES and n > 3).to(tl.int32))
    tl.store(out + 1, (n > 3 and YES).to(tl.int32))
    tl.store(out + 2, (n > 3 or NO).to(tl.int32))
    if NO and tl.load(out + (1 << 40)) > 0:
        tl.store(out, 9)
    if not (YES and YES) or (n < 0 and NO):
        tl.store(out, 9)


def test_logic_with_constants() -> None:
    out = Buffer(np.zeros(3), np.int32)
    logic_with_constants[(1,)](out, 5, True, False)
    assert out.data.tolist() == [1, 1, 1]


@triton.jit
def _double(v):
    return v * 2


@triton.jit
def arguments(pair, maybe, scale, big, out, N: tl.constexpr, F: tl.constexpr, TEXT: tl.constexpr = "x"):
    o = tl.arange(0, N)
    v = F(tl.load(pair[0] + o) + pair[1]) * scale
    if maybe is not None:
        v += tl.load(maybe + o)
    if TEXT == "y":
        v += 1
    tl.store(out + o, v + (big >> 40).to(v.dtype))


def test_argument_kinds() -> None:
    x, out = Buffer(np.arange(4), np.float32), Buffer(np.zeros(4), np.float32)
    arguments[(1,)]((x, 3), None, 0.5, 1 << 40, out, 4, F=_double, num_warps=8)
    assert np.array_equal(out.data, x.data + 3 + 1)
    arguments[lambda meta: (meta["N"] // 4,)]((x, 3), x, 0.5, 1 << 40, out, N=4, F=_double, TEXT="y")
    assert np.array_equal(out.data, x.data * 2 + 3 + 1 + 1)


def test_torch_tensors_are_arguments() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.randn(64).bfloat16(), torch.zeros(64)
    cast[(1,)](x, y, 64)
    assert torch.equal(y, x.float())


@triton.jit
def float_argument(out, x):
    tl.store(out, x)


@triton.jit
def annotated_arguments(out, x: tl.float64, n: tl.int64, m: tl.int64):
    tl.store(out, x)
    tl.store(out + 1, n * n - m * m)


def test_float_arguments_are_float32() -> None:
    out = Buffer(np.zeros(1), np.float64)
    float_argument[(1,)](out, 0.1)
    assert out.data[0] == np.float32(0.1)
    float_argument[(1,)](out, 1e300)
    assert out.data[0] == np.inf


def test_annotations_choose_the_type_of_a_number() -> None:
    out = Buffer(np.zeros(2), np.float64)
    annotated_arguments[(1,)](out, 0.1, 70000, 60000)
    assert out.data.tolist() == [0.1, 70000**2 - 60000**2]


class Pair(NamedTuple):
    pointer: Any
    number: int


def test_named_tuples_and_hooks() -> None:
    x, out, seen = Buffer(np.arange(4), np.float32), Buffer(np.zeros(4), np.float32), []
    arguments.add_pre_run_hook(lambda *values, **named: seen.append(named["N"]))
    try:
        arguments[(1,)](Pair(x, 3), None, 1.0, 0, out, N=4, F=_double)
    finally:
        arguments.pre_run_hooks.clear()
    assert np.array_equal(out.data, (x.data + 3) * 2) and seen == [4]
    assert arguments.warmup(np.float32, grid=(1,)) is None


@pytest.mark.parametrize("named", [{"num_warp": 4}, {"X": 1}])
def test_misspelt_arguments_are_refused(named: dict[str, int]) -> None:
    out = Buffer([0], np.float32)
    with pytest.raises(TypeError, match="no parameter"):
        float_argument[(1,)](out, 0.1, **named)
    with pytest.raises(TypeError, match="missing x"):
        float_argument[(1,)](out)
    with pytest.raises(TypeError, match="takes 2 arguments, 3 were given"):
        float_argument[(1,)](out, 0.1, 0.2)


# ---- order, errors, state ----


@triton.jit
def write_order(counter, out, width):
    pid = tl.program_id(0) * width + tl.program_id(1)
    tl.store(out + tl.atomic_add(counter, 1), pid)


def run_order() -> list[int]:
    counter, out = Buffer([0], np.int32), Buffer(np.zeros(12), np.int32)
    write_order[(3, 4)](counter, out, 4)
    return out.data.tolist()


def test_order_of_programs() -> None:
    forward = list(range(12))
    assert run_order() == forward
    with interpret.order("reverse"):
        assert run_order() == forward[::-1]
    with interpret.order(7):
        shuffled = run_order()
        assert shuffled == run_order() != forward and sorted(shuffled) == forward
    assert run_order() == forward
    with pytest.raises(ValueError, match="seed"), interpret.order("sideways"):
        pass


@triton.jit
def fails_at(out, pid):
    if tl.program_id(0) == pid:
        tl.static_assert(False, "the message")
    tl.store(out, 1)


def test_errors_keep_their_cause_and_leave_no_state() -> None:
    out = Buffer([0], np.int32)
    with pytest.raises(Exception, match=r"fails_at, program \(2, 0, 0\).*the message") as error:
        fails_at[(4,)](out, 2)
    assert isinstance(error.value.__cause__, AssertionError)
    assert interpreter_builder.grid_idx is None
    assert run_order() == list(range(12))


def test_kernel_modules_are_left_alone() -> None:
    float_argument[(1,)](Buffer([0], np.float32), 0.1)
    assert "interpreter_semantic" not in globals() and "_implicit_cvt" not in globals()


def make_closure(amount: Any) -> Any:
    @triton.jit
    def adds(out):
        tl.store(out, tl.load(out) + amount)

    return adds


def test_closures() -> None:
    out = Buffer([1], np.int32)
    make_closure(tl.constexpr(5))[(1,)](out)
    make_closure(tl.constexpr(6))[(1,)](out)
    assert out.data[0] == 12


# ---- speed ----


@triton.jit
def empty(x, y, n, N: tl.constexpr):
    pass


@triton.jit
def calls(x, N: tl.constexpr):
    for _ in tl.static_range(N):
        _double(1)


def quickest(work: Callable[[], Any], repeats: int) -> float:
    def once() -> Iterator[float]:
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            yield time.perf_counter() - start

    return sorted(once())[repeats // 2] * 1e6


def test_launches_and_calls_are_cheap() -> None:
    x = Buffer(np.zeros(4), np.float32)
    assert quickest(lambda: empty[(1,)](x, x, 5, 8), 200) < 150
    assert quickest(lambda: calls[(1,)](x, 1000), 5) / 1000 < 20
