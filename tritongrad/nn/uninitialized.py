"""Tensors that have a dtype and a device, and get a shape later."""

from __future__ import annotations

from typing import Any

from tritongrad.ops.filled import uninitialised
from tritongrad.tensor import Tensor
from tritongrad_kernels.array import Array

_slot: Any = Tensor.__dict__["array"]  # where a tensor keeps its array; here, an empty one


class UninitializedTensorMixin:
    """What has no shape yet: it can be moved, cast, copied, printed and registered, and nothing is computed with it."""

    cls_to_become: type

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Make this an ordinary parameter or buffer of that shape, whose values are undefined."""
        held = _slot.__get__(self).dtype, _slot.__get__(self).device
        made = uninitialised(shape, dtype=dtype or held[0], device=device or held[1])
        self.__class__ = self.cls_to_become
        _slot.__set__(self, made.array)

    @property
    def array(self) -> Array:
        raise ValueError(
            f"an uninitialized parameter or buffer ({type(self).__name__}) cannot be computed with: call the module "
            f"on a batch first, which gives it its shape"
        )

    @array.setter
    def array(self, value: Array) -> None:
        _slot.__set__(self, value)

    @property
    def data(self) -> Tensor:
        """An empty tensor of the dtype and device."""
        return Tensor(_slot.__get__(self))

    @data.setter
    def data(self, value: Tensor) -> None:
        _slot.__set__(self, value.data.array)

    @property
    def dtype(self) -> Any:
        return _slot.__get__(self).dtype

    @property
    def device(self) -> Any:
        return _slot.__get__(self).device

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer: it has none before the module's first "
            "call. This happens when an uninitialized parameter is loaded into an initialized one."
        )

    def detach(self) -> Any:
        return self

    def share_memory_(self) -> Any:
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer: call the module on a batch first"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> tuple:
        return type(self), (self.requires_grad, str(self.device), self.dtype)  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            kind: Any = type(self)
            memo[id(self)] = kind(self.requires_grad, self.device, self.dtype)  # type: ignore[attr-defined]
        return memo[id(self)]


def is_lazy(param: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
