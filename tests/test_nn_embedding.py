"""Tables, bags, shuffles and the small layers beside them against torch's: repr, state, forward, gradients, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, compare, randn
from tritongrad import nn
from tritongrad.nn import functional as F

f = torch.nn.functional
WORDS = np.array([1, 4, 4, 0, 2, 2, 5, 1])
STARTS = np.array([0, 3, 3, 4])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode: str) -> None:
    w = randn(6, 3)
    for more in ({}, {"padding_idx": 4}, {"padding_idx": -6}):
        check(
            lambda w, i, o, more=more: F.embedding_bag(i, w, o, mode=mode, **more),
            lambda w, i, o, more=more: f.embedding_bag(i, w, o, mode=mode, **more),
            w, WORDS, STARTS, terms=4,
        )  # fmt: skip
    check(lambda w, i: F.embedding_bag(i, w, mode=mode), lambda w, i: f.embedding_bag(i, w, mode=mode), w,
          WORDS.reshape(2, 4), dtype="float64", terms=4)  # fmt: skip
    ends = np.array([0, 2, 8])
    check(
        lambda w, i, o: F.embedding_bag(i, w, o, mode=mode, include_last_offset=True),
        lambda w, i, o: f.embedding_bag(i, w, o, mode=mode, include_last_offset=True),
        w, WORDS, ends, dtype="bfloat16", terms=6,
    )  # fmt: skip
    for i, o in ((WORDS[:0], np.array([0, 0])), (WORDS[:0], STARTS[:0])):
        check(lambda w, i, o: F.embedding_bag(i, w, o, mode=mode), lambda w, i, o: f.embedding_bag(i, w, o, mode=mode),
              w, i, o)  # fmt: skip


def test_weighted_bags() -> None:
    w, p = randn(6, 3), randn(8, seed=1)
    check(
        lambda w, p, i, o: F.embedding_bag(i, w, o, mode="sum", per_sample_weights=p, padding_idx=2),
        lambda w, p, i, o: f.embedding_bag(i, w, o, mode="sum", per_sample_weights=p, padding_idx=2),
        w, p, WORDS, STARTS, terms=4,
    )  # fmt: skip
    check(
        lambda w, i, o: F.embedding_bag(i, w, o, mode="sum", scale_grad_by_freq=True),
        # On a CPU torch takes the counts of other rows here; the two steps it stands for do not.
        lambda w, i, o: torch.stack([b.sum(0) for b in f.embedding(i, w, scale_grad_by_freq=True).split([3, 0, 1, 4])]),
        w, WORDS, STARTS, terms=4,
    )  # fmt: skip


BAG_ERRORS: list[Any] = [
    (lambda m, i, w: m.embedding_bag(i, w), ValueError),
    (lambda m, i, w: m.embedding_bag(i, w[0], i), ValueError),
    (lambda m, i, w: m.embedding_bag(i, w, i * 0, mode="mid"), ValueError),
    (lambda m, i, w: m.embedding_bag(i, w, i * 0, mode="max", scale_grad_by_freq=True), ValueError),
    (lambda m, i, w: m.embedding_bag(i.reshape(2, 4), w, i), ValueError),
    (lambda m, i, w: m.embedding_bag(i.reshape(2, 2, 2), w), ValueError),
    (lambda m, i, w: m.embedding_bag(i, w, i * 0, per_sample_weights=w[0]), ValueError),
    (lambda m, i, w: m.embedding_bag(i, w, i * 0, per_sample_weights=i * w[0, 0]), NotImplementedError),
    (lambda m, i, w: m.embedding_bag(i, w, i * 0 + 1), RuntimeError),
    (lambda m, i, w: m.embedding_bag(i, w, i * 0 + i.new_tensor([0] * 7 + [9])), RuntimeError),
]


@pytest.mark.parametrize("k", range(len(BAG_ERRORS)))
def test_bag_errors(k: int) -> None:
    call, kind = BAG_ERRORS[k]
    for m in (tg, torch):
        with pytest.raises(kind):
            call(m.nn.functional, m.tensor(WORDS), m.ones(6, 3))


LAYERS: list[tuple[str, tuple, dict, list[np.ndarray]]] = [
    ("Embedding", (6, 3), {}, [WORDS]),
    ("Embedding", (6, 3, -2), {"max_norm": 1.0, "norm_type": 1.0, "scale_grad_by_freq": True}, [WORDS.reshape(2, 4)]),
    ("EmbeddingBag", (6, 3), {}, [WORDS, STARTS]),
    ("EmbeddingBag", (6, 3, 1.0, 1.0), {"mode": "sum", "padding_idx": -1}, [WORDS.reshape(2, 4)]),
    ("EmbeddingBag", (6, 3), {"mode": "max", "include_last_offset": True}, [WORDS, np.array([0, 3, 8])]),
    ("Bilinear", (3, 4, 2), {}, [randn(5, 3), randn(5, 4, seed=1)]),
    ("Bilinear", (3, 4, 2, False), {}, [randn(2, 2, 3), randn(2, 2, 4, seed=1)]),
    ("PixelShuffle", (2,), {}, [randn(2, 8, 2, 3)]),
    ("PixelShuffle", (3,), {}, [randn(9, 1, 2)]),
    ("PixelUnshuffle", (2,), {}, [randn(2, 2, 4, 6)]),
    ("ChannelShuffle", (3,), {}, [randn(2, 6, 2, 2)]),
    ("Unflatten", (1, (2, -1)), {}, [randn(2, 6)]),
    ("Flatten", (0, 1), {}, [randn(2, 3, 2)]),
    ("Softmax2d", (), {}, [randn(2, 3, 2, 2)]),
    ("Softmax2d", (), {}, [randn(3, 2, 2)]),
    ("Softmin", (-1,), {}, [randn(2, 3)]),
]


@pytest.mark.parametrize(("name", "args", "options", "inputs"), LAYERS, ids=[f"{n}{a}{o}" for n, a, o, _ in LAYERS])
def test_layers(name: str, args: tuple, options: dict, inputs: list) -> None:
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    ours, theirs = ours.double(), theirs.double()
    if getattr(ours, "padding_idx", None) is not None:
        assert ours.padding_idx == theirs.padding_idx and not ours.weight[ours.padding_idx].abs().sum().item()
    ours.load_state_dict({k: tg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    mine = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    yours = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    y, z = ours(*mine), theirs(*yours)
    compare("y", y.detach(), z.detach(), 1e-13)
    weights = randn(*z.shape, seed=4)
    (y * tg.tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    for a, b in zip([*mine, *ours.parameters()], [*yours, *theirs.parameters()], strict=True):
        if b.requires_grad:
            compare("gradient", a.grad, b.grad, 1e-12)
    for k, v in theirs.state_dict().items():
        compare(k, ours.state_dict()[k], v, 1e-12)


def test_tables_from_elsewhere() -> None:
    table = tg.tensor(randn(4, 2))
    for kind, more in ((nn.Embedding, {"padding_idx": 1}), (nn.EmbeddingBag, {"mode": "sum"})):
        layer = kind.from_pretrained(table, **more)
        assert not layer.weight.requires_grad and layer.weight.tolist() == table.tolist()
        assert kind.from_pretrained(table, freeze=False).weight.requires_grad
        with pytest.raises(AssertionError, match="2-dimensional"):
            kind.from_pretrained(table[0])
        with pytest.raises(AssertionError, match="within"):
            kind(3, 2, padding_idx=3)
        with pytest.raises(AssertionError, match="Shape of weight"):
            kind(3, 2, _weight=table)
    layer.reset_parameters()
    assert layer.weight.tolist() != table.tolist() or layer.weight.array is table.array
    with pytest.raises(NotImplementedError, match="sparse"):
        nn.Embedding(3, 2, sparse=True)(tg.tensor([1]))


def test_layers_of_many_values_begin_as_torchs() -> None:
    weight = nn.Embedding(100, 30).weight
    assert abs(weight.mean().item()) < 0.1 and abs(weight.std().item() - 1) < 0.1
    bilinear = nn.Bilinear(25, 8, 8)
    assert 0.19 < bilinear.weight.abs().max().item() <= 0.2 and bilinear.bias.abs().max().item() <= 0.2


def test_empty_images_are_shuffled() -> None:
    x = tg.zeros(0, 4, 2, 2)
    assert tg.pixel_shuffle(x, 2).shape == (0, 1, 4, 4) and tg.pixel_unshuffle(x, 2).shape == (0, 16, 1, 1)
    assert tg.channel_shuffle(x, 2).shape == x.shape


def test_shuffles_that_move_nothing_copy() -> None:
    x = tg.zeros(1, 1, 2, 3)
    for y in (tg.pixel_shuffle(x, 1), tg.pixel_unshuffle(x, 1), tg.channel_shuffle(x, 1)):
        y += 1
    assert x.sum().item() == 0


WRONG: list[Any] = [
    (lambda m: m.pixel_shuffle(m.ones(2, 3), 2), RuntimeError),
    (lambda m: m.pixel_shuffle(m.ones(2, 3, 3), 2), RuntimeError),
    (lambda m: m.pixel_shuffle(m.ones(2, 3, 3), 0), RuntimeError),
    (lambda m: m.pixel_unshuffle(m.ones(2, 3, 4), 2), RuntimeError),
    (lambda m: m.pixel_unshuffle(m.ones(2, 4, 3), 2), RuntimeError),
    (lambda m: m.channel_shuffle(m.ones(2, 4), 2), RuntimeError),
    (lambda m: m.channel_shuffle(m.ones(2, 3, 2), 2), RuntimeError),
    (lambda m: m.channel_shuffle(m.ones(2, 4, 2), 0), RuntimeError),
    (lambda m: m.nn.Unflatten(1, 3), TypeError),
    (lambda m: m.nn.Unflatten(1, (2, "a")), TypeError),
    (lambda m: m.nn.Softmax2d()(m.ones(2, 2)), ValueError),
    (lambda m: m.nn.Bilinear(0, 2, 3), ValueError),
]


@pytest.mark.parametrize("k", range(len(WRONG)))
def test_errors(k: int) -> None:
    call, kind = WRONG[k]
    for m in (tg, torch):
        with pytest.raises(kind):
            call(m)


def test_an_axis_chosen_for_you_is_a_warning() -> None:
    for name in ("Softmax", "LogSoftmax", "Softmin"):
        for shape in ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 1)):
            x = randn(*shape)
            with pytest.warns(UserWarning, match="Implicit dimension choice"):
                y, z = getattr(nn, name)()(tg.tensor(x)), getattr(torch.nn, name)()(torch.tensor(x))
            compare(name, y, z, 1e-13)
