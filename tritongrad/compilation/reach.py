"""What a function can reach, and what of it has to stay as it is for a captured run of it to be repeated.

Reached are what a function closes over, its defaults, the globals that it names; attributes of objects, items of
containers, and the methods and attributes of users' own classes. Functions of libraries are not read: what they name is
theirs.
"""

from __future__ import annotations

import dis
import enum
import functools
import random as python_random
import sys
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tritongrad.autograd import Node
from tritongrad.generator import Generator
from tritongrad.optim.fused import FusedOptimizer
from tritongrad.tensor import Tensor
from tritongrad_kernels import driver, dtypes, memory
from tritongrad_kernels.array import Array
from tritongrad_kernels.capture import Uncapturable

PLAIN = (str, bytes, int, float, complex, bool, type(None), dtypes.dtype, driver.Device, slice, range, np.generic)
CONTAINERS = (dict, list, tuple, set, frozenset, deque, MethodType)
_OPAQUE = (*PLAIN, ModuleType, BuiltinFunctionType, CodeType, Generator, Node, Array, memory.Memory, weakref.ref)
_CHECKED = 1 << 20  # bytes of a numpy array that are looked at
_LIBRARIES = {"tritongrad", "tritongrad_kernels", "numpy", "torch", "triton", "builtins", *sys.stdlib_module_names}
ABSENT = object()

Look = Callable[[Any], list[Any]]


def look_at(thing: Any) -> Look | None:
    """The function that lists what has to stay the same about things like this one; None if there is nothing."""
    if isinstance(thing, BuiltinFunctionType) and isinstance(thing.__self__, CONTAINERS):
        return lambda thing: [thing.__self__]  # a method like `losses.append`
    if thing is ABSENT or isinstance(thing, _OPAQUE):
        return None
    if isinstance(thing, type):
        return None if _is_library(thing.__module__) or issubclass(thing, enum.Enum) else _of_class
    if getattr(type(thing), "is_compiled", False):
        return lambda thing: [thing.function]
    for kind, look in _LOOKS:
        if isinstance(thing, kind):
            return look
    if hasattr(type(thing), "__next__"):
        raise Uncapturable(f"it draws from an iterator, a {type(thing).__name__}, which a replay would not")
    return _of_object


def _of_dict(thing: dict[Any, Any]) -> list[Any]:
    return [*thing.keys(), *thing.values()]


def _of_function(thing: FunctionType) -> list[Any]:
    held: list[Any] = [thing.__defaults__, thing.__kwdefaults__, thing.__dict__]
    for cell in thing.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # a variable that has not been assigned to
            held.append(ABSENT)
    if _is_library(thing.__module__):
        return held
    names, attributes = _names(thing.__code__)
    for name in names:
        value = thing.__globals__.get(name, ABSENT)
        held.append(value)
        if isinstance(value, ModuleType) and not _is_library(value.__name__):
            held += [vars(value).get(attribute, ABSENT) for attribute in attributes]
    return held


@functools.lru_cache(maxsize=4096)
def _names(code: CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The globals that code names, and the attributes."""
    names: dict[str, None] = {}
    attributes: dict[str, None] = {}
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names[instruction.argval] = None
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes[instruction.argval] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _names(constant)
            names.update(dict.fromkeys(inner[0]))
            attributes.update(dict.fromkeys(inner[1]))
    return tuple(names), tuple(attributes)


def names_attribute(thing: Any, attribute: str) -> bool:
    """Whether a user's function reads an attribute of this name."""
    return (
        isinstance(thing, FunctionType) and not _is_library(thing.__module__) and attribute in _names(thing.__code__)[1]
    )


def _is_library(module: str | None) -> bool:
    return module is None or module.partition(".")[0] in _LIBRARIES


def _of_object(thing: Any) -> list[Any]:
    held = [] if _is_library(type(thing).__module__) else [type(thing), *_slots(thing)]
    return [*held, thing.__dict__] if hasattr(thing, "__dict__") else held


def _slots(thing: Any) -> Iterator[Any]:
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                yield getattr(thing, name, ABSENT)


def _of_class(thing: type) -> list[Any]:
    """Methods and attributes of users' classes, their own and inherited."""
    users = [c for c in thing.__mro__ if not _is_library(c.__module__)]
    return [_unwrapped(v) for c in users for name, v in vars(c).items() if name not in _OF_EVERY_CLASS]


_OF_EVERY_CLASS = ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__")


def _unwrapped(value: Any) -> Any:
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _of_optimizer(thing: FusedOptimizer) -> list[Any]:
    """All but learning rates and their kind, which a replay reads anew, and step counts."""
    held: list[Any] = []
    for name, value in thing.__dict__.items():
        if name not in ("param_groups", "state", "defaults"):
            held += [name, value]
    for group in thing.param_groups:
        held += [ABSENT, *group["params"], *(name for name in group if name != "params")]
        for p in group["params"]:
            for kept in thing.lasting(group, thing.state.get(p, {})):
                held += kept if isinstance(kept, tuple) else (kept,)
    return held


def _of_array(thing: np.ndarray) -> list[Any]:
    if thing.nbytes > _CHECKED or thing.dtype.hasobject:
        raise Uncapturable(f"it can reach a numpy array of {thing.nbytes:,} bytes, too many to look at in each call")
    return [thing.dtype.str, str(thing.shape), zlib.crc32(np.ascontiguousarray(thing).tobytes())]


def _of_random(thing: Any) -> list[Any]:
    state = thing.bit_generator.state if isinstance(thing, np.random.Generator) else None
    return [repr(state if state is not None else thing.getstate())]


_LOOKS: list[tuple[Any, Look]] = [
    (dict, _of_dict),
    ((list, tuple, set, frozenset, deque), list),
    (FunctionType, _of_function),
    (MethodType, lambda thing: [thing.__self__, thing.__func__]),
    (functools.partial, lambda thing: [thing.func, thing.args, thing.keywords]),
    (FusedOptimizer, _of_optimizer),
    (np.ndarray, _of_array),
    ((np.random.Generator, python_random.Random), _of_random),
    (Tensor, lambda thing: []),
]
