"""Attention of several heads: every form of its arguments, against torch's with the same parameters."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import compare, randn

L, S, N, W = 3, 4, 2, 6


def case(reason: str, config: dict[str, Any] | None = None, masks: dict[str, Any] | None = None, **call: Any) -> Any:
    return pytest.param(config or {}, masks or {}, call, id=reason)


BOOLS = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
NUMBERS = randn(N * 3, L, S, seed=7)
PADDING = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], bool)
CAUSAL = np.triu(np.full((L, S), -np.inf), 1)
FUSED = {"need_weights": False}

CASES = [
    case("plain"),
    case("no biases, no weights", {"bias": False}, **FUSED),
    case("batch first, weights of heads", {"batch_first": True}, {"attn_mask": BOOLS}, average_attn_weights=False),
    case("other widths", {"kdim": 5, "vdim": 2}, {"key_padding_mask": PADDING}, **FUSED),
    case("more keys", {"add_bias_kv": True, "add_zero_attn": True}, {"attn_mask": BOOLS, "key_padding_mask": PADDING}),
    case("more keys, fused", {"add_bias_kv": True}, {"attn_mask": BOOLS, "key_padding_mask": PADDING}, **FUSED),
    case("numbers for each head", {}, {"attn_mask": NUMBERS}, **FUSED),
    case("numbers and bools", {"add_zero_attn": True}, {"attn_mask": NUMBERS, "key_padding_mask": PADDING}),
    case("causal", {}, {"attn_mask": CAUSAL}, is_causal=True, **FUSED),
    case("causal and padding", {}, {"attn_mask": CAUSAL, "key_padding_mask": PADDING}, is_causal=True, **FUSED),
    case("causal, weights", {}, {"attn_mask": CAUSAL}, is_causal=True),
]  # fmt: skip


def pair(config: dict[str, Any]) -> tuple[Any, Any]:
    """Our module and torch's, in float64, with the same parameters."""
    ours = tg.nn.MultiheadAttention(W, 3, dtype=tg.float64, **config)
    theirs = torch.nn.MultiheadAttention(W, 3, dtype=torch.float64, **config)
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def operands(config: dict[str, Any], batched: bool) -> list[np.ndarray]:
    shapes = [(L, W), (S, config.get("kdim", W)), (S, config.get("vdim", W))]
    order = (N,) if batched else ()
    shapes = [((*order, n, w) if config.get("batch_first") else (n, *order, w)) for n, w in shapes]
    return [randn(*s, seed=i) for i, s in enumerate(shapes)]


