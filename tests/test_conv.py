"""Convolution: every geometry real models use, both gradients, theirs in turn, layouts, dtypes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad_kernels import interpret, launch


def geometry(reason: str, x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Any:
    return pytest.param(x, w, options, id=reason)


GEOMETRIES = [
    geometry("plain", (2, 3, 7, 6), (4, 3, 3, 3)),
    geometry("3x3 of a ResNet", (2, 4, 6, 7), (5, 4, 3, 3), padding=1),
    geometry("its 7x7 stem", (1, 3, 15, 14), (4, 3, 7, 7), stride=2, padding=3),
    geometry("its 1x1 stride 2", (2, 5, 7, 8), (3, 5, 1, 1), stride=2),
    geometry("stride above kernel", (1, 2, 11, 10), (3, 2, 2, 2), stride=3),
    geometry("stride 4 patches", (1, 3, 8, 12), (5, 3, 4, 4), stride=4),
    geometry("even kernel", (2, 3, 6, 5), (4, 3, 2, 4), padding=(1, 2)),
    geometry("all axes differ", (2, 3, 9, 11), (4, 3, 3, 5), stride=(2, 3), padding=(0, 4), dilation=(2, 1)),
    geometry("dilation", (1, 3, 9, 9), (2, 3, 3, 3), padding=2, dilation=2),
    geometry("dilation 3 and stride 2", (1, 2, 12, 11), (3, 2, 3, 3), stride=2, padding=3, dilation=3),
    geometry(
        "dilation shares a factor with stride", (1, 2, 13, 12), (3, 2, 3, 2), stride=4, dilation=(6, 2), padding=1
    ),
    geometry("stride equals dilation", (1, 2, 10, 9), (2, 2, 3, 3), stride=2, dilation=2, padding=2),
    geometry("groups of 20", (1, 40, 4, 4), (40, 20, 3, 3), padding=1, groups=2),
    geometry("image smaller than the window", (1, 2, 2, 3), (3, 2, 5, 5), padding=2),
    geometry("image of one pixel", (2, 3, 1, 1), (4, 3, 3, 3), padding=1),
    geometry("window is the image", (2, 3, 4, 5), (2, 3, 4, 5)),
    geometry("rows the windows never reach", (1, 1, 8, 8), (1, 1, 3, 3), stride=3),
    geometry("padding beyond the window", (1, 2, 3, 3), (2, 2, 2, 2), padding=4, stride=3),
    geometry("more than a tile of everything", (2, 20, 6, 5), (18, 20, 3, 3), padding=1),
    geometry("whole tiles of everything", (2, 32, 4, 4), (16, 32, 3, 3), padding=1),
    geometry("whole tiles of groups", (1, 64, 4, 4), (32, 32, 1, 1), groups=2),
    geometry("one channel", (3, 1, 5, 5), (1, 1, 3, 3), padding=1),
    geometry("no images", (0, 3, 5, 5), (4, 3, 3, 3), padding=1),
    geometry("same", (1, 2, 6, 5), (3, 2, 3, 3), padding="same"),
    geometry("same, even and dilated", (1, 2, 7, 6), (3, 2, 2, 4), padding="same", dilation=(3, 1)),
    geometry("valid", (1, 2, 6, 5), (3, 2, 3, 3), padding="valid", stride=2),
    geometry("unbatched", (2, 6, 5), (3, 2, 3, 3), padding=1, stride=2),
]


def terms(x: tuple[int, ...], w: tuple[int, ...]) -> int:
    """The longest sum behind one number: a window, or the pixels behind one weight's gradient."""
    return max(int(np.prod(w[1:])) * 2, int(np.prod(x)))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("x", "w", "options"), GEOMETRIES)
