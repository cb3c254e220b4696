"""Joined operations give the bits of separate ones, in fewer launches; whatever happens between them."""

from __future__ import annotations

import collections
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tests.check import randn
from tritongrad import nn
from tritongrad.models.resnet import BasicBlock, Bottleneck
from tritongrad.nn import functional as F
from tritongrad_kernels import driver, interpret, launch


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    driver.settle()


def block(kind: str) -> nn.Module:
    tg.manual_seed(0)
    half, whole = nn.BatchNorm2d(16), nn.BatchNorm2d(32)
    down = nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), whole)
    made = {
        "basic": lambda: BasicBlock(16, 16),
        "bottleneck": lambda: Bottleneck(16, 4),
        "wide bottleneck": lambda: Bottleneck(64, 16),
        "basic, down": lambda: BasicBlock(16, 32, 2, down),
        "bottleneck, down": lambda: Bottleneck(16, 8, 2, down),
        "odd channels": lambda: nn.Sequential(
            nn.Conv2d(16, 13, 3, padding=1), nn.BatchNorm2d(13), nn.ReLU(), Shortcut()
        ),
        "stage": lambda: nn.Sequential(Bottleneck(16, 8, 2, down), Bottleneck(32, 8)),
        "pre-activation": lambda: nn.Sequential(half, nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False)),
    }
    return made[kind]()


class Shortcut(nn.Module):
    """relu(bn(conv(x)) + x), with everything in place that can be, as published networks write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(13, 13, 1), nn.BatchNorm2d(13)

    def forward(self, x: Any) -> Any:
        out = self.bn(self.conv(x))
        out += x
        return F.relu(out, inplace=True)


BLOCKS = ["basic", "bottleneck", "basic, down", "bottleneck, down", "odd channels", "pre-activation"]


def run(net: nn.Module, x: np.ndarray, dtype: Any, backward: bool = True) -> dict[str, np.ndarray]:
    """Output, gradients and state of one step."""
    net = net.to(dtype)
    data = tg.tensor(x).to(dtype).requires_grad_()
    y = net(data * 1)  # as the output of another layer
    found = {}
    if backward:
        (y * tg.tensor(randn(*y.shape, seed=9)).to(dtype)).sum().backward()
        found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None} | {"x": data.grad}
    return {k: t.detach().float().numpy() for k, t in {"y": y, **found, **dict(net.named_buffers())}.items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], eps: float = 2.0**-20) -> None:
    """The same results and state to the bit; gradients but for the order in which a norm's sums are taken."""
    assert one.keys() == other.keys()
    differ = {k: float(np.abs(one[k] - other[k]).max() / (np.abs(other[k]).max() or 1)) for k in one}
    exact = {k: d for k, d in differ.items() if d and (k == "y" or "running" in k or "tracked" in k)}
    assert not exact, exact
    far = {k: d for k, d in differ.items() if not d < 8 * eps}
    assert not far, far


def both(act: Callable[[], Any]) -> tuple[Any, Any, collections.Counter, int]:
    """What `act` gives joined and apart, the launches of the first, and how many the second took."""
    with launch.recording() as log:
        joined = act()
    with tg.backends.fusion.flags(enabled=False), launch.recording() as apart_log:
        assert not tg.backends.fusion.enabled
        apart = act()
    assert tg.backends.fusion.enabled
    return joined, apart, collections.Counter(one.kernel for one in log), len(apart_log)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_blocks_agree_joined_and_apart(kind: str, dtype: str) -> None:
    x = randn(3, 16, 6, 6, seed=1)
    joined, apart, kernels, launches = both(lambda: run(block(kind), x, getattr(tg, dtype)))
    same(joined, apart, 2.0**-20 if dtype == "float32" else 2.0**-8)
    assert kernels.total() < launches and kernels["_normalize"] + 0 <= 4
    assert kernels["_moments"] == (kind == "pre-activation"), "a convolution takes the statistics of its output"


def test_one_pass_for_a_block() -> None:
    net = block("bottleneck, down")
    data = tg.tensor(randn(2, 16, 6, 6)).float().requires_grad_()
    with launch.recording() as log:
        y = net(data * 1)
        y.backward(tg.ones_like(y))
    kernels = collections.Counter(one.kernel for one in log)
    assert kernels["_normalize"] == 3, "four norms, of which two are added"
    assert kernels["_input_grad"] == 3, "as many"
    assert kernels["_grad_sums"] == 1, "of the last norms; a convolution's gradient takes the sums of those before it"
    assert kernels["_conv2d_input_grad"] == 4
    assert kernels["_sum_slabs"] == 1, "all sums of slabs and of norms"
    assert kernels["_map2"] == 2, "data * 1 and its gradient: none is added or masked on its own"


