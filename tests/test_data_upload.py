"""Copies to a GPU beside its kernels, where there is none: the order of things on streams that a test plays.

The stand-in has streams as CUDA defines them: what is put on one runs in order, some time later, and streams know of
each other only by waits. Every order that the waits allow is tried. What this cannot show is speed.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tritongrad as tg
from tritongrad_kernels import driver, elementwise, memory
from tritongrad_kernels.array import from_host, to_device
from tritongrad_kernels.driver import Device

GPU, HOST = Device("cuda", 0), Device("cpu")


class Stream:
    """Steps to be done in order; a step is a function, or another stream and how much of it to wait for."""

    def __init__(self, index: int = 0) -> None:
        self.steps: list[Any] = []
        self.done = 0

    def wait_stream(self, other: Stream) -> None:
        self.steps.append((other, len(other.steps)))

    def advance(self) -> bool:
        """Do one step, if there is one that need not wait."""
        if self.done == len(self.steps):
            return False
        step = self.steps[self.done]
        if isinstance(step, tuple):
            if step[0].done < step[1]:
                return False
        else:
            step()
        self.done += 1
        return True


class Storage:
    """Bytes, as torch holds them."""

    def __init__(self, machine: Machine, values: np.ndarray, place: str) -> None:
        self.machine, self.values, self.place = machine, values, place
        self.used_by: list[Stream] = []

    def data_ptr(self) -> int:
        return self.values.ctypes.data

    def numel(self) -> int:
        return self.values.size

    def numpy(self) -> np.ndarray:
        assert self.place == "host"
        return self.values

    def __getitem__(self, part: slice) -> Storage:
        return Storage(self.machine, self.values[part], self.place)

    def copy_(self, source: Storage, non_blocking: bool = False) -> None:
        def step() -> None:
            self.values[:] = source.values

        self.machine.current.steps.append(step)
        if not non_blocking:
            self.machine.synchronize()

    def record_stream(self, stream: Stream) -> None:
        self.used_by.append(stream)


class Machine:
    """What `memory` uses of torch, on a machine with one GPU that does its work later."""

    def __init__(self) -> None:
        self.main = self.current = Stream()
        self.streams = [self.main]
        self.waits = 0
        self.allocated_on: list[Stream] = []
        self.torch = SimpleNamespace(
            uint8="uint8", empty=self.empty, OutOfMemoryError=MemoryError,
            cuda=SimpleNamespace(
                Stream=self.new, stream=self.using, current_stream=lambda index: self.current,
                synchronize=self.synchronize, is_available=lambda: True, device_count=lambda: 1,
            ),
        )  # fmt: skip

    def empty(self, count: int, dtype: str, device: str = "host", pin_memory: bool = False) -> Storage:
        if device != "host":
            self.allocated_on.append(self.current)
        return Storage(self, np.zeros(count, np.uint8), device)

    def new(self, index: int) -> Stream:
        self.streams.append(Stream(index))
        return self.streams[-1]

    @contextlib.contextmanager
    def using(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def synchronize(self) -> None:
        self.waits += 1
        while any([s.advance() for s in self.streams]):
            pass

    def kernel(self, step: Callable[[], None]) -> None:
        self.main.steps.append(step)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(driver, "torch", machine.torch)
    monkeypatch.setattr(driver, "DEFAULT_DEVICE", GPU)
    monkeypatch.setattr(memory, "POISON", False)
    monkeypatch.setattr(memory, "ACCOUNT", 0)
    monkeypatch.setattr(driver, "_beside", {})
    monkeypatch.setattr(driver, "_host_busy", False)
    return machine


def batch(k: int) -> np.ndarray:
    return np.full((2, 3), k, np.int32)


def test_copies_run_beside_kernels(machine: Machine) -> None:
    """Three steps are queued without the host waiting once; the copies can all be done before the first kernel is."""
    seen, arrays = [], []
    for k in range(3):
        x = to_device(from_host(batch(k), HOST), GPU, beside=True)
        arrays.append(x)
        machine.kernel(lambda x=x: seen.append(x.memory.storage.values[: x.nbytes].view(np.int32).tolist()))
    assert machine.waits == 0 and seen == []
    beside = machine.streams[1]
    while beside.advance():
        pass
    assert beside.done == 3 and machine.main.done == 0
    machine.synchronize()
    assert seen == [[k] * 6 for k in range(3)]
    for x in arrays:
        assert x.memory.storage.used_by == [machine.main] and x.device == GPU and x.shape == (2, 3)
    assert machine.allocated_on == [beside] * 3


@pytest.mark.parametrize("order", list(itertools.product([0, 1], repeat=4)))
def test_kernels_wait_for_their_batch_in_every_order(machine: Machine, order: tuple[int, ...]) -> None:
    seen = []
    for k in range(2):
        x = to_device(from_host(batch(k), HOST), GPU, beside=True)
        machine.kernel(lambda x=x: seen.append(int(x.memory.storage.values.view(np.int32)[0])))
    for which in order:
        machine.streams[which].advance()
    machine.synchronize()
    assert seen == [0, 1]


def test_host_memory_that_kernels_work_on_is_waited_for(machine: Machine) -> None:
    x = from_host(batch(0), HOST)
    driver.host_given_to_kernel()
    machine.kernel(lambda: x.memory.storage.values.fill(7))
    y = to_device(x, GPU, beside=True)
    assert machine.waits == 1
    machine.synchronize()
    assert set(y.memory.storage.values[: y.nbytes].tolist()) == {7}
    machine.waits = 0
    driver.host_given_to_kernel()
    machine.kernel(lambda: x.memory.storage.values.fill(8))
    assert x.numpy().tobytes() == b"\x08" * 24 and machine.waits == 1
    assert x.numpy().tobytes() == b"\x08" * 24 and machine.waits == 1  # nothing was started since


def test_a_plain_copy_waits(machine: Machine) -> None:
    x = to_device(from_host(batch(3), HOST), GPU)
    assert machine.waits == 1 and len(machine.streams) == 1
    assert x.memory.storage.values[: x.nbytes].view(np.int32).tolist() == [3] * 6
    assert to_device(from_host(batch(3).T, HOST), GPU, beside=True).strides == (2, 1)


@pytest.mark.parametrize("call", ["to", "positional", "cuda"])
def test_the_words_for_it(machine: Machine, call: str) -> None:
    x = tg.Tensor(from_host(batch(5), HOST)).pin_memory()
    assert x.is_pinned()
    y = {
        "to": lambda: x.to("cuda", non_blocking=True),
        "positional": lambda: x.to("cuda:0", True),
        "cuda": lambda: x.cuda(non_blocking=True),
    }[call]()
    assert machine.waits == 0 and y.is_cuda
    x.to("cuda")
    assert machine.waits == 1


def test_launches_on_host_memory_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the launcher itself: one launch, one wait, before its result is read."""
    source, target = from_host(batch(4)), from_host(batch(0))
    if driver.DEFAULT_DEVICE.type == "cuda":
        pytest.skip("arrays are on the GPU here")
    waits = []
    elementwise.copy_into(source, target)
    assert not driver._host_busy  # nobody to wait for
    with monkeypatch.context() as patch:
        patch.setattr(driver, "DEFAULT_DEVICE", GPU)
        patch.setattr(driver, "_host_busy", False)
        patch.setattr(driver, "synchronize", lambda: waits.append(1))
        elementwise.copy_into(source, target)
        assert driver._host_busy
        assert target.numpy().tolist() == batch(4).tolist() and source.numpy() is not None
    assert waits == [1]


def test_without_a_gpu_nothing_is_copied() -> None:
    x = tg.ones(2, 3, device="cpu")
    assert x.to("cpu", non_blocking=True) is x and x.to(tg.float64, True).dtype is tg.float64
