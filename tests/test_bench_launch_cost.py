"""What a launch costs on the host is found without a GPU, and less where it goes past Triton's Python."""

from __future__ import annotations

import pytest

from bench import launch_cost
from tritongrad_kernels import INTERPRETED


@pytest.mark.skipif(not INTERPRETED, reason="on a GPU the launches are real")
def test_launches_are_timed_in_front_of_a_stub() -> None:
    costs = launch_cost.measured()
    assert [c.name for c in costs][-2:] == ["3 descriptors, 3 numbers", "elementwise.map(a * b)"] and len(costs) == 5
    assert all(0 < 1.2 * c.direct < c.public and c.peer > 0 for c in costs), costs
    assert len(launch_cost.table(costs).rows) == 5 and "do nothing" in launch_cost.notes()[0]
