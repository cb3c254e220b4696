"""Transformers and their layers against torch's with the same parameters: results, gradients, names, warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn

L, S, N, W = 3, 4, 2, 4
SIZES = {"d_model": W, "nhead": 2, "dim_feedforward": 5, "dropout": 0.0}
PADDING = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], bool)
LATER = np.triu(np.ones((S, S), bool), 1)
CAUSAL = np.where(LATER, -np.inf, 0.0)


def layers(m: Any, kind: str, count: int, **config: Any) -> Any:
    """`count` of our or torch's layers of a kind, and a norm."""
    nn = m.nn
    layer = getattr(nn, f"Transformer{kind}Layer")(**SIZES, **config, dtype=m.float64)
    return getattr(nn, f"Transformer{kind}")(layer, count, nn.LayerNorm(W, dtype=m.float64))


def whole(m: Any, **config: Any) -> Any:
    return m.nn.Transformer(**SIZES, num_encoder_layers=1, num_decoder_layers=1, dtype=m.float64, **config)


def case(reason: str, build: Callable[[Any], Any], shapes: list[tuple], masks: dict | None = None, **call: Any) -> Any:
    return pytest.param(build, shapes, masks or {}, call, id=reason)


CASES = [
    case(
        "encoder layer", lambda m: m.nn.TransformerEncoderLayer(**SIZES, activation="gelu", dtype=m.float64),
        [(S, N, W)], {"src_mask": LATER, "src_key_padding_mask": PADDING},
    ),
    case(
        "encoder layer, norm first, no biases, a function",
        lambda m: m.nn.TransformerEncoderLayer(
            **SIZES, activation=m.tanh, batch_first=True, norm_first=True, bias=False, dtype=m.float64
        ),
        [(N, S, W)], {"src_mask": CAUSAL}, is_causal=True,
    ),
    case(
        "decoder layer", lambda m: m.nn.TransformerDecoderLayer(**SIZES, activation=m.nn.ReLU(), dtype=m.float64),
        [(L, W), (S, W)], {"memory_mask": LATER[:L], "tgt_mask": CAUSAL[:L, :L]},
    ),
    case(
        "decoder layer, norm first",
        lambda m: m.nn.TransformerDecoderLayer(**SIZES, batch_first=True, norm_first=True, dtype=m.float64),
        [(N, L, W), (N, S, W)], {"memory_key_padding_mask": PADDING},
    ),
    case(
        "encoder", lambda m: layers(m, "Encoder", 2, batch_first=True),
        [(N, S, W)], {"src_key_padding_mask": PADDING},
    ),
    case("encoder finds causal bools", lambda m: layers(m, "Encoder", 1), [(S, N, W)], {"mask": LATER}),
    case("encoder, another mask", lambda m: layers(m, "Encoder", 1), [(S, W)], {"mask": LATER[::-1].copy()}),
    case("decoder finds causal bools", lambda m: layers(m, "Decoder", 1), [(S, N, W), (L, N, W)], {"tgt_mask": LATER}),
    case(
        "transformer", lambda m: whole(m, batch_first=True), [(N, S, W), (N, S, W)],
        {"src_mask": CAUSAL, "tgt_mask": CAUSAL, "memory_key_padding_mask": PADDING},
    ),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("build, shapes, masks, call", CASES)
def test_as_torch(
    build: Callable[[Any], Any], shapes: list[tuple], masks: dict[str, Any], call: dict[str, Any]
) -> None:
    ours, theirs = build(tg), build(torch)
    if "tanh" not in repr(theirs):
        assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    results = []
    for m, module in ((tg, ours), (torch, theirs)):
        inputs = [m.tensor(randn(*s, seed=i), requires_grad=True) for i, s in enumerate(shapes)]
        y = module(*inputs, **{k: m.tensor(v) for k, v in masks.items()}, **call)
        loss = (y * m.tensor(randn(*y.shape, seed=9))).sum()
        results.append([y, *m.autograd.grad(loss, [*inputs, *module.parameters()])])
    for i, (got, want) in enumerate(zip(*results, strict=True)):
        compare(f"result {i}", got.detach(), want.detach(), 1e-12)


def test_layers_are_copies() -> None:
    layer = tg.nn.TransformerDecoderLayer(**SIZES)
    decoder = tg.nn.TransformerDecoder(layer, 2)
    first, second = decoder.layers
    assert first is not layer and tg.equal(first.linear1.weight, second.linear1.weight)
    with tg.no_grad():
        first.linear1.weight.zero_()
    assert second.linear1.weight.any() and layer.linear1.weight.any()


def test_dropout() -> None:
    layer = tg.nn.TransformerEncoderLayer(W, 2, 5, dropout=0.5)
    x = tg.randn(S, N, W)
    assert not tg.equal(layer(x), layer(x))
    layer.eval()
    assert tg.equal(layer(x), layer(x))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_initial_values_and_causal_masks() -> None:
    m = tg.nn.Transformer(64, 2, 1, 1, 64)
    weight = m.decoder.layers[0].linear1.weight
    assert abs(weight.std().item() - (2 / 128) ** 0.5) < 0.01 and weight.abs().max().item() <= (6 / 128) ** 0.5
    mask = m.generate_square_subsequent_mask(3, dtype=tg.float64)
    assert mask.tolist() == torch.nn.Transformer.generate_square_subsequent_mask(3).tolist()
    assert mask.dtype is tg.float64


NESTED = [
    ({"batch_first": True}, {}),
    ({}, {}),
    ({}, {"enable_nested_tensor": False}),
    ({"batch_first": True, "norm_first": True}, {}),
    ({"batch_first": True, "bias": False}, {}),
    ({"batch_first": True, "nhead": 1}, {}),
    ({"batch_first": True, "activation": lambda x: x}, {}),
]


@pytest.mark.parametrize("config, options", NESTED)
def test_nested_tensors_are_warned_of(config: dict[str, Any], options: dict[str, Any]) -> None:
    told = []
    for m in (tg, torch):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            encoder = m.nn.TransformerEncoder(m.nn.TransformerEncoderLayer(**{**SIZES, **config}), 1, **options)
        told.append(([str(w.message) for w in caught], encoder.use_nested_tensor))
    assert told[0] == told[1]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_errors() -> None:
    for m in (torch, tg):
        with pytest.raises(RuntimeError, match="relu/gelu"):
            m.nn.TransformerDecoderLayer(W, 2, activation="tanh")
        model = m.nn.Transformer(**SIZES, num_encoder_layers=1, num_decoder_layers=1)
        with pytest.raises(RuntimeError, match="batch number"):
            model(m.ones(S, 2, W), m.ones(S, 3, W))
        with pytest.raises(RuntimeError, match="feature number"):
            model(m.ones(S, 2, W), m.ones(S, 2, W + 1))
        with pytest.raises(AssertionError, match="src_mask"):
            m.nn.TransformerEncoderLayer(**SIZES)(m.ones(S, N, W), src_mask=m.ones(S, S, dtype=m.int64))
        with pytest.warns(UserWarning, match="mismatched|different dtypes"):
            m.nn.TransformerEncoderLayer(**SIZES)(m.ones(S, N, W), m.tensor(CAUSAL).float(), m.tensor(PADDING))
