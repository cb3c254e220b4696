"""Tensors reshaped in place: shapes, strides, gradients, views of them and refusals as torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn

RESHAPES: list[Callable[[Any], Any]] = [
    lambda t: t.unsqueeze_(0), lambda t: t.unsqueeze_(-1), lambda t: t.squeeze_(), lambda t: t.squeeze_(1),
    lambda t: t.squeeze_((1, 0)), lambda t: t.transpose_(0, 2), lambda t: t.swapaxes_(0, 1),
    lambda t: t.swapdims_(-1, 0), lambda t: t.as_strided_((2, 3), (1, 2)), lambda t: t.as_strided_((2,), (1,), 1),
    lambda t: t.unsqueeze_(0).transpose_(0, -1).squeeze_(2),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(RESHAPES)))
def test_shapes_and_gradients(case: int) -> None:
    def f(t: Any) -> Any:
        y = t * 2
        assert RESHAPES[case](y) is y
        return y * y

    check(f, f, randn(2, 1, 3), second=True)
    mine, theirs = (RESHAPES[case](m.ones(2, 1, 3)) for m in (tg, torch))
    assert mine.stride() == theirs.stride() and mine._version == theirs._version


def test_matrices_and_less() -> None:
    check(lambda t: (t * 2).t_() * 3, lambda t: (t * 2).t_() * 3, randn(3, 3))
    for shape in ((), (3,), (0, 2), (1, 1)):
        for f in (lambda t: t.t_(), lambda t: t.squeeze_(), lambda t: t.unsqueeze_(0), lambda t: t.transpose_(0, -1)):
            assert f(tg.ones(shape)).shape == f(torch.ones(shape)).shape, shape


def a_view_reshaped(m: Any, x: Any) -> Any:
    y = x * 1
    v = y[0]
    v.unsqueeze_(0)
    v.mul_(3)
    return y, v


def a_base_reshaped_under_its_view(m: Any, x: Any) -> Any:
    y = x * 1
    v = y[0]
    y.transpose_(0, 1)
    v.mul_(3)
    return y, v


def a_base_reshaped_and_written(m: Any, x: Any) -> Any:
    y = x * 1
    v = y[1]
    y.t_()
    y.mul_(3)
    return v * v, y


def a_view_of_a_reshaped_view(m: Any, x: Any) -> Any:
    y = x * 1
    v = y[:, 1:]
    w = v[0]
    v.t_()
    y.mul_(2)
    w.mul_(w.detach() * 3)
    return y, v, w


@pytest.mark.parametrize(
    "f", [a_view_reshaped, a_base_reshaped_under_its_view, a_base_reshaped_and_written, a_view_of_a_reshaped_view]
)
def test_views_and_their_bases(f: Callable) -> None:
    found = []
    for m in (tg, torch):
        x = m.tensor(randn(3, 3).tolist(), requires_grad=True)
        results = f(m, x)
        total = sum((r * m.arange(float(r.numel())).reshape(r.shape)).sum() for r in results)
        total.backward()
        found.append([*(r.detach().tolist() for r in results), x.grad.tolist()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_base_that_is_no_view_stays_none() -> None:
    for m in (tg, torch):
        x = m.ones(2, 3)
        assert not x.t_()._is_view() and x[0]._base is x
        y = x[0]
        assert y.unsqueeze_(0)._base is x


def test_leaves_are_refused() -> None:
    for f in (lambda t: t.unsqueeze_(0), lambda t: t.set_(t.new_zeros(2)), lambda t: t[0].unsqueeze_(0)):
        for m in (tg, torch):
            with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
                f(m.ones(2, 2, requires_grad=True))
    for m in (tg, torch):
        with m.no_grad():
            leaf = m.ones(2, 1, requires_grad=True)
            assert leaf.squeeze_() is leaf and leaf.is_leaf and leaf.shape == (2,)
        with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
            m.ones(2, requires_grad=True).resize_(3)
        y = m.ones(2, requires_grad=True) * 2
        square = y * y
        y.unsqueeze_(0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            square.sum().backward()


SIZES: list[Callable[[Any], Any]] = [
    lambda m: m.zeros(2, 3).resize_(2, 2), lambda m: m.zeros(2, 3).t().resize_(3, 2),
    lambda m: m.zeros(2, 3).t().resize_(2, 3), lambda m: m.zeros(2, 3).resize_((6,)),
    lambda m: m.zeros(2, 3).resize_(0, 7),
    lambda m: m.zeros(2, 3, 4, 5).resize_(1, 3, 4, 5, memory_format=m.channels_last),
    lambda m: m.zeros(2, 3, 4, 5).resize_(2, 3, 4, 5, memory_format=m.channels_last),
    lambda m: m.zeros(9).resize_as_(m.zeros(2, 3).t()), lambda m: m.resize_as_(m.zeros(9), m.zeros(())),
    lambda m: m.zeros(3).set_(m.zeros(2, 3).t()), lambda m: m.zeros(3).set_(m.zeros(6), 1, (2, 2)),
    lambda m: m.zeros(3).set_(m.zeros(6), 1, (2, 2), (1, 2)), lambda m: m.zeros(3).set_(),
    lambda m: m.as_strided_(m.zeros(6), (2, 2), (3, 1)),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(SIZES)))
def test_sizes(case: int) -> None:
    mine, theirs = SIZES[case](tg), SIZES[case](torch)
    assert (mine.shape, mine.stride(), mine.storage_offset()) == (
        theirs.shape,
        theirs.stride(),
        theirs.storage_offset(),
    )
    assert mine.tolist() == theirs.tolist()


def test_resizing_keeps_what_is_there() -> None:
    for m in (tg, torch):
        x = m.arange(4.0)
        tail = x[2:]
        tail.resize_(3)[2] = 7.0
        assert x.tolist() == [0, 1, 2, 3] and tail.tolist() == [2, 3, 7]
        x[2] = 5
        assert tail.tolist() == [5, 3, 7] and x.resize_(5).tolist() == [0, 1, 5, 3, 7]
        assert x.resize_(2).tolist() == [0, 1] and x._version > 0
        lent = m.from_numpy(np.zeros(3))
        assert lent.resize_(2).shape == (2,)
        with pytest.raises(RuntimeError, match="Trying to resize storage that is not resizable"):
            lent.resize_(4)
        for wrong in (lambda m: m.zeros(2).resize_(-1), lambda m: m.zeros(3, 3, 3).t_()):
            with pytest.raises(RuntimeError):
                wrong(m)
    with pytest.raises(RuntimeError, match="unsupported memory format"):
        tg.zeros(2).resize_(2, memory_format=tg.preserve_format)
    with pytest.raises(RuntimeError, match="expected a float32 tensor"):
        tg.zeros(2).set_(tg.zeros(2, dtype=tg.int64))


def test_resizing_in_a_dry_run_leaves_memory_alone() -> None:
    x = tg.arange(3.0)
    tg.plan(lambda: x.resize_(1000))
    assert x.tolist() == [0, 1, 2]
