"""An optimizer lent other parameters: steps on them as torch's does, and is itself as before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn


def stepped(m: Any) -> tuple[Any, list[Any]]:
    params = [m.nn.Parameter(m.tensor(randn(3, seed=i))) for i in range(3)]
    optimizer = m.optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.1}], lr=0.01)
    for p in params:
        p.grad = p.detach() * 2
    optimizer.step()
    return optimizer, params


def test_lent_parameters() -> None:
    results = []
    for m in (tg, torch):
        optimizer, params = stepped(m)
        state, before = optimizer.state, [p.tolist() for p in params]
        given = copy.deepcopy(optimizer.state_dict())
        given["param_groups"][0]["lr"] = 0.5
        lent = {str(i): m.tensor(randn(3, seed=9 + i), requires_grad=True) for i in range(3)}
        with pytest.raises(ZeroDivisionError), m.optim.swap_in_optimizer_params_and_state(optimizer, lent, given):
            assert optimizer.param_groups[0]["params"][0] is lent["0"] and optimizer.param_groups[0]["lr"] == 0.5
            for p in lent.values():
                p.grad = p.detach() * 3
            optimizer.step()
            raise ZeroDivisionError
        assert optimizer.state is state and optimizer.param_groups[0]["lr"] == 0.01
        assert all(a is b for a, b in zip(optimizer.param_groups[1]["params"], params[1:], strict=True))
        assert [p.tolist() for p in params] == before
        results.append([*(p.detach() for p in lent.values()), given["state"][1]["exp_avg"]])
    for k, (a, b) in enumerate(zip(*results, strict=True)):
        compare(str(k), a, b, 1e-12)


def test_refusals() -> None:
    for m in (tg, torch):
        optimizer, params = stepped(m)
        good, lent = optimizer.state_dict(), {str(i): p for i, p in enumerate(params)}
        first, second = good["param_groups"]
        state, groups = good["state"], good["param_groups"]
        for parameters, given in (
            (lent, []),
            (lent, {"state": [], "param_groups": groups}),
            (lent, {"state": state, "param_groups": {}}),
            (lent, {"state": state, "param_groups": groups[:1]}),
            (lent, {"state": state, "param_groups": [first, 3]}),
            (lent, {"state": state, "param_groups": [{**first, "params": params[:1]}, second]}),
            (lent, {"state": state, "param_groups": [{**first, "params": [0, 1]}, second]}),
            (lent, {"state": state, "param_groups": [{**first, "more": 1}, second]}),
            (lent, {"state": {7: {}}, "param_groups": groups}),
            (lent, {"state": {0: 1}, "param_groups": groups}),
            ({"0": params[0]}, good),
        ):
            with pytest.raises(RuntimeError), m.optim.swap_in_optimizer_params_and_state(optimizer, parameters, given):
                pass
        fresh = m.optim.Adam(params)
        with pytest.raises(RuntimeError), m.optim.swap_in_optimizer_params_and_state(fresh, lent, good):
            pass
