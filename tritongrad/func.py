"""Modules as functions of their parameters, under torch.func's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tritongrad.nn.module import Module
from tritongrad.nn.utils import stateless
from tritongrad.ops.joining import stack


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Any] | Sequence[dict[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with tensors by dotted name in place of its parameters and buffers.

    Several dicts are taken together. A tensor that the module has under several names is replaced under all of them,
    unless `tie_weights` is False; with `strict` nothing may be missing or too much (RuntimeError). What the module
    puts in the place of a buffer goes to the dict, not to the module.
    """
    dicts = parameter_and_buffer_dicts
    if isinstance(dicts, dict):
        given = dicts
    elif isinstance(dicts, Sequence):
        if not all(isinstance(d, dict) for d in dicts):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        repeated = [name for name, times in Counter(name for d in dicts for name in d).items() if times > 1]
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {name: value for d in dicts for name, value in d.items()}
    else:
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(dicts)}"
        )
    return stateless.called(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of modules of one class stacked by name, as new leaves, and their buffers."""
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if any(m.training != models[0].training for m in models):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters, buffers = [dict(m.named_parameters()) for m in models], [dict(m.named_buffers()) for m in models]
    stacked = {}
    for name, first in parameters[0].items():
        if any(p[name].requires_grad != first.requires_grad for p in parameters):
            raise RuntimeError(f"stack_module_state: Expected {name} to have the same requires_grad in all models.")
        stacked[name] = stack([p[name].detach() for p in parameters]).requires_grad_(first.requires_grad)
    return stacked, {name: stack([b[name] for b in buffers]).detach() for name in buffers[0]}
