"""Interpolation: every mode against torch, to more and to fewer elements, by size and by factor; layers; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, compare, randn, transposed
from tests.test_pool import case
from tritongrad_kernels import interpret, launch

torch_f = torch.nn.functional

CASES = [
    case("nearest, up by a whole number", (1, 3, 4), scale_factor=2),
    case("nearest, down", (2, 3, 5, 7), size=(2, 3)),
    case("nearest, volume, one axis as it is", (1, 2, 3, 2, 4), size=(5, 2, 3)),
    case("nearest-exact", (1, 3, 3, 5), size=(7, 2), mode="nearest-exact"),
    case("linear", (2, 3, 5), size=8, mode="linear"),
    case("linear, far down", (1, 3, 17), size=3, mode="linear", align_corners=True),
    case("bilinear", (1, 5, 3, 4), scale_factor=(2.0, 1.6), mode="bilinear"),
    case("bilinear, recomputed steps", (1, 1, 3, 4), scale_factor=1.6, mode="bilinear", recompute_scale_factor=True),
    case("bilinear, corners", (1, 2, 4, 3), size=(6, 1), mode="bilinear", align_corners=True),
    case("bilinear, from one pixel", (1, 2, 1, 1), size=3, mode="bilinear", align_corners=True),
    case("bicubic", (1, 3, 4, 5), size=(7, 3), mode="bicubic"),
    case("bicubic, corners", (1, 2, 3, 2), scale_factor=2, mode="bicubic", align_corners=True),
    case("trilinear", (1, 3, 2, 3, 4), size=(3, 2, 6), mode="trilinear"),
    case("trilinear, corners", (1, 1, 2, 3, 2), size=(3, 4, 2), mode="trilinear", align_corners=True),
    case("area", (1, 2, 5, 6), scale_factor=0.5, mode="area"),
    case("no images", (0, 2, 3, 4), size=5, mode="bilinear"),
]


@pytest.mark.parametrize(("shape", "args", "options"), CASES)
def test_interpolate(shape: tuple[int, ...], args: tuple, options: dict) -> None:
    options = {"mode": "nearest", **options}
    ours, theirs = (lambda x: F.interpolate(x, **options)), (lambda x: torch_f.interpolate(x, **options))
    check(ours, theirs, randn(*shape), terms=32, second=options["mode"] in ("nearest", "linear", "bicubic"))


ANTIALIASED = [
    case("bilinear, down", (2, 3, 9, 7), size=(4, 3), mode="bilinear"),
    case("bilinear, down and up, by factors", (1, 2, 7, 3), scale_factor=(0.4, 1.7), mode="bilinear"),
    case("bilinear, corners", (1, 1, 8, 5), size=(1, 3), mode="bilinear", align_corners=True),
    case("bicubic, down", (1, 3, 11, 5), size=(3, 5), mode="bicubic"),
    case("bicubic, up", (1, 2, 3, 4), size=(7, 5), mode="bicubic"),
    case("no images", (0, 2, 3, 4), size=2, mode="bicubic"),
]


@pytest.mark.parametrize(("shape", "args", "options"), ANTIALIASED)
def test_antialias(shape: tuple[int, ...], args: tuple, options: dict) -> None:
    ours, theirs = (lambda x, f=f: f(x, antialias=True, **options) for f in (F.interpolate, torch_f.interpolate))
    check(ours, theirs, randn(*shape), dtype="float64", terms=32, slack=100, second=options["mode"] == "bicubic")


def test_antialias_tiles_dtypes_and_layouts() -> None:
    pair = [lambda x, f=f: f(x, (3, 2), mode="bilinear", antialias=True) for f in (F.interpolate, torch_f.interpolate)]
    with launch.tiles(volume_pool={"BP": 8, "BC": 4, "LEAST": 1}):
        check(*pair, randn(2, 3, 7, 5), dtype="float16", terms=32)
        check(*pair, randn(1, 6, 5, 5), wrap=transposed, terms=32)
    assert pair[0](tg.ones(1, 3, 4, 4)).is_contiguous(memory_format=tg.channels_last)
    x = randn(1, 2, 9, 4)
    y, z = (m.nn.functional.interpolate(m.tensor(x), (4, 6), mode="lanczos", align_corners=False, antialias=True)
            for m in (tg, torch))  # fmt: skip
    compare("lanczos", y, z, 1e-6)


@pytest.mark.parametrize(
    "mode, shape", [("nearest", (2, 3, 5, 4)), ("bilinear", (1, 5, 3, 4)), ("bicubic", (1, 1, 3, 4))]
)
def test_small_tiles(mode: str, shape: tuple[int, ...]) -> None:
    with launch.tiles(volume_pool={"BP": 8, "BC": 4, "LEAST": 1}):
        check(lambda x: F.interpolate(x, (4, 3), mode=mode), lambda x: torch_f.interpolate(x, (4, 3), mode=mode),
              randn(*shape), terms=16)  # fmt: skip


def test_dtypes_layouts_and_strides() -> None:
    pair = [lambda x, f=f: f(x, 5, mode="bilinear") for f in (F.interpolate, torch_f.interpolate)]
    for dtype in ("float64", "float16", "bfloat16"):
        check(*pair, randn(1, 2, 3, 4), dtype=dtype, terms=4)
    check(*pair, randn(1, 2, 3, 4), wrap=transposed)
    check(lambda x: pair[0](x).sum(), lambda x: pair[1](x).sum(), randn(1, 2, 3, 4), terms=50)
    assert pair[0](tg.ones(1, 3, 2, 2)).is_contiguous(memory_format=tg.channels_last)
    assert F.interpolate(tg.ones(1, 3, 4), 6).is_contiguous()


def test_the_same_bits_in_any_order() -> None:
    def bits() -> list:
        x = tg.tensor(randn(1, 5, 4, 3).astype(np.float32), requires_grad=True)
        y = F.interpolate(x, (7, 5), mode="bicubic")
        (y * y).sum().backward()
        return [y.tolist(), x.grad.tolist()]

    expected = bits()
    with interpret.order("reverse"), launch.tiles(volume_pool={"BP": 16, "BC": 4, "LEAST": 1}):
        assert bits() == expected


@pytest.mark.parametrize("name, args, options", [
    ("Upsample", (None, 2), {}), ("Upsample", ((3, 5),), {"mode": "bilinear", "align_corners": True}),
    ("Upsample", (), {"scale_factor": (2, 1.5), "mode": "bicubic", "recompute_scale_factor": True}),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}), ("UpsamplingBilinear2d", ((3, 5),), {}),
])  # fmt: skip
def test_layers(name: str, args: tuple, options: dict) -> None:
    ours, theirs = (getattr(nn, name)(*args, **options) for nn in (tg.nn, torch.nn))
    assert repr(ours) == repr(theirs) and ours.name == theirs.name
    check(ours, theirs, randn(1, 2, 3, 4), terms=16)


@pytest.mark.parametrize("old", ["upsample", "upsample_nearest", "upsample_bilinear"])
def test_old_names_warn(old: str) -> None:
    x = randn(1, 2, 2, 3)
    results = []
    for module, t in ((F, tg.tensor(x)), (torch_f, torch.tensor(x))):
        with pytest.warns(UserWarning, match=f"nn.functional.{old}` is deprecated"):
            results.append(np.asarray(getattr(module, old)(t, scale_factor=2).tolist()))
    assert np.allclose(*results, rtol=1e-12)


ERRORS = [
    (lambda F, x: F.interpolate(x), ValueError, "expected one of size and scale_factor, got none"),
    (lambda F, x: F.interpolate(x, 2, 2), ValueError, "expected one of size and scale_factor, got both"),
    (lambda F, x: F.interpolate(x, (2,)), ValueError, r"size \(2,\) does not go with the 2 axes after C"),
    (lambda F, x: F.interpolate(x, None, (2.0,)), ValueError, r"scale_factor \(2.0,\) does not go with"),
    (lambda F, x: F.interpolate(x, 2.5), TypeError, "size must be of integers, got 2.5"),
    (lambda F, x: F.interpolate(x, 2, align_corners=False), ValueError, "align_corners goes with linear, bilinear"),
    (lambda F, x: F.interpolate(x, 2, recompute_scale_factor=True), ValueError, "no meaning where size is given"),
    (lambda F, x: F.interpolate(x, 2, antialias=True), ValueError, "antialias goes with bilinear, bicubic"),
    (lambda F, x: F.interpolate(x, 2, mode="linear"), NotImplementedError, "mode 'linear' is for 3 dimensions"),
    (lambda F, x: F.interpolate(x, 2, mode="round"), NotImplementedError, "one of the modes nearest.*'round'"),
    (lambda F, x: F.interpolate(x[0, 0, 0], 2), NotImplementedError, "expected 3, 4 or 5 dimensions"),
    (lambda F, x: F.interpolate(x.long(), 2), NotImplementedError, "expected a floating-point tensor, got int64"),
    (lambda F, x: F.interpolate(x, 0), RuntimeError, r"cannot bring \[1, 2, 3, 4\] to \[0, 0\]"),
    (lambda F, x: F.interpolate(x[:, :0], 2), RuntimeError, "only the batch may be empty"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(F, tg.ones(1, 2, 3, 4))
    with pytest.raises(kind):
        f(torch_f, torch.ones(1, 2, 3, 4))
