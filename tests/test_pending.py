"""Work that waits until somebody reads what it gives, with a work of the tests' own."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tritongrad_kernels import activations, driver, elementwise, formulas, launch, memory, pending
from tritongrad_kernels.array import Array, from_host

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


class Doubled(pending.Work):
    """x + x; a ReLU that follows is joined."""

    def __init__(self, x: Array, relu: bool = False) -> None:
        self.x, self.relu = x, relu

    @property
    def inputs(self) -> Sequence[Array]:
        return [self.x]

    def run(self) -> Array:
        y = elementwise.map(formulas._add, self.x, self.x)
        return elementwise.map(activations._relu, y) if self.relu else y

    def absorb(self, formula: Any, operands: Any, position: int, kind: Any, out: Any) -> Array | None:
        a = operands[position]
        if formula is activations._relu and out is None and a.memory.waiting and self.gives(a):
            return pending.promise(Doubled(self.x, True), *self.layout)
        return None


def doubled(x: Array) -> Array:
    return pending.promise(Doubled(x), x.dtype, x.shape, x.strides)


@pytest.fixture
def x() -> Iterator[Array]:
    yield from_host(VALUES - 2)
    assert not [m for m in list(driver.waiting) if m.waiting], "a test left work waiting"


def launches(log: list[launch.Launch]) -> list[str]:
    return [one.kernel for one in log]


def test_nothing_is_launched_or_allocated_before_somebody_reads(x: Array) -> None:
    with launch.recording() as log:
        y = doubled(x)
        assert (y.shape, y.dtype, y.ndim, y.nbytes, y.is_contiguous) == (x.shape, x.dtype, 2, 24, True)
        assert y.device == x.device and not log and y.memory.waiting
        assert np.array_equal(y.numpy(), 2 * VALUES - 4) and len(log) == 1 and not y.memory.waiting
        assert np.array_equal(y.numpy(), 2 * VALUES - 4) and len(log) == 1, "computed once"


def test_what_nobody_reads_is_not_computed_and_leaves_nothing_behind(x: Array) -> None:
    with launch.recording() as log:
        y = doubled(x)
        alive = weakref.ref(y.memory)
        gc.disable()
        try:
            del y
            assert alive() is None, "no cycle keeps it"
        finally:
            gc.enable()
        assert np.array_equal(x.numpy(), VALUES - 2)
    assert not log and x.memory.pending is None


def test_an_operation_that_can_be_joined_replaces_the_work(x: Array) -> None:
    with launch.recording() as log:
        y = doubled(x)
        z = elementwise.map(activations._relu, y)
        del y
        assert not log
        assert np.array_equal(z.numpy(), np.maximum(2 * VALUES - 4, 0))
    assert launches(log) == ["_map2", "_map1"]


def test_both_what_was_joined_and_what_was_not_may_be_read(x: Array) -> None:
    y = doubled(x)
    z = elementwise.map(activations._relu, y)
    assert np.array_equal(z.numpy(), np.maximum(2 * VALUES - 4, 0)) and y.memory.waiting
    assert np.array_equal(y.numpy(), 2 * VALUES - 4) and x.memory.pending is None


def test_an_input_is_read_before_it_is_written_to(x: Array) -> None:
    y = doubled(x)
    elementwise.fill(x, 7)
    assert np.array_equal(y.numpy(), 2 * VALUES - 4) and np.array_equal(x.numpy(), np.full((2, 3), 7))


def test_an_input_that_waits_itself_is_computed_first(x: Array) -> None:
    y = doubled(x)
    z = doubled(y)
    assert np.array_equal(z.numpy(), 4 * VALUES - 8)
    assert np.array_equal(y.numpy(), 2 * VALUES - 4)


def test_a_waiting_array_that_somebody_reads_later_is_computed_before_it_is_written_to(x: Array) -> None:
    y = doubled(x)
    z = doubled(y)
    elementwise.fill(y, 7)
    assert np.array_equal(z.numpy(), 4 * VALUES - 8) and np.array_equal(y.numpy(), np.full((2, 3), 7))


def test_reading_does_not_disturb_others_who_have_yet_to_read(x: Array) -> None:
    with launch.recording() as log:
        y = doubled(x)
        with pending.reading([x]):
            other = elementwise.map(activations._relu, x)
        assert launches(log) == ["_map1"] and y.memory.waiting
    elementwise.fill(x, 7)
    assert np.array_equal(y.numpy(), 2 * VALUES - 4) and np.array_equal(other.numpy(), np.maximum(VALUES - 2, 0))


def test_memory_that_somebody_outside_may_write_to_is_not_waited_for() -> None:
    mine = VALUES.copy()
    lent, given = tg.from_numpy(mine), tg.tensor(VALUES)
    view = given.numpy()
    results = [doubled(t.array) for t in (lent, given)]
    mine[:] = view[:] = 100
    assert all(np.array_equal(y.numpy(), 2 * VALUES) for y in results)


def test_a_failure_can_be_tried_again(x: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    y = doubled(x)
    with monkeypatch.context() as patch:
        patch.setattr(elementwise, "map", lambda *_: (_ for _ in ()).throw(driver.OutOfMemoryError("full")))
        for _ in range(2):
            with pytest.raises(driver.OutOfMemoryError, match="full"):
                y.numpy()
    elementwise.fill(x, 7)
    assert np.array_equal(y.numpy(), 2 * VALUES - 4), "it still has a claim on what x was"


def test_switched_off_nothing_waits(x: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "enabled", False)
    assert not doubled(x).memory.waiting


def test_a_dry_run_neither_uses_nor_leaves_what_waits(x: Array) -> None:
    before = doubled(x)
    with memory.dry_run() as run:
        assert not before.memory.waiting, "a dry run would never compute it"
        y = doubled(x)
        size = run.live
        y.data_ptr()
        assert run.live == size + 512
        z = doubled(y)
    assert x.memory.pending is None and np.array_equal(before.numpy(), 2 * VALUES - 4)
    with pytest.raises(RuntimeError, match="dry run"):
        z.numpy()


def test_synchronising_and_events_launch_what_waits(x: Array) -> None:
    for act in (driver.synchronize, lambda: tg.cuda.Event().record(), driver.settle):
        y = doubled(x)
        act()
        assert not y.memory.waiting
