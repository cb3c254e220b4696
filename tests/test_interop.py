"""Tensors among other things: numpy, DLPack, Python's numbers and containers, copies and pickles, memory."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import tritongrad as tg
from tests.properties import given, hnp, settings, st

pytestmark = pytest.mark.skipif(tg.cuda.is_available(), reason="memory is shared on the CPU")
DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_numpy_shares_memory_both_ways(dtype: str) -> None:
    values = np.zeros((3, 4), dtype)
    t = tg.from_numpy(values)
    values[1, 2] = 1
    assert t[1, 2].item() == 1 and t.dtype.name == dtype
    t[0].fill_(1)
    assert values.sum() == 5 and np.shares_memory(t.numpy(), values)
    tg.from_numpy(values.T)[3].zero_()
    tg.from_numpy(values[::2, 1:]).zero_()
    assert values.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_from_numpy_of_bfloat16_numbers_nothing_and_parts() -> None:
    values = np.array([1.5, 2.5], ml_dtypes.bfloat16)
    t = tg.from_numpy(values)
    t.mul_(2)
    assert values.tolist() == [3.0, 5.0] and t.dtype is tg.bfloat16
    number = np.array(3.0)
    tg.from_numpy(number).add_(1)
    assert number.item() == 4.0
    assert tg.from_numpy(np.zeros((2, 0))).shape == (2, 0)
    wide = np.broadcast_to(np.arange(3.0), (2, 3))  # read-only: copied
    t = tg.from_numpy(wide)
    t[0].zero_()
    assert wide.tolist() == [[0.0, 1.0, 2.0]] * 2 and t.tolist() == [[0.0] * 3, [0.0, 1.0, 2.0]]
    odd = np.frombuffer(bytearray(9), np.uint8)[1:].view(np.float32)  # between multiples of 4: copied
    assert tg.from_numpy(odd).tolist() == [0.0, 0.0]
    expanded = np.lib.stride_tricks.as_strided(np.arange(3.0), (2, 3), (0, 8))
    assert (tg.from_numpy(expanded) * 2).tolist() == [[0.0, 2.0, 4.0]] * 2


def test_the_owner_lives_as_long_as_the_tensor() -> None:
    class Owner(bytearray):
        pass

    owner = Owner(np.arange(1000.0).tobytes())
    gone = weakref.ref(owner)
    t = tg.from_numpy(np.frombuffer(owner))[3:]
    del owner
    gc.collect()
    assert gone() is not None and t[0].item() == 3.0
    del t
    gc.collect()
    assert gone() is None


@settings(derandomize=True, max_examples=30, deadline=None, database=None)
@given(data=st.data())
def test_any_strides_that_are_not_negative(data: st.DataObject) -> None:
    values = np.arange(120, dtype=np.int64).reshape(2, 3, 4, 5)
    values = values.transpose(data.draw(st.permutations(range(4))))
    part = values[data.draw(hnp.basic_indices(values.shape, allow_newaxis=False, allow_ellipsis=False))]
    if isinstance(part, np.ndarray) and min(part.strides, default=0) >= 0:
        t = tg.from_numpy(part)
        assert t.tolist() == part.tolist() == (t + 0).tolist() and (t.numpy().strides == part.strides or not part.size)


def test_arrays_that_have_no_tensor() -> None:
    structured = np.zeros(3, [("a", np.float32), ("b", np.int8)])["a"]
    cases: list[tuple[Any, type[Exception], str]] = [
        ([1], TypeError, "from_numpy: expected a numpy array, got list"),
        (np.ones(3)[::-1], ValueError, "from_numpy: an array with a negative stride"),
        (np.ones(3, np.uint32), TypeError, "uint32 has no counterpart"),
        (np.array("a"), TypeError, "no counterpart"),
        (structured, ValueError, r"from_numpy: strides of \[5\] bytes are no multiples of 4"),
    ]
    for values, kind, message in cases:
        with pytest.raises(kind, match=message):
            tg.from_numpy(values)


def test_writes_are_counted_however_memory_was_had() -> None:
    values = np.ones(3, np.float32)
    x = tg.from_numpy(values)
    w = tg.ones(3, requires_grad=True)
    y = (w * x).sum()
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_as_tensor_and_asarray_share_where_they_can() -> None:
    values, t = np.zeros(3), tg.zeros(3)
    for f in (tg.as_tensor, tg.asarray):
        assert f(t) is t or f(t).data_ptr() == t.data_ptr()
        assert np.shares_memory(f(values).numpy(), values)
        assert not np.shares_memory(f(values, dtype=tg.float32).numpy(), values)
        assert f([1, 2.5]).tolist() == [1.0, 2.5] and f(3).dtype is tg.int64 and f(values[::-1].copy()).shape == (3,)
    assert tg.as_tensor(values[::-1]).tolist() == [0.0] * 3
    assert not np.shares_memory(tg.asarray(values, copy=True).numpy(), values)
    assert tg.asarray(torch.ones(2)).tolist() == [1.0, 1.0]
    assert tg.asarray(values, requires_grad=True).requires_grad and not tg.asarray(t.requires_grad_()).requires_grad
    for refused in (lambda: tg.asarray([1], copy=False), lambda: tg.asarray(values, dtype=tg.int32, copy=False)):
        with pytest.raises(ValueError, match="needs a copy, which copy=False refuses"):
            refused()
    buffer = bytearray(np.arange(4, dtype=np.int32).tobytes())
    b = tg.frombuffer(buffer, dtype=tg.int32, count=2, offset=4)
    b.fill_(7)
    assert np.frombuffer(buffer, np.int32).tolist() == [0, 7, 7, 3]
    assert tg.frombuffer(bytes(4), dtype=tg.float32).tolist() == [0.0]


def test_numpy_out() -> None:
    leaf = tg.ones(2, requires_grad=True)
    for refused in (lambda: leaf.numpy(), lambda: np.asarray(leaf), lambda: (leaf * 2).numpy()):
        with pytest.raises(RuntimeError, match="requires grad"):
            refused()
    with tg.no_grad(), pytest.raises(RuntimeError, match="requires grad"):
        leaf.numpy()
    assert leaf.numpy(force=True).tolist() == [1.0, 1.0] and leaf.detach().numpy().tolist() == [1.0, 1.0]
    t = tg.ones(2, 3)
    assert np.shares_memory(np.asarray(t), t.numpy()) and np.asarray(t, np.int8).dtype == np.int8
    assert not np.shares_memory(np.array(t), t.numpy()) and np.shares_memory(np.array(t, copy=False), t.numpy())
    with pytest.raises(ValueError):
        np.array(t, np.int8, copy=False)
    assert np.add(t, 1).tolist() == [[2.0] * 3] * 2 and (np.float64(2) * t).tolist() == [[2.0] * 3] * 2
    assert isinstance(np.float64(2) * t, tg.Tensor)


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_dlpack_with_torch_and_numpy(dtype: str) -> None:
    t = tg.ones(4, 6, dtype=getattr(tg, dtype)).t()[1:, ::2]
    theirs = torch.from_dlpack(t)
    assert theirs.dtype == getattr(torch, dtype) and theirs.shape == t.shape and theirs.stride() == t.stride()
    t.zero_()
    assert not theirs.any() and theirs.data_ptr() == t.data_ptr()
    back = tg.from_dlpack(theirs)
    assert back.dtype is t.dtype and back.stride() == t.stride()
    theirs.fill_(1)
    assert back.bool().all() and back.data_ptr() == t.data_ptr()
    if dtype not in ("bfloat16",):
        values = np.from_dlpack(t)
        assert np.shares_memory(values, t.numpy()) and values.strides == t.numpy().strides
        made = np.ones((2, 3), dtype)
        shared = tg.from_dlpack(made)
        shared[0].zero_()
        assert made.tolist() == [[0] * 3, [1] * 3]


def test_dlpack_keeps_memory_alive_and_refuses() -> None:
    t = tg.from_dlpack(torch.arange(1000.0)[10:])
    gc.collect()
    assert t.tolist() == list(np.arange(10.0, 1000.0))
    theirs = torch.from_dlpack(tg.arange(1000))
    gc.collect()
    assert theirs.tolist() == list(range(1000))
    assert tg.ones(2).__dlpack_device__() == (1, 0) and tg.from_dlpack(t) is not t
    assert tg.from_dlpack(t, copy=True).data_ptr() != t.data_ptr() != tg.from_dlpack(theirs, copy=True).data_ptr()
    assert tg.from_dlpack(torch.zeros(2, 0)).shape == (2, 0) and torch.from_dlpack(tg.zeros(0)).shape == (0,)
    assert tg.from_dlpack(theirs, device="cpu").data_ptr() == theirs.data_ptr()
    with pytest.raises(BufferError, match="requires grad"):
        torch.from_dlpack(tg.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="from_dlpack: unknown dtype 'complex64'"):
        tg.from_dlpack(torch.zeros(2, dtype=torch.complex64))


def test_numbers_out_of_tensors() -> None:
    for m in (tg, torch):
        one, many, none = m.tensor([[1.75]]), m.ones(2), m.ones(0)
        assert (one.item(), int(one), float(one), bool(one)) == (1.75, 1, 1.75, True)
        assert [10, 20, 30][m.tensor([1])] == 20 and [10, 20][m.tensor(True)] == 20 and range(5)[m.tensor(2)] == 2
        for wrong in (many, none):
            for read, kind in (
                (lambda t: t.item(), RuntimeError),
                (int, ValueError),
                (float, ValueError),
                (bool, RuntimeError),
            ):
                with pytest.raises(kind):
                    read(wrong)
        for wrong in (m.tensor(1.0), m.ones(2, dtype=m.int64)):
            with pytest.raises(TypeError):
                [1, 2][wrong]
        assert m.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]] and m.tensor(2.5).tolist() == 2.5
        assert m.ones(1, dtype=m.bool).item() is True and m.tensor(0.5, dtype=m.bfloat16).tolist() == 0.5
        assert m.zeros(2, 0).tolist() == [[], []] and isinstance(m.ones(1).item(), float)
        assert f"{m.tensor(1.5):.2f} {m.tensor(3):d} {m.tensor(1.5)}" == "1.50 3 1.5"
        with pytest.raises(TypeError):
            f"{many:.2f}"


def test_tensors_as_containers() -> None:
    for m in (tg, torch):
        t = m.tensor([[1.0, 2.0], [3.0, 4.0]])
        assert len(t) == 2 and [row.tolist() for row in t] == [[1.0, 2.0], [3.0, 4.0]]
        _, b = t
        assert b[0].item() == 3.0 and 3 in t and 3.5 not in t and m.tensor(4.0) in t and list(m.ones(0)) == []
        assert t in {t} and len({t, t, m.ones(2)}) == 2 and {t: 1}[t] == 1
        for wrong in (len, iter):
            with pytest.raises(TypeError):
                wrong(m.tensor(1))
        with pytest.raises(RuntimeError, match="__contains__ only supports"):
            "a" in t  # noqa: B015


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_descriptions() -> None:
    for m in (tg, torch):
        t = m.ones(2, 3)
        assert (t.ndimension(), t.nelement(), t.get_device(), t.is_complex(), t.is_signed()) == (2, 6, -1, False, True)
        assert not (t.is_sparse or t.is_quantized or t.is_pinned() or t.is_shared()) and t.real is t
        assert t.t().untyped_storage().data_ptr() == t.data_ptr() == t[0].storage().data_ptr()
        assert t.untyped_storage().nbytes() == 24 == len(t.untyped_storage()) and t.storage().size() == 6
        assert m.ones(2, dtype=m.uint8).is_signed() is False and t.storage().element_size() == 4
        assert m.is_tensor(t) and not m.is_tensor([1]) and m.numel(t) == 6 and m.is_floating_point(t)
        assert not m.is_floating_point(t.long()) and not m.is_complex(t) and m.is_nonzero(m.tensor([2.0]))
        assert not m.is_nonzero(m.tensor(0)) and t.layout == m.strided and m.is_storage(t.storage())
        for wrong in (lambda m=m: m.numel([1]), lambda m=m: m.is_floating_point(1.0), lambda m=m: m.is_complex(1)):
            with pytest.raises(TypeError):
                wrong()
        with pytest.raises(RuntimeError):
            m.is_nonzero(t)
    t = tg.ones(2, 3)
    assert t.storage() == t.t().storage() != tg.ones(2).storage() and hash(t.storage()) == hash(t[1].storage())
    assert t.storage().device == t.device and not t.storage().is_pinned() and t.pin_memory() is t
    with pytest.raises(RuntimeError, match="share_memory_"):
        t.share_memory_()


def test_limits_of_dtypes() -> None:
    for name in ("float64", "float32", "float16", "bfloat16"):
        ours, theirs = tg.finfo(getattr(tg, name)), torch.finfo(getattr(torch, name))
        for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
            assert getattr(ours, field) == getattr(theirs, field), field
        assert repr(ours) == repr(theirs)
    for name in ("int64", "int32", "int16", "int8", "uint8"):
        ours, theirs = tg.iinfo(getattr(tg, name)), torch.iinfo(getattr(torch, name))
        assert (ours.bits, ours.min, ours.max, ours.dtype) == (theirs.bits, theirs.min, theirs.max, theirs.dtype)
        assert repr(ours) == repr(theirs)
    assert tg.finfo().dtype == "float32"
    for wrong in (lambda: tg.finfo(tg.int8), lambda: tg.iinfo(tg.float32), lambda: tg.iinfo(tg.bool)):
        with pytest.raises(TypeError):
            wrong()
    d = tg.float16
    assert (d.itemsize, d.is_floating_point, d.is_complex, d.is_signed) == (2, True, False, True)
    assert not tg.uint8.is_signed and not tg.bool.is_floating_point


def test_copies() -> None:
    t = tg.ones(2, 3, requires_grad=True)
    t.note = ["kept"]
    t.grad = tg.ones(2, 3)
    other, twin = copy.copy(t), copy.deepcopy(t)
    assert other is not t and other.data_ptr() == t.data_ptr() and other.requires_grad and other.note is t.note
    assert twin.data_ptr() != t.data_ptr() and twin.grad.data_ptr() != t.grad.data_ptr() and twin.note is not t.note
    assert (
        copy.deepcopy(tg.ones(2, 3).t()).stride() == (1, 3)
        and copy.deepcopy(tg.ones(3, dtype=tg.int8)).dtype is tg.int8
    )
    a, b = copy.deepcopy([t, t])
    assert a is b and a.note == ["kept"]
    with pytest.raises(RuntimeError, match="deepcopy: only leaf tensors"):
        copy.deepcopy(t * 2)
    assert not copy.deepcopy((t * 2).detach()).requires_grad
    view = copy.deepcopy(t.detach()[1:])
    view.zero_()
    assert t.detach()[1].tolist() == [1.0] * 3
    p = copy.deepcopy(tg.nn.Parameter(tg.ones(2)))
    assert type(p) is tg.nn.Parameter and p.requires_grad and type(copy.copy(p)) is tg.nn.Parameter
    frozen = copy.deepcopy(tg.nn.Parameter(tg.ones(2), requires_grad=False))
    assert not frozen.requires_grad


def test_pickles() -> None:
    for make in (
        lambda m: m.ones(2, 3).t(), lambda m: m.ones(2, dtype=m.int8), lambda m: m.zeros(0, 3), lambda m: m.tensor(2.5),
        lambda m: m.ones(3, requires_grad=True), lambda m: m.ones(4, 2)[::2], lambda m: m.ones(2, dtype=m.bfloat16),
        lambda m: m.ones(2, requires_grad=True) * 2,
    ):  # fmt: skip
        ours, theirs = (pickle.loads(pickle.dumps(make(m))) for m in (tg, torch))
        assert ours.tolist() == theirs.tolist() and ours.dtype.name == str(theirs.dtype)[6:] and ours.is_leaf
        assert ours.requires_grad == theirs.requires_grad and (
            ours.stride() == theirs.stride() or make(tg).stride() != (1, 3)
        )
    p = tg.nn.Parameter(tg.ones(2))
    p.note = "kept"
    back = pickle.loads(pickle.dumps(p))
    assert type(back) is tg.nn.Parameter and back.requires_grad and back.note == "kept"
    view = tg.ones(3)[1:]
    assert "aliasing" not in vars(pickle.loads(pickle.dumps(view)))