@pytest.mark.parametrize("column", ["interpret", "sm_90"])
def test_a_stem_whose_norm_is_never_stored(column: str) -> None:
    def act() -> dict[str, np.ndarray]:
        tg.manual_seed(0)
        layers = nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        return run(nn.Sequential(*layers), randn(2, 3, 18, 20, seed=1), tg.bfloat16)

    with launch.column(column):
        joined, apart, kernels, _ = both(act)
    same(joined, apart, 2.0**-8)
    assert not kernels["_normalize"] and kernels["_max_pool2d"] == 1
    assert not kernels["_max_pool2d_input_grad"] and kernels["_pooled_input_grad"] == 1
    assert kernels["_haloed"] == (2 if column == "sm_90" else 0), "the image and the filters, once each"


@pytest.mark.parametrize("column", ["interpret", "sm_90"])
def test_a_1x1_convolution_applies_the_norm_before_it(column: str) -> None:
    """With the kernels of sm_90, too: descriptors, and tiles of which these images fill a part."""
    with launch.column(column):
        joined, apart, kernels, _ = both(lambda: run(block("wide bottleneck"), randn(3, 64, 5, 5, seed=1), tg.bfloat16))
    same(joined, apart, 2.0**-8)
    assert kernels["_settle"] == 1 and kernels["_normalize"] == 2
    if column == "sm_90":
        assert kernels["_conv2d_tma"] == kernels["_conv2d_grads_tma"] == 3, "both gradients of each"
        assert not kernels["_conv2d_input_grad_tma"] and not kernels["_conv2d_weight_grad_tma"]


