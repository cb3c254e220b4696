"""Tensors joined, repeated, turned around and padded, against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed

BASE = randn(4, 3, 5)

JOINS: dict[str, Callable] = {
    "cat": lambda lib, a, b: lib.cat([a, b], 1),
    "cat_negative": lambda lib, a, b: lib.cat((a, b[:, :2], a), -2),
    "cat_one": lambda lib, a, b: lib.cat([a * b]),
    "cat_axis": lambda lib, a, b: lib.cat([a, b], axis=2),
    "cat_empty_vector": lambda lib, a, b: lib.cat([lib.zeros(0), a, b], 2),
    "cat_empty_part": lambda lib, a, b: lib.cat([a[:, :0], b], 1),
    "cat_expanded": lambda lib, a, b: lib.cat([a[:, :1].expand(2, 4, 3), b], 1),
    "concat": lambda lib, a, b: lib.concat([a, b], 1) + lib.concatenate([b, a], dim=1),
    "stack": lambda lib, a, b: lib.stack([a, b, a], 1),
    "stack_last": lambda lib, a, b: lib.stack([a, b], -1),
    "stack_numbers": lambda lib, a, b: lib.stack([a[0, 0, 0], b[0, 0, 0]]),
    "hstack": lambda lib, a, b: lib.hstack([a, b]),
    "hstack_vectors": lambda lib, a, b: lib.hstack([a[0, 0], b[0, 0, 0]]),
    "vstack": lambda lib, a, b: lib.vstack((a, b)),
    "vstack_vectors": lambda lib, a, b: lib.vstack((a[0, 0], b[0])) + lib.row_stack((a[0, 0], b[0])),
    "dstack": lambda lib, a, b: lib.dstack([a[0], b[0]]),
    "dstack_vectors": lambda lib, a, b: lib.dstack([a[0, 0], b[0, 0]]),
    "column_stack": lambda lib, a, b: lib.column_stack([a[0, 0], b[0], a[0, 1]]),
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
    assert tg.cat([tg.ones(0, dtype=tg.float64), tg.ones(2)]).dtype is tg.float64


MOVES: dict[str, Callable] = {
    "repeat": lambda x: x.repeat(2, 1, 3),
    "repeat_leading": lambda x: x.repeat((2, 3, 1, 1, 2)),
    "repeat_nothing": lambda x: x.repeat(1, 0, 2),
    "repeat_number": lambda x: x[0, 0, 0].repeat(3),
    "repeat_number_once": lambda x: x[0, 0, 0].repeat(()),
    "tile": lambda x: x.tile(2, 3),
    "tile_leading": lambda x: x.tile((2, 1, 1, 3)),
    "repeat_interleave": lambda x: x.repeat_interleave(3),
    "repeat_interleave_axis": lambda x: x.repeat_interleave(2, 1),
    "repeat_interleave_nothing": lambda x: x.repeat_interleave(0, -1),
    "flip": lambda x: x.flip(0, 2),
    "flip_none": lambda x: x.flip(()),
    "flip_named": lambda x: x.flip(dims=[-1]),
    "fliplr": lambda x: x.fliplr() + x.flipud(),
    "rot90": lambda x: x.rot90(),
    "rot90_back": lambda x: x.rot90(-1, (2, 0)),
    "rot90_twice": lambda x: x.rot90(6, [1, 2]) + x.rot90(4),
    "roll": lambda x: x.roll(2),
    "roll_axis": lambda x: x.roll(-1, 1),
    "roll_axes": lambda x: x.roll((7, 1, 2), (2, 0, 2)),
    "roll_none": lambda x: x.roll(4, 0),
    "roll_number": lambda x: x[0, 0, 0].roll(1),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str) -> None:
    f = MOVES[name]
    check(f, f, BASE, second=True, terms=12)
    check(f, f, BASE, wrap=transposed, terms=12)


@pytest.mark.parametrize("name", ["repeat", "repeat_interleave_axis", "flip", "roll_axes"])
def test_moves_of_every_dtype(name: str, tiles: str) -> None:
    f = MOVES[name]
    for dtype in ("float64", "float16", "bfloat16"):
        check(f, f, BASE, dtype=dtype, terms=12)
    for kind in ("int64", "int32", "int16", "int8", "uint8", "bool"):
        x = np.arange(60).reshape(4, 3, 5)
        assert f(tg.tensor(x).to(getattr(tg, kind))).tolist() == f(torch.tensor(x).to(getattr(torch, kind))).tolist()


def test_repeating_each_so_often(tiles: str) -> None:
    for repeats, axis in (([1, 0, 3], 1), ([2, 0, 0, 1], 0), ([0, 0, 0], 1), ([2], 0), (2, -1), ([1, 2, 0, 0, 1], 2)):
        f = lambda x, r, a=axis: x.repeat_interleave(r, a)  # noqa: E731
        check(f, f, BASE, np.array(repeats), second=True, terms=4)
    check(lambda x, r: x[0, 0].repeat_interleave(r), lambda x, r: x[0, 0].repeat_interleave(r), BASE, np.arange(5))
    got = tg.repeat_interleave(tg.tensor([1, 2]), tg.tensor([2, 1]).int(), dim=0, output_size=3)
    assert got.tolist() == [1, 1, 2]


def test_repeated_tensors_share_no_memory() -> None:
    """Neither with what was repeated nor among their own elements, whatever the numbers: they are written to."""
    for f in (
        lambda x: x.repeat(1, 1),
        lambda x: x.repeat(2, 3, 1, 1),
        lambda x: x[:, :1].repeat(1, 4),
        lambda x: x[0, 0].repeat(()),
        lambda x: x.tile(1),
        lambda x: x.repeat_interleave(1, 0),
        lambda x: x[:1].repeat_interleave(3, 0),
    ):
        x = tg.ones(2, 3, requires_grad=True)
        y = f(x)
        y.detach()[...] = tg.arange(y.numel()).reshape(y.shape)
        assert x.sum().item() == 6 and y.flatten().tolist() == list(range(y.numel()))


def test_tensors_without_axes_or_elements() -> None:
    for lib in (tg, torch):
        for x in (lib.zeros(0), lib.zeros(2, 0, 3), lib.tensor(3.0)):
            sizes = (2,) * max(x.ndim, 1)
            assert tuple(x.repeat(*sizes).shape) == tuple(2 * n for n in (x.shape or (1,)))
            assert tuple(x.roll(1).shape) == tuple(x.shape) and tuple(x.flip(0).shape) == tuple(x.shape)
            assert x.repeat_interleave(2).numel() == 2 * x.numel()
        nothing = lib.zeros(2, 0)
        assert tuple(nothing.repeat_interleave(lib.tensor([], dtype=lib.int64), 1).shape) == (2, 0)
        assert tuple(lib.cat([nothing, lib.ones(2, 1)], 1).shape) == (2, 1)


PADS: dict[str, tuple] = {
    "constant": ((1, 2), "constant", 2.5),
    "constant_two_axes": ((1, 0, 2, 3), "constant", None),
    "constant_four_axes": ((0, 1, 1, 0, 2, 0, 0, 1), "constant", -1),
    "constant_cut": ((-1, -2), "constant", 0),
    "constant_both": ((-1, 2, 1, -2), "constant", 3),
    "constant_nothing_left": ((-2, -3), "constant", 0),
    "constant_none": ((0, 0), "constant", 0),
    "reflect": ((2, 1), "reflect", None),
    "reflect_two_axes": ((4, 3, 1, 2), "reflect", None),
    "reflect_cut": ((-1, 2), "reflect", None),
    "replicate": ((2, 1), "replicate", None),
    "replicate_two_axes": ((1, 7, 0, 2), "replicate", None),
    "replicate_cut": ((1, -2), "replicate", None),
    "circular": ((2, 5), "circular", None),
    "circular_two_axes": ((0, 3, 3, 1), "circular", None),
}


@pytest.mark.parametrize("name", PADS)
def test_padding(name: str, tiles: str) -> None:
    widths, mode, value = PADS[name]
    x = randn(2, 3, 3, 5) if len(widths) != 2 or mode == "constant" else BASE
    ours, theirs = ((lambda x, pad=lib.pad: pad(x, widths, mode, value)) for lib in (F, torch.nn.functional))
    check(ours, theirs, x, second=tiles == "tiles", terms=9)
    check(ours, theirs, x, wrap=transposed, dtype="bfloat16", terms=9)


def test_padding_of_every_dtype_and_of_nothing() -> None:
    for kind in ("int64", "int8", "uint8", "bool", "float16"):
        x, y = tg.ones(2, 3, dtype=getattr(tg, kind)), torch.ones(2, 3, dtype=getattr(torch, kind))
        assert F.pad(x, (1, 1), value=2).tolist() == torch.nn.functional.pad(y, (1, 1), value=2).tolist()
    assert F.pad(tg.zeros(0, 2), (1, 0, 1, 0), value=1).tolist() == [[1, 1, 1]]
    assert F.pad(tg.zeros(2), ()).tolist() == [0, 0] and F.pad(tg.tensor(3.0), ()).tolist() == 3


def test_padding_three_axes() -> None:
    for mode in ("reflect", "replicate", "circular"):
        ours, theirs = (
            (lambda x, pad=lib.pad, m=mode: pad(x, (1, 2, 0, 1, 2, 1), m)) for lib in (F, torch.nn.functional)
        )
        check(ours, theirs, randn(1, 2, 3, 4, 5), terms=27)


T = tg.tensor
ERRORS: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda x: tg.cat([]), RuntimeError, "cat: expected a non-empty list"),
    (lambda x: tg.cat([x, [1]]), TypeError, "cat: expected a tensor as element 1, got list"),
    (lambda x: tg.cat(x), TypeError, "cat: expected a list or tuple of tensors, got one tensor"),
    (lambda x: tg.cat([x, x[0]]), RuntimeError, r"cat: shapes \[4, 3, 5\], \[3, 5\] differ"),
    (lambda x: tg.cat([x[0], x[0, 0]], 1), RuntimeError, r"cat: shapes \[3, 5\], \[5\] differ"),
    (lambda x: tg.cat([x, x[:, :, :2]]), RuntimeError, r"cat: shapes .*, \[4, 3, 2\] differ outside dimension 0"),
    (lambda x: tg.cat([T(1.0)]), RuntimeError, "cat: a tensor of no dimensions"),
    (lambda x: tg.stack([]), RuntimeError, "stack: expected a non-empty list"),
    (lambda x: tg.stack([x, x[0]]), RuntimeError, r"stack: shapes \[4, 3, 5\], \[3, 5\] differ"),
    (lambda x: tg.stack([x, x], 4), IndexError, "but got 4"),
    (lambda x: tg.hstack([]), RuntimeError, "hstack: expected a non-empty list"),
    (lambda x: x.repeat(2, 2), RuntimeError, r"repeat: expected at least 3 numbers, none below 0, .* got \[2, 2\]"),
    (lambda x: x.repeat(2, -1, 2), RuntimeError, "repeat: .* none below 0"),
    (lambda x: x.repeat_interleave(-1), RuntimeError, "repeat_interleave: repeats must not be negative, got -1"),
    (lambda x: x.repeat_interleave(T([1, 2]), 0), RuntimeError, r"tensor of 4 repeats, got int64\[2\]"),
    (lambda x: x.repeat_interleave(T([1, 2, 0, -1]), 0), RuntimeError, "repeats must not be negative"),
    (lambda x: x.repeat_interleave(tg.ones(4), 0), RuntimeError, r"got float32\[4\]"),
    (lambda x: x.repeat_interleave(T([1, 1, 1, 1]), 0, output_size=3), RuntimeError, "output_size is 3, .* up to 4"),
    (lambda x: x.flip(3), IndexError, "but got 3"),
    (lambda x: x.flip(0, 0), RuntimeError, "flip: .* more than once"),
    (lambda x: x[0, 0].fliplr(), RuntimeError, "fliplr: expected a tensor of at least 2 dimensions"),
    (lambda x: T(1.0).flipud(), RuntimeError, "flipud: expected a tensor of at least 1 dimension"),
    (lambda x: x.rot90(1, (0, 0)), RuntimeError, "rot90: .* more than once"),
    (lambda x: x.rot90(1, (0, 1, 2)), RuntimeError, "rot90: expected 2 dimensions"),
    (lambda x: x[0, 0].rot90(), RuntimeError, "rot90: expected a tensor of at least 2 dimensions"),
    (lambda x: x.roll(1, (0, 1)), RuntimeError, r"roll: shifts \[1\] and dims \[0, 1\]"),
    (lambda x: x.roll((1, 2)), RuntimeError, "roll: 2 shifts need as many dims"),
    (lambda x: F.pad(x, (1,)), RuntimeError, r"pad: expected two widths .* got \[1\]"),
    (lambda x: F.pad(x[0, 0], (1, 1, 1, 1)), RuntimeError, "pad: expected two widths for each of at most 1 axes"),
    (lambda x: F.pad(x, (-3, -3)), RuntimeError, "pad: the widths -3 and -3 leave nothing of dimension 2"),
    (lambda x: F.pad(x, (1, 1), "mirror"), NotImplementedError, "pad: unknown mode 'mirror'"),
    (lambda x: F.pad(x, (1, 1), "reflect", 2), ValueError, "takes no value, got 2"),
    (lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), "reflect"), NotImplementedError, "pads the last 1, 2 or 3 axes"),
    (lambda x: F.pad(x, (5, 0), "reflect"), RuntimeError, "widths 5 and 0 are too large for mode 'reflect'"),
    (lambda x: F.pad(x, (6, 0), "circular"), RuntimeError, "too large for mode 'circular'"),
    (lambda x: F.pad(x[..., :0], (1, 0), "replicate"), RuntimeError, "too large for mode 'replicate'"),
    (lambda x: F.pad(x, (-3, -3), "replicate"), RuntimeError, "leave nothing of dimension 2"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Callable, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f(tg.tensor(BASE))
