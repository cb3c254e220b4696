"""Lazy layers, uninitialized parameters and nn.Buffer: as torch's before the first call, by it, and after it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn

LAYERS: list[tuple[str, tuple, dict[str, Any], tuple[int, ...]]] = [
    ("Linear", (3,), {}, (2, 4)),
    ("Linear", (3, False), {"dtype": "float64"}, (4,)),
    ("Conv1d", (2, 2), {"padding": 1, "padding_mode": "reflect"}, (2, 3, 4)),
    ("Conv2d", (4, (2, 1)), {"groups": 2, "bias": False}, (2, 3, 4)),
    ("Conv3d", (2, 2), {}, (1, 2, 2, 3, 2)),
    ("ConvTranspose1d", (2, 2), {"stride": 2, "output_padding": 1}, (2, 3, 4)),
    ("ConvTranspose2d", (2, 2), {}, (1, 3, 2, 2)),
    ("ConvTranspose3d", (2, 2), {"dilation": 2}, (3, 2, 2, 2)),
    ("BatchNorm1d", (), {}, (4, 3)),
    ("BatchNorm2d", (1e-3, 0.2), {"bias": False}, (2, 3, 2, 2)),
    ("BatchNorm3d", (), {"track_running_stats": False}, (2, 3, 2, 1, 2)),
    ("InstanceNorm1d", (), {}, (2, 3, 4)),
    ("InstanceNorm2d", (), {"affine": False}, (2, 3, 2, 2)),
    ("InstanceNorm3d", (), {}, (2, 3, 1, 2, 2)),
]


def made(m: Any, k: int) -> Any:
    name, args, options, _ = LAYERS[k]
    return getattr(m.nn, "Lazy" + name)(*args, **{n: getattr(m, v) if n == "dtype" else v for n, v in options.items()})


@pytest.mark.parametrize("k", range(len(LAYERS)))
def test_layers(k: int) -> None:
    name, _, _, shape = LAYERS[k]
    ours, theirs = made(tg, k), made(torch, k)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (n, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert type(a).__name__ == type(b).__name__ and repr(a).startswith("<") == repr(b).startswith("<"), n
    optimizers = [m.optim.SGD(layer.parameters(), 0.1) if list(layer.parameters()) else None
                  for m, layer in ((tg, ours), (torch, theirs))]  # fmt: skip
    _ = ours.double(), theirs.double()
    x = randn(*shape)
    theirs(torch.tensor(x))
    fresh = copy.deepcopy(ours)
    fresh(tg.tensor(x))
    assert type(fresh) is getattr(tg.nn, name) and ours.has_uninitialized_params() == bool(list(ours.state_dict()))
    for n, p in fresh.state_dict().items():
        assert p.shape == theirs.state_dict()[n].shape and p.dtype.name == str(theirs.state_dict()[n].dtype)[6:]
    state = {n: tg.tensor(v.numpy()) for n, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    y, z = ours(tg.tensor(x)), theirs(torch.tensor(x))
    assert type(ours) is getattr(tg.nn, name) and repr(ours) == repr(theirs) and repr(ours) == repr(fresh)
    compare("y", y.detach(), z.detach(), 1e-12)
    if optimizers[0] is not None:
        for total, optimizer in zip((y.sum(), z.sum()), optimizers, strict=True):
            total.backward()
            optimizer.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            compare("parameter", a.detach(), b.detach(), 1e-12)


def test_uninitialized() -> None:
    for m in (tg, torch):
        p, b = m.nn.UninitializedParameter(dtype=m.float64), m.nn.UninitializedBuffer()
        assert repr(p) == "<UninitializedParameter>" and repr(b) == "<UninitializedBuffer>"
        assert p.requires_grad and not b.requires_grad and p.dtype is m.float64 and tuple(p.data.shape) == (0,)
        assert m.nn.parameter.is_lazy(p) and not m.nn.parameter.is_lazy(m.nn.Parameter())
        for use in (lambda p=p: p + 1, lambda p=p: p.numel(), lambda p=p, m=m: m.sum(p)):
            with pytest.raises(ValueError, match="uninitialized"):
                use()
        with pytest.raises(RuntimeError, match="shape"):
            p.shape  # noqa: B018
        twin = copy.deepcopy(p)
        assert twin is not p and type(twin) is type(p) and twin.dtype is m.float64
        assert type(pickle.loads(pickle.dumps(p))) is type(p)
        p.materialize((2, 3))
        b.materialize((4,), dtype=m.int64)
        assert type(p) is m.nn.Parameter and type(b) is m.Tensor and p.dtype is m.float64 and b.dtype is m.int64
        assert tuple(p.shape) == (2, 3) and p.is_leaf and p.requires_grad


def test_errors_and_loading() -> None:
    for m in (tg, torch):
        with pytest.raises(RuntimeError, match="3D"):
            m.nn.LazyConv2d(2, 2)(m.ones(2, 2))
        with pytest.raises(ValueError, match="divisible"):
            m.nn.LazyConv1d(2, 2, groups=2)(m.ones(1, 3, 4))
        with pytest.raises(RuntimeError, match="uninitialized"):
            m.nn.Linear(2, 3).load_state_dict(m.nn.LazyLinear(3).state_dict())
        lazy = m.nn.LazyLinear(3)
        assert repr(lazy.load_state_dict(m.nn.LazyLinear(3).state_dict())) == "<All keys matched successfully>"
        assert lazy.has_uninitialized_params()
        lazy.load_state_dict(m.nn.Linear(2, 3).state_dict())
        assert not lazy.has_uninitialized_params() and lazy.weight.requires_grad
        with pytest.raises(AssertionError, match="in_features"):
            lazy(m.ones(2, 5))

        class Half(m.nn.modules.lazy.LazyModuleMixin, m.nn.Module):
            def __init__(self, m: Any = m) -> None:
                super().__init__()
                self.a, self.b = m.nn.UninitializedParameter(), m.nn.UninitializedParameter()

            def forward(self, x: Any, scale: float = 1.0) -> Any:
                return x * self.a * scale

        with pytest.raises(NotImplementedError, match="Half"):
            Half()(m.ones(2))

        class Whole(Half):
            def initialize_parameters(self, x: Any, scale: float = 1.0) -> None:
                self.a.materialize(x.shape)
                self.a.data.fill_(2.0)

        with pytest.raises(RuntimeError, match="fully initialized"):
            Whole()(m.ones(2))
        whole = Whole()
        whole.b = None
        assert whole(m.ones(2), scale=3.0).tolist() == [6.0, 6.0] and type(whole) is Whole
        assert not whole._forward_pre_hooks


def test_buffer() -> None:
    for m in (tg, torch):
        module = m.nn.Module()
        module.a = m.nn.Buffer(m.ones(2))
        module.b = m.nn.Buffer(m.ones(3), persistent=False)
        module.c = m.nn.Buffer()
        assert isinstance(module.a, m.nn.Buffer) and not isinstance(m.ones(2), m.nn.Buffer)
        assert type(module.a) is m.Tensor and repr(module.a) == "tensor([1., 1.])"
        assert [n for n, _ in module.named_buffers()] == ["a", "b", "c"] and list(module.state_dict()) == ["a", "c"]
        module.b = m.zeros(3)
        assert list(module.state_dict()) == ["a", "c"] and module.b.tolist() == [0.0] * 3
        module.b = m.nn.Buffer(m.ones(1))
        assert "b" in module.state_dict()
        assert tuple(m.nn.Parameter().shape) == (0,)


def test_copied_handles() -> None:
    """A handle kept by a module takes, in a copy of the module, the copy's hook away."""
    for m in (tg, torch):
        module = m.nn.Linear(1, 1)
        module.handle = module.register_forward_hook(print)
        twin = copy.deepcopy(module)
        twin.handle.remove()
        assert len(module._forward_hooks) == 1 and not twin._forward_hooks


def test_a_plan_leaves_lazy_modules_lazy() -> None:
    model, x = tg.nn.Sequential(tg.nn.LazyConv2d(4, 3), tg.nn.Flatten(), tg.nn.LazyLinear(3)), tg.ones(2, 3, 5, 5)
    before = repr(model)
    assert tg.plan(lambda: model(x).sum().backward()).launches
    assert repr(model) == before and model[2].has_uninitialized_params()
    assert model(x).shape == (2, 3) and type(model[2]) is tg.nn.Linear
