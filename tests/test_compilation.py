"""compile: steps that are replayed are the steps that Python would have made, to the bit."""

from __future__ import annotations

import copy
import gc
import os
import random
import re
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tritongrad as tg
from tritongrad import compiler, nn
from tritongrad.compilation import compiled as compilation
from tritongrad.nn import functional as F
from tritongrad_kernels import INTERPRETED, capture as recorder, driver, launch, memory
from tritongrad_kernels.array import Array

if INTERPRETED:
    from tritongrad_kernels import sanitize


interpreted = pytest.mark.skipif(not INTERPRETED, reason="about the interpreter, or a driver that is not there")
ROOT = Path(__file__).parent.parent
SANITIZED = (
    "test_steps_that_overflow_are_left_out_and_not_counted[adamw]",
    "test_attention_drops_other_probabilities_in_each_replay",
    "test_a_compiled_function_within_another_is_part_of_it",
)


def replayed(function: Any, **options: Any) -> Any:
    return tg.compile(function, options={"replay": True}, **options)


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing falls back to Python unless a test says so: warnings are errors. Few tests need the slow sanitizer."""
    if INTERPRETED and request.node.name not in SANITIZED:
        sanitize.stop()
        memory.POISON = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    compiler.reset()
    memory.POISON = False


def network(seed: int = 1, *, dropout: float = 0.0) -> nn.Sequential:
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, 3))


def batches(count: int = 7, n: int = 5) -> list[tuple[tg.Tensor, tg.Tensor]]:
    tg.manual_seed(2)
    return [(tg.randn(n, 4), tg.randint(0, 3, (n,))) for _ in range(count)]


class Training:
    """A network and its optimizer, and all that they are."""

    def __init__(self, optimizer: Callable[..., Any], dropout: float = 0.0) -> None:
        self.model = network(dropout=dropout)
        self.optimizer = optimizer(self.model.parameters())

    def state(self) -> Any:
        gradients = [None if p.grad is None else p.grad.tolist() for p in self.model.parameters()]
        return (
            {k: v.tolist() for k, v in self.model.state_dict().items()},
            [{k: v.tolist() for k, v in s.items()} for s in self.optimizer.state_dict()["state"].values()],
            gradients,
            tg.get_rng_state().tolist(),
        )


def sgd(parameters: Any) -> Any:
    return tg.optim.SGD(parameters, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01)


def adamw(parameters: Any) -> Any:
    return tg.optim.AdamW(parameters, lr=0.1)


def plain(t: Training) -> Callable:
    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        t.optimizer.zero_grad()
        loss = F.cross_entropy(t.model(x), y)
        loss.backward()
        t.optimizer.step()
        return {"loss": loss, "twice": [loss * 2]}

    return step


def gradients_zeroed_and_clipped(t: Training) -> Callable:
    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        t.optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(t.model(x), y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(t.model.parameters(), 0.05)
        t.optimizer.step()
        return loss, norm

    return step


def gradients_forgotten_at_the_end(t: Training) -> Callable:
    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        loss = F.cross_entropy(t.model(x), y)
        loss.backward()
        t.optimizer.step()
        t.optimizer.zero_grad()
        return loss

    return step


def two_steps_in_one(t: Training) -> Callable:
    once = plain(t)

    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        once(x, y)
        return once(x + 1, y)

    return step


def autocast(t: Training) -> Callable:
    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        t.optimizer.zero_grad()
        with tg.autocast("cpu"):
            loss = F.cross_entropy(t.model(x), y)
        loss.backward()
        t.optimizer.step()
        return loss

    return step


def noise(t: Training) -> Callable:
    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        t.optimizer.zero_grad()
        noisy = x + tg.randn(x.shape) * 0.1 + tg.randint(0, 3, (4,)) + tg.rand_like(x)
        loss = F.cross_entropy(t.model(noisy), y)
        loss.backward()
        t.optimizer.step()
        return loss

    return step


def values(result: Any) -> Any:
    if isinstance(result, tg.Tensor):
        return result.tolist()
    return [values(v) for v in (result.values() if isinstance(result, dict) else result)]


@pytest.mark.parametrize(
    "make, optimizer, dropout",
    [
        (plain, sgd, 0.0),
        (plain, adamw, 0.3),
        (gradients_zeroed_and_clipped, adamw, 0.0),
        (gradients_forgotten_at_the_end, sgd, 0.0),
        (two_steps_in_one, lambda p: tg.optim.NAdam(p, lr=0.01), 0.0),
        (autocast, adamw, 0.0),
        (noise, lambda p: tg.optim.RMSprop(p, lr=0.01, momentum=0.5), 0.0),
    ],
)
def test_replayed_steps_are_steps(make: Callable, optimizer: Callable, dropout: float) -> None:
    found, data = [], batches(8 if dropout else 5)
    for wrap in (lambda f: f, replayed):
        t = Training(optimizer, dropout)
        schedule = tg.optim.lr_scheduler.StepLR(t.optimizer, 2, 0.5)
        step, results = wrap(make(t)), []
        tg.manual_seed(3)
        for x, y in data:
            results.append(values(step(x, y)))
            schedule.step()
        found.append((results, t.state()))
    assert repr(found[0]) == repr(found[1])
    assert len(step.captured) == 1


def scaled(t: Training) -> tuple[Callable, tg.amp.GradScaler]:
    scaler = tg.amp.GradScaler(init_scale=2.0**14, growth_interval=3)

    def step(x: tg.Tensor, y: tg.Tensor, boost: tg.Tensor) -> tg.Tensor:
        t.optimizer.zero_grad()
        with tg.autocast("cpu", dtype=tg.float16):
            loss = F.cross_entropy(t.model(x), y)
        scaler.scale(loss * boost).backward()
        scaler.unscale_(t.optimizer)
        nn.utils.clip_grad_norm_(t.model.parameters(), 1.0)
        scaler.step(t.optimizer)
        scaler.update()
        return loss

    return step, scaler


@pytest.mark.parametrize("optimizer", [sgd, adamw])
def test_steps_that_overflow_are_left_out_and_not_counted(optimizer: Callable) -> None:
    found, data = [], batches(6)
    for wrap in (lambda f: f, replayed):
        t = Training(optimizer)
        inner, scaler = scaled(t)
        step = wrap(inner)
        states = []
        for k, (x, y) in enumerate(data):
            boost = tg.tensor(float("inf") if k == 4 else 1.0)
            states.append((values(step(x, y, boost)), scaler.state_dict(), t.state()))
        found.append(states)
    assert repr(found[0]) == repr(found[1])
    assert len(step.captured) == 1 and {scale["scale"] for _, scale, _ in found[0]} == {2.0**14, 2.0**15}


def test_gradients_accumulate_over_calls() -> None:
    found, data = [], batches(8)
    for wrap in (lambda f: f, replayed):
        t, states = Training(sgd), []

        def forward(x: tg.Tensor, y: tg.Tensor, t: Training = t) -> tg.Tensor:
            loss = F.cross_entropy(t.model(x), y)
            loss.backward()
            return loss

        step = wrap(forward)
        for k, (x, y) in enumerate(data):
            states.append((values(step(x, y)), t.state()))
            if k % 2:
                t.optimizer.step()
                t.optimizer.zero_grad()
        found.append(states)
    assert repr(found[0]) == repr(found[1])
    assert len(step.captured) == 2  # one makes gradients, the other adds to them


def test_a_module_is_replayed_forward_and_backward_with_the_rest_outside() -> None:
    found = []
    for wrap in (lambda f: f, replayed):
        t, states = Training(adamw, dropout=0.3), []
        model = wrap(t.model)
        tg.manual_seed(3)
        for k, (x, y) in enumerate([*batches(6), *batches(3, n=3)]):
            x = x.requires_grad_()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            states.append((loss.item(), x.grad.tolist(), t.state()))
            if k % 3 == 2:  # gradients of several batches are added up
                t.optimizer.step()
                t.optimizer.zero_grad()
        model.eval()
        with tg.no_grad():
            states.append([model(x).tolist() for x, _ in batches(3)])
        found.append(states)
    assert repr(found[0]) == repr(found[1])
    assert type(model).__name__ == "OptimizedModule" and len(model._compiled.captured) == 3


# -------------------------------------------------------------------------------------------------------------- guards


RAN: list[int] = []


def note() -> None:
    """Said by steps that Python runs. What functions of the library name is not looked at."""
    RAN.append(1)


note.__module__ = "tritongrad"


class Settings:
    def __init__(self) -> None:
        self.factor = 1.0
        self.more: list[float] = []


def counted(optimizer: Callable[..., Any] = sgd, **options: Any) -> tuple[Training, Settings, Callable, Any]:
    """A training step of two arguments, and a function that says how often Python runs it until it is replayed."""
    t, settings = Training(optimizer), Settings()
    t.model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    t.optimizer = optimizer(t.model.parameters())
    inner = plain(t)

    def step(x: tg.Tensor, y: tg.Tensor, scale: float = 1.0) -> tg.Tensor:
        note()
        return inner(x * settings.factor * (scale + sum(settings.more)), y)["loss"]

    compiled = replayed(step, recompile_limit=20, **options)

    def runs(*args: Any, **more: Any) -> int:
        for k in range(6):
            before = len(RAN)
            compiled(*args, **more)
            if len(RAN) == before:
                return k
        return 6

    x, y = batches(1)[0]
    assert runs(x, y) == 3 and runs(x, y) == 0  # without momentum at first, then to load kernels, then to be captured
    return t, settings, runs, compiled


def test_what_the_function_finds_changed_is_captured_anew() -> None:
    """Each change is seen, run twice (to load kernels, and to be captured) and then replayed; back is known still."""
    t, settings, runs, _ = counted()
    x, y = batches(1)[0]
    model, first = t.model, t.model[0]

    def other(change: Callable[[], Any], back: Callable[[], Any], *, times: int = 2) -> None:
        change()
        assert runs(x, y) == times and runs(x, y) == 0
        back()
        assert runs(x, y) == 0

    other(model.eval, model.train)
    other(lambda: settings.more.append(1.0), settings.more.clear)
    other(lambda: setattr(model[1], "momentum", 0.3), lambda: setattr(model[1], "momentum", 0.1))
    old = model[1].running_mean
    other(lambda: setattr(model[1], "running_mean", old.clone()), lambda: setattr(model[1], "running_mean", old))
    first.weight.requires_grad_(False)
    assert runs(x, y) == 3 and runs(x, y) == 0  # it has a gradient the first time


def test_arguments_are_told_apart() -> None:
    _, _, runs, _ = counted()
    x, y = batches(1)[0]
    assert runs(x[:3], y[:3]) == 2 and runs(x[:3], y[:3]) == 0  # the last batch
    assert runs(x, y, 2.0) == 2 and runs(x, y, 2) == 2 and runs(x, y) == 0
    assert runs(x, y, scale=2.0) == 2


def test_learning_rates_and_other_numbers_of_optimizers_are_those_of_today() -> None:
    t, _, runs, _ = counted()
    x, y = batches(1)[0]
    before = [p.tolist() for p in t.model.parameters()]
    t.optimizer.param_groups[0].update(lr=0.0, weight_decay=0.3, momentum=0.5)
    assert runs(x, y) == 0 and [p.tolist() for p in t.model.parameters()] == before
    t.optimizer.param_groups[0]["momentum"] = 0.0  # another launch
    assert runs(x, y) == 2
    t.optimizer.load_state_dict(t.optimizer.state_dict())
    assert runs(x, y) == 2


def test_replaced_parameters_are_found() -> None:
    t, _, runs, _ = counted()
    x, y = batches(1)[0]
    t.model[0].weight = nn.Parameter(tg.zeros(3, 4))
    t.optimizer.add_param_group({"params": [t.model[0].weight]})
    old = t.model[0].weight.tolist()
    assert runs(x, y) == 3 and t.model[0].weight.tolist() != old
    t.model[0].bias.data = t.model[0].bias.data.clone()
    moved = t.model[0].bias.tolist()
    assert runs(x, y) == 2 and t.model[0].bias.tolist() != moved


def test_values_written_to_parameters_are_seen() -> None:
    t, _, runs, compiled = counted()
    x, y = batches(1)[0]
    losses = [compiled(x, y).item()]
    with tg.no_grad():
        t.model[1].weight.zero_()
        t.model[1].bias.zero_()
    losses.append(compiled(x, y).item())
    assert runs(x, y) == 0 and losses[0] != losses[1] == pytest.approx(1.0986123)


def test_a_compiled_function_within_another_is_part_of_it() -> None:
    inner = replayed(lambda x: x * 2)
    outer = replayed(lambda x: inner(x) + 1)
    assert [outer(tg.ones(2) * k).tolist() for k in range(4)] == [[2.0 * k + 1] * 2 for k in range(4)]
    assert len(outer.captured) == 1 and not inner.captured


def test_an_exception_leaves_everything_as_it_was() -> None:
    t = Training(adamw, dropout=0.5)
    fails = Settings()
    inner = plain(t)

    def step(x: tg.Tensor, y: tg.Tensor) -> Any:
        loss = inner(x, y)["loss"]
        if compiler.is_compiling() and memory.capturing() is not None and fails.more:
            raise ValueError("no more")
        return loss

    compiled = replayed(step)
    (x, y), fails.more = batches(1)[0], [1.0]
    compiled(x, y)
    compiled(x, y)
    before = t.state()
    with pytest.raises(ValueError, match="no more"):
        compiled(x, y)
    assert repr(t.state()) == repr(before) and memory.capturing() is None
    fails.more = []
    for _ in range(3):
        compiled(x, y)
    assert len(compiled.captured) == 1 and t.optimizer.state[t.model[0].weight]["step"].item() == 5


@pytest.mark.parametrize(
    "name, look",
    [
        ("item()", lambda x: x.sum().item()),
        ("bool() of a tensor", lambda x: 1 if x.sum() > 0 else 2),
        ("print() of a tensor", repr),
        ("tolist()", lambda x: x.tolist()),
        ("numpy()", lambda x: x.numpy()),
        ("float() of a tensor", lambda x: float(x.sum())),
        ("nonzero", lambda x: x.nonzero()),
        ("a random choice made on the host", lambda x: tg.randperm(3)),
    ],
)
@pytest.mark.parametrize("replay", [True, False])
def test_looking_at_values_is_refused_by_name(name: str, look: Callable, replay: bool) -> None:
    function = tg.compile(lambda x: (look(x), x + 1)[1], options={"replay": replay})
    with pytest.raises(RuntimeError, match=re.escape(name) + ".* inside a compiled function.*move it outside"):
        function(tg.ones(3))
    assert look(tg.ones(3)) is not None  # and allowed again


# ------------------------------------------------------------------------------------------------- what is not captured


def test_what_python_has_to_do_is_left_to_python() -> None:
    model, seen = network(), Settings()
    handle = model[0].register_forward_hook(lambda *a: seen.more.append(1.0))
    compiled = replayed(model)
    x = batches(1)[0][0]
    with pytest.warns(UserWarning, match="not captured: a Linear has hooks, which a replay would not call"):
        compiled(x)
    compiled(x), compiled(x)
    assert len(seen.more) == 3
    handle.remove()
    compiled(x), compiled(x), compiled(x)
    assert len(compiled._compiled.captured) == 1


@pytest.mark.parametrize(
    "why, make",
    [
        ("draws from an iterator", lambda: (lambda it: lambda x: x + next(it))(iter(range(9)))),
        ("is not to be captured", lambda: compiler.disable(lambda x: x + 1)),
        ("draws random numbers on the host", lambda: lambda x: x + random.random() * 0),
        ("state of a generator", lambda: lambda x: (tg.manual_seed(0), x + tg.rand(2))[1]),
        ("leaves a tensor behind", lambda: lambda x: (hide(x * 2), x + 1)[1]),
        ("ways that are not followed", lambda: lambda x: x + hidden()),
        ("shares memory", lambda: (lambda t: lambda x: x.add_(t))(SHARED)),
    ],
)
def test_what_cannot_be_replayed_runs_as_it_is(why: str, make: Callable) -> None:
    function = make()
    compiled, x = replayed(function), SHARED
    with pytest.warns(UserWarning, match=why):
        results = [compiled(x).tolist() for _ in range(3)]
    SHARED.copy_(tg.ones(2))
    plain = make()
    assert results == [plain(x).tolist() for _ in range(3)]
    SHARED.copy_(tg.ones(2))
    strict = replayed(make(), fullgraph=True)
    with pytest.raises(RuntimeError, match=f"fullgraph=True wants: .*{why}"):
        strict(x), strict(x)
    SHARED.copy_(tg.ones(2))


SHARED = tg.ones(2)
HIDDEN, KEPT = tg.ones(2), [tg.ones(2)]


def hidden() -> tg.Tensor:
    return HIDDEN


def hide(t: tg.Tensor) -> None:
    KEPT[0] = t


hidden.__module__ = hide.__module__ = "tritongrad"  # whose functions are not looked into


def test_attributes_that_change_in_each_call_are_seen_in_each_call() -> None:
    seen = Settings()

    def function(x: tg.Tensor) -> tg.Tensor:
        seen.factor += 1
        return x * seen.factor

    compiled = replayed(function)
    with pytest.warns(UserWarning, match=r"in a dict, .* became .*, again and again"):
        assert [compiled(tg.ones(1)).item() for _ in range(70)] == [2.0 + k for k in range(70)]
    assert not compiled.captured


def test_written_arguments_and_given_tensors_come_back() -> None:
    kept = tg.zeros(2)

    @replayed
    def function(x: tg.Tensor, pair: dict[str, tg.Tensor]) -> Any:
        x.add_(1)
        kept.add_(x)
        return x, kept, pair["a"].view(2, 1), (pair["a"] * 2, None, "text")

    for k in range(4):
        x, a = tg.ones(2) * k, tg.ones(2) * 10 * k
        first, second, third, (fourth, *rest) = function(x, {"a": a})
        assert first is x and second is kept and x.tolist() == [k + 1.0] * 2 and rest == [None, "text"]
        assert third.tolist() == [[10.0 * k]] * 2 and fourth.tolist() == [20.0 * k] * 2
    assert kept.tolist() == [10.0, 10.0] and len(function.captured) == 1


def test_gradients_that_somebody_keeps_are_not_written_over() -> None:
    t, _, _, compiled = counted()
    weight, kept = t.model[0].weight, []
    for x, y in batches(4):
        compiled(x, y)
        kept.append((weight.grad, weight.grad.tolist()))
    assert all(g.tolist() == was for g, was in kept) and kept[0][1] != kept[1][1]


def test_memory_is_given_back_with_the_function() -> None:
    _, _, runs, compiled = counted()
    recording = weakref.ref(compiled.captured[0]._recording)
    block = weakref.ref(next(iter(recording().touched.values())))
    compiler.reset()
    gc.collect()
    assert recording() is None and block() is None
    assert runs(*batches(1)[0]) == 2
    held = weakref.ref(compiled.captured[0])
    del runs, compiled
    gc.collect()
    assert held() is None


def test_backward_of_a_compiled_module_runs_once_for_each_call() -> None:
    model, x = network(), batches(1)[0][0]
    compiled, plain = replayed(model), network()
    for _ in range(2):
        compiled(x).sum().backward()
        plain(x).sum().backward()
    first, second = compiled(x), compiled(x * 2)  # the second as Python, because the first is still wanted
    ours, theirs = plain(x), plain(x * 2)
    for result in (second, first, theirs, ours):
        result.square().sum().backward()
    assert [p.grad.tolist() for p in model.parameters()] == [p.grad.tolist() for p in plain.parameters()]
    once = compiled(x)
    once.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="through a compiled function a second time"):
        once.sum().backward()
    with pytest.raises(RuntimeError, match="with its first derivatives only"):
        tg.autograd.grad(compiled(x).sum(), list(model.parameters()), create_graph=True)
    late = compiled(x)
    with tg.no_grad():
        model[4].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        late.sum().backward()


def test_attention_drops_other_probabilities_in_each_replay() -> None:
    def attend(x: tg.Tensor) -> tg.Tensor:
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)

    x, found = tg.randn(1, 2, 8, 4), []
    with launch.tiles(short_attention={"SCORES": 0}):
        for wrap in (lambda f: f, replayed):
            tg.manual_seed(0)
            function = wrap(attend)
            found.append([function(x).tolist() for _ in range(4)])
    assert found[0] == found[1] and found[0][2] != found[0][3]


@interpreted
def test_wrong_indices_are_found_in_a_replay() -> None:
    table = tg.arange(6.0).reshape(3, 2)
    rows = replayed(lambda i: table[i])
    for i in ([0, 1], [1, 2], [2, 2]):
        assert rows(tg.tensor(i)).tolist() == table[tg.tensor(i)].tolist()
    with pytest.raises(IndexError):
        rows(tg.tensor([0, 3]))


def test_options_that_ask_for_the_function_itself() -> None:
    model = nn.Linear(3, 2)
    assert tg.compile(model, disable=True) is model and tg.compile(model, backend="eager") is model
    assert tg.compile(disable=True)(model) is model
    compiled = tg.compile(model, mode="max-autotune", fullgraph=True)
    assert isinstance(compiled, nn.Module) and compiled._orig_mod is model and compiled.weight is model.weight
    assert list(compiled.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    compiled.train(False)
    compiled.extra = 3
    assert not model.training and model.extra == 3 and compiled(tg.ones(1, 3)).shape == (1, 2)

    @tg.compile(dynamic=True)
    def triple(x: tg.Tensor) -> tg.Tensor:
        """Documented."""
        return x * 3

    assert triple(tg.ones(2)).tolist() == [3.0, 3.0] and triple.__doc__ == "Documented."
    with pytest.raises(TypeError, match="expected a function or a module, got int"):
        tg.compile(3)


@interpreted
def test_the_interpreter_looks_and_runs() -> None:
    """Without `replay`, Python runs each time, and what a GPU would refuse is refused."""

    def function(x: tg.Tensor) -> tg.Tensor:
        note()
        return x + (1 if compiler.is_compiling() else 2)

    compiled, before = tg.compile(function), len(RAN)
    assert [compiled(tg.ones(1)).item() for _ in range(3)] == [2.0] * 3
    assert len(RAN) == before + 3 and not compiled.captured
    assert not compiler.is_compiling() and not compiler.is_dynamo_compiling() and not compiler.is_exporting()


def test_a_module_compiles_itself_and_copies_of_compiled_things_are_their_own() -> None:
    model, other, x = network(), network(), batches(1)[0][0]
    model.compile(options={"replay": True})
    results = [[m(x).tolist() for _ in range(3)] for m in (model, other)]
    assert results[0] == results[1] and len(model.forward.captured) == 1 and "forward" not in model.state_dict()
    twin = copy.deepcopy(replayed(other))
    assert twin._orig_mod is not other and twin(x).tolist() == other(x).tolist()
    outer = replayed(lambda x: model(x) + 1)
    assert [outer(x).shape for _ in range(3)] == [(5, 3)] * 3 and len(outer.captured) == 1


def test_compilers_decorators() -> None:
    def double(x: int) -> int:
        return 2 * x

    assert compiler.disable(double)(2) == compiler.disable(recursive=False)(double)(2) == 4
    assert compiler.allow_in_graph(double) is double and compiler.assume_constant_result(double) is double
    assert compiler.list_backends() == []
    compiler.cudagraph_mark_step_begin()


def test_arguments_keep_their_strides() -> None:
    """Expanded, with gaps, and not on 16 bytes: kernels for them may be others."""
    whole = tg.arange(24.0).reshape(4, 6)

    def function(x: tg.Tensor) -> tg.Tensor:
        note_layout(x)
        return x * 2

    for x in (whole[:, 1:3], whole[1].expand(3, 6), whole[:, ::2].T, whole[0, 5:], whole[:0]):
        compiled = replayed(function)
        assert [compiled(x).tolist() for _ in range(3)] == [(x * 2).tolist()] * 3
        assert len(compiled.captured) == 1 and LAYOUTS[-2] == LAYOUTS[-1]


LAYOUTS: list[Any] = []


def note_layout(x: tg.Tensor) -> None:
    LAYOUTS.append((x.stride(), x.array.data_ptr() % 16))


note_layout.__module__ = "tritongrad"


# ------------------------------------------------------------------------------------------------------------- the GPU


class Driver:
    """What a GPU's driver does with launches in a capture: it takes them down, and starts them at each replay."""

    taking: list[Callable[[], Any]] | None = None

    def __init__(self, device: Any, beside: Any = None) -> None:
        self.taken: list[Callable[[], Any]] = []
        self.supply: list[Any] = []

    def begin(self) -> None:
        Driver.taking = self.taken
        memory.watch = lambda storage, nbytes, device: self.supply.append(storage)

    def end(self) -> None:
        Driver.taking = memory.watch = None

    def replay(self) -> None:
        for start in self.taken:
            start()

    @staticmethod
    def start(kernel: Any, grid: Any, args: Any, options: Any) -> bool:
        if Driver.taking is not None:
            given = {k: v for k, v in options.items() if k not in ("num_warps", "num_stages", "maxnreg")}
            known = [recorder.kept(a) if isinstance(a, Array) else a for a in args]
            Driver.taking.append(lambda: kernel[grid](*known, **given))
        return Driver.taking is not None


