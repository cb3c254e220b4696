"""Windows as columns, and columns as images: geometries, gradients of any order, dtypes, layers, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as theirs

import tritongrad as tg
import tritongrad.nn.functional as F
from tests.check import check, randn, transposed
from tritongrad import nn

GEOMETRIES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 5, 4), {"kernel_size": 3, "padding": 1}),
    ((1, 2, 7, 9), {"kernel_size": (2, 3), "dilation": (2, 1), "padding": (0, 4), "stride": (2, 3)}),
    ((2, 2, 4, 4), {"kernel_size": 1, "stride": 3}),  # pixels in no window, windows in the padding
    ((2, 5, 6), {"kernel_size": 2, "stride": 2}),
    ((0, 2, 3, 3), {"kernel_size": 2}),
]


def unfold(m: Any, **options: Any) -> Any:
    return lambda x: m.unfold(x, **options)


def fold(m: Any, size: tuple[int, ...], **options: Any) -> Any:
    return lambda x: m.fold(x, size, **options)


@pytest.mark.parametrize(("shape", "options"), GEOMETRIES)
def test_unfold_and_fold(shape: tuple[int, ...], options: dict) -> None:
    check(unfold(F, **options), unfold(theirs, **options), randn(*shape), second=True)
    columns = theirs.unfold(torch.ones(shape), **options).shape
    check(fold(F, shape[-2:], **options), fold(theirs, shape[-2:], **options), randn(*columns), terms=9, second=True)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_and_memory_orders(dtype: str, tiles: str) -> None:
    ours, reference = (lambda x, m=m: m.fold(m.unfold(x, 3, padding=1), (4, 5), 3, padding=1) for m in (F, theirs))
    check(ours, reference, randn(2, 3, 4, 5), terms=9, dtype=dtype, wrap=transposed)


@pytest.mark.parametrize(
    ("call", "shape"),
    [("Unfold((2, 3), dilation=2, padding=1)", (1, 2, 4, 6)), ("Fold((4, 5), 2, stride=(1, 2))", (2, 8, 6))],
)
def test_layers(call: str, shape: tuple[int, ...]) -> None:
    ours, reference = eval(call, vars(nn)), eval(call, vars(torch.nn))
    assert repr(ours) == repr(reference)
    check(ours, reference, randn(*shape), terms=4)


ERRORS = [
    ("F.unfold(x, 5)", RuntimeError, r"unfold: the window \(5, 5\) .* is larger than \[1, 2, 3, 4\]"),
    ("F.unfold(x, 0)", RuntimeError, "unfold: kernel_size .* must be positive"),
    ("F.unfold(x, (1, 2, 3))", RuntimeError, "unfold: kernel_size must be one or two integers"),
    ("F.unfold(x[0, 0], 2)", RuntimeError, r"unfold: expected an input \[N, C, H, W\]"),
    ("F.unfold(x.long(), 2)", NotImplementedError, "unfold: not implemented for int64"),
    ("F.fold(x[0], (3, 4), 2)", RuntimeError, r"fold: expected an input \[N, C 4, 6\]"),
    ("F.fold(tg.ones(1, 4, 5), (3, 4), 2)", RuntimeError, r"fold: 2 x 3 windows \(2, 2\) fit into \(3, 4\)"),
    ("F.fold(tg.ones(1, 4, 6).int(), (3, 4), 2)", NotImplementedError, "fold: not implemented for int32"),
]


@pytest.mark.parametrize(("code", "kind", "message"), ERRORS, ids=[c for c, _, _ in ERRORS])
def test_errors(code: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        eval(code, {"F": F, "tg": tg, "x": tg.ones(1, 2, 3, 4)})
