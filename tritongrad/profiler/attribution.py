"""Who asked for a launch: read from the Python stack at that moment, so that nothing is paid while nobody profiles.

Going outwards from `launch`, the operation is the outermost public function of `tritongrad.ops` and its kin before the
code of a module, a node of the graph, an optimizer or the user: `conv2d`, not what it is composed of. A launch that was
put off (`tritongrad_kernels.pending`) belongs to who asked for it when it was promised.
"""

from __future__ import annotations

import contextlib
import enum
import os
import weakref
from types import CodeType, FrameType
from typing import Any, NamedTuple

import tritongrad_kernels
from tritongrad.tensor import Tensor
from tritongrad_kernels.waiting_sums import Sum

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_KERNELS = os.path.dirname(tritongrad_kernels.__file__) + os.sep
_LIBRARY = os.path.dirname(contextlib.__file__) + os.sep
_OPERATIONS = ("ops", "tensor.py", "random.py", "dropout.py", "native.py", "special.py", "linalg.py", "aliasing.py")
_WITH_STEPS = ("optim", "amp")
_GRADIENTS = {"_arrive": "AccumulateGrad", "deliver": "add"}
_SAID = {"along": "recurrent"}
"""Operations whose function says too little."""
_TRANSPARENT = ("autograd", "profiler", "generator.py", "tracing.py", "rollback.py")


class _Kind(enum.Enum):
    """What a frame says of a launch below it."""

    NOTHING = enum.auto()
    OPERATION = enum.auto()
    COMPOSITION = enum.auto()  # of operations, which are told apart
    CAST = enum.auto()  # of operands, by autocast
    STEP = enum.auto()  # a method of an optimizer or a scaler
    NODE = enum.auto()  # the gradients of a recorded operation
    GRADIENT = enum.auto()  # the sum of gradients of one tensor
    RUN = enum.auto()  # a work that waited
    JOIN = enum.auto()  # a work that an operation is joined to
    FRONT = enum.auto()  # a convolution, which may take a batch norm along as it reads
    END = enum.auto()  # other code of ours: a module, a model, a transform
    USER = enum.auto()


_IN_KERNELS = {
    "fill": _Kind.RUN,  # in pending.py; what else goes by this name has no `work`
    "Statistics.settle": _Kind.RUN,
    "InputGrad.through": _Kind.JOIN,
    "PoolGrad.gradients": _Kind.JOIN,
    "convolved": _Kind.FRONT,
}


class Scope(NamedTuple):
    """A module: the one that was called first, as (its class, a number that tells it from others), and its dotted name
    in that one."""

    root: tuple[str, int]
    name: str


class Origin(NamedTuple):
    """Who asked for a launch.

    op      "conv2d"; "ConvolutionBackward0" for the gradients of a node; "SGD.step"; several joined with "+"
    phase   "forward", "backward" or "step"
    scope   the module, if any
    shapes  of the tensors among the operation's arguments, if they are wanted
    source  "file:line" of the user's code, if it is wanted
    """

    op: str
    phase: str = "forward"
    scope: Scope | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    source: str = ""


class Found(NamedTuple):
    """What the stack says: an origin without a scope, and on whose behalf.

    node    the node of the graph whose gradients are computed
    ran     what waited and is run now
    joined  what the operation is joined to
    front   the statistics of a batch norm that happens as the operation reads
    """

    origin: Origin
    node: Any = None
    ran: Any = None
    joined: Any = None
    front: Any = None


_codes: dict[int, tuple[CodeType, _Kind, str]] = {}


def _known(code: CodeType) -> tuple[CodeType, _Kind, str]:
    """A code's kind; by its id, for its hash is that of all it holds, and with the code, so that the id stays its."""
    kind, name = _kind_of(code.co_filename, code.co_name, code.co_qualname)
    known = _codes[id(code)] = code, kind, name
    return known


def _kind_of(file: str, name: str, qualified: str) -> tuple[_Kind, str]:
    if file.startswith(_KERNELS):
        return (_Kind.JOIN if name == "absorb" else _IN_KERNELS.get(qualified, _Kind.NOTHING)), name
    if not file.startswith(_PACKAGE):
        library = file.startswith((_LIBRARY, "<frozen ")) and "site-packages" not in file
        return (_Kind.NOTHING if library else _Kind.USER), name
    path = file[len(_PACKAGE) :].split(os.sep)
    if path[:2] == ["autograd", "graph.py"] and qualified == "Node.run":
        return _Kind.NODE, name
    if path[:2] == ["autograd", "backward.py"]:
        return (_Kind.GRADIENT, _GRADIENTS[name]) if name in _GRADIENTS else (_Kind.END, name)
    dunder = name.startswith("__") and name.endswith("__")
    public = "<" not in qualified and (dunder or not name.startswith("_"))
    plain = public and qualified == name
    if path[0] == "nn" and plain:
        return _Kind.COMPOSITION, name
    if path[0] == "compilation":  # what was captured has no other names when it is replayed
        return _Kind.COMPOSITION, "replay"
    if path[0] == "tensor.py" and plain:  # what records operations
        return _Kind.NOTHING, name
    if path[0] in _OPERATIONS:
        return (_Kind.OPERATION if public else _Kind.NOTHING), name.strip("_") if dunder else _SAID.get(name, name)
    if path[0] in _WITH_STEPS:
        return (_Kind.OPERATION if plain else _Kind.STEP if public else _Kind.NOTHING), name
    if path[0] == "precision.py":
        return _Kind.CAST, "to"
    return (_Kind.NOTHING if path[0] in _TRANSPARENT else _Kind.END), name


