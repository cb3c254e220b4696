"""Modules: registration, the tree, state, modes, hooks, printing; layers against torch's."""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn
from tritongrad import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.body = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
        self.register_buffer("scale", tg.ones(1))
        self.register_buffer("scratch", tg.ones(1), persistent=False)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.body(self.bn(self.conv(x))) * self.scale


def test_names_in_torchs_order() -> None:
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "conv.weight", "conv.bias", "bn.weight", "bn.bias", "body.2.weight", "body.2.bias",
    ]  # fmt: skip
    assert list(net.state_dict()) == [
        "scale", "conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var",
        "bn.num_batches_tracked", "body.2.weight", "body.2.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_children()] == ["conv", "bn", "body"]
    assert [type(m).__name__ for m in net.modules()] == [
        "Net", "Conv2d", "BatchNorm2d", "Sequential", "ReLU", "Flatten", "Linear",
    ]  # fmt: skip
    assert net.get_submodule("body.2") is net.body[2]
    with pytest.raises(AttributeError, match="no submodule 'x'"):
        net.get_submodule("body.x")


def test_attributes_register_and_replace() -> None:
    net = Net()
    net.body = nn.Linear(4, 3)
    assert "body.weight" in net.state_dict() and "body.2.weight" not in net.state_dict()
    net.extra = nn.Parameter(tg.ones(2))
    assert "extra" in dict(net.named_parameters())
    with pytest.raises(TypeError, match="as parameter 'extra'"):
        net.extra = tg.ones(2)
    del net.extra
    assert "extra" not in dict(net.named_parameters())
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nothing'"):
        _ = net.nothing

    class Hasty(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match="before Hasty's super"):
        Hasty()
    with pytest.raises(KeyError, match="dot"):
        net.register_buffer("a.b", tg.ones(1))
    with pytest.raises(NotImplementedError, match="missing the required"):
        nn.Module()(1)


def test_what_is_replaced_keeps_its_place() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    net[0] = nn.Identity()
    net[2].weight = nn.Parameter(tg.zeros(3, 3))
    assert [type(m).__name__ for m in net] == ["Identity", "ReLU", "Linear"]
    assert list(net.state_dict()) == ["2.weight", "2.bias"]
    net[2].weight = None
    net[2].extra = nn.ReLU()
    net[2].bias = None
    assert list(net.state_dict()) == []


def test_tied_weights_appear_once_as_parameters_and_twice_in_the_state() -> None:
    a, b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    b.weight = a.weight
    both = nn.ModuleList([a, b])
    assert len(list(both.parameters())) == 1 and list(both.state_dict()) == ["0.weight", "1.weight"]
    twin = copy.deepcopy(both)
    assert twin[0].weight is twin[1].weight and twin[0].weight is not a.weight


def test_load_state_dict_reports_everything_and_changes_nothing() -> None:
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = OrderedDict((k, tg.zeros(v.shape) + 7) for k, v in net.state_dict().items())
    state["conv.weight"] = tg.zeros(1)
    state["stranger"] = tg.zeros(1)
    del state["bn.bias"]
    with pytest.raises(RuntimeError) as raised:
        net.load_state_dict(state)
    for part in (
        "loading state_dict for Net",
        'Unexpected key(s) in state_dict: "stranger"',
        'Missing key(s) in state_dict: "bn.bias"',
        "size mismatch for conv.weight: copying a param with shape [1]",
        "[4, 3, 3, 3]",
    ):
        assert part in str(raised.value)
    assert all(tg.equal(v, before[k]) for k, v in net.state_dict().items())
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([1])


def test_load_state_dict_loosely() -> None:
    net = Net()
    result = net.load_state_dict({"conv.bias": tg.ones(4), "other": tg.ones(1)}, strict=False)
    assert result.unexpected_keys == ["other"] and "conv.weight" in result.missing_keys
    assert net.conv.bias.tolist() == [1.0] * 4
    assert repr(net.load_state_dict(net.state_dict())) == "<All keys matched successfully>"


def test_state_dict_shares_memory() -> None:
    net = nn.Linear(2, 2)
    with tg.no_grad():
        net.state_dict()["bias"].fill_(5)
    assert net.bias.tolist() == [5.0, 5.0]


def test_modes_moves_and_gradients() -> None:
    net = Net()
    assert not net.eval().bn.training and net.train().bn.training
    net.double()
    assert net.conv.weight.dtype is tg.float64 and net.bn.num_batches_tracked.dtype is tg.int64
    net.to(tg.float32).to("cpu")
    assert net.conv.weight.dtype is tg.float32 and net.conv.weight.array.is_channels_last
    with pytest.raises(TypeError, match="floating-point"):
        net.to(tg.int64)
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(tg.randn(2, 3, 3, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.conv.weight.grad.abs().sum().item() == 0
    net.zero_grad()
    assert net.conv.weight.grad is None
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net"


def test_hooks() -> None:
    net = nn.Linear(2, 2)
    seen = []
    handles = [
        net.register_forward_pre_hook(lambda m, args: seen.append("before")),
        net.register_forward_hook(lambda m, args, out: out * 0),
    ]
    assert net(tg.ones(1, 2)).tolist() == [[0.0, 0.0]] and seen == ["before"]
    for h in handles:
        h.remove()
    assert net(tg.ones(1, 2)).tolist() != [[0.0, 0.0]] and seen == ["before"]


def test_printed_tree_is_torchs() -> None:
    ours = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                         nn.MaxPool2d(3, 2, 1), nn.Sequential(nn.Linear(8, 2), nn.Dropout(0.1)))  # fmt: skip
    t = torch.nn
    theirs = t.Sequential(t.Conv2d(3, 8, 3, 2, 1, bias=False), t.BatchNorm2d(8), t.ReLU(inplace=True),
                          t.MaxPool2d(3, 2, 1), t.Sequential(t.Linear(8, 2), t.Dropout(0.1)))  # fmt: skip
    assert repr(ours) == repr(theirs)


def test_containers() -> None:
    net = nn.Sequential(OrderedDict(a=nn.Identity(), b=nn.ReLU()))
    assert len(net) == 2 and type(net[-1]) is nn.ReLU and list(net[:1]._modules) == ["a"]
    net[1] = nn.Tanh()
    assert type(net.b) is nn.Tanh
    net.append(nn.Sigmoid())
    assert list(net._modules) == ["a", "b", "2"]
    layers = nn.ModuleList([nn.ReLU()])
    layers.insert(0, nn.Tanh())
    layers[1] = nn.GELU()
    assert [type(m).__name__ for m in layers] == ["Tanh", "GELU"] and type(layers[:1]) is nn.ModuleList


ACTIVATIONS = [
    (nn.ReLU(), torch.nn.ReLU()), (nn.LeakyReLU(0.2), torch.nn.LeakyReLU(0.2)), (nn.Sigmoid(), torch.nn.Sigmoid()),
    (nn.Tanh(), torch.nn.Tanh()), (nn.GELU(), torch.nn.GELU()), (nn.GELU("tanh"), torch.nn.GELU("tanh")),
    (nn.SiLU(), torch.nn.SiLU()), (nn.Softmax(1), torch.nn.Softmax(1)), (nn.LogSoftmax(0), torch.nn.LogSoftmax(0)),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), ACTIVATIONS, ids=lambda m: type(m).__name__)
def test_activations(ours: nn.Module, theirs: torch.nn.Module) -> None:
    check(ours, theirs, randn(5, 7, std=3), terms=7, second=True)
    assert repr(ours) == repr(theirs)


def test_batch_norm_modes() -> None:
    """Training moves running statistics, evaluation uses them; momentum None averages all batches."""
    for options in ({}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}):
        ours, theirs = nn.BatchNorm1d(5, **options), torch.nn.BatchNorm1d(5, **options).double()
        for seed in range(3):
            x = randn(8, 5, seed=seed, mean=4, std=3).astype(np.float32)
            a, b = ours(tg.tensor(x)), theirs(torch.tensor(x).double())
            assert np.allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-5)
        for name, value in theirs.state_dict().items():
            assert np.allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-5), (options, name)
        ours.eval()
        theirs.eval()
        a, b = ours(tg.tensor(x)), theirs(torch.tensor(x).double())
        assert np.allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-4)
    ours.reset_parameters()


