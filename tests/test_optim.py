"""Optimisers against torch's, in one launch, with state that torch's can load."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad import precision
from tritongrad_kernels import launch, memory

SHAPES = [(), (1,), (5,), (7, 3), (4, 3, 3, 3), (130,)]


def parameters(dtype: str = "float32") -> tuple[list[tg.Tensor], list[torch.Tensor]]:
    """The same values on both sides; the rank-4 one of ours lies channels-last, as convolution weights do."""
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for shape in SHAPES:
        values = rng.standard_normal(shape)
        t = tg.tensor(values, dtype=getattr(tg, dtype))
        t = t.contiguous(memory_format=tg.channels_last) if t.ndim == 4 else t
        ours.append(t.detach().requires_grad_())
        theirs.append(torch.tensor(t.double().numpy()).requires_grad_())
    return ours, theirs


def give_gradients(ours: list[tg.Tensor], theirs: list[torch.Tensor], step: int) -> None:
    rng = np.random.default_rng(100 + step)
    for p, q in zip(ours, theirs, strict=True):
        g = rng.standard_normal(tuple(q.shape))
        p.grad = tg.tensor(g, dtype=p.dtype)
        q.grad = torch.tensor(p.grad.double().numpy())


CASES = [
    (tg.optim.SGD, torch.optim.SGD, {"lr": 0.1}),
    (tg.optim.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (tg.optim.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    (tg.optim.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (tg.optim.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "maximize": True}),
    (tg.optim.Adam, torch.optim.Adam, {"lr": 0.01}),
    (tg.optim.Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (tg.optim.Adam, torch.optim.Adam, {"lr": 0.01, "amsgrad": True, "maximize": True}),
    (tg.optim.AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.2}),
    (tg.optim.AdamW, torch.optim.AdamW, {"lr": 0.01, "amsgrad": True}),
]


@pytest.mark.parametrize(
    ("cls", "their_cls", "options"), CASES, ids=lambda v: str(v) if isinstance(v, dict) else v.__module__
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_equal_torchs(cls, their_cls, options, dtype, tiles) -> None:
    ours, theirs = parameters(dtype)
    optim, their_optim = cls(ours, **options), their_cls(theirs, **options)
    for step in range(20):
        give_gradients(ours, theirs, step)
        if step == 2:  # a parameter without a gradient is left alone, and its step count behind
            ours[1].grad = theirs[1].grad = None
        optim.step()
        their_optim.step()
        for p, q in zip(ours, theirs, strict=True):
            bound = 3e-6 if dtype == "float32" else 1e-14
            assert np.allclose(p.detach().numpy(), q.detach().numpy(), rtol=bound, atol=bound), (step, p.shape)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_parameters(dtype: str) -> None:
    """Updated in float32, stored once rounded."""
    ours, theirs = parameters(dtype)
    optim, their_optim = tg.optim.SGD(ours, 0.1), torch.optim.SGD(theirs, 0.1)
    give_gradients(ours, theirs, 0)
    optim.step()
    their_optim.step()
    for p, q in zip(ours, theirs, strict=True):
        expected = tg.tensor(q.detach().numpy(), dtype=tg.float32).to(p.dtype)
        assert np.abs(p.detach().float().numpy() - expected.float().numpy()).max(initial=0) <= 2**-7


def test_one_launch_for_all_parameters() -> None:
    ours, _ = parameters()
    for cls, kernel in ((tg.optim.SGD, "_sgd"), (tg.optim.Adam, "_adam")):
        options = {"momentum": 0.9} if cls is tg.optim.SGD else {}
        optim = cls(ours, lr=0.1, **options)
        for p in ours:
            p.grad = p.detach().clone()
        optim.step()
        with launch.recording() as log:
            optim.step()
        assert [entry.kernel for entry in log] == [kernel]
        assert log[0].bytes >= sum(p.nbytes for p in ours) * 5


def test_groups_with_their_own_options_share_the_launch() -> None:
    ours, theirs = parameters()
    groups = [{"params": ours[:2]}, {"params": ours[2:], "lr": 0.01, "weight_decay": 0.1}]
    their_groups = [{"params": theirs[:2]}, {"params": theirs[2:], "lr": 0.01, "weight_decay": 0.1}]
    optim, their_optim = tg.optim.SGD(groups, lr=0.1, momentum=0.9), torch.optim.SGD(their_groups, lr=0.1, momentum=0.9)
    give_gradients(ours, theirs, 0)
    with launch.recording() as log:
        optim.step()
    their_optim.step()
    assert sum(entry.kernel == "_sgd" for entry in log) == 1
    for group, their_group in zip(optim.param_groups, their_optim.param_groups, strict=True):
        group["lr"] *= 0.5  # what a schedule does
        their_group["lr"] *= 0.5
    give_gradients(ours, theirs, 1)
    optim.step()
    their_optim.step()
    for p, q in zip(ours, theirs, strict=True):
        assert np.allclose(p.detach().numpy(), q.detach().numpy(), rtol=3e-6, atol=3e-6)


def test_working_copies_follow_the_master() -> None:
    for cls in (tg.optim.SGD, tg.optim.Adam):
        p = tg.randn(100, requires_grad=True)
        copy = precision.working_copy(p, tg.bfloat16)
        optim = cls([p], lr=0.1)
        p.grad = tg.randn(100)
        optim.step()
        assert precision.current_copy(p) is copy
        assert tg.equal(tg.Tensor(copy), p.detach().to(tg.bfloat16))
        p.data.add_(1)
        assert precision.current_copy(p) is None


@pytest.mark.parametrize("cls", [tg.optim.SGD, tg.optim.Adam])
def test_state_goes_to_torch_and_back(cls) -> None:
    """Our state dict has torch's layout; loading it resumes with the same bits."""
    options = {"lr": 0.1, "momentum": 0.9} if cls is tg.optim.SGD else {"lr": 0.1, "amsgrad": True}
    ours, theirs = parameters()
    optim, their_optim = cls(ours, **options), getattr(torch.optim, cls.__name__)(theirs, **options)
    give_gradients(ours, theirs, 0)
    optim.step()
    their_optim.step()
    state, their_state = optim.state_dict(), their_optim.state_dict()
    assert {k: sorted(v) for k, v in state["state"].items()} == {k: sorted(v) for k, v in their_state["state"].items()}
    assert state["param_groups"][0]["params"] == their_state["param_groups"][0]["params"]

    again = [p.detach().clone().requires_grad_() for p in ours]
    resumed = cls(again, lr=9.0, **{k: v for k, v in options.items() if k != "lr"})
    resumed.load_state_dict(state)
    assert resumed.param_groups[0]["lr"] == 0.1
    for step in (1, 2):
        give_gradients(ours, theirs, step)
        for p, q in zip(again, ours, strict=True):
            p.grad = q.grad.clone()
        optim.step()
        resumed.step()
        assert all(tg.equal(p.detach(), q.detach()) for p, q in zip(again, ours, strict=True))


