"""What functions that make tensors have in common: sizes, and where the result goes.

`layout` and `pin_memory` are taken because torch takes them: memory is always strided, and host memory is always pinned
where there is a GPU. With `out` the values are those of its dtype, on its device, and it takes the size of the result.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tritongrad.autograd import is_grad_enabled
from tritongrad.ops.operands import into
from tritongrad.tensor import Tensor, as_device, get_default_dtype
from tritongrad_kernels import dtypes, elementwise
from tritongrad_kernels.array import Array, contiguous_strides, resized
from tritongrad_kernels.driver import Device
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.formats import layout, require_strided


def extents(name: str, size: tuple[Any, ...], keyword: Any = None) -> tuple[int, ...]:
    """A shape from `f(2, 3)`, `f((2, 3))` or `f(size=(2, 3))`."""
    given = keyword if keyword is not None else size
    if keyword is None and not size:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    if len(given) == 1 and isinstance(given[0], list | tuple):
        given = given[0]
    try:
        shape = tuple(_whole(n) for n in given)
    except TypeError:
        raise TypeError(f"{name}: expected a size of whole numbers, got {list(given)}") from None
    if min(shape, default=0) < 0:
        raise RuntimeError(f"{name}: extents must not be negative, got {list(shape)}")
    return shape


def _whole(n: Any) -> int:
    if isinstance(n, bool | float):
        raise TypeError
    return n.__index__()


def size_of(named: dict[str, Any], name: str) -> Any:
    """The keyword `size`, which cannot stand beside positional extents; TypeError for any other."""
    others = set(named) - {"size"}
    if others:
        raise TypeError(f"{name}: got an unexpected keyword argument {min(others)!r}")
    return named.get("size")


def leaf(array: Array, requires_grad: bool = False) -> Tensor:
    """A tensor without a history; RuntimeError if it should want a gradient and is not floating point."""
    result = Tensor(array)
    result.requires_grad = requires_grad
    return result


def target(
    name: str,
    out: Tensor | None,
    dtype: dtype | None,
    device: Any,
    layout: layout | None = None,
    default: dtype | None = None,
) -> tuple[dtype, Device | None]:
    """The dtype and device of a result: those of `out`, with which the others must agree; else those asked for."""
    require_strided(name, layout)
    place, dtype = as_device(device), dtypes.of(dtype, name)
    if out is None:
        return dtype or default or get_default_dtype(), place
    require_out(name, out)
    if dtype not in (None, out.dtype):
        raise RuntimeError(f"{name}: dtype {dtype.name} does not match dtype of out parameter ({out.dtype.name})")
    if place not in (None, out.device):
        raise RuntimeError(f"{name}: device {place} does not match device of out parameter ({out.device})")
    return out.dtype, out.device


def require_out(name: str, out: Any) -> None:
    """TypeError if `out` is no tensor, RuntimeError if it wants a gradient."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if is_grad_enabled() and out.requires_grad:
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            f"arguments requires grad."
        )


def placed(array: Array, out: Tensor | None, requires_grad: bool = False) -> Tensor:
    """The values as a leaf, or in `out`, which then has their shape."""
    if out is None:
        return leaf(array, requires_grad)
    fit(out, array.shape)
    return _written(array, out, requires_grad)


def into_each(out: Sequence[Tensor] | None, name: str, result: Any) -> Any:
    """A tuple of results, each written into the tensor of `out` at its place where those are given."""
    if out is None:
        return result
    if not isinstance(out, list | tuple) or len(out) != len(result):
        raise TypeError(f"{name}(): argument 'out' must be a tuple of {len(result)} tensors")
    written = [into(o, name, r) for o, r in zip(out, result, strict=True)]
    return type(result)(*written) if hasattr(result, "_fields") else type(result)(written)


def fit(out: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`out` in that shape, if it has another in C order, with as much of its memory as it needs."""
    if out.array.shape != shape:
        out.array = resized(out.array, shape, contiguous_strides(shape))
    return out


def filled_in(name: str, array: Array, out: Tensor | None, requires_grad: bool = False) -> Tensor:
    """As `placed`, for a range: an `out` of as many elements keeps its shape, and a warning is given for others."""
    if out is None or out.numel() != array.size:
        if out is not None and out.numel():
            warnings.warn(
                f"{name}: the number of elements in the out tensor of shape {list(out.shape)} is {out.numel()} which "
                f"does not match the computed number of elements {array.size}; it is resized",
                stacklevel=3,
            )
        return placed(array, out, requires_grad)
    return _written(elementwise.reshape(array, out.array.shape), out, requires_grad)


def _written(array: Array, out: Tensor, requires_grad: bool) -> Tensor:
    elementwise.copy_into(array, out.array)
    out.array.memory.version += 1
    out.requires_grad = requires_grad or out.requires_grad
    return out


def require_fit(name: str, values: np.ndarray, kind: dtype) -> None:
    """RuntimeError if a number has no place in an integer dtype. As in torch, unsigned ones take negatives modulo."""
    if kind.is_floating_point or kind is dtypes.bool_ or values.dtype.kind == "b" or not values.size:
        return
    most = np.iinfo(kind.numpy).max
    least = -most if kind.kind == "u" else np.iinfo(kind.numpy).min
    low, high = values.min(), values.max()
    if not (low >= least and high <= most) or (values.dtype.kind == "f" and high >= 2.0**63):
        raise RuntimeError(f"{name}: values from {low} to {high} cannot be converted to {kind.name} without overflow")
