"""Attention: every mask, layout and dtype, all gradients, dropout's choices, rows that see nothing, errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, compare, randn, transposed
from tests.conftest import TINY
from tritongrad.nn import attention
from tritongrad_kernels import launch, memory
from tritongrad_kernels.descriptors import Described

THEIRS = torch.nn.functional.scaled_dot_product_attention
SMALL_TILES = {name: row for name, row in TINY.items() if name.startswith("attention")}


@pytest.fixture(autouse=True)
def _fused() -> Iterator[None]:
    """The kernels of attention, and not what the interpreter takes instead where there are few scores."""
    with launch.tiles(short_attention={"SCORES": 0}):
        yield


def test_few_scores_are_products_and_a_softmax() -> None:
    """Which the interpreter has many heads of in a program: the same numbers, up to rounding."""
    q, k, v = randn(2, 3, 5, 4), randn(2, 3, 7, 4, seed=1), randn(2, 3, 7, 4, seed=2)
    with launch.tiles(short_attention={"SCORES": 35}), launch.recording() as log:
        for options in ({}, {"is_causal": True}, {"attn_mask": randn(5, 7, seed=3) > 0}):
            compared(q.shape, k.shape, v.shape, options.pop("attn_mask", None), options)
    assert "_small_matmul" in [one.kernel for one in log] and "_attention" not in [one.kernel for one in log]
    with launch.tiles(short_attention={"SCORES": 34}), launch.recording() as log:
        F.scaled_dot_product_attention(*map(tg.tensor, (q.astype("f4"), k.astype("f4"), v.astype("f4"))))
    assert [one.kernel for one in log] == ["_attention"]


@pytest.fixture(params=["tiles", "tiny"])
def blocks(request: pytest.FixtureRequest) -> Iterator[str]:
    """The tiles of attention alone made tiny: what else a test launches is quicker with its own."""
    with contextlib.nullcontext() if request.param == "tiles" else launch.tiles(**SMALL_TILES):
        yield request.param


def case(reason: str, q: tuple[int, ...], k: tuple[int, ...], width: int, mask: Any = None, **options: Any) -> Any:
    return pytest.param(q, k, (*k[:-1], width), mask, options, id=reason)


def some(*shape: int) -> np.ndarray:
    """Bools of which one row has none that is True."""
    mask = np.random.default_rng(4).random(shape) > 0.4
    mask[..., shape[-2] // 2, :] = False
    return mask


TILED = [
    case("ragged", (1, 2, 21, 7), (1, 2, 19, 7), 4),
    case("causal, more keys", (2, 17, 5), (2, 35, 5), 5, is_causal=True),
    case("causal, more queries", (2, 35, 5), (2, 18, 5), 3, is_causal=True),
    case("whole tiles", (2, 32, 16), (2, 32, 16), 32),
    case("whole tiles, causal", (1, 32, 16), (1, 48, 16), 16, is_causal=True),
    case("bools", (2, 2, 18, 8), (2, 2, 21, 8), 8, some(2, 1, 18, 21)),
    case("groups of heads", (1, 4, 17, 3), (1, 2, 18, 3), 3, is_causal=True, enable_gqa=True),
    case("groups of heads, bools", (1, 4, 17, 3), (1, 2, 18, 3), 3, some(4, 17, 18), enable_gqa=True),
]
OTHERS = [
    case("matrices", (5, 7), (6, 7), 4),
    case("one of everything", (1, 1, 1), (1, 1, 1), 1),
    case("padding of keys", (2, 2, 3, 4), (2, 2, 5, 4), 4, np.arange(5) < np.array([3, 1]).reshape(2, 1, 1, 1)),
    case("one bool", (2, 3, 4), (2, 5, 4), 4, np.array(True)),
    case("axes of extent 1", (2, 1, 5, 7), (1, 3, 6, 7), 4),
    case("one set of keys", (2, 3, 5, 7), (6, 7), 4),
    case("five axes", (2, 1, 2, 3, 4), (2, 1, 2, 5, 4), 4, is_causal=True),
    case("one mask for each group", (1, 4, 2, 3), (1, 2, 5, 3), 3, some(1, 1, 2, 5), enable_gqa=True),
    case("groups of one head", (1, 2, 2, 3), (1, 2, 5, 3), 3, enable_gqa=True),
    case("scale below 0", (2, 5, 7), (2, 6, 7), 4, scale=-0.7),
    case("scale 0", (2, 5, 7), (2, 6, 7), 4, scale=0.0),
    case("wide", (1, 3, 130), (1, 4, 130), 200),
    case("wider than the kernels", (1, 3, 3), (1, 4, 3), 257, is_causal=True),
    case("no queries", (1, 2, 0, 7), (1, 2, 6, 7), 4),
    case("no keys", (1, 2, 5, 7), (1, 2, 0, 7), 4),
    case("no batch", (0, 2, 5, 7), (0, 2, 6, 7), 4),
    case("keys of no numbers", (2, 5, 0), (2, 6, 0), 4),
    case("values of no numbers", (2, 5, 3), (2, 6, 3), 0),
]  # fmt: skip


def compared(q: tuple, k: tuple, v: tuple, mask: Any, options: dict, **how: Any) -> None:
    check(
        lambda *given: F.scaled_dot_product_attention(*given, **options),
        lambda *given: THEIRS(*given, **options),
        randn(*q, seed=1), randn(*k, seed=2), randn(*v, seed=3), *([] if mask is None else [mask]),
        terms=q[-1] + q[-2] + k[-2], **how,
    )  # fmt: skip


@pytest.mark.parametrize("q, k, v, mask, options", TILED)
def test_tiles(blocks: str, q: tuple, k: tuple, v: tuple, mask: Any, options: dict) -> None:
    compared(q, k, v, mask, options)


@pytest.mark.parametrize("q, k, v, mask, options", OTHERS)
def test_shapes(q: tuple, k: tuple, v: tuple, mask: Any, options: dict) -> None:
    compared(q, k, v, mask, options)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(dtype: str) -> None:
    compared((2, 9, 8), (2, 7, 8), (2, 7, 24), None, {"is_causal": True}, dtype=dtype)


DESCRIBED = [
    case("ragged", (2, 21, 24), (2, 19, 24), 8),
    case("ragged, causal", (2, 17, 8), (2, 35, 8), 8, is_causal=True),
    case("groups of heads", (2, 4, 17, 8), (2, 2, 18, 8), 8, is_causal=True, enable_gqa=True),
    case("one set of keys, bools", (2, 3, 16, 8), (18, 8), 8, some(16, 18)),
    case("whole tiles", (1, 2, 32, 16), (1, 2, 32, 16), 16, is_causal=True),
]


@pytest.mark.parametrize("q, k, v, mask, options", DESCRIBED)
def test_descriptors(q: tuple, k: tuple, v: tuple, mask: Any, options: dict) -> None:
    """Rows of 16 bytes, in halves, are copied by TMA where there is one; those of heads that share keys too."""
    with launch.tiles(**SMALL_TILES), launch.column("sm_90"), launch.recording() as log:
        compared(q, k, v, mask, options, dtype="bfloat16")
    assert [described(one) for one in log if one.kernel.startswith("_attention")] == [3, 5, 4]


@pytest.mark.parametrize("shape, view", [
    ((2, 3, 17, 7), lambda t: t),  # rows of 14 bytes
    ((2, 17, 8, 3), lambda t: t.transpose(2, 3)),
    ((2, 2, 2, 17, 8), lambda t: t.transpose(0, 2)),  # three axes that do not merge
])  # fmt: skip
def test_what_has_no_descriptor(shape: tuple, view: Any) -> None:
    packed = [tg.randn(*shape, dtype=tg.bfloat16) for _ in range(3)]
    with launch.tiles(**SMALL_TILES):
        with launch.column("sm_90"), launch.recording() as log:
            y = F.scaled_dot_product_attention(*map(view, packed))
        assert [described(one) for one in log] == [0]
        assert (y == F.scaled_dot_product_attention(*map(view, packed))).all()


def described(one: launch.Launch) -> int:
    """How many of a launch's arguments are descriptors."""
    return sum(isinstance(a, Described) for a in one.arguments)


