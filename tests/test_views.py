"""Views, parts and copies of tensors against torch, with the gradients of each."""

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
    "reshape_named": lambda x: x.reshape(shape=(3, 20)),
    "reshape_as": lambda x: x.reshape_as(x.permute(1, 0, 2)),
    "view": lambda x: x.contiguous().view(12, 5),
    "view_as": lambda x: x.contiguous().view_as(x.reshape(5, 12)),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "flatten_middle": lambda x: x.flatten(1, 2),
    "unflatten": lambda x: x.unflatten(0, (2, -1)),
    "unflatten_ones": lambda x: x.unflatten(-1, (1, 5, 1)),
    "squeeze": lambda x: x[:1, :, :1].squeeze(),
    "squeeze_dim": lambda x: x[:1, :, :1].squeeze(-1),
    "squeeze_not_one": lambda x: x.squeeze(1),
    "squeeze_dims": lambda x: x[:1, :, :1].squeeze((0, 2)),
    "unsqueeze": lambda x: x.unsqueeze(-1).unsqueeze(0),
    "permute": lambda x: x.permute(2, 0, 1),
    "permute_negative": lambda x: x.permute((-1, 0, 1)),
    "permute_named": lambda x: x.permute(dims=(1, 2, 0)),
    "transpose": lambda x: x.transpose(0, -1),
    "swapaxes": lambda x: x.swapaxes(0, 1) + x.swapdims(-3, -2),
    "movedim": lambda x: x.movedim(0, -1),
    "movedim_several": lambda x: x.movedim((0, 2), (1, 0)),
    "moveaxis": lambda x: x.moveaxis([2], [0]),
    "t": lambda x: x[0].t(),
    "t_of_a_vector": lambda x: x[0, 0].t(),
    "T": lambda x: x[0].T,
    "H": lambda x: x[0].H,
    "mT": lambda x: x.mT + x.mH + x.adjoint(),
    "expand": lambda x: x[:, :1].expand(-1, 6, 5),
    "expand_leading": lambda x: x[:1].expand(2, 3, 3, -1),
    "expand_to_nothing": lambda x: x[:1].expand(0, 3, 5),
    "expand_as": lambda x: x[:1].expand_as(x),
    "broadcast_to": lambda x: x[0].broadcast_to((2, 3, 5)),
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.permute(2, 1, 0).contiguous(),
    "sum_to_size": lambda x: x.sum_to_size(1, 5),
    "select": lambda x: x.select(1, -1),
    "narrow": lambda x: x.narrow(2, 1, 3),
    "narrow_negative": lambda x: x.narrow(0, -2, 1),
    "narrow_nothing": lambda x: x.narrow(0, 4, 0),
    "diagonal": lambda x: x.diagonal(),
    "diagonal_offset": lambda x: x.diagonal(1, 1, 2) * 2,
    "diagonal_below": lambda x: x.diagonal(-2, -1, 0),
    "diagonal_nothing": lambda x: x.diagonal(7),
    "diag": lambda x: x[0].diag(1),
    "diag_of_a_vector": lambda x: x[0, 0].diag(-2),
    "diag_embed": lambda x: x.diag_embed(),
    "diag_embed_between": lambda x: x.diag_embed(1, 0, 2),
    "trace": lambda x: x[0].trace() + x[:, :0, 0].trace(),
    "unfold": lambda x: x.unfold(2, 3, 1),
    "unfold_apart": lambda x: x.unfold(0, 1, 2),
    "unfold_first": lambda x: x.unfold(0, 3, 1).unfold(1, 2, 1),
    "unfold_nothing": lambda x: x.unfold(1, 0, 1),
    "as_strided": lambda x: x.contiguous().as_strided((3, 4), (5, 2), 1),
    "as_strided_repeats": lambda x: x.contiguous().as_strided((4, 3, 6), (2, 0, 3)),
    "as_strided_of_a_part": lambda x: (x * 1)[1:, :, ::2].as_strided((2, 2), (5, 2), 31),
    "as_strided_of_an_expanded": lambda x: (x[0, 0] * 1).expand(2, 5).as_strided((3,), (1,)),
    "as_strided_nothing": lambda x: x.contiguous().as_strided((0, 2), (1, 1)),
    "split": lambda x: x.split(2, 2)[1] * 2,
    "split_last": lambda x: x.split(2, 2)[2],
    "split_sizes": lambda x: x.split([1, 3, 1], -1)[1],
    "split_with_sizes": lambda x: x.split_with_sizes((3, 0, 2), 2)[2],
    "chunk": lambda x: x.chunk(3, 2)[2],
    "chunk_more_than_there_are": lambda x: x.chunk(9, 1)[2],
    "tensor_split": lambda x: x.tensor_split(3, 2)[1],
    "tensor_split_at": lambda x: x.tensor_split((1, -1, 9, 2), 2)[1] * 2,
    "unbind": lambda x: x.unbind(1)[2] + x.unbind(1)[0],
    "iterate": lambda x: sum(v for v in x),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    f = VIEWS[name]
    check(f, f, BASE, second=True, terms=12)
    if not name.startswith("as_strided"):  # speaks of memory
        check(f, f, BASE, wrap=transposed, terms=12)


