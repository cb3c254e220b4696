"""Every operation on random shapes, layouts and dtypes, against torch: `make fuzz EXAMPLES=1000` tries many more."""

from __future__ import annotations

import os
import zlib

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.elementwise import ELEMENTWISE, IN_PLACE
from tests.fuzz.found import FOUND
from tests.fuzz.indexing import INDEXING
from tests.fuzz.maker import programs
from tests.fuzz.movement import MOVEMENT
from tests.fuzz.network import LINEAR, NETWORK
from tests.fuzz.program import Program
from tests.fuzz.reductions import REDUCTIONS

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""How many random programs of each operation; without it a few, the same on every run."""

FAMILIES = {
    "elementwise": ELEMENTWISE,
    "in place": IN_PLACE,
    "reductions": REDUCTIONS,
    "linear": LINEAR,
    "network": NETWORK,
    "indexing": INDEXING,
    "movement": MOVEMENT,
}


@pytest.mark.parametrize(("family", "name"), [(f, name) for f, lines in FAMILIES.items() for name in lines])
def test_as_torch(family: str, name: str) -> None:
    @seed(int.from_bytes(os.urandom(8)) if EXAMPLES else zlib.crc32(f"{family} {name}".encode()))
    @settings(max_examples=EXAMPLES or 3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(programs(FAMILIES[family][name]))
    def agrees(program: Program) -> None:
        program.check()

    agrees()


@pytest.mark.parametrize("program", FOUND, ids=[p.code for p in FOUND])
def test_what_was_found(program: Program) -> None:
    program.check()
