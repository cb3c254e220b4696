"""Condition numbers, inverses that report, exponentials, powers in columns: values, gradients and errors as torch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn


def regular(*batch: int, n: int = 3, seed: int = 0) -> np.ndarray:
    return randn(*batch, n, n, seed=seed) + 3 * np.eye(n)


def numbers(m: Any, a: np.ndarray, p: Any) -> list[float]:
    return m.linalg.cond(m.tensor(a), p).reshape(-1).tolist()


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, math.inf, -math.inf, "fro", "nuc"])
def test_cond(p: Any) -> None:
    def theirs(t: Any) -> Any:  # torch.linalg.cond fails in its own backward for these
        norm = torch.linalg.matrix_norm
        return torch.linalg.cond(t, p) if p in (None, 2, -2) else norm(t, p) * norm(torch.linalg.inv(t), p)

    for a in (regular(), regular(2, n=4)):
        check(lambda t: tg.linalg.cond(t, p), theirs, a, terms=256)
        for one, other in zip(numbers(tg, a, p), numbers(torch, a, p), strict=True):
            assert abs(one - other) <= 1e-5 * abs(other)
    if p not in (None, 2, -2):
        assert math.isinf(tg.linalg.cond(tg.ones(2, 2), p))
        with pytest.raises(RuntimeError, match="must be batches of square matrices"):
            tg.linalg.cond(tg.ones(2, 3), p)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2), (0, 2, 2), (2, 0, 0), (1, 1)])
def test_forms_that_report(shape: tuple[int, ...]) -> None:
    a = randn(*shape) + 3 * np.eye(shape[-1])
    symmetric = a @ np.swapaxes(a, -1, -2)
    b = randn(*shape, seed=1)
    for upper in (False, True):
        check(
            lambda t, u=upper: tg.linalg.cholesky_ex(t, upper=u).L,
            lambda t, u=upper: torch.linalg.cholesky_ex((t + t.mT) / 2, upper=u).L,
            symmetric, terms=32,
        )  # fmt: skip
    check(lambda t: tg.linalg.inv_ex(t).inverse, lambda t: torch.linalg.inv_ex(t).inverse, a, terms=32, second=True)
    check(lambda t, s: tg.linalg.solve_ex(t, s).result, lambda t, s: torch.linalg.solve_ex(t, s)[0], a, b, terms=32)
    for f in (lambda m, t: m.linalg.cholesky_ex(t).info, lambda m, t: m.linalg.inv_ex(t).info):
        ours, theirs = f(tg, tg.tensor(symmetric)), f(torch, torch.tensor(symmetric))
        assert ours.tolist() == theirs.tolist() and ours.dtype is tg.int32


def test_what_they_report() -> None:
    good, bad = [[2.0, 1], [1, 2]], [[1.0, 2], [2, 1]]
    for m in (tg, torch):
        found = m.linalg.cholesky_ex(m.tensor([good, bad]))
        assert found.info.tolist() == [0, 2]
        np.testing.assert_allclose(found.L[0].tolist(), [[2**0.5, 0], [0.5**0.5, 1.5**0.5]], rtol=1e-6)
        singular = m.tensor([[[1.0, 1], [1, 1]], [[0.0, 0], [0, 1]], good])
        assert m.linalg.inv_ex(singular).info.tolist() == [2, 1, 0]
        assert m.linalg.solve_ex(singular, m.ones(3, 2, 1)).info.tolist() == [2, 1, 0]
        assert m.linalg.solve_ex(m.tensor(good), m.ones(2)).result.shape == (2,)
        for f in (
            lambda m: m.linalg.cholesky_ex(m.tensor(bad), check_errors=True),
            lambda m: m.linalg.inv_ex(m.ones(2, 2), check_errors=True),
            lambda m: m.linalg.solve_ex(m.ones(2, 2), m.ones(2, 1), check_errors=True),
        ):
            with pytest.raises(m.linalg.LinAlgError, match="linalg"):
                f(m)
    assert tg.linalg.inv_ex(tg.tensor([good, [[1.0, 1], [1, 1]]])).inverse[1].isinf().all()


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2), (2, 0, 0), (1, 1)])
@pytest.mark.parametrize("size", [0.1, 5.0])
def test_matrix_exp(shape: tuple[int, ...], size: float) -> None:
    check(tg.matrix_exp, torch.matrix_exp, randn(*shape) * size, dtype="float64", slack=2e4, second=True)
    assert tg.ones(2, 2).matrix_exp().tolist() == tg.linalg.matrix_exp(tg.ones(2, 2)).tolist()


def test_vander() -> None:
    for f, shape in (
        (lambda m: lambda t: m.vander(t), (4,)),
        (lambda m: lambda t: m.vander(t, N=2), (4,)),
        (lambda m: lambda t: m.vander(t, 3, True), (4,)),
        (lambda m: lambda t: m.linalg.vander(t), (2, 3)),
        (lambda m: lambda t: m.linalg.vander(t, N=5), (2, 3)),
        (lambda m: lambda t: m.vander(t), (0,)),
        (lambda m: lambda t: m.linalg.vander(t, N=2), (0,)),
    ):
        ours, theirs = (f(m)(m.tensor(randn(*shape))) for m in (tg, torch))
        np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-12)
    for n in (3, 1):
        check(
            lambda t, n=n: tg.vander(t, n, True),
            lambda t, n=n: torch.stack([t**k for k in range(n)], 1),
            randn(4), second=True,
        )  # fmt: skip
    assert tg.vander(tg.tensor([1, 2, 3])).tolist() == torch.vander(torch.tensor([1, 2, 3])).tolist()
    for wrong in (
        lambda m: m.linalg.vander(m.ones(3), N=1),
        lambda m: m.vander(m.ones(2, 2)),
        lambda m: m.vander(m.ones(2), -1),
    ):
        for m in (tg, torch):
            with pytest.raises(RuntimeError):
                wrong(m)


def test_tensors_as_matrices() -> None:
    a, b = randn(4, 6, 8, 3) + np.eye(24).reshape(4, 6, 8, 3) * 5, randn(4, 6)
    check(lambda t: tg.linalg.tensorinv(t), lambda t: torch.linalg.tensorinv(t), a, terms=600)
    check(lambda t, s: tg.linalg.tensorsolve(t, s), lambda t, s: torch.linalg.tensorsolve(t, s), a, b, terms=600)
    c = np.moveaxis(a, 2, 0)
    check(
        lambda t, s: tg.linalg.tensorsolve(t, s, dims=(0,)), lambda t, s: torch.linalg.tensorsolve(t, s, dims=(0,)),
        np.ascontiguousarray(np.moveaxis(a.reshape(4, 6, 24), 2, 0)), b, terms=600,
    )  # fmt: skip
    assert c.shape == (8, 4, 6, 3)
    for wrong in (
        lambda m: m.linalg.tensorinv(m.ones(2, 3), ind=1), lambda m: m.linalg.tensorinv(m.ones(2, 2), ind=0),
        lambda m: m.linalg.tensorsolve(m.ones(2, 3), m.ones(2)),
    ):  # fmt: skip
        for m in (tg, torch):
            with pytest.raises(RuntimeError, match=r"tensor|ind|square|prod"):
                wrong(m)
