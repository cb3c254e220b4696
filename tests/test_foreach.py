"""Many arrays at once, as clipping needs them: beside torch, over dtypes, layouts and norms; parameters as a vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import randn
from tritongrad_kernels import foreach, launch

SHAPES = [(3, 4), (7,), (), (2, 0), (5, 1, 129), (1,)]


def parameters(m: Any, dtype: str = "float32", shapes: Any = SHAPES) -> list[Any]:
    found = [m.zeros(s, dtype=getattr(m, dtype), requires_grad=True) for s in shapes]
    for i, p in enumerate(found):
        p.grad = m.tensor(randn(*p.shape, seed=i).astype(np.float32)).to(getattr(m, dtype))
    return [*found, m.zeros(2, requires_grad=True)]


def compared(ours: list[Any], theirs: list[Any], rtol: float = 1e-5) -> None:
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            a, b = p.grad.double().numpy(), q.grad.double().numpy()
            assert a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True)


@pytest.mark.parametrize(
    ("order", "dtype"),
    [(2, "float32"), (1, "float32"), (math.inf, "float32"), (3.5, "float32"), (2, "float64"), (2, "bfloat16")],
)
def test_norms(order: float, dtype: str, tiles: str) -> None:
    shapes = [s for s in SHAPES if 0 not in s or order != math.inf]  # torch has no largest of no elements
    ours, theirs = parameters(tg, dtype, shapes), parameters(torch, dtype, shapes)
    rtol = {"float64": 1e-12, "float32": 1e-5}.get(dtype, 2e-2)
    for most in (0.5, 1e4):
        mine, other = (m.nn.utils.clip_grad_norm_(p, most, order) for m, p in ((tg, ours), (torch, theirs)))
        assert mine.shape == () and str(mine.dtype).split(".")[1] == str(other.dtype).split(".")[1]
        assert mine.item() == pytest.approx(other.item(), rel=rtol)
        compared(ours, theirs, rtol)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values(dtype: str, tiles: str) -> None:
    ours, theirs = parameters(tg, dtype), parameters(torch, dtype)
    ours[0].grad[1, 2], theirs[0].grad[1, 2] = math.nan, math.nan
    ours[0].grad[0, 1], theirs[0].grad[0, 1] = math.inf, math.inf
    tg.nn.utils.clip_grad_value_(ours, 0.5)
    torch.nn.utils.clip_grad_value_(theirs, 0.5)
    compared(ours, theirs)


def test_two_launches_whatever_their_number() -> None:
    many = parameters(tg, shapes=[(3, 5)] * 40)
    with launch.recording() as log:
        tg.nn.utils.clip_grad_norm_(many, 1.0)
    assert [entry.kernel for entry in log if entry.kernel in ("_norms", "_scale")] == ["_norms", "_scale"]
    assert len(log) < 10


def test_several_dtypes_at_once() -> None:
    mixed = []
    for m in (tg, torch):
        p = [*parameters(m), *parameters(m, "float64"), *parameters(m, "bfloat16")]
        mixed.append((p, m.nn.utils.clip_grad_norm_(iter(p), 0.1)))
    (ours, a), (theirs, b) = mixed
    assert a.dtype is tg.float64 and a.item() == pytest.approx(b.item(), rel=1e-3)
    compared(ours, theirs, 1e-2)


def test_gradients_in_other_layouts() -> None:
    for view in (lambda t: t[::2, ::3], lambda t: t.t()[:9:2, :4:2], lambda t: t[:1, :1].expand(3, 4)):
        whole = tg.tensor(randn(9, 12).astype(np.float32))
        p = tg.zeros(view(whole).shape, requires_grad=True)
        p.grad = view(whole)
        expected = p.grad.numpy() / np.linalg.norm(p.grad.numpy()) / 10
        tg.nn.utils.clip_grad_norm_(p, 0.1)
        assert np.allclose(p.grad.numpy(), expected, atol=1e-5)


def test_infinite_norms() -> None:
    for bad in (math.inf, math.nan):
        for order in (2.0, math.inf):
            ours, theirs = parameters(tg, shapes=[(3, 4), (7,)]), parameters(torch, shapes=[(3, 4), (7,)])
            ours[1].grad[3], theirs[1].grad[3] = bad, bad
            for m, p in ((tg, ours), (torch, theirs)):
                with pytest.raises(RuntimeError, match="non-finite, so it cannot be clipped"):
                    m.nn.utils.clip_grad_norm_(p, 1.0, order, error_if_nonfinite=True)
            compared(ours, theirs)
            mine, other = (m.nn.utils.clip_grad_norm_(p, 1.0, order) for m, p in ((tg, ours), (torch, theirs)))
            assert np.array_equal(mine.item(), other.item(), equal_nan=True)
            compared(ours, theirs)


def test_nothing_to_clip() -> None:
    for m in (tg, torch):
        assert m.nn.utils.clip_grad_norm_([m.zeros(2, requires_grad=True)], 1.0).item() == 0.0
        with pytest.warns(UserWarning, match="empty generator"):
            m.nn.utils.clip_grad_norm_((p for p in []), 1.0)
        with pytest.warns(FutureWarning):
            m.nn.utils.clip_grad_norm(parameters(m), 1.0)
    tg.nn.utils.clip_grad_value_([], 1.0)
    assert tg.nn.utils.clip_grad_norm_(parameters(tg), 1.0, math.inf).item() > 0  # one of them has no elements


def test_a_saved_gradient_that_is_clipped_is_refused() -> None:
    p = tg.ones(2, requires_grad=True)
    p.grad = tg.ones(2)
    w = tg.ones(2, requires_grad=True)
    y = (w * p.grad).sum()
    tg.nn.utils.clip_grad_norm_(p, 0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_part_of_the_way(tiles: str) -> None:
    arrays, ends = ([tg.full(s, v).array for s in ((3, 4), (130,), (2, 0))] for v in (1.0, 3.0))
    for weight, expected in ((0.25, 1.5), (1.0, 3.0)):
        foreach.lerp(arrays, ends, weight)
        assert all((a.numpy() == expected).all() for a in arrays)


def test_parameters_as_a_vector() -> None:
    found = []
    for m in (tg, torch):
        net = m.nn.Sequential(m.nn.Linear(3, 2), m.nn.Linear(2, 1))
        vector = m.arange(11, dtype=m.float32)
        m.nn.utils.vector_to_parameters(vector, net.parameters())
        back = m.nn.utils.parameters_to_vector(net.parameters())
        (back * back).sum().backward()
        found.append([back.tolist(), net[0].weight.tolist(), net[0].bias.grad.tolist()])
        with pytest.raises(TypeError, match=r"expected torch\.Tensor"):
            m.nn.utils.vector_to_parameters([1.0], net.parameters())
    assert found[0] == found[1]
