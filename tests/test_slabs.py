"""Slabs summed in one launch: beside numpy in float64, over dtypes, shapes, strides and ways of summing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.check import EPS, randn
from tritongrad_kernels import dtypes, launch
from tritongrad_kernels.array import Array, channels_last_strides, empty, from_host
from tritongrad_kernels.elementwise import cast
from tritongrad_kernels.slabs import Job, sum_slabs

CASES = [(1, 8), (7, 24), (3, 200), (2, 1), (9, 10), (0, 16), (4, 0)]
"""Slabs x elements: one slab, few elements, many, one, a number that no 16 bytes divide, no slabs, no elements."""


def slabs(z: int, *shape: int, kind: dtypes.dtype = dtypes.float32) -> Array:
    return from_host(randn(z, *shape, seed=z).astype(kind.name))


def check(jobs: list[Job]) -> None:
    expected = [given.numpy().astype(np.float64).sum(0) for given, *_ in jobs]
    sum_slabs(jobs)
    for (given, out, _), want in zip(jobs, expected, strict=True):
        terms = given.shape[0] + 1
        bound = EPS[out.dtype.name] + terms * EPS[given.dtype.name]
        found = cast(out, dtypes.float64).numpy().reshape(want.shape)
        assert np.allclose(found, want, rtol=bound, atol=bound * terms)


@pytest.mark.parametrize(
    ("kind", "out"), [("float32", "float32"), ("float32", "bfloat16"), ("float32", "float16"), ("float64", "float64")]
)
def test_sums_of_all_jobs_in_one_launch(kind: str, out: str, tiles: str) -> None:
    jobs = [Job(slabs(z, n, kind=dtypes.by_name(kind)), empty((n,), dtypes.by_name(out))) for z, n in CASES]
    with launch.recording() as log:
        check(jobs)
    assert [entry.kernel for entry in log if entry.kernel != "_map1"] == ["_sum_slabs"]


def test_long_sums_and_short_ones_take_different_tiles() -> None:
    with launch.column("sm_90"):
        jobs = (slabs(2, 4104), empty((4104,), dtypes.float32)), (slabs(40, 72), empty((72,), dtypes.bfloat16))
        check([Job(*job) for job in jobs])


def test_slabs_between_others_and_slabs_off_16_bytes(tiles: str) -> None:
    sums = slabs(5, 2, 16)
    odd = slabs(6, 17).slice(1, 1, 17)
    check([Job(a, empty((16,), dtypes.float32)) for a in (sums.select(1, 0), odd, sums.select(1, 1))])


def test_slabs_of_two_sums_are_read_once() -> None:
    given = slabs(5, 2, 16)
    with launch.recording() as log:
        check([Job(given.select(1, 0), empty((16,), dtypes.float32)) for _ in range(2)])
    (entry,) = [entry for entry in log if entry.kernel == "_sum_slabs"]
    assert entry.bytes == 5 * 16 * 4 + 2 * (16 * 4 + 7 * 8), "slabs; outs and rows of the table"


def test_memory_order_is_kept() -> None:
    strides = channels_last_strides((4, 3, 2, 2))
    given = slabs(3, 4, 2, 2, 3)
    out = empty((4, 3, 2, 2), dtypes.float32, strides=strides)
    sum_slabs([Job(given, out)])
    assert np.allclose(out.numpy(), given.numpy().sum(0).transpose(0, 3, 1, 2), atol=1e-6)


def test_an_order_of_its_own_for_each_shape_only() -> None:
    given = slabs(37, 64)
    alone, beside = empty((64,), dtypes.float32), empty((64,), dtypes.float32)
    with launch.column("sm_90"):
        sum_slabs([Job(given, alone)])
        sum_slabs([Job(slabs(9, 640), empty((640,), dtypes.float32)), Job(given, beside)])
    assert np.array_equal(alone.numpy(), beside.numpy())


def test_nothing_to_sum_and_wrong_shapes() -> None:
    sum_slabs([])
    with pytest.raises(AssertionError, match="shapes"):
        sum_slabs([Job(slabs(2, 3), empty((4,), dtypes.float32))])


def test_a_sum_may_be_rounded_before_it_is_stored() -> None:
    given, rounded, out = slabs(5, 24), empty((24,), dtypes.bfloat16), empty((24,), dtypes.float32)
    sum_slabs([Job(given, rounded), Job(given, out, dtypes.bfloat16)])
    assert np.array_equal(out.numpy(), rounded.numpy().astype(np.float32))
