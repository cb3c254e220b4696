"""Containers beside torch's: the same program under both names says and holds the same."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch

import tritongrad as tg


def compared(program: Callable[[Any, list], Any]) -> None:
    """Run program(module, log) under both names and compare what is logged."""
    found = []
    for m in (tg, torch):
        log: list[Any] = []
        program(m, log)
        found.append(log)
    assert found[0] == found[1]


def refusals(log: list, *calls: Callable[[], Any]) -> None:
    for call in calls:
        try:
            call()
            log.append("fine")
        except Exception as error:
            log.append(type(error).__name__)


def test_sequential() -> None:
    def program(m: Any, log: list) -> None:
        a, b, c = m.nn.Linear(2, 3), m.nn.ReLU(), m.nn.Linear(3, 1)
        net = m.nn.Sequential(a, b)
        log += [
            list(net.append(c).state_dict()),
            len(net),
            net[-1] is c,
            repr(net[1:]),
            [x is y for x, y in zip(net, (a, b, c), strict=True)],
        ]
        net[1] = m.nn.Tanh()
        net.insert(1, b)
        net.insert(-1, m.nn.Sigmoid())
        log.append(repr(net))
        del net[0]
        del net[1:3]
        log += [repr(net), list(net.state_dict()), repr(net.pop(0)), len(net)]
        named = m.nn.Sequential(OrderedDict(first=a, second=b))
        log += [named.first is a, list(named.state_dict()), repr(named[:1]), repr(named)]
        joined = named + m.nn.Sequential(c)
        log += [repr(joined), repr(m.nn.Sequential(b) * 2), repr(2 * m.nn.Sequential(b))]
        joined *= 2
        joined += m.nn.Sequential(b)
        joined.extend([b, b])
        log += [len(joined), list(joined.state_dict()), len(list(joined.parameters()))]
        refusals(log, lambda: net[7], lambda: net["a"], lambda: net + [b], lambda: net * 0, lambda: net * 1.5,
                 lambda: net.insert(9, b), lambda: net.insert(0, 3), lambda: net.pop(5))  # fmt: skip

    compared(program)


def test_module_list() -> None:
    def program(m: Any, log: list) -> None:
        layers = m.nn.ModuleList(m.nn.Linear(2, 2) for _ in range(3))
        layers.append(m.nn.ReLU()).extend([m.nn.ReLU(), m.nn.Tanh()])
        layers.insert(1, m.nn.Sigmoid())
        log += [repr(layers), list(layers.state_dict()), len(layers), repr(layers[2:]), repr(layers[-1])]
        layers[0] = m.nn.Identity()
        log += [repr(layers.pop(1)), repr(layers + [m.nn.Tanh()])]
        layers += [m.nn.Tanh()]
        del layers[1]
        del layers[::2]
        log += [repr(layers), list(layers.state_dict()), repr(m.nn.ModuleList()), repr(copy.deepcopy(layers))]
        refusals(log, lambda: layers[9], lambda: layers.append(3), lambda: layers.extend(3), lambda: layers(1))
        log.append("0" in dir(layers))

    compared(program)


def test_module_dict() -> None:
    def program(m: Any, log: list) -> None:
        table = m.nn.ModuleDict({"conv": m.nn.Conv2d(1, 2, 3), "act": m.nn.ReLU()})
        table["fc"] = m.nn.Linear(2, 1)
        table.update([("more", m.nn.Tanh())])
        table.update(m.nn.ModuleDict({"act": m.nn.Sigmoid()}))
        log += [list(table), list(table.keys()), len(table), "fc" in table, "x" in table, repr(table)]
        log += [[k for k, _ in table.items()], [repr(v) for v in table.values()], repr(table.pop("conv"))]
        del table["more"]
        log += [list(table.state_dict()), repr(table["act"])]
        refusals(log, lambda: table["x"], lambda: table.update(3), lambda: m.nn.ModuleDict({"a.b": m.nn.ReLU()}))
        table.clear()
        log.append(repr(table))

    compared(program)


def test_parameter_list() -> None:
    def program(m: Any, log: list) -> None:
        values = m.nn.ParameterList([m.nn.Parameter(m.ones(2, 3)), m.zeros(4)])
        values.append(m.ones(1)).extend([m.ones(2), "text"])
        values[1] = m.ones(5)
        values += [m.ones(())]
        log += [len(values), list(values.state_dict()), [isinstance(v, m.nn.Parameter) for v in values], values[-2]]
        log += [
            repr(values).replace("torch.FloatTensor", "torch.float32"),
            len(values[1:3]),
            len(list(values.parameters())),
        ]
        refusals(log, lambda: values[9], lambda: values.extend(3), lambda: values.extend(m.ones(2)))

    compared(program)


def test_parameter_dict() -> None:
    def program(m: Any, log: list) -> None:
        values = m.nn.ParameterDict({"left": m.nn.Parameter(m.ones(2)), "right": m.zeros(3)})
        values["more"] = m.ones(1)
        values.update([("last", "text")])
        log += [list(values), len(values), "left" in values, list(values.state_dict()), values.get("x", 7)]
        log += [repr(values).replace("torch.FloatTensor", "torch.float32"), list(reversed(values))]
        log += [values.popitem(), values.pop("more").tolist(), values.setdefault("new", m.ones(1)).tolist()]
        joined = values | m.nn.ParameterDict({"x": m.ones(1)})
        joined |= m.nn.ParameterDict({"y": m.ones(1)})
        log += [list(joined.keys()), [k for k, _ in joined.items()], [v.tolist() for v in joined.values()]]
        log += [list(values.copy()), list(values.fromkeys(["a", "b"], 1)), len(list(joined.parameters()))]
        del joined["x"]
        log.append(list(joined.state_dict()))
        joined.clear()
        log.append(len(joined))
        joined["last"] = 1
        joined.update({"b": 1, "c": 2, "a": 3})
        joined.update(OrderedDict([("z", 1), ("y", 2)]))
        joined.update(m.nn.ParameterDict([("n", 1), ("m", 2)]))
        log += [list(joined), list(joined.copy())]
        refusals(log, lambda: values["x"], lambda: values.update(3))
        refusals(log, lambda: values.update([("a", 1, 2)]), lambda: values.update([3]))

    compared(program)


def test_a_dict_needs_names() -> None:
    with pytest.raises(TypeError, match="not a string"):
        tg.nn.ParameterDict({(1, 2): tg.ones(1)})
