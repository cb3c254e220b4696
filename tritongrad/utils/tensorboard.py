"""torch.utils.tensorboard: the writer of the package tensorboardX, which torch's came from, for our tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tritongrad.tensor import Tensor

try:
    import tensorboardX
except ImportError as error:
    raise ImportError(
        "tritongrad.utils.tensorboard: writing for TensorBoard needs a package: pip install tensorboardX"
    ) from error


class SummaryWriter(tensorboardX.SummaryWriter):
    """tensorboardX's writer; its `add_...` methods take our tensors as well."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("add_"):
            return found
        return lambda *args, **kwargs: found(*_as_arrays(args), **_as_arrays(kwargs))


def _as_arrays(value: Any) -> Any:
    """The tensors of a nest of tuples, lists and dicts as numpy arrays."""
    if isinstance(value, Tensor):
        return np.array(value.detach().cpu(), copy=True)
    if isinstance(value, dict):
        return {k: _as_arrays(v) for k, v in value.items()}
    return type(value)(_as_arrays(v) for v in value) if type(value) in (tuple, list) else value


__all__ = ["SummaryWriter"]
