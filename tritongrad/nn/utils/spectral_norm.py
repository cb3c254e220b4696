"""Weights divided by their largest singular value (Miyato et al. 2018)."""

from __future__ import annotations

from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tritongrad.nn.module import Module, Parameter
from tritongrad.ops.linalg import dot, mv
from tritongrad.ops.similarity import normalize
from tritongrad.random import normal_
from tritongrad.tensor import Tensor


class SpectralNorm:
    """The hook that forms name = name_orig / sigma before every forward; `spectral_norm` registers it."""

    _version = 1

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name, self.dim, self.n_power_iterations, self.eps = name, dim, n_power_iterations, eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """The weight with axis `dim` first and all others joined."""
        rows = weight.movedim(self.dim, 0)
        return rows.reshape(rows.shape[0], -1)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(normalize(mv(matrix.t(), u), dim=0, eps=self.eps))
                    u.copy_(normalize(mv(matrix, v), dim=0, eps=self.eps))
                u, v = u.clone(), v.clone()  # the next iteration must not change what this gradient needs
        return weight / dot(u, mv(matrix, v))

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Replace the parameter by name_orig, name_u and name_v, and register the hook."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
        hook, weight = SpectralNorm(name, n_power_iterations, dim, eps), module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        with no_grad():
            height, width = hook.reshape_weight_to_matrix(weight).shape
            u, v = (normalize(normal_(weight.new_empty(n)), dim=0, eps=eps) for n in (height, width))
        delattr(module, name)
        module.register_parameter(f"{name}_orig", weight)
        setattr(module, name, weight.detach())
        module.register_buffer(f"{name}_u", u)
        module.register_buffer(f"{name}_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(_NotesVersion(hook))
        return hook

    def remove(self, module: Module) -> None:
        """The weight as one parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for end in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


class _NotesVersion:
    """Says in a state's metadata which layout the hook's entries have, for torch to read."""

    def __init__(self, hook: SpectralNorm) -> None:
        self.hook = hook

    def __call__(self, module: Module, state_dict: Any, prefix: str, local_metadata: dict[str, Any]) -> None:
        local_metadata.setdefault("spectral_norm", {})[f"{self.hook.name}.version"] = self.hook._version


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """The module with a parameter divided by its largest singular value, as power iteration knows it.

    Rows are the outputs: axis `dim`, which is 0, or 1 for transposed convolutions. While training, each forward makes
    `n_power_iterations` steps. The parameter is name_orig; name_u and name_v are buffers.
    """
    if dim is None:
        dim = 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo `spectral_norm`: the parameter as it is now."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            for table in [k for k, h in module._state_dict_hooks.items() if getattr(h, "hook", None) is hook]:
                del module._state_dict_hooks[table]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
