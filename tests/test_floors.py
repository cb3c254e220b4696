"""Design floors, against figures worked out by hand for residual networks, and their order on any network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

import tritongrad as tg
from tests.properties import given, settings, st
from tritongrad import nn
from tritongrad.floors import DESIGNS, Floor, floors, launches
from tritongrad.gpus import GPUS
from tritongrad.models import resnet18, resnet50
from tritongrad.nn import functional as F
from tritongrad.tracing import Trace, tracing
from tritongrad_kernels import memory

H200 = GPUS["H200"]


def step_of(net: Callable, batch: int, image: int = 8, channels: int = 3, kind: Any = tg.bfloat16) -> Trace:
    """A traced step of a network with `images -> logits`, made and run without memory."""
    with memory.dry_run():
        model = net().to(kind)
        labels = tg.zeros(batch, dtype=tg.int64)
        with tracing() as trace:
            F.cross_entropy(model(tg.zeros(batch, channels, image, image, dtype=kind)), labels).backward()
    return trace


def in_order(found: dict[str, Floor]) -> None:
    ms, moved = [f.ms for f in found.values()], [f.bytes for f in found.values()]
    assert list(found) == ["a", "b", "b1", "c", "c+"]
    assert all(x >= y * (1 - 1e-12) for x, y in pairwise(ms)), ms
    assert all(x >= y for x, y in pairwise(moved)), moved


# ------------------------------------------------------------------------------------------------ residual networks

# design: launches, GB, ms of a bf16 step at batch 256, 224 pixels, on 790 TFLOP/s and 4.3 TB/s. They take the images
# as padded to a fourth channel, and count no parameters but weights of products: both are less than 0.3 %.
RESNET50 = {
    "a": (509, 123.63, 31.716), "b": (379, 89.50, 23.714), "b1": (326, 83.81, 22.390), "c": (232, 67.79, 18.424),
    "c+": (184, 63.28, 16.971),
}  # fmt: skip
RESNET18 = {
    "a": (198, 27.90, 8.594), "b": (148, 19.69, 6.596), "b1": (128, 18.41, 6.300), "c": (93, 14.05, 5.135),
    "c+": (77, 13.28, 4.711),
}  # fmt: skip


@pytest.mark.parametrize(
    ("net", "expected"), [(resnet50, RESNET50), (resnet18, RESNET18)], ids=["resnet50", "resnet18"]
)
def test_residual_networks(net: Callable, expected: dict) -> None:
    found = floors(step_of(net, 256, 224), H200, moments=1)
    for design, (number, gigabytes, ms) in expected.items():
        assert found[design].launches == number
        assert found[design].bytes / 1e9 == pytest.approx(gigabytes, rel=5e-3)
        assert found[design].ms == pytest.approx(ms, rel=3e-3)
    in_order(found)


def small_stem() -> nn.Module:
    """ResNet-18 for images of 32 pixels: a 3x3 stem and no pooling, so that the stem's norm has a sum among its readers
    and stays a launch of its own."""
    net = resnet18()
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net


def test_a_small_stem() -> None:
    found = floors(step_of(small_stem, 512, 32), H200, moments=1)
    assert [found[d].launches for d in ("a", "b", "c")] == [196, 146, 93]
    assert [found[d].ms for d in ("a", "b", "c")] == pytest.approx([4.65, 3.65, 3.06], rel=4e-3)


def test_another_gpu_and_dtype() -> None:
    """float32 products run outside tensor cores unless tf32 is asked for; bytes double but for masks and indices."""
    half, single = step_of(resnet18, 8, 64), step_of(resnet18, 8, 64, kind=tg.float32)
    a100 = GPUS["A100"]
    assert floors(half, a100)["b"].ms > floors(half, H200)["b"].ms
    assert floors(single, H200)["b"].ms > floors(single, H200, "tf32x3")["b"].ms > floors(single, H200, "tf32")["b"].ms
    assert 1.9 < floors(single, H200)["b"].bytes / floors(half, H200)["b"].bytes < 2


# ------------------------------------------------------------------------------------- small networks, counted by hand


class Tail(nn.Module):
    """A body, a mean over pixels and nothing else: the classes are the body's channels."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Any) -> Any:
        return self.body(x).mean((2, 3))


