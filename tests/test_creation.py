"""Tensors from data, filled tensors, ranges and grids: values, dtypes, shapes, strides and errors as torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tritongrad as tg


def agree(ours: Any, theirs: Any) -> None:
    """The same dtype, shape, strides and, to a rounding, values."""
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            agree(a, b)
        return
    assert (ours.dtype.name, tuple(ours.shape), ours.requires_grad) == (
        str(theirs.dtype)[6:], tuple(theirs.shape), theirs.requires_grad,
    )  # fmt: skip
    if ours.numel():
        assert ours.stride() == theirs.stride()
    np.testing.assert_allclose(
        np.array(ours.tolist(), np.float64).reshape(tuple(ours.shape)),
        theirs.detach().double().numpy(),
        rtol=2e-7 if ours.itemsize > 2 else 1e-3,
    )


def both(call: Any) -> None:
    """`call(module)` gives the same, or raises the same type of exception, with either module."""
    try:
        want = call(torch)
    except Exception as error:
        kind = next(k for k in type(error).__mro__ if k.__module__ == "builtins")
        with pytest.raises(kind):
            call(tg)
    else:
        agree(call(tg), want)


def each(module: Any, data: Any) -> Any:
    """Nested data with every placeholder (a callable) made a tensor of the module."""
    return [each(module, d) for d in data] if isinstance(data, list) else data(module) if callable(data) else data


DATA = [
    1, 1.5, True, [1, 2], [1.0, 2], [True, 2], [True, 2.5], [[True]], [], [[], []], (1, 2.0), range(3), [range(2)],
    np.zeros(2), np.zeros((2, 0)), np.float16([1]), np.int8(3), np.float64(1), [np.float64(1)], [np.int8(1)],
    [np.int8(1), 2], [np.float32(1), 2.0], [np.array([1, 2]), np.array([3, 4])],
    lambda m: m.ones(2), [lambda m: m.tensor(1.5), 2], [lambda m: m.tensor(1), lambda m: m.tensor(2.0).double()],
    [lambda m: m.ones(1), lambda m: m.ones(1)], [[1, 2], [3]], "abc", ["a"], None, {}, [None], [1.5, None], 2**63, 1e40,
    [1, [3]], [lambda m: m.ones(2)], b"ab", {1},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", DATA, ids=[str(i) for i in range(len(DATA))])
def test_tensor_infers(data: Any) -> None:
    if str(data) == "['a']":  # torch says ValueError here and TypeError elsewhere
        with pytest.raises(TypeError, match=r"tensor: cannot make a tensor of a str: data\[0\] is 'a'"):
            tg.tensor(data)
    elif str(data) == "[1, [3]]":
        with pytest.raises(ValueError, match="unequal lengths"):
            tg.tensor(data)
    else:
        both(lambda m: m.tensor(each(m, data)))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "bool", "float16", "float32", "float64"])
def test_tensor_converts(dtype: str) -> None:
    for data in ([300], -1, [1.9], [2**40], [1e10], [-200], [-300], True, [], float("nan"), float("inf"), [0.1]):
        if not (dtype == "float16" and data == [2**40]):
            both(lambda m, data=data: m.tensor(data, dtype=getattr(m, dtype)))


def test_complex_numbers_are_refused() -> None:
    for make in (
        lambda: tg.tensor(1j),
        lambda: tg.tensor([1, 2j]),
        lambda: tg.tensor(np.zeros(2, np.complex64)),
        lambda: tg.full((2,), 1j),
        lambda: tg.arange(1j),
        lambda: tg.from_numpy(np.zeros(2, np.complex128)),
    ):
        with pytest.raises(TypeError, match="complex"):
            make()


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_of_a_tensor_is_a_leaf_of_its_own() -> None:
    x = tg.ones(2, requires_grad=True)
    y = tg.tensor(x)
    assert not y.requires_grad and y.data_ptr() != x.data_ptr()
    both(lambda m: m.tensor(m.ones(2, 3).t(), dtype=m.int64))
    both(lambda m: m.tensor([1.0], requires_grad=True))
    both(lambda m: m.tensor([1], requires_grad=True))


FILLED = [
    lambda m: m.zeros(2, 3), lambda m: m.zeros((2, 3)), lambda m: m.zeros([2]), lambda m: m.zeros(()),
    lambda m: m.zeros(0),
    lambda m: m.zeros(size=(2, 3)), lambda m: m.zeros(m.tensor(2)), lambda m: m.zeros(2, -1), lambda m: m.zeros(2.0),
    lambda m: m.zeros(m.Size([2, 1])), lambda m: m.ones(2, dtype=m.bool), lambda m: m.ones(size=[2, 0]),
    lambda m: m.ones(2, requires_grad=True), lambda m: m.ones(2, dtype=m.int64, requires_grad=True),
    lambda m: m.ones(2, sizes=3), lambda m: m.full((2,), 7), lambda m: m.full((2,), 7.5), lambda m: m.full([2], True),
    lambda m: m.full((2,), 1, dtype=m.float16), lambda m: m.full((2,), m.tensor(2)), lambda m: m.full(3, 1),
    lambda m: m.full((2,), 300, dtype=m.uint8), lambda m: m.full((), float("nan")), lambda m: m.scalar_tensor(3),
    lambda m: m.scalar_tensor(True), lambda m: m.scalar_tensor(2.5, dtype=m.int32),
    lambda m: m.zeros_like(m.ones(2, 3).t()), lambda m: m.ones_like(m.ones(3, 1).expand(3, 4)),
    lambda m: m.ones_like(m.ones(2, 3).t(), memory_format=m.contiguous_format),
    lambda m: m.zeros_like(m.ones(2, 3, 4, 5), memory_format=m.channels_last), lambda m: m.zeros_like([1]),
    lambda m: m.zeros_like(m.ones(2, 3).t(), device="cpu", dtype=m.int32, layout=m.strided),
    lambda m: m.full_like(m.ones(2, dtype=m.int64), 3.5), lambda m: m.full_like(m.ones(2), m.tensor(3)),
    lambda m: m.full_like(m.ones(2, dtype=m.uint8), 256), lambda m: m.zeros_like(m.ones(2), requires_grad=True),
    lambda m: m.empty_like(m.ones(2, 3).t()).fill_(1), lambda m: m.empty(2, 0, 3), lambda m: m.empty(size=(0,)),
    lambda m: m.empty(2, 3, 4, 5, memory_format=m.channels_last).fill_(1),
    lambda m: m.empty_strided((2, 3), (1, 2)).fill_(1), lambda m: m.empty_strided((2, 3), (7, 2)).fill_(1),
    lambda m: m.empty_strided((2, 3), (1,)), lambda m: m.empty_strided((0, 3), (1, 1)),
    lambda m: m.ones(2).double().new_zeros(2, 3), lambda m: m.ones(2).long().new_ones((2,)),
    lambda m: m.ones(2).new_full((2,), 3), lambda m: m.ones(2).long().new_full((2,), 3.5),
    lambda m: m.ones(2).new_tensor([1, 2]), lambda m: m.ones(2).new_tensor(3, dtype=m.int64),
    lambda m: m.ones(2).new_empty((2, 0)), lambda m: m.ones(2).new([1, 2]), lambda m: m.ones(2).new(2, 0),
    lambda m: m.ones(2).new(), lambda m: m.ones(2).new_zeros(2, requires_grad=True), lambda m: m.ones(2).new(m.ones(3)),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(FILLED)))
def test_filled(case: int) -> None:
    both(FILLED[case])


RANGES = [
    lambda m: m.arange(5), lambda m: m.arange(end=3), lambda m: m.arange(2, 5), lambda m: m.arange(1, 10, 3),
    lambda m: m.arange(5, 1, -2), lambda m: m.arange(1, 2.5, 0.5), lambda m: m.arange(0, 1, 0.1),
    lambda m: m.arange(True),
    lambda m: m.arange(0), lambda m: m.arange(3, 3), lambda m: m.arange(0, 5, 0), lambda m: m.arange(5, 0),
    lambda m: m.arange(float("inf")), lambda m: m.arange(m.tensor(3)), lambda m: m.arange(0, 3, dtype=m.float16),
    lambda m: m.arange(2.5, dtype=m.int64), lambda m: m.arange(2**40, 2**40 + 3),
    lambda m: m.arange(-3, 3, dtype=m.int8),
    lambda m: m.arange(3, requires_grad=True), lambda m: m.arange(3.0, requires_grad=True),
    lambda m: m.arange(2**53, 2**53 + 4),
    lambda m: m.arange(10, dtype=m.float64), lambda m: m.arange(start=2, end=9, step=2),
    lambda m: m.arange(5, dtype=m.bool),
    lambda m: m.linspace(-1, 2, 7), lambda m: m.linspace(0, 1, 0), lambda m: m.linspace(3, 5, 1),
    lambda m: m.linspace(0, 10, 5, dtype=m.int64), lambda m: m.linspace(0, 1, -1),
    lambda m: m.linspace(m.tensor(0.0), 1, 3),
    lambda m: m.linspace(1, 0, steps=4, dtype=m.float64), lambda m: m.linspace(0, 1, 100),
    lambda m: m.linspace(2, 2, 3, requires_grad=True), lambda m: m.logspace(0, 2, 3),
    lambda m: m.logspace(-1, 1, 5, base=2),
    lambda m: m.logspace(0, 3, 4, base=2, dtype=m.int64), lambda m: m.logspace(0, 3, 4, dtype=m.int64),
    lambda m: m.eye(3), lambda m: m.eye(3, 4), lambda m: m.eye(2, 3, dtype=m.int64), lambda m: m.eye(0, 3),
    lambda m: m.eye(-1),
    lambda m: m.eye(2, requires_grad=True), lambda m: m.tril_indices(3, 3, 1), lambda m: m.triu_indices(2, 3),
    lambda m: m.tril_indices(4, 2, -1), lambda m: m.triu_indices(3, 3, -1), lambda m: m.triu_indices(0, 3),
    lambda m: m.tril_indices(3, 3, dtype=m.int32), lambda m: m.tril_indices(-1, 3),
    lambda m: m.meshgrid(m.arange(2), m.arange(3), indexing="ij"),
    lambda m: m.meshgrid(m.arange(2), m.arange(3), indexing="xy"),
    lambda m: m.meshgrid([m.arange(2), m.tensor(3)], indexing="ij"), lambda m: m.meshgrid(m.ones(2, 2), indexing="ij"),
    lambda m: m.meshgrid(m.arange(2), m.arange(3), m.arange(4), indexing="xy"), lambda m: m.meshgrid(indexing="ij"),
    lambda m: m.meshgrid(m.ones(2), m.arange(2), indexing="ij"), lambda m: m.meshgrid(m.ones(2), indexing="zz"),
    lambda m: m.meshgrid(m.ones(0), m.ones(2), indexing="ij"), lambda m: m.meshgrid(m.ones(2), indexing="xy"),
    lambda m: m.cartesian_prod(m.arange(2), m.arange(3)), lambda m: m.cartesian_prod(m.arange(2)),
    lambda m: m.cartesian_prod(m.arange(2), m.arange(0)), lambda m: m.cartesian_prod(m.ones(2, 2)),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(RANGES)))
def test_ranges(case: int) -> None:
    both(RANGES[case])


OUTS = [
    lambda m: m.empty(0), lambda m: m.empty(7), lambda m: m.empty(3, 2), lambda m: m.empty(2, 3).t(),
    lambda m: m.empty(6, dtype=m.int64), lambda m: m.empty(12, dtype=m.float64)[::2], lambda m: m.empty(6)[3:],
    lambda m: m.empty(6, 3, dtype=m.float16)[:, 1], lambda m: m.empty(6, requires_grad=True), lambda m: 3,
]  # fmt: skip
INTO_OUT = [
    lambda m, out: m.zeros(2, 3, out=out), lambda m, out: m.ones(6, out=out), lambda m, out: m.zeros(0, out=out),
    lambda m, out: m.full((3, 2), 2.5, out=out), lambda m, out: m.full((), True, out=out),
    lambda m, out: m.arange(6, out=out), lambda m, out: m.arange(0.0, 12, 2.0, out=out),
    lambda m, out: m.linspace(0, 5, 6, out=out), lambda m, out: m.logspace(0, 1, 6, out=out),
    lambda m, out: m.eye(2, 3, out=out), lambda m, out: m.zeros(3, out=out, dtype=m.float32),
    lambda m, out: m.ones(3, out=out, device="cpu", requires_grad=True), lambda m, out: m.empty(4, 5, out=out).fill_(1),
    lambda m, out: m.randn(6, out=out).fill_(0), lambda m, out: m.rand(2, 3, out=out).fill_(0),
    lambda m, out: m.randint(3, (6,), out=out).fill_(0), lambda m, out: m.randperm(6, out=out).fill_(0),
    lambda m, out: m.normal(0.0, 1.0, (6,), out=out).fill_(0),
    lambda m, out: m.bernoulli(m.ones(2, 3), out=out), lambda m, out: m.multinomial(m.ones(2, 3), 3, out=out).fill_(0),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:The number of elements in the out tensor", "ignore:.*it is resized")
@pytest.mark.parametrize("case", range(len(INTO_OUT)))
def test_into_memory_given(case: int) -> None:
    for make in OUTS:

        def filled(m: Any, make: Any = make) -> Any:
            out = make(m)
            result = INTO_OUT[case](m, out)
            assert result is out
            with m.no_grad():
                return result.requires_grad_(False)

        if isinstance(make(torch), torch.Tensor) and make(torch).requires_grad and case in (12, 13, 14, 15, 17):
            continue  # torch asks only whether it must resize, and fill_ refuses leaves
        both(filled)


def test_memory_given_is_used_and_grows_for_all_who_share_it() -> None:
    for m in (tg, torch):
        whole = m.zeros(4)
        view, address = whole[:2], whole.data_ptr()
        m.ones(3, out=view)
        assert whole.tolist() == [1, 1, 1, 0] and view.data_ptr() == address and view.shape == (3,)
        m.arange(100, out=view.resize_(0))
        assert whole.tolist() == [0, 1, 2, 3] and view.tolist() == list(range(100))
        assert whole.data_ptr() == view.data_ptr()


def test_ranges_meet_their_ends() -> None:
    for n in (2, 3, 10, 101):
        values = tg.linspace(0.1, 0.7, n, dtype=tg.float64).tolist()
        assert values[0] == 0.1 and values[-1] == 0.7
    assert tg.arange(0, 1, 0.1).tolist() == torch.arange(0, 1, 0.1).tolist()


def test_a_grid_gives_gradients_to_its_vectors() -> None:
    for m in (tg, torch):
        x = m.arange(3.0, requires_grad=True)
        a, b = m.meshgrid(x, m.ones(2), indexing="xy")
        (a * b).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0, 2.0]


CONSTRUCTED = [
    lambda m: m.Tensor(2, 0), lambda m: m.Tensor([1, 2]), lambda m: m.Tensor(), lambda m: m.Tensor(5.5),
    lambda m: m.Tensor((2, 3)), lambda m: m.Tensor(m.Size([2, 0])), lambda m: m.Tensor(np.ones(2)),
    lambda m: m.Tensor(-1),
    lambda m: m.Tensor(m.ones(2).long()), lambda m: m.Tensor("ab"), lambda m: m.Tensor([[1.5], [2]]),
    lambda m: m.Tensor([]),
    lambda m: m.LongTensor([1, 2]), lambda m: m.LongTensor(2, 0), lambda m: m.FloatTensor(m.ones(2)),
    lambda m: m.FloatTensor(m.ones(2).double()), lambda m: m.ByteTensor([1, 0]), lambda m: m.BoolTensor([[1, 0]]),
    lambda m: m.HalfTensor([0.5]), lambda m: m.DoubleTensor([0.1]), lambda m: m.IntTensor([3]),
    lambda m: m.CharTensor([-3]),
    lambda m: m.ShortTensor(), lambda m: m.BFloat16Tensor([1.0]),
    lambda m: m.ones(2).type(m.LongTensor), lambda m: m.ones(2).type("torch.LongTensor"),
    lambda m: m.ones(2).type(m.half),
    lambda m: m.ones(2).type("nonsense"), lambda m: m.ones(2).type("torch.FooTensor"),
    lambda m: m.autograd.Variable(m.ones(2), requires_grad=True), lambda m: m.autograd.Variable(m.ones(2)),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CONSTRUCTED)))
def test_constructors_of_old(case: int) -> None:
    both(CONSTRUCTED[case])


def test_types_of_old() -> None:
    if tg.cuda.is_available():
        pytest.skip("tensors are made on a GPU here")
    words = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long"}
    words |= {"int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"}
    for name, word in words.items():
        x, kind = tg.zeros(1, dtype=getattr(tg, name)), getattr(tg, f"{word}Tensor")
        assert x.type() == f"torch.{word}Tensor" == torch.zeros(1, dtype=getattr(torch, name)).type()
        assert isinstance(x, kind) and isinstance(x, tg.Tensor) and not isinstance(x, getattr(tg.cuda, f"{word}Tensor"))
        assert str(kind) == f"<class 'torch.{word}Tensor'>"
    assert not isinstance(tg.zeros(1), tg.LongTensor) and not isinstance(1.0, tg.FloatTensor)
    assert isinstance(tg.zeros(1), tg.autograd.Variable) and not isinstance([1.0], tg.autograd.Variable)
    with pytest.raises(RuntimeError, match="device cuda:0 was asked for but is not available"):
        tg.cuda.FloatTensor(2)
    x = tg.ones(2, requires_grad=True)
    y = tg.autograd.Variable(x)
    assert not y.requires_grad and y.data_ptr() == x.data_ptr()
    alias = tg.Tensor(x)
    assert alias.data_ptr() == x.data_ptr()


def test_sizes() -> None:
    for m in (tg, torch):
        s = m.Size([2, 3])
        assert s == (2, 3) and s.numel() == 6 and isinstance(s, tuple) and hash(s) == hash((2, 3))
        for made in (s + (1,), s[1:], s * 2, 2 * s, s + s, m.zeros(2, 3).shape[:1], m.Size(), m.Size([m.tensor(2)])):
            assert type(made) is m.Size
        assert s[0] == 2 and s[-1] == 3 and list(s) == [2, 3] and m.Size(iter([1])) == (1,) and m.Size().numel() == 1
        with pytest.raises(TypeError):
            m.Size([2.0])
    assert repr(tg.Size([2, 3])) == "tritongrad.Size([2, 3])"


def test_default_dtype_reaches_all_creation() -> None:
    tg.set_default_dtype(tg.float64)
    try:
        for x in (tg.tensor(1.0), tg.zeros(1), tg.arange(2.5), tg.linspace(0, 1, 3), tg.eye(2), tg.full((1,), 1.0)):
            assert x.dtype is tg.float64
        assert (
            tg.Tensor([1]).dtype is tg.float64 and tg.rand(1).dtype is tg.float64 and tg.tensor([]).dtype is tg.float64
        )
    finally:
        tg.set_default_dtype(tg.float32)


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_the_default_type_as_torch() -> None:
    for m in (tg, torch):
        for kind, dtype in ((m.DoubleTensor, m.float64), ("torch.HalfTensor", m.float16), (m.FloatTensor, m.float32)):
            m.set_default_tensor_type(kind)
            assert m.zeros(1).dtype is m.get_default_dtype() is dtype
        for wrong in (m.LongTensor, "torch.IntTensor", 3, m.float32):
            with pytest.raises(TypeError):
                m.set_default_tensor_type(wrong)
        assert m.get_default_dtype() is m.float32
    with pytest.raises(ValueError, match="invalid type: 'Float'"):
        tg.set_default_tensor_type("Float")
    if tg.zeros(1).device.type == "cpu":
        with pytest.raises(TypeError, match="no GPU"):
            tg.set_default_tensor_type("torch.cuda.FloatTensor")


def test_typenames_as_torch() -> None:
    for make in (lambda m: m.ones(2).long(), lambda m: 3, lambda m: int, lambda m: len, lambda m: np.ones(1)):
        assert tg.typename(make(tg)) == torch.typename(make(torch))
