"""Elementwise maps: one formula, applied to operands of any shapes that broadcast, any strides, any dtypes.

A formula is a jit function on values (`formulas.py` has them); loading, broadcasting, casting and storing are the
business of four kernels, one for each number of operands. Half precisions are evaluated in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton
import triton.language as tl

from tritongrad_kernels import driver, dtypes, launch as launching, memory
from tritongrad_kernels.array import (
    Array,
    contiguous_strides,
    dense_order,
    empty,
    expanded_strides,
    from_host,
    places,
    strides_of_order,
)
from tritongrad_kernels.driver import Device
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.walk import _offsets as _offsets, _place, _position, _present, merge_axes as merge_axes, walk

TRITON_TYPE = {d: getattr(tl, "int1" if d is dtypes.bool_ else d.name) for d in dtypes.ALL}


@triton.jit
def _identity(x):
    return x


# ------------------------------------------------------------------------------------------------------------ kernels


@triton.jit
def _operand(X, scalar, where, shape, strides, LAST, WIDE, ROWS, BLOCK: tl.constexpr, COMPUTE: tl.constexpr):
    """The elements at `where` of X, or the scalar as many times if that is None, in the type of the arithmetic."""
    if X is None:
        if ROWS > 0:
            return tl.full((ROWS, BLOCK // ROWS), scalar, COMPUTE)
        else:
            return tl.full((BLOCK,), scalar, COMPUTE)
    else:
        place = _place(where, shape, strides, LAST, WIDE, ROWS)
        x = tl.load(X + place, mask=_present(where, strides, ROWS), other=0).to(COMPUTE)
        if ROWS > 0:
            return tl.broadcast_to(x, (ROWS, BLOCK // ROWS))
        else:
            return x


@triton.jit
def _write(OUT, out, where, shape, strides, LAST: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr):
    place = _place(where, shape, strides, LAST, WIDE, ROWS)
    tl.store(OUT + place, out.to(OUT.dtype.element_ty), mask=_present(where, strides, ROWS))


@triton.jit
def _map1(
    X, x, OUT, shape, xs, outs, n, f: tl.constexpr, COMPUTE: tl.constexpr,
    LAST: tl.constexpr, BY: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[i] = f(x[i]).

    Shapes  any, as `walk` goes over them; x is a pointer, or None for the scalar.
    Grid    one program per block of the walk.
    Bytes   read each distinct element of x once, write out once.
    """
    where = _position(shape, n, LAST, BY, ROWS, BLOCK)
    first = _operand(X, x, where, shape, xs, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    _write(OUT, f(first), where, shape, outs, LAST, WIDE, ROWS)


@triton.jit
def _map2(
    X, Y, x, y, OUT, shape, xs, ys, outs, n, f: tl.constexpr, COMPUTE: tl.constexpr,
    LAST: tl.constexpr, BY: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[i] = f(x[i], y[i]); shapes, grid and bytes as `_map1`."""
    where = _position(shape, n, LAST, BY, ROWS, BLOCK)
    first = _operand(X, x, where, shape, xs, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    second = _operand(Y, y, where, shape, ys, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    _write(OUT, f(first, second), where, shape, outs, LAST, WIDE, ROWS)


@triton.jit
def _map3(
    X, Y, Z, x, y, z, OUT, shape, xs, ys, zs, outs, n, f: tl.constexpr, COMPUTE: tl.constexpr,
    LAST: tl.constexpr, BY: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[i] = f(x[i], y[i], z[i]); shapes, grid and bytes as `_map1`."""
    where = _position(shape, n, LAST, BY, ROWS, BLOCK)
    first = _operand(X, x, where, shape, xs, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    second = _operand(Y, y, where, shape, ys, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    third = _operand(Z, z, where, shape, zs, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    _write(OUT, f(first, second, third), where, shape, outs, LAST, WIDE, ROWS)


@triton.jit
def _map4(
    X, Y, Z, W, x, y, z, w, OUT, shape, xs, ys, zs, ws, outs, n, f: tl.constexpr, COMPUTE: tl.constexpr,
    LAST: tl.constexpr, BY: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[i] = f(x[i], y[i], z[i], w[i]); shapes, grid and bytes as `_map1`."""
    where = _position(shape, n, LAST, BY, ROWS, BLOCK)
    first = _operand(X, x, where, shape, xs, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    second = _operand(Y, y, where, shape, ys, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    third = _operand(Z, z, where, shape, zs, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    fourth = _operand(W, w, where, shape, ws, LAST, WIDE, ROWS, BLOCK, COMPUTE)
    _write(OUT, f(first, second, third, fourth), where, shape, outs, LAST, WIDE, ROWS)


@triton.jit
def _iota(OUT, n, BLOCK: tl.constexpr):
    """out[i] = i, int64. Grid one program per BLOCK elements; writes 8 n bytes."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(OUT + index, index, mask=index < n)


_MAPS = {1: _map1, 2: _map2, 3: _map3, 4: _map4}

# ---------------------------------------------------------------------------------------------------------- launchers


def map(
    f: Any,
    *operands: Array | bool | int | float,
    dtype: dtype | None = None,
    compute: dtype | None = None,
    out: Array | None = None,
) -> Array:
    """Apply formula `f` to arrays and Python numbers that broadcast together.

    Operands are cast to `compute` (default: the promoted type of the array operands, halves in float32), the result to
    `dtype` (default: that promoted type). It is written to `out` if given, else to a new array that keeps the memory
    order of the first operand of full shape. Strides never change the result.
    """
    if out is not None:
        operands = tuple([_apart(a, out) for a in operands])
    for position, a in enumerate(operands):
        if type(a) is Array and a.memory.origin is not None:
            with driver.lock:
                joined = a.memory.origin.absorb(f, operands, position, dtype, out)
            if joined is not None:
                return joined
    layouts = [(a.dtype, a.shape, a.strides) if type(a) is Array else None for a in operands]
    into = None if out is None else (out.dtype, out.shape, out.strides)
    plan = _plan(launching.generation, dtype, compute, into, *layouts)
    arrays: Sequence[Any] = operands
    numbers: Sequence[Any] = plan.zeros
    near: Any = out or operands[0]
    if None in layouts:
        near = next((a for a in operands if type(a) is Array), out)
        if plan.compute is dtypes.float64:  # a scalar argument of a kernel has float32's precision on a GPU
            exact = [a if type(a) is Array else from_host(np.array(a, np.float64), near.device) for a in operands]
            return map(f, *exact, dtype=plan.kind, compute=plan.compute, out=out)
        arrays = [a if type(a) is Array else None for a in operands]
        numbers = [0 if type(a) is Array else a for a in operands]
    if out is None:
        out = Array(memory.allocate(plan.nbytes, near.memory.device), plan.kind, plan.shape, plan.layout)
    launch(
        plan.kernel,
        plan.grid,
        *arrays,
        *numbers,
        out,
        *plan.geometry,
        f,
        plan.triton_type,
        flops=plan.n,
        bytes=plan.bytes,
        **plan.config,
    )
    return out


Layout = tuple[dtype, tuple[int, ...], tuple[int, ...]]  # dtype, shape, strides


@dataclass(frozen=True, slots=True)
class _Plan:
    """What `map` does with operands of some layouts.

    kind, shape, layout, nbytes  of the result, `layout` being its strides
    geometry                     the shape walked over, the strides in it of the operands and the result, and n
    zeros                        for operands that are arrays, the numbers in their places
    """

    kind: dtype
    compute: dtype
    triton_type: Any
    shape: tuple[int, ...]
    layout: tuple[int, ...]
    nbytes: int
    kernel: Any
    grid: int
    geometry: tuple[Any, ...]
    zeros: tuple[int, ...]
    n: int
    bytes: int
    config: dict[str, int]


@functools.lru_cache(maxsize=1 << 14)
def _plan(
    generation: int, kind: dtype | None, compute: dtype | None, out: Layout | None, *operands: Layout | None
) -> _Plan:
    """The plan for operands of these layouts, None being a number, written to `out` or, if that is None, made for it.

    Working it out takes longer than a small kernel runs, and a training loop asks for the same few again and again.
    `generation` is that of the tile table.
    """
    arrays = [a for a in operands if a is not None]
    shape = out[1] if out is not None else broadcast_shapes(*(a[1] for a in arrays))
    kind = kind or (out[0] if out is not None else functools.reduce(dtypes.promote, (a[0] for a in arrays)))
    compute = compute or dtypes.compute(kind)
    layout = out[2] if out is not None else _result_strides(arrays, shape)
    spread = [(0,) * len(shape) if a is None else expanded_strides(a[1], a[2], shape) for a in operands]
    n = math.prod(shape)
    config = tile("walk")
    way = walk(shape, [layout, *spread], config)
    outs, *strides = way.strides
    return _Plan(
        kind=kind,
        compute=compute,
        triton_type=TRITON_TYPE[compute],
        shape=shape,
        layout=layout,
        nbytes=n * kind.itemsize,
        kernel=_MAPS[len(operands)],
        grid=way.programs,
        geometry=(way.shape, *(() if a is None else s for a, s in zip(operands, strides, strict=True)), outs, way.n),
        zeros=(0,) * len(operands),
        n=n,
        bytes=sum(places(s, t) * d.itemsize for d, s, t in (out or (kind, shape, layout), *arrays)),
        config={
            **{option: n for option, n in config.items() if option.islower()},
            **dict(LAST=way.last, BY=way.by, WIDE=way.wide, ROWS=way.rows, BLOCK=way.block),
        },
    )


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape of operands, aligned from the right with 1 stretching. ValueError names the shapes."""
    result: list[int] = [1] * max((len(s) for s in shapes), default=0)
    for shape in shapes:
        for axis in range(-len(shape), 0):
            if shape[axis] != 1 and shape[axis] != result[axis]:
                if result[axis] != 1:
                    raise ValueError(f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast together")
                result[axis] = shape[axis]
    return tuple(result)


def _result_strides(arrays: Sequence[Layout], shape: tuple[int, ...]) -> tuple[int, ...]:
    for _, extents, strides in arrays:
        if extents == shape and (order := dense_order(extents, strides)) is not None:
            return strides_of_order(shape, order)
    return contiguous_strides(shape)


def _apart(operand: Any, out: Array) -> Any:
    """The operand, or a copy where programs that write `out` would write what others have still to read of it."""
    if type(operand) is not Array or operand.memory is not out.memory:
        return operand
    same = operand.offset == out.offset and operand.strides == out.strides and operand.shape == out.shape
    return operand if same else contiguous(operand, always=True)


def contiguous(a: Array, always: bool = False) -> Array:
    """`a` in C order: itself where it already is, unless a copy is `always` wanted."""
    if a.is_contiguous and not always:
        return a
    return copy_into(a, empty(a.shape, a.dtype, a.device))


def in_order(a: Array, strides: Sequence[int]) -> Array:
    """`a` with the given dense strides: itself where it already has them, else a copy."""
    return a if a.has_strides(strides) else copy_into(a, empty(a.shape, a.dtype, a.device, strides))


def copy_into(source: Array, out: Array) -> Array:
    """Copy elements of `source`, broadcast and cast, into `out`."""
    return map(_identity, source, out=out, compute=source.dtype)


def cast(a: Array, dtype: dtype) -> Array:
    """`a` converted to `dtype`; itself where it has it."""
    return a if a.dtype is dtype else map(_identity, a, dtype=dtype, compute=a.dtype)


def fill(out: Array, value: bool | int | float) -> Array:
    """Set every element of `out` to `value`."""
    kind = dtypes.float64 if out.dtype is dtypes.float64 else out.dtype
    if not kind.is_floating_point:
        value = bool(value) if kind is dtypes.bool_ else int(value)
    return map(_identity, value, out=out, compute=kind)


def full(
    shape: Sequence[int],
    value: bool | int | float,
    dtype: dtype,
    device: Device | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    return fill(empty(shape, dtype, device, strides), value)


def iota(n: int, device: Device | None = None) -> Array:
    """0, 1, ..., n-1 in int64."""
    out = empty((n,), dtypes.int64, device)
    config = tile("map", BLOCK=n)
    launch(_iota, cdiv(n, config["BLOCK"]), out, n, bytes=out.nbytes, **config)
    return out


def reshape(a: Array, shape: Sequence[int]) -> Array:
    """`a` under another shape of equal size: a view where strides allow, else of a contiguous copy."""
    viewed = a.reshaped(shape)
    if viewed is None:
        viewed = contiguous(a).reshaped(shape)
        assert viewed is not None
    return viewed


def flip(a: Array, axes: Sequence[int]) -> Array:
    """A copy with the order of elements along `axes` reversed."""
    for axis in axes:
        a = a.slice(axis, a.shape[axis] - 1, -1, -1)
    return contiguous(a, always=True)
