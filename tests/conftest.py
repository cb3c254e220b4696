"""Small launches run under the sanitizer in every test; kernel tests with the device's own tiles and with tiny ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import tritongrad as tg
from tests import on_gpu
from tritongrad_kernels import INTERPRETED, launch, memory

if INTERPRETED:
    from tritongrad_kernels import interpret, sanitize
else:
    launch.column = on_gpu.own_columns_only(launch.column)

LINES = os.environ.get("DEVICE_LINES")
"""A folder: each test process leaves in it which lines of kernels it has run, for `device_coverage.py`."""

if INTERPRETED and LINES:
    interpret.state.executed = {}


def pytest_sessionfinish() -> None:
    if INTERPRETED and LINES:
        lines = {path: sorted(executed) for path, executed in (interpret.state.executed or {}).items()}
        Path(LINES, f"{os.getpid()}.json").write_text(json.dumps(lines), encoding="utf-8")


# Tiles so small that every loop runs more than once and every edge is ragged.
TINY = {
    "map": {"BLOCK": 16},
    "walk": {"BLOCK": 16, "COLUMNS": 8, "SIDE": 4, "SPREAD": 32},
    "random": {"BLOCK": 16},
    "choose": {"BLOCK": 2, "KB": 4},
    "reduce": {"KEEP": 4, "FOLD": 8, "CHUNK": 16},
    "slabs": {"BZ": 2, "BN": 16, "TURN": 2},
    "scan": {"KEEP": 2, "SPAN": 16, "LEAST": 1},
    "order": {"KEEP": 2, "N": 8, "STEP": 4, "LEAST": 1},
    "radix": {"KEEP": 2, "SPAN": 32, "LEAST": 1},
    "matmul": {"BM": 16, "BN": 16, "BK": 16, "SPLIT": 32},
    "matmul_tma_wide": {"BM": 16, "BN": 32, "BK": 16, "SPLIT": 32, "TILES": 16, "RESIDENT": 5},
    "matmul_tma": {"BM": 16, "BN": 16, "BK": 16, "SPLIT": 32, "TILES": 8},
    "matmul_tma_small": {"BM": 16, "BN": 16, "BK": 16, "SPLIT": 32},
    "matmul_fold": {"BM": 2, "BN": 16, "LEAST": 1},
    "small_matmul": {"LONGEST": 16, "ELEMENTS": 2048},
    "matmul_integers": {"BM": 4, "BN": 8, "BK": 4},
    "conv2d": {"BO": 16, "BP": 16, "BC": 16},
    "conv2d_tma": {"BO": 16, "BP": 16, "BC": 16},
    "conv2d_tma_long": {"BO": 16, "BP": 16, "BC": 16},
    "conv2d_tma_narrow": {"BO": 16, "BP": 16, "BC": 16},
    "haloed": {"BP": 16},
    "conv2d_input_grad": {"BO": 16, "BP": 16, "BC": 16},
    "conv2d_input_grad_tma": {"BO": 16, "BP": 16, "BC": 16},
    "conv2d_input_grad_tma_long": {"BO": 16, "BP": 16, "BC": 16},
    "conv2d_input_grad_tma_narrow": {"BO": 16, "BP": 16, "BC": 16},
    "conv2d_weight_grad": {"BO": 16, "BP": 16, "BC": 16, "SPLIT": 48},
    "conv2d_weight_grad_tma": {"BO": 16, "BP": 16, "BC": 16, "SPLIT": 32},
    "conv2d_weight_grad_tma_narrow": {"BO": 16, "BP": 16, "BC": 16, "SPLIT": 32},
    "short_attention": {"SCORES": 0},
    "attention": {"BM": 16, "BN": 16, "SPAN": 32},
    "attention_busy": {"BM": 16, "BN": 16, "SPAN": 32},
    "attention_narrow": {"BM": 16, "BN": 16, "SPAN": 32},
    "attention_wide": {"BM": 16, "BN": 16, "SPAN": 32},
    "attention_query_grad": {"BM": 16, "BN": 16},
    "attention_query_grad_busy": {"BM": 16, "BN": 16},
    "attention_query_grad_narrow": {"BM": 16, "BN": 16},
    "attention_query_grad_wide": {"BM": 16, "BN": 16},
    "attention_key_grad": {"BM": 16, "BN": 16},
    "attention_key_grad_busy": {"BM": 16, "BN": 16},
    "attention_key_grad_narrow": {"BM": 16, "BN": 16},
    "attention_key_grad_wide": {"BM": 16, "BN": 16},
    "attention_parts": {"BM": 4},
    "conv3d_input_grad": {"BO": 16, "BP": 16, "BC": 16},
    "fold": {"BK": 4, "BP": 16, "LEAST": 1},
    "depthwise": {"BP": 16, "BC": 4},
    "depthwise_weight_grad": {"BK": 8, "BP": 16, "BO": 4, "SPLIT": 48},
    "norm": {"BM": 8, "BC": 4, "NARROW": 2, "FOLD": 8, "PROGRAMS": 6, "LEAST": 1},
    "columns": {"BM": 8, "BC": 4},
    "norm_sums": {"BM": 8, "BC": 4, "PROGRAMS": 6, "LEAST": 1},
    "layernorm": {"BM": 2, "BN": 4, "LEAST": 1},
    "layernorm_long": {"BM": 1, "BN": 8, "FEW": 3, "SHORT": 8},
    "rows": {"KEYS": 4, "REST": 4, "LEAST": 1},
    "pool": {"BP": 8, "BC": 4},
    "pool_norm": {"BM": 8, "BC": 4, "PROGRAMS": 6, "LEAST": 1},
    "recurrent": {"BM": 2, "BC": 4},
    "volume_pool": {"BP": 8, "BC": 4, "LEAST": 1},
    "softmax": {"BM": 2, "BN": 16, "LEAST": 1},
    "mean_of_rows": {"BLOCK": 4},
    "optim": {"BLOCK": 64},
}


SMALL = 1 << 16
"""Launches whose arrays hold no more bytes than this run under the sanitizer, which takes 200 ns an element."""


UNWATCHED = ("tests.test_interpret", "tests.test_bench")
"""Tests of what the sanitizer stands on, and of code that takes times."""


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    tg.manual_seed(0)
    if INTERPRETED and not request.module.__name__.startswith(UNWATCHED):
        with sanitize.sanitized(SMALL):
            yield
    else:
        memory.POISON = True
        yield
        memory.POISON = False
        if not INTERPRETED:
            on_gpu.check_health()


@pytest.fixture(params=["tiles", "tiny"])
def tiles(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test with the device's production tiles, then with tiny ones."""
    if request.param == "tiles":
        yield request.param
    else:
        with launch.tiles(**TINY):
            yield request.param