def conv(inputs: int, outputs: int, bias: bool = False, groups: int = 1, window: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, window, padding=window // 2, bias=bias, groups=groups)


def sizes(trace: Trace, design: str) -> list[int]:
    """Bytes of each launch over those of one activation [1, 16, 8, 8] in bf16, to two digits."""
    return [round(w.nbytes / 2048, 2) for w in launches(trace, DESIGNS[design])]


def test_conv_norm_relu_conv() -> None:
    """Weights are 16x16x1x1 = 0.25 activations; the mean and the loss are [1, 16], 1/64 = 0.02 of one."""
    net = lambda: Tail(conv(16, 16, window=1), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 16, window=1))  # noqa: E731
    trace = step_of(net, 1, channels=16)
    tail, head = [2.25, 1.02, 0.03], [1.02, 2.25]  # second conv, mean, loss; the mean's gradient, the weight's
    assert sizes(trace, "a") == [2.25, 1, 2, 2, *tail, *head, 2.25, 3, 2, 3, 2.25]
    assert sizes(trace, "b") == [2.25, 1, 2, *tail, *head, 2.25, 2, 3, 2.25]
    assert sizes(trace, "b1") == [2.25, 2, *tail, *head, 2.25, 2, 3, 2.25]
    assert sizes(trace, "c") == [2.25, *tail, *head, 3.25, 3, 2.25]
    assert sizes(trace, "c+") == [2.25, *tail, *head, 3.25, 3.25]


def test_a_residual_sum() -> None:
    """The mask is one bit an element, 1/16 of an activation."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.norm = conv(16, 16, window=1), conv(16, 16, window=1), nn.BatchNorm2d(16)

        def forward(self, x: Any) -> Any:
            y = self.first(x)
            return F.relu(self.norm(self.second(y)) + y).mean((2, 3))

    trace = step_of(Net, 1, channels=16)
    ends = [1.02, 0.03]
    assert sizes(trace, "a") == [2.25, 2.25, 1, 2, 3, 2, *ends, 1.02, 3, 2, 3, 2.25, 2.25, 3, 2.25]
    assert sizes(trace, "b") == [2.25, 2.25, 1, 3.06, *ends, 1.02, 2.06, 4.06, 2.25, 3.25, 2.25]
    assert sizes(trace, "c") == [2.25, 2.25, 3.06, *ends, 2.08, 3, 2.25, 3.25, 2.25]
    assert sizes(trace, "c+") == [2.25, 2.25, 3.06, *ends, 2.08, 3.25, 4.25, 2.25]


def test_convolutions_without_norms() -> None:
    """As VGG has them: the ReLU goes into the product from b on, its gradient into the next one's from c on."""
    net = lambda: Tail(conv(3, 16, True), nn.ReLU(), conv(16, 16, True), nn.ReLU(), nn.MaxPool2d(2))  # noqa: E731
    found = floors(step_of(net, 4), H200)
    # forward 2 products, 2 ReLUs, pool, mean, loss; backward mean, pool, 2 ReLUs, 2 weights, 1 input
    assert [f.launches for f in found.values()] == [14, 12, 12, 10, 10]
    in_order(found)


def test_a_perceptron() -> None:
    net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10))  # noqa: E731
    found = floors(step_of(net, 32), H200, moments=2)
    # 2 products, the ReLU and the loss; 3 gradient products, the ReLU's; the optimizer
    assert [f.launches for f in found.values()] == [9, 8, 8, 7, 7]
    in_order(found)


