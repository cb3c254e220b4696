"""Operations whose gradient a user writes."""

from __future__ import annotations

from typing import Any

from tritongrad.autograd.graph import Gradients, Node
from tritongrad.autograd.mode import is_grad_enabled, no_grad


class _Context:
    """What `forward` of a user's `Function` leaves for its `backward`."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self._saved: tuple = ()
        self._versions: list[int] = []
        self._not_differentiable: tuple = ()
        self._outputs: tuple = ()

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
        self._not_differentiable = tensors


class Function:
    """An operation with a gradient of the user's own: static methods `forward(ctx, ...)` and `backward(ctx, ...)`.

    `forward` runs unrecorded; `backward` gets the gradient of each output and returns that of each argument of
    `forward`, None where there is none.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, ...)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record it."""
        tensors = [a if hasattr(a, "requires_grad") and hasattr(a, "array") else None for a in args]
        needs = tuple(t is not None and t.requires_grad for t in tensors)
        ctx = _Context(needs)
        with no_grad():
            result = cls.forward(ctx, *args)
        if not (is_grad_enabled() and any(needs)):
            return result
        outputs = result if isinstance(result, tuple) else (result,)

        def function(gradients: Gradients, wanted: list[bool]) -> Gradients:
            filled = [o.zeros_of(g) for o, g in zip(shapes, gradients, strict=True)]
            given = cls.backward(ctx, *filled)
            given = given if isinstance(given, tuple) else (given,)
            if len(given) != len(tensors):
                raise RuntimeError(
                    f"{cls.__name__}.backward returned {len(given)} gradients, but forward took "
                    f"{len(tensors)} arguments"
                )
            return [g.clone() if g is not None else None for g in given]

        node = Node(cls.__name__, tensors, function, len(outputs))
        fresh = []
        for number, o in enumerate(outputs):
            o = o.detach() if any(o is t for t in tensors) else o
            if not any(o is t for t in ctx._not_differentiable) and o.dtype.is_floating_point:
                o.node, o.output_number, o.requires_grad = node, number, True
            fresh.append(o)
        shapes = [_Filler(o) for o in fresh]
        return tuple(fresh) if isinstance(result, tuple) else fresh[0]


class _Filler:
    """Zeros of an output's shape, for the gradient of an output that nobody used; holds no graph."""

    def __init__(self, output: Any) -> None:
        self._make = output.detach().zeros_like

    def zeros_of(self, g: Any) -> Any:
        return self._make() if g is None else g
