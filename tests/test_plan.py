"""Plans: what they say, that it is true of a real step, and that planning leaves no trace."""

from __future__ import annotations

import functools
import json
import random as python_random
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tritongrad import nn
from tritongrad.gpus import GPUS, of_arch
from tritongrad.nn import functional as F
from tritongrad.training import training_step
from tritongrad_kernels import launch

MS = 1e3


def tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(64, 5),
    )  # fmt: skip


class Trainer:
    """A model in training, with everything a script keeps."""

    def __init__(self, optimizer: str = "sgd") -> None:
        tg.manual_seed(0)
        self.model = tiny()
        self.images, self.labels = tg.randn(4, 3, 8, 8), tg.tensor([0, 1, 2, 3])
        parameters = self.model.parameters()
        self.optimizer: Any = (
            tg.optim.SGD(parameters, lr=0.1, momentum=0.9)
            if optimizer == "sgd"
            else tg.optim.AdamW(parameters, lr=0.01)
        )
        self.losses: list[float] = []
        self.steps = 0

    def step(self) -> tg.Tensor:
        self.steps += 1
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        return loss

    def state(self) -> list[bytes]:
        """Every bit of it."""
        held = [self.optimizer.state[p] for p in self.model.parameters() if p in self.optimizer.state]
        tensors = [*self.model.state_dict().values(), *(p.grad for p in self.model.parameters() if p.grad is not None)]
        tensors += [v for state in held for v in state.values() if isinstance(v, tg.Tensor)]
        tensors.append(tg.get_rng_state())
        return [t.detach().numpy().tobytes() for t in tensors] + [
            np.float64(self.losses).tobytes(),
            bytes([self.steps]),
        ]


# ------------------------------------------------------------------------------------------------------ what it says


def test_a_plan_lists_what_a_real_step_launches() -> None:
    trainer = Trainer()
    planned = tg.plan(trainer.step)
    trainer.step()
    with launch.column("sm_90"), launch.recording() as log:
        trainer.step()
    real = [(one.kernel, one.grid, one.flops, one.bytes) for one in log]
    assert [(one.kernel, one.grid, one.flops, one.bytes) for one in planned.launches] == real
    assert len(real) > 20


def test_totals_are_sums_of_launches() -> None:
    planned = tg.plan(Trainer().step)
    said = json.loads(planned.to_json())
    assert said["bytes"] == sum(one["bytes"] for one in said["by_launch"]) > 0
    assert said["flops"] == sum(one["flops"] for one in said["by_launch"]) > 0
    assert said["launches"] == len(said["by_launch"])
    assert said["floor_ms"] == pytest.approx(sum(one["floor_ms"] for one in said["by_launch"]))
    assert list(said["by_launch"][0]) == ["kernel", "family", "grid", "flops", "bytes", "floor_ms"]
    assert sum(f["launches"] for f in said["by_family"].values()) == said["launches"]
    for key in ("floors", "floor_bytes", "floor_launches"):
        assert list(said[key]) == ["a", "b", "b1", "c", "c+"]
    assert {"conv forward", "conv weight grad", "norm", "pool", "matmul", "loss", "random", "optim"} <= set(
        said["by_family"]
    )