def test_running_statistics_can_be_reset() -> None:
    bn = nn.BatchNorm1d(3)
    bn(tg.randn(4, 3))
    bn.reset_running_stats()
    assert bn.running_mean.tolist() == [0.0] * 3 and bn.running_var.tolist() == [1.0] * 3
    assert bn.num_batches_tracked.item() == 0


def test_initial_distributions() -> None:
    """Bounds and spread of default and named initialisations."""
    conv = nn.Conv2d(16, 64, 3, groups=2)
    bound = 1 / (8 * 9) ** 0.5
    assert 0.95 * bound < conv.weight.abs().max().item() <= bound and conv.bias.abs().max().item() <= bound
    w = tg.empty(300, 200)
    for ours, spread in (
        (lambda: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), (2 / 300) ** 0.5),
        (lambda: nn.init.kaiming_uniform_(w, nonlinearity="relu"), (2 / 200) ** 0.5),
        (lambda: nn.init.xavier_normal_(w), (2 / 500) ** 0.5),
        (lambda: nn.init.xavier_uniform_(w, gain=2.0), 2 * (2 / 500) ** 0.5),
        (lambda: nn.init.normal_(w, 3.0, 0.5), 0.5),
    ):
        assert abs(ours().std().item() / spread - 1) < 0.03
    assert nn.init.ones_(w).mean().item() == 1 and nn.init.zeros_(w).abs().max().item() == 0
    assert nn.init.constant_(w, 0.5).max().item() == 0.5
    for name in ("linear", "tanh", "relu", "leaky_relu", "selu", "sigmoid"):
        assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("step")
    with pytest.raises(ValueError, match="Fan in"):
        nn.init.xavier_normal_(tg.empty(3))
    with pytest.raises(ValueError, match="Mode"):
        nn.init.kaiming_normal_(w, mode="fan")