def test_geometry(x: tuple[int, ...], w: tuple[int, ...], options: dict, tiles: str) -> None:
    arrays = randn(*x, seed=1), randn(*w, seed=2), randn(w[0], seed=3)
    conv2d = torch.nn.functional.conv2d
    check(lambda *t: F.conv2d(*t, **options), lambda *t: conv2d(*t, **options), *arrays, terms=terms(x, w))


SECOND = [
    "all axes differ",
    "dilation shares a factor with stride",
    "groups of 20",
    "no images",
]


@pytest.mark.parametrize(("x", "w", "options"), [p for p in GEOMETRIES if p.id in SECOND])
def test_second_derivatives(x: tuple[int, ...], w: tuple[int, ...], options: dict) -> None:
    arrays = randn(*x, seed=1), randn(*w, seed=2), randn(w[0], seed=3)
    conv2d = torch.nn.functional.conv2d
    check(lambda *t: F.conv2d(*t, **options), lambda *t: conv2d(*t, **options), *arrays, terms=terms(x, w), second=True)


def nhwc(t: tg.Tensor) -> tg.Tensor:
    return t.contiguous(memory_format=tg.channels_last) if t.ndim == 4 else t


@pytest.mark.parametrize("wrap", [nhwc, transposed, lambda t: t.transpose(0, -1).contiguous().transpose(0, -1)])
def test_any_memory_order(wrap: Any, tiles: str) -> None:
    arrays = randn(2, 3, 6, 7, seed=1), randn(4, 3, 3, 3, seed=2), randn(4, seed=3)  # the bias may have gaps too
    options = {"stride": 2, "padding": 1}
    conv2d = torch.nn.functional.conv2d
    check(lambda *t: F.conv2d(*t, **options), lambda *t: conv2d(*t, **options), *arrays, terms=84, wrap=wrap)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str, tiles: str) -> None:
    arrays = randn(2, 20, 6, 5, seed=1), randn(3, 20, 3, 3, seed=2), randn(3, seed=3)
    conv2d = torch.nn.functional.conv2d
    check(lambda *t: F.conv2d(*t, padding=1), lambda *t: conv2d(*t, padding=1), *arrays, terms=360, dtype=dtype)


def test_without_a_bias_and_with_stride_zero_gradients(tiles: str) -> None:
    conv2d = torch.nn.functional.conv2d
    check(F.conv2d, conv2d, randn(2, 3, 5, 5), randn(4, 3, 3, 3), terms=27)
    f, g = (lambda *t: F.conv2d(*t, padding=1).sum()), (lambda *t: conv2d(*t, padding=1).sum())
    check(f, g, randn(2, 3, 5, 5), randn(4, 3, 3, 3), randn(4), terms=5400)
    f, g = (
        (lambda x, w: F.conv2d(x.expand(4, 3, 5, 5), w).mean()),
        (lambda x, w: conv2d(x.expand(4, 3, 5, 5), w).mean()),
    )
    check(f, g, randn(1, 3, 5, 5), randn(4, 3, 3, 3), terms=144)


def test_padding_hides_nan_and_infinity_from_other_pixels(tiles: str) -> None:
    """Masked lanes read element 0: what lies there must not leak."""
    x, w = randn(2, 3, 5, 5), randn(4, 3, 3, 3)
    x[0, 0, 0, 0] = np.nan
    check(lambda *t: F.conv2d(*t, padding=1), lambda *t: torch.conv2d(*t, padding=1), x, w, terms=27, grads=False)
    x[0, 0, 0, 0], w[0, 0, 0, 0] = 1.0, np.inf
    check(lambda *t: F.conv2d(*t, padding=1), lambda *t: torch.conv2d(*t, padding=1), x, w, terms=27, grads=False)


def test_channels_last_comes_out() -> None:
    y = F.conv2d(tg.ones(2, 3, 5, 5), tg.ones(4, 3, 3, 3))
    assert y.is_contiguous(memory_format=tg.channels_last)
    assert y.view(2, -1).shape == (2, 36)