def test_an_output_with_two_readers() -> None:
    """Its two gradients are added by a launch in a, by one of the products that give them from b on."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = conv(3, 8), conv(8, 8), conv(8, 8)

        def forward(self, x: Any) -> Any:
            y = self.stem(x)
            return (self.left(y) + self.right(y)).mean((2, 3))

    trace = step_of(Net, 2)
    found = floors(trace, H200)
    assert found["a"].launches == found["b"].launches + 1
    activation = 2 * 8 * 8 * 8 * 2
    assert found["a"].bytes - found["b"].bytes == 2 * activation


def test_a_depthwise_convolution_counts_its_own_arithmetic() -> None:
    trace = step_of(lambda: Tail(conv(3, 16), conv(16, 16, groups=16)), 1)
    forward = launches(trace, DESIGNS["b"])[1]
    assert forward.flops == 2 * 16 * 64 * 9


def test_pre_activation() -> None:
    """A norm that follows a sum: its statistics are taken by a launch in every design, its gradient goes with it."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.BatchNorm2d(16), nn.BatchNorm2d(16)
            self.conv1, self.conv2 = conv(16, 16), conv(16, 16)

        def forward(self, x: Any) -> Any:
            return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))

    found = floors(step_of(lambda: Tail(conv(3, 16), Block(), Block()), 4), H200)
    assert [f.launches for f in found.values()] == [45, 35, 32, 24, 22]
    in_order(found)


def test_layers_that_are_not_trained_cost_no_gradient() -> None:
    def net(frozen: bool) -> nn.Module:
        body = [conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 8)]
        for layer in body[:2] if frozen else []:
            layer.eval().requires_grad_(False)
        return Tail(*body)

    trained, frozen = (floors(step_of(lambda f=f: net(f), 2), H200) for f in (False, True))
    # no statistics, no gradient of the ReLU, of the norm (2) and of two products
    assert trained["a"].launches - frozen["a"].launches == 6
    in_order(frozen)


def test_a_forward_pass_alone() -> None:
    with memory.dry_run(), tracing() as trace:
        resnet18(num_classes=10)(tg.zeros(2, 3, 32, 32))
    found = floors(trace, H200)
    assert found["a"].launches == 5 + 8 * 9 + 3 * 3 + 2
    in_order(found)


# ------------------------------------------------------------------------------------------------------- any network


class Around(nn.Module):
    """body(x) + x, or of body(x) and another body's."""

    def __init__(self, body: nn.Module, beside: nn.Module | None, relu: bool) -> None:
        super().__init__()
        self.body, self.beside, self.relu = body, beside, relu

    def forward(self, x: Any) -> Any:
        y = self.body(x) + (x if self.beside is None else self.beside(x))
        return F.relu(y) if self.relu else y


class Swish(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * tg.sigmoid(x)


WIDTH = 4
SIMPLE: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: conv(WIDTH, WIDTH),
    "conv with bias": lambda: conv(WIDTH, WIDTH, bias=True),
    "depthwise": lambda: conv(WIDTH, WIDTH, groups=WIDTH),
    "norm": lambda: nn.BatchNorm2d(WIDTH),
    "frozen norm": lambda: nn.BatchNorm2d(WIDTH).eval().requires_grad_(False),
    "fixed norm": lambda: nn.BatchNorm2d(WIDTH).eval(),
    "relu": lambda: nn.ReLU(),
    "conv, relu in place": lambda: nn.Sequential(conv(WIDTH, WIDTH), nn.ReLU(inplace=True)),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "mean pool": lambda: nn.AvgPool2d(3, 1, 1),
    "dropout": lambda: nn.Dropout(0.5),
    "swish": Swish,
}
names = st.lists(st.sampled_from([*SIMPLE, *["conv", "norm", "relu"] * 4]), min_size=1, max_size=6)
blocks = st.recursive(
    names,
    lambda inner: st.lists(
        st.tuples(inner, st.one_of(st.none(), inner), st.booleans()) | names, min_size=1, max_size=3
    ),
    max_leaves=6,
)


def build(block: Any) -> nn.Module:
    if isinstance(block, str):
        return SIMPLE[block]()
    if isinstance(block, tuple):
        body, beside, relu = block
        return Around(build(body), None if beside is None else build(beside), relu)
    return nn.Sequential(*map(build, block))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(blocks, st.booleans(), st.sampled_from([1, 64]), st.sampled_from([None, 0, 1, 2]))
def test_a_design_that_fuses_more_is_never_slower(block: Any, stem: bool, batch: int, moments: int | None) -> None:
    body = lambda: [conv(3, WIDTH)] * stem + [build(block)]  # noqa: E731
    net = lambda: nn.Sequential(Tail(*body()), nn.Linear(WIDTH, 3))  # noqa: E731
    in_order(floors(step_of(net, batch, 4, 3 if stem else WIDTH), H200, moments=moments))