def test_loading_a_state_that_does_not_fit() -> None:
    p, q = tg.ones(2, requires_grad=True), tg.ones(3, requires_grad=True)
    optim = tg.optim.SGD([p], 0.1, 0.9)
    p.grad = tg.ones(2)
    optim.step()
    with pytest.raises(ValueError, match="different number"):
        tg.optim.SGD([p, q], 0.1, 0.9).load_state_dict(optim.state_dict())
    other = tg.optim.SGD([q], 0.1, 0.9)
    with pytest.raises(ValueError, match=r"momentum_buffer has shape \[2\], but its parameter \[3\]"):
        other.load_state_dict(optim.state_dict())
    assert not other.state


def test_closure_zero_grad_and_versions() -> None:
    p = tg.ones(2, requires_grad=True)
    optim = tg.optim.SGD([p], lr=0.5)

    def closure() -> tg.Tensor:
        optim.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optim.step(closure).item() == 2.0 and p.tolist() == [0.0, 0.0]
    optim.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optim.zero_grad()
    assert p.grad is None
    y = (p * p).sum()
    p.grad = tg.ones(2)
    optim.step()
    with pytest.raises(RuntimeError, match="inplace"):
        y.backward()


def test_expanded_and_sliced_gradients() -> None:
    """A gradient that lies in memory unlike its parameter is read right."""
    p = tg.zeros(3, 4, requires_grad=True)
    p.grad = tg.tensor([[1.0], [2.0], [3.0]]).expand(3, 4)
    tg.optim.SGD([p], lr=1.0).step()
    assert p.tolist() == [[-1.0] * 4, [-2.0] * 4, [-3.0] * 4]


