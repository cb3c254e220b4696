"""autocast: which dtype operations choose, what a weight's cast costs, and what is left alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import randn
from tritongrad import precision
from tritongrad_kernels import launch

F = tg.nn.functional


def x(*shape: int, dtype: Any = tg.float32) -> tg.Tensor:
    return tg.tensor(randn(*(shape or (4, 4))), dtype=dtype)


LOWERED = {
    "matmul": lambda a: a @ a,
    "mm": lambda a: tg.mm(a, a),
    "bmm": lambda a: tg.bmm(a[None], a[None]),
    "mv": lambda a: a.mv(a[0]),
    "addmm": lambda a: tg.addmm(a, a, a),
    "baddbmm": lambda a: tg.baddbmm(a[None], a[None], a[None]),
    "einsum": lambda a: tg.einsum("ij,jk->ik", a, a),
    "linear": lambda a: F.linear(a, a, a[0]),
    "conv2d": lambda a: F.conv2d(a[None, None], a[None, None]),
    "prelu": lambda a: F.prelu(a, a[0, :1]),
}
RAISED = {
    "exp": lambda a: a.exp(),
    "log": lambda a: a.abs().log(),
    "pow": lambda a: a**2,
    "rpow": lambda a: 2**a,
    "sum": lambda a: a.sum(),
    "prod": lambda a: a.prod(),
    "cumsum": lambda a: a.cumsum(0),
    "softmax": lambda a: a.softmax(1),
    "log_softmax": lambda a: F.log_softmax(a, dim=1),
    "cross_entropy": lambda a: F.cross_entropy(a, tg.tensor([0, 1, 2, 3])),
    "mse_loss": lambda a: F.mse_loss(a, a.t()),
    "norm": lambda a: a.norm(),
    "rsqrt": lambda a: a.abs().rsqrt(),
    "softplus": lambda a: F.softplus(a),
}
UNCHANGED = {
    "add": lambda a: a + a,
    "relu": lambda a: a.relu(),
    "mean": lambda a: a.mean(),
    "max": lambda a: a.max(),
    "tanh": lambda a: a.tanh(),
    "reshape": lambda a: a.reshape(2, 8),
}


@pytest.mark.parametrize("name", LOWERED)
def test_products_run_in_half_precision(name: str) -> None:
    for kind in (tg.bfloat16, tg.float16):
        with tg.autocast("cpu", dtype=kind):
            assert LOWERED[name](x()).dtype is kind
            assert LOWERED[name](x().half()).dtype is kind
        assert LOWERED[name](x()).dtype is tg.float32
    with tg.autocast("cpu"):
        assert LOWERED[name](x(dtype=tg.float64)).dtype is tg.float64


@pytest.mark.parametrize("name", RAISED)
def test_sums_and_wide_ranges_run_in_float32(name: str) -> None:
    half = x(dtype=tg.bfloat16)
    assert RAISED[name](half).dtype is tg.bfloat16
    with tg.autocast("cpu"):
        y = RAISED[name](half)
        assert y.dtype is tg.float32
    assert np.array_equal(y.numpy(), RAISED[name](half.float()).numpy())


@pytest.mark.parametrize("name", UNCHANGED)
def test_the_rest_keeps_its_dtype(name: str) -> None:
    with tg.autocast("cpu"):
        for kind in (tg.float32, tg.bfloat16):
            assert UNCHANGED[name](x(dtype=kind)).dtype is kind


def test_the_widest_dtype_of_several() -> None:
    with tg.autocast("cpu"):
        half, single = x(dtype=tg.bfloat16), x()
        assert tg.addcmul(half, single, half).dtype is tg.float32
        assert tg.dot(half[0], single[0]).dtype is tg.float32
        assert tg.atan2(half, half).dtype is tg.bfloat16
        index = tg.zeros(4, 4, dtype=tg.int64)
        assert tg.scatter_add(single, 0, index, half).dtype is tg.float32


def test_a_dtype_that_is_asked_for_wins() -> None:
    with tg.autocast("cpu"):
        assert x(dtype=tg.bfloat16).sum(dtype=tg.float64).dtype is tg.float64
        assert F.softmax(x(dtype=tg.bfloat16), dim=0, dtype=tg.bfloat16).dtype is tg.bfloat16


def test_a_step_is_torch_s() -> None:
    """Dtypes and values of a small network's loss and gradients, beside torch under autocast on the CPU."""
    rng = np.random.default_rng(0)
    weight, bias = (rng.standard_normal(s).astype(np.float32) for s in ((8, 5), (8,)))
    inputs, labels = rng.standard_normal((6, 5)).astype(np.float32), rng.integers(0, 8, 6)

    def step(m: Any) -> tuple[Any, Any, Any]:
        w, b = m.tensor(weight, requires_grad=True), m.tensor(bias, requires_grad=True)
        with m.autocast("cpu", dtype=m.bfloat16):
            hidden = m.nn.functional.linear(m.tensor(inputs), w, b)
            loss = m.nn.functional.cross_entropy(hidden.relu().float(), m.tensor(labels))
        loss.backward()
        return loss, w.grad, b.grad

    for mine, theirs in zip(step(tg), step(torch), strict=True):
        assert str(mine.dtype).split(".")[1] == str(theirs.dtype).split(".")[1] == "float32"
        assert np.allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=2e-2, atol=2e-2)