PARTS = [
    case("ragged", (2, 2, 3, 5), (2, 2, 75, 5), 4),
    case("a part that is not seen", (2, 3, 4), (2, 70, 4), 4, np.arange(70) < np.array([[70], [20], [0]])),
    case("heads that share keys", (1, 4, 1, 8), (1, 2, 64, 8), 16, enable_gqa=True),
]


@pytest.mark.parametrize("q, k, v, mask, options", PARTS)
def test_few_queries_have_their_keys_in_parts(q: tuple, k: tuple, v: tuple, mask: Any, options: dict) -> None:
    with launch.tiles(**SMALL_TILES), launch.recording() as log:
        compared(q, k, v, mask, options)
    kernels = [one.kernel for one in log if one.kernel.startswith("_attention")]
    assert kernels == ["_attention", "_attention_parts", "_attention_query_grad", "_attention_key_grad"]


@pytest.mark.parametrize("mask", [None, some(4, 2, 7), some(4, 1, 7)[:, :, :1]])
def test_heads_of_one_query_that_share_keys_are_queries_of_one_head(mask: Any) -> None:
    mask = None if mask is None else mask[:, :1]
    with launch.recording() as log:
        compared((2, 4, 1, 8), (2, 2, 7, 8), (2, 2, 7, 3), mask, {"enable_gqa": True})
    assert [one.grid for one in log if one.kernel == "_attention"] == [(4,)]


