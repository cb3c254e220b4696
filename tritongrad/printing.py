"""How tensors are printed: torch's layout, digit for digit.

One format serves a whole tensor: integers alone as `1.`, other floats with `precision` digits, and powers of ten where
magnitudes are far apart. Beyond `threshold` elements only `edgeitems` at each end of every axis are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tritongrad_kernels.dtypes import dtype


@dataclass(frozen=True)
class Options:
    """precision  digits after the point
    threshold  the most elements that are printed in full
    edgeitems  how many at each end of an axis are printed otherwise
    linewidth  columns of a line
    sci_mode   True for powers of ten always, False never, None where magnitudes ask for it
    """

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {"default": Options(), "short": Options(2, 1000, 2), "full": Options(threshold=math.inf)}
_options = Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors are printed from now on; see `Options`. `profile` is "default", "short" or "full".

    `sci_mode` goes back to None, where the numbers decide, in every call that does not give it.
    """
    global _options
    if profile is not None and profile not in _PROFILES:
        raise ValueError(f"set_printoptions: unknown profile {profile!r}; known are {', '.join(_PROFILES)}")
    base = _options if profile is None else _PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options = replace(base, sci_mode=sci_mode, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


def text(values: np.ndarray, kind: dtype, default: dtype, notes: Sequence[str]) -> str:
    """`tensor(...)` around these values, with the dtype where it cannot be guessed and `notes` behind."""
    if kind.is_floating_point:
        values = values.astype(np.float64) if values.size <= _options.threshold else values
    body = "[]" if values.size == 0 else _array(values, len("tensor("), _formatter(values, kind))
    guessed = kind is default or (values.size > 0 and kind.name in ("int64", "bool"))
    size = [f"size={values.shape}"] * (values.size == 0 and values.ndim != 1)
    return _with_notes("tensor(" + body, [*size, *[f"dtype={kind}"] * (not guessed), *notes])


def _with_notes(head: str, notes: Sequence[str]) -> str:
    """The notes behind the numbers, on a line of their own where this one is full."""
    length = len(head) - head.rfind("\n") + 1
    for note in notes:
        if length + len(note) + 2 > _options.linewidth:
            head += ",\n" + " " * len("tensor(") + note
            length = len("tensor(") + len(note)
        else:
            head += ", " + note
            length += len(note) + 2
    return head + ")"


def _shown(values: np.ndarray) -> np.ndarray:
    """The elements that are printed."""
    if values.size > _options.threshold:
        for axis, extent in enumerate(values.shape):
            if extent > 2 * _options.edgeitems:
                values = np.take(values, _ends(extent), axis)
    return values


def _ends(extent: int) -> list[int]:
    edge = _options.edgeitems
    return [*range(edge), *range(extent - edge, extent)]


def _formatter(values: np.ndarray, kind: dtype) -> Callable[[Any], str]:
    """A function from an element to text, of one width for all that are printed."""
    shown = _shown(values).reshape(-1)
    if not kind.is_floating_point:
        width = max(len(str(v)) for v in shown.tolist())
        return lambda v: str(v.item()).rjust(width)
    precision, shown = _options.precision, shown.astype(np.float64)
    usual = shown[np.isfinite(shown) & (shown != 0)]
    least, most = (np.abs(usual).min(), np.abs(usual).max()) if usual.size else (1.0, 1.0)
    whole = bool((usual == np.ceil(usual)).all())
    powers = bool(most > 1e8 or most / least > 1000.0 or (not whole and least < 1e-4))
    powers = powers if _options.sci_mode is None else _options.sci_mode

    def plain(v: float) -> str:
        if powers:
            return f"{v:.{precision}e}"
        if whole:
            return f"{v:.0f}" + "." * math.isfinite(v)
        return f"{v:.{precision}f}"

    # As torch: zeros, NaN and infinities do not widen the column.
    width = max((len(plain(v)) for v in usual.tolist()), default=1)
    return lambda v: plain(float(v)).rjust(width)


def _array(values: np.ndarray, indent: int, element: Callable[[Any], str]) -> str:
    return _nested(values, indent, element, values.size > _options.threshold)


def _nested(values: np.ndarray, indent: int, element: Callable[[Any], str], summary: bool) -> str:
    if values.ndim == 0:
        return element(values[()])
    cut = summary and values.shape[0] > 2 * _options.edgeitems
    rows = [values[i] for i in (_ends(values.shape[0]) if cut else range(values.shape[0]))]
    if values.ndim > 1:
        parts = [_nested(row, indent + 1, element, summary) for row in rows]
        if cut:
            parts.insert(_options.edgeitems, "...")
        return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"
    parts = [element(v) for v in rows]
    if cut:
        parts.insert(_options.edgeitems, " ...")
    length = len(element(values[0])) + 2
    each = max(1, (_options.linewidth - indent) // length)
    lines = [", ".join(parts[i : i + each]) for i in range(0, len(parts), each)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