@pytest.mark.parametrize("name", ["reshape", "expand", "narrow", "contiguous", "unfold", "as_strided_repeats"])
def test_views_of_every_dtype(name: str, tiles: str) -> None:
    f = VIEWS[name]
    for dtype in ("float64", "float16", "bfloat16"):
        check(f, f, BASE, dtype=dtype, terms=12)
    for kind in ("int64", "int32", "int16", "int8", "uint8", "bool"):
        x = np.arange(60).reshape(4, 3, 5)
        assert f(tg.tensor(x).to(getattr(tg, kind))).tolist() == f(torch.tensor(x).to(getattr(torch, kind))).tolist()


SPLITS: dict[str, Callable] = {
    "split": lambda x: x.split(2),
    "split_larger": lambda x: x.split(9, 1),
    "split_nothing": lambda x: x[:0].split(0),
    "split_nothing_into_something": lambda x: x[:0].split(3),
    "chunk": lambda x: x.chunk(3),
    "chunk_nothing": lambda x: x[:0].chunk(3),
    "chunk_many": lambda x: x.chunk(9),
    "tensor_split": lambda x: x.tensor_split(3, -1),
    "tensor_split_many": lambda x: x.tensor_split(9),
    "tensor_split_at": lambda x: x.tensor_split([-3, 2, 2, 9], 2),
    "hsplit": lambda x: x.hsplit([1]) + x[0, 0].hsplit(5),
    "vsplit": lambda x: x.vsplit(2),
    "dsplit": lambda x: x.dsplit((2, 3)),
    "unbind": lambda x: x.unbind(-1),
    "unbind_nothing": lambda x: x[:0].unbind(0),
}


@pytest.mark.parametrize("name", SPLITS)
def test_splitting(name: str) -> None:
    got, want = SPLITS[name](tg.tensor(BASE)), SPLITS[name](torch.tensor(BASE))
    assert [p.tolist() for p in got] == [p.tolist() for p in want]
    assert [tuple(p.shape) for p in got] == [tuple(p.shape) for p in want]


def test_broadcasting_together() -> None:
    assert tg.broadcast_shapes((2, 1), 3, (1, 1, 1)) == (1, 2, 3) and tg.broadcast_shapes((0, 1), (1,)) == (0, 1)
    f = lambda lib: lambda x, y: lib.broadcast_tensors(x, y)[0] * lib.broadcast_tensors(x, y)[1]  # noqa: E731
    check(f(tg), f(torch), randn(3, 1), randn(1, 4), second=True, terms=4)
    assert tg.broadcast_tensors() == []


def test_matrices_from_and_to_their_diagonals() -> None:
    for lib in (tg, torch):
        assert lib.diagflat(lib.tensor([[1, 2]]), 1).tolist() == [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
        assert lib.trace(lib.tensor([[1, 2], [3, 4]]).to(lib.int32)).dtype is lib.int64


def test_at_least_so_many_axes() -> None:
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        for shape in ((), (3,), (2, 3), (2, 3, 1), (2, 1, 3, 1)):
            x = np.arange(np.prod(shape)).reshape(shape)
            got, want = getattr(tg, name)(tg.tensor(x)), getattr(torch, name)(torch.tensor(x))
            assert got.tolist() == want.tolist()
        both = getattr(tg, name)(tg.tensor(1), tg.tensor([2]))
        assert isinstance(both, tuple) and both[0].ndim == both[1].ndim == getattr(tg, name)([tg.tensor(1)])[0].ndim


def test_the_bytes_as_another_dtype() -> None:
    for x in (randn(4, 3, 6), np.arange(24).reshape(2, 12)):
        for kind in ("int64", "float32", "int16", "uint8", "float64"):
            got, want = tg.tensor(x).view(getattr(tg, kind)), torch.tensor(x).view(getattr(torch, kind))
            np.testing.assert_array_equal(got.numpy(), want.numpy())
            assert got.stride() == want.stride()
    x = tg.tensor([[0.0, 1.0, 2.0, 3.0]], dtype=tg.float32)
    assert x[:, 2:].view(tg.int64).tolist() == torch.tensor([[2.0, 3.0]]).view(torch.int64).tolist()
    assert x.view(dtype=tg.int32).view(tg.float32).tolist() == x.tolist() and x.t().view(tg.int32).shape == (4, 1)


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


def test_layouts() -> None:
    x = tg.ones(2, 3, 4, 5)
    y = x.contiguous(memory_format=tg.channels_last)
    assert y.stride() == torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).stride()
    assert y.is_contiguous(memory_format=tg.channels_last) and not y.is_contiguous()
    assert y.contiguous().stride() == x.stride() and y.clone().stride() == y.stride()
    assert y.view(2, -1).tolist() == x.view(2, -1).tolist()  # where torch refuses, this copies
    check(lambda t: t.contiguous(memory_format=tg.channels_last) * 2, lambda t: t * 2, randn(2, 3, 4, 5))


