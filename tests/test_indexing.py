"""x[key] and x[key] = value against torch: every kind of key, every mixture, gradients, errors, repeated places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.check import check, randn, transposed
from tests.properties import given, hnp, settings, st

BASE = randn(4, 3, 5)  # nothing a power of two but one
MASK = np.random.default_rng(5).random((4, 3, 5)) < 0.4

Key = Callable[[Any], Any]
VIEWS: dict[str, Key] = {
    "int": lambda T: 1,
    "negative": lambda T: (-1, 2),
    "all": lambda T: (1, 2, 3),
    "numpy_int": lambda T: np.int64(2),
    "tensor_int": lambda T: T(2),
    "int32_tensor_int": lambda T: (slice(None), T(-1).int()),
    "numpy_0d": lambda T: np.array(2),
    "slice": lambda T: (slice(1, 3), slice(None), slice(None, None, 2)),
    "slice_negative": lambda T: (slice(-3, -1), ..., slice(-2, None)),
    "slice_empty": lambda T: slice(2, 2),
    "slice_backwards": lambda T: slice(3, 1),
    "slice_beyond": lambda T: slice(2, 100),
    "slice_by_tensors": lambda T: slice(T(1), T(3)),
    "ellipsis": lambda T: (..., 1),
    "ellipsis_twice": lambda T: (..., 1, ...),
    "ellipsis_for_nothing": lambda T: (1, ..., 2, 0),
    "none": lambda T: (slice(None), None, 1, None, slice(None, None, 3)),
    "nothing": lambda T: (),
}
PICKS: dict[str, Key] = {
    "list": lambda T: [2, 0],
    "one_list_in_a_tuple": lambda T: ([0, 1],),
    "nested_list": lambda T: ([[0, 1], [1, 2]],),
    "empty_list": lambda T: [],
    "range": lambda T: range(2),
    "numpy": lambda T: np.array([3, -1, 3]),
    "repeated": lambda T: T([1, 1, -3, 0, 1]),
    "int32": lambda T: T([1, -1]).int(),
    "matrix": lambda T: T([[0, 3], [1, 1], [2, 0]]),
    "empty": lambda T: T([]).long(),
    "middle": lambda T: (slice(None), T([2, 0])),
    "last": lambda T: (..., T([[4, 0, 0]])),
    "two": lambda T: (T([0, 3, 3]), T([1, 2, 2])),
    "two_broadcast": lambda T: (T([[0], [3]]), T([1, 2, 0])),
    "three": lambda T: (T([0, 1]), T([1, 2]), T([-1, -5])),
    "apart": lambda T: (T([0, 1]), slice(None), T([1, 4])),
    "apart_by_none": lambda T: (slice(None), T([0, 1]), None, T([1, 2])),
    "side_by_side_behind": lambda T: (slice(None), T([0, 1]), T([1, 2])),
    "int_before": lambda T: (0, slice(None), T([1, 2])),
    "int_between": lambda T: (T([0, 1]), 1, T([1, 2])),
    "tensor_int_between": lambda T: (T([0, 1]), T(1), T([1, 2])),
    "none_before": lambda T: (None, T([2, 2])),
    "stepped": lambda T: (slice(None, None, 2), T([2, 0]), slice(None, None, 3)),
    "mask": lambda T: T(MASK),
    "mask_of_axis": lambda T: T([True, False, True, True]),
    "mask_list": lambda T: [True, False, False, True],
    "mask_numpy": lambda T: (slice(None), np.array([True, False, True])),
    "mask_of_two_axes": lambda T: T(MASK[..., 0]),
    "mask_behind": lambda T: (slice(None), T(MASK[0])),
    "mask_last": lambda T: (..., T(MASK[0, 0])),
    "mask_full": lambda T: T(np.ones((4, 3, 5), bool)),
    "mask_empty": lambda T: T(np.zeros((4, 3), bool)),
    "mask_and_index": lambda T: (T([True, False, True, True]), T([0, 2, 1])),
    "index_and_mask": lambda T: (T([1, 2, 0]), T(np.eye(3, 5) > 0)),
    "mask_and_mask": lambda T: (T([True, False, True, False]), slice(None), T([True, False, True, False, False])),
    "true": lambda T: True,
    "false": lambda T: False,
    "tensor_true": lambda T: T(True),
    "true_and_list": lambda T: (True, [0, 1]),
    "true_behind": lambda T: (T([0, 1]), True),
    "true_inside": lambda T: (slice(None), True, T([0, 1])),
}


def on(lib: Any, key: Key) -> Any:
    return key(lib.tensor)


@pytest.mark.parametrize("name", [*VIEWS, *PICKS])
def test_getitem(name: str) -> None:
    key = {**VIEWS, **PICKS}[name]
    check(lambda x: x[on(tg, key)], lambda x: x[on(torch, key)], BASE, second=True, terms=4)


@pytest.mark.parametrize("name", ["repeated", "two_broadcast", "mask_of_two_axes", "stepped"])
def test_getitem_with_any_tiles_strides_and_dtypes(name: str, tiles: str) -> None:
    key = PICKS[name]
    check(lambda x: x[on(tg, key)], lambda x: x[on(torch, key)], BASE, wrap=transposed, second=True, terms=4)
    for dtype in ("float64", "float16", "bfloat16"):
        check(lambda x: x[on(tg, key)], lambda x: x[on(torch, key)], BASE, dtype=dtype, terms=4)
    for kind in ("int64", "int32", "int16", "int8", "uint8", "bool"):
        x = np.arange(60).reshape(4, 3, 5) % 100
        ours, theirs = tg.tensor(x).to(getattr(tg, kind)), torch.tensor(x).to(getattr(torch, kind))
        assert ours[on(tg, key)].tolist() == theirs[on(torch, key)].tolist()


def test_getitem_of_an_expanded_tensor() -> None:
    x = randn(1, 3, 1)
    for key in (PICKS["repeated"], PICKS["mask"], PICKS["apart"]):
        ours, theirs = ((lambda x, lib=lib, key=key: x.expand(4, 3, 5)[on(lib, key)]) for lib in (tg, torch))
        check(ours, theirs, x, terms=60)


def test_a_negative_step_reverses() -> None:
    """torch has none."""
    check(lambda x: x[::-1, :, ::-2], lambda x: x.flip(0, 2)[:, :, ::2], BASE, second=True)
    check(lambda x: x[::-2, [2, 0]], lambda x: x.flip(0)[::2, [2, 0]], BASE, second=True)
    x = tg.tensor(BASE)
    x[::-1, tg.tensor([True, False, True])] = 0
    x[::-1, [1]] = tg.arange(4).double().reshape(4, 1, 1)
    assert x[:, ::2].tolist() == np.zeros((4, 2, 5)).tolist() and x[:, 1, 0].tolist() == [3, 2, 1, 0]


def test_a_list_is_a_tuple_only_if_it_holds_more_than_numbers() -> None:
    x = tg.tensor(BASE)
    assert x[[slice(0, 1), 2]].tolist() == BASE[:1, 2].tolist() and x[[None, 1]].tolist() == BASE[None, 1].tolist()
    assert x[[[0, 1], [1, 2]]].tolist() == BASE[[[0, 1], [1, 2]]].tolist()
    assert x[np.bool_(True)].shape == (1, 4, 3, 5)


def test_indexing_tensors_without_elements_and_without_axes() -> None:
    for shape, key in (
        ((0, 3), lambda T: T([]).long()), ((0, 3), lambda T: (slice(None), T([2, 1]))), ((), lambda T: T(True)),
        ((), lambda T: None), ((), lambda T: ...), ((), lambda T: False), ((2, 0), lambda T: T(np.ones((2, 0), bool))),
        ((0,), lambda T: T(np.ones(0, bool))), ((3,), lambda T: T(np.zeros((0, 2), int))), ((1, 1), lambda T: (0, [0])),
    ):  # fmt: skip
        got, want = tg.ones(shape)[on(tg, key)], torch.ones(shape)[on(torch, key)]
        assert tuple(got.shape) == tuple(want.shape) and got.tolist() == want.tolist()


ASSIGNED: dict[str, tuple[Key, tuple[int, ...]]] = {
    "row": (lambda T: 1, (3, 5)),
    "broadcast": (lambda T: (slice(None), 1), (5,)),
    "slices": (lambda T: (slice(1, 4, 2), ..., slice(0, 4, 2)), (2, 3, 2)),
    "none": (lambda T: (0, None), (1, 3, 5)),
    "leading_ones": (lambda T: 2, (1, 3, 5)),
    "index": (lambda T: T([2, 0]), (2, 3, 5)),
    "index_broadcast": (lambda T: T([2, -4]), (5,)),
    "index_leading_ones": (lambda T: T([2, -4]), (1, 1, 2, 3, 5)),
    "index_0d": (lambda T: T([2, 0]), ()),
    "index_last": (lambda T: (..., T([3, 1])), (4, 3, 2)),
    "index_middle": (lambda T: (slice(1, 3), T([2, 0])), (2, 2, 1)),
    "index_apart": (lambda T: (T([1, 3]), slice(None), T([0, 4])), (2, 3)),
    "index_stepped": (lambda T: (slice(None, None, 2), T([2, 0])), (2, 2, 5)),
    "mask": (lambda T: T(MASK), (int(MASK.sum()),)),
    "mask_one_element": (lambda T: T(MASK), (1,)),
    "mask_0d": (lambda T: T(MASK[:, 0, 0]), ()),
    "mask_behind_0d": (lambda T: (slice(None), T(MASK[0])), ()),
    "mask_rows": (lambda T: T([True, False, True, False]), (2, 3, 5)),
    "mask_part_0d": (lambda T: (slice(0, 2), T([True, False, True])), ()),
    "true": (lambda T: True, (3, 5)),
    "false": (lambda T: False, (3, 5)),
    "nothing_chosen": (lambda T: T(np.zeros((4, 3), bool)), (1, 5)),
}


@pytest.mark.parametrize("name", ASSIGNED)
def test_setitem(name: str) -> None:
    key, shape = ASSIGNED[name]

    def assign(lib: Any) -> Callable:
        def f(x: Any, v: Any) -> Any:
            y = x * 2
            y[on(lib, key)] = v
            return y * y + v.sum()

        return f

    check(assign(tg), assign(torch), BASE, randn(*shape, seed=3), terms=60)


NUMBERS = {"float": 2.5, "negative": -3, "bool": True, "int": 7}


@pytest.mark.parametrize("name", NUMBERS)
def test_setitem_of_numbers_in_every_dtype(name: str) -> None:
    for kind in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "bool"):
        for key in (ASSIGNED["slices"][0], ASSIGNED["index_apart"][0], ASSIGNED["mask"][0]):
            x, y = tg.ones(4, 3, 5, dtype=getattr(tg, kind)), torch.ones(4, 3, 5, dtype=getattr(torch, kind))
            x[on(tg, key)], y[on(torch, key)] = NUMBERS[name], NUMBERS[name]
            assert x.tolist() == y.tolist(), kind


AUGMENTED: dict[str, Key] = {k: PICKS[k] for k in ("mask", "two", "middle", "mask_and_index", "true_inside")}


@pytest.mark.parametrize("name", AUGMENTED)
def test_augmented_assignment(name: str) -> None:
    key = AUGMENTED[name]

    def augment(lib: Any) -> Callable:
        def f(x: Any, v: Any) -> Any:
            y = x * 1
            y[on(lib, key)] *= v[0]
            y[0] += v
            y[..., 1] -= 2 * v[1]
            return y * y

        return f

    check(augment(tg), augment(torch), BASE, randn(5, seed=3), terms=60)
    x, y = tg.zeros(4, 3, 5), torch.zeros(4, 3, 5)
    x[on(tg, key)] += 1
    y[on(torch, key)] += 1
    assert x.tolist() == y.tolist()  # once where an index is repeated, as torch and numpy have it


def test_assignment_of_an_overlapping_part_and_to_a_reversed_one(tiles: str) -> None:
    x = tg.arange(40)
    x[1:] = x[:-1]
    assert x.tolist() == [0, *range(39)]
    x[::-1] = tg.arange(40)
    assert x.tolist() == list(range(39, -1, -1))
    x[tg.arange(39)] = x[1:]
    assert x.tolist() == [*range(38, -1, -1), 0]


def test_of_values_for_one_place_the_last_stays(tiles: str) -> None:
    places = np.random.default_rng(0).integers(0, 7, 100)
    x, want = tg.zeros(7, 3), np.zeros((7, 3), np.float32)
    values = np.arange(300, dtype=np.float32).reshape(100, 3)
    x[tg.tensor(places)] = tg.tensor(values)
    for place, value in zip(places, values, strict=True):
        want[place] = value
    assert x.tolist() == want.tolist()


ACCUMULATED: dict[str, tuple[Callable[[Any], tuple], tuple[int, ...]]] = {
    "rows": (lambda T: (T([1, 1, 0, 1]),), (4, 3, 5)),
    "broadcast": (lambda T: (T([1, 1, 0, 1]),), (5,)),
    "pairs": (lambda T: (T([[1], [1]]), T([2, 2, 0])), (2, 3, 5)),
    "mask": (lambda T: (T(MASK),), (int(MASK.sum()),)),
    "mixed": (lambda T: (T([3, 3]), T([True, False, True])), (1,)),
}


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("name", ACCUMULATED)
def test_index_put(name: str, accumulate: bool) -> None:
    key, shape = ACCUMULATED[name]
    if not accumulate and name in ("rows", "pairs"):
        return  # torch does not say which value stays
    check(
        lambda x, v: x.index_put(on(tg, key), v, accumulate),
        lambda x, v: x.index_put(on(torch, key), v, accumulate),
        BASE,
        randn(*shape, seed=3),
        second=True,
        terms=60,
    )
    x, y = tg.zeros(4, 3, 5), torch.zeros(4, 3, 5)
    tg.index_put_(x, on(tg, key), tg.ones(*shape), accumulate)
    y.index_put_(on(torch, key), torch.ones(*shape), accumulate)
    assert x.tolist() == y.tolist()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_key(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    items: list[Any] = []
    common = data.draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=3))
    for extent in shape[: data.draw(st.integers(1, len(shape)))]:
        kind = data.draw(st.sampled_from(["slice", "int", "index", "mask", "none"]))
        if kind == "slice":
            step = data.draw(st.integers(1, 2))
            items.append(slice(data.draw(st.integers(-extent, extent)), data.draw(st.integers(-extent, extent)), step))
        elif kind == "int":
            items.append(data.draw(st.integers(-extent, extent - 1)))
        elif kind == "none":
            items += [None, slice(None)]
        elif kind == "index":
            items.append(data.draw(hnp.arrays(np.int64, common, elements=st.integers(-extent, extent - 1))))
        else:
            marks = np.zeros(extent, bool)
            marks[data.draw(st.integers(0, extent - 1))] = True  # one True broadcasts with any index
            items.append(marks)
    ours = tuple(tg.tensor(k) if isinstance(k, np.ndarray) else k for k in items)
    theirs = tuple(torch.tensor(k) if isinstance(k, np.ndarray) else k for k in items)
    got, want = tg.tensor(x)[ours], torch.tensor(x)[theirs]
    assert tuple(got.shape) == tuple(want.shape) and got.tolist() == want.tolist()
    a, b = tg.tensor(x), torch.tensor(x)
    a[ours] = -1
    b[theirs] = -1
    assert a.tolist() == b.tolist()


def test_uint8_is_a_mask_with_a_warning() -> None:
    marks = np.array([1, 0, 0, 2], np.uint8)
    with pytest.warns(UserWarning, match="uint8 is deprecated"):
        got = tg.tensor(BASE)[tg.tensor(marks)]
    assert got.tolist() == tg.tensor(BASE)[[0, 3]].tolist()


T = tg.tensor
ERRORS: list[tuple[Callable, type[Exception], str]] = [
    (lambda x: x[0, 0, 0, 0], IndexError, "too many indices for tensor of dimension 3"),
    (lambda x: x[T([0]), 0, 0, 0], IndexError, "too many indices"),
    (lambda x: x[T(BASE > 0), 0], IndexError, "too many indices"),
    (lambda x: tg.tensor(1.0)[0], IndexError, "too many indices for tensor of dimension 0"),
    (lambda x: x[:, -4], IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
    (lambda x: x[4], IndexError, "index 4 is out of bounds for dimension 0 with size 4"),
    (lambda x: x[T([0, 9, 1])], IndexError, "index 9 is out of bounds for dimension 0 with size 4"),
    (lambda x: x[:, T([0, 1]), T([-6, 0])], IndexError, "index -6 is out of bounds for dimension 2 with size 5"),
    (lambda x: x[:0][T([0])], IndexError, "index 0 is out of bounds for dimension 0 with size 0"),
    (lambda x: x.__setitem__(T([9]), 1.0), IndexError, "index 9 is out of bounds"),
    (lambda x: x[0.5], IndexError, r"only integers, slices .* \(got float\)"),
    (lambda x: x[{}], IndexError, r"only integers, slices .* \(got dict\)"),
    (lambda x: x[T([1.0])], IndexError, "tensors used as indices must be int64, int32, uint8 or bool .* got float32"),
    (lambda x: x[T([1]).short()], IndexError, "tensors used as indices .* got int16"),
    (lambda x: x[::0], ValueError, "slice step cannot be zero"),
    (lambda x: x[T([0, 1]), T([0, 1, 2])], IndexError, r"could not be broadcast together with shapes \[2\], \[3\]"),
    (lambda x: x[T([True, False])], IndexError, r"shape of the mask \[2\] does not match .* at dimension 0"),
    (lambda x: x[:, T(np.ones((2, 5), bool))], IndexError, r"shape of the mask \[2, 5\] does not match"),
    (lambda x: x.__setitem__(0, tg.ones(4)), RuntimeError, r"setitem: a value of shape \[4\] does not fit"),
    (lambda x: x.__setitem__(T([0]), tg.ones(4)), RuntimeError, r"a value of shape \[4\] does not fit .*\[1, 3, 5\]"),
    (lambda x: x.__setitem__(T(BASE > 9), tg.ones(3)), RuntimeError, r"a value of shape \[3\] does not fit .*\[0\]"),
    (lambda x: x.__setitem__(0, "a"), TypeError, "can't assign a str to a tensor"),
    (lambda x: x.__setitem__([0], [1, 2]), TypeError, "can't assign a list to a tensor"),
    (lambda x: x.__setitem__([0], tg.ones(1).double()), RuntimeError, "must have the dtype .* float64 for float32"),
    (lambda x: x.index_put_((T([0]), None), tg.ones(1)), TypeError, "expected a tensor as element 1"),
    (lambda x: x.index_put_((), tg.ones(1)), RuntimeError, "at least one index"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(f: Callable, kind: type[Exception], message: str) -> None:
    x = tg.tensor(BASE, dtype=tg.float32)
    with pytest.raises(kind, match=message):
        f(x)
    assert x.tolist() == tg.tensor(BASE, dtype=tg.float32).tolist()
