"""Launches taken down once and started again without the Python that led to them: what `tritongrad.compile` stands on.

On a GPU a `Recording` is made of CUDA graphs, whose launches read and write the same addresses at every replay. In the
interpreter it is a tape that does just that, so that whatever could go stale in a graph goes stale there too.

While something is recorded nothing runs, so nobody can look at values. What the host gives kernels to read lies in one
block, the arena, which is brought to the device before each replay. Numbers that change from replay to replay, such as
learning rates, step counts and random draws, are a `Varying` there, which says what they are today. Memory made
meanwhile belongs to the recording. Memory that was there before (`touched`) must still be there, at its address,
whenever it is replayed; that is for the caller to see to.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tritongrad_kernels import driver, dtypes, memory
from tritongrad_kernels.array import Array, contiguous_strides
from tritongrad_kernels.descriptors import Descriptor
from tritongrad_kernels.driver import Device
from tritongrad_kernels.launch import Launch, launch, listen, load, replaying, unlisten
from tritongrad_kernels.memory import Memory

_DECLARED = ("flops", "bytes", "at_most")  # what `launch` is told beside a kernel's options
_ALIGNED = 256  # arrays in the arena start at multiples of as many bytes as allocations of their own would


class HostRead(RuntimeError):
    """The host wants to see values of a step that is being captured, and has yet to run."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} inside a compiled function: the host would see it when the function is captured and not when it "
            f"is replayed; move it outside of what is given to compile()"
        )


class Uncapturable(Exception):
    """Why launches cannot stand for the function that made them."""


class NoRoom(Exception):
    """The arena is too small; says how many bytes are wanted."""


class Varying:
    """Host state that kernels of a recording read on the device, and that moves on with each replay."""

    def ready(self) -> bool:
        """Whether a replay now would do what the function would. Changes nothing."""
        return True

    def move(self) -> np.ndarray:
        """Move on as the function would; the values for the kernels."""
        raise NotImplementedError

    def settle(self) -> None:
        """Called when the replay has been started."""


class _Part:
    """Launches that are replayed together."""

    def __init__(self, graph: driver.Graph | None) -> None:
        self.graph = graph
        self.steps: list[Callable[[], None]] = []
        self.varying: list[tuple[Varying, int]] = []
        self.touched: set[int] = set()
        self.own: list[Memory] = []  # on a tape: memory of this part, by the name the tape has for it
        self.launches: list[Launch] = []  # in the graph, for who profiles


