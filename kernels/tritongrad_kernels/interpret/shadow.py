"""What a launch did to each element of memory: who read it, who wrote it, whether it had a value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NOBODY, SEVERAL, ATOMIC = 0, -1, -2
"""In place of a program, which are counted from 1. Tables of nobody are zero, and cost nothing until they are touched:
a view may reach over more memory than there is."""


class Conflict(NamedTuple):
    """The first wrong one of the elements of an access, what is wrong, and the other program it concerns, if one."""

    lane: int
    why: str
    program: int = NOBODY


class Shadow:
    """The state of `nbytes` of memory from `address` on during one launch, kept for granules of a few bytes each.

    readers    the program that read a granule; NOBODY, or SEVERAL
    writers    the program that wrote it; NOBODY, or ATOMIC
    fresh      written by its writer since that one's last barrier
    defined    bytes that have ever been written to, or None if that is not known and all count as written
    """

    def __init__(self, address: int, nbytes: int, granule: int, defined: np.ndarray | None = None) -> None:
        self.address, self.nbytes, self.granule = address, nbytes, granule
        granules = -(-nbytes // granule)
        self.readers, self.writers = np.zeros(granules, np.int32), np.zeros(granules, np.int32)
        self.fresh = np.zeros(granules, bool)
        self.defined = defined

    def _granules(self, places: np.ndarray, itemsize: int) -> np.ndarray:
        """The granules of elements of `itemsize` bytes at byte offsets `places`: a row for each part of an element."""
        if itemsize % self.granule or (places % self.granule).any():
            self._split()
        return places // self.granule + np.arange(itemsize // self.granule)[:, None]

    def _split(self) -> None:
        """Keep single bytes apart: a kernel accesses smaller elements than its arguments have, or unaligned ones."""
        self.readers, self.writers, self.fresh = (
            part.repeat(self.granule) for part in (self.readers, self.writers, self.fresh)
        )
        self.granule = 1

    def read(self, places: np.ndarray, itemsize: int, program: int) -> Conflict | None:
        """Note that `program` reads elements at byte offsets `places`."""
        for rows in self._granules(places, itemsize):
            writers = self.writers[rows]
            if (writers != NOBODY).any():
                own = writers == program
                found = _first(~own & (writers != NOBODY), "writes", writers) or _first(
                    own & self.fresh[rows], "stored before, with no tl.debug_barrier() in between", writers
                )
                if found:
                    return found
            readers = self.readers[rows]
            self.readers[rows] = np.where((readers == NOBODY) | (readers == program), program, SEVERAL)
        if self.defined is None:
            return None
        return _first(~self.defined[places], "nothing was ever written to")

    def write(self, places: np.ndarray, itemsize: int, program: int, atomic: bool = False) -> Conflict | None:
        """Note that `program` writes elements at byte offsets `places`. Atomic updates may meet each other."""
        for rows in self._granules(places, itemsize):
            writers, readers = self.writers[rows], self.readers[rows]
            if not atomic or (writers != ATOMIC).any():
                found = _first((writers != program) & (writers != NOBODY), "writes", writers)
                if found:
                    return found
            found = _first((readers != program) & (readers != NOBODY), "reads", readers)
            if found:
                return found
            self.writers[rows] = ATOMIC if atomic else program
            self.fresh[rows] = not atomic
        if self.defined is not None:
            for part in range(itemsize):
                self.defined[places + part] = True
        return None

    def barrier(self, program: int) -> None:
        self.fresh[self.writers == program] = False


def _first(wrong: np.ndarray, why: str, programs: np.ndarray | None = None) -> Conflict | None:
    if not wrong.any():
        return None
    lane = int(wrong.argmax())
    return Conflict(lane, why, NOBODY if programs is None else int(programs[lane]))
