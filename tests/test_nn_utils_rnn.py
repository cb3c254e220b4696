"""Padded and packed sequences against torch's: values, order, gradients, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn


def rnn(m: Any) -> Any:
    return m.nn.utils.rnn


def fields(p: Any) -> list:
    return [None if t is None else np.asarray(t.tolist(), np.float32).tolist() for t in p]


def errors_of(f: Any) -> list:
    """The types of the errors that both raise."""
    found = []
    for m in (tg, torch):
        with pytest.raises(Exception) as caught:
            f(m)
        found.append(caught.value)
    assert type(found[0]) is type(found[1]), found
    return found


@pytest.mark.parametrize("batch_first, lengths, enforce", [
    (False, [4, 2, 2], True), (True, [3, 1], True), (False, [2, 4, 2], False), (True, [1, 3], False),
    (False, [2, 2], True),
])  # fmt: skip
def test_packing_and_padding(batch_first: bool, lengths: list[int], enforce: bool) -> None:
    shape = (len(lengths), 4, 2) if batch_first else (4, len(lengths), 2)
    x = randn(*shape)
    both = [rnn(m).pack_padded_sequence(m.tensor(x), lengths, batch_first, enforce) for m in (tg, torch)]
    assert fields(both[0]) == fields(both[1])
    back = [rnn(m).pad_packed_sequence(p, batch_first, 7.0, 5) for m, p in zip((tg, torch), both, strict=True)]
    assert fields(back[0]) == fields(back[1])

    def through(m: Any) -> Any:
        def f(x: Any) -> Any:
            p = rnn(m).pack_padded_sequence(x, m.tensor(lengths), batch_first, enforce)
            p = rnn(m).PackedSequence(p.data * p.data, p.batch_sizes, p.sorted_indices)
            return rnn(m).pad_packed_sequence(p, batch_first, -1.0)[0]

        return f

    check(through(tg), through(torch), x, second=True)


@pytest.mark.parametrize("batch_first, side, value", [(False, "right", 0.0), (True, "left", 2.5)])
def test_pad_sequence(batch_first: bool, side: str, value: float) -> None:
    def padded(m: Any) -> Any:
        return lambda *s: rnn(m).pad_sequence(s, batch_first, value, padding_side=side) ** 2

    check(padded(tg), padded(torch), randn(2, 3), randn(4, 3, seed=1), randn(1, 3, seed=2), second=True)


def test_sequences_come_back() -> None:
    for m in (tg, torch):
        given = [m.arange(3.0), m.arange(5.0), m.arange(1.0)]
        packed = rnn(m).pack_sequence(given, enforce_sorted=False)
        assert packed.batch_sizes.tolist() == [3, 2, 2, 1, 1] and packed.sorted_indices.tolist() == [1, 0, 2]
        assert [s.tolist() for s in rnn(m).unpack_sequence(packed)] == [s.tolist() for s in given]
        rows = rnn(m).pad_sequence(given)
        assert [s.tolist() for s in rnn(m).unpad_sequence(rows, m.tensor([3, 5, 1]))] == [s.tolist() for s in given]


def test_a_packed_sequence_is_a_named_tuple() -> None:
    for m in (tg, torch):
        p = rnn(m).pack_sequence([m.arange(3.0), m.arange(2.0)])
        data, sizes, order, back = p
        assert p._fields == ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
        assert p.data is data and sizes.dtype is m.int64 and order is None and back is None
        assert p.to(m.float32) is p and p.cpu() is p and not p.is_cuda and not p.is_pinned()
        assert p.double().data.dtype is m.float64 and p.half().batch_sizes is sizes and p.long().data.dtype is m.int64
        assert rnn(m).PackedSequence((data, sizes)).batch_sizes is sizes
        turned = rnn(m).PackedSequence(data, sizes, m.tensor([1, 0]))
        assert turned.unsorted_indices.tolist() == [1, 0] and turned.float() is turned
        assert turned.byte().sorted_indices.dtype is m.int64
        assert type(turned.int()) is rnn(m).PackedSequence and turned.short().data.dtype is m.int16
        assert turned.char().data.dtype is m.int8 and rnn(m).invert_permutation(None) is None
        assert repr(p).startswith("PackedSequence(data=tensor([0., 0., 1., 1., 2.]), batch_sizes=tensor([2, 2, 1])")


@pytest.mark.parametrize("lengths", [[4, 5, 1], [[4, 2, 1]], [4, 2], [4, 2, 0], []])
def test_lengths_that_do_not_fit(lengths: list) -> None:
    errors_of(lambda m: rnn(m).pack_padded_sequence(m.ones(5, 3, 2), lengths))


def test_other_refusals() -> None:
    errors_of(lambda m: rnn(m).pad_sequence([]))
    errors_of(lambda m: rnn(m).pad_sequence(3))
    errors_of(lambda m: rnn(m).pad_sequence([m.ones(2)], padding_side="up"))
    errors_of(lambda m: rnn(m).pad_sequence([m.ones(2, 3), m.ones(2, 4)]))
    errors_of(lambda m: rnn(m).pack_padded_sequence(m.ones(0, 3, 2), [1, 1, 1]))
    p = rnn(tg).pack_sequence([tg.ones(3)])
    with pytest.raises(ValueError, match="total_length=2 and max sequence length being 3"):
        rnn(tg).pad_packed_sequence(p, total_length=2)
    with pytest.raises(RuntimeError, match="at most 4"):
        rnn(tg).pack_padded_sequence(tg.ones(4, 2), [5, 1])
