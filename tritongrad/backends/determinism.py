"""torch's switches for deterministic algorithms. There are no others here: the switches are remembered."""

from __future__ import annotations

_MODES = {"default": 0, "warn": 1, "error": 2}
_mode = 0


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remembered; every result is bitwise reproducible whatever is said."""
    global _mode
    _mode = (1 if warn_only else 2) if mode else 0


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` was asked for."""
    return _mode != 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether it was asked for with `warn_only`."""
    return _mode == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same switch by name or number: "default" (0), "warn" (1) or "error" (2)."""
    global _mode
    if not isinstance(debug_mode, int | str):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode).__name__}")
    if debug_mode not in (*_MODES, *_MODES.values()):
        raise RuntimeError(f"set_deterministic_debug_mode: expected one of {', '.join(_MODES)}, got {debug_mode!r}")
    _mode = _MODES[debug_mode] if isinstance(debug_mode, str) else int(debug_mode)


def get_deterministic_debug_mode() -> int:
    """The mode as a number."""
    return _mode
