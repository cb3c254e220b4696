"""What replaces the methods of Triton's InterpreterBuilder and TritonSemantic."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as stock
from triton.runtime.interpreter import TensorHandle as Handle

from tritongrad_kernels.interpret import state
from tritongrad_kernels.interpret.memory import (
    NO_OFFSET,
    Addresses,
    Box,
    Pointers,
    addresses_of,
    distinct,
    in_bytes,
    repeat,
)
from tritongrad_kernels.interpret.numbers import fused, in_float32, is_bf16, narrow, numpy_type, to_tf32, widened
from tritongrad_kernels.interpret.patches import original_of

_INT1_ARITHMETIC: dict[Callable, Callable] = {
    np.add: np.not_equal,
    np.subtract: np.not_equal,
    np.multiply: np.logical_and,
}


class Builder:
    """Each method here replaces the one of the same name; `self` is Triton's builder."""

    def binary_op(self: Any, lhs: Handle, rhs: Handle, op: Callable) -> Handle:
        if is_bf16(lhs) or is_bf16(rhs):
            out = op(widened(lhs).data, widened(rhs).data)
            return Handle(out, tl.int1) if out.dtype == np.bool_ else Handle(narrow(out), tl.bfloat16)
        if lhs.data.dtype == np.bool_ and rhs.data.dtype == np.bool_:
            op = _INT1_ARITHMETIC.get(op, op)
        out = op(lhs.data, rhs.data)
        if out.dtype == lhs.data.dtype:
            return Handle(out, lhs.dtype.scalar)
        if out.dtype == np.bool_:
            return Handle(out, tl.int1)
        return Handle(out.astype(lhs.data.dtype), lhs.dtype.scalar)

    def create_minnumf(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return self.binary_op(lhs, rhs, np.fmin)

    def create_maxnumf(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return self.binary_op(lhs, rhs, np.fmax)

    def create_clampf(self: Any, x: Handle, low: Handle, high: Handle, propagate_nan: Any) -> Handle:
        if propagate_nan == stock._ir.PROPAGATE_NAN.NONE:
            return self.binary_op(self.binary_op(x, low, np.fmax), high, np.fmin)
        return self.binary_op(self.binary_op(x, low, np.maximum), high, np.minimum)

    def create_idiv(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return Handle(_quotient(lhs.data, rhs.data), lhs.dtype.scalar)

    def create_srem(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        return Handle(lhs.data - _quotient(lhs.data, rhs.data) * rhs.data, lhs.dtype.scalar)

    create_urem = create_srem

    def create_umulhi(self: Any, lhs: Handle, rhs: Handle) -> Handle:
        unsigned = np.dtype(f"u{lhs.data.dtype.itemsize}")
        high = _multiply_high(lhs.data.view(unsigned), rhs.data.view(unsigned))
        return Handle(high.view(lhs.data.dtype), lhs.dtype.scalar)

    def create_fma(self: Any, x: Handle, y: Handle, z: Handle) -> Handle:
        dtype = z.dtype.scalar
        if dtype == tl.float64:
            return original_of(Builder.create_fma)(self, x, y, z)  # rounds twice before Triton 3.9
        out = fused(widened(x).data, widened(y).data, widened(z).data)
        return Handle(narrow(out) if dtype == tl.bfloat16 else out.astype(z.data.dtype), dtype)

    def create_histogram(self: Any, values: Handle, bins: int, mask: Handle | None) -> Handle:
        counted = (values.data >= 0) & (values.data < bins)
        if mask is not None:
            counted &= mask.data
        return Handle(np.bincount(values.data[counted].astype(np.int64), minlength=bins).astype(np.int32), tl.int32)

    def get_all_ones_value(self: Any, dtype: Any) -> Handle:
        return Handle(np.invert(np.zeros(1, numpy_type(dtype.scalar))), dtype.scalar)

    def create_erf(self: Any, x: Handle) -> Handle:
        return Handle(_erf(x.data), x.dtype.scalar)

    def cast_impl(self: Any, source: Handle, destination: tl.dtype) -> Handle:
        to = destination.scalar
        if to == tl.bfloat16:
            return source if is_bf16(source) else Handle(narrow(source.data), to)
        return Handle(widened(source).data.astype(numpy_type(to)), to)

    def create_fp_to_fp(self: Any, source: Handle, destination: tl.dtype, rounding: Any) -> Handle:
        to, known = destination.scalar, (tl.bfloat16, tl.float16, tl.float32, tl.float64)
        toward_zero = rounding == stock._ir.ROUNDING_MODE.RTZ
        if to not in known or source.dtype.scalar not in known or (toward_zero and to != tl.bfloat16):
            return original_of(Builder.create_fp_to_fp)(self, source, destination, rounding)
        if toward_zero:
            return Handle(narrow(widened(source).data.astype(np.float32), toward_zero=True), to)
        return self.cast_impl(source, to)

    def get_bf16(self: Any, value: float) -> Handle:
        return Handle(narrow(np.array([value], np.float64)), tl.bfloat16)

    def create_dot(self: Any, a: Handle, b: Handle, acc: Handle, precision: Any, max_imprecise: Any) -> Handle:
        if any(x.data.dtype == np.uint8 for x in (a, b)):
            return original_of(Builder.create_dot)(self, a, b, acc, precision, max_imprecise)
        left, right = widened(a).data, widened(b).data
        if state.tf32 != "off" and a.dtype.scalar == tl.float32 and precision == stock._ir.INPUT_PRECISION.TF32:
            left, right = to_tf32(left, state.tf32), to_tf32(right, state.tf32)
        # Only these two types go through BLAS; float64 holds every sum of int8 products exactly.
        wide = np.float32 if acc.data.dtype in (np.float16, np.float32) else np.float64
        # C order always: BLAS sums a transposed operand in another order.
        out = np.matmul(np.ascontiguousarray(left, wide), np.ascontiguousarray(right, wide))
        out += acc.data
        return Handle(out.astype(acc.data.dtype, copy=False), acc.dtype.scalar)

    def create_addptr(self: Any, pointer: Handle, offset: Handle) -> Handle:
        scale = max(1, pointer.get_element_ty().primitive_bitwidth // 8)
        if offset.data.size == 1 and not isinstance(pointer, Pointers):
            return Handle(pointer.data + in_bytes(offset.data, scale), pointer.dtype)
        base, earlier, before, shape = addresses_of(pointer)
        base = base if earlier is NO_OFFSET else base + in_bytes(earlier, before)
        return Pointers(Addresses(base, distinct(offset.data), scale, shape), pointer.dtype)

    def create_broadcast(self: Any, block: Handle, shape: Sequence[int]) -> Handle:
        if isinstance(block, Pointers):
            return Pointers(block.addresses._replace(shape=tuple(shape)), block.dtype)
        return Handle(repeat(block.data, tuple(shape)), block.dtype.scalar)

    def create_expand_dims(self: Any, block: Handle, axis: int) -> Handle:
        if not isinstance(block, Pointers):
            data = block.data
            return Handle(data.reshape(data.shape[:axis] + (1,) + data.shape[axis:]), block.dtype.scalar)
        base, more, scale, shape = block.addresses
        base, more = (part if part.size == 1 else np.expand_dims(part, axis) for part in (base, more))
        return Pointers(Addresses(base, more, scale, shape[:axis] + (1,) + shape[axis:]), block.dtype)

    def create_splat(self: Any, block_type: Any, scalar: Handle) -> Handle:
        shape = tuple(block_type.shape)
        data = np.ndarray(shape, scalar.data.dtype, scalar.data, 0, (0,) * len(shape))
        return Handle(data, scalar.dtype.scalar)

    def create_load(self: Any, pointer: Handle, *hints: Any) -> Handle:
        return self.create_masked_load(pointer, None, None)

    def create_store(self: Any, pointer: Handle, value: Handle, *hints: Any) -> None:
        return self.create_masked_store(pointer, value, None)

    def create_masked_load(self: Any, pointer: Handle, mask: Any, other: Any, *hints: Any, **more: Any) -> Handle:
        element = pointer.get_element_ty()
        filler = None if other is None else other.data
        return Handle(state.memory.load(addresses_of(pointer), _lanes(mask), filler, numpy_type(element)), element)

    def create_masked_store(self: Any, pointer: Handle, value: Handle, mask: Any, *hints: Any, **more: Any) -> None:
        dtype = numpy_type(pointer.get_element_ty())
        data = value.data.astype(dtype, copy=False)
        state.memory.store(addresses_of(pointer), data, _lanes(mask))

    def create_atomic_rmw(
        self: Any, op: Any, pointer: Handle, value: Handle, mask: Handle, order: Any, scope: Any
    ) -> Handle:
        operation = self.ir_rmw_op_to_interpreter_rmw_op[op]
        order = self.ir_sem_to_interpreter_sem[order]
        out = state.memory.atomic_rmw(operation, pointer.data, value.data, mask.data, order)
        return Handle(out, value.dtype.scalar)

    def create_atomic_cas(
        self: Any, pointer: Handle, expected: Handle, value: Handle, order: Any, scope: Any
    ) -> Handle:
        order = self.ir_sem_to_interpreter_sem[order]
        return Handle(state.memory.atomic_cas(pointer.data, expected.data, value.data, order), expected.dtype.scalar)

    def create_descriptor_reduce(self: Any, kind: Any, descriptor: Any, value: Handle, indices: list[Handle]) -> None:
        box, inside = _descriptor_box(descriptor, indices)
        if 0 not in box.shape:
            element = descriptor.base.dtype.element_ty
            data = value.data.reshape(tuple(descriptor.block_shape)).astype(numpy_type(element), copy=False)[inside]
            lanes, relaxed = np.ones(box.shape, bool), stock._interpreter.MEM_SEMANTIC.RELAXED
            state.memory.atomic_rmw(_rmw_operation(kind.name, element), box.pointers(), data, lanes, relaxed)

    def create_barrier(self: Any) -> None:
        state.memory.barrier()

    def create_descriptor_load(self: Any, descriptor: Any, indices: list[Handle], *hints: Any, **more: Any) -> Handle:
        element = descriptor.base.dtype.element_ty
        dtype = numpy_type(element)
        box, inside = _descriptor_box(descriptor, indices)
        if box.shape == tuple(descriptor.block_shape):
            out = state.memory.load_box(box, dtype)
        else:
            padding_nan = descriptor.padding == stock._ir.PADDING_OPTION.PAD_NAN
            filler = (0x7FC0 if element == tl.bfloat16 else math.nan) if padding_nan else 0
            out = np.full(tuple(descriptor.block_shape), filler, dtype)
            if 0 not in box.shape:
                out[inside] = state.memory.load_box(box, dtype)
        if getattr(descriptor, "round_f32_to_tf32", False) and element == tl.float32:
            out = to_tf32(out, "even")  # as the copy engine does, where a dot's operands are rounded otherwise
        return Handle(out, element)

    def create_descriptor_store(self: Any, descriptor: Any, value: Handle, indices: list[Handle]) -> None:
        box, inside = _descriptor_box(descriptor, indices)
        if 0 not in box.shape:
            dtype = numpy_type(descriptor.base.dtype.element_ty)
            data = value.data.reshape(tuple(descriptor.block_shape)).astype(dtype, copy=False)
            state.memory.store_box(box, data[inside])


# Types that Triton's rules leave as they are when both operands have them, and what integers hold.
_PLAIN = {"int1", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "fp32", "fp64"}
_RANGES = {"int32": range(-(1 << 31), 1 << 31), "int64": range(-(1 << 63), 1 << 63)}


def _takes_on(kind: str, number: Any) -> bool:
    """Whether a plain number has the type `kind` of the block it meets, by Triton's rules."""
    if type(number) is int and kind in _RANGES:
        return number in _RANGES[kind]
    return kind in ("fp32", "fp64") and type(number) in (int, float)


class Semantic:
    """Each method here replaces the one of the same name of TritonSemantic."""

    def binary_op_type_checking_impl(self: Any, lhs: Any, rhs: Any, *options: bool, **named: bool) -> tuple[Any, Any]:
        """The commonest cases at a tenth of the cost: operands of one type, 32 beside 64 bits, a plain number."""
        if type(lhs) is tl.tensor:
            kind = lhs.type.scalar.name
            if type(rhs) is tl.tensor:
                other = rhs.type.scalar.name
                if kind == other and kind in _PLAIN:
                    return self.broadcast_impl_value(lhs, rhs)
                if kind == "int64" and other == "int32":
                    return self.broadcast_impl_value(lhs, self.cast(rhs, tl.int64))
                if kind == "int32" and other == "int64":
                    return self.broadcast_impl_value(self.cast(lhs, tl.int64), rhs)
            elif _takes_on(kind, rhs):
                return self.broadcast_impl_value(lhs, self.scalar_constant(rhs, dtype=lhs.type.scalar))
        elif type(rhs) is tl.tensor and _takes_on(rhs.type.scalar.name, lhs):
            return self.broadcast_impl_value(self.scalar_constant(lhs, dtype=rhs.type.scalar), rhs)
        return original_of(Semantic.binary_op_type_checking_impl)(self, lhs, rhs, *options, **named)

    def cast(self: Any, input: tl.tensor, destination: tl.dtype, *options: Any, **named: Any) -> tl.tensor:
        if input.type.scalar.name == destination.scalar.name:
            return input
        return original_of(Semantic.cast)(self, input, destination, *options, **named)

    def broadcast_impl_value(self: Any, lhs: tl.tensor, rhs: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
        """The two commonest cases at a fifth of the cost: equal shapes, and a number with a block."""
        left, right = lhs.type, rhs.type
        if left.is_block() and right.is_block():
            if left.shape.values == right.shape.values:
                return lhs, rhs
        elif left.is_block():
            return lhs, self.tensor(self.builder.create_splat(left, rhs.handle), left.with_element_ty(right))
        elif right.is_block():
            return self.tensor(self.builder.create_splat(right, lhs.handle), right.with_element_ty(left)), rhs
        return original_of(Semantic.broadcast_impl_value)(self, lhs, rhs)

    def load(self: Any, pointer: tl.tensor, mask: Any, other: Any, *more: Any, **named: Any) -> tl.tensor:
        """Triton drops an `other` of 0 for a single lane, as if the kernel gave none: it is filled in here."""
        load = original_of(Semantic.load)
        one_lane = pointer.type.scalar.is_ptr() and math.prod(getattr(pointer.type, "shape", ())) == 1
        if mask is None or other is None or not one_lane:
            return load(self, pointer, mask, other, *more, **named)
        loaded = load(self, pointer, mask, None, *more, **named)
        return self.where(mask, loaded, self.cast(other, loaded.type.scalar))

    def _has_native_tma(self: Any) -> bool:
        return True

    def binary_op_sanitize_overflow_impl(self: Any, lhs: tl.tensor, rhs: tl.tensor, operation: Callable) -> None:
        if state.check_integers is not None and lhs.type.scalar.int_bitwidth < 64:
            state.check_integers(operation.__name__, lhs.handle.data, rhs.handle.data)


for _name in ("unary_op", "create_rsqrt"):
    setattr(Builder, _name, in_float32(getattr(stock.InterpreterBuilder, _name)))
Builder.create_erf = in_float32(Builder.create_erf)  # type: ignore[method-assign]


def _rmw_operation(name: str, element: tl.dtype) -> Any:
    """The atomic operation for ADD, MIN, ... of a descriptor's elements."""
    if element.is_floating() and name != "ADD":
        raise NotImplementedError(f"the interpreter has no atomic_{name.lower()} of {element} through a descriptor")
    if element.is_floating():
        name = "FADD"
    if name in ("MIN", "MAX") and element.is_int_unsigned():
        name = f"U{name}"
    return getattr(stock._interpreter.RMW_OP, name)


def _lanes(mask: Any) -> np.ndarray | None:
    return mask.data if isinstance(mask, Handle) else mask


def _quotient(lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Integer division rounded toward zero, as in C and on the GPU."""
    if not any(rhs.strides):
        rhs = rhs.reshape(-1)[:1]  # a splat: numpy divides by one number several times faster
    if lhs.dtype.kind == "u" or (lhs.min(initial=0) >= 0 and rhs.min(initial=1) > 0):
        return lhs // rhs
    return (lhs - np.fmod(lhs, rhs)) // rhs


def _multiply_high(lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """The upper half of the product of unsigned integers."""
    bits = lhs.dtype.itemsize * 8
    if bits == 32:
        product = np.multiply(distinct(lhs), distinct(rhs), dtype=np.uint64, order="C")
        return np.broadcast_to(product.view(np.uint32)[..., 1::2], lhs.shape)
    if bits < 32:
        return (np.multiply(lhs, rhs, dtype=np.uint64) >> np.uint64(bits)).astype(lhs.dtype)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0, b1, b0 = lhs >> half, lhs & low, rhs >> half, rhs & low
    middle = a1 * b0 + ((a0 * b0) >> half)
    return a1 * b1 + (middle >> half) + ((a0 * b1 + (middle & low)) >> half)


@functools.cache
def _erf_table() -> tuple[np.ndarray, np.ndarray]:
    knots = np.arange(0, 6.25, 1 / 512)
    return np.array([math.erf(x) for x in knots]), np.exp(-(knots**2)) * (2 / math.sqrt(math.pi) / 512)


def _erf(x: np.ndarray) -> np.ndarray:
    """erf. In float32 and below, cubic Hermite interpolation of a table of values and slopes: error under 1e-12."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    value, slope = _erf_table()
    scaled = np.minimum(np.abs(x.astype(np.float64)), 6.0) * 512
    nan = np.isnan(scaled)
    left = np.where(nan, 0, scaled).astype(np.int64)
    t = scaled - left
    rise = value[left + 1] - value[left]
    s0, s1 = slope[left], slope[left + 1]
    out = value[left] + t * (s0 + t * ((3 * rise - 2 * s0 - s1) + t * (s0 + s1 - 2 * rise)))
    return np.copysign(out, x).astype(x.dtype)


def _descriptor_box(descriptor: Any, indices: list[Handle]) -> tuple[Box, tuple[slice, ...]]:
    """The part of a descriptor's block that lies inside the tensor, in memory and in the block."""
    itemsize = descriptor.base.dtype.element_ty.primitive_bitwidth // 8
    starts = [int(index.data.item()) for index in indices]
    if starts[-1] * itemsize % 16:
        raise ValueError(f"descriptor: the last offset, {starts[-1]} elements, is not a multiple of 16 bytes")
    address, shape, strides, inside = int(descriptor.base.data.item()), [], [], []
    for start, extent, stride, block in zip(
        starts, descriptor.shape, descriptor.strides, descriptor.block_shape, strict=True
    ):
        step = int(stride.data.item()) * itemsize
        low = max(0, -start)
        high = max(low, min(int(block), int(extent.data.item()) - start))
        address += (start + low) * step
        shape.append(high - low)
        strides.append(step)
        inside.append(slice(low, high))
    return Box(address, tuple(shape), tuple(strides)), tuple(inside)