def locate(frame: FrameType | None, shapes: bool = False, source: bool = False) -> Found:
    """What the stack from `frame` outwards says; the operation is "" if nothing."""
    op, phase, cast = "", "forward", ""
    owner: FrameType | None = None
    node: Any = None
    ran = joined = front = None
    while frame is not None:
        _, kind, name = _codes.get(id(frame.f_code)) or _known(frame.f_code)
        if kind is _Kind.OPERATION:
            op, owner = name, frame
        elif kind is _Kind.COMPOSITION:
            op, owner = op or name, owner or frame
        elif kind is _Kind.CAST:
            cast = name
        elif kind is _Kind.RUN and ran is None:
            known = frame.f_locals
            ran = known.get("work", known.get("self"))
        elif kind is _Kind.FRONT:
            front = getattr(frame.f_locals.get("site"), "statistics", None)
        elif kind is _Kind.JOIN and joined is None:
            joined = frame.f_locals["self"]
        elif kind is _Kind.NODE:
            op, phase, node, owner = "", "backward", frame.f_locals["self"], None
            break
        elif kind is _Kind.GRADIENT:
            op, phase = name, "backward"
            break
        elif kind is _Kind.STEP:
            op, phase = f"{_class_of(frame)}.{name}", "step"
            break
        elif kind in (_Kind.END, _Kind.USER):
            break
        frame = frame.f_back
    origin = Origin(op or cast, phase, None, _shapes(owner) if shapes and owner else (), _line(frame) if source else "")
    return Found(origin, node, ran, joined, front)


def _class_of(frame: FrameType) -> str:
    return type(frame.f_locals.get(frame.f_code.co_varnames[0] if frame.f_code.co_argcount else "")).__name__


def _shapes(frame: FrameType) -> tuple[tuple[int, ...], ...]:
    given, names = frame.f_locals, frame.f_code.co_varnames[: frame.f_code.co_argcount]
    return tuple(tuple(t.array.shape) for t in map(given.get, names) if isinstance(t, Tensor))


def _line(frame: FrameType | None) -> str:
    """The innermost line of the user's."""
    while frame is not None:
        if (_codes.get(id(frame.f_code)) or _known(frame.f_code))[1] is _Kind.USER:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def gradient_name(operation: str) -> str:
    """What torch would call the node of an operation: "ConvolutionBackward0" for conv2d's."""
    if operation[:1].isupper():  # a Function of the user's
        return f"{operation}Backward"
    plain = "convolution" if operation in ("conv1d", "conv2d", "conv3d") else operation
    return "".join(part[:1].upper() + part[1:] for part in plain.split("_")) + "Backward0"


class Notes:
    """The origin of each of many objects, as long as it is there: by identity, for not all of them have a hash."""

    def __init__(self) -> None:
        self._notes: dict[int, tuple[Any, Origin]] = {}

    def put(self, thing: Any, origin: Origin) -> None:
        key, notes = id(thing), self._notes
        notes[key] = weakref.ref(thing, lambda gone: notes.pop(key, None)), origin

    def get(self, thing: Any) -> Origin | None:
        noted = self._notes.get(id(thing))
        return None if noted is None or noted[0]() is not thing else noted[1]


def launched(found: Found, notes: Notes) -> Origin:
    """The origin of a launch, or of a promise, with what was noted of nodes, works and statistics."""
    origin = found.origin
    if isinstance(found.ran, Sum):  # whoever reads first sums for all that wait
        return Origin("waiting sums", "backward", source=origin.source)
    asked = notes.get(found.ran)
    if asked is not None:
        return asked
    if found.node is not None:
        recorded = notes.get(found.node)
        name = found.node.name if recorded is None or not recorded.op else recorded.op
        origin = origin._replace(op=gradient_name(name), scope=recorded.scope if recorded else None)
    before = notes.get(found.joined)
    if before is not None and before.phase == origin.phase:
        return before._replace(op=f"{before.op}+{origin.op}")
    front = notes.get(found.front)
    return origin if front is None else origin._replace(op=f"{front.op}+{origin.op}")
