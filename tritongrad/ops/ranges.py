"""Ranges, grids and tables of indices."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from tritongrad.ops.gather import index_select
from tritongrad.ops.joining import stack
from tritongrad.ops.placement import filled_in, placed, target
from tritongrad.ops.views import expand, permute, reshape
from tritongrad.tensor import Tensor, as_device, get_default_dtype
from tritongrad_kernels import dtypes, elementwise, formulas, transcendental
from tritongrad_kernels.array import Array, contiguous_strides, from_host
from tritongrad_kernels.driver import Device
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.formats import layout, require_strided


def _number(value: Any) -> Any:
    """A Python number from itself or a tensor of one element."""
    value = value.item() if isinstance(value, Tensor | np.generic) else value
    if isinstance(value, complex):
        raise TypeError("complex numbers are not supported")
    return value


def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """start, start + step, ... before end; `arange(end)` starts at 0. int64 unless one of the three is a float.

    Integers are exact; floats are start + i step in float64, rounded once.
    """
    start, end, step = _number(start), _number(end), _number(step)
    if end is None:
        start, end = 0, start
    if not all(math.isfinite(v) for v in (start, end, step)):
        raise RuntimeError(f"arange: no finite range leads from {start} to {end} by steps of {step}")
    floats = any(isinstance(v, float) for v in (start, end, step))
    kind, place = target("arange", out, dtype, device, layout, get_default_dtype() if floats else dtypes.int64)
    if kind is dtypes.bool_:
        raise NotImplementedError("arange: not defined for bool")
    if not kind.is_floating_point:  # as torch: the three are cut to integers before anything is counted
        start, end, step = int(start), int(end), int(step)
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"arange: from {start} to {end} there is no way by steps of {step}")
    n = (
        -((start - end) // step)
        if isinstance(step, int) and not kind.is_floating_point
        else math.ceil((end - start) / step)
    )
    compute = dtypes.float64 if kind.is_floating_point else dtypes.int64
    return filled_in("arange", _ramp(n, step, start, kind, compute, place), out, requires_grad)


def _ramp(n: int, step: Any, start: Any, kind: dtype, compute: dtype, device: Device | None) -> Array:
    """start + i step for i in 0 .. n-1."""
    steps = elementwise.iota(n, device)
    if not kind.is_floating_point and compute is dtypes.int64:  # exact whatever the size of a scalar argument
        step, start = (from_host(np.array(v, np.int64), device) for v in (step, start))
    return elementwise.map(formulas._multiply_add, steps, step, start, dtype=kind, compute=compute)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included, counted from the nearer end."""
    kind, place = target("linspace", out, dtype, device, layout)
    array = _spaced("linspace", _number(start), _number(end), steps, place)
    return filled_in("linspace", elementwise.cast(array, kind), out, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`steps` powers of `base`, their exponents evenly spaced from start to end."""
    kind, place = target("logspace", out, dtype, device, layout)
    exponents = _spaced("logspace", _number(start), _number(end), steps, place)
    powers = elementwise.map(transcendental._pow_float, float(base), exponents, dtype=dtypes.float64)
    if not kind.is_floating_point:  # a power a rounding below an integer is that integer
        powers = elementwise.map(formulas._floor, elementwise.map(formulas._multiply_add, powers, 1 + 2.0**-46, 0.0))
    return filled_in("logspace", elementwise.cast(powers, kind), out, requires_grad)


def _spaced(name: str, start: float, end: float, steps: int, device: Device | None) -> Array:
    """In float64; the second half is counted back from the end, so that the end is met exactly."""
    if steps < 0:
        raise RuntimeError(f"{name}: the number of steps must not be negative, got {steps}")
    gap, near = (end - start) / (steps - 1) if steps > 1 else 0.0, (steps + 1) // 2
    whole = _ramp(steps, gap, float(start), dtypes.float64, dtypes.float64, device)
    if steps > 1:
        count = steps - near
        last = end - gap * (count - 1)
        elementwise.copy_into(
            _ramp(count, gap, float(last), dtypes.float64, dtypes.float64, device), whole.slice(0, near, steps)
        )
    return whole


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The n x m matrix with ones on its diagonal."""
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"eye: extents must not be negative, got {n} and {m}")
    kind, place = target("eye", out, dtype, device, layout)
    rows, columns = elementwise.iota(n, place).unsqueeze(1), elementwise.iota(m, place).unsqueeze(0)
    array = elementwise.map(formulas._eq, rows, columns, dtype=kind, compute=dtypes.int64)
    return placed(array, out, requires_grad)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Vectors (or numbers) expanded to one common grid, the k-th along axis k.

    `indexing="xy"` swaps the first two axes, as pictures are drawn; "ij", the default, does not.
    """
    given = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else list(tensors)
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    if not given:
        raise RuntimeError("meshgrid: expected at least one tensor")
    if any(t.ndim > 1 for t in given):
        raise RuntimeError(f"meshgrid: expected vectors or numbers, got shapes {[list(t.shape) for t in given]}")
    if any(t.dtype is not given[0].dtype for t in given):
        raise RuntimeError(f"meshgrid: expected one dtype, got {', '.join(t.dtype.name for t in given)}")
    shape = [t.numel() for t in given]
    grids = [
        expand(reshape(t, [-1 if a == k else 1 for a in range(len(given))] if t.numel() else _at(k, len(given))), shape)
        for k, t in enumerate(given)
    ]
    if indexing == "xy" and len(grids) > 1:
        grids = [permute(g, (1, 0, *range(2, g.ndim))) for g in grids]
    return tuple(grids)


def _at(axis: int, ndim: int) -> list[int]:
    return [0 if a == axis else 1 for a in range(ndim)]


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every choice of one element from each vector, a row each; the last vector changes fastest."""
    if any(t.ndim != 1 for t in tensors):
        raise RuntimeError(f"cartesian_prod: expected vectors, got shapes {[list(t.shape) for t in tensors]}")
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(*tensors, indexing="ij")
    return stack([reshape(g, math.prod(g.array.shape)) for g in grids], 1)


