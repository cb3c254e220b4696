"""Loads, stores, atomics and descriptors of the repaired interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.interpreted import BF16, RNG, Buffer, aligned, cast, interpreted, numbers
from tritongrad_kernels import interpret

pytestmark = interpreted

# ---- memory ----


@triton.jit
def copy_nd(x, y, h, w, sxh, sxw, syh, syw, oh, ow, H: tl.constexpr, W: tl.constexpr, HOLES: tl.constexpr):
    r = tl.arange(0, H)[:, None]
    c = tl.arange(0, W)[None, :]
    mask = (r >= oh) & (r < h) & (c >= ow) & (c < w)
    if HOLES:
        mask = mask & (r % 3 != 0)
    if HOLES == 2:
        mask = mask & ((r + c) % 5 != 0)
    v = tl.load(x + r * sxh + c * sxw, mask=mask, other=-7.0)
    tl.store(y + (r * syh + c * syw), v)
    tl.store(y + H * W + (r * syh + c * syw), v, mask=mask)


@pytest.mark.parametrize("holes", [0, 1, 2])
@pytest.mark.parametrize("order", ["rows", "columns", "strided", "repeated"])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, BF16])
@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (8, 8)])
def test_masked_loads_and_stores(shape: tuple[int, int], dtype: Any, order: str, holes: int) -> None:
    (rows, columns), (h, w, oh, ow) = shape, (shape[0] - 3, shape[1] - 2, 1, 0)
    sx = {"rows": (columns, 1), "columns": (1, rows), "strided": (2 * columns, 2), "repeated": (0, 1)}[order]
    sy = (1, rows) if order == "columns" else (columns, 1)
    x, y = Buffer(RNG.integers(0, 100, 4 * rows * columns), dtype), Buffer(np.full(2 * rows * columns, 9), dtype)
    copy_nd[(1,)](x, y, h, w, *sx, *sy, oh, ow, rows, columns, holes)
    r, c = np.indices(shape)
    mask = (r >= oh) & (r < h) & (c >= ow) & (c < w)
    mask &= ((r % 3 != 0) | (holes == 0)) & (((r + c) % 5 != 0) | (holes < 2))
    values = x.data[r * sx[0] + c * sx[1]]
    want = np.full(2 * rows * columns, 9).astype(dtype)
    at = r * sy[0] + c * sy[1]
    want[at] = np.where(mask, values, np.array(-7).astype(dtype))
    want[rows * columns + at[mask]] = values[mask]
    assert np.array_equal(y.data, want)


@triton.jit
def copy_3d(x, y, s0, s1, s2, n, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    a = tl.arange(0, A)[:, None, None]
    b = tl.arange(0, B)[None, :, None]
    c = tl.arange(0, C)[None, None, :]
    v = tl.load(x + a * s0 + b * s1 + c * s2, mask=(b < n) & (a > 0), other=5)
    tl.store(y + (a * B + b) * C + c, v)
    tl.store(x + a * s0 + b * s1 + c * s2, v * 2, mask=b < n)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2)])
def test_loads_and_stores_along_any_axis(axes: tuple[int, ...]) -> None:
    x, y = Buffer(RNG.integers(0, 99, (8, 16, 32)), np.int32), Buffer(np.zeros((8, 16, 32)), np.int32)
    memory = x.data.transpose(axes).copy()
    view = memory.transpose(np.argsort(axes))
    source = Buffer(np.zeros(0, np.int32))
    source.data = memory
    copy_3d[(1,)](source, y, *(step // 4 for step in view.strides), 13, 8, 16, 32)
    want = np.full((8, 16, 32), 5)
    want[1:, :13] = x.data[1:, :13]
    assert np.array_equal(y.data, want)
    x.data[:, :13] = want[:, :13] * 2
    assert np.array_equal(view, x.data)


@triton.jit
def wrapping_index(x, y, start, N: tl.constexpr):
    o = start + tl.arange(0, N)  # passes the largest int32 halfway
    tl.store(y + tl.arange(0, N), tl.load(x + o, mask=o > 0, other=-1))


def test_an_index_that_overflows_is_not_a_run() -> None:
    x, y = Buffer(np.arange(1024), np.int32), Buffer(np.zeros(1024), np.int32)
    start = 2**31 - 512
    moved = Buffer(np.zeros(1), np.int32)
    moved.data_ptr = lambda: x.data_ptr() - 4 * start  # type: ignore[method-assign]
    wrapping_index[(1,)](moved, y, start, 1024)
    assert np.array_equal(y.data, np.where(np.arange(1024) < 512, np.arange(1024), -1))


@triton.jit
def pointers_step_by_step(x, y, stride, N: tl.constexpr):
    o = tl.arange(0, N)
    rows = (x + o * stride)[:, None]
    block = tl.trans(tl.load(rows + o[None, :]))
    tl.store((y + o[None, :]) + o[:, None] * N, block)
    tl.store(tl.where(o < 4, y, y + 8) + o, 1)


@pytest.mark.parametrize("n", [16, 32])
def test_pointers_built_step_by_step(n: int) -> None:
    x, y = Buffer(RNG.integers(0, 99, (n, 2 * n)), np.int32), Buffer(np.zeros((n, n)), np.int32)
    pointers_step_by_step[(1,)](x, y, 2 * n, n)
    want = x.data[:, :n].T.copy()
    lane = np.arange(n)
    want.ravel()[np.where(lane < 4, lane, lane + 8)] = 1
    assert np.array_equal(y.data, want)


@triton.jit
def bytes_apart(x, y, shift, N: tl.constexpr, ALONG: tl.constexpr):
    r = tl.arange(0, N)[:, None]
    c = tl.arange(0, N)[None, :]
    if ALONG:
        at = (r * (4 * N + shift) + c * 4) + tl.zeros((N, N), tl.int32)
    else:
        at = (r * N + c) * (4 + shift)
    p = (x.to(tl.int64) + at).to(tl.pointer_type(tl.int32))
    tl.store(y + r * N + c, tl.load(p))
    tl.store(p, 7)


@pytest.mark.parametrize("along", [True, False])
def test_unaligned_elements(along: bool) -> None:
    x, y = Buffer(RNG.integers(0, 99, 32 * 32 * 5 + 32), np.int8), Buffer(np.zeros((32, 32)), np.int32)
    r, c = np.indices((32, 32))
    at = r * 129 + c * 4 if along else (r * 32 + c) * 5
    want = [int.from_bytes(x.data.tobytes()[i : i + 4], "little") for i in at.ravel()]
    bytes_apart[(1,)](x, y, 1, 32, along)
    assert y.data.ravel().tolist() == want
    assert (x.data[at] == 7).all() and (x.data[at + 3] == 0).all()


@triton.jit
def gather(x, index, y, n, N: tl.constexpr):
    o = tl.arange(0, N)
    where = tl.load(index + o)
    tl.store(y + o, tl.load(x + where, mask=where < n, other=0))
    tl.store(y + N + where, o, mask=where < n)


@pytest.mark.parametrize("n", [16, 2048])
def test_gather_and_scatter(n: int) -> None:
    x, index, y = RNG.integers(0, 99, n // 2), RNG.permutation(n), Buffer(np.zeros(2 * n), np.int32)
    gather[(1,)](Buffer(x, np.int32), Buffer(index, np.int64), y, n // 2, n)
    inside = index < n // 2
    assert np.array_equal(y.data[:n], np.where(inside, x[np.where(inside, index, 0)], 0))
    assert np.array_equal(y.data[n:][index[inside]], np.arange(n)[inside])


@triton.jit
def masked_far_away(x, y, N: tl.constexpr):
    o = tl.arange(0, N).to(tl.int64)
    tl.store(y + o, tl.load(x + o * (1 << 40), mask=o == 0, other=3.0))
    tl.store(x + o * (1 << 40), 5.0, mask=o == 0)
    tl.store(x + o * (1 << 40), 6.0, mask=o < 0)


@pytest.mark.parametrize("n", [16, 4096])
def test_masked_lanes_are_never_touched(n: int) -> None:
    x, y = Buffer(np.ones(1), np.float32), Buffer(np.zeros(n), np.float32)
    masked_far_away[(1,)](x, y, n)
    assert y.data[0] == 1 and (y.data[1:] == 3).all() and x.data[0] == 5


@triton.jit
def pointer_table(table, y, N: tl.constexpr):
    x = tl.load(table + tl.program_id(0)).to(tl.pointer_type(tl.float32))
    o = tl.arange(0, N)
    tl.store(y + tl.program_id(0) * N + o, tl.load(x + o))


def test_pointers_read_from_memory() -> None:
    parts = [Buffer(numbers(1024, np.float32)) for _ in range(3)]
    y = Buffer(np.zeros(3 * 1024), np.float32)
    pointer_table[(3,)](Buffer([p.data_ptr() for p in parts], np.int64), y, 1024)
    assert np.array_equal(y.data, np.concatenate([p.data for p in parts]))


@triton.jit
def atomics(x, counter, N: tl.constexpr):
    o = tl.arange(0, N)
    tl.atomic_add(x + o // 2, 1.5)
    tl.atomic_max(counter, 7)
    tl.atomic_cas(counter + 1, 0, 5)


def test_atomics() -> None:
    x, counter = Buffer(np.zeros(32), np.float32), Buffer(np.zeros(2), np.int32)
    atomics[(3,)](x, counter, 64)
    assert (x.data == 9).all() and counter.data.tolist() == [7, 5]


# ---- descriptors ----


@triton.jit
def descriptors_made_here(x, y, m, n, row, column, M: tl.constexpr, N: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[m, n], strides=[n, 1], block_shape=[M, N])
    target = tl.make_tensor_descriptor(y, shape=[m, n], strides=[n, 1], block_shape=[M, N])
    target.store([0, 0], source.load([row, column]) + 1)


@triton.jit
def descriptors_given(source, target, row, column):
    target.store([0, 0], source.load([row, column]) + 1)


@pytest.mark.parametrize("dtype", [BF16, np.float32, np.int32])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (-2, 8), (12, 40), (100, 0)])
def test_descriptors(dtype: Any, row: int, column: int) -> None:
    x = aligned(RNG.integers(0, 99, (20, 48)).astype(dtype))
    padded = np.zeros((200, 200)).astype(dtype)
    padded[50:70, 50:98] = x.data
    block = padded[50 + row :, 50 + column :][:16, :32]
    for host in (False, True):
        y = aligned(np.zeros((20, 48), dtype))
        if host:
            pair = [TensorDescriptor(b, [20, 48], [48, 1], [16, 32]) for b in (x, y)]
            descriptors_given[(1,)](*pair, row, column)
        else:
            descriptors_made_here[(1,)](x, y, 20, 48, row, column, 16, 32)
        assert np.array_equal(y.data[:16, :32], (block + 1).astype(dtype))


def test_descriptor_rounds_to_tf32() -> None:
    x, y = aligned(np.full((16, 32), 1 + 2.0**-11, np.float32)), aligned(np.zeros((16, 32), np.float32))
    x.data[:8] += np.float32(2.0**-10)
    source = TensorDescriptor(x, [16, 32], [32, 1], [16, 32])
    source.round_f32_to_tf32 = True
    descriptors_given[(1,)](source, TensorDescriptor(y, [16, 32], [32, 1], [16, 32]), 0, 0)
    assert (y.data[8:] == 2).all() and (y.data[:8] == 2 + 2.0**-9).all()  # two ties, each to the even neighbour
    with pytest.raises(Exception, match="not a multiple of 16 bytes"):
        descriptors_given[(1,)](source, source, 0, 1)


@triton.jit
def padded_with_nan(x, y, M: tl.constexpr, N: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[4, N], strides=[N, 1], block_shape=[M, N], padding_option="nan")
    r = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(y + r, source.load([0, 0]))


def test_descriptor_padding_nan() -> None:
    x, y = aligned(np.ones((4, 16), BF16)), Buffer(np.zeros((8, 16)), BF16)
    padded_with_nan[(1,)](x, y, 8, 16)
    assert (y.data[:4] == 1).all() and np.isnan(y.data[4:].astype(np.float32)).all()


# ---- seams ----


class Counting(interpret.Memory):
    """A memory that counts lanes, as a checking tool would."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def load(self, addresses: interpret.Addresses, *rest: Any) -> np.ndarray:
        self.loaded.append(addresses.array().size)
        return super().load(addresses, *rest)

    def load_box(self, box: interpret.Box, *rest: Any) -> np.ndarray:
        view = box.view(np.dtype(np.uint8))
        assert box.pointers().shape == box.shape and box.pointers().min() == view.ctypes.data
        self.loaded.append(box.pointers().size)
        return super().load_box(box, *rest)


def test_memory_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    monkeypatch.setattr(interpret.state, "memory", counting)
    cast[(1,)](Buffer(numbers(64)), Buffer(np.zeros(64), np.float32), 64)
    x = aligned(np.zeros((20, 48), np.float32))
    descriptors_made_here[(1,)](x, x, 20, 48, 8, 32, 16, 32)
    assert counting.loaded == [64, 12 * 16]
