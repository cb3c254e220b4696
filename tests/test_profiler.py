"""What a profile says of launches: who asked for them, how long they take, what memory they hold."""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import tritongrad as tg
from tritongrad import nn
from tritongrad.autograd import observation
from tritongrad.autograd.profiler import profile as older_profile
from tritongrad.nn import functional as F
from tritongrad.profiler import ProfilerAction, ProfilerActivity, profile, record_function, schedule
from tritongrad.profiler.table import SORTS
from tritongrad.utils.checkpoint import checkpoint
from tritongrad_kernels import INTERPRETED, driver, launch, memory, pending


class Block(nn.Module):
    """A residual block with a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 16, 3))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.head(F.relu(self.bn(self.conv(x)) + x))


class Step:
    """One of training, on very little."""

    def __init__(self) -> None:
        self.model = Block()
        self.optimizer = tg.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.x = tg.rand(2, 4, 4, 4).contiguous(memory_format=tg.channels_last)
        self.labels = tg.tensor([0, 2])

    def __call__(self) -> None:
        loss = F.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def rows(p: profile) -> list[tuple[str, str, str]]:
    return [(e.op, e.module, e.phase) for e in p.events() if not e.is_user_annotation]


@pytest.fixture(scope="module")
def stepped() -> tuple[profile, list[launch.Launch]]:
    """One step that was profiled, and what listened to its launches besides."""
    step = Step()
    step()
    with profile(record_shapes=True, with_stack=True) as p, launch.recording() as log, record_function("whole", "-"):
        step()
    return p, log


def test_each_launch_has_who_asked_for_it(stepped: Any) -> None:
    p, log = stepped
    found = rows(p)
    assert [e.kernel.partition("[")[0] for e in p.events() if e.kernel] == [one.kernel for one in log]
    assert ("conv2d", "conv", "forward") in found
    assert ("batch_norm+add+relu", "bn", "forward") in found
    assert ("linear", "head.1", "forward") in found
    assert ("cross_entropy", "", "forward") in found
    assert ("CrossEntropyBackward0", "", "backward") in found
    assert ("LinearBackward0", "head.1", "backward") in found
    assert ("BatchNormBackward0", "bn", "backward") in found
    assert ("ConvolutionBackward0", "conv", "backward") in found
    assert found[-1] == ("SGD.step", "", "step")


def test_declared_figures_and_shapes(stepped: Any) -> None:
    p, log = stepped
    launches = [e for e in p.events() if not e.is_user_annotation]
    assert [(e.flops, e.bytes, e.grid) for e in launches] == [(one.flops, one.bytes, one.grid) for one in log]
    conv = next(e for e in launches if e.kernel == "_conv2d")
    assert conv.input_shapes == [[2, 4, 4, 4], [4, 4, 3, 3]]
    assert conv.stack[0].startswith(f"{__file__}:")
    assert next(e for e in launches if e.op == "batch_norm+add+relu").put_off
    assert all(e.host_us > 0 and e.ran_us > 0 for e in launches)


def test_labels_have_what_is_inside_them(stepped: Any) -> None:
    p, _ = stepped
    whole = next(e for e in p.events() if e.is_user_annotation)
    launches = [e for e in p.events() if not e.is_user_annotation]
    assert whole.key == "whole" and whole.bytes == sum(e.bytes for e in launches)
    assert whole.device_us == pytest.approx(sum(e.device_us for e in launches))
    assert whole.self_device_time_total == 0 and whole.cpu_time_total >= sum(e.host_us for e in launches) * 0.99


def test_averages(stepped: Any) -> None:
    p, log = stepped
    averages = p.key_averages()
    assert sum(a.count for a in averages if not a.is_user_annotation) == len(log)
    assert averages.self_device_time_total == pytest.approx(p.events().total_average().device_time_total)
    product = next(a for a in averages if a.key == "LinearBackward0" and a.kernel == "_matmul")
    assert product.count == 2 and product.cuda_time == product.device_time == product.cuda_time_total / 2
    modules = {a.key: a.count for a in p.key_averages(by="module")}
    assert "whole" not in modules and modules["conv"] == sum(e.module == "conv" for e in p.events())
    assert {a.phase for a in p.key_averages(by=("phase", "family"))} == {"forward", "backward", "step"}
    with pytest.raises(ValueError, match="grouped by op, kernel, module, phase, family, grid, not by 'colour'"):
        p.key_averages(by="colour")


def test_a_table_says_what_its_times_are(stepped: Any) -> None:
    p, log = stepped
    text = p.key_averages().table(sort_by="cuda_time_total", row_limit=3, header="a step")
    lines = text.splitlines()
    assert lines[0] == "a step" and "MODELLED" in lines[1] and "H200" in lines[1]
    assert "interpreter" in text and "H200 modelled" in text and "more rows)" in text
    assert f"{len(log)} launches" in lines[-2] and lines[-1].startswith("peak memory on cpu: ")
    assert "roofline" not in text  # a model's share of itself
    for name in SORTS:
        p.events().table(sort_by=name)
    assert "head.1" in p.events().table() and "[2, 4, 4, 4]" in p.events().table()
    assert "test_profiler.py:" in p.key_averages(True, 5).table(max_src_column_width=30)
    assert "(label)" not in p.key_averages().table(top_level_events_only=True)
    with pytest.raises(ValueError, match="table: 'beauty' is not one of cpu_time, "):
        p.key_averages().table(sort_by="beauty")
    with pytest.raises(ValueError, match="time_unit must be us, ms or s"):
        p.key_averages().table(time_unit="h")


# ------------------------------------------------------------------------------------------------------------- traces


def nested(events: list[dict[str, Any]]) -> None:
    """Stretches of one track lie inside one another or apart, or a viewer cannot draw them."""
    tracks: dict[Any, list[dict[str, Any]]] = {}
    for e in events:
        if e["ph"] == "X":
            tracks.setdefault((e["pid"], e["tid"]), []).append(e)
    for track in tracks.values():
        open_until: list[float] = []
        for e in sorted(track, key=lambda e: (e["ts"], -e["dur"])):
            while open_until and open_until[-1] <= e["ts"] + 2e-3:  # times are rounded to nanoseconds
                open_until.pop()
            assert not open_until or e["ts"] + e["dur"] <= open_until[-1] + 2e-3, e
            open_until.append(e["ts"] + e["dur"])


def test_a_trace_is_what_viewers_read(stepped: Any, tmp_path: Path) -> None:
    p, log = stepped
    path = tmp_path / "trace.json"
    p.export_chrome_trace(path)
    p.export_chrome_trace(tmp_path / "trace.json.gz")
    trace = json.loads(path.read_text())
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes())) == trace
    assert sorted(f.name for f in tmp_path.iterdir()) == ["trace.json", "trace.json.gz"]
    assert trace["otherData"]["modelled"] is True and "MODELLED" in trace["otherData"]["time"]
    events = trace["traceEvents"]
    for e in events:
        assert e["ph"] in "XCM" and isinstance(e["name"], str) and e["ts"] >= 0 and {"pid", "tid"} <= set(e)
        assert e["ph"] != "X" or e["dur"] >= 0
        assert e["ph"] != "C" or e["args"]["bytes"] >= 0
    nested(events)
    kernels = [e for e in events if e.get("cat") == "kernel, modelled"]
    assert [e["name"].partition("[")[0] for e in kernels] == [one.kernel for one in log]
    assert kernels[0]["ts"] == 0 and {e["pid"] for e in kernels} == {1}
    processes = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert processes[1] == "H200, MODELLED: least times, end to end"
    module = next(e for e in events if e.get("cat") == "module" and e["name"] == "conv")
    inside = next(e for e in events if e["name"] == "conv2d: _conv2d")
    assert module["ts"] <= inside["ts"] and inside["ts"] + inside["dur"] <= module["ts"] + module["dur"]
    assert inside["args"]["module"] == "conv" and inside["args"]["grid"] and inside["args"]["bytes"] > 0
    assert any(e.get("cat") == "backward" and e["name"] == "ConvolutionBackward0" for e in events)


def test_a_trace_that_cannot_be_written_leaves_what_was_there(stepped: Any, tmp_path: Path) -> None:
    p, _ = stepped
    path = tmp_path / "trace.json"
    path.write_text("before")
    p.add_metadata_json("lost", "1")
    p._metadata["lost"] = object()
    try:
        with pytest.raises(TypeError):
            p.export_chrome_trace(path)
    finally:
        del p._metadata["lost"]
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    p.add_metadata("run", "seven")
    p.export_chrome_trace(path)
    assert json.loads(path.read_text())["run"] == "seven"


# -------------------------------------------------------------------------------------------------------------- times


def test_a_dry_profile_is_the_plan() -> None:
    """Nothing runs, and the modelled times are the floors that a plan has."""
    step = Step()
    planned = tg.plan(step, gpu="A100")
    with profile(dry_run=True, gpu="A100") as p:
        step = Step()
        step()
        before = memory.in_dry_run()
        with profile(gpu="A100") as second:
            step()
    assert before and not memory.in_dry_run()
    launches = [e for e in second.events() if not e.is_user_annotation]
    assert [(e.kernel.partition("[")[0], e.family) for e in launches] == [
        (one.kernel, one.family) for one in planned.launches
    ]
    assert sum(e.device_us for e in launches) == pytest.approx(planned.floor_ms * 1e3)
    assert "A dry run: no kernel ran." in str(second.key_averages()) and "A100 modelled" in str(second.key_averages())
    assert len(p.events()) > len(launches) and p.peak_memory["cpu, dry run"] > 0


class Clock:
    """Stamps of a GPU that is not there: each comes 5 us after the last."""

    def __init__(self) -> None:
        self.moments = itertools.count(0, 5)

    def __call__(self) -> Any:
        return Stamp(next(self.moments) * 1e-6)


class Stamp:
    device, stream = 0, 7

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def seconds_to(self, later: Any) -> float:
        return later.moment - self.moment


def measured(monkeypatch: pytest.MonkeyPatch, stamp: Any, name: str = "NVIDIA H200") -> profile:
    monkeypatch.setattr(driver, "stamp", stamp)
    monkeypatch.setattr(driver, "gpu_name", lambda index: name)
    monkeypatch.setattr("tritongrad.profiler.recording._on_gpu", lambda: True)
    monkeypatch.setattr("tritongrad_kernels.INTERPRETED", False)
    return profile()


def test_events_of_a_gpu_are_what_times_are_then(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tg.rand(8, 8)
    with measured(monkeypatch, Clock()) as p:
        monkeypatch.setattr("tritongrad_kernels.INTERPRETED", True)
        x @ x + x
    product, total = p.events()
    assert (product.device_us, total.device_us) == (5.0, 5.0) and product.roofline == product.floor_us / 5.0
    text = p.key_averages().table()
    assert "launches fill 67% of the GPU's time" in text  # two times 5 us of 15
    assert "measured on NVIDIA H200 by CUDA events" in text and "roofline %" in text and "MODELLED" not in text
    trace = json.loads(json.dumps(tg.profiler.trace.trace_of(p._done[0])))
    kernels = [e for e in trace["traceEvents"] if e.get("cat") == "kernel"]
    assert [(e["dur"], e["pid"], e["tid"]) for e in kernels] == [(5.0, 1, 7)] * 2
    first, second = p._done[0].launches
    assert second.device_start - first.device_start == 10_000
    assert trace["otherData"]["modelled"] is False


class Stream:
    device_index, cuda_stream = 3, 77


class CudaEvent:
    """torch's, without a GPU."""

    recorded: list[Any] = []  # noqa: RUF012

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: Any) -> None:
        self.recorded.append(stream)

    def elapsed_time(self, later: Any) -> float:
        return 1.5  # milliseconds


