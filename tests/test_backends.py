"""Switches under torch's names: those that mean something act, the others are remembered."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad.nn import functional as F
from tritongrad_kernels import matmul
from tritongrad_kernels.launch import recording

b: Any = tg.backends


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    matmul.precision, matmul.convolutions = "highest", None


def formed() -> tuple[str, str]:
    """How a product and a convolution are formed now."""
    with recording() as log:
        tg.ones(2, 2) @ tg.ones(2, 2)
        F.conv2d(tg.ones(1, 1, 2, 2), tg.ones(1, 1, 1, 1))
    words = [[a for a in k.arguments if a in ("ieee", "tf32", "tf32x3")] for k in log]
    found = [w[0] for w in words if w]
    return found[0], found[-1]


def test_precision_under_all_its_names() -> None:
    assert formed() == ("ieee", "ieee") and tg.get_float32_matmul_precision() == "highest"
    assert not b.cuda.matmul.allow_tf32 and not b.cudnn.allow_tf32 and b.fp32_precision == "ieee"
    b.cuda.matmul.allow_tf32 = True
    assert tg.get_float32_matmul_precision() == "high" and formed() == ("tf32x3", "tf32x3")
    assert b.cuda.matmul.fp32_precision == "tf32" and b.cudnn.allow_tf32
    b.cuda.matmul.fp32_precision = b.cuda.matmul.fp32_precision
    assert tg.get_float32_matmul_precision() == "high"
    b.cudnn.allow_tf32 = False
    assert formed() == ("tf32x3", "ieee") and b.cudnn.conv.fp32_precision == "ieee"
    b.cuda.matmul.allow_tf32 = False
    b.cudnn.allow_tf32 = True
    assert formed() == ("ieee", "tf32") and b.cudnn.fp32_precision == "tf32"
    tg.set_float32_matmul_precision("medium")
    b.cudnn.conv.fp32_precision = "none"
    assert formed() == ("tf32", "tf32")
    b.fp32_precision = "ieee"
    assert formed() == ("ieee", "ieee")
    with b.flags(fp32_precision="tf32"):
        assert formed()[0] == "tf32"
    assert formed()[0] == "ieee"


def test_wrong_values_are_refused() -> None:
    for call in (
        lambda: tg.set_float32_matmul_precision("x"),
        lambda: setattr(b.cuda.matmul, "fp32_precision", "bf16"),
        lambda: setattr(b.cudnn, "benchmark", 3),
        lambda: setattr(b.cuda.matmul, "allow_tf32", 1),
    ):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(AttributeError):
        b.cuda.matmul.nothing = 3


def test_switches_are_remembered() -> None:
    cudnn = importlib.import_module("tritongrad.backends.cudnn")
    assert cudnn is b.cudnn and cudnn.enabled and not cudnn.benchmark and not cudnn.deterministic
    cudnn.benchmark = True
    with cudnn.flags(enabled=False, deterministic=True):
        assert not cudnn.enabled and cudnn.deterministic and not cudnn.benchmark and cudnn.allow_tf32
    assert cudnn.enabled and cudnn.benchmark and not cudnn.deterministic and not cudnn.allow_tf32
    cudnn.benchmark = False
    assert cudnn.version() is None and not cudnn.is_available() and not cudnn.is_acceptable(tg.ones(1))
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        enabled, enable = getattr(b.cuda, f"{name}_sdp_enabled"), getattr(b.cuda, f"enable_{name}_sdp")
        enable(False)
        assert not enabled()
        enable(True)
    with pytest.warns(FutureWarning), b.cuda.sdp_kernel(enable_math=False):
        assert not b.cuda.math_sdp_enabled() and b.cuda.flash_sdp_enabled()
    assert b.cuda.math_sdp_enabled() and b.cuda.is_built() == tg.cuda.is_available()
    assert not any(
        getattr(b, name).is_available() for name in ("mps", "mkl", "mkldnn", "openmp", "nnpack", "opt_einsum")
    )
    with b.mkldnn.flags(enabled=False):
        assert not b.mkldnn.enabled
    assert b.mkldnn.enabled and not b.mps.is_built()
    b.mha.set_fastpath_enabled(False)
    assert not b.mha.get_fastpath_enabled()
    b.mha.set_fastpath_enabled(True)


def test_without_an_accelerator() -> None:
    a: Any = tg.accelerator
    if a.is_available():
        assert a.current_accelerator() == tg.device("cuda") and a.current_device_index() < a.device_count()
        a.synchronize()
        assert a.memory_allocated() <= a.max_memory_allocated() and len(a.get_memory_info()) == 2
        with a.device_index(0):
            assert a.current_device_index() == 0
        return
    assert a.current_accelerator() is None and a.device_count() == 0
    for call in (a.synchronize, a.current_device_index, a.memory_allocated, a.current_stream, a.get_memory_info):
        with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available"):
            call()
    with a.device_index(None):
        np.testing.assert_allclose(tg.ones(2).tolist(), [1, 1])


def test_deterministic_algorithms_as_torch() -> None:
    def asked(m: Any) -> list:
        seen = []
        for change in (
            lambda: m.use_deterministic_algorithms(True),
            lambda: m.use_deterministic_algorithms(True, warn_only=True),
            lambda: m.set_deterministic_debug_mode("error"),
            lambda: m.set_deterministic_debug_mode(1),
            lambda: m.use_deterministic_algorithms(False),
        ):
            change()
            seen += [m.are_deterministic_algorithms_enabled(), m.is_deterministic_algorithms_warn_only_enabled()]
            seen.append(m.get_deterministic_debug_mode())
        for wrong, error in (("loud", RuntimeError), (7, RuntimeError), (1.5, TypeError)):
            with pytest.raises(error):
                m.set_deterministic_debug_mode(wrong)
        return seen

    assert asked(tg) == asked(torch)


def test_numbers_of_threads_are_remembered() -> None:
    before = tg.get_num_threads(), tg.get_num_interop_threads()
    assert min(before) >= 1
    tg.set_num_threads(3)
    tg.set_num_interop_threads(2)
    assert (tg.get_num_threads(), tg.get_num_interop_threads()) == (3, 2)
    tg.set_num_threads(before[0])
    tg.set_num_interop_threads(before[1])
    for m in (tg, torch):
        for wrong in (0, 1.5):
            with pytest.raises(RuntimeError):
                m.set_num_threads(wrong)


def test_constants() -> None:
    assert all(getattr(tg, name) == getattr(torch, name) for name in ("e", "pi", "inf", "newaxis"))
    assert tg.nan != tg.nan and tg.ones(2)[:, tg.newaxis].shape == (2, 1)
