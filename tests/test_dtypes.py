"""Promotion is torch's, for every pair of dtypes and ranks; names, kinds and numpy counterparts."""

from __future__ import annotations

import copy
import itertools
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad_kernels import dtypes

NAMES = [d.name for d in dtypes.ALL]
SCALARS = [True, 3, 2.5]


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def test_all_pairs_promote_as_torchs() -> None:
    for a, b in itertools.product(NAMES, NAMES):
        got = dtypes.promote(dtypes.by_name(a), dtypes.by_name(b))
        assert got.name == name_of(torch.promote_types(getattr(torch, a), getattr(torch, b))), (a, b)


def test_all_pairs_of_all_ranks_promote_as_torchs() -> None:
    ours = [tg.ones(shape, dtype=getattr(tg, name)) for name in NAMES for shape in ((2,), ())] + SCALARS
    theirs = [torch.ones(shape, dtype=getattr(torch, name)) for name in NAMES for shape in ((2,), ())] + SCALARS
    for (a, x), (b, y) in itertools.product(zip(ours, theirs, strict=True), repeat=2):
        assert tg.result_type(a, b).name == name_of(torch.result_type(x, y)), (x, y)


def test_an_operation_over_three_ranks_promotes_as_torchs() -> None:
    """With a tensor, a tensor without dimensions and a number: two steps of torch's give the same."""
    for a, b in itertools.product(NAMES, NAMES):
        if not (a == "bool" and b == "bool"):
            got = tg.ones(2, dtype=getattr(tg, a)) * tg.tensor(1, dtype=getattr(tg, b))
            want = torch.ones(2, dtype=getattr(torch, a)) * torch.tensor(1, dtype=getattr(torch, b))
            assert got.dtype.name == name_of(want.dtype) and got.tolist() == want.tolist(), (a, b)


@pytest.mark.parametrize("scalar", SCALARS, ids=str)
def test_numbers_promote_tensors_by_category_alone(scalar: float) -> None:
    for name in NAMES:
        for op in (operator.add, operator.mul, operator.truediv, operator.eq, operator.lt):
            for shape in ((2,), ()):
                x, y = tg.ones(shape, dtype=getattr(tg, name)), torch.ones(shape, dtype=getattr(torch, name))
                assert op(x, scalar).dtype.name == name_of(op(y, scalar).dtype), (name, op, shape)
                assert op(scalar, x).dtype.name == name_of(op(scalar, y).dtype), (name, op, shape)


def test_the_default_dtype_is_what_numbers_become() -> None:
    try:
        tg.set_default_dtype(tg.float64)
        assert tg.get_default_dtype() is tg.float64
        assert tg.tensor([1.5]).dtype is tg.ones(2).dtype is tg.rand(2).dtype is (tg.arange(2) / 2).dtype is tg.float64
        assert (tg.ones(2, dtype=tg.int64) * 2.5).dtype is tg.float64
        assert (tg.ones(2, dtype=tg.float32) * 2.5).dtype is tg.float32
    finally:
        tg.set_default_dtype(tg.float32)
    assert tg.tensor([1.5]).dtype is tg.float32
    with pytest.raises(TypeError, match=r"set_default_dtype: only floating-point dtypes .* got int64"):
        tg.set_default_dtype(tg.int64)


def test_dtypes_describe_themselves_as_torchs_do() -> None:
    for name in NAMES:
        ours, theirs = getattr(tg, name), getattr(torch, name)
        assert ours.is_floating_point == theirs.is_floating_point and ours.is_signed == theirs.is_signed
        assert not ours.is_complex and ours.itemsize == theirs.itemsize == ours.numpy.itemsize
        assert repr(ours) == f"tritongrad.{name}" and str(ours).split(".")[1] == str(theirs).split(".")[1]
        assert pickle.loads(pickle.dumps(ours)) is copy.deepcopy(ours) is dtypes.by_name(name) is ours
        assert dtypes.from_numpy(ours.numpy) is ours
    assert (tg.float, tg.double, tg.half, tg.long, tg.int, tg.short) == tuple(
        getattr(tg, n) for n in ("float32", "float64", "float16", "int64", "int32", "int16")
    )


