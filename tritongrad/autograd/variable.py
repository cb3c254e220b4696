"""torch.autograd.Variable, which code from before 2018 wraps tensors in. Today every tensor is one."""

from __future__ import annotations

from typing import Any


class _AnyTensor(type):
    """What makes `isinstance(tensor, Variable)` true."""

    def __instancecheck__(cls, thing: Any) -> bool:
        return hasattr(thing, "grad_fn") and hasattr(thing, "array")


class Variable(metaclass=_AnyTensor):
    """`Variable(t)` is t without its history, wanting a gradient if asked to. `volatile` is taken and ignored."""

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool = False) -> Any:
        return data.detach().requires_grad_(requires_grad)
