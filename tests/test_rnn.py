"""Recurrent modules against torch's: values, gradients, names, repr, errors and warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import randn

LAYERS = [  # what it is made of, shape of the input, lengths where it is packed, whether states are given
    ("RNN(4, 3, 2, 'relu', dropout=0.5, bidirectional=True)", (3, 2, 4), None, True),
    ("RNN(4, 3, bias=False, batch_first=True)", (2, 3, 4), None, False),
    ("LSTM(4, 3, 2, batch_first=True, bidirectional=True)", (2, 3, 4), None, True),
    ("LSTM(4, 5, 2, proj_size=3, bidirectional=True)", (4, 3, 4), [2, 4, 1], True),
    ("LSTM(4, 3, bias=False, proj_size=2)", (3, 4), None, True),
    ("GRU(4, 3, 2, bidirectional=True)", (4, 3, 4), [4, 2, 2], False),
    ("GRU(4, 3, batch_first=True)", (3, 4), None, True),
]  # fmt: skip
CELLS = [
    ("RNNCell(4, 3)", (2, 4), None, True), ("RNNCell(4, 3, False, 'relu')", (4,), None, False),
    ("LSTMCell(4, 3)", (2, 4), None, True), ("LSTMCell(4, 3, bias=False)", (4,), None, False),
    ("GRUCell(4, 3)", (4,), None, True), ("GRUCell(4, 3)", (2, 4), None, False),
]  # fmt: skip


def leaves(results: Any) -> list:
    """The tensors of a nest of tuples; of a packed sequence, its data."""
    if isinstance(results, tg.Tensor | torch.Tensor):
        return [results]
    if hasattr(results, "batch_sizes"):
        return [results.data]
    return [t for r in results for t in leaves(r)]


def states(m: Any, made: str, shape: tuple[int, ...], given: bool) -> Any:
    if not given:
        return None
    net = eval(f"nn.{made}", {"nn": torch.nn})
    if "Cell" in made:
        sizes = [(*shape[:-1], net.hidden_size)] * 2
    else:
        count = net.num_layers * (2 if net.bidirectional else 1)
        batch = () if len(shape) == 2 else (shape[0 if net.batch_first else 1],)
        sizes = [(count, *batch, net.proj_size or net.hidden_size), (count, *batch, net.hidden_size)]
    tensors = [m.tensor(randn(*s, seed=5 + k), dtype=m.float32).requires_grad_() for k, s in enumerate(sizes)]
    return tuple(tensors) if "LSTM" in made else tensors[0]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("made, shape, lengths, given", [*LAYERS, *CELLS])
def test_modules(made: str, shape: tuple[int, ...], lengths: list[int] | None, given: bool) -> None:
    theirs, ours = (eval(f"nn.{made}", {"nn": m.nn}).eval() for m in (torch, tg))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    found = []
    for m, net in ((tg, ours), (torch, theirs)):
        x = m.tensor(randn(*shape), dtype=m.float32).requires_grad_()
        hx = states(m, made, shape, given)
        packed = m.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False) if lengths else x
        results = leaves(net(packed, hx))
        sum((r * r).sum() for r in results).backward()
        grads = [x.grad, *(p.grad for p in net.parameters()), *(h.grad for h in (leaves(hx) if given else []))]
        found.append([np.asarray(t.tolist()) for t in [*results, *grads]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


def test_weights_are_uniform_and_in_torchs_order() -> None:
    net = tg.nn.LSTM(3, 16, 2, bidirectional=True, proj_size=4)
    theirs = torch.nn.LSTM(3, 16, 2, bidirectional=True, proj_size=4)
    assert [(n, tuple(p.shape)) for n, p in net.named_parameters()] == [
        (n, tuple(p.shape)) for n, p in theirs.named_parameters()
    ]
    assert [len(w) for w in net.all_weights] == [5] * 4 and net.all_weights[1][4] is net.weight_hr_l0_reverse
    assert net._flat_weights_names == theirs._flat_weights_names and net.flatten_parameters() is None
    values = np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])
    assert abs(values).max() <= 0.25 < abs(values).max() + 0.01 and abs(values.mean()) < 0.01
    cell = tg.nn.LSTMCell(3, 16).weight_hh.detach().numpy()
    assert abs(cell).max() <= 0.25 < abs(cell).max() + 0.01


def test_dropout_between_layers_only() -> None:
    net = tg.nn.GRU(4, 8, 2, dropout=1.0)
    x, last = tg.ones(3, 2, 4), "_l1"
    dropped = net(x)[0].tolist()
    zeroed = tg.nn.GRU(8, 8)
    zeroed.load_state_dict({k.replace(last, "_l0"): v for k, v in net.state_dict().items() if k.endswith(last)})
    np.testing.assert_allclose(dropped, zeroed(tg.zeros(3, 2, 8))[0].tolist(), rtol=1e-6)
    assert not np.allclose(dropped, net.eval()(x)[0].tolist())
    with pytest.warns(UserWarning, match="got dropout=0.5 and num_layers=1"):
        tg.nn.LSTM(2, 3, dropout=0.5)


MADE_WRONG = [
    "LSTM(0, 3)", "GRU(2, 0)", "RNN(2, 3, 0)", "GRU(2, 3, proj_size=1)", "RNN(2, 3, proj_size=0)",
    "LSTM(2, 3, proj_size=3)", "LSTM(2, 3, proj_size=-1)", "RNN(2, 3, 1, 'sigmoid')", "RNN(2, 3, nonlinearity='x')",
    "LSTM(2, 3, dropout=2)", "LSTM(2, 3, dropout=True)", "LSTM(2, 3, 1, 1)", "LSTM(2, 3, batch_first=None)",
    "GRU(2.0, 3)", "GRU(2, '3')", "RNNBase('X', 2, 3)",
]  # fmt: skip
CALLED_WRONG = [
    ("LSTM(2, 3)", "(torch.ones(2, 2, 2, 2))"), ("GRU(2, 3)", "(torch.ones(2))"), ("RNN(2, 3)", "(torch.ones(2))"),
    ("GRU(2, 3)", "(torch.ones(4, 5, 3))"), ("GRU(2, 3)", "(torch.ones(4, 5, 2).double())"),
    ("GRU(2, 3)", "(torch.ones(4, 5, 2), torch.ones(1, 4, 3))"),
    ("GRU(2, 3)", "(torch.ones(4, 2), torch.ones(1, 1, 3))"),
    ("GRU(2, 3)", "(torch.ones(4, 5, 2), torch.ones(1, 3))"), ("RNN(2, 3)", "(torch.ones(0, 5, 2))"),
    ("LSTM(2, 3)", "(torch.ones(4, 5, 2), (torch.ones(1, 5, 3), torch.ones(1, 4, 3)))"),
    ("LSTM(2, 3)", "(torch.ones(4, 5, 2), (torch.ones(1, 3), torch.ones(1, 3)))"),
    ("GRU(2, 3)", "(torch.nn.utils.rnn.pack_sequence([torch.ones(2, 4)]))"),
    ("RNNCell(2, 3)", "(torch.ones(2, 2, 2))"), ("GRUCell(2, 3)", "(torch.ones(2, 3))"),
    ("GRUCell(2, 3)", "(torch.ones(2, 2), torch.ones(2, 2, 3))"),
    ("LSTMCell(2, 3)", "(torch.ones(2, 2), (torch.ones(2, 3), torch.ones(2, 4)))"),
    ("LSTMCell(2, 3)", "(torch.ones(2, 2), (torch.ones(2, 3), torch.ones(1, 2, 3)))"),
    ("RNNCell(2, 3, nonlinearity='x')", "(torch.ones(2, 2))"),
]  # fmt: skip


@pytest.mark.parametrize("made, call", [*((made, None) for made in MADE_WRONG), *CALLED_WRONG])
def test_errors(made: str, call: str | None) -> None:
    raised = []
    for m in (tg, torch):
        with pytest.raises(Exception) as caught:
            eval(f"torch.nn.{made}{call or ''}", {"torch": m})
        raised.append(type(caught.value))
    assert raised[0] is raised[1]


def test_a_weight_may_be_computed() -> None:
    """As weight drop does: the parameter gives way to what is computed from it."""
    net = tg.nn.GRU(2, 3)
    raw = net.weight_hh_l0
    del net._parameters["weight_hh_l0"]
    net.weight_hh_l0 = raw * 0.5
    net(tg.ones(4, 1, 2))[0].sum().backward()
    assert raw.grad is not None and raw.grad.abs().sum().item() > 0