def test_gradients_of_a_convolution_that_are_asked_for_one_at_a_time() -> None:
    """They are of one launch if both wait, whoever is read first; and one that nobody asks for is not computed."""
    conv = nn.Conv2d(16, 32, 1, bias=False).bfloat16()
    x = tg.tensor(randn(2, 16, 5, 5)).bfloat16().requires_grad_()

    def act(*wanted: tg.Tensor) -> tuple[list[np.ndarray], collections.Counter[str]]:
        y = conv(x)
        with launch.recording() as log:
            found = [g.float().numpy() for g in tg.autograd.grad(y, wanted, tg.ones_like(y))]
        return found, collections.Counter(one.kernel for one in log if one.kernel.startswith("_conv2d"))

    with launch.column("sm_90"):
        (dx, dw), kernels = act(x, conv.weight)
        assert kernels == {"_conv2d_grads_tma": 1}
        (dw2, dx2), kernels = act(conv.weight, x)
        assert kernels == {"_conv2d_weight_grad_tma": 1, "_conv2d_input_grad_tma": 1}, "read in this order"
        (dx3,), kernels = act(x)
        assert kernels == {"_conv2d_input_grad_tma": 1}
        (dw3,), kernels = act(conv.weight)
        assert kernels == {"_conv2d_weight_grad_tma": 1}
    for a, b in ((dx, dx2), (dx, dx3), (dw, dw2), (dw, dw3)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("joins", [True, False])
def test_a_weight_gradient_beside_holds_no_memory_longer(joins: bool) -> None:
    """What it reads is free as soon as the input's gradient is there, also if the two do not join, as of programs with
    unequal numbers of warps."""
    net = nn.Sequential(nn.Conv2d(64, 64, 1, bias=False), nn.Conv2d(64, 128, 1, bias=False)).bfloat16()
    x = tg.tensor(randn(2, 64, 5, 5)).bfloat16().requires_grad_()
    warps = {} if joins else {"conv2d_weight_grad_tma_narrow": {"num_warps": 8}}
    with launch.column("sm_90"), launch.tiles(**warps):
        hidden = net[0](x)
        y = net[1](hidden)
        dy = tg.ones_like(y)
        held = weakref.ref(hidden.array.memory)
        with launch.recording() as log:
            dx, *weights = tg.autograd.grad(y, [x, net[0].weight, net[1].weight], dy)
            del hidden, y, dy
            dx.float()
            assert held() is None, "no weight's gradient has been read"
            early = len(log)
            del weights
    kernels = collections.Counter(one.kernel for one in log[:early] if one.kernel.startswith("_conv2d"))
    apart = {"_conv2d_input_grad_tma": 2, "_conv2d_weight_grad_tma": 2}
    assert kernels == ({"_conv2d_grads_tma": 2} if joins else apart)


def squared(net: nn.Module, dtype: Any = tg.float32, change: Callable[[Any, Any], Any] | None = None) -> dict:
    """Gradients of the sum of the squares of a stage's output, which arrive in the order of its memory."""
    x = tg.tensor(randn(3, 16, 6, 6, seed=1)).to(dtype).requires_grad_()
    if change is not None:
        change(net, x)
    net(x).square().sum().backward()
    found = {name: p.grad for name, p in (*net.named_parameters(), ("x", x)) if p.grad is not None}
    return {name: g.float().numpy() for name, g in found.items()}


@pytest.mark.parametrize("column", ["interpret", "sm_90"])
def test_one_pass_for_the_gradients_of_two_norms(column: str) -> None:
    """The sums of both are taken by the convolution whose gradient theirs is."""
    with launch.column(column):
        joined, apart, kernels, _ = both(lambda: squared(block("stage").bfloat16(), tg.bfloat16))
    same(joined, apart, 2.0**-8)
    assert kernels["_input_grad"] == 6, "of seven norms"
    assert kernels["_grad_sums"] == 1, "of the very last"


ONE_BY_ONE = {
    # what is done to the stage and its input, and how many launches give the gradients of the two norms' inputs
    "frozen shortcut of data": (lambda net, x: net[0].downsample.requires_grad_(False) and x.requires_grad_(False), 1),
    "frozen scales": (lambda net, x: [bn.requires_grad_(False) for bn in (net[0].bn3, net[0].downsample[1])], 1),
    "running statistics of one": (lambda net, x: net[0].downsample[1].eval(), 2),
    "running statistics of both": (lambda net, x: net.eval(), 2),
    "one gradient doubled by a hook": (lambda net, x: doubling(net[0].bn3), 2),
    "the other gradient doubled by a hook": (lambda net, x: doubling(net[0].downsample[1]), 2),
}


def doubling(bn: nn.Module) -> None:
    bn.register_forward_hook(lambda module, given, y: y.register_hook(lambda dy: dy * 2) and None)


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_two_norms_one_by_one(name: str) -> None:
    change, launches = ONE_BY_ONE[name]

    joined, apart, kernels, _ = both(lambda: squared(block("stage"), change=change))
    same(joined, apart)
    assert kernels["_input_grad"] == 5 + launches


def test_each_backward_has_gradients_of_its_own() -> None:
    """Of a graph that is kept, of one norm alone, and of both again."""

    def act() -> list[np.ndarray]:
        net, x = block("stage"), tg.tensor(randn(3, 16, 6, 6, seed=1)).float().requires_grad_()
        y, found = net(x), []
        a, b = net[0].bn3.weight, net[0].downsample[1].bias
        for wanted, scale in (((a, b, x), 1.0), ((a,), 2.0), ((b,), 3.0), ((b, a), 4.0)):
            found += tg.autograd.grad(y, wanted, tg.ones_like(y) * scale, retain_graph=True)
        return [t.numpy() for t in found]

    joined, apart, *_ = both(act)
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max()) for a, b in zip(joined, apart, strict=True))
    a, b, _, *more = joined
    assert all(np.allclose(g, k * w, rtol=1e-5) for g, w, k in zip(more, (a, b, b, a), (2, 3, 4, 4), strict=True))


def test_nothing_is_left_of_a_gradient_that_was_for_two() -> None:
    norms = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
    x, r = (tg.tensor(randn(4, 8, 3, 3, seed=k)).float().requires_grad_() for k in range(2))
    t = norms[0](x * 1) + norms[1](r * 1)
    y = F.relu(t).square().sum()
    (g,) = tg.autograd.grad(y, t, retain_graph=True)
    passed = g.array.memory.origin
    (one,) = tg.autograd.grad(t, x, g, retain_graph=True)
    assert len(passed.left) == 1, "the other may still ask"
    (other,) = tg.autograd.grad(t, r, g, retain_graph=True)
    assert passed.left == {}
    y.backward()
    assert np.array_equal(one.numpy(), x.grad.numpy()) and np.array_equal(other.numpy(), r.grad.numpy())


