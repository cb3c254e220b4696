"""Differentiable operations, and Tensor's operators and methods, which are the same functions."""

from __future__ import annotations

from typing import Any

from tritongrad.ops import creation, elementwise, linalg, movement, reduce, softmax as softmax_ops
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


def _reflected(function: Any) -> Any:
    return lambda self, other: function(other, self)


def _comparison(function: Any) -> Any:
    """`x == None` and the like are questions Python asks of any two objects."""

    def compare(self: Tensor, other: Any) -> Any:
        return function(self, other) if isinstance(other, Tensor | bool | int | float) else NotImplemented

    return compare


def _conversion(kind: dtypes.dtype) -> Any:
    return lambda self: movement.cast(self, kind)


def _like_self(create: Any) -> Any:
    return lambda self, *size, **options: create(*size, **{"dtype": self.dtype, "device": self.device, **options})


_OPERATORS: dict[str, Any] = {
    "__add__": elementwise.add,
    "__radd__": elementwise.add,
    "__iadd__": elementwise.add_,
    "__sub__": elementwise.sub,
    "__rsub__": _reflected(elementwise.sub),
    "__isub__": elementwise.sub_,
    "__mul__": elementwise.mul,
    "__rmul__": elementwise.mul,
    "__imul__": elementwise.mul_,
    "__truediv__": elementwise.div,
    "__rtruediv__": _reflected(elementwise.div),
    "__itruediv__": elementwise.div_,
    "__floordiv__": elementwise.floor_divide,
    "__rfloordiv__": _reflected(elementwise.floor_divide),
    "__mod__": elementwise.remainder,
    "__rmod__": _reflected(elementwise.remainder),
    "__pow__": elementwise.pow,
    "__rpow__": _reflected(elementwise.pow),
    "__matmul__": linalg.matmul,
    "__neg__": elementwise.neg,
    "__pos__": lambda self: self,
    "__abs__": elementwise.abs,
    "__invert__": elementwise.bitwise_not,
    "__and__": elementwise.bitwise_and,
    "__or__": elementwise.bitwise_or,
    "__xor__": elementwise.bitwise_xor,
    "__eq__": _comparison(elementwise.eq),
    "__ne__": _comparison(elementwise.ne),
    "__lt__": _comparison(elementwise.lt),
    "__le__": _comparison(elementwise.le),
    "__gt__": _comparison(elementwise.gt),
    "__ge__": _comparison(elementwise.ge),
    "__getitem__": movement.getitem,
    "__setitem__": movement.setitem,
}

_METHODS = [
    *(getattr(elementwise, name) for name in (
        "abs", "add", "add_", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "clamp", "clamp_", "copy_",
        "cos", "div", "div_", "eq", "equal", "erf", "exp", "fill_", "floor", "floor_divide", "ge", "gt", "isclose",
        "isfinite", "isinf", "isnan", "le", "log", "logical_and", "logical_not", "logical_or", "logical_xor", "lt",
        "masked_fill", "maximum", "minimum", "mul", "mul_", "ne", "neg", "pow", "relu", "relu_", "remainder", "rsqrt",
        "sigmoid", "sign", "sin", "sqrt", "square", "sub", "sub_", "tanh", "zero_", "allclose",
    )),
    *(getattr(movement, name) for name in (
        "broadcast_to", "chunk", "clone", "contiguous", "expand", "expand_as", "flatten", "flip", "narrow", "permute",
        "reshape", "select", "split", "squeeze", "sum_to_size", "t", "to", "transpose", "unbind", "unsqueeze", "view",
        "view_as",
    )),
    *(getattr(reduce, name) for name in (
        "all", "amax", "amin", "any", "argmax", "argmin", "max", "mean", "min", "norm", "std", "sum", "var",
    )),
    *(getattr(linalg, name) for name in ("addmm", "bmm", "dot", "matmul", "mm", "mv", "outer")),
    softmax_ops.softmax,
    softmax_ops.log_softmax,
]  # fmt: skip

for _name, _function in _OPERATORS.items():
    setattr(Tensor, _name, _function)
for _function in _METHODS:
    setattr(Tensor, _function.__name__, _function)
_SHORTHANDS = {
    **{
        name: _conversion(kind)
        for name, kind in {
            "double": dtypes.float64,
            "float": dtypes.float32,
            "half": dtypes.float16,
            "bfloat16": dtypes.bfloat16,
            "long": dtypes.int64,
            "int": dtypes.int32,
            "short": dtypes.int16,
            "char": dtypes.int8,
            "byte": dtypes.uint8,
            "bool": dtypes.bool_,
        }.items()
    },
    "cpu": lambda self: movement.to(self, "cpu"),
    "cuda": lambda self, device=None, non_blocking=False: movement.to(self, "cuda" if device is None else device),
    "type_as": lambda self, other: movement.to(self, other.dtype),
    "new_zeros": _like_self(creation.zeros),
    "new_ones": _like_self(creation.ones),
    "T": property(lambda self: movement.permute(self, tuple(reversed(range(self.ndim))))),
    "mT": property(lambda self: movement.transpose(self, -2, -1)),
}

for _name, _value in _SHORTHANDS.items():
    setattr(Tensor, _name, _value)
