"""What Triton knew of a launch's arguments when it compiled, in words a reader can compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def words(data: Mapping[str, Any]) -> str:
    """From the record that Triton's `preload` takes: `X *fp32:16, n i64:16, m i32, BLOCK=1024; 4 warps, 3 stages`.

    `:16` marks pointers that start on 16 bytes and integers that 16 divides. An integer of 1 is a constant.
    """
    constants = dict(zip(map(tuple, data["constant_keys"]), data["constant_vals"], strict=True))
    divisible = {tuple(k) for k, v in zip(data["attrs_keys"], data["attrs_vals"], strict=True) if v}
    parameters = enumerate(data["signature"].items())
    text = ", ".join(_parameter(name, kind, (i,), constants, divisible) for i, (name, kind) in parameters)
    return f"{text}; {data['options']['num_warps']} warps, {data['options']['num_stages']} stages"


def _parameter(name: str, kind: Any, path: tuple, constants: Mapping[tuple, Any], divisible: set[tuple]) -> str:
    if isinstance(kind, list):
        inner = (_parameter("", k, (*path, i), constants, divisible).strip() for i, k in enumerate(kind))
        return f"{name} ({', '.join(inner)})"
    if kind == "constexpr":
        return f"{name}={_constant(constants.get(path))}" if name else _constant(constants.get(path))
    return f"{name} {kind}{':16' if path in divisible else ''}"


def _constant(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("constexpr", str(value.get("jit_function", "")).partition(":")[2])
    return str(value)
