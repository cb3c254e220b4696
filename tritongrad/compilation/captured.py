"""A run of a function that can be replayed: its launches, and what else the run did."""

from __future__ import annotations

import gc
import math
import random as python_random
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tritongrad import autograd, precision, rollback
from tritongrad.autograd import Node, is_grad_enabled
from tritongrad.compilation.calls import Call, Parts, Place, mapped
from tritongrad.compilation.guards import Guards
from tritongrad.tensor import Tensor
from tritongrad_kernels import driver, elementwise, index, memory
from tritongrad_kernels.array import Array, empty, empty_like, places
from tritongrad_kernels.capture import NoRoom, Recording, Uncapturable, kept

ROOM = 1 << 16  # bytes of the arena beyond what a run brought to the device


class Captured:
    """A call of `function` as launches to be replayed. Making one runs the function, and the launches once.

    Tensors of the call are copied into ones of our own, which the launches read. Results are copied out, so that they
    are the caller's. Gradients that the function makes anew are the exception: `.grad` lies where the launches write,
    and whoever still has the one before, when they do again, has it moved to other memory first.

    Where results have a history, the gradients of everything in it become a second part of the recording: `forward` and
    `backward` of the graph that is outside are then a replay each.
    """

    def __init__(self, function: Callable, call: Call, guards: Guards, room: int, tape: bool) -> None:
        self.call, self.guards = call, guards
        undo = rollback.remember(function, *call.others, *guards.tensors)
        plans = ["tape"] if tape else ["load", "graph"]
        while plans:
            try:
                self._record(function, room + ROOM, plans[0])
                if plans.pop(0) == "load":
                    undo()
            except NoRoom as error:
                undo()
                room = max(2 * room, int(str(error)))
            except BaseException:
                undo()
                raise

    # ---------------------------------------------------------------------------------------------------- recording

    def _record(self, function: Callable, room: int, how: str) -> None:
        device = self.call.tensors[0].device if self.call.tensors else driver.DEFAULT_DEVICE
        self._recording = recording = Recording(device, room, how)
        index.settle()  # so that nobody who reads a step count meanwhile has to look at what indices were wrong
        self._inputs = [_input(t) for t in self.call.tensors]
        self._copy_inputs(self.call)
        tensors = self.guards.tensors
        gradients = [(t, t.grad) for t in tensors]
        start = Node("start", (), None).sequence
        blocks = {id(a.memory): a.memory for t in (*tensors, *self._inputs) for a in _arrays(t)}
        versions = {key: block.version for key, block in blocks.items()}
        chance = _chance()
        args, kwargs = self.call.with_tensors(self._inputs)
        with recording.record():
            result = function(*args, **kwargs)
        if _chance() != chance:
            raise Uncapturable("it draws random numbers on the host, which a replay would not")
        parts = Parts(result)
        if parts.others:
            raise Uncapturable(f"it returns a {type(parts.others[0]).__name__}")
        self._versions = [(b, b.version - versions[key]) for key, b in blocks.items() if b.version != versions[key]]
        self._written = [t.array.memory.version > 0 for t in self._inputs]
        self._differentiate(parts.tensors, start)
        self._results, self._structure = [self._result(t) for t in parts.tensors], parts.structure
        self._sort_gradients(gradients)
        self._copies = []
        for t in tensors:
            copy = precision.current_copy(t)
            if copy is not None and copy.memory in recording.inside:
                t.working_copy = None  # made anew by each replay
            elif copy is not None:
                self._copies.append((t, copy))
        self._given: list[weakref.ref[memory.Memory]] = []
        self._open: weakref.ref[_Token] | None = None
        ours = {old.array.memory.address for _, old in gradients if old is not None}
        del result, parts, args, kwargs, gradients, blocks
        self._check(ours)

    def _copy_inputs(self, call: Call) -> None:
        for t, own in zip(call.tensors, self._inputs, strict=True):
            _copy(t, own)

    def _differentiate(self, results: Sequence[Tensor], start: int) -> None:
        """Record the gradients of everything that results with a history depend on."""
        histories = [_history(t) if is_grad_enabled() and t.node is not None else {} for t in results]
        self._live = [i for i, nodes in enumerate(histories) if nodes and all(n.function is not None for n in nodes)]
        self._leaves: list[Tensor] = []
        if not self._live:
            return
        live = [results[i] for i in self._live]
        nodes = {node: None for i in self._live for node in histories[i]}
        if any(node.sequence < start for node in nodes):
            raise Uncapturable("it goes on from operations that were recorded outside")
        origins = {id(o): o for node in nodes for o in node.inputs if o is not None and not isinstance(o, tuple)}
        self._leaves = list(origins.values())
        del histories, nodes, origins
        self._dys = [Tensor(empty_like(t.array)) for t in live]
        blocks = {id(a.memory): a.memory for t in self.guards.tensors for a in _arrays(t)}
        versions = {key: block.version for key, block in blocks.items()}
        with self._recording.record():
            found = autograd.grad(live, self._leaves, self._dys, allow_unused=True)
        if any(b.version != versions[key] for key, b in blocks.items()):
            raise Uncapturable("its backward pass writes to tensors of others")
        read = self._recording.touched_by(1)
        self._saved = [t.array for t in self.guards.tensors if t.array.memory.address in read]
        self._gradients = [None if g is None else kept(g.array) for g in found]

    def _result(self, t: Tensor) -> Any:
        """What a replay returns for a result: an argument's number, the tensor itself, or an array to be copied."""
        for i, own in enumerate(self._inputs):
            if t is own:
                return Place(i)
        ours = t.array.memory in self._recording.inside or any(t.array.memory is x.array.memory for x in self._inputs)
        return kept(t.array) if ours or t.node is not None else t

    def _sort_gradients(self, before: list[tuple[Tensor, Tensor | None]]) -> None:
        """Note what became of gradients: none are there, others, or the same."""
        recording = self._recording
        self._fresh: list[tuple[Tensor, Array]] = []
        self._dropped: list[Tensor] = []
        for t, old in before:
            touched = old is not None and old.array.memory.address in recording.touched
            if touched:
                now, t.grad = t.grad, old
                self.guards.require_gradient(t)
                t.grad = now
            if t.grad is old:
                continue
            if t.grad is None:
                self._dropped.append(t)
            elif t.grad.array.memory in recording.inside:
                if t.grad.node is not None:
                    raise Uncapturable("it leaves gradients that have a history")
                self._fresh.append((t, kept(t.grad.array)))
                if not touched:
                    self._dropped.append(t)
                t.grad = None
            elif old is None or t.grad.array.memory is not old.array.memory:
                raise Uncapturable("it takes a gradient from elsewhere")

    def _check(self, ours: set[int]) -> None:
        """Uncapturable if the launches read what we cannot watch, or leave behind what we would not renew."""
        recording = self._recording
        ours |= {a.memory.address for t in self._inputs for a in _arrays(t)}
        ours |= {t.array.memory.address for t in getattr(self, "_dys", ())}
        lost = recording.touched.keys() - self.guards.addresses() - ours
        if lost:
            sizes = sorted(recording.touched[a].nbytes for a in lost)
            raise Uncapturable(f"it uses a tensor of {sizes[-1]:,} bytes that it reaches by ways that are not followed")
        if any(t.grad is not None for t in self._inputs):
            raise Uncapturable("it gives an argument a gradient")
        for t, own, written in zip(self.call.tensors, self._inputs, self._written, strict=True):
            if t.array.memory.address in recording.touched or (written and own.requires_grad):
                raise Uncapturable("an argument shares memory with something else that it uses")
        if recording.escaped():
            gc.collect()
            if recording.escaped():
                raise Uncapturable("it leaves a tensor behind, other than by returning it")

    # ---------------------------------------------------------------------------------------------------- replaying

    def fits(self, call: Call) -> bool:
        """Whether a replay now does what the function would."""
        return self.call.same(call) and self.guards.changed() is None and self._recording.ready(0)

    def is_open(self) -> bool:
        """Whether the gradients of a run before this one are still to come, for which it has to be kept."""
        token = None if self._open is None else self._open()
        return token is not None and not token.used

    def run(self, call: Call, first: bool = False) -> Any:
        """Replay the function; `first` when it has just been recorded, and Python has done its part."""
        if not first:
            self._copy_inputs(call)
            for t in self._dropped:
                t.grad = None
        self._move_away()
        self._recording.replay(0, move=not first)
        if not first:
            self._advance()
        blocks: dict[int, memory.Memory] = {}
        for t, array in self._fresh:
            t.grad = Tensor(self._given_out(array, blocks))
        for t, own, written in zip(call.tensors, self._inputs, self._written, strict=True):
            if written:
                elementwise.copy_into(own.array, t.array)
                t.array.memory.version += 1
        return self._returned(call)

    def _advance(self) -> None:
        """Do to versions what the function does."""
        for block, writes in self._versions:
            block.version += writes
        for t, copy in self._copies:
            precision.wrote(t, copy)

    def _move_away(self) -> None:
        """Leave what former runs gave, and is still in use, to its owners."""
        for reference in self._given:
            block = reference()
            if block is not None:
                block.move()
        self._given = []

    def _given_out(self, array: Array, blocks: dict[int, memory.Memory]) -> Array:
        """An array of the recording for others: as memory of its own, which can be moved."""
        address = array.memory.address
        block = blocks.get(address)
        if block is None:
            block = blocks[address] = array.memory.again()
            self._given.append(weakref.ref(block))
        return Array(block, array.dtype, array.shape, array.strides, array.offset)

    def _returned(self, call: Call) -> Any:
        tensors = [self._copied(r, call) for r in self._results]
        if self._live:
            self._originate([tensors[i] for i in self._live], call)
        return mapped(self._structure, lambda place: tensors[place.index])

    @staticmethod
    def _copied(result: Any, call: Call) -> Tensor:
        if isinstance(result, Place):
            return call.tensors[result.index]
        if isinstance(result, Tensor):
            return result
        return Tensor(elementwise.copy_into(result, empty_like(result)))

    # ---------------------------------------------------------------------------------------------------- gradients

    def _originate(self, results: Sequence[Tensor], call: Call) -> None:
        """Have results come from this run, in the graph of whoever called."""
        token = _Token()
        places = {id(own): t for own, t in zip(self._inputs, call.tensors, strict=True)}
        sources = [places.get(id(leaf), leaf) for leaf in self._leaves]

        def gradients(dys: Sequence[Any], wanted: list[bool]) -> Sequence[Any]:
            return self._gradients_of(token, dys)

        node = Node("Compiled", sources, gradients, len(results))
        node.save(self._saved)
        for number, t in enumerate(results):
            t.originate(node)
            t.output_number = number
        self._open = weakref.ref(token)

    def _gradients_of(self, token: _Token, dys: Sequence[Any]) -> Sequence[Any]:
        if is_grad_enabled():
            raise RuntimeError(
                "a compiled function was captured with its first derivatives only: call the function itself where "
                "backward is to be differentiated (create_graph=True)"
            )
        if token.used or self._open is None or self._open() is not token:
            raise RuntimeError(
                "trying to backward through a compiled function a second time: what it kept was freed by the first "
                "backward, or belongs to a later call; call the function itself where the graph is to be retained"
            )
        token.used = True
        for own, dy in zip(self._dys, dys, strict=True):
            elementwise.fill(own.array, 0) if dy is None else elementwise.copy_into(dy.array, own.array)
        self._move_away()
        self._recording.replay(1)
        blocks: dict[int, memory.Memory] = {}
        return [None if g is None else Tensor(self._given_out(g, blocks)) for g in self._gradients]


