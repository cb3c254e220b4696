"""What all optimisers share: parameter groups, state that can be saved, and hooks around a step."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from tritongrad.autograd import enable_grad, no_grad
from tritongrad.nn.hooks import Hooks, RemovableHandle
from tritongrad.tensor import Tensor, duplicate
from tritongrad_kernels import elementwise
from tritongrad_kernels.array import empty_like

Group = dict[str, Any]
HOOKS = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)

_pre_hooks_of_all: Hooks = OrderedDict()
_post_hooks_of_all: Hooks = OrderedDict()


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()
"""The default of an option that every parameter group must give."""


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Have `hook(optimizer, args, kwargs)` called before every step of every optimizer."""
    return RemovableHandle(_pre_hooks_of_all, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Have `hook(optimizer, args, kwargs)` called after every step of every optimizer."""
    return RemovableHandle(_post_hooks_of_all, hook)


def _hooked(step: Callable) -> Callable:
    """`step` with the hooks around it; where a subclass's step calls it, they are around that one instead."""

    @functools.wraps(step)
    def call(*args: Any, **kwargs: Any) -> Any:
        self = args[0]
        if type(self).step is not call:
            return step(*args, **kwargs)
        own = self.__dict__.get
        for hook in (*_pre_hooks_of_all.values(), *own("_optimizer_step_pre_hooks", {}).values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(f"a step pre-hook must return None or (args, kwargs), but got {changed}")
                args, kwargs = changed
        result = step(*args, **kwargs)
        for hook in (*own("_optimizer_step_post_hooks", {}).values(), *_post_hooks_of_all.values()):
            hook(self, args, kwargs)
        return result

    return call


class Optimizer:
    """Base class of optimisers.

    params    tensors, (name, tensor) pairs as `named_parameters()` gives them, or dicts with these under "params" and
              options of their own
    defaults  options for groups that do not give them; `required` for one that they must

    `param_groups` is a list of dicts, "params" and the options ("param_names" too if they have names); `state` has a
    dict for each parameter. A subclass defines `step`. TypeError for things that are no tensors, ValueError for tensors
    that are no leaves, for no parameters at all, and for one that is in two groups.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._without_hooks()
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of tensors or dicts")
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.step)  # type: ignore[method-assign]

    def _without_hooks(self) -> None:
        for name in HOOKS:
            self.__dict__.setdefault(name, OrderedDict())

    def add_param_group(self, param_group: Group) -> None:
        """Train more parameters, with options of their own where given. The dict becomes the group."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError("optimizer parameters must have an order, which a set has not: give a list")
        given = [params] if isinstance(params, Tensor) else list(params)
        names = [p[0] for p in given if isinstance(p, tuple)]
        if names and len(names) != len(given):
            raise ValueError("optimizer parameters must all have names or none: some are (name, tensor) and some not")
        params = [p[1] if isinstance(p, tuple) else p for p in given]
        for p in params:
            self._require_trainable(p)
        missing = [name for name, v in self.defaults.items() if v is required and name not in param_group]
        if missing:
            raise ValueError(f"parameter group didn't specify a value of required optimization parameter {missing[0]}")
        named = bool(names) or "param_names" in param_group
        if any(named != ("param_names" in group) for group in self.param_groups):
            raise ValueError("optimizer parameter groups must all have names or none")
        unique = {id(p) for p in params}
        if any(id(p) in unique for group in self.param_groups for p in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        if len(unique) != len(params):
            warnings.warn("a parameter group has the same parameter twice: each step updates it twice", stacklevel=3)
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for name, value in self.defaults.items():
            param_group.setdefault(name, value)
        self.param_groups.append(param_group)

    @staticmethod
    def _require_trainable(p: Any) -> None:
        if not isinstance(p, Tensor):
            raise TypeError(f"optimizer can only optimize tensors, but one of the params is {type(p).__name__}")
        if not (p.is_leaf or p.retains_grad):
            raise ValueError("can't optimize a non-leaf tensor")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or zero them."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    @_hooked
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. A closure is called first, recorded, and its result returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        rounds: list[dict[int, tuple[Group, Tensor]]] = [{}]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:  # what is listed twice takes part in two rounds
                    k = next((k for k, known in enumerate(rounds) if id(p) not in known), len(rounds))
                    rounds[k:] = rounds[k:] or [{}]
                    rounds[k][id(p)] = group, p
        with no_grad():
            for entries in rounds:
                self._update(list(entries.values()))
        return loss

    def _update(self, entries: list[tuple[Group, Tensor]]) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates parameters")

    # ------------------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Options and state, with parameters replaced by their position, as torch stores them."""
        for hook in self._optimizer_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            hook(self)
        number = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [
            {k: v for k, v in g.items() if k != "params"} | {"params": [number[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]
        state = {number[id(p)] if isinstance(p, Tensor) else p: dict(s) for p, s in self.state.items()}
        found = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            changed = hook(self, found)
            found = found if changed is None else changed
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state that `state_dict` gave, for parameters of the same number and shapes.

        State is copied, to the device and dtype of its parameter; "step" keeps its own. ValueError, and no change, if
        groups differ in number or size, or state cannot be that of its parameter.
        """
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups, saved = self.param_groups, copy.deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: {len(saved)}, not {len(groups)}"
            )
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in saved]:
            raise ValueError(
                "loaded state dict contains a parameter group with a different number of parameters than the "
                "optimizer's group"
            )
        params = {
            i: p
            for own, given in zip(groups, saved, strict=True)
            for i, p in zip(given["params"], own["params"], strict=True)
        }
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for i, values in state_dict["state"].items():
            p = params.get(int(i) if isinstance(i, str) and i.isdigit() else i)
            if p is None:
                state[i] = values
            else:
                self._require_state(p, values)
                state[p] = self._own(p, values)
        fitted = [{**own, **given, "params": own["params"]} for own, given in zip(groups, saved, strict=True)]
        self.__setstate__({"state": state, "param_groups": fitted})
        for hook in self._optimizer_load_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            hook(self)

    def _require_state(self, p: Tensor, values: dict[str, Any]) -> None:
        """ValueError where this cannot be the state of p."""

    def _own(self, p: Tensor, value: Any, key: Any = None) -> Any:
        """A copy of state for a parameter: its device and floating dtype, and memory order where there is one number
        for each of its elements."""
        if isinstance(value, dict):
            return {k: self._own(p, v, k) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._own(p, v) for v in value)
        if not isinstance(value, Tensor):
            return value
        if key in self._counts:
            return Tensor(duplicate(value.array))
        moved = value.detach().to(p.device, p.dtype) if p.is_floating_point() else value.detach().to(p.device)
        if value.shape == p.shape:
            return Tensor(elementwise.copy_into(moved.array, empty_like(p.array, moved.dtype)))
        return Tensor(duplicate(moved.array)) if moved.array.memory is value.array.memory else moved

    _counts: tuple[str, ...] = ("step",)  # state that keeps its dtype and stays where it is

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._without_hooks()

    # ------------------------------------------------------------------------------------------------------- hooks

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Have `hook(optimizer, args, kwargs)` called before each step; it may return other (args, kwargs)."""
        return self._register(HOOKS[0], hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Have `hook(optimizer, args, kwargs)` called after each step."""
        return self._register(HOOKS[1], hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer)` called before `state_dict`; `prepend` puts it before those there are."""
        return self._register(HOOKS[2], hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer, state_dict)` called after `state_dict`; it may return another."""
        return self._register(HOOKS[3], hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer, state_dict)` called before `load_state_dict`; it may return another."""
        return self._register(HOOKS[4], hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Have `hook(optimizer)` called after `load_state_dict`."""
        return self._register(HOOKS[5], hook, prepend)

    def _register(self, name: str, hook: Callable, prepend: bool = False) -> RemovableHandle:
        return RemovableHandle(getattr(self, name), hook, prepend=prepend)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            options = "".join(f"    {k}: {v}\n" for k, v in sorted(group.items()) if k != "params")
            text += f"\nParameter Group {i}\n{options}"
        return text + ")"
