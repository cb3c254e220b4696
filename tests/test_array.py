"""Array: views are arithmetic on shape, strides and offset, and agree with numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from tritongrad_kernels import driver, dtypes, elementwise
from tritongrad_kernels.array import (
    Array,
    channels_last_strides,
    contiguous_strides,
    empty,
    empty_like,
    from_host,
    strides_of_order,
    to_device,
)


def numbered(*shape: int, dtype: type = np.int64) -> tuple[Array, np.ndarray]:
    host = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    return from_host(host), host


def test_strides() -> None:
    assert contiguous_strides((2, 3, 4)) == (12, 4, 1) and contiguous_strides(()) == ()
    assert contiguous_strides((2, 0, 3)) == (3, 3, 1)  # an extent of 0 counts as 1
    assert channels_last_strides((2, 3, 4, 5)) == (60, 1, 15, 3)
    assert strides_of_order((2, 3, 4), (2, 0, 1)) == (3, 1, 6)


def test_views_agree_with_numpy() -> None:
    a, host = numbered(4, 3, 5)
    for view, want in (
        (a.permute((2, 0, 1)), host.transpose(2, 0, 1)),
        (a.T, host.swapaxes(1, 2)),
        (a.select(1, 2), host[:, 2]),
        (a.slice(2, 1, 5, 2), host[:, :, 1:5:2]),
        (a.slice(0, 3, -1, -1), host[::-1]),
        (a.slice(0, 2, 2), host[2:2]),
        (a.unsqueeze(0), host[None]),
        (a.unsqueeze(3), host[..., None]),
        (a.slice(1, 1, 2).squeeze(1), host[:, 1]),
        (a.expand((2, 4, 3, 5)), np.broadcast_to(host, (2, 4, 3, 5))),
        (a.slice(1, 2, 3).expand((4, 6, 5)), np.broadcast_to(host[:, 2:3], (4, 6, 5))),
        (a.slice(1, 1, 3).slice(0, 3, 0, -2).permute((2, 1, 0)).select(1, 1), host[3:0:-2, 2].T),
    ):  # fmt: skip
        assert view.memory is a.memory and view.shape == want.shape
        np.testing.assert_array_equal(view.numpy(), want)
        np.testing.assert_array_equal(elementwise.contiguous(view, always=True).numpy(), want)


RESHAPES = [
    ((4, 3, 5), (12, 5)),
    ((4, 3, 5), (2, 2, 15)),
    ((4, 3, 5), (1, 4, 1, 3, 5, 1)),
    ((4, 3, 5), (60,)),
    ((1,), ()),
    ((), (1, 1)),
    ((0, 3), (3, 0, 2)),
    ((1, 1), (1,)),
    ((6, 1, 4), (3, 8)),
]


@pytest.mark.parametrize(("old", "new"), RESHAPES, ids=str)
def test_reshapes_of_dense_arrays_are_views(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    a, host = numbered(*old)
    view = a.reshaped(new)
    assert view is not None and view.memory is a.memory
    np.testing.assert_array_equal(view.numpy(), host.reshape(new))


def test_reshapes_across_a_gap_are_copies() -> None:
    a, host = numbered(4, 3, 5)
    for strided, want in (
        (a.permute((1, 0, 2)), host.transpose(1, 0, 2)),
        (a.slice(2, 0, 4), host[:, :, :4]),
        (a.expand((2, 4, 3, 5)), np.broadcast_to(host, (2, 4, 3, 5))),
        (a.slice(0, 3, -1, -1), host[::-1]),
    ):
        assert strided.reshaped((want.size,)) is None
        np.testing.assert_array_equal(elementwise.reshape(strided, (want.size,)).numpy(), want.reshape(-1))
    # Some groups of axes still lie in one run.
    view = a.permute((1, 0, 2)).reshaped((3, 2, 2, 5, 1))
    assert view is not None
    np.testing.assert_array_equal(view.numpy(), host.transpose(1, 0, 2).reshape(3, 2, 2, 5, 1))
    rows = a.slice(2, 0, 4).reshaped((12, 2, 2))
    assert rows is not None and rows.strides == (5, 2, 1)


def test_what_is_contiguous() -> None:
    a, _ = numbered(2, 3, 4, 5)
    assert a.is_contiguous and not a.T.is_contiguous and not a.is_channels_last
    last = empty((2, 3, 4, 5), dtypes.float32, strides=channels_last_strides((2, 3, 4, 5)))
    assert last.is_channels_last and not last.is_contiguous
    one = empty((1, 1, 4, 1), dtypes.float32)
    assert one.is_contiguous and one.is_channels_last  # extents of 1 do not matter
    assert a.slice(0, 0, 0).permute((3, 2, 1, 0)).is_contiguous  # nor does anything in an empty array
    assert not a.select(3, 0).is_contiguous and a.select(0, 1).is_contiguous


def test_dense_orders() -> None:
    a, _ = numbered(2, 3, 4)
    assert a.dense_order() == (0, 1, 2) and a.permute((2, 0, 1)).dense_order() == (1, 2, 0)
    assert a.slice(2, 0, 3).dense_order() is None and a.expand((5, 2, 3, 4)).dense_order() is None
    assert a.slice(0, 1, -1, -1).dense_order() is None
    assert a.slice(0, 1, 2).dense_order() == (0, 1, 2)
    for view in (a.permute((2, 0, 1)), a.permute((1, 2, 0)), a):
        assert empty_like(view).strides == view.strides and empty_like(view).shape == view.shape
    assert empty_like(a.slice(2, 0, 3)).strides == (9, 3, 1)


def test_expanding_what_does_not_fit() -> None:
    a, _ = numbered(2, 3)
    for shape in ((3, 3), (3,), (2, 3, 1)):
        with pytest.raises(ValueError, match=r"cannot expand shape \[2, 3\]"):
            a.expand(shape)


def test_host_access_shares_memory_and_knows_every_dtype() -> None:
    for kind in dtypes.ALL:
        host = np.array([[0, 1, 2], [3, 4, 5]]).astype(kind.numpy)
        a = from_host(host)
        assert a.dtype is kind and a.nbytes == 6 * kind.itemsize and a.size == 6 and a.ndim == 2
        np.testing.assert_array_equal(a.T.numpy(), host.T)
    a.numpy()[0, 0] = 1
    assert a.select(0, 0).numpy().tolist() == [True, True, True]
    assert from_host(host[:, ::-1].T).numpy().tolist() == host[:, ::-1].T.tolist()  # a C-ordered copy of any view
    assert repr(a) == "Array(bool[2, 3], strides=[3, 1], device=cpu)"


def test_footprints_count_repeated_elements_once() -> None:
    a, _ = numbered(4, 3)
    assert a.footprint == a.T.footprint == a.unsqueeze(0).expand((5, 4, 3)).footprint == 12 * 8
    assert a.slice(0, 0, 0).footprint == a.slice(1, 0, 0).unsqueeze(0).expand((5, 4, 0)).footprint == 0
    assert a.select(1, 0).unsqueeze(1).expand((4, 9)).footprint == 4 * 8


def test_addresses() -> None:
    a, _ = numbered(4, 3)
    assert a.select(0, 2).data_ptr() == a.data_ptr() + 2 * 3 * 8
    assert empty((0,), dtypes.float32).data_ptr() != 0


def test_a_copy_on_another_device_keeps_the_memory_order() -> None:
    a, host = numbered(4, 3)
    for view, want in ((a.T, host.T), (a.slice(0, 1, 3), host[1:3])):
        copied = to_device(view, driver.Device("cpu"))
        assert copied.memory is not a.memory and copied.strides == view.strides
        np.testing.assert_array_equal(copied.numpy(), want)


def test_devices() -> None:
    assert driver.Device("cuda:1") == driver.Device("cuda", 1) != driver.Device("cuda") == driver.Device("cuda:0")
    assert str(driver.Device("cuda")) == "cuda:0" and repr(driver.Device("cpu")) == "device(type='cpu')"
    assert len({driver.Device("cpu"), driver.Device(driver.Device("cpu"))}) == 1
    for bad in ("gpu", "cuda:x"):
        with pytest.raises(RuntimeError, match=bad):
            driver.Device(bad)


@pytest.mark.skipif(driver.gpu_is_usable(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match="device cuda:0 was asked for but is not available"):
        empty((2,), dtypes.float32, driver.Device("cuda"))


def test_running_out_of_memory() -> None:
    with pytest.raises(MemoryError, match="could not allocate 4,611,686,018,427,387,904 bytes on cpu"):
        empty((2**60,), dtypes.float32)


def test_broadcast_and_merged_axes() -> None:
    assert elementwise.broadcast_shapes((3, 1), (), (2, 1, 5)) == (2, 3, 5) and elementwise.broadcast_shapes() == ()
    assert elementwise.broadcast_shapes((0, 3), (1, 3)) == (0, 3)
    with pytest.raises(ValueError, match=r"shapes \[2\] and \[3\] do not broadcast together"):
        elementwise.broadcast_shapes((2,), (3,))
    assert elementwise.merge_axes((2, 3, 4), (12, 4, 1)) == ((24,), [(1,)])
    assert elementwise.merge_axes((2, 3, 4), (12, 4, 1), (0, 4, 1)) == ((2, 12), [(12, 1), (0, 1)])
    assert elementwise.merge_axes((2, 1, 4), (1, 9, 2), (4, 0, 1)) == ((4, 2), [(2, 1), (1, 4)])
    assert elementwise.merge_axes((1, 1), (5, 5)) == ((1,), [(1,)])
