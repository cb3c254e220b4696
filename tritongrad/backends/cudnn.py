"""torch.backends.cudnn: there is no cuDNN here. `allow_tf32` and `fp32_precision` act on convolutions.

benchmark      remembered: tiles are a function of shapes, and nothing is timed at run time
deterministic  remembered: everything always is
enabled        remembered
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from tritongrad.backends.fp32 import Precision, choose, chosen, require_bool

conv = Precision("convolutions")
rnn = Precision("products")


class _CuDNN(types.ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
            require_bool(f"set_{name}_cudnn", value)
        super().__setattr__(name, value)

    @property
    def allow_tf32(self) -> bool:
        """Whether convolutions may use tf32. False until somebody allows it, as nowhere else than in torch."""
        return chosen("convolutions") == "tf32"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        if value != self.allow_tf32:
            choose("convolutions", "tf32" if value else "ieee")

    @property
    def fp32_precision(self) -> str:
        """How convolutions are formed: "ieee" or "tf32"."""
        return chosen("convolutions")

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        choose("convolutions", value)


enabled, benchmark, deterministic = True, False, False
benchmark_limit: int | None = None


def version() -> None:
    """No version: there is no cuDNN."""


def is_available() -> bool:
    return False


def is_acceptable(tensor: Any) -> bool:
    return False


@contextlib.contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int | None = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
    fp32_precision: str = "none",
) -> Iterator[None]:
    """Other switches inside the block."""
    module: Any = sys.modules[__name__]
    given: dict[str, Any] = dict(
        enabled=enabled, benchmark=benchmark, benchmark_limit=benchmark_limit, deterministic=deterministic
    )
    given |= {"allow_tf32": allow_tf32} | ({} if fp32_precision == "none" else {"fp32_precision": fp32_precision})
    before = {name: getattr(module, name) for name in given}
    try:
        for name, value in given.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


sys.modules[__name__].__class__ = _CuDNN