def test_parts_are_a_property_of_the_shape() -> None:
    """Of many programs, of few keys, or in causal order, where most tiles have nothing to do, none."""
    for batch, queries, keys, causal, parts in (
        (1, 1, 8192, False, 16), (64, 1, 8192, False, 4), (128, 1, 8192, False, 1), (8, 1, 512, False, 1),
        (1, 2048, 2048, True, 1), (8, 256, 1024, False, 2), (2, 1, 131072, False, 128),
    ):  # fmt: skip
        with memory.dry_run(), launch.column("sm_90"), launch.recording() as log:
            q, k = (tg.empty(batch, n, 64, dtype=tg.bfloat16) for n in (queries, keys))
            F.scaled_dot_product_attention(q, k, k, is_causal=causal)
        tiles = -(-queries // 128)
        assert log[0].grid == (batch * tiles * parts,) and len(log) == 1 + (parts > 1)


def test_a_mask_of_numbers_has_a_gradient(blocks: str) -> None:
    """Of -inf, and of a row of it, the gradient is 0; axes the mask is broadcast along are summed."""
    mask = randn(2, 1, 5, 18, seed=4)
    mask[0, 0, 2] = mask[1, 0, :, 4] = -np.inf
    compared((2, 2, 5, 3), (2, 2, 18, 3), (2, 2, 18, 3), mask, {})


def test_keys_of_different_groups() -> None:
    check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        lambda q, k, v: THEIRS(q, k, v, enable_gqa=True),
        randn(6, 2, 4), randn(2, 3, 4), randn(3, 3, 4), terms=9,
    )  # fmt: skip


@pytest.mark.parametrize("q, k, v, mask, options", [
    case("causal", (2, 3, 3), (2, 4, 3), 2, is_causal=True),
    case("mask", (2, 3, 3), (2, 4, 3), 2, np.where(some(3, 4), randn(3, 4), -np.inf)),
])  # fmt: skip
def test_second_derivatives(q: tuple, k: tuple, v: tuple, mask: Any, options: dict) -> None:
    compared(q, k, v, mask, options, second=True)


def test_layouts() -> None:
    """Views are read where they lie, and results lie as queries do: heads beside each other are merged at no cost."""
    compared((2, 2, 5, 6), (2, 2, 6, 6), (2, 2, 6, 6), None, {}, wrap=transposed)
    packed = tg.randn(2, 5, 3, 4, 8, requires_grad=True)
    q, k, v = (packed[:, :, i].transpose(1, 2) for i in range(3))
    with launch.recording() as log:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y.transpose(1, 2).view(2, 5, 32)
    assert [told.kernel for told in log] == ["_attention"]
    dy = y.detach()
    with launch.recording() as log:
        tg.autograd.grad(y, (q, k, v), dy)
    assert [told.kernel for told in log] == ["_attention_query_grad", "_attention_key_grad"]


def test_no_scores_are_stored() -> None:
    """Forward and backward take memory of the order of queries and keys, not of their product."""
    with memory.dry_run(), launch.recording() as log:
        q, k, v = (tg.empty(1, 8, 4096, 64, dtype=tg.bfloat16).requires_grad_() for _ in range(3))
        y = F.scaled_dot_product_attention(q, k, v)
        y.backward(y.detach())
    assert max(told.bytes for told in log) < 8 * q.numel() * 2


@pytest.mark.parametrize("p", [0.4, 1.0])
def test_dropout(blocks: str, p: float) -> None:
    """Kernels drop what the composition, which float64 takes, drops, forward and backward, at any tiles."""

    def grads(dtype: tg.dtype) -> list[tg.Tensor]:
        tg.manual_seed(3)
        given = [tg.tensor(randn(*s), dtype=dtype, requires_grad=True) for s in ((2, 2, 18, 4), (1, 2, 21, 4), (21, 3))]
        y = F.scaled_dot_product_attention(*given, dropout_p=p, is_causal=True)
        return [y, *tg.autograd.grad(y, given, y.detach() + 1)]

    for got, want in zip(grads(tg.float32), grads(tg.float64), strict=True):
        compare("dropout", got.detach(), torch.tensor(want.tolist(), dtype=torch.float64), 1e-5)


def test_how_much_is_dropped() -> None:
    q, eye = tg.zeros(3, 64, 8), tg.eye(64).expand(3, 64, 64)
    first, second = (F.scaled_dot_product_attention(q, q, eye, dropout_p=0.25) for _ in range(2))
    assert set(np.round(np.unique(first.numpy()), 6)) == {0, np.float32(round(1 / 64 / 0.75, 6))}
    assert abs((first == 0).float().mean().item() - 0.25) < 0.02
    assert abs(((first == 0) & (second == 0)).float().mean().item() - 0.0625) < 0.02
    assert abs(((first[0] == 0) & (first[1] == 0)).float().mean().item() - 0.0625) < 0.02


