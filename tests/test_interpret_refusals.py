"""What Triton does not compile, the interpreter does not run: each is an error that names the kernel and its line."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl

from tests.interpreted import Buffer, interpreted
from tests.test_interpret_language import make_closure
from tritongrad_kernels import interpret

pytestmark = interpreted

SIZE = 4
FIXED = tl.constexpr(4)


@triton.jit
def if_block(x):
    if tl.load(x + tl.arange(0, 4)) > 0:  # here
        tl.store(x, 1)


@triton.jit
def while_block(x):
    while tl.load(x + tl.arange(0, 4)) == 0:  # here
        tl.store(x, 1)


@triton.jit
def choose_by_block(x):
    tl.store(x, 1 if tl.load(x + tl.arange(0, 4)) > 0 else 2)  # here


@triton.jit
def plain_global(x):
    tl.store(x + tl.arange(0, SIZE), 1)  # here


@triton.jit
def pythons_own(x):
    tl.store(x, abs(tl.load(x)))  # here


@triton.jit
def two_targets(x):
    a = b = 1  # here
    tl.store(x + a, b)


@triton.jit
def leaves_a_loop(x):
    for i in range(4):
        tl.store(x + i, 1)
        break  # here


@triton.jit
def loops_over_a_tuple(x):
    for i in (0, 1):  # here
        tl.store(x + i, 1)


@triton.jit
def looks_in_a_tuple(x):
    tl.store(x, 1 in (0, 1))  # here


@triton.jit
def makes_a_dict(x):
    tl.store(x, {0: 1}[0])  # here


REFUSED = {
    "if_block": r"branch on a block.*tl\.where",
    "while_block": r"branch on a block.*tl\.where",
    "choose_by_block": r"branch on a block.*tl\.where",
    "plain_global": "SIZE is from outside the kernel and no tl.constexpr",
    "pythons_own": "has no abs",
    "two_targets": "several targets",
    "leaves_a_loop": "has no Break",
    "loops_over_a_tuple": "goes over range",
    "looks_in_a_tuple": "has no `in`",
    "makes_a_dict": "has no Dict",
}


def line_of_the_mistake(kernel: Any) -> str:
    lines, first = inspect.getsourcelines(kernel.fn)
    return f"{first + next(k for k, line in enumerate(lines) if '# here' in line)}"


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_and_line(name: str) -> None:
    kernel = globals()[name]
    where = rf"{name} \(.*test_interpret_refusals\.py:{line_of_the_mistake(kernel)}\): "
    with pytest.raises(Exception, match=where + ".*" + REFUSED[name]) as error:
        kernel[(1,)](Buffer(np.zeros(4), np.int32))
    assert isinstance(error.value.__cause__, interpret.LanguageError)


def test_a_closure_over_a_number_is_refused() -> None:
    with pytest.raises(Exception, match=r"adds .*amount is from outside the kernel"):
        make_closure(5)[(1,)](Buffer([1], np.int32))


@triton.jit
def says_it_where_nothing_runs(x, DEAD: tl.constexpr):
    if DEAD:
        tl.store(x, SIZE)
        break_here = {0: 1}
        tl.store(x, break_here)
    length: tl.constexpr = FIXED
    total: tl.int32 = 0
    for i in tl.static_range(0, length):
        total += i
    tl.store(x, total)


def test_dead_branches_may_say_anything() -> None:
    out = Buffer([0], np.int32)
    says_it_where_nothing_runs[(1,)](out, False)
    assert out.data[0] == 6


@triton.jit
def between(x, out, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.store(out + o, (1 < tl.load(x + o) <= 3).to(tl.int32))


def test_chained_comparisons_are_as_compiled() -> None:
    x, out = Buffer(np.arange(8), np.int32), Buffer(np.zeros(8), np.int32)
    if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 9):
        between[(1,)](x, out, 8)
        assert np.array_equal(out.data, (x.data > 1) & (x.data <= 3))
    else:
        with pytest.raises(Exception, match=r"between \(.*compiles no chained comparison"):
            between[(1,)](x, out, 8)


@triton.jit
def asserts(x, N: tl.constexpr):
    assert N == 4
    assert tl.load(x + tl.arange(0, N)) > 0, "not positive"


def test_an_assertion_holds_on_every_lane() -> None:
    asserts[(1,)](Buffer([1, 2, 3, 4], np.int32), 4)
    with pytest.raises(Exception, match=r"asserts.*not positive"):
        asserts[(1,)](Buffer([1, 2, 0, 4], np.int32), 4)
