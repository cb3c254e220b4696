"""Gathering and scattering against torch: along axes, repeated places, order of sums, dtypes, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad_kernels import interpret, launch

BASE = randn(4, 3, 5)
RNG = np.random.default_rng(1)
ACROSS = RNG.integers(0, 3, (4, 7, 5))  # longer than the axis, and repeats
SHORT = RNG.integers(0, 4, (6, 2, 3))
DISTINCT = np.argsort(RNG.random((4, 3, 5)), 0)[:3]  # no place twice

T = Any
READS: dict[str, Callable[[Any], Callable]] = {
    "gather": lambda lib: lambda x, i, j: lib.gather(x, 1, i),
    "gather_short": lambda lib: lambda x, i, j: x.gather(0, j) * 2,
    "gather_negative_dim": lambda lib: lambda x, i, j: x.gather(-2, i[:, :1]),
    "gather_int32": lambda lib: lambda x, i, j: x.gather(1, i.int()),
    "gather_nothing": lambda lib: lambda x, i, j: x.gather(1, i[:, :0]),
    "take_along_dim": lambda lib: lambda x, i, j: lib.take_along_dim(x, i[:1, :, :1] - 3, 1),
    "take_along_dim_flat": lambda lib: lambda x, i, j: x.take_along_dim(j),
    "take_along_dim_widens_x": lambda lib: lambda x, i, j: x[:1].take_along_dim(i, 1),
    "index_select": lambda lib: lambda x, i, j: lib.index_select(x, 1, i[0, :, 0]),
    "index_select_first": lambda lib: lambda x, i, j: x.index_select(0, j[:, 0, 0]),
    "index_select_last": lambda lib: lambda x, i, j: x.index_select(-1, j[:, 0, 0].int()),
    "index_select_0d_index": lambda lib: lambda x, i, j: x.index_select(1, i[0, 0, 0]),
    "index_select_nothing": lambda lib: lambda x, i, j: x.index_select(1, i[0, :0, 0]),
    "take": lambda lib: lambda x, i, j: lib.take(x, i * 17 - 30),
    "take_0d": lambda lib: lambda x, i, j: x.take(i[0, 0, 0]),
}


@pytest.mark.parametrize("name", READS)
def test_reading(name: str) -> None:
    f = READS[name]
    check(f(tg), f(torch), BASE, ACROSS, SHORT, second=True, terms=20)
    check(f(tg), f(torch), BASE, ACROSS, SHORT, wrap=transposed, terms=20)


WRITES: dict[str, Callable[[Any], Callable]] = {
    "scatter": lambda lib: lambda x, v, i, j, d: lib.scatter(x, 0, d, v[:3]),
    "scatter_short": lambda lib: lambda x, v, i, j, d: x.scatter(0, d[:, :2, 1:], v[1:, :2, :4]),
    "scatter_number": lambda lib: lambda x, v, i, j, d: x.scatter(1, i, 2.5),
    "scatter_value": lambda lib: lambda x, v, i, j, d: x.scatter(1, i, value=-1),
    "scatter_nothing": lambda lib: lambda x, v, i, j, d: x.scatter(1, i[:0, :3], v[:0]),
    "scatter_add": lambda lib: lambda x, v, i, j, d: lib.scatter_add(x, 1, i[:, :3], v),
    "scatter_add_short": lambda lib: lambda x, v, i, j, d: x.scatter_add(0, j[:4, :2, :1], v[:, 1:, 2:3]),
    "index_add": lambda lib: lambda x, v, i, j, d: lib.index_add(x, 0, j[:4, 0, 0], v),
    "index_add_alpha": lambda lib: lambda x, v, i, j, d: x.index_add(2, i[0, :5, 0], v, alpha=-1.5),
    "index_copy": lambda lib: lambda x, v, i, j, d: lib.index_copy(x, 1, d[:, 0, 0].clamp(0, 2)[:1], v[:, :1]),
    "index_copy_all": lambda lib: lambda x, v, i, j, d: x.index_copy(1, lib.tensor([2, 0, 1]), v),
    "index_fill": lambda lib: lambda x, v, i, j, d: lib.index_fill(x, 1, i[0, :, 0] - 3, 2.5),
    "index_fill_tensor": lambda lib: lambda x, v, i, j, d: x.index_fill(0, lib.tensor([1, 3, 1]), v[0, 0, 0]),
    "index_fill_0d": lambda lib: lambda x, v, i, j, d: x.index_fill(-1, i[0, 0, 0], 0.5),
}


@pytest.mark.parametrize("name", WRITES)
def test_writing(name: str) -> None:
    f = WRITES[name]
    inputs = (BASE, randn(4, 3, 5, seed=2), ACROSS, SHORT, DISTINCT)
    ours, theirs = ((lambda x, v, *k, lib=lib: f(lib)(x, v, *k) + v.sum()) for lib in (tg, torch))
    check(ours, theirs, *inputs, second=True, terms=60)
    check(ours, theirs, *inputs, wrap=transposed, terms=60)


def test_a_source_may_be_longer_than_the_index() -> None:
    for name in ("scatter", "scatter_add"):
        f = lambda x, v, i, n=name: getattr(x, n)(0, i, v)  # noqa: E731
        g = lambda x, v, i, n=name: getattr(x, n)(0, i, v[:3, :2, :4])  # noqa: E731
        check(f, g, BASE, randn(4, 3, 5, seed=2), DISTINCT[:, :2, :4])


IN_PLACE: dict[str, Callable] = {
    "scatter_": lambda x, v, i, d: x.scatter_(0, d, v[:3]),
    "scatter_number": lambda x, v, i, d: x.scatter_(1, i, 3),
    "scatter_add_": lambda x, v, i, d: x.scatter_add_(1, i[:, :3], v),
    "index_add_": lambda x, v, i, d: x.index_add_(0, i[:, 0, 0], v, alpha=2),
    "index_copy_": lambda x, v, i, d: x.index_copy_(1, d[:1, 0, 0] * 0, v[:, :1]),
    "index_fill_": lambda x, v, i, d: x.index_fill_(2, i[0, 0, :], v[0, 0, 0]),
    "put_": lambda x, v, i, d: x.put_(d * 15 - 60 + 2, v[:3]),
    "put_accumulate": lambda x, v, i, d: x.put_(i[:, :3] * 20 - 11, v, accumulate=True),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str) -> None:
    f = IN_PLACE[name]

    def g(x: Any, v: Any, i: Any, d: Any) -> Any:
        y = (x * 2).transpose(0, 0)
        assert f(y, v, i, d) is y
        return y * y + v.sum()

    check(g, g, BASE, randn(4, 3, 5, seed=2), ACROSS, DISTINCT, terms=60)


def test_reducing() -> None:
    x, v, i = randn(4, 3), randn(4, 3, seed=2), RNG.integers(0, 3, (4, 3))
    f = lambda x, v, i: x.scatter(1, i, v, reduce="multiply")  # noqa: E731
    check(f, lambda x, v, i: x.scatter_reduce(1, i, v, "prod"), x, v, i, grads=False)
    g = lambda x, i: x.clone().scatter_(1, i, 2.0, reduce="multiply")  # noqa: E731
    check(g, lambda x, i: x.scatter(1, i, 2.0, reduce="multiply"), x, i, grads=False)
    h = lambda x, v, i: x.scatter(1, i, v, reduce="add")  # noqa: E731
    check(h, lambda x, v, i: x.scatter_add(1, i, v), x, v, i, second=True)
    a = tg.tensor(x, requires_grad=True)
    with pytest.raises(RuntimeError, match="derivative of scatter with reduce='multiply' is not implemented"):
        f(a, tg.tensor(v), tg.tensor(i)).sum().backward()


def test_tensors_without_axes_or_elements() -> None:
    for lib in (tg, torch):
        x, zero, nothing = lib.tensor(3.0), lib.tensor(0), lib.zeros(0, 3)
        assert x.gather(0, zero).tolist() == 3 and x.gather(0, lib.tensor([0, 0])).tolist() == [3, 3]
        assert x.index_select(0, lib.tensor([0])).tolist() == 3 and x.take(lib.tensor([[0, -1]])).tolist() == [[3, 3]]
        assert x.scatter(0, zero, lib.tensor(4.0)).tolist() == 4 and x.scatter(0, zero, 5.0).tolist() == 5
        assert x.scatter_add(0, zero, x).tolist() == 6 and x.clone().index_fill_(0, zero, 7).tolist() == 7
        assert x.index_add(0, zero, x).tolist() == 6 and x.clone().index_add_(0, lib.tensor([0]), x).tolist() == 6
        assert tuple(nothing.index_select(1, lib.tensor([1, 1])).shape) == (0, 2)
        assert tuple(nothing.gather(1, lib.zeros(0, 2).long()).shape) == (0, 2)
        assert tuple(nothing.index_fill(1, lib.tensor([1, 1]), 2).shape) == (0, 3)
        assert nothing.index_add(1, lib.tensor([1, 1]), lib.zeros(0, 2)).shape == (0, 3)


def test_every_dtype(tiles: str) -> None:
    i, j = np.array([2, 0, 2, 2, 1]), RNG.integers(0, 4, (5, 3))
    for dtype in ("float64", "float16", "bfloat16"):
        for f in (lambda x, v: x.index_add(0, on(x, i), v), lambda x, v: x.scatter_add(0, on(x, j), v)):
            check(f, f, randn(4, 3), randn(5, 3, seed=2), dtype=dtype, terms=5)
    for kind in ("int64", "int32", "int16", "int8", "uint8", "bool"):
        a, b = np.arange(12).reshape(4, 3), np.arange(15).reshape(5, 3) * 16
        x, v = tg.tensor(a).to(getattr(tg, kind)), tg.tensor(b).to(getattr(tg, kind))
        y, w = torch.tensor(a).to(getattr(torch, kind)), torch.tensor(b).to(getattr(torch, kind))
        assert x.index_add(0, tg.tensor(i), v).tolist() == y.index_add(0, torch.tensor(i), w).tolist(), kind
        assert x.scatter_add(0, tg.tensor(j), v).tolist() == y.scatter_add(0, torch.tensor(j), w).tolist(), kind
        assert x.gather(0, tg.tensor(j)).tolist() == y.gather(0, torch.tensor(j)).tolist(), kind


def on(x: Any, values: np.ndarray) -> Any:
    return (tg if isinstance(x, tg.Tensor) else torch).tensor(values)


def test_many_values_for_few_places(tiles: str) -> None:
    """More than a block of sorted keys, so that runs begin, end and go on in it."""
    places = np.concatenate([np.zeros(70, int), RNG.integers(0, 6, 20), [9], np.full(50, 7)])
    values = randn(len(places), 3, seed=4)
    f = lambda x, v: x.index_add(0, on(x, places), v)  # noqa: E731
    check(f, f, randn(10, 3), values, terms=200)
    g = lambda x, v: x.scatter_add(0, on(x, places), v[:, 0])  # noqa: E731
    check(g, g, randn(10), values, terms=200)


def test_sums_are_the_same_bits_for_any_tiles_order_and_strides() -> None:
    places, values = tg.tensor(RNG.integers(0, 5, 99)), tg.tensor(randn(99, 3, seed=4), dtype=tg.float32)
    x = tg.tensor(randn(5, 3), dtype=tg.float32)
    want = x.index_add(0, places, values).tolist()
    for rows in (dict(KEYS=8, REST=2, LEAST=1), dict(KEYS=64, REST=1, LEAST=1)):
        with launch.tiles(rows=rows), interpret.order("reverse"):
            assert x.index_add(0, places, values).tolist() == want
            assert transposed(x).index_add_(0, places, transposed(values)).tolist() == want


def test_of_values_that_overwrite_each_other_the_last_stays(tiles: str) -> None:
    places, values = RNG.integers(0, 5, 40), np.arange(40.0)
    want = np.zeros(5)
    for place, value in zip(places, values, strict=True):
        want[place] = value
    i, v = tg.tensor(places), tg.tensor(values)
    assert tg.zeros(5).double().scatter(0, i, v).tolist() == want.tolist()
    assert tg.zeros(5).double().index_copy(0, i, v).tolist() == want.tolist()
    assert tg.zeros(5).double().put_(i, v).tolist() == want.tolist()


I = tg.tensor([1])
ERRORS: list[tuple[Callable, type[Exception], str]] = [
    (lambda x: x.gather(0, I), RuntimeError, r"gather: the index must have as many dimensions .* \[1\] for \[3, 5\]"),
    (lambda x: x.gather(0, tg.tensor([[9]])), RuntimeError, "index 9 is out of bounds for dimension 0 with size 3"),
    (lambda x: x.gather(1, tg.tensor([[-1]])), RuntimeError, "index -1 is out of bounds for dimension 1 with size 5"),
    (lambda x: x.gather(0, tg.zeros(1, 6).long()), RuntimeError, r"gather: the index \[1, 6\] exceeds .* \[3, 5\]"),
    (lambda x: x.gather(0, tg.zeros(1, 1)), RuntimeError, "gather: expected an int64 or int32 .* got float32"),
    (lambda x: x.gather(2, tg.tensor([[0]])), IndexError, "but got 2"),
    (lambda x: x.take_along_dim(I, 0), RuntimeError, r"take_along_dim: .* \[1\] for \[3, 5\]"),
    (lambda x: x.take_along_dim(tg.zeros(1, 4).long(), 0), RuntimeError, "do not broadcast .* from dimension 0"),
    (lambda x: x.scatter(0, tg.tensor([[5]]), 1.0), RuntimeError, "index 5 is out of bounds for dimension 0"),
    (lambda x: x.scatter(0, tg.tensor([[0]]), tg.ones(1, 1).double()), RuntimeError, "scatter: .* float32, .* float64"),
    (lambda x: x.scatter(0, tg.tensor([[0, 1]]), tg.ones(1, 1)), RuntimeError, r"exceeds the source \[1, 1\]"),
    (lambda x: x.scatter(0, tg.tensor([[0]]), 1.0, reduce="mean"), RuntimeError, "reduce must be 'add' or 'multiply'"),
    (lambda x: x.scatter_add(0, tg.tensor([[0]]), tg.ones(1)), RuntimeError, r"scatter_add: .* source \[1\]"),
    (lambda x: x.index_select(0, tg.tensor([3])), IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x.index_select(0, tg.tensor([-1])), IndexError, "index -1 is out of bounds"),
    (lambda x: x.index_select(0, tg.tensor([[1]])), IndexError, r"index_select: the index must be a vector"),
    (lambda x: x[0, 0].index_select(0, tg.tensor([0, 0])), RuntimeError, "has one element to select, got 2"),
    (lambda x: x.index_add(0, tg.tensor([5]), x[:1]), RuntimeError, "index 5 is out of bounds for dimension 0"),
    (lambda x: x.index_add(0, I, x), RuntimeError, r"index_add: expected a source of shape \[1, 5\], got \[3, 5\]"),
    (lambda x: x.index_add(0, I, x[:1].double()), RuntimeError, "index_add: .* dtype float32, .* got float64"),
    (lambda x: x.index_copy(0, tg.tensor([-1]), x[:1]), IndexError, "index -1 is out of bounds"),
    (lambda x: x.index_copy_(1, I, x[:1]), RuntimeError, r"expected a source of shape \[3, 1\], got \[1, 5\]"),
    (lambda x: x.index_fill(0, tg.tensor([3]), 1.0), IndexError, "index 3 is out of bounds"),
    (lambda x: x.index_fill(0, I, tg.ones(1)), RuntimeError, "the value must be a number or a 0-d tensor"),
    (lambda x: x.take(tg.tensor([15])), IndexError, "take: index 15 is out of range for a tensor of 15 elements"),
    (lambda x: x.take(tg.tensor([1.0])), RuntimeError, "take: expected an int64 tensor as index, got float32"),
    (lambda x: x.put_(tg.tensor([0, 1]), tg.ones(1)), IndexError, "put_: expected as many elements .* got 1 for 2"),
    (lambda x: x.put_(I, tg.ones(1).double()), RuntimeError, "put_: .* got float64"),
    (lambda x: F.embedding(tg.tensor([3]), x), IndexError, "embedding: index 3 is out of range for a weight of 3 rows"),
    (lambda x: F.embedding(tg.tensor([1.0]), x), RuntimeError, "embedding: expected an int64 or int32"),
    (lambda x: F.embedding(I, x[0]), RuntimeError, "embedding: the weight must be a matrix"),
    (lambda x: F.embedding(I, x, 3), AssertionError, "padding_idx 3 must be within the 3 rows"),
    (lambda x: F.embedding(I, x, sparse=True), NotImplementedError, "sparse"),
    (lambda x: F.one_hot(tg.tensor([1, 2]), 2), RuntimeError, "smaller than 2, got 2"),
    (lambda x: F.one_hot(tg.tensor([-1, 2])), RuntimeError, "at least 0 .* got -1"),
    (lambda x: F.one_hot(tg.tensor([1.0])), RuntimeError, "one_hot: expected an int64 tensor, got float32"),
    (lambda x: F.one_hot(tg.zeros(0).long()), RuntimeError, "the number of classes must be given"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Callable, kind: type[Exception], message: str) -> None:
    x = tg.tensor(BASE[0], dtype=tg.float32)
    with pytest.raises(kind, match=message):
        f(x)
    assert x.tolist() == tg.tensor(BASE[0], dtype=tg.float32).tolist()
