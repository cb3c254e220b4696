"""Elementwise maps: one formula, applied to operands of any shapes that broadcast, any strides, any dtypes.

A formula is a jit function on values; loading, broadcasting, casting and storing are the business of three kernels,
one for each number of operands. Half precisions are evaluated in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton
import triton.language as tl

from tritongrad_kernels import dtypes
from tritongrad_kernels.array import Array, contiguous_strides, empty, footprint, from_host, strides_of_order
from tritongrad_kernels.dtypes import dtype
from tritongrad_kernels.launch import cdiv, launch, tile
from tritongrad_kernels.memory import Device

TRITON_TYPE = {d: getattr(tl, "int1" if d is dtypes.bool_ else d.name) for d in dtypes.ALL}

# ---------------------------------------------------------------------------------------------------------- formulas


@triton.jit
def _identity(x):
    return x


@triton.jit
def _neg(x):
    return tl.sub(tl.zeros_like(x), x, sanitize_overflow=False)  # here and below: integers wrap around as torch's do


@triton.jit
def _abs(x):
    return tl.abs(x)


@triton.jit
def _sign(x):
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def _relu(x):
    """max(x, 0), NaN staying NaN."""
    return tl.where(x < 0, 0, x)


@triton.jit
def _exp(x):
    return tl.exp(x)


@triton.jit
def _log(x):
    return tl.log(x)


@triton.jit
def _sqrt(x):
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def _rsqrt(x):
    return 1.0 / _sqrt(x)


@triton.jit
def _sin(x):
    return tl.sin(x)


@triton.jit
def _cos(x):
    return tl.cos(x)


@triton.jit
def _erf(x):
    return tl.erf(x)


@triton.jit
def _sigmoid(x):
    """1 / (1 + e^-x), from the side on which e^-|x| cannot overflow."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _tanh(x):
    """(1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x; near 0, where that cancels, the odd Taylor series."""
    e = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - e) / (1.0 + e)
    q = x * x
    tail = 6404582.0 / 10854718875 - q * (443861162.0 / 1856156927625)  # x^19: the last that float64 can feel
    tail = -1382.0 / 155925 + q * (21844.0 / 6081075 + q * (-929569.0 / 638512875 + q * tail))
    near = x * (1.0 + q * (-1.0 / 3 + q * (2.0 / 15 + q * (-17.0 / 315 + q * (62.0 / 2835 + q * tail)))))
    return tl.where(q < 0.04, near, tl.where(x < 0, -far, far))


@triton.jit
def _floor(x):
    return tl.floor(x)


@triton.jit
def _logical_not(x):
    return x == 0


@triton.jit
def _isnan(x):
    return x != x


@triton.jit
def _isfinite(x):
    return tl.abs(x) < float("inf")


@triton.jit
def _add(x, y):
    return tl.add(x, y, sanitize_overflow=False)


@triton.jit
def _sub(x, y):
    return tl.sub(x, y, sanitize_overflow=False)


@triton.jit
def _mul(x, y):
    return tl.mul(x, y, sanitize_overflow=False)


@triton.jit
def _div(x, y):
    return tl.div_rn(x, y) if x.dtype == tl.float32 else x / y


@triton.jit
def _floor_divide_float(x, y):
    """floor(x / y) from the exact remainder, as Python's `//` defines it."""
    r = x % y
    q = (x - r) / y
    q -= ((r != 0) & ((r < 0) != (y < 0))).to(
        q.dtype
    )  # C's remainder has the sign of x: the quotient was cut towards 0
    whole = tl.floor(q)
    whole += (q - whole > 0.5).to(q.dtype)  # x - r is a multiple of y up to rounding: take the nearest integer
    return tl.where(y == 0, x / y, whole)


@triton.jit
def _floor_divide_int(x, y):
    """Division rounding down; Triton's own truncates. Division by 0 gives 0, as memory-safe as any answer."""
    safe = tl.where(y == 0, 1, y).to(y.dtype)
    q = x // safe
    down = ((x - q * safe) != 0) & ((x < 0) != (safe < 0))
    return tl.where(y == 0, 0, q - down.to(q.dtype)).to(x.dtype)


@triton.jit
def _remainder_float(x, y):
    """x - floor(x/y) y: what C's fmod leaves, moved to the sign of y."""
    r = x % y
    return tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)


@triton.jit
def _remainder_int(x, y):
    safe = tl.where(y == 0, 1, y).to(y.dtype)
    r = x % safe
    corrected = tl.add(r, safe, sanitize_overflow=False)
    return tl.where((r != 0) & ((r < 0) != (safe < 0)), corrected, r).to(x.dtype)