@interpreted
def test_a_graph_of_the_gpu_is_made_of_loaded_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(compilation, "INTERPRETED", False)
    monkeypatch.setattr(driver, "Graph", Driver)
    monkeypatch.setattr(launch.direct, "available", True)
    monkeypatch.setattr(launch.direct, "start", Driver.start)
    monkeypatch.setattr(launch.direct, "learn", lambda *a: None)
    monkeypatch.setattr(recorder, "load", lambda kernel, grid, args, options: loaded.append(kernel.fn.__name__))
    found = []
    for wrap in (lambda f: f, replayed):
        t = Training(adamw, dropout=0.3)
        step, model = wrap(plain(t)), wrap(network(7))
        tg.manual_seed(3)
        results = []
        for x, y in batches(4):
            results.append(values(step(x, y)))
            F.cross_entropy(model(x), y).backward()
        found.append((results, t.state(), [p.grad.tolist() for p in model.parameters()]))
    assert found[0] == found[1]
    parts = step.captured[0]._recording._parts + model._compiled.captured[0]._recording._parts
    assert len(parts) == 3 and sum(len(p.graph.taken) for p in parts) == len(loaded)
    assert [len(p.launches) for p in parts] == [len(p.graph.taken) for p in parts]
    with tg.profiler.profile(profile_memory=False) as profiled:
        step(x, y)
    assert (f"graph of {len(parts[0].launches)} launches", "replay") in [(e.kernel, e.op) for e in profiled.events()]


