"""How the operands of an elementwise operation meet, and where its result is written.

Tensors and Python numbers broadcast and promote as torch's do: a number, or a tensor without dimensions, changes the
result's dtype only if its category (bool, integer, floating) is higher than everything with dimensions.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tritongrad.autograd import is_grad_enabled
from tritongrad.tensor import Tensor, get_default_dtype, record_inplace
from tritongrad_kernels import dtypes, elementwise as kernel, memory
from tritongrad_kernels.array import Array
from tritongrad_kernels.dtypes import bool_, dtype

Operand = Any  # a Tensor or a Python number


def result_type(*operands: Operand) -> dtype:
    """The dtype torch gives an operation over these tensors and numbers."""
    kinds: list[Any] = [(x.array.dtype, x.array.shape == ()) if isinstance(x, Tensor) else type(x) for x in operands]
    return _result_type(get_default_dtype(), *kinds)


@functools.lru_cache(maxsize=1 << 12)
def _result_type(default: dtype, *operands: tuple[dtype, bool] | type) -> dtype:
    """`result_type` of tensors, given as their dtype and whether they have no dimensions, and classes of numbers."""
    return dtypes.result_type(
        (dtypes.of_number(x, default), dtypes.SCALAR)
        if isinstance(x, type)
        else (x[0], dtypes.ZERO_DIMENSIONAL if x[1] else dtypes.DIMENSIONED)
        for x in operands
    )


def floating_type(*operands: Operand) -> dtype:
    """`result_type`, integers giving the default floating dtype."""
    kind = result_type(*operands)
    return kind if kind.is_floating_point else get_default_dtype()


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that holds values of both."""
    return dtypes.promote(type1, type2)


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether a result of dtype `from_` may be written into a tensor of dtype `to`: never to a lower category."""
    return (to.is_floating_point or not from_.is_floating_point) and (to is not bool_ or from_ is bool_)


def refuse(name: str, kind: dtype, kinds: str) -> None:
    """NotImplementedError where the dtype is of one of these kinds: b bool, i integer, f floating."""
    if ("i" if kind.kind == "u" else kind.kind) in kinds:
        raise NotImplementedError(f"{name}: not implemented for {kind.name} tensors")


def require_tensor(name: str, **arguments: Any) -> None:
    """TypeError, in torch's words, for the first argument that is no tensor."""
    for position, (argument, x) in enumerate(arguments.items(), 1):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' (position {position}) must be Tensor, not {type(x).__name__}"
            )


def arrays(name: str, *operands: Operand) -> list[Any]:
    """Arrays and numbers for a kernel, or one sentence about why they do not go together."""
    ready: list[Any] = []
    first: Array | None = None
    alike = True
    for x in operands:
        if isinstance(x, Tensor):
            array = x.array
            if first is None:
                first = array
            elif array.shape != first.shape or array.memory.device is not first.memory.device:
                alike = False
            ready.append(array)
        elif type(x) in _NUMBERS:
            ready.append(x)
        else:
            return arrays(name, *_numbers(name, operands))
    if first is None:
        raise TypeError(f"{name}: expected a tensor, got {' and '.join(type(x).__name__ for x in operands)}")
    return ready if alike else _meeting(name, operands)


_NUMBERS = frozenset((float, int, builtins.bool))


def _numbers(name: str, operands: Sequence[Operand]) -> list[Operand]:
    """The operands with numpy's and other numbers as Python's own; TypeError for what is no number."""
    found = [x.item() if isinstance(x, np.generic) else x for x in operands]
    for x in found:
        if not isinstance(x, Tensor | bool | int | float):
            raise TypeError(f"{name}: expected tensors or numbers, got {type(x).__name__}")
    kinds = builtins.bool, int, float
    return [x if isinstance(x, Tensor) else next(k for k in kinds if isinstance(x, k))(x) for x in found]


