"""Arrays described to TMA: which can be, what kernels read and write through them, and what compiling is told."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl

from tritongrad_kernels import INTERPRETED, compile, descriptors, driver, dtypes, launch, memory
from tritongrad_kernels.array import Array, empty, from_host
from tritongrad_kernels.descriptors import Described, descriptor
from tritongrad_kernels.launch import KernelError


@triton.jit
def _copy_block(X, Y, row, column, step):
    """Program i copies the block i * step rows further down."""
    row += tl.program_id(0) * step
    Y.store([row, column], X.load([row, column]))


@triton.jit
def _product(A, B, OUT, BM: tl.constexpr, BK: tl.constexpr):
    OUT.store([0, 0], tl.dot(A.load([0, 0]).reshape(BM, BK), B.load([0, 0]).T, input_precision="ieee").to(OUT.dtype))


@triton.jit
def _windows(X, OUT, N: tl.constexpr, W: tl.constexpr):
    place = tl.arange(0, N)[:, None] * W + tl.arange(0, W)[None, :]
    tl.store(OUT + place, X.load([0, 0]))


needs_interpreter = pytest.mark.skipif(not INTERPRETED, reason="the interpreter runs any descriptor")


def counted(*shape: int, dtype: Any = np.float32) -> Array:
    return from_host(np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype))


def copy_block(x: Array, y: Array, row: int, column: int, step: int = 0, grid: int = 1) -> None:
    launch.launch(_copy_block, grid, descriptor(x, (4, 8)), descriptor(y, (4, 8)), row, column, step)


FITTING = empty((6, 5, 24), dtypes.bfloat16)


@pytest.mark.parametrize(
    "array, arguments, fits",
    [
        (FITTING, {"block": (1, 4, 32)}, True),
        (FITTING, {"block": (1, 4, 4)}, False),  # 8 bytes
        (FITTING, {"block": (1, 3, 32)}, False),
        (FITTING, {"block": (1, 512, 32)}, False),
        (FITTING, {}, True),
        (FITTING.T, {}, False),
        (FITTING.slice(2, 8, 16), {}, True),
        (FITTING.slice(2, 4, 12), {}, False),  # starts on 8 bytes
        (FITTING.slice(1, 0, 0), {}, False),
        (FITTING.slice(1, 0, 5, -1), {}, False),
        (FITTING.select(0, 0).unsqueeze(0).expand((6, 5, 24)), {}, False),  # the same again and again
        (empty((6, 5, 25), dtypes.bfloat16), {}, False),
        (empty((6, 5, 20), dtypes.bfloat16), {}, False),
        (empty((6, 5, 20), dtypes.float32), {}, True),
        (empty((20,), dtypes.uint8), {}, True),
        (FITTING, {"shape": (6, 5, 2, 16), "strides": (120, 24, 8, 1)}, True),  # windows that overlap
        (FITTING, {"shape": (6, 5, 4, 12), "strides": (120, 24, 4, 1)}, False),
        (FITTING, {"shape": (1, 1, 1, 1, 1, 8), "strides": (8, 8, 8, 8, 8, 1)}, False),
        (FITTING, {"shape": (), "strides": ()}, False),
    ],
)
def test_what_the_hardware_can_follow(array: Array, arguments: dict, fits: bool) -> None:
    assert descriptors.fits(array, **arguments) is fits


def test_which_columns_have_tma() -> None:
    found = {}
    for name in ("interpret", "sm_80", "sm_90", "sm_100"):
        with launch.column(name):
            found[name] = launch.has_tma()
    assert found == {"interpret": False, "sm_80": False, "sm_90": True, "sm_100": True}


@needs_interpreter
@pytest.mark.parametrize("row, column", [(0, 0), (3, 16), (-2, -8), (5, 8), (40, 0)], ids=str)
def test_what_lies_outside_reads_as_zero_and_is_not_stored(row: int, column: int) -> None:
    x, y = counted(6, 20), from_host(np.full((7, 24), -1, np.float32))
    copy_block(x, y, row, column)
    want, padded = np.full((7, 24), -1, np.float32), np.zeros((64, 64), np.float32)
    padded[8:14, 8:28] = x.numpy()
    inside = [slice(max(0, at), max(0, min(at + n, end))) for at, n, end in ((row, 4, 7), (column, 8, 24))]
    want[*inside] = padded[8:, 8:][*inside]
    assert np.array_equal(y.numpy(), want)


@needs_interpreter
@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8"])
def test_every_byte_is_declared(dtype: str) -> None:
    x, y = counted(3, 32, dtype=dtype), empty((3, 32), dtypes.by_name(dtype))
    block = (4, 16)  # of whose rows the last lies outside
    inside = 2 * 3 * 16 * x.dtype.itemsize
    launch.launch(_copy_block, 1, descriptor(x, block), descriptor(y, block), 0, 0, 0, bytes=inside)
    assert np.array_equal(y.numpy()[:, :16], x.numpy()[:, :16])
    for wrong in (inside - 1, inside + 1):
        with pytest.raises(KernelError, match=rf"declares {wrong} bytes moved, but reads {inside // 2} and writes"):
            launch.launch(_copy_block, 1, descriptor(x, block), descriptor(y, block), 0, 0, 0, bytes=wrong)


@needs_interpreter
def test_windows_may_overlap_and_count_once() -> None:
    x, out = counted(1, 24), empty((8, 8), dtypes.float32)
    windows = descriptor(x, (8, 8), shape=(5, 8), strides=(4, 1))
    launch.launch(_windows, 1, windows, out, 8, 8, bytes=24 * 4 + 64 * 4)
    assert np.array_equal(out.numpy()[:5], np.lib.stride_tricks.sliding_window_view(x.numpy()[0], 8)[::4])
    assert not out.numpy()[5:].any()
    with pytest.raises(KernelError, match="stores different values to one element from several lanes"):
        launch.launch(_copy_block, 1, descriptor(counted(5, 8), (8, 8)), windows, 0, 0, 0)


@needs_interpreter
def test_the_sanitizer_sees_through_descriptors() -> None:
    x, y = counted(6, 16), from_host(np.zeros((6, 16), np.float32))
    beyond = descriptor(x, (4, 8), shape=(7, 16))
    with pytest.raises(KernelError, match=r"loads 4 bytes at byte 384 of X, float32\[6, 16\] of 384 bytes: out of b"):
        launch.launch(_copy_block, 1, beyond, descriptor(y, (4, 8)), 4, 0, 0)
    with pytest.raises(KernelError, match=r"stores 4 bytes at byte 384 of Y.*: out of bounds"):
        launch.launch(_copy_block, 1, descriptor(x, (4, 8)), descriptor(y, (4, 8), shape=(7, 16)), 4, 0, 0)
    gaps = descriptor(x.slice(1, 0, 8), (4, 8), strides=(8, 1))
    with pytest.raises(KernelError, match="in a gap between its elements"):
        launch.launch(_copy_block, 1, gaps, descriptor(y, (4, 8)), 0, 0, 0)
    with pytest.raises(KernelError, match=r"program \(0, 0, 0\) writes: a race"):
        copy_block(x, y, 0, 0, step=2, grid=2)
    with pytest.raises(KernelError, match=r"which program \(0, 0, 0\) reads: a race"):
        copy_block(x, x.slice(0, 2, 6), 4, 0, step=-4, grid=2)
    with pytest.raises(KernelError, match="nothing was ever written to"):
        copy_block(empty((6, 16), dtypes.float32), y, 0, 0)


def test_arrays_on_two_devices_are_refused() -> None:
    here = empty((4, 8), dtypes.float32)
    there = Array(memory.Memory(here.memory.storage, driver.Device("cuda", 1)), here.dtype, here.shape, here.strides)
    with pytest.raises(RuntimeError, match=r"_copy_block: expected all tensors on one device, .* cpu and cuda:1"):
        copy_block(here, there, 0, 0)


@needs_interpreter
def test_a_failure_names_the_descriptors() -> None:
    with pytest.raises(
        KernelError, match=r"_copy_block\[\(1,\)\]\(float32\[6, 16\] by \[4, 8\], .* not a multiple of 16"
    ):
        copy_block(counted(6, 16), counted(6, 16), 0, 3)


def test_the_same_descriptor_is_made_once_and_keeps_no_memory_alive() -> None:
    x = counted(6, 16)
    first, again = (descriptors.native(descriptor(x.view(x.shape, x.strides), (4, 8))) for _ in range(2))
    assert first is again and first.base.data_ptr() == x.data_ptr()
    assert (first.shape, first.strides, first.block_shape) == ([6, 16], [16, 1], [4, 8])
    assert descriptors.native(descriptor(x, (2, 8))) is not first
    alive = weakref.ref(x.memory)
    del x
    gc.collect()
    assert alive() is None


def test_a_recorded_launch_compiles_to_tma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with memory.dry_run(), launch.recording() as log:
        for rows in (100, 37):  # a shape is nothing that compiling knows of
            a, b, out = (empty((rows, 64), dtypes.bfloat16) for _ in range(3))
            arguments = (descriptor(a, (64, 64)), descriptor(b, (64, 64)), descriptor(out, (64, 64)))
            launch.launch(_product, 1, *arguments, 64, 64)
    assert log[0].arguments == log[1].arguments == (*(Described(dtypes.bfloat16, (64, 64)),) * 3, 64, 64)
    (variant,) = compile.specialise(log, "sm_90")
    assert variant.signature.startswith("A tensordesc<bf16[64, 64]")
    (report,) = compile.compile_all([variant])
    assert report.problems() == [] and report.counts["UTMALDG"] == 2 and report.counts["HGMMA"]
    assert report.counts["UTMASTG"] and not report.counts["STG"] and not report.counts["LDG"]
