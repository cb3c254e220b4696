"""Decompositions, inverses and solutions: values, gradients, second gradients, degenerate matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn

TERMS = 400  # room for what a condition number of some tens does to a rounding
SHAPES = [(1, 1), (2, 3, 3), (0, 0)]


def regular(*shape: int, seed: int = 0) -> np.ndarray:
    """Square matrices far from singular."""
    return np.asarray(randn(*shape, seed=seed)) + 3 * np.eye(*shape[-2:])


def spread(*shape: int, seed: int = 0) -> np.ndarray:
    """Matrices with singular values k, k - 1, ..., 1 plus a little: far from one another."""
    u, s, vh = np.linalg.svd(np.asarray(randn(*shape, seed=seed)), full_matrices=False)
    return u * (np.arange(s.shape[-1], 0, -1) + 0.3) @ vh


def T(x: Any) -> Any:
    return x.transpose(-2, -1)


def symmetric(x: Any) -> Any:
    return x + T(x)


def positive(x: Any) -> Any:
    return x @ T(x)


def same(f: Callable[[Any, Any], Any], *arrays: Any, **options: Any) -> None:
    """f(module, *tensors) with either module, to the second gradient."""
    check(
        lambda *t: f(tg, *t), lambda *t: f(torch, *t), *arrays, dtype="float64", terms=TERMS**2, second=True, **options
    )


FUNCTIONS: dict[str, Callable] = {
    "inv": lambda m, a: m.linalg.inv(a),
    "det": lambda m, a: m.linalg.det(a),
    "slogdet": lambda m, a: m.linalg.slogdet(a).logabsdet,
    "sign": lambda m, a: m.linalg.slogdet(a)[0] + 0 * a.sum((-2, -1)),
    "cholesky": lambda m, a: m.linalg.cholesky(positive(a)),
    "cholesky upper": lambda m, a: m.linalg.cholesky(positive(a), upper=True),
    "cholesky of one triangle": lambda m, a: m.linalg.cholesky(a * 0.1 + 3 * m.eye(a.shape[-1], dtype=a.dtype)),
    "cholesky_inverse": lambda m, a: m.cholesky_inverse(m.linalg.cholesky(positive(a))),
    "eigvalsh": lambda m, a: m.linalg.eigvalsh(symmetric(a)),
    "eigh": lambda m, a: m.linalg.eigh(symmetric(a)).eigenvectors ** 2,
    "eigh U": lambda m, a: (lambda L, V: V * L.unsqueeze(-2) ** 3 @ T(V))(*m.linalg.eigh(symmetric(a), "U")),
    "qr": lambda m, a: (lambda Q, R: Q @ R.abs() + Q * Q)(*m.linalg.qr(a)),
    "svd": lambda m, a: (lambda U, S, Vh: U * S.unsqueeze(-2) ** 2 @ Vh)(*m.linalg.svd(a)),
    "svdvals": lambda m, a: m.linalg.svdvals(a),
    "pinv": lambda m, a: m.linalg.pinv(a),
    "power": lambda m, a: m.linalg.matrix_power(a, 5),
    "power 1": lambda m, a: m.linalg.matrix_power(a, 1),
    "power -2": lambda m, a: m.linalg.matrix_power(a, -2),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_square(name: str, shape: tuple[int, ...]) -> None:
    make = spread if name in ("svd", "svdvals") else regular
    same(FUNCTIONS[name], make(*shape, seed=3))


RECTANGLES: dict[str, Callable] = {
    "qr": lambda m, a: (lambda Q, R: (Q @ R.abs()) * 0.5 + (Q * Q).sum(-1, keepdim=True))(*m.linalg.qr(a)),
    "U": lambda m, a: m.linalg.svd(a, full_matrices=False).U ** 2,
    "Vh": lambda m, a: m.linalg.svd(a, full_matrices=False).Vh ** 2,
    "S": lambda m, a: m.linalg.svdvals(a),
    "pinv": lambda m, a: m.linalg.pinv(a),
    "cond": lambda m, a: m.linalg.cond(a) + m.linalg.cond(a, -2),
}


@pytest.mark.parametrize("shape", [(3, 2), (2, 2, 3)], ids=str)
@pytest.mark.parametrize("name", RECTANGLES)
def test_rectangles(name: str, shape: tuple[int, ...]) -> None:
    same(RECTANGLES[name], spread(*shape, seed=2))


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 2, 3)], ids=str)
def test_nothing_to_decompose(shape: tuple[int, ...]) -> None:
    for f in (lambda m, a: m.linalg.pinv(a), lambda m, a: m.linalg.svdvals(a), lambda m, a: m.linalg.qr(a)[1]):
        check(lambda t, f=f: f(tg, t), lambda t, f=f: f(torch, t), np.zeros(shape))


SYSTEMS = [
    ((3, 3), (3, 2)), ((3, 3), (3,)), ((2, 3, 3), (2, 3)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 1)), ((2, 3, 3), (3,)),
    ((0, 0), (0, 2)), ((2, 1, 3, 3), (4, 3, 2)), ((3, 3), (3, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SYSTEMS, ids=str)
def test_solve(a: tuple, b: tuple) -> None:
    same(lambda m, x, y: m.linalg.solve(x, y), regular(*a), np.asarray(randn(*b, seed=1)))
    if len(b) > 1 and len(a) == len(b) == 2:
        same(lambda m, x, y: m.linalg.solve(x, T(y), left=False), regular(*a), np.asarray(randn(*b, seed=1)))


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unitriangular", [False, True])
def test_solve_triangular(upper: bool, unitriangular: bool) -> None:
    options = {"upper": upper, "unitriangular": unitriangular}
    a, b = regular(2, 3, 3), randn(3, 2, seed=1)
    same(lambda m, x, y: m.linalg.solve_triangular(x, y, **options), a, b)
    same(lambda m, x, y: m.linalg.solve_triangular(x, T(y), left=False, **options), a, b)
    same(lambda m, x, y: m.cholesky_solve(y, m.linalg.cholesky(positive(x), upper=upper), upper), a[0], b)


def test_least_squares() -> None:
    for shape, right in (((5, 2), (5, 3)), ((2, 5), (2, 3)), ((2, 4, 2), (2, 4, 1)), ((5, 2), (5,))):
        a, b = tg.tensor(spread(*shape)), tg.tensor(np.asarray(randn(*right, seed=1)))
        if len(right) == 1:  # torch wants a matrix here
            want = torch.linalg.lstsq(torch.tensor(a.numpy()), torch.tensor(b.numpy())[:, None])
            np.testing.assert_allclose(tg.linalg.lstsq(a, b).solution.numpy(), want.solution[:, 0], rtol=1e-12)
            continue
        got = tg.linalg.lstsq(a, b)
        want = torch.linalg.lstsq(torch.tensor(a.numpy()), torch.tensor(b.numpy()), driver="gelsd")
        np.testing.assert_allclose(got.solution.numpy(), want.solution, rtol=1e-10)
        np.testing.assert_allclose(got.residuals.numpy(), want.residuals, rtol=1e-10)
        assert got.rank.tolist() == want.rank.tolist() and got.rank.dtype is tg.int64


def test_rank_and_thresholds() -> None:
    a = np.diag([3.0, 1.0, 1e-3, 0.0])
    ours, theirs = tg.tensor(a), torch.tensor(a)
    for options in ({}, {"rtol": 0.1}, {"atol": 0.01}, {"atol": 2.0, "rtol": 0.01}, {"tol": 1e-4}):
        assert tg.linalg.matrix_rank(ours, **options).item() == torch.linalg.matrix_rank(theirs, **options).item()
        if "tol" not in options:
            np.testing.assert_allclose(tg.linalg.pinv(ours, **options).numpy(), torch.linalg.pinv(theirs, **options))
    assert tg.linalg.matrix_rank(tg.zeros(2, 3, 0)).tolist() == [0, 0]
    assert tg.pinverse(ours, 0.5).tolist() == torch.pinverse(theirs, 0.5).tolist()


def test_the_determinant_of_a_singular_matrix_has_a_gradient() -> None:
    for rows, cofactors in (
        ([[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]]),
        ([[0.0] * 3] * 3, [[0.0] * 3] * 3),
        ([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]], [[0.0] * 3, [0.0] * 3, [0.0, 0.0, 1.0]]),
    ):
        a = tg.tensor(rows, requires_grad=True)
        tg.linalg.det(a).backward()
        np.testing.assert_allclose(a.grad.numpy(), cofactors, atol=1e-6)


def test_r_alone_has_the_gradient_that_it_has_beside_q() -> None:
    for shape in ((3, 2), (2, 3)):
        check(lambda a: tg.linalg.qr(a, "r").R ** 2, lambda a: torch.linalg.qr(a).R ** 2, spread(*shape), terms=TERMS)
        check(
            lambda a: (lambda U, S, V: U * S**2 @ T(V))(*tg.svd(a)),
            lambda a: (lambda U, S, V: U * S**2 @ T(V))(*torch.svd(a)),
            spread(*shape),
            terms=TERMS,
        )


def test_logdet() -> None:
    a = np.stack([regular(3, 3), -np.eye(3)])
    assert tg.logdet(tg.tensor(a)).isnan().tolist() == torch.logdet(torch.tensor(a)).isnan().tolist() == [False, True]
    same(lambda m, x: m.logdet(x), regular(3, 3))


def test_complete_and_reduced() -> None:
    for shape in ((4, 2), (2, 4)):
        a, mine = spread(*shape), tg.tensor(spread(*shape))
        for mode in ("reduced", "complete"):
            q, r = tg.linalg.qr(mine, mode)
            wanted = torch.linalg.qr(torch.tensor(a), mode)
            assert (q.shape, r.shape) == (tuple(wanted.Q.shape), tuple(wanted.R.shape))
            np.testing.assert_allclose((q @ r).numpy(), a, atol=1e-12)
        u, s, vh = tg.linalg.svd(mine)
        assert (u.shape, s.shape, vh.shape) == ((shape[0],) * 2, (2,), (shape[1],) * 2)
        assert [t.shape for t in tg.svd(mine, compute_uv=False)] == [t.shape for t in torch.svd(torch.tensor(a))]
    assert tg.linalg.qr(mine, "r").Q.shape == (0,)
    with pytest.raises(RuntimeError, match="mode 'complete' has no gradient for more rows than columns"):
        tg.linalg.qr(tg.ones(3, 2, requires_grad=True) * 1, "complete").R.sum().backward()
    same(lambda m, x: m.linalg.qr(x, mode="complete").Q ** 2, spread(2, 4))


def test_float32_is_found_in_float64_and_rounded() -> None:
    a = regular(4, 4)
    assert tg.linalg.inv(tg.tensor(a).float()).tolist() == np.linalg.inv(
        a.astype(np.float32).astype(np.float64)
    ).astype(np.float32).tolist()  # fmt: skip


def test_methods_and_old_names() -> None:
    a = tg.tensor(regular(3, 3))
    for name in ("det", "logdet", "slogdet", "inverse", "pinverse", "qr", "svd", "cholesky_inverse"):
        got, want = getattr(a, name)(), getattr(tg, name)(a)
        for g, w in zip(*((r,) if isinstance(r, tg.Tensor) else r for r in (got, want)), strict=True):
            assert g.tolist() == w.tolist()
    spd = a @ a.T
    assert tg.cholesky(spd, upper=True).tolist() == spd.cholesky(True).tolist()
    assert a.matrix_power(0).tolist() == tg.eye(3).tolist()
    assert tg.linalg.cross(tg.ones(3, 3), tg.ones(3, 3)).tolist() == [[0.0] * 3] * 3
    assert tg.linalg.diagonal(tg.ones(2, 3, 4)).shape == (2, 3)


def test_in_a_dry_run_only_shapes_are_real() -> None:
    plan = tg.plan(lambda: tg.linalg.inv(tg.ones(3, 3)) @ tg.linalg.cholesky(tg.ones(3, 3)))
    assert plan.launches


ERRORS = [
    (lambda L, one: L.inv(one(2, 2)), "linalg.inv: singular matrix"),
    (lambda L, one: L.inv(one(2, 3)), r"linalg.inv: expected square matrices, got float32\[2, 3\]"),
    (lambda L, one: L.inv(one(2, 2).half()), r"linalg.inv: expected float32 or float64, got float16"),
    (lambda L, one: L.eigh(one(2, 2).long()), "linalg.eigh: expected float32 or float64, got int64"),
    (lambda L, one: L.eigh(one(2, 2), "X"), "linalg.eigh: UPLO must be 'L' or 'U'"),
    (lambda L, one: L.cholesky(-one(2, 2)), "linalg.cholesky: matrix is not positive definite"),
    (lambda L, one: L.det(one(3)), r"linalg.det: expected matrices, got float32\[3\]"),
    (lambda L, one: L.solve(one(2, 2) * 0, one(2, 3)), "linalg.solve: singular matrix"),
    (lambda L, one: L.solve(one(2, 2), one(3, 3)), r"linalg.solve: float32\[2, 2\] and float32\[3, 3\] do not go"),
    (lambda L, one: L.solve(one(3, 2, 2), one(2, 2, 1)), "do not go together"),
    (lambda L, one: L.solve(one(2, 2), one(2, 2).double()), "linalg.solve: expected one dtype and device"),
    (lambda L, one: L.solve_triangular(one(2, 2), one(2), upper=True), "solve_triangular: expected matrices"),
    (lambda L, one: L.lstsq(one(2, 2), one(3, 3)), "linalg.lstsq: .* do not go together"),
    (lambda L, one: L.qr(one(2, 2), "full"), "linalg.qr: mode must be"),
    (lambda L, one: L.cond(one(2, 2), "nuclear"), "linalg.cond got an invalid norm type"),
    (lambda L, one: L.matrix_power(one(2, 3), 2), "matrix_power: expected square matrices"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "message"), ERRORS, ids=[e[1][:40] for e in ERRORS])
def test_errors(f: Callable, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        f(tg.linalg, tg.ones)
    if "cond" not in message:
        with pytest.raises((RuntimeError, NotImplementedError)):
            f(torch.linalg, torch.ones)
    with pytest.raises(TypeError, match="expected tensors, got list"):
        tg.linalg.inv([[1.0]])
    assert issubclass(tg.linalg.LinAlgError, RuntimeError)