def test_the_same_bits_from_a_view_and_its_copy(tiles: str) -> None:
    x = tg.tensor(BASE)
    for f in VIEWS.values():
        assert f(x).tolist() == f(transposed(x)).tolist()


ERRORS: list[tuple[Callable, type[Exception], str]] = [
    (lambda x: x.reshape(7, -1), RuntimeError, r"reshape: shape \[7, -1\] is invalid .* \[4, 3, 5\]"),
    (lambda x: x.reshape(-1, -1), RuntimeError, r"reshape: shape \[-1, -1\] is invalid"),
    (lambda x: x.reshape(-2, -30), RuntimeError, r"reshape: shape \[-2, -30\] is invalid"),
    (lambda x: x[:0].reshape(0, -1), RuntimeError, r"reshape: shape \[0, -1\] is invalid"),
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
    (lambda x: x.split([1, 1], 0), RuntimeError, r"split: sizes \[1, 1\] do not add up to 4"),
    (lambda x: len(tg.tensor(1.0)), TypeError, "len"),
    (lambda x: x.view(tg.float16)[..., :3].view(tg.float32), RuntimeError, "must be divisible by 2 to read float16"),
    (lambda x: x.mT.view(tg.int32), RuntimeError, "view: reading float64 as int32 needs a last dimension of stride 1"),
    (lambda x: x.unflatten(1, (2, 2)), RuntimeError, r"unflatten: sizes \[2, 2\] don't multiply up to 3"),
    (lambda x: x.unflatten(1, (-1, 2)), RuntimeError, "unflatten: sizes"),
    (lambda x: x.unflatten(1, ()), RuntimeError, "unflatten: sizes"),
    (lambda x: x.squeeze((0, 0)), RuntimeError, "squeeze: .* more than once"),
    (lambda x: x.movedim((0, 1), (0, 0)), RuntimeError, "movedim: .* none twice"),
    (lambda x: x.movedim(0, (0, 1)), TypeError, "movedim: expected two numbers"),
    (lambda x: x[0, 0].mT, RuntimeError, "adjoint: expected a matrix"),
    (lambda x: tg.broadcast_shapes((2,), (3,)), RuntimeError, r"broadcast_shapes: shapes \[2\] and \[3\]"),
    (lambda x: tg.tensor(1.0).select(0, 0), IndexError, "select: a tensor of no dimensions"),
    (lambda x: x.narrow(0, -5, 1), IndexError, "narrow: start -5"),
    (lambda x: x.narrow(0, 0, -1), RuntimeError, "narrow: start 0 and length -1"),
    (lambda x: tg.tensor(1.0).narrow(0, 0, 1), RuntimeError, "narrow: a tensor of no dimensions"),
    (lambda x: x.diagonal(0, 1, -2), RuntimeError, "diagonal: the dimensions 1 and -2 must not be the same"),
    (lambda x: x.diagonal(0, 1, 3), IndexError, "but got 3"),
    (lambda x: x.diag(), RuntimeError, "diag: expected a vector or a matrix, got a tensor of 3 dimensions"),
    (lambda x: x.trace(), RuntimeError, "trace: expected a matrix, got a tensor of 3 dimensions"),
    (lambda x: tg.diag_embed(tg.tensor(1.0)), IndexError, "but got -2"),
    (lambda x: x.unfold(1, 4, 1), RuntimeError, r"unfold: size 4 is not in 0 .. 3, the size of dimension 1"),
    (lambda x: x.unfold(1, 2, 0), RuntimeError, "unfold: step is 0"),
    (lambda x: x.as_strided((61,), (1,)), RuntimeError, "need memory of 61 elements, .* holds 60"),
    (lambda x: x.as_strided((2,), (-1,), 5), RuntimeError, "as_strided: invalid"),
    (lambda x: x.as_strided((2,), (1, 1)), RuntimeError, "as_strided: invalid"),
    (lambda x: x.split(0), RuntimeError, "split: the size of a piece must be greater than 0, got 0"),
    (lambda x: x.split([5, -1]), RuntimeError, "split: sizes"),
    (lambda x: tg.tensor(1.0).split(1), RuntimeError, "split: expected a tensor of at least 1 dimension"),
    (lambda x: x.chunk(0), RuntimeError, "chunk: expected at least 1 chunk, got 0"),
    (lambda x: x.tensor_split(0), RuntimeError, "tensor_split: expected at least 1 section"),
    (lambda x: x.hsplit(2), RuntimeError, r"hsplit: dimension 1 of \[4, 3, 5\] does not split into 2"),
    (lambda x: x[0].dsplit(2), RuntimeError, "dsplit: expected a tensor of at least 3 dimensions"),
    (lambda x: tg.tensor(1.0).unbind(), IndexError, "unbind: a tensor of no dimensions"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Callable, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(tg.tensor(BASE))
