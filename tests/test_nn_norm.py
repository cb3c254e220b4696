"""Layers that normalise against torch's: names, repr, state, forward, gradients, running statistics, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn
from tritongrad import nn

LAYERS: list[tuple[str, tuple, dict, tuple[int, ...]]] = [
    ("LayerNorm", (5,), {}, (3, 4, 5)),
    ("LayerNorm", ((4, 5),), {"eps": 0.1, "bias": False}, (3, 4, 5)),
    ("LayerNorm", ([5],), {"elementwise_affine": False}, (3, 5)),
    ("RMSNorm", (5,), {}, (3, 5)),
    ("RMSNorm", ([4, 5], 0.1, False), {}, (3, 4, 5)),
    ("GroupNorm", (2, 4), {}, (3, 4, 5)),
    ("GroupNorm", (2, 4, 0.1), {"bias": False}, (3, 4, 5)),
    ("GroupNorm", (4, 4), {"affine": False}, (3, 4, 2, 2)),
    ("InstanceNorm1d", (4,), {}, (3, 4, 5)),
    ("InstanceNorm1d", (4,), {"affine": True, "track_running_stats": True}, (4, 5)),
    ("InstanceNorm2d", (4,), {"affine": True, "bias": False}, (3, 4, 2, 2)),
    ("InstanceNorm3d", (4,), {"track_running_stats": True, "momentum": None}, (4, 2, 1, 2)),
    ("BatchNorm1d", (4,), {"momentum": None}, (5, 4)),
    ("BatchNorm1d", (4,), {"bias": False}, (3, 4, 2)),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, (3, 4, 2, 2)),
    ("BatchNorm3d", (4, 0.1, 0.5), {}, (2, 4, 2, 1, 2)),
    ("BatchNorm3d", (4,), {"affine": False}, (2, 4, 2, 1, 2)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, (2, 4, 3)),
]


def twins(name: str, args: tuple, options: dict) -> tuple[nn.Module, Any]:
    """Our layer and torch's with the same random values, in float64."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs) and ours.training
    mine = ours.state_dict()
    assert list(mine) == list(theirs.state_dict())
    for k, v in theirs.state_dict().items():
        assert mine[k].tolist() == v.tolist(), k
    ours, theirs = ours.double(), theirs.double()
    state = {k: randn(*v.shape, seed=i, mean=1) ** 2 for i, (k, v) in enumerate(mine.items()) if v.ndim}
    ours.load_state_dict({k: tg.tensor(v) for k, v in state.items()}, strict=False)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()}, strict=False)
    return ours, theirs


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS, ids=[f"{n}{a}{o}" for n, a, o, _ in LAYERS])
def test_layers(name: str, args: tuple, options: dict, shape: tuple[int, ...]) -> None:
    ours, theirs = twins(name, args, options)
    for step in range(3):
        if step == 2:
            _ = ours.eval(), theirs.eval()
        x = randn(*shape, seed=step, mean=2)
        a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        compare("y", y.detach(), z.detach(), 1e-12)
        (y * y * 0.5 + y).sum().backward()
        (z * z * 0.5 + z).sum().backward()
        compare("dx", a.grad, b.grad, 1e-11)
    for (k, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        compare(k, p.grad, q.grad, 1e-11)
    for (k, v), w in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        compare(k, v, w, 1e-12)


def test_parameters_start_again() -> None:
    for name, args, options, _ in LAYERS[:16]:
        ours, fresh = twins(name, args, options)[0], getattr(nn, name)(*args, **options)
        ours.reset_parameters()
        assert [v.tolist() for v in ours.state_dict().values()] == [v.tolist() for v in fresh.state_dict().values()]


ERRORS: list[tuple[str, tuple, tuple[int, ...], type, str]] = [
    ("BatchNorm1d", (3,), (2, 3, 2, 2), ValueError, "expected 2D or 3D input (got 4D input)"),
    ("BatchNorm2d", (3,), (2, 3), ValueError, "expected 4D input (got 2D input)"),
    ("BatchNorm3d", (3,), (2, 3, 2, 2), ValueError, "expected 5D input (got 4D input)"),
    ("BatchNorm2d", (3,), (2, 4, 2, 2), RuntimeError, ""),
    ("BatchNorm1d", (3,), (1, 3), ValueError, ""),
    ("InstanceNorm1d", (3,), (3,), ValueError, "expected 2D or 3D input (got 1D input)"),
    ("InstanceNorm2d", (3, 1e-5, 0.1, True), (2, 4, 2, 2), ValueError,
     "expected input's size at dim=1 to match num_features (3), but got: 4."),
    ("SyncBatchNorm", (3,), (3,), ValueError, "expected at least 2D input (got 1D input)"),
    ("SyncBatchNorm", (3,), (3, 0, 2), ValueError, "SyncBatchNorm number of input channels should be non-zero"),
    ("LocalResponseNorm", (3,), (2, 3), ValueError, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "shape", "kind", "words"), ERRORS)
def test_errors(name: str, args: tuple, shape: tuple[int, ...], kind: type, words: str) -> None:
    for m in (tg, torch):
        with pytest.raises(kind) as found:
            getattr(m.nn, name)(*args)(m.ones(*shape))
        assert not words or str(found.value) == words
    with pytest.raises(ValueError, match="must be divisible by num_groups"):
        nn.GroupNorm(2, 3)


def test_a_size_that_does_not_matter_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="does not match num_features"):
        nn.InstanceNorm1d(3)(tg.ones(2, 4, 5))


def test_a_state_from_before_batches_were_counted() -> None:
    bn = nn.BatchNorm1d(2)
    bn.num_batches_tracked.fill_(7)
    bn.load_state_dict({k: v for k, v in bn.state_dict().items() if k != "num_batches_tracked"})
    assert bn.num_batches_tracked.item() == 7
    state = bn.state_dict()
    assert state._metadata[""]["version"] == 2
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="Missing key"):
        bn.load_state_dict(state)


def test_batch_norms_become_synchronised_ones() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None), nn.Sequential(nn.BatchNorm1d(4).eval()))
    weight, x = net[1].weight, tg.tensor(randn(5, 3)).float()
    want = net(x)
    found = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert found is net and type(net[1]) is type(net[2][0]) is nn.SyncBatchNorm
    assert net[1].weight is weight and net[1].momentum is None and not net[2][0].training
    assert tg.equal(net(x), want) and net[1].num_batches_tracked.item() == 2
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(2)), nn.SyncBatchNorm)
