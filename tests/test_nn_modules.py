"""Layers by the names of torch's files, and the small functions that published layers take from there."""

from __future__ import annotations

import importlib
from collections import OrderedDict

import pytest
import torch

import tritongrad as tg

NAMES = """
batchnorm._BatchNorm batchnorm._NormBase batchnorm.BatchNorm2d batchnorm.SyncBatchNorm instancenorm._InstanceNorm
normalization.LayerNorm normalization.GroupNorm conv.Conv2d dropout._DropoutNd linear.Linear module.Module
container.Sequential sparse.Embedding loss.MSELoss distance.CosineSimilarity pixelshuffle.PixelShuffle
channelshuffle.ChannelShuffle flatten.Unflatten pooling.MaxPool2d
activation.ReLU activation.MultiheadAttention rnn.LSTM transformer.Transformer
upsampling.Upsample utils._pair padding.ConstantPad2d conv.ConvTranspose2d conv._ConvNd
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_files(name: str) -> None:
    file, what = name.split(".")
    found = getattr(importlib.import_module(f"tritongrad.nn.modules.{file}"), what)
    assert getattr(importlib.import_module(f"torch.nn.modules.{file}"), what).__name__ == found.__name__
    assert getattr(getattr(tg.nn.modules, file), what) is found
    if not what.startswith("_"):
        assert getattr(tg.nn.modules, what) is getattr(tg.nn, what) is found


def test_parameters() -> None:
    from tritongrad.nn.parameter import Parameter

    assert Parameter is tg.nn.Parameter
    assert issubclass(tg.nn.BatchNorm1d, tg.nn.modules.batchnorm._BatchNorm)
    assert not issubclass(tg.nn.InstanceNorm1d, tg.nn.modules.batchnorm._BatchNorm)


def test_sizes() -> None:
    ours, theirs = tg.nn.modules.utils, torch.nn.modules.utils
    for f in ("_single", "_pair", "_triple", "_quadruple"):
        for x in (3, (1, 2), [4], "ab"):
            assert getattr(ours, f)(x) == getattr(theirs, f)(x)
        assert getattr(ours, f).__name__ == f
    assert ours._reverse_repeat_tuple((1, 2), 2) == theirs._reverse_repeat_tuple((1, 2), 2)
    for size in (5, (None, 3), [2, None]):
        assert ours._list_with_default(size, [7, 8, 9]) == theirs._list_with_default(size, [7, 8, 9])
    with pytest.raises(ValueError, match="at least 3"):
        ours._list_with_default((1, 2), [3])


def test_prefixes_are_taken_off() -> None:
    found = []
    for m in (tg, torch):
        wrapped = OrderedDict(module=m.nn.Sequential(m.nn.Linear(1, 1)), top=m.nn.Linear(1, 1))
        state = m.nn.Sequential(wrapped).state_dict()
        m.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
        found.append((list(state), list(state._metadata)))
    assert found[0] == found[1]