def _chance() -> tuple[Any, ...]:
    """The state of the host's own random numbers."""
    kind, words, position, *rest = np.random.get_state()
    return python_random.getstate(), kind, np.asarray(words).tobytes(), position, *rest


class _Token:
    """Stands for one run; `used` when its gradients have been had."""

    used = False


def _arrays(t: Tensor) -> list[Array]:
    """The arrays that may change with a tensor."""
    return [t.array] if t.grad is None else [t.array, t.grad.array]


def _input(t: Tensor) -> Tensor:
    """A tensor of our own for an argument, as kernels see it: with its strides, and as far from 16 bytes."""
    a = t.array
    shape = [1 if stride == 0 else n for n, stride in zip(a.shape, a.strides, strict=True)]
    if places(shape, a.strides) != math.prod(shape):
        raise Uncapturable("elements of an argument share memory")
    span = 1 + sum((n - 1) * stride for n, stride in zip(shape, a.strides, strict=True))
    first = a.data_ptr() % 16 // a.dtype.itemsize
    whole = empty((max(span, 1) + first,), a.dtype, a.device)
    return Tensor(whole.view(a.shape, a.strides, first), requires_grad=t.requires_grad)


def _copy(t: Tensor, own: Tensor) -> None:
    """The values of an argument for our own; where it is expanded, each once."""
    into, given = own.array, t.array
    for axis, stride in enumerate(into.strides):
        if stride == 0 and into.shape[axis]:
            into, given = into.slice(axis, 0, 1), given.slice(axis, 0, 1)
    elementwise.copy_into(given, into)


def _history(t: Tensor) -> dict[Node, None]:
    """The nodes that a result depends on."""
    seen: dict[Node, None] = {}
    stack = [t.node]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen[node] = None
            stack += [origin[0] for origin in node.inputs if isinstance(origin, tuple)]
    return seen
