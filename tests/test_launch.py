"""The one way a kernel is started: tiles, grid limits, devices, recording, errors."""

from __future__ import annotations

import numpy as np
import pytest
import triton
import triton.language as tl

import tritongrad as tg
from tests.conftest import TINY
from tritongrad_kernels import INTERPRETED, driver, dtypes, launch, memory
from tritongrad_kernels.array import Array, empty, from_host


@triton.jit
def _fill(OUT, value, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(OUT + index, value.to(OUT.dtype.element_ty) + tl.program_id(1) + tl.program_id(2))


@triton.jit
def _broken(OUT, BLOCK: tl.constexpr):
    tl.store(OUT + tl.arange(0, BLOCK), tl.arange(0, BLOCK + 1))  # an extent that is no power of two


def test_powers_of_two() -> None:
    assert [launch.next_power_of_2(n) for n in (0, 1, 2, 3, 4, 5, 1023, 1025)] == [1, 1, 2, 4, 4, 8, 1024, 2048]
    assert [launch.cdiv(a, b) for a, b in ((0, 4), (1, 4), (4, 4), (5, 4), (2**40 + 1, 2))] == [0, 1, 1, 2, 2**39 + 1]


def test_a_tile_covers_its_extent_and_no_more() -> None:
    with launch.column("sm_80"):
        row = launch.TILES["matmul"]["sm_80"]
        assert launch.tile("matmul", least=16, itemsize=2, BM=1, BN=17, BK=10**6) == row | {"BM": 16, "BN": 32}
        assert launch.tile("map", BLOCK=0)["BLOCK"] == 1 and launch.tile("map", BLOCK=5)["BLOCK"] == 8


def test_an_architecture_takes_the_newest_column_it_can_run() -> None:
    chosen = {}
    for column in ("sm_80", "sm_90", "sm_100"):
        with launch.column(column):
            chosen[column] = launch.tile("conv2d", least=16, itemsize=2, BO=10**6, BP=10**6, BC=10**6)
            assert launch.tile("map", BLOCK=10**9) == launch.TILES["map"]["sm_80"]
    assert chosen["sm_80"] == launch.TILES["conv2d"]["sm_80"]
    assert chosen["sm_90"] == chosen["sm_100"] == launch.TILES["conv2d"]["sm_90"]


def test_an_architecture_takes_the_newest_column_it_can_run_by_name() -> None:
    columns = {"sm_75": "sm_80", "sm_86": "sm_80", "sm_90": "sm_90", "sm_103": "sm_100", "gfx942": "sm_80"}
    assert {arch: launch.column_for(arch) for arch in columns} == columns


def test_float32_products_have_tiles_of_their_own() -> None:
    with launch.column("sm_90"):
        row = launch.TILES["conv2d"]["sm_90 float32"]
        assert launch.tile("conv2d", least=16, itemsize=4, BO=10**6, BP=10**6, BC=10**6) == row
        doubles = launch.tile("conv2d", least=16, itemsize=8, BO=10**6, BP=10**6, BC=10**6)
        assert doubles["BO"] == row["BO"] // 2


def test_a_tile_with_a_short_extent_grows_along_the_other() -> None:
    with launch.column("sm_80"):
        short = launch.tile("reduce", KEEP=10**6, FOLD=4)
        assert (short["KEEP"], short["FOLD"]) == (256, 4)
        assert launch.tile("reduce", KEEP=1, FOLD=10**6)["FOLD"] == 1024
        assert {k: launch.tile("reduce", KEEP=3, FOLD=5).get(k) for k in ("KEEP", "FOLD", "LEAST")} == {
            "KEEP": 4, "FOLD": 8, "LEAST": None,
        }  # fmt: skip


@pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled")
def test_the_interpreter_is_a_column() -> None:
    assert launch.arch() == "interpret"
    assert launch.tile("map", BLOCK=10**9) == launch.TILES["map"]["interpret"]


def test_every_row_has_both_kinds_of_columns_and_blocks_are_powers_of_two() -> None:
    for name, row in launch.TILES.items():
        oldest = ("sm_90",) if "_tma" in name else ("interpret", "sm_80")
        assert all(column in row for column in oldest), name
        assert {c.removesuffix(" float32") for c in row} <= {"interpret", "sm_80", "sm_90", "sm_100"}, name
        assert all(c.removesuffix(" float32") in row for c in row), name
        for column in row.values():
            blocks = {k: v for k, v in column.items() if k.isupper() and k != "RESIDENT"}
            assert blocks and all(v & (v - 1) == 0 for v in blocks.values()), name
    assert set(TINY) == set(launch.TILES)


def test_tiles_are_replaced_inside_a_block_only() -> None:
    before = launch.tile("matmul", least=16, BM=64, BN=64, BK=64)
    with launch.tiles(matmul={"BM": 16}), launch.tiles(matmul={"BK": 32}):
        assert launch.tile("matmul", least=16, BM=64, BN=64, BK=64) == before | {"BM": 16, "BK": 32}
    with pytest.raises(ZeroDivisionError), launch.tiles(matmul={"BM": 16}):
        raise ZeroDivisionError
    assert launch.tile("matmul", least=16, BM=64, BN=64, BK=64) == before


def test_grids_of_one_to_three_axes() -> None:
    for grid, want in ((3, 7.0), ((3,), 7.0), ((3, 1), 7.0), ((3, 1, 1), 7.0)):
        out = empty((12,), dtypes.float32)
        launch.launch(_fill, grid, out, 7, BLOCK=4, num_warps=1)
        assert out.numpy().tolist() == [want] * 12


def test_an_empty_grid_starts_nothing_and_is_not_recorded() -> None:
    out = from_host(np.zeros(4, np.float32))
    with launch.recording() as log:
        for grid in (0, (0,), (3, 0), (2, 1, 0)):
            launch.launch(_fill, grid, out, 7, BLOCK=4)
    assert out.numpy().tolist() == [0.0] * 4 and not log


@pytest.mark.parametrize("grid", [2**31, (1, 65536), (1, 1, 65536)], ids=str)
def test_grids_beyond_the_gpus_limits_are_refused(grid: int | tuple[int, ...]) -> None:
    with pytest.raises(launch.KernelError, match=r"_fill: grid .* exceeds the GPU's limits"):
        launch.launch(_fill, grid, empty((4,), dtypes.float32), 7, BLOCK=4)


def test_a_failure_names_the_kernel_and_its_arguments() -> None:
    with pytest.raises(
        launch.KernelError, match=r"_broken\[\(1,\)\]\(float32\[3, 4\]\) failed: [^:]+: \w+: ."
    ) as caught:
        launch.launch(_broken, 1, empty((3, 4), dtypes.float32), BLOCK=4)
    assert isinstance(caught.value, RuntimeError) and caught.value.__cause__ is not None


def test_arrays_on_two_devices_are_refused_before_anything_runs() -> None:
    here = empty((4,), dtypes.float32)
    there = Array(memory.Memory(here.memory.storage, driver.Device("cuda", 1)), dtypes.float32, (4,), (1,))
    with pytest.raises(RuntimeError, match="_fill: expected all tensors on one device, but they are on cpu and cuda:1"):
        launch.launch(_fill, 1, here, there, BLOCK=4)


def test_recording_says_what_a_launch_has_to_do() -> None:
    x, y = tg.ones(8, 16), tg.ones(16, 4)
    with launch.recording() as outer:
        z = x @ y
        with launch.recording() as inner:
            z + 1
    assert [r.kernel for r in outer] == ["_matmul", "_map2"] and inner == outer[1:]
    assert (outer[0].flops, outer[0].bytes) == (2 * 8 * 16 * 4, 4 * (8 * 16 + 16 * 4 + 8 * 4))
    assert outer[0].grid == (1,) and outer[0].function.fn.__name__ == "_matmul"
    assert (inner[0].flops, inner[0].bytes) == (32, 2 * 32 * 4)
    x @ y
    assert len(outer) == 2  # nothing is heard after the block


def test_recording_counts_each_distinct_byte_of_an_expanded_operand() -> None:
    x, row = tg.ones(100, 8), tg.ones(8)
    with launch.recording() as log:
        x + row
        x + row.expand(100, 8)
    assert log[0].bytes == log[1].bytes == 4 * (800 + 800 + 8)