def test_wrong_arguments() -> None:
    p = tg.ones(1, requires_grad=True)
    for options, message in (
        ({"lr": -1}, "learning rate"), ({"momentum": -0.1}, "momentum"), ({"nesterov": True}, "Nesterov"),
        ({"weight_decay": -1}, "weight_decay"), ({"differentiable": True}, "differentiable"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            tg.optim.SGD([p], **options)
    for options, message in (
        ({"betas": (1.0, 0.9)}, "betas"),
        ({"eps": -1}, "eps"),
        ({"differentiable": True}, "diff"),
    ):
        with pytest.raises(ValueError, match=message):
            tg.optim.Adam([p], **options)
    with pytest.raises(ValueError, match="empty parameter list"):
        tg.optim.SGD([])
    with pytest.raises(TypeError, match="iterable"):
        tg.optim.SGD(p)
    with pytest.raises(TypeError, match="can only optimize tensors"):
        tg.optim.SGD([1.0])
    with pytest.raises(ValueError, match="non-leaf"):
        tg.optim.SGD([p * 2])
    with pytest.raises(ValueError, match="more than one"):
        tg.optim.SGD([{"params": [p]}, {"params": [p]}])
    assert "lr: 0.001" in repr(tg.optim.SGD([p]))


def test_a_failed_allocation_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the first, second, third ... allocation of a step until it succeeds: then it has its usual bits."""
    for cls, options in ((tg.optim.SGD, {"momentum": 0.9, "dampening": 0.5}), (tg.optim.Adam, {})):
        expected = _after_two_steps(cls, options, monkeypatch, fail=None)
        failures = 0
        while True:
            result = _after_two_steps(cls, options, monkeypatch, fail=failures + 1)
            if result is None:
                break
            assert all(tg.equal(p, q) for p, q in zip(result, expected, strict=True)), (cls, failures)
            failures += 1
        assert failures >= 3, "the moments of two parameters, and the table"


def _after_two_steps(cls, options, monkeypatch, fail: int | None) -> list[tg.Tensor] | None:
    """The parameters after two steps, the first tried again after its allocation number `fail` failed."""
    params = [tg.full((n,), 1.0 + n, requires_grad=True) for n in (3, 5)]
    optim = cls(params, lr=0.1, **options)
    for p in params:
        p.grad = p.detach() * 2
    if fail is not None:
        count, real = [0], memory.allocate

        def allocate(nbytes, device=None):
            count[0] += 1
            if count[0] == fail:
                raise MemoryError("planned")
            return real(nbytes, device)

        with monkeypatch.context() as patch:
            patch.setattr(memory, "allocate", allocate)
            try:
                optim.step()
                return None
            except MemoryError:
                assert not optim.state and [p[0].item() for p in params] == [4.0, 6.0]
    optim.step()
    optim.step()
    return [p.detach() for p in params]


def test_parameters_that_are_views_and_wrong_gradients() -> None:
    """A parameter that lies in other memory, with gaps or not, is updated where it lies."""
    whole = tg.zeros(3, 4)
    p, q = whole[:, ::2].detach().requires_grad_(), whole[1, 1:2].detach().requires_grad_()
    p.grad, q.grad = tg.ones(3, 2), tg.arange(3.0)[1:2]
    optim = tg.optim.SGD([p, q], lr=1.0, momentum=0.5)
    optim.step()
    optim.step()
    assert whole.tolist() == [[-2.5, 0, -2.5, 0], [-2.5, -2.5, -2.5, 0], [-2.5, 0, -2.5, 0]]
    q.grad = tg.ones(2)
    with pytest.raises(RuntimeError, match=r"the gradient has shape \[2\]"):
        optim.step()
    q.grad = tg.ones(1)
    optim.state[q]["momentum_buffer"] = tg.ones(5)
    with pytest.raises(RuntimeError, match=r"momentum_buffer has shape \[5\] on cpu, but its parameter \[1\]"):
        optim.step()
    assert whole[0, 0].item() == -2.5  # neither moved
    e = tg.ones(1).expand(3).detach().requires_grad_()
    e.grad = tg.ones(3)
    with pytest.raises(RuntimeError, match="share memory"):
        tg.optim.SGD([e]).step()


def test_named_parameters_and_duplicates() -> None:
    found = []
    for m in (tg, torch):
        net = m.nn.Linear(1, 2)
        optim = m.optim.SGD(net.named_parameters(), lr=0.5)
        assert optim.param_groups[0]["param_names"] == ["weight", "bias"]
        with pytest.raises(ValueError, match="names"):
            optim.add_param_group({"params": [m.ones(1, requires_grad=True)]})
        with pytest.raises(ValueError, match="names"):
            m.optim.SGD([("a", m.ones(1, requires_grad=True)), m.ones(1, requires_grad=True)])
        optim.add_param_group({"params": [("extra", m.ones(1, requires_grad=True))], "lr": 0.1})
        state = optim.state_dict()
        plain = m.optim.SGD([{"params": list(net.parameters())}, {"params": m.ones(1, requires_grad=True)}])
        plain.load_state_dict(state)
        found.append((repr(optim), state["param_groups"], repr(plain)))
        p = m.ones(1, requires_grad=True)
        with pytest.warns(UserWarning):
            twice = m.optim.SGD([p, p], lr=1.0)
        p.grad = m.ones(1)
        twice.step()
        assert p.item() == -1.0 and twice.state_dict()["param_groups"][0]["params"] == [1, 1]
        with pytest.raises(TypeError):
            optim.add_param_group([p])
        with pytest.raises(TypeError, match="order"):
            m.optim.SGD([{"params": {p}}])
    assert found[0] == found[1]


def test_hooks_are_called_in_torch_s_order() -> None:
    logs = []
    for m, here in ((tg, tg.optim.optimizer), (torch, sys.modules["torch.optim.optimizer"])):
        p, log = m.ones(1, requires_grad=True), []
        optim = m.optim.SGD([p], lr=1.0)
        p.grad = m.ones(1)

        def note(name: str, result: Any = None, log: list[Any] = log) -> Any:
            return lambda *args: log.append((name, len(args))) or result

        everywhere = [
            here.register_optimizer_step_pre_hook(note("pre of all")),
            here.register_optimizer_step_post_hook(note("post of all")),
        ]
        optim.register_step_pre_hook(note("pre", ((optim, lambda: 7.0), {})))
        once = optim.register_step_post_hook(note("post"))
        for name in ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
            register = getattr(optim, f"register_{name}_hook")
            register(note(name))
            register(note(f"{name} first"), prepend=True)
        assert optim.step() == 7.0
        once.remove()
        for handle in everywhere:
            handle.remove()
        optim.step()
        optim.load_state_dict(optim.state_dict())
        optim.register_state_dict_post_hook(note("other", {"made": "up"}))
        assert optim.state_dict() == {"made": "up"}
        optim.register_step_pre_hook(note("wrong", 3))
        with pytest.raises(RuntimeError):
            optim.step()
        logs.append(log)
    assert logs[0] == logs[1]


class Lion(tg.optim.Optimizer):
    """An optimiser as people write them: lazily made state, its own step, a required option."""

    def __init__(self, params: Any, lr: Any = tg.optim.optimizer.required) -> None:
        super().__init__(params, {"lr": lr, "beta": 0.9})

    @tg.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state["step"], state["mean"] = 0, tg.zeros_like(p)
                state["step"] += 1
                state["mean"].lerp_(p.grad, 1 - group["beta"])
                p.add_(state["mean"].sign(), alpha=-group["lr"])


def test_an_optimizer_of_one_s_own_pickled_and_copied() -> None:
    p, calls = tg.ones(2, requires_grad=True), []
    optim = Lion([p], lr=0.5)
    optim.register_step_post_hook(lambda *args: calls.append(args))
    p.grad = tg.tensor([1.0, -2.0])
    optim.step()
    assert p.tolist() == [0.5, 1.5] and len(calls) == 1
    for again in (copy.deepcopy(optim), pickle.loads(pickle.dumps(optim))):
        (q,) = again.param_groups[0]["params"]
        q.grad = p.grad
        again.step()
        assert q.tolist() == [0.0, 2.0] and again.state[q]["step"] == 2 and repr(again) == repr(optim)
    assert p.tolist() == [0.5, 1.5] and len(calls) == 1
    fresh = Lion([p], lr=0.1)
    fresh.load_state_dict(optim.state_dict())
    assert fresh.state[p]["step"] == 1 and fresh.state[p]["mean"] is not optim.state[p]["mean"]
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Lion([p])


def test_learning_rates_that_are_tensors() -> None:
    for m in (tg, torch):
        p = m.ones(1, requires_grad=True)
        p.grad = m.ones(1)
        m.optim.SGD([p], lr=m.tensor(0.5)).step()
        m.optim.Adam([p], lr=m.tensor([0.25]), betas=(m.tensor(0.5), m.tensor(0.5)), eps=0.0).step()
        assert p.item() == 0.25
        for cls, options, error in (
            (m.optim.RMSprop, {"lr": m.ones(2)}, ValueError),
            (m.optim.Adam, {"lr": m.tensor(0.1), "foreach": True}, ValueError),
            (m.optim.Adam, {"betas": (0, 0.9)}, ValueError),
            (m.optim.Adam, {"fused": True, "foreach": True}, RuntimeError),
            (m.optim.SGD, {"fused": True, "differentiable": True}, RuntimeError),
            (m.optim.Adagrad, {"lr_decay": float("nan")}, ValueError),
            (m.optim.Adadelta, {"rho": 1.5}, ValueError),
            (m.optim.NAdam, {"momentum_decay": -1}, ValueError),
            (m.optim.Rprop, {"etas": (0.5, 0.9)}, ValueError),
        ):
            with pytest.raises(error):
                cls([p], **options)
