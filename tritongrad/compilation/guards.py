"""What a function found when it was captured, so that a replay is refused where it would find something else.

Objects that the function can reach (`reach.py`) must be the very same; numbers, strings and the like need only be
equal, and containers only hold what is the same. Of a tensor its memory, its history, whether it wants a gradient and
whether it has one must be as they were; its values need not. What is not looked at is what a replay moves on by itself:
step counts and learning rates of optimizers that keep them on the device, and generators of random numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_not
from typing import Any

from tritongrad import precision, tracing
from tritongrad.autograd import is_casting, is_grad_enabled, is_inference_mode_enabled
from tritongrad.autograd.anomaly import is_anomaly_enabled
from tritongrad.compilation.reach import CONTAINERS, PLAIN, Look, look_at, names_attribute
from tritongrad.nn.hooks import TABLES
from tritongrad.nn.module import Module
from tritongrad.optim import optimizer as optimizers
from tritongrad.optim.optimizer import Optimizer
from tritongrad.tensor import Tensor, get_default_dtype
from tritongrad_kernels import INTERPRETED, launch, matmul, memory, pending
from tritongrad_kernels.array import Array
from tritongrad_kernels.capture import Uncapturable

MOST = 200_000  # objects: a function that reaches more is not for us


def environment() -> tuple[Any, ...]:
    """Switches that what is launched depends on."""
    return (
        is_grad_enabled(), is_inference_mode_enabled(), is_casting(), *precision.setting()[:3], get_default_dtype(),
        pending.enabled, launch.generation, matmul.precision, matmul.convolutions, is_anomaly_enabled(),
    )  # fmt: skip


def is_watched() -> bool:
    """Whether somebody listens to what is computed, whom a replay would not tell; on a GPU also to what is launched."""
    told = not INTERPRETED and (launch.around is not None or bool(launch._listeners))
    return told or memory.in_dry_run() or tracing.listener() is not None


class _Item:
    """An object, and what was found in it."""

    __slots__ = ("look", "thing", "values")

    def __init__(self, thing: Any, look: Look) -> None:
        self.thing, self.look = thing, look
        self.values = look(thing)


class _Held:
    """A tensor, and what was found of it. `copy` is what autocast keeps of it in half precision."""

    __slots__ = ("address", "array", "copy", "has_grad", "node", "tensor", "wants")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.array, self.node = tensor, tensor.array, tensor.node
        self.address = tensor.array.memory.address
        self.wants, self.has_grad = tensor.requires_grad, tensor.grad is not None
        self.copy = precision.current_copy(tensor)


class Guards:
    """What can be reached from some objects now.

    tensors      those that can be reached
    with_grads   whether it matters which tensors have a gradient
    python_hook  something in the way that only Python can do: a sentence, or None
    """

    def __init__(self, roots: Iterable[Any], with_grads: bool) -> None:
        self.with_grads = with_grads
        self.python_hook: str | None = None
        self.environment = environment()
        self._items: dict[int, _Item] = {}
        self._tensors: dict[int, _Held] = {}
        self._gradients: list[tuple[Tensor, int]] = []
        self._extra: list[Any] = []
        stack = list(roots)
        while stack:
            stack += self._meet(stack.pop())
            if len(self._items) > MOST:
                raise Uncapturable(f"it can reach more than {MOST:,} objects")
        if self._reads_groups():
            for optimizer in [item.thing for item in self._items.values() if isinstance(item.thing, Optimizer)]:
                self._extra += [(group, name) for group in optimizer.param_groups for name in group if name != "params"]
        self._options = [group[name] for group, name in self._extra]
        self._watched: list[_Item] = []
        self._empty: list[Any] = []
        for item in self._items.values():
            if item.values or not isinstance(item.thing, CONTAINERS):
                self._watched.append(item)
            else:
                self._empty.append(item.thing)

    def _meet(self, thing: Any) -> list[Any]:
        if isinstance(thing, PLAIN) or id(thing) in self._items or id(thing) in self._tensors:
            return []
        if isinstance(thing, Tensor):
            self._tensors[id(thing)] = _Held(thing)
            if thing.hooks or (self.with_grads and thing.after_accumulation):
                self._note("a tensor has hooks")
            return []
        look = look_at(thing)
        if look is None:
            return []
        item = self._items[id(thing)] = _Item(thing, look)
        if isinstance(thing, Module) and any(getattr(thing, table) for table in TABLES):
            self._note(f"a {type(thing).__name__} has hooks")
        if isinstance(thing, Optimizer):
            everywhere = optimizers._pre_hooks_of_all or optimizers._post_hooks_of_all
            if everywhere or any(getattr(thing, table) for table in optimizers.HOOKS[:2]):
                self._note(f"a {type(thing).__name__} has hooks")
        return item.values

    def _note(self, hook: str) -> None:
        self.python_hook = self.python_hook or f"{hook}, which a replay would not call"

    def _reads_groups(self) -> bool:
        """Whether learning rates may be read by Python other than the optimizer's."""
        return any(names_attribute(item.thing, "param_groups") for item in self._items.values())

    @property
    def tensors(self) -> list[Tensor]:
        return [held.tensor for held in self._tensors.values()]

    def addresses(self) -> set[int]:
        """Where all bytes are that can be reached through tensors."""
        arrays: list[Array] = []
        for held in self._tensors.values():
            arrays += [held.tensor.array, *([] if held.tensor.grad is None else [held.tensor.grad.array])]
            arrays += [] if held.copy is None else [held.copy]
        return {a.memory.address for a in arrays}

    def require_gradient(self, tensor: Tensor) -> None:
        """The gradient of this tensor must stay where it is."""
        assert tensor.grad is not None
        self._gradients.append((tensor, tensor.grad.array.memory.address))

    def changed(self) -> str | None:
        """What is not as it was, in words; None if everything is."""
        if environment() != self.environment:
            return "a switch like no_grad, autocast or the precision of products changed"
        for held in self._tensors.values():
            t = held.tensor
            if (  # the usual case at little cost: this is asked of all parameters in each call
                t.array is not held.array
                or t.array.memory.address != held.address
                or t._requires_grad is not held.wants
                or t._node is not held.node
                or t.hooks
                or t.aliasing is not None
                or t.after_accumulation
                or (t.grad is not None) is not held.has_grad
                or (t.working_copy is not None or held.copy is not None)
            ):
                word = self._changed_tensor(held)
                if word is not None:
                    return word
        for tensor, address in self._gradients:
            if tensor.grad is None or tensor.grad.array.memory.address != address:
                return f"the gradient of a tensor of shape {list(tensor.shape)} is elsewhere"
        # What looks changed is looked at again when all that refers to it has been: it may have been replaced.
        suspects = []
        for item in self._watched:
            now = item.look(item.thing)
            if len(now) != len(item.values) or any(map(is_not, now, item.values)):
                suspects.append(item)
        for item in [item for item in suspects if self._changed_item(item) is not None]:
            word = self._changed_item(item)
            if word is not None:
                return word
        if any(self._empty):
            return "something was put into a container that was empty"
        if self._extra and any(
            group[name] != old for (group, name), old in zip(self._extra, self._options, strict=True)
        ):
            return "an option of an optimizer that the function reads changed"
        return None

    def _changed_tensor(self, held: _Held) -> str | None:
        t = held.tensor
        what = None
        if t.array is not held.array or t.array.memory.address != held.address:
            what = "memory"
        elif t.requires_grad is not held.wants:
            what = "requires_grad"
        elif (t.hooks or (self.with_grads and t.after_accumulation)) and self.python_hook is None:
            what = "hooks"
        elif t.node is not held.node:
            what = "history"
        elif self.with_grads and (t.grad is not None) is not held.has_grad:
            what = "having a gradient"
        elif precision.current_copy(t) is not held.copy:
            what = "copy in half precision"
        return None if what is None else f"the {what} of a tensor of shape {list(t.shape)} changed"

    def _changed_item(self, item: _Item) -> str | None:
        now = item.look(item.thing)
        if len(now) == len(item.values) and not any(map(is_not, now, item.values)):
            return None
        kind = type(item.thing).__name__
        if len(now) != len(item.values):
            return f"a {kind} has {len(now)} entries instead of {len(item.values)}"
        for old, new in zip(item.values, now, strict=True):
            if old is not new and not self._matches(old, new):
                return f"in a {kind}, {_short(old)} became {_short(new)}"
        item.values = now
        return None

    def _matches(self, old: Any, new: Any) -> bool:
        """Whether another object will do, which is looked at from now on."""
        if old is new:
            return True
        if type(old) is not type(new):
            return False
        if isinstance(old, PLAIN):
            return bool(old == new)
        item = self._items.get(id(old))
        if item is None or not isinstance(old, CONTAINERS):
            return False
        inner = item.look(new)
        if len(inner) != len(item.values) or not all(map(self._matches, item.values, inner)):
            return False
        if not item.values:
            self._empty = [new if thing is old else thing for thing in self._empty]
        del self._items[id(old)]
        item.thing, item.values = new, inner
        self._items[id(new)] = item
        return True


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    text = repr(value) if isinstance(value, PLAIN) else f"a {type(value).__name__}"
    return text if len(text) < 60 else text[:57] + "..."