def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """[2, N]: rows and columns of the lower triangle, up to diagonal `offset`, row by row. Made on the host."""
    require_strided("tril_indices", layout)
    return _indices("tril_indices", np.tri(max(row, 0), max(col, 0), offset, bool), row, col, dtype, device)


def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """[2, N]: rows and columns of the upper triangle, from the diagonal `offset` on, row by row. Made on the host."""
    require_strided("triu_indices", layout)
    return _indices("triu_indices", ~np.tri(max(row, 0), max(col, 0), offset - 1, bool), row, col, dtype, device)


def _indices(name: str, chosen: np.ndarray, row: int, col: int, kind: dtype | None, device: Any) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"{name}: extents must not be negative, got {row} and {col}")
    found = np.stack(np.nonzero(chosen)).astype((dtypes.of(kind, name) or dtypes.int64).numpy)
    return Tensor(from_host(found, as_device(device)))


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of r elements of a vector, in order, a row each. Listed on the host."""
    if input.ndim != 1:
        raise RuntimeError(f"combinations: expected a vector, got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations: expected a non-negative number, got {r}")
    if r == 0:
        return Tensor(elementwise.full((0,), 0, input.dtype, input.device))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1)
    return reshape(index_select(input, 0, Tensor(from_host(rows, input.device))), (-1 if rows.size else 0, r))


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates of flat positions in C order of `shape`: a tensor of the shape of `indices` for each axis."""
    extents = (shape,) if isinstance(shape, int) else tuple(shape)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"unravel_index: expected 'indices' to be integer dtype, got {indices.dtype.name}")
    if min(extents, default=0) < 0:
        raise ValueError(f"unravel_index: 'shape' cannot have negative values, got {list(extents)}")
    steps = contiguous_strides(extents)
    return tuple(indices // step % extent for step, extent in zip(steps, extents, strict=True))
