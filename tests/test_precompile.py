"""What was compiled ahead is all that a first step needs: in Triton's cache, or in a bundle taken elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import triton

from tritongrad.precompile import load, precompile

ROOT = Path(__file__).parent.parent

# Two real training steps as a GPU would see them: only the last call, that of the driver, starts nothing.
STEPS = """
import json, sys
import torch
torch.empty = torch.zeros  # what no kernel wrote is read back: let it be in range
from triton import knobs
import tritongrad
from tritongrad import precompile, training
from tritongrad_kernels import dtypes, stand_in

counts = {"launches": 0, "compiled": 0, "cached": 0, "loaded": 0}
def launched(self, *arguments): counts["launches"] += 1
def listen(*, cache_hit, **rest): counts["cached" if cache_hit else "compiled"] += 1
stand_in.Launcher.__call__ = launched
knobs.compilation.listener = listen
if len(sys.argv) > 1:
    counts["loaded"] = precompile.load(sys.argv[1])
    counts["compiled"] = counts["cached"] = 0
step = training.training_step("mlp", 4, 8, dtypes.bfloat16, optimizer="adam")
step(); step()
print(json.dumps(counts))
"""


def steps(cache: Path, *arguments: str) -> dict[str, int]:
    environment = {
        **os.environ, "TRITONGRAD_COMPILE_FOR": "sm_90", "TRITON_CACHE_DIR": str(cache),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}",
    }  # fmt: skip
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", STEPS, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_first_step_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it with a bundle on a machine with an empty cache: there nothing is even looked up any more."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "here"))
    bundle = tmp_path / "mlp.zip"
    reports = precompile("mlp", 4, image=8, dtype="bf16", arch="sm_90", optimizer="adam", bundle=bundle)
    assert len(reports) > 20 and not any(r.error for r in reports)

    counts = steps(tmp_path / "here")
    assert counts["launches"] > 40 and (counts["compiled"], counts["cached"]) == (0, len(reports))

    counts = steps(tmp_path / "there", str(bundle))
    assert (counts["loaded"], counts["compiled"]) == (len(reports), 0)
    # Triton 3.6 cannot preload a kernel that takes a function, and finds it in the cache instead.
    assert counts["cached"] == (
        0 if triton.__version__ >= "3.7" else sum("jit_function" in r.variant.preload for r in reports)
    )


def test_a_bundle_is_for_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="holds kernels for a GPU, and here kernels run in the CPU interpreter"):
        load(tmp_path / "mlp.zip")


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown dtype 'bf17'"):
        precompile("mlp", 1, dtype="bf17")
    with pytest.raises(ValueError, match="unknown architecture 'sm90'"):
        precompile("mlp", 1, image=8, arch="sm90")
