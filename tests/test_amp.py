"""GradScaler beside torch's, step by step, and autograd functions under autocast."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import randn
from tritongrad_kernels import launch


def model(m: Any, shapes: Any = ((5, 3), (7,), (33, 2))) -> list[Any]:
    return [m.tensor(randn(*s, seed=i).astype(np.float32), requires_grad=True) for i, s in enumerate(shapes)]


def drive(m: Any, factors: list[float], **options: Any) -> tuple[list[float], list[np.ndarray], dict]:
    """Scales after each step, parameters at the end, and the state: the loss is multiplied by these factors."""
    params = model(m)
    optimizer = m.optim.SGD(params, lr=0.1, momentum=0.9)
    scaler = m.amp.GradScaler("cpu", **options)
    scales = []
    for factor in factors:
        optimizer.zero_grad()
        loss = sum((p * p).sum() for p in params) * factor
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return scales, [p.detach().numpy() for p in params], scaler.state_dict()


@pytest.mark.parametrize(
    "factors",
    [
        [0.1] * 7,
        [0.1, float("inf"), 0.1, 0.1, float("nan"), 0.1, 0.1, 0.1],
        [3e38, 0.1, 0.1],
    ],
)
def test_scales_and_steps_are_torch_s(factors: list[float]) -> None:
    options = {"init_scale": 64.0, "growth_interval": 3, "growth_factor": 4.0, "backoff_factor": 0.25}
    scales, params, state = drive(tg, factors, **options)
    their_scales, their_params, their_state = drive(torch, factors, **options)
    assert scales == their_scales and state == their_state
    for p, q in zip(params, their_params, strict=True):
        assert np.allclose(p, q, rtol=1e-6, atol=1e-6)


def test_a_scale_does_not_grow_beyond_float32() -> None:
    for m in (tg, torch):
        assert drive(m, [1e-38] * 3, init_scale=2.0**126, growth_interval=1)[0] == [2.0**127] * 3


@pytest.mark.parametrize("size", [1, 127, 128, 129, 1000])
def test_one_infinity_anywhere_is_found(size: int, tiles: str) -> None:
    p = tg.zeros(size, requires_grad=True)
    scaler = tg.amp.GradScaler("cpu", init_scale=2.0)
    for position in {0, size // 2, size - 1}:
        for bad in (float("inf"), float("-inf"), float("nan")):
            optimizer = tg.optim.SGD([p], lr=1.0)
            scaler.scale(p.sum())
            gradient = np.ones(size, np.float32)
            gradient[position] = bad
            p.grad = tg.tensor(gradient)
            scaler.step(optimizer)
            scaler.update()
            assert not p.detach().numpy().any()


def test_gradients_of_several_dtypes_and_layouts() -> None:
    a = tg.zeros(4, 6, requires_grad=True)
    b = tg.zeros(6, requires_grad=True, dtype=tg.bfloat16)
    c = tg.zeros(3, requires_grad=True, dtype=tg.float64)
    scaler = tg.amp.GradScaler("cpu", init_scale=8.0)
    optimizer = tg.optim.SGD([a, b, c], lr=1.0)
    scaler.scale(a.sum())
    a.grad = tg.ones(12, 4)[::2].t()
    b.grad = tg.ones(6, dtype=tg.bfloat16)
    c.grad = tg.ones(3, dtype=tg.float64)
    with launch.recording() as log:
        scaler.unscale_(optimizer)
    assert sum(entry.kernel == "_unscale" for entry in log) == 3
    for t in (a, b, c):
        assert t.grad.unique().tolist() == [0.125]
    scaler.step(optimizer)
    assert a.detach().unique().tolist() == [-0.125]


def test_clipping_between() -> None:
    p = tg.ones(4, requires_grad=True)
    scaler, optimizer = tg.amp.GradScaler("cpu", init_scale=1024.0), tg.optim.SGD([p], lr=1.0)
    scaler.scale((p * 3).sum()).backward()
    scaler.unscale_(optimizer)
    tg.nn.utils.clip_grad_norm_([p], 1.0)
    scaler.step(optimizer)
    scaler.update()
    assert np.allclose(p.detach().numpy(), 0.5, atol=1e-5)


def test_what_is_called_out_of_turn() -> None:
    p = tg.ones(2, requires_grad=True)
    scaler, optimizer = tg.amp.GradScaler("cpu"), tg.optim.SGD([p], lr=1.0)
    with pytest.raises(AssertionError, match="scale\\(\\) has to be called first"):
        scaler.step(optimizer)
    scaler.scale(p.sum()).backward()
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called on this optimizer since the last update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step\\(\\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="being called after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="Closure use"):
        scaler.step(optimizer, closure=lambda: None)
    half = tg.ones(2, dtype=tg.float16, requires_grad=True)
    half.grad = tg.ones(2, dtype=tg.float16)
    with pytest.raises(ValueError, match="FP16"):
        scaler.unscale_(tg.optim.SGD([half], lr=1.0))
    for options in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}):
        with pytest.raises(ValueError, match="factor"):
            tg.amp.GradScaler(**options)


def test_a_disabled_scaler_passes_everything_through() -> None:
    p = tg.ones(2, requires_grad=True)
    scaler, optimizer = tg.amp.GradScaler(enabled=False), tg.optim.SGD([p], lr=1.0)
    loss = p.sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1.0 and not scaler.is_enabled()
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0.0, 0.0] and scaler.state_dict() == {}
    scaler.load_state_dict({})


def test_state_goes_to_torch_and_back() -> None:
    options = {"init_scale": 64.0, "growth_interval": 3}
    state = drive(tg, [0.1, 0.1], **options)[2]
    theirs = torch.amp.GradScaler("cpu")
    theirs.load_state_dict(state)
    assert theirs.state_dict() == state
    ours = tg.amp.GradScaler("cpu")
    ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict() == state
    p = tg.ones(1, requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=0.0)
    ours.scale(p.sum()).backward()
    ours.step(optimizer)
    ours.update()
    assert ours.get_scale() == 128.0  # the third good step
    ours.update(5.0)
    assert ours.get_scale() == 5.0
    with pytest.raises(RuntimeError, match="source state dict is empty"):
        ours.load_state_dict({})


def test_scale_of_several() -> None:
    scaler = tg.amp.GradScaler("cpu", init_scale=4.0)
    a, b = scaler.scale([tg.ones(1), (tg.ones(2), tg.ones(1, dtype=tg.bfloat16))])
    assert a.tolist() == [4.0] and b[0].tolist() == [4.0, 4.0] and b[1].dtype is tg.bfloat16
    with pytest.raises(ValueError, match="must be a tensor"):
        scaler.scale(3)
    scaler.set_growth_factor(3.0)
    scaler.set_backoff_factor(0.1)
    scaler.set_growth_interval(7)
    assert (scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()) == (3.0, 0.1, 7)


def test_the_older_names() -> None:
    """What scripts older than torch.amp call: torch.cuda.amp's scaler, which takes no device."""
    scaler = tg.cuda.amp.GradScaler(2.0, 3.0, 0.25, 1)
    assert isinstance(scaler, tg.amp.GradScaler)
    p = tg.ones(1, requires_grad=True)
    optimizer = tg.optim.SGD([p], lr=0.5)
    for factor, scale in ((1.0, 6.0), (float("inf"), 1.5)):
        optimizer.zero_grad()
        scaler.scale(p.sum() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == scale and p.item() == 0.5


class Product(tg.autograd.Function):
    """A product whose gradient is computed under the autocast of its forward."""

    seen: ClassVar[list[Any]] = []

    @staticmethod
    @tg.amp.custom_fwd(device_type="cpu")
    def forward(ctx: Any, a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    @tg.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, dy: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        a, b = ctx.saved_tensors
        left, right = dy @ b.t(), a.t() @ dy
        Product.seen.append(left.dtype)
        return left, right


class Exact(tg.autograd.Function):
    """A product that wants float32 whatever autocast says."""

    @staticmethod
    @tg.amp.custom_fwd(device_type="cpu", cast_inputs=tg.float32)
    def forward(ctx: Any, a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        assert a.dtype is tg.float32
        return a @ b

    @staticmethod
    @tg.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, dy: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        assert (dy @ dy).dtype is tg.float32
        return dy, dy


def test_custom_functions() -> None:
    a, b = (tg.tensor(randn(4, 4, seed=i), dtype=tg.float32, requires_grad=True) for i in (0, 1))
    with tg.autocast("cpu"):
        y = Product.apply(a, b)
        z = Exact.apply(a.bfloat16(), b)
    assert y.dtype is tg.bfloat16 and z.dtype is tg.float32
    (y.float().sum() + z.sum()).backward()
    assert Product.seen == [tg.bfloat16] and a.grad is not None and a.grad.dtype is tg.float32
