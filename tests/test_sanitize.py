"""The sanitizer: planted bugs are caught, each with a message that leads to it, and right kernels are left in peace."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.runtime.errors import InterpreterError
from triton.tools.tensor_descriptor import TensorDescriptor

import tritongrad as tg
from tests.interpreted import Buffer, aligned, interpreted
from tritongrad_kernels import INTERPRETED, dtypes, launch, memory
from tritongrad_kernels.array import Array, empty, from_host

if not INTERPRETED:
    pytest.skip("the sanitizer is part of the interpreter", allow_module_level=True)

from tritongrad_kernels import interpret, sanitize

pytestmark = interpreted


@pytest.fixture(autouse=True)
def _on() -> Iterator[None]:
    with sanitize.sanitized():
        yield


def f32(*values: float) -> Array:
    return from_host(np.array(values, np.float32))


def line_of(text: str) -> str:
    """`test_sanitize.py:N: text`, as messages quote it; `text` is on one line of this file only, besides its test."""
    source = Path(__file__).read_text().splitlines()
    number = next(i for i, line in enumerate(source, 1) if line.strip() == text)
    return f"test_sanitize.py:{number}: {text}"


def caught(run: Callable[[], Any], message: str, line: str | None = None) -> None:
    """`run` fails with this message (a regular expression), at this line of source."""
    with pytest.raises((InterpreterError, launch.KernelError)) as info:
        run()
    assert re.search(message, str(info.value)), str(info.value)
    if line is not None:
        assert line_of(line) in str(info.value), str(info.value)


# ---------------------------------------------------------------------------------------------------- out of bounds


@triton.jit
def _copy(X, Y, n, BLOCK: tl.constexpr, SLIP: tl.constexpr = 0):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + i, mask=i < n + SLIP, other=0.0)
    tl.store(Y + i, x, mask=i < n)


def copy(x: Any, y: Any, n: int, **options: Any) -> None:
    _copy[(launch.cdiv(n, 64),)](x, y, n, BLOCK=64, **options)


def test_an_off_by_one_mask() -> None:
    x, y = from_host(np.ones(250, np.float32)), empty((250,), dtypes.float32)
    copy(x, y, 250)
    caught(
        lambda: copy(x, y, 250, SLIP=1),
        r"^_copy, program \(3, 0, 0\): SanitizerError: loads 4 bytes at byte 1,000 of X, float32\[250\] of 1000 bytes: "
        "out of bounds, at ",
        "x = tl.load(X + i, mask=i < n + SLIP, other=0.0)",
    )


def test_an_array_never_runs_into_its_neighbour() -> None:
    """Both halves of one piece of memory are passed; the first may not be read past its end though memory goes on."""
    whole = from_host(np.ones(128, np.float32))
    first, second = whole.slice(0, 0, 64), whole.slice(0, 64, 128)
    copy(first, second, 64)
    caught(lambda: _copy[(2,)](first, second, 65, BLOCK=64), r"program \(1, 0, 0\).* loads 4 bytes at byte 256 of X")
    caught(lambda: _before[(1,)](second, first), r"loads 4 bytes at byte -4 of X, float32\[64\]")


@triton.jit
def _before(X, Y):
    tl.store(Y, tl.load(X - 1))


@triton.jit
def _store_past(Y, n, BLOCK: tl.constexpr):
    tl.store(Y + tl.arange(0, BLOCK), 1.0)


def test_a_store_past_the_end_changes_nothing() -> None:
    whole = from_host(np.zeros(8, np.float32))
    caught(lambda: _store_past[(1,)](whole.slice(0, 0, 6), 6, BLOCK=8), "stores 4 bytes at byte 24 of Y", None)
    assert not whole.numpy().any()


def test_gaps_of_a_strided_array_are_out_of_bounds() -> None:
    columns = from_host(np.ones((8, 8), np.float32)).slice(1, 0, 4)
    caught(
        lambda: copy(columns, empty((64,), dtypes.float32), 32),
        r"loads 4 bytes at byte 16 of X, float32\[8, 4\] of 240 bytes: in a gap between its elements",
    )


@triton.jit
def _through_table(TABLE, Y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(TABLE + tl.program_id(0)).to(tl.pointer_type(tl.float32))
    tl.store(Y + tl.program_id(0) * BLOCK + i, tl.load(x + i))


def test_arrays_behind_a_table_of_addresses() -> None:
    a, b = f32(1, 2, 3, 4), f32(5, 6, 7)
    table, y = from_host(np.array([a.data_ptr(), b.data_ptr()])), empty((8,), dtypes.float32)
    caught(lambda: _through_table[(2,)](table, y, BLOCK=4), r"at address 0x[0-9a-f]+, which is in no array")
    with sanitize.reachable(a, b):
        _through_table[(1,)](table, y, BLOCK=4)
        caught(
            lambda: _through_table[(2,)](table, y, BLOCK=4),
            r"loads 4 bytes at byte 12 of array 1 behind an address, float32\[3\] of 12 bytes: out of bounds",
        )
    assert y.numpy()[:4].tolist() == [1, 2, 3, 4]


@triton.jit
def _device_descriptor(X, Y, rows, COLUMNS: tl.constexpr, B: tl.constexpr):
    d = tl.make_tensor_descriptor(X, [rows, COLUMNS], [COLUMNS, 1], [B, B])
    i = tl.arange(0, B)
    tl.store(Y + i[:, None] * B + i[None, :], d.load([0, 0]))


@triton.jit
def _descriptor(d, Y, B: tl.constexpr):
    i = tl.arange(0, B)
    tl.store(Y + i[:, None] * B + i[None, :], d.load([1, 0]))


def test_descriptors_whose_shape_is_a_lie() -> None:
    x, y = aligned(np.ones((6, 8), np.float32)), Buffer(np.zeros((8, 8), np.float32))
    _device_descriptor[(1,)](x, y, 6, COLUMNS=8, B=8)  # rows past the shape read as zero
    assert y.data[:6].all() and not y.data[6:].any()
    caught(
        lambda: _device_descriptor[(1,)](x, y, 7, COLUMNS=8, B=8), r"loads 4 bytes at byte 192 of X, float32\[6, 8\]"
    )
    _descriptor[(1,)](TensorDescriptor(x, [6, 8], [8, 1], [8, 8]), y, B=8)
    caught(lambda: _descriptor[(1,)](TensorDescriptor(x, [9, 8], [8, 1], [8, 8]), y, B=8), "byte 192 of d, float32")


# ------------------------------------------------------------------------------------------------- masks and overflow


@triton.jit
def _total(X, Y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Y, tl.sum(tl.load(X + i, mask=i < n), 0))


@triton.jit
def _total_right(X, Y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Y, tl.sum(tl.load(X + i, mask=i < n, other=0.0), 0))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_a_missing_other_shows_as_nan(dtype: str) -> None:
    x, y = tg.ones(100).to(getattr(tg, dtype)).array, tg.zeros(1, dtype=getattr(tg, dtype)).array
    _total[(1,)](x, y, 100, BLOCK=128)
    assert np.isnan(y.numpy().astype(np.float64)).all()
    _total_right[(1,)](x, y, 100, BLOCK=128)
    assert y.numpy().astype(np.float64).tolist() == [100]


@triton.jit
def _lookup(INDEX, X, Y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    j = tl.load(INDEX + i, mask=i < n)
    tl.store(Y + i, tl.load(X + j), mask=i < n)


def test_a_missing_other_of_an_index_leaves_its_array() -> None:
    index = from_host(np.zeros(5, np.int32))
    caught(
        lambda: _lookup[(1,)](index, f32(1, 2, 3), empty((5,), dtypes.float32), 5, BLOCK=8),
        r"loads 4 bytes at byte 8,589,934,588 of X, float32\[3\] of 12 bytes: out of bounds",
        "tl.store(Y + i, tl.load(X + j), mask=i < n)",
    )


@triton.jit
def _scalar_load(X, Y, n):
    tl.store(Y, tl.load(X + n, mask=n < 0, other=0.0))
    tl.store(Y + 1, tl.load(X + n, mask=n < 0, other=3.0))
    tl.store(Y + 2, tl.load(X + n, mask=n < 0))
    one = n + tl.arange(0, 1)
    tl.store(Y + 3 + tl.arange(0, 1), tl.load(X + one, mask=one < 0, other=0.0))


def test_other_of_a_single_lane_may_be_zero() -> None:
    """Triton's own front end forgets an `other` of 0 there."""
    y = empty((4,), dtypes.float32)
    _scalar_load[(1,)](f32(1), y, 100)
    assert y.numpy()[[0, 1, 3]].tolist() == [0, 3, 0] and np.isnan(y.numpy()[2])


