"""einsum against torch's: every form of equation, gradients, second gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed
from tests.properties import given, settings, st

CASES = [
    ("ij,jk", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)), ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("ii", (3, 3)), ("ii->i", (3, 3)), ("iij->ji", (3, 3, 2)), ("iii", (2, 2, 2)), ("ij->", (2, 3)), ("ij->ji", (2, 3)),
    ("ijk->j", (2, 3, 4)), ("i,i", (3,), (3,)), ("i,j", (2,), (3,)), ("i,j,k", (2,), (3,), (4,)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("...ij,...jk", (5, 2, 3), (3, 4)), ("...ij->...ji", (5, 2, 3)), ("...,...->...", (2, 3), (3,)),
    ("...i->i", (2, 3)),
    ("...i->...", (2, 3)), ("...ij,jk->...ik", (5, 6, 2, 3), (3, 4)), ("b...i,b...i->b...", (2, 1, 3), (2, 4, 3)),
    ("ij,jk,kl", (2, 3), (3, 4), (4, 5)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)), ("ij,jk->ik", (2, 3), (1, 4)), ("ba,Ab", (2, 3), (3, 2)),
    (" i j , j k -> i k ", (2, 3), (3, 4)), ("", ()), (",", (), ()), ("i,->i", (3,), ()), ("ij,k->j", (2, 3), (4,)),
    ("i->", (0,)), ("ij,ij->j", (0, 3), (0, 3)), ("ij,jk->ik", (2, 0), (0, 4)), ("ij,jk->ik", (0, 3), (3, 4)),
    ("ii,ij->j", (3, 3), (3, 2)), ("ijij->ij", (2, 3, 2, 3)), ("abc,cd,efd->abef", (2, 1, 3), (3, 4), (2, 2, 4)),
    ("i,i,i->", (4,), (4,), (4,)), ("a...b,b...c->a...c", (2, 5, 3), (3, 1, 4)), ("ij,kl->jk", (2, 3), (4, 5)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {c[1:]}")
def test_equations(case: tuple) -> None:
    equation, *shapes = case
    arrays = [np.asarray(randn(*shape, seed=k)) for k, shape in enumerate(shapes)]
    ours, theirs = (lambda *t: tg.einsum(equation, *t)), (lambda *t: torch.einsum(equation, *t))
    check(ours, theirs, *arrays, terms=40, second=True)
    check(ours, theirs, *arrays, terms=40, wrap=transposed)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_dtypes(dtype: str) -> None:
    equation = "bij,bjk->bik"
    a, b = randn(2, 5, 7), randn(2, 7, 3, seed=1)
    check(lambda *t: tg.einsum(equation, *t), lambda *t: torch.einsum(equation, *t), a, b, dtype=dtype, terms=7)


def test_integers() -> None:
    a, b = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    for equation in ("ij,jk->ik", "ij,jk->", "ij,jk->ijk"):
        want = torch.einsum(equation, torch.tensor(a), torch.tensor(b))
        assert tg.einsum(equation, tg.tensor(a), tg.tensor(b)).tolist() == want.tolist()


def test_other_forms() -> None:
    a, b = randn(2, 3), randn(3, 4, seed=1)
    check(lambda *t: tg.einsum("ij,jk", list(t)), lambda *t: torch.einsum("ij,jk", list(t)), a, b, terms=3)
    check(lambda x, y: tg.einsum(x, [0, 1], y, [1, 2], [0, 2]), lambda x, y: x @ y, a, b, terms=3)
    check(lambda x, y: tg.einsum(x, [0, 1], y, [1, 2]), lambda x, y: x @ y, a, b, terms=3)
    form = [..., 1], [1, 2], [2, ...]
    check(
        lambda x, y: tg.einsum(x, form[0], y, form[1], form[2]),
        lambda x, y: torch.einsum(x, form[0], y, form[1], form[2]),
        a,
        b,
        terms=3,
    )


def test_expanded_operands_and_gradients() -> None:
    f = "bi,bij->j"
    check(
        lambda x, y: tg.einsum(f, x.expand(4, 3), y).sum(),
        lambda x, y: torch.einsum(f, x.expand(4, 3), y).sum(),
        randn(1, 3),
        randn(4, 3, 2, seed=1),
        terms=24,
    )


@settings(derandomize=True, max_examples=25, deadline=None, database=None)
@given(data=st.data())
def test_any_two_operands(data: st.DataObject) -> None:
    """Any labels, any of which may be kept."""
    letters = "abcd"
    extents = {n: data.draw(st.sampled_from([0, 1, 2, 3, 5])) for n in letters}
    left, right = (data.draw(st.text(letters, max_size=4)) for _ in range(2))
    output = "".join(n for n in data.draw(st.permutations(letters)) if n in left + right and data.draw(st.booleans()))
    equation = f"{left},{right}->{output}"
    arrays = [np.asarray(randn(*(extents[n] for n in labels), seed=k)) for k, labels in enumerate((left, right))]
    check(lambda *t: tg.einsum(equation, *t), lambda *t: torch.einsum(equation, *t), *arrays, terms=625)


ERRORS = [
    ("ij,jk->iz", [(2, 3), (3, 4)], "output subscript z does not appear"),
    ("ij,jk->iik", [(2, 3), (3, 4)], "output subscript i appears more than once"),
    ("ij,jk->ik", [(2, 3), (4, 4)], "subscript j has size 4 for operand 1 which does not broadcast with"),
    ("ijk->ik", [(2, 3)], r"number of subscripts in the equation \(3\) does not match the number of dimensions \(2\)"),
    ("...ijk->ik", [(2, 3)], r"number of subscripts in the equation \(3\)"),
    ("ij", [(2, 3), (2,)], "more operands were provided"),
    ("ij,j", [(2, 3)], "fewer operands were provided"),
    ("i1->i", [(2, 3)], "invalid subscript '1'"),
    ("i.j->i", [(2, 3)], r"invalid subscript '\.'"),
    ("...i...", [(2, 3)], "more than one ellipsis"),
    ("ii", [(2, 3)], "subscript i is repeated for operand 0 but the sizes don't match, 3 != 2"),
    ("...i,...i", [(2, 3), (4, 3)], r"subscript \.\.\. has size 4 for operand 1"),
    ("", [], "at least one operand"),
]


@pytest.mark.parametrize(("equation", "shapes", "message"), ERRORS, ids=[e[2][:30] for e in ERRORS])
def test_errors(equation: str, shapes: list, message: str) -> None:
    with pytest.raises(RuntimeError, match=rf"einsum\(\): .*{message}"):
        tg.einsum(equation, *(tg.ones(*shape) for shape in shapes))
    if shapes:
        with pytest.raises(RuntimeError):
            torch.einsum(equation, *(torch.ones(*shape) for shape in shapes))


def test_operands_of_two_dtypes() -> None:
    with pytest.raises(RuntimeError, match=r"einsum: expected all to have the same dtype, got int64\[2\] and float32"):
        tg.einsum("i,i", tg.ones(2, dtype=tg.int64), tg.ones(2))
    with pytest.raises(RuntimeError, match="subscripts must be numbers from 0 to 51"):
        tg.einsum(tg.ones(2), [52])
