"""Optimiser steps: one launch for all parameters, whatever their number, sizes and settings.

A table in device memory has a row per parameter: how long it is, where it lives, and the first of its programs; another
has its hyperparameters. A list tells each program its row. Everything a schedule may change lives in the tables, so the
launch itself never does. They go to the device in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton
import triton.language as tl

from tritongrad_kernels import driver, dtypes
from tritongrad_kernels.array import Array, contiguous_strides, from_host
from tritongrad_kernels.capture import Varying, current
from tritongrad_kernels.elementwise import TRITON_TYPE
from tritongrad_kernels.launch import cdiv, launch, tile


@triton.jit
def _block(TABLE, BLOCKS, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """This program's row of the table and its number, its first element, and the parameter's length."""
    pid = tl.program_id(0).to(tl.int64)
    number = tl.load(BLOCKS + pid).to(tl.int64)
    row = TABLE + number * COLUMNS
    return row, number, (pid - tl.load(row + COLUMNS - 1)) * BLOCK, tl.load(row)


@triton.jit
def _unless(SKIP, n):
    """n, or 0 where there is a number SKIP in memory that is not 0: then a step changes nothing."""
    if SKIP is None:
        return n
    else:
        return tl.where(tl.load(SKIP) == 0, n, 0)


@triton.jit
def _pointer(row, column: tl.constexpr, DTYPE: tl.constexpr):
    return tl.multiple_of(tl.load(row + column).to(tl.pointer_type(DTYPE)), 16)


@triton.jit
def _read(pointer, mask, ACC: tl.constexpr):
    """Elements in the type of the arithmetic; a mask of None reads all, 16 bytes at a time."""
    if mask is None:
        return tl.load(pointer).to(ACC)
    else:
        return tl.load(pointer, mask=mask, other=0.0).to(ACC)


@triton.jit
def _sgd(
    TABLE, BLOCKS, NUMBERS, SKIP, PARAM: tl.constexpr, GRAD: tl.constexpr, ACC: tl.constexpr, MOMENTUM: tl.constexpr,
    NESTEROV: tl.constexpr, COPY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """g = sign grad + decay p;  b = momentum b + rate g;  p -= lr (g + momentum b if NESTEROV else b).

    Without MOMENTUM b is g. rate = 1 - dampening, 1 at the first step; sign = -1 to maximise. COPY (or None) is the
    dtype of a second copy of the parameter that is written along. Nothing is where SKIP, if given, is not 0.
    Shapes  table rows [length, param, grad, momentum, copy, first program] (int64, addresses), numbers [lr, decay,
            momentum, rate, sign] a row.
    Grid    one program per BLOCK elements of a parameter, BLOCKS [programs] (int32) being the row of each.
    Bytes   read param, grad, momentum; write param, momentum (and copy).
    Source  Sutskever et al. 2013, in the form of torch.optim.SGD.
    """
    row, number, start, n = _block(TABLE, BLOCKS, 6, BLOCK)
    n, numbers = _unless(SKIP, n), NUMBERS + number * 5
    i = start + tl.arange(0, BLOCK)
    # A length read from memory is divisible by nothing the compiler knows of: under a mask it would load one by one.
    if start + BLOCK <= n:
        _sgd_block(row, numbers, i, None, PARAM, GRAD, ACC, MOMENTUM, NESTEROV, COPY)
    else:
        _sgd_block(row, numbers, i, i < n, PARAM, GRAD, ACC, MOMENTUM, NESTEROV, COPY)


@triton.jit
def _sgd_block(
    row, numbers, i, mask, PARAM: tl.constexpr, GRAD: tl.constexpr, ACC: tl.constexpr, MOMENTUM: tl.constexpr,
    NESTEROV: tl.constexpr, COPY: tl.constexpr,
):  # fmt: skip
    """`_sgd` for elements i of the parameter with this row and these numbers."""
    lr, decay = tl.load(numbers).to(ACC), tl.load(numbers + 1).to(ACC)
    momentum, rate = tl.load(numbers + 2).to(ACC), tl.load(numbers + 3).to(ACC)
    sign = tl.load(numbers + 4).to(ACC)
    param = _pointer(row, 1, PARAM) + i
    p = _read(param, mask, ACC)
    g = _read(_pointer(row, 2, GRAD) + i, mask, ACC) * sign + decay * p
    step = g
    if MOMENTUM:
        buffer = _pointer(row, 3, PARAM) + i
        b = momentum * _read(buffer, mask, ACC) + rate * g
        tl.store(buffer, b.to(PARAM), mask=mask)
        step = g + momentum * b if NESTEROV else b
    p -= lr * step
    tl.store(param, p.to(PARAM), mask=mask)
    if COPY is not None:
        tl.store(_pointer(row, 4, COPY) + i, p.to(COPY), mask=mask)


@triton.jit
def _adam(
    TABLE, BLOCKS, NUMBERS, SKIP, PARAM: tl.constexpr, GRAD: tl.constexpr, ACC: tl.constexpr, AMSGRAD: tl.constexpr,
    COPY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """g = sign grad + coupled p;  p *= 1 - lr decoupled;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
    p -= lr/(1-b1^t) m / (sqrt(w) / sqrt(1-b2^t) + eps), w = v, or the largest v so far with AMSGRAD.

    `coupled` is Adam's L2 penalty, `decoupled` AdamW's decay; one of them is 0. SKIP as in `_sgd`.
    Shapes  table rows [length, param, grad, m, v, largest v, copy, first program] (int64, addresses), numbers [lr,
            coupled, decoupled, b1, b2, eps, 1-b1^t, sqrt(1-b2^t), sign] a row.
    Grid    one program per BLOCK elements of a parameter, BLOCKS [programs] (int32) being the row of each.
    Bytes   read param, grad, m, v; write param, m, v (and largest v, copy).
    Source  Kingma and Ba 2015, algorithm 1; Reddi et al. 2018 (AMSGrad); Loshchilov and Hutter 2019 (AdamW).
    """
    row, number, start, n = _block(TABLE, BLOCKS, 8, BLOCK)
    n, numbers = _unless(SKIP, n), NUMBERS + number * 9
    i = start + tl.arange(0, BLOCK)
    if start + BLOCK <= n:  # as in `_sgd`
        _adam_block(row, numbers, i, None, PARAM, GRAD, ACC, AMSGRAD, COPY)
    else:
        _adam_block(row, numbers, i, i < n, PARAM, GRAD, ACC, AMSGRAD, COPY)


@triton.jit
def _adam_block(
    row, numbers, i, mask, PARAM: tl.constexpr, GRAD: tl.constexpr, ACC: tl.constexpr, AMSGRAD: tl.constexpr,
    COPY: tl.constexpr,
):  # fmt: skip
    """`_adam` for elements i of the parameter with this row and these numbers."""
    lr, coupled = tl.load(numbers).to(ACC), tl.load(numbers + 1).to(ACC)
    decoupled, b1 = tl.load(numbers + 2).to(ACC), tl.load(numbers + 3)
    b2, eps = tl.load(numbers + 4), tl.load(numbers + 5).to(ACC)
    correction1, root2 = tl.load(numbers + 6), tl.load(numbers + 7).to(ACC)
    sign = tl.load(numbers + 8).to(ACC)
    param, first = _pointer(row, 1, PARAM) + i, _pointer(row, 3, PARAM) + i
    second = _pointer(row, 4, PARAM) + i
    p = _read(param, mask, ACC)
    g = _read(_pointer(row, 2, GRAD) + i, mask, ACC) * sign + coupled * p
    p -= lr * decoupled * p
    m = _read(first, mask, ACC)
    m += (1.0 - b1).to(ACC) * (g - m)
    v = b2.to(ACC) * _read(second, mask, ACC) + (1.0 - b2).to(ACC) * g * g
    tl.store(first, m.to(PARAM), mask=mask)
    tl.store(second, v.to(PARAM), mask=mask)
    if AMSGRAD:
        largest = _pointer(row, 5, PARAM) + i
        v = tl.maximum(v, _read(largest, mask, ACC))
        tl.store(largest, v.to(PARAM), mask=mask)
    p -= (lr / correction1).to(ACC) * m / (tl.sqrt(v) / root2 + eps)
    tl.store(param, p.to(PARAM), mask=mask)
    if COPY is not None:
        tl.store(_pointer(row, 6, COPY) + i, p.to(COPY), mask=mask)


@triton.jit
def _update(
    TABLE, BLOCKS, NUMBERS, SKIP, f: tl.constexpr, STATES: tl.constexpr, COUNT: tl.constexpr, PARAM: tl.constexpr,
    GRAD: tl.constexpr, ACC: tl.constexpr, COPY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """param, states = f(param, grad, states, numbers), for any formula of `optim_formulas.py`.

    STATES and COUNT say how many arrays of state and how many numbers f takes. COPY (or None) is the dtype of a second
    copy of the parameter that is written along. SKIP as in `_sgd`.
    Shapes  table rows [length, param, grad, state ..., copy, first program] (int64, addresses), COUNT numbers (float64)
            a row.
    Grid    one program per BLOCK elements of a parameter, BLOCKS [programs] (int32) being the row of each.
    Bytes   read param, grad, states; write param, states (and copy).
    """
    row, number, start, n = _block(TABLE, BLOCKS, STATES + 5, BLOCK)
    n, numbers = _unless(SKIP, n), NUMBERS + number * COUNT
    i = start + tl.arange(0, BLOCK)
    if start + BLOCK <= n:  # as in `_sgd`
        _update_block(row, numbers, i, None, f, STATES, COUNT, PARAM, GRAD, ACC, COPY)
    else:
        _update_block(row, numbers, i, i < n, f, STATES, COUNT, PARAM, GRAD, ACC, COPY)


@triton.jit
def _update_block(
    row, numbers, i, mask, f: tl.constexpr, STATES: tl.constexpr, COUNT: tl.constexpr, PARAM: tl.constexpr,
    GRAD: tl.constexpr, ACC: tl.constexpr, COPY: tl.constexpr,
):  # fmt: skip
    """`_update` for elements i of the parameter with this row and these numbers."""
    param = _pointer(row, 1, PARAM) + i
    given = ()
    for k in tl.static_range(COUNT):
        given = given + (tl.load(numbers + k).to(ACC),)  # type: ignore[assignment]
    states = ()
    for k in tl.static_range(STATES):
        states = states + (_read(_pointer(row, 3 + k, PARAM) + i, mask, ACC),)  # type: ignore[assignment]
    p, states = f(_read(param, mask, ACC), _read(_pointer(row, 2, GRAD) + i, mask, ACC), states, given)
    for k in tl.static_range(STATES):
        tl.store(_pointer(row, 3 + k, PARAM) + i, states[k].to(PARAM), mask=mask)
    tl.store(param, p.to(PARAM), mask=mask)
    if COPY is not None:
        tl.store(_pointer(row, 3 + STATES, COPY) + i, p.to(COPY), mask=mask)


@dataclass(frozen=True)
class Table:
    """The device tables of one launch: a row of addresses and a row of numbers for each parameter.

    Where there is a `skip`, one float32, and it is not 0, nothing is to be changed.
    """

    rows: Array
    blocks: Array
    numbers: Array
    config: dict[str, int]
    nbytes: int
    arrays: list[Array]
    skip: Array | None = None


def table(
    tensors: Sequence[Sequence[Array | None]],
    numbers: Sequence[Sequence[float]] = (),
    source: Varying | None = None,
    skip: Array | None = None,
) -> Table:
    """Tables for parameters given as [param, grad, state ..., copy], each dense and in the same memory order.

    None stands for an array this launch does not touch; without `numbers` the kernel reads none. Where the launch is
    being captured, `source` has the numbers of later steps.
    """
    listed = [(param, row, k) for k, row in enumerate(tensors) if (param := row[0]) is not None and param.size]
    first = next(a for row in tensors for a in row if a is not None)
    longest = max((param.size for param, _, _ in listed), default=1)
    config = tile("optim", BLOCK=longest, itemsize=dtypes.accumulator(first.dtype).itemsize)
    rows, programs, at, nbytes = [], [], 0, 0
    for param, row, _ in listed:
        rows.append([param.size, *(0 if a is None else a.data_ptr() for a in row), at])
        programs.append(cdiv(param.size, config["BLOCK"]))
        at += programs[-1]
        present = [(k, a.nbytes) for k, a in enumerate(row) if a is not None]
        # Each array is read and written, but the gradient only read and the copy, last, only written.
        nbytes += sum(n * (1 if k in (1, len(row) - 1) else 2) for k, n in present) + 8 * (2 + len(present))
    given = np.array([numbers[k] for _, _, k in listed] if numbers else [], np.float64)
    recording = current()
    moving = None if recording is None or source is None else recording.varying(source, given)
    blocks = np.repeat(np.arange(len(rows), dtype=np.int32), programs)
    table_rows, found, of_programs = _upload(
        (np.array(rows, np.int64).reshape(len(rows), 2 + len(tensors[0])), given, blocks), first.device
    )
    return Table(
        table_rows,
        of_programs,
        found if moving is None else moving,
        config,
        nbytes + blocks.nbytes + given.nbytes + (0 if skip is None else skip.nbytes),
        [a for _, row, _ in listed for a in row if a is not None],
        skip,
    )


def _upload(values: Sequence[np.ndarray], device: driver.Device) -> list[Array]:
    """Arrays of the device with these values, each on 16 bytes of one memory, which are written together."""
    starts = [0]
    for v in values:
        starts.append(starts[-1] + cdiv(v.nbytes, 16) * 16)
    together = np.zeros(starts[-1], np.uint8)
    for start, v in zip(starts, values, strict=False):
        together[start : start + v.nbytes] = v.reshape(-1).view(np.uint8)
    whole = from_host(together, device).memory
    return [
        Array(whole, kind := dtypes.from_numpy(v.dtype), v.shape, contiguous_strides(v.shape), start // kind.itemsize)
        for start, v in zip(starts, values, strict=False)
    ]


def sgd(
    tables: Table,
    param: dtypes.dtype,
    grad: dtypes.dtype,
    momentum: bool,
    nesterov: bool,
    copy: dtypes.dtype | None = None,
) -> None:
    """Update every parameter of `tables` in place, as `_sgd` says."""
    flags = (momentum, nesterov, None if copy is None else TRITON_TYPE[copy])
    _step(_sgd, tables, param, grad, *flags)


def adam(
    tables: Table, param: dtypes.dtype, grad: dtypes.dtype, amsgrad: bool, copy: dtypes.dtype | None = None
) -> None:
    """Update every parameter of `tables` in place, as `_adam` says."""
    _step(_adam, tables, param, grad, amsgrad, None if copy is None else TRITON_TYPE[copy])


def update(
    tables: Table, param: dtypes.dtype, grad: dtypes.dtype, formula: Any, copy: dtypes.dtype | None = None
) -> None:
    """Update every parameter of `tables` and its state in place by a formula of `optim_formulas.py`."""
    launch(
        _update,
        tables.blocks.shape[0],
        tables.rows,
        tables.blocks,
        tables.numbers,
        tables.skip,
        formula,
        tables.rows.shape[1] - 5,
        tables.numbers.size // max(tables.rows.shape[0], 1),
        TRITON_TYPE[param],
        TRITON_TYPE[grad],
        TRITON_TYPE[dtypes.accumulator(param)],
        None if copy is None else TRITON_TYPE[copy],
        bytes=tables.nbytes,
        at_most=tables.skip is not None,
        indirect=tables.arrays,
        **tables.config,
    )


def _step(kernel: Any, tables: Table, param: dtypes.dtype, grad: dtypes.dtype, *flags: Any) -> None:
    launch(
        kernel,
        tables.blocks.shape[0],
        tables.rows,
        tables.blocks,
        tables.numbers,
        tables.skip,
        TRITON_TYPE[param],
        TRITON_TYPE[grad],
        TRITON_TYPE[dtypes.accumulator(param)],
        *flags,
        bytes=tables.nbytes,
        at_most=tables.skip is not None,
        indirect=tables.arrays,
        **tables.config,
    )