@triton.jit
def _corner(X, Y, rows, columns):
    tl.store(Y, tl.load(X + rows * columns))


@triton.jit
def _corner_wide(X, Y, rows, columns):
    at = rows.to(tl.int64) * columns
    tl.store(Y, tl.load(X + at * 0))


@triton.jit
def _hash(X, Y):
    tl.store(Y, tl.mul(tl.load(X), tl.load(X), sanitize_overflow=False))


def test_an_int32_overflow() -> None:
    x, y = f32(1), empty((1,), dtypes.float32)
    caught(
        lambda: _corner[(1,)](x, y, 70000, 70000),
        r"^_corner, program \(0, 0, 0\): SanitizerError: overflows int32: 70000 \* 70000, at ",
        "tl.store(Y, tl.load(X + rows * columns))",
    )
    _corner_wide[(1,)](x, y, 70000, 70000)
    big = from_host(np.array([70000], np.int32))
    _hash[(1,)](big, empty((1,), dtypes.int32))  # the kernel says that it may


# --------------------------------------------------------------------------------------------------------------- races


@triton.jit
def _everyone_stores(X, Y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Y + i, tl.load(X + tl.program_id(0) * BLOCK + i))


@triton.jit
def _shift(X, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(X + i, tl.load(X + i + 1, mask=i + 1 < n, other=0.0), mask=i < n)


@triton.jit
def _add_atomically(X, Y, BLOCK: tl.constexpr, LOOK: tl.constexpr = False):
    i = tl.arange(0, BLOCK)
    tl.atomic_add(Y + i, tl.load(X + tl.program_id(0) * BLOCK + i))
    if LOOK:
        tl.store(Y + i, tl.load(Y + i))


def test_a_racing_store() -> None:
    x, y = from_host(np.ones(32, np.float32)), empty((8,), dtypes.float32)
    caught(
        lambda: _everyone_stores[(4,)](x, y, BLOCK=8),
        r"^_everyone_stores, program \(1, 0, 0\): SanitizerError: stores 4 bytes at byte 0 of Y, float32\[8\] of 32 "
        r"bytes, which program \(0, 0, 0\) writes: a race, at ",
        "tl.store(Y + i, tl.load(X + tl.program_id(0) * BLOCK + i))",
    )


def test_reading_what_another_program_writes_in_either_order() -> None:
    x = from_host(np.ones(32, np.float32))
    caught(lambda: _shift[(4,)](x, 32, BLOCK=8), r"stores .* byte 32 of X.* which program \(0, 0, 0\) reads: a race")
    with interpret.order("reverse"):
        caught(
            lambda: _shift[(4,)](x, 32, BLOCK=8), r"loads .* byte 96 of X.* which program \(3, 0, 0\) writes: a race"
        )
    _shift[(1,)](x, 32, BLOCK=32)


def test_two_arguments_in_one_memory_race_too() -> None:
    whole = from_host(np.ones(24, np.float32))
    x, y = whole.slice(0, 0, 16), whole.slice(0, 8, 24)
    caught(lambda: _copy[(2,)](x, y, 16, BLOCK=8), r"loads .* byte 32 of X.* which program \(0, 0, 0\) writes: a race")
    _copy[(2,)](x, x, 16, BLOCK=8)  # element on element is no race


def test_atomics_do_not_race_with_each_other_but_with_plain_access() -> None:
    x, y = from_host(np.ones(32, np.float32)), from_host(np.zeros(8, np.float32))
    _add_atomically[(4,)](x, y, BLOCK=8)
    assert y.numpy().tolist() == [4] * 8
    caught(
        lambda: _add_atomically[(4,)](x, y, BLOCK=8, LOOK=True), "byte 0 of Y.*which other programs update atomically"
    )


@triton.jit
def _turn(X, BLOCK: tl.constexpr, WAIT: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(X + i, i.to(tl.float32))
    if WAIT:
        tl.debug_barrier()
    tl.store(X + BLOCK + i, tl.load(X + BLOCK - 1 - i))


def test_a_program_that_reads_its_own_stores_waits_for_them() -> None:
    x = empty((16,), dtypes.float32)
    caught(lambda: _turn[(1,)](x, BLOCK=8, WAIT=False), r"which this program stored before, with no tl\.debug_barrier")
    _turn[(1,)](x, BLOCK=8, WAIT=True)
    assert x.numpy()[8:].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


@triton.jit
def _pile(Y, SAME: tl.constexpr):
    i = tl.arange(0, 8)
    tl.store(Y + i // 2, i // 2 if SAME else i)


def test_lanes_of_one_store_that_disagree() -> None:
    y = empty((4,), dtypes.int32)
    _pile[(1,)](y, SAME=True)
    caught(lambda: _pile[(1,)](y, SAME=False), "stores different values to one element from several lanes")


# ------------------------------------------------------------------------------------------- undefined memory, traffic


def test_memory_that_nothing_was_written_to() -> None:
    x, y = empty((64,), dtypes.float32), empty((64,), dtypes.float32)
    caught(lambda: copy(x, y, 64), r"loads 4 bytes at byte 0 of X, float32\[64\] of 256 bytes, which nothing was ever")
    memory.write(x.memory, np.ones(32, np.float32))
    copy(x, y, 32)
    caught(lambda: copy(x, y, 33), "loads 4 bytes at byte 128 of X")


def test_a_grid_one_tile_short() -> None:
    """It shows in the launch itself if bytes are declared, and otherwise where the result is read."""
    x, y = from_host(np.ones(200, np.float32)), empty((200,), dtypes.float32)
    launch.launch(_copy, 4, x, y, 200, BLOCK=64, bytes=1600)
    caught(
        lambda: launch.launch(_copy, 3, x, y, 200, BLOCK=64, bytes=1600),
        "SanitizerError: _copy declares 1,600 bytes moved, but reads 768 and writes 768$",
    )
    y = empty((200,), dtypes.float32)
    _copy[(3,)](x, y, 200, BLOCK=64)
    caught(lambda: copy(y, x, 200), "loads 4 bytes at byte 768 of X, .* which nothing was ever written to")


def test_a_wrong_declaration_of_bytes() -> None:
    x, y = from_host(np.ones(100, np.float32)), empty((100,), dtypes.float32)
    caught(
        lambda: launch.launch(_copy, 2, x, y, 100, BLOCK=64, bytes=400),
        r"_copy\[\(2,\)\]\(float32\[100\], float32\[100\], 100\) failed: "
        "SanitizerError: _copy declares 400 bytes moved, but reads 400 and writes 400",
    )
    launch.launch(_copy, 2, x, y, 100, BLOCK=64, bytes=900, at_most=True)
    caught(lambda: launch.launch(_copy, 2, x, y, 100, BLOCK=64, bytes=700, at_most=True), "declares 700 bytes")


def test_traffic_counts_distinct_bytes_of_each_argument() -> None:
    with sanitize.sanitized() as checked:
        x = from_host(np.ones(100, np.float32))
        copy(x, empty((100,), dtypes.float32), 100)
        assert checked.traffic == (400, 400)
        _total_right[(1,)](x, f32(0), 100, BLOCK=128)
        assert checked.traffic == (400, 4)
        _through_table_of(f32(1, 2, 3, 4))
        assert checked.traffic == (8 + 16, 16)


@triton.jit
def _sum_of_two(X, Y, OUT, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(OUT + i, tl.load(X + i, mask=i < n, other=0.0) + tl.load(Y + i, mask=i < n, other=0.0), mask=i < n)


def test_what_arguments_have_in_common_may_be_declared_once() -> None:
    """Y is the last quarter of X and as much behind it."""
    whole, out = from_host(np.ones(200, np.float32)), empty((100,), dtypes.float32)
    x, y = whole.slice(0, 0, 100), whole.slice(0, 75, 175)
    for nbytes in (1200, 1100):
        launch.launch(_sum_of_two, 1, x, y, out, 100, BLOCK=128, bytes=nbytes)
    caught(lambda: launch.launch(_sum_of_two, 1, x, y, out, 100, BLOCK=128, bytes=1000), "declares 1,000 bytes moved")
    with sanitize.sanitized() as checked:
        launch.launch(_sum_of_two, 1, x, y, out, 100, BLOCK=128)
        assert (checked.traffic, checked.distinct_traffic) == ((800, 400), (700, 400))


def _through_table_of(a: Array) -> None:
    with sanitize.reachable(a):
        _through_table[(1,)](from_host(np.array([a.data_ptr()])), empty((4,), dtypes.float32), BLOCK=4)


@triton.jit
def _halves(X, Y, BLOCK: tl.constexpr):
    """Reads 32-bit numbers as pairs of 16 bits."""
    i = tl.arange(0, BLOCK)
    tl.store(Y + i, tl.load(X.to(tl.pointer_type(tl.int16)) + i))


def test_elements_read_in_smaller_parts() -> None:
    x = from_host(np.array([1, 2, 3, 4], np.int32))
    y = empty((8,), dtypes.int16)
    _halves[(1,)](x, y, BLOCK=8)
    assert y.numpy().tolist() == [1, 0, 2, 0, 3, 0, 4, 0]


# ---------------------------------------------------------------------------------------------------------- in general


def test_large_launches_may_be_left_out() -> None:
    x, y = from_host(np.ones(100, np.float32)), empty((100,), dtypes.float32)
    with sanitize.sanitized(limit=799) as checked:
        copy(x, y, 100)
        assert checked.traffic is None
    with sanitize.sanitized(limit=800) as checked:
        copy(x, y, 100)
        assert checked.traffic is not None


def test_what_an_unchecked_launch_wrote_counts_as_written() -> None:
    with sanitize.sanitized(limit=100):
        x = tg.zeros(64) + 1
        assert (x[:8] + 1).tolist() == [2] * 8


def test_stopping_leaves_nothing_behind() -> None:
    sanitize.stop()
    x = empty((64,), dtypes.float32)
    assert x.memory.defined is None and not memory.POISON and launch.around is None
    copy(x, x, 64)


def test_plain_triton_code_is_checked_too() -> None:
    """Arguments need an address, a shape and strides: torch's tensors have them."""
    torch = pytest.importorskip("torch")
    x, y = torch.ones(100), torch.zeros(100)
    copy(x, y, 100)
    assert bool(y.all())
    caught(lambda: copy(x, y, 100, SLIP=1), r"loads 4 bytes at byte 400 of X, float32\[100\] of 400 bytes")


def test_the_environment_switches_it_on() -> None:
    program = "import tritongrad as tg; tg.ones(4); print((tg.empty(4) + 1).tolist())"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"TRITONGRAD_SANITIZE": "1", "TRITON_INTERPRET": "1", "PYTHONPATH": ":".join(sys.path), "HOME": "/tmp"},
        capture_output=True,
        text=True,
    )
    assert run.returncode and "which nothing was ever written to, at" in run.stderr.splitlines()[-1]
