"""Modules beside torch's: hooks of every kind in the same order with the same arguments, state that users change on the
way in and out, and what is found under dotted names."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import randn


def pair(m: Any) -> Any:
    """A module of two arguments and two results, in a module, with fixed weights."""

    class Pair(m.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = m.nn.Linear(3, 2), m.nn.Linear(3, 2, bias=False)

        def forward(self, x: Any, y: Any = None, scale: float = 1.0) -> Any:
            return self.a(x) * scale, self.b(x if y is None else y)

    found = Pair()
    for i, p in enumerate(found.parameters()):
        p.data = m.tensor(randn(*p.shape, seed=i).astype(np.float32))
    return found


def told(value: Any) -> Any:
    """A value as both frameworks can be asked for it."""
    if isinstance(value, tg.Tensor | torch.Tensor):
        return value.detach().double().numpy().copy()
    if isinstance(value, tuple | list):
        return [told(v) for v in value]
    if isinstance(value, dict):
        return {k: told(v) for k, v in value.items()}
    return type(value).__name__ if isinstance(value, tg.nn.Module | torch.nn.Module) else value


def compared(program: Callable[[Any, Any, Any, list], Any]) -> None:
    """Run program(module, model, input, log) under both names and compare what it logs and returns."""
    found = []
    for m in (tg, torch):
        log: list[Any] = []
        x = m.tensor(randn(4, 3, seed=9).astype(np.float32), requires_grad=True)
        result = program(m, pair(m), x, log)
        found.append((log, told(result), told(x.grad)))
    assert_same(*found)


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert np.allclose(a, b, rtol=1e-4, atol=1e-5)
    elif isinstance(a, tuple | list):
        assert len(a) == len(b), (a, b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, dict):
        assert_same(list(a.items()), list(b.items()))
    else:
        assert a == b


def test_forward_hooks() -> None:
    def program(m: Any, net: Any, x: Any, log: list) -> Any:
        def note(name: str, change: Any = None) -> Callable:
            return lambda *args: log.append((name, told(args))) or change

        net.register_forward_pre_hook(note("pre"))
        net.register_forward_pre_hook(note("pre first"), prepend=True)
        net.register_forward_pre_hook(lambda mod, args, kw: (args, {**kw, "scale": 3.0}), with_kwargs=True)
        net.register_forward_pre_hook(note("pre kwargs"), with_kwargs=True)
        net.register_forward_hook(note("post"))
        net.register_forward_hook(note("post first"), prepend=True)
        net.register_forward_hook(note("post kwargs"), with_kwargs=True)
        net.register_forward_hook(lambda mod, args, out: (out[0] * 2, out[1]))
        taken = net.register_forward_hook(note("never"))
        taken.remove()
        taken.remove()
        with net.a.register_forward_pre_hook(lambda mod, args: args[0] * 0):
            first = net(x, y=x + 1)
        second = net(x, x + 1, scale=2.0)
        return first, second

    compared(program)


def test_hooks_that_are_always_called() -> None:
    def program(m: Any, net: Any, x: Any, log: list) -> Any:
        net.register_forward_hook(lambda *args: log.append("usual"))
        net.register_forward_hook(lambda *args: log.append(("always", told(args))), always_call=True)
        net.register_forward_hook(lambda *args: 1 / 0, always_call=True)
        with pytest.raises(RuntimeError), pytest.warns(UserWarning, match="was silenced as another error was raised"):
            net(x[:, :2])

    compared(program)


def test_a_pre_hook_must_give_a_pair() -> None:
    for m in (tg, torch):
        net = pair(m)
        net.register_forward_pre_hook(lambda mod, args, kw: args, with_kwargs=True)
        with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
            net(m.zeros(1, 3))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # torch's, where no input wants gradients
@pytest.mark.parametrize("case", ["both", "one input", "no input", "one result"])
def test_full_backward_hooks(case: str) -> None:
    def program(m: Any, net: Any, x: Any, log: list) -> Any:
        module = net.a if case == "one result" else net
        module.register_full_backward_pre_hook(lambda mod, out: log.append(("pre", told(out))))
        module.register_full_backward_pre_hook(lambda mod, out: tuple(g * 2 for g in out))
        module.register_full_backward_hook(lambda mod, inp, out: log.append(("first", told(inp), told(out))))
        if case != "no input":
            module.register_full_backward_hook(lambda mod, inp, out: tuple(g * 3 for g in inp if g is not None))
        module.register_full_backward_hook(lambda mod, inp, out: log.append(("last", told(inp))))
        arguments = {"both": (x, x * 2), "one input": (x,), "no input": (x.detach(), x.detach()), "one result": (x,)}[
            case
        ]
        result = module(*arguments)
        loss = result.sum() if case == "one result" else result[0].sum() + (result[1] * result[1]).sum()
        loss.backward()
        with m.no_grad():
            module(*arguments)
        return [p.grad for p in module.parameters()]

    compared(program)


def test_a_backward_hook_gives_as_many() -> None:
    for m in (tg, torch):
        net = pair(m)
        net.register_full_backward_hook(lambda mod, inp, out: (inp[0], inp[0]))
        x = m.zeros(1, 3, requires_grad=True)
        with pytest.raises(RuntimeError):
            net(x)[0].sum().backward()


def test_a_handle_keeps_no_module_alive() -> None:
    net = pair(tg)
    handle, reference = net.register_forward_hook(lambda *args: None), weakref.ref(net)
    del net
    gc.collect()
    assert reference() is None
    handle.remove()


def test_hooks_are_copied_with_the_module() -> None:
    net = pair(tg)
    net.register_forward_hook(lambda mod, args, out: (out[0] * 0, out[1]))
    assert not copy.deepcopy(net)(tg.ones(1, 3))[0].detach().numpy().any()


class Extra:
    """Makes modules with state of their own, a changed layout, and hooks."""

    @staticmethod
    def of(m: Any, log: list) -> Any:
        class Versioned(m.nn.Linear):  # type: ignore[misc, name-defined]
            _version = 2

            def get_extra_state(self) -> Any:
                return {"steps": 3}

            def set_extra_state(self, state: Any) -> None:
                log.append(("extra", state))

            def _load_from_state_dict(self, state: Any, prefix: str, local: dict, *rest: Any) -> None:
                log.append(("local", prefix, local.get("version")))
                if prefix + "w" in state:
                    state[prefix + "weight"] = state.pop(prefix + "w")
                super()._load_from_state_dict(state, prefix, local, *rest)

            def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
                super()._save_to_state_dict(destination, prefix, keep_vars)
                destination[prefix + "more"] = m.ones(1)

        net = m.nn.Sequential(Versioned(2, 2), m.nn.Sequential(Versioned(2, 1, bias=False)))
        for i, p in enumerate(net.parameters()):
            p.data = m.tensor(randn(*p.shape, seed=i).astype(np.float32))
        return net


def test_state_that_users_change() -> None:
    def program(m: Any, unused: Any, x: Any, log: list) -> Any:
        net = Extra.of(m, log)
        net[0].register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(("pre", prefix, keep)))
        net[0]._register_state_dict_hook(
            lambda mod, state, prefix, local: log.append((list(state), prefix, dict(local)))
        )
        net[1].register_state_dict_post_hook(lambda mod, state, prefix, local: state.pop(prefix + "0.more") and None)
        state = net.state_dict()
        log.append((list(state), {k: dict(v) for k, v in state._metadata.items()}))
        state.pop("0.more")
        state["0.w"] = state.pop("0.weight")
        net[1].register_load_state_dict_pre_hook(lambda mod, *args: log.append(("before", args[1])))
        net.register_load_state_dict_post_hook(lambda mod, keys: log.append(told(list(keys))))
        log.append(told(list(net.load_state_dict(state))))
        state["stranger"], state["1.0.stranger"], state["1.7.weight"] = x, x, x
        del state["0.bias"]
        net.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.clear())
        log.append(told(list(net.load_state_dict(state, strict=False))))
        # Ours takes extra state last, once everything else is known to fit.
        log.sort(key=lambda entry: entry[0] == "extra")
        return [p.detach() for p in net.parameters()]

    compared(program)


def test_a_destination_and_a_prefix() -> None:
    def program(m: Any, net: Any, x: Any, log: list) -> Any:
        given: dict[str, Any] = {}
        assert net.state_dict(destination=given, prefix="net.") is given
        log.append(list(given))
        log.append(list(net.state_dict(prefix="p.", keep_vars=True)))
        return [v.requires_grad for v in net.state_dict(keep_vars=True).values()]

    compared(program)


def test_values_are_assigned() -> None:
    for m in (tg, torch):
        net, other = pair(m), pair(m).double()
        net.load_state_dict(other.state_dict(), assign=True)
        assert net.a.weight.dtype is m.float64 and isinstance(net.a.weight, m.nn.Parameter)
        assert net.a.weight.data_ptr() == other.a.weight.data_ptr() and net.a.weight.requires_grad


def test_a_wrong_entry_changes_nothing() -> None:
    log: list[Any] = []
    net = Extra.of(tg, log)
    before = [p.tolist() for p in net.parameters()]
    state = {k: v * 0 if isinstance(v, tg.Tensor) else v for k, v in net.state_dict().items() if "more" not in k}
    state["1.0.weight"] = tg.zeros(3)
    with pytest.raises(RuntimeError, match=r"size mismatch for 1\.0\.weight"):
        net.load_state_dict(state)
    state["1.0.weight"] = [1.0]
    with pytest.raises(RuntimeError, match=r'the parameter named "1\.0\.weight"'):
        net.load_state_dict(state)
    assert [p.tolist() for p in net.parameters()] == before and not any(entry[0] == "extra" for entry in log)


def test_extra_state_needs_both_ways() -> None:
    for m in (tg, torch):
        with pytest.raises(RuntimeError):
            m.nn.Module().get_extra_state()
        with pytest.raises(RuntimeError):
            m.nn.Module().set_extra_state(None)


def test_names_with_dots() -> None:
    for m in (tg, torch):
        net = m.nn.Sequential(m.nn.Sequential(m.nn.Linear(2, 2), m.nn.BatchNorm1d(2)))
        assert net.get_submodule("0.0") is net[0][0] and net.get_submodule("") is net
        assert net.get_parameter("0.0.weight") is net[0][0].weight
        assert net.get_buffer("0.1.running_mean") is net[0][1].running_mean
        net.set_submodule("0.0", m.nn.Identity())
        assert isinstance(net[0][0], m.nn.Identity)
        for get, name in (
            (net.get_parameter, "0.1.running_mean"),
            (net.get_buffer, "0.1.weight"),
            (net.get_submodule, "0.2"),
        ):
            with pytest.raises(AttributeError):
                get(name)
        with pytest.raises(ValueError, match="target"):
            net.set_submodule("", m.nn.Identity())
        with pytest.raises(AttributeError):
            net.set_submodule("3.1", m.nn.Identity())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_conversions() -> None:
    for m in (tg, torch):
        net = m.nn.BatchNorm1d(2)
        assert net.type(m.float64).weight.dtype is m.float64 and net.num_batches_tracked.dtype is m.float64
        net = m.nn.BatchNorm1d(2).half().float()
        assert net.weight.dtype is m.float32 and net.num_batches_tracked.dtype is m.int64
        net = net._apply(lambda t: t + 1)
        assert net.weight.tolist() == [2.0, 2.0] and net.num_batches_tracked.item() == 1
        assert net.to_empty(device="cpu") is net and tuple(net.weight.shape) == (2,)
    assert tg.nn.Linear(1, 1).compile() is None
    with pytest.raises(RuntimeError, match="share_memory"):
        tg.nn.Linear(1, 1).share_memory()


def test_arguments_go_to_the_next_class() -> None:
    for m in (tg, torch):

        class Named:
            def __init__(self, name: str) -> None:
                self.name = name

        class Both(m.nn.Module, Named):  # type: ignore[misc, name-defined]
            call_super_init = True

        assert Both(name="b").name == "b"
        with pytest.raises(TypeError):
            m.nn.Module(3)


def test_printed_trees() -> None:
    def program(m: Any, net: Any, x: Any, log: list) -> Any:
        class Lines(m.nn.Module):  # type: ignore[misc, name-defined]
            def extra_repr(self) -> str:
                return "a=1\nb=2"

            def _get_name(self) -> str:
                return "Renamed"

        outer = Lines()
        outer.inner = Lines()
        return [repr(outer), repr(Lines()), repr(m.nn.Sequential()), repr(net)]

    compared(program)


def test_pickles() -> None:
    net = tg.nn.Sequential(tg.nn.Linear(3, 2), tg.nn.BatchNorm1d(2))
    again = pickle.loads(pickle.dumps(net))
    x = tg.tensor(randn(4, 3), dtype=tg.float32)
    assert tg.equal(again(x), net(x)) and list(again.state_dict()) == list(net.state_dict())
    again.register_forward_hook(lambda mod, args, out: out * 0)
    assert not again(x).detach().numpy().any()


def test_what_cannot_be_registered() -> None:
    for m in (tg, torch):

        class Early(m.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self, m: Any = m) -> None:
                self.register_buffer("early", m.ones(1))

        net = m.nn.Module()
        net.taken = 3
        grown = m.nn.Parameter(m.ones(1)) * 2
        for error, call in (
            (TypeError, lambda net=net: net.add_module("a", 3)),
            (TypeError, lambda net=net: net.add_module(3, None)),
            (TypeError, lambda net=net, m=m: net.register_parameter("a", m.ones(1))),
            (TypeError, lambda net=net, grown=grown: net.register_parameter("a", grown)),
            (TypeError, lambda net=net: net.register_buffer("a", 3)),
            (KeyError, lambda net=net: net.register_buffer("a.b", None)),
            (KeyError, lambda net=net: net.register_parameter("", None)),
            (KeyError, lambda net=net: net.register_parameter("taken", None)),
            (AttributeError, Early),
        ):
            with pytest.raises(error):
                call()