@pytest.mark.parametrize(
    ("kind", "precision", "rate"),
    [
        (tg.bfloat16, "highest", 790e12),
        (tg.float16, "highest", 790e12),
        (tg.float32, "highest", 67e12),
        (tg.float32, "medium", 395e12),
        (tg.float64, "highest", 67e12),
    ],
)
def test_the_floor_of_a_product(kind: Any, precision: str, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """1024^3 is bound by arithmetic in every dtype; the ceiling is that of the factors' dtype and precision."""
    monkeypatch.setattr("tritongrad_kernels.matmul.precision", precision)
    x = tg.zeros(1024, 1024, dtype=kind)
    (one,) = tg.plan(lambda: x @ x).launches
    assert one.flops == 2 * 1024**3
    assert one.floor_ms == pytest.approx(one.flops / rate * MS)


def test_the_floor_of_what_moves_bytes() -> None:
    x = tg.zeros(1 << 20)
    (one,) = tg.plan(lambda: x + x, gpu="A100").launches
    assert one.family == "elementwise" and one.bytes in (8 << 20, 12 << 20)
    assert one.floor_ms == pytest.approx(one.bytes / 2.039e12 * MS)


def test_peak_memory_counts_what_was_there_and_what_is_made() -> None:
    """x is 4 MiB, y and z 4 MiB each; y falls before w (512 bytes for its 4) is made."""
    x = tg.zeros(1 << 20)

    def f(x: tg.Tensor) -> tg.Tensor:
        y = x + 1
        z = y * 2
        del y
        w = z.sum()
        return w

    assert tg.plan(f, x).peak_memory == 3 * (4 << 20)


def test_peak_memory_of_a_second_step() -> None:
    """Parameters, moments and gradients of 1 MiB each; the real gradient that the step drops first is not counted
    besides the new one. Weight decay and the like need no copy."""
    layer = nn.Linear(512, 512, bias=False)
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    x = tg.zeros(1, 512)

    def step() -> None:
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()

    step()
    assert 3 << 20 <= tg.plan(step).peak_memory < (3 << 20) + (1 << 15)


def test_gpus() -> None:
    trainer = Trainer()
    by_name, by_arch, by_card = (tg.plan(trainer.step, gpu=g) for g in ("h200", "sm_90", GPUS["H200"]))
    assert by_name.to_dict() == by_arch.to_dict() == by_card.to_dict()
    assert tg.plan(trainer.step, gpu="H100").floor_ms > by_name.floor_ms > tg.plan(trainer.step, gpu="B200").floor_ms
    for name, gpu in GPUS.items():
        assert gpu.name == name and gpu.source and of_arch(gpu.arch).arch == gpu.arch
    with pytest.raises(ValueError, match="GPU 'H300' is not one of H200, H100, A100, B200"):
        tg.plan(trainer.step, gpu="H300")
    with pytest.raises(ValueError, match="architecture 'sm_70' is not one of sm_100, sm_80, sm_90"):
        tg.plan(trainer.step, gpu="sm_70")


def planned_step(name: str) -> tg.Plan:
    """The plan of a step in bf16 at batch 256, whose model nobody keeps."""
    step: Any = None

    def once() -> None:
        nonlocal step
        step = step or training_step(name, 256, 224, tg.bfloat16)
        step()

    planned = tg.plan(once, name=name)
    assert step is None
    return planned


def test_the_plan_of_a_step_without_bottlenecks() -> None:
    planned = planned_step("resnet18")
    assert planned.floors is not None
    assert planned.bytes < 0.92 * planned.floors["b1"].bytes
    assert "_moments" not in {one.kernel for one in planned.launches}, "convolutions take them"


def test_the_plan_of_a_large_step() -> None:
    """ResNet-50 in bf16 at batch 256 prints its totals beside the floors, and moves hardly more bytes than design c."""
    planned = planned_step("resnet50")
    assert planned.floors is not None
    assert planned.floors["c+"].ms < planned.floor_ms < planned.floors["b1"].ms
    assert planned.bytes < 1.1 * planned.floors["c"].bytes and len(planned.launches) <= 300
    assert 10e9 < planned.peak_memory < 11.5e9, "what the forward pass keeps, 10.2 GB, and little besides"
    text = str(planned)
    assert "resnet50 on H200 (sm_90): 790 TFLOP/s" in text and "measured" in text
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    assert rows["b"][1:3] == ["379", f"{planned.floors['b'].bytes / 1e9:.2f}"]
    totals = [str(len(planned.launches)), f"{planned.bytes / 1e9:.2f}", f"{planned.floor_ms:.2f}", "1.00"]
    assert rows["this plan"][-4:] == totals
    assert len(str(planned.launch_table()).splitlines()) == len(planned.launches) + 1


def test_a_function_without_operations_has_no_floors() -> None:
    x = tg.zeros(4)

    def f() -> tg.Tensor:
        with tg.no_grad():
            return x + 1

    planned = tg.plan(f)
    assert planned.floors is None and planned.to_dict()["floors"] is None
    assert "this plan" in str(planned) and planned.name == "f"
    assert tg.plan(lambda: None).launches == ()


def test_arguments_reach_the_function() -> None:
    assert len(tg.plan(lambda x, *, times: [x + 1 for _ in range(times)], tg.zeros(2), times=3).launches) == 3


def test_a_plan_within_a_plan_is_refused() -> None:
    with pytest.raises(RuntimeError, match="plans itself"):
        tg.plan(lambda: tg.plan(lambda: None))


def test_a_momentum_that_averages_over_batches_can_be_planned() -> None:
    norm = nn.BatchNorm2d(2, momentum=None)
    tg.plan(lambda: norm(tg.zeros(2, 2, 2, 2)))
    assert norm.num_batches_tracked.item() == 0


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tg.plan(Trainer().step).plot(tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")
    x = tg.zeros(4)
    tg.plan(x.clone).plot(tmp_path / "copy.png")
    with pytest.raises(ValueError, match="without launches"):
        tg.plan(lambda: None).plot(tmp_path / "nothing.png")


# ---------------------------------------------------------------------------------------------------- leaves no trace


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("before", [0, 1])
def test_training_goes_on_as_if_there_had_been_no_plan(optimizer: str, before: int) -> None:
    plain, planned = Trainer(optimizer), Trainer(optimizer)
    tg.manual_seed(1)
    for _ in range(before + 2):
        plain.step()
    expected = plain.state()
    tg.manual_seed(1)
    for _ in range(before):
        planned.step()
    untouched = planned.state(), [p._version for p in planned.model.parameters()]
    tg.plan(planned.step)
    assert (planned.state(), [p._version for p in planned.model.parameters()]) == untouched
    assert len(planned.optimizer.state) == (0 if before == 0 else len(list(planned.model.parameters())))
    for _ in range(2):
        planned.step()
    assert planned.state() == expected


def test_a_function_that_raises_is_undone_too() -> None:
    trainer = Trainer()
    trainer.step()
    before = trainer.state()

    def fails() -> None:
        trainer.step()
        trainer.model.eval()
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        tg.plan(fails)
    assert trainer.state() == before and trainer.model.training


TABLE: dict[str, Any] = {}


def test_what_a_function_can_reach_is_put_back() -> None:
    """Containers, closures, globals, partials, methods, generators of random numbers."""
    counter, window, seen, weight = 0, deque([1, 2], maxlen=2), {1}, tg.ones(2, requires_grad=True)
    own, theirs = np.random.default_rng(0), python_random.Random(0)
    generator = tg.Generator()
    late: Any

    def f(extra: list[int], *, more: dict[str, Any]) -> None:
        nonlocal counter, late
        global ASSIGNED
        counter += 1
        late = tg.zeros(1)
        ASSIGNED = tg.zeros(1)
        TABLE["x"] = tg.zeros(1)
        window.append(3)
        seen.add(2)
        extra.append(1)
        more["y"] = extra
        own.random(), theirs.random(), np.random.random(), python_random.random(), generator.next_stream()
        weight.sum().backward()
        weight.register_hook(lambda g: g)
        with tg.no_grad():
            weight.add_(1)

    np.random.seed(0)
    python_random.seed(0)
    extra: list[int] = []
    more: dict[str, Any] = {}
    tg.plan(functools.partial(f, extra), more=more)
    assert (counter, list(window), seen, extra, more, TABLE) == (0, [1, 2], {1}, [], {}, {})
    assert "ASSIGNED" not in globals()
    with pytest.raises(NameError):
        late  # noqa: B018
    assert weight.grad is None and weight._version == 0 and not weight.hooks and weight.tolist() == [1, 1]
    assert own.random() == np.random.default_rng(0).random()
    assert np.random.random() == np.random.RandomState(0).random()
    assert theirs.random() == python_random.random() == python_random.Random(0).random()
    assert generator._draws == 0


def test_a_graph_that_was_there_can_still_be_used() -> None:
    x = tg.ones(3, requires_grad=True)
    y = (x * x).sum()
    with pytest.raises(RuntimeError, match="a second time"):  # as a plan calls twice
        tg.plan(y.backward)
    assert x.grad is None
    y.backward()
    assert x.grad is not None and x.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("SGD", {}, 0),
        ("Adam", {"amsgrad": True}, 3),
        ("RMSprop", {"centered": True, "momentum": 0.9}, 3),
        ("Adagrad", {}, 1),
        ("Adadelta", {}, 2),
        ("Adamax", {}, 2),
    ],
)
def test_floors_know_what_optimizers_keep(name: str, options: dict[str, Any], kept: int) -> None:
    layer = nn.Linear(64, 64, bias=False)
    optimizer = getattr(tg.optim, name)(layer.parameters(), **options)
    x = tg.ones(2, 64)

    def step(update: bool = True) -> None:
        optimizer.zero_grad()
        layer(x).sum().backward()
        if update:
            optimizer.step()

    with_update, without = (tg.plan(step, u).floors["b"].bytes for u in (True, False))
    assert with_update - without == 64 * 64 * 4 * (3 + 2 * kept)
