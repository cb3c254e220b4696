"""What a tensor says about itself, and its way to and from Python and numpy."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest
import torch

import tritongrad as tg
from tritongrad.methods import Attached


def test_creation_takes_torchs_dtypes() -> None:
    cases = [1, 1.5, True, [1, 2], [1.0, 2], [[True]], [], np.zeros(2), np.zeros(2, np.float16), np.int8(3), (1, 2.0)]
    for data in cases:
        ours, theirs = tg.tensor(data), torch.tensor(data)
        assert (ours.dtype.name, tuple(ours.shape)) == (str(theirs.dtype)[6:], tuple(theirs.shape)), data


def test_creation_copies() -> None:
    values = np.zeros(3)
    t = tg.tensor(values)
    values[0] = 1
    assert t.tolist() == [0.0, 0.0, 0.0]
    assert tg.as_tensor(t) is t


def test_tensors_from_tensors() -> None:
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1.0, 2.0]
    x = tg.ones(2, requires_grad=True)
    assert not tg.tensor(x).requires_grad


def test_filled_and_ranges() -> None:
    assert tg.zeros(2, 3).shape == (2, 3) and tg.ones((2,)).tolist() == [1.0, 1.0]
    assert tg.full((2,), 7).dtype is tg.int64 and tg.full((2,), 7.0).dtype is tg.float32
    assert tg.empty(0, 3).shape == (0, 3)
    for arguments in ((5,), (2, 5), (1, 10, 3), (5, 1, -2), (0.0, 1.0, 0.25), (0, 1, 0.1)):
        assert np.allclose(tg.arange(*arguments).numpy(), torch.arange(*arguments).numpy()), arguments
    assert np.array_equal(tg.linspace(-1, 2, 7).numpy(), torch.linspace(-1, 2, 7).numpy())
    assert np.array_equal(tg.eye(3, 4).numpy(), torch.eye(3, 4).numpy())
    assert tg.zeros_like(tg.ones(2, dtype=tg.float64)).dtype is tg.float64
    with pytest.raises(RuntimeError, match="arange"):
        tg.arange(0, 5, -1)


def test_numpy_shares_memory_and_respects_strides() -> None:
    t = tg.zeros(2, 3, device="cpu")
    t.numpy()[1, 2] = 5
    assert t.tolist()[1][2] == 5
    assert np.array_equal(t.T.numpy(), t.numpy().T)
    assert tg.ones(2, dtype=tg.bfloat16).numpy().dtype == ml_dtypes.bfloat16
    with pytest.raises(RuntimeError, match="requires grad"):
        tg.ones(1, requires_grad=True).numpy()
    assert np.asarray(tg.ones(2)).tolist() == [1.0, 1.0]


def test_numbers_out() -> None:
    t = tg.tensor([3])
    assert (t.item(), int(t), float(t), bool(t), [10, 20, 30, 40][t]) == (3, 3, 3.0, True, 40)
    assert tg.tensor([[1.5]], dtype=tg.bfloat16).item() == 1.5
    assert f"{tg.tensor(1.234567):.2f}" == "1.23"
    with pytest.raises(RuntimeError, match="2 elements"):
        tg.ones(2).item()
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(tg.ones(2))
    with pytest.raises(TypeError, match="0-d"):
        len(tg.tensor(1))
    with pytest.raises(TypeError, match="index"):
        [1, 2][tg.tensor(1.0)]


def test_description() -> None:
    t = tg.zeros(2, 3, 4)
    assert (t.size(1), t.size(-1), t.ndim, t.dim(), t.numel(), t.nbytes) == (3, 4, 3, 3, 24, 96)
    assert t.stride() == (12, 4, 1) and t.is_contiguous() and not t.permute(2, 0, 1).is_contiguous()
    assert t.shape == (2, 3, 4) and t.size().numel() == 24 and str(t.shape) == "tritongrad.Size([2, 3, 4])"
    with pytest.raises(IndexError, match=r"range of \[-3, 2\], but got 3"):
        t.size(3)
    assert tg.zeros(2, 3, 4, 5).contiguous(memory_format=tg.channels_last).is_contiguous(memory_format=tg.channels_last)
    assert [row.tolist() for row in tg.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]


def test_comparison_with_other_things() -> None:
    t = tg.ones(2)
    assert (t == None) is False  # noqa: E711 - what real code writes
    assert (t != "a") is True
    assert t in {t} and len({t, tg.ones(2)}) == 2


def test_conversions() -> None:
    t = tg.tensor([1.7, -1.7, 0.0], device="cpu")
    assert t.int().tolist() == [1, -1, 0] and t.bool().tolist() == [True, True, False]
    assert t.long().dtype is tg.int64 and t.double().dtype is tg.float64 and t.half().dtype is tg.float16
    assert t.to(tg.float32) is t and t.to("cpu") is t and t.to(tg.ones(1, dtype=tg.float64)).dtype is tg.float64
    assert t.to(t.device, tg.int32).dtype is tg.int32 and t.to(device="cpu", dtype=tg.float64).dtype is tg.float64
    assert t.type_as(tg.zeros(1, dtype=tg.int64)).dtype is tg.int64


def test_a_gpu_that_is_not_there() -> None:
    if tg.cuda.is_available():
        pytest.skip("this machine has the GPU that the test wants missing")
    with pytest.raises(RuntimeError, match="device cuda:0 was asked for but is not available"):
        tg.ones(1).cuda()
    with pytest.raises(RuntimeError, match="device cuda:3"):
        tg.zeros(1, device="cuda:3")
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda device type at start of device string: tpu"):
        tg.zeros(1, device="tpu")
    assert tg.cuda.device_count() == 0


def test_copies_and_pickles() -> None:
    t = tg.tensor([[1.0, 2.0]], requires_grad=True)
    t.grad = tg.ones(1, 2)
    t.note = "kept"
    twin = copy.deepcopy(t)
    with tg.no_grad():
        twin.add_(1)
    assert (
        t.tolist() == [[1.0, 2.0]] and twin.requires_grad and twin.grad.tolist() == [[1.0, 1.0]] and twin.note == "kept"
    )
    with pytest.raises(RuntimeError, match="leaf"):
        copy.deepcopy(t * 2)
    back = pickle.loads(pickle.dumps(t))
    assert back.tolist() == t.tolist() and back.requires_grad


def test_data_and_detach() -> None:
    t = tg.ones(2, requires_grad=True)
    t.data = tg.zeros(2)
    assert t.tolist() == [0.0, 0.0] and t.requires_grad
    y = t * 2
    assert y.detach().is_leaf and y.detach().data_ptr() == y.data_ptr()
    y.detach_()
    assert y.is_leaf and not y.requires_grad
    with pytest.raises(RuntimeError, match="leaf"):
        (t * 2).requires_grad = False


def test_default_dtype() -> None:
    tg.set_default_dtype(tg.float64)
    try:
        assert tg.tensor(1.0).dtype is tg.float64 and tg.zeros(1).dtype is tg.float64 and tg.rand(1).dtype is tg.float64
    finally:
        tg.set_default_dtype(tg.float32)
    with pytest.raises(TypeError, match="floating-point"):
        tg.set_default_dtype(tg.int64)


def test_a_missing_allocation_is_a_sentence() -> None:
    with pytest.raises(MemoryError, match="could not allocate 4,611,686,018,427,387,904 bytes"):
        tg.empty(2**60)


def test_declared_methods_are_the_attached_ones() -> None:
    declared = set(Attached.__annotations__)
    own = {"tritongrad.tensor", "tritongrad.methods"}
    attached = {n for n, v in vars(tg.Tensor).items() if callable(v) and getattr(v, "__module__", "") not in own}
    assert declared <= set(dir(tg.Tensor)) and attached <= declared
