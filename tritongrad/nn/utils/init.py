"""Modules whose parameters nobody has set yet."""

from __future__ import annotations

import inspect
from typing import Any

from tritongrad.generator import fork_rng
from tritongrad.nn.module import Module
from tritongrad_kernels import memory


def skip_init(module_cls: type, *args: Any, **kwargs: Any) -> Module:
    """module_cls(*args, **kwargs) with parameters and buffers whose values are undefined, and no number drawn.

    RuntimeError unless the class is a module's and its constructor takes a `device`.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    with fork_rng(), memory.dry_run():
        module = module_cls(*args, **kwargs)
    return module.to_empty(device=device)
