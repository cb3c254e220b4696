"""Calling a module, and what users have asked to be called around it."""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from tritongrad.autograd import Node, is_grad_enabled, observation
from tritongrad.tensor import Tensor

_numbers = itertools.count()
Hooks = OrderedDict[int, Callable]


class RemovableHandle:
    """A registered hook, which `remove()`, or leaving a `with` block, takes away again."""

    def __init__(self, hooks: Hooks, hook: Callable, *notes: dict[int, bool], prepend: bool = False) -> None:
        self.id = next(_numbers)
        # The tables belong to the module; a handle must not keep it alive.
        self._tables = [weakref.ref(hooks), *(weakref.ref(n) for n in notes if isinstance(n, OrderedDict))]
        hooks[self.id] = hook
        if prepend:
            hooks.move_to_end(self.id, last=False)

    def remove(self) -> None:
        for reference in self._tables:
            table = reference()
            if table is not None:
                table.pop(self.id, None)

    def __getstate__(self) -> tuple[int, list[Any]]:
        return self.id, [reference() for reference in self._tables]

    def __setstate__(self, state: tuple[int, list[Any]]) -> None:
        self.id, tables = state
        self._tables = [weakref.ref(OrderedDict() if table is None else table) for table in tables]

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


TABLES = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
)


class Hooked:
    """The half of `Module` that is called."""

    _forward_pre_hooks: Hooks
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks: Hooks
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _backward_pre_hooks: Hooks
    _backward_hooks: Hooks

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        observer = observation.observer
        if observer is not None:
            with observer.module_called(self):
                return self._among_hooks(args, kwargs)
        if not (self._forward_pre_hooks or self._forward_hooks or self._backward_hooks or self._backward_pre_hooks):
            return self.forward(*args, **kwargs)
        return self._among_hooks(args, kwargs)

    def _among_hooks(self, args: tuple, kwargs: dict) -> Any:
        """`forward` with what was asked for around it."""
        late = dict(self._forward_hooks_always_called)
        result: Any = None
        try:
            for number, hook in list(self._forward_pre_hooks.items()):
                args, kwargs = self._before(number, hook, args, kwargs)
            backward = _Backward(self) if self._backward_hooks or self._backward_pre_hooks else None
            if backward is not None:
                args = backward.inputs(args)
            result = self.forward(*args, **kwargs)
            for number, hook in list(self._forward_hooks.items()):
                late.pop(number, None)
                result = self._after(number, hook, args, kwargs, result)
            return result if backward is None else backward.outputs(result)
        except BaseException:
            for number in late:  # these want to know of failures too
                try:
                    self._after(number, self._forward_hooks[number], args, kwargs, result)
                except Exception as error:
                    warnings.warn(
                        f"module forward hook with ``always_call=True`` raised an exception that was silenced as "
                        f"another error was raised in forward: {error}",
                        stacklevel=2,
                    )
            raise

    def _before(self, number: int, hook: Callable, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if number in self._forward_pre_hooks_with_kwargs:
            changed = hook(self, args, kwargs)
            if changed is None:
                return args, kwargs
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                )
            return changed
        changed = hook(self, args)
        return args if changed is None else changed if isinstance(changed, tuple) else (changed,), kwargs

    def _after(self, number: int, hook: Callable, args: tuple, kwargs: dict, result: Any) -> Any:
        with_kwargs = number in self._forward_hooks_with_kwargs
        changed = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
        return result if changed is None else changed

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before every forward; what it returns, if anything, replaces the arguments.

        With `with_kwargs` hook(module, args, kwargs) may return a pair of both; with `prepend` it goes before others.
        """
        notes = self._forward_pre_hooks_with_kwargs
        handle = RemovableHandle(self._forward_pre_hooks, hook, notes, prepend=prepend)
        if with_kwargs:
            notes[handle.id] = True
        return handle

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args, result) after every forward; what it returns, if anything, replaces the result.

        With `with_kwargs` it gets (module, args, kwargs, result); with `always_call` it is called although forward
        raised.
        """
        kinds = self._forward_hooks_with_kwargs, self._forward_hooks_always_called
        handle = RemovableHandle(self._forward_hooks, hook, *kinds, prepend=prepend)
        for notes, wanted in zip(kinds, (with_kwargs, always_call), strict=True):
            if wanted:
                notes[handle.id] = True
        return handle

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_output) when the gradients of the results are known; what it returns replaces them."""
        return RemovableHandle(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) when the gradients of the positional arguments are known.

        Both are tuples with None for what is no tensor or wants no gradient; what it returns replaces grad_input.
        """
        return RemovableHandle(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """As `register_full_backward_hook`, which torch replaced this by."""
        return self.register_full_backward_hook(hook)


class _Backward:
    """The backward hooks of one call: a node before its arguments, and one after its results."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.grad_output: tuple = ()
        self.arguments, self.has_inputs = 0, False

    def inputs(self, args: tuple) -> tuple:
        def gradient(gradients: Sequence[Any], wanted: list[bool]) -> Sequence[Any]:
            return self._called(gradients, len(args), places)

        args, places = _through(args, gradient, "BackwardHook")
        self.arguments, self.has_inputs = len(args), bool(places)
        return args

    def outputs(self, result: Any) -> Any:
        single = not isinstance(result, tuple)
        results = (result,) if single else result

        def gradient(gradients: Sequence[Any], wanted: list[bool]) -> Sequence[Any]:
            grad_output = _spread(gradients, len(results), places)
            for hook in list(self.module._backward_pre_hooks.values()):
                changed = hook(self.module, grad_output)
                if changed is not None:
                    grad_output = changed if isinstance(changed, tuple) else (changed,)
            self.grad_output = grad_output
            if not self.has_inputs:
                self._called([], self.arguments, [])
            return [grad_output[i] for i in places]

        results, places = _through(results, gradient, "BackwardHook")
        return results[0] if single else results

    def _called(self, gradients: Sequence[Any], count: int, places: list[int]) -> Sequence[Any]:
        grad_input = _spread(gradients, count, places)
        for hook in list(self.module._backward_hooks.values()):
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None:
                changed = changed if isinstance(changed, tuple) else (changed,)
                if len(changed) != len(grad_input):
                    raise RuntimeError(
                        f"a backward hook of {type(self.module).__name__} returned {len(changed)} gradients instead of "
                        f"{len(grad_input)}"
                    )
                grad_input = changed
        return [grad_input[i] for i in places]


def _spread(gradients: Sequence[Any], count: int, places: list[int]) -> tuple:
    whole: list[Any] = [None] * count
    for place, g in zip(places, gradients, strict=True):
        whole[place] = g
    return tuple(whole)


def _through(values: tuple, gradient: Callable, name: str) -> tuple[tuple, list[int]]:
    """The values, those that want gradients coming from one node with this gradient; and which ones those are."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if not places or not is_grad_enabled():
        return values, []
    node = Node(name, [values[i] for i in places], gradient, len(places))
    fresh = list(values)
    for number, i in enumerate(places):
        fresh[i] = values[i].detach()
        fresh[i].node, fresh[i].output_number, fresh[i].requires_grad = node, number, True
    return tuple(fresh), places