def test_wrong_constructor_arguments() -> None:
    with pytest.raises(ValueError, match="divisible by groups"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="padding_mode"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")


def test_losses_as_modules() -> None:
    x, t = randn(6, 4), np.array([0, 3, 1, 2, 2, 0])
    w = np.array([1.0, 2.0, 0.5, 1.5])
    for ours, theirs in (
        (nn.CrossEntropyLoss(label_smoothing=0.1), torch.nn.CrossEntropyLoss(label_smoothing=0.1)),
        (nn.CrossEntropyLoss(tg.tensor(w, dtype=tg.float32)), torch.nn.CrossEntropyLoss(torch.tensor(w))),
        (nn.NLLLoss(reduction="sum"), torch.nn.NLLLoss(reduction="sum")),
    ):
        check(ours, theirs, x, t, terms=6)
    check(nn.MSELoss(), torch.nn.MSELoss(), x, randn(6, 4, seed=1), terms=24)


def test_fine_tuning() -> None:
    """Frozen parameters get no gradient and do not move; the new head trains."""
    net = Net()
    for p in net.parameters():
        p.requires_grad = False
    net.body[2] = nn.Linear(4, 3)
    before = net.conv.weight.clone()
    optim = tg.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(tg.randn(4, 3, 3, 3)).sum().backward()
    optim.step()
    assert net.conv.weight.grad is None and tg.equal(net.conv.weight, before)
    assert net.body[2].weight.grad is not None
