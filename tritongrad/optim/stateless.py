"""An optimizer lent other parameters and another state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tritongrad.optim.optimizer import Optimizer
from tritongrad.tensor import Tensor

_NAME = "swap_in_optimizer_params_and_state"


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise RuntimeError(f"{_NAME}: {what}")


def _groups(optimizer: Optimizer, count: int, given: Any) -> list[dict[str, Any]]:
    """The groups of a state dict, found to be like the optimizer's own. RuntimeError where they are not."""
    _require(bool(optimizer.state), "the optimizer must have its state already: let it step first")
    _require(isinstance(given, dict), f"expected the form of optimizer.state_dict(), got {type(given).__name__}")
    state, groups = given.get("state"), given.get("param_groups")
    _require(isinstance(state, dict), f"expected a dict under 'state', got {type(state).__name__}")
    _require(isinstance(groups, list), f"expected a list under 'param_groups', got {type(groups).__name__}")
    _require(len(groups) == len(optimizer.param_groups), "expected as many parameter groups as the optimizer has")
    numbers: list[Any] = []
    for i, (own, group) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        _require(isinstance(group, dict), f"expected a dict as parameter group {i}, got {type(group).__name__}")
        named = group.get("params")
        _require(
            isinstance(named, list) and all(isinstance(n, int) for n in named),
            f"expected the numbers of parameters under 'params' of group {i}",
        )
        _require(len(named) == len(own["params"]), f"expected {len(own['params'])} parameters in group {i}")
        different = sorted(set(own) ^ set(group))
        _require(not different, f"group {i} and the optimizer's do not both have the options {different}")
        numbers += named
    _require(count >= len(numbers), f"expected {len(numbers)} parameters in the optimizer's order, got {count}")
    _require(set(state) <= set(numbers), f"no group has the parameters {[k for k in state if k not in numbers]}")
    _require(all(isinstance(v, dict) for v in state.values()), "expected a dict for each parameter under 'state'")
    return groups


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Inside the block the optimizer has other parameters, in its own order, and the options and state of a state dict.

    What it then writes into tensors is written into those; nothing else is kept. After the block it is as before.
    RuntimeError unless it has stepped once, and the state dict is of its form.
    """
    parameters = list(swapin_parameters.values())
    groups = _groups(optimizer, len(parameters), swapin_optim_state)
    state, own = optimizer.state, [dict(group) for group in optimizer.param_groups]
    lent: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
    try:
        start = 0
        for live, group in zip(optimizer.param_groups, groups, strict=True):
            numbers = group["params"]
            live.update(group, params=parameters[start : start + len(numbers)])
            start += len(numbers)
            for parameter, number in zip(live["params"], numbers, strict=True):
                lent[parameter] = dict(swapin_optim_state["state"].get(number, {}))
        optimizer.state = lent
        yield
    finally:
        for live, before in zip(optimizer.param_groups, own, strict=True):
            live.clear()
            live.update(before)
        optimizer.state = state