def test_accumulators_and_formulas_of_halves_are_in_float32() -> None:
    for d in dtypes.ALL:
        want = "float64" if d is dtypes.float64 else "float32" if d.is_floating_point else "int64"
        assert dtypes.accumulator(d).name == want
        assert dtypes.compute(d) is (dtypes.float32 if d.itemsize == 2 and d.is_floating_point else d)


def test_what_has_no_counterpart() -> None:
    with pytest.raises(ValueError, match="unknown dtype 'float8'; known are float64, float32"):
        dtypes.by_name("float8")
    for kind in (np.uint32, np.complex64, np.dtype("U3")):
        with pytest.raises(TypeError, match="has no counterpart here; use one of float64"):
            dtypes.from_numpy(kind)
    with pytest.raises(TypeError, match=r"tensor: cannot make a tensor of a str: data\[1\] is 'a'"):
        tg.tensor([1, "a"])
    with pytest.raises(ValueError, match="sequences of unequal lengths"):
        tg.tensor([[1, 2], [3]])


def test_tensors_of_python_and_numpy_values() -> None:
    for value in (1, 1.5, True, [1, 2], [1, 2.5], [True, False], [[1.0], [2.0]], []):
        got, want = tg.tensor(value), torch.tensor(value)
        assert (
            got.dtype.name == name_of(want.dtype) and got.tolist() == want.tolist() and got.shape == tuple(want.shape)
        )
    for kind in dtypes.ALL:
        assert (
            tg.tensor(np.zeros(3, kind.numpy)).dtype is kind and tg.tensor(np.zeros((), kind.numpy)[()]).dtype is kind
        )
    assert tg.tensor([tg.tensor(1.5), 2]).tolist() == [1.5, 2.0]


PLACES = [
    lambda m, k: m.tensor([1, 0], dtype=k),
    lambda m, k: m.tensor(np.ones(1), dtype=k),
    lambda m, k: m.as_tensor([1], dtype=k),
    lambda m, k: m.zeros(2, dtype=k),
    lambda m, k: m.full((2,), 1, dtype=k),
    lambda m, k: m.zeros_like(m.ones(2), dtype=k),
    lambda m, k: m.ones(2).new_ones(2, dtype=k),
    lambda m, k: m.ones(2).to(k),
    lambda m, k: m.ones(2).to("cpu", k),
    lambda m, k: m.ones(2).to(dtype=k),
    lambda m, k: m.ones(2).sum(dtype=k),
    lambda m, k: m.tril_indices(2, 2, dtype=k) if k is int else m.eye(2, dtype=k),
    lambda m, k: m.ones(2).cumsum(0, dtype=k) if k is not bool else m.empty(2, dtype=k),
    lambda m, k: m.ones(2).mean(dtype=k) if k is float else m.randint(0, 2, (3,), dtype=k),
    lambda m, k: m.softmax(m.ones(2), 0, dtype=k) if k is float else m.ones_like(m.ones(2), dtype=k),
    lambda m, k: m.linalg.vector_norm(m.ones(2), dtype=k) if k is float else m.asarray([1, 0], dtype=k),
    lambda m, k: m.nn.Linear(2, 2).to(k).weight if k is float else m.empty_like(m.ones(2), dtype=k),
    lambda m, k: m.nn.LayerNorm(2, dtype=k).weight if k is float else m.ones(2, 2).prod(0, dtype=k),
]


@pytest.mark.parametrize("f", PLACES, ids=range(len(PLACES)))
def test_pythons_types_stand_for_dtypes(f: Callable[..., Any]) -> None:
    for kind in (bool, int, float):
        got, want = f(tg, kind), f(torch, kind)
        assert got.dtype.name == name_of(want.dtype) and tuple(got.shape) == tuple(want.shape)


def test_other_types_are_no_dtypes() -> None:
    for kind in (str, np.float32, "float32", 3):
        for f in (lambda m, k: m.zeros(2, dtype=k), lambda m, k: m.tensor([1], dtype=k)):
            for m in (tg, torch):
                with pytest.raises(TypeError):
                    f(m, kind)