def test_dropout_has_second_derivatives_of_the_same_choice() -> None:
    q, k, v = (tg.randn(1, 5, 4, requires_grad=True) for _ in range(3))
    tg.manual_seed(1)
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    plain = tg.autograd.grad(y.sum(), (q, k, v), retain_graph=True)
    again = tg.autograd.grad(y.sum(), (q, k, v), create_graph=True)
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-5)


def test_infinities_and_nans() -> None:
    """A NaN of a key spoils the queries that see it; a score of infinity is one NaN of probability, as in torch."""
    k = randn(1, 1, 3, 4)
    k[..., 1, 0] = np.nan
    q, v = np.ones((1, 1, 3, 4)), randn(1, 1, 3, 4, seed=5)
    check(
        lambda *given: F.scaled_dot_product_attention(*given, is_causal=True),
        lambda *given: THEIRS(*given, is_causal=True),
        q, k, v, grads=False,
    )  # fmt: skip
    mask = np.zeros((3, 3))
    mask[0, 0], mask[1, 1] = np.inf, np.nan
    check(F.scaled_dot_product_attention, THEIRS, q, v, v, mask, grads=False)


def test_autocast() -> None:
    q = tg.randn(2, 3, 4)
    with tg.autocast("cpu"):
        assert F.scaled_dot_product_attention(q, q, q).dtype is tg.bfloat16


REFUSED = [
    ("vectors", lambda m: (m.ones(4), m.ones(4), m.ones(4)), {}),
    ("integers", lambda m: [m.ones(2, 4, dtype=m.int64)] * 3, {}),
    ("dtypes", lambda m: (m.ones(2, 4), m.ones(2, 4).double(), m.ones(2, 4)), {}),
    ("widths", lambda m: (m.ones(2, 4), m.ones(2, 5), m.ones(2, 5)), {}),
    ("numbers of keys", lambda m: (m.ones(2, 4), m.ones(3, 4), m.ones(2, 4)), {}),
    ("leading axes", lambda m: (m.ones(6, 2, 4), m.ones(2, 2, 4), m.ones(2, 2, 4)), {}),
    ("groups", lambda m: (m.ones(6, 2, 4), m.ones(4, 2, 4), m.ones(4, 2, 4)), {"enable_gqa": True}),
    ("groups of matrices", lambda m: [m.ones(2, 4)] * 3, {"enable_gqa": True}),
    ("causal and a mask", lambda m: [*[m.ones(2, 4)] * 3, m.ones(2, 2)], {"is_causal": True}),
    ("mask of integers", lambda m: [*[m.ones(2, 4)] * 3, m.ones(2, 2, dtype=m.int64)], {}),
    ("mask of float64", lambda m: [*[m.ones(2, 4)] * 3, m.ones(2, 2).double()], {}),
    ("mask of another shape", lambda m: [*[m.ones(2, 4)] * 3, m.ones(2, 3)], {}),
    ("mask of more", lambda m: [*[m.ones(2, 4)] * 3, m.ones(3, 2, 2)], {}),
    ("dropout", lambda m: [m.ones(2, 4)] * 3, {"dropout_p": 1.5}),
    ("a list", lambda m: ([1.0], m.ones(2, 4), m.ones(2, 4)), {}),
    ("a list as mask", lambda m: [*[m.ones(2, 4)] * 3, [True]], {}),
]


@pytest.mark.parametrize("given, options", [pytest.param(g, o, id=reason) for reason, g, o in REFUSED])
def test_errors(given: Any, options: dict) -> None:
    with pytest.raises(Exception) as theirs:
        THEIRS(*given(torch), **options)
    with pytest.raises(type(theirs.value), match="scaled_dot_product_attention"), launch.recording() as log:
        ours = given(tg)
        del log[:]
        F.scaled_dot_product_attention(*ours, **options)
    assert not log


def test_backends_are_names() -> None:
    q = tg.ones(2, 3)
    with attention.sdpa_kernel([attention.SDPBackend.MATH, attention.SDPBackend.FLASH_ATTENTION], set_priority=True):
        F.scaled_dot_product_attention(q, q, q)
    names = {"ERROR", "MATH", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "OVERRIDEABLE"}
    for name in names:
        assert int(getattr(attention.SDPBackend, name)) == int(getattr(torch.nn.attention.SDPBackend, name))
    with pytest.raises(AssertionError, match="expected an SDPBackend"), attention.sdpa_kernel("flash"):
        pass
