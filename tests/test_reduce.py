"""Reductions over any axes: values, gradients, indices, ties, NaN, empties, order."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn, transposed
from tritongrad_kernels import interpret, launch

DIMS = [None, 0, 1, -1, (0, 2), (1, 2), (0, 1, 2), ()]
SMOOTH: dict[str, Callable] = {
    "sum": lambda x, **o: x.sum(**o),
    "mean": lambda x, **o: x.mean(**o),
    "var": lambda x, **o: x.var(**o),
    "std": lambda x, **o: x.std(**o),
    "norm": lambda x, **o: x.norm(**o),
}
CHOICE: dict[str, Callable] = {"amax": lambda x, **o: x.amax(**o), "amin": lambda x, **o: x.amin(**o)}


def method(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """x -> x.name(*arguments, **options), for our tensors and torch's."""
    return lambda x: getattr(x, name)(*arguments, **options)


def part(k: int, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The k-th of what f gives."""
    return lambda x: f(x)[k]


@pytest.mark.parametrize("dim", DIMS, ids=str)
def test_sums_over_any_axes(dim: object, tiles: str) -> None:
    x = randn(7, 5, 11) + 3
    check(lambda x: x.sum(dim), lambda x: x.sum(dim), x, terms=385)
    check(lambda x: x.sum(dim, keepdim=True), lambda x: x.sum(dim, keepdim=True), x, terms=385)


@pytest.mark.parametrize("name", [*SMOOTH, *CHOICE])
@pytest.mark.parametrize("dim", [None, 1, (0, 2)], ids=str)
def test_reductions(name: str, dim: object, tiles: str) -> None:
    f = (SMOOTH | CHOICE)[name]
    options = {} if dim is None else {"dim": dim}
    if name in CHOICE and dim is None:
        options = {"dim": (0, 1, 2)}
    check(lambda x: f(x, **options), lambda x: f(x, **options), randn(4, 5, 11) * 2 + 1, terms=220, second=True)
    if dim is not None:
        options["keepdim"] = True
        check(lambda x: f(x, **options), lambda x: f(x, **options), randn(4, 5, 11), terms=220, wrap=transposed)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", [*SMOOTH, *CHOICE])
def test_reductions_in_other_dtypes(name: str, dtype: str) -> None:
    f = (SMOOTH | CHOICE)[name]
    check(lambda x: f(x, dim=1), lambda x: f(x, dim=1), randn(3, 100) + 2, dtype=dtype, terms=100)


def test_halves_are_accumulated_in_float32() -> None:
    x = np.ones(3000)  # a running half sum would stop at 256 or 2048
    with launch.tiles(reduce={"KEEP": 1, "FOLD": 1}):
        check(lambda x: x.sum(), lambda x: x.sum(), x, dtype="float16", grads=False)
        check(lambda x: x.mean(), lambda x: x.mean(), x[:1000], dtype="bfloat16", grads=False)


def test_halves_do_not_overflow_on_the_way() -> None:
    x = np.array([300.0, 400.0, -300.0, -400.0])  # squares exceed float16's 65504
    for f in (lambda x: x.norm(), lambda x: x.std(), lambda x: x.norm(3), lambda x: x.norm(dim=0)):
        check(f, f, x, dtype="float16", slack=8)
    check(lambda x: x.mean(), lambda x: x.mean(), np.full(1000, 1000.0), dtype="float16")


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_extremes_along_an_axis(name: str, dim: int, tiles: str) -> None:
    x = np.round(randn(3, 5, 37) * 2)  # many ties
    ours, theirs = getattr(tg.tensor(x), name)(dim), getattr(torch.tensor(x), name)(dim)
    assert ours.values.tolist() == theirs.values.tolist() and ours.indices.tolist() == theirs.indices.tolist()
    assert ours.indices.dtype is tg.int64
    kept = getattr(tg.tensor(x), name)(dim, keepdim=True)[1]
    assert kept.tolist() == getattr(torch.tensor(x), name)(dim, keepdim=True)[1].tolist()
    check(lambda x: getattr(x, name)(dim)[0], lambda x: getattr(x, name)(dim)[0], randn(3, 5, 37), second=True)
    check(
        lambda x: getattr(x, name)(dim, True)[0],
        lambda x: getattr(x, name)(dim, True)[0],
        randn(3, 4, 5),
        wrap=transposed,
    )


def test_ties_of_a_full_extreme_share_the_gradient() -> None:
    x = np.array([[2.0, 1.0, 2.0], [0.0, 2.0, -1.0]])
    for dtype in ("float32", "float64"):
        for f in (lambda x: x.max(), lambda x: x.amax((0, 1)), lambda x: (-x).min(), lambda x: (-x).amin()):
            check(f, f, x, dtype=dtype, second=True)
    check(lambda x: x.max(1)[0], lambda x: x.max(1)[0], x)  # along an axis only the chosen one gets it


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions(name: str, tiles: str) -> None:
    x = np.round(randn(6, 37))
    a, b = tg.tensor(x), torch.tensor(x)
    for options in ({}, {"dim": 0}, {"dim": -1}, {"dim": 1, "keepdim": True}):
        assert getattr(a, name)(**options).tolist() == getattr(b, name)(**options).tolist()
    assert getattr(transposed(a), name)().item() == getattr(b, name)().item()
    assert getattr(tg.tensor(5.0), name)().item() == 0


@pytest.mark.parametrize("first", [0, 3, 36], ids=["at the start", "inside", "at the end"])
def test_nan_wins_every_extreme(first: int, tiles: str) -> None:
    x = randn(2, 37)
    x[0, first] = x[0, 36] = math.nan
    x[1, :] = -math.inf
    a, b = tg.tensor(x), torch.tensor(x)
    for name in ("max", "min"):
        ours, theirs = getattr(a, name)(1), getattr(b, name)(1)
        assert ours.indices.tolist() == theirs.indices.tolist() == [first, 0]
        np.testing.assert_array_equal(ours.values.numpy(), theirs.values.numpy())
        assert math.isnan(getattr(a, name)().item())
    assert a.argmax().item() == first and math.isnan(a.sum().item())
    assert a[1].sum().item() == -math.inf and a[1].mean().item() == -math.inf


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "bool"])
def test_integers_and_bools_are_summed_in_int64(dtype: str, tiles: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (7, 37)).astype(dtype)
    a, b = tg.tensor(x), torch.tensor(x)
    for f in (
        lambda t: t.sum(), lambda t: t.sum(0), lambda t: t.sum(1, keepdim=True), lambda t: t.max(),
        lambda t: t.min(1)[0], lambda t: t.amax(0), lambda t: t.float().mean(1),
    ):  # fmt: skip
        got, want = f(a), f(b)
        assert got.dtype.name == str(want.dtype).removeprefix("torch.")
        compare(dtype, got, want, 1e-6)
    assert a.any(1).tolist() == b.any(1).tolist() and a.all(0).tolist() == b.all(0).tolist()
    assert a.any().dtype.name == a.all(0).dtype.name == str(b.any().dtype).removeprefix("torch.")
    if dtype != "bool":
        assert a.argmax(1).tolist() == b.argmax(1).tolist()
    with pytest.raises(RuntimeError, match=f"mean: the result must be floating point, but the tensor is {dtype}"):
        a.mean()
    assert abs(a.mean(dtype=tg.float64).item() - b.double().mean().item()) < 1e-12


def test_the_dtype_of_a_sum() -> None:
    big = tg.tensor([2**62, 2**61, 1])
    assert big.sum().item() == 2**62 + 2**61 + 1
    assert tg.tensor([0.5, 0.5]).sum(dtype=tg.int64).item() == torch.tensor([0.5, 0.5]).sum(dtype=torch.int64).item()
    assert tg.ones(3, dtype=tg.int32).sum(dtype=tg.float32).dtype is tg.float32
    assert tg.full((100,), 1000.0, dtype=tg.float16).sum(dtype=tg.float32).item() == 100000
    assert tg.tensor([300, 300]).sum(dtype=tg.uint8).item() == torch.tensor([300, 300]).sum(dtype=torch.uint8).item()
    check(lambda x: x.sum(0, dtype=tg.float64), lambda x: x.sum(0), randn(5, 3), terms=5)


def test_nothing_to_reduce() -> None:
    assert (
        tg.zeros(0).sum().item() == 0
        and tg.zeros(2, 0).sum(1).tolist() == [0, 0]
        and tg.zeros(2, 0).sum(0).tolist() == []
    )
    assert tg.zeros(0, dtype=tg.bool).sum().item() == 0
    assert math.isnan(tg.zeros(0).mean().item()) and all(map(math.isnan, tg.zeros(2, 0).mean(1).tolist()))
    assert tg.zeros(0).all().item() is True and tg.zeros(0).any().item() is False
    assert tg.zeros(0, 3).amax(1).tolist() == [] and tg.zeros(0, 3).max(1)[1].tolist() == []
    check(lambda x: x.sum(1), lambda x: x.sum(1), np.zeros((3, 0)))
    check(lambda x: x.mean(0), lambda x: x.mean(0), np.zeros((3, 0)))
    for name, error in (
        ("max", RuntimeError),
        ("amin", RuntimeError),
        ("argmax", IndexError),
        ("aminmax", RuntimeError),
    ):
        with pytest.raises(error, match=r"numel|empty dimension"):
            getattr(tg.zeros(0), name)()
        with pytest.raises(IndexError, match=r"Expected reduction dim 1 to have non-zero size"):
            getattr(tg.zeros(2, 0), name)(dim=1)


def test_zero_dimensional_tensors() -> None:
    for f in (lambda x: x.sum(), lambda x: x.mean(0), lambda x: x.max(), lambda x: x.max(0)[0], lambda x: x.amax(-1)):
        check(f, f, np.array(3.5))
    assert tg.tensor(True).all().item() and tg.tensor(2).any().item()


def test_one_element_of_many_axes() -> None:
    check(lambda x: x.sum((0, 2)), lambda x: x.sum((0, 2)), randn(1, 1, 1, 1))
    check(lambda x: x.mean((1, 2, 3)), lambda x: x.mean((1, 2, 3)), randn(3, 1, 1, 1))


def test_stride_zero_inputs_and_gradients(tiles: str) -> None:
    check(lambda x: x.expand(40, 3, 5).sum((0, 2)), lambda x: x.expand(40, 3, 5).sum((0, 2)), randn(3, 5), terms=200)
    check(lambda x: x.mean().expand(7).sum(), lambda x: x.mean().expand(7).sum(), randn(6, 6), terms=42, second=True)


def bits(t: tg.Tensor) -> bytes:
    return t.detach().contiguous().numpy().tobytes()


@pytest.mark.parametrize("dim", [None, 0, (0, 2), -1], ids=str)
def test_the_same_bits_whatever_the_strides_and_the_order(dim: object, tiles: str) -> None:
    x = tg.tensor(randn(3, 4, 11).astype(np.float32))
    for f in (lambda t: t.sum(dim), lambda t: t.mean(dim), lambda t: t.std(dim)):
        expected = bits(f(x))
        assert (
            bits(f(x)) == bits(f(transposed(x))) == bits(f(x.transpose(0, 1).contiguous().transpose(0, 1))) == expected
        )
        with interpret.order("reverse"):
            assert bits(f(x)) == expected


def test_errors_name_the_axis() -> None:
    x = tg.ones(2, 3)
    with pytest.raises(IndexError, match=r"expected to be in range of \[-2, 1\], but got 2"):
        x.sum(2)
    with pytest.raises(IndexError, match="but got -3"):
        x.max(-3)
    with pytest.raises(RuntimeError, match=r"dim \[0, -2\] names an axis of shape \[2, 3\] more than once"):
        x.sum((0, -2))


def test_products(tiles: str) -> None:
    x = randn(3, 5, 4)
    for options in ({}, {"dim": 1}, {"dim": -1, "keepdim": True}):
        f = method("prod", **options)
        check(f, f, x, terms=60, second=True)
        check(f, f, x, terms=60, wrap=transposed)
    check(lambda x: x.prod(1), lambda x: x.prod(1), randn(2, 40) * 0.1 + 1, dtype="float16", terms=40)
    for integers in (np.arange(1, 7).astype(np.int32).reshape(2, 3), np.array([True, False])):
        got, want = tg.tensor(integers).prod(0), torch.tensor(integers).prod(0)
        assert got.dtype is tg.int64 and got.tolist() == want.tolist()
    assert tg.tensor([3, 2]).prod(dtype=tg.float32).dtype is tg.float32
    assert tg.tensor([2**62, 4]).prod().item() == 0
    with pytest.raises(TypeError, match="dim must be an int"):
        tg.ones(2, 3).prod((0, 1))


def test_the_product_of_zeros_has_the_right_gradient() -> None:
    x = randn(4, 5)
    x[0, 1] = x[1, 1] = x[1, 3] = 0
    x[2] = 0
    for f in (lambda x: x.prod(1), lambda x: x.prod(0), lambda x: x[0].prod(), lambda x: x[:, :1].prod(1)):
        check(f, f, x, second=True, terms=5)
    check(lambda x: x.prod(), lambda x: x.prod(), np.array(0.0), second=True)
    check(lambda x: x.prod(1), lambda x: x.prod(1), np.zeros((3, 0)))


def test_sums_without_nan() -> None:
    x = randn(4, 6)
    x[0, 1] = x[2, :] = x[3, 5] = math.nan
    for name in ("nansum", "nanmean"):
        for options in ({}, {"dim": 1}, {"dim": (0, 1), "keepdim": True}):
            f = method(name, **options)
            check(f, f, x, terms=24)
    assert tg.tensor([1, 2]).nansum().item() == 3 and tg.ones(2).nansum(dtype=tg.float64).dtype is tg.float64
    with pytest.raises(RuntimeError, match="floating point"):
        tg.tensor([1, 2]).nanmean()


@pytest.mark.parametrize("dim", [0, -1, (0, 2)], ids=str)
def test_logsumexp(dim: object) -> None:
    for keepdim in (False, True):
        f = method("logsumexp", dim, keepdim)
        check(f, f, randn(3, 4, 5), second=True, terms=20)
        check(f, f, randn(3, 4, 5) * 500, terms=20)


def test_the_edges_of_logsumexp() -> None:
    inf = math.inf
    f = method("logsumexp", -1)
    check(f, f, np.array([[1, inf, math.nan], [-inf, -inf, -inf], [inf, inf, -inf], [-inf, 0, 1]]), grads=False)
    check(f, f, np.array([[-inf, 1.0], [2, 3]]))
    check(f, f, np.array(2.0))
    check(f, f, np.zeros((3, 0)))
    check(f, f, randn(3, 40), dtype="bfloat16", terms=40)
    assert abs(tg.tensor([1, 1]).logsumexp(0).item() - 1.6931472) < 1e-6


def test_both_extremes_at_once() -> None:
    x = np.round(randn(3, 5))
    for options in ({}, {"dim": 0}, {"dim": 1, "keepdim": True}):
        for k in (0, 1):
            f = part(k, method("aminmax", **options))
            check(f, f, x)
    assert tg.ones(2).aminmax().max.item() == tg.ones(2).aminmax().min.item() == 1


def _binary(name: str, given: dict, x: Any, y: Any) -> Any:
    return getattr(x, name)(other=y) if given else getattr(x, name)(y)


def test_the_three_forms_of_max() -> None:
    x, y = randn(3, 4), randn(3, 4, seed=1)
    for name in ("max", "min"):
        for given in ({}, {"other": None}):
            larger = partial(_binary, name, given)
            check(larger, larger, x, y)
    pair = (tg.empty(3), tg.empty(3, dtype=tg.int64))
    tg.max(tg.tensor(x.astype(np.float32)), 1, out=pair)
    assert pair[1].tolist() == x.argmax(1).tolist()
    assert type(tg.ones(2, 2).max(0)).__name__ == "max" and isinstance(tg.ones(2, 2).min(0), tuple)
    with pytest.raises(RuntimeError, match="bool"):
        tg.tensor([True]).argmax()


def test_counting_and_asking() -> None:
    x = np.round(randn(3, 4))
    a, b = tg.tensor(x), torch.tensor(x)
    for dim in (None, 0, (0, 1)):
        assert a.count_nonzero(dim).tolist() == b.count_nonzero(dim).tolist()
    assert a.any(dim=()).tolist() == b.any(dim=()).tolist() and a.all(dim=()).tolist() == b.all(dim=()).tolist()
    assert tg.tensor([math.nan]).any().item() and tg.tensor([math.nan]).all().item()