def test_the_same_bits_in_any_order_of_programs_with_the_tiles_of_a_gpu() -> None:
    """One block of 128 pixels and a bit, so that runs have several programs."""
    down = nn.Sequential(nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64))
    net, x = nn.Sequential(Bottleneck(64, 16, 1, down), block("wide bottleneck")), randn(6, 64, 5, 5, seed=1)
    state = {k: t.clone() for k, t in net.state_dict().items()}

    def act() -> list[np.ndarray]:
        net.load_state_dict(state)
        net.zero_grad()
        found = run(net, x, tg.bfloat16)
        return [found[k] for k in sorted(found)]

    with launch.column("sm_90"):
        one = act()
        with interpret.order("reverse"):
            other = act()
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_norm_may_be_read_after_a_convolution_applied_it() -> None:
    def act() -> dict[str, np.ndarray]:
        tg.manual_seed(0)
        first, norm, second = nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 1)

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.ModuleList([first, norm, second])

            def forward(self, x: Any) -> Any:
                t = F.relu(norm(first(x)))
                return second(t) + t

        return run(Net(), randn(2, 16, 4, 4, seed=1), tg.bfloat16)

    joined, apart, *_ = both(act)
    same(joined, apart, 2.0**-8)


@pytest.mark.parametrize("mode", ["eval", "frozen norm", "frozen convolution", "frozen scale", "no_grad"])
def test_modes(mode: str) -> None:
    def act() -> dict[str, np.ndarray]:
        net = block("bottleneck, down")
        net.bn1.running_mean.fill_(0.3)
        net.train(mode != "eval")
        if mode == "frozen norm":
            net.bn2.eval()
        frozen = {"frozen convolution": [net.conv2], "frozen scale": [net.bn1, net.bn3]}.get(mode, [])
        for module in frozen:
            module.requires_grad_(False)
        with tg.set_grad_enabled(mode != "no_grad"):
            return run(net, randn(3, 16, 6, 6, seed=1), tg.float32, backward=mode != "no_grad")

    joined, apart, *_ = both(act)
    same(joined, apart)


def chain(between: Callable[[Any, Any, Any], Any]) -> Callable[[], list[np.ndarray]]:
    """bn, `+ residual`, relu of one tensor, with `between` given the three stages and the source; what it returns and
    the gradients."""

    def act() -> list[np.ndarray]:
        tg.manual_seed(0)
        leaves = [
            tg.tensor(a).float().requires_grad_() for a in (randn(4, 8, 3, 3), randn(8), randn(8), randn(4, 8, 3, 3))
        ]
        x, w, b, r = (t * 1 for t in leaves)
        t = F.batch_norm(x, None, None, w, b, True)
        out = between(t, r, x)
        (out * out).sum().backward()
        return [out.detach().numpy(), *(t.grad.numpy() for t in leaves if t.grad is not None)]

    return act


BETWEEN = {
    "the norm read twice": lambda t, r, x: F.relu(t + r) + t,
    "the sum read twice": lambda t, r, x: (lambda s: F.relu(s) * s)(t + r),
    "two ReLUs of one norm": lambda t, r, x: F.relu(t) + F.relu(t + r),
    "a ReLU in place": lambda t, r, x: F.relu_(t.add_(r)),
    "a residual written to": lambda t, r, x: (lambda s: s + r.mul_(2).detach())(F.relu(t + r)),
    "the norm printed": lambda t, r, x: [repr(t), F.relu(t + r)][1],
    "the norm's half in place": lambda t, r, x: (t[:2].mul_(3), F.relu(t + r))[1],
    "a sum with itself": lambda t, r, x: F.relu(t + t),
    "a broadcast residual": lambda t, r, x: F.relu(t + r[:1]),
    "another memory order": lambda t, r, x: F.relu(t + r.contiguous()),
    "a view of it": lambda t, r, x: F.relu(t.reshape(-1)),
    "r += norm": lambda t, r, x: F.relu(r.add_(t)),
    "alpha": lambda t, r, x: F.relu(t.add(r, alpha=2)),
    "clamped": lambda t, r, x: t.clamp(min=0) + r,
}


@pytest.mark.parametrize("name", BETWEEN)
def test_whatever_happens_between(name: str) -> None:
    joined, apart, *_ = both(chain(BETWEEN[name]))
    assert len(joined) == len(apart)
    for k, (one, other) in enumerate(zip(joined, apart, strict=True)):
        assert np.array_equal(one, other), f"result {k} off by {np.abs(one - other).max()}"