def outcome(m: Any, module: Any, given: list[np.ndarray], masks: dict[str, Any], call: dict[str, Any]) -> list[Any]:
    inputs = [m.tensor(a, dtype=m.float64, requires_grad=True) for a in given]
    tensors = {k: m.tensor(v) for k, v in masks.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        y, weights = module(*inputs, **tensors, **call)
    results = [y, *([] if weights is None else [weights])]
    loss = sum((r * m.tensor(randn(*r.shape, seed=5 + i))).sum() for i, r in enumerate(results))
    return [*results, *m.autograd.grad(loss, [*inputs, *module.parameters()])]


@pytest.mark.parametrize("config, masks, call", CASES)
def test_as_torch(config: dict[str, Any], masks: dict[str, Any], call: dict[str, Any]) -> None:
    ours, theirs = pair(config)
    assert list(ours.state_dict()) == list(theirs.state_dict()) and repr(ours) == repr(theirs)
    given = operands(config, True)
    found, wanted = outcome(tg, ours, given, masks, call), outcome(torch, theirs, given, masks, call)
    for i, (got, want) in enumerate(zip(found, wanted, strict=True)):
        compare(f"result {i}", got.detach(), want.detach(), 1e-13)


@pytest.mark.parametrize("weights", [True, False])
def test_queries_that_may_see_nothing(weights: bool) -> None:
    """NaN where weights are wanted, 0 before the last map where they are not."""
    ours, theirs = pair({})
    (q, k, v), mask = operands({}, True), BOOLS | (np.arange(L) == 1)[:, None]
    (got, _), (want, _) = (
        module(*(m.tensor(a) for a in (q, k, v)), attn_mask=m.tensor(mask), need_weights=weights)
        for m, module in ((tg, ours), (torch, theirs))
    )
    compare("result", got.detach(), want.detach(), 1e-13)


@pytest.mark.parametrize("weights", [True, False])
def test_one_sequence(weights: bool) -> None:
    ours, theirs = pair({})
    given, masks = operands({}, False), {"attn_mask": NUMBERS[:3], "key_padding_mask": PADDING[0]}
    call = {"need_weights": weights}
    for got, want in zip(
        outcome(tg, ours, given, masks, call), outcome(torch, theirs, given, masks, call), strict=True
    ):
        compare("result", got.detach(), want.detach(), 1e-13)


def test_static_keys_and_values() -> None:
    found = []
    for m in (tg, torch):
        q, weight, out, static = (
            m.tensor(randn(*s, seed=i)) for i, s in enumerate([(L, N, W), (18, W), (W, W), (6, 5, 2)])
        )
        found.append(m.nn.functional.multi_head_attention_forward(
            q, q, q, W, 3, weight, None, None, None, False, 0.0, out, None, static_k=static, static_v=static * 2,
        ))  # fmt: skip
    for got, want in zip(*found, strict=True):
        compare("result", got, want, 1e-13)


def test_what_is_dropped_is_gone_from_the_weights() -> None:
    module = tg.nn.MultiheadAttention(8, 2, dropout=0.5)
    x = tg.randn(5, 2, 8)
    _, weights = module(x, x, x, average_attn_weights=False)
    assert 0 < (weights == 0).float().mean().item() < 1
    y, none = module(x, x, x, need_weights=False)
    assert none is None and not tg.equal(y, module(x, x, x, need_weights=False)[0])
    module.eval()
    fused, composed = (module(x, x, x, need_weights=w)[0].detach().numpy() for w in (False, True))
    np.testing.assert_allclose(fused, composed, atol=1e-5)


def test_initial_values() -> None:
    module = tg.nn.MultiheadAttention(64, 2, add_bias_kv=True)
    weight = module.in_proj_weight
    assert weight.abs().max().item() <= (6 / 256) ** 0.5 and abs(weight.std().item() - (2 / 256) ** 0.5) < 0.005
    assert not module.in_proj_bias.any() and not module.out_proj.bias.any() and module.bias_k.any()


REFUSED = [
    ("no heads", {"num_heads": 0}, {}, None),
    ("heads that do not divide", {"num_heads": 4}, {}, None),
    ("a batch of keys alone", {}, {"key": (S, W)}, None),
    ("one axis", {}, {"query": (W,)}, None),
    ("four axes", {}, {"query": (1, L, N, W)}, None),
    ("another width", {}, {"query": (L, N, W + 3)}, None),
    ("key and value", {}, {"key": (S + 1, N, W)}, None),
    ("padding of one sequence", {}, {}, {"key_padding_mask": np.zeros(S, bool)}),
    ("padding of other keys", {}, {}, {"key_padding_mask": np.zeros((N, S + 1), bool)}),
    ("mask of integers", {}, {}, {"attn_mask": np.zeros((L, S), np.int64)}),
    ("mask of other keys", {}, {}, {"attn_mask": np.zeros((L, S + 1), bool)}),
    ("mask of other heads", {}, {}, {"attn_mask": np.zeros((N, L, S), bool)}),
    ("mask of one axis", {}, {}, {"attn_mask": np.zeros(S, bool)}),
    ("causal without a mask", {}, {}, {"is_causal": True}),
]


@pytest.mark.parametrize("config, shapes, options", [pytest.param(*rest, id=name) for name, *rest in REFUSED])
def test_errors(config: dict[str, Any], shapes: dict[str, Any], options: dict[str, Any] | None) -> None:
    kinds = []
    for m in (torch, tg):
        with pytest.raises(Exception) as raised:
            module = m.nn.MultiheadAttention(**{"embed_dim": W, "num_heads": 3, **config})
            plain = {"query": (L, N, W), "key": (S, N, W), "value": (S, N, W), **shapes}
            extra = {k: m.tensor(v) if isinstance(v, np.ndarray) else v for k, v in (options or {}).items()}
            module(*(m.ones(*s) for s in plain.values()), **extra)
        kinds.append(raised.type)
    assert kinds[0] is kinds[1]


def test_masks_of_different_kinds_are_warned_of() -> None:
    x = tg.ones(2, 1, 4)
    with pytest.warns(UserWarning, match="key_padding_mask and attn_mask"):
        tg.nn.MultiheadAttention(4, 2)(
            x, x, x, key_padding_mask=tg.zeros(1, 2, dtype=tg.bool), attn_mask=tg.zeros(2, 2)
        )


def test_merged_masks() -> None:
    ours, theirs = pair({})
    x, mask, padding = np.zeros((N, S, W)), np.triu(np.full((S, S), -np.inf), 1), np.where(PADDING, -np.inf, 0.0)
    for a, b in ((mask, padding), (np.stack([mask] * 6), None), (None, padding), (None, None)):
        (got, kind), (want, their_kind) = (
            module.merge_masks(*(None if t is None else m.tensor(t) for t in (a, b)), m.tensor(x))
            for m, module in ((tg, ours), (torch, theirs))
        )
        assert kind == their_kind and (got is None) == (want is None)
        if got is not None:
            compare("mask", got, want, 0)