@triton.jit
def _pow_float(x, y):
    """x^y = 2^(y log2|x|), evaluated in float64 so that float32 comes out right to the last place or the one before.

    A negative base gives a sign by the parity of an integral exponent and NaN for any other, as C's pow does.
    """
    a, b = x.to(tl.float64), y.to(tl.float64)
    size = tl.exp2(b * tl.log2(tl.abs(a)))
    whole = tl.floor(b) == b
    odd = whole & (tl.floor(b * 0.5) * 2.0 != b)
    signed = tl.where(whole, tl.where(odd, -size, size), float("nan"))
    negative = (a < 0) & (tl.abs(a) < float("inf")) & (tl.abs(b) < float("inf"))
    power = tl.where(negative, signed, tl.where(((a < 0) | (1.0 / a == -float("inf"))) & odd, -size, size))
    one = (b == 0) | (a == 1) | ((a == -1) & (tl.abs(b) == float("inf")))
    return tl.where(one, 1.0, power).to(x.dtype)


@triton.jit
def _square(x):
    return tl.mul(x, x, sanitize_overflow=False)


@triton.jit
def _cube(x):
    return tl.mul(tl.mul(x, x, sanitize_overflow=False), x, sanitize_overflow=False)


@triton.jit
def _pow_int(x, y):
    """Integer power by squaring; a negative exponent gives 0 except for a base of 1 or -1."""
    result = tl.full(x.shape, 1, x.dtype)
    base = x
    n = tl.abs(y)
    for _ in range(63):
        result = tl.where((n & 1) != 0, tl.mul(result, base, sanitize_overflow=False), result).to(x.dtype)
        base = tl.mul(base, base, sanitize_overflow=False)
        n = n >> 1
    unit = (x == 1) | (~x == 0)  # ~x: Triton 3.9 compares no unsigned number with -1
    return tl.where((y < 0) & ~unit, 0, result).to(x.dtype)


