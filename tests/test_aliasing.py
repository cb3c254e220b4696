"""Views share memory, and gradients through views and in-place writes are torch's, first and second ones."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg

Programs = dict[str, Callable[[Any, Any, Any], Any]]
PROGRAMS: Programs = {}


def program(f: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """f(library, a [3, 4], b [4]): the same code runs with torch and with ours."""
    PROGRAMS[f.__name__] = f
    return f


@program
def a_row_times_another_tensor(m, a, b):
    y = a * 1
    y[1].mul_(b)
    return y


@program
def two_views_that_cross(m, a, b):
    y = a * 1
    row, column = y[1], y[:, 2]
    row.mul_(b)
    column.add_(b[:3])
    return y * row.sum()


@program
def filling_zeros_by_rows(m, a, b):
    y = m.zeros(3, 4, dtype=m.float64)
    y[0] = b
    y[1:].copy_(a[1:] * 2)
    return y


@program
def a_view_of_a_view_after_the_base_changed(m, a, b):
    y = a.clone()
    v = y.view(4, 3).t()[1:]
    y.mul_(3)
    v.mul_(2)
    return v * y.sum()


@program
def a_row_times_a_copy_of_another(m, a, b):
    y = a * 2
    v = y.t()
    v[0].mul_(v[1].clone())
    v.sub_(1)
    return y


@program
def an_operation_that_forgets(m, a, b):
    y = a * 2
    v = y[0]
    v.zero_()
    return y + v.sum()


@program
def gradients_that_need_the_result(m, a, b):
    y = a * 2 - 9
    v = y[:, 1:3]
    v.clamp_(-5, 10)
    v[1].relu_()
    return y


@program
def a_base_without_a_gradient_gets_one(m, a, b):
    y = m.zeros(3, 4, dtype=m.float64)
    v, w = y[1], y[1]
    v.add_(b)
    return w * y.sum()


@program
def writing_to_an_expanded_views_base(m, a, b):
    y = a[0] * 1
    wide = y.expand(3, 4)
    y.mul_(b)
    return wide * a


@program
def a_view_read_before_and_after(m, a, b):
    y = a * 3
    v = y[1]
    early = v * 2
    v.add_(b)
    late = v * b
    return y + early + late


@program
def slices_written_in_a_loop(m, a, b):
    y = m.zeros(3, 4, dtype=m.float64)
    state = b
    for i in range(3):
        state = state * a[i]
        y[i] = state
    return y


@program
def augmented_assignment(m, a, b):
    y = a * 1
    y[0] += b
    y[:, 1] *= 2
    y[2, 3] -= b[0]
    return y


@program
def a_base_in_channels_last_order(m, a, b):
    y = a.view(1, 3, 2, 2).contiguous(memory_format=m.channels_last) * 1
    y[:, 1].mul_(b.view(2, 2))
    return y


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_torchs(name: str) -> None:
    found = []
    for m in (torch, tg):
        a = m.tensor(np.arange(1.0, 13.0).reshape(3, 4), requires_grad=True)
        b = m.tensor(np.arange(2.0, 6.0), requires_grad=True)
        y = PROGRAMS[name](m, a, b)
        first = m.autograd.grad((y * y).sum(), [a, b], create_graph=True, allow_unused=True)
        again = sum((g * g).sum() for g in first if g is not None)
        second = m.autograd.grad(again, [a, b], allow_unused=True)
        found.append([None if t is None else np.array(t.tolist()) for t in (y, *first, *second)])
    for what, ours, theirs in zip(("y", "da", "db", "dda", "ddb"), found[1], found[0], strict=True):
        assert (ours is None) == (theirs is None), what
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, err_msg=what)


def test_views_and_bases_see_each_others_writes() -> None:
    base = tg.zeros(2, 3)
    row, column, turned = base[1], base[:, 0], base.t().reshape(3, 2)
    row.fill_(1)
    assert base.tolist() == [[0, 0, 0], [1, 1, 1]] and column.tolist() == [0, 1]
    base[0, 0] = 5
    assert column.tolist() == [5, 1] and turned[0, 0].item() == 5
    column += 1
    assert row.tolist() == [2, 1, 1]
    assert row._version == column._version == base._version == 3


def test_what_a_view_is_a_view_of() -> None:
    base = tg.zeros(2, 3)
    view = base.t()[1:]
    assert view._is_view() and view._base is base and not base._is_view() and base._base is None
    assert not (base + 1)._is_view() and not base.clone()._is_view() and not base.detach()._is_view()


def test_a_view_of_a_leaf_that_requires_grad_is_not_written_to() -> None:
    leaf = tg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used in an in-place"):
        leaf[1:].mul_(2)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        leaf.mul_(2)
    assert leaf.tolist() == [1, 1, 1]
    with tg.no_grad():
        leaf[1:].mul_(2)
    assert leaf.tolist() == [1, 2, 2] and leaf.is_leaf


def test_a_view_made_without_a_graph_is_not_written_to_with_one() -> None:
    y = tg.ones(3, requires_grad=True) * 1
    with tg.no_grad():
        v = y[1:]
    with pytest.raises(
        RuntimeError, match="view was created in no_grad mode and is being modified inplace with grad mode"
    ):
        v.mul_(tg.ones(2, requires_grad=True))
    assert y.tolist() == [1, 1, 1]


def test_a_view_is_not_detached_in_place() -> None:
    y = tg.ones(3, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        y[1:].detach_()
    y.detach_()
    assert y.is_leaf and not y.requires_grad


def test_views_follow_their_base() -> None:
    y = tg.zeros(3)
    v = y[1:]
    assert v.is_leaf and not v.requires_grad
    y.add_(tg.ones(3, requires_grad=True))
    assert v.requires_grad and not v.is_leaf and v.grad_fn is not None


def test_a_value_saved_and_then_overwritten_through_a_view_is_refused() -> None:
    x = tg.ones(3, requires_grad=True)
    y = x * 2
    z = y * y
    y[1:].add_(1)
    with pytest.raises(RuntimeError, match=r"saved by mul is at version 1; expected version 0"):
        z.sum().backward()


def test_in_place_without_a_graph_leaves_histories_alone() -> None:
    x = tg.ones(3, requires_grad=True)
    y = x * 2
    v = y[1:]
    with tg.no_grad():
        v.zero_()
    (y.sum() + v.sum()).backward()
    assert x.grad is not None and x.grad.tolist() == [2, 4, 4]


def test_nothing_keeps_a_rewritten_base_alive() -> None:
    gc.disable()
    try:
        x = tg.ones(4, requires_grad=True)
        y = x * 2
        v = y[1:]
        v.mul_(tg.full((3,), 2.0, requires_grad=True))
        v[0].relu_()
        memory = weakref.ref(y.array.memory)
        del y, v
        assert memory() is None
    finally:
        gc.enable()