def test_stamps_are_torchs_events(monkeypatch: pytest.MonkeyPatch) -> None:
    capturing, stream = [True, False, False], Stream()
    assert driver.stamp() is None or not INTERPRETED
    monkeypatch.setattr(driver, "DEFAULT_DEVICE", driver.Device("cuda", 3))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing.pop(0))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "Event", CudaEvent)
    assert driver.stamp() is None
    first, last = driver.stamp(), driver.stamp()
    assert first is not None and last is not None and (first.device, first.stream) == (3, 77)
    assert first.seconds_to(last) == 0.0015 and CudaEvent.recorded == [stream, stream]


def test_launches_that_a_gpu_did_not_time_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a graph is captured; and a GPU whose ceilings nobody knows has no roofline."""
    clock = Clock()
    answers = iter([clock, clock, clock, lambda: None])
    x = tg.rand(8)
    with measured(monkeypatch, lambda: next(answers)(), "NVIDIA GH200 480GB") as p:
        monkeypatch.setattr("tritongrad_kernels.INTERPRETED", True)
        x + x
        x * x
    text = p.key_averages().table()
    assert [e.device_us for e in p.events()] == [5.0, 0.0] and "1 launches were not timed" in text
    assert "roofline" not in text and "bound by" not in text


def test_without_cuda_among_the_activities_no_gpu_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = []
    monkeypatch.setattr(driver, "stamp", lambda: stamps.append(1))
    x = tg.rand(8)
    with profile(activities=[ProfilerActivity.CPU]):
        x + x
    assert len(stamps) == 1  # where the clocks are compared


# ------------------------------------------------------------------------------------------------------------- memory


def test_the_memory_timeline_has_every_byte() -> None:
    gc.collect()
    old = tg.zeros(1000)
    with profile() as p:
        new = tg.zeros(500)
        del old
        del new
    line = p.memory_timeline["cpu"]
    sizes = [nbytes for _, nbytes in line]
    steps = [b - a for a, b in itertools.pairwise(sizes)]
    assert steps == [2000, -4000, -2000] and sizes[0] >= 4000
    assert [moment for moment, _ in line] == sorted(moment for moment, _ in line)
    assert p.peak_memory == {"cpu": sizes[0] + 2000}
    assert [e.allocated for e in p.events()] == [2000]


def test_memory_that_waits_counts_when_it_is_there() -> None:
    """A promised block takes over the bytes of another: they are counted once."""
    norm = nn.BatchNorm2d(2).eval()
    x = tg.rand(1, 2, 4, 4)
    norm(x)
    gc.collect()
    with tg.no_grad(), profile() as p:
        y = norm(x)
        y.tolist()
        del y
    sizes = [nbytes for _, nbytes in p.memory_timeline["cpu"]]
    assert sizes[0] == sizes[-1] and max(sizes) >= sizes[0] + 128


def test_a_dry_runs_timeline_is_what_it_counts() -> None:
    with memory.dry_run() as run, profile() as p:
        Step()()
    assert p.peak_memory["cpu, dry run"] == run.peak


def test_memory_timelines_as_files(stepped: Any, tmp_path: Path) -> None:
    p, _ = stepped
    p.export_memory_timeline(tmp_path / "memory.json", device="cpu")
    found = json.loads((tmp_path / "memory.json").read_text())
    assert found["cpu"] == [list(pair) for pair in p.memory_timeline["cpu"]]
    with pytest.raises(ValueError, match=r"only \.json and \.json\.gz are written"):
        p.export_memory_timeline(str(tmp_path / "memory.html"))
    with pytest.raises(ValueError, match="no memory was used on 'cuda:0'; known are cpu"):
        p.export_memory_timeline(tmp_path / "memory.json", device="cuda:0")
    with profile(profile_memory=False) as bare:
        tg.zeros(3)
    assert bare.memory_timeline == {} and "allocated" not in bare.key_averages().table()


# ------------------------------------------------------------------------------------------------- who is asked, where


def test_nobody_listens_unless_somebody_profiles() -> None:
    around = launch.around
    with pytest.raises(ZeroDivisionError), profile() as p:
        tg.zeros(3)
        1 / 0  # noqa: B018
    assert len(p.events()) == 1
    assert launch.around is around and memory.watch is None and pending.noted is None and observation.observer is None
    assert not launch._listeners


def test_profiles_inside_and_across_one_another() -> None:
    first, second = profile(profile_memory=False), profile()
    first.start()
    tg.zeros(3)
    second.start()
    with record_function("both"):
        tg.ones(3)
    first.stop()
    tg.zeros(4)
    second.stop()
    assert [e.op for e in first.events()] == ["zeros", "ones", "both"]
    assert [e.op for e in second.events()] == ["ones", "zeros", "both"]
    assert first.memory_timeline == {} and second.memory_timeline and observation.observer is None


def test_starting_and_stopping() -> None:
    p = profile()
    with pytest.raises(RuntimeError, match="events: nothing has been recorded yet"):
        p.events()
    with pytest.raises(RuntimeError, match=r"step\(\) is for a profile that is running"):
        p.step()
    p.stop()
    p.start()
    with pytest.raises(RuntimeError, match="it is running already"):
        p.start()
    label = record_function("never left")
    label.__enter__()
    tg.zeros(3)
    p.stop()
    label.__exit__(None, None, None)
    assert [e.op for e in p.events()] == ["zeros", "never left"] and p.events()[1].host_us > 0
    p.stop()


def test_launches_that_waited_belong_to_who_asked() -> None:
    """A batch norm promised before the profile is run at its beginning; one promised in it, at its end."""
    bn, x = nn.BatchNorm2d(2), tg.rand(2, 2, 3, 3)
    early = bn(x)
    with profile() as p:
        late = bn(x)
    waited = [e for e in p.events() if e.put_off]
    assert {e.op for e in p.events()} == {"batch_norm"} and waited and {e.module for e in waited} == {"BatchNorm2d"}
    assert early.shape == late.shape


def test_a_captured_graph_is_one_launch() -> None:
    x = tg.rand(16, 16)
    with profile() as apart:
        x @ x + x
    parts = [one.told for one in apart._done[0].launches]
    with profile() as p, launch.replaying(parts):
        pass
    (one,) = p.events()
    assert (one.kernel, one.family, one.grid) == ("graph of 2 launches", "graph", ())
    assert one.floor_us == pytest.approx(sum(e.floor_us for e in apart.events()))
    assert one.bytes == sum(e.bytes for e in apart.events()) and launch.graphs is None


def test_names_in_backward() -> None:
    class Double(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, dy: tg.Tensor) -> tg.Tensor:
            return dy * 2

    x = tg.rand(3, requires_grad=True)
    with profile() as p:
        y = Double.apply(x)
        y.exp().sum().backward()
        (g,) = tg.autograd.grad((x * x * x).sum(), x, create_graph=True)
        g.sum().backward()
    found = {(op, phase) for op, _, phase in rows(p)}
    assert {("ExpBackward0", "backward"), ("MulBackward0", "backward"), ("exp", "forward"), ("mul", "forward")} <= found
    assert ("AccumulateGrad", "backward") in found
    assert any(op.startswith("Double") for op, phase in found if phase == "backward")


def test_modules_of_several_models_and_recomputed_ones() -> None:
    one, two = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    x = tg.rand(1, 2, requires_grad=True)
    with profile() as p:
        y = one(x) + two(x)
        checkpoint(two[0], y, use_reentrant=False).sum().backward()
    modules = [module for op, module, phase in rows(p) if op == "linear"]
    assert modules == ["Sequential1.0", "Sequential2.0", "Sequential2.0", "Sequential2.0"]
    assert {module for op, module, _ in rows(p) if op == "LinearBackward0"} == {"Sequential1.0", "Sequential2.0"}


def test_threads_have_scopes_of_their_own() -> None:
    models = [nn.Sequential(nn.Linear(2, 2)) for _ in range(2)]
    barrier = threading.Barrier(2)

    def run(model: nn.Module) -> None:
        def meet(*_: Any) -> None:
            barrier.wait(10)

        with record_function(f"thread {models.index(model)}"):
            model[0].register_forward_pre_hook(meet)
            model(tg.ones(1, 2))

    with profile() as p:
        threads = [threading.Thread(target=run, args=(model,)) for model in models]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    products = [e for e in p.events() if e.op == "linear"]
    assert {e.module for e in products} == {"Sequential1.0", "Sequential2.0"} and len({e.thread for e in products}) == 2
    assert all(e.bytes == products[0].bytes + 8 for e in p.events() if e.is_user_annotation)  # and the ones it made
    nested(tg.profiler.trace.trace_of(p._done[0])["traceEvents"])


def test_decorated_functions_and_loaders_have_labels() -> None:
    @record_function("augment")
    def augment(x: tg.Tensor, depth: int = 1) -> tg.Tensor:
        return augment(x, depth - 1) if depth else x + 1

    nvtx, data = tg.cuda.nvtx, tg.utils.data.TensorDataset(tg.rand(4, 2))
    assert augment(tg.zeros(1)).item() == 1  # nobody profiles
    with profile() as p:
        for (x,) in tg.utils.data.DataLoader(data, batch_size=2):
            augment(x)
        with nvtx.range("range {}", 1):
            nvtx.range_push("inside")
            tg.zeros(1)
            nvtx.range_pop()
    counts = {a.key: a.count for a in p.key_averages()}
    assert counts["augment"] == 4 and counts["enumerate(DataLoader)"] == 3  # the last finds that there is no more
    assert counts["range 1"] == counts["inside"] == 1


# --------------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    "options",
    [
        {"wait": 1, "warmup": 1, "active": 3},
        {"wait": 0, "warmup": 0, "active": 1, "repeat": 2},
        {"wait": 2, "warmup": 1, "active": 2, "repeat": 2, "skip_first": 3},
        {"wait": 2, "warmup": 0, "active": 1, "skip_first": 1, "skip_first_wait": 1},
    ],
)
def test_schedules_are_torchs(options: dict[str, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that nothing warms up
        theirs = torch.profiler.schedule(**options)
    ours = schedule(**options)
    assert [ours(i).name for i in range(20)] == [theirs(i).name for i in range(20)]


def test_what_schedules_refuse() -> None:
    with pytest.raises(ValueError, match="schedule: active must be at least 1, got 0"):
        schedule(wait=1, warmup=1, active=0)
    with pytest.raises(ValueError, match="schedule: wait must be at least 0, got -1"):
        schedule(wait=-1, warmup=1, active=1)


@pytest.mark.parametrize(
    ("steps", "handed"),
    [(1, []), (3, [(3, 1)]), (6, [(4, 2), (6, 0)]), (7, [(4, 2), (7, 1)]), (9, [(4, 2), (8, 2)])],
)
def test_recordings_are_handed_over_when_done(steps: int, handed: list[tuple[int, int]]) -> None:
    """As torch does: after the last step of a cycle, and at the end for what was recorded until then. (number of the
    step, launches recorded); torch's own profiler crashes this process, so what it does was read from its source."""
    found: list[tuple[int, int]] = []

    def ready(p: profile) -> None:
        found.append((p.step_num, sum(e.op == "zeros" for e in p.events())))

    with profile(schedule=schedule(wait=1, warmup=1, active=2, repeat=2), on_trace_ready=ready) as p:
        for _ in range(steps):
            tg.zeros(2)
            p.step()
    assert found == handed


