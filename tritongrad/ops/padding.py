"""Borders put around a tensor, or cut off from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritongrad.ops.joining import cat, flip
from tritongrad.ops.slicing import narrow
from tritongrad.ops.views import expand, shape_of
from tritongrad.tensor import Tensor, record
from tritongrad_kernels import elementwise
from tritongrad_kernels.dtypes import require_fit


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """With a border: `pad` lists how wide it is before and after the last axis, then the one before it, and so on.

    mode  "constant": filled with `value` (default 0); a negative width cuts off, for any axes
          "reflect": mirrored at the outermost elements, which are not repeated; narrower than the axis
          "replicate": the outermost elements again
          "circular": from the other end, as if input went on periodically; no wider than the axis
    All but "constant" pad the last 1 to 3 axes of a tensor that has 1 or 2 more.
    """
    widths = shape_of((pad,))
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise RuntimeError(
            f"pad: expected two widths for each of at most {input.ndim} axes of {list(input.shape)}, got {list(widths)}"
        )
    pairs = [(input.ndim - 1 - i, *widths[2 * i : 2 * i + 2]) for i in range(len(widths) // 2)]
    if mode == "constant":
        return _constant(input, pairs, 0 if value is None else value)
    if mode not in _BORDERS:
        raise NotImplementedError(f"pad: unknown mode {mode!r}; expected one of constant, {', '.join(_BORDERS)}")
    if value is not None and value != 0:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    if len(pairs) not in (1, 2, 3) or input.ndim - len(pairs) not in (1, 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads the last 1, 2 or 3 axes of a tensor with 1 or 2 more, got {len(widths)} widths "
            f"for shape {list(input.shape)}"
        )
    for axis, before, after in pairs:
        input = _framed(input, axis, before, after, mode)
    return input


def _constant(x: Tensor, pairs: Sequence[tuple[int, ...]], value: float) -> Tensor:
    """Copied into a whole of `value`; the gradient is cut back, and widened with 0 where x was cut."""
    shape, source = list(x.array.shape), x.array
    inner = []
    require_fit(value, x.dtype)
    for axis, before, after in pairs:
        extent = source.shape[axis]
        shape[axis] = extent + before + after
        first, last = max(-before, 0), extent - max(-after, 0)
        if shape[axis] < 0 or last < first:
            raise RuntimeError(
                f"pad: the widths {before} and {after} leave nothing of dimension {axis} of {list(x.shape)}"
            )
        source = source.slice(axis, first, last)
        inner.append((axis, max(before, 0), max(before, 0) + source.shape[axis]))
    whole = elementwise.full(shape, value, x.dtype, x.device)
    target = whole
    for axis, start, end in inner:
        target = target.slice(axis, start, end)
    elementwise.copy_into(source, target)
    back = [(axis, -before, -after) for axis, before, after in pairs]
    return record(whole, (x, lambda dy: _constant(dy, back, 0)))


def _framed(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """x with borders taken from itself along one axis."""
    extent = x.size(axis)
    most = extent - 1 if mode == "reflect" else extent if mode == "circular" else max(before, after)
    if max(before, after) > most or (max(before, after) > 0 and not extent):
        raise RuntimeError(
            f"pad: widths {before} and {after} are too large for mode {mode!r} and dimension {axis} of {list(x.shape)}"
        )
    if before + after + extent < 0:
        raise RuntimeError(f"pad: widths {before} and {after} leave nothing of dimension {axis} of {list(x.shape)}")
    left, right = _BORDERS[mode]
    parts = [left(x, axis, extent, before)] if before > 0 else []
    first = max(-before, 0)
    parts.append(narrow(x, axis, first, extent - first - max(-after, 0)))
    parts += [right(x, axis, extent, after)] if after > 0 else []
    return cat(parts, axis)


def _edge(x: Tensor, axis: int, position: int, width: int) -> Tensor:
    shape = list(x.shape)
    shape[axis] = width
    return expand(narrow(x, axis, position, 1), shape)


_BORDERS: dict[str, tuple[Any, Any]] = {
    "reflect": (
        lambda x, axis, extent, width: flip(narrow(x, axis, 1, width), axis),
        lambda x, axis, extent, width: flip(narrow(x, axis, extent - 1 - width, width), axis),
    ),
    "replicate": (
        lambda x, axis, extent, width: _edge(x, axis, 0, width),
        lambda x, axis, extent, width: _edge(x, axis, extent - 1, width),
    ),
    "circular": (
        lambda x, axis, extent, width: narrow(x, axis, extent - width, width),
        lambda x, axis, extent, width: narrow(x, axis, 0, width),
    ),
}