def test_the_same_bits_whatever_the_strides_and_the_order(tiles: str) -> None:
    x, w = (tg.tensor(randn(*s).astype(np.float32)) for s in ((2, 3, 6, 5), (4, 3, 3, 3)))

    def bits(x: tg.Tensor, w: tg.Tensor) -> list:
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        y = F.conv2d(x, w, stride=2, padding=1)
        (y * y).sum().backward()
        return [y.tolist(), x.grad.tolist(), w.grad.tolist()]

    expected = bits(x, w)
    assert bits(x, w) == bits(transposed(x), transposed(w)) == bits(nhwc(x), nhwc(w)) == expected
    with interpret.order("reverse"):
        assert bits(x, w) == expected


def test_a_weight_gradient_over_many_pixels_is_split_and_summed_in_order() -> None:
    x, w = tg.ones(1, 1, 8, 8), tg.ones(1, 1, 1, 1, requires_grad=True)
    y = F.conv2d(x, w).sum()
    with launch.tiles(conv2d_weight_grad={"BO": 16, "BP": 16, "BC": 16, "SPLIT": 32}), launch.recording() as log:
        y.backward()
    assert w.grad.item() == 64
    assert [(r.kernel, r.grid) for r in log if r.kernel in ("_conv2d_weight_grad", "_sum_slabs")] == [
        ("_conv2d_weight_grad", (2,)),
        ("_sum_slabs", (1,)),
    ]


ERRORS = [
    ({"w": (4, 2, 3, 3)}, r"conv2d: channels and groups do not go together: input float32\[2, 3, 5, 5\], weight"),
    ({"groups": 2}, "conv2d: channels and groups"),
    ({"w": (4, 1, 3, 3), "groups": 3}, "conv2d: channels and groups"),
    ({"groups": 0}, "conv2d: channels and groups"),
    ({"x": (2, 3, 5)}, "conv2d: channels and groups"),
    ({"x": (2, 3, 5, 5, 5)}, r"conv2d: expected input \[N, C, H, W\]"),
    ({"w": (4, 3, 3)}, r"conv2d: expected input \[N, C, H, W\] and weight"),
    ({"w": (4, 3, 7, 7)}, "conv2d: the window is larger than the padded image"),
    ({"dilation": 3}, "conv2d: the window is larger than the padded image"),
    ({"stride": 0}, "conv2d: stride .* must be positive"),
    ({"padding": -1}, "conv2d: .* padding .* not negative"),
    ({"dilation": (1, 0)}, "conv2d: .*dilation .* must be positive"),
    ({"stride": (1, 2, 3)}, r"conv2d: stride must be one or two integers, got \(1, 2, 3\)"),
    ({"padding": "same", "stride": 2}, "conv2d: padding 'same' with stride"),
    ({"padding": "full"}, "conv2d: padding 'full'"),
    ({"bias": (3,)}, r"conv2d: expected a bias float32\[4\], got float32\[3\]"),
    ({"dtype": tg.float16}, r"conv2d: expected one floating-point dtype .* weight float16"),
]


@pytest.mark.parametrize(("change", "message"), ERRORS, ids=[e[1][:40] + str(i) for i, e in enumerate(ERRORS)])
def test_errors(change: dict, message: str) -> None:
    options = {k: v for k, v in change.items() if k in ("stride", "padding", "dilation", "groups")}
    x, w = tg.ones(change.get("x", (2, 3, 5, 5))), tg.ones(change.get("w", (4, 3, 3, 3)), dtype=change.get("dtype"))
    bias = tg.ones(change["bias"]) if "bias" in change else None
    with pytest.raises(RuntimeError, match=message):
        F.conv2d(x, w, bias, **options)
    with pytest.raises(RuntimeError, match="conv2d: expected one floating-point dtype"):
        F.conv2d(tg.ones(1, 1, 3, 3).long(), tg.ones(1, 1, 3, 3).long())
