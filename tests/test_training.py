"""Training steps by name, and dry runs of them."""

from __future__ import annotations

import numpy as np
import pytest

import tritongrad as tg
from tritongrad.training import training_step
from tritongrad_kernels import dtypes, launch, memory


def test_a_step_by_name_trains() -> None:
    step = training_step("mlp", batch=4, image=8, classes=10)
    first = step().item()
    assert np.isfinite(first) and step().item() < first


@pytest.mark.parametrize("name", ["googlenet", "vit_b_32", "mobilenet_v3_small", "regnet_y_400mf"])
def test_every_published_network_has_a_step(name: str) -> None:
    """Those whose builders want more than a number of classes, and some that do not."""
    with memory.dry_run(), launch.recording() as log:
        training_step(name, 2, 64, classes=10)()
    assert len(log) > 200 and log[-1].kernel == "_sgd"


def test_names_that_are_not_known_are_refused() -> None:
    with pytest.raises(ValueError, match="'resnet51' is not one of mlp, resnet18"):
        training_step("resnet51", 1)
    with pytest.raises(ValueError, match="'lion' is not one of sgd, adam"):
        training_step("mlp", 1, optimizer="lion")


def test_a_dry_run_launches_what_a_real_step_launches() -> None:
    """Same kernels, grids, declared flops and bytes: everything is decided by shapes alone."""
    with launch.recording() as real:
        training_step("resnet18", 2, 32, classes=10)()
    with memory.dry_run(), launch.recording() as dry:
        training_step("resnet18", 2, 32, classes=10)()
    assert len(real) > 200
    assert [(r.kernel, r.grid, r.flops, r.bytes) for r in dry] == [(r.kernel, r.grid, r.flops, r.bytes) for r in real]


def test_a_dry_run_takes_no_memory_and_knows_the_peak() -> None:
    with memory.dry_run() as run:
        a = tg.zeros(1 << 40)  # 4 TiB
        b = a + 1
        assert run.live == run.peak == 2 * (4 << 40)
        del b
        assert run.live == 4 << 40 and run.peak == 2 * (4 << 40)
        assert a.sum().item() == 0
        assert tg.zeros(3, device="cuda").device.type == "cuda"


def test_a_dry_run_leaves_what_was_there_alone() -> None:
    a = tg.ones(4)
    with memory.dry_run():
        a += 1
        a.copy_(tg.zeros(4))
        memory.write(a.array.memory, np.zeros(4, np.float32))
    assert a.tolist() == [1, 1, 1, 1]


def test_a_tensor_of_a_dry_run_has_no_values_after_it() -> None:
    with memory.dry_run():
        a = tg.ones(4)
    for use in (a.tolist, lambda: a + 1, lambda: tg.ones(4).copy_(a)):
        with pytest.raises(RuntimeError, match=r"made in a dry run \(tritongrad.plan\) and has no values"):
            use()


def test_pointers_of_a_launch_know_their_alignment() -> None:
    a = tg.zeros(9)
    with launch.recording() as log:
        a[1:] + 1
    pointers = [p for p in log[-1].arguments if isinstance(p, launch.Pointer)]
    assert [p.aligned for p in pointers] == [False, True]
    assert {p.dtype for p in pointers} == {dtypes.float32}
    assert all((p.data_ptr() % 16 == 0) == p.aligned for p in pointers)