class Recording:
    """Parts that are recorded one after the other and share memory; see the head of this file.

    room     bytes that there are in the arena: NoRoom is raised where they do not do
    how      "tape", or "graph" of the GPU, or "load": what is launched is only compiled and loaded, for a graph to come
    inside   what was allocated while recording and is still referred to
    touched  by address, what launches read and write of memory that was there before
    notes    for who records, by whatever key
    """

    def __init__(self, device: Device, room: int, how: str) -> None:
        self.device, self.thread, self.aside = device, threading.get_ident(), False
        self._how, self.tape = how, how != "graph"
        self.inside: weakref.WeakSet[Memory] = weakref.WeakSet()
        self.touched: dict[int, Memory] = {}
        self.notes: dict[Any, Any] = {}
        self._parts: list[_Part] = []
        self._part: _Part | None = None
        self._names: dict[int, Memory] = {}
        self._constants: set[Memory] = set()
        self._arena = memory.allocate(room, device)
        self._staged, self._used = np.zeros(room, np.uint8), 0

    # ---------------------------------------------------------------------------------------------------- recording

    @contextlib.contextmanager
    def record(self) -> Iterator[None]:
        """Take down what this thread launches inside the block, as the next part. Others wait until it is over."""
        with driver.lock:
            driver.settle()
            driver.settle_host()
            earlier = self._parts[0].graph if self._parts else None
            part = self._part = _Part(None if self.tape else driver.Graph(self.device, earlier))
            if part.graph is not None:
                part.graph.begin()
                listen(part.launches)
            memory.capture = self
            try:
                with memory.refusing(HostRead):
                    yield
                driver.settle()
            except BaseException:
                with contextlib.suppress(Exception):  # what waits will never be asked for: off with it, unrun
                    driver.settle()
                memory.capture = None
                with contextlib.suppress(Exception):
                    if part.graph is not None:
                        part.graph.end()
                raise
            finally:
                memory.capture, self._part = None, None
                unlisten(part.launches)
            if part.graph is not None:
                part.graph.end()
            self._parts.append(part)

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Inside the block the host does what it has to do now, as at each replay: it may read what is not computed."""
        before, self.aside = self.aside, True
        try:
            with memory.refusing(None):
                yield
        finally:
            self.aside = before

    def varying(self, source: Varying, values: np.ndarray) -> Array:
        """An array of `values`, which `source` moves on before each replay from the second on."""
        assert self._part is not None
        block, start = self._place(values)
        self._part.varying.append((source, start))
        return Array(block, dtypes.from_numpy(values.dtype), values.shape, contiguous_strides(values.shape))

    # What `memory` and `launch` tell.

    def made(self, block: Memory) -> None:
        """This was allocated."""
        if not self.aside:
            self.inside.add(block)

    def constant(self, values: np.ndarray) -> Memory:
        """Memory with these values."""
        return self._place(values)[0]

    def require_known(self, block: Memory) -> None:
        """HostRead unless the bytes are there already, for whom a replay would read them too."""
        if not self.aside or block in self.inside:
            raise HostRead("reading a tensor's values")

    def copied(self, destination: Memory, source: Memory, offset: int, nbytes: int) -> bool:
        """Bytes are to be copied; whether that has been seen to."""
        if destination.device != source.device:
            raise HostRead(f"copying a tensor from {source.device} to {destination.device}")
        to, what = self._name(destination), self._name(source)
        if self._how == "tape":
            assert self._part is not None
            self._part.steps.append(functools.partial(_copy, to, what, offset, nbytes))
        return self.tape

    def launched(
        self, kernel: Any, grid: tuple[int, ...], args: Sequence[Any], options: dict[str, Any], indirect: Sequence[Any]
    ) -> bool:
        """A kernel is to be started; whether that has been seen to. `options` are all that `launch` was given."""
        given = [self._again(a) for a in args]
        reached = [self._again(a) for a in indirect]
        if self._how == "load":
            load(kernel, grid, given, {k: v for k, v in options.items() if k not in _DECLARED})
        elif self.tape:
            assert self._part is not None
            self._part.steps.append(functools.partial(launch, kernel, grid, *given, indirect=reached, **options))
        return self.tape

    def _again(self, value: Any) -> Any:
        """An argument for the tape, which keeps the bytes and not the tensor that has them."""
        if isinstance(value, Array):
            return Array(self._name(value.memory), value.dtype, value.shape, value.strides, value.offset)
        if isinstance(value, Descriptor):
            return Descriptor(self._again(value.array), value.shape, value.strides, value.block)
        return value

    def _name(self, block: Memory) -> Memory:
        """The bytes as the recording has them. A graph keeps those alive that it was not the first to have."""
        known, inside = self._names.get(block.address), block in self.inside
        assert self._part is not None
        if not inside:
            self._part.touched.add(block.address)
        if known is None or known.nbytes < block.nbytes:
            if inside and self._how != "tape":
                return block  # a graph has its own supply, and what is only loaded needs no bytes
            known = self._names[block.address] = block.again()
            if not inside:
                self.touched[block.address] = known
            else:
                self._part.own.append(known)
        return known

    def touched_by(self, part: int) -> set[int]:
        """The addresses of `touched` that a part reads or writes."""
        return self._parts[part].touched

    def escaped(self) -> list[Memory]:
        """What was made while recording, and is still referred to."""
        return [block for block in self.inside if block not in self._constants]

    def _place(self, values: np.ndarray) -> tuple[Memory, int]:
        start = -(-self._used // _ALIGNED) * _ALIGNED
        self._used = start + max(values.nbytes, 16)
        if self._used > len(self._staged):
            raise NoRoom(self._used)
        self._stage(start, values)
        block = self._arena.part(start, values.nbytes)
        self.inside.add(block)
        self._constants.add(block)
        self._names[block.address] = block
        return block, start

    def _stage(self, start: int, values: np.ndarray) -> None:
        self._staged[start : start + values.nbytes] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)

    # ---------------------------------------------------------------------------------------------------- replaying

    def ready(self, part: int) -> bool:
        """Whether all that varies in this part can be moved on."""
        return all([source.ready() for source, _ in self._parts[part].varying])

    def replay(self, part: int, move: bool = True) -> None:
        """Start the launches of a part again, or for the first time: with `move`, of the next step."""
        replayed = self._parts[part]
        with driver.lock:
            driver.settle()
            for source, start in replayed.varying if move else ():
                self._stage(start, source.move())
            for start in range(0, self._used, memory.STAGED):  # in pieces that the host need not wait for
                memory.write(self._arena, self._staged[start : min(start + memory.STAGED, self._used)], start)
            if replayed.graph is not None:
                driver.host_given_to_kernel()
                with replaying(replayed.launches):
                    replayed.graph.replay()
            for block in replayed.own:
                _forget(block)
            for step in replayed.steps:
                step()
            for source, _ in replayed.varying:
                source.settle()


def _copy(to: Memory, source: Memory, offset: int, nbytes: int) -> None:
    memory.copy(to, source, offset, nbytes)
    to.defined = None


def _forget(block: Memory) -> None:
    """Have no values, where tests look for those who use what is left of the replay before."""
    if memory.ACCOUNT and block.nbytes <= memory.ACCOUNT:
        block.defined = np.zeros(block.nbytes, bool)
    if memory.POISON:
        block.storage.fill_(0xFF)


def kept(a: Array) -> Array:
    """An array of a recording, for who looks at it after replays."""
    return Array(a.memory.again(), a.dtype, a.shape, a.strides, a.offset)


def beside() -> contextlib.AbstractContextManager[None]:
    """Inside, the host may read what is its own, also where a recording is made (its `beside`) or to come."""
    if not memory.refused():
        return _FREE
    recording = memory.capturing()
    return memory.refusing(None) if recording is None else recording.beside()


_FREE = contextlib.nullcontext()


def current() -> Recording | None:
    """The recording that this thread is in, or None."""
    return memory.capturing()
