"""Fused layers, modules without values, other memory orders, and modules called with other parameters: as torch's."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn

PAIRS: list[tuple[str, tuple, str, tuple, dict[str, Any], tuple[int, ...]]] = [
    ("Conv2d", (3, 4, 2), "BatchNorm2d", (4,), {}, (2, 3, 3, 4)),
    ("Conv1d", (3, 2, 2, 1, 0, 1, 1, False), "BatchNorm1d", (2, 1e-3, 0.1, False), {}, (2, 3, 4)),
    ("ConvTranspose1d", (3, 2, 2), "BatchNorm1d", (2,), {"transpose": True}, (2, 3, 4)),
    ("Linear", (3, 4, False), "BatchNorm1d", (4,), {}, (5, 3)),
]


def pairs(m: Any, k: int) -> tuple[Any, Any]:
    layer, args, norm, norm_args, _, _ = PAIRS[k]
    return getattr(m.nn, layer)(*args).to(m.float64), getattr(m.nn, norm)(*norm_args).to(m.float64)


@pytest.mark.parametrize("k", range(len(PAIRS)))
def test_fusion(k: int) -> None:
    layer, norm = pairs(torch, k)
    norm.running_mean.copy_(torch.tensor(randn(norm.num_features)))
    norm.running_var.copy_(torch.tensor(abs(randn(norm.num_features, seed=1))))
    mine = pairs(tg, k)
    for a, b in zip(mine, (layer, norm), strict=True):
        a.load_state_dict({n: tg.tensor(v.numpy()) for n, v in b.state_dict().items()})
    x, results = randn(*PAIRS[k][5]), []
    for m, (one, other) in ((tg, mine), (torch, (layer, norm))):
        fuse = getattr(m.nn.utils, "fuse_linear_bn_eval" if PAIRS[k][0] == "Linear" else "fuse_conv_bn_eval")
        with pytest.raises(AssertionError, match="eval"):
            fuse(one, other, **PAIRS[k][4])
        fused = fuse(one.eval(), other.eval(), **PAIRS[k][4])
        assert fused is not one and isinstance(fused, type(one))
        results.append((fused(m.tensor(x)), *fused.parameters(), other(one(m.tensor(x)))))
        assert [p.requires_grad for p in fused.parameters()] == [True, one.bias is not None]
    for a, b in zip(*results, strict=True):
        compare("fused", a.detach(), b.detach(), 1e-12)
    compare("same", results[0][0].detach(), results[1][-1].detach(), 1e-12)


def test_fusion_errors() -> None:
    for m in (tg, torch):
        u = m.nn.utils
        with pytest.raises(AssertionError, match="features"):
            u.fuse_linear_bn_eval(m.nn.Linear(3, 4).eval(), m.nn.BatchNorm1d(3).eval())
        with pytest.raises(AssertionError, match="running"):
            u.fuse_conv_bn_eval(m.nn.Conv1d(1, 2, 1).eval(), m.nn.BatchNorm1d(2, track_running_stats=False).eval())


def test_skip_init() -> None:
    state = tg.get_rng_state().tolist()
    layer = tg.nn.utils.skip_init(tg.nn.GRUCell, 3, 4)
    assert tg.get_rng_state().tolist() == state
    same = tg.nn.GRUCell(3, 4)
    layer.load_state_dict(same.state_dict())
    assert layer(tg.ones(2, 3)).tolist() == same(tg.ones(2, 3)).tolist()
    assert repr(layer) == repr(torch.nn.utils.skip_init(torch.nn.GRUCell, 3, 4))
    for m in (tg, torch):
        with pytest.raises(RuntimeError, match="Module"):
            m.nn.utils.skip_init(int, 3)
        with pytest.raises(RuntimeError, match="device"):
            m.nn.utils.skip_init(m.nn.ReLU)


def test_memory_format() -> None:
    for m in (tg, torch):
        model = m.nn.Sequential(m.nn.Conv2d(2, 3, 2), m.nn.ConvTranspose3d(3, 2, 2), m.nn.Linear(2, 2))
        weights = [p.tolist() for p in model.parameters()]
        assert m.nn.utils.convert_conv2d_weight_memory_format(model, m.contiguous_format) is model
        assert m.nn.utils.convert_conv3d_weight_memory_format(model, m.channels_last_3d) is model
        assert model[0].weight.is_contiguous() and model[1].weight.is_contiguous(memory_format=m.channels_last_3d)
        m.nn.utils.convert_conv2d_weight_memory_format(model, m.channels_last)
        assert model[0].weight.is_contiguous(memory_format=m.channels_last)
        assert [p.tolist() for p in model.parameters()] == weights


def tied(m: Any) -> Any:
    class Tied(m.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = m.nn.Linear(2, 2, bias=False)
            self.again = self.inner.weight
            self.register_buffer("count", m.zeros(()))

        def forward(self, x: Any, scale: float = 1.0) -> Any:
            self.count = self.count + 1
            return self.inner(x) @ self.again * scale

    return Tied()


def test_functional_call() -> None:
    for m in (tg, torch):
        model, x = tied(m), m.tensor([[1.0, 2.0]])
        own = model.inner.weight
        w = m.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        given = {"inner.weight": w, "count": m.tensor(5.0)}
        y = m.func.functional_call(model, given, (x,), {"scale": 2.0})
        assert y.tolist() == [[76.0, 108.0]] and given["count"].item() == 6.0 and model.count.item() == 0.0
        assert model.inner.weight is own and model.again is own
        y.sum().backward()
        assert w.grad is not None and own.grad is None
        call = m.func.functional_call
        assert call(model, ({"again": w}, {"count": w.detach()[0, 0]}), x).tolist() == [[38.0, 54.0]]
        both = {"again": m.eye(2), "inner.weight": w}
        assert call(model, both, x, tie_weights=False).tolist() == [[5.0, 11.0]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert m.nn.utils.stateless.functional_call(model, {"again": w}, x).tolist() == [[38.0, 54.0]]
        for wrong, options, error in (
            (both, {}, ValueError),
            ([{"again": w}, {"again": w}], {}, ValueError),
            ([w], {}, ValueError),
            (w, {}, ValueError),
            ({"again": w}, {"strict": True}, RuntimeError),
            ({"again": w, "count": w, "other": w}, {"strict": True}, RuntimeError),
            ({"again": 3.0}, {"tie_weights": False}, TypeError),
        ):
            with pytest.raises(error):
                call(model, wrong, x, **options)
        assert model.again is own and model.inner.weight is own


def test_stack_module_state() -> None:
    for m in (tg, torch):
        models = [m.nn.BatchNorm1d(3) for _ in range(2)]
        parameters, buffers = m.func.stack_module_state(models)
        assert list(parameters) == ["weight", "bias"] and tuple(buffers["running_mean"].shape) == (2, 3)
        assert parameters["weight"].requires_grad and parameters["weight"].is_leaf
        for wrong in ([], [models[0], m.nn.Linear(2, 2)], [models[0], models[1].eval()]):
            with pytest.raises(RuntimeError):
                m.func.stack_module_state(wrong)
