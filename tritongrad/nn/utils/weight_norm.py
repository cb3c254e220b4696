"""Weights as a length times a direction (Salimans and Kingma 2016)."""

from __future__ import annotations

from typing import Any

from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.norms import vector_norm
from tritongrad.tensor import Tensor


def lengths(v: Tensor, dim: int) -> Tensor:
    """The 2-norm of each slice at `dim`, axes kept; of all of v if dim is -1."""
    if dim == -1:
        return vector_norm(v, 2)
    return vector_norm(v, 2, tuple(a for a in range(v.ndim) if a != dim), True) if v.ndim > 1 else abs(v)


class WeightNorm:
    """The hook that forms name = name_g name_v / |name_v| before every forward; `weight_norm` registers it."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        length, direction = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return direction * (length / lengths(direction, self.dim))

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Replace the parameter by its length and its direction, and register the hook."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        hook, weight = WeightNorm(name, dim), getattr(module, name)
        if not -1 <= hook.dim < weight.ndim:
            raise IndexError(f"weight_norm: dim {dim} is out of range for a weight of shape {list(weight.shape)}")
        del module._parameters[name]
        module.register_parameter(f"{name}_g", Parameter(lengths(weight.detach(), hook.dim)))
        module.register_parameter(f"{name}_v", Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """The weight as one parameter again."""
        weight = self.compute_weight(module).detach()
        delattr(module, self.name)
        del module._parameters[f"{self.name}_g"], module._parameters[f"{self.name}_v"]
        setattr(module, self.name, Parameter(weight))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """The module with a parameter replaced by name_g, its norm for each index of `dim`, and name_v, its direction.

    `dim` None takes one norm of everything. The parameter itself is computed before every forward.
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undo `weight_norm`: the parameter as it is now."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
