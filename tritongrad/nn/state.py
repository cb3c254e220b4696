"""What a module saves, and how it takes that over again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from tritongrad.autograd import no_grad
from tritongrad.nn.hooks import Hooks, RemovableHandle
from tritongrad.nn.uninitialized import is_lazy
from tritongrad.tensor import Tensor

TABLES = (
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
EXTRA = "_extra_state"


class _IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` could not place."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not any(self):
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


# What a load has found to do, and does only once nothing is wrong.
_plan: ContextVar[list[Callable[[], object]]] = ContextVar("plan")


class Stateful:
    """The half of `Module` that saves and loads."""

    _version: int | None = 1
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _state_dict_pre_hooks: Hooks
    _state_dict_hooks: Hooks
    _load_state_dict_pre_hooks: Hooks
    _load_state_dict_post_hooks: Hooks

    def get_extra_state(self) -> Any:
        """Override both this and `set_extra_state` to save more than parameters and buffers."""
        raise RuntimeError(f"{type(self).__name__} has no extra state; override get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError(f"{type(self).__name__} takes no extra state; override set_extra_state")

    def _has_extra_state(self, way: str) -> bool:
        return getattr(type(self), way) is not getattr(Stateful, way)

    # ------------------------------------------------------------------------------------------------------- saving

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """All parameters and persistent buffers by dotted name; they share memory with the module.

        They come detached, unless `keep_vars`. `destination` is a dict to put them into. As in torch, the dict has an
        attribute `_metadata`.
        """
        given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
        destination = given.get("destination", destination)
        prefix, keep_vars = given.get("prefix", prefix), given.get("keep_vars", keep_vars)
        state: Any = OrderedDict() if destination is None else destination
        if destination is None:
            state._metadata = OrderedDict()  # the version of each module's layout, by its name
        metadata = {"version": self._version}
        if hasattr(state, "_metadata"):
            state._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(state, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            changed = hook(self, state, prefix, metadata)
            state = state if changed is None else changed
        return state

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put this module's own entries, without its children's, into a dict."""
        for name, value in self._own_entries():
            destination[prefix + name] = value if keep_vars else value.detach()
        if self._has_extra_state("get_extra_state"):
            destination[prefix + EXTRA] = self.get_extra_state()

    def _own_entries(self) -> Iterator[tuple[str, Tensor]]:
        """This module's parameters and persistent buffers in the order torch lists them."""
        for name, p in self._parameters.items():
            if p is not None:
                yield name, p
        for name, b in self._buffers.items():
            if b is not None and name not in self._non_persistent_buffers_set:
                yield name, b

    # ------------------------------------------------------------------------------------------------------ loading

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy values into parameters and buffers by name. Either all of them are copied or, on an error, none.

        With `strict` missing and unexpected names are an error; they are returned otherwise. Wrong shapes always are.
        With `assign` the module's tensors take over the values' memory and dtype.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        state: dict[str, Any] = OrderedDict(state_dict)  # hooks may change it
        metadata = getattr(state_dict, "_metadata", None)
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        token = _plan.set([])
        try:
            self._load(state, metadata, "", assign, (missing, unexpected, errors))
            todo = _plan.get()
        finally:
            _plan.reset(token)
        result = _IncompatibleKeys(missing, unexpected)
        if strict and unexpected:
            errors.insert(0, "Unexpected key(s) in state_dict: " + ", ".join(f'"{k}"' for k in unexpected) + ".")
        if strict and missing:
            errors.insert(0, "Missing key(s) in state_dict: " + ", ".join(f'"{k}"' for k in missing) + ".")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        with no_grad():
            for action in todo:
                action()
        self._loaded(result)
        return result

    def _load(self, state: dict[str, Any], metadata: Any, prefix: str, assign: bool, found: tuple) -> None:
        local = {**(metadata.get(prefix[:-1], {}) if metadata is not None else {}), "assign_to_params_buffers": assign}
        self._load_from_state_dict(state, prefix, local, True, *found)
        for name, child in self._modules.items():
            if child is not None:
                start = f"{prefix}{name}."
                part = {k: v for k, v in state.items() if k.startswith(start)}
                child._load(part, metadata, start, assign, found)

    def _loaded(self, result: _IncompatibleKeys) -> None:
        for child in self._modules.values():
            if child is not None:
                child._loaded(result)
        for hook in self._load_state_dict_post_hooks.values():
            if hook(self, result) is not None:
                raise AssertionError(
                    "Hooks registered with `register_load_state_dict_post_hook` are not expected to return new values; "
                    "change missing_keys and unexpected_keys in place"
                )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Find this module's own entries, without its children's; to be overridden where layouts have changed.

        Nothing is written yet: that is done once the entries of all modules have been found to fit.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = dict(self._own_entries())
        for name, target in own.items():
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
            elif problem := _misfit(key, state_dict[key], target):
                error_msgs.append(problem)
            else:
                _plan.get().append(_taking(target, state_dict[key], assign))
        extra = prefix + EXTRA
        if self._has_extra_state("set_extra_state"):
            if extra in state_dict:
                value = state_dict[extra]
                _plan.get().append(lambda: self.set_extra_state(value))
            else:
                missing_keys.append(extra)
        for key in state_dict:
            if key.startswith(prefix):
                name, _, rest = key[len(prefix) :].partition(".")
                known = (
                    name in self._modules
                    if rest
                    else name in own or (name == EXTRA and self._has_extra_state("set_extra_state"))
                )
                if not known:
                    unexpected_keys.append(key)

    # -------------------------------------------------------------------------------------------------------- hooks

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, prefix, keep_vars) before the module's state is collected."""
        return RemovableHandle(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata) when the module's state has been collected."""
        return RemovableHandle(self._state_dict_hooks, hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        before the module takes its entries; it may change them."""
        return RemovableHandle(self._load_state_dict_pre_hooks, lambda *args: hook(self, *args))

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        return (
            self.register_load_state_dict_pre_hook(hook)
            if with_module
            else RemovableHandle(self._load_state_dict_pre_hooks, hook)
        )

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, incompatible_keys) when everything has been loaded."""
        return RemovableHandle(self._load_state_dict_post_hooks, hook)


def _misfit(key: str, value: Any, target: Tensor) -> str | None:
    if not isinstance(value, Tensor):
        return (
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from checkpoint '
            f"but received {type(value)}"
        )
    if not is_lazy(target) and value.shape != target.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {list(value.shape)} from checkpoint, "
            f"the shape in current model is {list(target.shape)}."
        )
    return None


def _taking(target: Tensor, value: Tensor, assign: bool) -> Callable[[], object]:
    def take() -> None:
        if is_lazy(value):
            return
        if is_lazy(target):
            target.materialize(value.shape)  # type: ignore[attr-defined]
        if assign:
            target.array = value.array
        else:
            target.copy_(value)

    return take
