"""Elements chosen by a condition, and triangles, against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed

BASE = randn(4, 3, 5)
MASK = np.random.default_rng(5).random((4, 3, 5)) < 0.4
SOME = randn(60, seed=9)

FILLS: dict[str, Callable[[Any], Callable]] = {
    "masked_fill": lambda lib: lambda x, v, m: lib.masked_fill(x, m, 2.5),
    "masked_fill_broadcasts": lambda lib: lambda x, v, m: x.masked_fill(m[0, :, :1], -1),
    "masked_fill_widens": lambda lib: lambda x, v, m: x[:1].masked_fill(m, 0),
    "masked_fill_tensor": lambda lib: lambda x, v, m: x.masked_fill(m, v[0]),
    "masked_fill_infinity": lambda lib: lambda x, v, m: x.masked_fill(m, float("-inf")).exp(),
    "masked_select": lambda lib: lambda x, v, m: lib.masked_select(x, m),
    "masked_select_broadcasts": lambda lib: lambda x, v, m: x[:, :1].masked_select(m[1]),
    "masked_select_nothing": lambda lib: lambda x, v, m: x.masked_select(m & ~m),
    "masked_scatter": lambda lib: lambda x, v, m: lib.masked_scatter(x, m, v),
    "masked_scatter_broadcasts": lambda lib: lambda x, v, m: x[:1].masked_scatter(m[:, :1], v.reshape(4, 15).t()),
    "where": lambda lib: lambda x, v, m: lib.where(m, x, v[0]) + x.where(m[0], v[:5]),
    "tril": lambda lib: lambda x, v, m: lib.tril(x),
    "tril_above": lambda lib: lambda x, v, m: x.tril(2),
    "tril_far": lambda lib: lambda x, v, m: x.tril(-9) + x.tril(9),
    "triu": lambda lib: lambda x, v, m: lib.triu(x, -1),
    "triu_above": lambda lib: lambda x, v, m: x.transpose(0, 2).triu(diagonal=1),
}


@pytest.mark.parametrize("name", FILLS)
def test_filling_and_selecting(name: str, tiles: str) -> None:
    f = FILLS[name]
    ours, theirs = ((lambda x, v, m, lib=lib: f(lib)(x, v, m) + v.sum()) for lib in (tg, torch))
    check(ours, theirs, BASE, SOME, MASK, second=tiles == "tiles", terms=60)
    check(ours, theirs, BASE, SOME, MASK, wrap=transposed, terms=60)


IN_PLACE: dict[str, Callable] = {
    "masked_fill_": lambda x, v, m: x.masked_fill_(m, 3),
    "masked_fill_tensor": lambda x, v, m: x.masked_fill_(m[:, :1], v[0]),
    "masked_scatter_": lambda x, v, m: x.masked_scatter_(m, v),
    "masked_scatter_broadcasts": lambda x, v, m: x.masked_scatter_(m[0], v),
    "tril_": lambda x, v, m: x.tril_(1),
    "triu_": lambda x, v, m: x.triu_(),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str) -> None:
    def f(x: Any, v: Any, m: Any) -> Any:
        y = x * 2
        assert IN_PLACE[name](y, v, m) is y
        return y * y + v.sum()

    check(f, f, BASE, SOME, MASK, terms=60)


def test_every_dtype() -> None:
    for kind in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"):
        a = np.arange(60).reshape(4, 3, 5) % 7
        x, y = tg.tensor(a).to(getattr(tg, kind)), torch.tensor(a).to(getattr(torch, kind))
        m, n = tg.tensor(MASK), torch.tensor(MASK)
        for value in (2.5, 3, True):
            assert x.masked_fill(m, value).tolist() == y.masked_fill(n, value).tolist(), kind
            assert x.clone().masked_fill_(m, value).tolist() == y.clone().masked_fill_(n, value).tolist(), kind
        assert x.masked_fill(m, tg.tensor(2.5)).tolist() == y.masked_fill(n, torch.tensor(2.5)).tolist(), kind
        assert x.masked_select(m).tolist() == y.masked_select(n).tolist()
        assert x.tril(-1).tolist() == y.tril(-1).tolist() and x.triu(1).tolist() == y.triu(1).tolist()
        assert x.nonzero().tolist() == y.nonzero().tolist() and x.argwhere().tolist() == y.argwhere().tolist()
        found, wanted = tg.where(x), torch.where(y)
        assert [t.tolist() for t in found] == [t.tolist() for t in wanted]


def test_what_is_not_a_number_is_not_zero(tiles: str) -> None:
    x = [0.0, float("nan"), -0.0, float("inf"), *([0.0] * 30), 1e-40, *([0.0] * 30), -1.0]
    assert tg.nonzero(tg.tensor(x)).tolist() == torch.nonzero(torch.tensor(x)).tolist()


def test_tensors_without_axes_or_elements() -> None:
    for lib in (tg, torch):
        for x in (lib.zeros(0), lib.zeros(2, 0), lib.ones(1, 1), lib.tensor(3.0), lib.tensor(0.0)):
            assert tuple(lib.nonzero(x).shape) == (x.count_nonzero() if lib is torch else int((x != 0).sum()), x.ndim)
            assert len(x.nonzero(as_tuple=True)) == max(x.ndim, 1)
            assert x.masked_select(x != 0).tolist() == x[x != 0].tolist()
            assert x.masked_fill(x != 0, 5).tolist() == (x * 5 / 3 if x.ndim == 0 else x * 5).tolist()
        assert lib.tensor(3.0).nonzero(as_tuple=True)[0].tolist() == [0]
        assert tuple(lib.tril(lib.zeros(2, 0)).shape) == (2, 0) and lib.triu(lib.ones(1, 1), 1).tolist() == [[0]]


ERRORS: list[tuple[Callable, type[Exception], str]] = [
    (lambda x, m: x.masked_fill(m, tg.ones(1)), RuntimeError, r"masked_fill: the value must be .* got shape \[1\]"),
    (lambda x, m: x.masked_fill(x, 1), RuntimeError, "masked_fill: the mask must be a bool tensor, got float32"),
    (lambda x, m: x.masked_fill(m[:, :2], 1), RuntimeError, r"masked_fill: the shapes \[4, 3, 5\] and, .* \[4, 2, 5\]"),
    (lambda x, m: x[:1].masked_fill_(m, 1), RuntimeError, r"masked_fill_: the mask of shape \[4, 3, 5\] does not fit"),
    (lambda x, m: x.masked_select(x), RuntimeError, "masked_select: the mask must be a bool tensor, got float32"),
    (lambda x, m: x.masked_scatter(m | True, tg.ones(3)), RuntimeError, "3 elements are too few for 60 places"),
    (lambda x, m: x.masked_scatter(m, tg.ones(60).double()), RuntimeError, "source of dtype float32, .* float64"),
    (lambda x, m: x.masked_scatter(x, tg.ones(60)), RuntimeError, "expected a bool mask"),
    (lambda x, m: x[:1].masked_scatter_(m, tg.ones(60)), RuntimeError, "masked_scatter_: the mask .* does not fit"),
    (lambda x, m: x[0, 0].tril(), RuntimeError, r"tril: expected a tensor of at least 2 dimensions, got shape \[5\]"),
    (lambda x, m: x[0, 0].triu_(), RuntimeError, "triu_: expected a tensor of at least 2 dimensions"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Callable, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(tg.tensor(BASE, dtype=tg.float32), tg.tensor(MASK))
