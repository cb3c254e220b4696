"""Launches past Triton's path: started as Triton starts them, and only where it would start the same kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tritongrad_kernels import INTERPRETED, direct, elementwise, formulas
from tritongrad_kernels.array import from_host

ROOT = Path(__file__).parent.parent


def test_launches_past_triton_are_what_triton_launches() -> None:
    """In a process whose kernels are those of a GPU: `direct_launches.py` has the checks."""
    environment = {**os.environ, "TRITONGRAD_COMPILE_FOR": "sm_90", "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}
    environment.pop("TRITON_INTERPRET", None)
    script = [sys.executable, str(ROOT / "tests" / "direct_launches.py")]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 13
    failed = {name: reason for name, reason in found.items() if reason is not None}
    assert not failed, "\n".join(f"{name}: {reason}" for name, reason in failed.items())


@pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled")
def test_the_interpreter_is_left_alone() -> None:
    assert not direct.available


@pytest.mark.skipif(INTERPRETED, reason="the interpreter has no launches of this kind")
def test_later_launches_on_a_gpu_compute_what_first_ones_did() -> None:
    for _ in range(3):
        for n in (1, 5, 16, 17, 32, 4096):
            for start in (0, 1, 4):
                x = from_host(np.arange(n + start, dtype=np.float32)).slice(0, start, n + start)
                y = elementwise.map(formulas._mul, x, elementwise.map(formulas._add, x, 1.5))
                assert y.numpy().tolist() == [v * (v + 1.5) for v in np.arange(start, n + start, dtype=np.float32)]
    assert any(site is not None and site.seen for site in direct._sites.values()) is direct.available


def test_a_variable_leaves_all_launches_to_triton() -> None:
    environment = {**os.environ, "TRITONGRAD_COMPILE_FOR": "sm_90", "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"}
    environment |= {"TRITONGRAD_DIRECT": "0", "TRITON_INTERPRET": "0"}
    script = [sys.executable, "-c", "from tritongrad_kernels import direct; print(direct.available)"]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (16, 32, True),
        (16, 0, True),
        (5, 7, True),
        (5, 16, False),
        (1, 5, False),
        (2**31 - 1, 2**31 + 1, False),
        (2**63 - 1, 2**63 + 1, False),
        (-(2**31), -(2**31) - 16, False),
        ((16, 5), (32, 7), True),
        ((16, 5), (32, 16), False),
        ((1, None), (1, 1), False),
        ((5,), (5.0,), False),
        ((1,), (True,), False),
        ((5,), (5, 5), False),
    ],
)
def test_the_class_of_a_number(one: object, other: object, same: bool) -> None:
    assert (direct.classify(one) == direct.classify(other)) is same
