"""torch.backends.mkldnn: not used; its switches are remembered and change nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

enabled, deterministic, allow_tf32, fp32_precision = True, False, True, "none"


def is_available() -> bool:
    return False


@contextlib.contextmanager
def flags(
    enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True, fp32_precision: str = "none"
) -> Iterator[None]:
    """Other switches inside the block."""
    module: Any = sys.modules[__name__]
    given = dict(enabled=enabled, deterministic=deterministic, allow_tf32=allow_tf32, fp32_precision=fp32_precision)
    before = {name: getattr(module, name) for name in given}
    vars(module).update(given)
    try:
        yield
    finally:
        vars(module).update(before)