def test_a_weight_is_cast_once_until_it_changes() -> None:
    w = x().requires_grad_()
    a = x(dtype=tg.bfloat16)

    def casts() -> int:
        with launch.recording() as log, tg.autocast("cpu"):
            a @ w
            a @ w
        return sum(entry.kernel.startswith("_map") for entry in log)

    assert casts() == 1
    assert casts() == 0
    w.data.mul_(2)
    assert casts() == 1
    with tg.autocast("cpu"):
        assert np.array_equal((a @ w).detach().float().numpy(), (a @ w.detach().bfloat16()).float().numpy())
    with launch.recording() as log, tg.autocast("cpu", cache_enabled=False):
        a @ w
        a @ w
    assert sum(entry.kernel.startswith("_map") for entry in log) == 2


def test_an_optimizer_writes_the_cast_along() -> None:
    w = x().requires_grad_()
    a = x(dtype=tg.bfloat16)
    optimizer = tg.optim.SGD([w], lr=0.1)
    for expected in (1, 0, 0):
        optimizer.zero_grad()
        with launch.recording() as log, tg.autocast("cpu"):
            y = a @ w
        assert sum(entry.kernel.startswith("_map") for entry in log) == expected
        assert np.array_equal(y.detach().float().numpy(), (a @ w.detach().bfloat16()).float().numpy())
        y.float().sum().backward()
        optimizer.step()


def test_a_graph_refuses_a_weight_that_a_step_has_changed() -> None:
    w = x().requires_grad_()
    a = x().requires_grad_()
    optimizer = tg.optim.SGD([w], lr=0.1)
    with tg.autocast("cpu"):
        first, second = (a @ w).sum(), (a @ w).sum()
    first.backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        second.backward()


def test_backward_pays_no_attention() -> None:
    a = x().requires_grad_()
    seen = []
    with tg.autocast("cpu"):
        y = a.relu()
        y.register_hook(lambda g: seen.append((g @ g).dtype))
        (y * y).mean().backward()
        assert precision.is_autocast_enabled("cpu") and (a @ a).dtype is tg.bfloat16
    assert seen == [tg.float32] and a.grad is not None and a.grad.dtype is tg.float32


def test_checkpoint_computes_again_as_before() -> None:
    a = x().requires_grad_()
    seen = []

    def segment(t: tg.Tensor) -> tg.Tensor:
        y = t @ t
        seen.append(y.dtype)
        return y

    with tg.autocast("cpu"):
        y = tg.utils.checkpoint.checkpoint(segment, a)
    y.float().sum().backward()
    assert seen == [tg.bfloat16, tg.bfloat16]


def test_regions_nest_and_end() -> None:
    with tg.autocast("cpu"):
        with tg.autocast("cpu", enabled=False):
            assert (x() @ x()).dtype is tg.float32
        with tg.autocast("cpu", dtype=tg.float16):
            assert (x() @ x()).dtype is tg.float16
        assert (x() @ x()).dtype is tg.bfloat16
    with pytest.raises(ZeroDivisionError), tg.autocast("cpu"):
        raise ZeroDivisionError
    assert (x() @ x()).dtype is tg.float32 and not tg.is_autocast_enabled("cpu")


def test_a_decorator_and_another_thread() -> None:
    @tg.autocast("cpu")
    def product() -> tg.Tensor:
        return x() @ x()

    assert product().dtype is tg.bfloat16
    found: list[Any] = []
    with tg.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append((x() @ x()).dtype))
        thread.start()
        thread.join()
    assert found == [tg.float32]


def test_settings() -> None:
    assert not tg.is_autocast_enabled("cpu") and tg.get_autocast_dtype("cpu") is tg.bfloat16
    assert tg.get_autocast_gpu_dtype() is tg.float16 and tg.get_autocast_cpu_dtype() is tg.bfloat16
    assert tg.is_autocast_cache_enabled()
    before = precision.setting()
    try:
        tg.set_autocast_enabled("cpu", True)
        tg.set_autocast_dtype("cpu", tg.float16)
        assert (x() @ x()).dtype is tg.float16
        tg.clear_autocast_cache()
    finally:
        precision.set_setting(before)
    assert tg.amp.is_autocast_available("cpu") and not tg.amp.is_autocast_available("tpu")


def test_what_cannot_be() -> None:
    with pytest.raises(RuntimeError, match="expected one of cuda, cpu, got 'tpu'"):
        tg.autocast("tpu")
    with pytest.warns(UserWarning, match="only float16 and bfloat16"), tg.autocast("cpu", dtype=tg.float64):
        assert (x() @ x()).dtype is tg.float32


@pytest.mark.skipif(tg.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_warned_of() -> None:
    for region in (lambda: tg.autocast("cuda"), tg.cuda.amp.autocast):
        with pytest.warns(UserWarning, match="no GPU"), region():
            assert (x() @ x()).dtype is tg.float32
