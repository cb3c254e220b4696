"""Convolution layers and their transposes against torch: values, gradients, state, repr, errors; functions too."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn
from tritongrad import nn

# The class with its arguments, the input's shape, and arguments of the call.
LAYERS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("Conv1d(3, 4, 3)", (2, 3, 7), {}),
    ("Conv1d(4, 4, 4, padding='same', dilation=3, groups=4, bias=False)", (2, 4, 9), {}),
    ("Conv1d(2, 3, 3, 2, 2, padding_mode='circular')", (2, 5), {}),
    ("Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))", (2, 3, 5, 6), {}),
    ("Conv2d(2, 2, 3, padding='valid', groups=2)", (1, 2, 4, 5), {}),
    ("Conv2d(2, 3, (2, 3), padding='same', padding_mode='reflect')", (1, 2, 4, 5), {}),
    ("Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1), stride=(1, 2, 1))", (1, 2, 2, 4, 3), {}),
    ("Conv3d(2, 2, 2, padding=1, padding_mode='replicate')", (2, 2, 3, 2), {}),
    ("ConvTranspose1d(3, 4, 3, 2, 1)", (2, 3, 4), {"output_size": (2, 4, 8)}),
    ("ConvTranspose1d(2, 4, 2, output_padding=1, dilation=3)", (2, 5), {}),
    ("ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2)", (2, 4, 3, 2), {}),
    ("ConvTranspose2d(2, 3, (2, 3), stride=(3, 2), bias=False)", (1, 2, 2, 3), {"output_size": [7, 8]}),
    ("ConvTranspose3d(2, 3, (2, 1, 3), stride=(1, 2, 2), padding=(0, 0, 1))", (1, 2, 2, 2, 2), {}),
    ("ConvTranspose3d(2, 2, 2, groups=2, dilation=(2, 1, 1))", (2, 2, 2, 2), {}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("call", "shape", "options"), LAYERS, ids=[c for c, _, _ in LAYERS])
def test_layers(call: str, shape: tuple[int, ...], options: dict) -> None:
    ours, theirs = eval("nn." + call), eval("torch.nn." + call).double()
    assert repr(ours) == repr(theirs)
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    weights = [p.detach().numpy() for p in theirs.parameters()]

    def run(module: Any, m: Any) -> Any:
        return lambda x, *w: m.func.functional_call(
            module, dict(zip([k for k, _ in module.named_parameters()], w, strict=True)), (x,), options
        )

    def run_ours(x: tg.Tensor, *w: tg.Tensor) -> tg.Tensor:
        module = copy.copy(ours)
        module._parameters = dict(zip(["weight", "bias"], [*w, None][:2], strict=True))
        return module(x, **options)

    check(run_ours, run(theirs, torch), randn(*shape), *weights, terms=40)


def test_initial_values() -> None:
    for layer in (nn.Conv1d(16, 64, 5, groups=2), nn.Conv3d(8, 32, (1, 2, 3)), nn.ConvTranspose2d(32, 16, 3, groups=2)):
        bound = float(np.prod(layer.weight.shape[1:])) ** -0.5
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert abs(layer.weight.std().item() / bound - 3**-0.5) < 0.05
        assert 0.5 * bound < layer.bias.abs().max().item() <= bound
        assert layer.weight.is_leaf and layer.weight.requires_grad
        assert layer.weight.movedim(1, -1).is_contiguous()


TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 2, 4), (2, 2, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((1, 2, 3), (2, 2, 2), {"dilation": 3, "output_padding": 2}),  # more windows fit than there were
    ((2, 2, 2, 3), (2, 3, 2, 2), {"stride": (1, 3), "padding": (1, 0), "dilation": (2, 1)}),
    ((1, 2, 2, 1, 2), (2, 1, 2, 1, 2), {"groups": 2, "stride": 2}),
]


@pytest.mark.parametrize(("x", "w", "options"), TRANSPOSED)
def test_second_derivatives_of_the_transpose(x: tuple[int, ...], w: tuple[int, ...], options: dict) -> None:
    name = f"conv_transpose{len(x) - 2}d"
    arrays = randn(*x, seed=1), randn(*w, seed=2), randn(w[1] * options.get("groups", 1), seed=3)
    check(
        lambda *t: getattr(F, name)(*t, **options),
        lambda *t: getattr(torch, name)(*t, **options),
        *arrays, terms=30, second=True,
    )  # fmt: skip


def test_second_derivatives_of_one_dimension() -> None:
    f, g = (lambda *t: tg.conv1d(*t, padding="same")), (lambda *t: torch.conv1d(*t, padding="same"))
    check(f, g, randn(2, 3, 4), randn(2, 3, 3), randn(2), terms=40, second=True)


def test_a_subclass_changes_the_product_alone() -> None:
    class Doubled(nn.Conv1d):
        def _conv_forward(self, x: tg.Tensor, weight: tg.Tensor, bias: tg.Tensor | None) -> tg.Tensor:
            return super()._conv_forward(x, weight * 2, bias)

    layer = Doubled(2, 3, 3, bias=False, padding=1, padding_mode="replicate")
    x = tg.ones(1, 2, 4)
    assert tg.allclose(layer(x), 2 * layer.weight.sum((1, 2))[None, :, None].expand(1, 3, 4))


ERRORS = [
    ("nn.Conv1d(3, 4, 3, groups=2)", ValueError, "Conv1d: in_channels 3 and out_channels 4 must be divisible"),
    ("nn.Conv3d(3, 4, 3, groups=0)", ValueError, "Conv3d: .* must be divisible by groups 0"),
    ("nn.Conv1d(3, 4, 3, padding='full')", ValueError, "Conv1d: padding 'full' with stride"),
    ("nn.Conv2d(3, 4, 3, 2, padding='same')", ValueError, r"Conv2d: padding 'same' with stride \(2, 2\)"),
    ("nn.Conv2d(3, 4, 3, padding_mode='mirror')", ValueError, "Conv2d: padding_mode must be one of zeros, reflect"),
    ("nn.ConvTranspose1d(3, 4, 3, padding_mode='reflect')", ValueError, "ConvTranspose1d: padding_mode must"),
    ("nn.ConvTranspose2d(2, 1, 3, 2)(x, output_size=(9, 8))", ValueError, r"\[9, 8\] cannot .*be \[7, 7\] to \[8, 8\]"),
    ("nn.ConvTranspose2d(2, 1, 3)(x, output_size=(1, 2, 3))", ValueError, "output_size must have 2 or 4 elements"),
    ("tg.conv_transpose2d(x, x)", RuntimeError, "conv_transpose2d: channels and groups do not go together"),
    ("tg.conv_transpose2d(x, w, output_padding=1)", RuntimeError, "conv_transpose2d: output_padding .* less than"),
    ("tg.conv_transpose2d(x, w, padding=3)", RuntimeError, "conv_transpose2d: a result of size .* is too small"),
    ("tg.conv_transpose2d(x, w, stride=0)", RuntimeError, "conv_transpose2d: stride .* must be positive"),
    ("tg.conv_transpose2d(x, w, bias=w)", RuntimeError, r"conv_transpose2d: expected a bias float32\[3\]"),
    ("tg.conv_transpose1d(x, w)", RuntimeError, "conv_transpose1d: expected input and weight of 3 axes"),
    ("tg.conv_transpose2d(x[:, :, :0], w)", RuntimeError, "conv_transpose2d: an input without elements"),
    ("tg.conv1d(x, w)", RuntimeError, r"conv1d: expected input \[N, C, L\] and weight \[O, C/groups, S\]"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "kind", "message"), ERRORS, ids=[c for c, _, _ in ERRORS])
def test_errors(code: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        eval(code, {"nn": nn, "tg": tg, "x": tg.ones(1, 2, 3, 3), "w": tg.ones(2, 3, 2, 2)})