def test_hooks_and_retained_gradients_see_every_stage() -> None:
    def act() -> list[np.ndarray]:
        net, seen = block("basic"), []
        net.bn1.register_forward_hook(lambda m, i, o: seen.append(o.detach().numpy().copy()))
        net.bn2.register_full_backward_hook(lambda m, gi, go: seen.extend(g.numpy().copy() for g in (*gi, *go)))
        data = tg.tensor(randn(2, 16, 4, 4)).float().requires_grad_()
        middle = data * 1
        middle.retain_grad()
        out = net(middle)
        out.register_hook(lambda g: seen.append(g.numpy().copy()))
        (out * out).sum().backward()
        return [*seen, middle.grad.numpy(), data.grad.numpy()]

    joined, apart, *_ = both(act)
    assert len(joined) == len(apart) == 6
    assert all(np.allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max()) for a, b in zip(joined, apart, strict=True))


def test_second_derivatives_are_those_of_separate_operations() -> None:
    def act() -> np.ndarray:
        net = block("bottleneck, down").double()
        data = tg.tensor(randn(2, 16, 4, 4)).double().requires_grad_()
        (first,) = tg.autograd.grad(net(data).square().sum(), data, create_graph=True)
        (second,) = tg.autograd.grad(first.square().sum(), data)
        return second.numpy()

    joined, apart, *_ = both(act)
    assert np.allclose(joined, apart, rtol=1e-10, atol=1e-12)


def test_running_statistics_move_although_nobody_reads_the_result() -> None:
    bn = nn.BatchNorm2d(3, momentum=None)
    x = tg.tensor(randn(4, 3, 2, 2, mean=5)).float()
    for step in range(1, 4):
        bn(x)
        assert bn.num_batches_tracked.item() == step
    assert np.allclose(bn.running_mean.numpy(), x.numpy().mean((0, 2, 3)), rtol=1e-5)
    view, version = bn.running_var.numpy(), bn.running_var._version
    before = view.copy()
    bn.momentum = 0.5
    bn(x * 3)
    assert bn.running_var._version == version + 1
    assert not np.allclose(view, before), "a view that was given out sees it at once"


def test_looking_at_values_changes_no_bit(tmp_path: Path) -> None:
    def grads(look: bool) -> list:
        net = block("basic")
        data = tg.tensor(randn(2, 16, 4, 4)).float()
        for _ in range(2):
            net.zero_grad()
            net(data * 1).square().sum().backward()
            if look:
                tg.save(net.state_dict(), tmp_path / "state.safetensors")
                repr(net.bn1.weight), net.conv1.weight.tolist(), np.array(net.bn2.bias.detach(), copy=True)
        return [p.grad.tolist() for p in net.parameters()]

    assert grads(False) == grads(True)


def test_threads_may_share_a_model() -> None:
    """Each withholds weights that the others read; none waits for another for ever, and all get what is theirs."""
    net = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    inputs = [tg.tensor(randn(2, 4, 5, 5, seed=k)).float() for k in range(3)]

    def gradient(x: Any) -> list:
        x = x.clone().requires_grad_()
        return tg.autograd.grad(net(x).square().sum(), x)[0].tolist()

    want, found = [gradient(x) for x in inputs], [[] for _ in inputs]
    threads = [
        threading.Thread(target=lambda k=k: found[k].extend(gradient(inputs[k]) for _ in range(4)), daemon=True)
        for k in range(len(inputs))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [[w] * 4 for w in want]


def test_an_input_may_be_written_to_before_the_result_is_read() -> None:
    x = tg.tensor(randn(5, 4)).float()
    want = F.batch_norm(x, None, None, training=True).tolist()
    y = F.batch_norm(x, None, None, training=True)
    x.zero_()
    assert y.tolist() == want and x.tolist() == [[0.0] * 4] * 5


def test_an_optimizer_step_does_not_reach_what_was_computed_before() -> None:
    bn = nn.BatchNorm1d(4)
    y = bn(tg.tensor(randn(5, 4)).float())
    with tg.no_grad():
        bn.weight.fill_(100)
    assert np.abs(y.detach().numpy()).max() < 10


def test_gradients_are_freed_as_backward_goes_on() -> None:
    """Sixteen layers hold two images each; backward needs a few more at a time, not one for every layer."""
    net = nn.Sequential(*[nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()) for _ in range(16)])
    x = tg.empty(4, 8, 32, 32)
    planned = tg.plan(lambda: net(x).sum().backward())
    image = 4 * 4 * 8 * 32 * 32
    assert planned.peak_memory < (2 * 16 + 6) * image
