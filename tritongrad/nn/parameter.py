"""Parameters and buffers, by the name of torch's file; and those that get their shape from a module's first input."""

from __future__ import annotations

from typing import Any

from tritongrad.nn.module import Buffer as Buffer, Parameter as Parameter
from tritongrad.nn.uninitialized import (
    UninitializedTensorMixin as UninitializedTensorMixin,
    is_lazy as is_lazy,
)
from tritongrad.ops.filled import uninitialised
from tritongrad.tensor import Tensor


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter of a lazy module before its first call; `materialize` makes it a `Parameter`."""

    cls_to_become = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        Parameter.__init__(self, uninitialised(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer of a lazy module before its first call; `materialize` makes it a tensor."""

    cls_to_become = Tensor

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> None:
        Tensor.__init__(self, uninitialised(0, device=device, dtype=dtype).array, requires_grad=requires_grad)
        self.persistent = persistent