def test_steps_are_one_row_and_cycles_can_be_kept() -> None:
    with profile(schedule=lambda step: ProfilerAction.RECORD_AND_SAVE, acc_events=True) as p:
        for _ in range(3):
            tg.zeros(2)
            p.step()
    counts = {a.key: a.count for a in p.key_averages()}
    assert counts == {"zeros": 3, "ProfilerStep*": 4}


def test_a_published_script(tmp_path: Path) -> None:
    """As the PyTorch tutorials have it."""
    torch_ = tg
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), tg.rand(2, 4)
    with torch_.profiler.profile(
        activities=[torch_.profiler.ProfilerActivity.CPU, torch_.profiler.ProfilerActivity.CUDA],
        schedule=torch_.profiler.schedule(wait=1, warmup=1, active=1, repeat=1),
        on_trace_ready=torch_.profiler.tensorboard_trace_handler(str(tmp_path / "log"), worker_name="w", use_gzip=True),
        record_shapes=True, profile_memory=True, with_stack=True, with_flops=True, with_modules=True,
    ) as prof:  # fmt: skip
        for _ in range(4):
            with torch_.profiler.record_function("model_inference"):
                model(x)
            prof.step()
    print(prof.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_memory_usage", row_limit=10))
    (written,) = (tmp_path / "log").iterdir()
    assert written.name.startswith("w.") and written.name.endswith(".pt.trace.json.gz")
    assert json.loads(gzip.decompress(written.read_bytes()))["traceEvents"]


def test_older_names() -> None:
    with (
        older_profile(enabled=False) as off,
        tg.autograd.profiler.profile(use_cuda=False, record_shapes=True) as p,
        tg.autograd.profiler.record_function("label"),
    ):
        tg.zeros(2)
    assert [e.name for e in p.events()] == ["zeros", "label"] and p.key_averages().self_cpu_time_total > 0
    with pytest.raises(RuntimeError, match="nothing has been recorded yet"):
        off.key_averages()


def test_what_profiles_refuse() -> None:
    with pytest.raises(ValueError, match="profile: experimental_config is not offered"):
        profile(experimental_config=object())
    with pytest.raises(ValueError, match="activities must be some of"):
        profile(activities=["cpu"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="GPU 'abacus' is not one of H200"):
        profile(gpu="abacus")
    with pytest.raises(RuntimeError, match="whole stacks are not kept"):
        profile().export_stacks("x")
    assert ProfilerActivity.CPU in tg.profiler.supported_activities()
    assert profile(gpu="sm_80")._gpu.name == "A100"
