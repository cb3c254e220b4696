"""What is written down while somebody profiles: launches, spans of host time, bytes taken and given back."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import tritongrad_kernels
from tritongrad.autograd import observation
from tritongrad.profiler.attribution import Notes, Origin, Scope, gradient_name, launched, locate
from tritongrad_kernels import driver, launch, memory, pending
from tritongrad_kernels.array import Array
from tritongrad_kernels.driver import Device, Stamp
from tritongrad_kernels.launch import Launch
from tritongrad_kernels.memory import Memory

now = time.perf_counter_ns


@dataclass(slots=True, eq=False)
class Span:
    """A stretch of host time of one thread: of a "module", a "node", or under a "label". `end` is 0 while it lasts."""

    name: str
    kind: str
    thread: int
    start: int
    end: int = 0
    arguments: str = ""


@dataclass(slots=True, eq=False)
class Started:
    """One launch. Times are nanoseconds of `time.perf_counter_ns`.

    before     when its thread had last begun or ended something that is written down
    start, end of the call that starts the kernel; in the interpreter, that runs it
    ran        of these, what the interpreter ran for
    allocated  bytes that the thread took since its launch before
    put_off    whether it ran later than it was asked for
    parts      the launches of a captured graph, if it is that which was started
    device_ns  the time on the GPU, known after `Recorder.resolve`; `device_start` on the host's clock
    """

    told: Launch
    origin: Origin
    labels: tuple[Span, ...]
    thread: int
    before: int
    start: int
    end: int
    ran: int = 0
    allocated: int = 0
    put_off: bool = False
    parts: tuple[Launch, ...] = ()
    dry: bool = False
    stamps: tuple[Stamp, Stamp] | None = None
    device_ns: int | None = None
    device_start: int = 0
    device: int = 0
    stream: int = 0


class Taken(NamedTuple):
    """Bytes taken, or given back if negative, at a moment."""

    moment: int
    nbytes: int
    place: str


class _Here(threading.local):
    """What a thread is at."""

    def __init__(self) -> None:
        self.mark = now()
        self.scopes: list[Scope] = []
        self.labels: list[Span] = []
        self.allocated = 0
        self.latest: Started | None = None
        self.number = threading.get_native_id()


class _Stretch:
    """While a module or a node runs."""

    __slots__ = ("_here", "_recorder", "_scope", "_span")

    def __init__(self, recorder: Recorder, here: _Here, name: str, kind: str, scope: Scope | None) -> None:
        self._recorder, self._here, self._scope = recorder, here, scope
        self._span = Span(name, kind, here.number, 0)

    def __enter__(self) -> None:
        here, span = self._here, self._span
        here.mark = span.start = now()
        self._recorder.spans.append(span)
        if self._scope is not None:
            here.scopes.append(self._scope)

    def __exit__(self, *exc: object) -> None:
        here = self._here
        if self._scope is not None:
            here.scopes.pop()
        here.mark = self._span.end = now()


@dataclass(eq=False)
class Wishes:
    """What has to be written down, beyond launches, for one of those who profile.

    shapes  of operands
    source  the line of the user's program
    memory  what is taken and given back
    device  times on the GPU
    """

    shapes: bool = False
    source: bool = False
    memory: bool = False
    device: bool = True


@dataclass(eq=False)
class Recorder:
    """Listens everywhere from `install` to `remove`, for all who profile at the same time."""

    wishes: list[Wishes] = field(default_factory=list)
    launches: list[Started] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._here = _Here()
        self._roots = 0
        self._modules: dict[int, tuple[Any, Scope]] = {}
        self._notes = Notes()
        self._blocks: dict[int, tuple[Any, int, str]] = {}
        self._bases: dict[int, tuple[Stamp, int]] = {}
        self._around: Any = None
        self._shapes = self._source = self._timed = False

    # ------------------------------------------------------------------------------------------- coming and going

    def install(self) -> None:
        """Listen from now on."""
        self._base()
        with driver.lock:  # no thread is in the middle of a launch
            self._around, launch.around = launch.around, self.supervise
            launch.listen(self)
            launch.graphs = self.replaying
            pending.noted = self._promised
            observation.observer = self

    def _watch_memory(self) -> None:
        """Write down what memory is taken from now on, and what there is."""
        memory.watch = self._watch
        for block in [one for one in gc.get_objects() if type(one) is Memory]:
            storage = _storage(block)
            if storage is not None and not block.lent:
                self._follow(storage, block.nbytes, block.device)

    def remove(self) -> None:
        """Listen no longer."""
        with driver.lock:
            launch.unlisten(self)
            if launch.around == self.supervise:  # else somebody has come after, who calls this one
                launch.around = self._around
            launch.graphs = memory.watch = pending.noted = observation.observer = None
        self._blocks.clear()
        self._modules.clear()

    def join(self, wishes: Wishes) -> None:
        """One more profiles."""
        self.wishes.append(wishes)
        self._agree()
        if wishes.memory and memory.watch is None:
            self._watch_memory()

    def leave(self, wishes: Wishes) -> None:
        """One less does."""
        self.wishes.remove(wishes)
        self._agree()

    def _agree(self) -> None:
        self._shapes = any(one.shapes for one in self.wishes)
        self._source = any(one.source for one in self.wishes)
        self._timed = any(one.device for one in self.wishes)

    def end_span(self, span: Span) -> None:
        """A label ends now, if it has not before."""
        if not span.end:
            self._here.mark = span.end = now()
        if span in self._here.labels:
            self._here.labels.remove(span)

    def begin_label(self, name: str, arguments: str = "") -> Span:
        """A label begins now."""
        here = self._here
        here.mark = now()
        span = Span(name, "label", here.number, here.mark, arguments=arguments)
        here.labels.append(span)
        self.spans.append(span)
        return span

    # --------------------------------------------------------------------------------------------------- launches

    def append(self, told: Launch) -> None:
        """A launch is about to start."""
        here = self._here
        found = locate(sys._getframe(1), self._shapes, self._source)
        origin = self._placed(launched(found, self._notes))
        moment = now()
        allocated, here.allocated = here.allocated, 0
        dry = memory.in_dry_run()
        here.latest = Started(
            told, origin, tuple(here.labels), here.number, here.mark, moment, moment,
            allocated=allocated, put_off=found.ran is not None, dry=dry,
        )  # fmt: skip
        self.launches.append(here.latest)
        if dry:
            here.mark = moment

    @contextlib.contextmanager
    def supervise(self, told: Launch, indirect: Sequence[Array]) -> Iterator[None]:
        """Around the run of a launch: takes its times, inside of whatever else wants to be around it."""
        with self._around(told, indirect) if self._around else contextlib.nullcontext(), self._timing(told):
            yield

    @contextlib.contextmanager
    def replaying(self, parts: Sequence[Launch]) -> Iterator[None]:
        """Around the replay of a captured graph: it is one launch, which does what its parts do."""
        told = Launch(
            f"graph of {len(parts)} launches", (), sum(one.flops for one in parts), sum(one.bytes for one in parts),
            None, (), {}, any(one.at_most for one in parts),
        )  # fmt: skip
        self.append(told)
        if self._here.latest is not None:
            self._here.latest.parts = tuple(parts)
        with self._timing(told):
            yield

    @contextlib.contextmanager
    def _timing(self, told: Launch) -> Iterator[None]:
        one = self._here.latest
        if one is None or one.told is not told or observation.observer is not self:
            yield
            return
        first = driver.stamp() if self._timed else None
        one.start = now()
        try:
            yield
        finally:
            self._here.mark = one.end = now()
        if first is None:
            one.ran = one.end - one.start if tritongrad_kernels.INTERPRETED else 0
            return
        last = driver.stamp()
        one.stamps = None if last is None else (first, last)
        if first.device not in self._bases:
            self._bases[first.device] = first, one.start

    def _base(self) -> None:
        """A moment of the GPU that is one of the host's, too: nothing runs there."""
        driver.synchronize()
        stamp = driver.stamp()
        if stamp is not None:
            self._bases[stamp.device] = stamp, now()

    def resolve(self, launches: Sequence[Started]) -> None:
        """Ask the GPU, which has to have got there, for its times."""
        for one in launches:
            if one.stamps is None:
                continue
            first, last = one.stamps
            base, moment = self._bases[first.device]
            one.device_ns = round(first.seconds_to(last) * 1e9)
            one.device_start = moment + round(base.seconds_to(first) * 1e9)
            one.device, one.stream, one.stamps = first.device, first.stream, None

    def _placed(self, origin: Origin) -> Origin:
        scopes = self._here.scopes
        if origin.scope is None and scopes:
            return origin._replace(scope=scopes[-1])
        return origin

    def _promised(self, work: Any) -> None:
        found = locate(sys._getframe(1), self._shapes, self._source)
        origin = self._placed(launched(found, self._notes))
        self._notes.put(work, origin)
        statistics = getattr(getattr(work, "site", None), "statistics", None)
        if statistics is not None:  # which somebody else may ask for before
            self._notes.put(statistics, origin)

    # ------------------------------------------------------------------------------------------ modules and nodes

    def module_called(self, module: Any) -> _Stretch:
        scopes = self._here.scopes
        scope = self._scope(module, scopes[-1] if scopes else None)
        return _Stretch(self, self._here, scope.name or scope.root[0], "module", scope)

    def _scope(self, module: Any, outside: Scope | None) -> Scope:
        """The name of a module: that in the outermost one, however it is called."""
        known = self._modules.get(id(module))
        if known is not None:
            return known[1]
        kind = type(module).__name__
        if outside is not None:  # not registered: made or found on the way
            return Scope(outside.root, f"{outside.name}.{kind}" if outside.name else kind)
        self._roots += 1
        root = kind, self._roots
        for name, part in module.named_modules():
            self._modules[id(part)] = part, Scope(root, name)
        return self._modules[id(module)][1]

    def node_made(self, node: Any) -> None:
        scopes = self._here.scopes
        found = locate(sys._getframe(1))
        op = found.origin.op if found.node is None and found.origin.phase == "forward" else ""
        self._notes.put(node, Origin(op or node.name, scope=scopes[-1] if scopes else None))

    def node_running(self, node: Any) -> _Stretch:
        origin = self._notes.get(node)
        return _Stretch(self, self._here, gradient_name(origin.op if origin else node.name), "node", None)

    @contextlib.contextmanager
    def labelled(self, name: str) -> Iterator[None]:
        span = self.begin_label(name)
        try:
            yield
        finally:
            self.end_span(span)

    # ----------------------------------------------------------------------------------------------------- memory

    def _watch(self, storage: Any, nbytes: int, device: Device) -> None:
        if nbytes > 0:
            self._here.allocated += nbytes
        if storage is not None:
            self._follow(storage, nbytes, device)
        else:
            self.taken.append(Taken(now(), nbytes, f"{device}, dry run"))

    def _follow(self, storage: Any, nbytes: int, device: Device) -> None:
        """Note bytes, and the moment when they are given back: when `storage` goes."""
        place = str(device)
        reference = weakref.ref(storage, self._gone)
        self._blocks[id(reference)] = reference, nbytes, place
        self.taken.append(Taken(now(), nbytes, place))

    def _gone(self, reference: Any) -> None:
        known = self._blocks.pop(id(reference), None)
        if known is not None:
            self.taken.append(Taken(now(), -known[1], known[2]))


def _storage(block: Memory) -> Any:
    """The bytes of a memory, without settling what is pending about it; None if there are none yet."""
    try:
        return object.__getattribute__(block, "storage")
    except AttributeError:
        held = getattr(block.pending, "held", None)
        return held[0] if held is not None else None
