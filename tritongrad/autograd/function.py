"""Operations whose gradient a user writes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tritongrad.autograd.graph import Gradients, Node
from tritongrad.autograd.mode import is_grad_enabled, no_grad
from tritongrad_kernels import elementwise


class _Context:
    """What `forward` of a user's `Function` leaves for its `backward`."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self._saved: tuple = ()
        self._versions: list[int] = []
        self._not_differentiable: tuple = ()
        self._dirty: tuple = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for backward, which gets them from `saved_tensors` unless they were written to meanwhile."""
        self._saved = tensors
        self._versions = [0 if t is None else t.array.memory.version for t in tensors]

    @property
    def saved_tensors(self) -> tuple:
        for t, version in zip(self._saved, self._versions, strict=True):
            if t is not None and t.array.memory.version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"a saved {t.dtype.name} tensor of shape {list(t.shape)}"
                )
        return self._saved

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """These outputs take no part in the graph."""
        self._not_differentiable = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """These inputs were written to by forward, which returns them."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for an output that nobody used."""
        self._materialize = value


class Function:
    """An operation with a gradient of the user's own: static methods `forward(ctx, ...)` and `backward(ctx, ...)`.

    `forward` runs unrecorded; `backward` gets the gradient of each output and returns that of each argument of
    `forward`, None where there is none. Where there is a `setup_context(ctx, inputs, output)`, `forward` takes no ctx.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        raise NotImplementedError("setup_context is only called where a Function defines it")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, ...)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record it."""
        tensors = [a if _is_tensor(a) else None for a in args]
        needs = tuple(t is not None and t.requires_grad for t in tensors)
        ctx = _Context(needs)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
        if not (is_grad_enabled() and any(needs)):
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        _check_dirty(cls.__name__, ctx, outputs)
        likes = [_Like(o) if _is_tensor(o) else None for o in outputs]
        node = Node(cls.__name__, tensors, _gradient(cls, ctx, likes, len(args)), len(outputs))
        recorded = tuple(_output(ctx, o, tensors, node, number) for number, o in enumerate(outputs))
        return recorded if isinstance(result, tuple) else recorded[0]


def once_differentiable(backward: Callable) -> Callable:
    """Decorator of a `backward` whose result cannot be differentiated again: doing so raises RuntimeError."""

    @functools.wraps(backward)
    def unrecorded(ctx: Any, *gradients: Any) -> Any:
        with no_grad():
            given = backward(ctx, *gradients)
        roots = [g for g in gradients if g is not None and g.requires_grad]
        if not (is_grad_enabled() and roots):
            return given
        several = isinstance(given, tuple)
        results = given if several else (given,)
        node = Node("once_differentiable", roots, _refuse, len(results))
        found = tuple(_bound(g, node, number) for number, g in enumerate(results))
        return found if several else found[0]

    return unrecorded


def _refuse(gradients: Gradients, wanted: list[bool]) -> Gradients:
    raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "requires_grad") and hasattr(value, "array")


class _Like:
    """The shape of an output, for the gradient of one that nobody used; holds neither the output nor a graph."""

    def __init__(self, output: Any) -> None:
        self.kind = type(output.detach())
        self.shape, self.dtype, self.device = output.array.shape, output.dtype, output.device

    def zeros(self) -> Any:
        return self.kind(elementwise.full(self.shape, 0, self.dtype, self.device))


def _gradient(cls: type[Function], ctx: _Context, likes: list[_Like | None], arguments: int) -> Callable:
    def function(gradients: Gradients, wanted: list[bool]) -> Gradients:
        if ctx._materialize:
            gradients = [
                like.zeros() if g is None and like is not None else g for like, g in zip(likes, gradients, strict=True)
            ]
        given = cls.backward(ctx, *gradients)
        given = given if isinstance(given, tuple) else (given,)
        if len(given) > arguments and all(g is None for g in given[arguments:]):
            given = given[:arguments]  # as torch, more Nones than arguments are let through
        if len(given) != arguments:
            raise RuntimeError(
                f"{cls.__name__}.backward returned {len(given)} gradients, but forward took {arguments} arguments"
            )
        return [g.clone() if g is not None else None for g in given]

    return function


def _check_dirty(name: str, ctx: _Context, outputs: tuple) -> None:
    for t in ctx._dirty:
        if not any(t is o for o in outputs):
            raise RuntimeError(f"{name}: a tensor that was marked dirty in forward must be one of its outputs")
        if t.requires_grad and t.is_leaf:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        if t.aliasing is not None:
            raise RuntimeError(f"{name}: forward wrote to a view; clone() it before, or write to its base")


def _output(ctx: _Context, o: Any, inputs: list, node: Node, number: int) -> Any:
    """An output of forward as a result of `node`."""
    if not _is_tensor(o) or not o.dtype.is_floating_point or any(o is t for t in ctx._not_differentiable):
        return o
    if any(o is t for t in ctx._dirty):
        o.rewrites += 1
    elif any(o is t for t in inputs):
        o = o.detach()
    return _bound(o, node, number)


def _bound(o: Any, node: Node, number: int) -> Any:
    if o is not None:
        o.node, o.output_number, o.requires_grad = node, number, True
    return o
