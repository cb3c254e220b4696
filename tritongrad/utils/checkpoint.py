"""Activation checkpointing: keep a segment's inputs, and compute what lies between again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritongrad import autograd, precision, random
from tritongrad.autograd import Node
from tritongrad.autograd.backward import grad_after
from tritongrad.tensor import Tensor, record


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), whose intermediate results are not kept but computed again in the backward pass.

    Gradients, second ones too, are those of the function itself, for its tensor arguments and for leaf tensors it uses,
    such as parameters. Random numbers are drawn anew from the same state, unless `preserve_rng_state` is off, and under
    the same autocast. A tensor with a history that the function uses without getting it as an argument raises
    RuntimeError. `use_reentrant`, `determinism_check` and `debug` are accepted for torch's sake; there is one
    behaviour, that of use_reentrant=False.

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost".
    """
    if not autograd.is_grad_enabled():
        return function(*args, **kwargs)
    state, casting = random.get_rng_state() if preserve_rng_state else None, precision.setting()
    before = Node("checkpoint", [], None).sequence
    result, aliases = _run(function, args, kwargs)
    outputs = result if isinstance(result, tuple) else (result,)
    recorded = [o for o in outputs if isinstance(o, Tensor) and o.requires_grad]
    if not recorded:
        return result
    inputs = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
    captured = _captured(recorded, aliases, before)

    def gradient(gradients: Sequence[Any], wanted: list[bool]) -> list:
        again, aliases = _rerun(function, args, kwargs, state, casting)
        again = again if isinstance(again, tuple) else (again,)
        roots = [(o, g) for o, g in zip(again, gradients, strict=True) if g is not None and o.requires_grad]
        sources = [t for t, want in zip([*aliases, *captured], wanted, strict=True) if want]
        # Not before the arguments: a parameter from which these come has its gradient from there, too.
        ends = [t.node for t in aliases if t.node is not None]
        outputs, arrived = [o for o, _ in roots], [g for _, g in roots]
        found = iter(grad_after(ends, outputs, sources, arrived, autograd.is_grad_enabled()))
        return [next(found) if want else None for want in wanted]

    node = Node("checkpoint", [*inputs, *captured], gradient, len(outputs))
    node.save(inputs)
    fresh = tuple(_result_of(node, number, o) for number, o in enumerate(outputs))
    return fresh if isinstance(result, tuple) else fresh[0]


def checkpoint_sequential(functions: Any, segments: int, input: Any, **options: Any) -> Any:
    """A sequence of modules applied to `input`, in `segments` parts of which all but the last are checkpointed."""
    functions = list(functions)
    if not 0 < segments <= len(functions):
        raise ValueError(f"checkpoint_sequential: {segments} segments of {len(functions)} functions")
    size = len(functions) // segments
    for i in range(segments - 1):
        input = checkpoint(_chain(functions[i * size : (i + 1) * size]), input, **options)
    return _chain(functions[(segments - 1) * size :])(input)


def _chain(functions: list[Callable]) -> Callable:
    def apply(x: Any) -> Any:
        for function in functions:
            x = function(x)
        return x

    return apply


def _run(function: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    """The function's result, recorded from aliases of its tensor arguments, which end its graph."""
    aliases: list[Tensor] = []

    def alias(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        aliases.append(record(value.array, (value, lambda g: g)))
        return aliases[-1]

    positional = [alias(v) for v in args]
    named = {k: alias(v) for k, v in kwargs.items()}
    return function(*positional, **named), aliases


def _rerun(
    function: Callable, args: Sequence[Any], kwargs: dict[str, Any], state: Tensor | None, casting: precision.Setting
) -> tuple[Any, list[Tensor]]:
    now, casting_now = random.get_rng_state(), precision.setting()
    precision.set_setting(casting)
    if state is not None:
        random.set_rng_state(state)
    try:
        with autograd.enable_grad():
            return _run(function, args, kwargs)
    finally:
        precision.set_setting(casting_now)
        if state is not None:
            random.set_rng_state(now)


def _captured(outputs: list[Tensor], aliases: list[Tensor], before: int) -> list[Tensor]:
    """The leaves between the outputs and the aliases of the arguments: what the function used besides those."""
    ends = {t.node for t in aliases if t.node is not None}
    leaves: dict[int, Tensor] = {}
    seen: set[Node] = set()
    stack = [t.node for t in outputs if t.node is not None]
    while stack:
        node = stack.pop()
        if node in seen or node in ends:
            continue
        seen.add(node)
        if node.sequence < before:
            raise RuntimeError(
                f"checkpoint: the function uses a result of {node.name} that is not among its arguments; pass it as one"
            )
        for origin in node.inputs:
            if isinstance(origin, tuple):
                stack.append(origin[0])
            elif origin is not None:
                leaves.setdefault(id(origin), origin)
    return list(leaves.values())


def _result_of(node: Node, number: int, o: Any) -> Any:
    if not (isinstance(o, Tensor) and o.requires_grad):
        return o
    fresh = o.detach()
    fresh.node, fresh.output_number, fresh.requires_grad = node, number, True
    return fresh
