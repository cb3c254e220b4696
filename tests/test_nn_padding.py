"""Padding layers against torch's."""

from __future__ import annotations

import pytest
import torch

import tritongrad as tg
from tests.check import check, randn
from tritongrad import nn

LAYERS = [
    ("ConstantPad1d((1, 2), 0.5)", (2, 3, 4)), ("ConstantPad2d(1, 2)", (3, 4)), ("ConstantPad3d(2, -1.5)", (2, 2, 2)),
    ("ZeroPad1d(2)", (4,)), ("ZeroPad2d((1, -1, 2, 0))", (2, 3, 4)), ("ZeroPad3d(1)", (1, 2, 2, 2)),
    ("ReflectionPad1d((2, 1))", (2, 4)), ("ReflectionPad2d(1)", (1, 2, 3, 4)),
    ("ReflectionPad3d((1, 0, 0, 1, 1, 1))", (1, 2, 2, 2)),
    ("ReplicationPad1d(3)", (2, 3, 2)), ("ReplicationPad2d((0, 1, 2, 3))", (2, 3, 2)),
    ("ReplicationPad3d(1)", (1, 1, 1, 2, 2)),
    ("CircularPad1d([1, 2])", (2, 3)), ("CircularPad2d((2, 1, 0, 1))", (2, 3, 2)),
    ("CircularPad3d(1)", (1, 1, 2, 1, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("call", "shape"), LAYERS, ids=[c for c, _ in LAYERS])
def test_layers(call: str, shape: tuple[int, ...]) -> None:
    ours, theirs = eval(call, vars(nn)), eval(call, vars(torch.nn))
    assert repr(ours) == repr(theirs) and not ours.state_dict()
    check(ours, theirs, randn(*shape), second=True)


def test_circular_borders_want_channels() -> None:
    for layer, shape in ((nn.CircularPad1d(1), (3,)), (nn.CircularPad2d(1), (3, 3)), (nn.CircularPad3d(1), (3, 3, 3))):
        with pytest.raises(ValueError, match=r"CircularPad.d: expected . or . axes, got \[3"):
            layer(tg.ones(shape))
