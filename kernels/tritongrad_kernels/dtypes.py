"""The element types, and how two of them meet.

Sources: promotion follows torch's documented `torch.result_type` (PyTorch documentation, "Tensor Attributes",
type promotion): categories bool < integer < floating; within the highest category that any operand has, operands
with dimensions outrank zero-dimensional ones, which outrank Python scalars.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class dtype:
    """An element type. `str()` ends in the name Triton knows it by."""

    name: str
    kind: str  # 'b' bool, 'i' signed, 'u' unsigned, 'f' floating
    itemsize: int  # bytes
    numpy: np.dtype = field(compare=False)

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.kind in "if"

    def __repr__(self) -> str:
        return f"tritongrad.{self.name}"

    def __reduce__(self) -> tuple:
        return (by_name, (self.name,))


float64 = dtype("float64", "f", 8, np.dtype(np.float64))
float32 = dtype("float32", "f", 4, np.dtype(np.float32))
float16 = dtype("float16", "f", 2, np.dtype(np.float16))
bfloat16 = dtype("bfloat16", "f", 2, np.dtype(ml_dtypes.bfloat16))
int64 = dtype("int64", "i", 8, np.dtype(np.int64))
int32 = dtype("int32", "i", 4, np.dtype(np.int32))
int16 = dtype("int16", "i", 2, np.dtype(np.int16))
int8 = dtype("int8", "i", 1, np.dtype(np.int8))
uint8 = dtype("uint8", "u", 1, np.dtype(np.uint8))
bool_ = dtype("bool", "b", 1, np.dtype(np.bool_))

ALL = (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool_)
_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}
_BY_PYTHON: dict[Any, dtype] = {bool: bool_, int: int64, float: float64}


def by_name(name: str) -> dtype:
    """The dtype called `name`, e.g. "float32"; ValueError naming the known ones otherwise."""
    if name not in _BY_NAME:
        raise ValueError(f"unknown dtype {name!r}; known are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def of(kind: dtype | type | None, name: str = "dtype") -> Any:
    """The dtype that a user means: one as it is, or Python's bool, int and float, which stand for the widest of theirs.

    None stays None; TypeError for anything else, naming the function that was asked.
    """
    if kind is None or isinstance(kind, dtype):
        return kind
    if kind not in _BY_PYTHON:
        raise TypeError(f"{name}: expected a dtype or one of bool, int and float, got {kind!r}")
    return _BY_PYTHON[kind]


def from_numpy(kind: np.dtype | type) -> dtype:
    """The dtype with the same elements as a numpy dtype; TypeError if there is none."""
    found = _BY_NUMPY.get(np.dtype(kind))
    if found is None:
        raise TypeError(f"numpy dtype {np.dtype(kind)} has no counterpart here; use one of {', '.join(_BY_NAME)}")
    return found


def accumulator(d: dtype) -> dtype:
    """The type sums over `d` are carried in: float64 for float64, float32 for other floats, int64 for the rest."""
    if d.is_floating_point:
        return float64 if d is float64 else float32
    return int64


def compute(d: dtype) -> dtype:
    """The type elementwise formulas over `d` are evaluated in: half precisions in float32, others in themselves."""
    return float32 if d in (float16, bfloat16) else d


def promote(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that torch lets hold values of both."""
    if a is b:
        return a
    if "f" in (a.kind, b.kind):
        if a.kind != b.kind:
            return a if a.kind == "f" else b
        return float32 if a.itemsize == b.itemsize else (a if a.itemsize > b.itemsize else b)
    if "b" in (a.kind, b.kind):
        return b if a.kind == "b" else a
    if a.itemsize == b.itemsize:  # int8 with uint8: the next signed type holds both
        return int16
    return a if a.itemsize > b.itemsize else b


def require_fit(value: bool | int | float, kind: dtype) -> None:
    """RuntimeError, as torch's, for a number that `kind` cannot hold: infinities and NaN fit any floating one, negative
    integers wrap around in unsigned ones, and fractions are cut off."""
    if kind is bool_ or (kind.is_floating_point and not math.isfinite(value)):
        return
    limits = ml_dtypes.finfo(kind.numpy) if kind.is_floating_point else np.iinfo(kind.numpy)
    low, high = (
        (int(limits.min), int(limits.max)) if not kind.is_floating_point else (float(limits.min), float(limits.max))
    )
    if kind.kind == "u" and not isinstance(value, float):
        low = -high
    if not low <= value <= high:
        raise RuntimeError(f"value {value} cannot be converted to {kind.name} without overflow")


# How strongly an operand's dtype speaks in `result_type`.
DIMENSIONED, ZERO_DIMENSIONAL, SCALAR = 2, 1, 0
_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def result_type(operands: Iterable[tuple[dtype, int]]) -> dtype:
    """The dtype of an operation over operands given as (dtype, rank), rank one of the three constants above.

    A weaker operand changes the result only if its category is higher than everything stronger than it.
    """
    result: dtype | None = None
    operands = list(operands)
    for rank in (DIMENSIONED, ZERO_DIMENSIONAL, SCALAR):
        joined: dtype | None = None
        for d, r in operands:
            if r == rank:
                joined = d if joined is None else promote(joined, d)
        if joined is None:
            continue
        if result is None:
            result = joined
        elif _CATEGORY[joined.kind] > _CATEGORY[result.kind]:
            result = joined if result.kind == "b" or joined.kind == "f" else promote(result, joined)
    assert result is not None
    return result


def of_scalar(value: bool | int | float, default_float: dtype) -> dtype:
    """The dtype a Python number stands for."""
    return of_number(type(value), default_float)


def of_number(number: type, default_float: dtype) -> dtype:
    """The dtype that numbers of a Python or numpy class stand for."""
    if issubclass(number, bool | np.bool_):
        return bool_
    return int64 if issubclass(number, int | np.integer) else default_float
