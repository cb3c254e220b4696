"""Views, indexing, joining and splitting: against torch, with the gradients of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed

BASE = randn(4, 3, 5)  # nothing a power of two but one

VIEWS: dict[str, Callable] = {
    "reshape": lambda x: x.reshape(6, -1),
    "reshape_splits": lambda x: x.reshape(2, 2, 3, 5),
    "reshape_tuple": lambda x: x.reshape((60,)),
    "view": lambda x: x.view(12, 5),
    "view_as": lambda x: x.view_as(x.reshape(5, 12)),
    "flatten": lambda x: x.flatten(),
    "flatten_middle": lambda x: x.flatten(1, 2),
    "squeeze": lambda x: x[:1, :, :1].squeeze(),
    "squeeze_dim": lambda x: x[:1, :, :1].squeeze(-1),
    "squeeze_not_one": lambda x: x.squeeze(1),
    "squeeze_dims": lambda x: x[:1, :, :1].squeeze((0, 2)),
    "unsqueeze": lambda x: x.unsqueeze(-1).unsqueeze(0),
    "permute": lambda x: x.permute(2, 0, 1),
    "permute_negative": lambda x: x.permute((-1, 0, 1)),
    "transpose": lambda x: x.transpose(0, -1),
    "t": lambda x: x[0].t(),
    "T": lambda x: x[0].T,
    "mT": lambda x: x.mT,
    "expand": lambda x: x[:, :1].expand(-1, 6, 5),
    "expand_leading": lambda x: x[:1].expand(2, 3, 3, -1),
    "expand_as": lambda x: x[:1].expand_as(x),
    "broadcast_to": lambda x: x[0].broadcast_to((2, 3, 5)),
    "select": lambda x: x.select(1, -1),
    "narrow": lambda x: x.narrow(2, 1, 3),
    "narrow_negative": lambda x: x.narrow(0, -2, 1),
    "index": lambda x: x[1],
    "index_negative": lambda x: x[-1, 2],
    "index_all": lambda x: x[1, 2, 3],
    "slice": lambda x: x[1:3, :, ::2],
    "slice_negative": lambda x: x[-3:-1, ..., -2:],
    "slice_empty": lambda x: x[2:2],
    "slice_beyond": lambda x: x[2:100],
    "ellipsis": lambda x: x[..., 1],
    "none": lambda x: x[:, None, 1, None, ::3],
    "index_tensor": lambda x: x[x.argmax() * 0 + 2],
    "flip": lambda x: x.flip(0, 2),
    "flip_none": lambda x: x.flip(()),
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.permute(2, 1, 0).contiguous(),
    "sum_to_size": lambda x: x.sum_to_size(1, 5),
    "split": lambda x: x.split(2, 2)[1] * 2,
    "split_last": lambda x: x.split(2, 2)[2],
    "split_sizes": lambda x: x.split([1, 3, 1], -1)[1],
    "chunk": lambda x: x.chunk(3, 2)[2],
    "chunk_more_than_there_are": lambda x: x.chunk(9, 1)[2],
    "unbind": lambda x: x.unbind(1)[2] + x.unbind(1)[0],
    "iterate": lambda x: sum(v for v in x),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    f = VIEWS[name]
    check(f, f, BASE, second=True, terms=12)
    check(f, f, BASE, wrap=transposed, terms=12)


@pytest.mark.parametrize("name", ["reshape", "slice", "flip", "expand", "narrow", "contiguous"])
def test_views_of_every_dtype(name: str, tiles: str) -> None:
    f = VIEWS[name]
    for dtype in ("float64", "float16", "bfloat16"):
        check(f, f, BASE, dtype=dtype, terms=12)
    for kind in ("int64", "int32", "int16", "int8", "uint8", "bool"):
        x = np.arange(60).reshape(4, 3, 5)
        assert f(tg.tensor(x).to(getattr(tg, kind))).tolist() == f(torch.tensor(x).to(getattr(torch, kind))).tolist()


JOINS: dict[str, Callable] = {
    "cat": lambda lib, a, b: lib.cat([a, b], 1),
    "cat_negative": lambda lib, a, b: lib.cat((a, b[:, :2], a), -2),
    "cat_one": lambda lib, a, b: lib.cat([a * b]),
    "cat_empty_vector": lambda lib, a, b: lib.cat([lib.zeros(0), a, b], 2),
    "cat_empty_part": lambda lib, a, b: lib.cat([a[:, :0], b], 1),
    "stack": lambda lib, a, b: lib.stack([a, b, a], 1),
    "stack_last": lambda lib, a, b: lib.stack([a, b], -1),
}


@pytest.mark.parametrize("name", JOINS)
def test_joins(name: str) -> None:
    f, (a, b) = JOINS[name], (randn(2, 3, 3, seed=1), randn(2, 3, 3, seed=2))
    check(lambda x, y: f(tg, x, y), lambda x, y: f(torch, x, y), a, b, second=True)
    check(lambda x, y: f(tg, x, y), lambda x, y: f(torch, x, y), a, b, wrap=transposed)


def test_joining_promotes() -> None:
    for a, b in (("int64", "float16"), ("uint8", "int8"), ("bool", "int32"), ("float16", "bfloat16")):
        got = tg.cat([tg.ones(2, dtype=getattr(tg, a)), tg.ones(3, dtype=getattr(tg, b))])
        want = torch.cat([torch.ones(2, dtype=getattr(torch, a)), torch.ones(3, dtype=getattr(torch, b))])
        assert got.dtype.name == str(want.dtype).removeprefix("torch.") and got.tolist() == want.tolist()


def test_views_of_zero_and_one_elements() -> None:
    for shape in ((0,), (2, 0, 3), (1,), (1, 1), ()):
        x, y = tg.zeros(shape), torch.zeros(shape)
        for f in (
            lambda t: t.reshape(-1) if t.numel() else t, lambda t: t.flatten(), lambda t: t.squeeze(),
            lambda t: t.unsqueeze(0), lambda t: t.clone(), lambda t: t.contiguous(), lambda t: t.transpose(0, -1),
            lambda t: t.expand(3, *t.shape), lambda t: t.flip(0) if t.ndim else t, lambda t: t[...], lambda t: t[None],
        ):  # fmt: skip
            assert tuple(f(x).shape) == tuple(f(y).shape) and f(x).tolist() == f(y).tolist()


def test_views_share_memory_and_copies_do_not() -> None:
    x = tg.zeros(4, 3)
    for v in (
        x.t(),
        x[1:],
        x.reshape(12),
        x.view(2, 6),
        x.expand(2, 4, 3),
        x.unsqueeze(0),
        x[:, 1],
        x.detach(),
        x.data,
    ):
        assert v.array.memory is x.array.memory
    for v in (x.clone(), x.t().reshape(12), x.flip(0), x.t().contiguous(), x[::-1], tg.cat([x])):
        assert v.array.memory is not x.array.memory
    assert x.contiguous() is x and x.to(tg.float32) is x and x.to(copy=True) is not x
    x[1:3, 1] = 5
    assert x.reshape(12).tolist() == [0, 0, 0, 0, 5, 0, 0, 5, 0, 0, 0, 0]


def test_a_negative_step_reverses() -> None:
    check(lambda x: x[::-1, :, ::-2], lambda x: x.flip(0, 2)[:, :, ::2], BASE, second=True)


ASSIGNMENTS: dict[str, Callable] = {
    "row": lambda x, v: x.__setitem__(1, v[0]),
    "broadcast": lambda x, v: x.__setitem__((slice(None), 1), v[0, 0]),
    "slice": lambda x, v: x.__setitem__((slice(1, 4, 2), ..., slice(0, 4, 2)), v[:2, :, :2]),
    "number": lambda x, v: x.__setitem__((..., 2), 7),
    "none": lambda x, v: x.__setitem__((0, None), v[:1]),
    "leading_ones": lambda x, v: x.__setitem__(2, v[:1]),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assignment(name: str) -> None:
    def f(x, v):
        y = x * 2
        ASSIGNMENTS[name](y, v)
        return y * y + v

    check(f, f, BASE, randn(4, 3, 5, seed=3), terms=4)


def test_assignment_of_an_overlapping_part_and_to_a_reversed_one(tiles: str) -> None:
    x = tg.arange(40)
    x[1:] = x[:-1]
    assert x.tolist() == [0, *range(39)]
    x[::-1] = tg.arange(40)
    assert x.tolist() == list(range(39, -1, -1))


def test_layouts() -> None:
    x = tg.ones(2, 3, 4, 5)
    y = x.contiguous(memory_format=tg.channels_last)
    assert y.stride() == torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).stride()
    assert y.is_contiguous(memory_format=tg.channels_last) and not y.is_contiguous()
    assert y.contiguous().stride() == x.stride() and y.clone().stride() == y.stride()
    assert y.view(2, -1).tolist() == x.view(2, -1).tolist()  # where torch refuses, this copies
    check(lambda t: t.contiguous(memory_format="channels_last") * 2, lambda t: t * 2, randn(2, 3, 4, 5))


def test_the_same_bits_from_a_view_and_its_copy(tiles: str) -> None:
    x = tg.tensor(BASE)
    for f in VIEWS.values():
        assert f(x).tolist() == f(transposed(x)).tolist()


ERRORS: list[tuple[Callable, type[Exception], str]] = [
    (lambda x: x.reshape(7, -1), RuntimeError, r"reshape: shape \[7, -1\] is invalid .* \[4, 3, 5\]"),
    (lambda x: x.reshape(-1, -1), RuntimeError, r"reshape: shape \[-1, -1\] is invalid"),
    (lambda x: x.reshape(-2, -30), RuntimeError, r"reshape: shape \[-2, -30\] is invalid"),
    (lambda x: x[:0].reshape(0, -1), RuntimeError, r"reshape: shape \[0, -1\] is invalid"),
    (lambda x: x.view(tg.int32), TypeError, "view: reinterpreting"),
    (lambda x: x.flatten(2, 1), RuntimeError, "flatten: start_dim 2 comes after end_dim 1"),
    (lambda x: x.unsqueeze(5), IndexError, r"expected to be in range of \[-4, 3\], but got 5"),
    (lambda x: x.squeeze(3), IndexError, r"expected to be in range of \[-3, 2\], but got 3"),
    (lambda x: x.permute(0, 1), RuntimeError, r"permute: \[0, 1\] is not an order of the 3 axes"),
    (lambda x: x.permute(0, 1, 1), RuntimeError, r"permute: \[0, 1, 1\] is not an order"),
    (lambda x: x.transpose(0, 3), IndexError, "but got 3"),
    (lambda x: x.t(), RuntimeError, r"t: expected .* at most 2 dimensions, got shape \[4, 3, 5\]"),
    (lambda x: x.expand(4, 4, 5), RuntimeError, r"expand: .* \[4, 3, 5\] does not expand to \[4, 4, 5\]"),
    (lambda x: x.expand(3, 5), RuntimeError, "expand: .* does not expand"),
    (lambda x: x.expand(-1, 4, 3, 5), RuntimeError, "expand: .* does not expand"),
    (lambda x: x[:1].expand(-2, 3, 5), RuntimeError, "expand: .* does not expand"),
    (lambda x: x.sum_to_size(2, 3, 5), RuntimeError, r"sum_to_size: .*\[2, 3, 5\] does not broadcast to \[4, 3, 5\]"),
    (lambda x: x.sum_to_size(1, 4, 3, 5), RuntimeError, r"sum_to_size: .*\[1, 4, 3, 5\] does not"),
    (lambda x: x.select(0, 4), IndexError, "index 4 is out of bounds for dimension 0 with size 4"),
    (lambda x: x.narrow(0, 2, 3), RuntimeError, "narrow: start 2 and length 3 exceed dimension 0"),
    (lambda x: x.narrow(0, -5, 1), RuntimeError, "narrow: start -5"),
    (lambda x: x[0, 0, 0, 0], IndexError, "too many indices for tensor of dimension 3"),
    (lambda x: x[:, -4], IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
    (lambda x: x[0.5], TypeError, "indexing: expected integers, slices, None or Ellipsis, got float"),
    (lambda x: x[True], TypeError, "indexing: .* got bool"),
    (lambda x: x[x > 0], TypeError, "indexing: .* got Tensor"),
    (lambda x: x.__setitem__(0, tg.ones(4)), RuntimeError, r"setitem: a value of shape \[4\] does not fit"),
    (lambda x: x.flip(3), IndexError, "but got 3"),
    (lambda x: x.flip(0, 0), RuntimeError, "flip: .* more than once"),
    (lambda x: x.split([1, 1], 0), RuntimeError, r"split: sizes \[1, 1\] do not add up to 4"),
    (lambda x: tg.cat([]), RuntimeError, "cat: expected a non-empty list"),
    (lambda x: tg.cat([x, x[0]]), RuntimeError, r"cat: shapes \[4, 3, 5\], \[3, 5\] differ"),
    (lambda x: tg.cat([x[0], x[0, 0]], 1), RuntimeError, r"cat: shapes \[3, 5\], \[5\] differ"),
    (lambda x: tg.cat([x, x[:, :, :2]]), RuntimeError, r"cat: shapes .*, \[4, 3, 2\] differ outside dimension 0"),
    (lambda x: tg.cat([tg.tensor(1.0)]), RuntimeError, "cat: a tensor of no dimensions"),
    (lambda x: tg.stack([]), RuntimeError, "stack: expected a non-empty list"),
    (lambda x: tg.stack([x, x[0]]), RuntimeError, r"stack: shapes \[4, 3, 5\], \[3, 5\] differ"),
    (lambda x: len(tg.tensor(1.0)), TypeError, "len"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Callable, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(tg.tensor(BASE))
