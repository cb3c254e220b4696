"""Whether operations wait for those which follow them, to be launched as one: a batch norm, a residual and a ReLU.

`enabled = False`, TRITONGRAD_FUSION=0 in the environment, or `with flags(False):` launches each as it is called: good
for finding out which of them does what. Results differ by no more than the order of some sums. Not torch's.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator

from tritongrad_kernels import driver, pending


class _Fusion(types.ModuleType):
    @property
    def enabled(self) -> bool:
        """Whether anything waits."""
        return pending.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        driver.settle()
        pending.enabled = bool(value)


sys.modules[__name__].__class__ = _Fusion


@contextlib.contextmanager
def flags(enabled: bool = True) -> Iterator[None]:
    """Joined operations, or separate ones, inside the block."""
    module = sys.modules[__name__]
    before = pending.enabled
    module.enabled = enabled  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.enabled = before  # type: ignore[attr-defined]
