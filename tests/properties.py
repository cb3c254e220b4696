"""hypothesis for tests of properties; where it is not installed, as on a lent GPU machine, those tests are skipped."""

from __future__ import annotations

from typing import Any

import pytest

try:
    from hypothesis import given as given, settings as settings, strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError:

    class _Anything:
        """In the place of strategies: whatever is asked of it gives itself."""

        def __getattr__(self, name: str) -> _Anything:
            return self

        def __call__(self, *given: Any, **options: Any) -> _Anything:
            return self

        def __or__(self, other: Any) -> _Anything:
            return self

    st = hnp = _Anything()  # type: ignore[assignment]

    def given(*strategies: Any, **named: Any) -> Any:
        return pytest.mark.skip(reason="hypothesis is not installed")

    def settings(**options: Any) -> Any:  # type: ignore[no-redef]
        return lambda test: test


__all__ = ["given", "hnp", "settings", "st"]