def _meeting(name: str, operands: Sequence[Operand]) -> list[Any]:
    """As `arrays`, where shapes or devices differ."""
    tensors = [x for x in operands if isinstance(x, Tensor)]
    try:
        kernel.broadcast_shapes(*(x.array.shape for x in tensors))
    except ValueError:
        described = " and ".join(f"{x.dtype.name}{list(x.shape)}" for x in tensors)
        raise RuntimeError(f"{name}: the shapes of {described} do not broadcast together") from None
    devices = {x.device for x in tensors if x.ndim} or {x.device for x in tensors}
    if len(devices) > 1:
        where = " and ".join(sorted(str(d) for d in devices))
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found {where}")
    # A tensor without dimensions on another device is a number, as in torch.
    return [x if not isinstance(x, Tensor) else x.array if x.device in devices else x.item() for x in operands]


def apply(name: str, formula: Any, *operands: Operand, kind: dtype | None = None, to: dtype | None = None) -> Array:
    """formula(operands), evaluated in `kind` (default: the promoted type) and stored as `to` (default: `kind`)."""
    ready = arrays(name, *operands)
    kind = kind or result_type(*operands)
    if to is None:
        return kernel.map(formula, *ready, dtype=kind)
    return kernel.map(formula, *ready, dtype=to, compute=dtypes.compute(kind))


def widened(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x), a composition, without rounding to half precision on the way."""
    return function(x.to(dtypes.compute(x.dtype))).to(x.dtype)


def refuse_zero(name: str, divisor: Operand) -> None:
    """RuntimeError, as torch's, where an integer divisor is 0. On a GPU, as in torch, nobody looks."""
    if isinstance(divisor, Tensor):
        if divisor.device.type != "cpu" or memory.in_dry_run() or memory.refused():
            return
        zero = not builtins.bool(divisor.array.numpy().all())
    else:
        zero = divisor == 0
    if zero:
        raise RuntimeError(f"ZeroDivisionError: {name}: integer division by zero")


def into(out: Tensor | None, name: str, result: Tensor) -> Tensor:
    """The result, written into `out` where one is given."""
    if out is None:
        return result
    if is_grad_enabled() and (result.requires_grad or out.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            f"arguments requires grad."
        )
    _require_cast(name, result.dtype, out)
    if out.shape != result.shape:
        if out.numel():
            raise RuntimeError(f"{name}: the result has shape {list(result.shape)}, but out is {list(out.shape)}")
        out.array = result.array if out.dtype is result.dtype else kernel.cast(result.array, out.dtype)
        return out
    kernel.copy_into(result.array, out.array)
    out.array.memory.version += 1
    return out


def _require_cast(name: str, kind: dtype, x: Tensor) -> None:
    if not can_cast(kind, x.dtype):
        raise RuntimeError(f"{name}: result type {kind.name} can't be cast to the desired output type {x.dtype.name}")


def _require_shape(name: str, x: Tensor, *others: Operand) -> None:
    shapes = [y.array.shape for y in (x, *others) if isinstance(y, Tensor)]
    shape = kernel.broadcast_shapes(*shapes)
    if shape != x.array.shape:
        raise RuntimeError(
            f"{name}: the result of {' and '.join(str(list(s)) for s in shapes)} does not fit the shape being written "
            f"in place: output with shape {list(x.shape)} doesn't match the broadcast shape {list(shape)}"
        )


def write(name: str, formula: Any, kind: dtype, x: Tensor, *others: Operand) -> Callable[[], object]:
    """The write of formula(x, *others), evaluated in `kind`, into x, once it is sure to fit."""
    ready = arrays(name, x, *others)
    _require_shape(name, x, *others)
    _require_cast(name, kind, x)
    return lambda: kernel.map(formula, *ready, out=x.array, compute=dtypes.compute(kind))


def overwrite(
    name: str, kind: dtype, function: Callable[..., Tensor], x: Tensor, *others: Operand, **options: Any
) -> Tensor:
    """x = function(x, *others, **options) in place, the result being of dtype `kind`.

    Where a gradient is recorded the function is given a copy of x, so that what it keeps outlives the write.
    """
    given = [t for t in others if t is not None]
    arrays(name, x, *given)
    _require_shape(name, x, *given)
    _require_cast(name, kind, x)
    recorded = is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in (x, *given))
    y = function(x.clone() if recorded else x, *others, **options)
    return record_inplace(x, lambda: kernel.copy_into(y.array, x.array), (y, lambda dy: dy))
