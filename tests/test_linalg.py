"""Products beside matmul: sums with products, chains, products along axes, bilinear forms; integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed

SUMS = {  # the matrices, and shapes that broadcast to their product
    "addmm": ([(4, 5), (5, 3)], [(4, 3), (3,), (1, 3), (4, 1), (1,), ()]),
    "addmv": ([(4, 5), (5,)], [(4,), (1,), ()]),
    "addr": ([(4,), (3,)], [(4, 3), (3,), ()]),
    "baddbmm": ([(2, 4, 5), (2, 5, 3)], [(2, 4, 3), (4, 3), (3,), (2, 1, 1)]),
    "addbmm": ([(2, 4, 5), (2, 5, 3)], [(4, 3), (3,)]),
}
EMPTY = {
    "addmm": [(4, 3), (4, 0), (0, 3)],
    "addmv": [(4,), (4, 0), (0,)],
    "addr": [(0, 3), (0,), (3,)],
    "baddbmm": [(0, 4, 3), (0, 4, 5), (0, 5, 3)],
    "addbmm": [(4, 3), (0, 4, 5), (0, 5, 3)],
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_with_products(name: str) -> None:
    matrices, shapes = SUMS[name]
    arrays = [randn(*s, seed=k) for k, s in enumerate(matrices)]
    for k, shape in enumerate(shapes):
        c = np.asarray(randn(*shape, seed=5))
        for options in ({}, {"beta": 0.5, "alpha": -2}) if k < 2 else ({"alpha": 3},):
            ours, theirs = (
                (lambda *t, o=options: getattr(tg, name)(*t, **o)),
                (lambda *t, o=options: getattr(torch, name)(*t, **o)),
            )
            check(ours, theirs, c, *arrays, terms=10, second=k == 0)
    check(getattr(tg, name), getattr(torch, name), *(np.zeros(s) for s in EMPTY[name]))
    check(getattr(tg, name), getattr(torch, name), randn(*shapes[0]), *arrays, terms=10, wrap=transposed)
    for dtype in ("float16", "bfloat16", "float64"):
        check(getattr(tg, name), getattr(torch, name), randn(*shapes[0]), *arrays, terms=10, dtype=dtype)
    t = [tg.tensor(a) for a in (randn(*shapes[0]), *arrays)]
    assert getattr(t[0], name)(*t[1:], beta=2).tolist() == getattr(tg, name)(*t, beta=2).tolist()


@pytest.mark.parametrize("name", SUMS)
def test_a_beta_of_zero_does_not_look(name: str) -> None:
    matrices, shapes = SUMS[name]
    arrays = [randn(*s, seed=k) for k, s in enumerate(matrices)]
    nan = np.full(shapes[0], np.nan)
    check(lambda *t: getattr(tg, name)(*t, beta=0), lambda *t: getattr(torch, name)(*t, beta=0), nan, *arrays, terms=10)


def test_sums_with_products_of_integers() -> None:
    rng = np.random.default_rng(0)
    for name, (matrices, shapes) in SUMS.items():
        arrays = [rng.integers(-9, 9, s) for s in (shapes[0], *matrices)]
        for options in ({}, {"beta": 2, "alpha": 3}):
            want = getattr(torch, name)(*map(torch.tensor, arrays), **options)
            got = getattr(tg, name)(*map(tg.tensor, arrays), **options)
            assert got.dtype is tg.int64 and got.tolist() == want.tolist(), name


def test_integer_products_wrap_and_broadcast(tiles: str) -> None:
    rng = np.random.default_rng(1)
    for a, b in (((2, 1, 9, 17), (3, 17, 5)), ((0, 3), (3, 2)), ((3, 0), (0, 2)), ((1, 1), (1, 1)), ((7,), (7,))):
        x, y = rng.integers(-(2**62), 2**62, a), rng.integers(-(2**62), 2**62, b)
        assert (tg.tensor(x) @ tg.tensor(y)).tolist() == (torch.tensor(x) @ torch.tensor(y)).tolist()
        small = x.astype(np.int8), y.astype(np.int8)
        assert (tg.tensor(small[0]) @ tg.tensor(small[1])).tolist() == (
            torch.tensor(small[0]) @ torch.tensor(small[1])
        ).tolist()
    t = tg.tensor(x := rng.integers(-9, 9, (6, 5)))
    assert (t.T[:, ::2] @ t[::2]).tolist() == (x.T[:, ::2] @ x[::2]).tolist()


CHAINS = [
    [(2, 3), (3, 4)], [(2, 3), (3, 4), (4, 1)], [(5, 1), (1, 6), (6, 2), (2, 3)], [(3,), (3, 4), (4,)], [(3,), (3, 2)],
    [(2, 3), (3,)], [(2, 0), (0, 3), (3, 2)], [(3,), (3,)],
]  # fmt: skip


@pytest.mark.parametrize("shapes", CHAINS, ids=str)
def test_chains(shapes: list) -> None:
    arrays = [randn(*s, seed=k) for k, s in enumerate(shapes)]
    check(
        lambda *t: tg.linalg.multi_dot(t),
        lambda *t: torch.linalg.multi_dot(t),
        *arrays,
        terms=100,
        second=len(shapes) < 4,
    )
    if all(len(s) == 2 for s in shapes):
        assert tg.chain_matmul(*map(tg.tensor, arrays)).shape == (shapes[0][0], shapes[-1][1])


def test_a_chain_is_multiplied_in_the_cheap_order() -> None:
    plan = tg.plan(lambda: tg.linalg.multi_dot([tg.ones(100, 2), tg.ones(2, 100), tg.ones(100, 3)]))
    assert sum(r.flops for r in plan.launches if r.kernel == "_matmul") == 2 * (2 * 100 * 3 + 100 * 2 * 3)
    assert tg.chain_matmul(tg.ones(2, 3)).shape == (2, 3)


PRODUCTS = {
    "vdot": (lambda m, x, y: m.vdot(x, y), [(5,), (5,)]),
    "inner": (lambda m, x, y: m.inner(x, y), [(2, 3, 4), (5, 4)]),
    "inner of vectors": (lambda m, x, y: m.inner(x, y), [(4,), (4,)]),
    "inner with a number": (lambda m, x, y: m.inner(x, y), [(), (4, 3)]),
    "inner of nothing": (lambda m, x, y: m.inner(x, y), [(2, 0), (3, 0)]),
    "ger": (lambda m, x, y: m.ger(x, y), [(2,), (0,)]),
    "tensordot": (lambda m, x, y: m.tensordot(x, y), [(2, 3, 4), (3, 4, 5)]),
    "tensordot 0": (lambda m, x, y: m.tensordot(x, y, 0), [(2, 3), (4,)]),
    "tensordot 1": (lambda m, x, y: m.tensordot(x, y, dims=1), [(2, 3), (3, 4)]),
    "tensordot lists": (lambda m, x, y: m.tensordot(x, y, ([0, 2], [-1, 0])), [(2, 3, 4), (4, 5, 2)]),
    "tensordot all": (lambda m, x, y: m.tensordot(x, y, ([0, 1], [0, 1])), [(2, 3), (2, 3)]),
    "tensordot nothing": (lambda m, x, y: m.tensordot(x, y, 1), [(2, 0), (0, 4)]),
    "kron": (lambda m, x, y: m.kron(x, y), [(2, 3), (3, 2)]),
    "kron of two ranks": (lambda m, x, y: m.kron(x, y), [(2, 3), (4,)]),
    "kron of numbers": (lambda m, x, y: m.kron(x, y), [(), ()]),
    "kron of nothing": (lambda m, x, y: m.kron(x, y), [(2, 0), (3, 2)]),
    "cross": (lambda m, x, y: m.cross(x, y, dim=1), [(2, 3, 2), (2, 3, 2)]),
    "linalg.cross": (lambda m, x, y: m.linalg.cross(x, y), [(2, 3), (1, 3)]),
    "linalg.cross of nothing": (lambda m, x, y: m.linalg.cross(x, y), [(0, 3), (0, 3)]),
    "vecdot": (lambda m, x, y: m.linalg.vecdot(x, y), [(2, 3), (3,)]),
    "vecdot 0": (lambda m, x, y: m.linalg.vecdot(x, y, dim=0), [(2, 3), (2, 1)]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_along_axes(name: str) -> None:
    f, shapes = PRODUCTS[name]
    arrays = [np.asarray(randn(*s, seed=k)) for k, s in enumerate(shapes)]
    check(lambda *t: f(tg, *t), lambda *t: f(torch, *t), *arrays, terms=15, second=True)


@pytest.mark.filterwarnings("ignore:Using torch.cross")
def test_the_default_axis_of_cross_is_the_first_of_three() -> None:
    check(tg.cross, torch.cross, randn(2, 3, 3), randn(2, 3, 3, seed=1))
    with pytest.raises(RuntimeError):
        tg.cross(tg.ones(2, 2), tg.ones(2, 2))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (), (0,)], ids=str)
def test_bilinear(shape: tuple) -> None:
    x, y = randn(*shape, 2), randn(*shape, 3, seed=1)
    w, b = randn(5, 2, 3, seed=2), randn(5, seed=3)
    check(F.bilinear, torch.nn.functional.bilinear, x, y, w, b, terms=20, second=True)
    check(F.bilinear, torch.nn.functional.bilinear, x, y, w, terms=20)


def test_linear_with_a_bias_that_broadcasts() -> None:
    for shape in ((), (1,), (4, 1), (4, 3)):
        check(F.linear, torch.nn.functional.linear, randn(4, 5), randn(3, 5), np.asarray(randn(*shape)), terms=20)
    check(F.linear, torch.nn.functional.linear, randn(5), randn(3, 5), randn(3), terms=20)
    check(F.linear, torch.nn.functional.linear, randn(5), randn(5, seed=1), terms=20)


def test_outer_promotes() -> None:
    assert tg.outer(tg.ones(2), tg.ones(3, dtype=tg.int64)).dtype is tg.float32
    assert tg.addr(tg.ones(2, 3), tg.ones(2), tg.ones(3, dtype=tg.int64)).dtype is tg.float32


def test_results_into_out() -> None:
    a, b, out = tg.ones(2, 3), tg.ones(3, 2), tg.empty(2, 2)
    assert tg.mm(a, b, out=out) is out and out.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert tg.addmm(tg.ones(2), a, b, out=out) is out and out.tolist() == [[4.0, 4.0], [4.0, 4.0]]


ERRORS: list[tuple[Any, str]] = [
    (lambda m: m.addmm(m.ones(2), m.ones(2, 3), m.ones(3, 3)), r"addmm: float32\[2\] does not expand to .* \[2, 3\]"),
    (lambda m: m.addmm(m.ones(1, 3, 3), m.ones(3, 3), m.ones(3, 3)), "addmm: .* does not expand"),
    (lambda m: m.addmm(m.ones(3).long(), m.ones(2, 3), m.ones(3, 3)), "addmm: expected all to have the same dtype"),
    (lambda m: m.addmm(m.ones(3), m.ones(3), m.ones(3, 3)), "addmm: expected two matrices"),
    (lambda m: m.addmv(m.ones(3), m.ones(2, 3), m.ones(3)), "addmv: .* does not expand"),
    (lambda m: m.addr(m.ones(2), m.ones(2), m.ones(3)), "addr: .* does not expand"),
    (lambda m: m.baddbmm(m.ones(2), m.ones(2, 2, 3), m.ones(3, 3, 2)), r"baddbmm: expected \[B, M, K\]"),
    (lambda m: m.addbmm(m.ones(2), m.ones(2, 3), m.ones(3, 2)), r"addbmm: expected \[B, M, K\]"),
    (lambda m: m.linalg.multi_dot([m.ones(2, 2)]), "multi_dot: expected at least 2 tensors, got 1"),
    (lambda m: m.linalg.multi_dot([m.ones(2, 2), m.ones(2), m.ones(2, 2)]), "multi_dot: expected matrices between"),
    (lambda m: m.tensordot(m.ones(2, 3), m.ones(4, 4), 1), r"tensordot: dimensions \[1\] and \[0\] of .* do not match"),
    (lambda m: m.tensordot(m.ones(2, 3), m.ones(4, 4), -1), "tensordot: cannot contract -1 dimensions"),
    (lambda m: m.inner(m.ones(2, 3), m.ones(4, 2)), "inner: the last extents of"),
    (lambda m: m.outer(m.ones(2, 2), m.ones(3)), "outer: expected two vectors"),
    (lambda m: m.linalg.cross(m.ones(2, 4), m.ones(2, 4)), "cross: expected an extent of 3 along dimension -1"),
    (lambda m: m.linalg.cross(m.ones(2, 3), m.ones(3)), "cross: expected as many dimensions"),
    (lambda m: m.ones(2, 2).bool() @ m.ones(2, 2).bool(), "matmul: not defined for bool tensors"),
    (lambda m: m.nn.functional.bilinear(m.ones(4, 2), m.ones(3, 3), m.ones(5, 2, 3)), "bilinear: expected"),
    (lambda m: m.nn.functional.bilinear(m.ones(4, 2), m.ones(4, 3), m.ones(5, 3, 3)), "bilinear: the inner extents"),
    (lambda m: m.vdot(m.ones(2), m.ones(2, 1)), "vdot: expected two vectors"),
]


@pytest.mark.parametrize(("f", "message"), ERRORS, ids=[e[1][:40] for e in ERRORS])
def test_errors(f: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        f(tg)
    with pytest.raises((RuntimeError, IndexError)):
        f(torch)
