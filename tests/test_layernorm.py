"""Normalisation of rows and groups of channels: every layout, rows longer than a block, far means, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import EPS, check, compare, randn, transposed
from tritongrad_kernels import dtypes, launch, layernorm as kernel, memory
from tritongrad_kernels.array import empty

f = torch.nn.functional


def channels_last(t: tg.Tensor) -> tg.Tensor:
    return t.movedim(1, -1).contiguous().movedim(-1, 1) if t.ndim > 2 else t


def affine(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    return randn(*shape, seed=2, mean=0.5, std=2), randn(*shape, seed=3)


@pytest.mark.parametrize(("shape", "axes"), [((5, 7), 1), ((2, 3, 5, 7), 2), ((19,), 1), ((3, 1), 1)], ids=str)
def test_layer_norm(shape: tuple[int, ...], axes: int, tiles: str) -> None:
    x, (w, b), own = randn(*shape, seed=1, mean=3, std=5), affine(*shape[-axes:]), shape[-axes:]
    check(lambda *t: F.layer_norm(t[0], own, *t[1:]), lambda *t: f.layer_norm(t[0], own, *t[1:]), x, w, b, terms=35)


@pytest.mark.parametrize("shape", [(5, 7), (3, 37)], ids=str)
def test_rms_norm(shape: tuple[int, ...], tiles: str) -> None:
    x, w, own = randn(*shape, seed=1, mean=1, std=3), affine(shape[-1])[0], shape[-1:]
    check(lambda x, w: F.rms_norm(x, own, w), lambda x, w: f.rms_norm(x, own, w), x, w, terms=37)


@pytest.mark.parametrize("wrap", [None, channels_last], ids=["contiguous", "channels last"])
@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 6, 5, 3), 3), ((2, 6, 5), 1), ((3, 4, 2, 2, 3), 4)], ids=["image", "one group", "volume"]
)
def test_group_norm(shape: tuple[int, ...], groups: int, wrap: Any, tiles: str) -> None:
    x, (w, b) = randn(*shape, seed=1, mean=3, std=5), affine(shape[1])
    check(
        lambda *t: F.group_norm(t[0], groups, *t[1:]), lambda *t: f.group_norm(t[0], groups, *t[1:]), x, w, b,
        terms=90, wrap=wrap,
    )  # fmt: skip


def test_images_stay_channels_last_without_a_copy() -> None:
    x = channels_last(tg.tensor(randn(2, 4, 3, 5)))
    assert F.group_norm(x, 2).is_contiguous(memory_format=tg.channels_last)
    assert F.group_norm(x.contiguous(), 2).is_contiguous()


def test_matrices_have_groups_too() -> None:
    x, (w, b) = randn(5, 6), affine(6)
    check(lambda *t: F.group_norm(t[0], 2, *t[1:]), lambda *t: f.group_norm(t[0], 2, *t[1:]), x, w, b, terms=6)


def test_without_weights_expanded_gradients_and_gaps() -> None:
    x, (w, b) = randn(3, 4, 5, mean=2), affine(5)
    check(lambda x: F.layer_norm(x, (4, 5)), lambda x: f.layer_norm(x, (4, 5)), x, terms=20, wrap=transposed)
    check(lambda x: F.rms_norm(x, (5,), eps=0.5), lambda x: f.rms_norm(x, (5,), eps=0.5), x, terms=5, wrap=transposed)
    check(lambda x: F.group_norm(x, 2), lambda x: f.group_norm(x, 2), x, terms=20, wrap=transposed)
    check(lambda x, b: F.layer_norm(x, (5,), None, b), lambda x, b: f.layer_norm(x, (5,), None, b), x, b, terms=5)
    check(lambda *t: F.layer_norm(t[0], (5,), *t[1:]).sum(), lambda *t: f.layer_norm(t[0], (5,), *t[1:]).sum(),
          x, w, b, terms=60, wrap=transposed)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_dtypes(dtype: str) -> None:
    x, (w, b) = randn(3, 4, 6, seed=1, mean=2, std=2), affine(6)
    check(lambda *t: F.layer_norm(t[0], (6,), *t[1:]), lambda *t: f.layer_norm(t[0], (6,), *t[1:]), x, w, b,
          dtype=dtype, terms=12)  # fmt: skip
    check(lambda *t: F.rms_norm(t[0], (6,), t[1], 1e-5), lambda *t: f.rms_norm(t[0], (6,), t[1], 1e-5), x, w,
          dtype=dtype, terms=12)  # fmt: skip
    check(lambda *t: F.group_norm(t[0], 2), lambda *t: f.group_norm(t[0], 2), x, dtype=dtype, terms=12)


def test_half_rows_with_float32_weights() -> None:
    x, w = tg.randn(4, 6).bfloat16().requires_grad_(), tg.randn(6, requires_grad=True)
    y = F.layer_norm(x, (6,), w)
    y.sum().backward()
    assert y.dtype is x.grad.dtype is tg.bfloat16 and w.grad.dtype is tg.float32


def test_second_derivatives() -> None:
    x, (w, b) = randn(3, 4, 5, std=2), affine(5)
    check(lambda *t: F.layer_norm(t[0], (5,), *t[1:]), lambda *t: f.layer_norm(t[0], (5,), *t[1:]), x, w, b,
          second=True, terms=20)  # fmt: skip
    check(lambda *t: F.rms_norm(t[0], (4, 5)), lambda *t: f.rms_norm(t[0], (4, 5)), x, second=True, terms=20)
    w, b = affine(4)
    check(lambda *t: F.group_norm(t[0], 2, *t[1:]), lambda *t: f.group_norm(t[0], 2, *t[1:]), x, w, b,
          second=True, terms=20)  # fmt: skip


@pytest.mark.parametrize(("mean", "std"), [(1000.0, 0.01), (-1e4, 1.0), (0.0, 1e-4), (0.0, 1e6)], ids=str)
def test_moments_far_from_zero_and_one(mean: float, std: float, tiles: str) -> None:
    x = randn(3, 200, seed=1, mean=mean, std=std).astype(np.float32)
    want = f.layer_norm(torch.tensor(x, dtype=torch.float64), (200,))
    bound = 8 * EPS["float32"] * (2 + np.sqrt(200)) + 2 * EPS["float32"] * abs(mean) / std
    compare("y", F.layer_norm(tg.tensor(x), (200,)), want, bound)


def test_the_smallest_eps_is_that_of_the_accumulator() -> None:
    for dtype in ("float32", "float64", "bfloat16"):
        x = np.full((1, 4), 1e-4)
        mine = F.rms_norm(tg.tensor(x).to(getattr(tg, dtype)), (4,))
        compare(dtype, mine, f.rms_norm(torch.tensor(x).to(getattr(torch, dtype)), (4,)), 4 * EPS[dtype])


@pytest.mark.parametrize("wrap", [None, channels_last], ids=["contiguous", "channels last"])
def test_instance_norm(wrap: Any) -> None:
    x, (w, b) = randn(3, 4, 5, 2, mean=2), affine(4)
    mine = [tg.tensor(a) for a in affine(4)]
    theirs = [torch.tensor(a) for a in affine(4)]
    for m in (0.1, 0.5):
        check(
            lambda *t, m=m: F.instance_norm(t[0], *mine, *t[1:], momentum=m),
            lambda *t, m=m: f.instance_norm(t[0], *theirs, *t[1:], momentum=m),
            x, w, b, dtype="float64", terms=10, wrap=wrap,
        )  # fmt: skip
        for a, c in zip(mine, theirs, strict=True):
            compare("running", a, c, 1e-14)
    mine[1], theirs[1] = mine[1] ** 2, theirs[1] ** 2
    check(lambda x: F.instance_norm(x, *mine, use_input_stats=False),
          lambda x: f.instance_norm(x, *theirs, use_input_stats=False), x, dtype="float64", terms=4)  # fmt: skip
    check(lambda x: F.instance_norm(x), lambda x: f.instance_norm(x), x, terms=10, wrap=wrap, second=True)


@pytest.mark.parametrize(("shape", "size"), [((2, 5, 3), 3), ((2, 5, 2, 3), 4), ((1, 3, 2, 2, 2), 1)], ids=str)
def test_local_response_norm(shape: tuple[int, ...], size: int) -> None:
    x, more = randn(*shape, std=3), (0.5, 0.6, 2.0)
    check(lambda x: F.local_response_norm(x, size, *more), lambda x: f.local_response_norm(x, size, *more), x,
          terms=20, second=True)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "call"),
    [
        ((0, 3), lambda m, x: m.layer_norm(x, (3,), m.ones(3))),
        ((2, 0), lambda m, x: m.layer_norm(x, (0,))),
        ((0, 4, 2), lambda m, x: m.group_norm(x, 2, m.ones(4))),
        ((2, 4, 0), lambda m, x: m.group_norm(x, 2, m.ones(4), m.ones(4))),
        ((0, 3), lambda m, x: m.rms_norm(x, (3,), m.ones(3))),
        ((0, 4, 0), lambda m, x: m.nn.functional.local_response_norm(x, 2)),
    ],
    ids=["layer", "layer of none", "group", "group of none", "rms", "local response"],
)
def test_nothing_to_normalise(shape: tuple[int, ...], call: Any) -> None:
    found = []
    for m in (tg, torch):
        x = m.zeros(shape, requires_grad=True)
        y = call(m, x)
        y.sum().backward()
        found.append((list(y.shape), list(x.grad.shape)))
    assert found[0] == found[1]


def test_weights_of_nothing_have_gradient_zero() -> None:
    w, b = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    F.layer_norm(tg.zeros(0, 3), (3,), w, b).sum().backward()
    assert w.grad.tolist() == b.grad.tolist() == [0.0] * 3
    for shape in ((0, 3, 2), (2, 3, 0)):
        F.group_norm(tg.zeros(*shape), 1, w, b).sum().backward()
        assert w.grad.tolist() == b.grad.tolist() == [0.0] * 3


def test_names_of_old() -> None:
    x, (w, b) = randn(3, 4, 5), affine(4)
    stats = [tg.zeros(4), tg.ones(4)], [torch.zeros(4).double(), torch.ones(4).double()]

    def all_of(m: Any, x: Any, w: Any, b: Any, stats: list) -> Any:
        y = m.batch_norm(x, w, b, *stats, True, 0.1, 1e-5, False)
        y = y + m.instance_norm(x, w, b, None, None, True, 0.1, 1e-5, False) + m.group_norm(x, 2, w, b, 1e-5, True)
        return y + m.layer_norm(x, (5,), None, None, 1e-5, False) + m.rms_norm(x, (5,))

    check(lambda *t: all_of(tg, *t, stats[0]), lambda *t: all_of(torch, *t, stats[1]), x, w, b, terms=15)


WRONG = [
    (lambda m, x: m.layer_norm(x, (4,)), RuntimeError, "normalized_shape=\\[4\\]"),
    (lambda m, x: m.layer_norm(x, ()), RuntimeError, "at least 1-dim"),
    (lambda m, x: m.layer_norm(x, 3), TypeError, "must be tuple of ints"),
    (lambda m, x: m.layer_norm(x, (3,), x[0, 0, :2]), RuntimeError, "weight to be of same shape"),
    (lambda m, x: m.layer_norm(x, (3,), None, x[0, 0, :2]), RuntimeError, "bias"),
    (lambda m, x: m.layer_norm(x.long(), (3,)), NotImplementedError, "not implemented"),
    (lambda m, x: m.rms_norm(x, (4,)), RuntimeError, "normalized_shape=\\[4\\]"),
    (lambda m, x: m.rms_norm(x.long(), (3,)), NotImplementedError, "not implemented"),
    (lambda m, x: m.group_norm(x, 3), RuntimeError, "divisible by num_groups"),
    (lambda m, x: m.group_norm(x[0, 0], 3), RuntimeError, "at least 2 dimensions"),
    (lambda m, x: m.group_norm(x, 2, x[0, 0]), RuntimeError, "weight to be a vector of size equal"),
    (lambda m, x: m.group_norm(x[:1, :2, :1], 2), ValueError, "more than 1 value per channel"),
    (lambda m, x: m.instance_norm(x[..., :1]), ValueError, "more than 1 spatial element"),
    (lambda m, x: m.instance_norm(x, use_input_stats=False), RuntimeError, "running_mean and running_var to be"),
    (lambda m, x: m.local_response_norm(x[0], 2), ValueError, "3D or higher"),
    (lambda m, x: m.batch_norm(x.long(), None, None, training=True), NotImplementedError, ""),
    (lambda m, x: m.batch_norm(x, None, None, training=True, eps=0.0), ValueError, "eps must be positive"),
]


@pytest.mark.parametrize("k", range(len(WRONG)))
def test_errors(k: int) -> None:
    call, kind, words = WRONG[k]
    with pytest.raises(kind, match="(?i)" + words):
        call(F, tg.ones(2, 4, 3))
    with pytest.raises(kind):
        call(f, torch.ones(2, 4, 3))


def test_few_long_rows_have_programs_of_many_warps() -> None:
    """Unless they lie channels-last: what it takes to find their elements leaves no registers for that."""
    layouts = ("rows", "first", "last")
    with memory.dry_run(), launch.column("sm_90"), launch.recording() as log:
        for m, n in ((32, 1 << 16), (1024, 1 << 16), (32, 4096)):
            for layout in layouts:
                x, weight = empty((m, n), dtypes.bfloat16), empty((64,), dtypes.float32)
                kernel.layer_norm(x, weight, weight, 1e-5, m, n, layout=layout, groups=4, pixels=n // 16)
    assert [one.options["num_warps"] for one in log] == [16, 16, 4] + 6 * [4]
