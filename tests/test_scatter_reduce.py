"""Values folded into named places: results and gradients as torch's, the same bits on every run."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed
from tests.properties import given, settings, st
from tritongrad_kernels import interpret

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
RNG = np.random.default_rng(3)

# The shape of the tensor, that of the index and the source, and the axis.
CASES = [
    ((4, 3), (4, 5), -1), ((2, 3, 2), (1, 4, 2), 1), ((3, 4), (2, 2), 0), ((3, 0), (5, 0), 0), ((3, 2), (0, 2), 0),
    ((), (), 0), ((1,), (9,), 0),
]  # fmt: skip


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_scattering(reduce: str, include_self: bool, tiles: str) -> None:
    options: Any = dict(reduce=reduce, include_self=include_self)
    for k, (shape, given_, dim) in enumerate(CASES):
        index = RNG.integers(0, shape[dim] if shape else 1, given_)
        x, v = np.array(randn(*shape)), np.array(randn(*given_, seed=1))
        v = np.where(v > 0.5, np.round(v), v)  # equals
        v = np.where(np.abs(v) < 0.2, 0.0, v) if reduce == "prod" and k != 1 else v
        check(
            lambda t, s, i=index, d=dim: t.scatter_reduce(d, tg.tensor(i), s, **options),
            lambda t, s, i=index, d=dim: t.scatter_reduce(d, torch.tensor(i), s, **options),
            x, v, terms=9, second=reduce != "prod" and k < 2, wrap=transposed if k == 1 else None,
        )  # fmt: skip


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", REDUCTIONS[1:])
@pytest.mark.filterwarnings("ignore:index_reduce")
def test_slices(reduce: str, include_self: bool) -> None:
    options: Any = dict(reduce=reduce, include_self=include_self)
    for shape, count, dim in (((4, 3), 6, 0), ((2, 3, 2), 4, 1), ((3, 2), 0, 0), ((2, 0), 3, 0), ((5,), 5, -1)):
        index = RNG.integers(0, shape[dim], count)
        source = randn(*(count if a == dim % len(shape) else n for a, n in enumerate(shape)), seed=2)
        check(
            lambda t, s, i=index, d=dim, o=options: t.index_reduce(d, tg.tensor(i), s, **o),
            lambda t, s, i=index, d=dim, o=options: t.index_reduce(d, torch.tensor(i), s, **o),
            randn(*shape), source, terms=6,
        )  # fmt: skip


def test_products_of_small_integers_have_their_gradients_at_zeros() -> None:
    index = [0, 0, 1, 1, 2, 3]
    x, v = np.array([2.0, 0, 3, 0, 5]), np.array([1.0, 0, 2, 4, 0, 3])
    for include_self in (True, False):
        check(
            lambda t, s, k=include_self: t.scatter_reduce(0, tg.tensor(index), s, "prod", include_self=k),
            lambda t, s, k=include_self: t.scatter_reduce(0, torch.tensor(index), s, "prod", include_self=k),
            x, v, terms=4, second=True,
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore:index_reduce")
def test_in_place() -> None:
    index = [[0, 1, 0], [2, 0, 0]]

    def folded(m: Any, t: Any, s: Any, reduce: str, name: str) -> Any:
        y = t * 1
        where = m.tensor(index) if name == "scatter_reduce_" else m.tensor([2, 2])
        assert getattr(y, name)(0, where, s, reduce, include_self=True) is y
        return y * t

    for name, reduce in itertools.product(("scatter_reduce_", "index_reduce_"), REDUCTIONS[1:]):
        check(
            lambda t, s, r=reduce, n=name: folded(tg, t, s, r, n),
            lambda t, s, r=reduce, n=name: folded(torch, t, s, r, n),
            randn(3, 3), randn(2, 3, seed=1), terms=4,
        )  # fmt: skip
    for m in (tg, torch):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            m.zeros(3, requires_grad=True).scatter_reduce_(0, m.tensor([0]), m.ones(1), "sum")
        y = m.ones(3)
        y[1:].scatter_reduce_(0, m.tensor([0]), m.ones(1) * 4, "amax")
        assert y.tolist() == [1, 4, 1]


@pytest.mark.parametrize(
    "dtype", ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
@pytest.mark.filterwarnings("ignore:index_reduce")
def test_every_dtype(dtype: str) -> None:
    x, v, index = [3, 7, 0, 1], [2, 7, 1, 5, 1, 1], [0, 0, 1, 0, 2, 2]
    for reduce, include_self in itertools.product(REDUCTIONS, (True, False)):
        found = []
        for m in (tg, torch):
            kind = getattr(m, dtype)
            a, b = m.tensor(x).to(kind), m.tensor(v).to(kind)
            if dtype == "bool" and reduce == "mean":
                with pytest.raises(NotImplementedError):
                    a.scatter_reduce(0, m.tensor(index), b, reduce, include_self=include_self)
                continue
            y = a.scatter_reduce(0, m.tensor(index), b, reduce, include_self=include_self)
            assert y.dtype is kind
            found.append(y.tolist())
        assert not found or found[0] == found[1], (reduce, include_self)


def test_means_of_negative_integers_go_down_and_nan_wins() -> None:
    nan = float("nan")
    for m in (tg, torch):
        assert m.tensor([7, 2, -9]).scatter_reduce(0, m.tensor([2, 2, 0]), m.tensor([1, 1, 0]), "mean").tolist() == [
            3,
            2,
            -3,
        ]
        for reduce in ("amax", "amin"):
            y = m.tensor([nan, 1.0, 2.0]).scatter_reduce(
                0, m.tensor([0, 1, 2]), m.tensor([1.0, nan, float("inf")]), reduce
            )
            assert y[:2].isnan().all() and y[2] == (float("inf") if reduce == "amax" else 2)
        low = m.tensor([1.0, 2.0]).scatter_reduce(
            0, m.tensor([0]), m.tensor([-float("inf")]), "amax", include_self=False
        )
        assert low.tolist() == [-float("inf"), 2]


def test_halves_are_carried_in_float32() -> None:
    x = tg.zeros(1, dtype=tg.float16)
    v = tg.full((4096,), 1.0, dtype=tg.float16)
    assert x.scatter_reduce(0, tg.zeros(4096, dtype=tg.int64), v, "sum").item() == 4096
    many = tg.full((4096,), 60000.0, dtype=tg.float16)
    assert x.scatter_reduce(0, tg.zeros(4096, dtype=tg.int64), many, "mean", include_self=False).item() == 60000


def test_the_same_bits_in_any_order() -> None:
    index, x, v = tg.tensor(RNG.integers(0, 5, 1000)), tg.tensor(randn(5)), tg.tensor(randn(1000))

    def bits() -> list:
        return [x.scatter_reduce(0, index, v, r).tolist() for r in REDUCTIONS]

    expected = bits()
    with interpret.order("reverse"):
        assert bits() == expected


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_any_shapes(data: Any) -> None:
    ndim = data.draw(st.integers(1, 3))
    shape = [data.draw(st.integers(1, 4)) for _ in range(ndim)]
    dim = data.draw(st.integers(-ndim, ndim - 1))
    wanted = [data.draw(st.integers(0, 5 if a == dim % ndim else n)) for a, n in enumerate(shape)]
    larger = [n + data.draw(st.integers(0, 2)) for n in wanted]
    reduce, own = data.draw(st.sampled_from(REDUCTIONS)), data.draw(st.booleans())
    index = RNG.integers(0, shape[dim], wanted)
    x, v = randn(*shape), randn(*larger, seed=4)
    ours = tg.tensor(x).scatter_reduce(dim, tg.tensor(index), tg.tensor(v), reduce, include_self=own)
    theirs = torch.tensor(x).scatter_reduce(dim, torch.tensor(index), torch.tensor(v), reduce, include_self=own)
    np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:index_reduce")
def test_errors() -> None:
    calls = [
        lambda m: m.zeros(3).scatter_reduce(0, m.tensor([0]), m.ones(1), "add"),
        lambda m: m.zeros(3).index_reduce(0, m.tensor([0]), m.ones(1), "sum"),
        lambda m: m.zeros(3).scatter_reduce(0, m.tensor([3]), m.ones(1), "sum"),
        lambda m: m.zeros(3).scatter_reduce(0, m.tensor([0]), m.ones(1, dtype=m.int64), "sum"),
        lambda m: m.zeros(3).index_reduce(0, m.tensor([0]), m.ones(1, dtype=m.int64), "prod"),
        lambda m: m.zeros(3).scatter_reduce(0, m.tensor([0, 1]), m.ones(1), "sum"),
    ]
    for call in calls:
        for m in (tg, torch):
            with pytest.raises(RuntimeError):
                call(m)
    with pytest.raises(TypeError, match="must be Tensor"):
        tg.zeros(3).scatter_reduce(0, tg.tensor([0]), 1.0, "sum")
