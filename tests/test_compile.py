"""Launches compiled without a GPU: what is told apart, what is reported, and how errors read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import triton
import triton.language as tl

import tritongrad as tg
from tests import compiled_kernels as kernels, dying_kernels
from tritongrad_kernels import compile, dtypes, launch as launching, memory
from tritongrad_kernels.compile import machine_code
from tritongrad_kernels.launch import Launch, Pointer

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def launch_of(kernel: Any, *arguments: Any, **options: Any) -> Launch:
    return Launch(kernel.fn.__name__, (1,), 0, 0, kernel, arguments, options)


def doubling(n: int, dtype: dtypes.dtype = dtypes.float32, aligned: bool = True) -> Launch:
    return launch_of(kernels._double, Pointer(dtype, aligned), Pointer(dtype), n, BLOCK=1024, num_warps=4)


def test_launches_are_told_apart_as_triton_tells_them_apart() -> None:
    log = [doubling(n) for n in (64, 128, 64, 63, 65, 1, 2**31)]
    log += [doubling(64, dtypes.bfloat16), doubling(64, aligned=False)]
    signatures = [v.signature for v in compile.specialise(log, "sm_90")]
    assert signatures == [
        "X *fp32:16, OUT *fp32:16, n i32:16, BLOCK=1024; 4 warps, 3 stages",
        "X *fp32:16, OUT *fp32:16, n i32, BLOCK=1024; 4 warps, 3 stages",
        "X *fp32:16, OUT *fp32:16, n=1, BLOCK=1024; 4 warps, 3 stages",
        "X *fp32:16, OUT *fp32:16, n i64:16, BLOCK=1024; 4 warps, 3 stages",
        "X *bf16:16, OUT *bf16:16, n i32:16, BLOCK=1024; 4 warps, 3 stages",
        "X *fp32, OUT *fp32:16, n i32:16, BLOCK=1024; 4 warps, 3 stages",
    ]


def test_a_report_has_the_figures_of_the_machine_code() -> None:
    wide, narrow = compile.compile_all(compile.specialise([doubling(64), doubling(63)], "sm_90"))
    assert (wide.counts["LDG.128"], wide.counts["STG.128"], wide.warps, wide.stack) == (2, 2, 4, 0)
    assert (narrow.counts["LDG"], narrow.counts["LDG.128"]) == (8, 0)
    assert 8 <= wide.registers <= 40 and not wide.problems() and not narrow.problems()


@pytest.mark.parametrize("arch, instruction", [("sm_80", "HMMA"), ("sm_90", "HGMMA"), ("sm_100", "UTCMMA")])
def test_tensor_cores_and_shared_memory(arch: str, instruction: str) -> None:
    half = Pointer(dtypes.bfloat16)
    report = compile.compile_launch(launch_of(kernels._product, half, half, half, kernels._negative, N=64), arch)
    assert report.counts[instruction] and report.tensor_cores and report.shared
    assert report.problems() == []
    assert report.problems(shared_limit=1) == [f"{report.shared} bytes of shared memory, 1 is all there is"]
    assert "f=_negative" in report.variant.signature


def test_amd_has_figures_too() -> None:
    report = compile.compile_launch(doubling(64), "gfx942")
    assert report.counts["LOAD.128"] and report.counts["STORE.128"] and 0 < report.registers < 64
    assert report.problems() == []


def test_spills_are_seen() -> None:
    report = compile.compile_launch(launch_of(kernels._greedy, Pointer(dtypes.float32), N=16384, num_warps=1), "sm_90")
    assert report.stack and report.counts["LDL"] and "spills" in report.problems()[0]


def test_what_was_compiled_is_not_compiled_again() -> None:
    first, second = (compile.compile_launch(doubling(64), "sm_90") for _ in range(2))
    assert (first.hash, first.counts) == (second.hash, second.counts)
    assert (first.cached, second.cached) == (False, True)


def test_an_error_is_a_sentence_that_names_kernel_arguments_arch_and_line() -> None:
    report = next(
        compile.compile_all(compile.specialise([launch_of(kernels._stops_early, Pointer(dtypes.float32), 5)], "sm_90"))
    )
    assert report.problems() == [report.error]
    assert report.error.startswith("_stops_early(X *fp32:16, n i32; 4 warps, 3 stages) does not compile for sm_90: ")
    assert "Break" in report.error and "compiled_kernels.py:" in report.error and "`break`" in report.error


def test_one_launch_that_does_not_compile_raises() -> None:
    with pytest.raises(compile.CompileError, match="_stops_early"):
        compile.compile_launch(launch_of(kernels._stops_early, Pointer(dtypes.float32), 5), "sm_90")
    with pytest.raises(compile.CompileError, match=r"_double.*missing"):
        compile.compile_launch(launch_of(kernels._double, Pointer(dtypes.float32)), "sm_90")
    with pytest.raises(ValueError, match="unknown architecture 'H100'; expected the form 'sm_90'"):
        compile.specialise([doubling(64)], "H100")


def test_a_kernel_must_be_importable() -> None:
    @triton.jit
    def _local(X):
        pass

    with pytest.raises(compile.CompileError, match=r"_local is defined in a function of tests\.test_compile"):
        compile.specialise([launch_of(_local, Pointer(dtypes.float32))], "sm_90")
    with pytest.raises(compile.CompileError, match="an argument of type object cannot be sent"):
        compile.specialise([launch_of(kernels._double, object())], "sm_90")


def test_a_worker_that_dies_is_an_error_of_one_kernel() -> None:
    with pytest.raises(compile.CompileError, match="the compiling process died: exit code 3"):
        compile.specialise([launch_of(dying_kernels._never, Pointer(dtypes.float32))], "sm_90")


def test_constants_and_dtypes_reach_the_worker() -> None:
    pointer = Pointer(dtypes.float32)
    launched = launch_of(kernels._double, pointer, pointer, tl.constexpr(5), BLOCK=tl.constexpr(64))
    assert compile.wire.decode(compile.wire.encode(launched))[1][2].value == 5
    for value in (None, True, 2.5, "ieee", tl.bfloat16, (1, (None, pointer))):
        assert compile.wire._decode(compile.wire._encode(value)) == value


def test_instructions_are_counted_by_pattern() -> None:
    found = ["LDG.E.128", "LDG.E.ENL2.256", "LDG.E", "LDGSTS.E.BYPASS.128", "STG.E.64", "HGMMA.64x64x16.F32", "RED.ADD"]
    counts = machine_code.count(found, machine_code.SASS)
    wanted = {"LDG": 3, "LDG.128": 2, "LDGSTS": 1, "LDGSTS.128": 1, "STG": 1, "STG.128": 0, "HGMMA": 1, "HMMA": 0}
    assert {k: counts[k] for k in wanted} == wanted
    assert (counts["RED"], counts["total"]) == (1, 7)


def test_a_process_that_compiles_launches_nothing() -> None:
    code = "from tritongrad_kernels import dtypes, elementwise; elementwise.full((3,), 1.0, dtypes.float32)"
    environment = {**os.environ, "TRITONGRAD_COMPILE_FOR": "sm_90", "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "_map1 was launched in a process that only compiles (TRITONGRAD_COMPILE_FOR is set)" in done.stderr


def test_launches_over_more_than_2_31_elements_compile() -> None:
    """70000 x 70000: counts come in 64 bits, and nothing spills or runs out of room for it."""
    n = 70_000
    with memory.dry_run(), launching.column("sm_90"), launching.recording() as log:
        x = tg.empty(n, n, dtype=tg.bfloat16)
        image = tg.empty(n, 64, 28, 28, dtype=tg.bfloat16).contiguous(memory_format=tg.channels_last)
        weight = tg.empty(64, 64, 3, 3, dtype=tg.bfloat16).contiguous(memory_format=tg.channels_last)
        pointers = tg.empty(64, 32, 3, 3, dtype=tg.bfloat16).contiguous(memory_format=tg.channels_last)
        assert x.numel() > 2**31 and image.numel() > 2**31
        del log[:]
        x * 2
        x.sum(0)
        x.cumsum(1)
        x @ x
        tg.nn.functional.softmax(x, dim=1)
        tg.nn.functional.conv2d(image, weight, padding=1)
        tg.nn.functional.conv2d(image, pointers, padding=1, groups=2)
        tg.nn.functional.max_pool2d(image, 2)
    variants = compile.specialise(log, "sm_90")
    assert {"_map2", "_sum", "_matmul_tma", "_conv2d", "_conv2d_tma"} <= {v.kernel for v in variants}
    for report in compile.compile_all(variants):
        assert report.problems() == [], report.variant.signature
        # Where an extent itself needs 64 bits it has them; elsewhere kernels widen what they multiply.
        assert "n i64" in report.variant.signature or not report.variant.kernel.startswith("_map")
