"""Undoing what a function did to the Python objects it can reach."""

from __future__ import annotations

import contextlib
import functools
import random as python_random
from collections import deque
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tritongrad import random
from tritongrad.autograd import Node
from tritongrad.tensor import Tensor
from tritongrad_kernels.array import Array
from tritongrad_kernels.memory import Memory

_OPAQUE = (str, bytes, bytearray, int, float, complex, bool, type(None), type, ModuleType, BuiltinFunctionType)
_SLOTS: dict[type, tuple[str, ...]] = {
    Tensor: ("array", "node", "output_number", "_requires_grad", "grad", "hooks"),
    Node: ("function", "hooks", "inputs", "output", "saved"),
    Memory: ("version",),
}
"""What may change of objects that have no `__dict__`, or more than one."""

_ABSENT = object()


@contextlib.contextmanager
def unchanged(*roots: Any) -> Iterator[None]:
    """Leave every object that can be reached from `roots` as it was found, also after an exception.

    Reached are items of containers, attributes of objects, and of functions what they close over, their defaults and
    the globals they name. Put back are the items of dicts, lists and sets, the attributes and classes of objects (with
    them modules and optimizers), what a Tensor holds (array, grad, graph), versions of memory, variables that functions
    assign to, and the generators of random numbers: this thread's, Python's, numpy's, and those that are reached. Bytes
    of tensors are not looked at, nor are files, or how far a Python iterator has come.
    """
    undo = remember(*roots)
    try:
        yield
    finally:
        undo()


def remember(*roots: Any) -> Callable[[], None]:
    """What puts every object that can be reached from `roots` back as it is now; see `unchanged`."""
    actions = [action for thing in reachable(random.default_generator, *roots) for action in _remember(thing)]
    python_state, numpy_state = python_random.getstate(), np.random.get_state()

    def undo() -> None:
        for action in actions:
            action()
        python_random.setstate(python_state)
        np.random.set_state(numpy_state)

    return undo


def reachable(*roots: Any) -> list[Any]:
    """The objects that can be reached from `roots`, each once; see `unchanged`."""
    seen: dict[int, Any] = {}  # holds them too, so that no id is given again
    stack = list(roots)
    while stack:
        thing = stack.pop()
        if id(thing) not in seen and not isinstance(thing, _OPAQUE):
            seen[id(thing)] = thing
            stack += _neighbours(thing)
    return list(seen.values())


def _neighbours(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return list(thing)
    if isinstance(thing, FunctionType):
        held = [thing.__defaults__, thing.__kwdefaults__, vars(thing), *(thing.__closure__ or ())]
        return held + [v for v in _named_globals(thing).values() if v is not _ABSENT]
    if isinstance(thing, CellType):
        return [] if _content(thing) is _ABSENT else [thing.cell_contents]
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, Array):
        return [thing.memory]
    held = [field.__get__(thing) for field in _fields(thing)]
    return [*held, vars(thing)] if hasattr(thing, "__dict__") else held


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has not been assigned to
        return _ABSENT


def _named_globals(function: FunctionType) -> dict[str, Any]:
    """Globals a function may read or assign to. What the library's own functions name is the library's."""
    if function.__module__ is None or function.__module__.split(".")[0] in ("tritongrad", "tritongrad_kernels"):
        return {}
    return {name: function.__globals__.get(name, _ABSENT) for name in _names(function.__code__)}


def _names(code: CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)


def _remember(thing: Any) -> list[Callable[[], object]]:
    """What puts this object back as it is now."""
    if isinstance(thing, dict | set):
        return [functools.partial(_put_back, thing, thing.copy(), thing.update)]
    if isinstance(thing, list | deque):
        return [functools.partial(_put_back, thing, list(thing), thing.extend)]
    if isinstance(thing, FunctionType):
        return [functools.partial(_assign_globals, thing.__globals__, _named_globals(thing))]
    if isinstance(thing, CellType):
        return [functools.partial(_fill, thing, _content(thing))]
    if isinstance(thing, np.random.Generator):
        return [functools.partial(setattr, thing.bit_generator, "state", thing.bit_generator.state)]
    if isinstance(thing, python_random.Random):
        return [functools.partial(thing.setstate, thing.getstate())]
    fields = [functools.partial(field.__set__, thing, field.__get__(thing)) for field in _fields(thing)]
    return [functools.partial(_become, thing, type(thing)), *fields]


def _fields(thing: Any) -> list[Any]:
    """The fields of `_SLOTS` that an object has, whatever a class of its own says of their names."""
    return [vars(kind)[name] for kind, names in _SLOTS.items() if isinstance(thing, kind) for name in names]


def _become(thing: Any, kind: type) -> None:
    """An object, a lazy module for one, may have changed its class."""
    if type(thing) is not kind:
        thing.__class__ = kind


def _put_back(thing: Any, items: Any, refill: Callable[[Any], object]) -> None:
    same = len(thing) == len(items) and all(a is b for a, b in zip(_flat(thing), _flat(items), strict=True))
    if not same:
        thing.clear()
        refill(items)


def _flat(items: Any) -> Iterator[Any]:
    return (part for pair in items.items() for part in pair) if isinstance(items, dict) else iter(items)


def _assign_globals(namespace: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is _ABSENT:
            namespace.pop(name, None)
        elif namespace.get(name, _ABSENT) is not value:
            namespace[name] = value


def _fill(cell: CellType, content: Any) -> None:
    if content is not _ABSENT:
        cell.cell_contents = content
    elif _content(cell) is not _ABSENT:
        del cell.cell_contents
