"""A module called with other parameters and buffers than its own."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tritongrad.nn.module import Module
from tritongrad.nn.parallel import DataParallel
from tritongrad.tensor import Tensor

_MISSING: Any = object()


def _tied(module: Module, given: dict[str, Any]) -> dict[str, Any]:
    """What is given, also under the other names of tensors that the module has under several."""
    names_of: dict[int, list[str]] = defaultdict(list)
    for table in (module.named_parameters, module.named_buffers):
        for name, tensor in table(remove_duplicate=False):
            names_of[id(tensor)].append(name)
    whole = dict(given)
    for names in names_of.values():
        found = [name for name in names if name in given]
        if not found or len(names) == 1:
            continue
        if len(found) > 1 and len({id(given[name]) for name in found}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(names)}, which are tied. Consider using "
                f"tie_weights=False"
            )
        whole.update({name: given[found[0]] for name in names})
    return whole


def _require_all(module: Module, given: dict[str, Any]) -> None:
    own = {
        name for table in (module.named_parameters, module.named_buffers) for name, _ in table(remove_duplicate=False)
    }
    faults = [
        f"{what} key(s): {', '.join(map(repr, names))}."
        for what, names in (
            ("Unexpected", [name for name in given if name not in own]),
            ("Missing", [name for name in own if name not in given]),
        )
        if names
    ]
    if faults:
        raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(faults))


def _swap(module: Module, name: str, value: Any) -> Any:
    """Put a tensor under a dotted name, or take what is there away; what was there before."""
    if value is not _MISSING and value is not None and not isinstance(value, Tensor):
        raise TypeError(f"functional_call: {name!r} is a {type(value).__name__}, expected a tensor")
    path, _, last = name.rpartition(".")
    owner = module.get_submodule(path)
    for table in (owner._parameters, owner._buffers):
        if last in table:
            before = table[last]
            if value is _MISSING:
                del table[last]
            else:
                table[last] = value
            return before
    before = getattr(owner, last, _MISSING)
    if value is not _MISSING:
        setattr(owner, last, value)
    elif before is not _MISSING:
        delattr(owner, last)
    return before


@contextmanager
def _reparametrize_module(
    module: Module, parameters_and_buffers: dict[str, Any], tie_weights: bool = False, strict: bool = False
) -> Iterator[None]:
    """Inside the block the module has these tensors in place of its own; what it puts there goes to the dict."""
    given = _tied(module, parameters_and_buffers) if tie_weights else dict(parameters_and_buffers)
    if strict:
        _require_all(module, given)
    own: dict[str, Any] = {}
    try:
        for name, value in given.items():
            own[name] = _swap(module, name, value)
        yield
    finally:
        for name, value in reversed(own.items()):
            now = _swap(module, name, value)
            if name in parameters_and_buffers:
                parameters_and_buffers[name] = now


def called(
    module: Module,
    parameters_and_buffers: dict[str, Any],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other parameters and buffers: `torch.func.functional_call` with one dict."""
    if isinstance(module, DataParallel):
        raise RuntimeError("The stateless API can't be used with nn.DataParallel module")
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _reparametrize_module(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Any],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """As `torch.func.functional_call`, which torch replaced this by."""
    warnings.warn(
        "torch.nn.utils.stateless.functional_call is deprecated; use torch.func.functional_call, which takes the same "
        "arguments",
        FutureWarning,
        stacklevel=2,
    )
    return called(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
