"""Memory formats, layouts and devices by torch's names: strides and refusals as torch's."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import tritongrad as tg
from tests.check import check, randn

FORMATS = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")


def strides_or_error(call: Callable[[], Any]) -> Any:
    try:
        found = call()
    except (RuntimeError, TypeError) as error:
        return type(error)
    return found if isinstance(found, bool) else found.stride()


MAKERS: list[Callable[[Any, Any, Any], Any]] = [
    lambda m, x, f: m.clone(x, memory_format=f),
    lambda m, x, f: x.to(memory_format=f),
    lambda m, x, f: x.to(m.float64, memory_format=f),
    lambda m, x, f: x.to(memory_format=f, copy=True),
    lambda m, x, f: m.empty_like(x, memory_format=f),
    lambda m, x, f: m.zeros_like(x, memory_format=f),
    lambda m, x, f: m.ones_like(x, memory_format=f),
    lambda m, x, f: m.full_like(x, 2, memory_format=f),
    lambda m, x, f: m.rand_like(x, memory_format=f),
    lambda m, x, f: m.randn_like(x, memory_format=f),
    lambda m, x, f: m.randint_like(x, 5, memory_format=f),
    lambda m, x, f: x.cpu(memory_format=f),
]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4, 5, 6), (2, 1, 4, 5), (3, 4), (), (2, 3, 0, 5), (2, 4, 3)])
def test_the_order_of_what_is_made(shape: tuple[int, ...], name: str) -> None:
    for make in MAKERS:
        for turned in (False, True):
            asked = []
            for m in (tg, torch):
                x = (
                    m.ones(tuple(reversed(shape))).permute(tuple(reversed(range(len(shape)))))
                    if turned
                    else m.ones(shape)
                )
                asked.append(strides_or_error(lambda m=m, x=x, f=make: f(m, x, getattr(m, name))))
            assert asked[0] == asked[1] or 0 in shape, (MAKERS.index(make), turned)
    for call in (
        lambda m: m.empty(shape, memory_format=getattr(m, name)),
        lambda m: m.ones(shape).contiguous(memory_format=getattr(m, name)),
        lambda m: m.ones(shape).is_contiguous(memory_format=getattr(m, name)),
    ):
        if name != "preserve_format" and 0 not in shape:
            assert strides_or_error(lambda c=call: c(tg)) == strides_or_error(lambda c=call: c(torch))


def test_values_and_gradients_do_not_know_the_order() -> None:
    for form, shape in (("channels_last", (2, 3, 4, 5)), ("channels_last_3d", (2, 3, 2, 2, 3))):
        mine = getattr(tg, form)
        check(lambda t, f=mine: t.clone(memory_format=f) * t.to(memory_format=f), lambda t: t * t, randn(*shape))
        y = tg.ones(shape).to(memory_format=mine)
        assert y.is_contiguous(memory_format=mine) and not y.is_contiguous() and y.to(memory_format=mine) is y
        assert (y + 1).is_contiguous(memory_format=mine)


def test_names() -> None:
    assert repr(tg.channels_last) == "tritongrad.channels_last" and repr(tg.strided) == "tritongrad.strided"
    assert isinstance(tg.channels_last_3d, tg.memory_format) and isinstance(tg.zeros(1).layout, tg.layout)
    assert tg.zeros(2, layout=tg.strided).layout is tg.strided
    for constant in (tg.channels_last, tg.preserve_format, tg.strided):
        assert pickle.loads(pickle.dumps(constant)) is constant and copy.deepcopy(constant) is constant
    for wrong in (
        lambda: tg.zeros(2, layout="strided"),
        lambda: tg.ones(1, 1, 1, 1).contiguous(memory_format="channels_last"),
        lambda: tg.zeros_like(tg.ones(1), memory_format="contiguous_format"),
    ):
        with pytest.raises(TypeError, match="must be a"):
            wrong()
    with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last format"):
        tg.ones(2).to(memory_format=tg.channels_last)
    with pytest.raises(RuntimeError, match="unsupported memory format"):
        tg.empty(2, memory_format=tg.preserve_format)


@pytest.mark.parametrize("word", ["foo", "", "cuda:x", "cuda:-1", "cpu:", "CPU", 1.5])
def test_devices_nobody_knows(word: Any) -> None:
    with pytest.raises(Exception) as theirs:
        torch.device(word)
    with pytest.raises(type(theirs.value)) as ours:
        tg.device(word)
    if isinstance(word, str):
        assert str(ours.value)[:12] == str(theirs.value)[:12]


def test_devices() -> None:
    assert tg.device(1) == tg.device("cuda:1") == tg.device("cuda", 1) == tg.device(type="cuda", index=1)
    with pytest.raises(RuntimeError, match="must not be negative"):
        tg.device("cuda", -1)
    with pytest.raises(RuntimeError, match="Expected one of"):
        tg.zeros(2, device="foo")


def test_asserting() -> None:
    tg._assert(tg.ones(1) == 1, "never said")
    with pytest.raises(AssertionError, match="said"):
        tg._assert(tg.zeros(1), "said")


def test_a_module_in_another_order() -> None:
    net = tg.nn.Sequential(tg.nn.Conv2d(3, 4, 3), tg.nn.BatchNorm2d(4)).to(memory_format=tg.channels_last)
    assert net[0].weight.is_contiguous(memory_format=tg.channels_last)
    assert net.to("cpu", memory_format=tg.contiguous_format)[0].weight.is_contiguous()