@triton.jit
def _maximum(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _minimum(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _eq(x, y):
    return x == y


@triton.jit
def _ne(x, y):
    return x != y


@triton.jit
def _lt(x, y):
    return x < y


@triton.jit
def _le(x, y):
    return x <= y


@triton.jit
def _and(x, y):
    return x & y


@triton.jit
def _or(x, y):
    return x | y


@triton.jit
def _xor(x, y):
    return x ^ y


@triton.jit
def _where_positive(x, y):
    """0 where y <= 0, else x, also where y is NaN: the gradient of ReLU."""
    return tl.where(y <= 0, 0, x)


@triton.jit
def _where(condition, x, y):
    return tl.where(condition != 0, x, y)


@triton.jit
def _multiply_add(x, y, z):
    return tl.add(tl.mul(x, y, sanitize_overflow=False), z, sanitize_overflow=False)


# ------------------------------------------------------------------------------------------------------------ kernels


@triton.jit
def _offsets(index, shape, strides):
    """The memory offset of the element with flat `index` in C order of `shape`."""
    offset = index * 0
    for d in tl.static_range(len(shape) - 1):
        axis_extent = shape[len(shape) - 1 - d]
        offset += (index % axis_extent) * strides[len(shape) - 1 - d]
        index = index // axis_extent
    return offset + index * strides[0]


@triton.jit
def _operand(X, scalar, index, mask, shape, strides, COMPUTE: tl.constexpr):
    if X is None:
        return tl.full(index.shape, scalar, COMPUTE)
    else:
        return tl.load(X + _offsets(index, shape, strides), mask=mask, other=0).to(COMPUTE)


@triton.jit
def _map1(X, x, OUT, shape, xs, outs, n, f: tl.constexpr, COMPUTE: tl.constexpr, BLOCK: tl.constexpr):
    """out[i] = f(x[i]).

    Shapes  any, after merging axes that lie in one run for every operand; x is a pointer, or None for the scalar.
    Grid    one program per BLOCK elements.
    Bytes   read each distinct element of x once, write out once.
    """
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < n
    out = f(_operand(X, x, index, mask, shape, xs, COMPUTE))
    tl.store(OUT + _offsets(index, shape, outs), out.to(OUT.dtype.element_ty), mask=mask)


@triton.jit
def _map2(X, Y, x, y, OUT, shape, xs, ys, outs, n, f: tl.constexpr, COMPUTE: tl.constexpr, BLOCK: tl.constexpr):
    """out[i] = f(x[i], y[i]); shapes, grid and bytes as `_map1`."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < n
    out = f(_operand(X, x, index, mask, shape, xs, COMPUTE), _operand(Y, y, index, mask, shape, ys, COMPUTE))
    tl.store(OUT + _offsets(index, shape, outs), out.to(OUT.dtype.element_ty), mask=mask)


@triton.jit
def _map3(
    X, Y, Z, x, y, z, OUT, shape, xs, ys, zs, outs, n, f: tl.constexpr, COMPUTE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """out[i] = f(x[i], y[i], z[i]); shapes, grid and bytes as `_map1`."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < n
    first = _operand(X, x, index, mask, shape, xs, COMPUTE)
    second = _operand(Y, y, index, mask, shape, ys, COMPUTE)
    third = _operand(Z, z, index, mask, shape, zs, COMPUTE)
    out = f(first, second, third)
    tl.store(OUT + _offsets(index, shape, outs), out.to(OUT.dtype.element_ty), mask=mask)


@triton.jit
def _iota(OUT, n, BLOCK: tl.constexpr):
    """out[i] = i, int64. Grid one program per BLOCK elements; writes 8 n bytes."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(OUT + index, index, mask=index < n)


_MAPS = {1: _map1, 2: _map2, 3: _map3}

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
    arrays = [a for a in operands if isinstance(a, Array)]
    shape = out.shape if out is not None else broadcast_shapes(*(a.shape for a in arrays))
    if dtype is None:
        dtype = out.dtype if out is not None else arrays[0].dtype
        for a in arrays[1:] if out is None else ():
            dtype = dtypes.promote(dtype, a.dtype)
    compute = compute or dtypes.compute(dtype)
    device = arrays[0].device if arrays else out.device if out is not None else None
    if out is None:
        out = empty(shape, dtype, device, _result_strides(arrays, shape))
    read = [_readable(a, compute, out, device) for a in operands]
    expanded = [a.expand(shape) if isinstance(a, Array) else None for a in read]
    dims, strides = merge_axes(shape, out.strides, *(a.strides if a is not None else (0,) * out.ndim for a in expanded))
    n = out.size
    config = tile("map", BLOCK=n)
    launch(
        _MAPS[len(operands)],
        cdiv(n, config["BLOCK"]),
        *expanded,
        *(0 if isinstance(a, Array) else a for a in read),
        out,
        dims,
        *strides[1:],
        strides[0],
        n,
        f,
        TRITON_TYPE[compute],
        flops=n,
        bytes=footprint(out, *(a for a in read if isinstance(a, Array))),
        **config,
    )
    return out


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


def merge_axes(shape: Sequence[int], *strides: Sequence[int]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Drop axes of extent 1, order the rest by the first operand's memory, and join neighbours that form one run in
    every operand. Returns the shape and each operand's strides, at least one axis."""
    axes = sorted((a for a in range(len(shape)) if shape[a] != 1), key=lambda a: (-abs(strides[0][a]), a))
    dims: list[int] = []
    merged: list[list[int]] = [[] for _ in strides]
    for a in axes:
        if dims and all(m[-1] == s[a] * shape[a] for m, s in zip(merged, strides, strict=True)):
            dims[-1] *= shape[a]
            for m, s in zip(merged, strides, strict=True):
                m[-1] = s[a]
        else:
            dims.append(shape[a])
            for m, s in zip(merged, strides, strict=True):
                m.append(s[a])
    if not dims:
        return (1,), [(1,) for _ in strides]
    return tuple(dims), [tuple(m) for m in merged]


def _result_strides(arrays: Sequence[Array], shape: tuple[int, ...]) -> tuple[int, ...]:
    for a in arrays:
        if a.shape == shape and (order := a.dense_order()) is not None:
            return strides_of_order(shape, order)
    return contiguous_strides(shape)


def _readable(operand: Any, compute: dtype, out: Array, device: Device | None) -> Any:
    """The operand in a form the kernel can take beside `out`."""
    if isinstance(operand, Array):
        same = operand.offset == out.offset and operand.strides == out.strides and operand.shape == out.shape
        # Programs write `out` while others still read: only element-on-element aliasing is safe.
        return operand if operand.memory is not out.memory or same else contiguous(operand, always=True)
    if compute is dtypes.float64:  # a scalar argument of a kernel has float32's precision on a GPU
        return from_host(np.array(operand, np.float64), device)
    return operand


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
        value = int(value)
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
