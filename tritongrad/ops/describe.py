"""Questions about tensors and dtypes: what they are, and which numbers they can hold."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tritongrad.storage import Storage
from tritongrad.tensor import Tensor, get_default_dtype
from tritongrad_kernels import dtypes


def is_tensor(obj: Any) -> bool:
    return isinstance(obj, Tensor)


def is_storage(obj: Any) -> bool:
    return isinstance(obj, Storage)


def _tensor(name: str, input: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(input).__name__}")
    return input


def numel(input: Tensor) -> int:
    """How many elements a tensor has."""
    return _tensor("numel", input).numel()


def is_floating_point(input: Tensor) -> bool:
    return _tensor("is_floating_point", input).is_floating_point()


def is_complex(input: Tensor) -> bool:
    return _tensor("is_complex", input).is_complex()


def _assert(condition: Any, message: Any) -> None:
    """`assert condition, message`, as a call that tracing tools of torch can see."""
    assert condition, message


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0."""
    return bool(_tensor("is_nonzero", input))


class finfo:
    """The limits of a floating dtype: bits, eps, max, min, tiny (also smallest_normal), resolution."""

    def __init__(self, type: dtypes.dtype | None = None) -> None:
        kind = type or get_default_dtype()
        if not kind.is_floating_point:
            raise TypeError(f"finfo: expected a floating-point dtype, got {kind.name}; iinfo is for integers")
        found = ml_dtypes.finfo(kind.numpy)
        self.dtype, self.bits = kind.name, 8 * kind.itemsize
        self.eps, self.max, self.min = float(found.eps), float(found.max), float(found.min)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = 10.0 ** -{"float64": 15, "float32": 6, "float16": 3, "bfloat16": 2}[kind.name]

    def __repr__(self) -> str:
        values = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{v}={getattr(self, v):g}' for v in values)}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype: bits, min, max."""

    def __init__(self, type: dtypes.dtype) -> None:
        if type.kind not in "iu":
            raise TypeError(f"iinfo: expected an integer dtype, got {type.name}; finfo is for floating-point ones")
        found = np.iinfo(type.numpy)
        self.dtype, self.bits, self.min, self.max = type.name, 8 * type.itemsize, int(found.min), int(found.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