@interpreted
def test_the_drivers_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    class Graph:
        def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
            said.append(("begin", pool, capture_error_mode))

        def capture_end(self) -> None:
            said.append("end")
            raise RuntimeError("invalidated")

        def replay(self) -> None:
            said.append("replay")

    cuda = driver.torch.cuda
    monkeypatch.setattr(driver, "_capturing", {})
    for name, value in {
        "CUDAGraph": Graph, "Stream": lambda index: f"stream of {index}", "graph_pool_handle": lambda: (1, 0),
        "synchronize": lambda: said.append("wait"), "current_stream": lambda index: "before", "set_stream": said.append,
    }.items():  # fmt: skip
        monkeypatch.setattr(cuda, name, value)
    graph = driver.Graph(driver.Device("cpu"))
    second = driver.Graph(driver.Device("cpu"), graph)
    second.begin()
    with pytest.raises(RuntimeError, match="invalidated"):
        second.end()
    second.replay()
    assert said == ["wait", "stream of 0", ("begin", (1, 0), "relaxed"), "end", "before", "replay"]


def test_kernels_are_loaded_without_being_started() -> None:
    """In a process that compiles, whose driver has no GPU: a start would fail there."""
    code = """
import threading
from tritongrad_kernels import driver, dtypes, elementwise, formulas, launch, memory
from tritongrad_kernels.array import empty

class Capture:
    thread, device, aside = threading.get_ident(), driver.DEFAULT_DEVICE, False
    def made(self, block): pass
    def launched(self, kernel, grid, args, options, indirect):
        launch.load(kernel, grid, args, {k: v for k, v in options.items() if k not in ("flops", "bytes", "at_most")})
        print("loaded", kernel.fn.__name__)
        return True

x = empty((100,), dtypes.float32)
memory.capture = Capture()
elementwise.map(formulas._ne, x, 0.0)
"""
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}", "TRITONGRAD_COMPILE_FOR": "sm_90"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **paths}, check=False
    )
    assert done.stdout == "loaded _map2\n", done.stderr
