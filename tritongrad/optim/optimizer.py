"""What all optimisers share: parameter groups, state, and the one launch that updates every parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from tritongrad.autograd import enable_grad, no_grad
from tritongrad.precision import current_copy, wrote
from tritongrad.tensor import Tensor, duplicate
from tritongrad_kernels import elementwise, optim as kernel
from tritongrad_kernels.array import Array, empty_like

Group = dict[str, Any]


class Optimizer:
    """Base class of optimisers: `param_groups` (dicts with "params" and options) and `state` (a dict per parameter)."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of tensors or dicts")
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Train more parameters, with options of their own where given."""
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        params = [p[1] if isinstance(p, tuple) else p for p in params]  # named_parameters() is accepted
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf tensor")
            if id(p) in known:
                raise ValueError("some parameters appear in more than one parameter group")
            known.add(id(p))
        self.param_groups.append({**self.defaults, **param_group, "params": params})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or zero them."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. A closure is called first, recorded, and its result returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            self._update([(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None])
        return loss

    def _update(self, entries: list[tuple[Group, Tensor]]) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates parameters")

    # ------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Options and state, with parameters replaced by their position, as torch stores them."""
        number = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**g, "params": [number[id(p)] for p in g["params"]]} for g in self.param_groups]
        return {"state": {number[id(p)]: dict(s) for p, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state that `state_dict` gave, for parameters of the same number and shapes."""
        groups, saved = self.param_groups, state_dict["param_groups"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in saved]:
            raise ValueError("loaded state dict has a different number of parameter groups or of parameters in a group")
        params = {
            i: p
            for own, given in zip(groups, saved, strict=True)
            for i, p in zip(given["params"], own["params"], strict=True)
        }
        state = {}
        for i, values in state_dict["state"].items():
            p = params[int(i)]
            for name, v in values.items():
                if isinstance(v, Tensor) and v.ndim and v.shape != p.shape:
                    raise ValueError(f"loaded {name} has shape {list(v.shape)}, but its parameter {list(p.shape)}")
            state[p] = {name: self._own(p, v) for name, v in values.items()}
        self.state = state
        for own, given in zip(groups, saved, strict=True):
            own.update({k: v for k, v in given.items() if k != "params"})

    @staticmethod
    def _own(p: Tensor, value: Any) -> Any:
        """A copy of a state value; one per element takes the parameter's dtype, device and memory order."""
        if not isinstance(value, Tensor):
            return value
        if value.shape != p.shape or not p.ndim:
            return Tensor(duplicate(value.array))
        moved = value.to(p.device)
        return Tensor(elementwise.copy_into(moved.array, empty_like(p.array)))

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])


class FusedOptimizer(Optimizer):
    """An optimiser whose step is one launch for all parameters of a dtype, and changes all of them or none.

    The launch also writes the copies in half precision that `autocast` keeps of parameters.
    """

    kernel: Callable[..., None]

    def _flags(self, group: Group) -> tuple[bool, ...]:
        """The options of a group that make another kernel."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates parameters")

    def _row(self, group: Group, p: Tensor) -> tuple[list[Array | None], list[float], dict[str, Tensor]]:
        """A parameter's arrays [param, grad, state ...] and numbers for the kernel, and its state after the step."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates parameters")

    def _kind(self, entry: tuple[Group, Tensor]) -> tuple:
        """What the parameters of one launch have in common."""
        group, p = entry
        assert p.grad is not None
        copy = current_copy(p)
        return p.dtype, p.grad.dtype, *self._flags(group), None if copy is None else copy.dtype

    def _update(self, entries: list[tuple[Group, Tensor]]) -> None:
        launches, fresh = [], []
        for kind, same in groupby(sorted(entries, key=lambda e: str(self._kind(e))), self._kind):
            rows, numbers = [], []
            for group, p in same:
                arrays, scalars, state = self._row(group, p)
                copy = current_copy(p)
                rows.append([*arrays, copy])
                numbers.append(scalars)
                fresh.append((p, state, copy))
            launches.append((kernel.table(rows, numbers), kind))
        # Everything that can fail has been done: now all parameters and all state change, or none has.
        for tables, kind in launches:
            type(self).kernel(tables, *kind)
        for p, state, copy in fresh:
            self.state.setdefault(p, {}).update(state)
            for t in (p, *(v for v in state.values() if v.shape == p.shape)):
                t.array.memory.version += 1  # so that stale uses in a graph are refused
            if copy is not None:
                wrote(p, copy)


def matching(t: Tensor, p: Tensor) -> Tensor:
    """`t` in the memory order of `p`, itself where it has it: a fused step walks both through memory."""
    return t if t.array.has_strides(p.array.strides) else Tensor(elementwise.in_order(t.array, p.array.strides))


def dense(p: Tensor) -> Array:
    """The array of a parameter, which must own every element of the memory it spans."""
    if p.array.dense_order() is None or p.array.offset:
        raise RuntimeError(f"optimizer: a parameter of shape {list(p.shape)} is a view of other memory; clone() it")
    return p.array


def zeros(p: Tensor) -> Tensor:
    """State of zeros for a parameter, in its memory order."""
    return Tensor(elementwise.fill(empty_like(p.array), 0))
